//! What every host's network has to hold: one list, run on the fake network, on the VM's stack (on a laptop and in the
//! VM), and on a process's sockets.
//!
//! Promises: a check uses 127.0.0.1, and ::1 where that is one of [`Net::addresses`], on ports that are free; it
//! depends on no time, needs room for 2,000 bytes in each direction, holds at most a hundred connections and few
//! buffers, and leaves nothing open. Checks do not panic.
//!
//! Does not: leave the host, ask a DNS server, or hold what one transport can't promise (the order of connections made
//! at once, that a datagram arrives). **The last check closes the host's listeners for good**: run the list last.

use alloc::{format, string::String, sync::Arc, task::Wake, vec, vec::Vec};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::Waker,
};

use super::{At, Outcome};
use crate::{Errno, Interest, Net, Shutdown, Source, TcpListener, TcpStream, UdpSocket, Wait};

/// A network, and how its host waits.
pub struct NetWorld<'w> {
    pub net: &'w dyn Net,
    /// Lets the host's world go on until one of the sockets is ready, or 5 s have passed on the host's clock.
    pub wait: &'w dyn Fn(&Wait),
}

/// One check: its name, and what it does.
pub type NetCheck = (&'static str, fn(&NetWorld<'_>) -> Result<(), String>);

/// The list, in the order in which it has to be run.
pub const NET_CHECKS: &[NetCheck] = &[
    ("the host's own addresses are known", addresses),
    ("a listener on port 0 gets a free port", free_ports),
    ("an address in use is refused", in_use),
    ("an address of somebody else is refused", not_ours),
    ("connections are accepted, the oldest first", accept_order),
    ("both ends know both addresses", both_addresses),
    ("where nobody listens, a connection is refused", refused),
    ("nothing connects to port 0", port_zero),
    ("what can't be done now says so", nothing_yet),
    ("readiness agrees with what can be done", readiness),
    ("a megabyte goes both ways in odd pieces", megabyte),
    ("a writer whom nobody reads has to wait", back_pressure),
    ("a look takes nothing", peek),
    ("one half is closed and the other goes on", half_close),
    ("a half closed for reading is at its end", closed_for_reading),
    ("what was written before a close arrives", close_delivers),
    ("an abort is seen once, by a read", reset_by_read),
    ("an abort is seen once, by a write", reset_by_write),
    ("a close with data unread is a reset", close_unread),
    ("whatever comes wakes", wakes),
    ("a waker gives way to the next", waker_replaced),
    ("many wait to be accepted", backlog),
    ("any backlog may be asked for", odd_backlogs),
    ("a hundred connections at once are kept apart", hundred),
    ("a connection that ended is still accepted", ended_before_accept),
    ("connections given up do no harm", given_up),
    ("a dropped listener is gone, its connections stay", listener_dropped),
    ("who waits at a dropped listener is told", waiting_at_dropped),
    ("options are taken in every state", options),
    ("datagrams go and come back", datagrams),
    ("datagrams keep their edges", datagram_edges),
    ("too large a datagram is refused", datagram_too_large),
    ("a datagram to nobody does no harm", datagram_to_nobody),
    ("the ports of TCP and UDP are apart", ports_apart),
    ("::1 is as good as 127.0.0.1", version_six),
    ("a listener on all addresses takes all", all_addresses),
    ("addresses and localhost resolve to themselves", resolve_literals),
    ("what is no name is not asked for", resolve_nonsense),
    ("stopped, listeners are closed and connections stay", listeners_closed),
];

/// Runs them all, in order, and says how many failed.
pub fn run_network(world: &NetWorld<'_>, report: &mut dyn FnMut(&str, Result<(), String>)) -> usize {
    let mut failed = 0;
    for (name, check) in NET_CHECKS {
        let result = check(world);
        failed += usize::from(result.is_err());
        report(name, result);
    }
    failed
}

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const LOCAL_SIX: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

// Listening and connecting.

fn addresses(world: &NetWorld<'_>) -> Outcome {
    let all = world.net.addresses();
    holds!(all.iter().any(|(ip, _)| *ip == LOCAL.ip()), "no 127.0.0.1 in {all:?}");
    for (ip, bits) in all {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        holds!(bits <= most, "{ip} has a prefix of {bits} bits");
        holds!(!ip.is_unspecified() && !ip.is_multicast(), "{ip} is nobody's address");
    }
    Ok(())
}

fn free_ports(world: &NetWorld<'_>) -> Outcome {
    let (one, two) = (listen(world, LOCAL)?, listen(world, LOCAL)?);
    same!(one.local().ip(), LOCAL.ip(), "the address");
    holds!(one.local().port() != 0, "listens on port 0");
    holds!(one.local() != two.local(), "two listeners on {}", one.local());
    same!(one.local(), one.local(), "the address, asked again");
    Ok(())
}

fn in_use(world: &NetWorld<'_>) -> Outcome {
    let listener = listen(world, LOCAL)?;
    let again = world.net.listen(listener.local(), 1).map(|_| ());
    same!(again, Err(Errno::Addrinuse), "listening twice");
    let socket = world.net.bind(LOCAL).at("bind")?;
    same!(world.net.bind(socket.local()).map(|_| ()), Err(Errno::Addrinuse), "binding twice");
    let (listened, bound) = (listener.local(), socket.local());
    drop((listener, socket));
    world.net.listen(listened, 1).at("listening where a listener was")?;
    world.net.bind(bound).at("binding where a socket was")?;
    Ok(())
}

fn not_ours(world: &NetWorld<'_>) -> Outcome {
    // 192.0.2.0/24 is for documents (RFC 5737).
    let at = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 0);
    same!(world.net.listen(at, 1).map(|_| ()), Err(Errno::Addrnotavail), "listen");
    same!(world.net.bind(at).map(|_| ()), Err(Errno::Addrnotavail), "bind");
    Ok(())
}

