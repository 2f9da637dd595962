//! What wasmtime asks of the machine, by the very calls it makes: code and start images mapped from the
//! payload, memories of 4 GiB with guards, stacks of fibers. Without wasmtime, so that a fault is the floor's.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::fd::AsRawFd,
    ptr, slice,
};

use lunette_kernel::{arch::cpu, boot, mm};

use crate::{
    Check,
    memory::{map, unmap},
};

pub(crate) const CHECKS: &[Check] = &[
    ("a part of the payload is a file", file),
    ("code is mapped from the payload where it lies, and runs", code),
    ("ten thousand instances leave no trace", instances),
    ("many memories and fibers at once cost what they touch", crowd),
    ("what instances and page faults cost", costs),
];

const PAGE: usize = 4096;
const NONE: i32 = libc::PROT_NONE;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
const RESERVED: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// A linear memory as wasmtime reserves it: 4 GiB, with guards of 32 MiB before and behind.
const GUARD: usize = 32 << 20;
const RESERVATION: usize = (4 << 30) + 2 * GUARD;

/// xtask makes it: 64 pages and 100 bytes, each byte its page's number, a function at page 16.
fn payload() -> &'static [u8] {
    boot::info().payload.expect("the self-test is booted with a payload")
}

fn open(offset: usize, length: usize) -> std::io::Result<File> {
    File::open(format!("/.lunette/payload/{offset}-{length}"))
}

fn protect(at: *mut u8, len: usize, prot: i32) {
    // SAFETY: the callers' own mapping, used as it is then allowed to be.
    assert_eq!(unsafe { libc::mprotect(at.cast(), len, prot) }, 0, "{}", std::io::Error::last_os_error());
}

/// Maps a file over a part of our own area.
fn map_over(at: *mut u8, len: usize, file: &File, offset: usize) {
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
    // SAFETY: as above.
    let got = unsafe { libc::mmap(at.cast(), len, READ_WRITE, flags, file.as_raw_fd(), offset as i64) };
    assert_eq!(got.cast(), at, "{}", std::io::Error::last_os_error());
}

fn file() {
    let all = payload();
    let mut file = open(PAGE, all.len() - PAGE).expect("there");
    assert_eq!(file.metadata().expect("fstat").len(), (all.len() - PAGE) as u64);
    assert!(file.metadata().expect("fstat").is_file());
    let mut read = Vec::new();
    file.read_to_end(&mut read).expect("readable");
    assert!(read == all[PAGE..]);
    file.seek(SeekFrom::End(-3)).expect("seekable");
    let mut end = [0; 3];
    file.read_exact(&mut end).expect("readable");
    assert_eq!(end, [64; 3]);
    assert_eq!(open(1, 1).expect_err("unaligned").raw_os_error(), Some(libc::EINVAL));
    assert_eq!(open(0, all.len() + 1).expect_err("too long").raw_os_error(), Some(libc::EINVAL));
    assert_eq!(File::open("/.lunette/payload/x").expect_err("no name").kind(), ErrorKind::NotFound);
    assert_eq!(File::open("/etc/passwd").expect_err("no file").kind(), ErrorKind::NotFound);
    let write = File::options().write(true).open("/.lunette/payload/0-1").expect_err("read-only");
    assert_eq!(write.kind(), ErrorKind::ReadOnlyFilesystem);
    let shared = libc::MAP_SHARED;
    // SAFETY: refused, so nothing is mapped.
    let refused = unsafe { libc::mmap(ptr::null_mut(), PAGE, READ_WRITE, shared, file.as_raw_fd(), 0) };
    assert_eq!(refused, libc::MAP_FAILED);
}

fn code() {
    let free = mm::statistics().free;
    let file = open(8 * PAGE, 40 * PAGE).expect("there");
    let at = map(40 * PAGE, READ_WRITE, libc::MAP_PRIVATE, file.as_raw_fd());
    drop(file);
    protect(at, 40 * PAGE, libc::PROT_READ);
    protect(at.wrapping_add(8 * PAGE), 2 * PAGE, libc::PROT_READ | libc::PROT_EXEC);
    // SAFETY: the payload has a function of this type there, and the page may be executed.
    let answer =
        unsafe { std::mem::transmute::<*mut u8, extern "C" fn() -> u32>(at.wrapping_add(8 * PAGE))() };
    assert_eq!(answer, 42);
    // SAFETY: our own mapping, readable.
    let mapped = unsafe { slice::from_raw_parts(at, 40 * PAGE) };
    assert!(mapped == &payload()[8 * PAGE..48 * PAGE]);
    for page in 0..40 {
        let lies = payload().as_ptr().addr() + (8 + page) * PAGE;
        assert_eq!(
            mm::translate((at.addr() + page * PAGE) as u64),
            Some(mm::PhysAddr(lies as u64)),
            "not copied"
        );
    }
    assert!(free - mm::statistics().free < 8, "tables, and a frame for areas");
    // Back to writable, as `Module` does when it is patched: then a page that is written is one's own.
    protect(at, 40 * PAGE, READ_WRITE);
    // SAFETY: our own mapping, writable.
    unsafe { at.add(5).write(0xaa) };
    assert_eq!(payload()[8 * PAGE + 5], 8);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::madvise(at.cast(), PAGE, libc::MADV_DONTNEED) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { at.add(5).read() }, 8, "the file's page again");
    unmap(at, 40 * PAGE);
}

