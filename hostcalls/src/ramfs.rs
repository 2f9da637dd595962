//! A file system in memory: the one that every host serves. The bundle's files read-only at `/`,
//! `/tmp` and other writable places, what `--dir` brought along.
//!
//! Promises:
//! - One tree of *mounts*. A mount is writable or not, and may have a limit in bytes; a name does not
//!   move or get a second place across mounts ([`Errno::Xdev`]), and nothing in a read-only one changes
//!   ([`Errno::Rofs`]). A mount's root can't be removed or renamed ([`Errno::Busy`]).
//! - Files that were put in when it was built are read where they lie; what is written over them is kept
//!   page by page. Holes cost nothing.
//! - The limit counts what a guest causes: pages as allocated, [`NODE_COST`] a node, [`NAME_COST`] and
//!   its length a name. What was put in at building time does not count (removing it makes room).
//! - A node's number is never 0 and never given twice. No call recurses, so depth costs no stack.
//! - `rename`, link counts (a directory has 2 and one for each directory in it) and times are POSIX's.
//!
//! Does not: know users or permissions; keep access times up to date on reads (as `noatime`: a read
//! takes no time as argument); survive the run. The maps of names and pages come from the ordinary
//! allocator, which can't refuse: a `probe` before each insertion asks for more than one needs, so that
//! only a heap that vanishes in between is fatal.

mod dir;
mod file;

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};
use core::fmt;

use spin::Mutex;

use self::{dir::Dir, file::Contents};
use crate::{
    DirEntry, Errno, FileKind, Files, Nanos, NewNode, Node, Stat,
    path::{MAX_NAME, MAX_PATH},
};

pub use self::file::MAX_FILE;

/// What a node costs a mount with a limit, apart from its pages and names.
pub const NODE_COST: u64 = 256;
/// What a name costs beside its length.
pub const NAME_COST: u64 = 128;
/// What a page costs beside its bytes.
const PAGE_COST: u64 = 64;

/// A file system in memory. See the module's text.
pub struct RamFs {
    inner: Mutex<Inner>,
}

/// One mount of a [`RamFs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountId(u32);

impl MountId {
    /// The mount at `/`, which is always there.
    pub const ROOT: Self = Self(0);
}

/// Why something could not be put in place while building.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    /// The path, as given.
    pub path: String,
    pub why: BuildProblem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildProblem {
    Absolute,
    Empty,
    /// `.`, `..`, or nothing between two slashes.
    Component,
    Nul,
    TooLong,
    Duplicate,
    /// Something on the way, or in its place, is a file or a link.
    NotADirectory,
    /// A mount lies there, or on the way.
    Mounted,
    NoSuchMount,
    /// A link's text is empty or too long.
    Target,
    Memory,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: ", self.path.escape_debug())?;
        f.write_str(match self.why {
            BuildProblem::Absolute => "must be relative, without a leading `/`",
            BuildProblem::Empty => "is empty",
            BuildProblem::Component => "must not contain `.`, `..` or an empty component",
            BuildProblem::Nul => "contains a NUL byte",
            BuildProblem::TooLong => "is too long (255 bytes a component, 4096 in all)",
            BuildProblem::Duplicate => "is there twice",
            BuildProblem::NotADirectory => "needs a directory where there is a file or a link",
            BuildProblem::Mounted => "lies where something else is mounted",
            BuildProblem::NoSuchMount => "belongs to a mount that does not exist",
            BuildProblem::Target => "is a link whose text is empty or longer than 4096 bytes",
            BuildProblem::Memory => "does not fit into memory",
        })
    }
}

impl core::error::Error for BuildError {}

impl Default for RamFs {
    fn default() -> Self {
        Self::new()
    }
}

/// Building: done before a guest runs, and not held by read-only mounts or limits.
impl RamFs {
    /// An empty, read-only `/`.
    pub fn new() -> Self {
        let mut inner = Inner { slots: Vec::new(), first_free: NONE, mounts: Vec::new() };
        inner.mounts.push(Mount {
            root: Node(0),
            writable: false,
            empty_handed: false,
            space: Space::default(),
        });
        // The very first allocation of a file system has nothing to fall back on: Node(0) has nobody.
        if let Ok(root) = inner.allocate(0, Body::Dir(Dir::new(Node(0))), 0) {
            inner.set_root(0, root);
        }
        Self { inner: Mutex::new(inner) }
    }

