//! What an open file or directory can do, but for its streams (file.rs, entries.rs).
//!
//! Names are walked by `lunette_hostcalls::path`; this file says what the end of the way means for each function.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use lunette_hostcalls::{
    Errno, FileKind, Files, Nanos, NewNode, Node, Preopen, Stat,
    path::{self, Place},
};

use crate::p3::{
    bindings::wasi::filesystem::types::{
        DescriptorFlags, DescriptorStat, DescriptorType, MetadataHashValue, NewTimestamp, OpenFlags,
    },
    clocks::{instant, nanos},
};

/// An open file or directory.
pub struct Descriptor {
    pub(super) held: Arc<Held>,
    directory: bool,
    pub(super) flags: DescriptorFlags,
}

/// A node that lives as long as this does, even when its last name goes.
pub(super) struct Held {
    pub(super) files: Arc<dyn Files>,
    pub(super) node: Node,
}

impl Held {
    fn new(files: &Arc<dyn Files>, node: Node) -> Self {
        files.retain(node);
        Self { files: files.clone(), node }
    }

    fn walk(&self, path: &str, follow: bool) -> Result<Place, Errno> {
        path::walk(&*self.files, self.node, path, follow)
    }

    fn create(&self, place: &Place, new: NewNode<'_>, now: Nanos) -> Result<Node, Errno> {
        if place.node.is_some() {
            return Err(Errno::Exist);
        }
        let name = free_name(place, matches!(new, NewNode::Directory))?;
        self.files.create(place.dir, name, new, now)
    }

    /// Do both belong to one file system, so that one call can take nodes of both?
    fn shares_files_with(&self, other: &Self) -> bool {
        core::ptr::addr_eq(Arc::as_ptr(&self.files), Arc::as_ptr(&other.files))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.files.release(self.node);
    }
}

impl Descriptor {
    pub(super) fn preopened(preopen: &Preopen) -> Self {
        let held = Held::new(&preopen.files, preopen.root);
        let mut flags = DescriptorFlags::READ;
        if held.files.writable(held.node) {
            flags |= DescriptorFlags::MUTATE_DIRECTORY;
        }
        Self { held: held.into(), directory: true, flags }
    }

    pub(super) fn flags(&self) -> DescriptorFlags {
        self.flags
    }

    /// The directory that names are looked for in.
    pub(super) fn directory(&self) -> Result<&Arc<Held>, Errno> {
        if self.directory { Ok(&self.held) } else { Err(Errno::Notdir) }
    }

    /// The file that is open for `access`; [`Errno::Badf`] for everything else.
    pub(super) fn file(&self, access: DescriptorFlags) -> Result<&Arc<Held>, Errno> {
        if self.directory || !self.flags.contains(access) { Err(Errno::Badf) } else { Ok(&self.held) }
    }

    pub(super) fn advise(&self, offset: u64, length: u64) -> Result<(), Errno> {
        self.file(DescriptorFlags::empty())?;
        // Taken note of by nobody: files are in memory.
        offset.checked_add(length).map(drop).ok_or(Errno::Inval)
    }

    /// Nothing is left to be done: what was written is in memory.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }

    pub(super) fn set_size(&self, size: u64, now: Nanos) -> Result<(), Errno> {
        let held = self.file(DescriptorFlags::WRITE)?;
        held.files.set_size(held.node, limited(size)?, now)
    }

    pub(super) fn set_times(
        &self,
        accessed: NewTimestamp,
        modified: NewTimestamp,
        now: Nanos,
    ) -> Result<(), Errno> {
        let (accessed, modified) = (time(accessed, now)?, time(modified, now)?);
        self.held.files.set_times(self.held.node, accessed, modified, now)
    }

    pub(super) fn set_times_at(
        &self,
        path: &str,
        follow: bool,
        accessed: NewTimestamp,
        modified: NewTimestamp,
        now: Nanos,
    ) -> Result<(), Errno> {
        let (accessed, modified) = (time(accessed, now)?, time(modified, now)?);
        let held = self.directory()?;
        let node = held.walk(path, follow)?.existing()?;
        held.files.set_times(node, accessed, modified, now)
    }

    pub(super) fn stat(&self) -> Result<DescriptorStat, Errno> {
        Ok(told(&self.held.files.stat(self.held.node)?))
    }

