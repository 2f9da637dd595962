//! What a test can ask of the wire, and that it does it.

use alloc::{string::String, sync::Arc, vec, vec::Vec};

use super::*;
use crate::fake::FakeWorld;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn wait_for(net: &FakeNet, socket: &Arc<dyn TcpStream>, interest: Interest) {
    net.wait(&Wait::socket(socket.clone(), interest));
}

/// This host connected to port 80 of another.
fn pair(net: &FakeNet) -> (Arc<dyn TcpStream>, Arc<dyn TcpStream>) {
    let other = net.host(ip("10.0.0.5"));
    let listener = other.listen(at("10.0.0.5:80"), 1).unwrap();
    let client = net.connect(listener.local()).unwrap();
    wait_for(net, &client, Interest::Write);
    let (server, _) = listener.accept().unwrap();
    assert_eq!((client.connected(), server.peer()), (Ok(()), client.local()));
    (client, server)
}

/// What a run of a transfer looks like from outside.
fn transcript(seed: u64, weather: Weather) -> Vec<(Nanos, usize)> {
    let world = FakeWorld::new(seed);
    world.net.set_weather(weather);
    let (client, server) = pair(&world.net);
    let data: Vec<u8> = (0..20_000u32).map(|n| (n % 251) as u8).collect();
    let (mut sent, mut got, mut said) = (0, Vec::new(), Vec::new());
    let mut buf = [0; 1000];
    while got.len() < data.len() {
        sent += client.write(&data[sent..]).unwrap_or(0);
        match server.read(&mut buf) {
            Ok(read) => {
                got.extend_from_slice(&buf[..read]);
                said.push((world.clock.monotonic(), read));
            }
            Err(_) => {
                let mut wait = Wait::socket(server.clone(), Interest::Read);
                if sent < data.len() {
                    wait.sockets.push((client.clone(), Interest::Write));
                }
                world.net.wait(&wait);
            }
        }
    }
    assert_eq!(got, data);
    said
}

#[test]
fn a_seed_is_a_run_and_the_weather_is_felt() {
    let storm = transcript(1, Weather::STORMY);
    assert_eq!(storm, transcript(1, Weather::STORMY));
    assert_ne!(storm, transcript(2, Weather::STORMY));
    let calm = transcript(1, Weather::CALM);
    let duration = |run: &[(Nanos, usize)]| run.last().unwrap().0 - run[0].0;
    assert!(duration(&storm) > 100 * duration(&calm).max(1));
    assert!(storm.iter().any(|(_, read)| *read < 100), "short reads");
    let lossy = transcript(1, Weather { loss: 200, window: 1000, ..Weather::CALM });
    assert!(duration(&lossy) >= RETRANSMISSION, "nothing was sent again");
}

#[test]
fn nothing_happens_before_its_time() {
    let world = FakeWorld::new(1);
    let (client, server) = pair(&world.net);
    let start = world.clock.monotonic();
    assert_eq!(client.write(b"x"), Ok(1));
    assert_eq!(world.net.next(), Some(start + Weather::CALM.latency));
    world.clock.advance(Weather::CALM.latency - 1);
    assert_eq!(server.read(&mut [0; 8]), Err(Errno::Again));
    world.clock.advance(1);
    assert_eq!(server.read(&mut [0; 8]), Ok(1));
    // A wait for what does not come is 5 s, or what was asked for.
    let before = world.clock.monotonic();
    wait_for(&world.net, &server, Interest::Read);
    assert_eq!(world.clock.monotonic() - before, 5_000_000_000);
    world.net.wait(&Wait { until: Some(before), ..Wait::socket(server, Interest::Read) });
    assert_eq!(world.clock.monotonic() - before, 5_000_000_000);
}

#[test]
fn who_is_not_there_is_known_after_a_while() {
    let world = FakeWorld::new(1);
    world.net.set_silent(ip("10.0.0.6"));
    let outcome = |to: &str| {
        let client = world.net.connect(at(to)).unwrap();
        let start = world.clock.monotonic();
        while client.connected() == Err(Errno::Again) {
            wait_for(&world.net, &client, Interest::Write);
        }
        drop(client);
        world.clock.monotonic() - start
    };
    let failed = |to: &str| {
        let client = world.net.connect(at(to)).unwrap();
        while !client.ready(Interest::Write).any() {
            wait_for(&world.net, &client, Interest::Write);
        }
        client.connected().unwrap_err()
    };
    assert!(outcome("10.0.0.9:80") >= NOBODY && outcome("10.0.0.6:80") >= SILENCE);
    assert_eq!(failed("10.0.0.9:80"), Errno::Hostunreach);
    assert_eq!(failed("10.0.0.6:80"), Errno::Timedout);
    assert_eq!(failed("127.0.0.1:80"), Errno::Connrefused);
    let four = world.net.host(ip("10.0.0.7"));
    assert_eq!(four.connect(at("[fec0::15]:80")).err(), Some(Errno::Netunreach));
    assert_eq!(world.net.open(), 0);
}

