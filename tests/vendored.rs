//! Is a vendored crate its release plus one patch, and nothing else? Shared by the tests of those who vendor one
//! (`#[path]`): each names its own.

use std::{collections::BTreeMap, fs, path::Path};

use sha2::{Digest as _, Sha256};

/// `vendor/NAME` is the release that `vendor/RELEASE.sha256` tells of, plus `vendor/PATCH` (if there is one), plus the
/// files in `added`.
pub(crate) fn check(vendor: &Path, name: &str, patch: &str, added: &[&str]) {
    let read = |name: &str| fs::read_to_string(vendor.join(name)).unwrap();
    let release = read("RELEASE.sha256");
    let released: BTreeMap<_, _> =
        release.lines().map(|line| line.split_once("  ").map(|(sum, name)| (name, sum)).unwrap()).collect();
    let patch = if patch.is_empty() { String::new() } else { read(patch) };
    let patches = split(&patch);
    assert!(patches.keys().all(|name| released.contains_key(name)), "the patch adds no files");

    let mut files = Vec::new();
    list(&vendor.join(name), "", &mut files);
    let names: Vec<_> = files.iter().map(String::as_str).filter(|name| !added.contains(name)).collect();
    assert_eq!(names, released.keys().copied().collect::<Vec<_>>());
    for file in names {
        let mut text = read(&format!("{name}/{file}"));
        if let Some(hunks) = patches.get(file) {
            text = take_back(&text, hunks)
                .unwrap_or_else(|line| panic!("{file}:{line}: not what the patch made"));
        }
        let sum: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, released[file], "{file} differs from the release by more than the patch");
    }
}

/// Files below a folder, sorted, as the release lists them.
fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
    files.sort();
}

/// The lines of each file's hunks, by the file's name.
fn split(patch: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut files = BTreeMap::new();
    let mut current = None;
    for line in patch.lines() {
        if let Some(name) = line.strip_prefix("+++ b/") {
            current = Some(files.entry(name).or_insert_with(Vec::new));
        } else if line.starts_with("diff ") {
            current = None;
        } else if let Some(hunks) = &mut current {
            hunks.push(line);
        }
    }
    files
}

/// A file as it was before the patch, or the first line that is not as the patch left it.
fn take_back(text: &str, hunks: &[&str]) -> Result<String, usize> {
    let mut lines = text.lines().enumerate();
    let (mut before, mut at) = (String::new(), 1);
    for hunk in hunks {
        if let Some(header) = hunk.strip_prefix("@@ ") {
            // @@ -from,count +to,count @@
            let to = header.split(['+', ',', ' ']).filter(|part| !part.is_empty()).nth(2).unwrap();
            let to: usize = to.parse().unwrap();
            while at < to {
                before += lines.next().ok_or(at)?.1;
                before.push('\n');
                at += 1;
            }
            continue;
        }
        let (mark, rest) = hunk.split_at_checked(1).unwrap_or((" ", ""));
        if mark != "-" {
            let (number, line) = lines.next().ok_or(at)?;
            if line != rest {
                return Err(number + 1);
            }
            at += 1;
        }
        if mark != "+" {
            before += rest;
            before.push('\n');
        }
    }
    for (_, line) in lines {
        before += line;
        before.push('\n');
    }
    Ok(before)
}
