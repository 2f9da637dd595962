//! What is done with a descriptor, but for reading and writing files and streams (io.rs).

use lunette_hostcalls::{Errno, Nanos};

use super::{
    Answer, Wasi,
    io::now,
    table::Kind,
    types::{self, Fdflags, Filetype, Fstflags, Rights, Whence},
};
use crate::memory::{BadPointer, GuestMemory, Span};

/// `advice`: the highest number.
const LAST_ADVICE: u32 = 5;

/// `preopentype`; the second is ours.
const PREOPEN_DIRECTORY: u8 = 0;
const PREOPEN_LISTENER: u8 = 1;

impl Wasi {
    /// Says how a file will be used. Taken note of by nobody: files are in memory.
    ///
    /// [`Errno::Badf`]: not a file. [`Errno::Inval`]: no such advice; a range that is too long.
    pub fn fd_advise(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        offset: u64,
        len: u64,
        advice: u32,
    ) -> Answer {
        if advice > LAST_ADVICE {
            return Err(Errno::Inval.into());
        }
        let descriptor = self.table.get(fd)?;
        descriptor.file()?;
        descriptor.may(Rights::FD_ADVISE)?;
        offset.checked_add(len).ok_or(Errno::Inval)?;
        Ok(())
    }

    /// [`Errno::Notsup`], as wasmtime: no file system here can promise the space. [`Errno::Badf`]: not a file.
    pub fn fd_allocate(&mut self, _memory: &mut GuestMemory<'_>, fd: u32, _offset: u64, _len: u64) -> Answer {
        let descriptor = self.table.get(fd)?;
        descriptor.file()?;
        descriptor.may(Rights::FD_ALLOCATE)?;
        Err(Errno::Notsup.into())
    }

    /// Closes any descriptor: streams and preopened directories too.
    ///
    /// [`Errno::Badf`]: not open.
    pub fn fd_close(&mut self, _memory: &mut GuestMemory<'_>, fd: u32) -> Answer {
        self.table.remove(fd)?;
        Ok(())
    }

    /// Nothing is left to be done: what was written is in memory. Directories are taken too, as POSIX does.
    ///
    /// [`Errno::Badf`]: neither file nor directory.
    pub fn fd_datasync(&mut self, _memory: &mut GuestMemory<'_>, fd: u32) -> Answer {
        let descriptor = self.table.get(fd)?;
        descriptor.held()?;
        Ok(descriptor.may(Rights::FD_DATASYNC)?)
    }

    /// As [`Wasi::fd_datasync`].
    pub fn fd_sync(&mut self, _memory: &mut GuestMemory<'_>, fd: u32) -> Answer {
        let descriptor = self.table.get(fd)?;
        descriptor.held()?;
        Ok(descriptor.may(Rights::FD_SYNC)?)
    }

    /// Type, flags and rights. A stream is a character device if a person is on its other side, else unknown.
    ///
    /// [`Errno::Badf`]: not open.
    pub fn fd_fdstat_get(&mut self, memory: &mut GuestMemory<'_>, fd: u32, stat: u32) -> Answer {
        let descriptor = self.table.get(fd)?;
        let kind = descriptor.filetype(self.ctx.stdio.is_terminal());
        let record = types::fdstat(kind, descriptor.flags, descriptor.rights, descriptor.inheriting);
        Ok(memory.write_record(stat, 8, &record)?)
    }

    /// Changes `append` and `nonblock`.
    ///
    /// [`Errno::Badf`]: a directory. [`Errno::Inval`]: unknown flags; a change of how writing is synchronised.
    pub fn fd_fdstat_set_flags(&mut self, _memory: &mut GuestMemory<'_>, fd: u32, flags: u32) -> Answer {
        let flags = Fdflags::decode(flags)?;
        let descriptor = self.table.get_mut(fd)?;
        if matches!(descriptor.kind, Kind::Directory { .. }) {
            return Err(Errno::Badf.into());
        }
        descriptor.may(Rights::FD_FDSTAT_SET_FLAGS)?;
        if flags.syncs() != descriptor.flags.syncs() {
            return Err(Errno::Inval.into());
        }
        descriptor.flags = flags;
        Ok(())
    }

    /// Gives rights up, for good.
    ///
    /// [`Errno::Notcapable`]: a right that the descriptor has not got. [`Errno::Inval`]: unknown rights.
    pub fn fd_fdstat_set_rights(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        rights_base: u64,
        rights_inheriting: u64,
    ) -> Answer {
        let (base, inheriting) = (Rights::decode(rights_base)?, Rights::decode(rights_inheriting)?);
        let descriptor = self.table.get_mut(fd)?;
        if !descriptor.rights.has(base) || !descriptor.inheriting.has(inheriting) {
            return Err(Errno::Notcapable.into());
        }
        (descriptor.rights, descriptor.inheriting) = (base, inheriting);
        Ok(())
    }

