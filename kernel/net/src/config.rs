//! What the stack is told at its start, and the words of the kernel's command line that tell it.
//!
//! | word | means | default |
//! |---|---|---|
//! | `lunette.ip=` | `dhcp`, `none`, or `ADDRESS/BITS[,GATEWAY]` | `dhcp` |
//! | `lunette.ip6=` | `auto` (SLAAC), `none`, or `ADDRESS/BITS[,GATEWAY]` | `auto` |
//! | `lunette.dns=` | `ADDRESS[,ADDRESS]`: in the place of those that DHCP names | |
//! | `lunette.hostname=` | what DHCP is told | |
//! | `lunette.hosts=` | `NAME=ADDRESS[,NAME=ADDRESS]`: names that no server is asked for | |
//!
//! Other words are somebody else's.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub mac: [u8; 6],
    pub hostname: Option<String>,
    pub ipv4: V4,
    pub ipv6: V6,
    pub dns: Vec<IpAddr>,
    pub hosts: Vec<(String, IpAddr)>,
    /// How many bytes sockets may take, with all that they hold.
    pub memory: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V4 {
    Dhcp,
    Static { address: (Ipv4Addr, u8), gateway: Option<Ipv4Addr> },
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V6 {
    /// A link-local address, and what routers advertise (SLAAC).
    Auto,
    /// A link-local address, and this one.
    Static {
        address: (Ipv6Addr, u8),
        gateway: Option<Ipv6Addr>,
    },
    None,
}

/// [`Config::memory`], unless told otherwise.
const MEMORY: usize = 16 << 20;

impl Default for Config {
    fn default() -> Self {
        Self {
            mac: [0x02, 0, 0, 0, 0, 1],
            hostname: None,
            ipv4: V4::Dhcp,
            ipv6: V6::Auto,
            dns: Vec::new(),
            hosts: Vec::new(),
            memory: MEMORY,
        }
    }
}

impl Config {
    /// The loopback and nothing else.
    pub fn loopback() -> Self {
        Self { ipv4: V4::None, ipv6: V6::None, ..Self::default() }
    }

    /// Reads the words that are ours; a word said twice counts as said last. The error says which word, what is wrong
    /// with it, and what would be right.
    pub fn from_words<'a>(mac: [u8; 6], words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut config = Self { mac, ..Self::default() };
        for word in words {
            let Some((key, value)) = word.strip_prefix("lunette.").and_then(|rest| rest.split_once('='))
            else {
                continue;
            };
            let read = match key {
                "ip" => ipv4(value).map(|ip| config.ipv4 = ip),
                "ip6" => ipv6(value).map(|ip| config.ipv6 = ip),
                "dns" => dns(value).map(|servers| config.dns = servers),
                "hostname" => hostname(value).map(|name| config.hostname = Some(name)),
                "hosts" => hosts(value).map(|hosts| config.hosts = hosts),
                _ => Ok(()),
            };
            read.map_err(|(wrong, right)| format!("`{word}`: {wrong}; help: {right}"))?;
        }
        Ok(config)
    }
}

/// What is wrong, and what would be right.
type Wrong = (String, &'static str);

fn ipv4(value: &str) -> Result<V4, Wrong> {
    const HELP: &str =
        "say `dhcp`, `none`, or an address like 10.0.2.15/24,10.0.2.2 (the gateway may be left out)";
    match value {
        "dhcp" => return Ok(V4::Dhcp),
        "none" => return Ok(V4::None),
        _ => {}
    }
    let (address, bits, gateway) = network::<Ipv4Addr>(value, 32, HELP)?;
    if let Some(bad) = [Some(address), gateway].into_iter().flatten().find(|ip| !is_host_v4(*ip)) {
        return Err((format!("{bad} is not the address of a host"), HELP));
    }
    if gateway.is_some_and(|gateway| {
        (gateway.to_bits() ^ address.to_bits()).checked_shr(32 - u32::from(bits)).unwrap_or(0) != 0
    }) {
        return Err(("the gateway is not on the network of the address".into(), HELP));
    }
    Ok(V4::Static { address: (address, bits), gateway })
}

fn ipv6(value: &str) -> Result<V6, Wrong> {
    const HELP: &str =
        "say `auto`, `none`, or an address like fd00::15/64,fd00::1 (the gateway may be left out)";
    match value {
        "auto" => return Ok(V6::Auto),
        "none" => return Ok(V6::None),
        _ => {}
    }
    let (address, bits, gateway) = network::<Ipv6Addr>(value, 128, HELP)?;
    if let Some(bad) = [Some(address), gateway].into_iter().flatten().find(|ip| !is_host_v6(*ip)) {
        return Err((format!("{bad} is not the address of a host"), HELP));
    }
    Ok(V6::Static { address: (address, bits), gateway })
}

fn network<A: core::str::FromStr>(
    value: &str,
    most: u8,
    help: &'static str,
) -> Result<(A, u8, Option<A>), Wrong> {
    let (own, gateway) = match value.split_once(',') {
        Some((own, gateway)) => (own, Some(gateway)),
        None => (value, None),
    };
    let (address, bits) =
        own.split_once('/').ok_or_else(|| (format!("`{own}` has no length of its network"), help))?;
    let parse = |text: &str| text.parse().map_err(|_| (format!("`{text}` is not an address"), help));
    let address = parse(address)?;
    let bits = (bits.parse().ok().filter(|bits| (1..=most).contains(bits)))
        .ok_or_else(|| (format!("`/{bits}` is not between /1 and /{most}"), help))?;
    Ok((address, bits, gateway.map(parse).transpose()?))
}

fn dns(value: &str) -> Result<Vec<IpAddr>, Wrong> {
    const HELP: &str = "say addresses of servers, like 10.0.2.3 or 9.9.9.9,2620:fe::fe";
    value
        .split(',')
        .map(|text| match text.parse::<IpAddr>() {
            Ok(ip) if !ip.is_unspecified() && !ip.is_multicast() => Ok(ip),
            _ => Err((format!("`{text}` is not an address of a server"), HELP)),
        })
        .collect()
}

/// A name of a host: labels of letters, digits and hyphens (RFC 1123, 2.1).
fn hostname(value: &str) -> Result<String, Wrong> {
    let right = value.len() <= 253
        && value.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if right {
        Ok(value.to_string())
    } else {
        Err((
            format!("`{value}` is not a name of a host"),
            "use letters, digits and hyphens, parts joined by dots",
        ))
    }
}

fn hosts(value: &str) -> Result<Vec<(String, IpAddr)>, Wrong> {
    const HELP: &str = "say names with addresses, like db=10.0.2.20,cache=fd00::7";
    value
        .split(',')
        .map(|text| {
            let (name, address) =
                text.split_once('=').ok_or_else(|| (format!("`{text}` has no address"), HELP))?;
            let ip = address.parse().map_err(|_| (format!("`{address}` is not an address"), HELP))?;
            if !crate::resolve::is_name(name) {
                return Err((format!("`{name}` is not a name"), HELP));
            }
            Ok((name.to_string(), ip))
        })
        .collect()
}

pub(crate) fn is_host_v4(ip: Ipv4Addr) -> bool {
    !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast() && !ip.is_loopback()
}

pub(crate) fn is_host_v6(ip: Ipv6Addr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback() && ip.to_ipv4_mapped().is_none()
}
