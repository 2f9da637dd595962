//! Hostile loaders: each protocol against memory that is made up.

use lunette_loader::params::Params;

use super::*;
use crate::acpi::Physical;

const MIB: u64 = 1 << 20;
const IMAGE: Range<u64> = MIB..9 * MIB;
/// Where what a loader says is; below the image, with memory behind it.
const AT: u64 = 0x6000;

/// A MiB of memory from 0 on; nothing else is read. Who asks for what is the kernel's or nowhere has failed.
struct Ram(Vec<u8>);

impl Physical for Ram {
    fn bytes(&self, at: u64, length: usize) -> Option<&[u8]> {
        let end = at + length as u64;
        assert!(at != 0 && end <= 4 << 30 && (end <= IMAGE.start || at >= IMAGE.end), "{at:#x}, {length}");
        self.0.get(at as usize..)?.get(..length)
    }
}

impl Ram {
    fn new() -> Self {
        Self(vec![0; MIB as usize])
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> &mut Self {
        self.0[at as usize..][..bytes.len()].copy_from_slice(bytes);
        self
    }

    fn long(&mut self, at: u64, value: u32) -> &mut Self {
        self.put(at, &value.to_le_bytes())
    }

    fn wide(&mut self, at: u64, value: u64) -> &mut Self {
        self.put(at, &value.to_le_bytes())
    }

    fn read(
        &self,
        read: for<'m> fn(&Claims<'m>, u64) -> Result<Handed<'m>, Wrong>,
        at: u64,
    ) -> Result<Handed<'_>, Wrong> {
        read(&Claims { memory: self, image: IMAGE, end: 4 << 30 }, at)
    }
}

#[track_caller]
fn regions(handed: &Handed<'_>, expected: &[Range<u64>]) {
    assert_eq!(handed.memory.as_slice(), expected);
}

/// PVH's, as QEMU has it: memory of 256 MiB, a bundle at 200 MiB.
fn pvh() -> Ram {
    let mut ram = Ram::new();
    ram.long(AT, 0x336e_c578).long(AT + 4, 1).long(AT + 12, 1).wide(AT + 16, 0x7000);
    ram.wide(AT + 24, 0x8000).wide(AT + 32, 0xf_59d0).wide(AT + 40, 0x9000).long(AT + 48, 3);
    ram.wide(0x7000, 200 * MIB).wide(0x7008, 5000);
    ram.put(0x8000, b"lunette.log=info\0more");
    for (at, (start, length, kind)) in
        (0x9000..).step_by(24).zip([(0, 0x9_fc00, 1), (0xf_0000, 0x1_0000, 2), (MIB, 255 * MIB, 1)])
    {
        ram.wide(at, start).wide(at + 8, length).long(at + 16, kind);
    }
    ram
}

fn wrong(ram: &Ram) -> Wrong {
    ram.read(pvh::read, AT).err().expect("it is refused")
}

#[test]
fn pvh_as_it_should_be() {
    let ram = pvh();
    let handed = ram.read(pvh::read, AT).unwrap();
    assert_eq!(handed.cmdline, b"lunette.log=info");
    assert_eq!(handed.payload, Some(200 * MIB..200 * MIB + 5000));
    assert!(matches!(handed.rsdp, Some(Rsdp::At(0xf_59d0))));
    regions(&handed, &[0..0x9_f000, MIB..256 * MIB]);
    // Nothing of what may be left out.
    let mut ram = pvh();
    ram.long(AT + 12, 0).wide(AT + 24, 0).wide(AT + 32, 0);
    let handed = ram.read(pvh::read, AT).unwrap();
    assert!(handed.cmdline.is_empty() && handed.payload.is_none() && handed.rsdp.is_none());
}

