//! Sockets: a listener that a guest comes with, the connections that it accepts, and what is done with them.
//!
//! Preview 1 has no call that makes a socket. A guest finds its listeners at descriptor 3 and up, before its
//! directories (`LISTEN_FDS` says how many); all others come from `sock_accept`.
//!
//! Promises: what blocks waits by [`Stop::Wait`] and keeps what it moved so far, so that a write on a connection that
//! blocks writes all it was given (up to [`MAX_SOCKET`]), as in Linux, and so does `sock_recv` with `waitall`. An error
//! that is met after some bytes were moved is left for the next call, for the network tells it once. What a guest
//! hears when it uses the wrong thing:
//!
//! | | listener | connection | file, stream | directory |
//! |---|---|---|---|---|
//! | `sock_accept` | | `inval` | `notsock` | `badf` |
//! | `sock_recv`, `sock_send`, `sock_shutdown` | `notconn` | | `notsock` | `badf` |
//! | `fd_read` | `notconn` | | | `badf` |
//! | `fd_write` | `badf` | | | `badf` |
//!
//! (A directory is no socket either; but guests come with directories that nobody asked for, and tests take descriptor
//! 3 for one that is not open.)
//!
//! Does not: out-of-band data, ancillary data, addresses (preview 1 has none of them); `peek` looks at what is there
//! for the first buffer, and does not wait for more with `waitall`.

use std::sync::Arc;

use lunette_hostcalls::{Errno, Interest, Shutdown, TcpStream, Wait};

use super::{
    Answer, Progress, Stop, Wasi,
    io::{Iovecs, Patience, transfer},
    table::{Descriptor, Kind},
    types::{Fdflags, Riflags, Rights, Sdflags},
};
use crate::memory::{GuestMemory, Span};

/// How many bytes one call moves through a socket. It does so piece by piece, as the socket takes or has them.
pub const MAX_SOCKET: u32 = 64 << 20;

impl Wasi {
    /// Takes the oldest connection that waits at a listener; its flags are those asked for. Waits for one.
    ///
    /// [`Errno::Inval`]: not a listener; flags other than `nonblock`. [`Errno::Notsock`], [`Errno::Badf`].
    /// [`Errno::Again`]: none there, and the listener is `nonblock`. [`Errno::Mfile`]. [`Errno::Canceled`]: the host
    /// is being stopped, and no more will come. [`Errno::Notcapable`].
    pub fn sock_accept(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        accepted: u32,
    ) -> Answer {
        let flags = Fdflags::decode(flags)?;
        let descriptor = self.table.get(fd)?;
        let Kind::Listener(listener) = &descriptor.kind else {
            return Err(descriptor.stream().err().unwrap_or(Errno::Inval).into());
        };
        descriptor.may(Rights::SOCK_ACCEPT)?;
        if !flags.only(Fdflags::NONBLOCK) {
            return Err(Errno::Inval.into());
        }
        memory.check(accepted, 4, 4)?;
        let rights = Rights::CONNECTION.and(descriptor.inheriting);
        let (nonblocking, listener) = (descriptor.nonblocking(), Arc::clone(listener));
        // A connection that there is no number for stays where it is.
        self.table.room()?;
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(Errno::Again) => {
                return Err(self.patience.blocked(nonblocking, || Wait::socket(listener, Interest::Read)));
            }
            Err(error) => return Err(error.into()),
        };
        let descriptor = Descriptor { kind: Kind::Stream(stream), rights, inheriting: rights, flags };
        let fd = self.table.insert(descriptor)?;
        Ok(memory.write_u32(accepted, fd)?)
    }

    /// Reads from a connection. 0 bytes for buffers that are not empty: the end. Waits for something, with `waitall`
    /// for all of it or the end.
    ///
    /// [`Errno::Notconn`]: a listener. [`Errno::Notsock`]; [`Errno::Badf`]: not open, or not for reading.
    /// [`Errno::Again`]: nothing there, and `nonblock`. [`Errno::Inval`]: unknown flags. [`Errno::Connreset`].
    pub fn sock_recv(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        ri_data: Span,
        ri_flags: u32,
        ro_datalen: u32,
        ro_flags: u32,
    ) -> Answer {
        let flags = Riflags::decode(ri_flags)?;
        let descriptor = self.table.get(fd)?;
        let stream = descriptor.stream()?;
        descriptor.open_for(Rights::FD_READ)?;
        memory.check(ro_flags, 2, 2)?;
        transfer(memory, ri_data, ro_datalen, |memory, iovecs| {
            let how = How { nonblocking: descriptor.nonblocking(), flags };
            receive(memory, iovecs, stream, how, &mut self.progress, &mut self.patience)
        })?;
        // What does not fit into the buffers is still there: nothing of a stream is ever cut off.
        Ok(memory.write_u16(ro_flags, 0)?)
    }

    /// Writes to a connection. Waits until all is on its way, unless `nonblock`; there is no flag that would mean
    /// something.
    ///
    /// As [`Wasi::sock_recv`], and [`Errno::Pipe`]: the connection is closed, or shut down for writing.
    pub fn sock_send(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        si_data: Span,
        si_flags: u32,
        so_datalen: u32,
    ) -> Answer {
        if si_flags != 0 {
            return Err(Errno::Inval.into());
        }
        let descriptor = self.table.get(fd)?;
        let stream = descriptor.stream()?;
        descriptor.open_for(Rights::FD_WRITE)?;
        transfer(memory, si_data, so_datalen, |memory, iovecs| {
            let nonblocking = descriptor.nonblocking();
            send(memory, iovecs, stream, nonblocking, &mut self.progress, &mut self.patience)
        })
    }

    /// Closes one half of a connection, or both.
    ///
    /// [`Errno::Notconn`]: not, or no longer, connected; a listener. [`Errno::Notsock`], [`Errno::Badf`].
    /// [`Errno::Inval`]: no half, or unknown flags. [`Errno::Notcapable`].
    pub fn sock_shutdown(&mut self, _memory: &mut GuestMemory<'_>, fd: u32, how: u32) -> Answer {
        let how = Sdflags::decode(how)?;
        let descriptor = self.table.get(fd)?;
        let stream = descriptor.stream()?;
        descriptor.may(Rights::SOCK_SHUTDOWN)?;
        let how = match (how.has(Sdflags::RD), how.has(Sdflags::WR)) {
            (true, true) => Shutdown::Both,
            (true, false) => Shutdown::Read,
            (false, true) => Shutdown::Write,
            (false, false) => return Err(Errno::Inval.into()),
        };
        Ok(stream.shutdown(how)?)
    }
}

