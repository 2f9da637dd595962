//! Disks that boot: the kernel, its command line, a bundle and the loaders as one raw image, and back.
//!
//! ```text
//! 0        the master boot record, which protects the table, and begins the BIOS' loader
//! 512      the GUID partition table (its copy is in the last 33 sectors)
//! 17408    partition 2, "BIOS boot": the record of what is where (kernel/loader/src/record.rs), the BIOS' loader
//! 1 MiB    partition 1, the EFI system partition, FAT16: EFI/BOOT/BOOTX64.EFI, lunette/{disk,kernel.elf,cmdline.txt,app.bundle}
//! ```
//!
//! A hybrid ISO has in addition, from 32 KiB on, what makes it a CD, and the record behind that, at 64 KiB.
//!
//! The kernel and the bundle are there once. A BIOS' loader finds them by the record, for each file lies in one piece;
//! UEFI's by their names.
//!
//! Promises: the same parts give the same bytes; no root, no loop mounts; what is read from a disk is checked, part by part
//! ([`read`]) or to the last byte ([`verify`]). Does not: convert to other formats, sign, know what a bundle is.
#![forbid(unsafe_code)]

mod fat;
mod iso;
mod raw;
mod read;

use std::{
    fmt,
    io::{self, Read, Seek, Write},
};

pub use raw::{iso, least, raw};
pub use read::{Held, read, verify};

/// What goes on a disk.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The ELF file.
    pub kernel: &'a [u8],
    /// The kernel's, at most 4095 bytes, without NUL.
    pub cmdline: &'a str,
    /// Without one the loaders refuse to boot.
    pub bundle: Option<&'a [u8]>,
    /// The loaders: `lunette.bios` and `lunette.efi`, as `cargo xtask image` puts them beside the image.
    pub bios: Option<&'a [u8]>,
    pub uefi: Option<&'a [u8]>,
}

/// What a disk is written to or read from: a file, or a [`std::io::Cursor`].
pub trait Disk: Read + Write + Seek + fmt::Debug {}
impl<D: Read + Write + Seek + fmt::Debug> Disk for D {}

/// What went wrong, and what to do about it.
#[derive(Debug)]
pub enum Error {
    /// The parts need more than was asked for.
    TooSmall {
        asked: u64,
        needed: u64,
    },
    /// It is no multiple of 512.
    UnevenSize(u64),
    /// A part that no disk can hold.
    Part(String),
    /// This is no disk of ours, or it is damaged.
    Damaged(String),
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { asked, needed } => {
                write!(f, "a disk of {asked} bytes is too small: its parts need {needed}")
            }
            Self::UnevenSize(asked) => {
                write!(f, "a disk of {asked} bytes: the size has to be a multiple of 512")
            }
            Self::Part(what) | Self::Damaged(what) => f.write_str(what),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Io(error) = self { Some(error) } else { None }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

const SECTOR: u64 = 512;