    /// The directory at `/`.
    pub fn root(&self) -> Node {
        self.inner.lock().mounts[0].root
    }

    /// Adds a mount and gives its root directory.
    ///
    /// `path`: absolute (`/tmp`, `/a/b`), what is missing on the way is made; a directory that is there
    /// is covered, as `mount` does, and what was in it is out of reach. `Some("/")` sets what the mount
    /// at `/` is and keeps what is in it. `None`: a root of its own that can't be reached from `/`.
    /// `limit`: in bytes, see the module's text; `None`: as far as memory goes.
    ///
    /// Errors: [`Errno::Inval`] for a path that isn't absolute or has `.`, `..`, NUL or empty components,
    /// [`Errno::Nametoolong`], [`Errno::Notdir`], [`Errno::Busy`] if a mount has that very root already,
    /// [`Errno::Nospc`].
    pub fn add_mount(
        &self,
        path: Option<&str>,
        writable: bool,
        limit: Option<u64>,
    ) -> Result<(MountId, Node), Errno> {
        let mut inner = self.inner.lock();
        let space = Space { limit, used: 0 };
        if path == Some("/") {
            let mount = &mut inner.mounts[0];
            mount.writable = writable;
            mount.space.limit = limit.map(|limit| limit.saturating_add(mount.space.used));
            return Ok((MountId::ROOT, mount.root));
        }
        let id = u32::try_from(inner.mounts.len()).map_err(|_| Errno::Nospc)?;
        let place = match path {
            None => None,
            Some(path) => {
                let relative = path.strip_prefix('/').ok_or(Errno::Inval)?;
                check_relative(relative).map_err(|why| match why {
                    BuildProblem::TooLong => Errno::Nametoolong,
                    _ => Errno::Inval,
                })?;
                let (above, name) = relative.rsplit_once('/').unwrap_or(("", relative));
                let mut dir = inner.mounts[0].root;
                for step in above.split('/').filter(|step| !step.is_empty()) {
                    dir = inner.build_directory(dir, step, 0).map_err(|why| match why {
                        BuildProblem::Memory => Errno::Nospc,
                        _ => Errno::Notdir,
                    })?;
                }
                if let Some(there) = inner.dir(dir)?.get(name) {
                    if inner.is_mount_root(there) {
                        return Err(Errno::Busy);
                    }
                    inner.dir(there)?;
                }
                Some((dir, name))
            }
        };
        inner.mounts.try_reserve(1).map_err(|_| Errno::Nospc)?;
        probe()?;
        inner.mounts.push(Mount { root: Node(0), writable, empty_handed: false, space });
        let parent = place.map_or(Node(0), |(dir, _)| dir);
        let root = match inner.allocate(id, Body::Dir(Dir::new(parent)), 0) {
            Ok(root) => root,
            Err(error) => {
                inner.mounts.pop();
                return Err(error);
            }
        };
        inner.set_root(id, root);
        if let Some((dir, name)) = place {
            let covers = inner.dir(dir)?.get(name).is_some();
            inner.dir_mut(dir)?.put(name, root);
            if !covers {
                inner.inode_mut(dir)?.links += 1;
            }
        }
        Ok((MountId(id), root))
    }

    /// Puts a file in place, parents included; its bytes are read where they lie. `path` is relative to
    /// the mount's root. `modified` becomes all three of its times.
    pub fn insert_file(
        &self,
        mount: MountId,
        path: &str,
        data: &'static [u8],
        modified: Nanos,
    ) -> Result<Node, BuildError> {
        self.insert(mount, path, modified, |_| Body::File(Contents::from_base(data)))
    }