impl Descriptor {
    /// The connection behind it, or what a guest is told that takes it for one.
    fn stream(&self) -> Result<&Arc<dyn TcpStream>, Errno> {
        match &self.kind {
            Kind::Stream(stream) => Ok(stream),
            Kind::Listener(_) => Err(Errno::Notconn),
            Kind::Stdin | Kind::Output(_) | Kind::File { .. } => Err(Errno::Notsock),
            Kind::Directory { .. } => Err(Errno::Badf),
        }
    }
}

/// How to read.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) nonblocking: bool,
    pub(super) flags: Riflags,
}

/// Reads what is there, or all that is asked for.
pub(super) fn receive(
    memory: &mut GuestMemory<'_>,
    iovecs: &Iovecs,
    stream: &Arc<dyn TcpStream>,
    how: How,
    progress: &mut Progress,
    patience: &mut Patience,
) -> Result<u32, Stop> {
    let peek = how.flags.has(Riflags::PEEK);
    let all = how.flags.has(Riflags::WAITALL) && !how.nonblocking && !peek;
    // More may come, and is wanted.
    let mut more = false;
    let done = iovecs.each(memory, MAX_SOCKET, progress.moved(), |memory, buf, done| {
        let bytes = memory.bytes_mut(buf)?;
        let mut read = 0;
        while read < bytes.len() {
            if done > 0 || read > 0 {
                let there = stream.ready(Interest::Read);
                if peek || there.bytes == 0 {
                    more = !there.hangup;
                    break;
                }
            }
            let now = if peek { stream.peek(bytes) } else { stream.read(&mut bytes[read..]) };
            match now {
                Err(error) if read == 0 => return Err(error.into()),
                Ok(0) | Err(_) => break,
                // As in `each`: never past the end.
                Ok(now) => read = read.saturating_add(now).min(bytes.len()),
            }
            if !all {
                break;
            }
        }
        Ok(read)
    });
    match done {
        Ok(done) if all && more => {
            *progress = Progress::Moved(done);
            Err(Stop::Wait(Wait::socket(stream.clone(), Interest::Read)))
        }
        Err(Stop::Errno(Errno::Again)) => {
            Err(patience.blocked(how.nonblocking, || Wait::socket(stream.clone(), Interest::Read)))
        }
        done => done,
    }
}

/// Writes what there is room for, or all of it.
pub(super) fn send(
    memory: &mut GuestMemory<'_>,
    iovecs: &Iovecs,
    stream: &Arc<dyn TcpStream>,
    nonblocking: bool,
    progress: &mut Progress,
    patience: &mut Patience,
) -> Result<u32, Stop> {
    // There will be room for the rest.
    let mut more = false;
    let done = iovecs.each(memory, MAX_SOCKET, progress.moved(), |memory, buf, done| {
        let bytes = memory.bytes(buf)?;
        let mut written = 0;
        while written < bytes.len() {
            if done > 0 || written > 0 {
                let there = stream.ready(Interest::Write);
                if there.bytes == 0 {
                    more = !there.hangup;
                    break;
                }
            }
            match stream.write(&bytes[written..]) {
                Err(error) if written == 0 => return Err(error.into()),
                Ok(0) | Err(_) => break,
                Ok(now) => written = written.saturating_add(now).min(bytes.len()),
            }
        }
        Ok(written)
    });
    match done {
        Ok(done) if more && !nonblocking => {
            *progress = Progress::Moved(done);
            Err(Stop::Wait(Wait::socket(stream.clone(), Interest::Write)))
        }
        Err(Stop::Errno(Errno::Again)) => {
            Err(patience.blocked(nonblocking, || Wait::socket(stream.clone(), Interest::Write)))
        }
        done => done,
    }
}
