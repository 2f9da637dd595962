//! The network as a guest finds it: sockets that never block, and names that become addresses.
//!
//! Promises, on every host: an operation that can't be done now answers [`Errno::Again`]; a socket is closed
//! when the last reference to it goes, and what was written before still arrives; an error that the network
//! reports (a reset, a timeout) is told once by the operation that meets it, then reads are at their end and writes
//! answer [`Errno::Pipe`]. Waiting is [`Source::register`] and nothing else.
//!
//! Does not: check grants ([`crate::Network`] does, and is what a guest's [`crate::Ctx`] has), raise an
//! interface, or know what a packet is.

use alloc::{sync::Arc, vec::Vec};
use core::{
    net::{IpAddr, SocketAddr},
    task::Waker,
};

use crate::{Errno, Nanos, Ready};

/// What one waits for at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interest {
    /// Something to read, a connection to accept, an answer; or the end of it.
    Read,
    /// Room to write; or a connection made; or the end of it.
    Write,
}

/// What can be waited for.
pub trait Source: Send + Sync {
    /// What could be done at once. For [`Interest::Read`]: the bytes that can be read, the connections that can be
    /// accepted, the size of the next datagram (at least 1, even of an empty one). For [`Interest::Write`]: the bytes
    /// that there is room for. `hangup`: reads are at their end, or writes fail, or nothing will ever come.
    fn ready(&self, interest: Interest) -> Ready;

    /// Has `waker` woken as soon as [`Source::ready`] says anything for `interest`: at once if it does now. One waker for
    /// each interest: a new one takes the place of the old, which is woken unless it is of the same task
    /// ([`crate::task::replace_waker`]).
    fn register(&self, interest: Interest, waker: &Waker);
}

/// Which half of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    Read,
    Write,
    Both,
}

/// A connection. Dropped, it is closed as `close(2)` closes: what was written is sent, what was not read makes it
/// a reset.
pub trait TcpStream: Source {
    /// Is it there? [`Errno::Again`] while it is being made; then why it was not: [`Errno::Connrefused`],
    /// [`Errno::Timedout`], [`Errno::Hostunreach`], [`Errno::Netunreach`].
    fn connected(&self) -> Result<(), Errno>;
    /// Takes what is there: `Ok(0)` is the end (or an empty `buf`).
    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno>;
    /// As [`TcpStream::read`], and leaves it there.
    fn peek(&self, buf: &mut [u8]) -> Result<usize, Errno>;
    /// Takes over some of `buf`, never nothing of something: [`Errno::Again`] when there is no room.
    fn write(&self, buf: &[u8]) -> Result<usize, Errno>;
    /// `Write`: the peer reads to the end of what was written, and then an end. `Read`: what comes is thrown away.
    /// [`Errno::Notconn`]: it is not, or no longer, connected.
    fn shutdown(&self, how: Shutdown) -> Result<(), Errno>;
    fn local(&self) -> SocketAddr;
    fn peer(&self) -> SocketAddr;
    /// Sends small pieces at once (the default) or gathers them (Nagle, RFC 9293, 3.7.4).
    fn set_nodelay(&self, on: bool);
    /// Asks a silent peer whether it lives, after so long; `None` (the default): never.
    fn set_keep_alive(&self, after: Option<Nanos>);
    /// Ends it at once: the peer is told by a reset, nothing more is sent.
    fn abort(&self);
}

/// A socket that takes connections.
pub trait TcpListener: Source {
    /// The oldest connection that waits. [`Errno::Canceled`]: the host is being stopped, and no more will come.
    fn accept(&self) -> Result<(Arc<dyn TcpStream>, SocketAddr), Errno>;
    /// Where it listens; with the port that was chosen if it asked for port 0.
    fn local(&self) -> SocketAddr;
}

/// Datagrams from and to one port.
pub trait UdpSocket: Source {
    /// The next datagram, cut to `buf`: how much of `buf` it took, its whole length, its sender.
    fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, usize, SocketAddr), Errno>;
    /// All or nothing. [`Errno::Msgsize`]: larger than can be sent.
    fn send_to(&self, buf: &[u8], to: SocketAddr) -> Result<(), Errno>;
    fn local(&self) -> SocketAddr;
}

/// A question to the resolver, under way. Ready to read once it is answered.
pub trait Lookup: Source {
    /// The addresses, at least one, best first; the same again when asked again. [`Errno::Noent`]: there is no such
    /// name, or it has no address. [`Errno::Timedout`]: no server answered. [`Errno::Netdown`]: there is
    /// no server to ask. [`Errno::Io`]: the servers failed.
    fn addresses(&self) -> Result<Vec<IpAddr>, Errno>;
}

/// A host's network. What goes over IPv4 has addresses of IPv4, whichever socket it goes through (never
/// `::ffff:10.0.0.1`). An address of all zeros listens on all addresses of its family; the one of IPv6 takes IPv4 as
/// well where the port is free there.
pub trait Net: Send + Sync {
    /// [`Errno::Addrinuse`]: somebody listens there. [`Errno::Addrnotavail`]: not an address of ours.
    /// `backlog`: how many connections may wait to be accepted, as far as there is memory.
    fn listen(&self, at: SocketAddr, backlog: usize) -> Result<Arc<dyn TcpListener>, Errno>;
    /// Begins a connection: it can be written to (or has failed) when [`Interest::Write`] is ready.
    /// [`Errno::Netunreach`]: no way there. [`Errno::Addrnotavail`]: no port of ours is free.
    fn connect(&self, to: SocketAddr) -> Result<Arc<dyn TcpStream>, Errno>;
    /// Opens a port for datagrams. Errors as in [`Net::listen`].
    fn bind(&self, at: SocketAddr) -> Result<Arc<dyn UdpSocket>, Errno>;
    /// Asks for the addresses of a name: a literal address, a static name, or by DNS. [`Errno::Inval`]: not a name.
    fn resolve(&self, name: &str) -> Result<Arc<dyn Lookup>, Errno>;
    /// Our own addresses, those of the loopback included, with their prefix lengths.
    fn addresses(&self) -> Vec<(IpAddr, u8)>;
    /// The host is being stopped: every listener is closed and says [`Errno::Canceled`]; what is connected stays.
    fn close_listeners(&self);
}
