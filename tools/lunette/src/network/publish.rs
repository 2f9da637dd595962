//! `-p`: a port of this machine that is a port of the guest's.
//!
//! Promises: a port that is taken is found before anything boots, and is kept from others from then on. Does not:
//! forward (the hypervisor does), or publish ranges.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    str::FromStr,
};

use lunette_hostcalls::grants::Protocol;
use rustix::{io::Errno, net};
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    pub address: IpAddr,
    /// `None`: any that is free.
    pub port: Option<u16>,
    pub guest: u16,
    pub protocol: Protocol,
}

/// What it became.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub host: SocketAddr,
    pub guest: u16,
    #[serde(with = "protocol")]
    pub protocol: Protocol,
}

/// Keeps ports for a hypervisor that is about to open them: bound, and not listening.
#[derive(Debug, Default)]
pub struct Reserved {
    _sockets: Vec<OwnedFd>,
}

impl FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = match text.rsplit_once('/') {
            None | Some((_, "tcp")) => (text.strip_suffix("/tcp").unwrap_or(text), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(format!("{other:?} is neither tcp nor udp")),
        };
        let (address, ports) = match ports.strip_prefix('[') {
            Some(rest) => {
                let (address, ports) =
                    rest.split_once("]:").ok_or("after an IPv6 address in brackets come :HOST:GUEST")?;
                let address = address.parse().map_err(|_| format!("{address:?} is no IPv6 address"))?;
                if !ports.contains(':') {
                    return Err("after an IPv6 address in brackets come :HOST:GUEST".into());
                }
                (IpAddr::V6(address), ports)
            }
            None => match ports.split(':').count() {
                1 | 2 => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), ports),
                3 => {
                    let (address, ports) = ports.split_once(':').unwrap_or_default();
                    let address = address.parse().map_err(|_| {
                        format!("{address:?} is no address of this machine: give one such as 127.0.0.1")
                    })?;
                    (IpAddr::V4(address), ports)
                }
                _ => return Err("an IPv6 address stands in brackets: [::1]:8080:80".into()),
            },
        };
        let (host, guest) = ports.split_once(':').unwrap_or(("", ports));
        let port = match host {
            "" => None,
            host => Some(port(host)?).filter(|port| *port != 0),
        };
        match self::port(guest)? {
            0 => Err("0 is no port of the guest's: name the one that it listens on".into()),
            guest => Ok(Self { address, port, guest, protocol }),
        }
    }
}

fn port(text: &str) -> Result<u16, String> {
    if text.contains('-') {
        return Err(format!("{text:?} is a range: give a -p for each port"));
    }
    // Rust's numbers may have a sign.
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| format!("{text:?} is no port (1 to 65535)"))
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}/{}", self.host, self.guest, protocol::name(self.protocol))
    }
}

/// Finds out whether all of them can be had, and keeps them. `owner`: who is known to have a port.
pub fn reserve(
    wanted: &[Publish],
    owner: impl Fn(SocketAddr, Protocol) -> Option<String>,
) -> Result<(Vec<Published>, Reserved), Problem> {
    let mut published: Vec<Published> = Vec::new();
    let mut reserved = Reserved::default();
    for publish in wanted {
        let host = SocketAddr::new(publish.address, publish.port.unwrap_or(0));
        let twice = |other: &&Published| {
            other.protocol == publish.protocol
                && other.host.port() == host.port()
                && overlap(other.host, host)
        };
        if let Some(other) = published.iter().find(twice) {
            let what = format!("the port {host} is published twice: {other}");
            return Err(Problem::new(what, "give each its own port of this machine").at("-p"));
        }
        let (socket, host) = bind(host, publish.protocol)
            .map_err(|e| refusal(publish, host, e, owner(host, publish.protocol)))?;
        // A second socket for datagrams would take what comes for the hypervisor's.
        if publish.protocol == Protocol::Tcp {
            reserved._sockets.push(socket);
        }
        published.push(Published { host, guest: publish.guest, protocol: publish.protocol });
    }
    Ok((published, reserved))
}

