//! The one place where the process waits: for sockets, and for whatever wakes it from another thread.
//!
//! Promises: what a socket can do is learnt here and nowhere else ([`Poller::wait`]), and those who wait for it are
//! woken; a timer is as exact as the kernel's; a wake-up from another thread is never lost.
//!
//! Does not: know what a socket is for.
//!
//! By mio, which is epoll and kqueue behind one face without unsafe code on our side. Its events are edges, so
//! [`Readiness`] remembers them: an idle socket costs no system call, whoever asks about it.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    task::Waker,
    time::Duration,
};

use lunette_hostcalls::{Interest, Source, task::replace_waker};
use mio::{Events, Poll, Registry, Token, event};
use rustix::event::{PollFd, PollFlags, Timespec};
use slab::Slab;

/// What gets events.
pub(super) trait Polled: Send + Sync {
    fn readiness(&self) -> &Readiness;

    /// Something came for this one, and whoever waited has been woken.
    fn stirred(&self) {}
}

/// What the events so far said of a socket, and who waits for the next.
#[derive(Default)]
pub(super) struct Readiness {
    read: Side,
    write: Side,
}

/// The lowest bit: it may be ready. The others count the events, so that a look that began before the last event
/// does not wipe it out.
struct Side {
    seen: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

const MAYBE: u32 = 1;

impl Default for Side {
    /// Nobody has looked yet, so it may be.
    fn default() -> Self {
        Self { seen: AtomicU32::new(MAYBE), waker: Mutex::default() }
    }
}

impl Readiness {
    fn side(&self, interest: Interest) -> &Side {
        match interest {
            Interest::Read => &self.read,
            Interest::Write => &self.write,
        }
    }

    /// Has `look` look at the socket, unless the last look found nothing and no event came since.
    pub(super) fn look<T: Default>(&self, interest: Interest, look: impl FnOnce() -> (bool, T)) -> T {
        let side = self.side(interest);
        let before = side.seen.load(Ordering::Acquire);
        if before & MAYBE == 0 {
            return T::default();
        }
        let (ready, found) = look();
        if !ready {
            // Fails if an event came meanwhile: then it may be ready again.
            let _ = side.seen.compare_exchange(before, before & !MAYBE, Ordering::AcqRel, Ordering::Acquire);
        }
        found
    }

    /// Puts `waker` in the place of the one before, which is woken.
    pub(super) fn wait(&self, interest: Interest, waker: &Waker) {
        put(&mut lock(&self.side(interest).waker), waker);
    }

    /// Something happened: it may be ready now.
    pub(super) fn stir(&self, interest: Interest) {
        let side = self.side(interest);
        let _ = side
            .seen
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| Some(seen.wrapping_add(2) | MAYBE));
        let waker = lock(&side.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// For everybody who opens sockets or wakes the process.
pub(super) struct Reactor {
    registry: Registry,
    waker: mio::Waker,
    polled: Mutex<Slab<Option<Weak<dyn Polled>>>>,
}

impl Reactor {
    /// Ends a [`Poller::wait`], or the next one.
    pub(super) fn wake(&self) {
        // A pipe that is full is one that wakes.
        let _ = self.waker.wake();
    }

    /// A place for somebody's sockets.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        Place { reactor: self.clone(), key: lock(&self.polled).insert(None) }
    }
}

/// Whose the events of some sockets are; given up when dropped.
pub(super) struct Place {
    reactor: Arc<Reactor>,
    key: usize,
}

impl Place {
    pub(super) fn reactor(&self) -> &Arc<Reactor> {
        &self.reactor
    }

    /// Has the events of `socket` come here, until it is closed.
    pub(super) fn register(&self, socket: &mut impl event::Source) -> io::Result<()> {
        let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
        self.reactor.registry.register(socket, Token(self.key), both)
    }

