//! Disks with settings, of controllers that the kernel may have no driver for: what settings are on is copied from all that INT
//! 13h's extensions have. Hard disks have numbers from 80h on; CDs have them from E0h on where SeaBIOS is the BIOS, and
//! elsewhere perhaps none but the one that was booted.
//!
//! Promises: nothing is written, a disk that can't be read is passed over. What is on a disk is read by `lunette-config`, which
//! doubts it.

use alloc::string::String;
use core::ops::Range;

use lunette_config::{
    copied::{Copies, MOST},
    volume::{Blocks, SECTOR},
};
use lunette_loader::{highest, without};

use crate::{
    firmware::{Disk, Region, refuse},
    heap,
    load::{is_usable, ram},
};

const NUMBERS: [Range<u32>; 2] = [0x80..0x90, 0xe0..0xf0];

/// Copies what there is, to memory that the kernel is not to use: where. `taken` is not free, nor what lies above it. `None`:
/// no disk has settings.
pub(crate) fn copy(regions: &[Region], kernel: &Range<u64>, taken: &Range<u64>) -> Option<Range<u64>> {
    let has_heap = |region: &Region| {
        region.usable && region.start <= heap::PLACE.start as u64 && heap::PLACE.end as u64 <= region.end
    };
    if !regions.iter().any(has_heap) {
        refuse(format_args!(
            "this firmware leaves too little low memory to look for disks with settings; help: leave `disk` out of lunette.config"
        ));
    }
    // SAFETY: it is memory, as was just seen; settings are looked for once.
    unsafe { heap::open() };
    let usable = regions.iter().filter(|region| region.usable);
    let below = usable.map(|region| without(&region.range(), &(taken.start..u64::MAX))[0].clone());
    let room = highest(below, MOST as u64, kernel).filter(|at| is_usable(regions, &(*at..at + MOST as u64)));
    let Some(room) = room else {
        refuse(format_args!("not enough memory to look for disks with settings; help: give the VM more"))
    };
    // SAFETY: usable memory, neither the kernel's nor the bundle's; borrowed only here.
    let mut copies = Copies::new(unsafe { ram(room, MOST) });
    for number in NUMBERS.into_iter().flatten() {
        if let Some(disk) = Disk::known(number) {
            copies.look(&mut Other(disk));
        }
    }
    let length = copies.finish()?.len() as u64;
    Some(room..(room + length).next_multiple_of(4096))
}

struct Other(Disk);

impl Blocks for Other {
    fn sectors(&self) -> u64 {
        self.0.length / SECTOR as u64
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), String> {
        let offset = sector.checked_mul(SECTOR as u64).ok_or("no disk is so large")?;
        let length = into.len() as u64;
        let read = self.0.pieces(offset, length, |at, bytes| {
            into[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        });
        read.map_err(|_| "the firmware can't read it".into())
    }
}
