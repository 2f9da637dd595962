//! Connections: their lives, and what a guest does with them.
//!
//! | stage | who has it | ends |
//! |---|---|---|
//! | `HalfOpen` | its listener; it has no buffers yet | by the third segment; forgotten after [`HALF_OPEN`], or for a newer one |
//! | `Queued` | its listener, until it is accepted | |
//! | `Held` | a guest | when the guest lets go of it |
//! | `Orphan` | nobody: it sends what was written, and its end | when the peer has it all; forgotten after [`ORPHAN`] without progress, or for a newer one |
//! | `TimeWait` | nobody; it has no buffers any more | after 10 s, or for a newer one, or for a new connection from the same place |
//!
//! A connection costs [`crate::slot::COST`] bytes (1.6 KiB, so a thousand of them 1.6 MiB), and buffers for what is in them: none while it
//! is idle. A buffer starts with 2 KiB, grows by doubling up to [`Limits`], and is given up when it has been empty
//! for a second. The window that the peer is told is the limit, not the buffer: should all connections' peers use
//! theirs at once, what there is no memory for counts as lost on the way, and is sent again.
//!
//! Choices: no Nagle unless asked for; acknowledgements wait for 10 ms or a second segment; congestion control is Reno
//! (smoltcp's CUBIC needs floating point that `core` does not have).
//!
//! Does not: heed ICMP's word that a peer cannot be reached (a connection that is not made fails by time, or by
//! a neighbour that does not answer), answer with SYN cookies, or send what SACK says is missing other than in order.

use alloc::sync::Arc;
use core::{net::SocketAddr, task::Waker};

use lunette_hostcalls::{Errno, Interest, Nanos, Ready, Shutdown, Source, TcpStream};
use smoltcp::{
    socket::tcp::{Socket, SocketBuffer, State},
    time::{Duration, Instant},
    wire::{IpEndpoint, IpListenEndpoint},
};

use crate::{
    address::{Flow, canonical, destination},
    demux::Flags,
    hub::{Dropped, Hub},
    slot::{Kind, Ticket},
    stack::Shared,
};

pub(crate) struct Conn {
    pub(crate) flow: Flow,
    pub(crate) stage: Stage,
    /// As it was seen last, with what there was to send: when nothing of it changes, nothing goes on.
    seen: (State, usize),
    /// It was once there.
    made: bool,
    /// We ended it.
    aborted: bool,
    /// What befell it, not yet told.
    error: Option<Errno>,
    /// Why it was never there.
    failed: Option<Errno>,
    /// What comes is thrown away.
    deaf: bool,
    keep_alive: Option<Duration>,
    /// There was no memory for what it was to send.
    starved: bool,
    /// When something came from the peer, or one began to wait for it.
    pub(crate) heard: Instant,
    /// It is given up then, unless it goes on.
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    HalfOpen { listener: usize, ticket: Ticket },
    Queued { listener: usize },
    Held,
    Orphan(Ticket),
    TimeWait(Ticket),
}

/// How long the third segment may take.
const HALF_OPEN: Duration = Duration::from_secs(60);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(60);
/// How long a peer may be silent while it is sent to (RFC 9293, 3.8.3: at least 100 s).
const SILENT: Duration = Duration::from_secs(300);
/// How long a connection that nobody holds may stand still while it has something to send. Retransmissions are up to a
/// minute apart.
const ORPHAN: Duration = Duration::from_secs(300);
/// And how long when it waits for the peer's end only.
const LINGER: Duration = Duration::from_secs(60);
/// How many there may be of those that nobody holds, as far as there is memory.
const MOST_ORPHANS: usize = 1024;
const MOST_TIME_WAIT: usize = 1024;
/// With so much memory left, somebody can send something.
const ENOUGH: usize = 8 * 1024;
/// A keep-alive is asked so often without an answer.
const PROBES: u32 = 3;

/// What the two buffers of a connection may grow to.
pub(crate) struct Limits;

impl Limits {
    /// Enough for 100 MB/s over 5 ms.
    const FULL: usize = 512 * 1024;
    /// Once half of the memory is used. Still enough for a window that scales.
    const SCARCE: usize = 64 * 1024;

    fn of(hub: &Hub) -> usize {
        let most = if hub.budget.used() > hub.budget.total() / 2 { Self::SCARCE } else { Self::FULL };
        most.min(hub.budget.total() / 8).max(4096)
    }
}

impl Conn {
    fn new(flow: Flow, stage: Stage, now: Instant, patience: Duration) -> Self {
        Self {
            flow,
            stage,
            seen: (State::Closed, 0),
            made: false,
            aborted: false,
            error: None,
            failed: None,
            deaf: false,
            keep_alive: None,
            starved: false,
            heard: now,
            until: Some(now + patience),
        }
    }

