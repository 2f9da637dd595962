//! WASI preview 1: all 46 functions of `wasi_snapshot_preview1`, decoded, done on a [`Ctx`], and answered.
//! Knows no engine: an engine hands over the guest's memory and the arguments, and does what the [`Stop`] says.
//!
//! Promises:
//! - **Nothing blocks.** What can't be done now is a [`Stop::Wait`] and has changed nothing that the guest may
//!   look at; once the wait is over the engine makes the same call again with the same arguments. A timeout counts
//!   from the first time, and what went through a socket stays done.
//! - **The world goes on.** A guest that asks over and over (`nonblock`, a poll that never waits) gives way now and
//!   then.
//! - **Nothing panics, and no work is by the guest's word.** A pointer that leads nowhere is a
//!   [`Trap`]; flags and numbers that mean nothing are [`Errno::Inval`], text that is none is
//!   [`Errno::Ilseq`]. No buffer of a size that a guest names is ever made: bytes go straight between its
//!   memory and the service, at most [`MAX_IOVECS`] pieces a call, [`MAX_STREAM`] bytes for a stream,
//!   [`MAX_SOCKET`] for a socket and [`MAX_FILE_IO`] for a file. Less than was asked for is a short read or write, as
//!   ever.
//! - **All that a call will write to is checked before it does anything**, so that a bad pointer leaves no
//!   half-done work behind.
//!
//! Where the specification is silent this does what wasmtime 48 does, and on these points:
//! - *Rights* are given as wasmtime gives them, so that no program that runs there lacks one here: all that mean
//!   something for what was opened, whatever was asked for; only reading and writing a file are as asked (who asks
//!   for neither may read, and write what is new or cut off). They can be given up, which wasmtime refuses to do:
//!   `fd_fdstat_set_rights` narrows a descriptor and all that is opened from it, for good. What was given up is
//!   [`Errno::Notcapable`]; but reading or writing a descriptor that is not open for it is [`Errno::Badf`], as in
//!   POSIX and wasmtime.
//! - *Synchronised writing* (`fdflags::sync` and its kin) is taken and reported: memory is its own disk.
//! - `fd_fdstat_set_flags` works on standard input and output too: `nonblock` makes them answer
//!   [`Errno::Again`].
//! - `poll_oneoff` reports what is wrong with one subscription in that one's event; only what can't be decoded
//!   fails the call. It tells the true number of bytes where that is known.
//! - `clock_res_get` and `clock_time_get` answer [`Errno::Inval`] for a clock that is not there: CPU time, and
//!   the date where the host does not know it.
//! - Of several buffers as many as possible are filled or written, not only the first.
//! - A descriptor gets the lowest free number; more than [`MAX_DESCRIPTORS`] are [`Errno::Mfile`].
//! - *Sockets* (which wasmtime 48 has not got in preview 1) do what Linux does; see `sock.rs`.
//!
//! Does not: signals (`proc_raise` is [`Errno::Notsup`]),
//! reserving space (`fd_allocate`: [`Errno::Notsup`], as wasmtime: no file system here keeps space for a file
//! that it has not got).

mod env;
mod fd;
mod functions;
mod io;
mod path;
mod poll;
mod sock;
mod table;
mod types;

use core::{fmt, mem};

use lunette_hostcalls::{Ctx, Errno, Nanos, Stream, Trap, Wait};

pub(crate) use self::functions::for_preview1_shape;
use self::{
    io::Patience,
    table::{Descriptor, Held, Kind, Table},
    types::{Fdflags, Rights},
};
use crate::memory::{BadPointer, GuestMemory, Span};

pub use self::{
    functions::{Args, Function, MAX_PARAMS},
    io::{MAX_FILE_IO, MAX_IOVECS, MAX_STREAM},
    poll::MAX_SUBSCRIPTIONS,
    sock::MAX_SOCKET,
    table::MAX_DESCRIPTORS,
};

