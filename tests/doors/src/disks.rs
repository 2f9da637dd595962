//! A raw disk, by both firmwares, from each controller.

use crate::{
    Doors,
    machine::{CMDLINE, Files, GOOD_END, Machine, answering, cannot_boot, hello, no_ovmf},
};

/// Its name, the machine, the devices.
const CONTROLLERS: [(&str, &str, &[&str]); 5] = [
    ("virtio-blk", "q35", &["virtio-blk-pci,drive=disk"]),
    ("ide", "pc", &["ide-hd,drive=disk"]),
    ("ahci", "q35", &["ide-hd,drive=disk"]),
    ("nvme", "q35", &["nvme,drive=disk,serial=1"]),
    ("virtio-scsi", "q35", &["virtio-scsi-pci,id=scsi", "scsi-hd,drive=disk"]),
];

/// A hybrid ISO: what it is taken for.
const DISCS: [(&str, &str, &str, &[&str]); 2] = [
    ("as_cd", "q35", "media=cdrom,", &["ide-cd,drive=disk"]),
    ("as_disk", "pc", "", &["virtio-blk-pci,drive=disk"]),
];

pub(crate) fn doors(doors: &mut Doors) {
    doors.opens("ovmf_is_left_within_30_ms", no_ovmf(), || {
        let files = Files::new();
        let disk = files.put("disk", &files.disk(&format!("{CMDLINE} lunette.marks"), Some(&hello())));
        let machine = Machine::new(&files, "q35", "128M", true).with(&["-icount", "shift=0,sleep=off"]);
        let said = machine.disk(&disk, &["virtio-blk-pci,drive=disk"]).says(GOOD_END);
        let mark = |name: &str| -> u64 {
            let mark =
                said.lines().find_map(|line| line.trim().strip_prefix("lunette: mark ")?.strip_prefix(name));
            mark.and_then(|at| at.trim().parse().ok()).unwrap_or_else(|| panic!("no mark {name} in:\n{said}"))
        };
        // An instruction is a nanosecond there, and the time stamp counter counts those.
        let after = mark("first-output") - mark("left");
        println!("from the firmware to the first output: {after} instructions");
        assert!(after < 30_000_000, "{after} instructions after the firmware was left");
    });
    for (firmware, lack) in [("seabios", cannot_boot()), ("ovmf", no_ovmf())] {
        let uefi = firmware == "ovmf";
        for (name, kind, devices) in CONTROLLERS {
            doors.opens(format!("disk_{firmware}_{name}"), lack, move || {
                let files = Files::new();
                let disk = files.put("disk", &files.disk(CMDLINE, Some(&hello())));
                let said = Machine::new(&files, kind, "128M", uefi).disk(&disk, devices).says(GOOD_END);
                assert!(said.contains("Hello"), "{said}");
            });
        }
        for (name, kind, media, devices) in DISCS {
            doors.opens(format!("iso_{firmware}_{name}"), lack, move || {
                let files = Files::new();
                let disc = files.put("disc", &files.iso(CMDLINE, Some(&hello())));
                let machine = Machine::new(&files, kind, "128M", uefi);
                let said = machine.drive(&disc, media, devices).says(GOOD_END);
                assert!(said.contains("Hello"), "{said}");
            });
        }
        doors.opens(format!("disk_{firmware}_answers"), lack, move || {
            let files = Files::new();
            let app = answering();
            let cmdline = format!("{CMDLINE} lunette.ip=dhcp");
            let disk = files.put("disk", &files.disk(&cmdline, Some(&app)));
            let machine =
                Machine::new(&files, "q35", "128M", uefi).disk(&disk, &["virtio-blk-pci,drive=disk"]);
            machine.answers("virtio-net-pci");
        });
    }
}