    pub(super) fn stat_at(&self, path: &str, follow: bool) -> Result<DescriptorStat, Errno> {
        Ok(told(&self.look(path, follow)?))
    }

    fn look(&self, path: &str, follow: bool) -> Result<Stat, Errno> {
        let held = self.directory()?;
        held.files.stat(held.walk(path, follow)?.existing()?)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        let identity = |held: &Held| held.files.stat(held.node).ok().map(|stat| (stat.device, stat.inode));
        let this = identity(&self.held);
        this.is_some() && this == identity(&other.held)
    }

    pub(super) fn metadata_hash(&self) -> Result<MetadataHashValue, Errno> {
        Ok(hash(&self.held.files.stat(self.held.node)?))
    }

    pub(super) fn metadata_hash_at(&self, path: &str, follow: bool) -> Result<MetadataHashValue, Errno> {
        Ok(hash(&self.look(path, follow)?))
    }

    /// Opens a file or directory, or makes a file. Who makes one or cuts it off may write it; who does not ask to write may
    /// read.
    pub(super) fn open(
        &self,
        path: &str,
        follow: bool,
        how: OpenFlags,
        flags: DescriptorFlags,
        now: Nanos,
    ) -> Result<Self, Errno> {
        let held = self.directory()?;
        let (create, truncate) = (how.contains(OpenFlags::CREATE), how.contains(OpenFlags::TRUNCATE));
        let exclusive = how.contains(OpenFlags::EXCLUSIVE);
        let directory = how.contains(OpenFlags::DIRECTORY);
        if directory && (create || exclusive || truncate) {
            return Err(Errno::Inval);
        }
        // A name that has to be new is not followed, not even to nowhere.
        let place = held.walk(path, follow && !(create && exclusive))?;
        let write = flags.contains(DescriptorFlags::WRITE);
        let (node, kind) = match place.node {
            Some(_) if create && exclusive => return Err(Errno::Exist),
            Some(node) => (node, held.files.stat(node)?.kind),
            // A name that ends in `/` can only be a directory, and this makes files.
            None if create && place.trailing_slash => return Err(Errno::Isdir),
            None if create => (held.create(&place, NewNode::File, now)?, FileKind::File),
            None => return Err(Errno::Noent),
        };
        let writable = held.files.writable(node);
        match kind {
            FileKind::Symlink if directory => return Err(Errno::Notdir),
            FileKind::Symlink => return Err(Errno::Loop),
            FileKind::File if directory => return Err(Errno::Notdir),
            FileKind::Directory if write || create || truncate => return Err(Errno::Isdir),
            FileKind::Directory if flags.contains(DescriptorFlags::MUTATE_DIRECTORY) && !writable => {
                return Err(Errno::Rofs);
            }
            FileKind::File if write && !writable => return Err(Errno::Rofs),
            FileKind::File if truncate => held.files.set_size(node, 0, now)?,
            FileKind::File | FileKind::Directory => {}
        }
        let directory = kind == FileKind::Directory;
        let mut given = if directory { flags } else { flags & !DescriptorFlags::MUTATE_DIRECTORY };
        if !write {
            given |= DescriptorFlags::READ;
        }
        if (create || truncate) && writable {
            given |= DescriptorFlags::WRITE;
        }
        Ok(Self { held: Held::new(&held.files, node).into(), directory, flags: given })
    }

    /// `/` at the end of its name is fine.
    pub(super) fn create_directory(&self, path: &str, now: Nanos) -> Result<(), Errno> {
        let held = self.directory()?;
        let place = held.walk(without_slashes(path), false)?;
        held.create(&place, NewNode::Directory, now).map(drop)
    }

    pub(super) fn link(
        &self,
        path: &str,
        follow: bool,
        new: &Self,
        new_path: &str,
        now: Nanos,
    ) -> Result<(), Errno> {
        let (from, to) = (self.directory()?, new.directory()?);
        if follow {
            return Err(Errno::Inval);
        }
        let node = from.walk(path, false)?.existing()?;
        let place = to.walk(new_path, false)?;
        if place.node.is_some() {
            return Err(Errno::Exist);
        }
        let name = free_name(&place, false)?;
        if from.files.stat(node)?.kind == FileKind::Directory {
            return Err(Errno::Perm);
        }
        if !from.shares_files_with(to) {
            return Err(Errno::Xdev);
        }
        to.files.link(node, place.dir, name, now)
    }

