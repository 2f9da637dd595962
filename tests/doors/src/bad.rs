//! Disks that are damaged or lack something, and machines with too little memory: both loaders say so, in words.

use crate::{
    Doors,
    machine::{CMDLINE, Files, GOOD_END, Machine, cannot_boot, hello, no_ovmf},
};

pub(crate) fn doors(doors: &mut Doors) {
    for (firmware, lack) in [("seabios", cannot_boot()), ("ovmf", no_ovmf())] {
        let uefi = firmware == "ovmf";
        let mut refused =
            |name: &str, memory: &'static str, words: &'static str, make: fn(&Files) -> Vec<u8>| {
                doors.opens(format!("bad_{firmware}_{name}"), lack, move || {
                    let files = Files::new();
                    let disk = files.put("disk", &make(&files));
                    let machine = Machine::new(&files, "q35", memory, uefi);
                    machine.disk(&disk, &["virtio-blk-pci,drive=disk"]).says(words);
                });
            };
        refused("no_bundle", "128M", "farewell refused this disk holds no bundle", |files| {
            files.disk(CMDLINE, None)
        });
        refused("flipped_bundle", "128M", "the bundle does not sum up", |files| {
            let bundle = hello();
            let mut disk = files.disk(CMDLINE, Some(&bundle));
            flip(&mut disk, &bundle, bundle.len() / 2);
            disk
        });
        refused("flipped_kernel", "128M", "the kernel does not sum up", |files| {
            let mut disk = files.disk(CMDLINE, Some(&hello()));
            flip(&mut disk, &files.kernel, files.kernel.len() - 10);
            disk
        });
        refused("flipped_cmdline", "128M", "the command line does not sum up", |files| {
            let mut disk = files.disk("lunette.log=info lunette.flipped", Some(&hello()));
            flip(&mut disk, b"lunette.log=info lunette.flipped", 3);
            disk
        });
    }
    // Firmware that lacks what the loaders ask for: SeaBIOS' floppies know nothing but the old INT 13h, and what OVMF has from a
    // network lies on no volume.
    doors.opens("bad_seabios_no_extensions", cannot_boot(), || {
        let files = Files::new();
        let disk = files.put("disk", &files.disk(CMDLINE, Some(&hello())));
        let floppy = format!("if=floppy,format=raw,snapshot=on,file={}", disk.display());
        let machine = Machine::new(&files, "pc", "64M", false).with(&["-drive", &floppy, "-boot", "a"]);
        machine.says("farewell refused this firmware has no INT 13h extensions");
    });
    doors.opens("bad_ovmf_no_volume", no_ovmf(), || {
        let files = Files::new();
        files.put("lunette.efi", &files.uefi);
        let net = format!("user,id=net,restrict=on,tftp={},bootfile=lunette.efi", files.dir.path().display());
        let card = "virtio-net-pci,netdev=net,romfile=";
        let machine = Machine::new(&files, "q35", "128M", true).with(&["-netdev", &net, "-device", card]);
        machine.says("farewell refused this firmware does not give the loader its volume: NOT_FOUND");
    });
    let only_bios = cannot_boot();
    doors.opens("bad_seabios_truncated", only_bios, || {
        let files = Files::new();
        let mut disk = files.disk(CMDLINE, Some(&hello()));
        disk.truncate(2 << 20);
        let disk = files.put("disk", &disk);
        let machine = Machine::new(&files, "pc", "128M", false);
        machine
            .disk(&disk, &["ide-hd,drive=disk"])
            .says("farewell refused this disk can't be read: the kernel");
    });
    doors.opens("little_memory_is_told", only_bios, || {
        let files = Files::new();
        let disk = files.put("disk", &files.disk(CMDLINE, Some(&hello())));
        let machine = Machine::new(&files, "pc", "2M", false);
        machine.disk(&disk, &["ide-hd,drive=disk"]).says("farewell refused not enough memory");
    });
    doors.opens("little_memory_is_enough", only_bios, || {
        let files = Files::new();
        let disk = files.put("disk", &files.disk(CMDLINE, Some(&hello())));
        // The image and a few megabytes.
        let least = files.kernel.len().div_ceil(1 << 20) + 6;
        let machine = Machine::new(&files, "pc", &format!("{least}M"), false);
        machine.disk(&disk, &["ide-hd,drive=disk"]).says(GOOD_END);
    });
}

/// Flips a bit of what is somewhere on the disk.
fn flip(disk: &mut [u8], part: &[u8], at: usize) {
    let front = &part[..part.len().min(4096)];
    let begin = disk.windows(front.len()).position(|bytes| bytes == front).expect("it is on the disk");
    disk[begin + at] ^= 4;
}
