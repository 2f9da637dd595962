//! Addresses as scripts write them, and names that become addresses.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::Context,
};

use lunette_hostcalls::{Errno, Interest, task::poll_until};

use super::{descriptor::Sockets, fault::Fault, wait::Patience};

/// `host:port`, `[::1]:80`, `:80` or `80`; no host is "".
pub(crate) fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        None => ("", text),
        Some((host, port)) => match host.strip_prefix('[') {
            Some(inside) => (inside.strip_suffix(']').filter(|ip| ip.parse::<Ipv6Addr>().is_ok())?, port),
            // An address of IPv6 without brackets: where does it end?
            None if host.contains(':') => return None,
            None => (host, port),
        },
    };
    Some((host, self::port(port)?))
}

/// Digits and nothing else.
pub(crate) fn port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Not yet known.
    Any,
    V4,
    V6,
}

impl Family {
    pub(crate) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(crate) fn takes(self, ip: IpAddr) -> bool {
        self == Self::Any || self == Self::of(ip)
    }

    /// As `getpeername` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "unspec",
            Self::V4 => "inet",
            Self::V6 => "inet6",
        }
    }

    /// All addresses.
    pub(crate) fn unspecified(self) -> IpAddr {
        match self {
            Self::Any | Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// The addresses of a host: itself, if it is one. `localhost` is always the loopback (RFC 6761), whatever is granted.
pub(crate) async fn resolve(sockets: &Sockets, host: &str, patience: Patience) -> Result<Vec<IpAddr>, Fault> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    if host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let lookup = sockets.world.ctx.network.resolve(host)?;
    let ask = |cx: &mut Context<'_>| {
        poll_until(&*lookup, Interest::Read, cx, || lookup.addresses()).map_err(Fault::from)
    };
    patience.wait(sockets.time(), ask).await
}

/// [`resolve`], with a port: those that a socket of `family` can use.
pub(crate) async fn addresses(
    sockets: &Sockets,
    host: &str,
    port: u16,
    family: Family,
    patience: Patience,
) -> Result<Vec<SocketAddr>, Fault> {
    let ips = resolve(sockets, host, patience).await?;
    let ips: Vec<_> = ips.into_iter().filter(|ip| family.takes(*ip)).collect();
    if ips.is_empty() {
        return Err(Errno::Noent.into());
    }
    Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// What LuaSocket says when `getaddrinfo` fails (its `socket_gaistrerror`).
pub(crate) fn lookup_words(fault: &Fault) -> String {
    match fault {
        Fault::Errno(Errno::Noent | Errno::Inval) => "host or service not provided, or not known".into(),
        Fault::Errno(Errno::Netdown) | Fault::Timeout => "temporary failure in name resolution".into(),
        Fault::Errno(Errno::Io) => "non-recoverable failure in name resolution".into(),
        other => other.words(),
    }
}

pub(crate) const BAD_SERVICE: &str = "service not supported for socket type";
