//! Multiboot2's information: GRUB, from a BIOS and from EFI (Multiboot2 Specification 2.0, 3.6). The bundle is the first module.

use super::{Claims, Handed, LONGEST_CMDLINE, Regions, Wrong, long, wide};
use crate::acpi::Rsdp;

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

pub fn read<'m>(claims: &Claims<'m>, at: u64) -> Result<Handed<'m>, Wrong> {
    let what = "Multiboot2's information";
    let size = u64::from(long(claims.bytes(what, at, 8)?, 0));
    if !(8..=LARGEST).contains(&size) {
        return Err(Wrong::Size { what: "bytes of Multiboot2's information", size });
    }
    let mut tags = &claims.bytes(what, at, size)?[8..];
    let (mut cmdline, mut module, mut memory, mut rsdp) = (&[][..], None, Regions::default(), None);
    while tags.len() >= 8 {
        let (kind, length) = (long(tags, 0), long(tags, 4) as usize);
        if kind == tag::END {
            break;
        }
        let Some(body) = tags.get(8..length) else {
            return Err(Wrong::Tag { kind, length: length as u64 });
        };
        match kind {
            tag::CMDLINE => {
                let most = body.len().min(LONGEST_CMDLINE as usize);
                let end = body[..most].iter().position(|byte| *byte == 0);
                cmdline =
                    &body[..end.ok_or(Wrong::TooLong { what: "the command line", at, most: most as u64 })?];
            }
            tag::MODULE if module.is_none() => {
                module = Some((u64::from(long(body, 0)), u64::from(long(body, 4))));
            }
            tag::MEMORY_MAP => {
                let step = (long(body, 0) as usize).max(24);
                for entry in body.get(8..).unwrap_or_default().chunks_exact(step) {
                    if long(entry, 16) == RAM {
                        memory.tell(wide(entry, 0), wide(entry, 8));
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
    let payload = match module {
        Some((start, end)) => claims.payload(start, end.saturating_sub(start), &memory)?,
        None => None,
    };
    Ok(Handed { cmdline, payload, memory, rsdp })
}
