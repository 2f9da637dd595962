//! Linux's 64-bit entry: Firecracker before 1.12, crosvm, libkrun, and our own loaders for disks. The first instructions are in
//! linux64.s; what is handed over is read in `handover`.

use crate::handover::linux64;

core::arch::global_asm!(include_str!("linux64.s"), linux64 = sym entered);

/// Long mode is on, the boot stack in use, nothing else is set up.
extern "C" fn entered(boot_params: u64, entry_tsc: u64) -> ! {
    super::enter(linux64::read, boot_params, entry_tsc)
}
