//! Open files and directories, and what is done with names: the same for every version of WASI.
//!
//! Promises: what is open lives, even when its last name goes; no path leads out of the directory that it begins at
//! (`lunette_hostcalls::path`); what is asked for is checked before anything is changed.
//!
//! Does not: know resources, streams or error codes.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use lunette_hostcalls::{
    Clock, Errno, FileKind, Files, Nanos, NewNode, Node, Stat,
    path::{self, Place},
};

/// A node that lives as long as this does.
pub(crate) struct Held {
    files: Arc<dyn Files>,
    node: Node,
}

/// What a name is opened for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Open {
    pub(crate) follow: bool,
    pub(crate) create: bool,
    pub(crate) directory: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    pub(crate) write: bool,
}

impl Clone for Held {
    fn clone(&self) -> Self {
        Self::new(&self.files, self.node)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.files.release(self.node);
    }
}

/// The date, for what is written down: the epoch where the host doesn't know it.
pub(crate) fn now(clock: &dyn Clock) -> Nanos {
    clock.wall().unwrap_or(0)
}

impl Held {
    pub(crate) fn new(files: &Arc<dyn Files>, node: Node) -> Self {
        files.retain(node);
        Self { files: Arc::clone(files), node }
    }

    pub(crate) fn stat(&self) -> Result<Stat, Errno> {
        self.files.stat(self.node)
    }

    pub(crate) fn writable(&self) -> bool {
        self.files.writable(self.node)
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.node == other.node && self.shares_files_with(other)
    }

