//! Guests, and whatever else waits, as futures on one thread.
//!
//! Promises: a task runs only when it was woken; what is due is woken in order; the host has its go
//! ([`Host::park`]) at the latest when each task had two, and is asked to wait only when no task can run, and is told
//! until when. A wait that ends, or is dropped, leaves no timer behind. One task that panics is the caller's panic:
//! guests catch their own.
//!
//! Does not: know how its host waits, preempt a task, or use more than one core.

use alloc::{boxed::Box, collections::BTreeMap, rc::Rc, sync::Arc};
use core::{
    cell::RefCell,
    future::{Future, poll_fn},
    ops::ControlFlow,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};

use futures_util::{
    stream::{FuturesUnordered, StreamExt},
    task::{ArcWake, waker_ref},
};

use crate::{Clock, Nanos, Stdio, Wait};

/// What waits when nothing can run.
pub trait Host {
    /// Lets the world go on: takes what devices brought, sends what is to be sent, and wakes whom that concerns. If
    /// `idle`, it then waits until something happens or the clock reaches `until` (`None`: no matter when); it may
    /// come back early. `Break`: the run is over, drop all tasks.
    ///
    /// A waker that is called from elsewhere (a thread of the host's) must be heard by a wait that begins after: whether
    /// it is `idle` was found out before.
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()>;

    /// Was the VM asked to end in good order (a power button, `lunette stop`)?
    fn stopping(&self) -> bool {
        false
    }
}

/// Wakes tasks when the clock reaches what they wait for. Shared by all that wait on one executor.
#[derive(Default)]
pub struct Timers {
    due: RefCell<(u64, BTreeMap<Due, Waker>)>,
}

/// When, and a number that tells equal times apart.
type Due = (Nanos, u64);

/// A place in the [`Timers`]; given up when dropped.
struct Timer<'a> {
    timers: &'a Timers,
    key: Due,
}

impl Timers {
    fn set(&self, at: Nanos, waker: &Waker) -> Timer<'_> {
        let (count, due) = &mut *self.due.borrow_mut();
        *count += 1;
        let key = (at, *count);
        due.insert(key, waker.clone());
        Timer { timers: self, key }
    }

    /// Wakes all that is due at `now`.
    fn fire(&self, now: Nanos) {
        while let Some(waker) = self.take(now) {
            waker.wake();
        }
    }

    fn take(&self, now: Nanos) -> Option<Waker> {
        let due = &mut self.due.borrow_mut().1;
        let first = due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn next(&self) -> Option<Nanos> {
        self.due.borrow().1.first_key_value().map(|((at, _), _)| *at)
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.timers.due.borrow_mut().1.remove(&self.key);
    }
}

/// The one call that waits: returns when any of what `wait` names may have come. An empty wait, and one until a
/// time that is past, give way to the other tasks once.
pub async fn ready(wait: &Wait, clock: &dyn Clock, stdio: &dyn Stdio, timers: &Timers) {
    let past = wait.until.is_some_and(|until| until == 0 || until <= clock.monotonic());
    if wait.is_empty() || past {
        return give_way().await;
    }
    let mut timer = None;
    poll_fn(|cx| {
        let come = (wait.stdin && stdio.input().any())
            || wait.sockets.iter().any(|(socket, interest)| socket.ready(*interest).any())
            || wait.until.is_some_and(|until| until <= clock.monotonic());
        if come {
            return Poll::Ready(());
        }
        if let (None, Some(until)) = (&timer, wait.until) {
            timer = Some(timers.set(until, cx.waker()));
        }
        if wait.stdin {
            stdio.register_input(cx.waker());
        }
        for (socket, interest) in &wait.sockets {
            socket.register(*interest, cx.waker());
        }
        Poll::Pending
    })
    .await;
}

/// Puts `waker` in the place of the one that waits there, and gives that one back, to be woken once nothing is locked.
/// Not if both are of one task: woken because it asked again, it would never rest.
#[must_use = "the old waker has to be woken"]
pub fn replace_waker(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    if place.as_ref().is_some_and(|old| old.will_wake(waker)) {
        return None;
    }
    place.replace(waker.clone())
}

/// Lets the other tasks, and the world, have a go.
pub async fn give_way() {
    let mut gave = false;
    poll_fn(|cx| {
        if gave {
            return Poll::Ready(());
        }
        gave = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

type Task<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Tasks, each with its result.
pub struct Executor<'a, T> {
    tasks: FuturesUnordered<Task<'a, T>>,
    timers: Rc<Timers>,
    flag: Arc<Flag>,
}

/// Was any task woken?
struct Flag(AtomicBool);

impl ArcWake for Flag {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.store(true, Ordering::Release);
    }
}

impl<'a, T> Executor<'a, T> {
    pub fn new(timers: Rc<Timers>) -> Self {
        Self { tasks: FuturesUnordered::new(), timers, flag: Arc::new(Flag(AtomicBool::new(true))) }
    }

    pub fn spawn(&mut self, task: impl Future<Output = T> + 'a) {
        self.tasks.push(Box::pin(task));
        self.flag.0.store(true, Ordering::Release);
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Runs until the next task ends, and gives its result. `None`: there are none, or the host ended the run.
    pub fn next(&mut self, clock: &dyn Clock, host: &mut dyn Host) -> Option<T> {
        let flag = self.flag.clone();
        let waker = waker_ref(&flag);
        let mut cx = Context::from_waker(&waker);
        loop {
            // Twice: when it has polled as many as there are, it asks to be polled again even if none is left to run, and
            // that is not worth a look at all devices.
            for _ in 0..2 {
                if flag.0.swap(false, Ordering::AcqRel)
                    && let Poll::Ready(ended) = self.tasks.poll_next_unpin(&mut cx)
                {
                    flag.0.store(true, Ordering::Release);
                    return ended;
                }
            }
            let until = self.timers.next();
            let idle = !flag.0.load(Ordering::Acquire);
            if host.park(idle, until).is_break() {
                return None;
            }
            if let Some(until) = self.timers.next() {
                let now = clock.monotonic();
                if until <= now {
                    self.timers.fire(now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
