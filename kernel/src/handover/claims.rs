//! What may be read of what a loader names.

use core::{fmt, ops::Range};

use super::Regions;
use crate::acpi::Physical;

/// Memory as it was handed over, and where in it nothing of the loader's can be.
pub struct Claims<'m> {
    pub memory: &'m dyn Physical,
    /// The kernel itself.
    pub image: Range<u64>,
    /// What boot maps ends here.
    pub end: u64,
}

/// Why a loader is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    OutOfReach {
        what: &'static str,
        at: u64,
        length: u64,
    },
    InTheKernel {
        what: &'static str,
        at: u64,
        length: u64,
        image: Range<u64>,
    },
    TooLong {
        what: &'static str,
        at: u64,
        most: u64,
    },
    /// Nothing of the protocol's is there.
    Unmarked {
        what: &'static str,
        at: u64,
    },
    /// So many bytes or entries.
    Size {
        what: &'static str,
        size: u64,
    },
    Tag {
        kind: u32,
        length: u64,
    },
    NoMemory {
        at: u64,
        length: u64,
    },
    NoPage {
        at: u64,
    },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfReach { what, at, length } => {
                write!(f, "{what} at {at:#x}, {length} bytes: only the first 4 GiB can be read")
            }
            Self::InTheKernel { what, at, length, image: Range { start, end } } => {
                write!(f, "{what} at {at:#x}, {length} bytes: there is the kernel ({start:#x} to {end:#x})")
            }
            Self::TooLong { what, at, most } => write!(f, "{what} at {at:#x}: it has more than {most} bytes"),
            Self::Unmarked { what, at } => write!(f, "{what} at {at:#x}: without magic number or memory map"),
            Self::Size { what, size } => write!(f, "{what}: {size} of them can't be"),
            Self::Tag { kind, length } => write!(f, "a Multiboot2 tag of type {kind} and {length} bytes"),
            Self::NoMemory { at, length } => {
                write!(f, "the bundle at {at:#x}, {length} bytes: there is no memory")
            }
            Self::NoPage { at } => write!(f, "the bundle at {at:#x}: it has to begin with a page (4 KiB)"),
        }
    }
}

impl<'m> Claims<'m> {
    /// The bytes that are said to be at an address.
    pub fn bytes(&self, what: &'static str, at: u64, length: u64) -> Result<&'m [u8], Wrong> {
        self.check(what, at, length)?;
        let bytes = usize::try_from(length).ok().and_then(|length| self.memory.bytes(at, length));
        bytes.ok_or(Wrong::OutOfReach { what, at, length })
    }

    /// Can something be there?
    fn check(&self, what: &'static str, at: u64, length: u64) -> Result<(), Wrong> {
        let end = at.saturating_add(length);
        if at == 0 || end > self.end {
            return Err(Wrong::OutOfReach { what, at, length });
        }
        if at < self.image.end && self.image.start < end {
            return Err(Wrong::InTheKernel { what, at, length, image: self.image.clone() });
        }
        Ok(())
    }

    /// A text that ends with NUL, after `most` bytes at the latest: what is beyond that may matter (a demand for signatures), so
    /// it is not cut. None is the empty one.
    pub(super) fn text(&self, what: &'static str, at: u64, most: u64) -> Result<&'m [u8], Wrong> {
        if at == 0 {
            return Ok(&[]);
        }
        let end = if at < self.image.start { self.image.start } else { self.end };
        let most = most.min(end.saturating_sub(at));
        let bytes = self.bytes(what, at, most)?;
        let end = bytes.iter().position(|byte| *byte == 0).ok_or(Wrong::TooLong { what, at, most })?;
        Ok(&bytes[..end])
    }

    /// The bundle, which has to lie in memory, and not where the kernel is. Nothing is none.
    pub(super) fn payload(
        &self,
        at: u64,
        length: u64,
        memory: &Regions,
    ) -> Result<Option<Range<u64>>, Wrong> {
        if length == 0 {
            return Ok(None);
        }
        let end = at.checked_add(length).ok_or(Wrong::NoMemory { at, length })?;
        if !memory.iter().any(|range| range.start <= at && end <= range.end) {
            return Err(Wrong::NoMemory { at, length });
        }
        if !at.is_multiple_of(4096) {
            return Err(Wrong::NoPage { at });
        }
        if at != 0 {
            self.check("the bundle", at, length)?;
        }
        Ok(Some(at..end))
    }
}