    /// When it is given up, unless it goes on or its peer says something.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let (state, unsent) = self.seen;
        let alive = state != State::Closed;
        let silent = (alive && unsent > 0).then_some(SILENT);
        let probed = self.keep_alive.filter(|_| alive).map(|after| after * PROBES);
        let silent = [silent, probed].into_iter().flatten().min();
        [self.until, silent.map(|silent| self.heard + silent)].into_iter().flatten().min()
    }

    fn ready(&self, socket: &Socket<'_>, interest: Interest) -> Ready {
        let making = !self.made && self.failed.is_none();
        match interest {
            _ if making => Ready::default(),
            Interest::Read => {
                let bytes = if self.deaf { 0 } else { socket.recv_queue() as u64 };
                Ready { bytes, hangup: self.error.is_some() || self.deaf || is_at_end(socket.state()) }
            }
            Interest::Write if socket.may_send() => {
                let room = if self.starved { 0 } else { socket.send_capacity() - socket.send_queue() };
                Ready { bytes: room as u64, hangup: self.error.is_some() }
            }
            Interest::Write => Ready { bytes: 0, hangup: true },
        }
    }
}

/// Will nothing come beyond what is there?
fn is_at_end(state: State) -> bool {
    !matches!(
        state,
        State::Listen
            | State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
    )
}

impl Hub {
    /// The socket that a segment is for; `None`: nobody, who answers with a reset.
    pub(crate) fn connection_for(&mut self, flow: Flow, flags: Flags) -> Result<Option<usize>, Dropped> {
        if let Some(&id) = self.flows.get(&flow) {
            let Some(Kind::Tcp(conn)) = self.slots.get(id).map(|slot| &slot.kind) else {
                return Err(Dropped);
            };
            match conn.stage {
                // The peer is done with the old one, or it would not begin anew.
                Stage::TimeWait(_) if flags.opens && self.listener_for(flow.local).is_some() => {
                    self.remove(id);
                }
                // It would be made, and there is no room where it would wait: as if it were lost on the way.
                Stage::HalfOpen { listener, .. } if !flags.resets && !self.has_room(listener) => {
                    return Err(Dropped);
                }
                _ => return Ok(Some(id)),
            }
        }
        match flags.opens.then(|| self.listener_for(flow.local)).flatten() {
            Some(listener) => self.admit(listener, flow).map(Some),
            None => Ok(None),
        }
    }

    /// A new connection for a listener.
    fn admit(&mut self, listener: usize, flow: Flow) -> Result<usize, Dropped> {
        self.make_way(listener)?;
        let mut socket = self.new_socket();
        let local = IpListenEndpoint { addr: Some(flow.local.ip().into()), port: flow.local.port() };
        socket.listen(local).map_err(|_| Dropped)?;
        let seed = self.random();
        self.interface(flow.lane).set_random_seed(seed);
        let held = Conn::new(flow, Stage::Held, self.now, HALF_OPEN);
        let id = self.insert(socket, flow.lane, Kind::Tcp(held)).map_err(|_| Dropped)?;
        let ticket = self.listeners[listener].half_open.push(id);
        if let Some((_, conn, _)) = self.slots[id].tcp() {
            conn.stage = Stage::HalfOpen { listener, ticket };
        }
        self.flows.insert(flow, id);
        Ok(id)
    }

