//! What only a panic or a crash reads: the tables for unwinding, and the names for backtraces. They are a fifth of the
//! image, so they travel compressed in its last segment, and lie unpacked where the linker put them from the first
//! time that somebody asks. Until then their pages are never touched.
//!
//! The segment, as `cargo xtask image` writes it: "LCLD", u32 bytes that follow, an LZMA stream ([`lzma`]) of all from
//! `cold_start` to `cold_end`, in a form that takes a third less room ([`folded`]). An image that was not finished by it
//! has zeros here and the tables in place. What the linker left room for and the stream does not take is ordinary memory
//! once the kernel runs.
//!
//! Needs neither heap nor locks, for a crash can happen anywhere. Does not: free anything again.

use core::{
    ffi::{c_int, c_void},
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use crate::{cell::StaticCell, floor::start};

mod folded;
mod lzma;

use folded::{Section, unfold_frames, unfold_names};

/// Room for the names (see `symbols`): zeros until `cargo xtask image` writes them.
#[used]
#[unsafe(link_section = ".lunette.symbols")]
static NAMES: StaticCell<[u8; 320 * 1024]> = StaticCell::new([0; 320 * 1024]);

/// Room for all of it, compressed.
#[used]
#[unsafe(link_section = ".lunette.packed")]
static PACKED: StaticCell<[u8; 1024 * 1024]> = StaticCell::new([0; 1024 * 1024]);

/// Sixteen kilobytes that a crash's stack may not have.
static MODEL: StaticCell<lzma::Model> = StaticCell::new(lzma::Model::new());

unsafe extern "C" {
    static cold_start: u8;
    static cold_end: u8;
    static eh_frame_header: u8;
    static eh_frame_header_end: u8;
    static eh_frame: u8;
    static eh_frame_end: u8;
}

const PACKED_YET: u8 = 0;
const BUSY: u8 = 1;
const READY: u8 = 2;
const DAMAGED: u8 = 3;
static STATE: AtomicU8 = AtomicU8::new(PACKED_YET);

/// The table of names; none if it can't be had.
pub(crate) fn names() -> Option<&'static [u8]> {
    if !ready() {
        return None;
    }
    // SAFETY: written by `ready` at most, and not again after that.
    Some(unsafe { &*NAMES.get() })
}

/// Unpacks, the first time. False if the image is damaged, or if this was called while it was at it: in a crash of its
/// own.
fn ready() -> bool {
    match STATE.load(Relaxed) {
        PACKED_YET => {
            STATE.store(BUSY, Relaxed);
            let unpacked = unpack();
            STATE.store(if unpacked { READY } else { DAMAGED }, Relaxed);
            unpacked
        }
        state => state == READY,
    }
}

/// The address where the image ends: with what is packed, without the room that the linker left for it.
pub(crate) fn end() -> u64 {
    let (start, length) = (PACKED.get().addr(), packed().map_or(0, |stream| HEADER + stream.len()));
    (start + length) as u64
}

const HEADER: usize = 8;

/// The stream, if there is one.
fn packed() -> Option<&'static [u8]> {
    // SAFETY: written before boot and by nobody after; what is behind the stream may be anybody's by now, and is not
    // part of the slice. Through the cell, or the compiler would take the zeros that it sees for what will be there.
    unsafe {
        let segment = PACKED.get().cast_const();
        let [mark, length] = segment.cast::<[[u8; 4]; 2]>().read();
        let length = u32::from_le_bytes(length) as usize;
        (&mark == b"LCLD" && length <= size_of_val(&PACKED) - HEADER)
            .then(|| core::slice::from_raw_parts(segment.cast::<u8>().add(HEADER), length))
    }
}

fn unpack() -> bool {
    let Some(stream) = packed() else { return true };
    let room = Section::between(&raw const cold_start, &raw const cold_end);
    // SAFETY: one core runs this, once.
    let model = unsafe { &mut *MODEL.get() };
    if lzma::decode(model, stream, room.bytes).is_none() {
        return false;
    }
    let header = Section::between(&raw const eh_frame_header, &raw const eh_frame_header_end);
    let frames = Section::between(&raw const eh_frame, &raw const eh_frame_end);
    // SAFETY: as the tables, of which it is one.
    let names = unsafe { &mut *NAMES.get() };
    unfold_frames(header, frames).is_some() && unfold_names(names).is_some()
}

impl Section<'static> {
    /// A part of what is cold. Only for `unpack`, which has one of those that overlap at a time.
    fn between(start: *const u8, end: *const u8) -> Self {
        let length = end.addr() - start.addr();
        // SAFETY: the linker's own range, writable, in no other segment; nobody has read it (`STATE`), and one core runs
        // this once.
        let bytes = unsafe { core::slice::from_raw_parts_mut(start.cast_mut(), length) };
        Self { bytes, at: start.addr() as u64 }
    }
}

/// `struct dl_phdr_info` of <link.h>.
#[repr(C)]
struct Info {
    address: usize,
    name: *const u8,
    headers: *const c_void,
    count: u16,
    added: u64,
    removed: u64,
    tls_module: usize,
    tls: *mut c_void,
}

/// libunwind's way to the tables, for panics and backtraces alike; so here is where they are unpacked. musl's own of
/// this name is weak.
#[unsafe(no_mangle)]
extern "C" fn dl_iterate_phdr(
    found: extern "C" fn(*mut Info, usize, *mut c_void) -> c_int,
    data: *mut c_void,
) -> c_int {
    let Some((headers, count)) = start::program_headers().filter(|_| ready()) else { return 0 };
    let mut info = Info {
        address: 0,
        name: c"".as_ptr().cast(),
        headers,
        count,
        added: 1,
        removed: 0,
        tls_module: 0,
        tls: core::ptr::null_mut(),
    };
    found(&mut info, size_of::<Info>(), data)
}
