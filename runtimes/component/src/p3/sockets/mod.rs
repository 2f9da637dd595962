//! `wasi:sockets`: TCP, UDP and names.
//!
//! A socket of IPv6 that is bound to all addresses hears IPv4 as well where the host's does, though the specification would have
//! it deaf to it: one listener of a manifest is for both.

mod names;
pub(super) mod tcp;
pub(super) mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use lunette_hostcalls::Errno;

use super::{
    Fault,
    bindings::wasi::sockets::types::{
        self, ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
    },
};
use crate::State;

pub type Failure = Fault<ErrorCode>;

impl types::Host for State {
    fn convert_error_code(&mut self, failure: Failure) -> wasmtime::Result<ErrorCode> {
        failure.told()
    }
}

/// Not with a socket in this state.
const INVALID_STATE: Errno = Errno::Isconn;

impl From<Errno> for ErrorCode {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::Acces | Errno::Perm | Errno::Notcapable => Self::AccessDenied,
            Errno::Notsup
            | Errno::Noprotoopt
            | Errno::Protonosupport
            | Errno::Prototype
            | Errno::Afnosupport => Self::NotSupported,
            Errno::Inval | Errno::Destaddrreq => Self::InvalidArgument,
            Errno::Nomem | Errno::Nobufs | Errno::Mfile | Errno::Nfile => Self::OutOfMemory,
            Errno::Timedout => Self::Timeout,
            Errno::Isconn | Errno::Notconn | Errno::Already => Self::InvalidState,
            Errno::Addrnotavail => Self::AddressNotBindable,
            Errno::Addrinuse => Self::AddressInUse,
            Errno::Hostunreach | Errno::Netunreach | Errno::Netdown => Self::RemoteUnreachable,
            Errno::Connrefused => Self::ConnectionRefused,
            Errno::Pipe => Self::ConnectionBroken,
            Errno::Connreset => Self::ConnectionReset,
            Errno::Connaborted | Errno::Canceled => Self::ConnectionAborted,
            Errno::Msgsize => Self::DatagramTooLarge,
            other => Self::Other(Some(other.to_string())),
        }
    }
}

/// Why a port of ours can't be had: without a network at all, it was not granted.
fn not_bound(errno: Errno) -> Errno {
    if errno == Errno::Netdown { Errno::Acces } else { errno }
}

fn ip_of(address: IpAddr) -> IpAddress {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            IpAddress::Ipv4((a, b, c, d))
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h] = ip.segments();
            IpAddress::Ipv6((a, b, c, d, e, f, g, h))
        }
    }
}

fn told(address: SocketAddr) -> IpSocketAddress {
    match (ip_of(address.ip()), address) {
        (IpAddress::Ipv4(ip), _) => {
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: ip })
        }
        (IpAddress::Ipv6(ip), address) => {
            let (flow_info, scope_id) = match address {
                SocketAddr::V6(address) => (address.flowinfo(), address.scope_id()),
                SocketAddr::V4(_) => (0, 0),
            };
            IpSocketAddress::Ipv6(Ipv6SocketAddress {
                port: address.port(),
                flow_info,
                address: ip,
                scope_id,
            })
        }
    }
}

/// What a guest wrote, if a socket of that family can have to do with it.
fn decode(address: IpSocketAddress, family: IpAddressFamily) -> Result<SocketAddr, Errno> {
    match (address, family) {
        (IpSocketAddress::Ipv4(address), IpAddressFamily::Ipv4) => {
            let (a, b, c, d) = address.address;
            Ok((Ipv4Addr::new(a, b, c, d), address.port).into())
        }
        (IpSocketAddress::Ipv6(address), IpAddressFamily::Ipv6) => {
            let (a, b, c, d, e, f, g, h) = address.address;
            let ip = Ipv6Addr::new(a, b, c, d, e, f, g, h);
            // IPv4 in disguise, of both kinds.
            let compatible = ip.segments()[..6] == [0; 6] && ip > Ipv6Addr::LOCALHOST;
            if ip.to_ipv4_mapped().is_some() || compatible {
                return Err(Errno::Inval);
            }
            Ok(SocketAddrV6::new(ip, address.port, address.flow_info, address.scope_id).into())
        }
        _ => Err(Errno::Inval),
    }
}

/// Somebody in particular, at a port.
fn peer(address: IpSocketAddress, family: IpAddressFamily) -> Result<SocketAddr, Errno> {
    let address = decode(address, family)?;
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(Errno::Inval);
    }
    Ok(address)
}

/// One machine's, not a group's.
fn unicast(address: SocketAddr) -> Result<SocketAddr, Errno> {
    let broadcast = address.ip() == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.ip().is_multicast() || broadcast { Err(Errno::Inval) } else { Ok(address) }
}

fn any(family: IpAddressFamily) -> SocketAddr {
    match family {
        IpAddressFamily::Ipv4 => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddressFamily::Ipv6 => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// What both kinds of sockets can be told about their packets: kept, for the network has its own.
#[derive(Clone, Copy)]
struct Hints {
    hop_limit: u8,
    receive_buffer: u64,
    send_buffer: u64,
}

impl Default for Hints {
    fn default() -> Self {
        Self { hop_limit: 64, receive_buffer: 64 << 10, send_buffer: 64 << 10 }
    }
}

impl Hints {
    fn set_hop_limit(&mut self, hops: u8) -> Result<(), Errno> {
        self.hop_limit = positive(hops)?;
        Ok(())
    }

    fn set_receive_buffer(&mut self, size: u64) -> Result<(), Errno> {
        self.receive_buffer = positive(size)?.min(MAX_BUFFER);
        Ok(())
    }

    fn set_send_buffer(&mut self, size: u64) -> Result<(), Errno> {
        self.send_buffer = positive(size)?.min(MAX_BUFFER);
        Ok(())
    }
}

const MAX_BUFFER: u64 = i32::MAX as u64;

fn positive<T: Default + PartialEq>(value: T) -> Result<T, Errno> {
    if value == T::default() { Err(Errno::Inval) } else { Ok(value) }
}