    pub(super) fn read_link(&self, path: &str) -> Result<String, Errno> {
        let held = self.directory()?;
        let target = held.files.read_link(held.walk(path, false)?.existing()?)?;
        if target.starts_with('/') { Err(Errno::Perm) } else { Ok(target) }
    }

    /// `/` at the end of its name is fine.
    pub(super) fn remove_directory(&self, path: &str, now: Nanos) -> Result<(), Errno> {
        let held = self.directory()?;
        let place = held.walk(without_slashes(path), false)?;
        place.existing()?;
        let name = place.name.as_deref().ok_or(Errno::Inval)?;
        held.files.remove_directory(place.dir, name, now)
    }

    /// `/` at the end of either name asks for a directory to be moved. A link is moved itself.
    pub(super) fn rename(&self, path: &str, new: &Self, new_path: &str, now: Nanos) -> Result<(), Errno> {
        let (old_held, new_held) = (self.directory()?, new.directory()?);
        let needs_directory = path.ends_with('/') || new_path.ends_with('/');
        let from = old_held.walk(without_slashes(path), false)?;
        let to = new_held.walk(without_slashes(new_path), false)?;
        let node = from.existing()?;
        let (Some(old), Some(new)) = (&from.name, &to.name) else { return Err(Errno::Busy) };
        if needs_directory && old_held.files.stat(node)?.kind != FileKind::Directory {
            return Err(Errno::Notdir);
        }
        if !old_held.shares_files_with(new_held) {
            return Err(Errno::Xdev);
        }
        old_held.files.rename(from.dir, old, to.dir, new, now)
    }

    /// Where a link leads is checked when it is walked; only an absolute one is refused at once.
    pub(super) fn symlink(&self, target: &str, path: &str, now: Nanos) -> Result<(), Errno> {
        let held = self.directory()?;
        if target.starts_with('/') {
            return Err(Errno::Perm);
        }
        if target.is_empty() {
            return Err(Errno::Noent);
        }
        if target.contains('\0') {
            return Err(Errno::Inval);
        }
        let place = held.walk(path, false)?;
        held.create(&place, NewNode::Symlink(target), now).map(drop)
    }

    pub(super) fn unlink(&self, path: &str, now: Nanos) -> Result<(), Errno> {
        let held = self.directory()?;
        let place = held.walk(path, false)?;
        place.existing()?;
        let name = place.name.as_deref().ok_or(Errno::Isdir)?;
        held.files.unlink(place.dir, name, now)
    }
}

/// An offset or a size: [`Errno::Inval`] past what POSIX can say.
pub(super) fn limited(size: u64) -> Result<u64, Errno> {
    i64::try_from(size).map(|_| size).map_err(|_| Errno::Inval)
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

fn time(new: NewTimestamp, now: Nanos) -> Result<Option<Nanos>, Errno> {
    match new {
        NewTimestamp::NoChange => Ok(None),
        NewTimestamp::Now => Ok(Some(now)),
        NewTimestamp::Timestamp(at) => nanos(at).map(Some).ok_or(Errno::Overflow),
    }
}

pub(super) fn kind(kind: FileKind) -> DescriptorType {
    match kind {
        FileKind::Directory => DescriptorType::Directory,
        FileKind::File => DescriptorType::RegularFile,
        FileKind::Symlink => DescriptorType::SymbolicLink,
    }
}

fn told(stat: &Stat) -> DescriptorStat {
    DescriptorStat {
        type_: kind(stat.kind),
        link_count: stat.links,
        size: stat.size,
        data_access_timestamp: Some(instant(stat.accessed)),
        data_modification_timestamp: Some(instant(stat.modified)),
        status_change_timestamp: Some(instant(stat.changed)),
    }
}

/// Of what changes when a file is changed or replaced, and not when it is read.
fn hash(stat: &Stat) -> MetadataHashValue {
    let half = |which: u8| {
        let mut hasher = DefaultHasher::new();
        (which, stat.device, stat.inode, stat.size, stat.modified).hash(&mut hasher);
        hasher.finish()
    };
    MetadataHashValue { lower: half(0), upper: half(1) }
}
