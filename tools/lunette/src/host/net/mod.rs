//! The network of `run --host`: the process's own sockets.
//!
//! Promises: a guest is reached from outside only at the addresses that its ports are published at; an unpublished
//! port is bound on the loopback, and the loopback's are all the addresses that this network owns to. A published
//! port is this process's from the start, or [`HostNet::new`] says who to blame. Guests that connect to the loopback
//! find each other at the ports that they know, wherever these are published.
//!
//! Does not: keep guests' ports apart from this machine's (an unpublished port 5432 is the machine's
//! 127.0.0.1:5432), translate the addresses of datagrams, or let anybody listen on an address of a real interface
//! that was not published.

mod resolve;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, Weak, atomic::Ordering::Relaxed},
};

use lunette_bundle::HELP;
use lunette_hostcalls::{Errno, Log, Lookup, Net, TcpListener, TcpStream, UdpSocket, grants::Protocol};
use rustix::io::Errno as Os;
use socket2::{Domain, Socket, Type};

use self::{resolve::Resolver, tcp::Listener};
use super::{
    poller::{Reactor, lock},
    signals::Asked,
};
use crate::network::publish::Published;

/// How many connections wait at a published port before the guest says how many may.
const BACKLOG: i32 = 128;
/// How often a port is chosen that must be free for both families.
const TRIES: usize = 16;

pub(super) struct HostNet {
    reactor: Arc<Reactor>,
    asked: Arc<Asked>,
    log: Arc<dyn Log>,
    resolver: Resolver,
    /// Has this machine the loopback of IPv6?
    v6: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    published: Vec<Slot>,
    listeners: Vec<Weak<Listener>>,
    closed: bool,
}

struct Slot {
    published: Published,
    /// Bound, and not a guest's yet.
    socket: Option<Socket>,
}

impl HostNet {
    /// Takes the published ports. The error is one line, with its help.
    pub(super) fn new(
        published: &[Published],
        reactor: Arc<Reactor>,
        asked: Arc<Asked>,
        log: Arc<dyn Log>,
    ) -> Result<Self, String> {
        let take = |published: &Published| {
            let socket = open(published.host, published.protocol, BACKLOG);
            let socket = socket.map_err(|error| refusal(published, &error))?;
            Ok(Slot { published: *published, socket: Some(socket) })
        };
        let slots = published.iter().map(take).collect::<Result<_, String>>()?;
        let v6 = open((Ipv6Addr::LOCALHOST, 0).into(), Protocol::Udp, 0).is_ok();
        let state = Mutex::new(State { published: slots, ..State::default() });
        let loopback = loopback(v6).map(|(ip, _)| ip).collect();
        Ok(Self { resolver: Resolver::new(reactor.clone(), loopback), reactor, asked, log, v6, state })
    }

