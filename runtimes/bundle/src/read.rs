//! Reading a bundle in place. Its bytes are untrusted; nothing is copied and nothing is believed.

use sha2::{Digest, Sha256};

use crate::{
    Error, native,
    tar::{self, BLOCK, PAGE, field},
};

/// A bundle whose structure holds: every header and name was checked, every file lies inside of the
/// bytes, folders come before what is in them, nothing appears twice. Its hash was *not* checked:
/// [`Bundle::verify_hash`] does that.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    /// Up to its end, the padding included.
    bytes: &'a [u8],
    /// `lunette.toml`, then the others in [`tar::order`]; the hash is not among them.
    entries: Vec<Entry<'a>>,
    /// Where the header of the hash is: all bytes before it are hashed.
    hashed: usize,
    hash: &'a str,
}

/// One file, directory or symbolic link of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Relative, `/` between components, no `.` or `..`, no `/` at the end.
    pub path: &'a str,
    pub kind: Kind<'a>,
    /// Seconds since the Unix epoch.
    pub modified: u64,
    /// Where its header is in the bundle.
    pub offset: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    File(&'a [u8]),
    Directory,
    /// Its target, whatever it says: checked when it is walked.
    Symlink(&'a str),
}

impl<'a> Bundle<'a> {
    /// Reads a bundle that is all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (bundle, rest) = Self::parse_front(bytes)?;
        if !rest.is_empty() {
            let at = bytes.len() - rest.len();
            return Err(Error::damaged(format!("{} bytes follow the end of the bundle", rest.len()), at));
        }
        Ok(bundle)
    }

    /// Reads the bundle that `bytes` begin with, and gives back what follows it.
    pub fn parse_front(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            let Some((entry, next)) = entry(bytes, at)? else {
                let missing = if entries.is_empty() { tar::MANIFEST } else { tar::HASH };
                return Err(Error::damaged(format!("the bundle has no {missing}"), at));
            };
            if entries.is_empty() && entry.path != tar::MANIFEST {
                return Err(Error::damaged(
                    format!("{:?} comes first, where {} must be", entry.path, tar::MANIFEST),
                    at,
                ));
            }
            at = next;
            if entry.path == tar::HASH {
                let (bytes, rest) = end(bytes, at)?;
                let Kind::File(hash) = entry.kind else {
                    return Err(Error::damaged(format!("{} is not a file", tar::HASH), entry.offset));
                };
                let hash = hex(hash).ok_or_else(|| {
                    Error::damaged(format!("{} is not a SHA-256 in hex digits", tar::HASH), entry.offset)
                })?;
                return Ok((Self { bytes, entries, hashed: entry.offset, hash }, rest));
            }
            in_place(&entries, &entry)?;
            entries.push(entry);
        }
    }

    /// Does the hash in the bundle fit its contents, and is the rest what surrounds a hash? Then no byte was changed since it
    /// was written: the header of the hash is under the tar's own sum, and what follows is zeros.
    pub fn verify_hash(&self) -> Result<(), Error> {
        let found = sha256_hex(&self.bytes[..self.hashed]);
        if found == self.hash {
            return self.verify_rest();
        }
        Err(Error::new(
            format!("the bundle was changed or damaged: its SHA-256 is {found}, it says {}", self.hash),
            format!("bundle, byte {}", self.hashed),
            "copy it again, or make it again with `lunette build`",
        ))
    }

    /// What neither the hash nor [`Bundle::parse`] looks at: there is one way to write a header's sum, and nothing follows the
    /// hash in its block.
    fn verify_rest(&self) -> Result<(), Error> {
        let damaged = |at| Error::damaged("the bundle was changed or damaged behind its contents", at);
        let (header, rest) =
            self.bytes[self.hashed..].split_first_chunk().ok_or_else(|| damaged(self.hashed))?;
        if header[field::CHECKSUM] != tar::checksum_field(header) {
            return Err(damaged(self.hashed));
        }
        // The digits and a line end.
        let begin = self.hash.len() + 1;
        match rest.get(begin..).and_then(tar::first_not_zero) {
            Some(bad) => Err(damaged(self.hashed + BLOCK + begin + bad)),
            None => Ok(()),
        }
    }

    /// The hash that it says it has: 64 hex digits.
    pub fn hash(&self) -> &'a str {
        self.hash
    }

    /// All of it, to the end of its padding.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The manifest's text.
    pub fn manifest(&self) -> Result<&'a str, Error> {
        match self.file(tar::MANIFEST).map(std::str::from_utf8) {
            Some(Ok(text)) => Ok(text),
            Some(Err(e)) => {
                let help = "save it as UTF-8, then `lunette build` again";
                Err(Error::new(
                    format!("{} is not UTF-8", tar::MANIFEST),
                    format!("{}, byte {}", tar::MANIFEST, e.valid_up_to()),
                    help,
                ))
            }
            None => Err(Error::damaged(format!("{} is not a file", tar::MANIFEST), 0)),
        }
    }

    /// Everything, the reserved folder included: `lunette.toml`, then the rest in order.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// What a guest sees: all but the reserved folder. Folders come before what is in them.
    pub fn visible(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.entries.iter().filter(|entry| !tar::is_reserved(entry.path))
    }

    /// What is inside of the folder `dir`, each with its path relative to it, folders before what is in
    /// them. Nothing if there is no such folder.
    pub fn under<'s>(&'s self, dir: &'s str) -> impl Iterator<Item = (&'a str, &'s Entry<'a>)> {
        let rest = &self.entries[1..];
        let first = rest.partition_point(|entry| tar::order(entry.path, dir).is_le());
        rest[first..]
            .iter()
            .map_while(move |entry| Some((entry.path.strip_prefix(dir)?.strip_prefix('/')?, entry)))
    }

    /// The entry with exactly this path.
    pub fn get(&self, path: &str) -> Option<&Entry<'a>> {
        let (first, rest) = self.entries.split_first()?;
        if first.path == path {
            return Some(first);
        }
        let at = rest.binary_search_by(|entry| tar::order(entry.path, path)).ok()?;
        rest.get(at)
    }

    /// The contents of the file with exactly this path; links are not followed.
    pub fn file(&self, path: &str) -> Option<&'a [u8]> {
        match self.get(path)?.kind {
            Kind::File(data) => Some(data),
            _ => None,
        }
    }
}

