//! `wasi:sockets`: what its interfaces share, that is addresses and errors.
//!
//! There is one network, the guest's; what of it is granted is `hostcalls::Network`'s business: what is not is
//! `access-denied`, with a line in the host's log.

pub(super) mod lookup;
mod options;
pub(super) mod tcp;
mod tcp_streams;
pub(super) mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lunette_hostcalls::Errno;
use wasmtime::component::{Resource, ResourceTableError};

use super::bindings::wasi::sockets::{
    instance_network,
    network::{
        self, ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
    },
};
use crate::State;

/// The right to use the network; what may be done is asked each time.
pub struct Network;

/// The guest hears about it, or it ends.
#[derive(Debug)]
pub enum Fault {
    Code(ErrorCode),
    Trap(wasmtime::Error),
}

type Result<T, E = Fault> = std::result::Result<T, E>;

impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Code(code(errno))
    }
}

impl From<ResourceTableError> for Fault {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl Fault {
    fn trap(words: &'static str) -> Self {
        Self::Trap(wasmtime::Error::msg(words))
    }
}

impl network::Host for State {
    fn convert_error_code(&mut self, fault: Fault) -> wasmtime::Result<ErrorCode> {
        match fault {
            Fault::Code(code) => Ok(code),
            Fault::Trap(error) => Err(error),
        }
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.errno(&error)?.map(code))
    }
}

impl network::HostNetwork for State {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        self.table.delete(network)?;
        Ok(())
    }
}

impl instance_network::Host for State {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        Ok(self.table.push(Network)?)
    }
}

fn code(errno: Errno) -> ErrorCode {
    match errno {
        Errno::Acces | Errno::Perm | Errno::Notcapable => ErrorCode::AccessDenied,
        Errno::Addrinuse => ErrorCode::AddressInUse,
        Errno::Addrnotavail => ErrorCode::AddressNotBindable,
        Errno::Again | Errno::Intr => ErrorCode::WouldBlock,
        Errno::Already => ErrorCode::ConcurrencyConflict,
        // No more connections come: the host is being stopped.
        Errno::Canceled | Errno::Connaborted => ErrorCode::ConnectionAborted,
        Errno::Connrefused => ErrorCode::ConnectionRefused,
        Errno::Connreset => ErrorCode::ConnectionReset,
        Errno::Hostunreach | Errno::Netunreach | Errno::Netdown => ErrorCode::RemoteUnreachable,
        Errno::Inval | Errno::Destaddrreq => ErrorCode::InvalidArgument,
        Errno::Isconn | Errno::Notconn | Errno::Pipe => ErrorCode::InvalidState,
        Errno::Mfile | Errno::Nfile => ErrorCode::NewSocketLimit,
        Errno::Msgsize => ErrorCode::DatagramTooLarge,
        Errno::Nomem | Errno::Nobufs => ErrorCode::OutOfMemory,
        Errno::Notsup | Errno::Nosys | Errno::Afnosupport => ErrorCode::NotSupported,
        Errno::Timedout => ErrorCode::Timeout,
        _ => ErrorCode::Unknown,
    }
}

/// The end of a socket that there is no place for.
fn new_socket<T>(pushed: std::result::Result<Resource<T>, ResourceTableError>) -> Result<Resource<T>> {
    match pushed {
        Err(ResourceTableError::Full) => Err(ErrorCode::NewSocketLimit.into()),
        pushed => Ok(pushed?),
    }
}

fn is_of(family: IpAddressFamily, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => family == IpAddressFamily::Ipv4,
        // One that stands for an address of IPv4 is neither.
        IpAddr::V6(ip) => family == IpAddressFamily::Ipv6 && ip.to_ipv4_mapped().is_none(),
    }
}

/// An address that a socket of this family can be bound to.
fn to_bind(family: IpAddressFamily, at: IpSocketAddress) -> Result<SocketAddr> {
    let at = SocketAddr::from(at);
    if !is_of(family, at.ip()) || at.ip().is_multicast() || at.ip() == Ipv4Addr::BROADCAST {
        return Err(ErrorCode::InvalidArgument.into());
    }
    Ok(at)
}

/// One that something can be sent to.
fn remote(family: IpAddressFamily, to: IpSocketAddress) -> Result<SocketAddr> {
    let to = SocketAddr::from(to);
    if !is_of(family, to.ip()) || to.ip().is_unspecified() || to.port() == 0 {
        return Err(ErrorCode::InvalidArgument.into());
    }
    Ok(to)
}

/// An address of ours as a socket of this family has it: one of all addresses listens for both.
fn own(family: IpAddressFamily, at: SocketAddr) -> IpSocketAddress {
    let ip = match (family, at.ip()) {
        (IpAddressFamily::Ipv4, IpAddr::V6(ip)) if ip.is_unspecified() => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddressFamily::Ipv6, IpAddr::V4(ip)) if ip.is_unspecified() => Ipv6Addr::UNSPECIFIED.into(),
        (_, ip) => ip,
    };
    SocketAddr::new(ip, at.port()).into()
}

impl From<IpAddr> for IpAddress {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::Ipv4(ip.octets().into()),
            IpAddr::V6(ip) => Self::Ipv6(ip.segments().into()),
        }
    }
}

impl From<IpSocketAddress> for SocketAddr {
    fn from(address: IpSocketAddress) -> Self {
        match address {
            IpSocketAddress::Ipv4(at) => {
                Self::new(Ipv4Addr::from(<[u8; 4]>::from(at.address)).into(), at.port)
            }
            IpSocketAddress::Ipv6(at) => {
                Self::new(Ipv6Addr::from(<[u16; 8]>::from(at.address)).into(), at.port)
            }
        }
    }
}

impl From<SocketAddr> for IpSocketAddress {
    fn from(at: SocketAddr) -> Self {
        match at.ip() {
            IpAddr::V4(ip) => Self::Ipv4(Ipv4SocketAddress { port: at.port(), address: ip.octets().into() }),
            IpAddr::V6(ip) => Self::Ipv6(Ipv6SocketAddress {
                port: at.port(),
                flow_info: 0,
                address: ip.segments().into(),
                scope_id: 0,
            }),
        }
    }
}
