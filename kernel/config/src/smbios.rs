//! SMBIOS (DSP0134): OEM strings (type 11) such as `lunette.ip=dhcp`, and the system's serial number (type 1) in the manner of
//! cloud-init, `ds=nocloud;h=NAME`. And whose cloud this is, by the names of system and chassis (types 1 and 3).
//!
//! The tables are the firmware's word: each is measured and summed before it is used; what does not fit is as if it were
//! not there.

use alloc::string::String;

use crate::{Settings, Source, long, metadata::Cloud, short};

/// Physical memory, read where a table says that something is. `None`: there is none that may be read.
pub type Memory<'m> = &'m dyn Fn(u64, usize) -> Option<&'m [u8]>;

/// Where a BIOS leaves the anchor.
const FIRST: u64 = 0xf_0000;
const LAST: u64 = 0xf_fff0;
/// No tables that are read are larger.
const LARGEST: usize = 1 << 20;

/// Takes what is there for us. `anchor`: where the tables' entry point is, if a loader has said so. False: there are none.
pub fn read(memory: Memory<'_>, anchor: Option<u64>, settings: &mut Settings) -> Result<bool, String> {
    each(memory, anchor, &mut |structure, strings| match structure[0] {
        11 => strings.split(|byte| *byte == 0).try_for_each(|text| oem(text, settings)),
        1 => serial_number(string(structure, 7, strings), settings),
        _ => Ok(()),
    })
}

/// Whose cloud the firmware says that this is, if it is a known one's.
// On its own it is compiled as this crate is, for size; within the kernel it would be as that is.
#[inline(never)]
pub fn cloud(memory: Memory<'_>, anchor: Option<u64>) -> Option<Cloud> {
    let mut names: [&[u8]; 3] = Default::default();
    let _ = each(memory, anchor, &mut |structure, strings| {
        match structure[0] {
            1 => names[..2].copy_from_slice(&[4, 5].map(|at| string(structure, at, strings))),
            3 => names[2] = string(structure, 8, strings),
            _ => {}
        }
        Ok(())
    });
    Cloud::of(names)
}

/// Calls it with each structure: its formatted part, which has 4 bytes at least, and its strings. False: there are no tables.
fn each<'m>(
    memory: Memory<'m>,
    anchor: Option<u64>,
    f: &mut dyn FnMut(&'m [u8], &'m [u8]) -> Result<(), String>,
) -> Result<bool, String> {
    let found = anchor
        .and_then(|at| tables(memory, at))
        .or_else(|| (FIRST..=LAST).step_by(16).find_map(|at| tables(memory, at)));
    let Some(mut rest) = found else { return Ok(false) };
    while let Some((structure, strings, next)) = structure(rest) {
        if structure[0] == 127 {
            break;
        }
        f(structure, strings)?;
        rest = next;
    }
    Ok(true)
}

/// The string whose number stands at that place; without one, nothing.
fn string<'m>(formatted: &[u8], at: usize, strings: &'m [u8]) -> &'m [u8] {
    let number = usize::from(formatted.get(at).copied().unwrap_or(0));
    let string = number.checked_sub(1).and_then(|n| strings.split(|byte| *byte == 0).nth(n));
    string.unwrap_or_default()
}

/// `lunette.KEY=VALUE`; another's string is another's.
fn oem(text: &[u8], settings: &mut Settings) -> Result<(), String> {
    let Some(word) = text.strip_prefix(b"lunette.") else { return Ok(()) };
    let end = word.iter().position(|byte| *byte == b'=');
    let (key, value) = end.map_or((word, &b""[..]), |end| (&word[..end], &word[end + 1..]));
    settings.offer(Source::Smbios, &String::from_utf8_lossy(key), value)
}

/// `ds=nocloud;h=NAME;…`, also `ds=nocloud-net;`.
fn serial_number(text: &[u8], settings: &mut Settings) -> Result<(), String> {
    let mut parts = text.split(|byte| *byte == b';');
    if !matches!(parts.next(), Some(b"ds=nocloud" | b"ds=nocloud-net")) {
        return Ok(());
    }
    for part in parts {
        if let Some(name) = part.strip_prefix(b"h=").or_else(|| part.strip_prefix(b"local-hostname=")) {
            settings.offer(Source::Smbios, "hostname", name)?;
        }
    }
    Ok(())
}

/// The tables, by their anchor: of version 3, or of 2 (DSP0134 3.7, 5.2).
fn tables<'m>(memory: Memory<'m>, at: u64) -> Option<&'m [u8]> {
    let sums_up = |length: usize| {
        let anchor = memory(at, length).filter(|_| length >= 24)?;
        (anchor.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0).then_some(anchor)
    };
    let head = memory(at, 16)?;
    let (address, length) = if head.starts_with(b"_SM3_") {
        let anchor = sums_up(usize::from(head[6]))?;
        let address = u64::from(long(anchor, 16)?) | u64::from(long(anchor, 20)?) << 32;
        (address, long(anchor, 12)? as usize)
    } else if head.starts_with(b"_SM_") {
        let anchor = sums_up(usize::from(head[5]))?;
        (u64::from(long(anchor, 24)?), usize::from(short(anchor, 22)?))
    } else {
        return None;
    };
    memory(address, length.min(LARGEST))
}