fn accept_order(world: &NetWorld<'_>) -> Outcome {
    let listener = listen(world, LOCAL)?;
    same!(listener.accept().map(|_| ()), Err(Errno::Again), "accept before anybody came");
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(connect(world, listener.local())?);
    }
    for client in &clients {
        let server = accept(world, &listener)?;
        same!(server.peer(), client.local(), "who was accepted");
    }
    same!(listener.accept().map(|_| ()), Err(Errno::Again), "accept after the last");
    Ok(())
}

fn both_addresses(world: &NetWorld<'_>) -> Outcome {
    let listener = listen(world, LOCAL)?;
    let client = connect(world, listener.local())?;
    let (server, from) = world.get("accept", &source(&listener), Interest::Read, || listener.accept())?;
    same!(client.peer(), listener.local(), "the client's peer");
    same!(client.local().ip(), LOCAL.ip(), "the client's own");
    holds!(client.local().port() != 0, "the client has port 0");
    same!(from, client.local(), "whom accept names");
    same!(server.peer(), from, "the server's peer");
    same!(server.local(), listener.local(), "the server's own");
    same!(server.connected(), Ok(()), "an accepted connection");
    Ok(())
}

fn refused(world: &NetWorld<'_>) -> Outcome {
    let listener = listen(world, LOCAL)?;
    let to = listener.local();
    drop(listener);
    // A host may know at once, or later.
    let client = match world.net.connect(to) {
        Err(error) => {
            same!(error, Errno::Connrefused, "connect");
            return Ok(());
        }
        Ok(client) => client,
    };
    let made = world.outcome("connect", &source(&client), Interest::Write, || client.connected())?;
    same!(made, Err(Errno::Connrefused), "connected");
    holds!(!matches!(client.read(&mut [0; 8]), Err(Errno::Again) | Ok(1..)), "a read waits");
    holds!(!matches!(client.write(b"x"), Err(Errno::Again) | Ok(_)), "a write waits, or succeeds");
    same!(client.shutdown(Shutdown::Write), Err(Errno::Notconn), "shutdown");
    Ok(())
}

fn port_zero(world: &NetWorld<'_>) -> Outcome {
    let Ok(client) = world.net.connect(LOCAL) else { return Ok(()) };
    let made = world.outcome("connect", &source(&client), Interest::Write, || client.connected())?;
    holds!(made.is_err(), "connected to {}", client.peer());
    Ok(())
}

// Streams.

fn nothing_yet(world: &NetWorld<'_>) -> Outcome {
    let (client, server) = pair(world)?;
    for (name, stream) in [("client", &client), ("server", &server)] {
        let mut buf = [0; 8];
        same!(stream.read(&mut buf), Err(Errno::Again), format!("read of the {name}"));
        same!(stream.peek(&mut buf), Err(Errno::Again), format!("peek of the {name}"));
        holds!(!stream.ready(Interest::Read).any(), "the {name} says that it can be read");
        holds!(stream.ready(Interest::Write).any(), "the {name} says that it can't be written");
        holds!(matches!(stream.read(&mut []), Ok(0) | Err(Errno::Again)), "an empty read of the {name}");
        same!(stream.write(&[]), Ok(0), format!("an empty write of the {name}"));
        same!(stream.connected(), Ok(()), format!("the {name}"));
    }
    let socket = world.net.bind(LOCAL).at("bind")?;
    same!(socket.recv_from(&mut [0; 8]), Err(Errno::Again), "recv_from");
    holds!(!socket.ready(Interest::Read).any(), "the UDP socket says that it can be read");
    holds!(socket.ready(Interest::Write).any(), "the UDP socket says that it can't be written");
    Ok(())
}

fn readiness(world: &NetWorld<'_>) -> Outcome {
    let listener = listen(world, LOCAL)?;
    holds!(!listener.ready(Interest::Read).any(), "nobody came, and it is ready");
    let client = connect(world, listener.local())?;
    world.ready("accept", &source(&listener), Interest::Read)?;
    let waiting = listener.ready(Interest::Read);
    holds!(waiting.bytes >= 1 && !waiting.hangup, "somebody waits, and it says {waiting:?}");
    let (server, _) = listener.accept().at("accept when it was ready")?;
    holds!(!listener.ready(Interest::Read).any(), "nobody waits any more, and it is ready");

    write_all(world, &client, b"twelve bytes")?;
    let mut got = Vec::new();
    while got.len() < 12 {
        world.ready("read", &source(&server), Interest::Read)?;
        let ready = server.ready(Interest::Read);
        holds!(
            ready.bytes > 0 && !ready.hangup,
            "{} bytes are to come, and it says {ready:?}",
            12 - got.len()
        );
        let mut buf = [0; 5];
        let read = server.read(&mut buf).at("read when it was ready")?;
        holds!(read > 0, "the end after {} of 12 bytes", got.len());
        got.extend_from_slice(&buf[..read]);
    }
    same!(got, b"twelve bytes", "what came");
    holds!(!server.ready(Interest::Read).any(), "all was read, and it is ready");

    drop(client);
    world.ready("the end", &source(&server), Interest::Read)?;
    let ready = server.ready(Interest::Read);
    holds!(ready.hangup && ready.bytes == 0, "the peer is gone, and it says {ready:?}");
    same!(server.read(&mut [0; 5]), Ok(0), "read at the end");
    same!(server.read(&mut [0; 5]), Ok(0), "read at the end, again");
    holds!(server.ready(Interest::Read).hangup, "the end was taken back");
    Ok(())
}

