//! What is done with names: opening, making, removing, linking and renaming. `lunette_hostcalls::path` walks;
//! this file says what the end of the way means for each function.

use lunette_hostcalls::{
    Errno, FileKind, NewNode, Node,
    path::{self, MAX_PATH, Place},
};

use super::{
    Answer, Stop, Wasi,
    fd::times,
    io::now,
    table::{Descriptor, Held, Kind},
    types::{self, Fdflags, Lookupflags, Oflags, Rights},
};
use crate::memory::{GuestMemory, Span};

impl Wasi {
    /// Makes a directory. `/` at the end of its name is fine.
    ///
    /// [`Errno::Exist`], [`Errno::Nospc`], [`Errno::Rofs`], and [walking](walk).
    pub fn path_create_directory(&mut self, memory: &mut GuestMemory<'_>, fd: u32, path: Span) -> Answer {
        let held = self.directory(fd, Rights::PATH_CREATE_DIRECTORY)?;
        let place = walk(held, without_slashes(text(memory, path)?), false)?;
        create(held, &place, NewNode::Directory, now(&*self.ctx.clock))?;
        Ok(())
    }

    /// Attributes of what a path leads to; of a link itself unless it is to be followed.
    ///
    /// [`Errno::Noent`], and [walking](walk).
    pub fn path_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        path: Span,
        stat: u32,
    ) -> Answer {
        let follow = Lookupflags::decode(flags)?.has(Lookupflags::SYMLINK_FOLLOW);
        let (held, place) = self.walk(memory, fd, Rights::PATH_FILESTAT_GET, path, follow)?;
        let node = place.existing()?;
        let record = types::filestat(&held.files.stat(node)?);
        Ok(memory.write_record(stat, 8, &record)?)
    }

    /// Sets the times of what a path leads to; of a link itself unless it is to be followed.
    ///
    /// As [`Wasi::fd_filestat_set_times`], [`Errno::Noent`], and [walking](walk).
    #[expect(clippy::too_many_arguments, reason = "as the specification has it")]
    pub fn path_filestat_set_times(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        path: Span,
        atim: u64,
        mtim: u64,
        fst_flags: u32,
    ) -> Answer {
        let follow = Lookupflags::decode(flags)?.has(Lookupflags::SYMLINK_FOLLOW);
        let now = now(&*self.ctx.clock);
        let (accessed, modified) = times(atim, mtim, fst_flags, now)?;
        let (held, place) = self.walk(memory, fd, Rights::PATH_FILESTAT_SET_TIMES, path, follow)?;
        let node = place.existing()?;
        Ok(held.files.set_times(node, accessed, modified, now)?)
    }

    /// Gives a file, or a link itself, a second name.
    ///
    /// [`Errno::Inval`]: to follow a link, as in wasmtime. [`Errno::Perm`]: a directory. [`Errno::Exist`];
    /// [`Errno::Noent`]; [`Errno::Xdev`]: not on the same file system; [`Errno::Rofs`]; and [walking](walk).
    pub fn path_link(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_fd: u32,
        old_flags: u32,
        old_path: Span,
        new_fd: u32,
        new_path: Span,
    ) -> Answer {
        let flags = Lookupflags::decode(old_flags)?;
        let old_held = self.directory(old_fd, Rights::PATH_LINK_SOURCE)?;
        let new_held = self.directory(new_fd, Rights::PATH_LINK_TARGET)?;
        let (old, new) = (text(memory, old_path)?, text(memory, new_path)?);
        if flags.has(Lookupflags::SYMLINK_FOLLOW) {
            return Err(Errno::Inval.into());
        }
        let node = walk(old_held, old, false)?.existing()?;
        let place = walk(new_held, new, false)?;
        if place.node.is_some() {
            return Err(Errno::Exist.into());
        }
        let name = free_name(&place, false)?;
        if old_held.files.stat(node)?.kind == FileKind::Directory {
            return Err(Errno::Perm.into());
        }
        if !old_held.shares_files_with(new_held) {
            return Err(Errno::Xdev.into());
        }
        Ok(new_held.files.link(node, place.dir, name, now(&*self.ctx.clock))?)
    }

    /// Opens a file or directory, or makes a file. Of the rights asked for only those to read and to write count;
    /// what else means something for it is there, unless the directory gave it up.
    ///
    /// [`Errno::Badf`]: `fd` is not open, or a stream. [`Errno::Notdir`]: `fd` is a file or socket; `directory` and there is
    /// something else. [`Errno::Notcapable`]: the directory may not make, cut off, read or write files.
    /// [`Errno::Inval`]: flags that mean nothing, or nothing together. [`Errno::Noent`]; [`Errno::Exist`];
    /// [`Errno::Isdir`]: to write a directory; [`Errno::Loop`]: a link that is not to be followed;
    /// [`Errno::Rofs`]; [`Errno::Mfile`]; and [walking](walk).
    #[expect(clippy::too_many_arguments, reason = "as the specification has it")]
    pub fn path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        dirflags: u32,
        path: Span,
        oflags: u32,
        rights_base: u64,
        rights_inheriting: u64,
        fdflags: u32,
        opened: u32,
    ) -> Answer {
        let follow = Lookupflags::decode(dirflags)?.has(Lookupflags::SYMLINK_FOLLOW);
        let how = Oflags::decode(oflags)?;
        let base = Rights::decode(rights_base)?;
        Rights::decode(rights_inheriting)?;
        let flags = Fdflags::decode(fdflags)?;
        let (create_it, exclusive) = (how.has(Oflags::CREAT), how.has(Oflags::EXCL));
        let (directory, truncate) = (how.has(Oflags::DIRECTORY), how.has(Oflags::TRUNC));

        self.table.room()?;
        let parent = self.table.get(fd)?;
        let Kind::Directory { held, .. } = &parent.kind else {
            let stream = matches!(parent.kind, Kind::Stdin | Kind::Output(_));
            return Err(if !stream { Errno::Notdir } else { Errno::Badf }.into());
        };
        let mut needed = Rights::PATH_OPEN;
        if create_it {
            needed = needed.or(Rights::PATH_CREATE_FILE);
        }
        if truncate {
            needed = needed.or(Rights::PATH_FILESTAT_SET_SIZE);
        }
        parent.may(needed)?;
        // The others can be left out without making the opening pointless.
        let asked_for = base.and(Rights::READ_WRITE);
        if !parent.inheriting.has(asked_for) {
            return Err(Errno::Notcapable.into());
        }
        let path = text(memory, path)?;
        memory.check(opened, 4, 4)?;
        if directory && (create_it || exclusive || truncate) {
            return Err(Errno::Inval.into());
        }

        // A name that has to be new is not followed, not even to nowhere.
        let place = walk(held, path, follow && !(create_it && exclusive))?;
        let write = base.has(Rights::FD_WRITE);
        let now = now(&*self.ctx.clock);
        let (node, kind) = match place.node {
            Some(_) if create_it && exclusive => return Err(Errno::Exist.into()),
            Some(node) => (node, held.files.stat(node)?.kind),
            // A name that ends in `/` can only be a directory, and this makes files.
            None if create_it && place.trailing_slash => return Err(Errno::Isdir.into()),
            None if create_it => (create(held, &place, NewNode::File, now)?, FileKind::File),
            None => return Err(Errno::Noent.into()),
        };
        match kind {
            FileKind::Symlink if directory => return Err(Errno::Notdir.into()),
            FileKind::Symlink => return Err(Errno::Loop.into()),
            FileKind::File if directory => return Err(Errno::Notdir.into()),
            FileKind::Directory if write || create_it || truncate => return Err(Errno::Isdir.into()),
            FileKind::File if write && !held.files.writable(node) => return Err(Errno::Rofs.into()),
            FileKind::File if truncate => held.files.set_size(node, 0, now)?,
            FileKind::File | FileKind::Directory => {}
        }
        // Who asks for neither wants to read, and to write what is new or cut off: so wasmtime, and so its programs.
        let reading_and_writing = match asked_for {
            Rights::NONE if (create_it || truncate) && held.files.writable(node) => Rights::READ_WRITE,
            Rights::NONE => Rights::FD_READ,
            asked_for => asked_for,
        };
        let rights = match kind {
            FileKind::Directory => Rights::DIRECTORY,
            _ => Rights::FILE.without(Rights::READ_WRITE).or(reading_and_writing),
        };
        let (rights, inheriting) = (rights.and(parent.inheriting), parent.inheriting);
        let held = Held::new(&held.files, node);
        let kind = match kind {
            FileKind::Directory => Kind::Directory { held, preopen: None },
            _ => Kind::File { held, position: 0 },
        };
        let fd = self.table.insert(Descriptor { kind, rights, inheriting, flags })?;
        Ok(memory.write_u32(opened, fd)?)
    }

    /// The text of a link, as much of it as there is room for.
    ///
    /// [`Errno::Inval`]: no link. [`Errno::Noent`], and [walking](walk).
    pub fn path_readlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: Span,
        buf: Span,
        bufused: u32,
    ) -> Answer {
        let (held, place) = self.walk(memory, fd, Rights::PATH_READLINK, path, false)?;
        let node = place.existing()?;
        let target = held.files.read_link(node)?;
        let length = target.len().min(buf.length as usize) as u32;
        memory.check(bufused, 4, 4)?;
        memory.bytes_mut(Span { length, ..buf })?.copy_from_slice(&target.as_bytes()[..length as usize]);
        Ok(memory.write_u32(bufused, length)?)
    }

    /// Removes an empty directory. `/` at the end of its name is fine.
    ///
    /// [`Errno::Notempty`]; [`Errno::Notdir`]; [`Errno::Inval`]: `.`; [`Errno::Busy`]: a mount; [`Errno::Noent`];
    /// [`Errno::Rofs`]; and [walking](walk).
    pub fn path_remove_directory(&mut self, memory: &mut GuestMemory<'_>, fd: u32, path: Span) -> Answer {
        let held = self.directory(fd, Rights::PATH_REMOVE_DIRECTORY)?;
        let place = walk(held, without_slashes(text(memory, path)?), false)?;
        place.existing()?;
        let name = place.name.as_deref().ok_or(Errno::Inval)?;
        Ok(held.files.remove_directory(place.dir, name, now(&*self.ctx.clock))?)
    }

    /// Moves a file, link or directory, and replaces what is there. `/` at the end of either name asks for a
    /// directory to be moved.
    ///
    /// [`Errno::Notdir`], [`Errno::Isdir`], [`Errno::Notempty`]: it can't replace what is there.
    /// [`Errno::Inval`]: a directory below itself. [`Errno::Busy`]: `.`. [`Errno::Xdev`]: not on the same file
    /// system; [`Errno::Noent`]; [`Errno::Rofs`]; and [walking](walk).
    pub fn path_rename(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_fd: u32,
        old_path: Span,
        new_fd: u32,
        new_path: Span,
    ) -> Answer {
        let old_held = self.directory(old_fd, Rights::PATH_RENAME_SOURCE)?;
        let new_held = self.directory(new_fd, Rights::PATH_RENAME_TARGET)?;
        let (old, new) = (text(memory, old_path)?, text(memory, new_path)?);
        let needs_directory = old.ends_with('/') || new.ends_with('/');
        // A link is moved itself, also where a `/` after it would have it followed.
        let from = walk(old_held, without_slashes(old), false)?;
        let to = walk(new_held, without_slashes(new), false)?;
        let node = from.existing()?;
        let (Some(old), Some(new)) = (&from.name, &to.name) else { return Err(Errno::Busy.into()) };
        if needs_directory && old_held.files.stat(node)?.kind != FileKind::Directory {
            return Err(Errno::Notdir.into());
        }
        if !old_held.shares_files_with(new_held) {
            return Err(Errno::Xdev.into());
        }
        Ok(old_held.files.rename(from.dir, old, to.dir, new, now(&*self.ctx.clock))?)
    }

    /// Makes a link. Where it leads is checked when it is walked; only an absolute one is refused at once, as in
    /// wasmtime.
    ///
    /// [`Errno::Perm`]: an absolute link. [`Errno::Exist`]; [`Errno::Noent`]: a link to the empty path;
    /// [`Errno::Inval`]: a NUL; [`Errno::Nametoolong`]; [`Errno::Nospc`]; [`Errno::Rofs`]; and [walking](walk).
    pub fn path_symlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_path: Span,
        fd: u32,
        new_path: Span,
    ) -> Answer {
        let held = self.directory(fd, Rights::PATH_SYMLINK)?;
        let target = text(memory, old_path)?;
        let place = text(memory, new_path)?;
        if target.starts_with('/') {
            return Err(Errno::Perm.into());
        }
        if target.is_empty() {
            return Err(Errno::Noent.into());
        }
        if target.contains('\0') {
            return Err(Errno::Inval.into());
        }
        let place = walk(held, place, false)?;
        create(held, &place, NewNode::Symlink(target), now(&*self.ctx.clock))?;
        Ok(())
    }

    /// Removes the name of a file or link.
    ///
    /// [`Errno::Isdir`]; [`Errno::Noent`]; [`Errno::Rofs`]; and [walking](walk).
    pub fn path_unlink_file(&mut self, memory: &mut GuestMemory<'_>, fd: u32, path: Span) -> Answer {
        let (held, place) = self.walk(memory, fd, Rights::PATH_UNLINK_FILE, path, false)?;
        place.existing()?;
        let name = place.name.as_deref().ok_or(Errno::Isdir)?;
        Ok(held.files.unlink(place.dir, name, now(&*self.ctx.clock))?)
    }

    /// Goes where a path leads from an open directory that has a right: the directory, and the place.
    fn walk(
        &self,
        memory: &GuestMemory<'_>,
        fd: u32,
        right: Rights,
        path: Span,
        follow: bool,
    ) -> Result<(&Held, Place), Stop> {
        let held = self.directory(fd, right)?;
        Ok((held, walk(held, text(memory, path)?, follow)?))
    }

    /// An open directory that has a right.
    ///
    /// [`Errno::Badf`]: not open, or no directory (as wasmtime). [`Errno::Notcapable`].
    fn directory(&self, fd: u32, right: Rights) -> Result<&Held, Errno> {
        let descriptor = self.table.get(fd)?;
        let held = descriptor.directory()?;
        descriptor.may(right)?;
        Ok(held)
    }
}

