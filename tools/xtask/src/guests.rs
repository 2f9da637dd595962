//! `cargo xtask guests`: the programs of tests/guests that are written in Rust, built into `target/guests/`.
//!
//! What is WebAssembly text there needs no building: the tests read it as it is.

use std::{fs, path::PathBuf};

use crate::{
    samples::cargo_build,
    sh::{Result, root, target},
};

/// The folder, what it is built for, and what that is called then.
const GUESTS: [(&str, &str, &str); 8] = [
    ("compute", "wasm32-wasip1", "compute.wasm"),
    ("compute", "wasm32-wasip2", "compute-component.wasm"),
    ("conform2", "wasm32-wasip2", "conform2.wasm"),
    ("conform3", "wasm32-wasip2", "conform3.wasm"),
    ("depths", "wasm32-wasip1", "depths.wasm"),
    ("depths", "wasm32-wasip2", "depths-component.wasm"),
    ("hostile", "wasm32-wasip2", "hostile.wasm"),
    ("serve3", "wasm32-wasip2", "serve3.wasm"),
];

/// Where built guests are.
pub(crate) fn out() -> PathBuf {
    target().join("guests")
}

pub(crate) fn build_all() -> Result<Vec<PathBuf>> {
    GUESTS.iter().map(|(folder, triple, name)| build(folder, triple, name)).collect()
}

/// `tests/guests/FOLDER` for a target, under a name of its own.
pub(crate) fn build(folder: &str, triple: &str, name: &str) -> Result<PathBuf> {
    let end = if triple.starts_with("wasm32") { ".wasm" } else { "" };
    let built =
        cargo_build(&root().join("tests/guests").join(folder), triple)?.join(format!("{folder}{end}"));
    let to = out().join(name);
    fs::create_dir_all(out())?;
    fs::copy(&built, &to).map_err(|e| format!("{}: {e}", built.display()))?;
    Ok(to)
}
