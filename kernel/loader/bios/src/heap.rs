//! A heap, for what reads other disks' file systems: a piece of low memory (layout.ld).
//!
//! Without room an allocation fails, and Rust ends the loader with words; there is twice as much as the largest files and folders
//! that are read can take.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ops::Range,
};

use lunette_loader::space::Space;

/// Free by layout.ld, if the memory map says that it is memory.
pub(crate) const PLACE: Range<usize> = 0x2_8000..0x6_8000;

struct Heap(UnsafeCell<Space>);

// SAFETY: one processor runs this, and no interrupt handler.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Space::new(PLACE)));

// SAFETY: blocks are parts of `PLACE`, which nothing else knows; `Space` gives each to one only.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: nobody else has it: `take` allocates nothing.
        let space = unsafe { &mut *self.0.get() };
        space
            .take(layout.size(), layout.align())
            .map_or(core::ptr::null_mut(), core::ptr::with_exposed_provenance_mut)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        let space = unsafe { &mut *self.0.get() };
        space.give(block.addr(), layout.size());
    }
}
