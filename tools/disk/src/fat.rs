//! The EFI system partition: FAT16, as large as what is in it, each file in one piece.

use std::io::{Cursor, Write as _};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

use crate::{Error, SECTOR};

/// FAT16 by definition has 4085 to 65524 clusters; nobody should have to count so closely.
const FEWEST: u64 = 4200;
const MOST: u64 = 65000;
/// From here on clusters grow, for tables to be small.
const MANY: u64 = 16000;
/// Folders, and what is rounded.
const SPARE: u64 = 16;

/// A volume with these files (`FOLDER/NAME`, content), and where in it each one begins.
pub(crate) fn volume(
    files: &[(&str, &[u8])],
    label: [u8; 11],
    id: u32,
) -> Result<(Vec<u8>, Vec<u64>), Error> {
    let needed = |cluster: u64| {
        SPARE + files.iter().map(|(_, content)| (content.len() as u64).div_ceil(cluster)).sum::<u64>()
    };
    let sizes = || (0..7).map(|power| SECTOR << power);
    let cluster =
        sizes().find(|size| needed(*size) <= MANY).or_else(|| sizes().find(|size| needed(*size) <= MOST));
    let cluster =
        cluster.ok_or_else(|| Error::Part("what is to be on the disk is larger than 2 GiB".into()))?;
    let clusters = needed(cluster).max(FEWEST);
    // Two tables of two bytes a cluster, the root folder, the boot sector and what is rounded.
    let sectors = clusters * (cluster / SECTOR) + 2 * (clusters * 2).div_ceil(SECTOR) + 64;

    let mut bytes = vec![0; (sectors * SECTOR) as usize];
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat16)
        .bytes_per_cluster(cluster as u32)
        .total_sectors(sectors as u32)
        .volume_id(id)
        .volume_label(label);
    fatfs::format_volume(Cursor::new(&mut bytes[..]), options)?;
    let system = FileSystem::new(Cursor::new(&mut bytes[..]), FsOptions::new())?;
    for (path, content) in files {
        let mut dir = system.root_dir();
        let mut names: Vec<&str> = path.split('/').collect();
        let name = names.pop().unwrap_or_default();
        for folder in names {
            dir = dir.create_dir(folder)?;
        }
        dir.create_file(name)?.write_all(content)?;
    }
    system.unmount()?;
    let begins = files.iter().map(|(path, content)| {
        find(&bytes, content).ok_or_else(|| Error::Part(format!("{path} did not get into one piece")))
    });
    let begins = begins.collect::<Result<_, _>>()?;
    Ok((bytes, begins))
}

/// Where a file's content is in the volume, all of it in one piece. Any place with these bytes serves.
fn find(volume: &[u8], content: &[u8]) -> Option<u64> {
    if content.is_empty() {
        return Some(0);
    }
    let half = |at: usize| usize::from(u16::from_le_bytes([volume[at], volume[at + 1]]));
    // The boot sector (FAT specification 1.03, section 3): sectors in front, tables, their sectors; entries of the root.
    let data = (half(14) + usize::from(volume[16]) * half(22)) * 512 + half(17) * 32;
    let cluster = usize::from(volume[13]) * 512;
    (data..volume.len()).step_by(cluster).find(|at| volume[*at..].starts_with(content)).map(|at| at as u64)
}
