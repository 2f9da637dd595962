//! Releases: an index that is signed, files that it names, and a folder of those that were pulled.
//!
//! ```text
//! stream-stable.json            the index ([`Index`]), and its signature
//! stream-stable.json.minisig
//! lunette-0.1.0-x86_64-wasm.elf what it names: each by size and SHA-256, beside it
//! ```
//!
//! Whoever has these in a folder, or serves them by HTTP, is a source ([`Source`]); nobody has to trust it, for the index is signed
//! and has the sum of all else. What was pulled lies in a [`Store`], a folder a version, with the index that it was checked by.
//!
//! What an image or a loader is by itself, wherever it lies, its seal says ([`seal`]).
//!
//! Promises: nothing of an index is used before its signature was checked, and nothing of a file before its sum was; an index
//! that is older than one seen before, or past its time, is refused; what a source sends beyond what the index says is not read;
//! a download that was cut short goes on where it stopped. Does not: know what is in a file, retry by itself, or throw away what
//! nobody asked it to.
#![forbid(unsafe_code)]

mod index;
pub mod seal;
mod source;
mod store;

use std::fmt;

pub use index::{Architecture, Artifact, File, Index, SCHEMA, index_name};
pub use source::Source;
pub use store::{Installed, Store};

/// What went wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub what: String,
    pub place: String,
    pub help: String,
}

impl Error {
    fn new(what: impl Into<String>, place: impl fmt::Display, help: impl Into<String>) -> Self {
        Self { what: what.into(), place: place.to_string(), help: help.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}); help: {}", self.what, self.place, self.help)
    }
}

impl std::error::Error for Error {}

type Result<T> = std::result::Result<T, Error>;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
