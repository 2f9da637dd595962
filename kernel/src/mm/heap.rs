//! The kernel heap: the global allocator of the image.
//!
//! Three ways, by size:
//! - **small**, to 2,032 bytes: pages of equal blocks, one frame each, straight from [`super::frames`].
//!   A free list in each page; about 15 instructions to take or give a block. This is where an
//!   interpreter's start-up spends its time.
//! - **middle**, to 64 KiB (and small ones with an alignment over 16): `linked_list_allocator` in blocks
//!   of contiguous frames. No page fault and no clearing, unlike:
//! - **large**, and middle once contiguous memory is gone: an area of its own in the address space.
//!   Zeros at the first touch, so `alloc_zeroed` clears nothing; `realloc` moves page tables and not
//!   bytes. A guest's linear memory of hundreds of MiB is such a block.
//!
//! Out of memory is a null pointer. An empty small page goes back to the frames (one a size is kept),
//! a large block always; middle blocks of frames stay the heap's.
//!
//! Not here: threads (one core; interrupt handlers do not allocate), detection of double frees.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use super::{
    frames::{FRAME, Floor, PhysAddr},
    paging::Prot,
    space::{ADDRESSES, Backing, Place},
};

/// Sizes of small blocks: multiples of 16, chosen so that whole numbers of them fill a page.
const SIZES: [u16; CLASSES] = [
    16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 288, 336, 400, 448, 496, 576, 672, 800, 1008,
    1344, 2032,
];
const CLASSES: usize = 24;
const SMALL_MAX: usize = 2032;
const SMALL_ALIGN: usize = 16;
const MIDDLE_MAX: usize = 64 << 10;

/// From size in units of 16, rounded up, to the class.
const CLASS_OF: [u8; SMALL_MAX / 16 + 1] = {
    let mut table = [0; SMALL_MAX / 16 + 1];
    let (mut unit, mut class) = (0, 0);
    while unit < table.len() {
        while (SIZES[class] as usize) < unit * 16 {
            class += 1;
        }
        table[unit] = class as u8;
        unit += 1;
    }
    table
};

/// How many blocks a page is carved into at a time: a class that is used once costs little.
const CARVE: usize = 16;

/// Middle arenas: eight of 256 KiB, eight of 512 KiB, and so on: 126 MiB in all.
const ARENAS: usize = 48;
const ARENA_FRAMES: u64 = 64;

/// What a heap stands on.
pub trait Source {
    fn frame(&mut self) -> Option<PhysAddr>;
    /// # Safety
    /// The frame came from [`Self::frame`] and is no longer used.
    unsafe fn give(&mut self, frame: PhysAddr);
    /// Contiguous frames, kept for good.
    fn block(&mut self, frames: u64) -> Option<PhysAddr>;
    /// Zeroed memory of its own, or null. `align` is a power of two.
    fn map(&mut self, len: usize, align: usize) -> *mut u8;
    /// # Safety
    /// `at` and `len` are of one call of [`Self::map`] or [`Self::remap`], and nothing uses it any more.
    unsafe fn unmap(&mut self, at: *mut u8, len: usize);
    /// Resizes, moving if need be; what is new is zeros. Null, and nothing changed, if it can't be done.
    ///
    /// # Safety
    /// As for [`Self::unmap`], for `old`.
    unsafe fn remap(&mut self, at: *mut u8, old: usize, new: usize) -> *mut u8;
    /// Did [`Self::map`] make this?
    fn is_mapped(&self, at: *mut u8) -> bool;
}

/// The head of a page of small blocks; the blocks follow.
#[repr(C)]
struct Page {
    /// The first free block; each holds the address of the next.
    free: *mut u8,
    /// The list of pages of this class that may have room. Full ones are on no list.
    next: *mut Page,
    prev: *mut Page,
    used: u16,
    /// Where the part starts that was never handed out; `carved + size > 4096`: there is none.
    carved: u16,
    class: u8,
    listed: bool,
}

const HEAD: usize = size_of::<Page>();