/// A path or a link's text in the guest's memory. [`Errno::Ilseq`]: not UTF-8. [`Errno::Nametoolong`].
fn text<'m>(memory: &'m GuestMemory<'_>, text: Span) -> Result<&'m str, Stop> {
    let bytes = memory.bytes(text)?;
    if bytes.len() > MAX_PATH {
        return Err(Errno::Nametoolong.into());
    }
    Ok(core::str::from_utf8(bytes).map_err(|_| Errno::Ilseq)?)
}

/// Goes where a path leads from an open directory.
///
/// [`Errno::Perm`]: it leads out. [`Errno::Noent`]: a directory on the way is missing, or the path is empty.
/// [`Errno::Notdir`], [`Errno::Loop`], [`Errno::Nametoolong`]; [`Errno::Inval`]: a NUL; [`Errno::Ilseq`]: not
/// UTF-8. Before that: [`Errno::Badf`], [`Errno::Notcapable`] for the directory.
fn walk(from: &Held, path: &str, follow: bool) -> Result<Place, Errno> {
    path::walk(&*from.files, from.node, path, follow)
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

fn create(held: &Held, place: &Place, new: NewNode<'_>, now: u64) -> Result<Node, Errno> {
    if place.node.is_some() {
        return Err(Errno::Exist);
    }
    let name = free_name(place, matches!(new, NewNode::Directory))?;
    held.files.create(place.dir, name, new, now)
}
