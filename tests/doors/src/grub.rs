//! GRUB, by Multiboot2: from a BIOS and from EFI, by the ISO that its own tool makes.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    Doors,
    machine::{Files, GOOD_END, Machine, cannot_boot, hello, no_ovmf, which},
};

const MENU: &str = "\
set timeout=0
menuentry lunette {
    multiboot2 /boot/lunette.elf lunette.log=info
    module2 /boot/app.bundle
}
";

pub(crate) fn doors(doors: &mut Doors) {
    let tools = ["grub-mkrescue", "xorriso", "mformat"];
    let lack = || tools.iter().any(|tool| !which(tool)).then_some("no grub-mkrescue, xorriso or mtools");
    let part = |name: &str| !PathBuf::from("/usr/lib/grub").join(name).is_dir();
    let bios = cannot_boot().or_else(lack).or_else(|| part("i386-pc").then_some("no grub-pc-bin"));
    let efi = no_ovmf().or_else(lack).or_else(|| part("x86_64-efi").then_some("no grub-efi-amd64-bin"));
    for (name, lack, uefi) in [("bios", bios, false), ("efi", efi, true)] {
        doors.opens(format!("grub_{name}"), lack, move || {
            let files = Files::new();
            let disc = iso(&files, &hello());
            let drive = format!("if=none,id=disc,format=raw,media=cdrom,file={}", disc.display());
            let machine = Machine::new(&files, "q35", "256M", uefi);
            let said = machine.with(&["-drive", &drive, "-device", "ide-cd,drive=disc"]).says(GOOD_END);
            assert!(said.contains("Hello"), "{said}");
        });
    }
}

fn iso(files: &Files, bundle: &[u8]) -> PathBuf {
    let boot = files.dir.path().join("iso/boot");
    fs::create_dir_all(boot.join("grub")).expect("a folder");
    for (name, bytes) in
        [("lunette.elf", &files.kernel[..]), ("app.bundle", bundle), ("grub/grub.cfg", MENU.as_bytes())]
    {
        fs::write(boot.join(name), bytes).expect("it is written");
    }
    let disc = files.dir.path().join("grub.iso");
    let mut make = Command::new("grub-mkrescue");
    let made = make.arg("-o").arg(&disc).arg(files.dir.path().join("iso")).output().expect("it starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    disc
}
