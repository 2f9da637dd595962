//! The VM's network, from the flags to a [`Nic`] and words for the kernel.
//!
//! Promises: without a grant and without `-p` there is no NIC, and the kernel hears nothing of a network; what
//! the flags ask for in vain is refused before anything boots. Does not: set up bridges or taps, need root, or check
//! grants (hostcalls does).
//!
//! | `--net` | the guest is |
//! |---|---|
//! | `user` | behind QEMU's own router (10.0.2.0/24, unless `--ip` says otherwise): `-p` lets others in |
//! | `tap=NAME` | on this machine's tap, under an address of its own |
//! | `unix=LOCAL,REMOTE` | on a wire that is a pair of datagram sockets: one frame a datagram |
//! | `none` | alone |

pub mod address;
pub mod publish;

use std::{
    fs::OpenOptions,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use address::{Setting, Static, parse_host, parse_name};
use clap::Args;
use lunette_hostcalls::{
    Grants,
    grants::{Listen, Name, Peer, Protocol},
};
use publish::{Publish, Published, Reserved};

use crate::{
    hypervisor::{Backend, Nic, UserNet},
    problem::Problem,
};

/// What `lunette run` can be told about the network.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Network")]
pub struct Flags {
    /// Publish a port of the app's on this machine; without HOST, on a free one
    #[arg(short, long, value_name = "[[IP:]HOST:]GUEST[/udp]")]
    pub publish: Vec<Publish>,
    /// Let the app listen on a port: 80, 127.0.0.1:8080, 53/udp
    #[arg(long, value_name = "[ADDR:]PORT[/udp]")]
    pub listen: Vec<Listen>,
    /// Let the app connect: db:5432, 10.0.0.0/8:*, *:443
    #[arg(long, value_name = "HOST:PORT[/udp]")]
    pub connect: Vec<Peer>,
    /// Let the app ask for the addresses of names: db.internal, *.example.org
    #[arg(long, value_name = "NAME")]
    pub resolve: Vec<Name>,
    /// What the VM is connected to: user, tap=NAME, unix=LOCAL,REMOTE or none (default: user, if there is
    /// anything that the app may do with it)
    #[arg(long, value_name = "NET", conflicts_with = "host")]
    pub net: Option<Mode>,
    /// The VM's IPv4 address: dhcp, none or ADDR/BITS[,GATEWAY]
    #[arg(long, value_name = "IP", conflicts_with = "host")]
    pub ip: Option<Setting<Ipv4Addr>>,
    /// The VM's IPv6 address: auto, none or ADDR/BITS[,GATEWAY] (default with --net user: none)
    #[arg(long, value_name = "IP", conflicts_with = "host")]
    pub ip6: Option<Setting<Ipv6Addr>>,
    /// The name servers to ask
    #[arg(long, value_name = "ADDR", value_delimiter = ',', conflicts_with = "host")]
    pub dns: Vec<IpAddr>,
    /// The VM's own name
    #[arg(long, value_name = "NAME", value_parser = parse_name, conflicts_with = "host")]
    pub hostname: Option<String>,
    /// A name that needs no name server
    #[arg(long, value_name = "NAME:ADDR", value_parser = parse_host, conflicts_with = "host")]
    pub add_host: Vec<(String, IpAddr)>,
    /// Write every frame to a file that Wireshark reads
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    pub pcap: Option<PathBuf>,
}

/// `--net`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    User,
    Tap(String),
    Unix { local: PathBuf, remote: PathBuf },
    None,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once('=').map_or((text, None), |(word, rest)| (word, Some(rest)));
        match (word, rest) {
            ("user", None) => Ok(Self::User),
            ("none", None) => Ok(Self::None),
            // What the kernel takes for a name, less what QEMU would read as more than one.
            ("tap", Some(name)) if (1..=15).contains(&name.len()) && !name.contains(['/', ',', ' ']) => {
                Ok(Self::Tap(name.to_owned()))
            }
            ("tap", _) => Err("a tap has a name of 1 to 15 letters: tap=tap0".into()),
            ("unix", Some(paths)) => match paths.split_once(',') {
                Some((local, remote)) if !local.is_empty() && !remote.is_empty() && local != remote => {
                    Ok(Self::Unix { local: local.into(), remote: remote.into() })
                }
                _ => Err("a wire has two ends: unix=LOCAL,REMOTE".into()),
            },
            _ => Err("it is user, tap=NAME, unix=LOCAL,REMOTE or none".into()),
        }
    }
}

