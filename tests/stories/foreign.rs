//! Programs that nobody here wrote, on real input; what they print is compared with what the same module
//! prints under another host (tests/foreign/host.py: wasmtime, by its Python package).

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use crate::{
    Stories,
    guests::folder,
    vm::{Place, vm},
};

/// Of the PNG that resvg 0.31.0 makes of tests/foreign/picture.svg.
const PICTURE: &str = "c7f51d1614e5e27198edcdb586dda736ad23addbc804e35ceb50faf3ed592c83";

pub(crate) fn stories(s: &mut Stories) {
    let fetched = foreign().is_none().then_some("not fetched");
    for place in [Place::Microvm, Place::Pc, Place::Host] {
        let lack = place.lack().or(fetched);
        s.needs(format!("foreign: QuickJS runs a script on {}", place.name()), lack, move || {
            let expected = elsewhere("quickjs.wasm", &["--std", "/story.js"]);
            assert!(expected.len() > 500, "the other host printed too little");
            let run = vm(module("quickjs.wasm")).on(place).flags(input()).args(["--std", "/story.js"]);
            run.run().exits(0).prints(expected);
        });
        s.needs(format!("foreign: resvg draws a picture on {}", place.name()), lack, move || {
            let run = vm(module("resvg.wasm")).on(place).flags(input()).args(["/picture.svg", "-c"]);
            let ran = run.run().exits(0);
            let mut sum = String::new();
            for byte in Sha256::digest(&ran.stdout) {
                write!(sum, "{byte:02x}").expect("a string");
            }
            assert_eq!(sum, PICTURE, "another picture ({} bytes)", ran.stdout.len());
            assert!(
                ran.stdout == elsewhere("resvg.wasm", &["/picture.svg", "-c"]),
                "the other host's differs"
            );
        });
    }
}

fn foreign() -> Option<PathBuf> {
    std::env::var_os("LUNETTE_FOREIGN").map(PathBuf::from).filter(|dir| dir.join("python").is_file())
}

fn module(name: &str) -> PathBuf {
    foreign().expect("fetched").join(name)
}

/// The script and the picture, at `/`.
fn input() -> [String; 2] {
    ["--dir".into(), format!("{}::/:ro", files().display())]
}

fn files() -> PathBuf {
    let dir = folder("input");
    for name in ["story.js", "picture.svg"] {
        fs::copy(here().join(name), dir.join(name)).expect("a copy");
    }
    dir
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign")
}

/// What the same module prints under the other host, with the same two preopens.
fn elsewhere(name: &str, args: &[&str]) -> Vec<u8> {
    let mut host = Command::new(foreign().expect("fetched").join("python"));
    host.arg(here().join("host.py"));
    host.args(["--dir", &format!("{}::/:ro", files().display())]);
    host.args(["--dir", &format!("{}::/tmp", folder("tmp").display())]);
    let output = host.arg(module(name)).args(args).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
