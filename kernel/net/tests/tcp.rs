//! Connections between two stacks.

mod pair;

use std::{net::SocketAddr, sync::Arc};

use lunette_hostcalls::{Errno, Interest, Net, Shutdown, Source, TcpStream};
use pair::{Bell, MILLI, SECOND, World};

const V4: &str = "10.0.0.2:80";
const V6: &str = "[fd00::2]:80";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn transfer(world: &World, from: &Arc<dyn TcpStream>, to: &Arc<dyn TcpStream>, size: usize) {
    let byte = |at: usize| (at * 31 + at / 251) as u8;
    let (mut sent, mut got) = (0, 0);
    let mut buf = vec![0; 70_001];
    let done = world.until(600 * SECOND, || {
        while sent < size {
            let piece: Vec<u8> = (sent..size.min(sent + 60_000)).map(byte).collect();
            match from.write(&piece) {
                Ok(count) => sent += count,
                Err(error) => {
                    assert_eq!(error, Errno::Again);
                    break;
                }
            }
        }
        loop {
            match to.read(&mut buf) {
                Ok(count) => {
                    assert!(count > 0 && buf[..count].iter().enumerate().all(|(i, b)| *b == byte(got + i)));
                    got += count;
                }
                Err(error) => {
                    assert_eq!(error, Errno::Again);
                    break;
                }
            }
        }
        got == size
    });
    assert!(done, "{got} of {size}");
}

#[test]
fn what_is_written_is_read_over_both_versions_of_ip() {
    for place in [V4, V6] {
        let world = World::new();
        let (client, server, _listener) = world.connection(at(place));
        assert_eq!(client.peer(), at(place));
        assert_eq!(server.local(), at(place));
        assert_eq!(client.read(&mut [0; 8]), Err(Errno::Again));
        client.write(b"hello").unwrap();
        assert_eq!(world.read(&server), b"hello");
        let mut some = [0; 3];
        server.write(b"goodbye").unwrap();
        world.wait(&*client, Interest::Read);
        assert_eq!(client.ready(Interest::Read).bytes, 7);
        assert_eq!((client.peek(&mut some), &some), (Ok(3), b"goo"));
        assert_eq!(world.read(&client), b"goodbye");
        transfer(&world, &client, &server, 3_000_000);
        transfer(&world, &server, &client, 3_000_000);
    }
}

#[test]
fn a_listener_on_all_addresses_of_ipv6_takes_ipv4_and_tells_peers_by_it() {
    let world = World::new();
    let listener = world.b.stack.listen(at("[::]:80"), 8).unwrap();
    let (client, server) = world.join(at(V4), &listener);
    assert!(server.peer().is_ipv4() && server.local() == at(V4));
    let mapped = world.a.stack.connect(at("[::ffff:10.0.0.2]:80")).unwrap();
    world.wait(&*mapped, Interest::Write);
    assert_eq!((mapped.connected(), mapped.peer()), (Ok(()), at(V4)));
    assert!(listener.accept().unwrap().1.is_ipv4());
    drop((client, server));
    world.join(at(V6), &listener);
}

#[test]
fn an_end_is_read_after_what_was_written_and_the_other_half_goes_on() {
    let world = World::new();
    let (client, server, _listener) = world.connection(at(V4));
    client.write(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.write(b"more"), Err(Errno::Pipe));
    assert!(client.ready(Interest::Write).hangup && !client.ready(Interest::Read).any());
    assert_eq!(world.read(&server), b"question");
    world.wait(&*server, Interest::Read);
    assert_eq!(server.read(&mut [0; 8]), Ok(0));
    assert_eq!(server.read(&mut [0; 8]), Ok(0));
    transfer(&world, &server, &client, 500_000);
    drop(server);
    world.wait(&*client, Interest::Read);
    assert_eq!(client.read(&mut [0; 8]), Ok(0));
}

#[test]
fn what_was_written_before_the_end_arrives_though_nobody_holds_it() {
    let world = World::new();
    let (client, server, _listener) = world.connection(at(V4));
    let mut sent = 0;
    while let Ok(count) = client.write(&[7; 10_000]) {
        sent += count;
    }
    assert!(sent >= 256 * 1024);
    drop(client);
    let mut got = 0;
    loop {
        match world.read(&server) {
            bytes if bytes.is_empty() => break,
            bytes => got += bytes.len(),
        }
    }
    assert_eq!(got, sent);
}

#[test]
fn an_end_with_something_unread_is_a_reset_and_is_told_once() {
    let world = World::new();
    let (client, server, _listener) = world.connection(at(V4));
    client.write(b"never read").unwrap();
    world.wait(&*server, Interest::Read);
    drop(server);
    world.wait(&*client, Interest::Read);
    assert_eq!(client.read(&mut [0; 8]), Err(Errno::Connreset));
    assert_eq!(client.read(&mut [0; 8]), Ok(0));
    assert_eq!(client.write(b"more"), Err(Errno::Pipe));
    assert_eq!(client.shutdown(Shutdown::Both), Err(Errno::Notconn));
}

