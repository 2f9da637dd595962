//! What was pulled: a folder a version, with the index that speaks for it.
//!
//! ```text
//! serials/STREAM              the largest serial seen of a stream
//! versions/VERSION/           what was pulled of a version, under the names for who uses it
//!     index.json, index.json.minisig
//! parts/SHA256                what came of a file so far
//! ```
//!
//! Promises: what [`Store::verify`] has passed is what was signed. Does not: lock; two who pull at once do the same work twice.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use lunette_signature::{ENDING, PublicKey};

use crate::{
    Error, File, Index, Result, Source,
    index::is_name,
    index_name,
    source::{SMALL, sum},
};

const INDEX: &str = "index.json";

#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    keys: Vec<PublicKey>,
    /// The command line's own version.
    cli: String,
}

/// A version that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    pub version: String,
    pub folder: PathBuf,
    /// Of all its files.
    pub size: u64,
}

/// An index as it came.
struct Signed {
    bytes: Vec<u8>,
    signature: Vec<u8>,
    index: Index,
}

impl Store {
    pub fn new(folder: impl Into<PathBuf>, keys: Vec<PublicKey>, cli: &str) -> Self {
        Self { folder: folder.into(), keys, cli: cli.into() }
    }

    /// The folder of a version, whether it is there or not.
    pub fn version(&self, version: &str) -> PathBuf {
        self.folder.join("versions").join(version)
    }

    /// The index of a stream: signed, in its time, and not older than one that was seen before.
    pub fn index(&self, source: &Source, stream: &str, now: SystemTime) -> Result<Index> {
        self.signed(source, stream, now).map(|signed| signed.index)
    }

    fn signed(&self, source: &Source, stream: &str, now: SystemTime) -> Result<Signed> {
        let name = index_name(stream);
        if !is_name(stream) {
            return Err(Error::new("this is no name of a stream", stream, "name one: stable"));
        }
        let place = source.place(&name);
        let bytes = source.small(&name)?;
        let signature = source.small(&format!("{name}{ENDING}"))?;
        let index = Index::open(&bytes, &signature, &self.keys, &place)?;
        if index.stream != stream {
            let what = format!("the index is that of another stream, {}", index.stream);
            return Err(Error::new(what, place, "try another source"));
        }
        index.fresh(now, &self.cli, &place)?;
        let seen = self.serial(stream)?;
        if index.serial < seen {
            let what = format!(
                "the index is older than one that was here before: its serial is {}, and {seen} was seen",
                index.serial
            );
            return Err(Error::new(what, place, "try another source, which is newer"));
        }
        self.remember(stream, index.serial)?;
        Ok(Signed { bytes, signature, index })
    }

