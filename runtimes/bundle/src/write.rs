//! Making bundles: the same inputs give the same bytes.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::BTreeMap,
    io::{self, Write},
};

use sha2::{Digest, Sha256};

use crate::{
    Error, Launch, native,
    read::{in_place_data, to_hex},
    tar::{self, BLOCK, PAGE, field},
};

/// Collects what is to be in a bundle, then writes it.
#[derive(Debug)]
pub struct Writer<'a> {
    manifest: Cow<'a, [u8]>,
    entries: BTreeMap<Path, New<'a>>,
    modified: u64,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub size: u64,
    /// The hash that the bundle holds: SHA-256 in hex digits.
    pub hash: String,
}

#[derive(Debug)]
enum New<'a> {
    File(Cow<'a, [u8]>),
    Directory,
    Symlink(String),
}

impl<'a> Writer<'a> {
    /// A bundle with this `lunette.toml`, which is not looked at here.
    pub fn new(manifest: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { manifest: manifest.into(), entries: BTreeMap::new(), modified: 0 }
    }

    /// The time that all entries bear, in seconds since the Unix epoch (0 unless set).
    pub fn modified(&mut self, seconds: u64) {
        // Eleven octal digits: until the year 2242.
        self.modified = seconds.min(tar::MAX_FILE);
    }

    /// Adds a file, and the folders that it is in.
    pub fn file(&mut self, path: &str, data: impl Into<Cow<'a, [u8]>>) -> Result<(), Error> {
        let data = data.into();
        if data.len() as u64 > tar::MAX_FILE {
            let help = "split it: a file in a bundle has at most 8 GiB";
            return Err(Error::new(format!("{path:?} is too large"), "", help));
        }
        self.add(path, New::File(data))
    }

    /// Adds native code for the program `main`, with its label.
    pub fn native(
        &mut self,
        main: &str,
        label: impl Into<Cow<'a, [u8]>>,
        code: impl Into<Cow<'a, [u8]>>,
    ) -> Result<(), Error> {
        let [code_path, label_path] = native::paths(main);
        self.file(&code_path, code)?;
        self.file(&label_path, label)
    }

    /// Adds a folder, and the folders that it is in. It may be there already.
    pub fn directory(&mut self, path: &str) -> Result<(), Error> {
        self.add(path, New::Directory)
    }

    /// Adds a symbolic link with this target, whatever it says, and the folders that the link is in.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), Error> {
        if target.is_empty() || target.len() > 4095 || target.contains('\0') {
            let help = "give it a target of 1 to 4095 bytes without NUL";
            return Err(Error::new(format!("the link {path:?} has a bad target"), "", help));
        }
        self.add(path, New::Symlink(target.to_owned()))
    }

    /// Is there something with this path?
    pub fn contains(&self, path: &str) -> bool {
        path == tar::MANIFEST || self.entries.contains_key(&Path(path.to_owned()))
    }

    fn add(&mut self, path: &str, new: New<'a>) -> Result<(), Error> {
        let refuse = |why: &str, help: &str| Err(Error::new(format!("{path:?} {why}"), "", help));
        if let Some(fault) = tar::path_fault(path) {
            return refuse(fault, "rename it");
        }
        if path == tar::HASH || path == tar::MANIFEST {
            return refuse("is written by Lunette itself", "rename it");
        }
        for (slash, _) in path.match_indices('/') {
            match self.entries.entry(Path(path[..slash].to_owned())).or_insert(New::Directory) {
                New::Directory => {}
                _ => return refuse("is inside of something that is no folder", "rename one of them"),
            }
        }
        match (self.entries.get(&Path(path.to_owned())), &new) {
            (None, _) => {}
            (Some(New::Directory), New::Directory) => return Ok(()),
            (Some(_), _) => return refuse("is there already", "rename one of them"),
        }
        self.entries.insert(Path(path.to_owned()), new);
        Ok(())
    }

    /// Writes the bundle.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<Written> {
        let mut out = Out { to, at: 0, hash: Some(Sha256::new()), modified: self.modified };
        out.entry(tar::FILE, tar::MANIFEST, "", &self.manifest)?;
        for (path, new) in &self.entries {
            match new {
                New::File(data) => out.entry(tar::FILE, &path.0, "", data)?,
                New::Directory => out.entry(tar::DIRECTORY, &format!("{}/", path.0), "", &[])?,
                New::Symlink(target) => out.entry(tar::SYMLINK, &path.0, target, &[])?,
            }
        }
        let hash = out.hash.take().map(|hash| to_hex(&hash.finalize())).unwrap_or_default();
        out.entry(tar::FILE, tar::HASH, "", format!("{hash}\n").as_bytes())?;
        out.end()?;
        Ok(Written { size: out.at as u64, hash })
    }

    /// The bundle as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        let _ = self.write(&mut bytes);
        bytes
    }
}

