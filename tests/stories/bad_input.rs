//! What can't be run is refused before anything boots: one line that names it, one with the remedy.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use crate::{
    Stories,
    guests::{file, folder, start, wat},
    vm::{Place, lunette, vm},
};

pub(crate) fn stories(s: &mut Stories) {
    for place in Place::ALL {
        // Refused on this side: an image is not looked at, but a run needs one all the same.
        let lack = place.lack();
        let on = |story: &str| format!("bad input: {story} on {}", place.name());
        s.needs(on("a file that is not wasm"), lack, move || {
            vm(file("notes.wasm", b"dear diary,\n")).on(place).run().refuses("notes.wasm");
        });
        s.needs(on("an empty file"), lack, move || {
            vm(file("empty.wasm", b"")).on(place).run().refuses("empty.wasm");
        });
        s.needs(on("a truncated module"), lack, move || {
            let whole = fs::read(hello()).expect("a module");
            vm(file("half.wasm", &whole[..whole.len() / 2])).on(place).run().refuses("half.wasm");
        });
        s.needs(on("a component"), lack, move || {
            let component = wat::parse_str("(component)").unwrap_or(b"\0asm\x0d\0\x01\0".to_vec());
            vm(file("component.wasm", &component)).on(place).run().refuses("component");
        });
        s.needs(on("a module without a _start"), lack, move || {
            let app = wat("library", r#"(module (memory (export "memory") 1) (func (export "f")))"#);
            vm(app).on(place).run().refuses("_start");
        });
        s.needs(on("an import that nothing provides"), lack, move || {
            vm(import("env", "launch_rocket", "")).on(place).run().refuses("launch_rocket");
        });
        s.needs(on("a mistyped import"), lack, move || {
            let app = import("wasi_snapshot_preview1", "fd_close", "(param i64)");
            vm(app).on(place).run().refuses("fd_close");
        });
        s.needs(on("no such file"), lack, move || {
            vm("/nonexistent/app.wasm").on(place).run().refuses_with(127, "app.wasm");
        });
        s.needs(on("a bundle cut short"), lack, move || {
            let whole = fs::read(bundle()).expect("a bundle");
            for cut in [600, whole.len() / 2, whole.len() - 1024] {
                vm(file("cut.bundle", &whole[..cut])).on(place).run().refuses("cut.bundle");
            }
        });
        s.needs(on("a bundle with a wrong hash"), lack, move || {
            let mut bytes = fs::read(bundle()).expect("a bundle");
            let at = bytes.windows(6).position(|w| w == b"Hello!").expect("the text in the module");
            bytes[at] = b'J';
            vm(file("changed.bundle", &bytes)).on(place).run().refuses("SHA-256");
        });
    }
    for verb in ["run", "build", "check"] {
        let on = |story: &str| format!("bad input: {story} ({verb})");
        s.tells(on("a manifest with an unknown key: the key and its line"), move || {
            let app = app("[app]\nmain = \"hello.wasm\"\nmian = \"x\"\n");
            lunette([verb]).args([app]).run().refuses("mian").says("lunette.toml:3");
        });
        s.tells(on("a manifest with a wrong type: the key and its line"), move || {
            let app = app("[app]\nmain = \"hello.wasm\"\n\n[resources]\nfuel = \"plenty\"\n");
            lunette([verb]).args([app]).run().refuses("fuel").says("lunette.toml:5");
        });
        s.tells(on("a manifest that is no TOML"), move || {
            lunette([verb]).args([app("[app\n")]).run().refuses("lunette.toml:1");
        });
        s.tells(on("a manifest that names no module"), move || {
            lunette([verb]).args([app("[app]\nname = \"x\"\n")]).run().refuses("main");
        });
    }
    s.tells("bad input: check names every import that is missing", || {
        let ran = lunette(["check"]).args([import("env", "launch_rocket", "")]).run();
        let all = String::from_utf8_lossy(&[&ran.stdout[..], &ran.stderr[..]].concat()).into_owned();
        assert!(all.contains("launch_rocket") && ran.code() == 125, "{ran}");
    });
    s.boots("bad input: no QEMU where it is said to be", || {
        vm(hello()).flags(["--qemu", "/nonexistent/qemu"]).run().refuses("/nonexistent/qemu");
    });
    s.boots("bad input: no QEMU at all", || {
        vm(hello()).env("PATH", "/nonexistent").run().refuses("QEMU is not installed");
    });
    s.boots("bad input: a QEMU that is too old", || {
        let qemu = folder("old").join("qemu-system-x86_64");
        fs::write(&qemu, "#!/bin/sh\necho 'QEMU emulator version 4.2.1 (Debian 1:4.2-3)'\n")
            .expect("a script");
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("a script");
        vm(hello()).flags(["--qemu".into(), qemu.into_os_string()]).run().refuses("4.2.1");
    });
    s.tells("bad input: an image that is none", || {
        let image = file("lunette.elf", b"MZ");
        vm(hello()).env("LUNETTE_IMAGE", image).run().refuses("image");
    });
}

fn hello() -> PathBuf {
    start(
        "hello",
        r#"(data (i32.const 0) "\40\00\00\00\07\00\00\00") (data (i32.const 64) "Hello!\n")
        (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#,
    )
}

fn import(module: &str, name: &str, params: &str) -> PathBuf {
    wat(
        "imports",
        &format!(
            r#"(module (import "{module}" "{name}" (func {params} (result i32)))
          (memory (export "memory") 1) (func (export "_start")))"#
        ),
    )
}

/// A folder with the hello and this manifest.
fn app(manifest: &str) -> PathBuf {
    let dir = folder("app");
    fs::copy(hello(), dir.join("hello.wasm")).expect("a module");
    fs::write(dir.join("lunette.toml"), manifest).expect("a manifest");
    dir
}

fn bundle() -> PathBuf {
    let path = folder("bundle").join("hello.bundle");
    let app = app("[app]\nmain = \"hello.wasm\"\n");
    lunette(["build", "-o"]).args([path.clone(), app]).run().exits(0);
    path
}