fn megabyte(world: &NetWorld<'_>) -> Outcome {
    const TOTAL: usize = 1 << 20;
    let (client, server) = pair(world)?;
    let mut sizes = Numbers(7);
    let mut buf = vec![0; 16 << 10];
    // What the server has read and not yet sent back.
    let mut held: Vec<u8> = Vec::with_capacity(buf.len());
    let (mut sent, mut back, mut ended) = (0, 0, false);
    let mut fruitless = 0;
    loop {
        let mut moved = false;
        if sent < TOTAL {
            let some = sizes.upto(buf.len()).min(TOTAL - sent);
            fill(&mut buf[..some], sent);
            if let Some(took) = unless_again(client.write(&buf[..some])).at("the client's write")? {
                holds!((1..=some).contains(&took), "a write of {some} bytes took {took}");
                sent += took;
                moved = true;
                if sent == TOTAL {
                    client.shutdown(Shutdown::Write).at("the client's shutdown")?;
                }
            }
        }
        if held.is_empty() && !ended {
            let some = sizes.upto(buf.len());
            if let Some(read) = unless_again(server.read(&mut buf[..some])).at("the server's read")? {
                held.extend_from_slice(&buf[..read]);
                ended = read == 0;
                moved = true;
                if ended {
                    server.shutdown(Shutdown::Write).at("the server's shutdown")?;
                }
            }
        }
        if !held.is_empty()
            && let Some(took) = unless_again(server.write(&held)).at("the server's write")?
        {
            holds!((1..=held.len()).contains(&took), "a write of {} bytes took {took}", held.len());
            held.drain(..took);
            moved = true;
        }
        let some = sizes.upto(buf.len());
        if let Some(read) = unless_again(client.read(&mut buf[..some])).at("the client's read")? {
            if read == 0 {
                same!(back, TOTAL, "bytes before the end");
                return Ok(());
            }
            holds!(is_filled(&buf[..read], back), "bytes {back} to {} are others", back + read);
            back += read;
            moved = true;
        }
        if moved {
            fruitless = 0;
            continue;
        }
        fruitless += 1;
        holds!(fruitless <= PATIENCE, "nothing moves after {sent} bytes there and {back} back");
        let mut sockets = vec![(source(&client), Interest::Read)];
        if sent < TOTAL {
            sockets.push((source(&client), Interest::Write));
        }
        if !ended {
            let interest = if held.is_empty() { Interest::Read } else { Interest::Write };
            sockets.push((source(&server), interest));
        }
        (world.wait)(&Wait { sockets, ..Wait::default() });
    }
}

fn back_pressure(world: &NetWorld<'_>) -> Outcome {
    // More than any host should keep for a reader that doesn't read.
    const MOST: usize = 64 << 20;
    let (client, server) = pair(world)?;
    let mut buf = vec![0; 16 << 10];
    let mut sent = 0;
    loop {
        fill(&mut buf, sent);
        match unless_again(client.write(&buf)).at("write")? {
            Some(took) => sent += took,
            None => break,
        }
        holds!(sent < MOST, "{sent} bytes were taken that nobody reads");
    }
    let mut got = 0;
    while got < sent {
        let read = read(world, &server, &mut buf)?.at("read")?;
        holds!(read > 0, "the end after {got} of {sent} bytes");
        holds!(is_filled(&buf[..read], got), "bytes from {got} are others");
        got += read;
    }
    // What was read made room.
    write_all(world, &client, b"more")?;
    same!(read_exact(world, &server, 4)?, b"more", "what came next");
    same!(server.read(&mut buf), Err(Errno::Again), "after all that was written");
    Ok(())
}

fn peek(world: &NetWorld<'_>) -> Outcome {
    let (client, server) = pair(world)?;
    write_all(world, &client, b"ab")?;
    let mut buf = [0; 1];
    for time in 0..3 {
        let look = world.get("peek", &source(&server), Interest::Read, || server.peek(&mut buf))?;
        same!((look, buf), (1, *b"a"), format!("look {time}"));
        buf = [0; 1];
    }
    same!(read_exact(world, &server, 2)?, b"ab", "read after the looks");
    same!(server.peek(&mut buf), Err(Errno::Again), "a look at nothing");
    drop(client);
    for _ in 0..2 {
        let look = world.get("peek", &source(&server), Interest::Read, || server.peek(&mut buf))?;
        same!(look, 0, "a look at the end");
    }
    Ok(())
}

fn half_close(world: &NetWorld<'_>) -> Outcome {
    for server_first in [false, true] {
        let (client, server) = pair(world)?;
        let (first, other) = if server_first { (server, client) } else { (client, server) };
        write_all(world, &first, b"that is all")?;
        first.shutdown(Shutdown::Write).at("shutdown")?;
        same!(first.write(b"x"), Err(Errno::Pipe), "write after shutdown");
        same!(read_to_end(world, &other)?, b"that is all", "what came before the end");
        holds!(other.ready(Interest::Read).hangup, "at the end, and it says nothing of it");
        // The other half is as it was.
        same!(first.read(&mut [0; 8]), Err(Errno::Again), "read of the half that is open");
        let answer: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        carry(world, &other, &first, &answer)?;
        other.shutdown(Shutdown::Both).at("shutdown of both")?;
        same!(other.write(b"x"), Err(Errno::Pipe), "write after shutdown of both");
        same!(other.read(&mut [0; 8]), Ok(0), "read after shutdown of both");
        same!(read_to_end(world, &first)?, b"", "what came after the answer");
    }
    Ok(())
}

fn closed_for_reading(world: &NetWorld<'_>) -> Outcome {
    let (client, server) = pair(world)?;
    client.shutdown(Shutdown::Read).at("shutdown")?;
    same!(client.read(&mut [0; 8]), Ok(0), "read");
    holds!(client.ready(Interest::Read).hangup, "it can't be read any more, and says nothing of it");
    // Whatever the peer sends is thrown away, which is not the peer's concern.
    write_all(world, &server, b"unheard")?;
    write_all(world, &client, b"heard")?;
    same!(read_exact(world, &server, 5)?, b"heard", "the other half");
    write_all(world, &server, b"unheard")?;
    same!(client.read(&mut [0; 8]), Ok(0), "read, after the peer wrote");
    Ok(())
}

