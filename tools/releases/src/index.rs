//! The index of a stream of releases, in the shape of Fedora CoreOS's stream metadata: architectures, artifacts, formats, files.
//!
//! Promises: an [`Index`] that was opened was signed by a trusted key, is of a schema that is known, and names no file outside of
//! its own folder. Does not: say whether it is new enough; [`Index::fresh`] is asked with the time.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lunette_signature::{PublicKey, verify};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The one that we read and write.
pub const SCHEMA: u32 = 1;
/// No file of ours is larger.
const MAX_FILE: u64 = 1 << 30;

/// What a stream has to offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Index {
    pub schema: u32,
    pub stream: String,
    /// The release that it offers.
    pub version: String,
    /// Larger each time that the index changes: an older one is not taken for a newer one.
    pub serial: u64,
    /// When somebody must have made a new one, in RFC 3339: a source can't hide releases for ever.
    pub expires: String,
    /// The oldest command line that can use it.
    pub min_cli: String,
    pub architectures: BTreeMap<String, Architecture>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// By what they are: a variant of the image, the loaders, the command line.
    pub artifacts: BTreeMap<String, Artifact>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub release: String,
    /// What guests an image runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtimes: Vec<String>,
    /// For what hypervisors (the targets of `lunette image export`), if that matters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// By format, then by part: `elf` has a `kernel`.
    pub formats: BTreeMap<String, BTreeMap<String, File>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name, beside the index.
    pub location: String,
    pub size: u64,
    pub sha256: String,
    /// What it is called where it is installed; one without is not for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
}

/// What the index of a stream is called.
pub fn index_name(stream: &str) -> String {
    format!("stream-{stream}.json")
}

impl Index {
    /// Opens a signed index. `place` is named in errors.
    pub fn open(bytes: &[u8], signature: &[u8], keys: &[PublicKey], place: &str) -> Result<Self> {
        let wrong = |what: String, help: &str| Error::new(what, place, help);
        if keys.is_empty() {
            let help = "name whom you trust with --key; a released command line knows its own keys";
            return Err(wrong("nobody is trusted to sign it".into(), help));
        }
        verify(signature, bytes, keys).map_err(|fault| {
            let trusted: Vec<_> = keys.iter().map(|key| key.number().to_string()).collect();
            let help = format!("try another source, or see whom you trust: {}", trusted.join(", "));
            wrong(format!("the index {fault}"), &help)
        })?;
        // From here on it is the word of somebody trusted, who can be of another release.
        let unknown = |e: &dyn std::fmt::Display| {
            wrong(format!("the index can't be read: {e}"), "get a newer command line")
        };
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        let Schema { schema } = serde_json::from_slice(bytes).map_err(|e| unknown(&e))?;
        if schema != SCHEMA {
            return Err(unknown(&format_args!("it is of schema {schema}, and {SCHEMA} is known")));
        }
        let index: Self = serde_json::from_slice(bytes).map_err(|e| unknown(&e))?;
        index.check().map_err(|what| unknown(&what))?;
        Ok(index)
    }

    fn check(&self) -> std::result::Result<(), String> {
        for (what, name) in [("stream", &self.stream), ("version", &self.version)] {
            if !is_name(name) {
                return Err(format!("its {what}, {name:?}, is no name"));
            }
        }
        self.expiry()?;
        for file in self.files() {
            let File { location, size, sha256, install } = file;
            if !is_name(location) || !install.as_deref().is_none_or(is_name) {
                return Err(format!("{location:?} is no name of a file"));
            }
            if *size > MAX_FILE {
                return Err(format!("{location} has {size} bytes, more than {MAX_FILE}"));
            }
            if sha256.len() != 64 || !sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(format!("the SHA-256 of {location} is none"));
            }
        }
        Ok(())
    }

    /// All files that it names.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        let artifacts = self.architectures.values().flat_map(|all| all.artifacts.values());
        artifacts.flat_map(|artifact| artifact.formats.values()).flat_map(BTreeMap::values)
    }

    /// Refuses one that is past its time, or too new for a command line of this version.
    pub fn fresh(&self, now: SystemTime, cli: &str, place: &str) -> Result<()> {
        let expiry = self.expiry().map_err(|what| Error::new(what, place, "try another source"))?;
        if now > expiry {
            let what = format!("the index has expired: it was good until {}", self.expires);
            let help = "try another source, which is newer; see that this machine's clock is right";
            return Err(Error::new(what, place, help));
        }
        if numbers(cli) < numbers(&self.min_cli) {
            let what = format!(
                "the releases need a command line of version {} or later: this is {cli}",
                self.min_cli
            );
            return Err(Error::new(what, place, "get the new command line"));
        }
        Ok(())
    }

    fn expiry(&self) -> std::result::Result<SystemTime, String> {
        humantime::parse_rfc3339(&self.expires)
            .map_err(|e| format!("its time of expiry, {:?}, is none: {e}", self.expires))
    }

    /// As it is signed.
    pub fn to_json(&self) -> String {
        // Strings, numbers and maps of strings: nothing that JSON has not.
        format!("{}\n", serde_json::to_string_pretty(self).unwrap_or_default())
    }

    /// A time for `expires`: so many days after this one, in seconds since the Unix epoch.
    pub fn expiry_after(seconds: u64, days: u64) -> String {
        let time = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_secs(days * 24 * 60 * 60);
        humantime::format_rfc3339_seconds(time).to_string()
    }
}

/// A name of a file in one folder, which nobody has to quote.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
    (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) && text.bytes().all(plain)
}

/// A version, to be compared.
fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}
