//! What the two loaders for disks share with each other, and with who makes the disks (tools/disk): the record that
//! says what is where ([`record`]), the kernel's segments ([`elf`]), and what the kernel is handed ([`params`], [`words`]).
//!
//! Promises: `no_std`, no allocation; what is read from a disk is looked at before it is believed; a sum that is wrong is told
//! in words. Does not: read disks, print, or touch memory; `bios/` and `uefi/` do.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod elf;
pub mod params;
pub mod record;
pub mod words;

use core::ops::Range;

/// How every run ends that a loader ends: on the screen and on COM1, as the kernel would say it.
pub const FAREWELL: &str = "lunette: farewell refused ";

/// The kernel maps so much, and reads its bundle there; from 3 GiB on it takes all for devices.
pub const REACH: u64 = 3 << 30;

/// Where so many bytes fit: the highest whole pages of usable memory that end below [`REACH`] and are clear of `taken`.
pub fn highest(usable: impl Iterator<Item = Range<u64>>, length: u64, taken: &Range<u64>) -> Option<u64> {
    let fit = |range: Range<u64>| {
        let at = range.end.min(REACH).checked_sub(length)? & !0xfff;
        (at >= range.start).then_some(at)
    };
    let usable = usable.flat_map(|range| without(&range, taken));
    usable.filter_map(|range| fit(range.start.max(1 << 20)..range.end)).max()
}

/// What of a range is below and above a hole; each may be empty, with an end before its start.
pub fn without(range: &Range<u64>, hole: &Range<u64>) -> [Range<u64>; 2] {
    [range.start..range.end.min(hole.start), range.start.max(hole.end)..range.end]
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn wide(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::highest;

    #[test]
    fn the_highest_place_that_is_free() {
        const MIB: u64 = 1 << 20;
        let memory = || [0..0x9_f000, MIB..64 * MIB, 0xf000_0000..0xf100_0000, 4 << 30..8 << 30].into_iter();
        let kernel = MIB..20 * MIB;
        assert_eq!(highest(memory(), 10, &kernel), Some(64 * MIB - 4096));
        assert_eq!(highest(memory(), 44 * MIB, &kernel), Some(20 * MIB));
        assert_eq!(highest(memory(), 44 * MIB + 1, &kernel), None);
        assert_eq!(highest(memory(), MIB, &(60 * MIB..64 * MIB)), Some(59 * MIB));
        assert_eq!(highest(core::iter::once(0..u64::MAX), u64::MAX, &kernel), None);
        assert_eq!(highest(core::iter::once(0..4 << 30), 1, &kernel), Some((3 << 30) - 4096));
    }
}
