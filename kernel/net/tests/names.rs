//! The resolver in a stack, and a name server in another, with a wire between them.

mod wire;

use std::{cell::Cell, collections::BTreeMap, net::IpAddr, sync::Arc};

use domain::{
    base::{
        Message, MessageBuilder, Name, Rtype, Ttl,
        iana::{Class, Rcode},
    },
    rdata::{A, Aaaa},
};
use lunette_hostcalls::{Errno, Interest, Lookup, Net, TcpListener, UdpSocket};
use lunette_net::{Config, Stack, V4, V6};
use wire::{Faults, MS, Port, SECOND, Waits, World, program, v4};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `N.small.test` has one address of each family, `N.big.test` fifty, more than go by UDP; nothing else is there.
fn answer(bytes: &[u8], room: usize) -> Vec<u8> {
    let message = Message::from_slice(bytes).unwrap();
    let question = message.sole_question().unwrap();
    let name = question.qname().to_string();
    let count = match () {
        _ if name.ends_with(".small.test") => 1,
        _ if name.ends_with(".big.test") => 50,
        _ => 0,
    };
    let build = |count: u8, cut: bool| {
        let mut builder = MessageBuilder::from_target(Vec::new()).unwrap();
        builder.header_mut().set_id(message.header().id());
        builder.header_mut().set_qr(true);
        builder.header_mut().set_tc(cut);
        builder.header_mut().set_rcode(if count == 0 && !cut { Rcode::NXDOMAIN } else { Rcode::NOERROR });
        let mut sent = builder.question();
        sent.push((question.qname(), question.qtype())).unwrap();
        let mut records = sent.answer();
        let owner: Name<Vec<u8>> = Name::from_chars(name.chars()).unwrap();
        for n in 0..count {
            let ttl = Ttl::from_secs(60);
            if question.qtype() == Rtype::A {
                records.push((&owner, Class::IN, ttl, A::from_octets(192, 0, 2, n))).unwrap();
            } else {
                let ip = [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)].into();
                records.push((&owner, Class::IN, ttl, Aaaa::new(ip))).unwrap();
            }
        }
        records.finish()
    };
    let whole = build(count, false);
    if whole.len() > room { build(0, true) } else { whole }
}

async fn by_udp(waits: &Waits, socket: Arc<dyn UdpSocket>, asked: &Cell<u32>) {
    let (mut ports, mut again) = (BTreeMap::new(), 0);
    loop {
        let mut buf = [0; 600];
        let came = waits.until(socket.clone(), Interest::Read, || socket.recv_from(&mut buf)).await;
        let (took, _, from) = came.unwrap();
        asked.set(asked.get() + 1);
        // The wire may have doubled it; and one of 16384 is met again now and then.
        let known = ports.entry(from.port()).or_insert_with(|| buf[..took].to_vec());
        again += u32::from(*known != buf[..took]);
        assert!(again < 10, "a port of its own for each question");
        let _ = socket.send_to(&answer(&buf[..took], 1232), from);
    }
}

async fn by_tcp(waits: &Waits, listener: Arc<dyn TcpListener>, asked: &Cell<u32>) {
    loop {
        let stream = waits.accept(&listener).await.unwrap();
        let mut bytes = Vec::new();
        while bytes.len() < 2 || bytes.len() < 2 + usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) {
            let mut buf = [0; 100];
            match waits.read(&stream, &mut buf).await {
                Ok(length @ 1..) => bytes.extend_from_slice(&buf[..length]),
                _ => break,
            }
        }
        let Some(question) = bytes.get(2..) else { continue };
        asked.set(asked.get() + 1);
        let answer = answer(question, 0xffff);
        let _ = waits.write_all(&stream, &(answer.len() as u16).to_be_bytes()).await;
        let _ = waits.write_all(&stream, &answer).await;
    }
}

async fn resolve(waits: &Waits, net: &Stack<Port>, name: &str) -> Result<Vec<IpAddr>, Errno> {
    let lookup = net.resolve(name)?;
    waits.until(lookup.clone(), Interest::Read, || lookup.addresses()).await
}

