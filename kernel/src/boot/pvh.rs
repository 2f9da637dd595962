//! The PVH boot protocol: QEMU, Firecracker, Cloud Hypervisor, Xen (docs/misc/pvh.pandoc;
//! xen/include/public/arch-x86/hvm/start_info.h). The first instructions are in pvh.s.

use super::{BootInfo, Regions, claims};
use crate::acpi::Rsdp;

core::arch::global_asm!(include_str!("pvh.s"));
core::arch::global_asm!(include_str!("enter.s"), pvh = sym entered);

const MAGIC: u32 = 0x336e_c578;
/// Of version 0, which has no memory map, and of version 1.
const START_INFO: u64 = 56;
/// `XEN_HVM_MEMMAP_TYPE_RAM`.
const RAM: u32 = 1;
const MAP_ENTRY: u64 = 24;
const MODULE: u64 = 32;

mod field {
    pub(super) const VERSION: usize = 4;
    pub(super) const MODULES: usize = 12;
    pub(super) const MODULE_LIST: usize = 16;
    pub(super) const CMDLINE: usize = 24;
    pub(super) const RSDP: usize = 32;
    pub(super) const MEMORY_MAP: usize = 40;
    pub(super) const MEMORY_MAP_ENTRIES: usize = 48;
}

/// Long mode is on, the boot stack in use, nothing else is set up.
extern "C" fn entered(start_info: u64, entry_tsc: u64) -> ! {
    let info = claims::bytes("PVH's start info", start_info, START_INFO);
    if claims::long(info, 0) != MAGIC || claims::long(info, field::VERSION) < 1 {
        claims::refuse(format_args!(
            "PVH's start info at {start_info:#x} without magic number or memory map"
        ));
    }
    let entries = claims::long(info, field::MEMORY_MAP_ENTRIES);
    let map = claims::bytes(
        "PVH's memory map",
        claims::wide(info, field::MEMORY_MAP),
        u64::from(entries) * MAP_ENTRY,
    );
    let mut memory = Regions::default();
    for entry in map.chunks_exact(MAP_ENTRY as usize) {
        if claims::long(entry, 16) == RAM {
            // A region of size 0 (microvm ends its map with one) is none.
            claims::region(&mut memory, claims::wide(entry, 0), claims::wide(entry, 8));
        }
    }
    let payload = match claims::long(info, field::MODULES) {
        0 => None,
        _ => {
            let module = claims::bytes("PVH's modules", claims::wide(info, field::MODULE_LIST), MODULE);
            claims::payload(claims::wide(module, 0), claims::wide(module, 8), &memory)
        }
    };
    super::start(BootInfo {
        entry_tsc,
        cmdline: super::keep_cmdline(claims::wide(info, field::CMDLINE)),
        payload,
        memory,
        rsdp: match claims::wide(info, field::RSDP) {
            0 => super::search_for_rsdp(),
            at => Rsdp::At(at),
        },
    })
}