#[test]
fn pvh_that_lies() {
    for at in [0, 4 << 30, (4 << 30) - 8, u64::MAX] {
        let why = pvh().read(pvh::read, at).err();
        assert!(matches!(why, Some(Wrong::OutOfReach { .. })), "{at:#x}: {why:?}");
    }
    for at in [IMAGE.start, IMAGE.end - 1, IMAGE.start - 55] {
        let why = pvh().read(pvh::read, at).err();
        assert!(matches!(why, Some(Wrong::InTheKernel { .. })), "{at:#x}: {why:?}");
    }
    let said = |change: &dyn Fn(&mut Ram)| {
        let mut ram = pvh();
        change(&mut ram);
        wrong(&ram).to_string()
    };
    assert!(said(&|ram| _ = ram.long(AT, 1)).contains("without magic number"));
    assert!(said(&|ram| _ = ram.long(AT + 4, 0)).contains("or memory map"), "version 0");
    // Lists: too long, at the end of all addresses, in the kernel, nowhere.
    assert!(said(&|ram| _ = ram.long(AT + 48, u32::MAX)).contains("4294967295 of them"));
    assert!(said(&|ram| _ = ram.wide(AT + 40, u64::MAX)).contains("only the first 4 GiB"));
    assert!(said(&|ram| _ = ram.wide(AT + 40, MIB - 24)).contains("there is the kernel"));
    assert!(said(&|ram| _ = ram.wide(AT + 40, 0)).contains("PVH's memory map at 0x0"));
    assert!(said(&|ram| _ = ram.wide(AT + 16, (4 << 30) - 31)).contains("PVH's modules"));
    // The bundle: none of it, or not all of it, in memory; around the end; not at a page.
    for (at, length) in [
        (300 * MIB, 1),
        (255 * MIB, MIB + 1),
        (0xa_0000, 4096),
        (200 * MIB, u64::MAX),
        (200 * MIB, u64::MAX - 200 * MIB + 1),
        (!0xfff, 4096),
    ] {
        let words = said(&|ram| _ = ram.wide(0x7000, at).wide(0x7008, length));
        assert!(words.contains("there is no memory"), "{at:#x}, {length}: {words}");
    }
    assert!(said(&|ram| _ = ram.wide(0x7000, 200 * MIB + 1)).contains("begin with a page"));
    assert!(said(&|ram| _ = ram.wide(0x7000, 8 * MIB)).contains("there is the kernel"));
    // The command line: without an end, in the kernel, nowhere.
    assert!(said(&|ram| _ = ram.put(0x8000, &[b'a'; 4096])).contains("more than 4096 bytes"));
    assert!(said(&|ram| _ = ram.wide(AT + 24, MIB)).contains("there is the kernel"));
    assert!(said(&|ram| _ = ram.wide(AT + 24, u64::MAX)).contains("the command line"));
    let up_to_the_kernel = |ram: &mut Ram| _ = ram.wide(AT + 24, MIB - 4).put(MIB - 4, b"aaaa");
    assert!(said(&up_to_the_kernel).contains("more than 4 bytes"));
    assert!(pvh().put(0x8000, &[b'a'; 4095]).read(pvh::read, AT).is_ok());
}

#[test]
#[expect(clippy::single_range_in_vec_init, reason = "a list of one region is meant")]
fn memory_is_whole_pages_and_each_of_them_once() {
    let told = |list: &[(u64, u64)]| {
        let mut memory = Regions::default();
        list.iter().for_each(|(at, length)| memory.tell(*at, *length));
        memory
    };
    let same = |list: &[(u64, u64)], expected: &[Range<u64>]| assert_eq!(told(list).as_slice(), expected);
    same(&[(1, 0x2fff)], &[0x1000..0x3000]);
    same(&[(1, 4095), (0x1000, 4095), (5, 0)], &[]);
    same(&[(u64::MAX, u64::MAX), (u64::MAX - 0x1fff, u64::MAX)], &[u64::MAX - 0x1fff..u64::MAX - 0xfff]);
    same(&[(0, 0x1000), (0x1000, 0x1000)], &[0..0x2000]);
    // The same memory twice, in part, around, within.
    same(&[(0x1000, 0x4000), (0x1000, 0x4000)], &[0x1000..0x5000]);
    same(&[(0x1000, 0x2000), (0x2000, 0x2000)], &[0x1000..0x4000]);
    same(&[(0x2000, 0x2000), (0x1000, 0x2000)], &[0x2000..0x4000, 0x1000..0x2000]);
    same(&[(0x2000, 0x1000), (0x1000, 0x4000)], &[0x2000..0x3000, 0x1000..0x2000, 0x3000..0x5000]);
    same(&[(0x1000, 0x4000), (0x2000, 0x1000)], &[0x1000..0x5000]);
    // More than there is room for: the largest stay.
    let many: Vec<_> = (1..100).map(|i| (i << 20, i << 12)).collect();
    let memory = told(&many);
    assert_eq!(memory.iter().count(), 16);
    assert!(memory.iter().all(|range| range.end - range.start >= 84 << 12));
    // Whatever is told and taken, no page is there twice, and none that was not told.
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed >> 45
    };
    for _ in 0..300 {
        let list: Vec<_> = (0..40).map(|_| (next(), next() / 8)).collect();
        let mut memory = told(&list);
        let hole = next()..next();
        memory.remove(hole.clone());
        let all = memory.as_slice();
        for (i, range) in all.iter().enumerate() {
            assert!(range.start < range.end);
            assert!(all[..i].iter().all(|other| other.end <= range.start || range.end <= other.start));
            assert!(hole.is_empty() || hole.end <= range.start || range.end <= hole.start);
            for page in (range.start..range.end).step_by(4096) {
                assert!(list.iter().any(|(at, length)| *at <= page && page < at + length));
            }
        }
    }
}

