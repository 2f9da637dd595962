//! The resolver with sockets: one for each query, of the stack that it serves.
//!
//! Promises: costs nothing while nobody asks; each query has a port of its own, which the stack draws at random.
//!
//! Does not: hold a lock while it calls wakers, or be called with the stack's lock held: it uses the stack as a guest
//! does.

use alloc::{collections::BTreeMap, string::String, sync::Arc, task::Wake, vec::Vec};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    task::Waker,
};

use lunette_hostcalls::{Errno, Interest, Log, Lookup, Nanos, Net, TcpStream, UdpSocket};
use spin::Mutex;

use super::{
    is_name,
    resolver::{Key, Order, Query, Resolver, Via},
};

pub(crate) struct Names {
    inner: Mutex<Inner>,
    bell: Arc<Bell>,
}

struct Inner {
    resolver: Resolver,
    sockets: BTreeMap<Key, Socket>,
}

enum Socket {
    Udp(Arc<dyn UdpSocket>),
    /// With what is still to be written; at most one query is.
    Tcp {
        stream: Arc<dyn TcpStream>,
        server: SocketAddr,
        unsent: Vec<u8>,
    },
}

/// Something came to one of the sockets.
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

const PORT: u16 = 53;
/// Longer than what we say we take by UDP, and a good piece of what comes by TCP.
const BUFFER: usize = 2048;
/// How much is taken from one socket before others have a go.
const PIECES: usize = 16;

impl Names {
    /// `hosts`: names that are asked of nobody. What is no name is left out.
    pub(crate) fn new(hosts: &[(String, IpAddr)], log: &dyn Log) -> Self {
        let (hosts, wrong): (Vec<_>, Vec<_>) = hosts.iter().cloned().partition(|(name, _)| is_name(name));
        for (name, ip) in wrong {
            log.warn(format_args!(
                "network: `{name}={ip}` is left out: that is not a name of a host; help: use letters, digits and hyphens"
            ));
        }
        let inner = Inner { resolver: Resolver::new(&hosts), sockets: BTreeMap::new() };
        Self { inner: Mutex::new(inner), bell: Arc::new(Bell(AtomicBool::new(false))) }
    }

    /// Nobody asks for anything.
    pub(crate) fn is_idle(&self) -> bool {
        let inner = self.inner.lock();
        inner.sockets.is_empty() && inner.resolver.is_idle()
    }

    /// Who is asked, in this order.
    pub(crate) fn set_servers(&self, servers: &[IpAddr]) {
        self.inner.lock().resolver.set_servers(servers.iter().map(|ip| SocketAddr::new(*ip, PORT)));
    }

    /// [`Net::resolve`]. [`Names::poll`] is due then.
    pub(crate) fn ask(&self, name: &str, ours: &[IpAddr], now: Nanos) -> Result<Arc<dyn Lookup>, Errno> {
        Ok(self.inner.lock().resolver.ask(name, ours, now)?)
    }

    /// When [`Names::poll`] has something to do.
    pub(crate) fn poll_at(&self) -> Option<Nanos> {
        if self.bell.0.load(Ordering::Acquire) { Some(0) } else { self.inner.lock().resolver.poll_at() }
    }

    /// Sends what is to be sent and takes what came. Did it send anything?
    pub(crate) fn poll(&self, net: &dyn Net, now: Nanos, random: &mut dyn FnMut() -> u16) -> bool {
        let mut inner = self.inner.lock();
        let waker = Waker::from(self.bell.clone());
        if self.bell.0.swap(false, Ordering::AcqRel) {
            inner.take_all(now, &waker);
        }
        let mut sent = false;
        while let Some(order) = inner.resolver.poll(now, random) {
            match order {
                Order::Close(key) => drop(inner.sockets.remove(&key)),
                Order::Send(query) => match open(net, &query) {
                    Ok(socket) => {
                        sent = true;
                        socket.register(&waker);
                        inner.sockets.insert(query.key, socket);
                    }
                    Err(_) => inner.resolver.failed(query.key, now),
                },
            }
        }
        let woken = inner.resolver.take_woken();
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
        sent
    }
}

impl Inner {
    fn take_all(&mut self, now: Nanos, waker: &Waker) {
        let mut buf = [0; BUFFER];
        for (key, socket) in &mut self.sockets {
            if take(&mut self.resolver, *key, socket, &mut buf, now).is_err() {
                self.resolver.failed(*key, now);
            }
            socket.register(waker);
        }
    }
}

/// Takes what came to one socket. An error: nothing more will.
fn take(
    resolver: &mut Resolver,
    key: Key,
    socket: &mut Socket,
    buf: &mut [u8],
    now: Nanos,
) -> Result<(), Errno> {
    for _ in 0..PIECES {
        let came = match socket {
            Socket::Udp(socket) => socket.recv_from(buf).map(|(took, _, from)| (took, from)),
            Socket::Tcp { stream, server, unsent } => {
                while !unsent.is_empty() {
                    match stream.connected().and_then(|()| stream.write(unsent)) {
                        Ok(wrote) => drop(unsent.drain(..wrote)),
                        Err(Errno::Again) => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
                match stream.read(buf) {
                    Ok(0) => return Err(Errno::Connreset),
                    came => came.map(|took| (took, *server)),
                }
            }
        };
        match came {
            Ok((took, from)) => resolver.received(key, from, &buf[..took], now),
            Err(Errno::Again) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Socket {
    fn register(&self, waker: &Waker) {
        match self {
            Self::Udp(socket) => socket.register(Interest::Read, waker),
            Self::Tcp { stream, unsent, .. } if unsent.is_empty() => stream.register(Interest::Read, waker),
            Self::Tcp { stream, .. } => stream.register(Interest::Write, waker),
        }
    }
}

fn open(net: &dyn Net, query: &Query) -> Result<Socket, Errno> {
    let server = query.server;
    match query.via {
        Via::Udp => {
            let any = match server.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let socket = net.bind(SocketAddr::new(any, 0))?;
            socket.send_to(&query.bytes, server)?;
            Ok(Socket::Udp(socket))
        }
        Via::Tcp => Ok(Socket::Tcp { stream: net.connect(server)?, server, unsent: query.bytes.clone() }),
    }
}