/// A heap over a source.
pub struct Core<S> {
    pages: [*mut Page; CLASSES],
    arenas: [linked_list_allocator::Heap; ARENAS],
    arena_count: usize,
    /// Per arena, the size of a request that did not fit since something was last given back to it.
    too_big: [usize; ARENAS],
    source: S,
}

impl<S: Source> Core<S> {
    pub const fn new(source: S) -> Self {
        const { assert!(HEAD == 32) };
        Self {
            pages: [ptr::null_mut(); CLASSES],
            arenas: [const { linked_list_allocator::Heap::empty() }; ARENAS],
            arena_count: 0,
            too_big: [usize::MAX; ARENAS],
            source,
        }
    }

    /// See [`GlobalAlloc::alloc`].
    #[inline]
    pub fn alloc(&mut self, layout: Layout) -> *mut u8 {
        if !is_small(layout.size(), layout.align()) {
            return self.alloc_big(layout);
        }
        let class = class_of(layout.size());
        let page = self.pages[class];
        if !page.is_null() {
            // SAFETY: pages on the lists are live frames with a head, and `&mut self` makes us the only
            // user; a free block holds the next one's address.
            unsafe {
                let block = (*page).free;
                if !block.is_null() {
                    (*page).free = block.cast::<*mut u8>().read();
                    (*page).used += 1;
                    return block;
                }
            }
        }
        self.alloc_slow(class)
    }

