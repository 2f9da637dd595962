//! The script's tasks: a coroutine each.
//!
//! Promises: what a task has open is closed when it ends, fails or is cancelled, in reverse, after its `<close>`
//! variables; what the main chunk has open when it returns stays open as long as the script runs; a task that fails harms
//! no other; who waits for a task is told how it ended.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    ptr,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use lunette_hostcalls::{
    Nanos,
    task::{Sleep, StepBack, Timers},
};
use mlua::{
    AnyUserData, Function, IntoLuaMulti, Lua, MultiValue, Value, function::AsyncCallFuture, lua_State,
};

use crate::{
    failures::Failure,
    globals,
    modules::net,
    protected,
    world::{Resource, World},
};

/// What a task is of: whether it may define globals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The script's main chunk, or a line of the REPL's.
    Chunk,
    /// A request's handler, a spawned task, a timer's.
    Handler,
}

/// One task of the script's.
pub(crate) struct Task {
    pub(crate) kind: Kind,
    /// How many `require`s it is in.
    pub(crate) loading: Cell<usize>,
    /// In the order in which they were opened; closed in reverse when it ends.
    resources: RefCell<Vec<Weak<dyn Resource>>>,
    /// Whose is what it opens; `None`: its own.
    owner: Option<Rc<Self>>,
    cancelled: Cell<bool>,
    /// Wakes it, if somebody can cancel it.
    waker: RefCell<Option<Waker>>,
    /// Of those who wait for its end, and how many they are.
    waiters: RefCell<Vec<Waker>>,
    waiting: Cell<usize>,
    end: RefCell<Option<End>>,
    /// Did anybody wait when it ended?
    awaited: Cell<bool>,
    /// The script's object for it, while it runs: there is one.
    handle: RefCell<Option<AnyUserData>>,
    /// The processor's time that is left to it.
    budget: Cell<Option<Nanos>>,
    /// Since when it runs, if it has a budget.
    since: Cell<Nanos>,
    /// Its coroutine, once it has begun: there while [`Running`] has it.
    coroutine: Cell<*mut lua_State>,
    /// Does it wait in another one inside of that?
    waits_within: Cell<bool>,
}

/// How a task ended.
#[derive(Clone)]
pub(crate) enum End {
    /// Its results are the user value of its handle, so that they are garbage when that is.
    Returned,
    Failed(Failure),
}

/// What a task's error says that was cancelled.
pub(crate) const CANCELLED: &str = "cancelled";

impl Task {
    fn new(kind: Kind, owner: Option<Rc<Self>>) -> Rc<Self> {
        Rc::new(Self {
            kind,
            loading: Cell::default(),
            resources: RefCell::default(),
            cancelled: Cell::default(),
            waker: RefCell::default(),
            waiters: RefCell::default(),
            waiting: Cell::default(),
            owner,
            end: RefCell::default(),
            awaited: Cell::default(),
            handle: RefCell::default(),
            budget: Cell::default(),
            since: Cell::default(),
            coroutine: Cell::new(ptr::null_mut()),
            waits_within: Cell::default(),
        })
    }

    pub(crate) fn own(&self, resource: Weak<dyn Resource>) {
        if let Some(owner) = &self.owner {
            return owner.own(resource);
        }
        let mut resources = self.resources.borrow_mut();
        if resources.len() == resources.capacity() {
            resources.retain(|resource| resource.strong_count() > 0);
        }
        resources.push(resource);
    }

    pub(crate) fn disown(&self, resource: &Weak<dyn Resource>) {
        if let Some(owner) = &self.owner {
            return owner.disown(resource);
        }
        self.resources.borrow_mut().retain(|own| !own.ptr_eq(resource));
    }

    fn close(&self) {
        let resources = self.resources.take();
        resources.iter().rev().filter_map(Weak::upgrade).for_each(|resource| resource.close());
    }

    /// It ends when it next waits: at once, if it does.
    pub(crate) fn cancel(&self) {
        if self.end.borrow().is_none() {
            self.cancelled.set(true);
            let waker = self.waker.take();
            waker.into_iter().for_each(Waker::wake);
        }
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.end.borrow().clone()
    }

    /// Waits for its end.
    pub(crate) fn join(self: &Rc<Self>) -> Join {
        self.waiting.update(|n| n + 1);
        Join(self.clone())
    }

    pub(crate) fn is_over_budget(&self, now: Nanos) -> bool {
        self.budget.get().is_some_and(|budget| now.saturating_sub(self.since.get()) > budget)
    }

