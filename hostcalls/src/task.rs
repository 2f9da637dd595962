//! Guests, and whatever else waits, as futures on one thread.
//!
//! Promises: a task runs only when it was woken, in the order of the wakes; what is due is woken in order; the host has
//! its go ([`Host::park`]) at the latest when each task had one, and is asked to wait only when no task can run, and is
//! told until when. A wait that ends, or is dropped, leaves no timer behind. Who computes on and on lets all others go first,
//! what the host brings meanwhile included, but is not kept from running by them ([`StepBack`]). One task that panics is the
//! caller's panic: guests catch their own.
//!
//! Does not: know how its host waits, preempt a task, or use more than one core.
//!
//! [`Set`] is what the executor has its tasks in; a guest that is many tasks has one of its own ([`Local`]), inside
//! the one task that the host knows.
//!
//! A queue of numbers and a waker for each task, where `FuturesUnordered` would do as well: that one costs a kernel
//! image more than all the rest of this file, and asks to be polled once more than there is something to do.

use alloc::{boxed::Box, collections::BTreeMap, sync::Arc};
use core::{
    future::{Future, poll_fn},
    mem,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use spin::Mutex;

use crate::{Clock, Errno, Interest, Nanos, Source, Stdio, Wait};

mod local;
mod set;
mod step_back;

pub use local::{Local, Spawner};
pub use set::{Boxed, Set};
pub use step_back::StepBack;

/// What waits when nothing can run.
pub trait Host {
    /// Lets the world go on: takes what devices brought, sends what is to be sent, and wakes whom that concerns. If
    /// `idle`, it then waits until something happens or the clock reaches `until` (`None`: no matter when); it may
    /// come back early. `Break`: the run is over, drop all tasks.
    ///
    /// A waker that is called from elsewhere (a thread of the host's) must be heard by a wait that begins after: whether
    /// it is `idle` was found out before.
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()>;

    /// Only who has run for long already would run next: the host may have it step back as soon as a device has something for
    /// the others, until [`Host::end_interruptible`]. `false`: a device has something already, which is to be seen to first.
    fn begin_interruptible(&mut self) -> bool;

    /// Who ran since [`Host::begin_interruptible`] said yes has had its go.
    fn end_interruptible(&mut self);

    /// Was the VM asked to end in good order (a power button, `lunette stop`)?
    fn stopping(&self) -> bool {
        false
    }
}

/// Wakes tasks when the clock reaches what they wait for, or when nobody else can run. Shared by all that wait on one executor.
#[derive(Default)]
pub struct Timers {
    due: Mutex<(u64, BTreeMap<Due, Waker>)>,
    back: step_back::Queue,
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
        Timer { timers: self, key: self.add(at, waker) }
    }

    fn add(&self, at: Nanos, waker: &Waker) -> Due {
        let (count, due) = &mut *self.due.lock();
        *count += 1;
        let key = (at, *count);
        due.insert(key, waker.clone());
        key
    }

    fn remove(&self, key: &Due) {
        // Dropped once nothing is locked: it may be the last of its task.
        let _waker = self.due.lock().1.remove(key);
    }

    /// Wakes all that is due at `now`.
    fn fire(&self, now: Nanos) {
        while let Some(waker) = self.take(now) {
            waker.wake();
        }
    }

    fn take(&self, now: Nanos) -> Option<Waker> {
        let due = &mut self.due.lock().1;
        let first = due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn next(&self) -> Option<Nanos> {
        self.due.lock().1.first_key_value().map(|((at, _), _)| *at)
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.timers.remove(&self.key);
    }
}

/// The time, and how to wait for it: what a guest of many tasks hands around. `Send` and `Sync`, as HTTP libraries
/// want their timers.
#[derive(Clone)]
pub struct Time {
    clock: Arc<dyn Clock>,
    timers: Arc<Timers>,
}

impl Time {
    pub fn new(clock: Arc<dyn Clock>, timers: Arc<Timers>) -> Self {
        Self { clock, timers }
    }

    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub fn now(&self) -> Nanos {
        self.clock.monotonic()
    }

    /// The date, where the host has one: [`Clock::wall`].
    pub fn wall(&self) -> Option<Nanos> {
        self.clock.wall()
    }

    pub fn sleep(&self, duration: Duration) -> Sleep {
        let nanos = Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX);
        self.sleep_until(self.now().saturating_add(nanos))
    }

    /// Returns once the monotonic clock has reached `at`.
    pub fn sleep_until(&self, at: Nanos) -> Sleep {
        Sleep { time: self.clone(), at, key: None }
    }

    /// Lets all others go first, for one that had so many turns already.
    pub fn step_back<F: FnMut() -> bool>(&self, turns: u64, over: F) -> StepBack<Arc<Timers>, F> {
        StepBack::new(self.timers.clone(), turns, over)
    }

    /// `None`: it took longer, and was dropped.
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let (mut future, mut sleep) = (core::pin::pin!(future), self.sleep(limit));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| None),
        })
        .await
    }
}

