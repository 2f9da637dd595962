//! Disks with settings on them: a volume called `cidata` (NoCloud) or `config-2` (OpenStack's config drive), ISO 9660 or FAT, on
//! a whole disk. Read only.
//!
//! A disk is as untrusted as a network: every place it names is measured against it, every list has an end.

use alloc::{format, string::String, vec, vec::Vec};

use crate::{LONGEST, Settings, Source, cloud, fat::Fat, iso::Iso};

/// What sectors have.
pub const SECTOR: usize = 512;

/// A disk.
pub trait Blocks {
    fn sectors(&self) -> u64;
    /// Reads whole sectors.
    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), String>;
}

/// Takes what a disk says. `None`: it is not one of those, whatever it is.
// On its own it is compiled as this crate is, for size; within the kernel it would be as that is.
#[inline(never)]
pub fn read(disk: &mut dyn Blocks, settings: &mut Settings) -> Result<Option<Source>, String> {
    let volume = match Volume::open(disk) {
        Ok(Some(volume)) => volume,
        Ok(None) => return Ok(None),
        Err(why) => {
            settings.notes.push(format!("a disk can't be read: {why}"));
            return Ok(None);
        }
    };
    let Some(layout) = cloud::layout(volume.label()) else { return Ok(None) };
    layout.read(&mut Files { disk, volume, source: layout.source }, settings)?;
    Ok(Some(layout.source))
}

/// The files of a volume that has settings.
pub(crate) struct Files<'d> {
    disk: &'d mut dyn Blocks,
    volume: Volume,
    source: Source,
}

impl Files<'_> {
    /// A file by its path, if it is there.
    pub(crate) fn get(&mut self, path: &str) -> Result<Option<Vec<u8>>, String> {
        self.volume
            .file(self.disk, path)
            .map_err(|why| format!("{}: {path}: {why}; help: make the disk again", self.source))
    }

    pub(crate) fn wrong(&self, path: &str, why: &str) -> String {
        format!("{}: {path}: {why}; help: correct it", self.source)
    }
}

enum Volume {
    Iso(Iso),
    Fat(Fat),
}

impl Volume {
    fn open(disk: &mut dyn Blocks) -> Result<Option<Self>, String> {
        if let Some(iso) = Iso::open(disk)? {
            return Ok(Some(Self::Iso(iso)));
        }
        Ok(Fat::open(disk)?.map(Self::Fat))
    }

    fn label(&self) -> &str {
        match self {
            Self::Iso(iso) => &iso.label,
            Self::Fat(fat) => &fat.label,
        }
    }

    fn file(&self, disk: &mut dyn Blocks, path: &str) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Iso(iso) => iso.file(disk, path),
            Self::Fat(fat) => fat.file(disk, path),
        }
    }
}

/// Bytes from anywhere on a disk.
pub(crate) fn bytes(disk: &mut dyn Blocks, at: u64, length: usize) -> Result<Vec<u8>, String> {
    let first = at / SECTOR as u64;
    let end = at.checked_add(length as u64).map(|end| end.div_ceil(SECTOR as u64));
    let end =
        end.filter(|end| *end <= disk.sectors()).ok_or("it is said to be beyond the end of the disk")?;
    let mut bytes = vec![0; (end - first) as usize * SECTOR];
    disk.read(first, &mut bytes)?;
    bytes.drain(..(at % SECTOR as u64) as usize);
    bytes.truncate(length);
    Ok(bytes)
}

