//! The page tables that boot/enter.s made, until `mm` takes them over.

unsafe extern "C" {
    static boot_pml4: u8;
    static mut boot_pt: [u64; 8192];
}

/// What boot/enter.s mapped: virtual = physical.
pub(crate) const MAPPED: u64 = 4 << 30;

/// Physical address of the top-level table.
pub(crate) fn root() -> u64 {
    (&raw const boot_pml4).addr() as u64
}

/// Takes a page of the image out of the map: a guard.
///
/// # Safety
/// Nothing uses the page.
pub(crate) unsafe fn unmap_image_page(address: u64) {
    // SAFETY: `boot_pt` maps the image page by page, and layout.ld asserts that it holds all of it; that the page is unused is the caller's word.
    unsafe {
        boot_pt[(address / 4096) as usize] = 0;
    }
    x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(address));
}
