//! A small HTTP/1.1 server as a plain WASI preview 1 program: one thread, one poll, no busy waiting.
//!
//! | module | |
//! |---|---|
//! | `main` | waits, accepts, gives each connection its turn, ends in good order |
//! | [`connection`] | one client: in, out, deadlines |
//! | [`request`] | from bytes to requests |
//! | [`pages`] | from requests to answers: here a server of your own begins |
//! | [`response`] | from answers to bytes |
//! | [`limits`] | what a client may use |

mod connection;
mod limits;
mod pages;
mod request;
mod response;

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    os::fd::FromRawFd,
    process::ExitCode,
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;

use connection::{Connection, Shared, Wants};
use limits::Limits;
use response::Date;

/// WASI preview 1 has no `bind` and `listen`: these sockets listen already, from this descriptor on, as many as
/// `LISTEN_FDS` says (systemd's convention).
const FIRST_LISTENER: i32 = 3;
/// The poll's token of the first connection; the listeners have those before.
const FIRST_CONNECTION: usize = 16;
/// Where there is no memory, or no descriptor, for another connection: until the next attempt.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    match Server::new().and_then(|mut server| server.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Server {
    poll: Poll,
    /// Their tokens are 0, 1, …
    listeners: Vec<TcpListener>,
    /// Their tokens follow.
    connections: Slab<Connection>,
    /// When which connection has to have gone on. A deadline that moves on is moved when it comes, not before.
    timers: BTreeSet<(Instant, usize)>,
    /// Those that could go on at once.
    again: Vec<usize>,
    shared: Shared,
    accepting: bool,
    /// After a failure, accepts again from then on.
    paused: Option<Instant>,
}

