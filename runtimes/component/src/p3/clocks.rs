//! `wasi:clocks`: two clocks, and waiting for one of them.

use lunette_hostcalls::{
    Nanos,
    task::{Time, give_way},
};
use wasmtime::{
    Error, Result,
    component::{Accessor, HasSelf},
};

use super::bindings::wasi::clocks::{
    monotonic_clock,
    system_clock::{self, Instant},
    types,
};
use crate::State;

const SECOND: Nanos = 1_000_000_000;

pub(super) fn instant(at: Nanos) -> Instant {
    Instant { seconds: (at / SECOND) as i64, nanoseconds: (at % SECOND) as u32 }
}

/// `None`: it is before 1970, or too late for this century (2554).
pub(super) fn nanos(at: Instant) -> Option<Nanos> {
    u64::try_from(at.seconds).ok()?.checked_mul(SECOND)?.checked_add(at.nanoseconds.into())
}

impl types::Host for State {}

impl system_clock::Host for State {
    /// Where the host does not know the date, a trap: there is no error to tell, and no date that were true.
    fn now(&mut self) -> Result<Instant> {
        let now = self.ctx.clock.wall().ok_or_else(|| Error::msg("this machine does not know the date"))?;
        Ok(instant(now))
    }

    fn get_resolution(&mut self) -> Result<u64> {
        Ok(self.ctx.clock.resolution().max(1))
    }
}

impl monotonic_clock::Host for State {
    fn now(&mut self) -> Result<u64> {
        Ok(self.ctx.clock.monotonic())
    }

    fn get_resolution(&mut self) -> Result<u64> {
        Ok(self.ctx.clock.resolution().max(1))
    }
}

impl monotonic_clock::HostWithStore<State> for HasSelf<State> {
    async fn wait_until(store: &Accessor<State, Self>, when: u64) -> Result<()> {
        let time = store.with(|mut access| access.get().time.clone());
        wait(&time, when).await;
        Ok(())
    }

    async fn wait_for(store: &Accessor<State, Self>, how_long: u64) -> Result<()> {
        let time = store.with(|mut access| access.get().time.clone());
        wait(&time, time.now().saturating_add(how_long)).await;
        Ok(())
    }
}

/// A wait for what is past gives way once: who waits like that in a loop waits for others.
async fn wait(time: &Time, when: Nanos) {
    if when <= time.now() {
        return give_way().await;
    }
    time.sleep_until(when).await;
}