    /// The script's object for it.
    pub(crate) fn handle(self: &Rc<Self>, lua: &Lua) -> mlua::Result<AnyUserData> {
        let mut handle = self.handle.borrow_mut();
        if handle.is_none() {
            *handle = Some(lua.create_userdata(Handle(self.clone()))?);
        }
        Ok(handle.clone().expect("it was made"))
    }
}

/// A wait for a task's end.
pub(crate) struct Join(Rc<Task>);

impl Future for Join {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        if let Some(end) = self.0.end() {
            return Poll::Ready(end);
        }
        let mut waiters = self.0.waiters.borrow_mut();
        if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
            waiters.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Join {
    fn drop(&mut self) {
        self.0.waiting.update(|n| n - 1);
    }
}

/// The script's object for a task.
pub(crate) struct Handle(pub(crate) Rc<Task>);

type Back = StepBack<Arc<Timers>, fn() -> bool>;

/// A task's coroutine, and its end: dropped, the task is cancelled.
pub(crate) struct Running {
    world: Rc<World>,
    task: Rc<Task>,
    coroutine: Option<mlua::Result<AsyncCallFuture<MultiValue>>>,
    /// It computed on and on, and lets all others go first; until the script's time is up, for it is to be stopped where it is.
    back: Option<(Back, Option<Sleep>)>,
    /// How often it has done so.
    turns: u64,
}

impl Running {
    fn new(world: Rc<World>, task: Rc<Task>, function: Function, args: impl IntoLuaMulti) -> Self {
        let lua = function.weak_lua().upgrade();
        if task.kind == Kind::Handler {
            globals::guard(&lua, &world);
        }
        let entry = world.entry.borrow().clone().expect("set when the state was made");
        let coroutine = args.into_lua_multi(&lua).map(|mut args| {
            args.push_front(Value::Function(function));
            entry.call_async(args)
        });
        world.usage.tasks.update(|n| n + 1);
        Self { world, task, coroutine: Some(coroutine), back: None, turns: 0 }
    }

    /// In the task: what is opened is its own.
    fn within<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.world.current.replace(Some(self.task.clone()));
        let since = self.world.usage.since.replace(None);
        let result = f(self);
        self.world.usage.since.set(since);
        self.world.current.replace(before);
        result
    }

    fn poll_coroutine(&mut self, cx: &mut Context<'_>) -> Option<mlua::Result<MultiValue>> {
        if let Some((back, alarm)) = &mut self.back {
            let over = alarm.as_mut().is_some_and(|alarm| Pin::new(alarm).poll(cx).is_ready());
            if !over && Pin::new(back).poll(cx).is_pending() {
                return None;
            }
            self.back = None;
        }
        let usage = &self.world.usage;
        usage.gave_way.set(false);
        let entered = usage.entered.replace(self.task.coroutine.get());
        let waits_in = usage.waits_in.replace(ptr::null_mut());
        let poll = self.within(|this| match &mut this.coroutine {
            Some(Ok(coroutine)) => Pin::new(coroutine).poll(cx),
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            None => Poll::Ready(Err(mlua::Error::CoroutineUnresumable)),
        });
        let usage = &self.world.usage;
        let own = usage.entered.replace(entered);
        let waits_within = usage.waits_in.replace(waits_in) == own && !own.is_null();
        self.task.coroutine.set(own);
        self.task.waits_within.set(waits_within && poll.is_pending());
        match poll {
            Poll::Ready(result) => Some(result),
            Poll::Pending => {
                if usage.gave_way.get() {
                    self.turns += 1;
                    let time = &self.world.time;
                    let mut back = time.step_back(self.turns, (|| false) as fn() -> bool);
                    let mut alarm = usage.deadline.get().map(|deadline| time.sleep_until(deadline));
                    let over = alarm.as_mut().is_some_and(|alarm| Pin::new(alarm).poll(cx).is_ready());
                    if over || Pin::new(&mut back).poll(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    } else {
                        self.back = Some((back, alarm));
                    }
                }
                None
            }
        }
    }

    fn finish(&mut self, result: &mlua::Result<MultiValue>) {
        if self.task.end.borrow().is_some() {
            return;
        }
        self.within(|this| {
            // What is `<close>` is first.
            if let (true, Some(waiting)) = (this.task.waits_within.take(), &*this.world.waiting.borrow()) {
                // An error of a `__close` is nobody's.
                let coroutine = this.task.coroutine.get();
                let _ = protected::abandon(&waiting.weak_lua().upgrade(), waiting, coroutine);
            }
            this.coroutine = None;
            // The main chunk has returned: what it opened is for those that it leaves behind.
            if this.task.kind == Kind::Handler || result.is_err() {
                this.task.close();
            }
        });
        self.world.usage.tasks.update(|n| n - 1);
        let end = match (result, self.task.handle.take()) {
            (Ok(values), Some(handle)) if !values.is_empty() => match keep(&handle, values) {
                Ok(()) => End::Returned,
                Err(error) => End::Failed(Failure::of(&error)),
            },
            (Ok(_), _) => End::Returned,
            (Err(error), _) => End::Failed(Failure::of(error)),
        };
        self.task.end.replace(Some(end));
        self.task.awaited.set(self.task.waiting.get() > 0);
        self.task.waiters.take().into_iter().for_each(Waker::wake);
    }
}