    /// Attributes of what is open; of a stream or socket no more than its type.
    ///
    /// [`Errno::Badf`]: not open.
    pub fn fd_filestat_get(&mut self, memory: &mut GuestMemory<'_>, fd: u32, stat: u32) -> Answer {
        let descriptor = self.table.get(fd)?;
        descriptor.may(Rights::FD_FILESTAT_GET)?;
        let record = match descriptor.held() {
            Ok(held) => types::filestat(&held.files.stat(held.node)?),
            Err(_) => types::filestat_of_stream(descriptor.filetype(self.ctx.stdio.is_terminal())),
        };
        Ok(memory.write_record(stat, 8, &record)?)
    }

    /// Cuts a file off, or makes it longer with zeros.
    ///
    /// [`Errno::Badf`]: not a file. [`Errno::Inval`]: more than 2⁶³ − 1. [`Errno::Nospc`], [`Errno::Fbig`],
    /// [`Errno::Rofs`].
    pub fn fd_filestat_set_size(&mut self, _memory: &mut GuestMemory<'_>, fd: u32, size: u64) -> Answer {
        let descriptor = self.table.get(fd)?;
        let held = descriptor.file()?;
        descriptor.may(Rights::FD_FILESTAT_SET_SIZE)?;
        if i64::try_from(size).is_err() {
            return Err(Errno::Inval.into());
        }
        Ok(held.files.set_size(held.node, size, now(&*self.ctx.clock))?)
    }

    /// Sets the times of access and modification.
    ///
    /// [`Errno::Badf`]: a stream. [`Errno::Inval`]: both a time and "now"; unknown flags. [`Errno::Rofs`].
    pub fn fd_filestat_set_times(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        atim: u64,
        mtim: u64,
        fst_flags: u32,
    ) -> Answer {
        let now = now(&*self.ctx.clock);
        let (accessed, modified) = times(atim, mtim, fst_flags, now)?;
        let descriptor = self.table.get(fd)?;
        let held = descriptor.held()?;
        descriptor.may(Rights::FD_FILESTAT_SET_TIMES)?;
        Ok(held.files.set_times(held.node, accessed, modified, now)?)
    }

    /// The kind of what the guest came with, and the length of its name. A listener is of a kind that the specification
    /// does not have: programs look for their directories from descriptor 3 on, go on behind what they do not know,
    /// and stop at the first that is no preopen.
    ///
    /// [`Errno::Badf`]: neither a preopened directory nor a listener.
    pub fn fd_prestat_get(&mut self, memory: &mut GuestMemory<'_>, fd: u32, prestat: u32) -> Answer {
        let (tag, length) = match &self.table.get(fd)?.kind {
            Kind::Directory { preopen: Some(name), .. } => (PREOPEN_DIRECTORY, name.len()),
            Kind::Listener(_) => (PREOPEN_LISTENER, 0),
            _ => return Err(Errno::Badf.into()),
        };
        let length = u32::try_from(length).map_err(|_| Errno::Overflow)?;
        let mut record = [0; 8];
        record[0] = tag;
        record[4..].copy_from_slice(&length.to_le_bytes());
        Ok(memory.write_record(prestat, 4, &record)?)
    }

    /// The name of a preopened directory. What is behind it in the buffer stays.
    ///
    /// [`Errno::Badf`]: not open. [`Errno::Notdir`]: not one; a listener. [`Errno::Nametoolong`]: the buffer is too short.
    pub fn fd_prestat_dir_name(&mut self, memory: &mut GuestMemory<'_>, fd: u32, path: Span) -> Answer {
        let Kind::Directory { preopen: Some(name), .. } = &self.table.get(fd)?.kind else {
            return Err(Errno::Notdir.into());
        };
        let length = u32::try_from(name.len()).map_err(|_| Errno::Nametoolong)?;
        if length > path.length {
            return Err(Errno::Nametoolong.into());
        }
        memory.bytes_mut(Span { length, ..path })?.copy_from_slice(name.as_bytes());
        Ok(())
    }

    /// The entries of a directory after `cookie` (0: from the start), `.` and `..` first. The last one may be cut
    /// off; a buffer that is not full says that there are no more.
    ///
    /// [`Errno::Badf`]: not a directory.
    pub fn fd_readdir(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        buf: Span,
        cookie: u64,
        bufused: u32,
    ) -> Answer {
        let descriptor = self.table.get(fd)?;
        let held = descriptor.directory()?;
        descriptor.may(Rights::FD_READDIR)?;
        memory.check(bufused, 4, 4)?;
        memory.bytes(buf)?;
        let mut out = Entries { memory, left: buf };
        let mut cookie = cookie;
        while out.left.length > 0 {
            cookie = if let Some(name) = DOTS.get(cookie as usize).filter(|_| cookie < OFFSET) {
                // The parent has no number for who may not know it: `..` shows the directory's own, as wasmtime.
                let inode = held.files.stat(held.node)?.inode;
                out.push(cookie + 1, inode, Filetype::Directory, name)?;
                cookie + 1
            } else {
                let Some(entry) = held.files.entry_after(held.node, cookie - OFFSET)? else { break };
                let next = entry.cookie.checked_add(OFFSET).ok_or(Errno::Overflow)?;
                let inode = held.files.stat(entry.node).map_or(0, |stat| stat.inode);
                out.push(next, inode, entry.kind.into(), &entry.name)?;
                next
            };
        }
        let used = buf.length - out.left.length;
        Ok(memory.write_u32(bufused, used)?)
    }

