//! What is this network's own; what all networks promise is in `hostcalls::conformance`.

use std::{
    io::{Read, Write},
    sync::PoisonError,
    time::Duration,
};

use lunette_hostcalls::{Interest::*, Ready, Shutdown, Source, conformance::NetWorld};

use super::*;
use crate::host::poller::Poller;

#[derive(Default)]
struct Words(Mutex<Vec<String>>);

impl Log for Words {
    fn warn(&self, line: std::fmt::Arguments<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_string());
    }
}

struct World {
    poller: Mutex<Poller>,
    words: Arc<Words>,
    net: HostNet,
}

impl World {
    fn new(published: &[Published]) -> Self {
        let (poller, words) = (Poller::new().unwrap(), Arc::new(Words::default()));
        let net = HostNet::new(published, poller.reactor().clone(), Arc::default(), words.clone()).unwrap();
        Self { poller: Mutex::new(poller), words, net }
    }

    fn wait(&self, source: &dyn Source, interest: lunette_hostcalls::Interest) {
        for _ in 0..100 {
            if source.ready(interest).any() {
                return;
            }
            lock(&self.poller).wait(Some(Duration::from_millis(100)));
        }
        panic!("{interest:?} never came");
    }

    fn accept(&self, listener: &dyn TcpListener) -> (Arc<dyn TcpStream>, SocketAddr) {
        self.wait(listener, Read);
        listener.accept().unwrap()
    }

