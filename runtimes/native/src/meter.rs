//! How long a guest may run, and that it gives way to others.
//!
//! Promises: at every tick of the epoch ([`crate::ticker`]) a guest that runs on lets all others go first; past its deadline it
//! is stopped, and says where it was; so it is when its fuel is used up. Waiting counts as time, but a guest that waits has to be
//! woken by whoever waits for it ([`Meter::deadline`]).

use std::fmt;

use lunette_hostcalls::{Limit, Nanos, task::Time};
use wasmtime::{Store, UpdateDeadline};

use crate::profile::Probe;

/// What a guest may take of the processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    /// When it has to be at its end, by the monotonic clock.
    pub deadline: Option<Nanos>,
    /// How much it may execute: about a unit an instruction. `Some` only in an engine that counts.
    pub fuel: Option<u64>,
    /// Where samples of its stack go, if anybody wants them.
    pub probe: Option<Probe>,
}

/// The error of a guest that used up what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped(pub Limit);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Limit::Time => "its time was up",
            Limit::Fuel => "its fuel was used up",
        })
    }
}

impl std::error::Error for Stopped {}

/// How much runs between two looks at the other guests, where fuel is counted.
const SLICE: u64 = 5_000_000;

impl Meter {
    /// Has `store` held to it. To be called once, before anything runs in it.
    pub fn hold<T: 'static>(&self, store: &mut Store<T>, time: Time) -> wasmtime::Result<()> {
        if let Some(fuel) = self.fuel {
            store.set_fuel(fuel)?;
            store.fuel_async_yield_interval(Some(SLICE))?;
        }
        store.set_epoch_deadline(1);
        let (deadline, probe) = (self.deadline, self.probe);
        let over = move |time: &Time| deadline.is_some_and(|deadline| time.now() >= deadline);
        let mut turns = 0;
        store.epoch_deadline_callback(move |store| {
            if let Some(probe) = &probe {
                probe.tick(store, time.clock());
            }
            if over(&time) {
                return Err(Stopped(Limit::Time).into());
            }
            // Woken at its deadline, it goes on until the next tick, and is stopped where it is then.
            let until = time.clone();
            turns += 1;
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(time.step_back(turns, move || over(&until)))))
        });
        Ok(())
    }
}
