//! A guest without an engine: a memory, its [`Wasi`], and the fake world.
//! Calls go the whole way that a wasm module's would, through pointers and lengths.
#![allow(dead_code, unreachable_pub, reason = "each test file is a crate and uses its own part")]

pub mod net;
pub mod poll;

use std::sync::Arc;

use lunette_hostcalls::{Ctx, Errno, Nanos, fake::FakeWorld};
use lunette_wasm::wasi::{Answer, Stop, Wasi};

pub const MEMORY: usize = 1 << 17;
/// Where results go, paths, and bytes. What is before, between and behind stays as it was.
pub const RESULT: u32 = 0x100;
pub const PATH: u32 = 0x1000;
pub const PATH_2: u32 = 0x4000;
pub const IOVECS: u32 = 0x8000;
pub const BUFFER: u32 = 0xa000;

/// Preopened: writable, read-only, writable with little room.
pub const ROOT: u32 = 3;
pub const READ_ONLY: u32 = 4;
pub const SMALL: u32 = 5;

/// What the clocks of the fake world begin with.
pub const START: Nanos = 1_000_000;
pub const NOW: Nanos = lunette_hostcalls::fake::FAKE_EPOCH;

pub mod rights {
    pub const FD_DATASYNC: u64 = 1 << 0;
    pub const FD_READ: u64 = 1 << 1;
    pub const FD_SEEK: u64 = 1 << 2;
    pub const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    pub const FD_SYNC: u64 = 1 << 4;
    pub const FD_TELL: u64 = 1 << 5;
    pub const FD_WRITE: u64 = 1 << 6;
    pub const FD_ADVISE: u64 = 1 << 7;
    pub const FD_ALLOCATE: u64 = 1 << 8;
    pub const PATH_CREATE_DIRECTORY: u64 = 1 << 9;
    pub const PATH_CREATE_FILE: u64 = 1 << 10;
    pub const PATH_OPEN: u64 = 1 << 13;
    pub const FD_READDIR: u64 = 1 << 14;
    pub const PATH_FILESTAT_GET: u64 = 1 << 18;
    pub const PATH_FILESTAT_SET_SIZE: u64 = 1 << 19;
    pub const FD_FILESTAT_GET: u64 = 1 << 21;
    pub const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
    pub const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
    pub const PATH_UNLINK_FILE: u64 = 1 << 26;
    pub const POLL_FD_READWRITE: u64 = 1 << 27;
    pub const SOCK_SHUTDOWN: u64 = 1 << 28;
    pub const SOCK_ACCEPT: u64 = 1 << 29;
    pub const ALL: u64 = (1 << 30) - 1;
    /// All that can be asked for of a file that is opened to read, to write, to do both.
    pub const READING: u64 = FILE & !FD_WRITE;
    pub const WRITING: u64 = FILE & !FD_READ;
    pub const FILE: u64 = 0x08e0_01ff;
}

