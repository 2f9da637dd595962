//! A component that is run: what `wasi:cli/command` calls a program.
//!
//! Promises: it ends as an [`Ending`], whatever it does; a host call that has to wait suspends it, and nobody else; at
//! its end, all that it had open is closed.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use lunette_hostcalls::{
    CodeFrame, Ctx, Ending, Limit, Log, Nanos, Trap, TrapKind,
    task::{Local, Time, Timers},
};
use lunette_native::{Book, Limits, Meter, trap};
use wasmtime::{
    Store,
    component::{Component, ComponentExportIndex, InstancePre},
};

use crate::{Problem, State, http::Outgoing, link::link, p3};

/// How much a guest may hand over in one call, in bytes: lists and strings are copied.
const MAX_HANDED: usize = 16 << 20;

/// A program that runs.
pub struct Command {
    run: Pin<Box<dyn Future<Output = Outcome>>>,
    ended: Option<Outcome>,
}

/// How it ended, and where it was: innermost function first.
type Outcome = (Ending, Vec<CodeFrame>);

/// What is called, by the release that it was built for.
#[derive(Clone)]
enum Entry {
    /// `wasi:cli/run` of any 0.2, and the function in it.
    Second(ComponentExportIndex),
    Third(p3::run::Run),
}

impl Command {
    /// Makes a guest of a component. Nothing of it runs yet: its memory is set up when it does.
    pub fn new(
        component: &Component,
        ctx: Ctx,
        timers: Arc<Timers>,
        log: Arc<dyn Log>,
        limits: Limits,
        meter: Meter,
    ) -> Result<Self, Problem> {
        let program = link(component)?;
        let entry = Entry::of(component, &program)?;
        let time = Time::new(ctx.clock.clone(), timers);
        let (outgoing, sender) = Outgoing::new(&ctx, time.clone(), log);
        let mut store = store(component.engine(), ctx, time.clone(), limits, meter)?;
        store.data_mut().ask_by(outgoing);
        // What it asks of others by HTTP is done beside it.
        let mut beside = Local::default();
        beside.spawner().spawn(sender.run(beside.spawner().clone()));
        let run = async move {
            let went = {
                let mut call = pin!(guarded(entry.call(&program, &mut store), &time, meter.deadline));
                let went = poll_fn(|cx| {
                    let went = call.as_mut().poll(cx);
                    if went.is_pending() {
                        let _ = beside.poll(cx);
                    }
                    went
                });
                went.await
            };
            let outcome = match went {
                Ok(Ok(Ok(()))) => (Ending::Exited(0), Vec::new()),
                Ok(Ok(Err(()))) => (Ending::Exited(1), Vec::new()),
                Ok(Err(error)) => trap::ending(&error),
                Err(ending) => (ending, Vec::new()),
            };
            // Its host may keep it for its backtrace.
            store.data_mut().close();
            outcome
        };
        Ok(Self { run: Box::pin(run), ended: None })
    }

    /// Runs it until it ends. Dropped in the middle, it can be called again.
    pub async fn run(&mut self) -> Ending {
        if self.ended.is_none() {
            self.ended = Some(self.run.as_mut().await);
        }
        self.ended.as_ref().map_or(Ending::Exited(0), |(ending, _)| ending.clone())
    }

    /// Where it was when it trapped or was stopped, innermost function first.
    pub fn backtrace(&self) -> &[CodeFrame] {
        self.ended.as_ref().map_or(&[], |(_, frames)| frames)
    }
}

impl Entry {
    fn of(component: &Component, program: &InstancePre<State>) -> Result<Self, Problem> {
        let run = component.get_export_index(None, "wasi:cli/run@0.2.12");
        let second = run.and_then(|run| component.get_export_index(Some(&run), "run"));
        let third = || p3::run::Run::of(program).ok().map(Self::Third);
        second.map(Self::Second).or_else(third).ok_or_else(|| {
            let ty = component.component_type();
            let exports = ty.exports(component.engine()).map(|(name, _)| name.to_owned()).collect();
            Problem::NoEntry { wanted: "wasi:cli/run of WASI 0.2 or 0.3", exports }
        })
    }

    async fn call(
        &self,
        program: &InstancePre<State>,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let instance = match program.instantiate_async(&mut *store).await {
            Ok(instance) => instance,
            Err(error) => return Err(store.data().book.explain(error)),
        };
        match self {
            Self::Second(function) => {
                let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, function)?;
                let (result,) = run.call_async(store, ()).await?;
                Ok(result)
            }
            Self::Third(run) => run.call(store, &instance).await,
        }
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
    let mut store = Store::new(engine, State::new(ctx, time.clone(), Book::new(limits)));
    store.limiter(|state| &mut state.book);
    store.set_hostcall_fuel(MAX_HANDED);
    meter.hold(&mut store, time).map_err(Problem::setup)?;
    Ok(store)
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
    let words = Trap::panic_words(panic).unwrap_or("no message");
    let message = format!("a host call panicked: {}", words.lines().next().unwrap_or_default());
    Ending::Trapped(Trap { kind: TrapKind::HostPanic, message, backtrace: Vec::new() })
}
