//! Linux's 64-bit entry: Firecracker before 1.12, crosvm, libkrun, and our own loaders for disks
//! (Documentation/arch/x86/boot.rst and zero-page.rst). The first instructions are in linux64.s.

use super::{BootInfo, Regions, claims};
use crate::acpi::Rsdp;

core::arch::global_asm!(include_str!("linux64.s"), linux64 = sym entered);

const BOOT_PARAMS: u64 = 4096;
/// `E820_TYPE_RAM`.
const RAM: u32 = 1;
const E820_MOST: usize = 128;
const E820_ENTRY: usize = 20;

mod field {
    pub(super) const RSDP: usize = 0x70;
    pub(super) const RAMDISK_HIGH: usize = 0xc0;
    pub(super) const RAMDISK_SIZE_HIGH: usize = 0xc4;
    pub(super) const CMDLINE_HIGH: usize = 0xc8;
    pub(super) const E820_ENTRIES: usize = 0x1e8;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const RAMDISK: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    pub(super) const CMDLINE: usize = 0x228;
    pub(super) const E820: usize = 0x2d0;
}

/// Long mode is on, the boot stack in use, nothing else is set up.
extern "C" fn entered(boot_params: u64, entry_tsc: u64) -> ! {
    let params = claims::bytes("boot_params", boot_params, BOOT_PARAMS);
    if params.get(field::MAGIC..field::MAGIC + 4) != Some(b"HdrS") {
        claims::refuse(format_args!("boot_params at {boot_params:#x} without their magic number"));
    }
    let pair = |low, high| u64::from(claims::long(params, low)) | u64::from(claims::long(params, high)) << 32;
    let mut memory = Regions::default();
    let entries = usize::from(params[field::E820_ENTRIES]).min(E820_MOST);
    for entry in params[field::E820..].chunks_exact(E820_ENTRY).take(entries) {
        if claims::long(entry, 16) == RAM {
            claims::region(&mut memory, claims::wide(entry, 0), claims::wide(entry, 8));
        }
    }
    super::start(BootInfo {
        entry_tsc,
        cmdline: super::keep_cmdline(pair(field::CMDLINE, field::CMDLINE_HIGH)),
        payload: claims::payload(
            pair(field::RAMDISK, field::RAMDISK_HIGH),
            pair(field::RAMDISK_SIZE, field::RAMDISK_SIZE_HIGH),
            &memory,
        ),
        memory,
        rsdp: match claims::wide(params, field::RSDP) {
            0 => super::search_for_rsdp(),
            at => Rsdp::At(at),
        },
    })
}
