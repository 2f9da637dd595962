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
        let nonblocking = descriptor.nonblocking();
        let moving =
            Moving { stream, nonblocking, progress: &mut self.progress, patience: &mut self.patience };
        transfer(memory, ri_data, ro_datalen, |memory, iovecs| moving.receive(memory, iovecs, flags))?;
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
        let nonblocking = descriptor.nonblocking();
        let moving =
            Moving { stream, nonblocking, progress: &mut self.progress, patience: &mut self.patience };
        transfer(memory, si_data, so_datalen, |memory, iovecs| moving.send(memory, iovecs))
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

/// A connection to move bytes through, for a guest that may wait.
pub(super) struct Moving<'a> {
    pub(super) stream: &'a Arc<dyn TcpStream>,
    pub(super) nonblocking: bool,
    pub(super) progress: &'a mut Progress,
    pub(super) patience: &'a mut Patience,
}

/// How much one call is to move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Amount {
    /// As much as one look shows: looking twice shows the same again.
    OneLook,
    /// What can be moved without waiting.
    Some,
    /// All of it.
    All,
}

impl Moving<'_> {
    /// Reads what is there, or all that is asked for.
    pub(super) fn receive(
        self,
        memory: &mut GuestMemory<'_>,
        iovecs: &Iovecs,
        flags: Riflags,
    ) -> Result<u32, Stop> {
        let stream = self.stream;
        if flags.has(Riflags::PEEK) {
            let peek = |memory: &mut GuestMemory<'_>, buf| Ok(stream.peek(memory.bytes_mut(buf)?)?);
            return self.go(memory, iovecs, Interest::Read, Amount::OneLook, peek);
        }
        let amount = if flags.has(Riflags::WAITALL) { Amount::All } else { Amount::Some };
        let read = |memory: &mut GuestMemory<'_>, buf| Ok(stream.read(memory.bytes_mut(buf)?)?);
        self.go(memory, iovecs, Interest::Read, amount, read)
    }

    /// Writes all of it, or what there is room for.
    pub(super) fn send(self, memory: &mut GuestMemory<'_>, iovecs: &Iovecs) -> Result<u32, Stop> {
        let stream = self.stream;
        let write = |memory: &mut GuestMemory<'_>, buf| Ok(stream.write(memory.bytes(buf)?)?);
        self.go(memory, iovecs, Interest::Write, Amount::All, write)
    }

    fn go<'g>(
        self,
        memory: &mut GuestMemory<'g>,
        iovecs: &Iovecs,
        interest: Interest,
        amount: Amount,
        mut step: impl FnMut(&mut GuestMemory<'g>, Span) -> Result<usize, Stop>,
    ) -> Result<u32, Stop> {
        let Self { stream, nonblocking, progress, patience } = self;
        // The rest could be moved later.
        let mut later = false;
        let done = iovecs.each(memory, MAX_SOCKET, progress.moved(), |memory, buf, done| {
            let mut rest = buf;
            while rest.length > 0 {
                let some = done > 0 || rest.length < buf.length;
                if some {
                    // An error that were met now would be lost.
                    let there = stream.ready(interest);
                    if amount == Amount::OneLook || there.bytes == 0 {
                        later = !there.hangup;
                        break;
                    }
                }
                let now = match step(memory, rest) {
                    Err(stop) if rest.length == buf.length => return Err(stop),
                    Ok(0) | Err(_) => break,
                    // As in `each`: never past the end.
                    Ok(now) => now.min(rest.length as usize) as u32,
                };
                rest = Span { start: rest.start.wrapping_add(now), length: rest.length - now };
                if amount == Amount::Some {
                    break;
                }
            }
            Ok((buf.length - rest.length) as usize)
        });
        let wait = || Wait::socket(stream.clone(), interest);
        match done {
            Ok(done) if later && amount == Amount::All && !nonblocking => {
                *progress = Progress::Moved(done);
                patience.renew();
                Err(Stop::Wait(wait()))
            }
            Err(Stop::Errno(Errno::Again)) => Err(patience.blocked(nonblocking, wait)),
            done => done,
        }
    }
}
