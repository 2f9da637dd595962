//! A script that runs, and whose code can be replaced while it does.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use lunette_hostcalls::{
    Ctx, Ending, Limit, Nanos,
    task::{Sleep, Time},
};

use crate::{limits::Limits, state::State, stdlib, world::Kept};

/// A started script.
pub struct Instance {
    shared: Rc<Shared>,
    /// Wakes it when it is time for something.
    alarm: Option<Sleep>,
    deadline: Option<Nanos>,
}

/// A way to the script while it runs ([`Instance::reloader`]): for whoever watches its files.
#[derive(Clone)]
pub struct Reloader {
    shared: Rc<Shared>,
}

/// Why a script can't be started: with its file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    Syntax(String),
    /// The state itself takes more than it may have.
    Memory,
}

struct Shared {
    time: Time,
    limits: Limits,
    kept: Kept,
    serving: RefCell<State>,
    /// The code that is to take over, once it is seen to start.
    starting: RefCell<Option<(State, Nanos)>>,
    /// What finishes, and until when it may.
    draining: RefCell<Vec<(State, Nanos)>>,
    repl: Cell<bool>,
    /// What became of the new code, and who waits to be told.
    outcome: RefCell<Option<Result<(), String>>>,
    told: RefCell<Option<Waker>>,
    waker: RefCell<Option<Waker>>,
}

/// How long old code may finish what it does.
const DRAIN: Duration = Duration::from_secs(10);
/// New code takes over when its main chunk has returned, or has waited so long without an error.
const START: Duration = Duration::from_millis(250);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(words) => f.write_str(words),
            Self::Memory => f.write_str("there is not enough memory for Lua"),
        }
    }
}

impl Problem {
    pub fn help(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "mend it; `lunette check` tells without booting",
            Self::Memory => "give it more: -m",
        }
    }
}

/// Makes a script from its text, which messages call `name`. Nothing of it has run yet.
pub fn start(name: &str, text: &[u8], ctx: Ctx, time: Time, limits: Limits) -> Result<Instance, Problem> {
    let kept = Kept::default();
    let state = State::new(name, text, ctx, time.clone(), limits, kept.clone())?;
    // Not before the state's own: who runs is stopped by that, and says where.
    let deadline = limits.time.map(|limit| time.now().saturating_add(limit));
    let shared = Shared {
        time,
        limits,
        kept,
        serving: RefCell::new(state),
        starting: RefCell::default(),
        draining: RefCell::default(),
        repl: Cell::default(),
        outcome: RefCell::default(),
        told: RefCell::default(),
        waker: RefCell::default(),
    };
    Ok(Instance { shared: Rc::new(shared), alarm: None, deadline })
}

impl Instance {
    /// Runs it until it ends: its main chunk has returned and no task is left, or it asked to. Dropped in the middle, it
    /// can be called again.
    pub async fn run(&mut self) -> Ending {
        let ending = poll_fn(|cx| {
            self.shared.waker.replace(Some(cx.waker().clone()));
            let late = self.deadline.is_some_and(|deadline| deadline <= self.shared.time.now());
            if let Some(ending) = self.shared.poll(cx) {
                return Poll::Ready(ending);
            }
            // One that goes on is stopped in there, and says where it is: this one waits.
            if late {
                return Poll::Ready(Ending::Stopped(Limit::Time));
            }
            match self.shared.next().into_iter().chain(self.deadline).min() {
                Some(at) => {
                    let alarm = self.alarm.get_or_insert_with(|| self.shared.time.sleep_until(at));
                    alarm.reset(at);
                    if Pin::new(alarm).poll(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                }
                None => self.alarm = None,
            }
            Poll::Pending
        })
        .await;
        let lua = self.shared.serving.borrow_mut().end();
        stdlib::finish(&lua).await;
        ending
    }

    /// See [`Reloader::reload`].
    pub fn reload(&self, name: &str, text: &[u8], ctx: Ctx) -> Result<(), Problem> {
        self.shared.reload(name, text, ctx)
    }

    /// For whoever reloads it while [`Instance::run`] has it.
    pub fn reloader(&self) -> Reloader {
        Reloader { shared: self.shared.clone() }
    }

    /// Adds a task that reads lines from the guest's standard input and evaluates them in the script's state, as `lua`
    /// does. It ends at the end of the input, and keeps the service running until then. Reloaded, it goes on in the new
    /// state.
    pub fn repl(&self) {
        self.shared.repl.set(true);
        self.shared.serving.borrow().repl();
        self.shared.wake();
    }
}

impl Reloader {
    /// Has new code take the script's place: a state of its own is made beside the old one, and runs. When its main chunk
    /// has returned, or waited for a quarter of a second without an error, the old one stops accepting connections, has ten seconds for
    /// those that it has, and is gone. Until then both serve, and what listens is never closed.
    ///
    /// `ctx` is the guest's, with the new bundle's files and the same `listeners` (those that the host handed to
    /// [`start`]). An error is told and leaves the old code serving: here, if the text has no meaning; on the guest's
    /// standard error, if its main chunk fails.
    ///
    /// Until the old code is gone there are two states, each with the memory of its [`Limits`]. A port that the script opened
    /// by itself is not handed over: the new code finds it taken. [`Instance::run`] has to be under way for any of this.
    pub fn reload(&self, name: &str, text: &[u8], ctx: Ctx) -> Result<(), Problem> {
        self.shared.reload(name, text, ctx)
    }

