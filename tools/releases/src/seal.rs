//! What the file of an image or a loader ends with: eight bytes that say so, and the SHA-256 of all before. `cargo xtask image`
//! puts it there (tools/xtask/src/seal.rs); what boots the file goes by its headers, and never looks so far.
//!
//! Promises: a file that [`check`] or [`open`] has passed has not one byte changed since it was sealed. Does not: say who has
//! sealed it; that is what signatures are for.

use std::{
    fs, io,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// How long one is.
pub const LENGTH: usize = 40;
const MARK: &[u8; 8] = b"LunSeal\n";
const HELP: &str = "unpack the release once more, or name another image with --image; what is built here, `cargo xtask image` seals";

/// Ends a file with its seal.
pub fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = Sha256::digest(&bytes);
    bytes.extend(MARK);
    bytes.extend(sum);
    bytes
}

/// A sealed file's content, without its seal. `place` is named in errors.
pub fn open<'b>(bytes: &'b [u8], place: &Path) -> Result<&'b [u8]> {
    let (content, end) = bytes.split_at(bytes.len().saturating_sub(LENGTH));
    fits(end, &Sha256::digest(content), place)?;
    Ok(content)
}

/// Is the file whole, and as it was sealed?
pub fn check(path: &Path) -> Result<()> {
    let read = || {
        let mut file = fs::File::open(path)?;
        let content = file.metadata()?.len().saturating_sub(LENGTH as u64);
        let (mut sum, mut buffer, mut left) = (Sha256::new(), vec![0; 1 << 18], content);
        while left > 0 {
            let some = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut buffer[..some])?;
            sum.update(&buffer[..some]);
            left -= some as u64;
        }
        file.seek(SeekFrom::Start(content))?;
        let mut end = Vec::new();
        file.take(LENGTH as u64).read_to_end(&mut end)?;
        Ok((sum.finalize(), end))
    };
    let (sum, end) = read().map_err(|e: io::Error| {
        Error::new(format!("it can't be read: {e}"), path.display(), "see that you may read it")
    })?;
    fits(&end, &sum, path)
}

fn fits(end: &[u8], sum: &[u8], place: &Path) -> Result<()> {
    match end.strip_prefix(MARK) {
        Some(sealed) if sealed == sum => Ok(()),
        Some(sealed) if sealed.len() == sum.len() => {
            let what = format!(
                "it was changed or damaged: its SHA-256 is {}, and its seal says {}",
                crate::hex(sum),
                crate::hex(sealed)
            );
            Err(Error::new(what, place.display(), HELP))
        }
        _ => Err(Error::new(
            "it was changed or cut short: it does not end with its seal",
            place.display(),
            HELP,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_breaks_the_seal_and_so_does_each_cut() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        for content in [&b""[..], b"moon", &[7; 300]] {
            let sealed = seal(content.to_vec());
            let passes = |bytes: &[u8]| {
                fs::write(path, bytes).unwrap();
                let (checked, opened) = (check(path), open(bytes, path));
                assert_eq!(checked.is_ok(), opened.is_ok(), "{checked:?}");
                let said = checked.as_ref().err().map(ToString::to_string).unwrap_or_default();
                assert!(
                    !said.contains('\n') && checked.is_ok() | said.contains("cargo xtask image"),
                    "{said}"
                );
                checked.is_ok()
            };
            assert!(passes(&sealed));
            assert_eq!(open(&sealed, path).unwrap(), content);
            for bit in 0..sealed.len() * 8 {
                let mut bad = sealed.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&bad, path).is_err(), "bit {bit}");
            }
            for at in [0, content.len(), content.len() + 8, sealed.len() - 1] {
                let mut bad = sealed.clone();
                bad[at] ^= 0x10;
                assert!(!passes(&bad), "byte {at}");
            }
            for length in 0..sealed.len() {
                assert!(open(&sealed[..length], path).is_err(), "{length}");
            }
            assert!(!passes(b"") && !passes(&sealed[..LENGTH - 1]) && !passes(&sealed[..sealed.len() - 1]));
            assert!(!passes(&[&sealed[..], b"x"].concat()));
        }
        // More than is read at once, and nothing that can be read.
        fs::write(path, seal(vec![1; (1 << 19) + 3])).unwrap();
        check(path).unwrap();
        assert!(check(Path::new("/nonexistent/image")).unwrap_err().what.contains("can't be read"));
        assert!(check(Path::new("/")).unwrap_err().what.contains("can't be read"));
    }
}
