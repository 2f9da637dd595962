//! FAT12, FAT16 and FAT32 (Microsoft's specification of 2000), as far as small files by long names need them.

use alloc::{string::String, vec::Vec};

use crate::{
    long, short,
    volume::{Blocks, SECTOR, bytes, measured},
};

/// No folder that is read has more entries.
const MOST_ENTRIES: usize = 2048;
const ENTRY: usize = 32;

pub(crate) struct Fat {
    pub(crate) label: String,
    kind: Kind,
    /// Bytes.
    cluster: u64,
    /// Where the table, the root folder (but FAT32's) and the first cluster are.
    table: u64,
    root: u64,
    data: u64,
    clusters: u32,
    root_entries: u16,
    root_cluster: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

/// A file or folder.
#[derive(Clone, Copy)]
enum Place {
    /// The root folder of FAT12 and FAT16, which lies by itself.
    Root,
    Chain {
        cluster: u32,
        size: u32,
        is_folder: bool,
    },
}

impl Fat {
    pub(crate) fn open(disk: &mut dyn Blocks) -> Result<Option<Self>, String> {
        if disk.sectors() == 0 {
            return Ok(None);
        }
        let boot = bytes(disk, 0, SECTOR)?;
        let Some(mut fat) = Self::read(&boot) else { return Ok(None) };
        // The label of the root folder counts, and that of the boot sector where there is none.
        let root = fat.content(disk, fat.root(), MOST_ENTRIES * ENTRY)?;
        let named = root.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0).find(|entry| {
            const VOLUME: u8 = 8;
            entry[11] & 0x18 == VOLUME && entry[11] & 0x3f != LONG_NAME && entry[0] != DELETED
        });
        let label =
            named.map_or(&boot[if fat.kind == Kind::Fat32 { 71..82 } else { 43..54 }], |entry| &entry[..11]);
        fat.label = String::from_utf8_lossy(label).trim_end().into();
        Ok(Some(fat))
    }

    fn read(boot: &[u8]) -> Option<Self> {
        let sector = u64::from(short(boot, 11)?);
        let per_cluster = u64::from(boot[13]);
        let right = boot.get(510..512)? == [0x55, 0xaa]
            && (512..=4096).contains(&sector)
            && sector.is_power_of_two()
            && per_cluster.is_power_of_two();
        let (reserved, tables, root_entries) = (short(boot, 14)?, boot[16], short(boot, 17)?);
        if !right || reserved == 0 || !(1..=2).contains(&tables) {
            return None;
        }
        let either = |short: u16, long: u32| if short == 0 { long } else { u32::from(short) };
        let sectors = u64::from(either(short(boot, 19)?, long(boot, 32)?));
        let table_sectors = u64::from(either(short(boot, 22)?, long(boot, 36)?));
        let root = u64::from(reserved) + u64::from(tables) * table_sectors;
        let data = root + (u64::from(root_entries) * ENTRY as u64).div_ceil(sector);
        let clusters = u32::try_from(sectors.checked_sub(data)? / per_cluster).ok()?;
        let kind = match clusters {
            0 => return None,
            1..4085 => Kind::Fat12,
            4085..65525 => Kind::Fat16,
            _ => Kind::Fat32,
        };
        Some(Self {
            label: String::new(),
            kind,
            cluster: per_cluster * sector,
            table: u64::from(reserved) * sector,
            root: root * sector,
            data: data * sector,
            clusters,
            root_entries,
            root_cluster: long(boot, 44)?,
        })
    }

    fn root(&self) -> Place {
        match self.kind {
            Kind::Fat32 => Place::Chain { cluster: self.root_cluster, size: 0, is_folder: true },
            _ => Place::Root,
        }
    }

    pub(crate) fn file(&self, disk: &mut dyn Blocks, path: &str) -> Result<Option<Vec<u8>>, String> {
        let mut at = self.root();
        for name in path.split('/') {
            let is_folder = !matches!(at, Place::Chain { is_folder: false, .. });
            if !is_folder {
                return Ok(None);
            }
            let folder = self.content(disk, at, MOST_ENTRIES * ENTRY)?;
            match entry(&folder, name) {
                Some(found) => at = found,
                None => return Ok(None),
            }
        }
        match at {
            Place::Chain { size, is_folder: false, .. } => {
                let size = measured(size)?;
                let content = self.content(disk, at, size)?;
                if content.len() < size { Err("it ends too early".into()) } else { Ok(Some(content)) }
            }
            _ => Ok(None),
        }
    }

