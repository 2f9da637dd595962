//! A disk's layout, written; and that of a disk which is a CD as well.

use std::{collections::BTreeMap, io::SeekFrom};

use gpt::{
    GptConfig,
    disk::LogicalBlockSize,
    mbr::{PartRecord, ProtectiveMBR},
    partition::Partition,
    partition_types,
};
use lunette_loader::record::{BYTES, LONGEST_CMDLINE, Part, Record};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    Disk, Error, Parts, SECTOR, fat,
    iso::{self, CD_SECTOR},
};

/// What is made: both have the same partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Raw,
    Iso,
}

impl Kind {
    /// Where the record is: behind the partition table's 128 entries, or behind what makes it a CD.
    pub(crate) fn record_at(self) -> u64 {
        match self {
            Self::Raw => BIOS_AT,
            Self::Iso => 64 * 1024,
        }
    }
}

/// The first partition begins here.
const BIOS_AT: u64 = 34 * SECTOR;
pub(crate) const ESP_AT: u64 = 1 << 20;
/// A table of 128 entries and its header.
const TABLE: u64 = 33 * SECTOR;
/// Sizes are whole megabytes, as some hypervisors want it.
const STEP: u64 = 1 << 20;

/// Fields of the master boot record (kernel/loader/bios/src/mbr.s): how many sectors the loader has, how many times 16 bytes
/// a sector has, and the first one.
pub(crate) const MBR_SECTORS: usize = 416;
const MBR_PARAGRAPHS: usize = 418;
pub(crate) const MBR_FIRST: usize = 432;
/// The boot record's code ends here; then there is the partition table.
pub(crate) const MBR_CODE: usize = 440;

/// What lies behind the partition table.
pub(crate) struct Laid {
    /// Not fitted yet.
    mbr: Option<[u8; MBR_CODE]>,
    record_at: u64,
    /// The record and the BIOS' loader.
    bios: Vec<u8>,
    esp: Vec<u8>,
}

impl Laid {
    pub(crate) fn new(parts: &Parts<'_>, kind: Kind) -> Result<Self, Error> {
        let record_at = kind.record_at();
        if parts.kernel.is_empty() {
            return Err(Error::Part("the kernel is empty".into()));
        }
        if parts.cmdline.len() as u64 > LONGEST_CMDLINE || parts.cmdline.contains('\0') {
            return Err(Error::Part(format!(
                "the kernel's command line has {} bytes; {LONGEST_CMDLINE} are the most, and none may be NUL",
                parts.cmdline.len()
            )));
        }
        let (mbr, loader) = bios(parts.bios)?;
        // A sector that nothing else looks like, until it is known what to write there.
        let unwritten = Sha256::digest(b"lunette: the record of this disk").repeat(BYTES / 32);
        let (bundle, uefi) = (parts.bundle.unwrap_or_default(), parts.uefi.unwrap_or_default());
        let mut files =
            vec![("lunette/kernel.elf", parts.kernel), ("lunette/cmdline.txt", parts.cmdline.as_bytes())];
        files.push(("lunette/app.bundle", bundle));
        files.push(("lunette/disk", &unwritten));
        files.push(("EFI/BOOT/BOOTX64.EFI", uefi));
        files.retain(|(name, content)| !content.is_empty() || *name == "lunette/cmdline.txt");
        let (mut esp, begins) = fat::volume(&files, *b"LUNETTE    ", id(parts, "volume").as_fields().0)?;
        let part = |name: &str, bytes: &[u8]| {
            let place = files.iter().zip(&begins).find(|((file, _), _)| *file == name);
            place.map_or(Part::default(), |(_, at)| Part::of(ESP_AT + at, bytes))
        };
        let record = Record {
            kernel: part("lunette/kernel.elf", parts.kernel),
            cmdline: part("lunette/cmdline.txt", parts.cmdline.as_bytes()),
            bundle: part("lunette/app.bundle", bundle),
            // Of the whole file: the boot record, too.
            bios: Part {
                length: loader.len() as u64,
                ..Part::of(record_at + BYTES as u64, parts.bios.unwrap_or_default())
            },
            uefi: part("EFI/BOOT/BOOTX64.EFI", uefi),
        };
        let at = (part("lunette/disk", &[]).offset - ESP_AT) as usize;
        esp[at..at + BYTES].copy_from_slice(&record.to_bytes());
        let mut bios = record.to_bytes().to_vec();
        bios.extend(loader);
        if record_at + bios.len() as u64 > ESP_AT {
            return Err(Error::Part("the loader for a BIOS is too large".into()));
        }
        Ok(Self { mbr: parts.bios.is_some().then_some(mbr), record_at, bios, esp })
    }

    /// The boot record's code, fitted to sectors of this size.
    fn mbr(&self, sector: u64) -> Option<[u8; MBR_CODE]> {
        let mut mbr = self.mbr?;
        let mut put = |at: usize, bytes: &[u8]| mbr[at..at + bytes.len()].copy_from_slice(bytes);
        put(MBR_SECTORS, &((self.bios.len() as u64).div_ceil(sector) as u16).to_le_bytes());
        put(MBR_PARAGRAPHS, &((sector / 16) as u16).to_le_bytes());
        put(MBR_FIRST, &(self.record_at / sector).to_le_bytes());
        Some(mbr)
    }