/// Would one socket take what is meant for the other?
pub fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn bind(at: SocketAddr, protocol: Protocol) -> Result<(OwnedFd, SocketAddr), Errno> {
    let family = if at.is_ipv4() { net::AddressFamily::INET } else { net::AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => net::SocketType::STREAM,
        Protocol::Udp => net::SocketType::DGRAM,
    };
    let socket = net::socket_with(family, kind, net::SocketFlags::CLOEXEC, None)?;
    if at.is_ipv6() {
        net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // As QEMU's own: so that both can be bound while only one listens, and old connections do no harm.
        net::sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    net::bind(&socket, &at)?;
    let at = net::getsockname(&socket)?;
    Ok((socket, SocketAddr::try_from(at).map_err(|_| Errno::AFNOSUPPORT)?))
}

fn refusal(publish: &Publish, host: SocketAddr, e: Errno, owner: Option<String>) -> Problem {
    let Publish { guest, protocol, .. } = *publish;
    let suffix = if protocol == Protocol::Udp { "/udp" } else { "" };
    let any = if host.ip().is_unspecified() { String::new() } else { format!("{}:", bracketed(host.ip())) };
    let (what, help) = match e {
        Errno::ADDRINUSE => {
            let by = owner.as_ref().map(|name| format!(" by the VM {name}")).unwrap_or_default();
            let stop = match owner {
                Some(name) => format!("lunette stop {name}"),
                None => format!("stop what listens there (`ss -lnp sport = :{}`)", host.port()),
            };
            let what = format!("port {} of this machine is in use{by}", host.port());
            (what, format!("{stop}, or publish another: -p {any}{}:{guest}{suffix}", free_port(host)))
        }
        Errno::ACCESS | Errno::PERM => (
            format!("port {} may not be opened: those below 1024 are root's", host.port()),
            format!("publish another: -p {any}{}:{guest}{suffix}", free_port(host)),
        ),
        Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT => (
            format!("{} is no address of this machine", host.ip()),
            "give one that `ip address` shows, or none for all of them".into(),
        ),
        e => (format!("port {} can't be opened: {e}", host.port()), "publish another".into()),
    };
    Problem::new(what, help).at(format!("-p {any}{}:{guest}{suffix}", host.port()))
}

/// One to suggest: above those that are root's, and like the one that was asked for.
fn free_port(host: SocketAddr) -> u16 {
    let port = host.port();
    let mut near =
        (0..20u16).filter_map(|n| if port < 1024 { Some(8000 + port + n) } else { port.checked_add(n + 1) });
    let free = |port: &u16| bind(SocketAddr::new(host.ip(), *port), Protocol::Tcp).is_ok();
    near.find(free).unwrap_or(0)
}

fn bracketed(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

/// The protocol's name, in JSON too.
pub mod protocol {
    use super::Protocol;

    pub fn name(protocol: Protocol) -> &'static str {
        match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    pub(super) fn serialize<S: serde::Serializer>(protocol: &Protocol, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name(*protocol))
    }

    pub(super) fn deserialize<'d, D: serde::Deserializer<'d>>(from: D) -> Result<Protocol, D::Error> {
        match <std::borrow::Cow<'d, str> as serde::Deserialize>::deserialize(from)?.as_ref() {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            other => Err(serde::de::Error::custom(format!("{other:?} is no protocol"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn publish(text: &str) -> Publish {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn every_form_that_docker_has() {
        let of = |address: &str, port, guest, protocol| Publish {
            address: address.parse().unwrap(),
            port,
            guest,
            protocol,
        };
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        for (text, wanted) in [
            ("80", of("0.0.0.0", None, 80, tcp)),
            ("8080:80", of("0.0.0.0", Some(8080), 80, tcp)),
            ("0:80", of("0.0.0.0", None, 80, tcp)),
            (":80", of("0.0.0.0", None, 80, tcp)),
            ("8080:80/tcp", of("0.0.0.0", Some(8080), 80, tcp)),
            ("5353:53/udp", of("0.0.0.0", Some(5353), 53, udp)),
            ("127.0.0.1:8080:80", of("127.0.0.1", Some(8080), 80, tcp)),
            ("127.0.0.1::80", of("127.0.0.1", None, 80, tcp)),
            ("[::1]:8080:80", of("::1", Some(8080), 80, tcp)),
            ("[::]::53/udp", of("::", None, 53, udp)),
        ] {
            assert_eq!(publish(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("", "no port"),
            ("http", "\"http\" is no port"),
            ("+80", "no port"),
            ("8080:", "no port"),
            ("8080:0", "0 is no port of the guest's"),
            ("65536:80", "no port"),
            ("8080-8090:80-90", "a range"),
            ("80/sctp", "neither tcp nor udp"),
            ("localhost:8080:80", "127.0.0.1"),
            ("::1:8080:80", "brackets"),
            ("[::1]:80", ":HOST:GUEST"),
            ("[::1", ":HOST:GUEST"),
            ("[127.0.0.1]:8080:80", "no IPv6 address"),
        ] {
            let e = text.parse::<Publish>().unwrap_err();
            assert!(e.contains(words), "{text}: {e}");
        }
    }

    #[test]
    fn a_port_in_use_is_found_and_another_is_suggested() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let wanted = [publish(&format!("127.0.0.1:{port}:80"))];
        let e = reserve(&wanted, |_, _| None).unwrap_err();
        assert_eq!(e.what, format!("port {port} of this machine is in use"));
        assert!(
            e.help.contains("ss -lnp") && e.help.contains("-p 127.0.0.1:") && e.help.ends_with(":80"),
            "{e:?}"
        );
        let e = reserve(&wanted, |_, _| Some("web".into())).unwrap_err();
        assert!(e.what.ends_with("in use by the VM web") && e.help.starts_with("lunette stop web"), "{e:?}");
        // Also on all addresses, and not over UDP.
        assert!(reserve(&[publish(&format!("{port}:80"))], |_, _| None).is_err());
        assert!(reserve(&[publish(&format!("127.0.0.1:{port}:80/udp"))], |_, _| None).is_ok());
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let e = reserve(&[publish(&format!("127.0.0.1:{port}:53/udp"))], |_, _| None).unwrap_err();
        assert!(e.what.contains("in use") && e.help.ends_with(":53/udp"), "{e:?}");
    }

    #[test]
    fn a_chosen_port_is_kept_for_who_listens_and_from_who_chooses() {
        let (published, reserved) =
            reserve(&[publish("127.0.0.1::80"), publish("127.0.0.1::81")], |_, _| None).unwrap();
        let [one, two] = [published[0].host, published[1].host];
        assert!(one.port() != 0 && one != two);
        // As QEMU does it, with SO_REUSEADDR.
        let listener = TcpListener::bind(one).expect("it is kept, not taken");
        drop(reserved);
        assert_eq!(listener.local_addr().unwrap(), one);
        assert_eq!(published[0].to_string(), format!("{one}->80/tcp"));
        let json = serde_json::to_string(&published).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Published>>(&json).unwrap(), published);
    }

    #[test]
    fn one_port_is_published_once() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let pair = |a: &str, b: &str| reserve(&[publish(a), publish(b)], |_, _| None).map(|_| ());
        let e = pair(&format!("{free}:80"), &format!("127.0.0.1:{free}:81")).unwrap_err();
        assert!(e.what.contains("published twice"), "{e:?}");
        assert!(pair(&format!("{free}:53"), &format!("{free}:53/udp")).is_ok());
        let e = reserve(&[publish("192.0.2.1:8080:80")], |_, _| None).unwrap_err();
        assert!(e.what.contains("no address of this machine"), "{e:?}");
    }
}
