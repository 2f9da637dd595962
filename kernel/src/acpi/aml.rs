//! Devices in a table of AML, without running it (ACPI 6.5, 20.2): those that are plain definitions, as virtual machine
//! monitors write them: `Device (…) { Name (_HID, …) Name (_CRS, ResourceTemplate () {…}) }`.
//!
//! Promises: each byte is looked at once, whatever the table says of its lengths; nothing is allocated. Does not: run methods, so
//! what a method would answer is not known (but for one that only returns a number: `_CBA`), nor follow names, so a device
//! that is inside of an `If` counts as if it held.

use core::ops::Range;

use super::{long, short, wide};

/// Devices in devices that are told apart. What lies deeper is left out.
const DEEPEST: usize = 8;

/// What is said of a device.
#[derive(Clone, Copy, Default)]
pub(super) struct Device<'a> {
    /// The bytes from `_HID`'s value on.
    hid: &'a [u8],
    /// `_CRS`: what it occupies.
    template: &'a [u8],
    /// `_CBA`: where a PCI host bridge has its configuration space.
    pub(super) configuration: Option<u64>,
}

/// A thing that a device occupies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Memory(Range<u64>),
    Line { number: u32, edge: bool, low: bool },
}

const NAME: u8 = 8;
const BUFFER: u8 = 0x11;
const METHOD: u8 = 0x14;
const EXTENDED: u8 = 0x5b;
const DEVICE: u8 = 0x82;
const RETURN: u8 = 0xa4;

/// Calls `visit` with every device, those within another before that one.
pub(super) fn devices<'a>(aml: &'a [u8], visit: &mut dyn FnMut(&Device<'a>)) {
    let mut open = [(0, Device::default()); DEEPEST];
    let mut depth = 0;
    let mut at = 0;
    loop {
        while depth > 0 && open[depth - 1].0 <= at {
            depth -= 1;
            visit(&open[depth].1);
        }
        let Some(rest @ [_, ..]) = aml.get(at..) else { return };
        let end = if depth > 0 { open[depth - 1].0 } else { aml.len() };
        let mut nowhere = Device::default();
        let device = if depth > 0 { &mut open[depth - 1].1 } else { &mut nowhere };
        at += match *rest {
            [EXTENDED, DEVICE, ref package @ ..] => match content(package) {
                Some(body) if at + 2 + body.end <= end && depth < DEEPEST => {
                    open[depth] = (at + 2 + body.end, Device::default());
                    depth += 1;
                    2 + body.start
                }
                Some(body) if depth == DEEPEST => 2 + body.end,
                _ => 1,
            },
            [NAME, b'_', b'H', b'I', b'D', ref value @ ..] => {
                device.hid = value;
                5
            }
            [NAME, b'_', b'C', b'R', b'S', BUFFER, ref package @ ..] => match content(package) {
                Some(body) => {
                    let bytes = &package[body.clone()];
                    let size = integer(bytes).map_or(bytes.len(), |(_, length)| length);
                    device.template = &bytes[size..];
                    6 + body.end
                }
                None => 1,
            },
            [NAME, b'_', b'C', b'B', b'A', ref value @ ..] => {
                device.configuration = integer(value).map(|(value, _)| value);
                5
            }
            [METHOD, ref package @ ..] => {
                let body = content(package).map_or(&[][..], |body| &package[body]);
                if let [b'_', b'C', b'B', b'A', _, RETURN, ref value @ ..] = *body {
                    device.configuration = integer(value).map(|(value, _)| value);
                }
                1
            }
            _ => 1,
        };
    }
}