fn close_delivers(world: &NetWorld<'_>) -> Outcome {
    let (client, server) = pair(world)?;
    let mut buf = vec![0; 32 << 10];
    fill(&mut buf, 0);
    let took = client.write(&buf).at("write")?;
    drop(client);
    let got = read_to_end(world, &server)?;
    same!(got.len(), took, "bytes before the end");
    holds!(is_filled(&got, 0), "other bytes");
    // The server has nothing to say either: both are closed, and nothing was a fault.
    drop(server);
    Ok(())
}

fn reset_by_read(world: &NetWorld<'_>) -> Outcome {
    for client_aborts in [false, true] {
        let (client, server) = pair(world)?;
        let (bad, good) = if client_aborts { (client, server) } else { (server, client) };
        bad.abort();
        let met = read(world, &good, &mut [0; 8])?;
        same!(met, Err(Errno::Connreset), "the first read");
        same!(good.read(&mut [0; 8]), Ok(0), "the second read");
        same!(good.write(b"x"), Err(Errno::Pipe), "a write");
        same!(good.shutdown(Shutdown::Write), Err(Errno::Notconn), "a shutdown");
        for interest in [Interest::Read, Interest::Write] {
            holds!(good.ready(interest).any(), "{interest:?} has nothing to wait for, and is not ready");
        }
        // Nor does the one that did it wait for anything.
        holds!(!matches!(bad.read(&mut [0; 8]), Err(Errno::Again) | Ok(1..)), "its own read waits");
        holds!(!matches!(bad.write(b"x"), Err(Errno::Again) | Ok(_)), "its own write waits, or succeeds");
    }
    Ok(())
}

fn reset_by_write(world: &NetWorld<'_>) -> Outcome {
    let (client, server) = pair(world)?;
    server.abort();
    world.ready("the reset", &source(&client), Interest::Read)?;
    same!(client.write(b"x"), Err(Errno::Connreset), "the first write");
    same!(client.write(b"x"), Err(Errno::Pipe), "the second write");
    same!(client.read(&mut [0; 8]), Ok(0), "a read");
    Ok(())
}

fn close_unread(world: &NetWorld<'_>) -> Outcome {
    let (client, server) = pair(world)?;
    write_all(world, &client, b"never read")?;
    world.ready("read", &source(&server), Interest::Read)?;
    drop(server);
    same!(read(world, &client, &mut [0; 8])?, Err(Errno::Connreset), "read");
    same!(client.read(&mut [0; 8]), Ok(0), "read after the reset");
    Ok(())
}

// Waking.

fn wakes(world: &NetWorld<'_>) -> Outcome {
    let other = pair(world)?;
    let listener = listen(world, LOCAL)?;
    let woken = woken_by(&*listener, Interest::Read);
    let client = world.net.connect(listener.local()).at("connect")?;
    let made = woken_by(&*client, Interest::Write);
    elapse(world, &other, "a listener's waker", || woken.any())?;
    elapse(world, &other, "a new connection's waker", || made.any())?;
    connected(world, &client)?;
    let server = accept(world, &listener)?;

    let woken = woken_by(&*server, Interest::Read);
    // What one waits for to write takes nothing from what one waits for to read.
    let _writer = woken_by(&*server, Interest::Write);
    write_all(world, &client, b"x")?;
    elapse(world, &other, "a reader's waker", || woken.any())?;
    read_exact(world, &server, 1)?;

    let buf = vec![0; 16 << 10];
    let mut sent = 0;
    while let Some(took) = unless_again(client.write(&buf)).at("write")? {
        sent += took;
    }
    let woken = woken_by(&*client, Interest::Write);
    let mut buf = vec![0; 16 << 10];
    let mut got = 0;
    while got < sent {
        got += read(world, &server, &mut buf)?.at("read")?;
    }
    elapse(world, &other, "a writer's waker", || woken.any())?;

    let woken = woken_by(&*server, Interest::Read);
    drop(client);
    elapse(world, &other, "the waker of a reader at the end", || woken.any())?;

    let (one, two) = (world.net.bind(LOCAL).at("bind")?, world.net.bind(LOCAL).at("bind")?);
    let woken = woken_by(&*one, Interest::Read);
    send(world, &two, b"x", one.local())?;
    elapse(world, &other, "a datagram's waker", || woken.any())
}

fn waker_replaced(world: &NetWorld<'_>) -> Outcome {
    let other = pair(world)?;
    let (client, server) = pair(world)?;
    let first = woken_by(&*server, Interest::Read);
    let second = woken_by(&*server, Interest::Read);
    elapse(world, &other, "the waker that was replaced", || first.any())?;
    // A task that waits for several things asks for all of them again whenever one of them has come.
    let own = Arc::<Count>::default();
    for _ in 0..50 {
        server.register(Interest::Read, &Waker::from(own.clone()));
    }
    talk(world, &other)?;
    let times = own.0.load(Relaxed);
    holds!(times < 10, "a task that asks 50 times is woken {times} times by itself");
    elapse(world, &other, "the waker that another task's took the place of", || second.any())?;
    let second = woken_by(&*server, Interest::Read);
    write_all(world, &client, b"x")?;
    elapse(world, &other, "the waker that took its place", || second.any())?;
    world.ready("read", &source(&server), Interest::Read)?;
    let late = woken_by(&*server, Interest::Read);
    elapse(world, &other, "a waker that comes when all is ready", || late.any())?;
    let writer = woken_by(&*server, Interest::Write);
    elapse(world, &other, "a waker that comes when there is room", || writer.any())
}

