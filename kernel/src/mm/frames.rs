//! Physical memory in frames of 4 KiB.
//!
//! Promises: one frame is taken or given back in constant time (about ten instructions); nothing is
//! touched before it is handed out, so [`Frames::add`] costs the same for 8 MiB and 8 GiB. A frame's
//! contents are whatever was last written: who needs zeros calls [`zero`].
//!
//! How: each range of RAM has a *fresh* part, eaten from below frame by frame and from above by
//! contiguous blocks. Frames that are given back are noted in one of them, by the 511, so that most are not touched: each would
//! miss the caches and the TLB, and a large memory gives back thousands at once.
//!
//! The rule for running out ([`Floor`]): ordinary takers stop while a reserve is left, so that the few
//! who must not fail midway (page tables, area nodes) find something. What answers `None` here becomes
//! ENOMEM, a null pointer or `FaultOutcome::OutOfMemory` further up; nothing here panics.
//!
//! Not here: reference counts (pages that are shared belong to a memory object, see [`super::object`]);
//! joining freed frames to contiguous blocks again (DMA memory is taken at start-up and kept).

use core::{ops::Range, ptr};

/// Bytes in a frame, and in a page.
pub const FRAME: u64 = 4096;

/// How many separate ranges of RAM are kept; a machine has two to six. More are left unused.
const MAX_RANGES: usize = 16;

/// A physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(pub u64);

impl PhysAddr {
    /// Where the kernel reads and writes this memory. RAM is mapped one to one, so that is the same
    /// number; tests use the addresses of an arena of their own as "physical" ones.
    pub fn ptr<T>(self) -> *mut T {
        ptr::with_exposed_provenance_mut(self.0 as usize)
    }
}

/// How far down the free frames a taker may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Pages nobody was promised: stop at the reserve.
    Reserve,
    /// The kernel heap and pages that were promised by the commit rule: stop at half of it.
    Half,
    /// Page tables and area nodes: down to the last frame.
    Nothing,
}

/// A free frame that notes others.
#[repr(C)]
struct Batch {
    next: u64,
    frames: [u64; NOTED],
}

const NOTED: usize = FRAME as usize / size_of::<u64>() - 1;

pub struct Frames {
    /// The address of the [`Batch`] that is being filled, or emptied, 0 for none; those behind it are full.
    batch: u64,
    /// How many it notes.
    noted: usize,
    fresh: [Range<u64>; MAX_RANGES],
    ranges: usize,
    /// The range that fresh frames are taken from now; those before it are used up.
    current: usize,
    total: u64,
    free: u64,
    reserve: u64,
    /// Tests make the n-th taking fail with this (counts down; `u64::MAX` is "never").
    #[cfg(test)]
    pub(crate) fail_in: u64,
}

impl Frames {
    pub const fn new() -> Self {
        Self {
            batch: 0,
            noted: 0,
            fresh: [const { 0..0 }; MAX_RANGES],
            ranges: 0,
            current: 0,
            total: 0,
            free: 0,
            reserve: 0,
            #[cfg(test)]
            fail_in: u64::MAX,
        }
    }

    /// Adds RAM. The range is shrunk to whole frames; frame 0 is never used, for 0 means "none".
    ///
    /// # Safety
    /// The range is RAM, mapped readable and writable at its own address, used by nobody else from now on.
    pub unsafe fn add(&mut self, range: Range<u64>) {
        let start = range.start.max(1).checked_next_multiple_of(FRAME).unwrap_or(u64::MAX);
        let end = range.end & !(FRAME - 1);
        if start >= end || self.ranges == MAX_RANGES {
            return;
        }
        let count = (end - start) / FRAME;
        self.fresh[self.ranges] = start..end;
        self.ranges += 1;
        self.total += count;
        self.free += count;
        // 1/64 of RAM, but enough for the tables of any one operation, and never more than 1 MiB.
        self.reserve = (self.total / 64).clamp(16, 256);
    }