    /// Puts a link in place, parents included, whatever its text says.
    pub fn insert_symlink(
        &self,
        mount: MountId,
        path: &str,
        target: &str,
        modified: Nanos,
    ) -> Result<Node, BuildError> {
        if target.is_empty() || target.len() > MAX_PATH {
            return Err(BuildError { path: path.to_owned(), why: BuildProblem::Target });
        }
        self.insert(mount, path, modified, |_| Body::Symlink(target.into()))
    }

    /// Puts a directory in place, parents included. One that is there already is taken, with its time set:
    /// archives name directories before, after, or not at all.
    pub fn insert_dir(&self, mount: MountId, path: &str, modified: Nanos) -> Result<Node, BuildError> {
        let mut inner = self.inner.lock();
        let build = |inner: &mut Inner| {
            let (dir, name) = inner.build_parent(mount, path, modified)?;
            let node = inner.build_directory(dir, name, modified)?;
            if let Ok(inode) = inner.inode_mut(node) {
                inode.touch_all(modified);
            }
            Ok(node)
        };
        build(&mut inner).map_err(|why| BuildError { path: path.to_owned(), why })
    }

    /// From now on a name that the mount's root has not got is [`Errno::Notcapable`], not [`Errno::Noent`]: for a
    /// root that is there only so that there is one, and would else look like a disk that was searched.
    pub fn set_empty_handed(&self, mount: MountId) {
        if let Some(mount) = self.inner.lock().mounts.get_mut(mount.0 as usize) {
            mount.empty_handed = true;
        }
    }

    /// Bytes that count against the mount's limit, and the limit.
    pub fn usage(&self, mount: MountId) -> (u64, Option<u64>) {
        let inner = self.inner.lock();
        inner.mounts.get(mount.0 as usize).map_or((0, None), |mount| (mount.space.used, mount.space.limit))
    }

    fn insert(
        &self,
        mount: MountId,
        path: &str,
        modified: Nanos,
        body: impl FnOnce(Node) -> Body,
    ) -> Result<Node, BuildError> {
        let mut inner = self.inner.lock();
        let build = |inner: &mut Inner| {
            let (dir, name) = inner.build_parent(mount, path, modified)?;
            if let Some(there) = inner.dir(dir).ok().and_then(|dir| dir.get(name)) {
                let mounted = inner.is_mount_root(there);
                return Err(if mounted { BuildProblem::Mounted } else { BuildProblem::Duplicate });
            }
            inner.build_entry(dir, name, body(dir), modified)
        };
        build(&mut inner).map_err(|why| BuildError { path: path.to_owned(), why })
    }
}

impl Files for RamFs {
    fn stat(&self, node: Node) -> Result<Stat, Errno> {
        let inner = self.inner.lock();
        let inode = inner.inode(node)?;
        Ok(Stat {
            device: u64::from(inode.mount) + 1,
            inode: node.0,
            kind: inode.kind(),
            links: u64::from(inode.links),
            size: match &inode.body {
                Body::Dir(_) => 0,
                Body::File(contents) => contents.size(),
                Body::Symlink(target) => target.len() as u64,
            },
            accessed: inode.accessed,
            modified: inode.modified,
            changed: inode.changed,
        })
    }

    fn lookup(&self, dir: Node, name: &str) -> Result<Node, Errno> {
        let inner = self.inner.lock();
        let names = inner.dir(dir)?;
        if name.len() > MAX_NAME {
            return Err(Errno::Nametoolong);
        }
        names.get(name).ok_or_else(|| inner.missing(dir))
    }

    fn create(&self, dir: Node, name: &str, new: NewNode<'_>, now: Nanos) -> Result<Node, Errno> {
        let mut inner = self.inner.lock();
        let mount = inner.room_for(dir, name)?;
        let target_cost = match new {
            NewNode::Symlink("") => return Err(Errno::Noent),
            NewNode::Symlink(target) if target.len() > MAX_PATH => return Err(Errno::Nametoolong),
            NewNode::Symlink(target) => target.len() as u64,
            _ => 0,
        };
        if matches!(new, NewNode::Directory) && inner.inode(dir)?.links == u32::MAX {
            return Err(Errno::Mlink);
        }
        probe()?;
        let cost = NODE_COST + target_cost + name_cost(name);
        inner.space(mount).take(cost)?;
        let body = match new {
            NewNode::File => Body::File(Contents::default()),
            NewNode::Directory => Body::Dir(Dir::new(dir)),
            NewNode::Symlink(target) => Body::Symlink(target.into()),
        };
        let node = match inner.allocate(mount, body, now) {
            Ok(node) => node,
            Err(error) => {
                inner.space(mount).give_back(cost);
                return Err(error);
            }
        };
        inner.attach(dir, name, node, now)?;
        Ok(node)
    }

