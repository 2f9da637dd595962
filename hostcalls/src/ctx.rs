//! Everything one guest may do.

use alloc::{string::String, sync::Arc, vec::Vec};

use crate::{Clock, Files, Network, Node, Random, Stdio, TcpListener};

/// A guest's world: what is not in here does not exist for it. Made once, by whoever starts the guest,
/// from the manifest and the launch; a runtime only reads it.
#[derive(Clone)]
pub struct Ctx {
    /// What to call this guest in messages.
    pub name: String,
    /// `args[0]` is the program's name.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub stdio: Arc<dyn Stdio>,
    /// In the order in which the guest finds them (WASI preview 1: descriptor 3 and up).
    pub preopens: Vec<Preopen>,
    /// What it may listen on, connect to and ask for.
    pub network: Network,
    /// Sockets that listen already, in the order of the manifest's `network.listen` (WASI preview 1: descriptor 3
    /// and up, before the directories).
    pub listeners: Vec<Listening>,
}

/// A socket that listens, given to a guest.
#[derive(Clone)]
pub struct Listening {
    /// The grant that it comes from, as the manifest has it: `80`, `[::1]:8080`.
    pub name: String,
    pub socket: Arc<dyn TcpListener>,
}

/// A directory that a guest is given. Nothing outside of it can be reached through it.
#[derive(Clone)]
pub struct Preopen {
    /// The guest's name for it, to the letter: `/`, `/tmp`, `data`.
    pub name: String,
    pub files: Arc<dyn Files>,
    pub root: Node,
}