    /// Takes one frame, or answers `None` at the floor.
    #[inline]
    pub fn take(&mut self, floor: Floor) -> Option<PhysAddr> {
        if self.free <= self.floor(floor) {
            return None;
        }
        #[cfg(test)]
        if !self.may_take() {
            return None;
        }
        if self.batch == 0 {
            return self.take_fresh();
        }
        let batch = PhysAddr(self.batch);
        // SAFETY: a batch is a frame of ours, mapped, in which `give` wrote the next one's address and so many frames.
        let frame = unsafe {
            let noted = batch.ptr::<Batch>();
            if let Some(last) = self.noted.checked_sub(1) {
                self.noted = last;
                PhysAddr((&raw const (*noted).frames).cast::<u64>().add(last).read())
            } else {
                self.batch = (*noted).next;
                self.noted = if self.batch == 0 { 0 } else { NOTED };
                batch
            }
        };
        self.free -= 1;
        Some(frame)
    }

    /// Gives one frame back.
    ///
    /// # Safety
    /// The frame came from [`Self::take`] or [`Self::take_contiguous`], and nothing uses it any more.
    #[inline]
    pub unsafe fn give(&mut self, frame: PhysAddr) {
        debug_assert!(frame.0 != 0 && frame.0.is_multiple_of(FRAME));
        // SAFETY: the caller hands over a frame of RAM, which is mapped at its own address, as are all batches; the current one
        // has room where it is written to.
        unsafe {
            if self.batch == 0 || self.noted == NOTED {
                (&raw mut (*frame.ptr::<Batch>()).next).write(self.batch);
                self.batch = frame.0;
                self.noted = 0;
            } else {
                let noted = PhysAddr(self.batch).ptr::<Batch>();
                (&raw mut (*noted).frames).cast::<u64>().add(self.noted).write(frame.0);
                self.noted += 1;
            }
        }
        self.free += 1;
    }

    /// Takes `count` frames in a row, the first at a multiple of `align` bytes (a power of two; less
    /// than a frame means a frame). From fresh memory only: take what devices need early.
    pub fn take_contiguous(&mut self, count: u64, align: u64, floor: Floor) -> Option<PhysAddr> {
        let align = align.max(FRAME);
        let bytes = count.checked_mul(FRAME)?;
        if count == 0 || !align.is_power_of_two() || self.free < self.floor(floor).checked_add(count)? {
            return None;
        }
        #[cfg(test)]
        if !self.may_take() {
            return None;
        }
        for index in (self.current..self.ranges).rev() {
            let Range { start, end } = self.fresh[index].clone();
            let Some(base) = end.checked_sub(bytes).map(|base| base & !(align - 1)) else { continue };
            if base < start {
                continue;
            }
            self.fresh[index].end = base;
            self.free -= count;
            // What alignment cut off is not lost: at most align / 4 KiB frames.
            for tail in (base + bytes..end).step_by(FRAME as usize) {
                self.free -= 1;
                // SAFETY: just cut from the fresh part of RAM that `add` was given, used by nobody.
                unsafe { self.give(PhysAddr(tail)) };
            }
            return Some(PhysAddr(base));
        }
        None
    }

