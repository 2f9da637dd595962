//! `--ip`, `--ip6`, `--add-host`, `--hostname`: what the guest's kernel is told about its network.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use lunette_hostcalls::grants::name_fault;

/// Where a guest has its address of one family from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<A> {
    /// DHCP, or what the router says.
    Auto,
    None,
    Static(Static<A>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Static<A> {
    pub address: A,
    pub bits: u8,
    pub gateway: Option<A>,
}

/// What the two families differ in here.
pub trait Family: Copy + PartialEq + fmt::Display + FromStr {
    const NAME: &'static str;
    /// The word for [`Setting::Auto`].
    const AUTO: &'static str;
    const BITS: u8;
    /// Can a machine have it?
    fn fit(self) -> bool;
    /// Its bits, in the low ones.
    fn number(self) -> u128;
}

impl Family for Ipv4Addr {
    const NAME: &'static str = "IPv4";
    const AUTO: &'static str = "dhcp";
    const BITS: u8 = 32;

    fn fit(self) -> bool {
        !(self.is_unspecified() || self.is_multicast() || self.is_broadcast() || self.is_loopback())
    }

    fn number(self) -> u128 {
        self.to_bits().into()
    }
}

impl Family for Ipv6Addr {
    const NAME: &'static str = "IPv6";
    const AUTO: &'static str = "auto";
    const BITS: u8 = 128;

    fn fit(self) -> bool {
        !(self.is_unspecified()
            || self.is_multicast()
            || self.is_loopback()
            || self.to_ipv4_mapped().is_some())
    }

    fn number(self) -> u128 {
        self.to_bits()
    }
}

impl<A: Family> Static<A> {
    /// Are both on this link?
    pub fn reaches(&self, other: A) -> bool {
        let shift = u32::from(A::BITS - self.bits.min(A::BITS));
        (self.address.number() ^ other.number()).checked_shr(shift).unwrap_or(0) == 0
    }
}

impl<A: Family> FromStr for Setting<A> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == A::AUTO {
            return Ok(Self::Auto);
        }
        if text == "none" {
            return Ok(Self::None);
        }
        let form = || format!("{text:?} is neither {}, none nor ADDR/BITS[,GATEWAY] of {}", A::AUTO, A::NAME);
        let (own, gateway) = match text.split_once(',') {
            Some((own, gateway)) => (own, Some(gateway.parse::<A>().map_err(|_| form())?)),
            None => (text, None),
        };
        let (address, bits) = own.split_once('/').ok_or_else(form)?;
        let address: A = address.parse().map_err(|_| form())?;
        let bits: u8 = bits.parse().ok().filter(|bits| (1..=A::BITS).contains(bits)).ok_or_else(form)?;
        let setting = Static { address, bits, gateway };
        if !address.fit() {
            return Err(format!("{address} is no address for a machine"));
        }
        match gateway {
            Some(gateway) if gateway == address => Err(format!("{address} can't be its own gateway")),
            Some(gateway) if !gateway.fit() => Err(format!("{gateway} is no address for a gateway")),
            // A link-local gateway is on every link of IPv6.
            Some(gateway) if !setting.reaches(gateway) && gateway.number() >> 118 != 0x3fa => {
                Err(format!("the gateway {gateway} is not on the link of {address}/{bits}"))
            }
            _ => Ok(Self::Static(setting)),
        }
    }
}

/// As the kernel's command line has it, which is as it was given.
impl<A: Family> fmt::Display for Setting<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str(A::AUTO),
            Self::None => f.write_str("none"),
            Self::Static(Static { address, bits, gateway }) => {
                write!(f, "{address}/{bits}")?;
                gateway.map_or(Ok(()), |gateway| write!(f, ",{gateway}"))
            }
        }
    }
}

/// `--add-host NAME:ADDRESS`, the address with or without brackets.
pub fn parse_host(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once(':').ok_or("a host is NAME:ADDRESS")?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let ip = bare.parse().map_err(|_| format!("{address:?} is no address"))?;
    match name_fault(name) {
        Some(fault) => Err(format!("the name {name:?} {fault}")),
        None => Ok((name.to_ascii_lowercase(), ip)),
    }
}

/// `--hostname NAME`: what DHCP is told has no underscores (RFC 1123, 2.1), which other names may have.
pub fn parse_name(text: &str) -> Result<String, String> {
    match name_fault(text) {
        Some(fault) => Err(format!("the name {text:?} {fault}")),
        None if text.contains('_') => {
            Err(format!("the name {text:?} has an underscore, which no host's name has"))
        }
        None => Ok(text.trim_end_matches('.').to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back() {
        for text in ["dhcp", "none", "10.0.2.15/24,10.0.2.2", "192.0.2.1/32", "10.0.0.1/1"] {
            assert_eq!(text.parse::<Setting<Ipv4Addr>>().unwrap().to_string(), text);
        }
        for text in ["auto", "none", "fec0::15/64,fec0::2", "2001:db8::1/64,fe80::1", "fd00::1/128"] {
            assert_eq!(text.parse::<Setting<Ipv6Addr>>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn settings_that_can_not_be_are_refused() {
        for (text, words) in [
            ("", "ADDR/BITS"),
            ("auto", "dhcp"),
            ("10.0.2.15", "ADDR/BITS"),
            ("10.0.2.15/0", "ADDR/BITS"),
            ("10.0.2.15/33", "ADDR/BITS"),
            ("fec0::1/64", "ADDR/BITS"),
            ("10.0.2.15/24,", "ADDR/BITS"),
            ("10.0.2.15/24,10.0.3.1", "not on the link"),
            ("10.0.2.15/24,10.0.2.15", "its own gateway"),
            ("127.0.0.1/8", "no address for a machine"),
            ("224.0.0.1/8", "no address for a machine"),
            ("10.0.2.15/24 lunette.x", "ADDR/BITS"),
        ] {
            let e = text.parse::<Setting<Ipv4Addr>>().unwrap_err();
            assert!(e.contains(words), "{text}: {e}");
        }
        assert!("::ffff:1.2.3.4/64".parse::<Setting<Ipv6Addr>>().is_err());
        assert!("fe80::1%eth0/64".parse::<Setting<Ipv6Addr>>().is_err());
    }

    #[test]
    fn hosts_have_a_name_and_an_address() {
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(parse_host("DB:10.0.2.2"), Ok(("db".into(), "10.0.2.2".parse().unwrap())));
        assert_eq!(parse_host("a.b:2001:db8::1"), Ok(("a.b".into(), v6)));
        assert_eq!(parse_host("a:[2001:db8::1]"), Ok(("a".into(), v6)));
        for bad in [
            "db",
            "db:",
            ":1.2.3.4",
            "a b:1.2.3.4",
            "a,b:1.2.3.4",
            "a=b:1.2.3.4",
            "-a:1.2.3.4",
            "db:localhost",
        ] {
            assert!(parse_host(bad).is_err(), "{bad}");
        }
        assert!(
            parse_name(&"a".repeat(64)).is_err() && parse_name("a..b").is_err() && parse_name("").is_err()
        );
        assert!(parse_name("my_vm").is_err() && parse_host("my_db:10.0.2.2").is_ok());
    }
}