impl Device<'_> {
    /// Is this its `_HID`: a text?
    pub(super) fn is(&self, name: &[u8]) -> bool {
        const TEXT: u8 = 0x0d;
        self.hid.split_first().is_some_and(|(kind, rest)| {
            *kind == TEXT && rest.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0))
        })
    }

    /// Is this its `_HID`: an EISA number (19.3.4)?
    pub(super) fn is_eisa(&self, number: u32) -> bool {
        integer(self.hid).is_some_and(|(value, _)| value == number.into())
    }

    /// Calls `visit` with what it occupies (6.4): memory and interrupts, which is all that is asked.
    pub(super) fn resources(&self, visit: &mut dyn FnMut(Resource)) {
        const END: u8 = 0x79;
        let mut template = self.template;
        while let [tag, ..] = *template
            && tag != END
        {
            let length = match tag & 0x80 {
                0 => 1 + usize::from(tag & 7),
                _ => 3 + usize::from(short(template, 1).unwrap_or(u16::MAX)),
            };
            let Some((item, rest)) = template.split_at_checked(length) else { return };
            resource(item).into_iter().for_each(&mut *visit);
            template = rest;
        }
    }
}

fn resource(item: &[u8]) -> Option<Resource> {
    let memory = |at: u64, length: u64| Some(Resource::Memory(at..at.checked_add(length)?));
    // Of an address space: memory, of which so much is there.
    let is_memory = item.get(3) == Some(&0);
    match item.first()? {
        0x85 => memory(long(item, 4)?.into(), long(item, 16)?.into()),
        0x86 => memory(long(item, 4)?.into(), long(item, 8)?.into()),
        0x87 if is_memory => memory(long(item, 10)?.into(), long(item, 22)?.into()),
        0x8a if is_memory => memory(wide(item, 14)?, wide(item, 38)?),
        0x89 => {
            let flags = item.get(3)?;
            Some(Resource::Line { number: long(item, 5)?, edge: flags & 2 != 0, low: flags & 4 != 0 })
        }
        _ => None,
    }
}

/// Where the content of a package is, after its length, which counts from itself on (20.2.4).
fn content(package: &[u8]) -> Option<Range<usize>> {
    let lead = *package.first()?;
    let more = usize::from(lead >> 6);
    let mut end = usize::from(if more == 0 { lead & 0x3f } else { lead & 0xf });
    for (i, byte) in package.get(1..=more)?.iter().enumerate() {
        end |= usize::from(*byte) << (4 + 8 * i);
    }
    (more < end && end <= package.len()).then_some(1 + more..end)
}

