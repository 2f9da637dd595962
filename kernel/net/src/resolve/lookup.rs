//! One asking, as the guest holds it.

use alloc::{sync::Arc, vec::Vec};
use core::{net::IpAddr, task::Waker};

use spin::Mutex;

use lunette_hostcalls::{Errno, Interest, Lookup, Ready, Source};

pub(super) type Answered = Result<Vec<IpAddr>, Errno>;

/// Shared by whoever asked and, until it is answered, by the resolver, which lets go of a question that nobody
/// waits for any more.
#[derive(Default)]
pub(super) struct Pending(Mutex<State>);

#[derive(Default)]
struct State {
    answer: Option<Answered>,
    waker: Option<Waker>,
}

impl Pending {
    pub(super) fn answered(answer: Answered) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { answer: Some(answer), waker: None })))
    }

    /// Gives the waker back: to be woken when no lock is held.
    pub(super) fn settle(&self, answer: Answered) -> Option<Waker> {
        let mut state = self.0.lock();
        state.answer = Some(answer);
        state.waker.take()
    }
}

impl Source for Pending {
    fn ready(&self, interest: Interest) -> Ready {
        match interest {
            Interest::Read => Ready { bytes: u64::from(self.0.lock().answer.is_some()), hangup: false },
            // There is nothing to write to.
            Interest::Write => Ready { bytes: 0, hangup: true },
        }
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        let woken = match interest {
            Interest::Write => Some(waker.clone()),
            Interest::Read => {
                let mut state = self.0.lock();
                match state.answer {
                    Some(_) => Some(waker.clone()),
                    None => state.waker.replace(waker.clone()).filter(|old| !old.will_wake(waker)),
                }
            }
        };
        if let Some(woken) = woken {
            woken.wake();
        }
    }
}

impl Lookup for Pending {
    fn addresses(&self) -> Answered {
        self.0.lock().answer.clone().unwrap_or(Err(Errno::Again))
    }
}