    /// Has `to` told of the events. What came before is not lost: nobody has looked yet.
    pub(super) fn settle<P: Polled + 'static>(&self, to: &Arc<P>) {
        let to: Weak<dyn Polled> = Arc::downgrade(to) as _;
        if let Some(place) = lock(&self.reactor.polled).get_mut(self.key) {
            *place = Some(to);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.reactor.polled).try_remove(self.key);
    }
}

/// Whoever waits.
pub(super) struct Poller {
    poll: Poll,
    events: Events,
    reactor: Arc<Reactor>,
}

/// The token of [`Reactor::wake`].
const WAKE: Token = Token(usize::MAX);
/// Events taken at once.
const EVENTS: usize = 256;

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        let reactor = Arc::new(Reactor { registry, waker, polled: Mutex::default() });
        Ok(Self { poll, events: Events::with_capacity(EVENTS), reactor })
    }

    pub(super) fn reactor(&self) -> &Arc<Reactor> {
        &self.reactor
    }

    /// Takes the events that are there; waits for some up to `limit` (`None`: for ever).
    pub(super) fn wait(&mut self, limit: Option<Duration>) {
        let mut limit = limit;
        if let Some(time) = limit.filter(|time| !time.is_zero()) {
            // Poll knows milliseconds only, and rounds up.
            let mut fds = [PollFd::new(self.poll.registry(), PollFlags::IN)];
            // A signal ends it early, which does no harm.
            let _ = rustix::event::poll(&mut fds, Timespec::try_from(time).ok().as_ref());
            limit = Some(Duration::ZERO);
        }
        if self.poll.poll(&mut self.events, limit).is_err() {
            return;
        }
        for event in &self.events {
            if event.token() == WAKE {
                continue;
            }
            let polled = lock(&self.reactor.polled).get(event.token().0).cloned().flatten();
            let Some(polled) = polled.and_then(|polled| polled.upgrade()) else { continue };
            let broken = event.is_error();
            if event.is_readable() || event.is_read_closed() || broken {
                polled.readiness().stir(Interest::Read);
            }
            if event.is_writable() || event.is_write_closed() || broken {
                polled.readiness().stir(Interest::Write);
            }
            polled.stirred();
        }
    }
}

/// Puts `waker` in the place of the one before, which is woken if it is another's.
pub(super) fn put(place: &mut Option<Waker>, waker: &Waker) {
    if let Some(old) = replace_waker(place, waker) {
        old.wake();
    }
}

/// [`Source::register`] for whatever is polled.
pub(super) fn register(source: &(impl Polled + Source), interest: Interest, waker: &Waker) {
    source.readiness().wait(interest, waker);
    if source.ready(interest).any() {
        source.readiness().stir(interest);
    }
}

/// A panic elsewhere has been told elsewhere.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_waits_as_long_as_it_is_told_and_no_longer() {
        let mut poller = Poller::new().unwrap();
        let begun = Instant::now();
        poller.wait(Some(Duration::from_micros(300)));
        assert!(begun.elapsed() >= Duration::from_micros(300));
        poller.wait(Some(Duration::ZERO));

        poller.reactor().wake();
        let begun = Instant::now();
        poller.wait(Some(Duration::from_secs(60)));
        poller.reactor().wake();
        poller.wait(None);
        assert!(begun.elapsed() < Duration::from_secs(30), "a wake-up before the wait is not lost");

        let reactor = poller.reactor().clone();
        let other = std::thread::spawn(move || reactor.wake());
        poller.wait(None);
        other.join().unwrap();
    }

    #[test]
    fn an_event_during_a_look_is_not_wiped_out() {
        let readiness = Readiness::default();
        let look = |found: bool| readiness.look(Interest::Read, || (found, found));
        assert!(look(true) && look(true), "ready until a look finds nothing");
        assert!(!look(false));
        assert!(!look(true), "not looked at again before an event");
        readiness.stir(Interest::Read);
        readiness.look(Interest::Read, || {
            readiness.stir(Interest::Read);
            (false, ())
        });
        assert!(look(true));
    }
}
