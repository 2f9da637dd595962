//! The PVH boot protocol: QEMU, Firecracker, Cloud Hypervisor, Xen. The first instructions are in pvh.s; what is handed over is
//! read in `handover`.

use crate::handover::pvh;

core::arch::global_asm!(include_str!("pvh.s"));
core::arch::global_asm!(include_str!("enter.s"), pvh = sym entered);

/// Long mode is on, the boot stack in use, nothing else is set up.
extern "C" fn entered(start_info: u64, entry_tsc: u64) -> ! {
    super::enter(pvh::read, start_info, entry_tsc)
}
