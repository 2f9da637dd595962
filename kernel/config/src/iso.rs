//! ISO 9660 (ECMA-119), as far as small files of a CD need it: names by Joliet where that is, else by Rock Ridge, else plain.

use alloc::{string::String, vec::Vec};

use crate::{
    long,
    volume::{Blocks, bytes, measured},
};

const BLOCK: u64 = 2048;
/// The first descriptor, and how many there may be.
const DESCRIPTORS: core::ops::Range<u64> = 16..48;
/// No folder that is read is larger.
const LARGEST_FOLDER: usize = 64 << 10;

pub(crate) struct Iso {
    pub(crate) label: String,
    root: Extent,
    is_joliet: bool,
}

/// Where a file or folder lies.
#[derive(Clone, Copy)]
struct Extent {
    block: u32,
    length: u32,
    is_folder: bool,
}

impl Extent {
    /// As a record of a folder has it.
    fn of(record: &[u8]) -> Option<Self> {
        Some(Self { block: long(record, 2)?, length: long(record, 10)?, is_folder: record.get(25)? & 2 != 0 })
    }
}

impl Iso {
    pub(crate) fn open(disk: &mut dyn Blocks) -> Result<Option<Self>, String> {
        let mut found: Option<Self> = None;
        for block in DESCRIPTORS {
            if (block + 1) * BLOCK / 512 > disk.sectors() {
                break;
            }
            let descriptor = bytes(disk, block * BLOCK, BLOCK as usize)?;
            if &descriptor[1..6] != b"CD001" {
                break;
            }
            let Some(root) = Extent::of(&descriptor[156..190]) else { break };
            let escapes = &descriptor[88..91];
            match descriptor[0] {
                1 if found.is_none() => {
                    let label = String::from_utf8_lossy(&descriptor[40..72]).trim_end().into();
                    found = Some(Self { label, root, is_joliet: false });
                }
                2 if matches!(escapes, b"%/@" | b"%/C" | b"%/E") => {
                    if let Some(iso) = &mut found {
                        (iso.root, iso.is_joliet) = (root, true);
                    }
                }
                255 => break,
                _ => {}
            }
        }
        Ok(found)
    }

    pub(crate) fn file(&self, disk: &mut dyn Blocks, path: &str) -> Result<Option<Vec<u8>>, String> {
        let mut at = self.root;
        for name in path.split('/') {
            let length = (at.length as usize).min(LARGEST_FOLDER);
            let folder = bytes(disk, u64::from(at.block) * BLOCK, length)?;
            match self.entry(&folder, name) {
                Some(found) => at = found,
                None => return Ok(None),
            }
        }
        if at.is_folder {
            return Ok(None);
        }
        bytes(disk, u64::from(at.block) * BLOCK, measured(at.length)?).map(Some)
    }

    fn entry(&self, folder: &[u8], name: &str) -> Option<Extent> {
        for block in folder.chunks(BLOCK as usize) {
            let mut rest = block;
            // A record does not cross blocks; zeros fill the rest of one.
            while let Some((record, after)) =
                rest.first().and_then(|length| rest.split_at_checked(usize::from(*length)))
            {
                if record.len() < 34 {
                    break;
                }
                if self.name(record).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
                    return Extent::of(record);
                }
                rest = after;
            }
        }
        None
    }

    fn name(&self, record: &[u8]) -> Option<String> {
        let length = usize::from(record[32]);
        let plain = record.get(33..33 + length)?;
        let name = if self.is_joliet {
            let units = plain.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        } else {
            // What the system uses begins at an even offset.
            let more = record.get((33 + length).next_multiple_of(2)..).unwrap_or_default();
            rock_ridge(more).unwrap_or_else(|| String::from_utf8_lossy(plain).into_owned())
        };
        let name = name.split(';').next()?;
        Some(name.strip_suffix('.').unwrap_or(name).into())
    }
}

/// The name in entries `NM` (IEEE P1282, 4.1.4), which may be in pieces.
fn rock_ridge(mut entries: &[u8]) -> Option<String> {
    let mut name: Option<Vec<u8>> = None;
    while let [a, b, length, _, flags, ..] = entries {
        let (entry, rest) =
            entries.split_at_checked(usize::from(*length)).filter(|(entry, _)| entry.len() >= 4)?;
        // Not the folder itself or the one above.
        if (*a, *b) == (b'N', b'M') && flags & 6 == 0 {
            name.get_or_insert_default().extend(entry.get(5..).unwrap_or_default());
        }
        entries = rest;
    }
    name.map(|name| String::from_utf8_lossy(&name).into_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::{collections::BTreeSet, format, vec};

    use super::*;

    /// A disc with these files. Without Joliet, names are plain ones and those of Rock Ridge.
    pub(crate) fn disc(label: &str, files: &[(&str, Vec<u8>)], joliet: bool) -> Vec<u8> {
        let mut folders = BTreeSet::from([String::new()]);
        for (path, _) in files {
            for (at, _) in path.match_indices('/') {
                folders.insert(path[..at].into());
            }
        }
        let folders: Vec<String> = folders.into_iter().collect();
        const FIRST: usize = 20;
        let mut out = vec![0; (FIRST + folders.len()) * 2048];
        let mut extents = Vec::new();
        for (path, content) in files {
            extents.push((path.to_string(), out.len() / 2048, content.len(), false));
            out.extend(content);
            out.resize(out.len().next_multiple_of(2048), 0);
        }
        for (n, folder) in folders.iter().enumerate() {
            extents.push((folder.clone(), FIRST + n, 2048, true));
        }
        for (n, folder) in folders.iter().enumerate() {
            let mut at = (FIRST + n) * 2048;
            let mut put = |bytes: &[u8]| {
                out[at..at + bytes.len()].copy_from_slice(bytes);
                at += bytes.len();
            };
            put(&record((FIRST + n, 2048, true), &[0], b""));
            put(&record((FIRST, 2048, true), &[1], b""));
            for (number, (path, block, length, is_folder)) in extents.iter().enumerate() {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                if path.is_empty() || parent != folder {
                    continue;
                }
                let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
                let mut more = vec![b'N', b'M', 5 + name.len() as u8, 1, 0];
                more.extend(name.as_bytes());
                let plain = format!("FILE{number}.;1");
                let place = (*block, *length, *is_folder);
                put(&if joliet { record(place, &wide, b"") } else { record(place, plain.as_bytes(), &more) });
            }
        }
        for (block, kind, is_joliet) in [(16, 1, false), (17, 2, true), (18, 255, false)] {
            let at = block * 2048;
            out[at] = if kind == 2 && !joliet { 3 } else { kind };
            out[at + 1..at + 7].copy_from_slice(b"CD001\x01");
            out[at + 40..at + 72].fill(b' ');
            out[at + 40..at + 40 + label.len()].copy_from_slice(label.as_bytes());
            if is_joliet {
                out[at + 88..at + 91].copy_from_slice(b"%/E");
            }
            let root = record((FIRST, 2048, true), &[0], b"");
            out[at + 156..at + 156 + root.len()].copy_from_slice(&root);
        }
        out
    }

    fn record((block, length, is_folder): (usize, usize, bool), name: &[u8], more: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 33];
        bytes[2..6].copy_from_slice(&(block as u32).to_le_bytes());
        bytes[10..14].copy_from_slice(&(length as u32).to_le_bytes());
        bytes[25] = if is_folder { 2 } else { 0 };
        bytes[32] = name.len() as u8;
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes.extend(more);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes[0] = bytes.len() as u8;
        bytes
    }
}
