//! Modules of stock toolchains, where they are installed.
#![allow(dead_code, unreachable_pub, reason = "each test file is a crate and uses its own part")]

use std::{path::Path, process::Command};

/// A path in this repository, from this crate's folder.
pub fn clang(source: &str) -> Option<Vec<u8>> {
    let mut clang = Command::new("clang");
    clang.args(["--target=wasm32-wasi", "-O1", "-Wall", "-Wextra", "-Werror"]);
    build(
        &mut clang,
        source,
        "clang, lld and wasi-libc",
        &["No such file", "file not found", "libclang_rt", "wasm-ld"],
    )
}

pub fn rustc(source: &str) -> Option<Vec<u8>> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "--target=wasm32-wasip1", "-O", "--crate-name=server"]);
    rustc.env_remove("RUSTFLAGS");
    build(&mut rustc, source, "Rust's target wasm32-wasip1", &["target may not be installed"])
}

/// What the compiler makes of it; `None`, with a word about it, if it says something by which it lacks what it `needs`.
fn build(compiler: &mut Command, source: &str, needs: &str, lacking: &[&str]) -> Option<Vec<u8>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    assert!(source.is_file(), "{}", source.display());
    let mut module = Path::new(env!("CARGO_TARGET_TMPDIR")).join(source.file_name().unwrap());
    module.add_extension("wasm");
    let output = compiler.arg("-o").arg(&module).arg(&source).output();
    let words = match &output {
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    if output.is_ok_and(|output| output.status.success()) {
        return Some(std::fs::read(module).unwrap());
    }
    assert!(lacking.iter().any(|sign| words.contains(sign)), "{}: {words}", source.display());
    eprintln!("left out: {} needs {needs} (`cargo xtask setup`)", source.display());
    None
}
