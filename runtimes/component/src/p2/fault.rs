//! Why a function of `wasi:filesystem` fails, and what it says then.

use lunette_hostcalls::Errno;
use wasmtime::component::{Resource, ResourceTableError};
use wasmtime_wasi_io::streams::StreamError;

use super::bindings::wasi::filesystem::types::ErrorCode;
use crate::State;

/// The guest hears about it, or it ends.
#[derive(Debug)]
pub enum Fault {
    Errno(Errno),
    Trap(wasmtime::Error),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<ResourceTableError> for Fault {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

/// What a stream says of a failure: [`Errno::Pipe`] is its end, everything else can be asked for.
pub(super) fn stream_error(errno: Errno) -> StreamError {
    match errno {
        Errno::Pipe => StreamError::Closed,
        errno => StreamError::LastOperationFailed(wasmtime::Error::new(errno)),
    }
}

impl State {
    /// The errno that a stream's error stands for.
    pub(super) fn errno(&self, error: &Resource<wasmtime::Error>) -> wasmtime::Result<Option<Errno>> {
        Ok(self.table.get(error)?.downcast_ref().copied())
    }
}

pub(super) fn code(errno: Errno) -> ErrorCode {
    match errno {
        Errno::Acces => ErrorCode::Access,
        Errno::Again => ErrorCode::WouldBlock,
        Errno::Already => ErrorCode::Already,
        Errno::Badf => ErrorCode::BadDescriptor,
        Errno::Busy => ErrorCode::Busy,
        Errno::Deadlk => ErrorCode::Deadlock,
        Errno::Dquot => ErrorCode::Quota,
        Errno::Exist => ErrorCode::Exist,
        Errno::Fbig => ErrorCode::FileTooLarge,
        Errno::Ilseq => ErrorCode::IllegalByteSequence,
        Errno::Inprogress => ErrorCode::InProgress,
        Errno::Intr => ErrorCode::Interrupted,
        Errno::Inval => ErrorCode::Invalid,
        Errno::Isdir => ErrorCode::IsDirectory,
        Errno::Loop => ErrorCode::Loop,
        Errno::Mlink => ErrorCode::TooManyLinks,
        Errno::Msgsize => ErrorCode::MessageSize,
        Errno::Nametoolong => ErrorCode::NameTooLong,
        Errno::Nodev => ErrorCode::NoDevice,
        Errno::Noent => ErrorCode::NoEntry,
        Errno::Nolck => ErrorCode::NoLock,
        Errno::Nomem | Errno::Mfile | Errno::Nfile => ErrorCode::InsufficientMemory,
        Errno::Nospc => ErrorCode::InsufficientSpace,
        Errno::Notdir => ErrorCode::NotDirectory,
        Errno::Notempty => ErrorCode::NotEmpty,
        Errno::Notrecoverable => ErrorCode::NotRecoverable,
        Errno::Notsup | Errno::Nosys => ErrorCode::Unsupported,
        Errno::Notty => ErrorCode::NoTty,
        Errno::Nxio => ErrorCode::NoSuchDevice,
        Errno::Overflow => ErrorCode::Overflow,
        Errno::Perm | Errno::Notcapable => ErrorCode::NotPermitted,
        Errno::Pipe => ErrorCode::Pipe,
        Errno::Rofs => ErrorCode::ReadOnly,
        Errno::Spipe => ErrorCode::InvalidSeek,
        Errno::Txtbsy => ErrorCode::TextFileBusy,
        Errno::Xdev => ErrorCode::CrossDevice,
        _ => ErrorCode::Io,
    }
}