    /// See [`GlobalAlloc::alloc_zeroed`].
    #[inline]
    pub fn alloc_zeroed(&mut self, layout: Layout) -> *mut u8 {
        let block = self.alloc(layout);
        if !block.is_null() && (is_small(layout.size(), layout.align()) || !self.source.is_mapped(block)) {
            // SAFETY: just allocated with this size. What is mapped is zero already.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    /// See [`GlobalAlloc::dealloc`].
    ///
    /// # Safety
    /// `block` is from this heap, with this layout, and no longer used.
    #[inline]
    pub unsafe fn dealloc(&mut self, block: *mut u8, layout: Layout) {
        if !is_small(layout.size(), layout.align()) {
            // SAFETY: by the caller's word.
            return unsafe { self.dealloc_big(block, layout) };
        }
        let page = block.map_addr(|addr| addr & !(FRAME as usize - 1)).cast::<Page>();
        // SAFETY: a small block lies in a page of ours, whose head is at its start.
        unsafe {
            let old = (*page).free;
            block.cast::<*mut u8>().write(old);
            (*page).free = block;
            (*page).used -= 1;
            if old.is_null() || (*page).used == 0 {
                self.page_changed(page);
            }
        }
    }

    /// See [`GlobalAlloc::realloc`].
    ///
    /// # Safety
    /// `block` is from this heap, with this layout; `size` is not 0, and no overflow once rounded up to
    /// the alignment. If the answer is not null, `block` is gone.
    pub unsafe fn realloc(&mut self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let small = |size| is_small(size, layout.align());
        if small(layout.size()) {
            if small(size) && class_of(size) == class_of(layout.size()) {
                return block;
            }
        } else if !small(size) && self.source.is_mapped(block) {
            // SAFETY: by the caller's word, and mapped blocks keep their layout's size.
            return unsafe { self.source.remap(block, layout.size(), size) };
        }
        // SAFETY: the caller's word on `size` is what this asks for.
        let new = self.alloc(unsafe { Layout::from_size_align_unchecked(size, layout.align()) });
        if !new.is_null() {
            // SAFETY: both live, both at least this long, and not the same.
            unsafe {
                ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
        }
        new
    }

    #[cold]
    fn alloc_slow(&mut self, class: usize) -> *mut u8 {
        loop {
            let mut page = self.pages[class];
            if page.is_null() {
                let Some(frame) = self.source.frame() else { return ptr::null_mut() };
                page = frame.ptr::<Page>();
                let head = Page {
                    free: ptr::null_mut(),
                    next: ptr::null_mut(),
                    prev: ptr::null_mut(),
                    used: 0,
                    carved: HEAD as u16,
                    class: class as u8,
                    listed: false,
                };
                // SAFETY: a frame just taken, ours.
                unsafe { page.write(head) };
                self.list(page);
            }
            // SAFETY: as in `alloc`.
            unsafe {
                if (*page).free.is_null() {
                    carve(page);
                }
                let block = (*page).free;
                if !block.is_null() {
                    (*page).free = block.cast::<*mut u8>().read();
                    (*page).used += 1;
                    return block;
                }
            }
            // Full: off the list until a block comes back.
            self.unlist(page);
        }
    }

    /// A block came back to a page that had none free, or that is all free now.
    #[cold]
    fn page_changed(&mut self, page: *mut Page) {
        // One empty page is kept, the first of its list, or a single block's coming and going would cost
        // a frame each time. So whatever is empty and not first goes.
        // SAFETY: a live page of ours, by both callers' word; so is the first of its list.
        unsafe {
            let first = self.pages[usize::from((*page).class)];
            if !(*page).listed {
                self.list(page);
                if !first.is_null() && (*first).used == 0 {
                    self.free_page(first);
                }
            } else if (*page).used == 0 && first != page {
                self.free_page(page);
            }
        }
    }

    /// # Safety
    /// A live page of this heap on its list, with no block in use.
    unsafe fn free_page(&mut self, page: *mut Page) {
        self.unlist(page);
        // SAFETY: ours, unused by the caller's word, and off its list.
        unsafe { self.source.give(PhysAddr(page.expose_provenance() as u64)) };
    }

    /// Puts a page in front of its class's list.
    fn list(&mut self, page: *mut Page) {
        // SAFETY: a live page of ours that is on no list; the list's first is live as well.
        unsafe {
            let first = &mut self.pages[usize::from((*page).class)];
            (*page).next = *first;
            (*page).prev = ptr::null_mut();
            (*page).listed = true;
            if !first.is_null() {
                (**first).prev = page;
            }
            *first = page;
        }
    }

    fn unlist(&mut self, page: *mut Page) {
        // SAFETY: a live page of ours on its class's list, whose neighbours are live as well.
        unsafe {
            let (next, prev) = ((*page).next, (*page).prev);
            if prev.is_null() {
                self.pages[usize::from((*page).class)] = next;
            } else {
                (*prev).next = next;
            }
            if !next.is_null() {
                (*next).prev = prev;
            }
            (*page).listed = false;
        }
    }

    #[cold]
    fn alloc_big(&mut self, layout: Layout) -> *mut u8 {
        if layout.size() <= MIDDLE_MAX && layout.align() <= FRAME as usize {
            for index in 0..self.arena_count {
                if layout.size() >= self.too_big[index] {
                    continue;
                }
                if let Ok(block) = self.arenas[index].allocate_first_fit(layout) {
                    return block.as_ptr();
                }
                self.too_big[index] = layout.size();
            }
            if let Some(block) = self.new_arena().and_then(|arena| arena.allocate_first_fit(layout).ok()) {
                return block.as_ptr();
            }
        }
        self.source.map(layout.size(), layout.align())
    }

    fn new_arena(&mut self) -> Option<&mut linked_list_allocator::Heap> {
        let index = self.arena_count;
        if index == ARENAS {
            return None;
        }
        let frames = ARENA_FRAMES << (index / 8);
        let start = self.source.block(frames)?;
        let arena = &mut self.arenas[index];
        // SAFETY: contiguous frames just taken, ours for good; this arena was empty.
        unsafe { arena.init(start.ptr(), (frames * FRAME) as usize) };
        self.arena_count += 1;
        Some(arena)
    }

    #[cold]
    unsafe fn dealloc_big(&mut self, block: *mut u8, layout: Layout) {
        if self.source.is_mapped(block) {
            // SAFETY: by the caller's word, mapped by `alloc_big` or `realloc` with this size.
            return unsafe { self.source.unmap(block, layout.size()) };
        }
        let arenas = self.arenas[..self.arena_count].iter_mut().zip(&mut self.too_big);
        for (arena, too_big) in arenas {
            if arena.bottom() <= block && block < arena.top() {
                *too_big = usize::MAX;
                if let Some(block) = NonNull::new(block) {
                    // SAFETY: allocated from this arena with this layout.
                    unsafe { arena.deallocate(block, layout) };
                }
                return;
            }
        }
        debug_assert!(false, "heap: freed a block that is not of this heap");
    }
}

#[inline]
const fn is_small(size: usize, align: usize) -> bool {
    size <= SMALL_MAX && align <= SMALL_ALIGN
}

#[inline]
fn class_of(size: usize) -> usize {
    usize::from(CLASS_OF[size.div_ceil(16)])
}

/// Cuts the next few blocks from the part of a page that was never used.
///
/// # Safety
/// `page` is a live page of the heap with an empty free list, used by nobody else.
unsafe fn carve(page: *mut Page) {
    // SAFETY: as the caller says; all blocks lie within the frame, `carved` counts from its start.
    unsafe {
        let size = usize::from(SIZES[usize::from((*page).class)]);
        let from = usize::from((*page).carved);
        let count = ((FRAME as usize - from) / size).min(CARVE);
        let mut next = ptr::null_mut();
        for index in (0..count).rev() {
            let block = page.cast::<u8>().add(from + index * size);
            block.cast::<*mut u8>().write(next);
            next = block;
        }
        (*page).free = next;
        (*page).carved = (from + count * size) as u16;
    }
}

/// The machine's memory as a source.
pub struct Machine;

impl Source for Machine {
    fn frame(&mut self) -> Option<PhysAddr> {
        super::with(|space| space.frames.take(Floor::Half))
    }

    unsafe fn give(&mut self, frame: PhysAddr) {
        // SAFETY: by the caller's word.
        super::with(|space| unsafe { space.frames.give(frame) });
    }

    fn block(&mut self, frames: u64) -> Option<PhysAddr> {
        super::with(|space| space.frames.take_contiguous(frames, FRAME, Floor::Reserve))
    }

    fn map(&mut self, len: usize, align: usize) -> *mut u8 {
        let place = if align <= FRAME as usize { Place::Any } else { Place::Aligned(align as u64) };
        let at =
            super::with(|space| space.map(place, len as u64, Prot::READ_WRITE, false, Backing::Anonymous));
        at.map_or(ptr::null_mut(), |at| ptr::with_exposed_provenance_mut(at as usize))
    }

    unsafe fn unmap(&mut self, at: *mut u8, len: usize) {
        let done = super::with(|space| space.unmap(at.expose_provenance() as u64, len as u64));
        // Fails only without a frame for an area node, when the block lies amid a joined area: then its
        // pages are dropped and only the addresses are lost.
        if done.is_err() {
            let _ = super::with(|space| space.dont_need(at.expose_provenance() as u64, len as u64));
        }
    }

    unsafe fn remap(&mut self, at: *mut u8, old: usize, new: usize) -> *mut u8 {
        let to = super::with(|space| {
            space.remap(at.expose_provenance() as u64, old as u64, new as u64, true, None)
        });
        to.map_or(ptr::null_mut(), |to| ptr::with_exposed_provenance_mut(to as usize))
    }

    fn is_mapped(&self, at: *mut u8) -> bool {
        at.addr() as u64 >= ADDRESSES.start
    }
}

/// The heap of the machine, to be the image's `#[global_allocator]`. Usable from [`super::init`] on;
/// large blocks from when page faults are handled; before, it answers null.
pub struct Heap;

struct One(UnsafeCell<Core<Machine>>);

// SAFETY: one core and no threads; interrupt and fault handlers do not allocate; and no method of
// `Core` calls out to code that would (the memory layer below it keeps off the heap).
unsafe impl Sync for One {}

static HEAP: One = One(UnsafeCell::new(Core::new(Machine)));

// SAFETY: blocks are disjoint, as large and aligned as asked for, and stay until freed: see `Core`. For
// the exclusive access to HEAP see `One`.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: exclusive, see `One`.
        noted(unsafe { (*HEAP.0.get()).alloc(layout) })
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: exclusive, see `One`.
        noted(unsafe { (*HEAP.0.get()).alloc_zeroed(layout) })
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: exclusive, see `One`; the block by the caller's word.
        unsafe { (*HEAP.0.get()).dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: exclusive, see `One`; the block by the caller's word.
        noted(unsafe { (*HEAP.0.get()).realloc(block, layout, size) })
    }
}

static FAILED: AtomicBool = AtomicBool::new(false);

/// Has an allocation failed? std aborts without telling why when one that it needed did.
pub fn failed() -> bool {
    FAILED.load(Relaxed)
}

#[inline(always)]
fn noted(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        FAILED.store(true, Relaxed);
    }
    block
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, vec::Vec};