    /// Do both belong to one file system, so that one call can take nodes of both?
    fn shares_files_with(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.files), Arc::as_ptr(&other.files))
    }

    /// At most `most` bytes from `offset` on; none: the end.
    pub(crate) fn read(&self, offset: u64, most: usize) -> Result<Vec<u8>, Errno> {
        let left = usize::try_from(self.stat()?.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; most.min(left)];
        let read = self.files.read_at(self.node, offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// The same straight into `buf`.
    pub(crate) fn read_into(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        self.files.read_at(self.node, offset, buf)
    }

    /// As much of it as there is space for; an error if that is nothing.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8], now: Nanos) -> Result<usize, Errno> {
        offset.checked_add(bytes.len() as u64).ok_or(Errno::Fbig)?;
        self.files.write_at(self.node, offset, bytes, now)
    }

    /// The entry after `cookie`, and the cookie behind it.
    pub(crate) fn entry_after(&self, cookie: u64) -> Result<Option<(FileKind, String, u64)>, Errno> {
        let entry = self.files.entry_after(self.node, cookie)?;
        Ok(entry.map(|entry| (entry.kind, entry.name, entry.cookie)))
    }

    pub(crate) fn set_size(&self, size: u64, now: Nanos) -> Result<(), Errno> {
        if i64::try_from(size).is_err() {
            return Err(Errno::Inval);
        }
        self.files.set_size(self.node, size, now)
    }

    /// `None` leaves a time as it is.
    pub(crate) fn set_times(
        &self,
        accessed: Option<Nanos>,
        modified: Option<Nanos>,
        now: Nanos,
    ) -> Result<(), Errno> {
        self.files.set_times(self.node, accessed, modified, now)
    }

    /// What tells it from every other node.
    pub(crate) fn identity(&self) -> Result<(u64, u64), Errno> {
        let stat = self.stat()?;
        let hash = |seed: u8| {
            let mut hasher = DefaultHasher::new();
            (seed, stat.device, stat.inode).hash(&mut hasher);
            hasher.finish()
        };
        Ok((hash(0), hash(1)))
    }

    // By name, from this directory.

    fn walk(&self, path: &str, follow: bool) -> Result<Place, Errno> {
        path::walk(&*self.files, self.node, path, follow)
    }

    /// What a path leads to; a link itself unless it is to be followed.
    pub(crate) fn at(&self, path: &str, follow: bool) -> Result<Self, Errno> {
        Ok(Self::new(&self.files, self.walk(path, follow)?.existing()?))
    }

    /// [`Errno::Noent`]; [`Errno::Exist`]; [`Errno::Isdir`]: to write a directory; [`Errno::Notdir`];
    /// [`Errno::Loop`]: a link that is not to be followed; [`Errno::Inval`]: what means nothing together; [`Errno::Rofs`].
    pub(crate) fn open(&self, path: &str, how: Open, now: Nanos) -> Result<(Self, FileKind), Errno> {
        let Open { follow, create, directory, exclusive, truncate, write } = how;
        if directory && (create || exclusive || truncate) {
            return Err(Errno::Inval);
        }
        // A name that has to be new is not followed, not even to nowhere.
        let place = self.walk(path, follow && !(create && exclusive))?;
        let (node, kind) = match place.node {
            Some(_) if create && exclusive => return Err(Errno::Exist),
            Some(node) => (node, self.files.stat(node)?.kind),
            // A name that ends in `/` can only be a directory, and this makes files.
            None if create && place.trailing_slash => return Err(Errno::Isdir),
            None if create => (self.create(&place, NewNode::File, now)?, FileKind::File),
            None => return Err(Errno::Noent),
        };
        match kind {
            FileKind::Symlink if directory => return Err(Errno::Notdir),
            FileKind::Symlink => return Err(Errno::Loop),
            FileKind::File if directory => return Err(Errno::Notdir),
            FileKind::Directory if write || create || truncate => return Err(Errno::Isdir),
            FileKind::File if write && !self.files.writable(node) => return Err(Errno::Rofs),
            FileKind::File if truncate => self.files.set_size(node, 0, now)?,
            FileKind::File | FileKind::Directory => {}
        }
        Ok((Self::new(&self.files, node), kind))
    }

    /// `/` at the end of its name is fine.
    pub(crate) fn create_directory(&self, path: &str, now: Nanos) -> Result<(), Errno> {
        let place = self.walk(without_slashes(path), false)?;
        self.create(&place, NewNode::Directory, now).map(drop)
    }

    /// Where a link leads is checked when it is walked; only an absolute one is refused at once, as in wasmtime.
    pub(crate) fn symlink(&self, target: &str, path: &str, now: Nanos) -> Result<(), Errno> {
        match target {
            _ if target.starts_with('/') => return Err(Errno::Perm),
            "" => return Err(Errno::Noent),
            _ if target.contains('\0') => return Err(Errno::Inval),
            _ => {}
        }
        let place = self.walk(path, false)?;
        self.create(&place, NewNode::Symlink(target), now).map(drop)
    }

    fn create(&self, place: &Place, new: NewNode<'_>, now: Nanos) -> Result<Node, Errno> {
        if place.node.is_some() {
            return Err(Errno::Exist);
        }
        let name = free_name(place, matches!(new, NewNode::Directory))?;
        self.files.create(place.dir, name, new, now)
    }

    /// Gives a file, or a link itself, a second name.
    pub(crate) fn link(&self, old: &str, to: &Self, new: &str, now: Nanos) -> Result<(), Errno> {
        let node = self.walk(old, false)?.existing()?;
        let place = to.walk(new, false)?;
        if place.node.is_some() {
            return Err(Errno::Exist);
        }
        let name = free_name(&place, false)?;
        if self.files.stat(node)?.kind == FileKind::Directory {
            return Err(Errno::Perm);
        }
        if !self.shares_files_with(to) {
            return Err(Errno::Xdev);
        }
        to.files.link(node, place.dir, name, now)
    }

    pub(crate) fn read_link(&self, path: &str) -> Result<String, Errno> {
        self.files.read_link(self.walk(path, false)?.existing()?)
    }

    pub(crate) fn remove_directory(&self, path: &str, now: Nanos) -> Result<(), Errno> {
        let place = self.walk(without_slashes(path), false)?;
        place.existing()?;
        let name = place.name.as_deref().ok_or(Errno::Inval)?;
        self.files.remove_directory(place.dir, name, now)
    }

    /// Removes the name of a file or link.
    pub(crate) fn unlink(&self, path: &str, now: Nanos) -> Result<(), Errno> {
        let place = self.walk(path, false)?;
        place.existing()?;
        let name = place.name.as_deref().ok_or(Errno::Isdir)?;
        self.files.unlink(place.dir, name, now)
    }

    /// Replaces what is there. `/` at the end of either name asks for a directory to be moved.
    pub(crate) fn rename(&self, old: &str, to: &Self, new: &str, now: Nanos) -> Result<(), Errno> {
        let needs_directory = old.ends_with('/') || new.ends_with('/');
        // A link is moved itself, also where a `/` after it would have it followed.
        let from = self.walk(without_slashes(old), false)?;
        let place = to.walk(without_slashes(new), false)?;
        let node = from.existing()?;
        let (Some(old), Some(new)) = (&from.name, &place.name) else { return Err(Errno::Busy) };
        if needs_directory && self.files.stat(node)?.kind != FileKind::Directory {
            return Err(Errno::Notdir);
        }
        if !self.shares_files_with(to) {
            return Err(Errno::Xdev);
        }
        self.files.rename(from.dir, old, place.dir, new, now)
    }
}

/// The path without `/` at its end, for what makes or takes away a directory by its name. `/` itself stays.
fn without_slashes(path: &str) -> &str {
    let short = path.trim_end_matches('/');
    if short.is_empty() { path } else { short }
}

/// The name at the end of a path for something new. With a `/` behind it, it can only be a directory's.
fn free_name(place: &Place, directory: bool) -> Result<&str, Errno> {
    let name = place.name.as_deref().ok_or(Errno::Exist)?;
    if place.trailing_slash && !directory { Err(Errno::Noent) } else { Ok(name) }
}
