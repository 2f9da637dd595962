//! What a guest may do with the network: listen here, connect there, ask for these names.
//!
//! ```toml
//! [network]
//! listen = ["80", "127.0.0.1:8080", "53/udp"]
//! connect = ["db.internal:5432", "10.0.0.0/8:*", "[2001:db8::]/32:443", "*:443", "ntp.example.org:123/udp"]
//! resolve = ["db.internal", "*.example.org"]
//! ```
//!
//! | text | type | means |
//! |---|---|---|
//! | `PORT`, `ADDRESS:PORT`, with `/udp` | [`Listen`] | this port (0 or `*`: any), on this address or on all |
//! | `HOST:PORT`, with `/udp` | [`Peer`] | connect to this host's port (`*`: any); `HOST` is an address, a block `ADDRESS/BITS`, a name, `*.NAME` or `*` |
//! | `NAME`, `*.NAME`, `*` | [`Name`] | ask for the addresses of this name; of any below it (not of itself); of any |
//!
//! An address of IPv6 stands in brackets before a port. Names are compared without regard to case and a final dot. A
//! [`Peer`] by name also lets its addresses be asked for, and is good for the addresses that were the answer.

use alloc::{string::String, vec::Vec};
use core::net::{IpAddr, SocketAddr};

/// All of one guest's; the default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    pub listen: Vec<Listen>,
    pub connect: Vec<Peer>,
    pub resolve: Vec<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// `None`: every address.
    pub address: Option<IpAddr>,
    /// `None`: any.
    pub port: Option<u16>,
    pub protocol: Protocol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub host: Host,
    /// `None`: any.
    pub port: Option<u16>,
    pub protocol: Protocol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `address/bits`; a single address has all bits.
    Block(IpAddr, u8),
    /// [`Name::Any`]: any host at all, by name or by address.
    Named(Name),
}

/// In lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    Any,
    Exactly(String),
    /// `*.NAME`: any name below this one.
    Below(String),
}

impl Grants {
    pub fn is_empty(&self) -> bool {
        self.listen.is_empty() && self.connect.is_empty() && self.resolve.is_empty()
    }

    /// May one listen at this address and port? Port 0 (any that is free) needs a grant of any port.
    pub fn may_listen(&self, at: SocketAddr, protocol: Protocol) -> bool {
        self.listen.iter().any(|listen| {
            listen.protocol == protocol
                && listen.port.is_none_or(|port| port == at.port())
                && listen.address.is_none_or(|address| address == at.ip())
        })
    }

    /// May one connect there, by address, or because it is the address of `name`?
    pub fn may_connect(&self, to: SocketAddr, name: Option<&str>, protocol: Protocol) -> bool {
        self.connect.iter().any(|peer| {
            peer.protocol == protocol
                && peer.port.is_none_or(|port| port == to.port())
                && match (&peer.host, name) {
                    (Host::Block(address, bits), _) => within(to.ip(), *address, *bits),
                    (Host::Named(Name::Any), _) => true,
                    (Host::Named(pattern), Some(name)) => pattern.matches(name),
                    (Host::Named(_), None) => false,
                }
        })
    }

    /// May one ask for this name's addresses?
    pub fn may_resolve(&self, name: &str) -> bool {
        self.resolve.iter().any(|pattern| pattern.matches(name)) || self.names_peer(name)
    }

    /// Is it the name of a peer that may be connected to?
    pub fn names_peer(&self, name: &str) -> bool {
        self.connect.iter().any(|peer| matches!(&peer.host, Host::Named(pattern) if pattern.matches(name)))
    }
}

impl Name {
    pub fn matches(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        match self {
            Self::Any => true,
            Self::Exactly(own) => name.eq_ignore_ascii_case(own),
            Self::Below(own) => {
                let below = name.len().checked_sub(own.len() + 1).filter(|at| *at > 0);
                below.and_then(|at| name.split_at_checked(at)).is_some_and(|(_, rest)| {
                    rest.strip_prefix('.').is_some_and(|rest| rest.eq_ignore_ascii_case(own))
                })
            }
        }
    }
}

/// Is `ip` in the block? An address of IPv4 that is written as one of IPv6 counts as what it is.
fn within(ip: IpAddr, block: IpAddr, bits: u8) -> bool {
    match (ip.to_canonical(), block.to_canonical()) {
        (IpAddr::V4(ip), IpAddr::V4(block)) => {
            let shift = 32 - u32::from(bits.min(32));
            (ip.to_bits() ^ block.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(block)) => {
            let shift = 128 - u32::from(bits.min(128));
            (ip.to_bits() ^ block.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}
