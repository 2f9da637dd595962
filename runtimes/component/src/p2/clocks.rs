//! `wasi:clocks`: two clocks, and waiting for one of them.

use async_trait::async_trait;
use lunette_hostcalls::{
    Nanos,
    task::{Time, give_way},
};
use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::bindings::wasi::clocks::{
    monotonic_clock,
    wall_clock::{self, Datetime},
};
use crate::State;

const SECOND: Nanos = 1_000_000_000;

pub(super) fn datetime(at: Nanos) -> Datetime {
    Datetime { seconds: at / SECOND, nanoseconds: (at % SECOND) as u32 }
}

/// `None`: it is too late for this century (2554).
pub(super) fn nanos(at: Datetime) -> Option<Nanos> {
    at.seconds.checked_mul(SECOND)?.checked_add(at.nanoseconds.into())
}

impl wall_clock::Host for State {
    /// The epoch where the host does not know the date: there is no error to tell, and such a date shows that it is none.
    fn now(&mut self) -> Result<Datetime> {
        Ok(datetime(self.ctx.clock.wall().unwrap_or(0)))
    }

    fn resolution(&mut self) -> Result<Datetime> {
        Ok(datetime(self.ctx.clock.resolution().max(1)))
    }
}

impl monotonic_clock::Host for State {
    fn now(&mut self) -> Result<u64> {
        Ok(self.ctx.clock.monotonic())
    }

    fn resolution(&mut self) -> Result<u64> {
        Ok(self.ctx.clock.resolution().max(1))
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let deadline = self.table.push(Deadline { at: when, time: self.time.clone(), waited: false })?;
        subscribe(&mut self.table, deadline)
    }

    fn subscribe_duration(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        self.subscribe_instant(self.ctx.clock.monotonic().saturating_add(when))
    }
}

struct Deadline {
    at: Nanos,
    time: Time,
    /// It has let others have a go.
    waited: bool,
}

#[async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        let due = self.at <= self.time.now();
        if due && !self.waited {
            // Who polls with a time that is past may do so again and again, and what it asks about has to come from
            // somewhere.
            self.waited = true;
            return give_way().await;
        }
        if !due {
            self.time.sleep_until(self.at).await;
            self.waited = true;
        }
    }
}
