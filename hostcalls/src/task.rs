//! Guests, and whatever else waits, as futures on one thread.
//!
//! Promises: a task runs only when it was woken, in the order of the wakes; what is due is woken in order; the host has
//! its go ([`Host::park`]) at the latest when each task had one, and is asked to wait only when no task can run, and is
//! told until when. A wait that ends, or is dropped, leaves no timer behind. One task that panics is the caller's panic:
//! guests catch their own.
//!
//! Does not: know how its host waits, preempt a task, or use more than one core.
//!
//! A queue of numbers and a waker for each task, where `FuturesUnordered` would do as well: that one costs a kernel
//! image more than all the rest of this file, and asks to be polled once more than there is something to do.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
    task::Wake,
    vec::Vec,
};
use core::{
    cell::RefCell,
    future::{Future, poll_fn},
    ops::ControlFlow,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};

use spin::Mutex;

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

/// Tasks, each with its result.
pub struct Executor<'a, T> {
    /// At their numbers. That of a task that has ended is another's one day.
    tasks: Vec<Option<Task<'a, T>>>,
    woken: Arc<Woken>,
    timers: Rc<Timers>,
}

struct Task<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// The numbers of the tasks that can run, in the order in which they were woken.
#[derive(Default)]
struct Woken(Mutex<VecDeque<usize>>);

/// Wakes one task.
struct Bell {
    task: usize,
    /// Is it among the woken already?
    rung: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.woken.0.lock().push_back(self.task);
        }
    }
}

impl<'a, T> Executor<'a, T> {
    pub fn new(timers: Rc<Timers>) -> Self {
        Self { tasks: Vec::new(), woken: Arc::default(), timers }
    }

    pub fn spawn(&mut self, task: impl Future<Output = T> + 'a) {
        self.add(Box::pin(task));
    }

    fn add(&mut self, future: Pin<Box<dyn Future<Output = T> + 'a>>) {
        let number = self.tasks.iter().position(Option::is_none).unwrap_or(self.tasks.len());
        let bell = Bell { task: number, rung: AtomicBool::new(false), woken: self.woken.clone() };
        let bell = Arc::new(bell);
        bell.wake_by_ref();
        let task = Some(Task { future, waker: bell.clone().into(), bell });
        match self.tasks.get_mut(number) {
            Some(place) => *place = task,
            None => self.tasks.push(task),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.iter().all(Option::is_none)
    }

    /// Runs until the next task ends, and gives its result. `None`: there are none, or the host ended the run.
    pub fn next(&mut self, clock: &dyn Clock, host: &mut dyn Host) -> Option<T> {
        loop {
            // Those that can run now, each once: what they wake has its go after the host.
            let due = self.woken.0.lock().len();
            for _ in 0..due {
                if let Some(ended) = self.run_one() {
                    return Some(ended);
                }
            }
            if self.is_empty() {
                return None;
            }
            let until = self.timers.next();
            let idle = self.woken.0.lock().is_empty();
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

    /// Runs the task that was woken first; its result, if it has ended.
    fn run_one(&mut self) -> Option<T> {
        let number = self.woken.0.lock().pop_front()?;
        // The waker of a task that has ended may be anywhere.
        let place = self.tasks.get_mut(number)?;
        let task = place.as_mut()?;
        // Before it runs: what wakes it meanwhile counts.
        task.bell.rung.store(false, Ordering::Release);
        match task.future.as_mut().poll(&mut Context::from_waker(&task.waker)) {
            Poll::Pending => None,
            Poll::Ready(result) => {
                *place = None;
                Some(result)
            }
        }
    }
}

#[cfg(test)]
mod tests;