/// What wasmtime does for an instance of a module with a memory of 17 pages, 12 KiB of them data, that reads one
/// page, writes two, and goes.
fn instance(image: &File) -> *mut u8 {
    let at = map(RESERVATION, NONE, RESERVED, -1);
    let base = at.wrapping_add(GUARD);
    protect(base, 17 << 16, READ_WRITE);
    map_over(base.wrapping_add(1 << 20), 3 * PAGE, image, 20 * PAGE);
    // SAFETY: within the part that was made accessible.
    unsafe {
        assert_eq!(base.add((1 << 20) + PAGE).read_volatile(), 21);
        base.add(1 << 20).write_volatile(1);
        base.add(64).write_volatile(1);
    }
    at
}

fn instances() {
    let image = open(0, payload().len()).expect("there");
    unmap(instance(&image), RESERVATION);
    let (before, first) = (mm::statistics(), instance(&image));
    unmap(first, RESERVATION);
    for _ in 0..10_000 {
        let at = instance(&image);
        assert_eq!(at, first, "addresses are reused");
        unmap(at, RESERVATION);
    }
    assert_eq!(mm::statistics(), before);
    assert_eq!((payload()[20 * PAGE], payload()[21 * PAGE]), (20, 21), "the payload is as it was");
}

/// A fiber's stack: 2 MiB, demand-zero, a guard page below it.
fn fiber() -> *mut u8 {
    let at = map((2 << 20) + PAGE, NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
    protect(at.wrapping_add(PAGE), 2 << 20, READ_WRITE);
    // SAFETY: the stack's upper end.
    unsafe { at.add((2 << 20) + PAGE - 8).write_volatile(1) };
    at
}

fn crowd() {
    const CROWD: usize = 500;
    let image = open(0, payload().len()).expect("there");
    unmap(instance(&image), RESERVATION);
    let before = mm::statistics();
    let memories: Vec<_> = (0..CROWD).map(|_| instance(&image)).collect();
    let one = (before.free - mm::statistics().free) as usize / CROWD;
    // Two pages of its own, and three tables at most: one for each of the places it touches, one above.
    assert!(one <= 6, "{one} frames an instance");
    // Their stacks are promised, of course: as many as the machine has room for.
    let fibers: Vec<_> = (0..40).map(|_| fiber()).collect();
    for at in fibers {
        unmap(at, (2 << 20) + PAGE);
    }
    // The others first: areas and tables must not depend on the order.
    let (even, odd): (Vec<_>, Vec<_>) = memories.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
    for (_, at) in odd.into_iter().chain(even) {
        unmap(at, RESERVATION);
    }
    let after = mm::statistics();
    assert_eq!((after.areas, after.committed), (before.areas, before.committed));
    // What holds areas is kept for the next crowd.
    assert_eq!(after.free + after.nodes, before.free + before.nodes);
}

/// Says what things cost; in guest instructions under `-icount shift=0`, else in ticks of the TSC. No verdict: that is the bench's.
fn costs() {
    const ROUNDS: u64 = 200;
    let image = open(0, payload().len()).expect("there");
    let measure = |name: &str, work: &mut dyn FnMut()| {
        work();
        let start = cpu::tsc();
        (0..ROUNDS).for_each(|_| work());
        println!("  {name}: {}", (cpu::tsc() - start) / ROUNDS);
    };
    measure("instance, three pages touched", &mut || unmap(instance(&image), RESERVATION));
    measure("reserve and give back", &mut || unmap(map(RESERVATION, NONE, RESERVED, -1), RESERVATION));
    measure("fiber stack", &mut || unmap(fiber(), (2 << 20) + PAGE));
    const PAGES: usize = 200;
    let anonymous = map(PAGES * PAGE, READ_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
    let mut next = 0;
    measure("page fault, demand-zero", &mut || {
        // SAFETY: our own mapping; once around, with one round before the measured ones on page 0.
        unsafe { anonymous.add(next % PAGES * PAGE).write_volatile(1) };
        next += 1;
    });
    unmap(anonymous, PAGES * PAGE);
    measure("64 pages of code looked at", &mut || {
        let at = map(64 * PAGE, libc::PROT_READ, libc::MAP_PRIVATE, image.as_raw_fd());
        for page in 0..64 {
            // SAFETY: our own mapping, readable.
            unsafe { at.add(page * PAGE).read_volatile() };
        }
        unmap(at, 64 * PAGE);
    });
    measure("floor call", &mut || {
        // SAFETY: no effect.
        unsafe { libc::syscall(libc::SYS_gettid) };
    });
}