impl Server {
    fn new() -> io::Result<Self> {
        let limits = Limits::from_env().map_err(|what| io::Error::new(ErrorKind::InvalidInput, what))?;
        let now = Instant::now();
        let listeners = listeners()?;
        println!("http: ready");
        Ok(Self {
            poll: Poll::new()?,
            listeners,
            connections: Slab::new(),
            timers: BTreeSet::new(),
            again: Vec::new(),
            shared: Shared {
                limits,
                stats: pages::Stats::default(),
                now,
                draining: false,
                held: 0,
                date: Date::new(now),
                buffer: vec![0; 64 * 1024].into(),
            },
            accepting: false,
            paused: None,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        self.accept_or_not()?;
        while !self.shared.draining || !self.connections.is_empty() {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            self.shared.now = Instant::now();
            for index in std::mem::take(&mut self.again) {
                self.turn(index)?;
            }
            for Token(token) in events.iter().map(|event| event.token()) {
                match token.checked_sub(FIRST_CONNECTION) {
                    Some(index) => self.turn(index)?,
                    None => self.accept(token)?,
                }
            }
            self.turn_the_late()?;
            self.accept_or_not()?;
        }
        println!("http: done after {} requests", self.shared.stats.requests);
        Ok(())
    }

    /// Gives a connection its turn, and does as it wants.
    fn turn(&mut self, index: usize) -> io::Result<()> {
        // It may have ended earlier in this round.
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let late = connection.timer;
        let interest = match connection.turn(&mut self.shared) {
            Wants::Close => return self.close(index),
            Wants::Read => Some(Interest::READABLE),
            Wants::Write => Some(Interest::WRITABLE),
            Wants::Time => None,
            Wants::Turn => {
                self.again.push(index);
                connection.interest
            }
        };
        // Later than expected costs nothing until then; earlier has to be known.
        let deadline = connection.deadline(&self.shared.limits);
        if deadline < late || late <= self.shared.now {
            self.timers.remove(&(late, index));
            self.timers.insert((deadline, index));
            connection.timer = deadline;
        }
        let (registry, token) = (self.poll.registry(), Token(FIRST_CONNECTION + index));
        let before = std::mem::replace(&mut connection.interest, interest);
        match (before, interest) {
            (before, interest) if before == interest => Ok(()),
            (None, Some(interest)) => registry.register(&mut connection.socket, token, interest),
            (Some(_), Some(interest)) => registry.reregister(&mut connection.socket, token, interest),
            (_, None) => registry.deregister(&mut connection.socket),
        }
    }

    /// Gives a turn to those whose time has come.
    fn turn_the_late(&mut self) -> io::Result<()> {
        while let Some(&(time, index)) = self.timers.first()
            && time <= self.shared.now
        {
            self.turn(index)?;
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> io::Result<()> {
        while self.accepting && self.connections.len() < self.shared.limits.connections {
            match self.listeners[listener].accept() {
                Ok((socket, _)) => self.open(socket)?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                // The host is being stopped, and gives us the time to end in good order.
                Err(e) if e.raw_os_error() == Some(libc::ECANCELED) => return self.drain(),
                Err(e) => {
                    eprintln!("http: a connection could not be accepted: {e}");
                    self.paused = Some(self.shared.now + PAUSE);
                    break;
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, socket: TcpStream) -> io::Result<()> {
        let entry = self.connections.vacant_entry();
        let index = entry.key();
        let connection = entry.insert(Connection::new(socket, self.shared.now, &self.shared.limits));
        self.timers.insert((connection.timer, index));
        self.shared.stats.connections += 1;
        connection.interest = Some(Interest::READABLE);
        let token = Token(FIRST_CONNECTION + index);
        self.poll.registry().register(&mut connection.socket, token, Interest::READABLE)
    }

    fn close(&mut self, index: usize) -> io::Result<()> {
        let mut connection = self.connections.remove(index);
        self.timers.remove(&(connection.timer, index));
        self.shared.stats.connections -= 1;
        self.shared.held -= connection.held();
        // The poll would go on asking for a descriptor that is none.
        match connection.interest {
            Some(_) => self.poll.registry().deregister(&mut connection.socket),
            None => Ok(()),
        }
    }

    /// Takes no more connections, and lets those that there are end with their requests.
    fn drain(&mut self) -> io::Result<()> {
        self.shared.draining = true;
        self.accept_or_not()?;
        self.listeners.clear();
        self.again.extend(self.connections.iter().map(|(index, _)| index));
        Ok(())
    }

    /// Accepts while there is room. Whoever comes on top waits in the listener's queue.
    fn accept_or_not(&mut self) -> io::Result<()> {
        let shared = &self.shared;
        self.paused.take_if(|until| *until <= shared.now);
        let accepting =
            !shared.draining && self.paused.is_none() && self.connections.len() < shared.limits.connections;
        if accepting != self.accepting {
            for (token, listener) in self.listeners.iter_mut().enumerate() {
                match accepting {
                    true => self.poll.registry().register(listener, Token(token), Interest::READABLE)?,
                    false => self.poll.registry().deregister(listener)?,
                }
            }
            self.accepting = accepting;
        }
        Ok(())
    }

    /// How long there is nothing to do but to wait.
    fn timeout(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let first = self.timers.first().map(|(time, _)| *time);
        let next = first.into_iter().chain(self.paused).min();
        next.map(|time| time.saturating_duration_since(Instant::now()))
    }
}

fn listeners() -> io::Result<Vec<TcpListener>> {
    let wrong = |what: String| io::Error::new(ErrorKind::InvalidInput, what);
    let count = std::env::var("LISTEN_FDS").unwrap_or_else(|_| "1".into());
    let count = count.parse().ok().filter(|count| (1..=FIRST_CONNECTION as i32).contains(count));
    let count = count.ok_or_else(|| wrong(format!("LISTEN_FDS: expected 1 to {FIRST_CONNECTION}")))?;
    (FIRST_LISTENER..FIRST_LISTENER + count)
        .map(|fd| {
            // SAFETY: whoever started this program gave it these descriptors, and it takes each of them once.
            let listener = unsafe { std::net::TcpListener::from_raw_fd(fd) };
            listener
                .set_nonblocking(true)
                .map_err(|e| wrong(format!("descriptor {fd}: {e}; is it a socket that listens?")))?;
            Ok(TcpListener::from_std(listener))
        })
        .collect()
}