    /// Writes all of it, reading at the other end as need be.
    fn said(&self, text: &[u8], from: &dyn TcpStream, to: &dyn TcpStream) {
        assert_eq!(from.write(text), Ok(text.len()));
        let mut buf = [0; 64];
        self.wait(to, Read);
        assert_eq!(to.read(&mut buf), Ok(text.len()));
        assert_eq!(&buf[..text.len()], text);
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A port that was free a moment ago.
fn free() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn published(guest: u16, host: u16) -> Published {
    Published { guest, protocol: Protocol::Tcp, host: (Ipv4Addr::LOCALHOST, host).into() }
}

#[test]
fn all_addresses_are_both_loopbacks_and_no_others() {
    let world = World::new(&[]);
    let listener = world.net.listen(at("[::]:0"), 8).unwrap();
    let port = listener.local().port();
    assert_eq!(listener.local(), SocketAddr::new(at("[::]:0").ip(), port));
    for (ip, _) in world.net.addresses() {
        let client = world.net.connect((ip, port).into()).unwrap();
        let (stream, peer) = world.accept(&*listener);
        world.wait(&*client, Write);
        assert_eq!(client.connected(), Ok(()));
        assert_eq!((peer, peer.ip()), (client.local(), ip), "no address is in disguise");
        assert_eq!((stream.local(), client.peer()), ((ip, port).into(), (ip, port).into()));
        world.said(b"ping", &*client, &*stream);
        world.said(b"pong", &*stream, &*client);
    }
    // Bound on 127.0.0.1 only: another of the loopback's addresses is still free.
    drop(std::net::TcpListener::bind(("127.0.0.2", port)).unwrap());
    assert_eq!(world.net.listen(at("192.0.2.1:0"), 8).err(), Some(Errno::Addrnotavail));
    assert_eq!(world.net.listen(listener.local(), 8).err(), Some(Errno::Addrinuse));
    drop(listener);
    world.net.listen((Ipv6Addr::UNSPECIFIED, port).into(), 8).unwrap();
}

#[test]
fn a_published_port_is_found_where_it_is_published() {
    let host = free();
    let world = World::new(&[published(80, host)]);
    let listener = world.net.listen(at("[::]:80"), 8).unwrap();
    assert_eq!(listener.local(), at("[::]:80"));
    let mut client = std::net::TcpStream::connect(("127.0.0.1", host)).unwrap();
    let (stream, peer) = world.accept(&*listener);
    assert_eq!((stream.local(), peer), (at("127.0.0.1:80"), client.local_addr().unwrap()));
    client.write_all(b"hello").unwrap();
    world.wait(&*stream, Read);
    assert_eq!(stream.read(&mut [0; 8]), Ok(5));

    // The guests find it at the port that they know.
    for to in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        let inside = world.net.connect(at(to)).unwrap();
        let (stream, _) = world.accept(&*listener);
        world.said(b"ping", &*inside, &*stream);
    }
    // What one guest has another can't; it is free again once it is closed.
    assert_eq!(world.net.listen(at("0.0.0.0:80"), 8).err(), Some(Errno::Addrinuse));
    drop((listener, stream, client));
    world.net.listen(at("0.0.0.0:80"), 8).unwrap();
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let reactor = Poller::new().unwrap().reactor().clone();
    let words = Arc::new(Words::default());
    let refused = HostNet::new(&[published(80, port)], reactor, Arc::default(), words).err().unwrap();
    let next = port.checked_add(1).unwrap_or(8080);
    let expected = format!(
        "127.0.0.1:{port} is in use on this machine; help: end what listens there, or publish the app's port at another: -p \
         127.0.0.1:{next}:80"
    );
    assert_eq!(refused, expected);

    let world = World::new(&[]);
    assert_eq!(world.net.listen(taken.local_addr().unwrap(), 8).err(), Some(Errno::Addrinuse));
    assert_eq!(world.net.listen((Ipv6Addr::UNSPECIFIED, port).into(), 8).err(), Some(Errno::Addrinuse));
    let words = lock(&world.words.0);
    assert_eq!(words.len(), 2);
    assert!(words.iter().all(|line| line.contains(&format!(":{next}:{port}"))), "{words:?}");
}

#[test]
fn rights_and_addresses_that_are_missing_are_named() {
    let refused = |port, os: Os| refusal(&published(80, port), &os.into());
    assert!(
        refused(80, Os::ACCESS)
            .ends_with("; help: publish the app's port at a higher one: -p 127.0.0.1:8080:80")
    );
    assert!(refused(8080, Os::ADDRNOTAVAIL).contains("127.0.0.1 is no address of this machine; help: "));
    assert!(refused(8080, Os::NOBUFS).contains("127.0.0.1:8080 can't be had: "));
    assert!(refused(u16::MAX, Os::ADDRINUSE).ends_with("-p 127.0.0.1:8080:80"));
}

#[test]
fn closing_is_heard_by_those_who_wait() {
    let host = free();
    let world = World::new(&[published(80, host), published(81, free())]);
    let listener = world.net.listen(at("[::]:80"), 8).unwrap();
    let client = world.net.connect(at("127.0.0.1:80")).unwrap();
    let (stream, _) = world.accept(&*listener);
    assert!(!listener.ready(Read).any());
    world.net.close_listeners();
    assert_eq!(listener.ready(Read), Ready { bytes: 0, hangup: true });
    assert_eq!(listener.accept().err(), Some(Errno::Canceled));
    assert_eq!(world.net.listen(at("[::]:81"), 8).err(), Some(Errno::Canceled));
    world.said(b"still here", &*client, &*stream);
    drop((client, stream));
    assert!(std::net::TcpStream::connect(("127.0.0.1", host)).is_err(), "nobody listens any more");
}

#[test]
fn an_abort_is_a_reset_and_the_end_for_us() {
    let world = World::new(&[]);
    let listener = world.net.listen(at("127.0.0.1:0"), 8).unwrap();
    let mut client = std::net::TcpStream::connect(listener.local()).unwrap();
    let (stream, _) = world.accept(&*listener);
    let other = stream.clone();
    stream.abort();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!((other.read(&mut [0; 8]), other.write(b"x")), (Ok(0), Err(Errno::Pipe)));
    assert_eq!((other.ready(Read).hangup, other.ready(Write).hangup), (true, true));
    assert_eq!(other.shutdown(Shutdown::Write), Err(Errno::Notconn));
    other.abort();
}

#[test]
fn who_reads_no_more_does_not_hold_the_peer_up() {
    let world = World::new(&[]);
    let listener = world.net.listen(at("127.0.0.1:0"), 8).unwrap();
    let mut client = std::net::TcpStream::connect(listener.local()).unwrap();
    let (stream, _) = world.accept(&*listener);
    stream.shutdown(Shutdown::Read).unwrap();
    let peer = std::thread::spawn(move || {
        client.write_all(&vec![7; 32 << 20]).unwrap();
        client
    });
    while !peer.is_finished() {
        lock(&world.poller).wait(Some(Duration::from_millis(10)));
    }
    assert_eq!(stream.read(&mut [0; 8]), Ok(0));
    let mut client = peer.join().unwrap();
    stream.write(b"bye").unwrap();
    drop(stream);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"bye");
}