/// The module that a guest imports these functions from.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// All functions with their parameters (a `Span` is two `i32`), for whatever is to be made from the list: hands it to the macro named.
/// Every function returns its errno as an `i32`, but `proc_exit`, which returns nothing (and never).
#[macro_export]
macro_rules! for_each_preview1 {
    ($callback:ident) => {
        $callback! {
            args_get(argv: u32, argv_buf: u32);
            args_sizes_get(argc: u32, argv_buf_size: u32);
            clock_res_get(id: u32, resolution: u32);
            clock_time_get(id: u32, precision: u64, time: u32);
            environ_get(environ: u32, environ_buf: u32);
            environ_sizes_get(environc: u32, environ_buf_size: u32);
            fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
            fd_allocate(fd: u32, offset: u64, len: u64);
            fd_close(fd: u32);
            fd_datasync(fd: u32);
            fd_fdstat_get(fd: u32, stat: u32);
            fd_fdstat_set_flags(fd: u32, flags: u32);
            fd_fdstat_set_rights(fd: u32, rights_base: u64, rights_inheriting: u64);
            fd_filestat_get(fd: u32, stat: u32);
            fd_filestat_set_size(fd: u32, size: u64);
            fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, fst_flags: u32);
            fd_pread(fd: u32, iovs: Span, offset: u64, nread: u32);
            fd_prestat_dir_name(fd: u32, path: Span);
            fd_prestat_get(fd: u32, prestat: u32);
            fd_pwrite(fd: u32, iovs: Span, offset: u64, nwritten: u32);
            fd_read(fd: u32, iovs: Span, nread: u32);
            fd_readdir(fd: u32, buf: Span, cookie: u64, bufused: u32);
            fd_renumber(fd: u32, to: u32);
            fd_seek(fd: u32, offset: u64, whence: u32, newoffset: u32);
            fd_sync(fd: u32);
            fd_tell(fd: u32, offset: u32);
            fd_write(fd: u32, iovs: Span, nwritten: u32);
            path_create_directory(fd: u32, path: Span);
            path_filestat_get(fd: u32, flags: u32, path: Span, stat: u32);
            path_filestat_set_times(fd: u32, flags: u32, path: Span, atim: u64, mtim: u64, fst_flags: u32);
            path_link(old_fd: u32, old_flags: u32, old_path: Span, new_fd: u32, new_path: Span);
            path_open(
                fd: u32, dirflags: u32, path: Span, oflags: u32,
                rights_base: u64, rights_inheriting: u64, fdflags: u32, opened: u32
            );
            path_readlink(fd: u32, path: Span, buf: Span, bufused: u32);
            path_remove_directory(fd: u32, path: Span);
            path_rename(old_fd: u32, old_path: Span, new_fd: u32, new_path: Span);
            path_symlink(old_path: Span, fd: u32, new_path: Span);
            path_unlink_file(fd: u32, path: Span);
            poll_oneoff(subscriptions: u32, events: u32, nsubscriptions: u32, nevents: u32);
            proc_exit(code: u32);
            proc_raise(signal: u32);
            random_get(buf: Span);
            sched_yield();
            sock_accept(fd: u32, flags: u32, accepted: u32);
            sock_recv(fd: u32, ri_data: Span, ri_flags: u32, ro_datalen: u32, ro_flags: u32);
            sock_send(fd: u32, si_data: Span, si_flags: u32, so_datalen: u32);
            sock_shutdown(fd: u32, how: u32);
        }
    };
}

/// The types of parameters that occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    I32,
    I64,
}

/// What a guest has to import a function as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    pub name: &'static str,
    pub params: &'static [ValueType],
    /// Is there a result (always one `i32`)?
    pub result: bool,
}

macro_rules! signatures {
    ($($name:ident($($param:ident: $type:ident),*);)*) => {
        /// All functions, sorted by name.
        pub const FUNCTIONS: &[Signature] = &[$(Signature {
            name: stringify!($name),
            params: signatures!(@values [] $($type)*),
            result: !matches!(stringify!($name).as_bytes(), b"proc_exit"),
        }),*];
    };
    // One or two values for each parameter, in order.
    (@values [$($value:ident)*]) => { &[$(ValueType::$value),*] };
    (@values [$($value:ident)*] u32 $($rest:ident)*) => { signatures!(@values [$($value)* I32] $($rest)*) };
    (@values [$($value:ident)*] u64 $($rest:ident)*) => { signatures!(@values [$($value)* I64] $($rest)*) };
    (@values [$($value:ident)*] Span $($rest:ident)*) => { signatures!(@values [$($value)* I32 I32] $($rest)*) };
}

crate::for_each_preview1!(signatures);

/// The type of a parameter: made of the next values of a call, an `i32` of the lower half. What is missing is 0.
pub(crate) trait Param {
    fn take<'a>(values: &mut impl Iterator<Item = &'a u64>) -> Self;
}

impl Param for u64 {
    #[inline]
    fn take<'a>(values: &mut impl Iterator<Item = &'a u64>) -> Self {
        values.next().copied().unwrap_or(0)
    }
}

impl Param for u32 {
    #[inline]
    fn take<'a>(values: &mut impl Iterator<Item = &'a u64>) -> Self {
        u64::take(values) as Self
    }
}

impl Param for Span {
    #[inline]
    fn take<'a>(values: &mut impl Iterator<Item = &'a u64>) -> Self {
        let start = u32::take(values);
        Self { start, length: u32::take(values) }
    }
}

