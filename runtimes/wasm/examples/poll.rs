//! What `poll_oneoff` costs: `cargo run --release -p lunette-wasm --example poll [SOCKETS [READY [ROUNDS]]]`, under
//! `valgrind --tool=callgrind` with two numbers of rounds for counts. Prints nanoseconds a call, without an engine and
//! with sockets that answer at once: what is left is ours.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    task::Waker,
    time::Instant,
};

use lunette_hostcalls::{
    Errno, Interest, Listening, Nanos, Ready, Shutdown, Source, TcpListener, TcpStream, fake::FakeWorld,
};
use lunette_wasm::{
    memory::GuestMemory,
    wasi::{Stop, Wasi},
};

/// Always, or never, ready to be read; as a listener it has one connection after the other.
struct Socket(Ready);

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

impl Source for Socket {
    fn ready(&self, _: Interest) -> Ready {
        self.0
    }

    fn register(&self, _: Interest, _: &Waker) {}
}

impl TcpStream for Socket {
    fn connected(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn read(&self, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::Again)
    }

    fn peek(&self, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::Again)
    }

    fn write(&self, buf: &[u8]) -> Result<usize, Errno> {
        Ok(buf.len())
    }

    fn shutdown(&self, _: Shutdown) -> Result<(), Errno> {
        Ok(())
    }

    fn local(&self) -> SocketAddr {
        HERE
    }

    fn peer(&self) -> SocketAddr {
        HERE
    }

    fn set_nodelay(&self, _: bool) {}

    fn set_keep_alive(&self, _: Option<Nanos>) {}

    fn abort(&self) {}
}

/// Takes in sockets of which so many are ready.
struct Listener(std::sync::atomic::AtomicUsize);

impl Source for Listener {
    fn ready(&self, _: Interest) -> Ready {
        Ready::default()
    }

    fn register(&self, _: Interest, _: &Waker) {}
}

impl TcpListener for Listener {
    fn accept(&self) -> Result<(Arc<dyn TcpStream>, SocketAddr), Errno> {
        let more = |left: usize| left.checked_sub(1);
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        let ready = self.0.fetch_update(relaxed, relaxed, more).is_ok();
        Ok((Arc::new(Socket(Ready { bytes: u64::from(ready), hangup: false })), HERE))
    }

    fn local(&self) -> SocketAddr {
        HERE
    }
}

fn main() {
    let mut args = env::args().skip(1).map(|arg| arg.parse::<usize>().expect("a number"));
    let sockets = args.next().unwrap_or(64) as u32;
    let ready = args.next().unwrap_or(1);
    let rounds = args.next().unwrap_or(100_000) as u32;

    let mut ctx = FakeWorld::new(1).ctx(&["poll"], &[]);
    ctx.listeners.push(Listening { name: "80".into(), socket: Arc::new(Listener(ready.into())) });
    ctx.preopens.clear();
    let mut wasi = Wasi::new(ctx);
    // Subscriptions from 8 on, events behind them.
    let events = 8 + 48 * sockets;
    let mut bytes = vec![0; (events + 32 * sockets) as usize];
    let memory = &mut GuestMemory::new("poll_oneoff", &mut bytes);
    for n in 0..sockets {
        wasi.sock_accept(memory, 3, 0, 0).expect("one more");
        let fd = memory.read_u32(0).expect("a number");
        memory.write_u8(8 + 48 * n + 8, 1).expect("in range");
        memory.write_u32(8 + 48 * n + 16, fd).expect("in range");
    }
    let (mut waits, began) = (0_u32, Instant::now());
    for _ in 0..rounds {
        match wasi.poll_oneoff(memory, 8, events, sockets, 0) {
            Ok(()) => {}
            Err(Stop::Wait(_)) => waits += 1,
            Err(stop) => panic!("{stop:?}"),
        }
    }
    let each = began.elapsed().as_nanos() / u128::from(rounds.max(1));
    println!("{sockets} sockets, {ready} ready: {each} ns a poll, {waits} of {rounds} gave way or waited");
}
