//! Letting all others go first: for who has computed for a while, and would go on.
//!
//! Promises: who stepped back runs when nobody else can, after the host had its go; if others can all the time, one each time that
//! they have had so many goes ([`super::PASSED_OVER`]). Of those who stepped back, who had the fewest turns goes first: what is soon
//! done does not wait for what may never be. From [`MANY`] turns on all are equal, and go in the order of their steps; and one of
//! [`OLDEST`] turns is that of who waits longest, so that nobody starves. What wakes the task meanwhile (a packet for its connection)
//! does not let it run on any sooner. Dropped, it leaves nothing behind.

use alloc::vec::Vec;
use core::{
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use spin::Mutex;

use super::Timers;

/// More turns than that do not count.
pub(super) const MANY: u64 = 8;

/// One of so many turns goes by how long one waits.
pub(super) const OLDEST: u64 = 32;

/// Who stepped back.
#[derive(Default)]
pub(super) struct Queue(Mutex<Line>);

#[derive(Default)]
struct Line {
    /// The place of who came last.
    last: u64,
    /// How many had their turn.
    served: u64,
    /// In the order in which they came, and so of their places.
    all: Vec<Waiting>,
}

struct Waiting {
    place: u64,
    /// How many it had, up to [`MANY`].
    turns: u64,
    waker: Waker,
}

impl Line {
    fn find(&self, place: u64) -> Option<usize> {
        self.all.binary_search_by_key(&place, |waiting| waiting.place).ok()
    }

    fn take(&mut self, place: u64) -> Option<Waiting> {
        self.find(place).map(|at| self.all.remove(at))
    }

    fn take_next(&mut self) -> Option<Waiting> {
        self.served += 1;
        let next = if self.served.is_multiple_of(OLDEST) {
            0
        } else {
            // The first of equals.
            let (next, _) = self.all.iter().enumerate().min_by_key(|(_, waiting)| waiting.turns)?;
            next
        };
        (next < self.all.len()).then(|| self.all.remove(next))
    }
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().all.is_empty()
    }

    pub(super) fn wake_next(&self) {
        // Woken once nothing is locked.
        let next = self.0.lock().take_next();
        if let Some(waiting) = next {
            waiting.waker.wake();
        }
    }

    fn add(&self, turns: u64, waker: &Waker) -> u64 {
        let line = &mut *self.0.lock();
        line.last += 1;
        line.all.push(Waiting { place: line.last, turns: turns.min(MANY), waker: waker.clone() });
        line.last
    }

    /// False: it had its turn.
    fn keep(&self, place: u64, waker: &Waker) -> bool {
        let line = &mut *self.0.lock();
        let Some(at) = line.find(place) else { return false };
        // The old one is of the same task as a rule: then nothing is cloned.
        line.all[at].waker.clone_from(waker);
        true
    }

    fn remove(&self, place: u64) {
        // Dropped once nothing is locked: it may be the last of its task.
        let _old = self.0.lock().take(place);
    }
}

/// Ready when all others had their go, or `over`, asked whenever something wakes the task, says that its time is up.
pub struct StepBack<T: Deref<Target = Timers>, F> {
    timers: T,
    turns: u64,
    over: F,
    place: Option<u64>,
}

impl<T: Deref<Target = Timers>, F: FnMut() -> bool> StepBack<T, F> {
    /// For one that had so many turns already.
    pub fn new(timers: T, turns: u64, over: F) -> Self {
        Self { timers, turns, over, place: None }
    }
}

impl<T: Deref<Target = Timers> + Unpin, F: FnMut() -> bool + Unpin> Future for StepBack<T, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let queue = &this.timers.back;
        let waits = match this.place {
            None => {
                this.place = Some(queue.add(this.turns, cx.waker()));
                true
            }
            Some(place) => queue.keep(place, cx.waker()) && !(this.over)(),
        };
        if waits { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl<T: Deref<Target = Timers>, F> Drop for StepBack<T, F> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.timers.back.remove(place);
        }
    }
}
