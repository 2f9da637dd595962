//! Memory: frames, page tables, address space, heap.
//!
//! The parts, from below:
//! - [`frames`]: physical memory, 4 KiB at a time;
//! - [`paging`]: page tables;
//! - `areas`, `object`, [`space`]: the virtual-memory layer, what Linux's `mmap` family needs;
//! - [`heap`]: the global allocator.
//!
//! Each part is a plain value, tested on a laptop over an arena; this file holds the one machine's.
//!
//! ```text
//!            0 .. 512 GiB     RAM at its own address, 2 MiB pages, never executable but the image
//!   0x80_0000_0000 .. 1 TiB   devices, from map_mmio, uncached
//! 0x100_0000_0000 .. 127 TiB  areas: large heap blocks, stacks, whatever is mmapped
//! ```
//!
//! Rules for callers: nothing in here is called from an interrupt handler, and from the fault handler
//! [`fault`] alone. While the one [`Space`] is held no memory is touched that may fault, so a fault
//! meets it free; a fault that does not is a bug, and answered as a bad access, never by waiting.

mod areas;
#[cfg(test)]
pub(crate) mod arena;
pub mod frames;
pub mod heap;
mod object;
pub mod paging;
mod slab;
pub mod space;
#[cfg(test)]
mod space_tests;

use core::ops::Range;

pub use frames::PhysAddr;
pub use heap::Heap;
pub use object::ObjectId;
pub use space::{Access, FaultOutcome, Statistics};

use frames::{FRAME, Floor};
use paging::{CACHE_DISABLE, Cpu, LARGE_PAGE, NO_EXECUTE, PAGE, PRESENT, Prot, WRITABLE, WRITE_THROUGH};
use space::{Backing, Error, Place, Space};

/// RAM above this is not used.
const IDENTITY_END: u64 = 512 << 30;

/// Where devices are mapped.
const DEVICES: Range<u64> = 0x0080_0000_0000..0x0100_0000_0000;

struct Memory {
    space: Space<Cpu>,
    /// The first address in [`DEVICES`] not given away.
    devices: u64,
}

static MEMORY: spin::Mutex<Memory> =
    spin::Mutex::new(Memory { space: Space::new(Cpu), devices: DEVICES.start });

/// Starts the memory layer. Costs the same however much RAM there is.
///
/// # Safety
/// Once, at boot. The ranges are RAM, mapped readable and writable at their own addresses, and nobody
/// else's from now on. `root` is the live top-level page table, and nobody else changes it or what is
/// below it; it has nothing above 512 GiB.
pub unsafe fn init(usable: &[Range<u64>], root: PhysAddr) {
    with(|space| {
        for range in usable {
            // SAFETY: by the caller's word.
            unsafe { space.frames.add(range.start..range.end.min(IDENTITY_END)) };
        }
        // SAFETY: by the caller's word.
        unsafe { space.init(root) };
    });
}

/// Maps RAM that boot has not mapped at its own address, and adds it. `false` if frames for the tables
/// are missing; what was mapped until then is in use. Reaches inwards to multiples of 2 MiB; RAM
/// above 512 GiB is left alone.
///
/// # Safety
/// The range is RAM that nobody uses, and not part of what [`init`] was given.
pub unsafe fn identity_map(range: Range<u64>) -> bool {
    let Some(start) = range.start.checked_next_multiple_of(LARGE_PAGE) else { return true };
    let end = range.end.min(IDENTITY_END) & !(LARGE_PAGE - 1);
    with(|space| {
        let (tables, frames) = space.tables();
        let mut at = start;
        while at < end && tables.map_identity(at, frames) {
            at += LARGE_PAGE;
        }
        if start < at {
            // SAFETY: by the caller's word, and mapped by the lines above.
            unsafe { frames.add(start..at) };
        }
        at >= end
    })
}

/// Maps a device's registers, uncached, readable and writable, never executable. Answers where `phys`
/// is now; `None` if frames for the tables or addresses are missing. There is no unmapping.
///
/// # Safety
/// The range is a device's, not RAM.
pub unsafe fn map_mmio(phys: PhysAddr, len: u64) -> Option<*mut u8> {
    let first = phys.0 & !(PAGE - 1);
    let pages = phys.0.checked_add(len)?.checked_sub(first)?.div_ceil(PAGE);
    // 52 bits is what an entry can hold.
    if pages == 0 || first.checked_add(pages * PAGE)? > 1 << 52 {
        return None;
    }
    have_stack();
    let mut memory = MEMORY.try_lock()?;
    let at = memory.devices;
    let end = pages.checked_mul(PAGE).and_then(|bytes| at.checked_add(bytes))?;
    if end > DEVICES.end {
        return None;
    }
    let (tables, frames) = memory.space.tables();
    for page in 0..pages {
        let slot = tables.find_or_make(at + page * PAGE, frames)?;
        let flags = PRESENT | WRITABLE | WRITE_THROUGH | CACHE_DISABLE | NO_EXECUTE;
        slot.set((first + page * PAGE) | flags);
    }
    memory.devices = end;
    let addr = at + (phys.0 - first);
    Some(core::ptr::with_exposed_provenance_mut(addr as usize))
}

