//! The contract in the middle: what a guest can do ([`Ctx`] and the services in it), and what a host
//! can ask of a guest ([`Guest`]).
//!
//! Promises: no pointers, no engine types, no unsafe, no operating system. Hosts (the kernel, the
//! `fake` world, a developer's own machine) implement the small service traits; runtimes (wasm, Lua)
//! speak them. Hosts and runtimes never meet elsewhere.
//!
//! Rules that hold for every service:
//! - **A service never blocks.** What can't be done now answers [`Errno::Again`]; the guest then hands
//!   its host a [`Wait`] and is stepped again once that is due.
//! - **[`Errno`] is told to the guest, [`Trap`] ends it.** Nothing a guest asks for may panic.
//! - **Time is an argument** wherever an operation depends on it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod ctx;
mod errno;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod farewell;
mod files;
pub mod grants;
mod guest;
mod net;
mod network;
pub mod path;
pub mod profile;
pub mod ramfs;
mod services;
pub mod task;

pub use ctx::{Ctx, Listening, Preopen};
pub use errno::Errno;
pub use files::{DirEntry, FileKind, Files, NewNode, Node, Stat};
pub use grants::Grants;
pub use guest::{CodeFrame, Ending, Guest, Limit, Step, Trap, TrapKind, Wait};
pub use net::{Interest, Lookup, Net, Shutdown, Source, TcpListener, TcpStream, UdpSocket};
pub use network::Network;
pub use ramfs::{BuildError, BuildProblem, MountId, RamFs};
pub use services::{Clock, Log, Nanos, Random, Ready, Stdio, Stream, Versions};
