//! How the network stands: for whoever waits for it at the start, and for the log.

use alloc::vec::Vec;
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lunette_hostcalls::Nanos;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The device's addresses, with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Is there an address of IPv4; of IPv6 beyond the link?
    pub v4: bool,
    pub v6: bool,
    pub gateway: Option<Ipv4Addr>,
    pub gateway6: Option<Ipv6Addr>,
    /// The servers to ask for names: those of the configuration, or else those that DHCP named.
    pub dns: Vec<IpAddr>,
    pub lease: Option<Lease>,
    /// What must still come before the network can be used as it was configured: `None` when it can.
    pub missing: Option<&'static str>,
}

/// An address lent by DHCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub server: Ipv4Addr,
    /// When it was last confirmed, on the monotonic clock.
    pub since: Nanos,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.addresses.is_empty() {
            f.write_str("no address")?;
        }
        for (at, (ip, bits)) in self.addresses.iter().enumerate() {
            write!(f, "{}{ip}/{bits}", if at == 0 { "" } else { " " })?;
        }
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(gateway) = self.gateway6 {
            write!(f, " via {gateway}")?;
        }
        for (at, server) in self.dns.iter().enumerate() {
            write!(f, "{}{server}", if at == 0 { " dns " } else { "," })?;
        }
        if let Some(lease) = self.lease {
            write!(f, " lent by {}", lease.server)?;
        }
        Ok(())
    }
}
