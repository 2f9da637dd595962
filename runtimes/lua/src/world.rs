//! What the modules of one script share.

use std::{
    any::{Any, TypeId},
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use lunette_hostcalls::{
    Ctx, Ending, Nanos, Stream,
    task::{Spawner, Time},
};
use mlua::{Function, Lua, Table, lua_State};

use crate::{handover::Lent, limits::Limits, tasks::Task};

/// One for each state; modules find it by [`World::of`], or are handed it when they are opened.
pub(crate) struct World {
    pub(crate) ctx: Ctx,
    pub(crate) time: Time,
    /// For tasks of ours. Tasks of the script's are spawned by [`crate::tasks::spawn`].
    pub(crate) spawner: Spawner,
    /// For what is there as long as the script and does not keep it running: connections that wait to be used again. To be
    /// called from within a task.
    pub(crate) background: Spawner,
    pub(crate) limits: Limits,
    /// The script's task that runs now.
    pub(crate) current: RefCell<Option<Rc<Task>>>,
    /// Set: the script is to end so, as soon as control comes back from Lua.
    pub(crate) ending: RefCell<Option<Ending>>,
    /// The host is being stopped: listeners are closed, and what only waits for time need not go on.
    pub(crate) stopping: Cell<bool>,
    /// What the script keeps when its code is replaced.
    pub(crate) kept: Kept,
    /// What every task of the script's begins with ([`crate::protected::entry`]).
    pub(crate) entry: RefCell<Option<Function>>,
    /// Of those who are to be told that ([`World::stopped`]).
    on_stop: RefCell<BTreeMap<usize, Waker>>,
    stops: Cell<usize>,
    pub(crate) listeners: Vec<Arc<Lent>>,
    /// Is an assignment to an undeclared global looked at?
    pub(crate) guarded: Cell<bool>,
    /// Called when new code takes over.
    pub(crate) on_reload: RefCell<Vec<Function>>,
    /// Which coroutine waits for which ([`crate::protected`]).
    pub(crate) waiting: RefCell<Option<Table>>,
    pub(crate) usage: Usage,
    /// What ends the script wants its tasks' variables closed first.
    pub(crate) closes: Cell<bool>,
    /// The Lua state is being closed: a finalizer that runs then must find nothing of the host's.
    pub(crate) closed: Cell<bool>,
}

/// What was used so far.
pub(crate) struct Usage {
    /// Instructions, in steps of the hook's.
    pub(crate) fuel: Cell<u64>,
    /// When the guest's time is over.
    pub(crate) deadline: Cell<Option<Nanos>>,
    /// Since when the task that runs has kept the others waiting, as of the first hook.
    pub(crate) since: Cell<Option<Nanos>>,
    /// Did the task that runs give way, in the middle of something?
    pub(crate) gave_way: Cell<bool>,
    /// The own coroutine of the task that runs.
    pub(crate) entered: Cell<*mut lua_State>,
    /// The last one that began to wait in another, for comparing: it may be gone.
    pub(crate) waits_in: Cell<*mut lua_State>,
    /// The script's tasks and timers that there are.
    pub(crate) tasks: Cell<usize>,
    pub(crate) timers: Cell<usize>,
}

/// What outlives a state: one value of each type, for as long as the service runs.
#[derive(Clone, Default)]
pub(crate) struct Kept(Rc<RefCell<HashMap<TypeId, Rc<dyn Any>>>>);

/// Something that a task has open and that is closed with it.
pub(crate) trait Resource {
    /// May be called on what is closed already.
    fn close(&self);
}

/// A wait for [`World::stopping`].
pub(crate) struct Stopped {
    world: Rc<World>,
    number: usize,
}

impl Future for Stopped {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.world.stopping.get() {
            return Poll::Ready(());
        }
        self.world.on_stop.borrow_mut().insert(self.number, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.world.on_stop.borrow_mut().remove(&self.number);
    }
}

thread_local! {
    /// A state is being closed on this thread.
    static CLOSING: Cell<bool> = const { Cell::new(false) };
}

/// Set while a state is closed: what mlua keeps beside it is gone before the last finalizers run, and may not be asked.
pub(crate) struct Closing;

impl Closing {
    pub(crate) fn begin() {
        CLOSING.set(true);
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        CLOSING.set(false);
    }
}

impl World {
    pub(crate) fn new(
        ctx: Ctx,
        time: Time,
        [spawner, background]: [Spawner; 2],
        limits: Limits,
        kept: Kept,
        listeners: Vec<Arc<Lent>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            ctx,
            time,
            spawner,
            background,
            limits,
            kept,
            listeners,
            current: RefCell::default(),
            ending: RefCell::default(),
            stopping: Cell::default(),
            entry: RefCell::default(),
            on_stop: RefCell::default(),
            stops: Cell::default(),
            guarded: Cell::default(),
            on_reload: RefCell::default(),
            waiting: RefCell::default(),
            closes: Cell::default(),
            closed: Cell::default(),
            usage: Usage {
                fuel: Cell::default(),
                deadline: Cell::default(),
                since: Cell::default(),
                gave_way: Cell::default(),
                entered: Cell::new(std::ptr::null_mut()),
                waits_in: Cell::new(std::ptr::null_mut()),
                tasks: Cell::default(),
                timers: Cell::default(),
            },
        })
    }

    /// Panics in a finalizer that runs when the state is closed; mlua makes an error of that, and Lua ignores it.
    pub(crate) fn of(lua: &Lua) -> Rc<Self> {
        assert!(!CLOSING.get(), "the state is closed");
        lua.app_data_ref::<Rc<Self>>().expect("set when the state was made").clone()
    }

    /// Makes the task that runs the owner of a resource; outside of any task, nobody is.
    pub(crate) fn adopt(&self, resource: Weak<dyn Resource>) {
        if let Some(task) = &*self.current.borrow() {
            task.own(resource);
        }
    }

    /// Takes a resource from the task that runs: it is not closed with it. To hand it over, another task adopts it.
    #[allow(dead_code, reason = "for sockets that are handed over")]
    pub(crate) fn disown(&self, resource: &Weak<dyn Resource>) {
        if let Some(task) = &*self.current.borrow() {
            task.disown(resource);
        }
    }

    /// A line for people, on standard error. What does not go out at once is lost.
    pub(crate) fn say(&self, line: &str) {
        let line = format!("{line}\n");
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match self.ctx.stdio.write(Stream::Err, rest) {
                Ok(n) if n > 0 => rest = &rest[n..],
                _ => return,
            }
        }
    }

    /// Has the script finish what it does, and take nothing new.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        self.listeners.iter().for_each(|listener| listener.give_up());
        self.tell_stop();
    }

    /// Wakes those who wait for the script to be stopped.
    pub(crate) fn tell_stop(&self) {
        self.on_stop.take().into_values().for_each(Waker::wake);
    }

    /// Waits until the script is to finish what it does.
    pub(crate) fn stopped(self: &Rc<Self>) -> Stopped {
        self.stops.update(|n| n.wrapping_add(1));
        Stopped { world: self.clone(), number: self.stops.get() }
    }
}

impl Kept {
    /// The service's value of this type; made when it is first asked for.
    pub(crate) fn get<T: Default + 'static>(&self) -> Rc<T> {
        let mut kept = self.0.borrow_mut();
        let value = kept.entry(TypeId::of::<T>()).or_insert_with(|| Rc::new(T::default()));
        value.clone().downcast().expect("it is stored by its type")
    }
}
