//! A component that is run: what `wasi:cli/command` calls a program.
//!
//! Promises: it ends as an [`Ending`], whatever it does; a host call that has to wait suspends it, and nobody else; at
//! its end, all that it had open is closed.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use lunette_hostcalls::{
    CodeFrame, Ctx, Ending, Limit, Nanos, Trap, TrapKind,
    task::{Time, Timers},
};
use lunette_native::{Book, Limits, Meter, trap};
use wasmtime::{
    Store,
    component::{Component, ComponentExportIndex, InstancePre},
};

use crate::{Problem, State, link::link};

/// How much a guest may hand over in one call, in bytes: lists and strings are copied.
const MAX_HANDED: usize = 16 << 20;

/// A program that runs.
pub struct Command {
    store: Store<State>,
    program: InstancePre<State>,
    entry: ComponentExportIndex,
    time: Time,
    deadline: Option<Nanos>,
    backtrace: Vec<CodeFrame>,
    ended: Option<Ending>,
}

impl Command {
    /// Makes a guest of a component. Nothing of it runs yet: its memory is set up when it does.
    pub fn new(
        component: &Component,
        ctx: Ctx,
        timers: Arc<Timers>,
        limits: Limits,
        meter: Meter,
    ) -> Result<Self, Problem> {
        let program = link(component)?;
        let entry = entry(component)?;
        let time = Time::new(ctx.clock.clone(), timers);
        let store = store(component.engine(), ctx, time.clone(), limits, meter)?;
        let deadline = meter.deadline;
        Ok(Self { store, program, entry, time, deadline, backtrace: Vec::new(), ended: None })
    }

    /// Runs it until it ends. Not to be dropped in the middle and called again: it answers that it was stopped.
    pub async fn run(&mut self) -> Ending {
        if let Some(ending) = &self.ended {
            return ending.clone();
        }
        self.ended = Some(Ending::Stopped(Limit::Time));
        let (time, deadline) = (self.time.clone(), self.deadline);
        let ending = match guarded(self.go(), &time, deadline).await {
            Ok(Ok(Ok(()))) => Ending::Exited(0),
            Ok(Ok(Err(()))) => Ending::Exited(1),
            Ok(Err(error)) => {
                let (ending, frames) = trap::ending(&error);
                self.backtrace = frames;
                ending
            }
            Err(ending) => ending,
        };
        self.store.data_mut().close();
        self.ended = Some(ending.clone());
        ending
    }

    async fn go(&mut self) -> wasmtime::Result<Result<(), ()>> {
        let instance = self.program.instantiate_async(&mut self.store).await?;
        let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut self.store, self.entry)?;
        let (result,) = run.call_async(&mut self.store, ()).await?;
        Ok(result)
    }

    /// Where it was when it trapped or was stopped, innermost function first.
    pub fn backtrace(&self) -> &[CodeFrame] {
        &self.backtrace
    }

    /// What it used, and what it was denied.
    pub fn book(&self) -> &Book {
        &self.store.data().book
    }
}

/// A store for one instance, held to its limits.
pub(crate) fn store(
    engine: &wasmtime::Engine,
    ctx: Ctx,
    time: Time,
    limits: Limits,
    meter: Meter,
) -> Result<Store<State>, Problem> {
    let clock = ctx.clock.clone();
    let mut store = Store::new(engine, State::new(ctx, time, Book::new(limits)));
    store.limiter(|state| &mut state.book);
    store.set_hostcall_fuel(MAX_HANDED);
    meter.hold(&mut store, clock).map_err(Problem::setup)?;
    Ok(store)
}

/// `wasi:cli/run` of any 0.2, and the function in it.
fn entry(component: &Component) -> Result<ComponentExportIndex, Problem> {
    let run = component.get_export_index(None, "wasi:cli/run@0.2.12");
    run.and_then(|run| component.get_export_index(Some(&run), "run")).ok_or_else(|| {
        let ty = component.component_type();
        let exports = ty.exports(component.engine()).map(|(name, _)| name.to_owned()).collect();
        Problem::NoEntry { wanted: "wasi:cli/run@0.2", exports }
    })
}

/// Waits for a guest, but not past its deadline; a panic of ours is its end, and nobody else's.
///
/// A guest that runs on at its deadline is stopped by its meter, which knows where it was: so it is only given up when it has had
/// a go after that, and waits.
pub(crate) async fn guarded<T>(
    guest: impl Future<Output = T>,
    time: &Time,
    deadline: Option<Nanos>,
) -> Result<T, Ending> {
    let mut guest = pin!(guest);
    let mut due = pin!(deadline.map(|deadline| time.sleep_until(deadline)));
    poll_fn(|cx: &mut Context<'_>| {
        let late = deadline.is_some_and(|deadline| deadline <= time.now());
        match catch_unwind(AssertUnwindSafe(|| guest.as_mut().poll(cx))) {
            Ok(Poll::Ready(result)) => return Poll::Ready(Ok(result)),
            Ok(Poll::Pending) if late => return Poll::Ready(Err(Ending::Stopped(Limit::Time))),
            Ok(Poll::Pending) => {}
            Err(panic) => return Poll::Ready(Err(panicked(&*panic))),
        }
        if let Some(due) = due.as_mut().as_pin_mut()
            && due.poll(cx).is_ready()
        {
            // It became due while the guest ran.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

fn panicked(panic: &(dyn Any + Send)) -> Ending {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let message = format!("a host call panicked: {}", words.lines().next().unwrap_or_default());
    Ending::Trapped(Trap { kind: TrapKind::HostPanic, message, backtrace: Vec::new() })
}
