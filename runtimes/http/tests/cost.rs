//! What a request costs beside its handler: `cargo test --release -p lunette-http --test tests cost -- --ignored --nocapture`.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Instant,
};

use crate::stage::Stage;
use http::Response;
use lunette_hostcalls::{
    Errno, Interest, Nanos, Ready, Shutdown, Source, TcpStream,
    task::{Local, replace_waker},
};
use lunette_http::{
    Body, Stream,
    server::{Settings, serve},
};

/// A client that sends its next request once it has the answer to the last.
struct Asker {
    request: &'static [u8],
    left: AtomicUsize,
    ready: AtomicUsize,
    wrote: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Source for Asker {
    fn ready(&self, _: Interest) -> Ready {
        Ready { bytes: self.ready.load(Relaxed) as u64, hangup: false }
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        if interest == Interest::Read {
            drop(replace_waker(&mut self.waker.lock().unwrap(), waker));
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
        let took = self.request.len().min(buf.len());
        buf[..took].copy_from_slice(&self.request[..took]);
        Ok(took)
    }

    fn write(&self, buf: &[u8]) -> Result<usize, Errno> {
        self.wrote.fetch_add(1, Relaxed);
        assert!(buf.ends_with(b"Hello, world!"), "{}", String::from_utf8_lossy(buf));
        let left = self.left.load(Relaxed);
        self.left.store(left - 1, Relaxed);
        self.ready.store(usize::from(left > 1), Relaxed);
        if let Some(waker) = self.waker.lock().unwrap().take() {
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

fn ask(request: &'static [u8], times: usize) -> (Arc<Asker>, std::time::Duration) {
    let asker = Arc::new(Asker {
        request,
        left: AtomicUsize::new(times),
        ready: AtomicUsize::new(1),
        wrote: AtomicUsize::new(0),
        waker: Mutex::default(),
    });
    let stage = Stage::new();
    let (time, stream, calls) = (stage.time.clone(), Stream::plain(asker.clone()), Rc::new(Cell::new(0)));
    let mut local = Local::default();
    let (spawner, count) = (local.spawner().clone(), calls.clone());
    local.spawner().spawn(async move {
        let service = move |_| {
            count.set(count.get() + 1);
            let mut response = Response::new(Body::full(&b"Hello, world!"[..]));
            response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
            async move { response }
        };
        serve(stream, &Settings::default(), &time, &spawner, service).await.unwrap();
    });
    let before = Instant::now();
    while local.poll(&Context::from_waker(Waker::noop())).is_pending() {}
    assert_eq!(calls.get(), times);
    (asker, before.elapsed())
}

const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: 10.0.2.15\r\n\r\n";

/// What browsers send.
const USUAL: &[u8] = b"GET /hello/world?name=value HTTP/1.1\r\nHost: 10.0.2.15\r\nUser-Agent: Mozilla/5.0 (X11; Linux \
    x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*\
    ;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: \
    keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nPriority: u=0, i\r\n\r\n";

#[test]
fn head_and_body_go_in_one_write() {
    let (asker, _) = ask(USUAL, 10);
    assert_eq!(asker.wrote.load(Relaxed), 10);
}

#[test]
#[ignore = "measures"]
fn a_hello_costs_little() {
    // Fewer, where instructions are counted.
    let times = std::env::var("TIMES").map_or(200_000, |times| times.parse().unwrap());
    for (name, request) in [("small", SMALL), ("usual", USUAL)] {
        let best = (0..10).map(|_| ask(request, times).1).min().unwrap();
        println!("{name}: {} ns a request", best.as_nanos() / times as u128);
    }
}
