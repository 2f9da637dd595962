//! Settings from elsewhere than the command line: what the kernel says that it found, and whence, and what the app is told.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Doors,
    machine::{Files, GOOD_END, Machine, bundle, cannot_boot, no_ovmf, which},
};

/// Says its arguments and variables.
fn told(more: &str) -> Vec<u8> {
    bundle(include_str!("../guests/told.wat"), more)
}

const NETWORK: &str = "[network]\nlisten = [\"80\"]\n[env]\nKEPT = \"kept\"\nSECRET = \"from-manifest\"\n";
const CARD: [&str; 4] = ["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net"];

/// The files of a NoCloud disk, and what is said of them.
const CIDATA: [(&str, &str); 3] = [
    ("meta-data", "instance-id: i-1\nlocal-hostname: moon\n"),
    (
        "network-config",
        "version: 2\nethernets:\n  eth0:\n    addresses: [10.0.2.88/24]\n    gateway4: 10.0.2.2\n    \
         nameservers: {addresses: [10.0.2.3]}\n",
    ),
    ("user-data", "#lunette\nargs = [\"from-disk\"]\n[env]\nSECRET = \"hunter2\"\n"),
];
const TOLD: [&str; 7] = [
    "hostname=moon (NoCloud disk)",
    "ip=10.0.2.88/24,10.0.2.2 (NoCloud disk)",
    "dns=10.0.2.3 (NoCloud disk)",
    "user-data (NoCloud disk): arguments: 1; variables: SECRET",
    "network: 10.0.2.88/24",
    "app.wasm\0from-disk\0",
    "SECRET=hunter2\0",
];
const CONFIG_2: [(&str, &str); 3] = [
    (
        "openstack/latest/meta_data.json",
        "{\"uuid\": \"0\", \"hostname\": \"sun.novalocal\", \"name\": \"sun\"}",
    ),
    (
        "openstack/latest/network_data.json",
        "{\"links\": [{\"id\": \"tap0\", \"type\": \"bridge\"}], \"networks\": [{\"id\": \"n0\", \"link\": \"tap0\", \
         \"type\": \"ipv4\", \"ip_address\": \"10.0.2.89\", \"netmask\": \"255.255.255.0\", \"routes\": [{\"network\": \"0.0.0.0\", \
         \"netmask\": \"0.0.0.0\", \"gateway\": \"10.0.2.2\"}]}], \"services\": [{\"type\": \"dns\", \"address\": \"10.0.2.3\"}]}",
    ),
    ("openstack/latest/user_data", "#lunette\nargs = [\"from-drive\"]\n"),
];

const DRIVE: [&str; 5] = [
    "hostname=sun.novalocal (config drive)",
    "ip=10.0.2.89/24,10.0.2.2 (config drive)",
    "user-data (config drive): arguments: 1",
    "network: 10.0.2.89/24",
    "app.wasm\0from-drive\0",
];

/// Puts files into a folder, to be made a disc.
fn folder(files: &Files, label: &str, parts: &[(&str, &str)]) -> PathBuf {
    let folder = files.dir.path().join(label);
    for (name, text) in parts {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("it is written");
    }
    folder
}

fn run(program: &str, args: &[&str]) {
    let made = Command::new(program).args(args).output().expect("it starts");
    assert!(made.status.success(), "{program}: {}", String::from_utf8_lossy(&made.stderr));
}

/// A disc as clouds make it.
fn disc(files: &Files, label: &str, parts: &[(&str, &str)], names: &[&str]) -> PathBuf {
    let (disc, folder) = (files.dir.path().join(format!("{label}.iso")), folder(files, label, parts));
    let (out, folder) = (disc.display().to_string(), folder.display().to_string());
    run("genisoimage", &[&["-quiet", "-o", &out, "-volid", label], names, &[&folder]].concat());
    disc
}