/// A wait for a time. Dropped, it leaves nothing behind.
pub struct Sleep {
    time: Time,
    at: Nanos,
    key: Option<Due>,
}

impl Sleep {
    pub fn reset(&mut self, at: Nanos) {
        self.give_up();
        self.at = at;
    }

    fn give_up(&mut self) {
        if let Some(key) = self.key.take() {
            self.time.timers.remove(&key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.give_up();
        if self.at <= self.time.now() {
            return Poll::Ready(());
        }
        self.key = Some(self.time.timers.add(self.at, cx.waker()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Asks until the answer is something other than [`Errno::Again`], and waits for `source` in between.
pub async fn until<T>(
    source: &dyn Source,
    interest: Interest,
    mut ask: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    poll_fn(|cx| poll_until(source, interest, cx, &mut ask)).await
}

/// [`until`], for futures that are written by hand.
pub fn poll_until<T>(
    source: &dyn Source,
    interest: Interest,
    cx: &Context<'_>,
    ask: impl FnOnce() -> Result<T, Errno>,
) -> Poll<Result<T, Errno>> {
    match ask() {
        Err(Errno::Again) => {
            source.register(interest, cx.waker());
            Poll::Pending
        }
        answer => Poll::Ready(answer),
    }
}

/// The one call that waits: returns when any of what `wait` names may have come. An empty wait lets all others go first
/// ([`StepBack`]); one until a time that is past gives way to the other tasks once.
pub async fn ready(wait: &Wait, clock: &dyn Clock, stdio: &dyn Stdio, timers: &Timers) {
    if wait.is_empty() || *wait == Wait::GIVE_WAY {
        return StepBack::new(timers, u64::MAX, || false).await;
    }
    if wait.until.is_some_and(|until| until <= clock.monotonic()) {
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

/// How often others have their goes before one who stepped back for them.
const PASSED_OVER: u32 = 32;

/// Tasks, each with its result, and the host that they wait on.
pub struct Executor<'a, T> {
    tasks: Set<'a, T>,
    timers: Arc<Timers>,
}

impl<'a, T> Executor<'a, T> {
    pub fn new(timers: Arc<Timers>) -> Self {
        Self { tasks: Set::default(), timers }
    }

    pub fn spawn(&mut self, task: impl Future<Output = T> + 'a) {
        self.tasks.add(Box::pin(task));
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Runs until the next task ends, and gives its result. `None`: there are none, or the host ended the run.
    pub fn next(&mut self, clock: &dyn Clock, host: &mut dyn Host) -> Option<T> {
        let (mut passed_over, mut interruptible) = (0, false);
        loop {
            // Those that can run now, each once: what they wake has its go after the host.
            let ended = (0..self.tasks.woken()).find_map(|_| self.tasks.run_one());
            if mem::take(&mut interruptible) {
                host.end_interruptible();
            }
            if ended.is_some() {
                return ended;
            }
            if self.is_empty() {
                return None;
            }
            let until = self.timers.next();
            let back = !self.timers.back.is_empty();
            let idle = self.tasks.woken() == 0 && !back;
            if host.park(idle, until).is_break() {
                return None;
            }
            if let Some(until) = self.timers.next() {
                let now = clock.monotonic();
                if until <= now {
                    self.timers.fire(now);
                }
            }
            if back {
                passed_over += 1;
                interruptible = self.tasks.woken() == 0 && host.begin_interruptible();
                if interruptible || passed_over > PASSED_OVER {
                    passed_over = 0;
                    self.timers.back.wake_next();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