/// A number, and how many bytes it takes.
fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    Some(match *bytes.first()? {
        small @ (0 | 1) => (small.into(), 1),
        0x0a => ((*bytes.get(1)?).into(), 2),
        0x0b => (short(bytes, 1)?.into(), 3),
        0x0c => (long(bytes, 1)?.into(), 5),
        0x0e => (wide(bytes, 1)?, 9),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// As QEMU 7.2 gives them to `-M microvm,acpi=on` with two virtio devices, and to `microvm,acpi=on,pcie=on`: the guest's
    /// memory, saved.
    const MICROVM: &[u8] = include_bytes!("tables/qemu-microvm.dsdt");
    const PCIE: &[u8] = include_bytes!("tables/qemu-microvm-pcie.dsdt");

    /// Name, resources, configuration.
    type Found = (String, Vec<Resource>, Option<u64>);

    fn found(aml: &[u8]) -> Vec<Found> {
        let mut all = Vec::new();
        devices(aml, &mut |device| {
            let text = device.hid.strip_prefix(b"\x0d").and_then(|text| text.split(|byte| *byte == 0).next());
            let name = match text {
                Some(text) => String::from_utf8_lossy(text).into_owned(),
                None => integer(device.hid).map(|(value, _)| format!("{value:x}")).unwrap_or_default(),
            };
            let mut resources = Vec::new();
            device.resources(&mut |resource| resources.push(resource));
            all.push((name, resources, device.configuration));
        });
        all
    }

    fn package(content: &[u8]) -> Vec<u8> {
        match content.len() {
            length @ ..0x3f => [&[length as u8 + 1], content].concat(),
            length => {
                let length = length + 3;
                [&[0x80 | (length & 15) as u8, (length >> 4) as u8, (length >> 12) as u8], content].concat()
            }
        }
    }

    fn device(content: &[&[u8]]) -> Vec<u8> {
        [&[EXTENDED, DEVICE][..], &package(&[&b"DEV0"[..], &content.concat()].concat())].concat()
    }

    /// `Name (_CRS, Buffer)` with a size of its own.
    fn crs(template: &[u8]) -> Vec<u8> {
        let size = [&[0x0a, template.len() as u8 + 2], template, b"\x79\0"].concat();
        [b"\x08_CRS\x11", &package(&size)[..]].concat()
    }

    #[test]
    fn the_devices_of_qemus_microvm() {
        let all = found(&MICROVM[36..]);
        let names: Vec<_> = all.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["QEMU0002", "105d041", "bd041", "ACPI0013", "PNP0C0C", "LNRO0005", "LNRO0005"]);
        let line = |number| Resource::Line { number, edge: false, low: false };
        assert_eq!(all[5].1, [Resource::Memory(0xfeb0_2e00..0xfeb0_3000), line(47)]);
        assert_eq!(all[6].1, [Resource::Memory(0xfeb0_2c00..0xfeb0_2e00), line(46)]);
        assert_eq!(all[3].1, [Resource::Line { number: 9, edge: true, low: false }]);
    }

    #[test]
    fn the_host_bridge_of_qemus_microvm() {
        let all = found(&PCIE[36..]);
        let (_, resources, configuration) = all.iter().find(|(name, ..)| name == "PNP0A08").unwrap();
        let windows =
            [Resource::Memory(0xc000_0000..0xe000_0000), Resource::Memory(0xc0_0000_0000..0x100_0000_0000)];
        assert_eq!(resources[..], windows, "and not those of the devices within it");
        assert_eq!(*configuration, Some(0xe000_0000));
        let link = all.iter().find(|(name, ..)| name == "PNP0C0F").unwrap();
        assert_eq!(link.1, [Resource::Line { number: 16, edge: false, low: false }]);
    }

    /// Put together by the specification, as Firecracker and others on rust-vmm's crate write them.
    #[test]
    fn other_ways_to_say_it() {
        let memory32 = b"\x86\x09\0\x01\0\x10\0\xc0\0\x10\0\0";
        let edge = b"\x89\x06\0\x03\x01\x05\0\0\0";
        let mut aml = b"\x10\x80\xff\x0f\\_SB_".to_vec();
        aml.extend(device(&[
            b"\x08_HID\x0dLNRO0005\0\x08_UID\x0c\0\0\0\0",
            &crs(&[&memory32[..], edge].concat()),
        ]));
        // A 64-bit address space, and an interrupt that is active low behind an I/O port.
        let memory64 = [
            &b"\x8a\x2b\0\0\x0c\x01"[..],
            &[0; 8],
            &0xd000_0000_u64.to_le_bytes(),
            &0xd000_0fff_u64.to_le_bytes(),
            &[0; 8],
            &0x1000_u64.to_le_bytes(),
        ]
        .concat();
        let port = b"\x47\x01\0\0\0\0\x01\x08";
        let low = b"\x89\x06\0\x0d\x01\x07\0\0\0";
        aml.extend(device(&[b"\x08_HID\x0dLNRO0005\0", &crs(&[&memory64[..], port, low].concat())]));
        aml.extend(device(&[b"\x08_HID\x0c\x41\xd0\x0a\x08\x08_CBA\x0c\0\0\xc0\xee"]));
        assert_eq!(
            found(&aml),
            [
                (
                    "LNRO0005".into(),
                    vec![
                        Resource::Memory(0xc000_1000..0xc000_2000),
                        Resource::Line { number: 5, edge: true, low: false }
                    ],
                    None
                ),
                (
                    "LNRO0005".into(),
                    vec![
                        Resource::Memory(0xd000_0000..0xd000_1000),
                        Resource::Line { number: 7, edge: false, low: true }
                    ],
                    None
                ),
                ("80ad041".into(), vec![], Some(0xeec0_0000)),
            ]
        );
    }

    #[test]
    fn what_is_in_a_device_is_not_its_own() {
        let memory = |at: u8| crs(&[0x86, 9, 0, 1, 0, 0, 0, at, 0, 0x10, 0, 0]);
        let at = |at: u64| vec![Resource::Memory(at << 24..(at << 24) + 0x1000)];
        let inner = device(&[b"\x08_HID\x0dB\0", &memory(2)]);
        let all = found(&device(&[b"\x08_HID\x0dA\0", &inner, &memory(1)]));
        assert_eq!(all, [("B".into(), at(2), None), ("A".into(), at(1), None)]);
        // Fifty deep: those that are too deep are left out, the others keep what is theirs.
        let deep = (1..=50).fold(Vec::new(), |inner, n| device(&[&inner, b"\x08_HID\x0dC\0", &memory(n)]));
        let all = found(&deep);
        assert_eq!(all.len(), DEEPEST);
        assert_eq!(all.last(), Some(&("C".into(), at(50), None)));
        // A device that says it is longer than that which it is in.
        let mut liar = device(&[b"\x08_HID\x0dA\0", &device(&[b"\x08_HID\x0dB\0"])]);
        let inner = liar.windows(2).rposition(|bytes| bytes == [EXTENDED, DEVICE]).unwrap();
        liar[inner + 2] += 1;
        liar.extend([0; 8]);
        assert_eq!(found(&liar).len(), 1);
    }

    #[test]
    fn lengths_that_lie_end_where_the_bytes_end() {
        for template in [
            &b"\x86"[..],
            b"\x86\xff\xff",
            b"\x86\x09\0\x01\0\0",
            b"\x86\x00\0",
            b"\x89\x03\0\x01\x01\x05",
            b"\x89\x00\0",
            b"\x8a\x2b\0\0",
            b"\x07",
            b"\x22\x01",
        ] {
            // With and without the end tag.
            assert_eq!(found(&device(&[b"\x08_HID\x0dA\0", &crs(template)])).len(), 1);
            let bare = device(&[b"\x08_CRS\x11", &package(&[&[0], template].concat())]);
            assert!(found(&bare)[0].1.is_empty(), "{template:x?}");
        }
        // Memory that ends beyond all addresses.
        let beyond =
            [&b"\x8a\x2b\0\0\x0c\x01"[..], &[0; 8], &[0xff; 8], &[0xff; 8], &[0; 8], &[0xff; 8]].concat();
        assert!(found(&device(&[&crs(&beyond)]))[0].1.is_empty());
        for aml in [
            &b"\x5b"[..],
            b"\x5b\x82",
            b"\x5b\x82\0",
            b"\x5b\x82\x02",
            b"\x5b\x82\xff\xff\xff\xff",
            b"\x08_CRS\x11",
        ] {
            assert!(found(aml).is_empty(), "{aml:x?}");
        }
    }

    #[test]
    fn nonsense_is_read_once_and_panics_nobody() {
        // Every byte wrong, and every end.
        for good in [MICROVM, PCIE] {
            for at in 0..good.len() {
                found(&good[..at]);
                found(&good[at..]);
            }
            for at in 0..MICROVM.len() {
                for value in [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff] {
                    let mut bad = good.to_vec();
                    bad[at] = value;
                    found(&bad);
                }
            }
        }
        // Bytes that mean something, in any order.
        let mut seed = 1_u32;
        let words: [&[u8]; 9] = [
            b"\x5b\x82",
            b"\x08_HID",
            b"\x08_CRS\x11",
            b"\x14",
            b"_CBA\0\xa4\x0c",
            b"\xcf",
            b"\x89\x06\0",
            b"\x05",
            b"\x79",
        ];
        for _ in 0..2000 {
            let mut aml = Vec::new();
            while aml.len() < 300 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                aml.extend_from_slice(words[(seed >> 24) as usize % words.len()]);
            }
            found(&aml);
        }
        // A megabyte of devices each of which says that it has all the rest.
        let many: Vec<u8> = [0x5b, 0x82, 0x8f, 0xff, 0xff].repeat(200_000);
        let begun = Instant::now();
        found(&many);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