impl Launch {
    /// What follows the bundle in a payload; nothing if it adds nothing.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.is_empty() {
            let mut out = Out { to: &mut bytes, at: 0, hash: None, modified: 0 };
            // Writing to memory does not fail.
            let _ = out.entry(tar::FILE, tar::LAUNCH, "", self.to_toml().as_bytes());
            let _ = out.end();
        }
        bytes
    }
}

/// A bundle's signature as it follows the bundle in a payload, before the launch.
pub fn attached(signature: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = Out { to: &mut bytes, at: 0, hash: None, modified: 0 };
    // Writing to memory does not fail.
    let _ = out.entry(tar::FILE, tar::SIGNATURE, "", signature);
    let _ = out.end();
    bytes
}

/// A path that sorts as in a bundle.
#[derive(Debug, PartialEq, Eq)]
struct Path(String);

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        tar::order(&self.0, &other.0)
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Out<'t> {
    to: &'t mut dyn Write,
    at: usize,
    hash: Option<Sha256>,
    modified: u64,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.at += bytes.len();
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        Ok(())
    }

    fn pad(&mut self, to: usize) -> io::Result<()> {
        let zeros = [0; PAGE];
        self.put(&zeros[..self.at.next_multiple_of(to) - self.at])
    }

    fn end(&mut self) -> io::Result<()> {
        self.put(&[0; 2 * BLOCK])?;
        self.pad(PAGE)
    }

    fn entry(&mut self, kind: u8, path: &str, target: &str, data: &[u8]) -> io::Result<()> {
        let mut pax = Vec::new();
        if path.len() > field::NAME.len() {
            pax.extend(record("path", path.as_bytes()));
        }
        if target.len() > field::LINK.len() {
            pax.extend(record("linkpath", target.as_bytes()));
        }
        // Where the data would be without padding: behind the header, and the pax header if there is one.
        let before = if pax.is_empty() { 0 } else { BLOCK + pax.len().next_multiple_of(BLOCK) };
        let in_place = kind == tar::FILE && in_place_data(path, data.len());
        if in_place && !(self.at + before + BLOCK).is_multiple_of(PAGE) {
            // The pax header's data is to fill `room`, so that the file's data begins on a page.
            let mut room = (self.at + BLOCK + pax.len() + BLOCK).next_multiple_of(PAGE) - self.at - 2 * BLOCK;
            if room < pax.len() + COMMENT_MIN {
                room += PAGE;
            }
            pax.extend(comment(room - pax.len()));
        }
        if !pax.is_empty() {
            self.header(tar::PAX, "pax", "", pax.len())?;
            self.put(&pax)?;
            self.pad(BLOCK)?;
        }
        self.header(kind, path, target, data.len())?;
        self.put(data)?;
        self.pad(BLOCK)
    }

    fn header(&mut self, kind: u8, path: &str, target: &str, size: usize) -> io::Result<()> {
        let mut header = [0; BLOCK];
        let mut text = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        text(0, cut(path, field::NAME.len()));
        text(100, if kind == tar::DIRECTORY { b"0000755" } else { b"0000644" });
        text(108, b"0000000");
        text(116, b"0000000");
        text(field::SIZE.start, format!("{size:011o}").as_bytes());
        text(field::MTIME.start, format!("{:011o}", self.modified).as_bytes());
        text(field::TYPE, &[kind]);
        text(field::LINK.start, cut(target, field::LINK.len()));
        text(field::MAGIC.start, tar::MAGIC);
        let sum = tar::checksum_field(&header);
        header[field::CHECKSUM].copy_from_slice(&sum);
        self.put(&header)
    }
}

/// What fits of a name whose whole is in a pax record.
fn cut(text: &str, length: usize) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(length)]
}

/// A pax record: `LENGTH key=value\n`, the length counting itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = 1 + key.len() + 1 + value.len() + 1;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}

/// The shortest comment, with a margin for the digits of its length.
const COMMENT_MIN: usize = 16;

/// A comment record of exactly `length` bytes, at least [`COMMENT_MIN`].
fn comment(length: usize) -> Vec<u8> {
    let mut record = format!("{length} comment=").into_bytes();
    record.resize(length - 1, b'.');
    record.push(b'\n');
    record
}