    use super::*;
    use crate::mm::{arena::Arena, frames::Frames};

    /// Frames from an arena; large blocks from the host, counted.
    struct Fake {
        frames: Frames,
        mapped: HashMap<usize, usize>,
        map_fails: bool,
    }

    const PAGES: usize = FRAME as usize;

    fn pages(len: usize) -> Layout {
        Layout::from_size_align(len.next_multiple_of(PAGES), 1 << 16).unwrap()
    }

    impl Source for Fake {
        fn frame(&mut self) -> Option<PhysAddr> {
            self.frames.take(Floor::Half)
        }
        unsafe fn give(&mut self, frame: PhysAddr) {
            // SAFETY: by the caller's word.
            unsafe { self.frames.give(frame) };
        }
        fn block(&mut self, frames: u64) -> Option<PhysAddr> {
            self.frames.take_contiguous(frames, FRAME, Floor::Reserve)
        }
        fn map(&mut self, len: usize, align: usize) -> *mut u8 {
            assert!(align <= 1 << 16);
            if self.map_fails {
                return ptr::null_mut();
            }
            // SAFETY: the layout is not empty.
            let at = unsafe { std::alloc::alloc_zeroed(pages(len)) };
            self.mapped.insert(at.addr(), len);
            at
        }
        unsafe fn unmap(&mut self, at: *mut u8, len: usize) {
            assert_eq!(self.mapped.remove(&at.addr()), Some(len));
            // SAFETY: from `map`, with this length.
            unsafe { std::alloc::dealloc(at, pages(len)) };
        }
        unsafe fn remap(&mut self, at: *mut u8, old: usize, new: usize) -> *mut u8 {
            let to = self.map(new, 1);
            if !to.is_null() {
                // SAFETY: both live, both at least that long.
                unsafe {
                    ptr::copy_nonoverlapping(at, to, old.min(new));
                    self.unmap(at, old);
                }
            }
            to
        }
        fn is_mapped(&self, at: *mut u8) -> bool {
            self.mapped.contains_key(&at.addr())
        }
    }