    fn new_socket(&self) -> Socket<'static> {
        let limit = Limits::of(self);
        let buffer = || SocketBuffer::elastic(limit, self.budget.clone());
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket
    }

    /// Begins a connection.
    pub(crate) fn connect(&mut self, to: SocketAddr) -> Result<(usize, Flow), Errno> {
        let to = destination(to);
        if to.port() == 0 {
            return Err(Errno::Addrnotavail);
        }
        let (lane, from) = self.route(to.ip())?;
        let flow = self.free_port(|port| Flow { lane, local: SocketAddr::new(from, port), remote: to })?;
        let mut socket = self.new_socket();
        let seed = self.random();
        let interface = self.interface(lane);
        interface.set_random_seed(seed);
        socket
            .connect(interface.context(), IpEndpoint::from(to), IpEndpoint::from(flow.local))
            .map_err(|_| Errno::Netunreach)?;
        let mut conn = Conn::new(flow, Stage::Held, self.now, CONNECT);
        conn.seen = (State::SynSent, 0);
        let id = self.insert(socket, lane, Kind::Tcp(conn))?;
        self.flows.insert(flow, id);
        self.touch(id);
        self.enqueue(id);
        Ok((id, flow))
    }

    /// A port that nobody has for this flow and nobody listens to, at random (RFC 6056, 3.3.1).
    fn free_port(&self, flow: impl Fn(u16) -> Flow) -> Result<Flow, Errno> {
        let start = self.random();
        EPHEMERAL
            .clone()
            .map(|offset| {
                EPHEMERAL.start + (start.wrapping_add(u64::from(offset)) % EPHEMERAL.len() as u64) as u16
            })
            .map(flow)
            .find(|flow| !self.flows.contains_key(flow) && self.listener_for(flow.local).is_none())
            .ok_or(Errno::Addrnotavail)
    }

    /// After anything happened: tells whoever waits, and moves the connection on to its next stage.
    pub(crate) fn settle_tcp(&mut self, id: usize, reset: bool) {
        let now = self.now;
        let Some((socket, conn, wakers)) = self.slots.get_mut(id).and_then(|slot| slot.tcp()) else { return };
        let orphan = matches!(conn.stage, Stage::Orphan(_));
        if (conn.deaf || orphan) && socket.recv_queue() > 0 {
            throw_away(socket);
            if orphan {
                // Nobody will read it, and the peer should know (RFC 1122, 4.2.2.13).
                socket.abort();
            }
        }
        let state = socket.state();
        let (before, _) = conn.seen;
        let patience = match conn.stage {
            Stage::HalfOpen { .. } => Some(HALF_OPEN),
            Stage::Orphan(_) if state == State::FinWait2 => Some(LINGER),
            Stage::Orphan(_) => Some(ORPHAN),
            Stage::TimeWait(_) => None,
            Stage::Held | Stage::Queued { .. } => match state {
                State::SynSent | State::SynReceived => Some(CONNECT),
                State::FinWait1 | State::Closing | State::LastAck => Some(SILENT),
                _ => None,
            },
        };
        if conn.seen != (state, socket.send_queue()) {
            conn.seen = (state, socket.send_queue());
            conn.until = patience.map(|patience| now + patience);
        }
        let mut late = conn.deadline().is_some_and(|deadline| deadline <= now);
        if late && matches!(conn.stage, Stage::Held | Stage::Queued { .. }) {
            late = false;
            conn.until = None;
            conn.aborted = true;
            conn.error = Some(Errno::Timedout);
            socket.abort();
        }
        if late && matches!(conn.stage, Stage::Orphan(_)) && state != State::Closed {
            // Should the peer still be there, it is told.
            late = false;
            conn.until = Some(now + LINGER);
            socket.abort();
        }
        let state = socket.state();
        conn.seen.0 = state;
        conn.made |= !matches!(state, State::Closed | State::Listen | State::SynSent | State::SynReceived);
        if state == State::Closed && before != State::Closed {
            let ended = matches!(before, State::LastAck | State::TimeWait | State::Closing);
            if reset && !(ended && conn.made) {
                conn.error = Some(if conn.made { Errno::Connreset } else { Errno::Connrefused });
            } else if !ended && !conn.aborted && conn.error.is_none() {
                // smoltcp forgets the address of a connection that it gives up because the address is gone.
                let gone = socket.local_endpoint().is_none();
                conn.error = Some(if gone { Errno::Connaborted } else { Errno::Timedout });
            }
            if !conn.made {
                conn.failed = conn.error;
            }
        }
        let done = state == State::Closed && socket.remote_endpoint().is_none();
        for interest in [Interest::Read, Interest::Write] {
            wakers.wake(interest, conn.ready(socket, interest), &mut self.woken);
        }
        match conn.stage {
            Stage::HalfOpen { .. } if late || matches!(state, State::Listen | State::Closed) => {
                self.remove(id)
            }
            Stage::HalfOpen { listener, ticket } if state != State::SynReceived => {
                conn.stage = Stage::Queued { listener };
                conn.until = None;
                self.queue_up(listener, ticket, id);
            }
            Stage::Orphan(_) | Stage::TimeWait(_) if late || done => self.remove(id),
            Stage::Orphan(ticket) if state == State::TimeWait => {
                socket.release();
                conn.until = None;
                conn.stage = Stage::TimeWait(self.time_wait.push(id));
                self.orphans.remove(ticket);
                if self.time_wait.len()
                    > MOST_TIME_WAIT.min(self.budget.total() / 16 / crate::slot::COST).max(16)
                {
                    self.time_wait.oldest().into_iter().for_each(|id| self.remove(id));
                }
            }
            _ => {}
        }
    }

    /// Its neighbour does not answer.
    pub(crate) fn unreachable_tcp(&mut self, id: usize) {
        let Some((socket, conn, _)) = self.slots.get_mut(id).and_then(|slot| slot.tcp()) else { return };
        if matches!(conn.stage, Stage::Orphan(_)) && socket.state() == State::Closed {
            // There is nobody to tell that it is over.
            self.remove(id);
        } else if !conn.made {
            conn.error = Some(Errno::Hostunreach);
            conn.until = None;
            socket.abort();
        }
    }

    /// It was never accepted: the peer is told that it is over.
    pub(crate) fn abandon(&mut self, id: usize) {
        if let Some((socket, ..)) = self.slots.get_mut(id).and_then(|slot| slot.tcp()) {
            socket.abort();
            self.let_go(id);
        }
    }

    /// The guest has let go of it.
    fn let_go(&mut self, id: usize) {
        let ticket = self.orphans.push(id);
        let now = self.now;
        let Some((socket, conn, _)) = self.slots.get_mut(id).and_then(|slot| slot.tcp()) else { return };
        conn.stage = Stage::Orphan(ticket);
        conn.seen = (socket.state(), socket.send_queue());
        conn.until = Some(now + ORPHAN);
        if socket.recv_queue() > 0 && !conn.deaf {
            throw_away(socket);
            socket.abort();
        } else {
            socket.close();
        }
        // Nobody was there to be told of an end.
        if socket.state() == State::Closed && !conn.made && conn.failed.is_some() {
            return self.remove(id);
        }
        self.settle(id, false);
        self.enqueue(id);
        if self.orphans.len() > MOST_ORPHANS {
            self.orphans.oldest().into_iter().for_each(|id| self.remove(id));
        }
    }

    /// Is something still on its way that a guest wrote and let go of, or the end of it?
    pub(crate) fn unfinished(&mut self) -> bool {
        let slots = &mut self.slots;
        self.orphans.iter().any(|id| {
            slots.get_mut(id).and_then(|slot| slot.tcp()).is_some_and(|(socket, ..)| {
                socket.send_queue() > 0
                    || matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck)
            })
        })
    }

    /// Somebody needs memory: gives up the oldest connection of those that nobody holds and that have nothing more to
    /// say. Was there one?
    pub(crate) fn forget_one(&mut self) -> bool {
        let silent = |id: &usize| match self.slots.get(*id).map(|slot| &slot.kind) {
            Some(Kind::Tcp(conn)) => conn.seen.0 == State::FinWait2,
            _ => false,
        };
        let oldest = self.time_wait.oldest().or_else(|| self.orphans.iter().find(silent));
        oldest.into_iter().for_each(|id| self.remove(id));
        oldest.is_some()
    }

    /// There may be memory again for those that had none.
    pub(crate) fn feed_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        while self.budget.total() - self.budget.used() < ENOUGH {
            if !self.forget_one() {
                return;
            }
        }
        for id in core::mem::take(&mut self.starved) {
            if let Some((_, conn, _)) = self.slots.get_mut(id).and_then(|slot| slot.tcp()) {
                conn.starved = false;
                self.settle(id, false);
            }
        }
    }

    /// It is out of the slots: and now out of all else.
    pub(crate) fn forget_tcp(&mut self, id: usize, conn: &Conn) {
        if self.flows.get(&conn.flow) == Some(&id) {
            self.flows.remove(&conn.flow);
        }
        match conn.stage {
            Stage::HalfOpen { listener, ticket } => {
                if let Some(listener) = self.listeners.get_mut(listener) {
                    listener.half_open.remove(ticket);
                }
            }
            Stage::Queued { listener } => {
                if let Some(listener) = self.listeners.get_mut(listener) {
                    listener.queue.retain(|queued| *queued != id);
                }
            }
            Stage::Held => {}
            Stage::Orphan(ticket) => self.orphans.remove(ticket),
            Stage::TimeWait(ticket) => self.time_wait.remove(ticket),
        }
    }
}