/// A stack of `len` bytes (rounded up to pages) with an inaccessible page below it; answers its top, a
/// multiple of 4 KiB. Made of zeros at the first touch, and not counted as a promise: so whoever runs
/// on it needs the fault handler on a stack of its own.
pub fn map_stack(len: u64) -> Result<u64, Error> {
    let len = len.max(1).checked_next_multiple_of(PAGE).ok_or(Error::NoMem)?;
    with(|space| {
        let whole = len.checked_add(PAGE).ok_or(Error::NoMem)?;
        let guard = space.map(Place::Any, whole, Prot::NONE, true, Backing::Anonymous)?;
        if let Err(error) = space.protect(guard + PAGE, len, Prot::READ_WRITE) {
            space.unmap(guard, whole)?;
            return Err(error);
        }
        Ok(guard + whole)
    })
}

/// Gives back what [`map_stack`] made.
pub fn unmap_stack(top: u64, len: u64) -> Result<(), Error> {
    let len = len.max(1).checked_next_multiple_of(PAGE).ok_or(Error::Inval)?;
    with(|space| space.unmap(top.wrapping_sub(len + PAGE), len + PAGE))
}

/// Answers a page fault; called by the handler, with interrupts off, on its own stack.
pub fn fault(addr: u64, access: Access) -> FaultOutcome {
    let Some(mut memory) = MEMORY.try_lock() else { return FaultOutcome::Segv { mapped: false } };
    let outcome = memory.space.fault(addr, access);
    if outcome == FaultOutcome::Resolved {
        memory.space.ahead(addr);
    }
    outcome
}

/// Makes every page of the range present (`write`: and writable without a further fault), for code that
/// must not fault, and for devices. The whole pages' outcome: the first that is not `Resolved`.
pub fn populate(addr: u64, len: u64, write: bool) -> FaultOutcome {
    let access = if write { Access::Write } else { Access::Read };
    let Some(end) = addr.checked_add(len) else { return FaultOutcome::Segv { mapped: false } };
    if end <= space::ADDRESSES.start {
        return FaultOutcome::Resolved;
    }
    let mut at = addr & !(PAGE - 1);
    while at < end {
        match fault(at, access) {
            FaultOutcome::Resolved => at += PAGE,
            other => return other,
        }
    }
    FaultOutcome::Resolved
}

/// Where this address is in physical memory, if it is there now. A large heap block is contiguous only
/// within pages; anything else of the heap, the image and DMA memory is at its own address.
pub fn translate(addr: u64) -> Option<PhysAddr> {
    with(|space| space.tables().0.translate(addr))
}

/// Contiguous frames for a device, `None` if there are none left in a row: take them early.
pub fn take_dma(pages: u64, align: u64) -> Option<PhysAddr> {
    with(|space| space.frames.take_contiguous(pages, align, Floor::Reserve))
}

/// Gives frames from [`take_dma`] back, as single ones.
///
/// # Safety
/// They are what one call of `take_dma` answered, and neither code nor device uses them any more.
pub unsafe fn give_dma(start: PhysAddr, pages: u64) {
    with(|space| {
        for page in 0..pages {
            // SAFETY: by the caller's word.
            unsafe { space.frames.give(PhysAddr(start.0 + page * FRAME)) };
        }
    });
}

/// What is used and what is free.
pub fn statistics() -> Statistics {
    with(|space| space.statistics())
}

/// Runs `f` on the machine's address space. Not while it runs already: nothing below calls back.
pub(crate) fn with<R>(f: impl FnOnce(&mut Space<Cpu>) -> R) -> R {
    have_stack();
    let Some(mut memory) = MEMORY.try_lock() else { panic!("mm: entered twice") };
    f(&mut memory.space)
}

/// Bytes of RAM that could still be promised: what is free, without what was promised and not yet touched.
pub fn free_bytes() -> u64 {
    let s = statistics();
    (s.free.saturating_sub(s.committed.saturating_sub(s.resident))) * FRAME
}

/// Touches the next 16 KiB of stack. Stacks are demand-zero too: a page of one that is missing must fault
/// before the space is held, not while.
#[inline(always)]
fn have_stack() {
    #[cfg(all(target_arch = "x86_64", any(target_env = "musl", target_os = "none")))]
    // SAFETY: below the stack pointer and the red zone there is nothing that anybody relies on, and every
    // stack that calls this (boot's, main's, guests' fibers) has that much left, or ends in a guard page.
    unsafe {
        core::arch::asm!(
            "mov byte ptr [rsp - 0x1000], 0",
            "mov byte ptr [rsp - 0x2000], 0",
            "mov byte ptr [rsp - 0x3000], 0",
            "mov byte ptr [rsp - 0x4000], 0",
            options(nostack, preserves_flags)
        );
    }
}
