//! Where the device's addresses come from: the configuration, DHCP, and routers.
//!
//! DHCP and router advertisements are smoltcp's; here, what they bring is put into place, and taken away again.
//! An address whose lease is lost goes at once, and with it the connections that stand on it.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::net::{IpAddr, SocketAddr};

use smoltcp::{
    iface::Interface,
    phy::Medium,
    socket::dhcpv4::{Event, RetryConfig, Socket},
    time::Duration,
    wire::{DhcpOption, HardwareAddress, IpAddress, IpCidr, Ipv4Cidr, Ipv6Address, Ipv6Cidr},
};

use crate::{
    address::Lane,
    config::{Config, V4, V6, is_host_v4},
    hub::Hub,
    slot::Kind,
    status::{Lease, Status},
};

pub(crate) struct Dhcp {
    id: usize,
    address: Option<Ipv4Cidr>,
    dns: Vec<IpAddr>,
    lease: Option<Lease>,
}

const SERVER: u16 = 67;
const CLIENT: u16 = 68;
/// The first question may get lost while a link comes up.
const DISCOVER: Duration = Duration::from_secs(2);
const REQUEST: Duration = Duration::from_secs(2);
/// Option 12: the name of the host.
const HOSTNAME: u8 = 12;

impl Dhcp {
    /// Its socket, if that is whom a datagram is for.
    pub(crate) fn is_for(&self, to: SocketAddr, from: SocketAddr) -> Option<usize> {
        (to.is_ipv4() && to.port() == CLIENT && from.port() == SERVER).then_some(self.id)
    }
}

/// Puts the configured addresses into place.
pub(crate) fn set_up(interface: &mut Interface, medium: Medium, config: &Config) {
    let ethernet = medium == Medium::Ethernet;
    if let V4::Static { address: (ip, bits), gateway } = config.ipv4 {
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(ip.into(), bits.min(32)));
        });
        if let Some(gateway) = gateway {
            let _ = interface.routes_mut().add_default_ipv4_route(gateway);
        }
    }
    if config.ipv6 != V6::None && ethernet {
        let prefix = Ipv6Cidr::new(Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);
        if let Some(local) = Ipv6Cidr::from_link_prefix(&prefix, interface.hardware_addr()) {
            interface.update_ip_addrs(|addresses| {
                let _ = addresses.push(local.into());
            });
        }
    }
    if let V6::Static { address: (ip, bits), gateway } = config.ipv6 {
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(ip.into(), bits.min(128)));
        });
        if let Some(gateway) = gateway {
            let _ = interface.routes_mut().add_default_ipv6_route(gateway);
        }
    }
}

/// What the interface is called on its medium. An address of a group is none of a device: it is made one's own.
pub(crate) fn hardware(medium: Medium, mac: [u8; 6]) -> HardwareAddress {
    use smoltcp::wire::EthernetAddress;
    match medium {
        Medium::Ethernet => {
            let [first, rest @ ..] = mac;
            let mut own = [first & !1, 0, 0, 0, 0, 0];
            own[1..].copy_from_slice(&rest);
            if own == [0; 6] {
                own = [2, 0, 0, 0, 0, 1];
            }
            HardwareAddress::Ethernet(EthernetAddress(own))
        }
        Medium::Ip => HardwareAddress::Ip,
    }
}

impl Hub {
    /// Begins to ask for an address.
    pub(crate) fn start_dhcp(&mut self) {
        let mut socket = Socket::new();
        let mut retry = RetryConfig::default();
        retry.discover_timeout = DISCOVER;
        retry.initial_request_timeout = REQUEST;
        socket.set_retry_config(retry);
        if let Some(name) = self.config.hostname.clone() {
            socket.set_outgoing_options(hostname_option(name));
        }
        if let Ok(id) = self.insert(socket, Lane::Wire, Kind::Dhcp) {
            self.dhcp = Some(Dhcp { id, address: None, dns: Vec::new(), lease: None });
            self.enqueue(id);
        }
    }

