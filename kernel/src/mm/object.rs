//! Memory objects: what a memfd is below its descriptor. Pages that can be written as a file, and
//! mapped, shared or copy-on-write.
//!
//! An object owns its frames; whoever maps one of them marks the leaf [`paging::BORROWED`]. So frames
//! need no reference counts: the object as a whole has one, held by its descriptors and areas.
//! Pages are found in a page-table tree whose "addresses" are file offsets: sparse, and with nothing
//! from the heap.

use super::{
    frames::{Floor, Frames, PhysAddr, zero},
    paging::{self, KEPT, PAGE, Tables, Tlb},
    slab::Slab,
};

/// Bytes in the biggest object: 1 TiB, all of it holes if need be.
pub const MAX_SIZE: u64 = 1 << 40;

/// A memory object's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectId(pub(crate) u32);

#[derive(Clone, Copy)]
pub(crate) struct Object {
    pub(crate) size: u64,
    tables: Tables,
    /// Descriptors and areas that hold it.
    pub(crate) refs: u32,
    /// Linux's F_SEAL_ bits.
    pub(crate) seals: u32,
}

pub(crate) type Objects = Slab<Object>;

/// Nobody caches an object's tables.
struct NoTlb;

impl Tlb for NoTlb {
    fn page(&mut self, _: u64) {}
    fn all(&mut self) {}
}

impl Object {
    pub(crate) fn make(seals: u32, frames: &mut Frames) -> Option<Self> {
        Some(Self { size: 0, tables: Tables::make(frames)?, refs: 1, seals })
    }

    /// The frame of a page, if it is no hole.
    pub(crate) fn page(&self, page: u64) -> Option<PhysAddr> {
        let entry = self.tables.find(page * PAGE)?.get();
        (entry != 0).then(|| paging::frame_of(entry))
    }

    /// The frame of a page, made (of zeros) if it is a hole.
    pub(crate) fn page_or_make(&mut self, page: u64, frames: &mut Frames) -> Option<PhysAddr> {
        if let Some(frame) = self.page(page) {
            return Some(frame);
        }
        let frame = frames.take(Floor::Reserve)?;
        let Some(slot) = self.tables.find_or_make(page * PAGE, frames) else {
            // SAFETY: just taken, used by nobody.
            unsafe { frames.give(frame) };
            return None;
        };
        // SAFETY: just taken.
        unsafe { zero(frame) };
        slot.set(frame.0 | KEPT);
        Some(frame)
    }

    /// Frees the pages from this one on. Nothing may have them mapped.
    pub(crate) fn cut(&mut self, from_page: u64, frames: &mut Frames) {
        let range = from_page * PAGE..MAX_SIZE;
        self.tables.update(range, frames, &mut NoTlb, &mut |frames, _, entry| {
            // SAFETY: the object owned it, and by the caller's word nobody maps it.
            unsafe { frames.give(paging::frame_of(entry)) };
            0
        });
    }

    /// Frees everything.
    pub(crate) fn free(mut self, frames: &mut Frames) {
        self.cut(0, frames);
        // SAFETY: emptied, never seen by a CPU, and `self` ends here.
        unsafe { self.tables.free_root(frames) };
    }
}