/// What our own loaders write.
fn boot_params() -> Ram {
    let mut ram = Ram::new();
    let mut page = [0; lunette_loader::params::BYTES];
    let mut params = Params::new(&mut page);
    params.cmdline(0x8000, 12);
    params.bundle(200 * MIB, 5000);
    params.rsdp(0xf_59d0);
    for (range, usable) in [(0..0x9_fc00, true), (0xf_0000..MIB, false), (MIB..256 * MIB, true)] {
        assert!(params.region(range, usable));
    }
    ram.put(AT, &page).put(0x8000, b"lunette.marks\0");
    ram
}

#[test]
fn boot_params_are_read_as_they_are_written() {
    let ram = boot_params();
    let handed = ram.read(linux64::read, AT).unwrap();
    assert_eq!(handed.cmdline, b"lunette.marks");
    assert_eq!(handed.payload, Some(200 * MIB..200 * MIB + 5000));
    assert!(matches!(handed.rsdp, Some(Rsdp::At(0xf_59d0))));
    regions(&handed, &[0..0x9_f000, MIB..256 * MIB]);
}

#[test]
fn boot_params_that_lie() {
    let said = |change: &dyn Fn(&mut Ram)| {
        let mut ram = boot_params();
        change(&mut ram);
        ram.read(linux64::read, AT).err().expect("it is refused").to_string()
    };
    assert!(said(&|ram| _ = ram.put(AT + 0x202, b"HdrT")).contains("boot_params at 0x6000"));
    // The upper halves count.
    assert!(said(&|ram| _ = ram.long(AT + 0xc0, 1)).contains("the bundle at 0x10c800000"));
    assert!(said(&|ram| _ = ram.long(AT + 0xc4, 1)).contains("4294972296 bytes: there is no memory"));
    assert!(said(&|ram| _ = ram.long(AT + 0xc8, 1)).contains("the command line at 0x100008000"));
    assert!(boot_params().read(linux64::read, MIB - 4095).is_err());
    // More regions than the page has: those that it has.
    let mut ram = boot_params();
    ram.put(AT + 0x1e8, &[255]);
    for entry in 3..140 {
        ram.wide(AT + 0x2d0 + entry * 20, (1000 + entry) * MIB).wide(AT + 0x2d0 + entry * 20 + 8, 4096);
        ram.long(AT + 0x2d0 + entry * 20 + 16, 1);
    }
    let handed = ram.read(linux64::read, AT).unwrap();
    assert!(handed.memory.iter().all(|range| range.start < 1128 * MIB));
    // None at all: then there is no memory for the bundle either.
    assert!(said(&|ram| _ = ram.put(AT + 0x1e8, &[0])).contains("there is no memory"));
}

