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
//! | `PORT`, `ADDRESS:PORT`, with `/udp` | [`Listen`] | this port (0 or `*`: any), on this address or on all; `0.0.0.0` is all of IPv4, `[::]` all |
//! | `HOST:PORT`, with `/udp` | [`Peer`] | connect to this host's port (`*`: any); `HOST` is an address, a block `ADDRESS/BITS`, a name, `*.NAME` or `*` |
//! | `NAME`, `*.NAME`, `*` | [`Name`] | ask for the addresses of this name; of any below it (not of itself); of any |
//!
//! An address of IPv6 stands in brackets before a port; one that stands for an address of IPv4 (`::ffff:10.0.0.1`) is
//! that, here and wherever a guest names it. A block begins at its first address and never spans both families
//! (`0.0.0.0/0` and `[::]/0` are two). `/tcp` may be written and means nothing. Names are compared without regard to
//! case and a final dot; they are ASCII (`xn--…`). A [`Peer`] by name also lets its addresses be asked for, and is good
//! for the addresses that were the answer. A literal address is no question, so it needs no grant to be "resolved".
//!
//! Each type is read by `FromStr` and written by `Display`, in one canonical form. What can't be read is a [`Fault`].

use alloc::{format, string::String, vec::Vec};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

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
    /// `None`: every address. Never one of IPv4 that is written as one of IPv6.
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
    /// `address/bits`; a single address has all bits. Never one of IPv4 that is written as one of IPv6.
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
        let ip = at.ip().to_canonical();
        self.listen.iter().any(|listen| {
            listen.protocol == protocol
                && listen.port.is_none_or(|port| port == at.port())
                && match listen.address {
                    None | Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => true,
                    Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => ip.is_ipv4(),
                    Some(address) => address == ip,
                }
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
        self.resolve.iter().any(|pattern| pattern.matches(name))
            || self.names_peer(name)
            || IpAddr::from_str(name).is_ok()
    }

    /// Is it the name of a peer that may be connected to?
    pub fn names_peer(&self, name: &str) -> bool {
        self.connect.iter().any(|peer| matches!(&peer.host, Host::Named(pattern) if pattern.matches(name)))
    }
}

impl Listen {
    /// Where a listener for this grant is made: all addresses are `[::]`, which takes IPv4 as well, and any port is 0.
    pub fn address(&self) -> SocketAddr {
        let address = self.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        SocketAddr::new(address, self.port.unwrap_or(0))
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
    match (ip.to_canonical(), block) {
        (IpAddr::V4(ip), IpAddr::V4(block)) => ((ip.to_bits() ^ block.to_bits()) & v4_mask(bits)) == 0,
        (IpAddr::V6(ip), IpAddr::V6(block)) => ((ip.to_bits() ^ block.to_bits()) & v6_mask(bits)) == 0,
        _ => false,
    }
}

fn v4_mask(bits: u8) -> u32 {
    u32::MAX.checked_shl(32u32.saturating_sub(bits.into())).unwrap_or(0)
}

fn v6_mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128u32.saturating_sub(bits.into())).unwrap_or(0)
}

// Reading.

/// A grant that can't be read: what is wrong with it, and what one looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub what: String,
    pub help: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.help)
    }
}

impl core::error::Error for Fault {}

const LISTEN_HELP: &str =
    "write a port, \"80\" or \"53/udp\", or an address and a port, \"127.0.0.1:8080\" or \"[::1]:8080\"";
const PEER_HELP: &str = "write a host and a port, \"db.internal:5432\", \"10.0.0.0/8:*\", \"[2001:db8::]/32:443\", \
                         \"*:443\" or \"ntp.example.org:123/udp\"";
const NAME_HELP: &str =
    "write a name, \"db.internal\", all names below one, \"*.example.org\", or all names, \"*\"";

impl FromStr for Listen {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        listen(text).map_err(|why| Fault { what: format!("{text:?} {why}"), help: LISTEN_HELP })
    }
}

impl FromStr for Peer {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        peer(text).map_err(|why| Fault { what: format!("{text:?} {why}"), help: PEER_HELP })
    }
}

impl FromStr for Name {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let fault = |why| Fault { what: format!("{text:?} {why}"), help: NAME_HELP };
        if literal(text).is_some() || IpAddr::from_str(text).is_ok() {
            return Err(fault("is an address, and those need no grant to be resolved"));
        }
        name(text).map_err(fault)
    }
}

/// What is wrong with a name that a resolver is to be asked for, if anything is. Letters, digits, `-` and `_` in parts of
/// at most 63 bytes between dots, 253 in all; the last part is no number, decimal or hexadecimal, or the name would be an
/// address in a form (`127.1`, `0x7f000001`) that no two resolvers read alike. A final dot is allowed.
pub fn name_fault(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| match label.as_bytes() {
        [] => Some("has an empty part"),
        [b'-', ..] | [.., b'-'] => Some("has a part that begins or ends with \"-\""),
        bytes if bytes.len() > 63 => Some("has a part of more than 63 bytes"),
        _ if !label.is_ascii() => Some("is not ASCII: its form for DNS begins with xn--"),
        bytes if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b)) => {
            Some("has a character that no name has")
        }
        _ => None,
    };
    match name {
        "" => Some("is empty"),
        _ if name.len() > 253 => Some("is longer than 253 bytes"),
        _ => name.split('.').find_map(label).or_else(|| {
            let last = name.rsplit('.').next().unwrap_or_default();
            let number = match last.strip_prefix("0x").or(last.strip_prefix("0X")) {
                Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
                None => last.bytes().all(|b| b.is_ascii_digit()),
            };
            number.then_some("is neither a name nor an address")
        }),
    }
}

