//! Many who wait for what has room for one waker: standard input, a socket that a guest receives from twice at once.
//!
//! A service keeps one waker, and wakes the one before when it gets another: two that wait would wake each other for ever.
//! So all of them are one to the service, and are woken together.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Wake, Waker},
};

/// All that wait for one thing.
#[derive(Default)]
pub(crate) struct Crowd(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    count: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// One of them. Dropped, it does not wait any more.
pub(super) struct Member {
    crowd: Arc<Crowd>,
    number: u64,
}

impl Crowd {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(self: &Arc<Self>) -> Member {
        let mut waiting = self.lock();
        waiting.count += 1;
        Member { crowd: self.clone(), number: waiting.count }
    }
}

impl Wake for Crowd {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Woken once nothing is locked.
        let wakers = mem::take(&mut self.lock().wakers);
        wakers.into_values().for_each(Waker::wake);
    }
}

impl Member {
    /// Waits from now on; the waker is the whole crowd's, for the service.
    pub(super) fn wait(&self, cx: &Context<'_>) -> Waker {
        self.crowd.lock().wakers.insert(self.number, cx.waker().clone());
        Waker::from(self.crowd.clone())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _waker = self.crowd.lock().wakers.remove(&self.number);
    }
}
