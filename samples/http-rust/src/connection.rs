//! One connection: takes requests in their order, and answers them in that order.
//!
//! It keeps what it has to and no more: idle, nothing but itself. It reads only what it can answer, so a client
//! that sends much and reads nothing waits for itself.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    time::{Duration, Instant},
};

use mio::{Interest, net::TcpStream};

use crate::{
    limits::{LINGER, Limits, MAX_HELD},
    pages::{self, Answer, Stats},
    request::{Parsed, Parser, Refused, Request},
    response::{self, Date},
};

/// What all connections share.
pub struct Shared {
    pub limits: Limits,
    pub stats: Stats,
    /// Read once a turn.
    pub now: Instant,
    /// The host is being stopped: no connection outlives its request.
    pub draining: bool,
    /// What all connections keep, in bytes.
    pub held: usize,
    pub date: Date,
    pub buffer: Box<[u8]>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Read,
    Write,
    /// Nothing but its deadline.
    Time,
    /// Another turn, after the others had theirs.
    Turn,
    /// It is over.
    Close,
}

pub struct Connection {
    pub socket: TcpStream,
    /// What the poll is asked for.
    pub interest: Option<Interest>,
    /// When it is looked at at the latest.
    pub timer: Instant,
    parser: Parser,
    /// Received and not yet understood.
    inbox: Vec<u8>,
    /// Answered, and sent up to `sent`.
    outbox: Vec<u8>,
    sent: usize,
    /// The pattern that follows the outbox: how far it is sent, and how long it is.
    pattern: (u64, u64),
    /// An answer that takes its time.
    asleep: Option<(Instant, Request, Answer)>,
    /// When something last was sent or received.
    last: Instant,
    /// When the request that is under way began.
    began: Option<Instant>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// After what is to be sent.
    Near,
    /// As `Near`, but the client may still send, and could lose our answer to the reset that closing would be then.
    Gentle,
    /// All is said; what comes is thrown away until then.
    Lingering(Instant),
}

/// So many bytes are gathered before they are sent.
const OUTBOX: usize = 16 * 1024;
/// How often it reads or writes in one turn.
const ROUNDS: usize = 16;