/// The first structure: its formatted part, its strings, and what comes behind them.
fn structure(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let length = usize::from(*bytes.get(1)?);
    if length < 4 {
        return None;
    }
    let (formatted, rest) = bytes.split_at_checked(length)?;
    let end = rest.windows(2).position(|two| two == [0, 0])?;
    Some((formatted, &rest[..end], &rest[end + 2..]))
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString as _, vec, vec::Vec};

    use super::*;

    fn structure_of(kind: u8, formatted: &[u8], strings: &[&str]) -> Vec<u8> {
        let mut bytes = vec![kind, 4 + formatted.len() as u8, 0, 0];
        bytes.extend(formatted);
        for text in strings {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        }
        bytes.extend(if strings.is_empty() { &[0, 0][..] } else { &[0] });
        bytes
    }

    /// Memory from `FIRST` on: an anchor of version 2 or 3 at 0x120, tables at 0x200.
    fn machine(version: u8, tables: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 0x200];
        let address = FIRST as u32 + 0x200;
        let anchor = &mut bytes[0x120..0x140];
        let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        if version == 3 {
            anchor[..5].copy_from_slice(b"_SM3_");
            anchor[6] = 24;
            anchor[12..16].copy_from_slice(&(tables.len() as u32).to_le_bytes());
            anchor[16..20].copy_from_slice(&address.to_le_bytes());
            anchor[5] = sum(&anchor[..24]);
        } else {
            anchor[..4].copy_from_slice(b"_SM_");
            anchor[5] = 31;
            anchor[22..24].copy_from_slice(&(tables.len() as u16).to_le_bytes());
            anchor[24..28].copy_from_slice(&address.to_le_bytes());
            anchor[4] = sum(&anchor[..31]);
        }
        bytes.extend(tables);
        bytes
    }

    fn in_it(bytes: &[u8], at: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(at.checked_sub(FIRST)?).ok()?;
        bytes.get(at..at.checked_add(length)?)
    }

    fn told(bytes: &[u8], anchor: Option<u64>) -> Result<(bool, String), String> {
        let mut settings = Settings::default();
        let memory = |at, length| in_it(bytes, at, length);
        let _ = cloud(&memory, anchor);
        // The tables live as long as the test's bytes.
        let found = read(&memory, anchor, &mut settings)?;
        Ok((found, settings.to_string()))
    }

    fn some_tables() -> Vec<u8> {
        [
            structure_of(0, &[0; 20], &["vendor"]),
            structure_of(1, &[1, 2, 0, 3], &["QEMU", "box", "ds=nocloud;s=http://x/;h=moon"]),
            structure_of(
                11,
                &[3],
                &["lunette.ip=10.0.0.9/24", "io.systemd.credential:x=y", "lunette.env.A=b=c"],
            ),
            structure_of(127, &[], &[]),
        ]
        .concat()
    }

    #[test]
    fn strings_are_settings() {
        let expected = "hostname=moon (SMBIOS), ip=10.0.0.9/24 (SMBIOS), env.A (SMBIOS)";
        for version in [2, 3] {
            assert_eq!(told(&machine(version, &some_tables()), None), Ok((true, expected.into())));
        }
        assert_eq!(told(&machine(3, &some_tables()), Some(FIRST + 0x120)), Ok((true, expected.into())));
        assert_eq!(told(&[], Some(7)), Ok((false, "nothing".into())));
        let unknown = structure_of(11, &[1], &["lunette.oops"]);
        assert!(
            told(&machine(2, &unknown), None)
                .unwrap_err()
                .contains("SMBIOS: the setting `oops` is not known")
        );
    }

    #[test]
    fn clouds_are_known_by_their_names() {
        let is = |system: [&str; 2], tag: &str| {
            let chassis = structure_of(3, &[1, 1, 0, 0, 2], &["QEMU", tag]);
            let tables = [structure_of(1, &[1, 2, 0, 0], &system), chassis, structure_of(127, &[], &[])];
            let bytes = machine(3, &tables.concat());
            let memory = |at, length| in_it(&bytes, at, length);
            cloud(&memory, None)
        };
        const AZURE: &str = "7783-7084-3265-9085-8269-3286-77";
        for (system, tag, expected) in [
            (["Amazon EC2", "t3.micro"], "x", Some(Cloud::Ec2)),
            (["Google", "Google Compute Engine"], "x", Some(Cloud::Google)),
            (["?", "Google Compute Engine"], "x", Some(Cloud::Google)),
            (["OpenStack Foundation", "OpenStack Nova"], "x", Some(Cloud::OpenStack)),
            (["Red Hat", "OpenStack Compute"], "x", Some(Cloud::OpenStack)),
            (["VMware, Inc.", "VMware7,1"], "OpenStack Nova", Some(Cloud::OpenStack)),
            (["Microsoft Corporation", "Virtual Machine"], AZURE, Some(Cloud::Azure)),
            (["Microsoft Corporation", "Virtual Machine"], "x", None),
            (["Hetzner", "vServer"], "x", Some(Cloud::Hetzner)),
            (["DigitalOcean", "Droplet"], "x", Some(Cloud::DigitalOcean)),
            (["QEMU", "Standard PC (Q35 + ICH9, 2009)"], "x", None),
        ] {
            assert_eq!(is(system, tag), expected, "{system:?}");
        }
        assert_eq!(cloud(&|_, _| None, Some(7)), None);
    }

    #[test]
    fn damage_is_survived() {
        let good = machine(3, &some_tables());
        for at in 0x120..good.len() {
            for bit in [0x01, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= bit;
                let _ = told(&bytes, None);
            }
        }
        for end in 0x120..good.len() {
            let _ = told(&good[..end], None);
        }
    }
}
