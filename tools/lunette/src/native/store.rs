//! Native code that was made before, in the user's cache folder.
//!
//! An entry's name is the SHA-256 of its label, which says all that the code depends on: the bytecode's SHA-256, the engine's
//! release and configuration, the processor, and whether what is executed is counted. Its content is the SHA-256 of the code in
//! 64 hex digits, a line feed, and the code.
//!
//! Promises: what comes out is what was put in, or nothing: a damaged entry counts for none, and is written anew. Written whole or
//! not at all. What nobody has used for a month goes. Without a folder that can be written to, everything is made each time.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use lunette_bundle::sha256_hex;
use lunette_native::Label;

use crate::cache::Cache;

/// Below the cache folder.
const FOLDER: &str = "native";
/// How long an entry is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Of the hash and the line feed.
const HEAD: usize = 65;

/// The code with this label, if it was put here.
pub(super) fn get(cache: &Cache, label: &Label) -> Option<Vec<u8>> {
    let path = cache.dir()?.join(name(label));
    let mut bytes = fs::read(&path).ok()?;
    let (head, code) = bytes.split_at_checked(HEAD)?;
    if head != format!("{}\n", sha256_hex(code)).as_bytes() {
        return None;
    }
    // It was used just now. If that can't be said, it goes a little early.
    let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
    bytes.drain(..HEAD);
    Some(bytes)
}

/// Keeps code for the next time. That it can't is no reason to complain.
pub(super) fn put(cache: &Cache, label: &Label, code: &[u8]) {
    let bytes = [sha256_hex(code).as_bytes(), b"\n", code].concat();
    if let Ok(path) = cache.file(&name(label), &bytes)
        && let Some(folder) = path.parent()
    {
        clear(folder, SystemTime::now());
    }
}

fn name(label: &Label) -> String {
    format!("{FOLDER}/{}", sha256_hex(label.to_string().as_bytes()))
}

/// Takes away what nobody has used for long.
fn clear(folder: &Path, now: SystemTime) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let used = entry.metadata().and_then(|metadata| metadata.modified());
        if used.is_ok_and(|used| now.duration_since(used).is_ok_and(|since| since > KEPT)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use lunette_native::{Cpu, Kind, Variant};

    use super::*;

    #[test]
    fn what_was_put_in_comes_out_and_what_is_damaged_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let label = |fuel, cpu, of: &str| Label::new(Kind::Module, Variant { fuel }, cpu, of.into());
        let one = label(false, Cpu::V1, "aa");
        assert_eq!(get(&cache, &one), None);
        put(&cache, &one, b"code");
        assert_eq!(get(&cache, &one).as_deref(), Some(&b"code"[..]));
        // Whatever the code depends on makes it another.
        for other in [label(true, Cpu::V1, "aa"), label(false, Cpu::V3, "aa"), label(false, Cpu::V1, "ab")] {
            assert_eq!(get(&cache, &other), None);
        }
        let path = dir.path().join(name(&one));
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(get(&cache, &one), None, "{length}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert_eq!(get(&cache, &one), None, "{at}");
        }
        put(&cache, &one, b"code");
        assert_eq!(get(&cache, &one).as_deref(), Some(&b"code"[..]));
        put(&Cache::none(), &one, b"code");
        assert_eq!(get(&Cache::none(), &one), None);
    }

    #[test]
    fn what_nobody_uses_goes() {
        let dir = tempfile::tempdir().unwrap();
        for (name, days) in [("old", 31), ("new", 29)] {
            let file = fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 24 * 3600)).unwrap();
        }
        clear(dir.path(), SystemTime::now());
        assert_eq!((dir.path().join("old").exists(), dir.path().join("new").exists()), (false, true));
    }
}
