//! Clients of the servers' stories: a plain one, and many at once, some of whom mean no good. Each says what went
//! wrong, and none tries twice.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

/// QEMU's user network takes connections from a queue of one; who finds it full tries again after a second, and may be
/// reset. So those who come as a crowd come in through this door, one by one.
static DOOR: Mutex<()> = Mutex::new(());
/// So many may come at once without it.
pub(crate) const AT_ONCE: usize = 2;

/// No answer comes so late on a machine that works.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The server's pattern: 0 to 250, and again.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Bytes from a seed (not 0), without a pattern.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
    }
}

/// An HTTP client on one connection.
pub(crate) struct Http {
    pub(crate) stream: TcpStream,
    inbox: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The status line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim()).next()
    }
}

impl Http {
    pub(crate) fn new(to: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: connect(to)?, inbox: Vec::new() })
    }

    /// One of many: connected, and answered once.
    pub(crate) fn one_of_many(to: SocketAddr) -> io::Result<Self> {
        let _door = DOOR.lock().unwrap_or_else(PoisonError::into_inner);
        let mut client = Self::new(to)?;
        match client.get("/bytes/0")?.status {
            200 => Ok(client),
            status => Err(wrong(format!("status {status}"))),
        }
    }

    /// Asks for a path, and waits for the answer.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.say(get(path))?;
        self.reply()
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Reply> {
        let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
        self.say([head.as_bytes(), body].concat())?;
        self.reply()
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        self.reply_to(true)
    }

    /// The next answer; to a HEAD request, which has no body.
    pub(crate) fn reply_to_head(&mut self) -> io::Result<Reply> {
        self.reply_to(false)
    }

    fn reply_to(&mut self, with_body: bool) -> io::Result<Reply> {
        let end = self.find(b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&self.take(end)?).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| wrong(format!("not an answer: {head:?}")))?;
        let mut reply = Reply { status, head, body: Vec::new() };
        if !with_body || status < 200 || status == 204 {
            return Ok(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let end = self.find(b"\r\n")?;
                let line = String::from_utf8_lossy(&self.take(end)?).into_owned();
                let size = usize::from_str_radix(line.trim_end(), 16);
                let size = size.map_err(|e| wrong(format!("a chunk of {line:?}: {e}")))?;
                let chunk = self.take(size + 2)?;
                if !chunk.ends_with(b"\r\n") {
                    return Err(wrong("a chunk without its end".into()));
                }
                if size == 0 {
                    return Ok(reply);
                }
                reply.body.extend_from_slice(&chunk[..size]);
            }
        }
        let length = reply.header("content-length").and_then(|length| length.parse().ok());
        reply.body = self.take(length.ok_or_else(|| wrong(format!("no length: {:?}", reply.head)))?)?;
        Ok(reply)
    }

    /// The connection's end, and nothing before it.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        match self.fill() {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof && self.inbox.is_empty() => Ok(()),
            Err(e) => Err(e),
            Ok(()) => Err(wrong(format!("{} bytes instead of the end", self.inbox.len()))),
        }
    }

    fn find(&mut self, what: &[u8]) -> io::Result<usize> {
        let mut from = 0;
        loop {
            if let Some(at) = self.inbox[from..].windows(what.len()).position(|window| window == what) {
                return Ok(from + at + what.len());
            }
            from = self.inbox.len().saturating_sub(what.len() - 1);
            self.fill()?;
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.inbox.len() < length {
            self.fill()?;
        }
        let rest = self.inbox.split_off(length);
        Ok(std::mem::replace(&mut self.inbox, rest))
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 * 1024];
        let length = self.stream.read(&mut buffer)?;
        if length == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection ended"));
        }
        self.inbox.extend_from_slice(&buffer[..length]);
        Ok(())
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

fn wrong(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// So many clients at once, until `count` things are done in all. `begin` makes a client, `act` has it do the next.
fn crowd<T>(
    clients: usize,
    count: usize,
    begin: impl Fn() -> io::Result<T> + Sync,
    act: impl Fn(&mut T, usize) -> io::Result<()> + Sync,
) -> Result<Duration, String> {
    let begun = Instant::now();
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut number = None;
                let mut live = || {
                    let mut client = begin()?;
                    loop {
                        let now = next.fetch_add(1, Ordering::Relaxed);
                        if now >= count {
                            return Ok(());
                        }
                        number = Some(now);
                        act(&mut client, now)?;
                    }
                };
                if let Err::<(), io::Error>(e) = live() {
                    // The others need not go on.
                    next.store(count, Ordering::Relaxed);
                    let what =
                        number.map_or_else(|| "connecting".into(), |n| format!("number {n} of {count}"));
                    failure.lock().expect("no panic").get_or_insert(format!("{what}: {e} ({:?})", e.kind()));
                }
            });
        }
    });
    match failure.into_inner().expect("no panic") {
        Some(failure) => Err(failure),
        None => Ok(begun.elapsed()),
    }
}

