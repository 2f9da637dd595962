//! The loader for disks that a BIOS boots: reads what the disk's record names (kernel/loader/src/record.rs) into memory and
//! enters the kernel by Linux's 64-bit entry.
//!
//! Promises: it needs INT 13h's extensions, a memory map (INT 15h, E820), and a 64-bit processor, and says on the screen and
//! on COM1 which is missing, or what is damaged; nothing that the disk or the BIOS says makes it write over itself, the
//! BIOS, or outside of memory. Does not: know file systems, use more of the disk than it is told, or any other disk, unless its
//! command line asks for settings from disks ([`disks`]), come back.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod disks;
#[cfg(target_os = "none")]
mod firmware;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod load;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is no program of this machine: `cargo xtask image` builds it for a BIOS");
}