// Listeners.

fn backlog(world: &NetWorld<'_>) -> Outcome {
    let listener = world.net.listen(LOCAL, 64).at("listen")?;
    let mut clients = Vec::new();
    for _ in 0..32 {
        let client = connect(world, listener.local())?;
        write_all(world, &client, &client.local().port().to_be_bytes())?;
        clients.push(client);
    }
    for client in &clients {
        let server = accept(world, &listener)?;
        same!(server.peer(), client.local(), "who was accepted");
        same!(read_exact(world, &server, 2)?, client.local().port().to_be_bytes(), "what was sent");
    }
    Ok(())
}

fn odd_backlogs(world: &NetWorld<'_>) -> Outcome {
    for backlog in [0, 1, usize::MAX] {
        let listener = world.net.listen(LOCAL, backlog).at("listen")?;
        for _ in 0..3 {
            let client = connect(world, listener.local())?;
            let server = accept(world, &listener)?;
            same!(server.peer(), client.local(), format!("who was accepted, of a backlog of {backlog}"));
        }
    }
    Ok(())
}

fn hundred(world: &NetWorld<'_>) -> Outcome {
    let listener = world.net.listen(LOCAL, 128).at("listen")?;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(world.net.connect(listener.local()).at("connect")?);
    }
    let mut servers = Vec::new();
    for _ in 0..100 {
        servers.push(accept(world, &listener)?);
    }
    let mut data = [0; 1000];
    for client in &clients {
        connected(world, client)?;
        fill(&mut data, client.local().port().into());
        write_all(world, client, &data)?;
    }
    for server in &servers {
        let came = read_exact(world, server, data.len())?;
        holds!(
            is_filled(&came, server.peer().port().into()),
            "{} was sent what is another's",
            server.local()
        );
        write_all(world, server, &came)?;
    }
    // Half of the servers go first, half of the clients.
    servers.truncate(50);
    for client in &clients {
        let came = read_exact(world, client, data.len())?;
        holds!(is_filled(&came, client.local().port().into()), "{} got what is another's", client.local());
    }
    drop(clients);
    for server in &servers {
        same!(read_to_end(world, server)?, b"", "after the clients went");
    }
    Ok(())
}

fn ended_before_accept(world: &NetWorld<'_>) -> Outcome {
    let other = pair(world)?;
    let listener = listen(world, LOCAL)?;
    let client = connect(world, listener.local())?;
    let from = client.local();
    write_all(world, &client, b"in passing")?;
    drop(client);
    for _ in 0..3 {
        talk(world, &other)?;
    }
    let server = accept(world, &listener)?;
    same!(server.peer(), from, "who was accepted");
    same!(read_to_end(world, &server)?, b"in passing", "what it said");
    Ok(())
}

fn given_up(world: &NetWorld<'_>) -> Outcome {
    let listener = listen(world, LOCAL)?;
    for abort in [false, true, false, true] {
        let client = world.net.connect(listener.local()).at("connect")?;
        if abort {
            client.abort();
        }
    }
    let client = connect(world, listener.local())?;
    // Those that went may have come as far as to be accepted.
    for _ in 0..5 {
        let server = accept(world, &listener)?;
        if server.peer() == client.local() {
            write_all(world, &server, b"still there")?;
            same!(read_exact(world, &client, 11)?, b"still there", "what came");
            return Ok(());
        }
        let met = read(world, &server, &mut [0; 8])?;
        holds!(met.is_err() || met == Ok(0), "one that went said something");
    }
    Err("the one that stayed was never accepted".into())
}

fn listener_dropped(world: &NetWorld<'_>) -> Outcome {
    let listener = listen(world, LOCAL)?;
    let at = listener.local();
    let client = connect(world, at)?;
    let server = accept(world, &listener)?;
    drop(listener);
    if let Ok(late) = world.net.connect(at) {
        let made = world.outcome("connect", &source(&late), Interest::Write, || late.connected())?;
        same!(made, Err(Errno::Connrefused), "connecting where a listener was");
    }
    write_all(world, &client, b"still there")?;
    same!(read_exact(world, &server, 11)?, b"still there", "what came");
    let again = world.net.listen(at, 4).at("listening there again")?;
    let client = connect(world, at)?;
    same!(accept(world, &again)?.peer(), client.local(), "who was accepted");
    Ok(())
}

fn waiting_at_dropped(world: &NetWorld<'_>) -> Outcome {
    let listener = listen(world, LOCAL)?;
    let client = connect(world, listener.local())?;
    world.ready("accept", &source(&listener), Interest::Read)?;
    drop(listener);
    let met = read(world, &client, &mut [0; 8])?;
    holds!(matches!(met, Ok(0) | Err(Errno::Connreset)), "a read says {met:?}");
    Ok(())
}

fn options(world: &NetWorld<'_>) -> Outcome {
    let (client, server) = pair(world)?;
    let set = |stream: &Arc<dyn TcpStream>| {
        for after in [Some(1), Some(60_000_000_000), Some(u64::MAX), Some(0), None] {
            stream.set_keep_alive(after);
        }
        for on in [false, true] {
            stream.set_nodelay(on);
        }
    };
    set(&client);
    client.set_nodelay(false);
    write_all(world, &client, b"a")?;
    write_all(world, &client, b"b")?;
    same!(read_exact(world, &server, 2)?, b"ab", "gathered pieces");
    set(&client);
    write_all(world, &client, b"c")?;
    same!(read_exact(world, &server, 1)?, b"c", "a piece");
    client.abort();
    set(&client);
    Ok(())
}

// Datagrams.

