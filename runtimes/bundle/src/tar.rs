//! The few fields of a POSIX ustar header that a bundle uses, and its rules for names.

pub(crate) const BLOCK: usize = 512;
/// Where bundles begin, end and keep their larger files: multiples of a page.
pub(crate) const PAGE: usize = 4096;
/// `size` has eleven octal digits.
#[cfg(feature = "write")]
pub(crate) const MAX_FILE: u64 = 0o77_777_777_777;

/// A header's fields: where they begin and end.
pub(crate) mod field {
    use std::ops::Range;

    pub(crate) const NAME: Range<usize> = 0..100;
    pub(crate) const SIZE: Range<usize> = 124..136;
    pub(crate) const MTIME: Range<usize> = 136..148;
    pub(crate) const CHECKSUM: Range<usize> = 148..156;
    pub(crate) const TYPE: usize = 156;
    pub(crate) const LINK: Range<usize> = 157..257;
    /// `ustar`, NUL and the version, `00`.
    pub(crate) const MAGIC: Range<usize> = 257..265;
    pub(crate) const PREFIX: Range<usize> = 345..500;
}

pub(crate) const MAGIC: &[u8; 8] = b"ustar\x0000";

pub(crate) const FILE: u8 = b'0';
pub(crate) const SYMLINK: u8 = b'2';
pub(crate) const DIRECTORY: u8 = b'5';
/// A pax header: records for the entry that follows.
pub(crate) const PAX: u8 = b'x';

/// The folder that guests do not see.
pub(crate) const RESERVED: &str = ".lunette";
/// Where native code is.
pub(crate) const NATIVE: &str = ".lunette/native";
pub(crate) const MANIFEST: &str = "lunette.toml";
pub(crate) const HASH: &str = ".lunette/sha256";
pub(crate) const LAUNCH: &str = "launch.toml";

/// The sum of a header's bytes, with its own field read as spaces.
pub(crate) fn checksum(header: &[u8; BLOCK]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&b| u32::from(b)).sum::<u32>();
    sum(header) - sum(&header[field::CHECKSUM]) + 8 * u32::from(b' ')
}

/// What is wrong with this path as a name inside of a bundle, if anything is.
///
/// Paths are relative, made of non-empty components other than `.` and `..`, of at most 255 bytes
/// each and 4,095 in all, without NUL.
pub(crate) fn path_fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.starts_with('/') {
        return Some("is absolute");
    }
    if path.len() > 4095 {
        return Some("is longer than 4095 bytes");
    }
    if path.as_bytes().contains(&0) {
        return Some("contains a NUL");
    }
    path.split('/').find_map(|part| match part {
        "" => Some("has an empty component"),
        "." => Some("has the component \".\""),
        ".." => Some("has the component \"..\""),
        _ if part.len() > 255 => Some("has a component longer than 255 bytes"),
        _ => None,
    })
}

/// Is this path the reserved folder or in it?
pub(crate) fn is_reserved(path: &str) -> bool {
    path.strip_prefix(RESERVED).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The order of paths in a bundle: by bytes, with `/` before all others, so that a folder's contents
/// follow it at once. `/` may stand as zero, for no path has a NUL.
pub(crate) fn order(a: &str, b: &str) -> std::cmp::Ordering {
    let key = |b: u8| if b == b'/' { 0 } else { b };
    a.bytes().map(key).cmp(b.bytes().map(key))
}

pub(crate) fn round_up(n: usize, to: usize) -> Option<usize> {
    Some(n.checked_add(to - 1)? / to * to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_puts_a_folder_before_its_contents_and_those_before_its_siblings() {
        let sorted = [".lunette", "a", "a/b", "a/b/c", "a/c", "a!", "a-b", "b"];
        for pair in sorted.windows(2) {
            assert!(order(pair[0], pair[1]).is_lt(), "{pair:?}");
        }
    }

    #[test]
    fn names_that_no_bundle_has() {
        let long = "x".repeat(256);
        for path in ["", "/", "/a", "a/", "a//b", ".", "./a", "a/./b", "..", "../a", "a/..", "a\0b", &long] {
            assert!(path_fault(path).is_some(), "{path:?}");
        }
        for path in ["a", "a/b", ".a", "..a", "a..", "...", "ü/ñ", "a b"] {
            assert_eq!(path_fault(path), None, "{path:?}");
        }
        assert!(path_fault(&"a/".repeat(2048)).is_some());
    }
}