/// Ports for those that do not care which (RFC 6335, 6).
pub(crate) const EPHEMERAL: core::ops::Range<u16> = 49152..65535;

fn throw_away(socket: &mut Socket<'_>) {
    while socket.recv(|bytes| (bytes.len(), bytes.len())).is_ok_and(|taken| taken > 0) {}
}

/// A connection as a guest holds it.
pub(crate) struct Stream {
    shared: Arc<Shared>,
    id: usize,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>, id: usize, flow: Flow) -> Self {
        Self { shared, id, local: canonical(flow.local), peer: canonical(flow.remote) }
    }

    /// Does something with the socket; `false` of `f`: nothing has to be sent for it.
    fn with<R>(&self, f: impl FnOnce(&mut Socket<'static>, &mut Conn, Instant) -> (R, bool)) -> Option<R> {
        self.shared.with(|hub| {
            let now = hub.now;
            let (socket, conn, _) = hub.slots.get_mut(self.id)?.tcp()?;
            let (result, changed) = f(socket, conn, now);
            if conn.starved {
                hub.starved.insert(self.id);
            }
            if changed {
                hub.touch(self.id);
                hub.settle(self.id, false);
                hub.enqueue(self.id);
            }
            Some(result)
        })
    }

    fn take(&self, buf: &mut [u8], peek: bool) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.with(|socket, conn, _| {
            if !conn.made && conn.failed.is_none() {
                return (Err(Errno::Again), false);
            }
            let held = socket.recv_queue();
            if held > 0 && !conn.deaf {
                let taken = if peek { socket.peek_slice(buf) } else { socket.recv_slice(buf) };
                // What makes the window twice as large is told to the peer.
                let changed = !peek && held > socket.recv_capacity() / 4;
                return (taken.map_err(|_| Errno::Io), changed);
            }
            if let Some(error) = conn.error.take() {
                return (Err(error), false);
            }
            let end = conn.deaf || is_at_end(socket.state());
            (if end { Ok(0) } else { Err(Errno::Again) }, false)
        })
        .unwrap_or(Ok(0))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.with(|hub| hub.let_go(self.id));
    }
}