fn datagrams(world: &NetWorld<'_>) -> Outcome {
    let (one, two) = (world.net.bind(LOCAL).at("bind")?, world.net.bind(LOCAL).at("bind")?);
    holds!(one.local().port() != 0 && one.local() != two.local(), "bound to {}", one.local());
    for size in [1, 100, 1400] {
        let mut data = vec![0; size];
        fill(&mut data, size);
        send(world, &one, &data, two.local())?;
        let mut buf = vec![0; 2000];
        let (took, whole, from) = receive(world, &two, &mut buf)?;
        same!((took, whole, from), (size, size, one.local()), "what came");
        holds!(buf[..took] == data, "{size} other bytes came");
        send(world, &two, &buf[..took], from)?;
        same!(receive(world, &one, &mut buf)?, (size, size, two.local()), "what came back");
    }
    Ok(())
}

fn datagram_edges(world: &NetWorld<'_>) -> Outcome {
    let (one, two) = (world.net.bind(LOCAL).at("bind")?, world.net.bind(LOCAL).at("bind")?);
    let mut buf = [7; 8];
    send(world, &one, b"", two.local())?;
    world.ready("recv_from", &source(&two), Interest::Read)?;
    holds!(two.ready(Interest::Read).bytes >= 1, "an empty datagram is there, and nothing to read");
    same!(two.recv_from(&mut buf), Ok((0, 0, one.local())), "an empty datagram");
    same!(buf, [7; 8], "what is not its");

    send(world, &one, b"longer than that", two.local())?;
    same!(receive(world, &two, &mut buf)?, (8, 16, one.local()), "a datagram that is cut");
    same!(&buf, b"longer t", "its beginning");
    same!(two.recv_from(&mut buf), Err(Errno::Again), "its rest");

    send(world, &one, b"next", two.local())?;
    same!(receive(world, &two, &mut buf)?, (4, 4, one.local()), "the next");
    same!(&buf[..4], b"next", "the next");
    send(world, &one, b"gone", two.local())?;
    same!(receive(world, &two, &mut [])?, (0, 4, one.local()), "a datagram that nothing is wanted of");
    Ok(())
}

fn datagram_too_large(world: &NetWorld<'_>) -> Outcome {
    let (one, two) = (world.net.bind(LOCAL).at("bind")?, world.net.bind(LOCAL).at("bind")?);
    let data = vec![0; 70_000];
    same!(one.send_to(&data, two.local()), Err(Errno::Msgsize), "70,000 bytes");
    send(world, &one, b"small", two.local())?;
    let mut buf = [0; 8];
    same!(receive(world, &two, &mut buf)?, (5, 5, one.local()), "what came");
    Ok(())
}

fn datagram_to_nobody(world: &NetWorld<'_>) -> Outcome {
    let (one, two) = (world.net.bind(LOCAL).at("bind")?, world.net.bind(LOCAL).at("bind")?);
    let nobody = two.local();
    drop(two);
    for _ in 0..3 {
        send(world, &one, b"hello?", nobody)?;
    }
    let two = world.net.bind(LOCAL).at("bind")?;
    let mut buf = [0; 8];
    send(world, &two, b"here", one.local())?;
    same!(receive(world, &one, &mut buf)?, (4, 4, two.local()), "what came");
    Ok(())
}

fn ports_apart(world: &NetWorld<'_>) -> Outcome {
    // Somebody else on the host may have the one that is tried.
    let mut kept = Vec::new();
    for _ in 0..8 {
        let listener = listen(world, LOCAL)?;
        match world.net.bind(listener.local()) {
            Err(Errno::Addrinuse) => kept.push(listener),
            bound => {
                same!(bound.at("bind")?.local(), listener.local(), "where it is bound");
                return Ok(());
            }
        }
    }
    Err("where TCP listens, UDP can't be bound".into())
}

// Families.

fn version_six(world: &NetWorld<'_>) -> Outcome {
    if !has_six(world) {
        return Ok(());
    }
    let listener = listen(world, LOCAL_SIX)?;
    same!(listener.local().ip(), LOCAL_SIX.ip(), "where it listens");
    let client = connect(world, listener.local())?;
    let server = accept(world, &listener)?;
    same!((server.peer(), server.local()), (client.local(), client.peer()), "the addresses");
    write_all(world, &client, b"six")?;
    same!(read_exact(world, &server, 3)?, b"six", "what came");

    let (one, two) = (world.net.bind(LOCAL_SIX).at("bind")?, world.net.bind(LOCAL_SIX).at("bind")?);
    send(world, &one, b"six", two.local())?;
    let mut buf = [0; 8];
    same!(receive(world, &two, &mut buf)?, (3, 3, one.local()), "the datagram");
    Ok(())
}

fn all_addresses(world: &NetWorld<'_>) -> Outcome {
    let six = has_six(world);
    let all_four = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let all = if six { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { all_four };
    for (at, from) in [(all_four, LOCAL), (all, LOCAL), (all, if six { LOCAL_SIX } else { LOCAL })] {
        let listener = listen(world, SocketAddr::new(at, 0))?;
        let port = listener.local().port();
        let client = connect(world, SocketAddr::new(from.ip(), port))?;
        let server = accept(world, &listener)?;
        same!(server.peer().ip(), from.ip(), format!("who came to {at}"));
        same!(server.local().ip(), from.ip(), format!("where {at} was called"));
        same!(server.peer().port(), client.local().port(), "its port");
        write_all(world, &client, b"x")?;
        same!(read_exact(world, &server, 1)?, b"x", "what came");
    }
    Ok(())
}

fn has_six(world: &NetWorld<'_>) -> bool {
    world.net.addresses().iter().any(|(ip, _)| *ip == LOCAL_SIX.ip())
}

// Names.

fn resolve_literals(world: &NetWorld<'_>) -> Outcome {
    for (name, want) in [
        ("127.0.0.1", LOCAL.ip()),
        ("192.0.2.7", IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
        ("::1", LOCAL_SIX.ip()),
        ("2001:db8::7", IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7))),
    ] {
        same!(resolve(world, name)?, [want], name);
    }
    for name in ["localhost", "LocalHost", "localhost."] {
        let found = resolve(world, name)?;
        holds!(!found.is_empty() && found.iter().all(|ip| ip.is_loopback()), "{name} is {found:?}");
    }
    Ok(())
}