    /// All frames ever added.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn free(&self) -> u64 {
        self.free
    }

    /// How many frames a taker with this floor can still have.
    #[inline]
    pub fn available(&self, floor: Floor) -> u64 {
        let free = self.free.saturating_sub(self.floor(floor));
        #[cfg(test)]
        let free = free.min(self.fail_in);
        free
    }

    #[inline]
    fn floor(&self, floor: Floor) -> u64 {
        match floor {
            Floor::Reserve => self.reserve,
            Floor::Half => self.reserve / 2,
            Floor::Nothing => 0,
        }
    }

    #[cold]
    fn take_fresh(&mut self) -> Option<PhysAddr> {
        while self.current < self.ranges {
            let fresh = &mut self.fresh[self.current];
            if fresh.start < fresh.end {
                let frame = PhysAddr(fresh.start);
                fresh.start += FRAME;
                self.free -= 1;
                return Some(frame);
            }
            self.current += 1;
        }
        None
    }

    #[cfg(test)]
    fn may_take(&mut self) -> bool {
        if self.fail_in == 0 {
            return false;
        }
        if self.fail_in != u64::MAX {
            self.fail_in -= 1;
        }
        true
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

/// Fills a frame with zeros.
///
/// With SSE this is 320 instructions; `rep stosq` counts as 512 on an emulator that counts, and a
/// library `memset` may be either.
///
/// # Safety
/// The frame is the caller's to write.
#[inline]
pub unsafe fn zero(frame: PhysAddr) {
    let start = frame.ptr::<u8>();
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    // SAFETY: writes the 4096 bytes at `start`, which the caller may write; a frame is aligned to more
    // than the 16 bytes that movaps asks for.
    unsafe {
        core::arch::asm!(
            "xorps {zero}, {zero}",
            "2:",
            "movaps [{at}], {zero}",
            "movaps [{at} + 16], {zero}",
            "movaps [{at} + 32], {zero}",
            "movaps [{at} + 48], {zero}",
            "movaps [{at} + 64], {zero}",
            "movaps [{at} + 80], {zero}",
            "movaps [{at} + 96], {zero}",
            "movaps [{at} + 112], {zero}",
            "sub {at}, -128",
            "dec {left:e}",
            "jnz 2b",
            at = inout(reg) start => _,
            left = inout(reg) 32u32 => _,
            zero = out(xmm_reg) _,
            options(nostack),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
    // SAFETY: the caller may write the frame.
    unsafe {
        start.write_bytes(0, FRAME as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::arena::Arena;

    #[test]
    fn every_frame_is_handed_out_once_and_comes_back() {
        let arena = Arena::new(100);
        let mut frames = arena.frames();
        assert_eq!((frames.total(), frames.free()), (100, 100));
        let mut taken: Vec<_> = core::iter::from_fn(|| frames.take(Floor::Nothing)).collect();
        assert_eq!(frames.free(), 0);
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 100);
        assert!(taken.iter().all(|f| arena.range().contains(&f.0) && f.0 % FRAME == 0));
        for frame in taken {
            // SAFETY: taken above.
            unsafe { frames.give(frame) };
        }
        assert_eq!(frames.free(), 100);
        assert_eq!(core::iter::from_fn(|| frames.take(Floor::Nothing)).count(), 100);
    }

    #[test]
    fn floors_leave_a_reserve() {
        let arena = Arena::new(100);
        let mut frames = arena.frames();
        while frames.take(Floor::Reserve).is_some() {}
        assert_eq!(frames.free(), 16);
        assert_eq!(frames.available(Floor::Reserve), 0);
        while frames.take(Floor::Half).is_some() {}
        assert_eq!(frames.free(), 8);
        while frames.take(Floor::Nothing).is_some() {}
        assert_eq!(frames.free(), 0);
    }

    #[test]
    fn contiguous_blocks_are_aligned_and_lose_nothing() {
        let arena = Arena::new(200);
        let mut frames = arena.frames();
        let block = frames.take_contiguous(5, 16 * FRAME, Floor::Nothing).unwrap();
        assert_eq!(block.0 % (16 * FRAME), 0);
        assert_eq!(frames.free(), 195);
        assert_eq!(core::iter::from_fn(|| frames.take(Floor::Nothing)).count(), 195);
        assert_eq!(frames.take_contiguous(1, FRAME, Floor::Nothing), None);
        for bad in [(0, FRAME), (1, 3 * FRAME), (u64::MAX, FRAME), (201, FRAME)] {
            assert_eq!(arena.frames().take_contiguous(bad.0, bad.1, Floor::Nothing), None, "{bad:?}");
        }
    }

    #[test]
    fn ranges_are_cut_to_whole_frames_and_frame_zero_stays_unused() {
        let mut frames = Frames::new();
        // SAFETY: nothing is taken from these.
        unsafe {
            frames.add(0..2 * FRAME);
            frames.add(10 * FRAME + 1..12 * FRAME + 5);
            frames.add(FRAME..FRAME);
            frames.add(u64::MAX - 1..u64::MAX);
            #[expect(clippy::reversed_empty_ranges)]
            frames.add(20 * FRAME..10);
        }
        assert_eq!(frames.total(), 2);
    }

    #[test]
    fn zero_clears_all_of_a_frame_and_no_more() {
        let arena = Arena::new(3);
        let middle = PhysAddr(arena.range().start + FRAME);
        // SAFETY: the arena is ours.
        unsafe {
            PhysAddr(arena.range().start).ptr::<u8>().write_bytes(7, 3 * FRAME as usize);
            zero(middle);
            let all = core::slice::from_raw_parts(PhysAddr(arena.range().start).ptr::<u8>(), 3 * 4096);
            assert!(all.iter().enumerate().all(|(i, &b)| (b == 0) == (i / 4096 == 1)));
        }
    }
}
