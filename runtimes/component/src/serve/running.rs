//! A request under way: run, held to its time, and spoken for in the log when it fails.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::StatusCode;
use lunette_hostcalls::{
    Ending, Limit, Nanos, Trap, TrapKind,
    task::{Sleep, StepBack, Time, Timers},
};
use lunette_http::Boxed;
use lunette_native::{Stopped, trap};
use wasmtime::Store;

use super::{
    answer::Link,
    handler::{Call, Inner, Place},
    instance::Instance,
};
use crate::State;

/// Why a request has no answer, or not all of it.
pub(super) struct Failure {
    error: wasmtime::Error,
    /// The bytes of memory that it was refused.
    denied: Option<u64>,
    /// Let go only when its answer's body knows that it failed.
    _kept: Kept,
}

enum Kept {
    Nothing,
    Store { _store: Store<State> },
    Instance { _instance: Instance },
}

impl Failure {
    pub(super) fn new(error: wasmtime::Error, instance: Instance) -> Self {
        let denied = instance.denied();
        Self { error, denied, _kept: Kept::Instance { _instance: instance } }
    }

    /// Of one that is no instance yet.
    pub(super) fn of_store(error: wasmtime::Error, store: Store<State>) -> Self {
        let denied = store.data().book.memory().denied;
        Self { error, denied, _kept: Kept::Store { _store: store } }
    }

    /// Of one of which nothing is left, or nothing that could be asked.
    pub(super) fn alone(error: wasmtime::Error) -> Self {
        Self { error, denied: None, _kept: Kept::Nothing }
    }
}

pub(super) type Run = Boxed<'static, Result<(), Failure>>;

/// How long a handler may go on when its client is gone.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// How many frames of a backtrace are told.
const FRAMES: usize = 20;

/// How many backtraces may wait to be told.
const TRACES: u32 = 16;

/// A request that runs, until its handler is at its end: in good order, or with what its client is told if it can be told
/// anything yet.
pub(super) struct Running {
    /// `None`: it has ended.
    run: Option<Run>,
    call: Call,
    link: Rc<Link>,
    deadline: Option<Nanos>,
    /// Until then; set when it first waits.
    sleep: Option<Sleep>,
    client_is_gone: bool,
    end: Option<End>,
    /// What is to be told yet of its failure.
    trace: Option<Trace>,
    place: Place,
}

/// The end of one that has failed, in turns, for each takes as long as some requests do: to find out what it failed of, and where;
/// to say so; to give its memory back. All others go first, before each.
struct End {
    failure: Failure,
    /// What its client is told, once the log was.
    status: Option<StatusCode>,
    back: Back,
}

type Back = StepBack<Arc<Timers>, fn() -> bool>;

/// What has failed waits like one that had so many turns: those who only take long go first.
const TURNS: u64 = 4;

fn back(time: &Time) -> Back {
    time.step_back(TURNS, || false)
}

/// The lines of a backtrace that are to be told. Each may take as long as some requests do, for a console takes a byte at a time:
/// so all others go first, before each. What was not told when it is dropped is told then. No more than [`TRACES`] wait of a
/// handler's: then who fails has its lines told at once, and the others wait.
pub(super) struct Trace {
    inner: Rc<Inner>,
    call: Call,
    lines: std::vec::IntoIter<String>,
}

impl Trace {
    pub(super) async fn tell(mut self) {
        loop {
            if self.inner.traces.get() <= TRACES {
                self.inner.time.step_back(TURNS, || false).await;
            }
            let Some(line) = self.lines.next() else { return };
            self.call.tell(&self.inner, format_args!("{line}"));
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        for line in self.lines.by_ref() {
            self.call.tell(&self.inner, format_args!("{line}"));
        }
        self.inner.traces.update(|n| n - 1);
    }
}

impl Running {
    pub(super) fn new(place: Place, call: Call, deadline: Option<Nanos>, run: Run) -> Self {
        Self {
            run: Some(run),
            call,
            link: Rc::default(),
            deadline,
            sleep: None,
            client_is_gone: false,
            end: None,
            trace: None,
            place,
        }
    }

    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    pub(super) fn link(&self) -> &Rc<Link> {
        &self.link
    }

    pub(super) fn inner(&self) -> &Rc<Inner> {
        &self.place.0
    }

    /// A line in the log about it.
    pub(super) fn tell(&self, what: fmt::Arguments<'_>) {
        self.call.tell(self.inner(), what);
    }

    /// Has it failed, and is not at its end yet? Then an answer that it sent before is none.
    pub(super) fn is_failing(&self) -> bool {
        self.end.is_some()
    }

