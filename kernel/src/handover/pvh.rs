//! PVH's start info: QEMU, Firecracker, Cloud Hypervisor, Xen (docs/misc/pvh.pandoc;
//! xen/include/public/arch-x86/hvm/start_info.h).

use super::{Claims, Handed, LONGEST_CMDLINE, Regions, Wrong, long, wide};
use crate::acpi::Rsdp;

const MAGIC: u32 = 0x336e_c578;
/// Of version 0, which has no memory map, and of version 1.
const START_INFO: u64 = 56;
/// `XEN_HVM_MEMMAP_TYPE_RAM`.
const RAM: u32 = 1;
const MAP_ENTRY: u64 = 24;
/// Far more than there are.
const MAP_MOST: u64 = 4096;
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

pub fn read<'m>(claims: &Claims<'m>, at: u64) -> Result<Handed<'m>, Wrong> {
    let what = "PVH's start info";
    let info = claims.bytes(what, at, START_INFO)?;
    if long(info, 0) != MAGIC || long(info, field::VERSION) < 1 {
        return Err(Wrong::Unmarked { what, at });
    }
    let entries = u64::from(long(info, field::MEMORY_MAP_ENTRIES));
    if entries > MAP_MOST {
        return Err(Wrong::Size { what: "entries of PVH's memory map", size: entries });
    }
    let map = claims.bytes("PVH's memory map", wide(info, field::MEMORY_MAP), entries * MAP_ENTRY)?;
    let mut memory = Regions::default();
    for entry in map.chunks_exact(MAP_ENTRY as usize) {
        if long(entry, 16) == RAM {
            // A region of size 0 (microvm ends its map with one) is none.
            memory.tell(wide(entry, 0), wide(entry, 8));
        }
    }
    let payload = match long(info, field::MODULES) {
        0 => None,
        _ => {
            let module = claims.bytes("PVH's modules", wide(info, field::MODULE_LIST), MODULE)?;
            claims.payload(wide(module, 0), wide(module, 8), &memory)?
        }
    };
    Ok(Handed {
        cmdline: claims.text("the command line", wide(info, field::CMDLINE), LONGEST_CMDLINE)?,
        payload,
        memory,
        rsdp: Some(wide(info, field::RSDP)).filter(|at| *at != 0).map(Rsdp::At),
    })
}
