//! What is vendored is as released: LPeg but for `limits.patch`; the modules that `tests/lua` tests to the letter.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::release;
use sha2::{Digest as _, Sha256};

#[test]
fn the_vendored_tree_is_the_release_plus_the_patch() {
    let vendor = Path::new(env!("CARGO_MANIFEST_DIR")).join("vendor/lpeg");
    release::check(&vendor, "1.1.0", "limits.patch", &[]);
}

#[test]
fn the_modules_whose_suites_are_run_are_the_releases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/lua");
    let mut files = Vec::new();
    list(&folder.join("vendor"), &mut files);
    let sums: Vec<_> = files
        .iter()
        .map(|path| {
            let sum: String =
                Sha256::digest(fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{sum}  {}", path.strip_prefix(&folder).unwrap().to_str().unwrap())
        })
        .collect();
    let released = fs::read_to_string(folder.join("RELEASE.sha256")).unwrap();
    let mut released: Vec<_> = released.lines().collect();
    released.sort_unstable();
    let mut sums: Vec<_> = sums.iter().map(String::as_str).collect();
    sums.sort_unstable();
    assert_eq!(sums, released);
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}
