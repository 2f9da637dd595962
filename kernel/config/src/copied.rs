//! What of disks holds settings, copied: by a loader, whose firmware reads disks that the kernel has no driver for, and read by
//! the kernel, as if it were the disk. All little-endian:
//!
//! ```text
//! 0    "LUNDISK\0"
//! 8    u32 length of all of it, u32 0
//! 16   for each disk: u64 its sectors, u32 how many of them are here, u32 0, and those, each:
//!      u64 its number, 512 bytes
//! ```
//!
//! Promises: of a disk with settings those sectors are copied that [`volume`](crate::volume) reads to read them, however large the
//! disk is; of any other disk none. A sector that is not there is an error for whoever asks for it, with words. Does not: read
//! settings, touch devices.

use alloc::{format, string::String};

use crate::{
    By, long,
    smbios::Memory,
    volume::{Blocks, Files, SECTOR},
};

const MAGIC: &[u8] = b"LUNDISK\0";
const HEAD: usize = 16;
const COPY: usize = 8 + SECTOR;
/// What a loader should have room for. No settings are half of that; a disk that has more is hostile.
pub const MOST: usize = 1 << 20;

/// Copies, while they are made.
pub struct Copies<'m> {
    memory: &'m mut [u8],
    used: usize,
}

impl<'m> Copies<'m> {
    pub fn new(memory: &'m mut [u8]) -> Self {
        Self { memory, used: HEAD }
    }

    /// Copies what is of use of a disk, if it has settings.
    pub fn look(&mut self, disk: &mut dyn Blocks) {
        let begin = self.used;
        if begin + HEAD > self.memory.len() {
            return;
        }
        self.used += HEAD;
        let sectors = disk.sectors();
        let mut copying = Copying { disk, memory: self.memory, first: self.used, used: self.used };
        let ours = match Files::open(&mut copying, By::Firmware) {
            Ok(Some((mut files, layout))) => {
                layout.visit(&mut files);
                true
            }
            _ => false,
        };
        if !ours {
            self.used = begin;
            return;
        }
        self.used = copying.used;
        let count = (self.used - begin - HEAD) / COPY;
        self.memory[begin..begin + 8].copy_from_slice(&sectors.to_le_bytes());
        self.memory[begin + 8..begin + HEAD].copy_from_slice(&(count as u64).to_le_bytes());
    }

    /// What is to be handed over, if there is something.
    pub fn finish(self) -> Option<&'m [u8]> {
        if self.used == HEAD {
            return None;
        }
        let (all, _) = self.memory.split_at_mut(self.used);
        all[..8].copy_from_slice(MAGIC);
        all[8..HEAD].copy_from_slice(&(self.used as u64).to_le_bytes());
        Some(all)
    }
}

/// A disk that is copied where it is read.
struct Copying<'a> {
    disk: &'a mut dyn Blocks,
    memory: &'a mut [u8],
    first: usize,
    used: usize,
}

impl Blocks for Copying<'_> {
    fn sectors(&self) -> u64 {
        self.disk.sectors()
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), String> {
        self.disk.read(sector, into)?;
        for (number, bytes) in (sector..).zip(into.chunks_exact(SECTOR)) {
            if find(&self.memory[self.first..self.used], number).is_some() {
                continue;
            }
            let place = self.memory.get_mut(self.used..self.used + COPY).ok_or("there is too much of it")?;
            place[..8].copy_from_slice(&number.to_le_bytes());
            place[8..].copy_from_slice(bytes);
            self.used += COPY;
        }
        Ok(())
    }
}

fn find(copies: &[u8], sector: u64) -> Option<&[u8]> {
    let number = sector.to_le_bytes();
    copies.chunks_exact(COPY).find(|copy| copy[..8] == number).map(|copy| &copy[8..])
}

/// A disk of which there is a copy.
pub struct Copied<'m> {
    sectors: u64,
    copies: &'m [u8],
}

impl Blocks for Copied<'_> {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), String> {
        for (number, into) in (sector..).zip(into.chunks_exact_mut(SECTOR)) {
            let copy = find(self.copies, number);
            into.copy_from_slice(copy.ok_or_else(|| format!("the firmware did not read sector {number}"))?);
        }
        Ok(())
    }
}