    fn heap(arena: &Arena) -> Core<Fake> {
        Core::new(Fake { frames: arena.frames(), mapped: HashMap::new(), map_fails: false })
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn classes_fit_every_small_size_and_waste_little() {
        for size in 1..=SMALL_MAX {
            let block = usize::from(SIZES[class_of(size)]);
            assert!(block >= size && block % 16 == 0);
            assert!(block - size <= 15 + size / 2, "{size} in {block}");
        }
        assert!(SIZES.is_sorted());
    }

    #[test]
    fn random_blocks_keep_their_contents_and_alignment() {
        for seed in 1..=4u64 {
            std::println!("seed {seed}");
            let arena = Arena::new(4096);
            let mut heap = heap(&arena);
            let mut state = seed;
            let mut random = |n: usize| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                (state >> 33) as usize % n
            };
            let size = |random: &mut dyn FnMut(usize) -> usize| match random(20) {
                0 => 1 + random(200_000),
                1..=3 => 1 + random(MIDDLE_MAX + 100),
                4..=8 => 1 + random(SMALL_MAX + 100),
                _ => 1 + random(200),
            };
            let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
            let holds = |&(at, layout, tag): &(*mut u8, Layout, u8)| {
                // SAFETY: live blocks of this heap.
                let bytes = unsafe { core::slice::from_raw_parts(at, layout.size()) };
                assert!(bytes.iter().all(|&byte| byte == tag), "{layout:?} was written by another");
                assert_eq!(at.addr() % layout.align(), 0);
            };
            for step in 0..30_000 {
                let tag = 1 + (step % 255) as u8;
                if live.len() < 300 && random(2) == 0 {
                    let size = size(&mut random);
                    let align = if random(4) == 0 { 1 << random(14) } else { 8 };
                    let layout = layout(size, align);
                    let zeroed = random(3) == 0;
                    let at = if zeroed { heap.alloc_zeroed(layout) } else { heap.alloc(layout) };
                    assert!(!at.is_null());
                    // SAFETY: just allocated.
                    unsafe {
                        if zeroed {
                            holds(&(at, layout, 0));
                        }
                        at.write_bytes(tag, size);
                    }
                    live.push((at, layout, tag));
                } else if !live.is_empty() {
                    let index = random(live.len());
                    holds(&live[index]);
                    let (at, old, tag) = live[index];
                    // SAFETY: live, with this layout.
                    unsafe {
                        if random(3) == 0 {
                            let size = size(&mut random);
                            let to = heap.realloc(at, old, size);
                            assert!(!to.is_null());
                            holds(&(to, layout(old.size().min(size), old.align()), tag));
                            to.write_bytes(tag, size);
                            live[index] = (to, layout(size, old.align()), tag);
                        } else {
                            heap.dealloc(at, old);
                            live.swap_remove(index);
                        }
                    }
                }
            }
            for (at, layout, tag) in live {
                holds(&(at, layout, tag));
                // SAFETY: live, with this layout.
                unsafe { heap.dealloc(at, layout) };
            }
            assert!(heap.source.mapped.is_empty());
            assert!(heap.arenas.iter().all(|arena| arena.used() == 0));
            let kept: u64 = heap.pages.iter().filter(|page| !page.is_null()).count() as u64;
            let arenas: usize = heap.arenas.iter().map(|arena| arena.size().div_ceil(PAGES)).sum();
            let frames = &heap.source.frames;
            assert_eq!(frames.free() + kept + arenas as u64, frames.total(), "nothing is lost");
            for page in heap.pages.iter().filter(|page| !page.is_null()) {
                // SAFETY: the list's first is a live page.
                assert!(unsafe { (**page).next.is_null() && (**page).used == 0 });
            }
        }
    }