    fn link(&self, node: Node, dir: Node, name: &str, now: Nanos) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let inode = inner.inode(node)?;
        if inode.kind() == FileKind::Directory {
            return Err(Errno::Perm);
        }
        let (mount, links) = (inode.mount, inode.links);
        let into = inner.room_for(dir, name)?;
        if into != mount {
            return Err(Errno::Xdev);
        }
        match links {
            // Its last name is gone: it can't come back.
            0 => return Err(Errno::Noent),
            u32::MAX => return Err(Errno::Mlink),
            _ => {}
        }
        probe()?;
        inner.space(mount).take(name_cost(name))?;
        let inode = inner.inode_mut(node)?;
        inode.links += 1;
        inode.changed = now;
        inner.attach(dir, name, node, now)
    }

    fn unlink(&self, dir: Node, name: &str, now: Nanos) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let node = inner.entry_to_remove(dir, name)?;
        if inner.inode(node)?.kind() == FileKind::Directory {
            return Err(Errno::Isdir);
        }
        inner.detach(dir, name, node, now)
    }

    fn remove_directory(&self, dir: Node, name: &str, now: Nanos) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let node = inner.entry_to_remove(dir, name)?;
        if inner.is_mount_root(node) {
            return Err(Errno::Busy);
        }
        if !inner.dir(node)?.is_empty() {
            return Err(Errno::Notempty);
        }
        inner.detach(dir, name, node, now)
    }

    fn rename(&self, from: Node, old: &str, to: Node, new: &str, now: Nanos) -> Result<(), Errno> {
        self.inner.lock().rename(from, old, to, new, now)
    }

    fn read_link(&self, node: Node) -> Result<String, Errno> {
        match &self.inner.lock().inode(node)?.body {
            Body::Symlink(target) => Ok(String::from(&**target)),
            _ => Err(Errno::Inval),
        }
    }

    fn read_at(&self, node: Node, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        match &self.inner.lock().inode(node)?.body {
            Body::File(contents) => Ok(contents.read(offset, buf)),
            Body::Dir(_) => Err(Errno::Isdir),
            Body::Symlink(_) => Err(Errno::Inval),
        }
    }

    fn write_at(&self, node: Node, offset: u64, buf: &[u8], now: Nanos) -> Result<usize, Errno> {
        self.inner.lock().change(node, now, |contents, space| {
            let wrote = contents.write(offset, buf, space)?;
            Ok((wrote, wrote > 0))
        })
    }

    fn set_size(&self, node: Node, size: u64, now: Nanos) -> Result<(), Errno> {
        self.inner.lock().change(node, now, |contents, space| Ok((contents.set_size(size, space)?, true)))
    }

    fn set_times(
        &self,
        node: Node,
        accessed: Option<Nanos>,
        modified: Option<Nanos>,
        now: Nanos,
    ) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let mount = inner.inode(node)?.mount;
        inner.check_writable(mount)?;
        let inode = inner.inode_mut(node)?;
        inode.accessed = accessed.unwrap_or(inode.accessed);
        inode.modified = modified.unwrap_or(inode.modified);
        inode.changed = now;
        Ok(())
    }

    fn entry_after(&self, dir: Node, cookie: u64) -> Result<Option<DirEntry>, Errno> {
        let inner = self.inner.lock();
        let Some((name, node, cookie)) = inner.dir(dir)?.after(cookie) else { return Ok(None) };
        let kind = inner.inode(node)?.kind();
        Ok(Some(DirEntry { name: name.to_owned(), node, kind, cookie }))
    }

    fn retain(&self, node: Node) {
        if let Ok(inode) = self.inner.lock().inode_mut(node) {
            inode.opens = inode.opens.saturating_add(1);
        }
    }

    fn release(&self, node: Node) {
        let mut inner = self.inner.lock();
        if let Ok(inode) = inner.inode_mut(node) {
            // A count that hit the ceiling has lost its meaning: such a node stays.
            if inode.opens != u32::MAX {
                inode.opens = inode.opens.saturating_sub(1);
            }
            inner.free_if_unused(node);
        }
    }

    fn writable(&self, node: Node) -> bool {
        let inner = self.inner.lock();
        inner.inode(node).is_ok_and(|inode| inner.mounts[inode.mount as usize].writable)
    }
}

