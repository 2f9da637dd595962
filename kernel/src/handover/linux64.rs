//! Linux's boot_params: Firecracker before 1.12, crosvm, libkrun, and our own loaders for disks, with which its fields are
//! shared (Documentation/arch/x86/boot.rst and zero-page.rst).

use lunette_loader::params::{BYTES, E820_ENTRY, E820_RAM, MAGIC, MOST_REGIONS, field};

use super::{Claims, Handed, LONGEST_CMDLINE, Regions, Wrong, long, wide};
use crate::acpi::Rsdp;

pub fn read<'m>(claims: &Claims<'m>, at: u64) -> Result<Handed<'m>, Wrong> {
    let what = "boot_params";
    let params = claims.bytes(what, at, BYTES as u64)?;
    if params.get(field::MAGIC..field::MAGIC + 4) != Some(MAGIC) {
        return Err(Wrong::Unmarked { what, at });
    }
    let pair = |low, high| u64::from(long(params, low)) | u64::from(long(params, high)) << 32;
    let mut memory = Regions::default();
    let entries = usize::from(params[field::E820_ENTRIES]).min(MOST_REGIONS);
    for entry in params[field::E820..].chunks_exact(E820_ENTRY).take(entries) {
        if long(entry, 16) == E820_RAM {
            memory.tell(wide(entry, 0), wide(entry, 8));
        }
    }
    Ok(Handed {
        cmdline: claims.text(
            "the command line",
            pair(field::CMDLINE, field::CMDLINE_HIGH),
            LONGEST_CMDLINE,
        )?,
        payload: claims.payload(
            pair(field::RAMDISK, field::RAMDISK_HIGH),
            pair(field::RAMDISK_SIZE, field::RAMDISK_SIZE_HIGH),
            &memory,
        )?,
        memory,
        rsdp: Some(wide(params, field::RSDP)).filter(|at| *at != 0).map(Rsdp::At),
    })
}