#[test]
fn a_full_backlog_makes_wait_and_then_gives_up() {
    let world = FakeWorld::new(1);
    let listener = world.net.listen(at("127.0.0.1:80"), 1).unwrap();
    let first = world.net.connect(listener.local()).unwrap();
    let second = world.net.connect(listener.local()).unwrap();
    wait_for(&world.net, &first, Interest::Write);
    world.clock.advance(100_000_000);
    assert_eq!((first.connected(), second.connected()), (Ok(()), Err(Errno::Again)));
    assert!(listener.accept().is_ok());
    wait_for(&world.net, &second, Interest::Write);
    assert_eq!(second.connected(), Ok(()), "asked again");
    let third = world.net.connect(listener.local()).unwrap();
    world.clock.advance(200_000_000_000);
    world.net.poll();
    assert_eq!(third.connected(), Err(Errno::Timedout));
}

#[test]
fn connections_break_when_a_test_says_so() {
    let world = FakeWorld::new(1);
    let (client, server) = pair(&world.net);
    world.net.break_port(client.local().port());
    for end in [&client, &server] {
        assert_eq!(end.read(&mut [0; 8]), Err(Errno::Connreset));
        assert_eq!(end.read(&mut [0; 8]), Ok(0));
    }
    world.net.set_weather(Weather { resets: 1000, ..Weather::CALM });
    let listener = world.net.listen(at("127.0.0.1:0"), 1).unwrap();
    let client = world.net.connect(listener.local()).unwrap();
    wait_for(&world.net, &client, Interest::Write);
    assert_eq!(client.write(b"x"), Ok(1));
    assert_eq!(client.write(b"x"), Err(Errno::Connreset));
    assert_eq!(client.write(b"x"), Err(Errno::Pipe));
}

#[test]
fn hosts_have_ports_and_loopbacks_of_their_own() {
    let world = FakeWorld::new(1);
    let other = world.net.host(ip("10.0.0.5"));
    let all = at("0.0.0.0:80");
    let (ours, theirs) = (world.net.listen(all, 1).unwrap(), other.listen(all, 1).unwrap());
    let client = world.net.connect(at("10.0.0.5:80")).unwrap();
    wait_for(&world.net, &client, Interest::Write);
    assert!(theirs.accept().is_ok() && ours.accept().is_err());
    assert_eq!(client.local().ip(), ip("10.0.2.15"));
    let client = other.connect(at("127.0.0.1:80")).unwrap();
    wait_for(&world.net, &client, Interest::Write);
    assert!(theirs.accept().is_ok() && ours.accept().is_err());
    // Beside 0.0.0.0, [::] takes IPv6 alone.
    let six = world.net.listen(at("[::]:80"), 1).unwrap();
    let clients =
        [world.net.connect(at("10.0.2.15:80")).unwrap(), world.net.connect(at("[::1]:80")).unwrap()];
    clients.iter().for_each(|client| wait_for(&world.net, client, Interest::Write));
    assert!(ours.accept().is_ok() && six.accept().is_ok() && six.accept().is_err());
    // One host that is stopped does not stop the other.
    world.net.close_listeners();
    assert_eq!(ours.accept().err(), Some(Errno::Canceled));
    assert_eq!(theirs.accept().err(), Some(Errno::Again));
    assert_eq!(world.net.listen(at("0.0.0.0:0"), 1).err(), Some(Errno::Canceled));
}

#[test]
fn names_follow_the_script() {
    let world = FakeWorld::new(1);
    world.net.name("Slow.Internal.", 7_000_000_000, Ok(vec![ip("10.0.0.5")]));
    world.net.name("broken.internal", 0, Err(Errno::Io));
    let ask = |name: &str| {
        let lookup = world.net.resolve(name).unwrap();
        world.net.wait(&Wait::socket(lookup.clone(), Interest::Read));
        lookup.addresses()
    };
    let slow = world.net.resolve("slow.internal").unwrap();
    world.net.wait(&Wait::socket(slow.clone(), Interest::Read));
    assert_eq!(slow.addresses(), Err(Errno::Again), "5 s were not enough");
    world.net.wait(&Wait::socket(slow.clone(), Interest::Read));
    assert_eq!(slow.addresses(), Ok(vec![ip("10.0.0.5")]));
    assert_eq!(ask("broken.internal"), Err(Errno::Io));
    assert_eq!(ask("none.internal"), Err(Errno::Noent));
    world.net.other_names(0, Err(Errno::Timedout));
    assert_eq!(ask("none.internal"), Err(Errno::Timedout));
    let asked: [String; 4] =
        ["slow.internal", "broken.internal", "none.internal", "none.internal"].map(String::from);
    assert_eq!(world.net.asked(), asked);
}

#[test]
fn datagrams_get_lost_and_do_not_pile_up() {
    let world = FakeWorld::new(1);
    let receive_all = |socket: &Arc<dyn UdpSocket>| {
        world.clock.advance(1_000_000_000);
        core::iter::from_fn(|| socket.recv_from(&mut [0; 8]).ok()).count()
    };
    let (one, two) = (world.net.bind(at("127.0.0.1:0")).unwrap(), world.net.bind(at("127.0.0.1:0")).unwrap());
    for _ in 0..MAX_DATAGRAMS + 10 {
        one.send_to(b"x", two.local()).unwrap();
    }
    assert_eq!(receive_all(&two), MAX_DATAGRAMS);
    world.net.set_weather(Weather { datagram_loss: 500, ..Weather::CALM });
    for _ in 0..100 {
        one.send_to(b"x", two.local()).unwrap();
    }
    assert!((20..80).contains(&receive_all(&two)));
    assert_eq!(one.send_to(b"x", at("10.0.0.99:53")), Ok(()), "nobody there, nobody minds");
    assert_eq!(one.send_to(b"x", at("127.0.0.1:0")), Err(Errno::Inval));
}
