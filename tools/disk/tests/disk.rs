//! A disk is what its parts make of it, to the byte.

use std::io::{Cursor, Read as _};

use lunette_disk::{Error, Parts, iso, least, raw, read, verify};

fn bios() -> Vec<u8> {
    let mut file = vec![0x90; 416];
    file.extend([0, 0, 32, 0]);
    file.resize(510, 0);
    file.extend([0x55, 0xaa]);
    file.extend(b"loader".repeat(300));
    file
}

fn kernel(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).take(bytes).collect()
}

fn written(parts: &Parts<'_>, size: Option<u64>) -> Vec<u8> {
    let mut disk = Cursor::new(Vec::new());
    let size = raw(parts, size, &mut disk).unwrap();
    assert_eq!(disk.get_ref().len() as u64, size);
    disk.into_inner()
}

#[test]
fn what_goes_in_comes_out() {
    let (kernel, bios) = (kernel(100_001), bios());
    let whole = Parts {
        kernel: &kernel,
        cmdline: "lunette.log=info",
        bundle: Some(b"bundle"),
        bios: Some(&bios),
        uefi: Some(b"MZ loader"),
    };
    for parts in [
        whole,
        Parts { bundle: None, cmdline: "", ..whole },
        Parts { bios: None, ..whole },
        Parts { uefi: None, ..whole },
    ] {
        for size in [None, Some(20 << 20)] {
            let disk = written(&parts, size);
            let held = verify(Cursor::new(&disk)).unwrap();
            assert_eq!((&held.kernel[..], &held.cmdline[..]), (&kernel[..], parts.cmdline));
            assert_eq!(held.bundle.as_deref(), parts.bundle);
            assert_eq!((held.bios.as_deref(), held.uefi.as_deref()), (parts.bios, parts.uefi));
            assert_eq!(disk, written(&parts, size), "the same parts, the same bytes");
        }
        let mut disc = Cursor::new(Vec::new());
        iso(&parts, &mut disc).unwrap();
        let held = verify(disc).unwrap();
        assert_eq!((&held.kernel[..], &held.cmdline[..]), (&kernel[..], parts.cmdline));
        assert_eq!((held.bios.as_deref(), held.uefi.as_deref()), (parts.bios, parts.uefi));
    }
}

#[test]
fn others_find_the_partitions_and_the_files() {
    let (kernel, bios) = (kernel(3_000_000), bios());
    let bundle = vec![7; 70_000];
    let parts =
        Parts { kernel: &kernel, cmdline: "x", bundle: Some(&bundle), bios: Some(&bios), uefi: Some(b"MZ") };
    let disk = written(&parts, None);
    let table =
        gpt::GptConfig::new().only_valid_headers(true).open_from_device(Cursor::new(disk.clone())).unwrap();
    let esp = &table.partitions()[&1];
    assert_eq!(esp.part_type_guid, gpt::partition_types::EFI);
    assert_eq!(esp.first_lba, 2048);
    let volume = &disk[1 << 20..(esp.last_lba as usize + 1) * 512];
    let system = fatfs::FileSystem::new(Cursor::new(volume.to_vec()), fatfs::FsOptions::new()).unwrap();
    for (path, content) in [
        ("lunette/kernel.elf", &kernel[..]),
        ("lunette/app.bundle", &bundle),
        ("lunette/cmdline.txt", b"x"),
        ("EFI/BOOT/BOOTX64.EFI", b"MZ"),
    ] {
        let mut read = Vec::new();
        system.root_dir().open_file(path).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == content, "{path}");
    }
}

#[test]
fn large_parts_and_small_ones() {
    for bytes in [1, 2_000_000, 9_000_000, 40_000_000] {
        let kernel = kernel(bytes);
        let parts = Parts { kernel: &kernel, cmdline: "", bundle: None, bios: None, uefi: None };
        let size = least(&parts).unwrap();
        assert!(size < bytes as u64 + (4 << 20), "{bytes}: {size}");
        assert!(verify(Cursor::new(written(&parts, None))).unwrap().kernel == kernel);
    }
}

#[test]
fn a_size_that_will_not_do_is_refused_with_the_least() {
    let parts = Parts { kernel: b"kernel", cmdline: "", bundle: None, bios: None, uefi: None };
    let needed = least(&parts).unwrap();
    let mut disk = Cursor::new(Vec::new());
    let error = raw(&parts, Some(needed - 512), &mut disk).unwrap_err();
    assert!(matches!(error, Error::TooSmall { needed: n, .. } if n == needed), "{error}");
    assert!(error.to_string().contains(&needed.to_string()));
    assert!(matches!(raw(&parts, Some(needed + 1), &mut disk), Err(Error::UnevenSize(_))));
    assert!(disk.get_ref().is_empty(), "nothing was written");
    let long = "x".repeat(4096);
    for bad in
        [Parts { cmdline: &long, ..parts }, Parts { cmdline: "a\0", ..parts }, Parts { kernel: b"", ..parts }]
    {
        assert!(matches!(raw(&bad, None, &mut disk), Err(Error::Part(_))));
    }
    assert!(matches!(raw(&Parts { bios: Some(b"rubbish"), ..parts }, None, &mut disk), Err(Error::Part(_))));
}

#[test]
fn a_flipped_byte_anywhere_is_found() {
    let (kernel, bios) = (kernel(5000), bios());
    let parts = Parts {
        kernel: &kernel,
        cmdline: "lunette.log=info",
        bundle: Some(b"bundle"),
        bios: Some(&bios),
        uefi: Some(b"MZ loader"),
    };
    let mut disc = Cursor::new(Vec::new());
    iso(&parts, &mut disc).unwrap();
    for good in [written(&parts, None), disc.into_inner()] {
        every_flipped_byte(&good, &kernel);
    }
}

fn every_flipped_byte(good: &[u8], kernel: &[u8]) {
    // Where something is: every byte; where nothing is: some.
    let steps = (0..good.len()).filter(|at| good[*at] != 0 && at % 29 == 0 || at % 65_537 == 0);
    for at in steps {
        let mut bad = good.to_vec();
        bad[at] ^= 0x20;
        let error = verify(Cursor::new(bad)).expect_err(&at.to_string());
        assert!(matches!(error, Error::Damaged(_)), "{at}: {error}");
    }
    for (what, at) in [("the kernel", find(good, &kernel[..64])), ("the bundle", find(good, b"bundle"))] {
        let mut bad = good.to_vec();
        bad[at] ^= 1;
        let error = read(Cursor::new(bad)).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

fn find(disk: &[u8], what: &[u8]) -> usize {
    disk.windows(what.len()).position(|bytes| bytes == what).unwrap()
}

#[test]
fn what_is_cut_short_or_no_disk_is_told() {
    let parts = Parts { kernel: &kernel(5000), cmdline: "", bundle: Some(b"b"), bios: None, uefi: None };
    let good = written(&parts, None);
    for length in [0, 512, 20_000, 1 << 20, good.len() / 2, good.len() - 512] {
        let error = verify(Cursor::new(&good[..length])).expect_err(&length.to_string());
        assert!(matches!(error, Error::Damaged(_)), "{length}: {error}");
    }
    assert!(read(Cursor::new(vec![0; 1 << 20])).unwrap_err().to_string().contains("no record"));
}