/// Has a task's results kept by its handle.
fn keep(handle: &AnyUserData, values: &MultiValue) -> mlua::Result<()> {
    let table = handle.weak_lua().upgrade().create_sequence_from(values.iter().cloned())?;
    table.raw_set("n", values.len())?;
    handle.set_user_value(table)
}

impl Future for Running {
    type Output = mlua::Result<MultiValue>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let cancelled = |task: &Task| task.cancelled.get().then(|| Err(Failure::new(CANCELLED).into()));
        let result = cancelled(&this.task).or_else(|| {
            let task = this.task.clone();
            if let Some(budget) = task.budget.get() {
                task.since.set(this.world.time.now());
                let poll = this.poll_coroutine(cx);
                let spent = this.world.time.now().saturating_sub(task.since.get());
                task.budget.set(Some(budget.saturating_sub(spent)));
                poll
            } else {
                this.poll_coroutine(cx)
            }
        });
        match result.or_else(|| cancelled(&this.task)) {
            Some(result) => {
                this.finish(&result);
                Poll::Ready(result)
            }
            None => {
                // Does anybody know it who could cancel it?
                if this.task.handle.borrow().is_some() {
                    this.task.waker.replace(Some(cx.waker().clone()));
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.finish(&Err(Failure::new(CANCELLED).into()));
    }
}

impl From<Failure> for mlua::Error {
    fn from(failure: Failure) -> Self {
        Self::external(failure)
    }
}

/// Calls `function` as a task of its own, and gives what it returned: to be awaited by a task of ours
/// ([`World::spawner`]), or by nobody. Dropped, the task is cancelled. Its error is a [`Failure`]
/// ([`Failure::of`]).
pub(crate) fn call(world: Rc<World>, function: Function, args: impl IntoLuaMulti) -> Running {
    Running::new(world, Task::new(Kind::Handler, None), function, args)
}

/// [`call`], with so much of the processor's time and no more: then the task ends with the error `limit: cpu`.
#[allow(dead_code, reason = "for servers with limits of their own")]
pub(crate) fn call_within(
    world: Rc<World>,
    budget: Duration,
    function: Function,
    args: impl IntoLuaMulti,
) -> Running {
    let task = Task::new(Kind::Handler, None);
    task.budget.set(Some(u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX)));
    Running::new(world, task, function, args)
}

/// [`call`], for what may define globals.
pub(crate) fn call_chunk(world: Rc<World>, function: Function, args: impl IntoLuaMulti) -> Running {
    Running::new(world, Task::new(Kind::Chunk, None), function, args)
}

/// Spawns a task. If it fails and nobody waits for it then, its error is told on standard error.
pub(crate) fn spawn(lua: &Lua, function: Function, args: MultiValue) -> mlua::Result<AnyUserData> {
    spawn_for(lua, None, function, args).map(|(_, handle)| handle)
}

/// Spawns a task that is a part of another: what it opens is the other's.
pub(crate) fn spawn_for(
    lua: &Lua,
    owner: Option<Rc<Task>>,
    function: Function,
    args: MultiValue,
) -> mlua::Result<(Rc<Task>, AnyUserData)> {
    let world = World::of(lua);
    if world.usage.tasks.get() >= world.limits.tasks() {
        let there = world.usage.tasks.get();
        return Err(mlua::Error::runtime(format!("too many tasks: there are {there}")));
    }
    let task = Task::new(Kind::Handler, owner);
    args.iter().for_each(|arg| net::descriptor::give(&task, arg));
    let handle = task.handle(lua)?;
    let running = Running::new(world.clone(), task.clone(), function, args);
    world.spawner.clone().spawn({
        let task = task.clone();
        async move {
            if let (Err(error), false) = (running.await, task.awaited.get()) {
                tell(&world, "task", &error);
            }
        }
    });
    Ok((task, handle))
}

/// Tells of an error that is nobody's.
pub(crate) fn tell(world: &World, whose: &str, error: &mlua::Error) {
    let failure = Failure::of(error);
    if failure.message != CANCELLED {
        world.say(&format!("lunette: error in a {whose}: {failure}"));
    }
}

#[cfg(test)]
mod tests;
