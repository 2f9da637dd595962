//! Waiting at a socket: many tasks at one, in turn, and not for ever.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use lunette_hostcalls::{Nanos, task::Time};

use super::fault::Fault;

/// Wakes all the tasks that wait for one thing: a source of the host's knows one waker for it, this one.
#[derive(Default)]
pub(crate) struct Bell(Mutex<Vec<Waker>>);

impl Bell {
    pub(crate) fn add(&self, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    pub(crate) fn ring(&self) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Who reads from (or writes to) a socket, one after the other: what one task sends stays in one piece, and what it
/// reads too. In the order in which they came.
#[derive(Default)]
pub(crate) struct Turns {
    last: Cell<u64>,
    queue: RefCell<VecDeque<(u64, Option<Waker>)>>,
}

/// A place in the queue; given up when dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    pub(crate) fn take(&self) -> Turn<'_> {
        self.last.set(self.last.get() + 1);
        self.queue.borrow_mut().push_back((self.last.get(), None));
        Turn { turns: self, number: self.last.get() }
    }
}

impl Turn<'_> {
    /// Ready while it is this one's turn.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut queue = self.turns.queue.borrow_mut();
        match queue.front() {
            Some((number, _)) if *number == self.number => Poll::Ready(()),
            _ => {
                if let Some((_, waker)) = queue.iter_mut().find(|(number, _)| *number == self.number) {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.turns.queue.borrow_mut();
        queue.retain(|(number, _)| *number != self.number);
        let next = queue.front_mut().and_then(|(_, waker)| waker.take());
        drop(queue);
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// An object's two timeouts, as LuaSocket has them: for each wait, and for the whole call. In seconds; none if negative.
pub(crate) struct Timeouts {
    pub(crate) block: Cell<f64>,
    pub(crate) total: Cell<f64>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { block: Cell::new(-1.0), total: Cell::new(-1.0) }
    }
}

impl Timeouts {
    /// For a call that begins now.
    pub(crate) fn begin(&self, time: &Time) -> Patience {
        Patience { start: time.now(), block: nanos(self.block.get()), total: nanos(self.total.get()) }
    }
}

fn nanos(seconds: f64) -> Option<Nanos> {
    // Saturating: what is too long is for ever.
    (seconds >= 0.0).then_some((seconds * 1e9) as Nanos)
}

/// How long one call may wait.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    start: Nanos,
    block: Option<Nanos>,
    total: Option<Nanos>,
}

impl Patience {
    pub(crate) const ENDLESS: Self = Self { start: 0, block: None, total: None };

    /// Until so long after now.
    pub(crate) fn for_seconds(time: &Time, seconds: f64) -> Self {
        Self { start: time.now(), block: nanos(seconds), total: None }
    }

    /// None at all: what can't be done at once is not done.
    pub(crate) fn is_none(&self) -> bool {
        self.block == Some(0)
    }

    /// When a wait that begins now ends (LuaSocket's `timeout_getretry`).
    fn until(&self, now: Nanos) -> Option<Nanos> {
        match (self.block, self.total) {
            (None, None) => None,
            (Some(of), None) | (None, Some(of)) => Some(self.start.saturating_add(of)),
            (Some(block), Some(total)) => {
                Some(now.saturating_add(block).min(self.start.saturating_add(total)))
            }
        }
    }

    /// Asks until there is an answer, or the patience is at its end.
    pub(crate) async fn wait<T>(
        &self,
        time: &Time,
        mut ask: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let (mut sleep, mut gave_way) = (None, false);
        poll_fn(|cx| {
            if let Poll::Ready(answer) = ask(cx) {
                return Poll::Ready(answer);
            }
            if self.is_none() {
                if gave_way {
                    return Poll::Ready(Err(Fault::Timeout));
                }
                // A script may ask again and again, until something has come: the host has to have its go for that.
                gave_way = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if sleep.is_none() {
                sleep = self.until(time.now()).map(|until| time.sleep_until(until));
            }
            match &mut sleep {
                Some(sleep) => Pin::new(sleep).poll(cx).map(|()| Err(Fault::Timeout)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self, time: &Time, turn: &Turn<'_>) -> Result<(), Fault> {
        self.wait(time, |cx| turn.poll(cx).map(Ok)).await
    }
}
