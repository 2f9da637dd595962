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
pub(crate) const SIGNATURE: &str = "bundle.minisig";

/// The sum of a header's bytes, with its own field read as spaces.
pub(crate) fn checksum(header: &[u8; BLOCK]) -> u32 {
    // Four sums of 16 bits in a word, eight bytes at a time: every boot sums the headers of its bundle. A sum
    // has a quarter of the block, which is at most 128 × 255.
    const EVERY_OTHER: u64 = 0x00ff_00ff_00ff_00ff;
    let sums = header.as_chunks::<8>().0.iter().fold(0, |sums, bytes| {
        let word = u64::from_le_bytes(*bytes);
        sums + (word & EVERY_OTHER) + ((word >> 8) & EVERY_OTHER)
    });
    let all: u32 = [0, 16, 32, 48].map(|lane| (sums >> lane) as u32 & 0xffff).iter().sum();
    let own: u32 = header[field::CHECKSUM].iter().map(|&b| u32::from(b)).sum();
    all - own + 8 * u32::from(b' ')
}

/// That sum as a header of ours has it.
pub(crate) fn checksum_field(header: &[u8; BLOCK]) -> [u8; 8] {
    let mut field = *b"000000\0 ";
    let sum = checksum(header);
    for (place, digit) in field[..6].iter_mut().rev().enumerate() {
        *digit = b'0' + ((sum >> (3 * place)) & 7) as u8;
    }
    field
}

/// Where the first byte is that is not zero. Eight at a time, for most are zero.
pub(crate) fn first_not_zero(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    let word = words.iter().position(|word| u64::from_ne_bytes(*word) != 0);
    let (from, tail) = word.map_or((words.len() * 8, rest), |word| (word * 8, &words[word][..]));
    Some(from + tail.iter().position(|&b| b != 0)?)
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
    fn sums_in_words_are_sums_of_bytes() {
        let mut header = [0xff; BLOCK];
        for (at, step) in [(0, 1), (3, 7), (5, 11)] {
            let plain = |header: &[u8; BLOCK]| {
                let all = header.iter().map(|&b| u32::from(b)).sum::<u32>();
                all - header[field::CHECKSUM].iter().map(|&b| u32::from(b)).sum::<u32>() + 8 * 32
            };
            assert_eq!(checksum(&header), plain(&header));
            header.iter_mut().skip(at).step_by(step).for_each(|b| *b = b.wrapping_mul(37).wrapping_add(11));
        }
        for length in 0..40 {
            let mut bytes = vec![0; length];
            assert_eq!(first_not_zero(&bytes), None);
            for at in (0..length).rev() {
                bytes[at] = 1;
                assert_eq!(first_not_zero(&bytes), Some(at));
            }
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
