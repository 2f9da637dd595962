//! Small fixed-size records in frames of their own.
//!
//! The memory layer keeps its areas and objects here and not on the heap, for the heap stands on the
//! memory layer: so an operation never re-enters itself, and running out is an answer and not a panic.
//! A record is named by a number from 1; 0 is "none". Frames are kept for reuse; [`Slab::trim`] gives
//! them back once nothing lives.

use core::marker::PhantomData;

use super::frames::{FRAME, Floor, Frames, PhysAddr};

/// Entries in the directory: one frame of addresses.
const CHUNKS: u32 = (FRAME / 8) as u32;

/// `T` is plain data: nothing is dropped.
pub(crate) struct Slab<T: Copy> {
    /// A frame of `CHUNKS` addresses of frames with records; 0 before the first use.
    directory: u64,
    chunks: u32,
    /// The first free record; each holds the number of the next in its first four bytes.
    free: u32,
    free_count: u32,
    live: u32,
    records: PhantomData<T>,
}

impl<T: Copy> Slab<T> {
    const PER_CHUNK: u32 = {
        assert!(size_of::<T>() >= 4 && align_of::<T>() >= 4 && align_of::<T>() <= 4096);
        (FRAME as usize / size_of::<T>()) as u32
    };

    pub(crate) const fn new() -> Self {
        Self { directory: 0, chunks: 0, free: 0, free_count: 0, live: 0, records: PhantomData }
    }

    pub(crate) fn live(&self) -> u32 {
        self.live
    }

    /// Frames in use, the directory included.
    pub(crate) fn frames(&self) -> u64 {
        u64::from(self.chunks) + u64::from(self.directory != 0)
    }

    /// Sees to it that the next `count` calls of [`Self::insert`] find room; `false` if memory or the
    /// directory is full.
    #[must_use]
    pub(crate) fn reserve(&mut self, count: u32, frames: &mut Frames) -> bool {
        while self.free_count < count {
            if self.directory == 0 {
                let Some(frame) = frames.take(Floor::Nothing) else { return false };
                self.directory = frame.0;
            }
            if self.chunks == CHUNKS {
                return false;
            }
            let Some(frame) = frames.take(Floor::Nothing) else { return false };
            // SAFETY: the directory is a frame of ours with room for CHUNKS addresses.
            unsafe { PhysAddr(self.directory).ptr::<u64>().add(self.chunks as usize).write(frame.0) };
            let first = self.chunks * Self::PER_CHUNK + 1;
            self.chunks += 1;
            for id in (first..first + Self::PER_CHUNK).rev() {
                self.push_free(id);
            }
        }
        true
    }

    /// Room must have been reserved.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let id = self.free;
        assert!(id != 0, "slab: nothing was reserved");
        let slot = self.slot(id);
        // SAFETY: `id` is a free record of ours; free records hold the next number.
        unsafe {
            self.free = slot.cast::<u32>().read();
            slot.write(value);
        }
        self.free_count -= 1;
        self.live += 1;
        id
    }

    pub(crate) fn remove(&mut self, id: u32) -> T {
        let value = *self.get(id);
        self.live -= 1;
        self.push_free(id);
        value
    }

    #[inline]
    pub(crate) fn get(&self, id: u32) -> &T {
        // SAFETY: `id` was given by `insert` and not removed since (the callers' invariant: numbers live
        // in this module's neighbours only); its record holds a `T`, and `&self` keeps writers out.
        unsafe { &*self.slot(id) }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: u32) -> &mut T {
        // SAFETY: as in `get`, and `&mut self` keeps everyone else out.
        unsafe { &mut *self.slot(id) }
    }

    /// Gives all frames back if no record lives.
    pub(crate) fn trim(&mut self, frames: &mut Frames) {
        if self.live != 0 || self.directory == 0 {
            return;
        }
        for chunk in 0..self.chunks {
            // SAFETY: the directory's first `chunks` entries are frames of ours, which no record uses now.
            unsafe {
                let at = PhysAddr(self.directory).ptr::<u64>().add(chunk as usize);
                frames.give(PhysAddr(at.read()));
            }
        }
        // SAFETY: ours, and no longer needed.
        unsafe { frames.give(PhysAddr(self.directory)) };
        *self = Self::new();
    }

    fn push_free(&mut self, id: u32) {
        // SAFETY: a record of ours that nothing refers to; it is at least four bytes, aligned to four.
        unsafe { self.slot(id).cast::<u32>().write(self.free) };
        self.free = id;
        self.free_count += 1;
    }

    #[inline(always)]
    fn slot(&self, id: u32) -> *mut T {
        let index = id - 1;
        assert!(index / Self::PER_CHUNK < self.chunks, "slab: no such record");
        // SAFETY: the index is below `chunks`, so the directory holds a frame's address there, and the
        // remainder keeps within that frame.
        unsafe {
            let chunk = PhysAddr(self.directory).ptr::<u64>().add((index / Self::PER_CHUNK) as usize).read();
            PhysAddr(chunk).ptr::<T>().add((index % Self::PER_CHUNK) as usize)
        }
    }
}
