//! Multiboot2: GRUB, from a BIOS and from EFI (Multiboot2 Specification 2.0, 3.6). The bundle is the first module. The first
//! instructions are in multiboot2.s.

use super::{BootInfo, Regions, claims};
use crate::acpi::Rsdp;

core::arch::global_asm!(include_str!("multiboot2.s"), multiboot2 = sym entered);

/// Far more than a loader has to tell.
const LARGEST: u64 = 1 << 20;
/// `MULTIBOOT_MEMORY_AVAILABLE`.
const RAM: u32 = 1;

mod tag {
    pub(super) const END: u32 = 0;
    pub(super) const CMDLINE: u32 = 1;
    pub(super) const MODULE: u32 = 3;
    pub(super) const MEMORY_MAP: u32 = 6;
    pub(super) const RSDP_1: u32 = 14;
    pub(super) const RSDP_2: u32 = 15;
}

/// Long mode is on, the boot stack in use, nothing else is set up.
extern "C" fn entered(at: u64, entry_tsc: u64) -> ! {
    let size = claims::long(claims::bytes("Multiboot2's information", at, 8), 0);
    if !(8..=LARGEST).contains(&size.into()) {
        claims::refuse(format_args!("Multiboot2's information of {size} bytes"));
    }
    let mut tags = &claims::bytes("Multiboot2's information", at, size.into())[8..];
    let (mut cmdline, mut module, mut memory) = (0, None, Regions::default());
    let mut rsdp = None;
    while tags.len() >= 8 {
        let (kind, length) = (claims::long(tags, 0), claims::long(tags, 4) as usize);
        if kind == tag::END {
            break;
        }
        let Some(body) = tags.get(8..length) else {
            claims::refuse(format_args!("a Multiboot2 tag of type {kind} and {length} bytes"))
        };
        match kind {
            tag::CMDLINE => cmdline = body.as_ptr().addr() as u64,
            tag::MODULE if module.is_none() => {
                module = Some((u64::from(claims::long(body, 0)), u64::from(claims::long(body, 4))));
            }
            tag::MEMORY_MAP => {
                let step = (claims::long(body, 0) as usize).max(24);
                for entry in body.get(8..).unwrap_or_default().chunks_exact(step) {
                    if claims::long(entry, 16) == RAM {
                        claims::region(&mut memory, claims::wide(entry, 0), claims::wide(entry, 8));
                    }
                }
            }
            tag::RSDP_1 | tag::RSDP_2 => {
                // A copy; the second kind says more.
                let mut copy = [0; Rsdp::BYTES];
                let kept = body.len().min(copy.len());
                copy[..kept].copy_from_slice(&body[..kept]);
                if kind == tag::RSDP_2 || rsdp.is_none() {
                    rsdp = Some(Rsdp::Copy(copy));
                }
            }
            _ => {}
        }
        tags = tags.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    // First, for the bundle may have to be moved to where this is.
    let cmdline = super::keep_cmdline(cmdline);
    let payload = module.and_then(|(start, end)| claims::payload(start, end.saturating_sub(start), &memory));
    super::start(BootInfo {
        entry_tsc,
        cmdline,
        payload,
        memory,
        rsdp: rsdp.unwrap_or_else(super::search_for_rsdp),
    })
}