/// What an app's guests are granted together, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Any of the network at all.
    pub any: bool,
    /// To connect, or to ask for names.
    pub reaches_out: bool,
    /// To take connections: such an app may finish when it is asked to stop.
    pub listens: bool,
}

impl Needs {
    pub fn of<'g>(grants: impl IntoIterator<Item = &'g Grants>) -> Self {
        grants.into_iter().fold(Self::default(), |needs, grants| Self {
            any: needs.any || !grants.is_empty(),
            reaches_out: needs.reaches_out || !grants.connect.is_empty() || !grants.resolve.is_empty(),
            listens: needs.listens || !grants.listen.is_empty(),
        })
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Network {
    pub nic: Option<Nic>,
    /// For the kernel's command line.
    pub words: Vec<String>,
    pub published: Vec<Published>,
    /// To be kept until the hypervisor has opened its ports.
    pub reserved: Reserved,
}

/// QEMU's own network, where nobody says otherwise.
const USER: Static<Ipv4Addr> =
    Static { address: Ipv4Addr::new(10, 0, 2, 15), bits: 24, gateway: Some(Ipv4Addr::new(10, 0, 2, 2)) };

/// The network for these flags. `owner` knows who has published a port.
pub fn plan(
    flags: &Flags,
    needs: Needs,
    owner: impl Fn(SocketAddr, Protocol) -> Option<String>,
) -> Result<Network, Problem> {
    let wanted = needs.any || !flags.publish.is_empty();
    let mode = flags.net.clone().unwrap_or(if wanted { Mode::User } else { Mode::None });
    if mode == Mode::None {
        return match (flags.in_vain(), &flags.net) {
            // Granted all the same: the guests have the loopback, among themselves.
            (None, _) if needs.any => {
                Ok(Network { words: vec!["lunette.ip=none".into()], ..Network::default() })
            }
            (None, _) => Ok(Network::default()),
            (Some(flag), Some(_)) => {
                let what = format!("{flag} needs a network, and --net none gives none");
                Err(Problem::new(what, "leave --net out, or say --net user"))
            }
            (Some(flag), None) => {
                let what = format!("{flag} is for nothing: the app is granted no network");
                Err(Problem::new(
                    what,
                    "grant it some: --listen PORT, --connect HOST:PORT, or [network] in lunette.toml",
                ))
            }
        };
    }
    if mode != Mode::User && !flags.publish.is_empty() {
        let what = "-p goes with --net user only: on a network of its own the VM has an address of its own";
        return Err(Problem::new(what, "leave -p out, and connect to the VM's address"));
    }
    let (backend, mut words, published, reserved) = match mode {
        Mode::None => return Ok(Network::default()),
        Mode::User => {
            let (mut user, words) = user(flags)?;
            if let Some(v6) = flags.publish.iter().find(|publish| publish.address.is_ipv6()) {
                let what =
                    format!("QEMU's user network publishes on IPv4 addresses only, not on [{}]", v6.address);
                return Err(
                    Problem::new(what, "publish on an IPv4 address, use --host, or --net tap=NAME").at("-p")
                );
            }
            let (published, reserved) = publish::reserve(&flags.publish, owner)?;
            user.forwards = published.clone();
            // A closed router drops what a guest answers by UDP, too.
            let udp = published.iter().any(|one| one.protocol == Protocol::Udp);
            user.closed = !needs.reaches_out && !udp;
            (Backend::User(user), words, published, reserved)
        }
        Mode::Tap(name) => {
            check_tap(&name)?;
            (Backend::Tap(name), flags.addresses(), Vec::new(), Reserved::default())
        }
        Mode::Unix { local, remote } => {
            let (local, remote) = (socket_path(&local)?, socket_path(&remote)?);
            (Backend::Unix { local, remote }, flags.addresses(), Vec::new(), Reserved::default())
        }
    };
    words.extend(flags.names());
    let capture = flags.pcap.as_deref().map(check_capture).transpose()?;
    let mac = mac(&backend);
    Ok(Network { nic: Some(Nic { backend, mac, capture }), words, published, reserved })
}

impl Flags {
    /// What they grant the app, beside `others`, its own and its companions' grants: a port that is published may be
    /// listened on.
    pub fn grants(&self, others: &[&Grants]) -> Grants {
        let mut grants = Grants {
            listen: self.listen.clone(),
            connect: self.connect.clone(),
            resolve: self.resolve.clone(),
        };
        for Publish { guest, protocol, .. } in &self.publish {
            let known = |listen: &Listen| {
                listen.port.is_none_or(|port| port == *guest)
                    && listen.protocol == *protocol
                    && listen.address.is_none_or(|address| !address.is_loopback())
            };
            if !others.iter().flat_map(|grants| &grants.listen).chain(&grants.listen).any(known) {
                grants.listen.push(Listen { address: None, port: Some(*guest), protocol: *protocol });
            }
        }
        grants
    }

    /// The first flag that makes sense with a network only.
    pub fn in_vain(&self) -> Option<&'static str> {
        let all = [
            (!self.publish.is_empty(), "-p"),
            (self.ip.is_some(), "--ip"),
            (self.ip6.is_some(), "--ip6"),
            (!self.dns.is_empty(), "--dns"),
            (self.hostname.is_some(), "--hostname"),
            (!self.add_host.is_empty(), "--add-host"),
            (self.pcap.is_some(), "--pcap"),
        ];
        all.into_iter().find_map(|(given, name)| given.then_some(name))
    }

    /// As they were given: the rest is the kernel's choice.
    pub fn addresses(&self) -> Vec<String> {
        let ip = self.ip.map(|ip| format!("lunette.ip={ip}"));
        let ip6 = self.ip6.map(|ip| format!("lunette.ip6={ip}"));
        ip.into_iter().chain(ip6).chain(self.dns_word(None)).collect()
    }

    /// Its own name, and those that it need not ask for.
    pub fn names(&self) -> Vec<String> {
        let hosts: Vec<_> = self.add_host.iter().map(|(name, ip)| format!("{name}={ip}")).collect();
        let hosts = (!hosts.is_empty()).then(|| format!("lunette.hosts={}", hosts.join(",")));
        self.hostname.iter().map(|name| format!("lunette.hostname={name}")).chain(hosts).collect()
    }

    fn dns_word(&self, default: Option<IpAddr>) -> Option<String> {
        let servers = if self.dns.is_empty() { default.as_slice() } else { &self.dns };
        let list: Vec<_> = servers.iter().map(IpAddr::to_string).collect();
        (!list.is_empty()).then(|| format!("lunette.dns={}", list.join(",")))
    }
}

