//! The loader for disks that UEFI boots: reads what the disk's record names from the volume that it came from, leaves the
//! firmware, puts the kernel into its place and enters it by Linux's 64-bit entry.
//!
//! Promises: it says on the firmware's console and on COM1 what is missing or damaged; what has to be at a certain place
//! is moved there when the firmware is gone, and only to memory that it has given up. Does not: use any disk but that one, unless
//! its command line asks for settings from disks ([`disks`]), touch the screen's mode, come back.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
extern crate alloc;

#[cfg(target_os = "uefi")]
mod disks;
#[cfg(target_os = "uefi")]
mod firmware;
#[cfg(target_os = "uefi")]
mod leave;
#[cfg(target_os = "uefi")]
mod load;

#[cfg(not(target_os = "uefi"))]
fn main() {
    eprintln!("this is no program of this machine: `cargo xtask image` builds it for UEFI");
}