/// How much of a mount is used.
#[derive(Default)]
struct Space {
    limit: Option<u64>,
    used: u64,
}

impl Space {
    fn left(&self) -> u64 {
        self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.used))
    }

    fn take(&mut self, bytes: u64) -> Result<(), Errno> {
        if bytes > self.left() {
            return Err(Errno::Nospc);
        }
        self.take_anyway(bytes);
        Ok(())
    }

    fn take_anyway(&mut self, bytes: u64) {
        self.used = self.used.saturating_add(bytes);
    }

    /// Takes what the builder put in: the limit moves along.
    fn take_built(&mut self, bytes: u64) {
        self.take_anyway(bytes);
        self.limit = self.limit.map(|limit| limit.saturating_add(bytes));
    }

    fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }
}

struct Mount {
    root: Node,
    writable: bool,
    /// A name that its root has not got was never granted.
    empty_handed: bool,
    space: Space,
}

/// A node's number is its slot's index + 1, with the slot's generation in the upper half: small at first,
/// never 0, and another one when the slot is used again.
struct Slot {
    generation: u32,
    next_free: u32,
    inode: Option<Inode>,
}

const NONE: u32 = u32::MAX;

struct Inode {
    mount: u32,
    links: u32,
    opens: u32,
    accessed: Nanos,
    modified: Nanos,
    changed: Nanos,
    body: Body,
}

enum Body {
    Dir(Dir),
    File(Contents),
    Symlink(Box<str>),
}

impl Inode {
    fn kind(&self) -> FileKind {
        match self.body {
            Body::Dir(_) => FileKind::Directory,
            Body::File(_) => FileKind::File,
            Body::Symlink(_) => FileKind::Symlink,
        }
    }

    fn touch(&mut self, now: Nanos) {
        self.modified = now;
        self.changed = now;
    }

    fn touch_all(&mut self, now: Nanos) {
        self.accessed = now;
        self.touch(now);
    }
}

/// Invariants: every entry's node exists; `links` of a file or link is the number of entries for it;
/// an inode with neither links nor opens does not exist; a directory without links is empty.
struct Inner {
    slots: Vec<Slot>,
    first_free: u32,
    /// The first is `/`.
    mounts: Vec<Mount>,
}