    /// Waits until the new code has taken over, or has failed to: the script's own words for it were told.
    pub async fn started(&self) -> Result<(), String> {
        poll_fn(|cx| match self.shared.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                self.shared.told.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

impl Shared {
    fn tell(&self, outcome: Result<(), String>) {
        self.outcome.replace(Some(outcome));
        let waker = self.told.take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn reload(&self, name: &str, text: &[u8], ctx: Ctx) -> Result<(), Problem> {
        let state = State::new(name, text, ctx, self.time.clone(), self.limits, self.kept.clone())?;
        // One that was still starting is not needed any more.
        self.outcome.take();
        self.starting.replace(Some((state, self.after(START))));
        self.wake();
        Ok(())
    }

    fn after(&self, time: Duration) -> Nanos {
        self.time.now().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(Nanos::MAX))
    }

    fn wake(&self) {
        let waker = self.waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// When something is due besides what the scripts wait for.
    fn next(&self) -> Option<Nanos> {
        let starting = self.starting.borrow().as_ref().map(|(_, at)| *at);
        let draining = self.draining.borrow().iter().map(|(_, at)| *at).min();
        starting.into_iter().chain(draining).min()
    }

    fn poll(&self, cx: &std::task::Context<'_>) -> Option<Ending> {
        let now = self.time.now();
        let starting = self.starting.take();
        if let Some((mut state, at)) = starting {
            // A service that has ended in good order is none, but what was asked for.
            let ended = state.poll(cx);
            let failed = match &ended {
                Poll::Ready(Ending::Exited(0)) => false,
                Poll::Ready(_) => true,
                Poll::Pending => state.main() == Some(false),
            };
            if failed {
                self.tell(Err("the new code did not start".into()));
            } else if ended.is_ready() || state.main() == Some(true) || at <= now {
                self.take_over(state);
                self.tell(Ok(()));
            } else {
                self.starting.replace(Some((state, at)));
            }
        }
        let draining = self.draining.take();
        let left = draining.into_iter().filter_map(|(mut state, at)| {
            if at <= now {
                state.cancel();
                return None;
            }
            state.poll(cx).is_pending().then_some((state, at))
        });
        let left: Vec<_> = left.collect();
        self.draining.borrow_mut().extend(left);
        match self.serving.borrow_mut().poll(cx) {
            // What is starting takes its place.
            Poll::Ready(Ending::Exited(0)) if self.starting.borrow().is_some() => None,
            Poll::Ready(Ending::Exited(0)) if !self.draining.borrow().is_empty() => None,
            Poll::Ready(ending) => Some(ending),
            Poll::Pending => None,
        }
    }

    fn take_over(&self, state: State) {
        if self.repl.get() {
            state.repl();
        }
        let old = self.serving.replace(state);
        old.drain();
        self.draining.borrow_mut().push((old, self.after(DRAIN)));
    }
}