/// The SHA-256 of these bytes, in hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    to_hex(&Sha256::digest(bytes))
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n & 15)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(*b)]).collect()
}

/// May `entry` come after `entries`? Strictly after the last in order (so nothing appears twice), and
/// in a folder that is there.
fn in_place(entries: &[Entry<'_>], entry: &Entry<'_>) -> Result<(), Error> {
    let refuse = |why: &str| Err(Error::damaged(format!("{:?} {why}", entry.path), entry.offset));
    let Some((_, rest)) = entries.split_first() else { return Ok(()) };
    if entry.path == tar::MANIFEST {
        return refuse("appears twice");
    }
    let parent = entry.path.rsplit_once('/').map(|(parent, _)| parent);
    let Some(last) = rest.last() else {
        return if parent.is_some() { refuse("comes before its folder") } else { Ok(()) };
    };
    match tar::order(last.path, entry.path) {
        std::cmp::Ordering::Less => {}
        std::cmp::Ordering::Equal => return refuse("appears twice"),
        std::cmp::Ordering::Greater => return refuse("is out of order"),
    }
    // In this order the folder is the last entry, or one that the last entry is in.
    match parent {
        None => Ok(()),
        Some(parent) if parent == last.path && last.kind == Kind::Directory => Ok(()),
        Some(parent) if last.path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/')) => Ok(()),
        Some(parent) if parent == last.path => refuse("is inside of something that is no folder"),
        Some(_) => refuse("comes before its folder"),
    }
}

/// Is a file of this name and size read where it lies, and so begins on a page?
pub(crate) fn in_place_data(path: &str, size: usize) -> bool {
    size >= PAGE || native::is_code(path)
}

/// Reads the entry at `at`, with the pax header before it if there is one, and says where the next one
/// begins. `None` at the end of the archive.
pub(crate) fn entry(bytes: &[u8], at: usize) -> Result<Option<(Entry<'_>, usize)>, Error> {
    let Some(mut header) = Header::read(bytes, at)? else { return Ok(None) };
    let mut pax = Pax::default();
    if header.kind == tar::PAX {
        pax = Pax::read(header.data(bytes)?, header.at)?;
        let at = header.end(bytes)?;
        match Header::read(bytes, at)? {
            Some(next) if next.kind != tar::PAX => header = next,
            _ => return Err(Error::damaged("no entry follows a pax header", at)),
        }
    }
    let path = match pax.path {
        Some(path) => path,
        None => header.text(field::NAME, "name")?,
    };
    let path = if header.kind == tar::DIRECTORY { path.strip_suffix('/').unwrap_or(path) } else { path };
    if let Some(fault) = tar::path_fault(path) {
        return Err(Error::damaged(format!("the name {path:?} {fault}"), header.at));
    }
    if header.kind != tar::FILE && header.size != 0 {
        return Err(Error::damaged(format!("{path:?} is no file, but has data"), header.at));
    }
    let kind = match header.kind {
        tar::FILE => {
            let data = header
                .data(bytes)
                .map_err(|_| Error::damaged(format!("the bundle is cut short in {path:?}"), header.at))?;
            if in_place_data(path, data.len()) && !(header.at + BLOCK).is_multiple_of(PAGE) {
                return Err(Error::damaged(
                    format!("the data of {path:?} does not begin at a multiple of {PAGE} bytes"),
                    header.at,
                ));
            }
            Kind::File(data)
        }
        tar::DIRECTORY => Kind::Directory,
        tar::SYMLINK => {
            let target = match pax.link {
                Some(target) => target,
                None => header.text(field::LINK, "link target")?,
            };
            if target.is_empty() || target.len() > 4095 || target.as_bytes().contains(&0) {
                return Err(Error::damaged(format!("the link {path:?} has a bad target"), header.at));
            }
            Kind::Symlink(target)
        }
        other => {
            let what = format!(
                "{path:?} is of the tar type {:?}: bundles have files, directories and symbolic links only",
                char::from(other)
            );
            return Err(Error::damaged(what, header.at));
        }
    };
    let next = header
        .end(bytes)
        .map_err(|_| Error::damaged(format!("the bundle is cut short after {path:?}"), header.at))?;
    Ok(Some((Entry { path, kind, modified: header.modified, offset: header.at }, next)))
}

/// The end of an archive whose last entry ends at `at`: two zero blocks, padded with zeros to a page.
/// Gives the archive and what follows it.
pub(crate) fn end(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), Error> {
    let end = at.checked_add(2 * BLOCK).and_then(|end| tar::round_up(end, PAGE));
    let Some((all, rest)) = end.and_then(|end| bytes.split_at_checked(end)) else {
        return Err(Error::damaged("the bundle is cut short in its last block", bytes.len()));
    };
    if let Some(bad) = tar::first_not_zero(&all[at..]) {
        return Err(Error::damaged("the bundle's end is not all zeros", at + bad));
    }
    Ok((all, rest))
}

/// One 512-byte header that is what it says it is. Its size is still only a claim.
struct Header<'a> {
    at: usize,
    block: &'a [u8; BLOCK],
    kind: u8,
    size: u64,
    modified: u64,
}

