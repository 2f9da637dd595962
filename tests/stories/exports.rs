//! What `lunette image export` makes, started as its own scripts do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    Stories,
    guests::folder,
    samples::{built, expected},
    vm::{Booted, cannot_boot, image, lunette, no_kvm, which},
};

pub(crate) fn stories(s: &mut Stories) {
    let lack = cannot_boot().or(built("hello-rust").is_none().then_some("not built"));
    for (target, machine) in [("microvm", None), ("qemu", Some("q35")), ("qemu", Some("pc"))] {
        let name = machine.unwrap_or("microvm");
        s.needs(format!("exports: {target}'s own script boots it on {name}"), lack, move || {
            let made = export(&folder("export"), target, &[]);
            script(&made, machine).farewell("exit 0").says(&hello());
        });
    }
    for (target, program, missing) in [
        ("firecracker", "firecracker", "no firecracker"),
        ("cloud-hypervisor", "cloud-hypervisor", "no cloud-hypervisor"),
    ] {
        let lack = lack.or((!which(program)).then_some(missing)).or_else(no_kvm);
        s.needs(format!("exports: {target}'s own script boots it"), lack, move || {
            script(&export(&folder("export"), target, &[]), None).farewell("exit 0").says(&hello());
        });
    }
    s.needs(
        "exports: an image with a key in it runs what that has signed, and no command line says otherwise",
        lack,
        || {
            let dir = folder("baked");
            let key = |name: &str| {
                let ran = lunette(["sign", "--new-key"]).args([dir.join(name)]).run().exits(0);
                String::from_utf8(ran.stdout).expect("a key").trim().to_owned()
            };
            let (me, other) = (key("me"), key("other"));
            let bundle = dir.join("hello.bundle");
            lunette(["build", "-o"])
                .args([bundle.clone(), built("hello-rust").expect("built")])
                .run()
                .exits(0);
            let unsigned = fs::read(&bundle).expect("a bundle");
            lunette(["sign", "--key"]).args([dir.join("me"), bundle.clone()]).run().exits(0);
            let made = made(&dir, "microvm", &["--trust", &me], &bundle);
            script(&made, None).farewell("exit 0").says(&hello());
            // Keys on the command line narrow what the image says, and never widen it.
            let run = made.join("run.sh");
            let text = fs::read_to_string(&run).expect("a script");
            let with = |words: &str| {
                fs::write(&run, text.replace("-append '", &format!("-append '{words} "))).expect("a script");
                script(&made, None)
            };
            with(&format!("lunette.trust={me}")).farewell("exit 0");
            with(&format!("lunette.trust={other}")).farewell("refused the bundle is signed by key");
            fs::write(&run, text.clone()).expect("a script");
            let initrd = fs::read_dir(&made).expect("a folder").flatten().map(|entry| entry.path());
            let initrd = initrd.into_iter().find(|path| path.extension().is_some_and(|end| end == "initrd"));
            let initrd = initrd.expect("an initrd");
            let signed = fs::read(&initrd).expect("a payload");
            fs::write(&initrd, &unsigned).expect("a payload");
            let refused = script(&made, None).farewell("refused the bundle is not signed");
            refused.says("(in the image)");
            let mut changed = signed;
            changed[5000] ^= 1;
            fs::write(&initrd, &changed).expect("a payload");
            script(&made, None).farewell("refused the bundle is not what key");
        },
    );
    disks(s, lack);
}

fn hello() -> String {
    String::from_utf8(expected("hello-rust")).expect("UTF-8")
}

/// An export of the hello.
fn export(dir: &Path, target: &str, flags: &[&str]) -> PathBuf {
    made(dir, target, flags, &built("hello-rust").expect("built"))
}

fn made(dir: &Path, target: &str, flags: &[&str], app: &Path) -> PathBuf {
    let output = dir.join("out");
    let image = image("lunette.elf").expect("an image");
    let words = ["image", "export", "--for", target, "-m", "128Mi"];
    let words = words.iter().chain(flags).map(Into::into);
    let paths = ["--image".into(), image.into_os_string(), "-o".into(), output.clone().into_os_string()];
    lunette(words.chain(paths).collect::<Vec<std::ffi::OsString>>()).args([app]).run().exits(0);
    output
}

