//! Sockets that take connections.
//!
//! A listener has no socket of smoltcp's: one is made for each first segment that comes, so that a connection is
//! there for as many as the backlog says, and a listener that nobody knocks at costs next to nothing. Connections
//! that are not made yet stand in one line, those that wait to be accepted in another:
//!
//! - When those that wait are as many as the backlog, a first segment counts as lost on the way, and so does a third
//!   one; the peer sends it again.
//! - When those not made yet are too many ([`most_half_open`]), the oldest is forgotten for the newest. So under
//!   a flood of first segments a true peer gets through as long as its third one comes before that many others.

use alloc::{collections::VecDeque, sync::Arc};
use core::{net::SocketAddr, task::Waker};

use lunette_hostcalls::{Errno, Interest, Ready, Source, TcpListener, TcpStream};

use crate::{
    address::{Place, canonical},
    hub::{Dropped, Hub},
    memory::Charge,
    slot::{Line, Ticket},
    stack::Shared,
    tcp::{EPHEMERAL, Stage, Stream},
    wakers::Wakers,
};

pub(crate) struct Listener {
    place: Place,
    backlog: usize,
    pub(crate) half_open: Line,
    /// Connections to be accepted, the oldest first.
    pub(crate) queue: VecDeque<usize>,
    /// The host is being stopped.
    closed: bool,
    wakers: Wakers,
    _charge: Charge,
}

/// More never wait, whatever is asked for.
const MOST_BACKLOG: usize = 4096;
/// What a listener costs.
const COST: usize = 512;

fn most_half_open(backlog: usize) -> usize {
    backlog.saturating_mul(2).clamp(128, 1024)
}

impl Listener {
    fn ready(&self) -> Ready {
        Ready { bytes: self.queue.len() as u64, hangup: self.closed }
    }
}

impl Hub {
    /// Where one may stand: as asked for, with a port if none was asked for. `taken`: does somebody stand there?
    pub(crate) fn place(&self, at: SocketAddr, taken: impl Fn(&Place) -> bool) -> Result<Place, Errno> {
        let at = canonical(at);
        if !self.is_ours(at.ip()) {
            return Err(Errno::Addrnotavail);
        }
        let stand = |port| {
            let at = SocketAddr::new(at.ip(), port);
            let all = at.is_ipv6() && at.ip().is_unspecified();
            let both = Place { at, both: true };
            let own = Place { at, both: false };
            [all.then_some(both), Some(own)].into_iter().flatten().find(|place| !taken(place))
        };
        if at.port() != 0 {
            return stand(at.port()).ok_or(Errno::Addrinuse);
        }
        let start = self.random();
        let count = EPHEMERAL.len() as u64;
        (0..count)
            .filter_map(|offset| stand(EPHEMERAL.start + (start.wrapping_add(offset) % count) as u16))
            .next()
            .ok_or(Errno::Addrinuse)
    }

    pub(crate) fn listen(&mut self, at: SocketAddr, backlog: usize) -> Result<(usize, SocketAddr), Errno> {
        if self.stopping {
            return Err(Errno::Canceled);
        }
        let place =
            self.place(at, |place| self.listeners.iter().any(|(_, other)| other.place.meets(place)))?;
        let listener = Listener {
            place,
            backlog: backlog.clamp(1, MOST_BACKLOG),
            half_open: Line::default(),
            queue: VecDeque::new(),
            closed: false,
            wakers: Wakers::default(),
            _charge: self.budget.admit(COST).ok_or(Errno::Nobufs)?,
        };
        Ok((self.listeners.insert(listener), place.at))
    }

    /// Who listens there: one that stands on this very address before one that stands on all.
    pub(crate) fn listener_for(&self, to: SocketAddr) -> Option<usize> {
        let takes =
            self.listeners.iter().filter(|(_, listener)| !listener.closed && listener.place.takes(to));
        takes.max_by_key(|(_, listener)| listener.place.is_exact()).map(|(id, _)| id)
    }

