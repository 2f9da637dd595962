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
    vm::{Booted, cannot_boot, image, lunette},
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