impl Signature {
    /// The function of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        let at = FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok()?;
        Some(&FUNCTIONS[at])
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (n, param) in self.params.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{}", if *param == ValueType::I32 { "i32" } else { "i64" })?;
        }
        f.write_str(if self.result { ") -> i32" } else { ")" })
    }
}

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// The guest is told: this is the call's result. (Success is 0.)
    Errno(Errno),
    /// Not yet: wait, then make the same call again.
    Wait(Wait),
    /// The guest is done.
    Exit(u32),
    /// The guest is at an end by its own fault.
    Trap(Trap),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<BadPointer> for Stop {
    #[cold]
    fn from(bad: BadPointer) -> Self {
        Self::Trap(bad.into())
    }
}

/// What every function answers.
pub type Answer = Result<(), Stop>;

/// Preview 1 for one guest: its world, its descriptors, and a call that waits, if one does.
///
/// One method a function, with the parameters of [`for_each_preview1`](crate::for_each_preview1) after the memory.
pub struct Wasi {
    ctx: Ctx,
    table: Table,
    progress: Progress,
    patience: Patience,
}

/// What the call that now waits has come to; none before its first time.
#[derive(Clone, Copy, Default)]
enum Progress {
    #[default]
    None,
    /// A `poll_oneoff` was first called then.
    Began(Nanos),
    /// A `sched_yield` has given way.
    Yielded,
    /// So many bytes went through a socket.
    Moved(u32),
}

impl Progress {
    /// The bytes that this call moved before it waited.
    fn moved(&mut self) -> u32 {
        if let Self::Moved(bytes) = mem::take(self) { bytes } else { 0 }
    }
}

impl Wasi {
    /// Descriptors 0, 1 and 2 are the standard streams; `ctx.listeners` follow, which are taken from it, then
    /// `ctx.preopens`.
    pub fn new(mut ctx: Ctx) -> Self {
        let stream = |kind, rights| Descriptor { kind, rights, inheriting: rights, flags: Fdflags::NONE };
        // Taken: a listener is closed when its descriptor goes.
        let listeners = mem::take(&mut ctx.listeners).into_iter().map(|listening| Descriptor {
            kind: Kind::Listener(listening.socket),
            rights: Rights::LISTENER,
            inheriting: Rights::CONNECTION,
            flags: Fdflags::NONE,
        });
        let streams = [
            stream(Kind::Stdin, Rights::STDIN),
            stream(Kind::Output(Stream::Out), Rights::STDOUT),
            stream(Kind::Output(Stream::Err), Rights::STDOUT),
        ];
        let preopens = ctx.preopens.iter().map(|preopen| Descriptor {
            kind: Kind::Directory {
                held: Held::new(&preopen.files, preopen.root),
                preopen: Some(preopen.name.as_str().into()),
            },
            rights: Rights::DIRECTORY,
            inheriting: Rights::DIRECTORY.or(Rights::FILE),
            flags: Fdflags::NONE,
        });
        let table = Table::new(streams.into_iter().chain(listeners).chain(preopens));
        Self { ctx, table, progress: Progress::None, patience: Patience::default() }
    }

    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// Closes every descriptor, when the guest is at its end.
    pub fn close(&mut self) {
        self.table = Table::new([].into_iter());
    }
}

macro_rules! call_by_name {
    ($($name:ident($($param:ident: $type:ident),*);)*) => {
        impl Wasi {
            /// Makes the call of that name: for what picks its functions at run time (tests, fuzzers).
            /// An `i32` is the lower half of its argument. `None` if there is no such function or the number of
            /// arguments is wrong.
            pub fn call(&mut self, name: &str, memory: &mut [u8], arguments: &[u64]) -> Option<Answer> {
                if Signature::find(name)?.params.len() != arguments.len() {
                    return None;
                }
                let _values = &mut arguments.iter();
                match name {
                    $(stringify!($name) => {
                        let memory = &mut GuestMemory::new(stringify!($name), memory);
                        Some(self.$name(memory $(, <$type>::take(_values))*))
                    })*
                    _ => None,
                }
            }
        }
    };
}

crate::for_each_preview1!(call_by_name);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_46_functions_sorted() {
        assert_eq!(FUNCTIONS.len(), 46);
        assert!(FUNCTIONS.is_sorted_by_key(|function| function.name));
        assert_eq!(FUNCTIONS.iter().filter(|function| !function.result).count(), 1);
        assert!(!Signature::find("proc_exit").unwrap().result);
        assert_eq!(Signature::find("fd_reed"), None);
    }

    #[test]
    fn a_signature_reads_as_wasm() {
        let seek = Signature::find("fd_seek").unwrap();
        assert_eq!(seek.to_string(), "fd_seek(i32, i64, i32, i32) -> i32");
        assert_eq!(Signature::find("proc_exit").unwrap().to_string(), "proc_exit(i32)");
        assert_eq!(Signature::find("sched_yield").unwrap().to_string(), "sched_yield() -> i32");
    }
}
