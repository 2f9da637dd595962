//! How fast a Lua service answers, beside nginx with its Lua module in a Debian guest under the same QEMU flags, and
//! beside the same service under `--host`, in the same run; and how any HTTP server is asked.
//!
//! They take turns, round after round, and the best round of each counts. A round asks over so many connections for a
//! spell, and checks every answer: one that is wrong fails the figure, for a fast error is no speed.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    Figure, boot,
    net::{beside, free_port, served},
    nginx,
    vm::{Bench, Vm},
};
use crate::sh::{Result, command, root, target};

pub(super) const ROUNDS: usize = 3;
const SPELL: Duration = Duration::from_secs(3);
/// Connections at once that are kept; each has a thread here.
const KEPT: usize = 32;
/// And that are closed after each answer: QEMU's user network has a backlog of one, so more would measure that.
const CLOSED: usize = 2;
/// How long a server may take to answer for the first time.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
const TIMEOUT: Duration = Duration::from_secs(20);

/// One figure: its name, its path, what must be answered, and whether connections are kept.
pub(super) struct Take {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) kept: bool,
}

const TAKES: [Take; 4] = [
    Take { name: "http.lua_hello", path: "/hello", kept: true },
    Take { name: "http.lua_hello_closing", path: "/hello", kept: false },
    Take { name: "http.lua_json", path: "/json?name=moon", kept: true },
    Take { name: "http.static_64k", path: "/static/64k", kept: true },
];

/// The file that is served: 64 KiB that do not compress well.
pub(super) fn file() -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..64 << 10).map(next).collect()
}

/// The service: tests/guests/lua-bench with the file in it.
fn service() -> Result<PathBuf> {
    let (from, to) = (root().join("tests/guests/lua-bench"), target().join("lua-bench"));
    fs::create_dir_all(to.join("www/static"))?;
    for name in ["lunette.toml", "main.lua"] {
        fs::copy(from.join(name), to.join(name))?;
    }
    fs::write(to.join("www/static/64k"), file())?;
    Ok(to)
}

/// Who answers.
struct Served {
    suffix: &'static str,
    port: u16,
    best: [Option<Spell>; TAKES.len()],
    _runs: Runs,
}

/// A server, which ends when it is dropped.
pub(super) enum Runs {
    Vm { _vm: Vm },
    Process(Child),
}