    /// What the log is still to be told, once it has failed.
    pub(super) fn take_trace(&mut self) -> Option<Trace> {
        self.trace.take()
    }

    /// Runs it on; a panic in a host call is its own end.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(run) = &mut self.run else { return Poll::Ready(Ok(())) };
        catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))).unwrap_or_else(|panic| {
            let words = Trap::panic_words(&*panic).unwrap_or("without a message");
            let words: String = words.chars().filter(|c| !c.is_control()).take(200).collect();
            let message = format!("a bug in the host: a call panicked: {words}");
            let trap = Trap { kind: TrapKind::HostPanic, message, backtrace: Vec::new() };
            Poll::Ready(Err(Failure::alone(trap::HostTrap(trap).into())))
        })
    }

    /// Is its time up? Waits for that if it is not.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.client_is_gone && self.link.is_gone(cx.waker()) {
            self.client_is_gone = true;
            let until = self.inner().time.now().saturating_add(AFTERWARDS.as_nanos() as Nanos);
            self.deadline = Some(self.deadline.map_or(until, |deadline| deadline.min(until)));
            self.sleep = None;
        }
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let time = &self.place.0.time;
        Pin::new(self.sleep.get_or_insert_with(|| time.sleep_until(deadline))).poll(cx)
    }

    #[cold]
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<StatusCode> {
        let Some(end) = &mut self.end else { return Poll::Pending };
        ready!(Pin::new(&mut end.back).poll(cx));
        let Some(End { failure, status, .. }) = self.end.take() else { return Poll::Pending };
        if let Some(status) = status {
            return Poll::Ready(status);
        }
        let status = Some(self.failed(&failure));
        self.end = Some(End { failure, status, back: back(&self.inner().time) });
        self.poll_end(cx)
    }

    #[cold]
    fn failed(&mut self, failure: &Failure) -> StatusCode {
        let (ending, frames) = trap::ending(&failure.error);
        let status = match &ending {
            Ending::Stopped(Limit::Time) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        match &ending {
            Ending::Stopped(Limit::Time) if self.client_is_gone => {
                self.tell(format_args!("stopped: its client was gone, and it went on"));
            }
            Ending::Stopped(limit) => self.tell(format_args!("stopped: {}", Stopped(*limit))),
            Ending::Exited(code) => self.tell(format_args!("it exited with {code} before it had answered")),
            Ending::Trapped(trap) => match failure.denied {
                Some(denied) => self.tell(format_args!(
                    "{}: {}; it had asked for {denied} bytes of memory in all, and may have {}",
                    trap.kind,
                    trap.message,
                    self.inner().settings.limits.memory,
                )),
                None => self.tell(format_args!("{}: {}", trap.kind, trap.message)),
            },
        }
        let mut lines: Vec<_> = frames.iter().take(FRAMES).map(|frame| format!("  at {frame}")).collect();
        if let Some(more) = frames.len().checked_sub(FRAMES).filter(|more| *more > 0) {
            lines.push(format!("  and {more} more"));
        }
        // Once: it will not be built anew while it serves.
        if let Some(note) = trap::note(&frames).filter(|_| !self.inner().noted.replace(true)) {
            lines.push(format!("  {note}"));
        }
        if !lines.is_empty() {
            let (inner, call) = (self.inner().clone(), self.call.clone());
            inner.traces.update(|n| n + 1);
            self.trace = Some(Trace { inner, call, lines: lines.into_iter() });
        }
        status
    }
}

impl Future for Running {
    type Output = Result<(), StatusCode>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StatusCode>> {
        let this = &mut *self;
        if this.is_failing() {
            return this.poll_end(cx).map(Err);
        }
        // One that runs on is stopped by its meter, which knows where it was: it is given up only if it had a go after
        // its time, and waits.
        let late = this.deadline.is_some_and(|deadline| deadline <= this.inner().time.now());
        let failure = match this.poll_run(cx) {
            Poll::Ready(Ok(())) => {
                this.run = None;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(failure)) => failure,
            Poll::Pending => {
                if this.poll_time(cx).is_ready() && !late {
                    cx.waker().wake_by_ref();
                }
                if !late {
                    return Poll::Pending;
                }
                Failure::alone(Stopped(Limit::Time).into())
            }
        };
        // Before anything of it is dropped: to the body of its answer, that looks like the end.
        this.link.fail();
        this.run = None;
        this.end = Some(End { failure, status: None, back: back(&this.inner().time) });
        this.poll_end(cx).map(Err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whoever asked went away before it was said.
        if let Some(End { failure, status: None, .. }) = self.end.take() {
            self.failed(&failure);
        }
    }
}