/// QEMU's user network, and the words for its guest: an address that it need not ask for.
fn user(flags: &Flags) -> Result<(UserNet, Vec<String>), Problem> {
    let mut net = UserNet::default();
    let ip = flags.ip.unwrap_or(Setting::Static(USER));
    let mut dns = None;
    let ip = match ip {
        Setting::Auto => Setting::Auto,
        Setting::None if flags.publish.is_empty() => Setting::None,
        Setting::None => {
            let what = "-p takes IPv4, and --ip none gives the VM none";
            return Err(Problem::new(what, "leave --ip or -p out"));
        }
        Setting::Static(own) => {
            if !(8..=27).contains(&own.bits) {
                let what = format!("QEMU's user network can't be as small or large as /{}", own.bits);
                return Err(
                    Problem::new(what, "give the VM an address with /8 to /27: --ip 10.0.2.15/24").at("--ip")
                );
            }
            let base = own.address.to_bits() & (u32::MAX << (32 - own.bits));
            let at = |n: u32| Ipv4Addr::from_bits(base | n);
            let gateway = own.gateway.unwrap_or(at(2));
            // QEMU's name server is at .3, or where the gateway leaves room.
            let server = [at(3), at(4), at(5)].into_iter().find(|ip| *ip != gateway && *ip != own.address);
            if gateway == own.address {
                let what = format!("{gateway} is the gateway's address in QEMU's user network");
                return Err(Problem::new(what, format!("give the VM another: --ip {}/{}", at(15), own.bits))
                    .at("--ip"));
            }
            dns = server.map(IpAddr::V4);
            net.guest = Some(own.address);
            net.ipv4 = Some((at(0), own.bits, gateway, server.unwrap_or(at(3))));
            Setting::Static(Static { gateway: Some(gateway), ..own })
        }
    };
    // Without a word from the user: a host without IPv6 would have its guests wait in vain.
    let ip6 = flags.ip6.unwrap_or(Setting::None);
    net.ipv6 = match ip6 {
        Setting::None => None,
        Setting::Auto => Some(None),
        Setting::Static(own) => {
            let shift = 128 - u32::from(own.bits);
            let base =
                own.address.to_bits().checked_shr(shift).and_then(|n| n.checked_shl(shift)).unwrap_or(0);
            Some(Some((Ipv6Addr::from_bits(base), own.bits, own.gateway)))
        }
    };
    let mut words = vec![format!("lunette.ip={ip}"), format!("lunette.ip6={ip6}")];
    words.extend(flags.dns_word(dns));
    Ok((net, words))
}

