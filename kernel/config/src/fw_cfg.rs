//! QEMU's fw_cfg (docs/specs/fw_cfg.rst): files that whoever starts the machine hands to firmware, and to us those called
//! `opt/org.lunette/KEY`, and `opt/org.lunette/env/NAME` for variables.

use alloc::{string::String, vec, vec::Vec};

use crate::{LONGEST, Settings, Source};

/// The device: an item is selected, then read from its begin.
pub trait Items {
    fn select(&mut self, item: u16);
    fn read(&mut self, into: &mut [u8]);
}

const SIGNATURE: u16 = 0;
const DIRECTORY: u16 = 0x19;
/// Files of a directory that are looked at: QEMU has room for some dozens.
const MOST_FILES: u32 = 1024;
const PREFIX: &str = "opt/org.lunette/";

/// Takes what is there for us. False: there is no such device.
// On its own it is compiled as this crate is, for size; within the kernel it would be as that is.
#[inline(never)]
pub fn read(items: &mut dyn Items, settings: &mut Settings) -> Result<bool, String> {
    let mut word = [0; 4];
    items.select(SIGNATURE);
    items.read(&mut word);
    if word != *b"QEMU" {
        return Ok(false);
    }
    items.select(DIRECTORY);
    items.read(&mut word);
    let count = u32::from_be_bytes(word).min(MOST_FILES);
    let mut ours: Vec<(String, u16, usize)> = Vec::new();
    for _ in 0..count {
        // Size, selector, two reserved bytes, a name that ends with NUL.
        let mut entry = [0; 64];
        items.read(&mut entry);
        let name = entry[8..].split(|byte| *byte == 0).next().unwrap_or_default();
        let Some(key) = core::str::from_utf8(name).ok().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        let size = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
        let key = match key.strip_prefix("env/") {
            Some(name) => alloc::format!("env.{name}"),
            None => key.into(),
        };
        ours.push((key, u16::from_be_bytes([entry[4], entry[5]]), size as usize));
    }
    for (key, item, size) in ours {
        // One that is too long is not read, but complained of.
        let mut value = vec![0; size.min(LONGEST + 1)];
        items.select(item);
        items.read(&mut value);
        settings.offer(Source::FwCfg, &key, &value)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    struct Fake {
        items: Vec<(u16, Vec<u8>)>,
        at: (u16, usize),
    }

    impl Items for Fake {
        fn select(&mut self, item: u16) {
            self.at = (item, 0);
        }

        fn read(&mut self, into: &mut [u8]) {
            let item = self.items.iter().find(|(number, _)| *number == self.at.0);
            for byte in into {
                *byte = item.and_then(|(_, bytes)| bytes.get(self.at.1)).copied().unwrap_or(0);
                self.at.1 += 1;
            }
        }
    }

    fn fake(files: &[(&str, &[u8])]) -> Fake {
        let mut directory = (files.len() as u32).to_be_bytes().to_vec();
        let mut items = vec![(SIGNATURE, b"QEMU".to_vec())];
        for (n, (name, bytes)) in files.iter().enumerate() {
            directory.extend((bytes.len() as u32).to_be_bytes());
            directory.extend((0x20 + n as u16).to_be_bytes());
            directory.extend([0; 2]);
            let mut field = [0; 56];
            field[..name.len()].copy_from_slice(name.as_bytes());
            directory.extend(field);
            items.push((0x20 + n as u16, bytes.to_vec()));
        }
        items.push((DIRECTORY, directory));
        Fake { items, at: (0, 0) }
    }

    #[test]
    fn our_files_are_settings() {
        let mut settings = Settings::default();
        let files: [(&str, &[u8]); 4] = [
            ("etc/e820", b"xyz"),
            ("opt/org.lunette/ip", b"10.0.2.99/24"),
            ("opt/org.lunette/env/A", b"b"),
            ("opt/org.lunette/user-data", b"#lunette\n"),
        ];
        assert_eq!(read(&mut fake(&files), &mut settings), Ok(true));
        assert_eq!(
            settings.to_string(),
            "ip=10.0.2.99/24 (fw_cfg), env.A (fw_cfg), user-data of 9 bytes (fw_cfg)"
        );
    }

    #[test]
    fn what_is_absent_or_lies_is_survived() {
        let mut settings = Settings::default();
        assert_eq!(read(&mut Fake { items: vec![], at: (0, 0) }, &mut settings), Ok(false));
        let wrong = read(&mut fake(&[("opt/org.lunette/what", b"")]), &mut settings);
        assert!(wrong.unwrap_err().contains("fw_cfg: the setting `what` is not known"));
        let mut lies = fake(&[("opt/org.lunette/ip", b"x")]);
        for (number, bytes) in &mut lies.items {
            if *number == DIRECTORY {
                bytes[..4].fill(0xff);
                bytes[4..8].fill(0xff);
            }
        }
        assert!(read(&mut lies, &mut settings).is_err(), "4 GiB of a setting");
    }
}
