//! The network behind its grants: what a guest's [`crate::Ctx`] has.

use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::net::{IpAddr, SocketAddr};

use spin::Mutex;

use crate::{
    Errno, Grants, Interest, Log, Lookup, Net, Ready, Source, TcpListener, TcpStream, UdpSocket,
    grants::{Protocol, name_fault},
};

/// A host's network as one guest may use it. What is not granted answers [`Errno::Acces`], with a line in the
/// host's log that says what to grant (once for each thing); without a network at all, everything answers
/// [`Errno::Netdown`]. Addresses of IPv4 that are written as ones of IPv6 are taken for what they are.
#[derive(Clone, Default)]
pub struct Network(Option<Arc<Inner>>);

struct Inner {
    guest: String,
    net: Arc<dyn Net>,
    grants: Grants,
    log: Arc<dyn Log>,
    /// Addresses that were the answer for a name that may be connected to. The newest last.
    answered: Mutex<Vec<(String, IpAddr)>>,
    /// What was refused and told: a guest that tries again and again fills no log.
    refused: Mutex<Vec<String>>,
}

/// How many answers are kept for names that may be connected to.
const MAX_ANSWERED: usize = 256;
/// How many refusals are told.
const MAX_REFUSED: usize = 64;

impl Network {
    /// `guest` is its name in the log.
    pub fn new(guest: String, net: Arc<dyn Net>, grants: Grants, log: Arc<dyn Log>) -> Self {
        Self(Some(Arc::new(Inner {
            guest,
            net,
            grants,
            log,
            answered: Mutex::default(),
            refused: Mutex::default(),
        })))
    }

    /// No network: for guests that are granted none.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Is there nothing of it at all?
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    fn inner(&self) -> Result<&Arc<Inner>, Errno> {
        self.0.as_ref().ok_or(Errno::Netdown)
    }

    /// [`Net::listen`], if it is granted.
    pub fn listen(&self, at: SocketAddr, backlog: usize) -> Result<Arc<dyn TcpListener>, Errno> {
        let (inner, at) = (self.inner()?, canonical(at));
        if !inner.grants.may_listen(at, Protocol::Tcp) {
            return Err(inner.refuse("listen", format_args!("{at}")));
        }
        inner.net.listen(at, backlog)
    }

    /// [`Net::connect`], if it is granted: by its address, or by a name whose address it was found to be.
    pub fn connect(&self, to: SocketAddr) -> Result<Arc<dyn TcpStream>, Errno> {
        let (inner, to) = (self.inner()?, canonical(to));
        if !inner.may_connect(to, Protocol::Tcp) {
            return Err(inner.refuse("connect", format_args!("{to}")));
        }
        inner.net.connect(to)
    }

    /// [`Net::bind`], if it is granted to listen there: such a socket hears everybody, and answers whoever it heard.
    /// Port 0, to send from, needs a peer that is granted, and hears and sends to peers that are granted.
    pub fn bind(&self, at: SocketAddr) -> Result<Arc<dyn UdpSocket>, Errno> {
        let (inner, at) = (self.inner()?, canonical(at));
        let sends = at.port() == 0 && inner.grants.connect.iter().any(|peer| peer.protocol == Protocol::Udp);
        let listens = inner.grants.may_listen(at, Protocol::Udp);
        if !listens && !sends {
            return Err(inner.refuse("listen", format_args!("{at}/udp")));
        }
        let socket = inner.net.bind(at)?;
        Ok(Arc::new(Datagrams { socket, inner: inner.clone(), listens, heard: Mutex::default() }))
    }

    /// [`Net::resolve`], if it is granted.
    pub fn resolve(&self, name: &str) -> Result<Arc<dyn Lookup>, Errno> {
        let inner = self.inner()?;
        // So what is written to the log below is a name and nothing else.
        if name.parse::<IpAddr>().is_err() && name_fault(name).is_some() {
            return Err(Errno::Inval);
        }
        if !inner.grants.may_resolve(name) {
            return Err(inner.refuse("resolve", format_args!("{name}")));
        }
        let lookup = inner.net.resolve(name)?;
        if !inner.grants.names_peer(name) {
            return Ok(lookup);
        }
        Ok(Arc::new(Remembered { lookup, name: name.into(), inner: inner.clone() }))
    }