/// Runs a program beside a name server; gives it the client, and counts of questions by UDP and TCP.
fn beside_a_server(
    name: &str,
    seed: u64,
    faults: Faults,
    what: impl AsyncFnOnce(&Waits, &Stack<Port>, &Cell<u32>, &Cell<u32>),
) {
    let mut world = World::new(name, seed, faults);
    let server = world.stack();
    let client = world.stack_with(Config {
        ipv4: V4::Static { address: ([10, 0, 0, 2].into(), 24), gateway: Some([10, 0, 0, 1].into()) },
        ipv6: V6::Static { address: ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2].into(), 64), gateway: None },
        dns: vec![ip("10.0.0.1")],
        hosts: vec![("db".into(), ip("10.0.0.7"))],
        ..Config::default()
    });
    let (socket, listener) = (server.bind(v4(1, 53)).unwrap(), server.listen(v4(1, 53), 16).unwrap());
    let waits = world.waits();
    let (udp, tcp) = (Cell::new(0), Cell::new(0));
    let whole = async {
        use futures_util::FutureExt as _;
        futures_util::select_biased! {
            () = what(&waits, &client, &udp, &tcp).fuse() => {}
            () = by_udp(&waits, socket, &udp).fuse() => {}
            () = by_tcp(&waits, listener, &tcp).fuse() => {}
        }
    };
    world.run([program(whole)]);
}

#[test]
fn names_are_resolved_over_the_wire() {
    beside_a_server("names", 1, Faults::default(), async |waits, net, udp, tcp| {
        let began = waits.now();
        assert_eq!(resolve(waits, net, "a.small.test").await, Ok(vec![ip("2001:db8::"), ip("192.0.2.0")]));
        assert!(waits.now() - began < 10 * MS, "no timer in the way");
        assert_eq!((udp.get(), tcp.get()), (2, 0));
        // Known, static, literal: nobody is asked.
        assert_eq!(resolve(waits, net, "A.small.TEST.").await.map(|found| found.len()), Ok(2));
        assert_eq!(resolve(waits, net, "db").await, Ok(vec![ip("10.0.0.7")]));
        assert_eq!(resolve(waits, net, "10.1.2.3").await, Ok(vec![ip("10.1.2.3")]));
        assert_eq!(resolve(waits, net, "no such name").await, Err(Errno::Inval));
        assert_eq!((udp.get(), tcp.get()), (2, 0));

        // By TCP, both families; then a name that is not there.
        let began = waits.now();
        assert_eq!(resolve(waits, net, "b.big.test").await.map(|found| found.len()), Ok(64));
        assert!(waits.now() - began < 10 * MS);
        assert_eq!((udp.get(), tcp.get()), (4, 2));
        assert_eq!(resolve(waits, net, "c.none.test").await, Err(Errno::Noent));
    });
}

#[test]
fn names_are_resolved_over_a_bad_wire() {
    for seed in 0..20 {
        let faults = Faults {
            loss: 100_000,
            duplicate: 50_000,
            corrupt: 50_000,
            jitter: 20 * MS,
            ..Faults::default()
        };
        beside_a_server("bad-names", seed, faults, async |waits, net, _, _| {
            let lookups: Vec<Arc<dyn Lookup>> = (0..40)
                .map(|n| net.resolve(&format!("{n}.{}.test", ["small", "big"][n % 2])).unwrap())
                .collect();
            for lookup in &lookups {
                let answer = waits.until(lookup.clone(), Interest::Read, || lookup.addresses()).await;
                assert!(matches!(answer, Ok(_) | Err(Errno::Timedout)), "{answer:?}");
            }
            let late = lookups.iter().filter(|lookup| lookup.addresses().is_err()).count();
            assert!(late <= 4, "{late} of {}", lookups.len());
            assert!(waits.now() <= 12 * SECOND);
        });
    }
}

#[test]
fn no_server_and_a_silent_one() {
    let mut world = World::new("no-server", 1, Faults::default());
    let (alone, silent) = (
        world.stack(),
        world.stack_with(Config {
            ipv4: V4::Static { address: ([10, 0, 0, 2].into(), 24), gateway: None },
            dns: vec![ip("10.0.0.99"), ip("10.0.0.1")],
            ..Config::default()
        }),
    );
    let waits = world.waits();
    let asks = async {
        assert_eq!(resolve(&waits, &alone, "a.test").await, Err(Errno::Netdown));
        // One server is not there, the other has no such service.
        let began = waits.now();
        assert_eq!(resolve(&waits, &silent, "a.test").await, Err(Errno::Timedout));
        assert!((9 * SECOND..=10 * SECOND).contains(&(waits.now() - began)));
        // Given up, it leaves nothing behind that would keep the world going.
        drop(silent.resolve("b.test"));
    };
    world.run([program(asks)]);
}
