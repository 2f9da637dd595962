//! Letting all others go first: for who has computed for a while, and would go on.
//!
//! Promises: who stepped back runs when nobody else can, after the host had its go; if others can all the time, in the order
//! of the steps, one each time that they have had so many goes ([`super::PASSED_OVER`]). What wakes the task meanwhile (a packet
//! for its connection) does not let it run on any sooner. Dropped, it leaves nothing behind.

use alloc::collections::BTreeMap;
use core::{
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use spin::Mutex;

use super::Timers;

/// Who stepped back, in this order; and a number for the next.
#[derive(Default)]
pub(super) struct Queue(Mutex<(u64, BTreeMap<u64, Waker>)>);

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().1.is_empty()
    }

    pub(super) fn wake_first(&self) {
        let first = self.0.lock().1.pop_first();
        if let Some((_, waker)) = first {
            waker.wake();
        }
    }

    fn add(&self, waker: &Waker) -> u64 {
        let (count, queue) = &mut *self.0.lock();
        *count += 1;
        queue.insert(*count, waker.clone());
        *count
    }

    /// False: it had its turn.
    fn keep(&self, place: u64, waker: &Waker) -> bool {
        let queue = &mut self.0.lock().1;
        let Some(old) = queue.get_mut(&place) else { return false };
        // The old one is of the same task as a rule: then nothing is cloned.
        old.clone_from(waker);
        true
    }

    fn remove(&self, place: u64) {
        // Dropped once nothing is locked: it may be the last of its task.
        let _waker = self.0.lock().1.remove(&place);
    }
}

/// Ready when all others had their go, or `over`, asked whenever something wakes the task, says that its time is up.
pub struct StepBack<T: Deref<Target = Timers>, F> {
    timers: T,
    over: F,
    place: Option<u64>,
}

impl<T: Deref<Target = Timers>, F: FnMut() -> bool> StepBack<T, F> {
    pub fn new(timers: T, over: F) -> Self {
        Self { timers, over, place: None }
    }
}

impl<T: Deref<Target = Timers> + Unpin, F: FnMut() -> bool + Unpin> Future for StepBack<T, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let queue = &this.timers.back;
        let waits = match this.place {
            None => {
                this.place = Some(queue.add(cx.waker()));
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
