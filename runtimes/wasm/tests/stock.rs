//! Servers as their toolchains make them: by hand, by clang with wasi-libc, by rustc with std. Each is run by the engine,
//! with the other end of its connections in the test's hand.

#[path = "stock/build.rs"]
mod build;
#[path = "wasi_guest/net.rs"]
mod net;

use std::sync::Arc;

use lunette_hostcalls::{Ending, Errno, Guest as _, MountId, Step, Wait, fake::FakeWorld};
use lunette_wasm::{Instance, Limits};
use net::{Connection, Listener};

struct Server {
    guest: Instance,
    world: FakeWorld,
    listener: Arc<Listener>,
}

impl Server {
    fn start(module: &[u8], limits: Limits) -> Self {
        let world = FakeWorld::new(1);
        world.files.insert_file(MountId::ROOT, "etc/motd", b"hello", 0).unwrap();
        let listener = Listener::new();
        let mut ctx = world.ctx(&["server"], &[("LISTEN_FDS", "1")]);
        listener.grant(&mut ctx);
        Self { guest: lunette_wasm::start(module, ctx, limits).unwrap(), world, listener }
    }

    /// Until it waits for something. (To give way is nothing.)
    #[track_caller]
    fn run(&mut self) -> Wait {
        loop {
            match self.guest.step() {
                Step::Wait(wait) if wait == Wait::GIVE_WAY => {}
                Step::Wait(wait) => return wait,
                Step::Ended(ending) => panic!("{ending:?}: {}", self.words()),
            }
        }
    }

    #[track_caller]
    fn finish(&mut self) -> Ending {
        loop {
            match self.guest.step() {
                Step::Wait(wait) if wait == Wait::GIVE_WAY => {}
                Step::Wait(wait) => panic!("waits for {wait:?}: {}", self.words()),
                Step::Ended(ending) => return ending,
            }
        }
    }

    fn words(&self) -> String {
        String::from_utf8_lossy(&[self.world.stdio.stdout(), self.world.stdio.stderr()].concat()).into_owned()
    }

    /// A peer connects, and the server goes on until it waits for it.
    #[track_caller]
    fn connect(&mut self) -> Arc<Connection> {
        let connection = self.listener.connect();
        self.run();
        connection
    }
}

#[test]
fn a_loop_in_wat_serves_one_after_the_other() {
    let module = wat::parse_str(include_str!("stock/loop.wat")).unwrap();
    for limits in [Limits::default(), Limits { slices: true, ..Limits::default() }] {
        let mut server = Server::start(&module, limits);
        assert_eq!(server.run().sockets.len(), 1);
        for round in 0..100 {
            let connection = server.connect();
            for text in ["one", "two", "three"] {
                connection.send(text.as_bytes());
                server.run();
                assert_eq!(connection.written(), text.as_bytes(), "{round}");
            }
            connection.room(5).send(&[b'.'; 300]);
            server.run();
            connection.room(usize::MAX);
            server.run();
            assert_eq!(connection.written(), [b'.'; 300]);
            connection.end();
            server.run();
            assert!(connection.is_closed());
        }
        server.listener.cancel();
        assert_eq!(server.finish(), Ending::Exited(Errno::Canceled.code().into()));
    }
}

#[test]
fn a_guest_s_end_closes_its_sockets() {
    let module = wat::parse_str(include_str!("stock/loop.wat")).unwrap();
    for (limits, end) in [
        (
            Limits { time: Some(1000), ..Limits::default() },
            Some(Ending::Stopped(lunette_hostcalls::Limit::Time)),
        ),
        (Limits::default(), None),
    ] {
        let mut server = Server::start(&module, limits);
        server.run();
        let (served, waiting) = (server.connect(), server.listener.connect());
        assert!(!served.is_closed());
        let listener = server.listener.clone();
        server.world.clock.advance(1000);
        if let Some(end) = end {
            assert_eq!(server.guest.step(), Step::Ended(end));
            // The guest is kept: its backtrace can still be asked for.
            assert_eq!(server.guest.backtrace()[0].to_string(), "serve");
            assert!(served.is_closed(), "by its end");
            assert_eq!(Arc::strong_count(&listener), 2, "the test's own");
        }
        drop(server);
        assert!(served.is_closed());
        assert_eq!(Arc::strong_count(&listener), 1);
        drop(waiting);
    }
}

#[test]
fn a_server_in_c_finds_files_and_sockets() {
    let Some(module) = build::clang("tests/stock/server.c") else { return };
    let mut server = Server::start(&module, Limits::default());
    server.run();
    let connection = server.connect();
    connection.send(b"ab");
    server.run();
    connection.send(b"cdef");
    server.run();
    assert_eq!(connection.written(), b"answer");
    connection.end();
    assert_eq!(server.run().sockets.len(), 1, "{}", server.words());
    assert_eq!(connection.state().shut, [lunette_hostcalls::Shutdown::Write]);
    assert!(connection.is_closed());
    // Many at once, in any order.
    let connections: Vec<_> = (0..50).map(|_| server.connect()).collect();
    assert_eq!(server.run().sockets.len(), 51);
    for (n, connection) in connections.iter().enumerate().rev() {
        connection.send(format!("{n} sends more than eight bytes").as_bytes());
    }
    server.run();
    for (n, connection) in connections.iter().enumerate() {
        assert_eq!(connection.written(), format!("{n} sends more than eight bytes").as_bytes());
        connection.end();
    }
    assert_eq!(server.finish(), Ending::Exited(0), "{}", server.words());
    assert_eq!(server.words(), "served\n");
    assert!(connections.iter().all(Connection::is_closed));
}

#[test]
fn a_server_in_rust_finds_files_and_sockets() {
    let Some(module) = build::rustc("tests/stock/server.rs") else { return };
    let mut server = Server::start(&module, Limits::default());
    server.run();
    let connection = server.connect();
    connection.send(b"GET / HTTP/1.0\r\nHost:").room(1000);
    server.run();
    connection.send(b" x\r\n\r\n");
    server.run();
    for _ in 0..3 {
        connection.room(20_000);
        server.run();
    }
    connection.room(usize::MAX);
    server.run();
    assert_eq!(connection.written().len(), 100_019);
    assert!(connection.is_closed(), "{}", server.words());

    let connection = server.connect();
    for _ in 0..4 {
        connection.send(&[b'x'; 25_000]);
        server.run();
    }
    connection.end();
    server.run();
    assert!(connection.is_closed());

    let connection = server.connect();
    connection.reset();
    server.run();
    server.listener.cancel();
    assert_eq!(server.finish(), Ending::Exited(0), "{}", server.words());
    assert!(server.words().starts_with("served; "), "{}", server.words());
}