    /// [`Net::addresses`].
    pub fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.0.as_ref().map(|inner| inner.net.addresses()).unwrap_or_default()
    }
}

fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

impl Inner {
    #[cold]
    fn refuse(&self, key: &str, what: core::fmt::Arguments<'_>) -> Errno {
        let line = format!(
            "{}: {key} {what} is not granted; help: add \"{what}\" to `network.{key}` in lunette.toml, or run it with \
             --{key} {what}",
            self.guest
        );
        let mut refused = self.refused.lock();
        if refused.len() < MAX_REFUSED && !refused.contains(&line) {
            self.log.warn(format_args!("{line}"));
            refused.push(line);
        }
        Errno::Acces
    }

    fn may_connect(&self, to: SocketAddr, protocol: Protocol) -> bool {
        self.grants.may_connect(to, None, protocol)
            || (self.answered.lock().iter())
                .any(|(name, ip)| *ip == to.ip() && self.grants.may_connect(to, Some(name), protocol))
    }

    fn remember(&self, name: &str, addresses: &[IpAddr]) {
        let mut answered = self.answered.lock();
        answered.retain(|(known, ip)| known != name || !addresses.contains(ip));
        answered.extend(addresses.iter().map(|ip| (name.into(), *ip)));
        let surplus = answered.len().saturating_sub(MAX_ANSWERED);
        answered.drain(..surplus);
    }
}

/// A lookup whose answer may be connected to.
struct Remembered {
    lookup: Arc<dyn Lookup>,
    name: String,
    inner: Arc<Inner>,
}

impl Source for Remembered {
    fn ready(&self, interest: Interest) -> Ready {
        self.lookup.ready(interest)
    }

    fn register(&self, interest: Interest, waker: &core::task::Waker) {
        self.lookup.register(interest, waker);
    }
}

impl Lookup for Remembered {
    fn addresses(&self) -> Result<Vec<IpAddr>, Errno> {
        let addresses = self.lookup.addresses()?;
        self.inner.remember(&self.name, &addresses);
        Ok(addresses)
    }
}

/// A socket that asks before it sends.
struct Datagrams {
    socket: Arc<dyn UdpSocket>,
    inner: Arc<Inner>,
    /// Whoever sent to it may be answered.
    listens: bool,
    /// The last that did. The newest last.
    heard: Mutex<Vec<SocketAddr>>,
}

/// How many senders can be answered without a grant to send to them.
const MAX_HEARD: usize = 256;
/// How many datagrams that are not for it are passed over in one call.
const MAX_UNHEARD: usize = 64;

impl Datagrams {
    fn hear(&self, from: SocketAddr) {
        let mut heard = self.heard.lock();
        if heard.last() != Some(&from) {
            heard.retain(|known| *known != from);
            if heard.len() == MAX_HEARD {
                heard.remove(0);
            }
            heard.push(from);
        }
    }
}

impl Source for Datagrams {
    fn ready(&self, interest: Interest) -> Ready {
        self.socket.ready(interest)
    }

    fn register(&self, interest: Interest, waker: &core::task::Waker) {
        self.socket.register(interest, waker);
    }
}

impl UdpSocket for Datagrams {
    fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, usize, SocketAddr), Errno> {
        for _ in 0..MAX_UNHEARD {
            let (took, length, from) = self.socket.recv_from(buf)?;
            if self.listens {
                self.hear(from);
            } else if !self.inner.may_connect(from, Protocol::Udp) {
                continue;
            }
            return Ok((took, length, from));
        }
        Err(Errno::Again)
    }

    fn send_to(&self, buf: &[u8], to: SocketAddr) -> Result<(), Errno> {
        let to = canonical(to);
        if !self.heard.lock().contains(&to) && !self.inner.may_connect(to, Protocol::Udp) {
            return Err(self.inner.refuse("connect", format_args!("{to}/udp")));
        }
        self.socket.send_to(buf, to)
    }

    fn local(&self) -> SocketAddr {
        self.socket.local()
    }
}

#[cfg(test)]
mod tests;
