//! Where guests spend their time: at each tick of the epoch, the stack of whoever runs on is a sample.
//!
//! Promises: a guest without a [`Probe`] pays nothing; samples take a tenth of the time at most: ticks that are let go by for that
//! are counted with the next sample. What is kept is bounded ([`lunette_hostcalls::profile`]). The engine reads all debug
//! information for each function of each sample, so code with much of it has few samples: the CLI compiles without it.
//!
//! Does not: see guests that wait, or what the host does for them: a tick that comes meanwhile is counted where the guest goes on.
//! A function without a loop that calls nobody is counted with whoever comes next.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lunette_hostcalls::{Clock, Nanos, profile};
use wasmtime::{AsContext, WasmBacktrace};

use crate::{config, trap};

/// The samples of all guests that have a [`Probe`] of it. There is one for a run, and it stays.
#[derive(Debug, Default)]
pub struct Profile(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    samples: profile::Profile,
    /// No sample before that.
    next: Nanos,
    /// Ticks since the last one.
    passed: u64,
}

/// One guest's access to a profile.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    profile: &'static Profile,
    guest: &'static str,
}

/// A sample that took a time `t` is followed by none for this many times `t`.
const RARELY: u64 = 9;

/// Stands for the callers of one that has more than are looked at.
const DEEPER: &str = "[further callers]";

impl Profile {
    /// A new one, for as long as this process lives; to be begun before the first [`Engine`](crate::Engine) is made.
    pub fn begin() -> &'static Self {
        config::look_deeper();
        Box::leak(Box::default())
    }

    /// For a guest of that name.
    pub fn probe(&'static self, guest: &str) -> Probe {
        Probe { profile: self, guest: guest.to_owned().leak() }
    }

    /// What there is so far.
    pub fn samples(&self) -> profile::Profile {
        self.state().samples.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked meanwhile left a sample out, and nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe {
    /// A tick: takes a sample of the guest in `store`, which runs.
    pub(crate) fn tick(&self, store: impl AsContext, clock: &dyn Clock) {
        let mut state = self.profile.state();
        let begun = clock.monotonic();
        state.passed += 1;
        if begun < state.next {
            return;
        }
        let found = WasmBacktrace::force_capture(store);
        let names = trap::names(&found);
        let deeper = (found.frames().len() >= config::frames()).then_some(DEEPER);
        let stack = names.iter().rev().map(String::as_str);
        let ticks = std::mem::take(&mut state.passed);
        state.samples.count(std::iter::once(self.guest).chain(deeper).chain(stack), ticks);
        let end = clock.monotonic();
        state.next = end.saturating_add(end.saturating_sub(begun).saturating_mul(RARELY));
    }
}
