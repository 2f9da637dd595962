//! The smallest guests: WebAssembly text, from a file in tests/guests or from a story itself.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A folder of this run's own.
pub(crate) fn folder(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{count}-{name}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder for tests");
    dir
}

/// `tests/guests/NAME.wat`, as a module.
pub(crate) fn guest(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(format!("{name}.wat"));
    let module = wat::parse_file(&source).unwrap_or_else(|e| panic!("{e}"));
    file(&format!("{name}.wasm"), &module)
}

/// A module of this text.
pub(crate) fn wat(name: &str, text: &str) -> PathBuf {
    let module = wat::parse_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
    file(&format!("{name}.wasm"), &module)
}

/// A module whose `_start` has this body: with memory, and with `$exit`, `$write` (fd_write), `$open`
/// (path_open) and `$mkdir` (path_create_directory) at hand.
pub(crate) fn start(name: &str, body: &str) -> PathBuf {
    wat(
        name,
        &format!(
            r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  {body})"#
        ),
    )
}

pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder(name).join(name);
    fs::write(&path, bytes).expect("a file for tests");
    path
}