impl Inner {
    fn rename(&mut self, from: Node, old: &str, to: Node, new: &str, now: Nanos) -> Result<(), Errno> {
        let (from_inode, to_inode) = (self.inode(from)?, self.inode(to)?);
        let (mount, to_mount, to_dead) = (from_inode.mount, to_inode.mount, to_inode.links == 0);
        let (from_dir, to_dir) = (self.dir(from)?, self.dir(to)?);
        if mount != to_mount {
            return Err(Errno::Xdev);
        }
        check_name(old)?;
        check_name(new)?;
        self.check_writable(mount)?;
        let moved = from_dir.get(old).ok_or(Errno::Noent)?;
        let replaced = to_dir.get(new);
        if to_dead {
            return Err(Errno::Noent);
        }
        if self.is_mount_root(moved) || replaced.is_some_and(|node| self.is_mount_root(node)) {
            return Err(Errno::Busy);
        }
        if replaced == Some(moved) {
            return Ok(());
        }
        let moves_directory = self.inode(moved)?.kind() == FileKind::Directory;
        if moves_directory && from != to && self.is_within(to, moved) {
            return Err(Errno::Inval);
        }
        let mut cost = name_cost(new);
        if let Some(replaced) = replaced {
            match (&self.inode(replaced)?.body, moves_directory) {
                (Body::Dir(_), false) => return Err(Errno::Isdir),
                (Body::Dir(dir), true) if !dir.is_empty() => return Err(Errno::Notempty),
                (Body::File(_) | Body::Symlink(_), true) => return Err(Errno::Notdir),
                _ => {}
            }
            // The name that is there serves on.
            cost = 0;
        } else if moves_directory && from != to && self.inode(to)?.links == u32::MAX {
            return Err(Errno::Mlink);
        }
        probe()?;
        // A full disk does not keep a file from getting a shorter name.
        let freed = name_cost(old);
        self.space(mount).take(cost.saturating_sub(freed))?;
        self.space(mount).give_back(freed.saturating_sub(cost));

        // From here on nothing fails.
        self.dir_mut(from)?.remove(old);
        self.dir_mut(to)?.put(new, moved);
        if moves_directory && from != to {
            self.dir_mut(moved)?.parent = to;
            self.inode_mut(from)?.links -= 1;
            self.inode_mut(to)?.links += 1;
        }
        self.inode_mut(from)?.touch(now);
        self.inode_mut(to)?.touch(now);
        self.inode_mut(moved)?.changed = now;
        if let Some(replaced) = replaced {
            self.drop_link(to, replaced, now)?;
        }
        Ok(())
    }

    /// Runs a change of a file's contents, and notes its time if there was one.
    fn change<T>(
        &mut self,
        node: Node,
        now: Nanos,
        change: impl FnOnce(&mut Contents, &mut Space) -> Result<(T, bool), Errno>,
    ) -> Result<T, Errno> {
        let slot = index(node).and_then(|index| self.slots.get_mut(index)).ok_or(Errno::Badf)?;
        if slot.generation != generation(node) {
            return Err(Errno::Badf);
        }
        let inode = slot.inode.as_mut().ok_or(Errno::Badf)?;
        let mount = &mut self.mounts[inode.mount as usize];
        let contents = match &mut inode.body {
            Body::File(_) if !mount.writable => return Err(Errno::Rofs),
            Body::File(contents) => contents,
            Body::Dir(_) => return Err(Errno::Isdir),
            Body::Symlink(_) => return Err(Errno::Inval),
        };
        let (answer, changed) = change(contents, &mut mount.space)?;
        if changed {
            inode.touch(now);
        }
        Ok(answer)
    }

    /// May `name` be added to `dir`? Its mount.
    fn room_for(&self, dir: Node, name: &str) -> Result<u32, Errno> {
        let inode = self.inode(dir)?;
        let names = self.dir(dir)?;
        check_name(name)?;
        if names.get(name).is_some() {
            return Err(Errno::Exist);
        }
        // A directory that was removed, but is still open somewhere.
        if inode.links == 0 {
            return Err(Errno::Noent);
        }
        self.check_writable(inode.mount)?;
        Ok(inode.mount)
    }

    /// The node behind a name that is to be removed.
    fn entry_to_remove(&self, dir: Node, name: &str) -> Result<Node, Errno> {
        let names = self.dir(dir)?;
        check_name(name)?;
        self.check_writable(self.inode(dir)?.mount)?;
        names.get(name).ok_or(Errno::Noent)
    }

    /// Adds an entry that was checked and paid for.
    fn attach(&mut self, dir: Node, name: &str, node: Node, now: Nanos) -> Result<(), Errno> {
        self.dir_mut(dir)?.put(name, node);
        let below = self.inode(node)?.kind() == FileKind::Directory;
        let inode = self.inode_mut(dir)?;
        inode.touch(now);
        inode.links += u32::from(below);
        Ok(())
    }

    fn detach(&mut self, dir: Node, name: &str, node: Node, now: Nanos) -> Result<(), Errno> {
        self.dir_mut(dir)?.remove(name);
        let inode = self.inode_mut(dir)?;
        inode.touch(now);
        let mount = inode.mount;
        self.space(mount).give_back(name_cost(name));
        self.drop_link(dir, node, now)
    }

