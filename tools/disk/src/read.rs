//! What a disk holds.

use std::{
    fmt,
    io::{Cursor, Read, Seek, SeekFrom},
};

use lunette_loader::record::{BYTES, Part, Record};

use crate::{
    Error, Parts, SECTOR, iso,
    raw::{self, Kind, MBR_CODE, MBR_FIRST, MBR_SECTORS},
};

/// The parts of a disk, as they went into it.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// Of the disk.
    pub size: u64,
    pub kernel: Vec<u8>,
    pub cmdline: String,
    pub bundle: Option<Vec<u8>>,
    pub bios: Option<Vec<u8>>,
    pub uefi: Option<Vec<u8>>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |part: &Option<Vec<u8>>| part.as_ref().map(Vec::len);
        f.debug_struct("Held")
            .field("size", &self.size)
            .field("kernel", &self.kernel.len())
            .field("cmdline", &self.cmdline)
            .field("bundle", &length(&self.bundle))
            .field("bios", &length(&self.bios))
            .field("uefi", &length(&self.uefi))
            .finish()
    }
}

impl Held {
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            kernel: &self.kernel,
            cmdline: &self.cmdline,
            bundle: self.bundle.as_deref(),
            bios: self.bios.as_deref(),
            uefi: self.uefi.as_deref(),
        }
    }
}

/// Reads the parts, each of which has to sum up.
pub fn read(disk: impl Read + Seek) -> Result<Held, Error> {
    read_kind(disk).map(|(held, _)| held)
}

fn read_kind(mut disk: impl Read + Seek) -> Result<(Held, Kind), Error> {
    let size = disk.seek(SeekFrom::End(0))?;
    // A CD says so in its first descriptor.
    let descriptor = bytes(&mut disk, size, iso::AT, 6).unwrap_or_default();
    let kind = if descriptor == b"\x01CD001" { Kind::Iso } else { Kind::Raw };
    let record = bytes(&mut disk, size, kind.record_at(), BYTES as u64)
        .map_err(|_| Error::Damaged("this is no disk with Lunette: it is cut short".into()))?;
    let record = Record::parse(&record).map_err(|why| Error::Damaged(why.into()))?;
    // The master boot record as it was before it was fitted to this disk.
    let mut mbr = bytes(&mut disk, size, 0, SECTOR)?;
    mbr[MBR_CODE..510].fill(0);
    mbr[MBR_SECTORS..][..2].fill(0);
    mbr[MBR_FIRST..][..8].fill(0);
    let mut part = |what: &str, part: &Part, front: Option<Vec<u8>>| -> Result<Option<Vec<u8>>, Error> {
        if part.length == 0 {
            return Ok(None);
        }
        let cut = |_| Error::Damaged(format!("this disk is cut short: {what} is not all there"));
        let mut read = front.unwrap_or_default();
        read.extend(bytes(&mut disk, size, part.offset, part.length).map_err(cut)?);
        if Part::of(part.offset, &read).crc != part.crc {
            return Err(Error::Damaged(format!("this disk is damaged: {what} does not sum up")));
        }
        Ok(Some(read))
    };
    let kernel = part("the kernel", &record.kernel, None)?.unwrap_or_default();
    let cmdline = part("the command line", &record.cmdline, None)?.unwrap_or_default();
    let cmdline = String::from_utf8(cmdline)
        .map_err(|_| Error::Damaged("this disk is damaged: its command line is no text".into()))?;
    let bundle = part("the bundle", &record.bundle, None)?;
    let uefi = part("the loader for UEFI", &record.uefi, None)?;
    let bios = part("the loader for a BIOS", &record.bios, Some(mbr))?;
    Ok((Held { size, kernel, cmdline, bundle, bios, uefi }, kind))
}

/// The largest disk that is compared to the last byte: what it has to be is made in memory.
const MOST: u64 = 4 << 30;

/// As [`read`], and every byte of the disk has to be what its parts make of it.
pub fn verify(mut disk: impl Read + Seek) -> Result<Held, Error> {
    let (held, kind) = read_kind(&mut disk)?;
    let wrong = |error| match error {
        Error::Io(error) => Error::Io(error),
        error => Error::Damaged(format!("this disk is damaged: {error}")),
    };
    if held.size > MOST {
        return Err(Error::Damaged(format!(
            "a disk of {} bytes: what is over 4 GiB is not compared",
            held.size
        )));
    }
    let mut made = Cursor::new(Vec::new());
    raw::write(kind, &held.parts(), Some(held.size), &mut made).map_err(wrong)?;
    disk.rewind()?;
    let mut at = 0;
    let mut piece = vec![0; 1 << 20];
    for expected in made.get_ref().chunks(1 << 20) {
        let piece = &mut piece[..expected.len()];
        disk.read_exact(piece)?;
        if piece != expected {
            let within = piece.iter().zip(expected).position(|(is, should)| is != should).unwrap_or(0);
            return Err(Error::Damaged(format!("this disk is damaged at byte {}", at + within)));
        }
        at += expected.len();
    }
    Ok(held)
}

fn bytes(disk: &mut (impl Read + Seek), size: u64, at: u64, length: u64) -> Result<Vec<u8>, Error> {
    // Before anything is allocated.
    if at.checked_add(length).is_none_or(|end| end > size) {
        return Err(Error::Damaged("this disk is cut short".into()));
    }
    disk.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; length as usize];
    disk.read_exact(&mut bytes)?;
    Ok(bytes)
}