/// A FAT volume as `cloud-localds` makes it.
fn fat(files: &Files, label: &str, parts: &[(&str, &str)]) -> PathBuf {
    sized_fat(files, label, parts, 4 << 20)
}

fn sized_fat(files: &Files, label: &str, parts: &[(&str, &str)], size: u64) -> PathBuf {
    let disk = files.put("seed.img", &[]);
    let sparse = fs::OpenOptions::new().write(true).open(&disk).and_then(|file| file.set_len(size));
    sparse.expect("it is sized");
    let image = disk.display().to_string();
    run("mkfs.vfat", &["-n", label, &image]);
    let folder = folder(files, label, parts);
    for part in fs::read_dir(folder).expect("it is there") {
        let part = part.expect("it is there").path().display().to_string();
        run("mcopy", &["-s", "-i", &image, &part, "::"]);
    }
    disk
}

fn seed(path: &Path, device: &str) -> [String; 4] {
    named_seed("seed", path, device)
}

fn named_seed(id: &str, path: &Path, device: &str) -> [String; 4] {
    let drive = format!("if=none,id={id},format=raw,readonly=on,file={}", path.display());
    ["-drive".into(), drive, "-device".into(), format!("{device},drive={id}")]
}

/// By its own name, and by where distributions put it.
fn lacks(program: &'static str, why: &'static str) -> Option<&'static str> {
    (!which(program) && !Path::new("/usr/sbin").join(program).is_file()).then_some(why)
}