pub const CREAT: u32 = 1;
pub const DIRECTORY: u32 = 2;
pub const EXCL: u32 = 4;
pub const TRUNC: u32 = 8;
pub const FOLLOW: u32 = 1;
pub const APPEND: u32 = 1;
pub const NONBLOCK: u32 = 4;
pub const SYNC: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filestat {
    pub device: u64,
    pub inode: u64,
    pub kind: u8,
    pub links: u64,
    pub size: u64,
    pub accessed: u64,
    pub modified: u64,
    pub changed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fdstat {
    pub kind: u8,
    pub flags: u16,
    pub base: u64,
    pub inheriting: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirent {
    pub next: u64,
    pub inode: u64,
    pub kind: u8,
    pub name: String,
}

pub struct Guest {
    pub wasi: Wasi,
    pub memory: Vec<u8>,
    pub world: FakeWorld,
}

impl Guest {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With a change to what it is given.
    pub fn with(change: impl FnOnce(&mut Ctx)) -> Self {
        let mut world = FakeWorld::new(1);
        world.no_preopens();
        world.preopen_new("/", None).unwrap();
        let files = Arc::clone(&world.files);
        let (mount, root) = files.add_mount(None, false, None).unwrap();
        files.insert_file(mount, "hello.txt", b"hello, world", 7).unwrap();
        files.insert_file(mount, "dir/deep.txt", b"deep", 7).unwrap();
        files.insert_symlink(mount, "link", "hello.txt", 7).unwrap();
        files.insert_symlink(mount, "out", "../escape", 7).unwrap();
        files.insert_symlink(mount, "absolute", "/hello.txt", 7).unwrap();
        world.preopen("/bundle", root);
        world.preopen_new("small", Some(64 << 10)).unwrap();
        let mut ctx = world.ctx(&["guest.wasm", "first", "täst"], &[("HOME", "/"), ("EMPTY", "")]);
        change(&mut ctx);
        Self { wasi: Wasi::new(ctx), memory: vec![0xaa; MEMORY], world }
    }

    /// The call, once.
    pub fn call(&mut self, name: &str, arguments: &[u64]) -> Answer {
        self.wasi.call(name, &mut self.memory, arguments).unwrap_or_else(|| panic!("no {name} of that shape"))
    }

    /// A call that either succeeds or tells an errno.
    #[track_caller]
    pub fn tell(&mut self, name: &str, arguments: &[u64]) -> Result<(), Errno> {
        match self.call(name, arguments) {
            Ok(()) => Ok(()),
            Err(Stop::Errno(errno)) => Err(errno),
            Err(stop) => panic!("{name}: {stop:?}"),
        }
    }

    pub fn put(&mut self, at: u32, bytes: &[u8]) {
        self.memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub fn bytes(&self, at: u32, length: u32) -> &[u8] {
        &self.memory[at as usize..][..length as usize]
    }

    pub fn u32(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    pub fn u64(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }

    /// A call whose first arguments are a descriptor and whatever comes before a path.
    #[track_caller]
    fn with_path(&mut self, name: &str, before: &[u64], path: &str, after: &[u64]) -> Result<(), Errno> {
        self.put(PATH, path.as_bytes());
        let arguments = [before, &[PATH.into(), path.len() as u64], after].concat();
        self.tell(name, &arguments)
    }

    #[track_caller]
    #[expect(clippy::too_many_arguments, reason = "as path_open")]
    pub fn path_open(
        &mut self,
        fd: u32,
        follow: u32,
        path: &str,
        oflags: u32,
        base: u64,
        inheriting: u64,
        fdflags: u32,
    ) -> Result<u32, Errno> {
        let after = [oflags.into(), base, inheriting, fdflags.into(), RESULT.into()];
        self.with_path("path_open", &[fd.into(), follow.into()], path, &after)?;
        Ok(self.u32(RESULT))
    }

    /// Without following links.
    #[track_caller]
    pub fn open(&mut self, fd: u32, path: &str, oflags: u32, base: u64) -> Result<u32, Errno> {
        self.path_open(fd, 0, path, oflags, base, base, 0)
    }

    /// A directory with all rights.
    #[track_caller]
    pub fn dir(&mut self, fd: u32, path: &str) -> Result<u32, Errno> {
        self.path_open(fd, 0, path, DIRECTORY, rights::ALL & !rights::FD_WRITE, rights::ALL, 0)
    }

    /// Makes a file with something in it.
    #[track_caller]
    pub fn file(&mut self, fd: u32, path: &str, content: &[u8]) {
        let file = self.open(fd, path, CREAT | TRUNC, rights::FILE).unwrap();
        assert_eq!(self.write(file, content), Ok(content.len() as u32));
        self.close(file).unwrap();
    }

    #[track_caller]
    pub fn mkdir(&mut self, fd: u32, path: &str) -> Result<(), Errno> {
        self.with_path("path_create_directory", &[fd.into()], path, &[])
    }

    #[track_caller]
    pub fn rmdir(&mut self, fd: u32, path: &str) -> Result<(), Errno> {
        self.with_path("path_remove_directory", &[fd.into()], path, &[])
    }

    #[track_caller]
    pub fn unlink(&mut self, fd: u32, path: &str) -> Result<(), Errno> {
        self.with_path("path_unlink_file", &[fd.into()], path, &[])
    }

    #[track_caller]
    pub fn symlink(&mut self, target: &str, fd: u32, path: &str) -> Result<(), Errno> {
        self.put(PATH_2, target.as_bytes());
        self.with_path("path_symlink", &[PATH_2.into(), target.len() as u64, fd.into()], path, &[])
    }

    #[track_caller]
    pub fn link(&mut self, from: u32, flags: u32, old: &str, to: u32, new: &str) -> Result<(), Errno> {
        self.put(PATH_2, new.as_bytes());
        let after = [to.into(), PATH_2.into(), new.len() as u64];
        self.with_path("path_link", &[from.into(), flags.into()], old, &after)
    }

    #[track_caller]
    pub fn rename(&mut self, from: u32, old: &str, to: u32, new: &str) -> Result<(), Errno> {
        self.put(PATH_2, new.as_bytes());
        self.with_path("path_rename", &[from.into()], old, &[to.into(), PATH_2.into(), new.len() as u64])
    }

    #[track_caller]
    pub fn readlink(&mut self, fd: u32, path: &str, room: u32) -> Result<Vec<u8>, Errno> {
        self.with_path("path_readlink", &[fd.into()], path, &[BUFFER.into(), room.into(), RESULT.into()])?;
        Ok(self.bytes(BUFFER, self.u32(RESULT)).to_vec())
    }

    #[track_caller]
    pub fn stat(&mut self, fd: u32, follow: u32, path: &str) -> Result<Filestat, Errno> {
        self.with_path("path_filestat_get", &[fd.into(), follow.into()], path, &[RESULT.into()])?;
        Ok(self.filestat())
    }

    #[track_caller]
    pub fn fstat(&mut self, fd: u32) -> Result<Filestat, Errno> {
        self.tell("fd_filestat_get", &[fd.into(), RESULT.into()])?;
        Ok(self.filestat())
    }

    fn filestat(&self) -> Filestat {
        Filestat {
            device: self.u64(RESULT),
            inode: self.u64(RESULT + 8),
            kind: self.memory[RESULT as usize + 16],
            links: self.u64(RESULT + 24),
            size: self.u64(RESULT + 32),
            accessed: self.u64(RESULT + 40),
            modified: self.u64(RESULT + 48),
            changed: self.u64(RESULT + 56),
        }
    }

    #[track_caller]
    pub fn set_times(
        &mut self,
        fd: u32,
        follow: u32,
        path: &str,
        times: (u64, u64),
        flags: u32,
    ) -> Result<(), Errno> {
        let after = [times.0, times.1, flags.into()];
        self.with_path("path_filestat_set_times", &[fd.into(), follow.into()], path, &after)
    }

    #[track_caller]
    pub fn fdstat(&mut self, fd: u32) -> Result<Fdstat, Errno> {
        self.tell("fd_fdstat_get", &[fd.into(), RESULT.into()])?;
        Ok(Fdstat {
            kind: self.memory[RESULT as usize],
            flags: u16::from_le_bytes(self.bytes(RESULT + 2, 2).try_into().unwrap()),
            base: self.u64(RESULT + 8),
            inheriting: self.u64(RESULT + 16),
        })
    }

    /// Gives up all rights but these.
    pub fn narrow(&mut self, fd: u32, base: u64, inheriting: u64) {
        self.tell("fd_fdstat_set_rights", &[fd.into(), base, inheriting]).unwrap();
    }

    #[track_caller]
    pub fn close(&mut self, fd: u32) -> Result<(), Errno> {
        self.tell("fd_close", &[fd.into()])
    }

    /// Lays buffers one after the other into the guest and a list of them.
    pub fn iovecs(&mut self, lengths: &[u32]) {
        let mut at = BUFFER;
        for (n, &length) in lengths.iter().enumerate() {
            let iovec = [at.to_le_bytes(), length.to_le_bytes()].concat();
            self.put(IOVECS + 8 * n as u32, &iovec);
            at += length;
        }
    }

    #[track_caller]
    pub fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<u32, Errno> {
        self.put(BUFFER, bytes);
        self.iovecs(&[bytes.len() as u32]);
        self.tell("fd_write", &[fd.into(), IOVECS.into(), 1, RESULT.into()])?;
        Ok(self.u32(RESULT))
    }

    #[track_caller]
    pub fn read(&mut self, fd: u32, length: u32) -> Result<Vec<u8>, Errno> {
        self.iovecs(&[length]);
        self.tell("fd_read", &[fd.into(), IOVECS.into(), 1, RESULT.into()])?;
        Ok(self.bytes(BUFFER, self.u32(RESULT)).to_vec())
    }

    #[track_caller]
    pub fn pwrite(&mut self, fd: u32, bytes: &[u8], offset: u64) -> Result<u32, Errno> {
        self.put(BUFFER, bytes);
        self.iovecs(&[bytes.len() as u32]);
        self.tell("fd_pwrite", &[fd.into(), IOVECS.into(), 1, offset, RESULT.into()])?;
        Ok(self.u32(RESULT))
    }

    #[track_caller]
    pub fn pread(&mut self, fd: u32, length: u32, offset: u64) -> Result<Vec<u8>, Errno> {
        self.iovecs(&[length]);
        self.tell("fd_pread", &[fd.into(), IOVECS.into(), 1, offset, RESULT.into()])?;
        Ok(self.bytes(BUFFER, self.u32(RESULT)).to_vec())
    }

    /// `whence`: 0 from the start, 1 from here, 2 from the end.
    #[track_caller]
    pub fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64, Errno> {
        self.tell("fd_seek", &[fd.into(), offset as u64, whence.into(), RESULT.into()])?;
        Ok(self.u64(RESULT))
    }

    #[track_caller]
    pub fn fd_tell(&mut self, fd: u32) -> Result<u64, Errno> {
        self.tell("fd_tell", &[fd.into(), RESULT.into()])?;
        Ok(self.u64(RESULT))
    }

    /// What one call gives: whole entries, and was the buffer used up?
    #[track_caller]
    pub fn readdir(&mut self, fd: u32, room: u32, cookie: u64) -> Result<(Vec<Dirent>, bool), Errno> {
        let arguments = [fd.into(), BUFFER.into(), room.into(), cookie, RESULT.into()];
        self.tell("fd_readdir", &arguments)?;
        let used = self.u32(RESULT);
        let mut rest = self.bytes(BUFFER, used);
        let mut entries = Vec::new();
        while rest.len() >= 24 {
            let word = |at: usize| u64::from_le_bytes(rest[at..at + 8].try_into().unwrap());
            let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
            let Some(name) = rest.get(24..24 + length) else { break };
            let name = String::from_utf8(name.to_vec()).unwrap();
            entries.push(Dirent { next: word(0), inode: word(8), kind: rest[20], name });
            rest = &rest[24 + length..];
        }
        Ok((entries, used == room))
    }
}
