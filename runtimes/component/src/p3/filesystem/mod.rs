//! `wasi:filesystem`: the functions as WIT has them. `crate::files` does what they ask; nothing of it ever waits.
//!
//! On these points the specification leaves room, or wasmtime's programs need it:
//! - What a file is opened for is enforced; `mutate-directory` is only told: a directory may be changed where its file system may,
//!   as in wasmtime, whose programs open directories without it.
//! - *Synchronised writing* is taken and told: memory is its own disk.
//! - A link is not followed to be linked to: `invalid`.
//! - An offset or size past 2⁶³ − 1 is `invalid`.

pub(super) mod descriptor;
mod entries;
mod file;

use lunette_hostcalls::{Errno, Nanos};
use wasmtime::{
    AsContextMut, Result,
    component::{Access, Accessor, HasSelf, Resource, StreamReader},
};

pub use self::descriptor::Descriptor;
use self::descriptor::{hash, kind, time, told};
use super::{
    Fault,
    bindings::wasi::filesystem::{
        preopens,
        types::{
            self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
            MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
        },
    },
    stream::{self, Outcome, Produced},
};
use crate::{State, files::now};

pub type Failure = Fault<ErrorCode>;

impl From<Errno> for ErrorCode {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::Acces => Self::Access,
            Errno::Already => Self::Already,
            Errno::Badf => Self::BadDescriptor,
            Errno::Busy => Self::Busy,
            Errno::Deadlk => Self::Deadlock,
            Errno::Dquot => Self::Quota,
            Errno::Exist => Self::Exist,
            Errno::Fbig => Self::FileTooLarge,
            Errno::Ilseq => Self::IllegalByteSequence,
            Errno::Inprogress => Self::InProgress,
            Errno::Intr => Self::Interrupted,
            Errno::Inval => Self::Invalid,
            Errno::Io => Self::Io,
            Errno::Isdir => Self::IsDirectory,
            Errno::Loop => Self::Loop,
            Errno::Mlink => Self::TooManyLinks,
            Errno::Msgsize => Self::MessageSize,
            Errno::Nametoolong => Self::NameTooLong,
            Errno::Nodev => Self::NoDevice,
            Errno::Noent => Self::NoEntry,
            Errno::Nolck => Self::NoLock,
            Errno::Nomem | Errno::Mfile | Errno::Nfile => Self::InsufficientMemory,
            Errno::Nospc => Self::InsufficientSpace,
            Errno::Notdir => Self::NotDirectory,
            Errno::Notempty => Self::NotEmpty,
            Errno::Notrecoverable => Self::NotRecoverable,
            Errno::Notsup | Errno::Nosys => Self::Unsupported,
            Errno::Notty => Self::NoTty,
            Errno::Nxio => Self::NoSuchDevice,
            Errno::Overflow => Self::Overflow,
            Errno::Perm | Errno::Notcapable => Self::NotPermitted,
            Errno::Pipe => Self::Pipe,
            Errno::Rofs => Self::ReadOnly,
            Errno::Spipe => Self::InvalidSeek,
            Errno::Txtbsy => Self::TextFileBusy,
            Errno::Xdev => Self::CrossDevice,
            other => Self::Other(Some(other.to_string())),
        }
    }
}

type Here = HasSelf<State>;
type Fd = Resource<Descriptor>;

/// Does `work` on a descriptor, at the date: the epoch where the host doesn't know it.
fn on<T>(
    store: &Accessor<State, Here>,
    fd: &Fd,
    work: impl FnOnce(&Descriptor, Nanos) -> Result<T, Errno>,
) -> Result<T, Failure> {
    store.with(|mut access| {
        let state = access.get();
        Ok(work(state.table.get(fd)?, now(&*state.ctx.clock))?)
    })
}

/// The same on two.
fn on_both(
    store: &Accessor<State, Here>,
    (a, b): (&Fd, &Fd),
    work: impl FnOnce(&Descriptor, &Descriptor, Nanos) -> Result<(), Errno>,
) -> Result<(), Failure> {
    store.with(|mut access| {
        let state = access.get();
        Ok(work(state.table.get(a)?, state.table.get(b)?, now(&*state.ctx.clock))?)
    })
}

fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

impl types::Host for State {
    fn convert_error_code(&mut self, failure: Failure) -> Result<ErrorCode> {
        failure.told()
    }
}

impl types::HostDescriptor for State {
    fn drop(&mut self, fd: Fd) -> Result<()> {
        self.table.delete(fd)?;
        Ok(())
    }
}

impl preopens::Host for State {
    fn get_directories(&mut self) -> Result<Vec<(Fd, String)>> {
        let mut directories = Vec::with_capacity(self.ctx.preopens.len());
        for preopen in &self.ctx.preopens {
            directories.push((self.table.push(Descriptor::preopened(preopen))?, preopen.name.clone()));
        }
        Ok(directories)
    }
}

impl types::HostDescriptorWithStore<State> for Here {
    fn read_via_stream(
        mut store: Access<'_, State, Self>,
        fd: Fd,
        offset: u64,
    ) -> Result<Produced<u8, ErrorCode>> {
        let source = store.get().table.get(&fd)?.reader(offset);
        stream::read(store.as_context_mut(), source)
    }

    fn write_via_stream(
        mut store: Access<'_, State, Self>,
        fd: Fd,
        data: StreamReader<u8>,
        offset: u64,
    ) -> Result<Outcome<ErrorCode>> {
        let state = store.get();
        let sink = state.table.get(&fd)?.writer(Some(offset), &state.ctx.clock);
        stream::write(store.as_context_mut(), data, sink)
    }

    fn append_via_stream(
        mut store: Access<'_, State, Self>,
        fd: Fd,
        data: StreamReader<u8>,
    ) -> Result<Outcome<ErrorCode>> {
        let state = store.get();
        let sink = state.table.get(&fd)?.writer(None, &state.ctx.clock);
        stream::write(store.as_context_mut(), data, sink)
    }

    fn read_directory(
        mut store: Access<'_, State, Self>,
        fd: Fd,
    ) -> Result<Produced<DirectoryEntry, ErrorCode>> {
        let directory = store.get().table.get(&fd)?.listing();
        entries::read(store.as_context_mut(), directory)
    }

    async fn advise(
        store: &Accessor<State, Self>,
        fd: Fd,
        offset: u64,
        length: u64,
        _: Advice,
    ) -> Result<(), Failure> {
        on(store, &fd, |fd, _| {
            fd.file(DescriptorFlags::empty())?;
            // Taken note of by nobody: files are in memory.
            offset.checked_add(length).map(drop).ok_or(Errno::Inval)
        })
    }

    async fn sync_data(store: &Accessor<State, Self>, fd: Fd) -> Result<(), Failure> {
        on(store, &fd, |_, _| Ok(()))
    }

    async fn get_flags(store: &Accessor<State, Self>, fd: Fd) -> Result<DescriptorFlags, Failure> {
        on(store, &fd, |fd, _| Ok(fd.flags))
    }

    async fn get_type(store: &Accessor<State, Self>, fd: Fd) -> Result<DescriptorType, Failure> {
        on(store, &fd, |fd, _| Ok(kind(fd.held.stat()?.kind)))
    }

    async fn set_size(store: &Accessor<State, Self>, fd: Fd, size: u64) -> Result<(), Failure> {
        on(store, &fd, |fd, now| fd.file(DescriptorFlags::WRITE)?.set_size(size, now))
    }