    #[test]
    fn out_of_memory_is_null_and_what_lives_stays() {
        let arena = Arena::new(40);
        let mut heap = heap(&arena);
        heap.source.map_fails = true;
        let small = layout(100, 8);
        let mut live = Vec::new();
        loop {
            let at = heap.alloc(small);
            if at.is_null() {
                break;
            }
            // SAFETY: just allocated.
            unsafe { at.write_bytes(7, 100) };
            live.push(at);
        }
        assert_eq!(live.len(), 32 * 36, "40 frames less a reserve of 8, 36 blocks a frame");
        for size in [2000, 5000, 100_000] {
            assert!(heap.alloc(layout(size, 8)).is_null());
            // SAFETY: live, with this layout; null leaves it alone.
            assert!(unsafe { heap.realloc(live[0], small, size) }.is_null());
        }
        for at in live {
            // SAFETY: live, with this layout.
            unsafe {
                assert!(core::slice::from_raw_parts(at, 100).iter().all(|&byte| byte == 7));
                heap.dealloc(at, small);
            }
        }
        assert_eq!(heap.source.frames.free(), 39, "all but the page that is kept");
    }

    #[test]
    fn middle_blocks_fall_back_to_areas() {
        let arena = Arena::new(40);
        let mut heap = heap(&arena);
        let at = heap.alloc(layout(5000, 8));
        assert!(heap.source.is_mapped(at));
        // SAFETY: live, with these layouts.
        unsafe {
            at.write_bytes(3, 5000);
            let at = heap.realloc(at, layout(5000, 8), 100);
            assert!(!heap.source.is_mapped(at));
            assert_eq!(at.add(99).read(), 3);
            heap.dealloc(at, layout(100, 8));
        }
        assert!(heap.source.mapped.is_empty());
    }
}
