//! Where a socket stands, and whom it concerns.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Which of the two interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The device.
    Wire,
    /// From ourselves to ourselves: the loopback's addresses, and our own.
    Inside,
}

/// A connection's place among all. Addresses of IPv4 stand as what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub(crate) lane: Lane,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// Where a listener or a socket of datagrams stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// As it was asked for, the port chosen.
    pub(crate) at: SocketAddr,
    /// It stands on all addresses of IPv6, and on those of IPv4 as well.
    pub(crate) both: bool,
}

impl Place {
    /// Is what comes to this address for it?
    pub(crate) fn takes(&self, to: SocketAddr) -> bool {
        self.at.port() == to.port()
            && (self.at.ip() == to.ip() || (self.at.ip().is_unspecified() && self.has_family(to.ip())))
    }

    fn has_family(&self, ip: IpAddr) -> bool {
        self.both || self.at.is_ipv4() == ip.is_ipv4()
    }

    /// Could something come that is for both?
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.at.port() == other.at.port()
            && match (self.at.ip().is_unspecified(), other.at.ip().is_unspecified()) {
                (true, true) => self.has_family(other.at.ip()) || other.has_family(self.at.ip()),
                (true, false) => self.has_family(other.at.ip()),
                (false, true) => other.has_family(self.at.ip()),
                (false, false) => self.at.ip() == other.at.ip(),
            }
    }

    /// Does it stand on one address only?
    pub(crate) fn is_exact(&self) -> bool {
        !self.at.ip().is_unspecified()
    }
}

/// An address of IPv4 that is written as one of IPv6 is what it is.
pub(crate) fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

/// To connect to "any address" is to connect to oneself.
pub(crate) fn destination(to: SocketAddr) -> SocketAddr {
    let ip = match to.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(core::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, to.port())
}