/// A file's size, if that is not too much to be read.
pub(crate) fn measured(size: u32) -> Result<usize, String> {
    let size = size as usize;
    if size <= LONGEST { Ok(size) } else { Err("it has more than 64 KiB".into()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Cursor, Write as _};

    use alloc::string::ToString as _;
    use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

    use super::*;

    pub(crate) struct Disk(pub(crate) Vec<u8>);

    impl Blocks for Disk {
        fn sectors(&self) -> u64 {
            (self.0.len() / SECTOR) as u64
        }

        fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), String> {
            let at = sector as usize * SECTOR;
            into.copy_from_slice(&self.0[at..at + into.len()]);
            Ok(())
        }
    }

    const META: &str = "instance-id: i-1\nlocal-hostname: moon\n";
    const NETWORK: &str = "version: 2\nethernets: {a: {addresses: [10.0.2.50/24], gateway4: 10.0.2.2}}\n";

    fn cidata() -> Vec<(&'static str, Vec<u8>)> {
        // Of several sectors, and of several clusters.
        let data = format!("#lunette\n{}[env]\nA = \"b\"\n", "# padding\n".repeat(500));
        vec![
            ("meta-data", META.into()),
            ("network-config", NETWORK.into()),
            ("user-data", data.into_bytes()),
            ("vendor-data", vec![]),
        ]
    }

    fn config_2() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            (
                "openstack/latest/meta_data.json",
                b"{\"uuid\": \"1\", \"hostname\": \"sun.example.org\"}".to_vec(),
            ),
            (
                "openstack/latest/network_data.json",
                b"{\"links\": [{\"id\": \"a\"}], \"networks\": [{\"link\": \"a\", \"type\": \"ipv4_dhcp\"}]}"
                    .to_vec(),
            ),
            ("openstack/latest/user_data", b"#cloud-config\n".to_vec()),
        ]
    }

    fn fat(kind: FatType, label: &[u8; 11], files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let size = match kind {
            FatType::Fat12 => 1 << 20,
            FatType::Fat16 => 16 << 20,
            FatType::Fat32 => 40 << 20,
        };
        let mut bytes = vec![0; size];
        let options = FormatVolumeOptions::new().fat_type(kind).bytes_per_cluster(512).volume_label(*label);
        fatfs::format_volume(Cursor::new(&mut bytes[..]), options).unwrap();
        let system = FileSystem::new(Cursor::new(&mut bytes[..]), FsOptions::new()).unwrap();
        for (path, content) in files {
            let mut dir = system.root_dir();
            let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
            for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
                dir = dir.create_dir(folder).unwrap();
            }
            dir.create_file(name).unwrap().write_all(content).unwrap();
        }
        system.unmount().unwrap();
        bytes
    }

    fn told(disk: Vec<u8>) -> Result<String, String> {
        let mut settings = Settings::default();
        let source = read(&mut Disk(disk), &mut settings)?;
        Ok(format!("{source:?}: {settings}{}", settings.notes.join("; ")))
    }

    const CIDATA: &str = "Some(NoCloud): hostname=moon (NoCloud disk), ip=10.0.2.50/24,10.0.2.2 (NoCloud disk), user-data of 5023 bytes \
                          (NoCloud disk)";
    const CONFIG_2: &str = "Some(ConfigDrive): hostname=sun.example.org (config drive), ip=dhcp (config drive), user-data of 14 bytes \
                            (config drive)";

    #[test]
    fn volumes_of_every_kind_are_read() {
        for kind in [FatType::Fat12, FatType::Fat16, FatType::Fat32] {
            assert_eq!(told(fat(kind, b"CIDATA     ", &cidata())).as_deref(), Ok(CIDATA), "{kind:?}");
            assert_eq!(told(fat(kind, b"config-2   ", &config_2())).as_deref(), Ok(CONFIG_2), "{kind:?}");
        }
        for joliet in [false, true] {
            let disc = crate::iso::tests::disc("cidata", &cidata(), joliet);
            assert_eq!(told(disc).as_deref(), Ok(CIDATA), "joliet: {joliet}");
            let disc = crate::iso::tests::disc("config-2", &config_2(), joliet);
            assert_eq!(told(disc).as_deref(), Ok(CONFIG_2), "joliet: {joliet}");
        }
    }

    #[test]
    fn other_disks_are_left_alone() {
        let nothing = Ok("None: nothing".to_string());
        for disk in [
            vec![],
            vec![0; 100 << 10],
            vec![0xff; 100 << 10],
            fat(FatType::Fat16, b"BOOT       ", &cidata()),
        ] {
            assert_eq!(told(disk), nothing);
        }
        assert_eq!(told(crate::iso::tests::disc("backup", &cidata(), true)), nothing);
    }

    #[test]
    fn what_is_wrong_on_ours_is_told() {
        let wrong =
            |files: &[(&str, Vec<u8>)]| told(crate::iso::tests::disc("cidata", files, true)).unwrap_err();
        let fault = wrong(&[("meta-data", b"a: &b c".to_vec())]);
        assert_eq!(
            fault,
            "NoCloud disk: meta-data: line 1: anchors, tags and the like are not understood; help: correct it"
        );
        assert!(
            wrong(&[("network-config", b"version: 9".to_vec())])
                .contains("network-config: it is neither of version")
        );
        assert!(wrong(&[("meta-data", vec![0xff])]).contains("it is no UTF-8"));
        assert!(wrong(&[("user-data", vec![b'a'; LONGEST + 1])]).contains("it has more than 64 KiB"));
    }

    /// Whatever is flipped, it ends in an answer or an error.
    #[test]
    fn damage_is_survived() {
        let mut seed = 7_u32;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        let discs = [
            crate::iso::tests::disc("cidata", &cidata(), true),
            crate::iso::tests::disc("cidata", &cidata(), false),
            fat(FatType::Fat12, b"CIDATA     ", &cidata()),
        ];
        for disc in discs {
            // Where structures are: bytes that are not zero, but not those of the padding.
            let places: Vec<usize> =
                (0..disc.len()).filter(|at| disc[*at] != 0 && disc[*at] < 0xfe).collect();
            let mut disk = Disk(disc);
            for _ in 0..3000 {
                let flips: Vec<_> =
                    (0..=random(3)).map(|_| (places[random(places.len())], 1_u8 << random(8))).collect();
                flips.iter().for_each(|(at, bit)| disk.0[*at] ^= bit);
                let _ = read(&mut disk, &mut Settings::default());
                flips.iter().for_each(|(at, bit)| disk.0[*at] ^= bit);
            }
            for at in places.iter().take(600) {
                let old = core::mem::replace(&mut disk.0[*at], 0xff);
                let _ = read(&mut disk, &mut Settings::default());
                disk.0[*at] = old;
            }
            for _ in 0..50 {
                let end = random(disk.0.len());
                let _ = told(disk.0[..end].to_vec());
            }
        }
    }
}
