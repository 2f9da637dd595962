//! Memory that a device reads or writes by itself: buffers of one size, in one piece.

use core::ptr::NonNull;

use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use super::Fault;

/// Buffers that a device can reach: contiguous pages.
pub(super) struct Memory<H: Hal> {
    pub(super) at: NonNull<u8>,
    pub(super) physical: PhysAddr,
    pages: usize,
    pub(super) size: usize,
    /// The device may still use it: never freed.
    pub(super) keep: bool,
    hal: core::marker::PhantomData<H>,
}

impl<H: Hal> Memory<H> {
    /// Room for `count` buffers, or for half as many, and so on; and for how many it is.
    pub(super) fn new(
        mut count: usize,
        size: usize,
        direction: BufferDirection,
    ) -> Result<(Self, usize), Fault> {
        while count >= 8 {
            let pages = (count * size).div_ceil(virtio_drivers::PAGE_SIZE);
            let (physical, at) = H::dma_alloc(pages, direction);
            if physical != 0 {
                let hal = core::marker::PhantomData;
                return Ok((Self { at, physical, pages, size, keep: false, hal }, count));
            }
            count /= 2;
        }
        Err(Fault::NoMemory)
    }

    /// Bytes from the start of buffer `index`.
    ///
    /// # Safety
    /// The range is inside, and neither the device nor another reference has any of it.
    pub(super) unsafe fn bytes<'a>(&self, index: usize, from: usize, length: usize) -> &'a mut [u8] {
        // SAFETY: pages from `dma_alloc` are valid and initialised (zeroed); the rest is the caller's word. A
        // device that writes to what it gave back changes bytes under a reader that checks each access: the same risk as
        // any memory that the hypervisor can write to, which is all of it.
        unsafe { core::slice::from_raw_parts_mut(self.at.as_ptr().add(index * self.size + from), length) }
    }
}

impl<H: Hal> Drop for Memory<H> {
    fn drop(&mut self) {
        if !self.keep {
            // SAFETY: it came from `dma_alloc` with these values; the device was reset, or never had it.
            unsafe { H::dma_dealloc(self.physical, self.at, self.pages) };
        }
    }
}
