//! What a loader hands over, in three protocols: read, and looked at before it is believed.
//!
//! Promises: nothing is read but what [`Claims`] allows; a claim that can't be true is told in words with its numbers
//! ([`Wrong`]); nothing is allocated, for there is no heap yet. Does not: touch memory by itself (`boot` does), know whether
//! somebody else wrote there since.

mod claims;
pub mod linux64;
pub mod multiboot2;
pub mod pvh;
mod regions;

use core::ops::Range;

pub use claims::{Claims, Wrong};
pub use regions::Regions;

use crate::acpi::Rsdp;

/// The longest command line. A longer one is refused.
pub const LONGEST_CMDLINE: u64 = 4096;

/// What a loader says, whatever its protocol.
pub struct Handed<'m> {
    pub cmdline: &'m [u8],
    /// Where the bundle is, if there is one: in memory, from a page's start on.
    pub payload: Option<Range<u64>>,
    /// Usable memory: whole pages, each once.
    pub memory: Regions,
    /// Where ACPI's tables begin, if it is said.
    pub rsdp: Option<Rsdp>,
}

/// A number at an offset; 0 where the bytes end before it.
fn long(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn wide(bytes: &[u8], at: usize) -> u64 {
    u64::from(long(bytes, at)) | u64::from(long(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests;