fn says_all(said: &str, all: &[&str]) {
    for words in all {
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
}

/// Disks with settings on them.
fn disks(doors: &mut Doors) {
    let no_disc = || cannot_boot().or_else(|| lacks("genisoimage", "no genisoimage"));
    let no_fat = cannot_boot()
        .or_else(|| lacks("mkfs.vfat", "no mkfs.vfat (dosfstools)"))
        .or_else(|| lacks("mcopy", "no mcopy (mtools)"));
    const CMDLINE: &str = "lunette.log=info lunette.config=disk";
    let boots = |seed_of: fn(&Files) -> PathBuf, told_of: &'static [&'static str]| {
        move || {
            let files = Files::new();
            let seed = seed(&seed_of(&files), "virtio-blk-pci");
            let machine = Machine::new(&files, "pc", "128M", false).kernel(&files, CMDLINE, &told(NETWORK));
            let machine = machine.with(&CARD).with(&seed.each_ref().map(String::as_str));
            says_all(&machine.says(GOOD_END), told_of);
        }
    };
    for (name, names) in
        [("joliet", &["-joliet"][..]), ("rock_ridge", &["-rock"]), ("both", &["-joliet", "-rock"])]
    {
        doors.opens(format!("settings_nocloud_iso_{name}"), no_disc(), move || {
            let files = Files::new();
            let seed = seed(&disc(&files, "cidata", &CIDATA, names), "virtio-blk-pci");
            let machine = Machine::new(&files, "q35", "128M", false).kernel(&files, CMDLINE, &told(NETWORK));
            let machine = machine.with(&CARD).with(&seed.each_ref().map(String::as_str));
            says_all(&machine.says(GOOD_END), &TOLD);
        });
    }
    doors.opens("settings_nocloud_fat", no_fat, boots(|files| fat(files, "CIDATA", &CIDATA), &TOLD));
    doors.opens(
        "settings_drive_iso",
        no_disc(),
        boots(|files| disc(files, "config-2", &CONFIG_2, &["-J", "-r"]), &DRIVE),
    );
    doors.opens("settings_drive_fat", no_fat, boots(|files| fat(files, "config-2", &CONFIG_2), &DRIVE));
    doors.opens("settings_nocloud_on_microvm", no_disc(), || {
        let files = Files::new();
        let seed = seed(&disc(&files, "cidata", &CIDATA, &["-joliet"]), "virtio-blk-device");
        let other = files.put("other", &[0; 1 << 20]);
        let other = format!("if=none,id=other,format=raw,file={}", other.display());
        let machine = Machine::new(&files, "microvm", "128M", false);
        let said = machine
            .kernel(&files, CMDLINE, &told(NETWORK))
            .with(&["-drive", &other, "-device", "virtio-blk-device,drive=other"])
            .with(&seed.each_ref().map(String::as_str))
            .with(&["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-device,netdev=net"])
            .with(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .says("farewell");
        says_all(&said, &TOLD);
    });
    for (firmware, lack, uefi) in [("seabios", no_disc(), false), ("ovmf", no_ovmf().or_else(no_disc), true)]
    {
        // As what is exported for Proxmox VE, from our own disk beside the one with the settings.
        doors.opens(format!("settings_nocloud_beside_disk_{firmware}"), lack, move || {
            let files = Files::new();
            let cmdline = "lunette.log=info lunette.config=auto";
            let disk = files.put("disk", &files.disk(cmdline, Some(&told(NETWORK))));
            let seed = seed(&disc(&files, "cidata", &CIDATA, &["-joliet", "-rock"]), "virtio-blk-pci");
            let machine =
                Machine::new(&files, "q35", "128M", uefi).disk(&disk, &["virtio-blk-pci,drive=disk"]);
            let machine = machine.with(&CARD).with(&seed.each_ref().map(String::as_str));
            let said = machine.says(GOOD_END);
            says_all(&said, &TOLD);
            assert!(
                !said.contains("a second disk"),
                "the firmware has it as well, and it counts once:\n{said}"
            );
        });
    }
    doors.opens("settings_refused_disk", no_disc(), || {
        let files = Files::new();
        let parts = [("network-config", "version: 2\nvlans: {v1: {id: 1}}\n")];
        let seed = seed(&disc(&files, "cidata", &parts, &["-joliet"]), "virtio-blk-pci");
        let machine = Machine::new(&files, "pc", "128M", false).kernel(&files, CMDLINE, &told(""));
        machine
            .with(&seed.each_ref().map(String::as_str))
            .says("farewell refused NoCloud disk: network-config: `vlans` are not understood; help: correct it, or leave");
    });
    doors.opens("settings_no_disk_is_told", cannot_boot(), || {
        let files = Files::new();
        let machine = Machine::new(&files, "pc", "128M", false).kernel(&files, CMDLINE, &told(""));
        let said = machine.says(GOOD_END);
        says_all(&said, &["warning: configuration: disk: no virtio disk is called cidata or config-2"]);
    });
}

/// Disks that the kernel has no driver for: a loader has its firmware read them. And SMBIOS, where only UEFI knows it.
fn by_firmware(doors: &mut Doors, firmware: &str, lack: Option<&'static str>) {
    let uefi = firmware == "ovmf";
    let no_disc = lack.or_else(|| lacks("genisoimage", "no genisoimage"));
    let no_fat = lack
        .or_else(|| lacks("mkfs.vfat", "no mkfs.vfat (dosfstools)"))
        .or_else(|| lacks("mcopy", "no mcopy (mtools)"));
    let mut door =
        |name: &str, lack, kind: &'static str, config: &'static str, try_it: fn(&Files, Machine)| {
            doors.opens(format!("settings_by_{firmware}_{name}"), lack, move || {
                let files = Files::new();
                let cmdline = format!("lunette.log=info lunette.config={config}");
                let disk = files.put("disk", &files.disk(&cmdline, Some(&told(NETWORK))));
                let machine = Machine::new(&files, kind, "128M", uefi).with(&CARD);
                try_it(&files, machine.disk(&disk, &["virtio-blk-pci,drive=disk,bootindex=0"]));
            });
        };
    const TABLE: [&str; 2] = ["-smbios", "type=11,value=lunette.env.TABLE=there"];
    fn says_by_firmware(machine: Machine, words: &[&str]) -> String {
        let said = machine.says(GOOD_END);
        for words in words {
            let words = words.replace(" disk)", " disk, by the firmware)");
            says_all(&said, &[&words.replace("(config drive)", "(config drive, by the firmware)")]);
        }
        said
    }
    // As Proxmox VE starts it: booting in strict order from a list in which the CD of cloud-init is not; and a drive without a disc.
    door("ide_cd", no_disc, "pc", "auto", |files, machine| {
        let seed = seed(&disc(files, "cidata", &CIDATA, &["-joliet", "-rock"]), "ide-cd");
        let machine = machine
            .with(&["-device", "ide-cd,bus=ide.0"])
            .with(&seed.each_ref().map(String::as_str))
            .with(&["-boot", "strict=on"]);
        let machine = machine.with(&TABLE);
        says_all(&says_by_firmware(machine, &TOLD), &["env.TABLE (SMBIOS)", "TABLE=there\0"]);
    });
    // Entry points of both versions: QEMU's is of 2 unless it is told.
    door("ahci_cds", no_disc, "q35,smbios-entry-point-type=64", "smbios,disk", |files, machine| {
        let first = disc(files, "config-2", &CONFIG_2, &["-J", "-r"]);
        let second = disc(files, "cidata", &CIDATA, &["-joliet"]);
        let [first, second] = [("one", first), ("two", second)].map(|(id, disc)| {
            named_seed(id, &disc, &format!("ide-cd,bus=ide.{}", if id == "one" { 1 } else { 2 }))
        });
        let machine = machine.with(&TABLE).with(&first.each_ref().map(String::as_str));
        let said = says_by_firmware(machine.with(&second.each_ref().map(String::as_str)), &DRIVE);
        let note = "a second disk with settings is left alone (NoCloud disk, by the firmware), the first counts (config drive";
        says_all(&said, &[note, "env.TABLE (SMBIOS)"]);
    });
    door("scsi_cd", no_disc, "q35", "disk", |files, machine| {
        let seed = seed(&disc(files, "cidata", &CIDATA, &["-joliet"]), "scsi-cd");
        let machine =
            machine.with(&["-device", "virtio-scsi-pci"]).with(&seed.each_ref().map(String::as_str));
        says_by_firmware(machine, &TOLD);
    });
    // Much larger than what is copied of it.
    door("nvme_fat", no_fat, "q35", "disk", |files, machine| {
        let seed = seed(&sized_fat(files, "config-2", &CONFIG_2, 64 << 20), "nvme,serial=1");
        says_by_firmware(machine.with(&seed.each_ref().map(String::as_str)), &DRIVE);
    });
}

pub(crate) fn doors(doors: &mut Doors) {
    disks(doors);
    by_firmware(doors, "seabios", cannot_boot());
    by_firmware(doors, "ovmf", no_ovmf());
    doors.opens("settings_by_fw_cfg_and_smbios", cannot_boot(), || {
        let files = Files::new();
        let data = files.put(
            "data",
            b"#lunette\nargs = [\"one\", \"two\"]\n[env]\nSECRET = \"by-data\"\nMORE = \"more\"\n",
        );
        let data = format!("name=opt/org.lunette/user-data,file={}", data.display());
        let cmdline = "lunette.log=info lunette.config=fw_cfg,smbios lunette.hostname=first";
        let machine =
            Machine::new(&files, "pc", "128M", false).kernel(&files, cmdline, &told(NETWORK)).with(&CARD);
        let said = machine
            .with(&["-fw_cfg", "name=opt/org.lunette/ip,string=10.0.2.77/24,,10.0.2.2"])
            .with(&["-fw_cfg", "name=opt/org.lunette/hostname,string=second"])
            .with(&["-fw_cfg", "name=opt/org.lunette/env/SECRET,string=hunter2", "-fw_cfg", &data])
            .with(&["-smbios", "type=11,value=lunette.ip=10.9.9.9/24,value=lunette.dns=10.0.2.3,value=other"])
            .says(GOOD_END);
        for words in [
            "configuration: hostname=first (command line), ",
            "ip=10.0.2.77/24,10.0.2.2 (fw_cfg)",
            "env.SECRET (fw_cfg)",
            "dns=10.0.2.3 (SMBIOS)",
            "user-data (fw_cfg): arguments: 2; variables: SECRET MORE",
            "app.wasm\0one\0two\0",
            "KEPT=kept\0",
            "MORE=more\0",
            // As the app says it.
            "SECRET=hunter2\0",
        ] {
            assert!(said.contains(words), "`{words}` is not in:\n{said}");
        }
        let log = || said.lines().filter(|line| line.starts_with("lunette:"));
        assert!(log().any(|line| line.contains("10.0.2.77/24")), "it has that address:\n{said}");
        assert!(
            !log().any(|line| line.contains("hunter2") || line.contains("by-data")),
            "a secret is told:\n{said}"
        );
    });
    doors.opens("settings_on_microvm", cannot_boot(), || {
        let files = Files::new();
        let machine = Machine::new(&files, "microvm", "128M", false);
        let said = machine
            .kernel(&files, "lunette.config=auto", &told(""))
            .with(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .with(&["-fw_cfg", "name=opt/org.lunette/log,string=info"])
            .with(&["-fw_cfg", "name=opt/org.lunette/env/A,string=a"])
            .with(&["-fw_cfg", "name=opt/org.lunette/user-data,string=#cloud-config"])
            .says("farewell");
        for words in ["log=info (fw_cfg)", "env.A (fw_cfg)", "user-data (fw_cfg): not for Lunette", "A=a\0"] {
            assert!(said.contains(words), "`{words}` is not in:\n{said}");
        }
    });
    doors.opens("settings_are_not_looked_for_unasked", cannot_boot(), || {
        let files = Files::new();
        let machine = Machine::new(&files, "pc", "128M", false);
        let said = machine
            .kernel(&files, "lunette.log=info", &told(""))
            .with(&["-fw_cfg", "name=opt/org.lunette/env/A,string=a"])
            .says(GOOD_END);
        assert!(!said.contains("A=a") && !said.contains("configuration"), "{said}");
    });
    for (name, cmdline, words, more) in [
        (
            "unknown_source",
            "lunette.config=floppy",
            "farewell refused `lunette.config=floppy`: there is no source `floppy`; help: say `auto`",
            &[][..],
        ),
        (
            "unknown_key",
            "lunette.config=auto",
            "farewell refused fw_cfg: the setting `ipp` is not known; help: there are ip,",
            &["-fw_cfg", "name=opt/org.lunette/ipp,string=x"],
        ),
        (
            "bad_address",
            "lunette.config=smbios",
            "SMBIOS: `lunette.ip=10.0.0.300/24`: `10.0.0.300` is not an address; help:",
            &["-smbios", "type=11,value=lunette.ip=10.0.0.300/24"],
        ),
        (
            "trust_is_a_demand",
            "lunette.config=smbios",
            "farewell refused the bundle is not signed, which this machine demands (SMBIOS)",
            &[
                "-smbios",
                "type=11,value=lunette.trust=RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
            ],
        ),
        (
            "trust_in_nobody",
            "lunette.config=fw_cfg",
            "farewell refused \"\" ",
            &["-fw_cfg", "name=opt/org.lunette/trust,string= "],
        ),
        (
            "user_data_grants_nothing",
            "lunette.config=fw_cfg",
            "farewell refused fw_cfg: unknown key `network`",
            &["-fw_cfg", "name=opt/org.lunette/user-data,string=#lunette\n[network]\nlisten = []"],
        ),
    ] {
        doors.opens(format!("settings_refused_{name}"), cannot_boot(), move || {
            let files = Files::new();
            let machine = Machine::new(&files, "pc", "128M", false).kernel(&files, cmdline, &told(NETWORK));
            machine.with(&CARD).with(more).says(words);
        });
    }
}