/// Runs the target's own script.
fn script(made: &Path, machine: Option<&str>) -> Booted {
    let mut command = Command::new("sh");
    command.arg(made.join("run.sh")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(machine.map(|machine| ("MACHINE", machine)));
    Booted::of(command)
}

/// Disks: each format holds the same one, and that boots.
fn disks(s: &mut Stories, lack: Option<&'static str>) {
    let loaders = image("lunette.bios").is_some_and(|path| path.ends_with("lunette.bios") && path.is_file());
    let lack = lack.or((!loaders).then_some("no loaders beside the image"));
    for target in ["raw", "iso"] {
        s.needs(format!("exports: {target}'s own script boots it by a BIOS"), lack, move || {
            script(&export(&folder(target), target, &[]), None).farewell("exit 0").says(&hello());
        });
    }
    let no_qemu_img = Command::new("qemu-img").arg("--version").output().is_err();
    let lack = lack.or(no_qemu_img.then_some("no qemu-img"));
    s.needs("exports: each format holds the same disk", lack, || {
        let raw = fs::read(export(&folder("raw"), "raw", &[]).join("hello-rust.raw")).expect("a disk");
        assert!(raw.len() <= 12 << 20, "{} bytes", raw.len());
        for (target, file, format) in [
            ("virtualbox", "hello-rust.vdi", "vdi"),
            ("proxmox", "hello-rust.qcow2", "qcow2"),
            ("openstack", "hello-rust.qcow2", "qcow2"),
            ("azure", "hello-rust.vhd", "vpc"),
            ("hyper-v", "hello-rust.vhdx", "vhdx"),
        ] {
            let made = export(&folder("disk"), target, &[]);
            assert!(back(&made.join(file), format).starts_with(&raw), "{target}");
            if target == "azure" {
                let size = fs::metadata(made.join(file)).expect("a disk").len();
                assert_eq!((size - 512) % (1 << 20), 0, "and a footer");
            }
        }
        let ec2 = fs::read(export(&folder("disk"), "ec2", &[]).join("hello-rust.raw")).expect("a disk");
        assert_eq!(ec2, raw);
        let made = export(&folder("disk"), "vmware", &[]);
        run(&made, &["tar", "-xf", "hello-rust.ova"]);
        assert!(back(&made.join("hello-rust.vmdk"), "vmdk").starts_with(&raw));
        run(
            &made,
            &[
                "sh",
                "-c",
                "sed 's/SHA256(\\(.*\\))= \\(.*\\)/\\2  \\1/' hello-rust.mf | sha256sum -c --quiet",
            ],
        );
        let made = export(&folder("disk"), "gce", &[]);
        run(&made, &["tar", "-xzf", "hello-rust.tar.gz"]);
        assert_eq!(fs::metadata(made.join("disk.raw")).expect("a disk").len(), 1 << 30);
        fs::remove_file(made.join("disk.raw")).expect("room");
        let e = lunette(["image", "export", "--for", "raw", "--size", "2Mi", "--image"]);
        let image = image("lunette.elf").expect("an image");
        e.args([image.into_os_string(), built("hello-rust").expect("built").into_os_string()])
            .run()
            .refuses("is too small: its parts need");
    });
}

/// The disk in a file, as qemu-img reads it.
fn back(file: &Path, format: &str) -> Vec<u8> {
    let raw = file.with_extension("back");
    let paths = [file, &raw].map(|path| path.to_str().expect("UTF-8"));
    run(Path::new("."), &["qemu-img", "convert", "-f", format, "-O", "raw", paths[0], paths[1]]);
    fs::read(raw).expect("a disk")
}

#[track_caller]
fn run(folder: &Path, words: &[&str]) {
    let done = Command::new(words[0]).args(&words[1..]).current_dir(folder).output().expect(words[0]);
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}