impl Connection {
    pub fn new(socket: TcpStream, now: Instant, limits: &Limits) -> Self {
        Self {
            socket,
            interest: None,
            timer: now + limits.idle,
            parser: Parser::default(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            sent: 0,
            pattern: (0, 0),
            asleep: None,
            last: now,
            began: None,
            end: End::Open,
        }
    }

    /// When it has to have gone on.
    pub fn deadline(&self, limits: &Limits) -> Instant {
        match (self.end, &self.asleep, self.began) {
            (End::Lingering(until), ..) => until,
            _ if self.unsent() => self.last + limits.idle,
            (_, Some((until, ..)), _) => *until,
            (.., Some(began)) => began + limits.request,
            _ => self.last + limits.idle,
        }
    }

    /// What it keeps.
    pub fn held(&self) -> usize {
        self.inbox.capacity() + self.outbox.capacity() + self.parser.held()
    }

    /// Goes on as far as it can without waiting.
    pub fn turn(&mut self, shared: &mut Shared) -> Wants {
        let before = self.held();
        let wants = self.advance(shared).unwrap_or(Wants::Close);
        // An idle connection is a cheap one.
        if self.inbox.is_empty() {
            self.inbox = Vec::new();
        }
        if !self.unsent() {
            self.outbox = Vec::new();
        }
        shared.held = shared.held + self.held() - before;
        wants
    }

    /// An error is the connection's end: there is nobody to tell.
    fn advance(&mut self, shared: &mut Shared) -> io::Result<Wants> {
        let sleeps = self.asleep.is_some() && !self.unsent();
        if self.deadline(&shared.limits) <= shared.now && !sleeps {
            // A request that came too slowly is answered; whoever does not read, or idles, is not.
            if self.end != End::Open || self.unsent() || self.began.is_none() {
                return Ok(Wants::Close);
            }
            self.refuse(Refused(408), shared);
        }
        let mut read_all = false;
        for _ in 0..ROUNDS {
            let more = self.answer_requests(shared);
            if let Some(wants) = self.send(shared)? {
                return Ok(wants);
            }
            match (self.end, &self.asleep) {
                (End::Near, _) => return Ok(Wants::Close),
                (End::Gentle, _) => {
                    self.socket.shutdown(Shutdown::Write)?;
                    self.end = End::Lingering(shared.now + LINGER);
                }
                (_, Some((until, ..))) if *until > shared.now => return Ok(Wants::Time),
                (_, Some(_)) => {
                    if let Some((_, request, answer)) = self.asleep.take() {
                        self.respond(&request, answer, shared);
                    }
                    continue;
                }
                _ if more => continue,
                _ => {}
            }
            if shared.draining && self.began.is_none() && self.end == End::Open {
                // What was sent before we stopped is still answered; this looks for it.
                return Ok(if self.receive(shared)? > Some(0) { Wants::Turn } else { Wants::Close });
            }
            if read_all {
                return Ok(Wants::Read);
            }
            match self.receive(shared)? {
                Some(0) => return Ok(Wants::Read),
                // Less than there was room for was all there is; if not, the poll says so.
                Some(length) => read_all = length < shared.buffer.len(),
                None => return Ok(Wants::Close),
            }
        }
        Ok(Wants::Turn)
    }

    /// Answers what has been asked, as far as there is room. Could there be more in the inbox?
    fn answer_requests(&mut self, shared: &mut Shared) -> bool {
        let mut taken = 0;
        let mut more = true;
        while more && self.end == End::Open && self.asleep.is_none() && !self.is_full() {
            let parsed = self.parser.take(&self.inbox[taken..], shared.limits.body);
            match parsed {
                Ok((length, parsed)) => {
                    taken += length;
                    match parsed {
                        Parsed::Whole(request) => self.answer(request, shared),
                        Parsed::Expected => {
                            self.outbox.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                            more = false;
                        }
                        Parsed::Partly => more = false,
                    }
                }
                Err(refused) => {
                    self.refuse(refused, shared);
                    taken = self.inbox.len();
                }
            }
        }
        self.inbox.drain(..taken);
        if !self.parser.started() {
            self.began = None;
        } else if self.began.is_none() {
            self.began = Some(shared.now);
        }
        more && self.end == End::Open && self.asleep.is_none()
    }

    fn answer(&mut self, mut request: Request, shared: &mut Shared) {
        shared.stats.requests += 1;
        self.began = None;
        let answer = pages::answer(&mut request, &shared.stats);
        if answer.after > Duration::ZERO {
            self.asleep = Some((shared.now + answer.after, request, answer));
        } else {
            self.respond(&request, answer, shared);
        }
    }

    fn refuse(&mut self, Refused(status): Refused, shared: &mut Shared) {
        shared.stats.requests += 1;
        let answer = Answer::text(status, format!("{}\n", response::reason(status)));
        self.respond(&Request::default(), answer, shared);
        self.parser = Parser::default();
        self.inbox.clear();
        self.began = None;
        self.end = End::Gentle;
    }

    /// Writes an answer to the outbox.
    fn respond(&mut self, request: &Request, answer: Answer, shared: &mut Shared) {
        if !request.keep_alive {
            self.end = End::Near;
        } else if shared.draining {
            self.end = End::Gentle;
        }
        let closes = self.end != End::Open;
        let follows = response::write(&mut self.outbox, request, &answer, closes, shared.date.at(shared.now));
        // A small answer is one write, and one packet.
        let first = if follows <= OUTBOX as u64 { pages::pattern(0, follows) } else { &[] };
        self.outbox.extend_from_slice(first);
        self.pattern = (first.len() as u64, follows);
        self.last = shared.now;
    }

    fn is_full(&self) -> bool {
        self.outbox.len() - self.sent >= OUTBOX || self.pattern.0 < self.pattern.1
    }

    fn unsent(&self) -> bool {
        self.sent < self.outbox.len() || self.pattern.0 < self.pattern.1
    }

    /// Sends what there is. `Some`: not all of it.
    fn send(&mut self, shared: &Shared) -> io::Result<Option<Wants>> {
        for _ in 0..ROUNDS {
            let rest = &self.outbox[self.sent..];
            let (at, length) = self.pattern;
            let bytes = if rest.is_empty() { pages::pattern(at, length - at) } else { rest };
            if bytes.is_empty() {
                self.outbox.clear();
                self.sent = 0;
                return Ok(None);
            }
            match self.socket.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) if rest.is_empty() => self.pattern.0 += sent as u64,
                Ok(sent) => self.sent += sent,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Some(Wants::Write)),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            self.last = shared.now;
        }
        Ok(Some(Wants::Turn))
    }

    /// How much came. `None`: nothing ever will.
    fn receive(&mut self, shared: &mut Shared) -> io::Result<Option<usize>> {
        let length = loop {
            match self.socket.read(&mut shared.buffer) {
                Ok(0) => return Ok(None),
                Ok(length) => break length,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Some(0)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        };
        if self.end == End::Open {
            self.last = shared.now;
            self.inbox.extend_from_slice(&shared.buffer[..length]);
            if shared.held + length > MAX_HELD {
                self.refuse(Refused(503), shared);
            }
        }
        Ok(Some(length))
    }
}