    /// The largest serial seen.
    fn serial(&self, stream: &str) -> Result<u64> {
        let path = self.folder.join("serials").join(stream);
        let broken = |what: String| {
            let help = "see what happened to it; without it, an old index would pass for a new one";
            Error::new(what, path.display(), help)
        };
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|e| broken(format!("the serial is no number: {e}"))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(e) => Err(broken(format!("the serial can't be read: {e}"))),
        }
    }

    fn remember(&self, stream: &str, serial: u64) -> Result<()> {
        let folder = make(&self.folder.join("serials"))?;
        put(&folder.join(stream), format!("{serial}\n").as_bytes())
    }

    /// Gets what is for installing of the stream's release, of these artifacts (all, if none is named), for this architecture.
    /// Says what was not here before.
    pub fn pull(
        &self,
        source: &Source,
        stream: &str,
        architecture: &str,
        artifacts: &[String],
        now: SystemTime,
    ) -> Result<(Installed, Vec<String>)> {
        let signed = self.signed(source, stream, now)?;
        let index = &signed.index;
        let place = source.place(&index_name(stream));
        let Some(offered) = index.architectures.get(architecture) else {
            let there: Vec<_> = index.architectures.keys().map(String::as_str).collect();
            let what = format!("there is no release for {architecture}");
            return Err(Error::new(what, place, format!("there is one for {}", there.join(", "))));
        };
        if let Some(unknown) = artifacts.iter().find(|name| !offered.artifacts.contains_key(*name)) {
            let there: Vec<_> = offered.artifacts.keys().map(String::as_str).collect();
            let what = format!("there is no {unknown:?} in the release");
            return Err(Error::new(what, place, format!("there is {}", there.join(", "))));
        }
        let folder = make(&self.version(&index.version))?;
        let parts = make(&self.folder.join("parts"))?;
        // First, for nothing in a folder is used without it.
        put(&folder.join(INDEX), &signed.bytes)?;
        put(&folder.join(format!("{INDEX}{ENDING}")), &signed.signature)?;
        let mut new = Vec::new();
        let wanted = offered.artifacts.iter();
        let wanted = wanted.filter(|(name, _)| artifacts.is_empty() || artifacts.contains(name));
        let files =
            wanted.flat_map(|(_, artifact)| artifact.formats.values().flat_map(|format| format.values()));
        for file in files {
            let Some(name) = &file.install else { continue };
            let to = folder.join(name);
            if is(&to, file) {
                continue;
            }
            source.fetch(file, &parts.join(&file.sha256), &to)?;
            new.push(name.clone());
        }
        Ok((self.installed(&index.version)?, new))
    }

    /// Copies the stream's index and all that it names into a folder, which then is a source.
    pub fn mirror(&self, source: &Source, stream: &str, to: &Path, now: SystemTime) -> Result<Vec<String>> {
        let signed = self.signed(source, stream, now)?;
        let to = make(to)?;
        let mut new = Vec::new();
        for file in signed.index.files() {
            let path = to.join(&file.location);
            if is(&path, file) {
                continue;
            }
            let mut part = path.clone().into_os_string();
            part.push(".part");
            source.fetch(file, Path::new(&part), &path)?;
            new.push(file.location.clone());
        }
        // Last: who reads the index finds all that it names.
        let name = index_name(stream);
        put(&to.join(&name), &signed.bytes)?;
        put(&to.join(format!("{name}{ENDING}")), &signed.signature)?;
        Ok(new)
    }

    /// Those that are here, by name.
    pub fn all(&self) -> Result<Vec<Installed>> {
        let versions = self.folder.join("versions");
        let Ok(entries) = fs::read_dir(&versions) else { return Ok(Vec::new()) };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| is_name(name)).collect();
        names.sort();
        names.iter().map(|name| self.installed(name)).collect()
    }

    fn installed(&self, version: &str) -> Result<Installed> {
        let folder = self.version(version);
        let failed =
            |e: io::Error| Error::new(format!("it can't be read: {e}"), folder.display(), "pull it again");
        let mut size = 0;
        for entry in fs::read_dir(&folder).map_err(failed)? {
            size += entry.and_then(|entry| entry.metadata()).map_err(failed)?.len();
        }
        Ok(Installed { version: version.into(), folder, size })
    }

    /// Checks a version that is here against its index, and that against the keys: these files of it, or all that are there. An
    /// index that has expired since speaks for what was pulled by it all the same.
    pub fn verify(&self, version: &str, only: &[&str]) -> Result<Vec<String>> {
        let folder = self.version(version);
        let read = |name: &str| {
            let path = folder.join(name);
            let bytes = fs::metadata(&path).and_then(|metadata| match metadata.len() {
                0..=SMALL => fs::read(&path),
                _ => Err(io::ErrorKind::FileTooLarge.into()),
            });
            bytes.map_err(|e| Error::new(format!("it can't be read: {e}"), path.display(), "pull it again"))
        };
        let place = folder.join(INDEX).display().to_string();
        let index = Index::open(&read(INDEX)?, &read(&format!("{INDEX}{ENDING}"))?, &self.keys, &place)?;
        if index.version != version {
            let what = format!("the index is that of {}, not of {version}", index.version);
            return Err(Error::new(what, place, "take the folder away, and pull it again"));
        }
        let mut good = Vec::new();
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut names: Vec<_> = match only {
            [] => entries.filter_map(|entry| entry.file_name().into_string().ok()).collect(),
            only => only.iter().map(|&name| name.to_owned()).collect(),
        };
        names.retain(|name| !name.starts_with(INDEX));
        names.sort();
        for name in names {
            let path = folder.join(&name);
            let speak: Vec<_> = index.files().filter(|file| file.install.as_deref() == Some(&name)).collect();
            let Some(first) = speak.first() else {
                let what = "it is not in the index, so nobody has signed it";
                return Err(Error::new(what, path.display(), "take it away"));
            };
            let is = sum(&path)
                .map_err(|e| Error::new(format!("it can't be read: {e}"), path.display(), "pull it again"))?;
            // One for each architecture.
            if speak.iter().all(|file| is != file.sha256) {
                let what =
                    format!("it was changed: its SHA-256 is {is}, and the index says {}", first.sha256);
                return Err(Error::new(what, path.display(), "pull it again: `lunette image pull`"));
            }
            good.push(name);
        }
        Ok(good)
    }

    /// Takes away what is not of this version, and parts of downloads. Says what went.
    pub fn prune(&self, keep: &str) -> Result<Vec<Installed>> {
        let mut gone = Vec::new();
        let failed = |path: &Path| {
            let place = path.display().to_string();
            move |e: io::Error| {
                Error::new(format!("it can't be taken away: {e}"), place, "see that it is yours")
            }
        };
        for installed in self.all()?.into_iter().filter(|installed| installed.version != keep) {
            fs::remove_dir_all(&installed.folder).map_err(failed(&installed.folder))?;
            gone.push(installed);
        }
        let parts = self.folder.join("parts");
        if parts.is_dir() {
            fs::remove_dir_all(&parts).map_err(failed(&parts))?;
        }
        Ok(gone)
    }
}

/// Is this file there, as the index says?
fn is(path: &Path, file: &File) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() == file.size)
        && sum(path).is_ok_and(|sum| sum == file.sha256)
}

fn make(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).map_err(|e| {
        Error::new(format!("the folder can't be made: {e}"), folder.display(), "see that its parent is yours")
    })?;
    Ok(folder.to_owned())
}

/// Whole, or as it was.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    let put = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        io::Write::write_all(&mut file, bytes)?;
        file.persist(path)?;
        Ok(())
    };
    put().map_err(|e: io::Error| Error::new(format!("it can't be written: {e}"), path.display(), "make room"))
}