/// A tap that somebody made; root's QEMU makes one.
fn check_tap(name: &str) -> Result<(), Problem> {
    if Path::new("/sys/class/net").join(name).exists() || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let help = format!("sudo ip tuntap add dev {name} mode tap user $USER && sudo ip link set {name} up");
    Err(Problem::new(format!("there is no tap {name}"), help).at("--net"))
}

fn socket_path(path: &Path) -> Result<PathBuf, Problem> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let problem = |what: String, help: &str| Err(Problem::new(what, help).at(path.display()).at("--net"));
    if path.as_os_str().len() > 107 {
        return problem(
            "a socket's path has at most 107 bytes".into(),
            "choose a shorter one, in /tmp perhaps",
        );
    }
    match path.parent() {
        Some(folder) if folder.is_dir() => Ok(path),
        _ => problem("there is no such folder for the socket".into(), "make it, or name another"),
    }
}

/// Refuses a file that can't be written, before QEMU does.
fn check_capture(path: &Path) -> Result<PathBuf, Problem> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    let absolute = opened.and_then(|_| std::path::absolute(path));
    absolute.map_err(|e| {
        Problem::new(format!("the capture can't be written: {e}"), "name a file in a folder of yours")
            .at(path.display())
            .at("--pcap")
    })
}