    /// `dir` has lost an entry for `node`.
    fn drop_link(&mut self, dir: Node, node: Node, now: Nanos) -> Result<(), Errno> {
        let inode = self.inode_mut(node)?;
        inode.changed = now;
        if inode.kind() == FileKind::Directory {
            inode.links = 0;
            self.inode_mut(dir)?.links -= 1;
        } else {
            inode.links -= 1;
        }
        self.free_if_unused(node);
        Ok(())
    }

    fn free_if_unused(&mut self, node: Node) {
        if !self.inode(node).is_ok_and(|inode| inode.links == 0 && inode.opens == 0) {
            return;
        }
        let Some(slot) = index(node).and_then(|index| self.slots.get_mut(index)) else { return };
        let Some(inode) = slot.inode.take() else { return };
        // A slot whose numbers are used up is left alone for good.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            slot.next_free = self.first_free;
            self.first_free = (node.0 as u32) - 1;
        }
        let held = match &inode.body {
            Body::Dir(_) => 0,
            Body::File(contents) => contents.cost(),
            Body::Symlink(target) => target.len() as u64,
        };
        self.space(inode.mount).give_back(NODE_COST + held);
    }

    fn allocate(&mut self, mount: u32, body: Body, now: Nanos) -> Result<Node, Errno> {
        let links = if matches!(body, Body::Dir(_)) { 2 } else { 1 };
        let inode = Inode { mount, links, opens: 0, accessed: now, modified: now, changed: now, body };
        if let Some(slot) = self.slots.get_mut(self.first_free as usize) {
            let index = self.first_free;
            self.first_free = slot.next_free;
            slot.inode = Some(inode);
            return Ok(Node(u64::from(slot.generation) << 32 | (u64::from(index) + 1)));
        }
        // One below NONE, so that an index + 1 stays within its half.
        let index = u32::try_from(self.slots.len()).ok().filter(|&index| index < NONE - 1);
        let index = index.ok_or(Errno::Nospc)?;
        self.slots.try_reserve(1).map_err(|_| Errno::Nospc)?;
        self.slots.push(Slot { generation: 0, next_free: NONE, inode: Some(inode) });
        Ok(Node(u64::from(index) + 1))
    }

    /// Is `node` this directory, or below it?
    fn is_within(&self, mut node: Node, directory: Node) -> bool {
        loop {
            if node == directory {
                return true;
            }
            match self.dir(node) {
                Ok(dir) if dir.parent != node => node = dir.parent,
                _ => return false,
            }
        }
    }

    fn inode(&self, node: Node) -> Result<&Inode, Errno> {
        let slot = index(node).and_then(|index| self.slots.get(index)).ok_or(Errno::Badf)?;
        slot.inode.as_ref().filter(|_| slot.generation == generation(node)).ok_or(Errno::Badf)
    }

    fn inode_mut(&mut self, node: Node) -> Result<&mut Inode, Errno> {
        let slot = index(node).and_then(|index| self.slots.get_mut(index)).ok_or(Errno::Badf)?;
        slot.inode.as_mut().filter(|_| slot.generation == generation(node)).ok_or(Errno::Badf)
    }

    fn dir(&self, node: Node) -> Result<&Dir, Errno> {
        match &self.inode(node)?.body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(Errno::Notdir),
        }
    }

    fn dir_mut(&mut self, node: Node) -> Result<&mut Dir, Errno> {
        match &mut self.inode_mut(node)?.body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(Errno::Notdir),
        }
    }

    fn space(&mut self, mount: u32) -> &mut Space {
        &mut self.mounts[mount as usize].space
    }

    fn check_writable(&self, mount: u32) -> Result<(), Errno> {
        if self.mounts[mount as usize].writable { Ok(()) } else { Err(Errno::Rofs) }
    }

    /// What a name that is not in a directory is.
    fn missing(&self, dir: Node) -> Errno {
        let empty_handed = self.mounts.iter().any(|mount| mount.empty_handed && mount.root == dir);
        if empty_handed { Errno::Notcapable } else { Errno::Noent }
    }

    fn is_mount_root(&self, node: Node) -> bool {
        self.inode(node).is_ok_and(|inode| self.mounts[inode.mount as usize].root == node)
    }

    fn set_root(&mut self, mount: u32, root: Node) {
        self.mounts[mount as usize].root = root;
        if let Ok(dir) = self.dir_mut(root)
            && dir.parent == Node(0)
        {
            dir.parent = root;
        }
    }

    /// The directory that is to hold `path`, made where it is missing, and the last name.
    fn build_parent<'p>(
        &mut self,
        mount: MountId,
        path: &'p str,
        modified: Nanos,
    ) -> Result<(Node, &'p str), BuildProblem> {
        check_relative(path)?;
        let mut dir = self.mounts.get(mount.0 as usize).ok_or(BuildProblem::NoSuchMount)?.root;
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        for step in above.split('/').filter(|step| !step.is_empty()) {
            dir = self.build_directory(dir, step, modified)?;
            if self.is_mount_root(dir) {
                return Err(BuildProblem::Mounted);
            }
        }
        Ok((dir, name))
    }

    /// The directory of this name, made if it is missing.
    fn build_directory(&mut self, dir: Node, name: &str, modified: Nanos) -> Result<Node, BuildProblem> {
        match self.dir(dir).map_err(|_| BuildProblem::NotADirectory)?.get(name) {
            Some(node) if self.dir(node).is_ok() => Ok(node),
            Some(_) => Err(BuildProblem::NotADirectory),
            None => self.build_entry(dir, name, Body::Dir(Dir::new(dir)), modified),
        }
    }

    fn build_entry(
        &mut self,
        dir: Node,
        name: &str,
        body: Body,
        modified: Nanos,
    ) -> Result<Node, BuildProblem> {
        let gone = |_| BuildProblem::Memory;
        let mount = self.inode(dir).map_err(gone)?.mount;
        let below = matches!(body, Body::Dir(_));
        let held = if let Body::Symlink(target) = &body { target.len() as u64 } else { 0 };
        probe().map_err(gone)?;
        let node = self.allocate(mount, body, modified).map_err(gone)?;
        self.space(mount).take_built(NODE_COST + held + name_cost(name));
        // The directory's own time stays what the archive said.
        self.dir_mut(dir).map_err(gone)?.put(name, node);
        self.inode_mut(dir).map_err(gone)?.links += u32::from(below);
        Ok(node)
    }
}

