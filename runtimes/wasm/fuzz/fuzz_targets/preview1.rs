//! A guest that means harm, without an engine: any calls of preview 1 with any arguments on any memory, in
//! the fake world, with peers that connect, send and go as they like. Every call is answered; none panics, none takes
//! for ever, and nothing stays open behind it.
#![no_main]

use std::{net::SocketAddr, sync::Arc};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use lunette_hostcalls::{
    Clock, Listening, Net, Shutdown, TcpStream,
    fake::{FakeNet, FakeWorld, Weather},
};
use lunette_wasm::wasi::{FUNCTIONS, Stop, Wasi};

/// One page, as the smallest guest has.
const MEMORY: usize = 65536;
/// More calls find nothing that fewer did not.
const STEPS: usize = 64;

#[derive(Arbitrary, Debug)]
struct Input {
    /// At the beginning of memory: paths, iovecs and subscriptions for pointers to find.
    memory: Vec<u8>,
    stdin: Vec<u8>,
    /// How many bytes a connection holds.
    window: u16,
    /// Connections that the guest has accepted before its first call: descriptors 5 and up.
    accepted: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Call(u8, [Word; 9]),
    /// The same for a function that has to do with sockets.
    Socket(u8, [Word; 9]),
    Peer(Peer),
}

/// What a peer does, or happens to it; the number says which.
#[derive(Arbitrary, Debug)]
enum Peer {
    Connect,
    Send(u8, Vec<u8>),
    Read(u8),
    End(u8),
    Abort(u8),
    Go(u8),
    Stop,
}

const SOCKETS: [&str; 10] = [
    "fd_close",
    "fd_fdstat_set_flags",
    "fd_read",
    "fd_renumber",
    "fd_write",
    "poll_oneoff",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// Most random numbers are pointers to nowhere; most of these are not.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Word {
    Small(u8),
    Pointer(u16),
    Negative(u8),
    Any(u64),
}

impl Word {
    fn value(self) -> u64 {
        match self {
            Self::Small(n) => n.into(),
            Self::Pointer(n) => u64::from(n) & !7,
            Self::Negative(n) => !u64::from(n),
            Self::Any(n) => n,
        }
    }
}

struct Peers {
    at: SocketAddr,
    net: FakeNet,
    streams: Vec<Arc<dyn TcpStream>>,
}

impl Peers {
    fn act(&mut self, peer: Peer) {
        let which = |n: u8| usize::from(n) % self.streams.len().max(1);
        match peer {
            Peer::Connect => self.streams.extend(self.net.connect(self.at)),
            Peer::Stop => self.net.close_listeners(),
            Peer::Go(n) if !self.streams.is_empty() => drop(self.streams.remove(which(n))),
            Peer::Send(n, _) | Peer::Read(n) | Peer::End(n) | Peer::Abort(n) | Peer::Go(n) => {
                let Some(stream) = self.streams.get(which(n)) else { return };
                let _ = match peer {
                    Peer::Send(_, bytes) => stream.write(&bytes).map(drop),
                    Peer::Read(_) => stream.read(&mut [0; 100]).map(drop),
                    Peer::End(_) => stream.shutdown(Shutdown::Write),
                    _ => Ok(stream.abort()),
                };
            }
        }
    }
}

fuzz_target!(|input: Input| {
    let world = FakeWorld::with_tmp(1, Some(1 << 20));
    world.stdio.feed(&input.stdin).close();
    world.net.set_weather(Weather { window: usize::from(input.window) + 1, latency: 1, ..Weather::CALM });
    let at = "10.0.2.15:7".parse().expect("an address");
    let mut ctx = world.ctx(&["fuzz", "two"], &[("NAME", "value")]);
    ctx.listeners.push(Listening { name: "7".into(), socket: world.net.listen(at, 8).expect("a free port") });
    let mut peers = Peers { at, net: world.net.clone(), streams: Vec::new() };
    let mut wasi = Wasi::new(ctx);
    let mut memory = vec![0; MEMORY];
    for _ in 0..input.accepted % 4 {
        peers.act(Peer::Connect);
        world.clock.advance(10);
        assert_eq!(wasi.call("sock_accept", &mut memory, &[3, 0, 0]), Some(Ok(())));
    }
    let len = input.memory.len().min(MEMORY);
    memory[..len].copy_from_slice(&input.memory[..len]);

    let mut steps = input.steps.into_iter().take(STEPS).peekable();
    while let Some(step) = steps.next() {
        let (function, words) = match step {
            Step::Peer(peer) => {
                peers.act(peer);
                continue;
            }
            Step::Call(function, words) => (&FUNCTIONS[usize::from(function) % FUNCTIONS.len()], words),
            Step::Socket(function, words) => {
                let name = SOCKETS[usize::from(function) % SOCKETS.len()];
                (FUNCTIONS.iter().find(|function| function.name == name).expect("a function"), words)
            }
        };
        let arguments: Vec<u64> = words[..function.params.len()].iter().map(|word| word.value()).collect();
        // A call that waits is made again once the time has come, or a peer has acted, as an engine does.
        for _ in 0..3 {
            match wasi.call(function.name, &mut memory, &arguments).expect("a function of the list") {
                Err(Stop::Wait(wait)) => {
                    assert!(!wait.is_empty(), "nothing would ever end this wait");
                    world.clock.advance(wait.until.unwrap_or(1).clamp(1, 1 << 40));
                    if let Some(Step::Peer(peer)) = steps.next_if(|next| matches!(next, Step::Peer(_))) {
                        peers.act(peer);
                    }
                }
                // The engine would end the guest; another call finds more.
                Err(Stop::Errno(_) | Stop::Exit(_) | Stop::Trap(_)) | Ok(()) => break,
            }
        }
    }
    drop((wasi, peers));
    while let Some(next) = world.net.next() {
        world.clock.advance(next.saturating_sub(world.clock.monotonic()).max(1));
        world.net.poll();
    }
    assert_eq!(world.net.open(), 0, "all is closed");
});
