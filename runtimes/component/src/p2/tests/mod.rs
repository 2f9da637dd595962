//! Each interface as a guest finds it, but called by its name: what a WIT file says a function does, and what it says of errors.

mod cli;
mod filesystem;
mod io;
mod keyvalue;
mod sockets;

use std::{future::Future, sync::Arc};

use lunette_hostcalls::{
    Ctx, Grants,
    fake::{FakeHost, FakeWorld},
    task::{Executor, Time, Timers},
};
use lunette_native::{Book, Limits};

use crate::State;

/// A world, and what waits in it.
struct Bench {
    world: FakeWorld,
    timers: Arc<Timers>,
}

impl Bench {
    fn new() -> Self {
        Self::of(FakeWorld::new(1))
    }

    fn of(world: FakeWorld) -> Self {
        Self { world, timers: Arc::default() }
    }

    fn state(&self) -> State {
        self.state_of(self.world.ctx(&["app", "-v"], &[("HOME", "/")]))
    }

    /// A guest that may do this on the network.
    fn granted(&self, grants: Grants) -> State {
        let mut ctx = self.world.ctx(&["app"], &[]);
        ctx.network = self.world.network(grants);
        self.state_of(ctx)
    }

    fn state_of(&self, ctx: Ctx) -> State {
        let time = Time::new(ctx.clock.clone(), self.timers.clone());
        State::new(ctx, time, Book::new(Limits::default()))
    }

    /// To its end; time passes as it waits for it.
    #[track_caller]
    fn run<T>(&self, task: impl Future<Output = T>) -> T {
        self.try_run(task).expect("it waits for what never comes")
    }

    fn try_run<T>(&self, task: impl Future<Output = T>) -> Option<T> {
        let mut executor = Executor::new(self.timers.clone());
        executor.spawn(task);
        executor.next(&*self.world.clock, &mut FakeHost::new(&self.world))
    }
}