impl<'a> Header<'a> {
    /// `None` for a block of zeros, which ends an archive.
    fn read(bytes: &'a [u8], at: usize) -> Result<Option<Self>, Error> {
        let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) else {
            return Err(Error::damaged("the bundle is cut short", bytes.len().max(at)));
        };
        if tar::first_not_zero(block).is_none() {
            return Ok(None);
        }
        if &block[field::MAGIC] != tar::MAGIC {
            return Err(Error::damaged("this is no POSIX tar header", at));
        }
        if octal(&block[field::CHECKSUM]) != Some(tar::checksum(block).into()) {
            return Err(Error::damaged("a tar header has the wrong checksum", at));
        }
        let number = |range, name| {
            octal(&block[range])
                .ok_or_else(|| Error::damaged(format!("a tar header's {name} is no octal number"), at))
        };
        if tar::first_not_zero(&block[field::PREFIX]).is_some() {
            return Err(Error::damaged("a tar header has a name prefix: bundles use pax names", at));
        }
        Ok(Some(Self {
            at,
            block,
            kind: block[field::TYPE],
            size: number(field::SIZE, "size")?,
            modified: number(field::MTIME, "time")?,
        }))
    }

    /// A text field: up to its first NUL.
    fn text(&self, range: std::ops::Range<usize>, what: &str) -> Result<&'a str, Error> {
        let bytes = &self.block[range];
        let length = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        std::str::from_utf8(&bytes[..length])
            .map_err(|_| Error::damaged(format!("a {what} is not UTF-8"), self.at))
    }

    fn data(&self, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
        usize::try_from(self.size)
            .ok()
            .and_then(|size| bytes.get(self.at + BLOCK..)?.get(..size))
            .ok_or_else(|| Error::damaged("the bundle is cut short", self.at))
    }

    /// Where the next header is: after the data, padded to a block.
    fn end(&self, bytes: &'a [u8]) -> Result<usize, Error> {
        let size = self.data(bytes)?.len();
        tar::round_up(self.at + BLOCK + size, BLOCK)
            .filter(|&end| end <= bytes.len())
            .ok_or_else(|| Error::damaged("the bundle is cut short", self.at))
    }
}