    /// The sockets for a guest that wants to be found at `at`.
    fn sockets(&self, at: SocketAddr, protocol: Protocol, backlog: i32) -> Result<Vec<Socket>, Errno> {
        if at.ip().is_loopback() {
            return Ok(vec![self.open(at, protocol, backlog)?]);
        }
        if at.port() != 0 {
            let published = self.published(at, protocol, backlog)?;
            if !published.is_empty() {
                return Ok(published);
            }
        }
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, at.port()));
        match at.ip() {
            ip if !ip.is_unspecified() => Err(Errno::Addrnotavail),
            IpAddr::V4(_) => Ok(vec![self.open(v4, protocol, backlog)?]),
            IpAddr::V6(_) if !self.v6 => Ok(vec![self.open(v4, protocol, backlog)?]),
            IpAddr::V6(_) => self.both(at.port(), protocol, backlog),
        }
    }

    /// One port of both loopbacks.
    fn both(&self, port: u16, protocol: Protocol, backlog: i32) -> Result<Vec<Socket>, Errno> {
        for _ in 0..TRIES {
            let first = self.open((Ipv6Addr::LOCALHOST, port).into(), protocol, backlog)?;
            let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, local(&first)?.port()));
            match open(v4, protocol, backlog) {
                Ok(second) => return Ok(vec![first, second]),
                Err(error) if in_use(&error) && port == 0 => {}
                // A guest's own: then this one takes what is left.
                Err(error) if in_use(&error) && self.listens(v4) => return Ok(vec![first]),
                Err(error) => return Err(self.failed(v4, protocol, &error)),
            }
        }
        Err(Errno::Addrinuse)
    }

    /// Does a guest listen there?
    fn listens(&self, at: SocketAddr) -> bool {
        let state = lock(&self.state);
        state.listeners.iter().filter_map(Weak::upgrade).any(|listener| listener.listens(at))
    }

    /// Where `port` is published; those taken at the start, or the same anew.
    fn published(&self, at: SocketAddr, protocol: Protocol, backlog: i32) -> Result<Vec<Socket>, Errno> {
        let mut state = lock(&self.state);
        let slots = state.published.iter_mut().filter(|slot| {
            (slot.published.guest, slot.published.protocol) == (at.port(), protocol)
                && (at.is_ipv6() || slot.published.host.is_ipv4())
        });
        let slots: Vec<_> = slots.map(|slot| (slot.published.host, slot.socket.take())).collect();
        drop(state);
        let take = |(host, socket): (SocketAddr, Option<Socket>)| match socket {
            Some(socket) if protocol == Protocol::Tcp => {
                socket.listen(backlog).map(|()| socket).map_err(|error| errno(&error))
            }
            Some(socket) => Ok(socket),
            None => self.open(host, protocol, backlog),
        };
        slots.into_iter().map(take).collect()
    }

    fn open(&self, at: SocketAddr, protocol: Protocol, backlog: i32) -> Result<Socket, Errno> {
        open(at, protocol, backlog).map_err(|error| self.failed(at, protocol, &error))
    }

    /// A guest hears a number; whoever runs it hears where, and what to do.
    fn failed(&self, at: SocketAddr, protocol: Protocol, error: &io::Error) -> Errno {
        if at.port() != 0 && !self.listens(at) {
            let unpublished = Published { guest: at.port(), protocol, host: at };
            self.log.warn(format_args!("{}", refusal(&unpublished, error)));
        }
        errno(error)
    }

    /// Where a connection to `to` goes: the loopback's ports are the guests'.
    fn route(&self, to: SocketAddr) -> SocketAddr {
        if !to.ip().is_loopback() {
            return to;
        }
        let state = lock(&self.state);
        let published = state.published.iter().map(|slot| slot.published);
        let host = published
            .filter(|published| (published.guest, published.protocol) == (to.port(), Protocol::Tcp))
            .map(|published| published.host)
            .min_by_key(|host| host.is_ipv4() != to.is_ipv4());
        match host {
            None => to,
            Some(host) if !host.ip().is_unspecified() => host,
            Some(host) if host.is_ipv4() => (Ipv4Addr::LOCALHOST, host.port()).into(),
            Some(host) => (Ipv6Addr::LOCALHOST, host.port()).into(),
        }
    }
}

impl Net for HostNet {
    fn listen(&self, at: SocketAddr, backlog: usize) -> Result<Arc<dyn TcpListener>, Errno> {
        if lock(&self.state).closed {
            return Err(Errno::Canceled);
        }
        let at = canonical(at);
        let backlog = i32::try_from(backlog.clamp(1, 4096)).unwrap_or(BACKLOG);
        let sockets = self.sockets(at, Protocol::Tcp, backlog)?;
        let listener = Listener::new(at, sockets, &self.reactor).map_err(|error| errno(&error))?;
        self.asked.listening.store(true, Relaxed);
        let mut state = lock(&self.state);
        state.listeners.retain(|listener| listener.strong_count() > 0);
        state.listeners.push(Arc::downgrade(&listener));
        if state.closed {
            listener.close();
        }
        Ok(listener)
    }

    fn connect(&self, to: SocketAddr) -> Result<Arc<dyn TcpStream>, Errno> {
        let to = canonical(to);
        tcp::connect(to, self.route(to), &self.reactor)
    }

    fn bind(&self, at: SocketAddr) -> Result<Arc<dyn UdpSocket>, Errno> {
        let at = canonical(at);
        // To send from, and to be answered at: as any program here would.
        let sockets = if at.port() == 0 && at.ip().is_unspecified() {
            self.anywhere(at)?
        } else {
            self.sockets(at, Protocol::Udp, 0)?
        };
        udp::socket(at, sockets, &self.reactor).map_err(|error| errno(&error))
    }

    fn resolve(&self, name: &str) -> Result<Arc<dyn Lookup>, Errno> {
        self.resolver.ask(name)
    }

    fn addresses(&self) -> Vec<(IpAddr, u8)> {
        loopback(self.v6).collect()
    }

    fn close_listeners(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        // Nobody takes these any more.
        state.published.iter_mut().for_each(|slot| slot.socket = None);
        let listeners: Vec<_> = state.listeners.drain(..).filter_map(|listener| listener.upgrade()).collect();
        drop(state);
        listeners.iter().for_each(|listener| listener.close());
    }
}

impl HostNet {
    /// One port, on all addresses.
    fn anywhere(&self, at: SocketAddr) -> Result<Vec<Socket>, Errno> {
        let v4 = |port| open((Ipv4Addr::UNSPECIFIED, port).into(), Protocol::Udp, 0);
        if at.is_ipv4() || !self.v6 {
            return Ok(vec![v4(0).map_err(|error| errno(&error))?]);
        }
        for _ in 0..TRIES {
            let first = open(at, Protocol::Udp, 0).map_err(|error| errno(&error))?;
            match v4(local(&first)?.port()) {
                Ok(second) => return Ok(vec![first, second]),
                Err(error) if in_use(&error) => {}
                Err(error) => return Err(errno(&error)),
            }
        }
        Err(Errno::Addrinuse)
    }
}