    async fn set_times(
        store: &Accessor<State, Self>,
        fd: Fd,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Result<(), Failure> {
        on(store, &fd, |fd, now| fd.held.set_times(time(accessed, now)?, time(modified, now)?, now))
    }

    async fn sync(store: &Accessor<State, Self>, fd: Fd) -> Result<(), Failure> {
        on(store, &fd, |_, _| Ok(()))
    }

    async fn create_directory_at(store: &Accessor<State, Self>, fd: Fd, path: String) -> Result<(), Failure> {
        on(store, &fd, |fd, now| fd.directory()?.create_directory(&path, now))
    }

    async fn stat(store: &Accessor<State, Self>, fd: Fd) -> Result<DescriptorStat, Failure> {
        on(store, &fd, |fd, _| Ok(told(&fd.held.stat()?)))
    }

    async fn stat_at(
        store: &Accessor<State, Self>,
        fd: Fd,
        flags: PathFlags,
        path: String,
    ) -> Result<DescriptorStat, Failure> {
        on(store, &fd, |fd, _| Ok(told(&fd.directory()?.at(&path, follows(flags))?.stat()?)))
    }

    async fn set_times_at(
        store: &Accessor<State, Self>,
        fd: Fd,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Result<(), Failure> {
        on(store, &fd, |fd, now| {
            let (accessed, modified) = (time(accessed, now)?, time(modified, now)?);
            fd.directory()?.at(&path, follows(flags))?.set_times(accessed, modified, now)
        })
    }

    async fn link_at(
        store: &Accessor<State, Self>,
        fd: Fd,
        flags: PathFlags,
        path: String,
        new_fd: Fd,
        new_path: String,
    ) -> Result<(), Failure> {
        on_both(store, (&fd, &new_fd), |fd, new_fd, now| {
            let (from, to) = (fd.directory()?, new_fd.directory()?);
            if follows(flags) { Err(Errno::Inval) } else { from.link(&path, to, &new_path, now) }
        })
    }

    async fn open_at(
        store: &Accessor<State, Self>,
        fd: Fd,
        path_flags: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Fd, Failure> {
        let opened = on(store, &fd, |fd, now| fd.open(&path, follows(path_flags), how, flags, now))?;
        Ok(store.with(|mut access| access.get().table.push(opened))?)
    }

    async fn readlink_at(store: &Accessor<State, Self>, fd: Fd, path: String) -> Result<String, Failure> {
        on(store, &fd, |fd, _| {
            let target = fd.directory()?.read_link(&path)?;
            if target.starts_with('/') { Err(Errno::Perm) } else { Ok(target) }
        })
    }

    async fn remove_directory_at(store: &Accessor<State, Self>, fd: Fd, path: String) -> Result<(), Failure> {
        on(store, &fd, |fd, now| fd.directory()?.remove_directory(&path, now))
    }

    async fn rename_at(
        store: &Accessor<State, Self>,
        fd: Fd,
        path: String,
        new_fd: Fd,
        new_path: String,
    ) -> Result<(), Failure> {
        on_both(store, (&fd, &new_fd), |fd, new_fd, now| {
            fd.directory()?.rename(&path, new_fd.directory()?, &new_path, now)
        })
    }

    async fn symlink_at(
        store: &Accessor<State, Self>,
        fd: Fd,
        target: String,
        path: String,
    ) -> Result<(), Failure> {
        on(store, &fd, |fd, now| fd.directory()?.symlink(&target, &path, now))
    }

    async fn unlink_file_at(store: &Accessor<State, Self>, fd: Fd, path: String) -> Result<(), Failure> {
        on(store, &fd, |fd, now| fd.directory()?.unlink(&path, now))
    }

    async fn is_same_object(store: &Accessor<State, Self>, fd: Fd, other: Fd) -> Result<bool> {
        store.with(|mut access| {
            let table = &access.get().table;
            Ok(table.get(&fd)?.held.is(&table.get(&other)?.held))
        })
    }

    async fn metadata_hash(store: &Accessor<State, Self>, fd: Fd) -> Result<MetadataHashValue, Failure> {
        on(store, &fd, |fd, _| Ok(hash(&fd.held.stat()?)))
    }

    async fn metadata_hash_at(
        store: &Accessor<State, Self>,
        fd: Fd,
        flags: PathFlags,
        path: String,
    ) -> Result<MetadataHashValue, Failure> {
        on(store, &fd, |fd, _| Ok(hash(&fd.directory()?.at(&path, follows(flags))?.stat()?)))
    }
}