fn resolve(world: &NetWorld<'_>, name: &str) -> Result<Vec<IpAddr>, String> {
    let lookup = world.net.resolve(name).at(name)?;
    let all: Arc<dyn Source> = lookup.clone();
    let found = world.get(name, &all, Interest::Read, || lookup.addresses())?;
    same!(lookup.addresses(), Ok(found.clone()), format!("{name}, asked again"));
    holds!(lookup.ready(Interest::Read).any(), "{name} is answered, and not ready");
    Ok(found)
}

fn resolve_nonsense(world: &NetWorld<'_>) -> Outcome {
    let (label, name) = ("a".repeat(64), "a.".repeat(130));
    for name in
        ["", ".", "a..b", "a b", "a\0b", "bücher", "1.2.3", "127.0.0.1:80", "a/b", "-a", &label, &name]
    {
        same!(world.net.resolve(name).map(|_| ()), Err(Errno::Inval), format!("{name:?}"));
    }
    Ok(())
}

// The end.

fn listeners_closed(world: &NetWorld<'_>) -> Outcome {
    let other = pair(world)?;
    let (one, two) = (listen(world, LOCAL)?, listen(world, LOCAL)?);
    let client = connect(world, one.local())?;
    let server = accept(world, &one)?;
    let woken = woken_by(&*one, Interest::Read);
    world.net.close_listeners();
    for listener in [&one, &two] {
        let accepted = world.outcome("accept", &source(listener), Interest::Read, || listener.accept())?;
        same!(accepted.map(|_| ()), Err(Errno::Canceled), "accept");
        same!(listener.accept().map(|_| ()), Err(Errno::Canceled), "accept, again");
        holds!(listener.ready(Interest::Read).hangup, "closed, and it says nothing of it");
    }
    elapse(world, &other, "a listener's waker", || woken.any())?;
    if let Ok(late) = world.net.connect(one.local()) {
        let made = world.outcome("connect", &source(&late), Interest::Write, || late.connected())?;
        same!(made, Err(Errno::Connrefused), "connecting where a listener was");
    }
    write_all(world, &client, b"still there")?;
    same!(read_exact(world, &server, 11)?, b"still there", "what came");
    drop(client);
    same!(read_to_end(world, &server)?, b"", "after that");
    Ok(())
}

// What the checks share.

/// How often it may have been waited for what has not come yet.
const PATIENCE: usize = 4;

impl NetWorld<'_> {
    /// Tries until the answer is something else than [`Errno::Again`].
    fn outcome<T>(
        &self,
        what: &str,
        source: &Arc<dyn Source>,
        interest: Interest,
        mut attempt: impl FnMut() -> Result<T, Errno>,
    ) -> Result<Result<T, Errno>, String> {
        for _ in 0..PATIENCE {
            match unless_again(attempt()) {
                Ok(Some(value)) => return Ok(Ok(value)),
                Ok(None) => (self.wait)(&Wait::socket(source.clone(), interest)),
                Err(error) => return Ok(Err(error)),
            }
        }
        match unless_again(attempt()) {
            Ok(Some(value)) => Ok(Ok(value)),
            Ok(None) if source.ready(interest).any() => Err(format!("{what}: ready, and still Again")),
            Ok(None) => Err(format!("{what}: nothing has come")),
            Err(error) => Ok(Err(error)),
        }
    }

    /// The same, of what must not fail.
    fn get<T>(
        &self,
        what: &str,
        source: &Arc<dyn Source>,
        interest: Interest,
        attempt: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, String> {
        self.outcome(what, source, interest, attempt)?.at(what)
    }

    /// Waits until it is ready.
    fn ready(&self, what: &str, source: &Arc<dyn Source>, interest: Interest) -> Outcome {
        let now = || if source.ready(interest).any() { Ok(()) } else { Err(Errno::Again) };
        self.get(what, source, interest, now)
    }
}

/// `None`: not now.
fn unless_again<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::Again) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whatever can be waited for.
fn source<S: ?Sized + AsSource>(socket: &Arc<S>) -> Arc<dyn Source> {
    S::source(socket.clone())
}

trait AsSource {
    fn source(this: Arc<Self>) -> Arc<dyn Source>;
}

impl AsSource for dyn TcpStream {
    fn source(this: Arc<Self>) -> Arc<dyn Source> {
        this
    }
}

impl AsSource for dyn TcpListener {
    fn source(this: Arc<Self>) -> Arc<dyn Source> {
        this
    }
}

impl AsSource for dyn UdpSocket {
    fn source(this: Arc<Self>) -> Arc<dyn Source> {
        this
    }
}

type Stream = Arc<dyn TcpStream>;

fn listen(world: &NetWorld<'_>, at: SocketAddr) -> Result<Arc<dyn TcpListener>, String> {
    world.net.listen(at, 16).at("listen")
}

fn connect(world: &NetWorld<'_>, to: SocketAddr) -> Result<Stream, String> {
    let stream = world.net.connect(to).at("connect")?;
    connected(world, &stream)?;
    Ok(stream)
}

fn connected(world: &NetWorld<'_>, stream: &Stream) -> Outcome {
    world.get("connected", &source(stream), Interest::Write, || stream.connected())
}

fn accept(world: &NetWorld<'_>, listener: &Arc<dyn TcpListener>) -> Result<Stream, String> {
    let (stream, from) = world.get("accept", &source(listener), Interest::Read, || listener.accept())?;
    same!(stream.peer(), from, "whom accept names");
    Ok(stream)
}