/// Why it can't be had, in one line with its help.
fn refusal(published: &Published, error: &io::Error) -> String {
    let Published { guest, host, protocol } = published;
    let udp = if *protocol == Protocol::Udp { "/udp" } else { "" };
    let (port, ip) = (host.port(), host.ip());
    // As `-p` wants it.
    let here = match ip {
        ip if ip.is_unspecified() => String::new(),
        IpAddr::V4(ip) => format!("{ip}:"),
        IpAddr::V6(ip) => format!("[{ip}]:"),
    };
    match Os::from_io_error(error) {
        Some(Os::ADDRINUSE) => format!(
            "{host}{udp} is in use on this machine{HELP}end what listens there, or publish the app's port at another: \
                 -p {here}{}:{guest}{udp}",
            if port < 1024 { port.saturating_add(8000) } else { port.checked_add(1).unwrap_or(8080) }
        ),
        Some(Os::ACCESS | Os::PERM) if port < 1024 => format!(
            "{host}{udp} needs rights that this process has not (ports below 1024 do){HELP}publish the app's port at a \
                 higher one: -p {here}{}:{guest}{udp}",
            port.saturating_add(8000)
        ),
        Some(Os::ADDRNOTAVAIL) => format!(
            "{} is no address of this machine{HELP}publish the app's port at one that is: -p 127.0.0.1:{port}:{guest}{udp}",
            host.ip()
        ),
        _ => format!(
            "{host}{udp} can't be had: {error}{HELP}publish the app's port at another: -p HOST:{guest}{udp}"
        ),
    }
}

/// The loopback's addresses.
fn loopback(v6: bool) -> impl Iterator<Item = (IpAddr, u8)> {
    std::iter::once((Ipv4Addr::LOCALHOST.into(), 8)).chain(v6.then_some((Ipv6Addr::LOCALHOST.into(), 128)))
}

/// An address of IPv4 that is written as one of IPv6 is what it is.
fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

/// A socket, bound and listening, that does not block.
fn open(at: SocketAddr, protocol: Protocol, backlog: i32) -> io::Result<Socket> {
    let kind = if protocol == Protocol::Tcp { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(at), kind, None)?;
    socket.set_nonblocking(true)?;
    if at.is_ipv6() {
        // An address of IPv4 in disguise is never seen: each family has its socket.
        socket.set_only_v6(true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections of the last run that have not quite ended do not hold the port.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&at.into())?;
    if protocol == Protocol::Tcp {
        socket.listen(backlog)?;
    }
    Ok(socket)
}

fn local(socket: &Socket) -> Result<SocketAddr, Errno> {
    socket.local_addr().ok().and_then(|at| at.as_socket()).ok_or(Errno::Io)
}

fn in_use(error: &io::Error) -> bool {
    Os::from_io_error(error) == Some(Os::ADDRINUSE)
}

/// The guest's number for the system's.
fn errno(error: &io::Error) -> Errno {
    match Os::from_io_error(error) {
        Some(Os::AGAIN | Os::INPROGRESS | Os::INTR) => Errno::Again,
        Some(Os::ACCESS) => Errno::Acces,
        Some(Os::PERM) => Errno::Perm,
        Some(Os::ADDRINUSE) => Errno::Addrinuse,
        Some(Os::ADDRNOTAVAIL) => Errno::Addrnotavail,
        Some(Os::AFNOSUPPORT) => Errno::Afnosupport,
        Some(Os::CONNABORTED) => Errno::Connaborted,
        Some(Os::CONNREFUSED) => Errno::Connrefused,
        Some(Os::CONNRESET) => Errno::Connreset,
        Some(Os::HOSTUNREACH | Os::HOSTDOWN) => Errno::Hostunreach,
        Some(Os::NETUNREACH) => Errno::Netunreach,
        Some(Os::NETDOWN) => Errno::Netdown,
        Some(Os::TIMEDOUT) => Errno::Timedout,
        Some(Os::PIPE) => Errno::Pipe,
        Some(Os::NOTCONN) => Errno::Notconn,
        Some(Os::MSGSIZE) => Errno::Msgsize,
        Some(Os::MFILE) => Errno::Mfile,
        Some(Os::NFILE) => Errno::Nfile,
        Some(Os::NOBUFS) => Errno::Nobufs,
        Some(Os::NOMEM) => Errno::Nomem,
        Some(Os::INVAL) => Errno::Inval,
        _ => Errno::Io,
    }
}
