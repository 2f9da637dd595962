//! The box an app travels in, its manifest, and what a launch adds.
//!
//! Promises: reading never panics, copies no file data and believes nothing; every error names the
//! entry, the byte and the remedy. The same inputs give the same bytes. Does not: judge the module
//! (`lunette-wasm` does), walk symbolic links, compress, sign or check signatures (`lunette-signature` does).
//!
//! # The format
//!
//! A bundle is an uncompressed POSIX tar (ustar, with pax headers where needed), which `tar tf` lists and
//! `tar xf` opens. All offsets count from its first byte, and all of it is a multiple of 4 KiB:
//!
//! ```text
//! offset   what
//! 0        header  lunette.toml                 the manifest, always first
//! 512      data    …                            padded with zeros to 512
//!          ┌ for each folder, file and link, in the order below:
//!          │ pax header + records               only where needed: a long name (`path`), a long link
//!          │                                    target (`linkpath`), padding (`comment`)
//!          │ header                             ustar: name ≤ 100 bytes, mode 644 or 755, uid = gid = 0,
//!          │                                    one mtime for all, type '0' file, '5' folder, '2' link
//!          └ data    …                          padded with zeros to 512; the data of a file of 4 KiB or
//!                                               more, and of native code, begins at a multiple of 4 KiB
//!                                               (read in place)
//! h        header  .lunette/sha256              always last
//! h+512    data    64 hex digits, line feed     SHA-256 of the bytes 0..h
//! h+1024   zeros                                two blocks, then up to a multiple of 4 KiB
//! ```
//!
//! * **Order**: by the bytes of the path, `/` before all others; so each folder comes right before what
//!   is in it, and each folder is there. Nothing appears twice.
//! * **Names**: UTF-8, relative, no empty component, no `.` or `..`, no NUL, at most 255 bytes a component
//!   and 4,095 in all. A folder's name ends in `/` on the wire. The header's `prefix` is not used.
//! * **Reserved**: `.lunette/` is not shown to guests. `.lunette/mounts/N/` holds the files of the N-th
//!   `--dir`, `.lunette/tls/` those of `--tls`. `.lunette/native/MAIN.cwasm` is native code for the program MAIN, which stays where it is, and
//!   `.lunette/native/MAIN.txt` its label (`lunette-native` says what is in it).
//! * **Nothing else**: no hard links, devices, sparse files or other pax records.
//!
//! By hand: `head -c $h app.bundle | sha256sum`, where `tar tRf app.bundle` shows `h / 512` as the block
//! of `.lunette/sha256`.
//!
//! A [`Payload`] is a bundle, its signature and what a run adds; [`Plan`] makes one of both. [`manifest`] has the keys
//! of `lunette.toml`.
#![forbid(unsafe_code)]

mod engine;
mod error;
mod http;
mod keys;
pub mod manifest;
mod native;
mod plan;
mod read;
mod route;
mod tar;
mod units;
#[cfg(feature = "write")]
mod write;

pub use engine::Engine;
pub use error::{Error, HELP};
pub use http::{Http, HttpLimits, Tls};
pub use manifest::{GuestSpec, Launch, Manifest, MountSpec};
pub use native::Native;
pub use plan::{DEFAULT_TABLE_ELEMENTS, GuestPlan, Mount, Payload, Plan, Source};
pub use read::{Bundle, Entry, Kind, sha256_hex};
pub use route::{Route, Routes};
pub use units::{parse_duration, parse_size};
#[cfg(feature = "write")]
pub use write::{Writer, Written, attached};

/// What the manifest is called, in a bundle and in a folder.
pub const MANIFEST: &str = tar::MANIFEST;
/// Where the files of `--dir` mounts live: in numbered folders below this one.
pub const MOUNTS: &str = ".lunette/mounts";
/// Where a run puts the server's certificate and key, out of the guests' sight.
pub const TLS: &str = ".lunette/tls";