/// One request, of several kinds, and is the answer right?
fn ask(client: &mut Http, number: usize) -> io::Result<()> {
    const LENGTHS: [usize; 5] = [0, 17, 250, 1000, 4000];
    let length = LENGTHS[number % LENGTHS.len()];
    let reply = match number % 16 {
        7 => client.post("/echo", &pattern(length))?,
        _ => client.get(&format!("/bytes/{length}"))?,
    };
    if reply.status != 200 || reply.body != pattern(length) {
        return Err(wrong(format!("{length} bytes were asked for, the answer: {}", reply.head)));
    }
    Ok(())
}

/// So many requests over so many connections that stay. How long it took.
pub(crate) fn load(to: SocketAddr, connections: usize, requests: usize) -> Result<Duration, String> {
    crowd(connections, requests, || Http::one_of_many(to), ask)
}

/// So many connections, a few at once, with one request each.
pub(crate) fn fresh(to: SocketAddr, connections: usize) -> Result<Duration, String> {
    crowd(
        AT_ONCE,
        connections,
        || Ok(()),
        |(), number| {
            let mut client = Http::new(to)?;
            client.say(format!(
                "GET /bytes/{} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
                number % 100
            ))?;
            let reply = client.reply()?;
            if reply.body != pattern(number % 100) {
                return Err(wrong(format!("the answer: {}", reply.head)));
            }
            client.end()
        },
    )
}

/// So many clients, a few at once, that go away in the middle: of a head, a body, an answer, a wait; with a reset, or as
/// a process that ends. All but a few have been answered once before.
pub(crate) fn aborted(to: SocketAddr, connections: usize) -> Result<Duration, String> {
    crowd(
        AT_ONCE,
        connections,
        || Ok(()),
        |(), number| {
            let mut client = if number % 50 == 0 { Http::new(to) } else { Http::one_of_many(to) }?;
            match number / 2 % 8 {
                0 => {}
                1 => client.say("GET /bytes/1000 HT")?,
                2 => client.say(format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}", "x".repeat(3000)))?,
                3 => {
                    let head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 9999\r\n\r\n";
                    client.say([head.as_bytes(), &[7; 5000]].concat())?;
                }
                4 => {
                    client.say(
                        "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nx",
                    )?;
                }
                5 => {
                    client.say(get("/bytes/1000000"))?;
                    client.stream.read_exact(&mut [0; 2000])?;
                }
                6 => client.say(get("/slow?ms=30"))?,
                _ => client.say(get("/bytes/3000").repeat(10))?,
            }
            if number % 2 == 0 { reset(client.stream) } else { Ok(()) }
        },
    )
}

/// Ends a connection by a reset, at once.
pub(crate) fn reset(stream: TcpStream) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?)
}

/// A connection that one byte went through, there and back.
fn one_of_many(to: SocketAddr) -> io::Result<TcpStream> {
    let _door = DOOR.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stream = connect(to)?;
    stream.write_all(b"!")?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

/// Sends so many bytes through an echo, then its end: is what comes back the same, and ends too?
pub(crate) fn echo(to: SocketAddr, length: usize, seed: u64) -> Result<Duration, String> {
    let begun = Instant::now();
    let failed = |what: &str, e: io::Error| format!("{what}: {e} ({:?})", e.kind());
    let mut stream = one_of_many(to).map_err(|e| failed("connecting", e))?;
    let mut sender = stream.try_clone().map_err(|e| failed("cloning", e))?;
    let sent = thread::spawn(move || {
        let (mut noise, mut hash) = (Noise(seed), Sha256::new());
        let mut buffer = vec![0; 64 * 1024];
        let mut left = length;
        while left > 0 {
            let piece = &mut buffer[..left.min(64 * 1024)];
            noise.fill(piece);
            hash.update(&*piece);
            sender.write_all(piece)?;
            left -= piece.len();
        }
        sender.shutdown(Shutdown::Write)?;
        Ok(hash.finalize())
    });
    let (mut hash, mut back) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer).map_err(|e| failed(&format!("after {back} bytes"), e))? {
            0 => break,
            length => {
                hash.update(&buffer[..length]);
                back += length;
            }
        }
    }
    let sent = sent.join().expect("the sender").map_err(|e| failed("sending", e))?;
    match (back == length, hash.finalize() == sent) {
        (true, true) => Ok(begun.elapsed()),
        (true, false) => Err(format!("{length} bytes came back, but not the same")),
        _ => Err(format!("{back} of {length} bytes came back")),
    }
}

/// Connections that have asked once and stay silent from then on.
pub(crate) fn idle(to: SocketAddr, count: usize) -> Result<Vec<Http>, String> {
    let mut clients = Vec::new();
    for number in 0..count {
        let mut client = Http::new(to).map_err(|e| format!("connection {number}: {e}"))?;
        ask(&mut client, number).map_err(|e| format!("connection {number}: {e}"))?;
        clients.push(client);
    }
    Ok(clients)
}