/// Behind a router of its own any will do; on a shared wire each VM needs another, the same each time.
fn mac(backend: &Backend) -> Option<String> {
    let wire = match backend {
        Backend::User(_) => return None,
        Backend::Tap(name) => format!("tap {} {name}", rustix::system::uname().nodename().to_string_lossy()),
        Backend::Unix { local, .. } => format!("unix {}", local.display()),
    };
    let hash = lunette_bundle::sha256_hex(wire.as_bytes());
    Some(format!("52:54:00:{}:{}:{}", &hash[..2], &hash[2..4], &hash[4..6]))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
        #[arg(long)]
        host: bool,
    }

    fn flags(words: &str) -> Flags {
        let words = ["x"].into_iter().chain(words.split(' ').filter(|word| !word.is_empty()));
        Line::try_parse_from(words).unwrap_or_else(|e| panic!("{e}")).flags
    }

    const GRANTED: Needs = Needs { any: true, reaches_out: true, listens: false };

    #[test]
    fn a_published_port_is_granted_once() {
        let granted = |words: &str, others: &[&Grants]| {
            let listen = flags(words).grants(others).listen;
            listen.iter().map(Listen::to_string).collect::<Vec<_>>().join(" ")
        };
        let own = |text: &str| Grants { listen: vec![text.parse().unwrap()], ..Grants::default() };
        assert_eq!(granted("-p 1:80 -p 2:80 -p 1:53/udp --listen 81", &[]), "81 80 53/udp");
        assert_eq!(granted("-p 1:80 --listen 80", &[]), "80");
        assert_eq!(granted("-p 1:80", &[&own("443"), &own("80")]), "");
        assert_eq!(granted("-p 1:80", &[&own("*")]), "");
        assert_eq!(granted("-p 1:80", &[&own("80/udp"), &own("127.0.0.1:80")]), "80");
        let needs = Needs::of([&own("80"), &Grants::default()]);
        assert_eq!(needs, Needs { any: true, listens: true, reaches_out: false });
        assert_eq!(Needs::of([&Grants::default()]), Needs::default());
    }

    fn planned(words: &str, needs: Needs) -> Result<Network, Problem> {
        plan(&flags(words), needs, |_, _| None)
    }

    #[test]
    fn without_grants_and_flags_there_is_nothing() {
        let network = planned("", Needs::default()).unwrap();
        assert!(network.nic.is_none() && network.words.is_empty() && network.published.is_empty());
        let alone = planned("--net none", GRANTED).unwrap();
        assert!(alone.nic.is_none() && alone.words == ["lunette.ip=none"]);
    }

    #[test]
    fn the_user_network_is_the_default_and_needs_no_dhcp() {
        let network = planned("", GRANTED).unwrap();
        assert_eq!(
            network.words,
            ["lunette.ip=10.0.2.15/24,10.0.2.2", "lunette.ip6=none", "lunette.dns=10.0.2.3"]
        );
        let words = |line: &str| planned(line, GRANTED).unwrap().words.join(" ");
        assert_eq!(words("--ip dhcp --ip6 auto"), "lunette.ip=dhcp lunette.ip6=auto");
        assert_eq!(
            words(
                "--ip 192.168.7.9/25 --dns 9.9.9.9,::1 --hostname Web --add-host db:10.1.1.1 --add-host b:::2"
            ),
            "lunette.ip=192.168.7.9/25,192.168.7.2 lunette.ip6=none lunette.dns=9.9.9.9,::1 \
             lunette.hostname=web lunette.hosts=db=10.1.1.1,b=::2"
        );
        assert!(words("--ip 10.0.2.3/24").ends_with("lunette.dns=10.0.2.4"));
        assert!(planned("--ip 10.0.2.2/24", GRANTED).unwrap_err().help.contains("10.0.2.15/24"));
        assert!(planned("--ip 10.0.2.15/30", GRANTED).is_err());
    }

    #[test]
    fn a_guest_that_only_answers_is_let_nowhere_unless_it_answers_by_udp() {
        let listens = Needs { any: true, listens: true, reaches_out: false };
        let closed = |words: &str, needs| match planned(words, needs).unwrap().nic.unwrap().backend {
            Backend::User(user) => user.closed,
            other => panic!("{other:?}"),
        };
        assert!(closed("-p 127.0.0.1::80", listens));
        assert!(!closed("-p 127.0.0.1::53/udp", listens));
        assert!(!closed("-p 127.0.0.1::80", GRANTED));
    }

    #[test]
    fn on_a_wire_only_what_was_said_is_passed_on() {
        let dir = tempfile::tempdir().unwrap();
        let wire = |a: &str, b: &str| format!("--net unix={0}/{a},{0}/{b}", dir.path().display());
        let one = planned(&wire("a", "b"), GRANTED).unwrap();
        let two = planned(&format!("{} --ip 10.9.0.2/24 --ip6 none", wire("b", "a")), GRANTED).unwrap();
        assert!(one.words.is_empty());
        assert_eq!(two.words, ["lunette.ip=10.9.0.2/24", "lunette.ip6=none"]);
        let [one, two] = [one, two].map(|network| network.nic.unwrap().mac.unwrap());
        assert!(one != two && one.starts_with("52:54:00:") && one.len() == 17, "{one} {two}");
    }

    #[test]
    fn what_is_for_nothing_is_refused() {
        for (line, words) in [
            ("--net none -p 8080:80", "-p needs a network"),
            ("--net none --ip dhcp", "--ip needs a network"),
            ("--dns 9.9.9.9", "--dns is for nothing: the app is granted no network"),
            ("--net tap=lo -p 8080:80", "-p goes with --net user only"),
            ("--ip none -p 8080:80", "--ip none gives the VM none"),
            ("-p [::1]:8080:80", "IPv4 addresses only"),
            ("--net unix=/nonexistent/a,/tmp/b", "no such folder"),
            ("--net user --pcap /nonexistent/x", "the capture can't be written"),
        ] {
            let e = planned(line, Needs::default()).unwrap_err();
            assert!(e.what.contains(words) && !e.help.is_empty(), "{line}: {e:?}");
        }
        let long = format!("--net unix=/tmp/{},/tmp/b", "a".repeat(120));
        assert!(planned(&long, GRANTED).unwrap_err().what.contains("107"));
    }

    #[test]
    fn modes() {
        for bad in [
            "",
            "bridge",
            "tap",
            "tap=",
            "tap=a/b",
            "tap=much-too-long-a-name",
            "unix=a",
            "unix=a,a",
            "user=x",
        ] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
        assert_eq!("tap=tap0".parse(), Ok(Mode::Tap("tap0".into())));
        assert_eq!("unix=a,b".parse(), Ok(Mode::Unix { local: "a".into(), remote: "b".into() }));
        assert!(Line::try_parse_from(["x", "--host", "--net", "user"]).is_err());
        assert!(Line::try_parse_from(["x", "--host", "-p", "80"]).is_ok());
    }
}
