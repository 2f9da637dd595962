//! Multiboot2: GRUB, from a BIOS and from EFI. The first instructions are in multiboot2.s; what is handed over is read in
//! `handover`.

use crate::handover::multiboot2;

core::arch::global_asm!(include_str!("multiboot2.s"), multiboot2 = sym entered);

/// Long mode is on, the boot stack in use, nothing else is set up.
extern "C" fn entered(information: u64, entry_tsc: u64) -> ! {
    super::enter(multiboot2::read, information, entry_tsc)
}
