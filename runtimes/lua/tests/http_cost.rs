//! What a request costs: `cargo test --release -p lunette-lua --test tests http_cost -- --ignored --nocapture`, under
//! `perf stat -e instructions:u` for a number that is the same each time.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Instant,
};

use crate::world::Stage;
use lunette_hostcalls::{
    Errno, Interest, Listening, Nanos, Ready, Shutdown, Source, TcpListener, TcpStream, task::replace_waker,
};

/// A client that sends its next request once it has the answer to the last.
struct Asker {
    left: AtomicUsize,
    ready: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 10.0.2.15\r\n\r\n";

impl Source for Asker {
    fn ready(&self, _: Interest) -> Ready {
        Ready { bytes: self.ready.load(Relaxed) as u64, hangup: false }
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        if interest == Interest::Read {
            drop(replace_waker(&mut self.waker.lock().expect("one thread"), waker));
        }
    }
}

impl TcpStream for Asker {
    fn connected(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        let took = self.peek(buf)?;
        self.ready.store(0, Relaxed);
        Ok(took)
    }

    fn peek(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        if self.ready.load(Relaxed) == 0 {
            return if self.left.load(Relaxed) == 0 { Ok(0) } else { Err(Errno::Again) };
        }
        let took = REQUEST.len().min(buf.len());
        buf[..took].copy_from_slice(&REQUEST[..took]);
        Ok(took)
    }

    fn write(&self, buf: &[u8]) -> Result<usize, Errno> {
        assert!(buf.ends_with(b"Hello, world!"), "{}", String::from_utf8_lossy(buf));
        let left = self.left.load(Relaxed);
        self.left.store(left - 1, Relaxed);
        self.ready.store(usize::from(left > 1), Relaxed);
        if let Some(waker) = self.waker.lock().expect("one thread").take() {
            waker.wake();
        }
        Ok(buf.len())
    }

    fn shutdown(&self, _: Shutdown) -> Result<(), Errno> {
        Ok(())
    }

    fn local(&self) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 80))
    }

    fn peer(&self) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 2], 5000))
    }

    fn set_nodelay(&self, _: bool) {}

    fn set_keep_alive(&self, _: Option<Nanos>) {}

    fn abort(&self) {}
}

/// Has it, once.
struct Door(Arc<Asker>, AtomicBool);

impl Source for Door {
    fn ready(&self, _: Interest) -> Ready {
        Ready { bytes: u64::from(!self.1.load(Relaxed)), hangup: false }
    }

    fn register(&self, _: Interest, _: &Waker) {}
}

impl TcpListener for Door {
    fn accept(&self) -> Result<(Arc<dyn TcpStream>, SocketAddr), Errno> {
        match self.1.swap(true, Relaxed) {
            true => Err(Errno::Again),
            false => Ok((self.0.clone(), self.0.peer())),
        }
    }

    fn local(&self) -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], 80))
    }
}

#[test]
#[ignore = "measures"]
fn a_hello_costs_little() {
    let times: usize = std::env::var("TIMES").map_or(100_000, |times| times.parse().expect("a number"));
    let script = "require('http').serve { handler = function(req) return 'Hello, world!' end }";
    let stage = Stage::new();
    let asker = Arc::new(Asker { left: times.into(), ready: 1.into(), waker: Mutex::default() });
    let mut ctx = stage.ctx();
    let socket = Arc::new(Door(asker.clone(), AtomicBool::new(false)));
    ctx.listeners.push(Listening { name: "80".into(), socket });
    let mut script = lunette_lua::start("test.lua", script.as_bytes(), ctx, stage.time(), stage.limits)
        .unwrap_or_else(|problem| panic!("{problem}"));
    let mut run = std::pin::pin!(script.run());
    let before = Instant::now();
    while asker.left.load(Relaxed) > 0 {
        assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    println!("{} ns a request", before.elapsed().as_nanos() / times as u128);
}
