//! File systems, seen from below: nodes and names. Paths are [`crate::path`]'s business, descriptors
//! and rights the runtimes'.
//!
//! A [`Node`] is a number that means something only to the file system that gave it. Names are single
//! components: never empty, never `.` or `..`, no `/`, no NUL; callers (that is, `path`) see to it.
//! An implementation may answer [`Errno::Inval`] for a name that breaks this, never panic.

use alloc::string::String;

use crate::{Errno, Nanos};

/// A file, directory or symbolic link of one file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Directory,
    File,
    Symlink,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which device: differs between mounts.
    pub device: u64,
    pub inode: u64,
    pub kind: FileKind,
    pub links: u64,
    /// Bytes in a file, bytes in a link's target, 0 for a directory.
    pub size: u64,
    pub accessed: Nanos,
    pub modified: Nanos,
    pub changed: Nanos,
}

/// What [`Files::create`] is to make.
#[derive(Clone, Copy, Debug)]
pub enum NewNode<'a> {
    File,
    Directory,
    /// A link with this text, whatever it says: checked when it is walked, not when it is made.
    Symlink(&'a str),
}

/// One entry of a directory. `.` and `..` are not listed: who wants them adds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub node: Node,
    pub kind: FileKind,
    /// Hand this to [`Files::entry_after`] to get the next one.
    pub cookie: u64,
}

/// A file system. Every change carries the time it happens at.
///
/// Errors that all calls share: [`Errno::Badf`] for a node that is no more, [`Errno::Notdir`] where a
/// directory is needed, [`Errno::Rofs`] for a change to a read-only mount, [`Errno::Io`].
pub trait Files: Send + Sync {
    fn stat(&self, node: Node) -> Result<Stat, Errno>;
    /// [`Errno::Noent`] if the directory has no such name; [`Errno::Notcapable`] if nothing could be there, because
    /// nothing was granted. Links are not followed.
    fn lookup(&self, dir: Node, name: &str) -> Result<Node, Errno>;
    /// [`Errno::Exist`] if the name is taken, [`Errno::Nametoolong`] over 255 bytes, [`Errno::Nospc`].
    fn create(&self, dir: Node, name: &str, new: NewNode<'_>, now: Nanos) -> Result<Node, Errno>;
    /// A second name for a file (or link; not a directory: [`Errno::Perm`]). [`Errno::Xdev`] across mounts.
    fn link(&self, node: Node, dir: Node, name: &str, now: Nanos) -> Result<(), Errno>;
    /// Removes the name of a file or link; [`Errno::Isdir`] for a directory. Open nodes live on.
    fn unlink(&self, dir: Node, name: &str, now: Nanos) -> Result<(), Errno>;
    /// [`Errno::Notempty`], [`Errno::Notdir`]; [`Errno::Busy`] for a mount's root.
    fn remove_directory(&self, dir: Node, name: &str, now: Nanos) -> Result<(), Errno>;
    /// POSIX `rename`: replaces a file by a file, an empty directory by a directory; [`Errno::Isdir`],
    /// [`Errno::Notdir`], [`Errno::Notempty`]; [`Errno::Inval`] to move a directory below itself;
    /// [`Errno::Xdev`] across mounts; nothing to do if both names are links to one node.
    fn rename(&self, from: Node, old: &str, to: Node, new: &str, now: Nanos) -> Result<(), Errno>;
    /// [`Errno::Inval`] if it is no symbolic link.
    fn read_link(&self, node: Node) -> Result<String, Errno>;
    /// `Ok(0)` at or past the end; [`Errno::Isdir`].
    fn read_at(&self, node: Node, offset: u64, buf: &mut [u8]) -> Result<usize, Errno>;
    /// Writes some of `buf` (all of it unless space runs out midway) and says how much; a hole before
    /// `offset` reads as zeros. [`Errno::Nospc`], [`Errno::Fbig`].
    fn write_at(&self, node: Node, offset: u64, buf: &[u8], now: Nanos) -> Result<usize, Errno>;
    fn set_size(&self, node: Node, size: u64, now: Nanos) -> Result<(), Errno>;
    /// `None` leaves a time as it is.
    fn set_times(
        &self,
        node: Node,
        accessed: Option<Nanos>,
        modified: Option<Nanos>,
        now: Nanos,
    ) -> Result<(), Errno>;
    /// The entry after `cookie` (0: the first), or `None` at the end. A cookie stays good while others
    /// are added and removed: nothing is shown twice, nothing that stayed is left out.
    fn entry_after(&self, dir: Node, cookie: u64) -> Result<Option<DirEntry>, Errno>;
    /// Keeps a node alive while a descriptor is open on it, even when its last name goes.
    fn retain(&self, node: Node);
    /// The counterpart of [`Files::retain`]. Frees what has neither name nor descriptor.
    fn release(&self, node: Node);
    /// May files below this node's mount be changed?
    fn writable(&self, node: Node) -> bool;
}