fn index(node: Node) -> Option<usize> {
    (node.0 as u32).checked_sub(1).map(|index| index as usize)
}

fn generation(node: Node) -> u32 {
    (node.0 >> 32) as u32
}

fn name_cost(name: &str) -> u64 {
    NAME_COST + name.len() as u64
}

fn check_name(name: &str) -> Result<(), Errno> {
    if name.len() > MAX_NAME {
        return Err(Errno::Nametoolong);
    }
    if matches!(name, "" | "." | "..") || name.bytes().any(|byte| byte == b'/' || byte == 0) {
        return Err(Errno::Inval);
    }
    Ok(())
}

fn check_relative(path: &str) -> Result<(), BuildProblem> {
    if path.is_empty() {
        return Err(BuildProblem::Empty);
    }
    if path.starts_with('/') {
        return Err(BuildProblem::Absolute);
    }
    if path.len() > MAX_PATH {
        return Err(BuildProblem::TooLong);
    }
    for name in path.split('/') {
        if matches!(name, "" | "." | "..") {
            return Err(BuildProblem::Component);
        }
        if name.len() > MAX_NAME {
            return Err(BuildProblem::TooLong);
        }
    }
    if path.as_bytes().contains(&0) { Err(BuildProblem::Nul) } else { Ok(()) }
}

/// Is there memory for a few nodes of a map? Those allocations can't be refused, so they are tried before.
fn probe() -> Result<(), Errno> {
    Vec::<u8>::new().try_reserve_exact(4096).map_err(|_| Errno::Nospc)
}

#[cfg(test)]
mod tests;