#[test]
fn a_refused_connection_says_so_again_and_again() {
    let world = World::new(&[]);
    let nobody = world.net.connect((Ipv4Addr::LOCALHOST, free()).into()).unwrap();
    world.wait(&*nobody, Write);
    for _ in 0..2 {
        assert_eq!(nobody.connected(), Err(Errno::Connrefused));
    }
    assert_eq!(nobody.write(b"x"), Err(Errno::Pipe));
    assert!(nobody.ready(Write).hangup && nobody.ready(Read).hangup);
}

#[test]
fn datagrams_come_whole_or_cut_from_either_family() {
    let world = World::new(&[]);
    let here = world.net.bind(at("[::]:0")).unwrap();
    let port = here.local().port();
    for (ip, _) in world.net.addresses() {
        let there = world.net.bind((ip, 0).into()).unwrap();
        assert_eq!(here.recv_from(&mut [0; 8]).err(), Some(Errno::Again));
        for text in [&b"datagram"[..], b""] {
            there.send_to(text, (ip, port).into()).unwrap();
            world.wait(&*here, Read);
            assert_eq!(here.ready(Read).bytes, text.len().max(1) as u64);
            let mut buf = [0; 4];
            let from = (ip, there.local().port()).into();
            assert_eq!(here.recv_from(&mut buf), Ok((text.len().min(4), text.len(), from)));
            here.send_to(b"thanks", from).unwrap();
            world.wait(&*there, Read);
            assert_eq!(there.recv_from(&mut [0; 16]).map(|(took, ..)| took), Ok(6));
        }
        assert_eq!(there.send_to(&[0; 65_536], (ip, port).into()), Err(Errno::Msgsize));
        let other = if ip.is_ipv4() { at("[::1]:9") } else { at("127.0.0.1:9") };
        assert_eq!(there.send_to(b"x", other), Err(Errno::Afnosupport));
    }
    assert_eq!(world.net.bind(here.local()).err(), Some(Errno::Addrinuse));
}

#[test]
fn a_published_port_of_datagrams_is_found_too() {
    let host = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::new(&[Published { guest: 53, protocol: Protocol::Udp, host }]);
    let here = world.net.bind(at("[::]:53")).unwrap();
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"?", host).unwrap();
    world.wait(&*here, Read);
    let (_, _, from) = here.recv_from(&mut [0; 8]).unwrap();
    here.send_to(b"!", from).unwrap();
    let mut buf = [0; 8];
    assert_eq!(client.recv_from(&mut buf).unwrap(), (1, host));
}

#[test]
fn a_thousand_streams_wait_without_a_look() {
    let world = World::new(&[]);
    let listener = world.net.listen(at("127.0.0.1:0"), 1024).unwrap();
    let mut streams = Vec::new();
    for _ in 0..1000 {
        let client = std::net::TcpStream::connect(listener.local()).unwrap();
        streams.push((client, world.accept(&*listener).0));
    }
    assert!(streams.iter().all(|(_, stream)| !stream.ready(Read).any()));
    streams[500].0.write_all(b"x").unwrap();
    world.wait(&*streams[500].1, Read);
    assert_eq!(streams.iter().filter(|(_, stream)| stream.ready(Read).any()).count(), 1);
}

#[test]
fn it_holds_what_every_network_has_to() {
    let world = World::new(&[]);
    let wait = |wait: &lunette_hostcalls::Wait| {
        let begun = std::time::Instant::now();
        let mut limit = Duration::ZERO;
        loop {
            lock(&world.poller).wait(Some(limit));
            let ready = wait.sockets.iter().any(|(socket, interest)| socket.ready(*interest).any());
            if ready || begun.elapsed() >= Duration::from_secs(5) {
                return;
            }
            limit = Duration::from_millis(100);
        }
    };
    let mut failed = Vec::new();
    lunette_hostcalls::conformance::run_network(
        &NetWorld { net: &world.net, wait: &wait },
        &mut |name, outcome| {
            if let Err(why) = outcome {
                failed.push(format!("{name}: {why}"));
            }
        },
    );
    assert!(failed.is_empty(), "{failed:#?}");
}
