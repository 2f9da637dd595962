//! What makes a disk a CD as well: ISO 9660's descriptors behind the partition table, and El Torito's catalog, which names a
//! boot sector for a BIOS and the EFI system partition for UEFI (ECMA-119; El Torito 1.0; UEFI 2.10, 13.3.2.1).
//!
//! The volume has one file, ESP.IMG, the EFI system partition, in which everything is.

/// ISO 9660's sectors.
pub(crate) const CD_SECTOR: u64 = 2048;

/// Sectors: the descriptors have to begin at 16.
const PRIMARY: u64 = 16;
const CATALOG: u64 = 19;
const PATHS_LITTLE: u64 = 20;
const PATHS_BIG: u64 = 21;
const ROOT: u64 = 22;
const BOOT_SECTOR: u64 = 23;
/// What [`sectors`] makes, and where it goes.
pub(crate) const AT: u64 = PRIMARY * CD_SECTOR;
const COUNT: u64 = BOOT_SECTOR + 1 - PRIMARY;

/// The time of everything: none.
const NO_TIME: &[u8; 17] = b"0000000000000000\0";

/// For a disk of this size with an EFI system partition there, and a BIOS' boot sector if it has one.
pub(crate) fn sectors(size: u64, esp: (u64, u64), boot: Option<&[u8; 512]>) -> Vec<u8> {
    let mut out = vec![0; (COUNT * CD_SECTOR) as usize];
    let mut put = |sector: u64, at: usize, bytes: &[u8]| {
        let at = ((sector - PRIMARY) * CD_SECTOR) as usize + at;
        out[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let sector_of = |at: u64| (at / CD_SECTOR) as u32;

    put(PRIMARY, 0, b"\x01CD001\x01");
    put(PRIMARY, 8, &[b' '; 64]);
    put(PRIMARY, 40, b"LUNETTE");
    put(PRIMARY, 80, &both(sector_of(size)));
    put(PRIMARY, 120, &both_short(1));
    put(PRIMARY, 124, &both_short(1));
    put(PRIMARY, 128, &both_short(CD_SECTOR as u16));
    put(PRIMARY, 132, &both(10));
    put(PRIMARY, 140, &(PATHS_LITTLE as u32).to_le_bytes());
    put(PRIMARY, 148, &(PATHS_BIG as u32).to_be_bytes());
    put(PRIMARY, 156, &entry(ROOT as u32, CD_SECTOR as u32, true, &[0]));
    put(PRIMARY, 190, &[b' '; 623]);
    for at in [813, 830, 847, 864] {
        put(PRIMARY, at, NO_TIME);
    }
    put(PRIMARY, 881, &[1]);

    put(PRIMARY + 1, 0, b"\0CD001\x01EL TORITO SPECIFICATION");
    put(PRIMARY + 1, 71, &(CATALOG as u32).to_le_bytes());
    put(PRIMARY + 2, 0, b"\xffCD001\x01");

    // The root folder, alone in the path tables.
    put(PATHS_LITTLE, 0, &[1, 0]);
    put(PATHS_LITTLE, 2, &(ROOT as u32).to_le_bytes());
    put(PATHS_LITTLE, 6, &[1, 0, 0, 0]);
    put(PATHS_BIG, 0, &[1, 0]);
    put(PATHS_BIG, 2, &(ROOT as u32).to_be_bytes());
    put(PATHS_BIG, 6, &[0, 1, 0, 0]);
    let mut at = 0;
    for entry in [
        entry(ROOT as u32, CD_SECTOR as u32, true, &[0]),
        entry(ROOT as u32, CD_SECTOR as u32, true, &[1]),
        entry(sector_of(esp.0), esp.1 as u32, false, b"ESP.IMG;1"),
    ] {
        put(ROOT, at, &entry);
        at += entry.len();
    }

    // The catalog: a validation entry, the default, and a section for the other platform. 0: PC, 0xef: EFI.
    const EFI: u8 = 0xef;
    const BOOTABLE: u8 = 0x88;
    let esp_entry = {
        // How many sectors of 512 are to be had; what does not fit means all there are.
        let count = u16::try_from(esp.1 / 512).unwrap_or(0);
        let [low, high] = count.to_le_bytes();
        let [a, b, c, d] = sector_of(esp.0).to_le_bytes();
        [BOOTABLE, 0, 0, 0, 0, 0, low, high, a, b, c, d]
    };
    let platform = if boot.is_some() { 0 } else { EFI };
    let mut validation = [0_u8; 32];
    validation[..2].copy_from_slice(&[1, platform]);
    validation[30..].copy_from_slice(&[0x55, 0xaa]);
    let sum = validation
        .chunks(2)
        .fold(0_u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    validation[28..30].copy_from_slice(&0_u16.wrapping_sub(sum).to_le_bytes());
    put(CATALOG, 0, &validation);
    match boot {
        None => put(CATALOG, 32, &esp_entry),
        Some(boot) => {
            let [a, b, c, d] = (BOOT_SECTOR as u32).to_le_bytes();
            put(CATALOG, 32, &[BOOTABLE, 0, 0, 0, 0, 0, 4, 0, a, b, c, d]);
            put(CATALOG, 64, &[0x91, EFI, 1, 0]);
            put(CATALOG, 96, &esp_entry);
            put(BOOT_SECTOR, 0, boot);
        }
    }
    out
}

/// A number in both orders (ECMA-119, 7.3.3).
fn both(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn both_short(number: u16) -> [u8; 4] {
    let [a, b] = number.to_le_bytes();
    [a, b, b, a]
}

/// A directory record (ECMA-119, 9.1).
fn entry(sector: u32, length: u32, folder: bool, name: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(both(sector));
    bytes.extend(both(length));
    // The date: 1970-01-01.
    bytes.extend([70, 1, 1, 0, 0, 0, 0, if folder { 2 } else { 0 }, 0, 0]);
    bytes.extend(both_short(1));
    bytes.push(name.len() as u8);
    bytes.extend(name);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes[0] = bytes.len() as u8;
    bytes
}