#[test]
fn what_comes_after_the_end_is_answered_by_a_reset() {
    let world = World::new();
    let (client, server, _listener) = world.connection(at(V4));
    drop(server);
    world.settle();
    assert_eq!(client.read(&mut [0; 8]), Ok(0));
    client.write(b"for nobody").unwrap();
    assert!(world.until(SECOND, || client.ready(Interest::Write).hangup));
    assert_eq!(client.write(b"more"), Err(Errno::Connreset));
    assert_eq!(client.write(b"more"), Err(Errno::Pipe));
}

#[test]
fn an_abort_is_a_reset_for_the_peer_and_an_end_for_oneself() {
    let world = World::new();
    let (client, server, _listener) = world.connection(at(V4));
    server.write(b"before").unwrap();
    world.settle();
    server.abort();
    assert_eq!(server.read(&mut [0; 8]), Ok(0));
    assert_eq!(server.write(b"x"), Err(Errno::Pipe));
    world.settle();
    assert_eq!(world.read(&client), b"before");
    assert_eq!(client.write(b"x"), Err(Errno::Connreset));
}

#[test]
fn nobody_there_is_refused_and_no_answer_times_out() {
    let world = World::new();
    let refused = world.a.stack.connect(at("10.0.0.2:81")).unwrap();
    assert_eq!(refused.connected(), Err(Errno::Again));
    assert_eq!(refused.write(b"x"), Err(Errno::Again));
    world.wait(&*refused, Interest::Write);
    assert_eq!(refused.connected(), Err(Errno::Connrefused));
    assert_eq!(refused.connected(), Err(Errno::Connrefused));
    assert_eq!((refused.read(&mut [0; 8]), refused.write(b"x")), (Ok(0), Err(Errno::Pipe)));

    let nobody = world.a.stack.connect(at("10.0.0.77:80")).unwrap();
    world.wait(&*nobody, Interest::Write);
    assert_eq!(nobody.connected(), Err(Errno::Hostunreach));
    assert_eq!(world.a.stack.connect(at("192.0.2.1:80")).err(), Some(Errno::Netunreach));
    assert_eq!(world.a.stack.connect(at("[2001:db8::1]:80")).err(), Some(Errno::Netunreach));

    // A peer that is there and says nothing: its listener has no room.
    let listener = world.b.stack.listen(at(V4), 1).unwrap();
    let first = world.a.stack.connect(at(V4)).unwrap();
    world.wait(&*first, Interest::Write);
    let second = world.a.stack.connect(at(V4)).unwrap();
    assert!(world.until(100 * SECOND, || second.ready(Interest::Write).any()));
    assert_eq!(second.connected(), Err(Errno::Timedout));
    drop(listener);
    world.settle();
    assert_eq!(first.read(&mut [0; 8]), Err(Errno::Connreset));
}

#[test]
fn a_peer_that_is_gone_is_noticed_by_who_sends_and_by_who_asks_for_life() {
    let world = World::new();
    let (sender, _s, listener) = world.connection(at(V4));
    let (asker, _t) = world.join(at(V4), &listener);
    let (idle, _u) = world.join(at(V4), &listener);
    world.run(10_000 * SECOND);
    assert_eq!(sender.read(&mut [0; 8]), Err(Errno::Again), "idle for hours is no error");
    asker.set_keep_alive(Some(30 * SECOND));
    world.run(1000 * SECOND);
    assert_eq!(asker.read(&mut [0; 8]), Err(Errno::Again), "it was answered");
    sender.write(b"to nobody").unwrap();
    let alone = |time| {
        let end = lunette_hostcalls::Clock::monotonic(&*world.clock) + time;
        while let Some(next) = world.a.stack.poll().filter(|next| *next < end) {
            world.clock.push_to(next);
        }
        world.clock.push_to(end);
        world.a.stack.poll();
    };
    alone(150 * SECOND);
    assert_eq!(asker.read(&mut [0; 8]), Err(Errno::Timedout));
    assert_eq!(asker.read(&mut [0; 8]), Ok(0));
    assert!(!sender.ready(Interest::Read).any());
    alone(200 * SECOND);
    assert_eq!(sender.write(b"x"), Err(Errno::Timedout));
    assert_eq!(sender.write(b"x"), Err(Errno::Pipe));
    assert_eq!(idle.read(&mut [0; 8]), Err(Errno::Again));
}