    fn least(&self) -> u64 {
        (ESP_AT + self.esp.len() as u64 + TABLE).next_multiple_of(STEP)
    }
}

/// The boot record's code and the loader behind it, of a file that `cargo xtask image` made.
fn bios(file: Option<&[u8]>) -> Result<([u8; MBR_CODE], &[u8]), Error> {
    let Some(file) = file else { return Ok(([0; MBR_CODE], &[])) };
    let fields = [MBR_SECTORS..MBR_SECTORS + 2, MBR_FIRST..MBR_FIRST + 8, MBR_CODE..510];
    let unfitted = fields.into_iter().flatten().all(|at| file.get(at) == Some(&0));
    match (file.get(..MBR_CODE).and_then(|code| code.try_into().ok()), file.get(510..512), file.get(512..)) {
        (Some(code), Some([0x55, 0xaa]), Some(loader)) if unfitted && !loader.is_empty() => {
            Ok((code, loader))
        }
        _ => Err(Error::Part("what is given as the loader for a BIOS is none".into())),
    }
}

/// An identifier that follows from the parts, so that the same disk is the same to the byte.
fn id(parts: &Parts<'_>, what: &str) -> Uuid {
    let mut hash = Sha256::new();
    for part in [parts.kernel, parts.cmdline.as_bytes(), parts.bundle.unwrap_or_default(), what.as_bytes()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    // Version 8, "vendor-specific", of RFC 9562's form.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid::from_bytes(bytes)
}

/// The smallest disk for these parts.
pub fn least(parts: &Parts<'_>) -> Result<u64, Error> {
    Ok(Laid::new(parts, Kind::Raw)?.least())
}

/// Writes a disk to what is empty: as small as can be, or of this size. Gives back its size.
pub fn raw(parts: &Parts<'_>, size: Option<u64>, disk: impl Disk) -> Result<u64, Error> {
    write(Kind::Raw, parts, size, disk)
}

/// As [`raw`], a disk that is a CD as well: a hybrid ISO.
pub fn iso(parts: &Parts<'_>, disk: impl Disk) -> Result<u64, Error> {
    write(Kind::Iso, parts, None, disk)
}

pub(crate) fn write(
    kind: Kind,
    parts: &Parts<'_>,
    size: Option<u64>,
    mut disk: impl Disk,
) -> Result<u64, Error> {
    let laid = Laid::new(parts, kind)?;
    let needed = laid.least();
    let size = size.unwrap_or(needed);
    if !size.is_multiple_of(SECTOR) {
        return Err(Error::UnevenSize(size));
    }
    if size < needed {
        return Err(Error::TooSmall { asked: size, needed });
    }
    // The table's library finds the end by seeking.
    disk.seek(SeekFrom::Start(size - SECTOR))?;
    disk.write_all(&[0; SECTOR as usize])?;

    let esp_end = ESP_AT + laid.esp.len() as u64;
    let mut partitions = BTreeMap::from([(
        1,
        Partition {
            part_type_guid: partition_types::EFI,
            part_guid: id(parts, "esp"),
            first_lba: ESP_AT / SECTOR,
            last_lba: esp_end / SECTOR - 1,
            flags: 0,
            name: "Lunette".into(),
        },
    )]);
    partitions.insert(
        2,
        Partition {
            part_type_guid: partition_types::BIOS,
            part_guid: id(parts, "bios"),
            first_lba: BIOS_AT / SECTOR,
            last_lba: ESP_AT / SECTOR - 1,
            flags: 0,
            name: "Lunette BIOS".into(),
        },
    );
    let table = |error: gpt::GptError| Error::Io(std::io::Error::other(error));
    let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
    let mut table_of = config.create_from_device(&mut disk, Some(id(parts, "disk"))).map_err(table)?;
    table_of.update_partitions(partitions).map_err(table)?;
    table_of.write().map_err(table)?;

    // Some BIOSes boot only what has an active partition.
    let sectors = u32::try_from(size / SECTOR - 1).unwrap_or(u32::MAX);
    let mut mbr = ProtectiveMBR::with_lb_size(sectors);
    mbr.set_bootcode(laid.mbr(SECTOR).unwrap_or([0; MBR_CODE]));
    let protective = PartRecord { boot_indicator: 0x80, ..PartRecord::new_protective(Some(sectors)) };
    mbr.set_partition(0, protective);
    let cd = match kind {
        Kind::Raw => Vec::new(),
        Kind::Iso => {
            let boot = laid.mbr(CD_SECTOR).map(|code| {
                let mut sector = [0; SECTOR as usize];
                sector[..MBR_CODE].copy_from_slice(&code);
                sector
            });
            iso::sectors(size, (ESP_AT, laid.esp.len() as u64), boot.as_ref())
        }
    };
    for (at, bytes) in
        [(0, &mbr.to_bytes()[..]), (iso::AT, &cd), (laid.record_at, &laid.bios), (ESP_AT, &laid.esp)]
    {
        disk.seek(SeekFrom::Start(at))?;
        disk.write_all(bytes)?;
    }
    disk.flush()?;
    Ok(size)
}