fn listen(text: &str) -> Result<Listen, &'static str> {
    let (text, protocol) = protocol(text)?;
    let (host, digits) = match split_port(text)? {
        Some((host, digits)) => (Some(host), digits),
        None if text.starts_with('[') => return Err("has no port"),
        None => (None, text),
    };
    let address = match host {
        None => None,
        Some(host) => Some(literal(host).ok_or(no_address(host))?.to_canonical()),
    };
    Ok(Listen { address, port: port(digits)?, protocol })
}

fn peer(text: &str) -> Result<Peer, &'static str> {
    let (text, protocol) = protocol(text)?;
    let (host, digits) = split_port(text)?.ok_or("has no port")?;
    let port = port(digits)?;
    let host = match host.split_once('/') {
        Some((ip, bits)) => block(literal(ip).ok_or(no_address(ip))?, bits)?,
        None => match literal(host).map(|ip| ip.to_canonical()) {
            Some(ip @ IpAddr::V4(_)) => Host::Block(ip, 32),
            Some(ip @ IpAddr::V6(_)) => Host::Block(ip, 128),
            None if host.starts_with('[') => return Err(no_address(host)),
            None => Host::Named(name(host)?),
        },
    };
    Ok(Peer { host, port, protocol })
}

fn block(ip: IpAddr, bits: &str) -> Result<Host, &'static str> {
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let bits = number(bits).and_then(|bits| u8::try_from(bits).ok()).filter(|bits| *bits <= most);
    let bits = bits.ok_or(if ip.is_ipv4() {
        "has no number from 0 to 32 after its \"/\""
    } else {
        "has no number from 0 to 128 after its \"/\""
    })?;
    let whole = match ip {
        IpAddr::V4(ip) => ip.to_bits() & !v4_mask(bits) == 0,
        IpAddr::V6(ip) => ip.to_bits() & !v6_mask(bits) == 0,
    };
    if !whole {
        return Err("does not begin with the first address of its block");
    }
    Ok(match ip.to_canonical() {
        // The first 96 bits say that it is one of IPv4, and a block with less begins elsewhere.
        short @ IpAddr::V4(_) if ip.is_ipv6() => Host::Block(short, bits.saturating_sub(96)),
        _ => Host::Block(ip, bits),
    })
}

fn name(text: &str) -> Result<Name, &'static str> {
    let lower = |name: &str| match name_fault(name) {
        Some(fault) => Err(fault),
        None => Ok(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()),
    };
    match text.strip_prefix('*') {
        Some("") => Ok(Name::Any),
        Some(rest) => match rest.strip_prefix('.') {
            Some(rest) => lower(rest).map(Name::Below),
            None => Err("has a \"*\" that is not followed by a dot"),
        },
        None => lower(text).map(Name::Exactly),
    }
}

fn protocol(text: &str) -> Result<(&str, Protocol), &'static str> {
    if let Some(rest) = text.strip_suffix("/udp") {
        return Ok((rest, Protocol::Udp));
    }
    Ok((text.strip_suffix("/tcp").unwrap_or(text), Protocol::Tcp))
}

/// What stands before the last colon that is in no brackets, and what behind it.
fn split_port(text: &str) -> Result<Option<(&str, &str)>, &'static str> {
    if let Some((inside, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return Ok(rest.find(':').map(|colon| {
            let (host, port) = text.split_at(inside.len() + 2 + colon);
            (host, &port[1..])
        }));
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err("needs brackets around an address of IPv6"),
        found => Ok(found),
    }
}

fn port(text: &str) -> Result<Option<u16>, &'static str> {
    match text {
        "" => Err("has no port"),
        "*" => Ok(None),
        _ => match number(text) {
            Some(0) => Ok(None),
            Some(port) => Ok(Some(port)),
            None => Err("has no port from 1 to 65535 (0 or *: any)"),
        },
    }
}

/// Digits alone: the number parser of `core` would take a sign as well.
fn number(text: &str) -> Option<u16> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// `10.0.0.1` or `[::1]`
fn literal(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inside) => Ipv6Addr::from_str(inside).ok().map(IpAddr::V6),
        None => Ipv4Addr::from_str(text).ok().map(IpAddr::V4),
    }
}

fn no_address(text: &str) -> &'static str {
    if text.starts_with('[') {
        "has no address of IPv6 in its brackets"
    } else {
        "has no address where one must be"
    }
}

// Writing.

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            Some(address) => write!(f, "{address}:")?,
            None => {}
        }
        end(f, self.port, self.protocol)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Block(ip @ IpAddr::V4(_), 32) => write!(f, "{ip}:")?,
            Host::Block(IpAddr::V6(ip), 128) => write!(f, "[{ip}]:")?,
            Host::Block(IpAddr::V6(ip), bits) => write!(f, "[{ip}]/{bits}:")?,
            Host::Block(ip, bits) => write!(f, "{ip}/{bits}:")?,
            Host::Named(name) => write!(f, "{name}:")?,
        }
        end(f, self.port, self.protocol)
    }
}

fn end(f: &mut fmt::Formatter<'_>, port: Option<u16>, protocol: Protocol) -> fmt::Result {
    match port {
        Some(port) => write!(f, "{port}")?,
        None => f.write_str("*")?,
    }
    f.write_str(match protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "/udp",
    })
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exactly(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests;
