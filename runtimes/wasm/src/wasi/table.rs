//! The descriptors of one guest: small numbers, the lowest free one first, as POSIX hands them out.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use lunette_hostcalls::{Errno, Files, Node, Stream, TcpListener, TcpStream};

use super::types::{Fdflags, Filetype, Rights};

/// How many descriptors a guest may have open; one more is [`Errno::Mfile`].
pub const MAX_DESCRIPTORS: usize = 65_536;

pub(super) struct Descriptor {
    pub(super) kind: Kind,
    pub(super) rights: Rights,
    pub(super) inheriting: Rights,
    pub(super) flags: Fdflags,
}

pub(super) enum Kind {
    Stdin,
    Output(Stream),
    File {
        held: Held,
        position: u64,
    },
    Directory {
        held: Held,
        /// The name it was given to the guest by, if it came with the guest.
        preopen: Option<Box<str>>,
    },
    Listener(Arc<dyn TcpListener>),
    Stream(Arc<dyn TcpStream>),
}

/// A node that lives as long as this does, even when its last name goes.
pub(super) struct Held {
    pub(super) files: Arc<dyn Files>,
    pub(super) node: Node,
}

impl Held {
    pub(super) fn new(files: &Arc<dyn Files>, node: Node) -> Self {
        files.retain(node);
        Self { files: Arc::clone(files), node }
    }

    /// Do both belong to one file system, so that one call can take nodes of both?
    pub(super) fn shares_files_with(&self, other: &Self) -> bool {
        core::ptr::addr_eq(Arc::as_ptr(&self.files), Arc::as_ptr(&other.files))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.files.release(self.node);
    }
}

impl Descriptor {
    /// [`Errno::Notcapable`] unless the descriptor has all of `rights`.
    pub(super) fn may(&self, rights: Rights) -> Result<(), Errno> {
        if self.rights.has(rights) { Ok(()) } else { Err(Errno::Notcapable) }
    }

    /// Reading or writing (`access`) is asked of what was opened for it; POSIX and wasmtime say [`Errno::Badf`] else.
    pub(super) fn open_for(&self, access: Rights) -> Result<(), Errno> {
        if self.rights.has(access) { Ok(()) } else { Err(Errno::Badf) }
    }

    pub(super) fn nonblocking(&self) -> bool {
        self.flags.has(Fdflags::NONBLOCK)
    }

    /// The node behind a file or directory; [`Errno::Badf`] for everything else.
    pub(super) fn held(&self) -> Result<&Held, Errno> {
        match &self.kind {
            Kind::File { held, .. } | Kind::Directory { held, .. } => Ok(held),
            _ => Err(Errno::Badf),
        }
    }

    /// The node behind a file; [`Errno::Badf`] for everything else.
    pub(super) fn file(&self) -> Result<&Held, Errno> {
        match &self.kind {
            Kind::File { held, .. } => Ok(held),
            _ => Err(Errno::Badf),
        }
    }

    /// The node behind a directory; [`Errno::Badf`] for everything else.
    pub(super) fn directory(&self) -> Result<&Held, Errno> {
        match &self.kind {
            Kind::Directory { held, .. } => Ok(held),
            _ => Err(Errno::Badf),
        }
    }

    pub(super) fn filetype(&self, terminal: bool) -> Filetype {
        match self.kind {
            Kind::File { .. } => Filetype::RegularFile,
            Kind::Directory { .. } => Filetype::Directory,
            Kind::Stdin | Kind::Output(_) if terminal => Filetype::CharacterDevice,
            Kind::Listener(_) | Kind::Stream(_) => Filetype::SocketStream,
            // Preview 1 has no number for a pipe.
            Kind::Stdin | Kind::Output(_) => Filetype::Unknown,
        }
    }
}

pub(super) struct Table {
    slots: Vec<Option<Descriptor>>,
    /// The slots that are empty, the lowest first: a server with many connections must not search for one.
    free: BinaryHeap<Reverse<u32>>,
}

impl Table {
    /// What a guest starts with, numbered from 0: not bound by [`MAX_DESCRIPTORS`].
    pub(super) fn new(descriptors: impl Iterator<Item = Descriptor>) -> Self {
        let slots: Vec<_> = descriptors.map(Some).collect();
        Self { slots, free: BinaryHeap::new() }
    }

    #[inline]
    pub(super) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.slots.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.slots.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::Badf)
    }

    /// The number that the next [`Table::insert`] will give; [`Errno::Mfile`] if there is none left.
    pub(super) fn room(&self) -> Result<u32, Errno> {
        let lowest = self.free.peek().map_or(self.slots.len() as u32, |Reverse(free)| *free);
        if (lowest as usize) < MAX_DESCRIPTORS { Ok(lowest) } else { Err(Errno::Mfile) }
    }

    pub(super) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let at = self.room()?;
        match self.slots.get_mut(at as usize) {
            Some(slot) => {
                self.free.pop();
                *slot = Some(descriptor);
            }
            None => self.slots.push(Some(descriptor)),
        }
        Ok(at)
    }

    pub(super) fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        let descriptor = self.slots.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::Badf)?;
        self.free.push(Reverse(fd));
        Ok(descriptor)
    }

    /// Gives `from` the number `to`, which is closed first. Both have to be open.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            let descriptor = self.remove(from)?;
            *self.get_mut(to)? = descriptor;
        }
        Ok(())
    }
}
