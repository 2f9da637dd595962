//! Grants, held at the fake network: what is refused never reaches it.

use alloc::{format, string::ToString, vec};

use super::*;
use crate::{Wait, fake::FakeWorld};

fn grants(listen: &[&str], connect: &[&str], resolve: &[&str]) -> Grants {
    Grants {
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        connect: connect.iter().map(|text| text.parse().unwrap()).collect(),
        resolve: resolve.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Asks, and waits for the answer.
fn ask(world: &FakeWorld, network: &Network, name: &str) -> Result<Vec<IpAddr>, Errno> {
    let lookup = network.resolve(name)?;
    world.net.wait(&Wait::socket(lookup.clone(), Interest::Read));
    assert!(lookup.ready(Interest::Read).any());
    lookup.addresses()
}

fn refusal<T>(result: Result<T, Errno>) -> Errno {
    result.err().expect("a refusal")
}

#[test]
fn without_a_network_there_is_none() {
    let network = Network::none();
    assert_eq!(refusal(network.listen(at("127.0.0.1:80"), 1)), Errno::Netdown);
    assert_eq!(refusal(network.connect(at("127.0.0.1:80"))), Errno::Netdown);
    assert_eq!(refusal(network.bind(at("127.0.0.1:80"))), Errno::Netdown);
    assert_eq!(refusal(network.resolve("localhost")), Errno::Netdown);
    assert_eq!(network.addresses(), []);
}

#[test]
fn what_is_not_granted_is_refused_with_the_remedy_and_goes_no_further() {
    let world = FakeWorld::new(1);
    let network = world.network(grants(&["80"], &["10.0.0.5:5432"], &["*.example.org"]));
    let sends = world.network(grants(&[], &["10.0.0.5:53/udp"], &[]));
    let socket = sends.bind(at("0.0.0.0:0")).unwrap();
    let open = world.net.open();

    let refusals = [
        (refusal(network.listen(at("127.0.0.1:81"), 1)), "listen 127.0.0.1:81", "listen"),
        (refusal(network.listen(at("[::]:0"), 1)), "listen [::]:0", "listen"),
        (refusal(network.connect(at("10.0.0.6:5432"))), "connect 10.0.0.6:5432", "connect"),
        (refusal(network.connect(at("[::ffff:10.0.0.5]:80"))), "connect 10.0.0.5:80", "connect"),
        (refusal(network.bind(at("127.0.0.1:80"))), "listen 127.0.0.1:80/udp", "listen"),
        (refusal(network.bind(at("0.0.0.0:0"))), "listen 0.0.0.0:0/udp", "listen"),
        (refusal(sends.bind(at("0.0.0.0:53"))), "listen 0.0.0.0:53/udp", "listen"),
        (refusal(socket.send_to(b"x", at("10.0.0.5:54"))), "connect 10.0.0.5:54/udp", "connect"),
        (refusal(network.resolve("example.org")), "resolve example.org", "resolve"),
    ];
    let lines = world.log.lines();
    assert_eq!(lines.len(), refusals.len());
    for ((errno, what, key), line) in refusals.into_iter().zip(lines) {
        assert_eq!(errno, Errno::Acces);
        let grant = what.strip_prefix(key).unwrap().trim();
        let help =
            format!("add \"{grant}\" to `network.{key}` in lunette.toml, or run it with --{key} {grant}");
        assert_eq!(line, format!("app: {what} is not granted; help: {help}"));
        // And the remedy is one: it can be read, and grants it.
        let remedy = match key {
            "listen" => grants(&[grant], &[], &[]),
            "connect" => grants(&[], &[grant], &[]),
            _ => grants(&[], &[], &[grant]),
        };
        assert!(!remedy.is_empty());
    }
    assert_eq!((world.net.open(), world.net.asked()), (open, vec![]));
}

#[test]
fn a_refusal_is_told_once_and_not_for_ever() {
    let world = FakeWorld::new(1);
    let network = world.network(grants(&["80"], &[], &[]));
    for _ in 0..1000 {
        assert_eq!(refusal(network.connect(at("10.0.0.1:1"))), Errno::Acces);
    }
    assert_eq!(world.log.lines().len(), 1);
    for port in 1..1000 {
        assert_eq!(refusal(network.connect(SocketAddr::new(ip("10.0.0.1"), port))), Errno::Acces);
    }
    assert_eq!(world.log.lines().len(), MAX_REFUSED);
}

#[test]
fn what_is_no_name_is_neither_asked_for_nor_told() {
    let world = FakeWorld::new(1);
    let network = world.network(grants(&[], &["*:443"], &["*"]));
    for name in ["", "a b", "a..b", "evil\nkernel: all is well", "\u{1b}[2J", "bücher.de"] {
        assert_eq!(refusal(network.resolve(name)), Errno::Inval, "{name:?}");
    }
    assert_eq!((world.log.lines(), world.net.asked()), (vec![], vec![]));
}

#[test]
fn what_is_granted_is_the_hosts_network() {
    let world = FakeWorld::new(1);
    let network = world.network(grants(&["80", "10.0.2.15:53/udp"], &["10.0.0.5:*"], &[]));
    let other = world.net.host(ip("10.0.0.5"));
    let listener = network.listen(at("[::ffff:127.0.0.1]:80"), 1).unwrap();
    assert_eq!(listener.local(), at("127.0.0.1:80"));
    assert_eq!(refusal(network.listen(at("127.0.0.1:80"), 1)), Errno::Addrinuse);
    assert_eq!(network.bind(at("10.0.2.15:53")).unwrap().local(), at("10.0.2.15:53"));
    let there = other.listen(at("10.0.0.5:5432"), 1).unwrap();
    let client = network.connect(at("[::ffff:10.0.0.5]:5432")).unwrap();
    world.net.wait(&Wait::socket(client.clone(), Interest::Write));
    assert_eq!((client.connected(), client.peer()), (Ok(()), there.local()));
    assert_eq!(network.addresses(), world.net.addresses());
    assert_eq!(world.log.lines(), [""; 0]);
}

#[test]
fn a_name_that_may_be_connected_to_is_good_for_its_addresses() {
    let world = FakeWorld::new(1);
    let network = world.network(grants(&[], &["db.internal:5432", "*.example.org:443"], &["other.internal"]));
    world.net.name("db.internal", 1_000_000, Ok(vec![ip("10.0.0.5"), ip("fec0::5")]));
    world.net.name("other.internal", 0, Ok(vec![ip("10.0.0.6")]));
    world.net.name("www.example.org", 0, Ok(vec![ip("10.0.0.7")]));
    let refused = |to: &str| refusal(network.connect(at(to))) == Errno::Acces;

    // Not before it was asked for, and answered.
    assert!(refused("10.0.0.5:5432"));
    let lookup = network.resolve("DB.Internal.").unwrap();
    assert_eq!(lookup.addresses(), Err(Errno::Again));
    assert!(refused("10.0.0.5:5432"));
    world.net.wait(&Wait::socket(lookup.clone(), Interest::Read));
    assert_eq!(lookup.addresses(), Ok(vec![ip("10.0.0.5"), ip("fec0::5")]));
    for to in ["10.0.0.5:5432", "[fec0::5]:5432", "[::ffff:10.0.0.5]:5432"] {
        assert!(network.connect(at(to)).is_ok(), "{to}");
    }
    // And for nothing else.
    assert!(refused("10.0.0.5:443"), "another name's port");
    assert_eq!(ask(&world, &network, "other.internal"), Ok(vec![ip("10.0.0.6")]));
    assert!(refused("10.0.0.6:5432"), "a name that may be asked for");
    assert_eq!(ask(&world, &network, "www.example.org"), Ok(vec![ip("10.0.0.7")]));
    assert!(network.connect(at("10.0.0.7:443")).is_ok() && refused("10.0.0.7:5432"));
    assert_eq!(ask(&world, &network, "none.example.org"), Err(Errno::Noent));
    assert_eq!(refusal(network.resolve("example.org")), Errno::Acces);
    assert_eq!(ask(&world, &network, "10.9.9.9"), Ok(vec![ip("10.9.9.9")]), "a literal is no question");
    assert!(refused("10.9.9.9:443"));
    assert_eq!(world.net.asked(), ["db.internal", "other.internal", "www.example.org", "none.example.org"]);
}

#[test]
fn only_so_many_answers_are_remembered_the_oldest_go() {
    let world = FakeWorld::new(1);
    let network = world.network(grants(&[], &["*.example.org:443"], &[]));
    let address = |n: usize| IpAddr::from([10, 1, (n / 250) as u8, (n % 250) as u8]);
    for n in 0..=MAX_ANSWERED {
        let name = format!("n{n}.example.org");
        world.net.name(&name, 0, Ok(vec![address(n)]));
        // Asked for and read again, it takes no second place.
        for _ in 0..2 {
            assert_eq!(ask(&world, &network, &name), Ok(vec![address(n)]));
        }
    }
    let may = |n| network.connect(SocketAddr::new(address(n), 443)).map(|_| ());
    assert_eq!((may(0), may(1), may(MAX_ANSWERED)), (Err(Errno::Acces), Ok(()), Ok(())));
}

#[test]
fn a_socket_that_listens_answers_whoever_it_heard() {
    let world = FakeWorld::new(1);
    let network = world.network(grants(&["53/udp"], &[], &[]));
    let server = network.bind(at("0.0.0.0:53")).unwrap();
    let other = world.net.host(ip("10.0.0.5"));
    let (one, two) = (other.bind(at("10.0.0.5:1000")).unwrap(), other.bind(at("10.0.0.5:1001")).unwrap());
    assert_eq!(server.send_to(b"x", one.local()), Err(Errno::Acces), "nobody asked");
    one.send_to(b"question", at("10.0.2.15:53")).unwrap();
    world.net.wait(&Wait::socket(server.clone(), Interest::Read));
    let mut buf = [0; 100];
    assert_eq!(server.recv_from(&mut buf), Ok((8, 8, one.local())));
    assert_eq!(server.send_to(b"answer", one.local()), Ok(()));
    assert_eq!(server.send_to(b"answer", two.local()), Err(Errno::Acces));
    world.net.wait(&Wait::socket(one.clone(), Interest::Read));
    assert_eq!(one.recv_from(&mut buf), Ok((6, 6, at("10.0.2.15:53"))));

    // Each of these takes a place, and the first goes.
    for port in 2000..2000 + MAX_HEARD as u16 {
        other.bind(SocketAddr::new(ip("10.0.0.5"), port)).unwrap().send_to(b"x", at("10.0.2.15:53")).unwrap();
        world.net.wait(&Wait::socket(server.clone(), Interest::Read));
        assert!(server.recv_from(&mut buf).is_ok());
    }
    assert_eq!(server.send_to(b"answer", one.local()), Err(Errno::Acces));
    assert_eq!(server.send_to(b"answer", at("10.0.0.5:2000")), Ok(()));
}

#[test]
fn a_socket_that_sends_hears_its_peers_alone() {
    let world = FakeWorld::new(1);
    let network = world.network(grants(&[], &["10.0.0.5:53/udp", "ntp.internal:123/udp"], &[]));
    world.net.name("ntp.internal", 0, Ok(vec![ip("10.0.0.6")]));
    let socket = network.bind(at("0.0.0.0:0")).unwrap();
    let us = SocketAddr::new(ip("10.0.2.15"), socket.local().port());
    let (dns, ntp) = (world.net.host(ip("10.0.0.5")), world.net.host(ip("10.0.0.6")));
    let (dns, ntp) = (dns.bind(at("10.0.0.5:53")).unwrap(), ntp.bind(at("10.0.0.6:123")).unwrap());
    let stranger = world.net.host(ip("10.0.0.7")).bind(at("10.0.0.7:53")).unwrap();

    assert_eq!(socket.send_to(b"q", at("[::ffff:10.0.0.5]:53")), Ok(()));
    assert_eq!(socket.send_to(b"q", ntp.local()), Err(Errno::Acces), "before it was asked for");
    ask(&world, &network, "ntp.internal").unwrap();
    assert_eq!(socket.send_to(b"q", ntp.local()), Ok(()));

    stranger.send_to(b"forged", us).unwrap();
    dns.send_to(b"answer", us).unwrap();
    stranger.send_to(b"forged", us).unwrap();
    world.clock.advance(1_000_000_000);
    let mut buf = [0; 100];
    assert_eq!(socket.recv_from(&mut buf), Ok((6, 6, dns.local())));
    assert_eq!(&buf[..6], b"answer");
    assert_eq!(socket.recv_from(&mut buf), Err(Errno::Again));
    // A flood of them does not hold a call for ever.
    for _ in 0..MAX_UNHEARD {
        stranger.send_to(b"forged", us).unwrap();
    }
    ntp.send_to(b"time", us).unwrap();
    world.clock.advance(1_000_000_000);
    assert_eq!(socket.recv_from(&mut buf), Err(Errno::Again));
    assert_eq!(socket.recv_from(&mut buf), Ok((4, 4, ntp.local())));
    assert_eq!(socket.local().to_string(), format!("0.0.0.0:{}", us.port()), "as it was bound");
    assert_eq!(world.log.lines().iter().filter(|line| line.contains("10.0.0.6:123/udp")).count(), 1);
}
