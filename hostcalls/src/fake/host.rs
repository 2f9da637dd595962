//! What runs a fake world: its log, and a host for the executor that pushes the clock instead of waiting.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{fmt, ops::ControlFlow};

use spin::Mutex;

use super::{FakeClock, FakeNet, FakeWorld};
use crate::{Clock, Log, Nanos, task::Host};

/// Keeps what the host says about its guests.
#[derive(Default)]
pub struct FakeLog(Mutex<Vec<String>>);

impl FakeLog {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

impl Log for FakeLog {
    fn warn(&self, line: fmt::Arguments<'_>) {
        let line = alloc::fmt::format(line);
        self.0.lock().push(line);
    }
}

/// Waits by pushing the clock to whatever comes next: a timer, or something on the network. When nothing will ever
/// come, the run is over.
pub struct FakeHost {
    clock: Arc<FakeClock>,
    net: FakeNet,
    /// How often it was asked to wait, and how often of these nobody could run.
    pub parks: usize,
    pub idle: usize,
    /// The VM was asked to end.
    pub stopping: bool,
}

impl FakeHost {
    pub fn new(world: &FakeWorld) -> Self {
        Self { clock: world.clock.clone(), net: world.net.clone(), parks: 0, idle: 0, stopping: false }
    }
}

impl Host for FakeHost {
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()> {
        self.parks += 1;
        self.net.poll();
        if idle {
            self.idle += 1;
            let Some(next) = until.into_iter().chain(self.net.next()).min() else {
                return ControlFlow::Break(());
            };
            self.clock.advance(next.saturating_sub(self.clock.monotonic()));
            self.net.poll();
        }
        ControlFlow::Continue(())
    }

    fn begin_interruptible(&mut self) -> bool {
        true
    }

    fn end_interruptible(&mut self) {}

    fn stopping(&self) -> bool {
        self.stopping
    }
}