#[test]
fn ourselves_are_reached_without_the_wire() {
    let world = World::new();
    for place in ["127.0.0.1:90", "[::1]:90", "10.0.0.1:90", "[fd00::1]:90", "127.9.9.9:90"] {
        let listener = world.a.stack.listen(SocketAddr::new(at(place).ip(), 0), 4).unwrap();
        let place = listener.local();
        let client = world.a.stack.connect(place).unwrap();
        let done = |client: &dyn Source| client.ready(Interest::Write).any();
        assert!(world.until(SECOND, || done(&*client)), "{place}");
        let (server, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), place.ip());
        transfer(&world, &client, &server, 1_000_000);
    }
    let any = world.a.stack.listen(at("[::]:91"), 4).unwrap();
    for place in ["0.0.0.0:91", "[::]:91"] {
        let client = world.a.stack.connect(at(place)).unwrap();
        world.wait(&*client, Interest::Write);
        assert_eq!(client.connected(), Ok(()));
        assert!(any.accept().unwrap().1.ip().is_loopback());
    }
    // From the wire, the loopback is out of reach.
    let hidden = world.b.stack.listen(at("127.0.0.1:92"), 4).unwrap();
    let client = world.a.stack.connect(at("10.0.0.2:92")).unwrap();
    world.wait(&*client, Interest::Write);
    assert_eq!(client.connected(), Err(Errno::Connrefused));
    assert!(!hidden.ready(Interest::Read).any());
}

#[test]
fn a_waker_is_woken_when_what_it_waits_for_is_there_and_not_before() {
    let world = World::new();
    let (client, server, listener) = world.connection(at(V4));
    let (bell, waker) = Bell::new();
    listener.register(Interest::Read, &waker);
    server.register(Interest::Read, &waker);
    world.run(SECOND);
    assert_eq!(bell.rung(), 0);
    client.write(b"x").unwrap();
    world.settle();
    assert_eq!(bell.rung(), 1);
    client.write(b"y").unwrap();
    world.settle();
    assert_eq!(bell.rung(), 0, "a waker is woken once");
    server.register(Interest::Read, &waker);
    assert_eq!(bell.rung(), 1, "at once, for it is there");
    world.read(&server);
    server.register(Interest::Read, &waker);
    server.register(Interest::Read, &waker);
    assert_eq!(bell.rung(), 0);
    let (other, waker_2) = Bell::new();
    server.register(Interest::Read, &waker_2);
    assert_eq!((bell.rung(), other.rung()), (1, 0), "the new one takes the place of the old, which is woken");
    drop(client);
    world.settle();
    assert_eq!(other.rung(), 1);
    while server.write(&[0; 60_000]).is_ok() {}
    server.register(Interest::Write, &waker);
}

#[test]
fn a_full_buffer_wakes_its_writer_when_there_is_room() {
    let world = World::new();
    let (client, server, _listener) = world.connection(at(V4));
    world.settle();
    while client.write(&[1; 60_000]).is_ok() {}
    let (bell, waker) = Bell::new();
    // The peer's window is full too, in the end.
    world.run(10 * SECOND);
    while client.write(&[1; 60_000]).is_ok() {}
    client.register(Interest::Write, &waker);
    world.run(10 * SECOND);
    assert_eq!(bell.rung(), 0);
    let mut buf = vec![0; 1 << 20];
    assert!(world.until(20 * SECOND, || {
        let _ = server.read(&mut buf);
        bell.rung() > 0
    }));
    assert!(client.ready(Interest::Write).bytes > 0);
}

#[test]
fn deaf_ears_are_not_an_end_for_the_peer() {
    let world = World::new();
    let (client, server, _listener) = world.connection(at(V4));
    server.shutdown(Shutdown::Read).unwrap();
    assert_eq!(server.read(&mut [0; 8]), Ok(0));
    let mut sent = 0;
    world.until(100 * SECOND, || {
        sent += client.write(&[1; 60_000]).unwrap_or(0);
        sent > 2_000_000
    });
    assert!(sent > 2_000_000);
    server.write(b"still there").unwrap();
    assert_eq!(world.read(&client), b"still there");
}

#[test]
fn who_reads_no_more_and_lets_go_has_still_answered() {
    let world = World::new();
    let (client, server, _listener) = world.connection(at(V4));
    client.write(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(world.read(&server), b"question");
    world.wait(&*server, Interest::Read);
    assert_eq!(server.read(&mut [0; 8]), Ok(0));
    server.write(b"answer").unwrap();
    server.shutdown(Shutdown::Read).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    drop(server);
    assert_eq!(world.read(&client), b"answer");
    world.wait(&*client, Interest::Read);
    assert_eq!(client.read(&mut [0; 8]), Ok(0));
}

#[test]
fn small_pieces_go_at_once_unless_gathered() {
    let world = World::new();
    let (client, server, _listener) = world.connection(at(V4));
    client.set_nodelay(false);
    client.write(b"one").unwrap();
    client.write(b"two").unwrap();
    world.run(MILLI);
    client.write(b"three").unwrap();
    assert_eq!(world.read(&server), b"onetwo");
    world.run(MILLI);
    client.set_nodelay(true);
    world.run(MILLI);
    assert_eq!(world.read(&server), b"three");
}
