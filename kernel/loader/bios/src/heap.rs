//! A heap, for what reads other disks' file systems: a piece of low memory (layout.ld).
//!
//! Without room an allocation fails, and Rust ends the loader with words; there is twice as much as the largest files and folders
//! that are read can take.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ops::Range,
    ptr::{self, NonNull},
};

/// Free by layout.ld, if the memory map says that it is memory.
pub(crate) const PLACE: Range<usize> = 0x2_8000..0x6_8000;

struct Heap(UnsafeCell<linked_list_allocator::Heap>);

// SAFETY: one processor runs this, and no interrupt handler.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(linked_list_allocator::Heap::empty()));

/// Lets blocks be allocated. Before that, none can.
///
/// # Safety
/// [`PLACE`] is memory, and this is called once.
pub(crate) unsafe fn open() {
    // SAFETY: nobody else has it, nor the memory, by the caller's word and by layout.ld.
    unsafe { (*HEAP.0.get()).init(ptr::with_exposed_provenance_mut(PLACE.start), PLACE.len()) }
}

// SAFETY: blocks are parts of `PLACE`, which nothing else knows; the list gives each to one only.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: nobody else has it: to take a block allocates nothing.
        let heap = unsafe { &mut *self.0.get() };
        heap.allocate_first_fit(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        // SAFETY: as above; the block is one of its own, by the caller's word.
        unsafe { (*self.0.get()).deallocate(block, layout) }
    }
}