/// A client and a server that are connected.
fn pair(world: &NetWorld<'_>) -> Result<(Stream, Stream), String> {
    let listener = listen(world, LOCAL)?;
    let client = connect(world, listener.local())?;
    let server = accept(world, &listener)?;
    Ok((client, server))
}

fn write_all(world: &NetWorld<'_>, stream: &Stream, mut data: &[u8]) -> Outcome {
    while !data.is_empty() {
        let took = world.get("write", &source(stream), Interest::Write, || stream.write(data))?;
        holds!((1..=data.len()).contains(&took), "a write of {} bytes took {took}", data.len());
        data = &data[took..];
    }
    Ok(())
}

fn read(world: &NetWorld<'_>, stream: &Stream, buf: &mut [u8]) -> Result<Result<usize, Errno>, String> {
    let length = buf.len();
    let read = world.outcome("read", &source(stream), Interest::Read, || stream.read(buf))?;
    holds!(read.is_err() || read.is_ok_and(|read| read <= length), "read {read:?} into {length} bytes");
    Ok(read)
}

fn read_exact(world: &NetWorld<'_>, stream: &Stream, length: usize) -> Result<Vec<u8>, String> {
    let mut data = vec![0; length];
    let mut got = 0;
    while got < length {
        let read = read(world, stream, &mut data[got..])?.at("read")?;
        holds!(read > 0, "the end after {got} of {length} bytes");
        got += read;
    }
    Ok(data)
}

fn read_to_end(world: &NetWorld<'_>, stream: &Stream) -> Result<Vec<u8>, String> {
    let mut data = Vec::new();
    let mut buf = [0; 1000];
    loop {
        match read(world, stream, &mut buf)?.at("read")? {
            0 => return Ok(data),
            read => data.extend_from_slice(&buf[..read]),
        }
        holds!(data.len() <= 16 << 20, "no end after 16 MiB");
    }
}

/// Writes `data` at one end and reads it at the other, more than what fits between them.
fn carry(world: &NetWorld<'_>, from: &Stream, to: &Stream, data: &[u8]) -> Outcome {
    let mut buf = vec![0; 8 << 10];
    let (mut sent, mut got, mut fruitless) = (0, 0, 0);
    while got < data.len() {
        let before = (sent, got);
        if sent < data.len() {
            sent += unless_again(from.write(&data[sent..])).at("write")?.unwrap_or(0);
        }
        if let Some(read) = unless_again(to.read(&mut buf)).at("read")? {
            holds!(read > 0, "the end after {got} bytes");
            holds!(data.get(got..got + read) == Some(&buf[..read]), "bytes from {got} are others");
            got += read;
        }
        fruitless = if before == (sent, got) { fruitless + 1 } else { 0 };
        holds!(fruitless <= PATIENCE, "nothing moves after {sent} bytes sent and {got} read");
        if fruitless > 0 {
            let mut sockets = vec![(source(to), Interest::Read)];
            if sent < data.len() {
                sockets.push((source(from), Interest::Write));
            }
            (world.wait)(&Wait { sockets, ..Wait::default() });
        }
    }
    Ok(())
}

fn send(world: &NetWorld<'_>, socket: &Arc<dyn UdpSocket>, data: &[u8], to: SocketAddr) -> Outcome {
    world.get("send_to", &source(socket), Interest::Write, || socket.send_to(data, to))
}

fn receive(
    world: &NetWorld<'_>,
    socket: &Arc<dyn UdpSocket>,
    buf: &mut [u8],
) -> Result<(usize, usize, SocketAddr), String> {
    world.get("recv_from", &source(socket), Interest::Read, || socket.recv_from(buf))
}

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Count {
    fn any(&self) -> bool {
        self.0.load(Relaxed) > 0
    }
}

fn woken_by(source: &dyn Source, interest: Interest) -> Arc<Count> {
    let count = Arc::<Count>::default();
    source.register(interest, &Waker::from(count.clone()));
    count
}

/// Lets the world go on, by talk on `other`, until `done`. A host may learn what came only while it waits.
fn elapse(world: &NetWorld<'_>, other: &(Stream, Stream), what: &str, done: impl Fn() -> bool) -> Outcome {
    for _ in 0..100 {
        if done() {
            return Ok(());
        }
        talk(world, other)?;
    }
    if done() { Ok(()) } else { Err(format!("{what} was not woken")) }
}

/// There and back, while all else goes on.
fn talk(world: &NetWorld<'_>, (one, two): &(Stream, Stream)) -> Outcome {
    for (from, to) in [(one, two), (two, one)] {
        write_all(world, from, b"?")?;
        (world.wait)(&Wait::socket(source(to), Interest::Read));
        read_exact(world, to, 1)?;
    }
    Ok(())
}

/// Bytes that say where they belong.
fn fill(buf: &mut [u8], at: usize) {
    for (n, byte) in buf.iter_mut().enumerate() {
        *byte = byte_at(at + n);
    }
}

fn is_filled(buf: &[u8], at: usize) -> bool {
    buf.iter().enumerate().all(|(n, byte)| *byte == byte_at(at + n))
}

/// Another at the same place of each KiB and page, unlike a counter's.
fn byte_at(at: usize) -> u8 {
    (at ^ (at >> 8).wrapping_mul(31) ^ (at >> 16).wrapping_mul(7)) as u8
}

/// Numbers that are always the same.
struct Numbers(u32);

impl Numbers {
    /// 1 to `most`, more often small than large.
    fn upto(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let number = (self.0 >> 8) as usize;
        let most = if number & 1 == 0 { most } else { most.min(700) };
        1 + (number >> 1) % most.max(1)
    }
}