    pub(crate) fn has_room(&self, listener: usize) -> bool {
        self.listeners.get(listener).is_some_and(|listener| listener.queue.len() < listener.backlog)
    }

    /// Makes room for one more that is not made yet.
    pub(crate) fn make_way(&mut self, listener: usize) -> Result<(), Dropped> {
        if !self.has_room(listener) {
            return Err(Dropped);
        }
        let Some(listener) = self.listeners.get(listener) else { return Err(Dropped) };
        if listener.half_open.len() >= most_half_open(listener.backlog) {
            listener.half_open.oldest().into_iter().for_each(|id| self.remove(id));
        }
        Ok(())
    }

    /// A connection is made and waits to be accepted.
    pub(crate) fn queue_up(&mut self, listener: usize, ticket: Ticket, id: usize) {
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.half_open.remove(ticket);
            listener.queue.push_back(id);
            listener.wakers.wake(Interest::Read, listener.ready(), &mut self.woken);
        }
    }

    fn accept(&mut self, listener: usize) -> Result<usize, Errno> {
        let listener = self.listeners.get_mut(listener).ok_or(Errno::Canceled)?;
        match listener.queue.pop_front() {
            Some(id) => Ok(id),
            None if listener.closed => Err(Errno::Canceled),
            None => Err(Errno::Again),
        }
    }

    /// Nobody holds it any more: those that wait there are told so.
    fn drop_listener(&mut self, id: usize) {
        let Some(mut listener) = self.listeners.try_remove(id) else { return };
        listener.wakers.wake_all(&mut self.woken);
        listener.half_open.iter().for_each(|id| self.remove(id));
        listener.queue.into_iter().for_each(|id| self.abandon(id));
    }

    /// Takes no more connections; those that are made can still be accepted.
    pub(crate) fn close_listeners(&mut self) {
        self.stopping = true;
        let mut half_open = alloc::vec::Vec::new();
        for (_, listener) in &mut self.listeners {
            listener.closed = true;
            half_open.extend(listener.half_open.iter());
            listener.wakers.wake_all(&mut self.woken);
        }
        half_open.into_iter().for_each(|id| self.remove(id));
    }
}

/// A listener as a guest holds it.
pub(crate) struct Acceptor {
    shared: Arc<Shared>,
    id: usize,
    local: SocketAddr,
}

impl Acceptor {
    pub(crate) fn new(shared: Arc<Shared>, id: usize, local: SocketAddr) -> Self {
        Self { shared, id, local }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.shared.with(|hub| hub.drop_listener(self.id));
    }
}

impl Source for Acceptor {
    fn ready(&self, interest: Interest) -> Ready {
        match interest {
            Interest::Read => {
                self.shared.look(|hub| hub.listeners.get(self.id).map(Listener::ready)).unwrap_or_default()
            }
            Interest::Write => Ready { bytes: 0, hangup: true },
        }
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.shared.look(|hub| {
            if let Some(listener) = hub.listeners.get_mut(self.id) {
                let ready = match interest {
                    Interest::Read => listener.ready(),
                    Interest::Write => Ready { bytes: 0, hangup: true },
                };
                listener.wakers.register(interest, waker, ready, &mut hub.woken);
            }
        });
    }
}

impl TcpListener for Acceptor {
    fn accept(&self) -> Result<(Arc<dyn TcpStream>, SocketAddr), Errno> {
        let (id, flow) = self.shared.with(|hub| {
            let id = hub.accept(self.id)?;
            let (_, conn, _) = hub.slots.get_mut(id).and_then(|slot| slot.tcp()).ok_or(Errno::Connaborted)?;
            conn.stage = Stage::Held;
            Ok((id, conn.flow))
        })?;
        Ok((Arc::new(Stream::new(self.shared.clone(), id, flow)), flow.remote))
    }

    fn local(&self) -> SocketAddr {
        self.local
    }
}
