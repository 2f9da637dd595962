//! Memory objects: what a file is below its descriptor. Pages that can be mapped, shared or
//! copy-on-write.
//!
//! A memfd's object owns its frames, and can be written. Its pages are found in a page-table tree whose
//! "addresses" are file offsets: sparse, and with nothing from the heap. A *lent* object is memory that
//! belongs to somebody else for as long as the machine runs, the payload: one piece of RAM, sealed
//! against writing and resizing, neither copied nor ever freed.
//!
//! Whoever maps an object's frame marks the leaf [`paging::BORROWED`]. So frames need no reference
//! counts: the object as a whole has one, held by its descriptors and areas.

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
    pages: Pages,
    /// Descriptors and areas that hold it.
    pub(crate) refs: u32,
    /// Linux's F_SEAL_ bits.
    pub(crate) seals: u32,
}

#[derive(Clone, Copy)]
enum Pages {
    Own(Tables),
    /// In a row from here.
    Lent(PhysAddr),
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
        Some(Self { size: 0, pages: Pages::Own(Tables::make(frames)?), refs: 1, seals })
    }

    /// `size` bytes from `start`, which begins a frame. `seals` must forbid to write and to resize.
    pub(crate) fn lend(start: PhysAddr, size: u64, seals: u32) -> Self {
        Self { size, pages: Pages::Lent(start), refs: 1, seals }
    }

    /// Is it memory that somebody else owns?
    pub(crate) fn is_lent(&self) -> bool {
        matches!(self.pages, Pages::Lent(_))
    }

    /// The frame of a page, if it is no hole.
    #[inline]
    pub(crate) fn page(&self, page: u64) -> Option<PhysAddr> {
        match &self.pages {
            Pages::Own(tables) => {
                let entry = tables.find(page * PAGE)?.get();
                (entry != 0).then(|| paging::frame_of(entry))
            }
            Pages::Lent(start) => (page < self.size.div_ceil(PAGE)).then(|| PhysAddr(start.0 + page * PAGE)),
        }
    }

    /// The frame of a page, made (of zeros) if it is a hole.
    pub(crate) fn page_or_make(&mut self, page: u64, frames: &mut Frames) -> Option<PhysAddr> {
        if let Some(frame) = self.page(page) {
            return Some(frame);
        }
        let Pages::Own(tables) = &mut self.pages else { return None };
        let frame = frames.take(Floor::Reserve)?;
        let Some(slot) = tables.find_or_make(page * PAGE, frames) else {
            // SAFETY: just taken, used by nobody.
            unsafe { frames.give(frame) };
            return None;
        };
        // SAFETY: just taken.
        unsafe { zero(frame) };
        slot.set(frame.0 | KEPT);
        Some(frame)
    }

    /// Frees the pages from this one on, if they are its own. Nothing may have them mapped.
    pub(crate) fn cut(&mut self, from_page: u64, frames: &mut Frames) {
        let Pages::Own(tables) = &mut self.pages else { return };
        let range = from_page * PAGE..MAX_SIZE;
        tables.update(range, frames, &mut NoTlb, &mut |frames, _, entry| {
            // SAFETY: the object owned it, and by the caller's word nobody maps it.
            unsafe { frames.give(paging::frame_of(entry)) };
            0
        });
    }

    /// Frees everything that is its own.
    pub(crate) fn free(mut self, frames: &mut Frames) {
        self.cut(0, frames);
        if let Pages::Own(tables) = self.pages {
            // SAFETY: emptied, never seen by a CPU, and `self` ends here.
            unsafe { tables.free_root(frames) };
        }
    }
}