impl Source for Stream {
    fn ready(&self, interest: Interest) -> Ready {
        self.with(|socket, conn, _| (conn.ready(socket, interest), false)).unwrap_or_default()
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.shared.with(|hub| {
            let (slots, woken) = (&mut hub.slots, &mut hub.woken);
            if let Some((socket, conn, wakers)) = slots.get_mut(self.id).and_then(|slot| slot.tcp()) {
                wakers.register(interest, waker, conn.ready(socket, interest), woken);
            }
        });
    }
}

impl TcpStream for Stream {
    fn connected(&self) -> Result<(), Errno> {
        self.with(|_, conn, _| {
            let answer = match conn.failed {
                Some(error) => {
                    conn.error = None;
                    Err(error)
                }
                None if conn.made => Ok(()),
                None => Err(Errno::Again),
            };
            (answer, false)
        })
        .unwrap_or(Err(Errno::Notconn))
    }

    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.take(buf, false)
    }

    fn peek(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.take(buf, true)
    }

    fn write(&self, buf: &[u8]) -> Result<usize, Errno> {
        self.with(|socket, conn, now| {
            if !conn.made && conn.failed.is_none() {
                return (Err(Errno::Again), false);
            }
            if let Some(error) = conn.error.take() {
                return (Err(error), false);
            }
            if socket.send_queue() == 0 {
                conn.heard = now;
            }
            if !socket.may_send() {
                return (Err(Errno::Pipe), false);
            }
            if buf.is_empty() {
                return (Ok(0), false);
            }
            // When there is no memory for all of it, there may be for some.
            let few = &buf[..buf.len().min(1024)];
            match [buf, few].into_iter().find_map(|buf| socket.send_slice(buf).ok().filter(|sent| *sent > 0))
            {
                Some(sent) => (Ok(sent), true),
                None => {
                    conn.starved = socket.send_queue() < socket.send_capacity();
                    (Err(Errno::Again), conn.starved)
                }
            }
        })
        .unwrap_or(Err(Errno::Pipe))
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        self.with(|socket, conn, _| {
            let gone = matches!(socket.state(), State::Closed | State::TimeWait);
            if !conn.made || gone {
                return (Err(Errno::Notconn), false);
            }
            if how != Shutdown::Write {
                conn.deaf = true;
            }
            if how != Shutdown::Read {
                socket.close();
            }
            (Ok(()), true)
        })
        .unwrap_or(Err(Errno::Notconn))
    }

    fn local(&self) -> SocketAddr {
        self.local
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn set_nodelay(&self, on: bool) {
        self.with(|socket, _, _| (socket.set_nagle_enabled(!on), true));
    }

    fn set_keep_alive(&self, after: Option<Nanos>) {
        self.with(|socket, conn, now| {
            conn.heard = now;
            // Once a second is often enough to ask.
            conn.keep_alive =
                after.map(|after| Duration::from_micros(after / 1000).max(Duration::from_secs(1)));
            (socket.set_keep_alive(conn.keep_alive), true)
        });
    }

    fn abort(&self) {
        self.with(|socket, conn, _| {
            conn.aborted = true;
            (socket.abort(), true)
        });
    }
}