    pub(crate) fn settle_dhcp(&mut self, id: usize) {
        let Some(socket) = self.slots.get_mut(id).and_then(|slot| slot.dhcp()) else { return };
        let Some(dhcp) = &mut self.dhcp else { return };
        let (address, router, lease, dns) = match socket.poll() {
            None => return,
            Some(Event::Deconfigured) => (None, None, None, Vec::new()),
            Some(Event::Configured(config)) => {
                let lease = Lease {
                    server: config.server.identifier,
                    since: (self.now.total_micros() as u64).saturating_mul(1000),
                };
                let dns = config.dns_servers.iter().map(|ip| IpAddr::V4(*ip)).collect();
                (Some(config.address), config.router, Some(lease), dns)
            }
        };
        // What a server says is a claim.
        let address = address.filter(|cidr| is_host_v4(cidr.address()) && cidr.prefix_len() > 0);
        let router = router.filter(|ip| is_host_v4(*ip));
        let lost = dhcp.lease.is_some() && lease.is_none();
        let old = core::mem::replace(&mut dhcp.address, address);
        (dhcp.lease, dhcp.dns) = (lease.filter(|_| address.is_some()), dns);
        if old != address {
            self.wire.update_ip_addrs(|addresses| {
                addresses.retain(|cidr| old.is_none_or(|old| *cidr != IpCidr::Ipv4(old)));
                // There is always room: the others are few.
                let _ =
                    addresses.extend_from_slice(&address.map(IpCidr::Ipv4).into_iter().collect::<Vec<_>>());
            });
        }
        match router.filter(|_| address.is_some()) {
            Some(router) => drop(self.wire.routes_mut().add_default_ipv4_route(router)),
            None => drop(self.wire.routes_mut().remove_default_ipv4_route()),
        }
        if lost {
            self.log.warn(format_args!(
                "network: the lease of {} is lost; asking for another",
                old.map_or(core::net::Ipv4Addr::UNSPECIFIED, |old| old.address())
            ));
        }
        self.notice_addresses();
    }
}

/// What is sent along with each question. smoltcp borrows it for as long as there is a socket, which is for good.
fn hostname_option(name: String) -> &'static [DhcpOption<'static>] {
    let data: &'static str = Box::leak(name.into_boxed_str());
    Box::leak(Box::new([DhcpOption { kind: HOSTNAME, data: data.as_bytes() }]))
}

pub(crate) fn status(hub: &Hub) -> Status {
    let addresses: Vec<_> =
        hub.wire.ip_addrs().iter().map(|cidr| (IpAddr::from(cidr.address()), cidr.prefix_len())).collect();
    let v4 = addresses.iter().any(|(ip, _)| ip.is_ipv4());
    let v6 = addresses.iter().any(|(ip, _)| matches!(ip, IpAddr::V6(ip) if !ip.is_unicast_link_local()));
    let routes = hub.wire.routes();
    let gateway = routes.get_default_ipv4_route().and_then(|route| match route.via_router {
        IpAddress::Ipv4(ip) => Some(ip),
        IpAddress::Ipv6(_) => None,
    });
    let gateway6 = routes.get_default_ipv6_route().and_then(|route| match route.via_router {
        IpAddress::Ipv6(ip) => Some(ip),
        IpAddress::Ipv4(_) => None,
    });
    let dns = match &hub.dhcp {
        Some(dhcp) if hub.config.dns.is_empty() => dhcp.dns.clone(),
        _ => hub.config.dns.clone(),
    };
    let missing = match (hub.config.ipv4, hub.config.ipv6) {
        (V4::Dhcp, _) if !v4 => Some("an answer from a DHCP server"),
        (V4::None, V6::Auto) if !v6 => Some("an advertisement from a router"),
        _ => None,
    };
    let lease = hub.dhcp.as_ref().and_then(|dhcp| dhcp.lease);
    Status { addresses, v4, v6, gateway, gateway6, dns, lease, missing }
}
