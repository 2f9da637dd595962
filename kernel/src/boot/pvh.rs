//! The PVH boot protocol: QEMU, Firecracker, Cloud Hypervisor, Xen (docs/misc/pvh.pandoc;
//! xen/include/public/arch-x86/hvm/start_info.h). The first instructions are in pvh.s.

use core::{ffi::CStr, slice};

use super::{BootInfo, Regions};
use crate::{cell::StaticCell, cmdline::Cmdline, platform};

core::arch::global_asm!(include_str!("pvh.s"), entered = sym entered);

const MAGIC: u32 = 0x336e_c578;
/// `XEN_HVM_MEMMAP_TYPE_RAM`.
const RAM: u32 = 1;

#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    cmdline: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
struct Module {
    address: u64,
    size: u64,
    cmdline: u64,
    reserved: u64,
}

#[repr(C)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// The command line is copied, for it may lie in page 0, which is about to go.
static CMDLINE: StaticCell<[u8; 4096]> = StaticCell::new([0; 4096]);

/// Long mode is on, the boot stack in use, nothing else is set up.
extern "C" fn entered(start_info: u64, entry_tsc: u64) -> ! {
    // SAFETY: the protocol passes a physical address of a start info below 4 GiB, which is mapped.
    let info = unsafe { &*core::ptr::with_exposed_provenance::<StartInfo>(start_info as usize) };
    if info.magic != MAGIC || info.version < 1 {
        // Nothing is known, not even where to say so.
        platform::halt_for_ever();
    }
    // SAFETY: these are what the protocol says they are: addresses of arrays and of a C string in mapped RAM
    // that nobody writes; the hypervisor could as well have written another kernel.
    let (map, modules, cmdline) = unsafe {
        (
            slice::from_raw_parts(
                core::ptr::with_exposed_provenance::<MemoryMapEntry>(info.memory_map as usize),
                info.memory_map_entries as usize,
            ),
            match info.modules {
                0 => &[][..],
                n => slice::from_raw_parts(
                    core::ptr::with_exposed_provenance::<Module>(info.module_list as usize),
                    n as usize,
                ),
            },
            match info.cmdline {
                0 => c"",
                at => CStr::from_ptr(core::ptr::with_exposed_provenance(at as usize)),
            },
        )
    };
    let mut memory = Regions::default();
    for entry in map.iter().filter(|e| e.kind == RAM) {
        // Whole pages only; a region of size 0 (microvm ends its map with one) is none.
        let start = entry.address.next_multiple_of(4096);
        let end = entry.address.saturating_add(entry.size) & !0xfff;
        memory.push(start..end);
    }
    let payload = modules.first().filter(|m| m.size > 0).map(|m| {
        // SAFETY: the module's memory is mapped (below 4 GiB in every hypervisor we know), and taken out of
        // the usable memory before anything is handed out, so nobody ever writes to it.
        unsafe {
            slice::from_raw_parts(
                core::ptr::with_exposed_provenance::<u8>(m.address as usize),
                m.size as usize,
            )
        }
    });
    // SAFETY: this runs once, and nothing else knows the buffer.
    let copy = unsafe { &mut *CMDLINE.get() };
    let cmdline = cmdline.to_bytes();
    let len = cmdline.len().min(copy.len());
    copy[..len].copy_from_slice(&cmdline[..len]);
    super::start(BootInfo {
        entry_tsc,
        cmdline: Cmdline::new(&copy[..len]),
        payload,
        memory,
        rsdp: (info.rsdp != 0).then_some(info.rsdp),
    })
}
