//! Disks with settings on them: a volume called `cidata` (NoCloud) or `config-2` (OpenStack's config drive), ISO 9660 or FAT, on
//! a whole disk. Read only. Of several such disks the first counts.
//!
//! A disk is as untrusted as a network: every place it names is measured against it, every list has an end.

use alloc::{format, string::String, vec, vec::Vec};

use crate::{
    By, LONGEST, Settings, Source,
    cloud::{self, Layout},
    fat::Fat,
    iso::Iso,
};

/// What sectors have.
pub const SECTOR: usize = 512;

/// A disk.
pub trait Blocks {
    fn sectors(&self) -> u64;
    /// Reads whole sectors.
    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), String>;
}

/// The disks of a machine, one after the other.
#[derive(Default)]
pub struct Disks {
    /// The one that counts, and what its files sum up to.
    first: Option<(Source, u64)>,
}

impl Disks {
    /// Takes what a disk says, if it has settings and none had before. Another one is named in a note and left alone, and a disk
    /// that is there twice, by two ways, counts once.
    // On its own it is compiled as this crate is, for size; within the kernel it would be as that is.
    #[inline(never)]
    pub fn offer(&mut self, disk: &mut dyn Blocks, by: By, settings: &mut Settings) -> Result<(), String> {
        let (mut files, layout) = match Files::open(disk, by) {
            Ok(Some(ours)) => ours,
            Ok(None) => return Ok(()),
            Err(why) => {
                settings.notes.push(format!("a disk can't be read: {why}"));
                return Ok(());
            }
        };
        let Some((first, sum)) = self.first else {
            layout.read(&mut files, settings)?;
            self.first = Some((files.source, files.sum));
            return Ok(());
        };
        layout.visit(&mut files);
        if files.sum != sum {
            settings.notes.push(format!(
                "a second disk with settings is left alone ({}), the first counts ({first}); help: leave one of them away",
                files.source
            ));
        }
        Ok(())
    }

    /// One had settings.
    pub fn found(&self) -> bool {
        self.first.is_some()
    }
}

/// The files of a volume that has settings.
pub(crate) struct Files<'d> {
    disk: &'d mut dyn Blocks,
    volume: Volume,
    pub(crate) source: Source,
    /// Of all that was asked for. It tells a disk that is there twice, no more: who forges it saves us a note.
    sum: u64,
}

impl<'d> Files<'d> {
    /// `None`: it is not one of those, whatever it is.
    pub(crate) fn open(disk: &'d mut dyn Blocks, by: By) -> Result<Option<(Self, &'static Layout)>, String> {
        let Some(volume) = Volume::open(disk)? else { return Ok(None) };
        let Some(layout) = cloud::layout(volume.label()) else { return Ok(None) };
        Ok(Some((Self { disk, volume, source: (layout.source)(by), sum: 0xcbf2_9ce4_8422_2325 }, layout)))
    }

    /// A file by its path, if it is there.
    pub(crate) fn get(&mut self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let file = self
            .volume
            .file(self.disk, path)
            .map_err(|why| format!("{}: {path}: {why}; help: make the disk again", self.source))?;
        // FNV-1a. Bytes of no file stand between two.
        for byte in path.bytes().chain([0xff]).chain(file.iter().flatten().copied()) {
            self.sum = (self.sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        Ok(file)
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
        several([disk], [By::Us])
    }

    fn several<const N: usize>(disks: [Vec<u8>; N], by: [By; N]) -> Result<String, String> {
        let (mut settings, mut all) = (Settings::default(), Disks::default());
        for (disk, by) in disks.into_iter().zip(by) {
            all.offer(&mut Disk(disk), by, &mut settings)?;
        }
        Ok(format!("{}: {settings}{}", all.found(), settings.notes.join("; ")))
    }

    const CIDATA: &str = "true: hostname=moon (NoCloud disk), ip=10.0.2.50/24,10.0.2.2 (NoCloud disk), user-data of 5023 bytes \
                          (NoCloud disk)";
    const CONFIG_2: &str = "true: hostname=sun.example.org (config drive), ip=dhcp (config drive), user-data of 14 bytes \
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
        let nothing = Ok("false: nothing".to_string());
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
    fn of_several_the_first_counts_and_the_others_are_named() {
        let disc = || crate::iso::tests::disc("cidata", &cidata(), true);
        let drive = || crate::iso::tests::disc("config-2", &config_2(), true);
        let told = several([disc(), disc()], [By::Us, By::Firmware]);
        assert_eq!(told.as_deref(), Ok(CIDATA), "the same disk by two ways");
        let same = fat(FatType::Fat12, b"CIDATA     ", &cidata());
        assert_eq!(several([disc(), same], [By::Us; 2]).as_deref(), Ok(CIDATA), "or the same settings");
        let note = "a second disk with settings is left alone (config drive, by the firmware), the first counts (NoCloud \
                    disk); help: leave one of them away";
        let told = several([disc(), drive()], [By::Us, By::Firmware]);
        assert_eq!(told, Ok(format!("{CIDATA}{note}")));
        let told = several([vec![0; 4096], drive(), disc()], [By::Us; 3]).unwrap();
        assert!(told.contains("hostname=sun") && told.contains("left alone (NoCloud disk)"), "{told}");
        // One that can't be read is left alone as well.
        let mut other = cidata();
        other[0].1 = b"local-hostname: mars".to_vec();
        other[2].1 = vec![b'a'; LONGEST + 1];
        let told = several([disc(), crate::iso::tests::disc("cidata", &other, true)], [By::Us; 2]).unwrap();
        assert!(told.contains("hostname=moon") && told.contains("left alone (NoCloud disk)"), "{told}");
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
                let _ = Disks::default().offer(&mut disk, By::Us, &mut Settings::default());
                flips.iter().for_each(|(at, bit)| disk.0[*at] ^= bit);
            }
            for at in places.iter().take(600) {
                let old = core::mem::replace(&mut disk.0[*at], 0xff);
                let _ = Disks::default().offer(&mut disk, By::Us, &mut Settings::default());
                disk.0[*at] = old;
            }
            for _ in 0..50 {
                let end = random(disk.0.len());
                let _ = told(disk.0[..end].to_vec());
            }
        }
    }
}