    /// What is there, and no more than so much.
    fn content(&self, disk: &mut dyn Blocks, at: Place, most: usize) -> Result<Vec<u8>, String> {
        let mut cluster = match at {
            Place::Root => {
                let length = usize::from(self.root_entries) * ENTRY;
                return bytes(disk, self.root, length.min(most));
            }
            Place::Chain { cluster, .. } => cluster,
        };
        let mut content = Vec::new();
        while content.len() < most && (2..self.clusters.saturating_add(2)).contains(&cluster) {
            let at = self.data + u64::from(cluster - 2) * self.cluster;
            let length = (self.cluster as usize).min(most - content.len());
            content.extend(bytes(disk, at, length)?);
            cluster = self.next(disk, cluster)?;
        }
        Ok(content)
    }

    /// What the table says of a cluster: the one that follows, or something that is none.
    fn next(&self, disk: &mut dyn Blocks, cluster: u32) -> Result<u32, String> {
        let at = u64::from(cluster);
        Ok(match self.kind {
            Kind::Fat12 => {
                let pair = bytes(disk, self.table + at + at / 2, 2)?;
                let pair = short(&pair, 0).unwrap_or(0);
                u32::from(if cluster % 2 == 1 { pair >> 4 } else { pair & 0xfff })
            }
            Kind::Fat16 => u32::from(short(&bytes(disk, self.table + at * 2, 2)?, 0).unwrap_or(0)),
            Kind::Fat32 => long(&bytes(disk, self.table + at * 4, 4)?, 0).unwrap_or(0) & 0xfff_ffff,
        })
    }
}

const LONG_NAME: u8 = 0xf;
/// Of a long name; each has 13 characters.
const MOST_PIECES: usize = 20;
const DELETED: u8 = 0xe5;

fn entry(folder: &[u8], name: &str) -> Option<Place> {
    // A long name stands before its entry, its last piece first.
    let mut pieces: Vec<&[u8]> = Vec::new();
    for entry in folder.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0) {
        if entry[0] == DELETED {
            pieces.clear();
            continue;
        }
        if entry[11] & 0x3f == LONG_NAME {
            if pieces.len() == MOST_PIECES {
                pieces.clear();
            }
            pieces.push(entry);
            continue;
        }
        // The sum is that of the short name, so a piece without its entry is known.
        let sum = entry[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let long_name =
            (!pieces.is_empty() && pieces.iter().all(|piece| piece[13] == sum)).then(|| long_name(&pieces));
        pieces.clear();
        const VOLUME: u8 = 8;
        if entry[11] & VOLUME == 0
            && (long_name.is_some_and(|found| found.eq_ignore_ascii_case(name))
                || short_name(entry).eq_ignore_ascii_case(name))
        {
            let cluster = u32::from(short(entry, 26)?) | u32::from(short(entry, 20)?) << 16;
            return Some(Place::Chain { cluster, size: long(entry, 28)?, is_folder: entry[11] & 0x10 != 0 });
        }
    }
    None
}

fn long_name(pieces: &[&[u8]]) -> String {
    let units = pieces.iter().rev().flat_map(|piece| [&piece[1..11], &piece[14..26], &piece[28..32]]);
    let units =
        units.flat_map(|part| part.chunks_exact(2)).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn short_name(entry: &[u8]) -> String {
    let part = |range: core::ops::Range<usize>| String::from_utf8_lossy(&entry[range]).into_owned();
    let (name, ending) = (part(0..8), part(8..11));
    match ending.trim_end() {
        "" => name.trim_end().into(),
        ending => alloc::format!("{}.{ending}", name.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with one file, `SHORT`, whose long name has so many pieces, each of `aaaaaaaaaaaaa`.
    fn folder(pieces: usize) -> Vec<u8> {
        let mut file = [0; ENTRY];
        file[..11].copy_from_slice(b"SHORT      ");
        let sum = file[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let mut piece = [b'a', 0].repeat(ENTRY / 2);
        (piece[0], piece[11], piece[12], piece[13], piece[26], piece[27]) = (1, LONG_NAME, 0, sum, 0, 0);
        for at in [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30] {
            piece[at..at + 2].copy_from_slice(&[b'a', 0]);
        }
        [piece.repeat(pieces), file.to_vec()].concat()
    }

    #[test]
    fn a_long_name_has_an_end() {
        for pieces in [1, MOST_PIECES] {
            assert!(entry(&folder(pieces), &"A".repeat(13 * pieces)).is_some(), "{pieces}");
        }
        let endless = folder(2000);
        assert!(entry(&endless, &"a".repeat(13 * 2000)).is_none());
        assert!(entry(&endless, "short").is_some());
    }
}
