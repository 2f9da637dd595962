//! Who waits at a socket: one waker for each interest.

use alloc::vec::Vec;
use core::task::Waker;

use lunette_hostcalls::{Interest, Ready};

#[derive(Default)]
pub(crate) struct Wakers([Option<Waker>; 2]);

/// Wakers to be woken once the stack is unlocked: a waker may run code of its own.
pub(crate) type Woken = Vec<Waker>;

impl Wakers {
    /// Keeps `waker` until what it waits for is `ready`, which may be now.
    pub(crate) fn register(&mut self, interest: Interest, waker: &Waker, ready: Ready, woken: &mut Woken) {
        let place = &mut self.0[interest as usize];
        if ready.any() {
            woken.push(waker.clone());
        }
        if place.as_ref().is_some_and(|old| old.will_wake(waker)) {
            if ready.any() {
                *place = None;
            }
            return;
        }
        woken.extend(place.take());
        if !ready.any() {
            *place = Some(waker.clone());
        }
    }

    /// Wakes whoever waits for what is there.
    pub(crate) fn wake(&mut self, interest: Interest, ready: Ready, woken: &mut Woken) {
        if ready.any() {
            woken.extend(self.0[interest as usize].take());
        }
    }

    pub(crate) fn wake_all(&mut self, woken: &mut Woken) {
        woken.extend(self.0.iter_mut().filter_map(Option::take));
    }
}