impl Drop for Runs {
    fn drop(&mut self) {
        if let Self::Process(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a spell of requests came to.
#[derive(Clone, Copy)]
pub(super) struct Spell {
    pub(super) per_second: f64,
    p99: Duration,
}

impl Spell {
    /// Takes the place of a best one that it beats.
    pub(super) fn compete(self, best: &mut Option<Self>) {
        if best.is_none_or(|best| best.per_second < self.per_second) {
            *best = Some(self);
        }
    }

    pub(super) fn figures(&self, name: &str) -> [Figure; 2] {
        let p99 = (self.p99.as_secs_f64() * 100_000.0).round() / 100.0;
        [
            Figure::new(name, (self.per_second * 10.0).round() / 10.0, "req/s"),
            Figure::new(&format!("{name}.p99"), p99, "ms"),
        ]
    }
}

pub(super) fn rates(bench: &Bench) -> Result<Vec<Figure>> {
    let service = service()?;
    let port = free_port()?;
    let words = served(bench, "q35", port, &service, &["-m", "64M"])?;
    let mut servers = vec![Served::new("", port, Runs::Vm { _vm: words.start()? })?];
    match nginx::guest() {
        Ok(guest) => {
            let port = free_port()?;
            let words = beside(with_room(words)?, &guest, port)?;
            servers.push(Served::new("_nginx_guest", port, Runs::Vm { _vm: words.start()? })?);
        }
        Err(error) => println!("not measured: http.…_nginx_guest: {error}"),
    }
    let port = free_port()?;
    let mut host = command(&bench.cli, &["run", "--host", "-p", &format!("127.0.0.1:{port}:80")]);
    let child = host.arg(&service).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    servers.push(Served::new("_host", port, Runs::Process(child))?);
    for _ in 0..ROUNDS {
        for server in &mut servers {
            for (take, best) in TAKES.iter().zip(&mut server.best) {
                let spell =
                    spell(server.port, take).map_err(|e| format!("{}{}: {e}", take.name, server.suffix))?;
                spell.compete(best);
            }
        }
    }
    let mut figures = Vec::new();
    for (n, take) in TAKES.iter().enumerate() {
        for server in &servers {
            let Some(best) = server.best[n] else { continue };
            figures.extend(best.figures(&format!("{}{}", take.name, server.suffix)));
        }
    }
    Ok(figures)
}

/// Linux wants more memory than we do.
pub(super) fn with_room(mut words: super::vm::Words) -> Result<super::vm::Words> {
    words.set("-m", |_| "512M".into())?;
    Ok(words)
}

/// Guest instructions from the kernel's entry until the service says that it listens.
pub(super) fn listen(bench: &Bench) -> Result<Vec<Figure>> {
    let words = served(bench, "microvm", free_port()?, &service()?, &[])?;
    let marks = boot::marks(words)?;
    let count = boot::at(&marks, boot::FIRST_OUTPUT)?.saturating_sub(boot::at(&marks, boot::ENTRY)?);
    Ok(vec![Figure::new("boot.microvm.lua_listen", count as f64, "insn").at_most(12_000_000.0)])
}

/// The smallest `-m` with which it serves a few thousand requests.
pub(super) fn ram(bench: &Bench) -> Result<Vec<Figure>> {
    let service = service()?;
    let serves = |mib: u32| -> Result<bool> {
        let port = free_port()?;
        let words = served(bench, "microvm", port, &service, &["-m", &format!("{mib}M")])?;
        let _vm = words.start()?;
        Ok(answers(port, Duration::from_secs(10)) && spell(port, &TAKES[0]).is_ok())
    };
    let mut least = None;
    for mib in (6..=32).rev().step_by(2) {
        if !serves(mib)? {
            break;
        }
        least = Some(mib);
    }
    let least = least.ok_or("no service boots with 32 MiB")?;
    Ok(vec![Figure::new("ram.http", f64::from(least), "MiB").at_most(24.0)])
}

impl Served {
    fn new(suffix: &'static str, port: u16, runs: Runs) -> Result<Self> {
        if !answers(port, PATIENCE) {
            return Err(format!("the service{suffix} did not answer within {} s", PATIENCE.as_secs()).into());
        }
        Ok(Self { suffix, port, best: [None; TAKES.len()], _runs: runs })
    }
}

/// QEMU accepts before anybody listens in the guest, so an answer counts.
pub(super) fn answers(port: u16, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if Client::new(port).and_then(|mut client| client.ask("/hello", false)).is_ok() {
            return true;
        }
        thread::sleep(Duration::from_millis(100));
    }
    false
}

/// Asks over several connections at once for a spell.
pub(super) fn spell(port: u16, take: &Take) -> Result<Spell> {
    let (path, kept) = (take.path, take.kept);
    // One after the other, each answered once: of those that knock together, a backlog of one lets some wait for
    // seconds, whoever serves.
    let clients: Vec<_> = (0..if kept { KEPT } else { CLOSED })
        .map(|_| -> io::Result<Client> {
            let mut client = Client::new(port)?;
            client.ask(path, kept)?;
            Ok(client)
        })
        .collect::<io::Result<_>>()?;
    let begun = Instant::now();
    let threads: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || -> io::Result<Vec<Duration>> {
                let mut times = Vec::new();
                while begun.elapsed() < SPELL {
                    let asked = Instant::now();
                    if !kept {
                        client = Client::new(port)?;
                    }
                    client.ask(path, kept)?;
                    times.push(asked.elapsed());
                }
                Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a client panicked")??);
    }
    let per_second = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).copied().ok_or("nothing was answered")?;
    Ok(Spell { per_second, p99 })
}

/// A connection that asks.
pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    pub(super) fn new(port: u16) -> io::Result<Self> {
        let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::with_capacity(80 << 10, connection)))
    }

    /// Asks, and looks whether the answer is the right one.
    fn ask(&mut self, path: &str, keep: bool) -> io::Result<()> {
        let body = self.get(path, keep)?;
        let right = match path {
            "/hello" => body == b"Hello, world!\n",
            "/static/64k" => body.len() == 64 << 10,
            _ => body.starts_with(b"{") && body.windows(6).any(|part| part == b"\"moon\""),
        };
        if right {
            Ok(())
        } else {
            Err(io::Error::other(format!("{path}: {:?}", String::from_utf8_lossy(&body))))
        }
    }

    /// The body of an answer, which must be 200.
    pub(super) fn get(&mut self, path: &str, keep: bool) -> io::Result<Vec<u8>> {
        let connection = if keep { "keep-alive" } else { "close" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: {connection}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("{path}: {line:?}")));
        }
        let (mut length, mut chunked) = (None, false);
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().ok();
            }
            chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                line.clear();
                self.0.read_line(&mut line)?;
                let size = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
                let begin = body.len();
                body.resize(begin + size + 2, 0);
                self.0.read_exact(&mut body[begin..])?;
                body.truncate(begin + size);
                if size == 0 {
                    break;
                }
            }
        } else {
            body.resize(length.ok_or_else(|| io::Error::other(format!("{path}: no length")))?, 0);
            self.0.read_exact(&mut body)?;
        }
        Ok(body)
    }
}
