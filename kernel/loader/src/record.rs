//! What a disk holds, and where: one sector, which the BIOS stage finds in front of itself and the UEFI loader in the file
//! [`FILE`]. All little-endian:
//!
//! ```text
//! 0    "LUNETTE\0"
//! 8    u32 version, 1
//! 12   u32 CRC-32 of the sector, these four bytes as zeros
//! 16   the kernel, the command line, the bundle, the loader of a BIOS, that of UEFI, each: u64 offset from the disk's first
//!      byte, u64 length, u32 CRC-32, u32 0
//! 136  zeros
//! ```
//!
//! A part of length 0 is none. The sums are for disks that are damaged; who fears more has signed bundles.

use crate::{long, wide};

pub const BYTES: usize = 512;
/// Where UEFI finds it; the parts' own files are beside it.
pub const FILE: &str = r"\lunette\disk";
pub const KERNEL_FILE: &str = r"\lunette\kernel.elf";
pub const CMDLINE_FILE: &str = r"\lunette\cmdline.txt";
pub const BUNDLE_FILE: &str = r"\lunette\app.bundle";
/// The kernel keeps so much of a command line.
pub const LONGEST_CMDLINE: u64 = 4095;

const MAGIC: &[u8] = b"LUNETTE\0";
const VERSION: u32 = 1;
const PART: usize = 24;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub kernel: Part,
    pub cmdline: Part,
    pub bundle: Part,
    /// Without the master boot record, which the sum begins with, as it was before it was fitted to the disk.
    pub bios: Part,
    pub uefi: Part,
}

/// A part of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub offset: u64,
    pub length: u64,
    pub crc: u32,
}

impl Part {
    pub fn of(offset: u64, bytes: &[u8]) -> Self {
        Self { offset, length: bytes.len() as u64, crc: crc32fast::hash(bytes) }
    }
}

/// The sum of a part that is read piece by piece.
#[derive(Default)]
pub struct Sum(crc32fast::Hasher);

impl Sum {
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn fits(self, part: &Part) -> bool {
        self.0.finalize() == part.crc
    }
}

impl Record {
    pub fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let parts = [self.kernel, self.cmdline, self.bundle, self.bios, self.uefi];
        for (part, bytes) in parts.iter().zip(bytes[16..].chunks_exact_mut(PART)) {
            bytes[..8].copy_from_slice(&part.offset.to_le_bytes());
            bytes[8..16].copy_from_slice(&part.length.to_le_bytes());
            bytes[16..20].copy_from_slice(&part.crc.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads one, or says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes: &[u8; BYTES] =
            bytes.first_chunk().ok_or("the record of what this disk holds is cut short")?;
        if !bytes.starts_with(MAGIC) {
            return Err("this disk has no record of what it holds");
        }
        let mut summed = *bytes;
        summed[12..16].fill(0);
        if long(bytes, 12) != Some(crc32fast::hash(&summed)) {
            return Err("the record of what this disk holds is damaged");
        }
        if long(bytes, 8) != Some(VERSION) {
            return Err("this disk's record is of another release than its loader");
        }
        let part = |index: usize| -> Option<Part> {
            let at = 16 + index * PART;
            let part =
                Part { offset: wide(bytes, at)?, length: wide(bytes, at + 8)?, crc: long(bytes, at + 16)? };
            part.offset.checked_add(part.length).map(|_| part)
        };
        let all = || {
            let [kernel, cmdline, bundle] = [part(0)?, part(1)?, part(2)?];
            Some(Self { kernel, cmdline, bundle, bios: part(3)?, uefi: part(4)? })
        };
        let record = all().ok_or("the record of what this disk holds is damaged")?;
        if record.cmdline.length > LONGEST_CMDLINE {
            return Err("this disk's command line is too long");
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, Record, Sum};

    #[test]
    fn what_was_written_is_read_and_a_flipped_bit_is_not() {
        let record = Record {
            kernel: Part::of(4096, b"kernel"),
            cmdline: Part::of(9000, b""),
            bundle: Part::of(1 << 40, b"bundle"),
            uefi: Part::of(9, b"loader"),
            ..Record::default()
        };
        let bytes = record.to_bytes();
        assert_eq!(Record::parse(&bytes), Ok(record));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::parse(&bad).is_err(), "{bit}");
        }
        assert!(Record::parse(&bytes[..511]).is_err());
        assert!(Record::parse(&[0; 512]).unwrap_err().contains("no record"));
    }

    #[test]
    fn nonsense_behind_a_right_sum_is_told() {
        let far = Part { offset: u64::MAX, length: 2, crc: 0 };
        assert!(Record::parse(&Record { kernel: far, ..Record::default() }.to_bytes()).is_err());
        let long = Part { offset: 0, length: 4096, crc: 0 };
        assert!(Record::parse(&Record { cmdline: long, ..Record::default() }.to_bytes()).is_err());
    }

    #[test]
    fn a_sum_in_pieces_is_the_sum_of_all() {
        let mut sum = Sum::default();
        sum.add(b"bun");
        sum.add(b"dle");
        assert!(sum.fits(&Part::of(0, b"bundle")));
        assert!(!Sum::default().fits(&Part::of(0, b"bundle")));
    }
}