/// The disks that are in the copies at an address. `None`: those are no copies.
pub fn disks<'m>(memory: Memory<'m>, at: u64) -> Option<impl Iterator<Item = Copied<'m>>> {
    let head = memory(at, HEAD)?;
    let length = head.starts_with(MAGIC).then(|| long(head, 8))??;
    let mut rest = memory(at, length as usize)?.get(HEAD..)?;
    Some(core::iter::from_fn(move || {
        let (head, behind) = rest.split_at_checked(HEAD)?;
        let sectors = u64::from_le_bytes(*head.first_chunk()?);
        let length = (long(head, 8)? as usize).checked_mul(COPY)?;
        let (copies, next) = behind.split_at_checked(length)?;
        rest = next;
        Some(Copied { sectors, copies })
    }))
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString as _, vec, vec::Vec};

    use super::*;
    use crate::{Settings, volume::Disks, volume::tests::Disk};

    fn cidata(user_data: usize) -> Vec<u8> {
        let data = [b"#lunette\n".to_vec(), vec![b'#'; user_data]].concat();
        let files = [("meta-data", b"local-hostname: moon".to_vec()), ("user-data", data)];
        crate::iso::tests::disc("cidata", &files, true)
    }

    fn copied(disks: &mut [Disk], room: usize) -> Vec<u8> {
        let mut memory = vec![0xaa; room];
        let mut copies = Copies::new(&mut memory);
        disks.iter_mut().for_each(|disk| copies.look(disk));
        copies.finish().map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// As the kernel reads it.
    fn told(bytes: &[u8]) -> Result<String, String> {
        let memory = |at: u64, length: usize| bytes.get(at as usize..)?.get(..length);
        let (mut settings, mut all) = (Settings::default(), Disks::default());
        for mut disk in disks(&memory, 0).ok_or("none")? {
            all.offer(&mut disk, By::Firmware, &mut settings)?;
        }
        Ok([settings.to_string()].into_iter().chain(settings.notes).collect::<Vec<_>>().join("; "))
    }

    const MOON: &str = "hostname=moon (NoCloud disk, by the firmware), user-data of 4009 bytes (NoCloud disk, by the firmware)";

    #[test]
    fn what_was_copied_is_read_as_the_disk_itself() {
        let mut large = cidata(4000);
        large.resize(64 << 20, 0x55);
        let copy = copied(&mut [Disk(vec![0; 100 << 10]), Disk(large), Disk(vec![])], MOST);
        assert!(copy.len() < 40 << 10, "{}", copy.len());
        assert_eq!(told(&copy).as_deref(), Ok(MOON));
        assert_eq!(told(&copied(&mut [Disk(cidata(4000)), Disk(cidata(4000))], MOST)).as_deref(), Ok(MOON));
        let others = told(&copied(&mut [Disk(cidata(4000)), Disk(cidata(3))], MOST)).unwrap();
        assert!(others.starts_with(MOON) && others.contains("a second disk with settings"), "{others}");
        assert_eq!(copied(&mut [Disk(vec![0; 100 << 10])], MOST), []);
        assert_eq!(copied(&mut [], 0), []);
    }

    #[test]
    fn what_the_firmware_did_not_read_is_told() {
        let copy = copied(&mut [Disk(cidata(4000))], 10 << 10);
        let why = told(&copy).unwrap_err();
        assert!(
            why.starts_with("NoCloud disk, by the firmware: user-data: the firmware did not read"),
            "{why}"
        );
        assert_eq!(copied(&mut [Disk(cidata(4000))], 2 << 10), [], "not even what it is");
        // A file in the middle of which the disk ends.
        let mut short = cidata(4000);
        short.truncate(short.len() - 4096);
        assert!(told(&copied(&mut [Disk(short)], MOST)).is_err());
    }

    #[test]
    fn damage_is_survived() {
        let good = copied(&mut [Disk(cidata(100)), Disk(cidata(3))], MOST);
        for at in (0..good.len()).filter(|at| good[*at] != 0) {
            for value in [0, good[at] ^ 1, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = told(&bad);
            }
        }
        for end in (0..good.len()).step_by(7) {
            assert_eq!(told(&good[..end]), Err("none".into()), "{end}");
        }
        for length in [0, 15, 17, HEAD as u32 + 8, HEAD as u32 + 16, u32::MAX] {
            let mut bad = good.clone();
            bad[8..12].copy_from_slice(&length.to_le_bytes());
            let _ = told(&bad);
        }
    }
}