    /// Gives `fd` the number `to`, whose descriptor is closed; `fd` is then free.
    ///
    /// [`Errno::Badf`]: one of them is not open.
    pub fn fd_renumber(&mut self, _memory: &mut GuestMemory<'_>, fd: u32, to: u32) -> Answer {
        Ok(self.table.renumber(fd, to)?)
    }

    /// Moves to `offset` (signed) from the start, from here or from the end. Past the end is fine.
    ///
    /// [`Errno::Spipe`]: a stream or socket. [`Errno::Badf`]: a directory. [`Errno::Inval`]: before the start; no such
    /// `whence`. [`Errno::Notcapable`]: the right to tell is enough only to stay.
    pub fn fd_seek(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        offset: u64,
        whence: u32,
        newoffset: u32,
    ) -> Answer {
        let whence = Whence::decode(whence)?;
        let offset = offset as i64;
        let descriptor = self.table.get_mut(fd)?;
        let stays = whence == Whence::Current && offset == 0;
        let allowed = if stays { descriptor.rights.has(Rights::FD_TELL) } else { false };
        let allowed = allowed || descriptor.rights.has(Rights::FD_SEEK);
        let (held, position) = match &mut descriptor.kind {
            Kind::File { held, position } => (held, position),
            Kind::Directory { .. } => return Err(Errno::Badf.into()),
            _ => return Err(Errno::Spipe.into()),
        };
        if !allowed {
            return Err(Errno::Notcapable.into());
        }
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => *position,
            Whence::End => held.files.stat(held.node)?.size,
        };
        let new = base.checked_add_signed(offset).ok_or(Errno::Inval)?;
        memory.write_u64(newoffset, new)?;
        *position = new;
        Ok(())
    }

    /// Where the descriptor is.
    ///
    /// [`Errno::Spipe`]: a stream or socket. [`Errno::Badf`]: a directory.
    pub fn fd_tell(&mut self, memory: &mut GuestMemory<'_>, fd: u32, offset: u32) -> Answer {
        let descriptor = self.table.get(fd)?;
        let position = match &descriptor.kind {
            Kind::File { position, .. } => *position,
            Kind::Directory { .. } => return Err(Errno::Badf.into()),
            _ => return Err(Errno::Spipe.into()),
        };
        // The right to seek includes it.
        if !descriptor.rights.has(Rights::FD_SEEK) {
            descriptor.may(Rights::FD_TELL)?;
        }
        Ok(memory.write_u64(offset, position)?)
    }
}

/// The two entries that a file system doesn't list. They come first, so its own cookies are moved by as many.
const DOTS: [&str; 2] = [".", ".."];
const OFFSET: u64 = DOTS.len() as u64;

/// The part of a buffer for directory entries that is still empty.
struct Entries<'m, 'g> {
    memory: &'m mut GuestMemory<'g>,
    left: Span,
}

impl Entries<'_, '_> {
    fn push(&mut self, next: u64, inode: u64, kind: Filetype, name: &str) -> Result<(), BadPointer> {
        self.bytes(&types::dirent(next, inode, name.len() as u32, kind))?;
        self.bytes(name.as_bytes())
    }

    /// As much of it as there is room for.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), BadPointer> {
        let Span { start, length: left } = self.left;
        let length = left.min(bytes.len() as u32);
        self.memory.bytes_mut(Span { start, length })?.copy_from_slice(&bytes[..length as usize]);
        self.left = Span { start: start.wrapping_add(length), length: left - length };
        Ok(())
    }
}

/// What `fstflags` ask for: access and modification, `None` where a time is to stay.
pub(super) fn times(
    atim: u64,
    mtim: u64,
    fst_flags: u32,
    now: Nanos,
) -> Result<(Option<Nanos>, Option<Nanos>), Errno> {
    let flags = Fstflags::decode(fst_flags)?;
    let choose = |set, set_now, time| match (flags.has(set), flags.has(set_now)) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(Some(time)),
        (false, true) => Ok(Some(now)),
        (false, false) => Ok(None),
    };
    let accessed = choose(Fstflags::ATIM, Fstflags::ATIM_NOW, atim)?;
    Ok((accessed, choose(Fstflags::MTIM, Fstflags::MTIM_NOW, mtim)?))
}
