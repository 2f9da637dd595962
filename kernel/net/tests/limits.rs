//! Floods, crowds, and what they may cost.

mod pair;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use lunette_hostcalls::{Errno, Interest, Net, TcpStream};
use lunette_net::{Config, Stack, smoltcp::wire::TcpControl};
use pair::{
    Dice, End, Hand, Lines, MILLI, SECOND, World, config, host,
    raw::{Raw, tcp},
    wire,
};

const B: &str = "10.0.0.2:80";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// One host, and somebody on its wire who says what he likes; 10.0.0.0/24 is all his.
struct Alone {
    clock: Arc<Hand>,
    stack: Arc<Stack<End>>,
    raw: Raw,
}

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 2];

impl Alone {
    fn new(config: Config) -> Self {
        let clock = Arc::<Hand>::default();
        let (left, mut right) = wire();
        right.most = usize::MAX;
        let stack = host(right, config, &clock).stack;
        let raw = Raw::new(left, [2, 0, 0, 0, 0, 9]);
        Self { clock, stack, raw }
    }

    /// What is said to the host comes from a neighbour that it knows.
    fn introduce(&self, ip: IpAddr) {
        use lunette_net::smoltcp::wire::{
            ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
        };
        let IpAddr::V4(ip) = ip else { panic!() };
        let arp = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: EthernetAddress(self.raw.mac),
            source_protocol_addr: ip,
            target_hardware_addr: EthernetAddress(OURS),
            target_protocol_addr: [10, 0, 0, 2].into(),
        };
        let mut bytes = vec![0; 14 + arp.buffer_len()];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_src_addr(EthernetAddress(self.raw.mac));
        frame.set_dst_addr(EthernetAddress(OURS));
        frame.set_ethertype(EthernetProtocol::Arp);
        arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
        self.raw.goes.lock().unwrap().push_back(bytes);
        self.go();
    }

    fn go(&self) {
        for _ in 0..1000 {
            let next = self.stack.poll();
            if next.is_none_or(|next| next > lunette_hostcalls::Clock::monotonic(&*self.clock)) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn say(&self, from: SocketAddr, control: TcpControl, seq: i32, ack: Option<i32>) {
        self.raw.tcp(OURS, at(B).ip(), from.ip(), &tcp(at(B), from, control, seq, ack));
    }

    /// Begins a connection, and finishes it too.
    fn shake(&self, from: SocketAddr) -> Option<(i32, i32)> {
        self.say(from, TcpControl::Syn, 1000, None);
        self.go();
        let (_, seq, ..) =
            self.raw.take_tcp().into_iter().find(|(control, ..)| *control == TcpControl::Syn)?;
        self.say(from, TcpControl::None, 1001, Some(seq + 1));
        self.go();
        Some((1001, seq + 1))
    }
}

#[test]
fn a_flood_of_first_segments_leaves_the_listener_serving_and_memory_bounded() {
    let alone = Alone::new(config(2));
    let listener = alone.stack.listen(at(B), 64).unwrap();
    let peer = at("10.0.0.9:4000");
    alone.introduce(peer.ip());
    let before = alone.stack.memory_used();
    for round in 0..50_u16 {
        for port in 0..1000_u16 {
            let from = SocketAddr::new([10, 0, 0, 9].into(), 5000 + (round % 50) * 1000 + port);
            alone.say(from, TcpControl::Syn, 7, None);
        }
        alone.go();
        alone.raw.take_tcp();
        assert!(alone.stack.memory_used() - before < 512 * 1024, "{}", alone.stack.memory_used());
        let true_peer = SocketAddr::new(peer.ip(), 4000 + round);
        let (seq, ack) = alone.shake(true_peer).expect("it is answered");
        let (stream, from) = listener.accept().expect("and accepted");
        assert_eq!(from, true_peer);
        stream.write(b"served").unwrap();
        alone.go();
        assert!(alone.raw.take_tcp().contains(&(TcpControl::Psh, ack, Some(seq), 6)));
        stream.abort();
    }
    alone.go();
    alone.clock.push(70 * SECOND);
    alone.go();
    drop(listener);
    alone.go();
    alone.raw.take_tcp();
    assert_eq!(alone.stack.memory_used(), 0, "it is forgotten");
}

#[test]
fn a_full_backlog_holds_newcomers_up_and_lets_them_in_when_there_is_room() {
    let world = World::new();
    let listener = world.b.stack.listen(at(B), 3).unwrap();
    let clients: Vec<_> = (0..10).map(|_| world.a.stack.connect(at(B)).unwrap()).collect();
    world.run(SECOND / 2);
    assert_eq!(listener.ready(Interest::Read).bytes, 3);
    let mut served = Vec::new();
    assert!(world.until(30 * SECOND, || {
        served.extend(std::iter::from_fn(|| listener.accept().ok()));
        served.len() == 10
    }));
    assert!(clients.iter().all(|client| client.connected().is_ok()));
    // A peer whose third segment found no room thinks that it is connected: what it said is not lost.
    let held: Vec<_> = (0..10).map(|_| world.a.stack.connect(at(B)).unwrap()).collect();
    world.run(10 * SECOND);
    let said = held.iter().filter(|client| client.write(b"early").is_ok()).count();
    assert!(said >= 3);
    let mut heard = 0;
    assert!(world.until(60 * SECOND, || {
        served.extend(std::iter::from_fn(|| listener.accept().ok()));
        heard += served.iter().filter(|(stream, _)| stream.read(&mut [0; 8]) == Ok(5)).count();
        heard >= said
    }));
}

#[test]
fn a_thousand_idle_connections_cost_two_megabytes() {
    let world = World::new();
    let listener = world.b.stack.listen(at(B), 1000).unwrap();
    let clients: Vec<_> = (0..1000).map(|_| world.a.stack.connect(at(B)).unwrap()).collect();
    let mut served = Vec::new();
    assert!(world.until(30 * SECOND, || {
        served.extend(std::iter::from_fn(|| listener.accept().ok()).map(|(stream, _)| stream));
        served.len() == 1000
    }));
    for (client, server) in clients.iter().zip(&served) {
        client.write(&[1; 5000]).unwrap();
        server.write(&[1; 5000]).unwrap();
    }
    world.settle();
    assert!(world.b.stack.memory_used() > 8 << 20);
    let mut buf = [0; 8192];
    for stream in clients.iter().chain(&served) {
        let mut got = 0;
        while got < 5000 {
            world.wait(&**stream, Interest::Read);
            got += stream.read(&mut buf).unwrap();
        }
    }
    world.run(5 * SECOND);
    let each = world.b.stack.memory_used() / 1000;
    assert!(each < 2560, "{each} bytes each");
    assert!(world.b.stack.poll().is_none(), "and nothing is due");
    drop((clients, served, listener));
    world.run(120 * SECOND);
    assert_eq!((world.a.stack.memory_used(), world.b.stack.memory_used()), (0, 0));
}

#[test]
fn connections_that_ended_are_kept_in_bounds() {
    let world = World::new();
    let listener = world.b.stack.listen(at(B), 64).unwrap();
    let before = world.b.stack.memory_used();
    let mut most = 0;
    for _ in 0..2500 {
        let (client, server) = world.join(at(B), &listener);
        // The server ends first: it is the one that has to remember.
        drop(server);
        world.run(MILLI / 10);
        drop(client);
        world.run(MILLI / 10);
        most = most.max(world.b.stack.memory_used() - before);
    }
    assert!(most > 900_000 && most < 2 << 20, "{most}");
    world.run(20 * SECOND);
    assert_eq!(world.b.stack.memory_used(), before);
}

#[test]
fn a_new_connection_from_where_one_has_just_ended_is_taken() {
    let alone = Alone::new(config(2));
    let peer = at("10.0.0.9:4000");
    alone.introduce(peer.ip());
    let listener = alone.stack.listen(at(B), 8).unwrap();
    for _ in 0..3 {
        let (seq, ack) = alone.shake(peer).expect("taken");
        drop(listener.accept().unwrap());
        alone.go();
        alone.say(peer, TcpControl::Fin, seq, Some(ack + 1));
        alone.go();
        assert!(alone.raw.take_tcp().contains(&(TcpControl::None, ack + 1, Some(seq + 1), 0)));
    }
}

#[test]
fn without_memory_newcomers_wait_and_writers_go_on_when_there_is_some() {
    let small = Config { memory: 256 * 1024, ..config(2) };
    let world = World::with(config(1), small);
    let listener = world.b.stack.listen(at(B), 1000).unwrap();
    let clients: Vec<_> = (0..300).map(|_| world.a.stack.connect(at(B)).unwrap()).collect();
    world.run(2 * SECOND);
    let mut served: Vec<Arc<dyn TcpStream>> = Vec::new();
    served.extend(std::iter::from_fn(|| listener.accept().ok()).map(|(stream, _)| stream));
    assert!(world.b.stack.memory_used() <= 256 * 1024);
    assert!((50..200).contains(&served.len()), "{}", served.len());
    assert_eq!(world.b.stack.bind(at("0.0.0.0:53")).err(), Some(Errno::Nobufs));
    // With nothing left, nobody can write, and nobody is told that he could.
    for stream in &served {
        match stream.write(&[0; 100]) {
            Ok(count) => assert!(count > 0),
            Err(error) => {
                assert_eq!(error, Errno::Again);
                assert!(!stream.ready(Interest::Write).any());
            }
        }
    }
    // Half of them go: the others are let in, and can write.
    drop(served.drain(..40));
    assert!(world.until(100 * SECOND, || {
        let came: Vec<_> = std::iter::from_fn(|| listener.accept().ok()).map(|(stream, _)| stream).collect();
        let some = !came.is_empty();
        served.extend(came);
        some
    }));
    served.truncate(30);
    world.run(SECOND);
    let writer = &served[29];
    assert!(world.until(SECOND, || writer.ready(Interest::Write).any()));
    assert!(writer.write(&[0; 100]).unwrap() > 0);
    drop(clients);
}

#[test]
fn one_that_hoards_does_not_starve_the_others() {
    let small = Config { memory: 1 << 20, ..config(2) };
    let world = World::with(config(1), small);
    let (hoarder, _unread, listener) = world.connection(at(B));
    let others: Vec<_> = (0..8).map(|_| world.join(at(B), &listener)).collect();
    for (client, _) in &others {
        while client.write(&[1; 60_000]).is_ok() {}
    }
    while hoarder.write(&[1; 60_000]).is_ok() {}
    world.run(30 * SECOND);
    assert!(world.b.stack.memory_used() <= 1 << 20);
    let (client, server) = world.join(at(B), &listener);
    client.write(b"a question").unwrap();
    assert_eq!(world.read(&server), b"a question");
    server.write(b"an answer").unwrap();
    assert_eq!(world.read(&client), b"an answer");
    // What was not taken for want of memory comes in the end.
    for (at, (_, server)) in others.iter().enumerate() {
        let mut got = 0;
        assert!(
            world.until(300 * SECOND, || {
                while let Ok(count) = server.read(&mut [0; 65536]) {
                    got += count;
                }
                got >= 512 * 1024
            }),
            "{at}: {got}"
        );
    }
}

#[test]
fn whom_nobody_answers_is_let_go_of() {
    let world = World::new();
    let (client, server, _listener) = world.connection(at(B));
    while client.write(&[1; 60_000]).is_ok() {}
    world.run(SECOND);
    let before = world.a.stack.memory_used();
    assert!(before > 100_000);
    drop(client);
    // The peer lives, and does not read.
    world.run(400 * SECOND);
    assert_eq!(world.a.stack.memory_used(), 0);
    assert_eq!(server.write(b"x"), Err(Errno::Connreset), "and is told so");
}

#[test]
fn ports_in_use_are_refused_and_free_again_when_dropped() {
    let world = World::new();
    let net = &world.a.stack;
    let all4 = net.listen(at("0.0.0.0:80"), 1).unwrap();
    assert_eq!(net.listen(at("0.0.0.0:80"), 1).err(), Some(Errno::Addrinuse));
    assert_eq!(net.listen(at("127.0.0.1:80"), 1).err(), Some(Errno::Addrinuse));
    // IPv6 only, for the other is taken.
    let all6 = net.listen(at("[::]:80"), 1).unwrap();
    assert_eq!(net.listen(at("[::1]:80"), 1).err(), Some(Errno::Addrinuse));
    drop(all4);
    let all4 = net.listen(at("0.0.0.0:80"), 1).unwrap();
    drop((all4, all6));
    let both = net.listen(at("[::]:80"), 1).unwrap();
    assert_eq!(net.listen(at("10.0.0.1:80"), 1).err(), Some(Errno::Addrinuse));
    assert_eq!(net.listen(at("0.0.0.0:80"), 1).err(), Some(Errno::Addrinuse));
    drop(both);
    let one = net.listen(at("10.0.0.1:80"), 1).unwrap();
    let other = net.listen(at("127.0.0.1:80"), 1).unwrap();
    assert_eq!(net.listen(at("10.0.0.2:80"), 1).err(), Some(Errno::Addrnotavail));
    drop((one, other));
    assert_eq!(net.memory_used(), 0);
    let ports: std::collections::BTreeSet<u16> =
        (0..200).map(|_| net.connect(at("10.0.0.2:9")).unwrap().local().port()).collect();
    assert!(ports.len() > 190 && *ports.first().unwrap() >= 49152, "{ports:?}");
    let _ = (Lines::default(), Dice::new(0));
}