/// An octal field: digits, ended by NUL or space or the field's end.
fn octal(bytes: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    let mut digits = 0;
    for &b in bytes {
        match b {
            b'0'..=b'7' => {
                value = (value << 3) | u64::from(b - b'0');
                digits += 1;
            }
            0 | b' ' if digits > 0 => break,
            _ => return None,
        }
    }
    // Twelve digits at most: no overflow.
    (digits > 0).then_some(value)
}

/// The records of a pax header that a bundle may have: `LENGTH key=value\n`, the length counting itself.
#[derive(Default)]
struct Pax<'a> {
    path: Option<&'a str>,
    link: Option<&'a str>,
}

impl<'a> Pax<'a> {
    fn read(mut data: &'a [u8], at: usize) -> Result<Self, Error> {
        let broken = || Error::damaged("a pax header is broken", at);
        let mut pax = Self::default();
        while !data.is_empty() {
            let digits = data.iter().take(8).take_while(|b| b.is_ascii_digit()).count();
            let length = data[..digits].iter().fold(0, |n, b| n * 10 + usize::from(b - b'0'));
            let record = data.get(digits..length).ok_or_else(broken)?;
            let [b' ', record @ .., b'\n'] = record else { return Err(broken()) };
            data = &data[length..];
            if record.starts_with(b"comment=") {
                continue;
            }
            let record = std::str::from_utf8(record).map_err(|_| broken())?;
            match record.split_once('=') {
                Some(("path", value)) => pax.path = Some(value),
                Some(("linkpath", value)) => pax.link = Some(value),
                Some((key, _)) => {
                    return Err(Error::damaged(
                        format!("the pax record {key:?} has no place in a bundle"),
                        at,
                    ));
                }
                None => return Err(broken()),
            }
        }
        Ok(pax)
    }
}

/// 64 hex digits and a line end.
fn hex(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then_some(text)
}