/// Multiboot2's tags, each padded to eight bytes.
fn multiboot(tags: &[(u32, &[u8])]) -> Ram {
    let mut bytes = vec![0; 8];
    for (kind, body) in tags {
        bytes.extend(kind.to_le_bytes());
        bytes.extend((body.len() as u32 + 8).to_le_bytes());
        bytes.extend(*body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let mut ram = Ram::new();
    let size = bytes.len() as u32;
    ram.put(AT, &bytes).long(AT, size);
    ram
}

/// A map of entries that are a bit longer than they have to be.
fn map(regions: &[(u64, u64, u32)]) -> Vec<u8> {
    let mut bytes = [32_u32.to_le_bytes(), [0; 4]].concat();
    for (at, length, kind) in regions {
        bytes.extend([&at.to_le_bytes()[..], &length.to_le_bytes(), &kind.to_le_bytes(), &[0; 12]].concat());
    }
    bytes
}

fn module(start: u64, end: u64) -> Vec<u8> {
    [&(start as u32).to_le_bytes()[..], &(end as u32).to_le_bytes(), b"name\0"].concat()
}

#[test]
fn multiboot2_as_grub_has_it() {
    let map = map(&[(0, 0x9_fc00, 1), (0xf_0000, 0x1_0000, 2), (MIB, 255 * MIB, 1)]);
    let (first, second) = (module(200 * MIB, 200 * MIB + 5000), module(0, 1));
    let ram = multiboot(&[
        (1, b"lunette.log=info\0"),
        (99, b"what nobody knows"),
        (6, &map),
        (3, &first),
        (3, &second),
        (14, &[1; 20]),
        (15, &[2; 36]),
        (14, &[1; 20]),
        (0, b""),
        (1, b"not any more\0"),
    ]);
    let handed = ram.read(multiboot2::read, AT).unwrap();
    assert_eq!(handed.cmdline, b"lunette.log=info");
    assert_eq!(handed.payload, Some(200 * MIB..200 * MIB + 5000), "the first module");
    assert!(matches!(handed.rsdp, Some(Rsdp::Copy(copy)) if copy == [2; 36]), "the newer one");
    regions(&handed, &[0..0x9_f000, MIB..256 * MIB]);
    // GRUB for EFI: a bundle in page 0.
    let zero = module(0, 5000);
    let handed = multiboot(&[(6, &map), (3, &zero)]);
    assert_eq!(handed.read(multiboot2::read, AT).unwrap().payload, Some(0..5000));
}

#[test]
fn multiboot2_that_lies() {
    let said = |ram: &Ram| ram.read(multiboot2::read, AT).err().expect("it is refused").to_string();
    let mut ram = multiboot(&[]);
    for size in [0, 7, MIB as u32 + 1, u32::MAX] {
        assert!(said(ram.long(AT, size)).contains(&format!("information: {size} of them")));
    }
    assert!(said(ram.long(AT, MIB as u32)).contains("there is the kernel"));
    // Tags that are shorter than a tag, or longer than all.
    for length in [0, 7, 25, u32::MAX] {
        let mut ram = multiboot(&[(99, &[0; 16])]);
        assert!(said(ram.long(AT + 12, length)).contains(&format!("type 99 and {length} bytes")));
    }
    assert!(said(&multiboot(&[(1, b"no end")])).contains("the command line"));
    assert!(said(&multiboot(&[(1, b"")])).contains("the command line"));
    assert!(said(&multiboot(&[(1, &[b'a'; 5000])])).contains("more than 4096"));
    let memory = map(&[(MIB, 255 * MIB, 1)]);
    let nowhere = module(300 * MIB, 301 * MIB);
    assert!(said(&multiboot(&[(6, &memory), (3, &nowhere)])).contains("there is no memory"));
    // What is cut off is as if it were not there; a module that ends before it begins is none.
    let backwards = module(201 * MIB, 200 * MIB);
    let ram = multiboot(&[(6, &memory[..30]), (3, &backwards), (15, &[3; 5]), (6, b"")]);
    let handed = ram.read(multiboot2::read, AT).unwrap();
    assert_eq!((handed.memory.iter().count(), handed.payload), (0, None));
    assert!(matches!(handed.rsdp, Some(Rsdp::Copy(copy)) if copy[..6] == [3, 3, 3, 3, 3, 0]));
    // Entries of no length, and of more than there is.
    for step in [0, u32::MAX] {
        let mut odd = memory.clone();
        odd[..4].copy_from_slice(&step.to_le_bytes());
        assert!(multiboot(&[(6, &odd)]).read(multiboot2::read, AT).is_ok());
    }
}

#[test]
fn nonsense_panics_nobody() {
    let map = map(&[(0, 0x9_fc00, 1), (MIB, 255 * MIB, 1)]);
    let bundle = module(200 * MIB, 200 * MIB + 5000);
    let multiboot = multiboot(&[(1, b"lunette.log=info\0"), (6, &map), (3, &bundle), (15, &[2; 36])]);
    type Read = for<'m> fn(&Claims<'m>, u64) -> Result<Handed<'m>, Wrong>;
    let doors: [(&Ram, Read, u64); 3] = [
        (&pvh(), pvh::read, 0x3100),
        (&boot_params(), linux64::read, 0x400),
        (&multiboot, multiboot2::read, 0x100),
    ];
    for (good, read, length) in doors {
        let mut bad = Ram(good.0.clone());
        for at in AT..AT + length {
            for value in [1, 0x7f, 0x80, 0xff] {
                bad.put(at, &[value]);
                let _ = bad.read(read, AT);
            }
            bad.put(at, &good.0[at as usize..][..1]);
        }
    }
}
