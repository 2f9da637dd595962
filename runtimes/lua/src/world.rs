//! What the modules of one script share.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use lunette_hostcalls::{
    Ctx, Ending, Stream,
    task::{Spawner, Time},
};
use mlua::Lua;

use crate::{limits::Limits, tasks::Task};

/// One for each script; modules find it by [`World::of`], or are handed it when they are opened.
pub(crate) struct World {
    pub(crate) ctx: Ctx,
    pub(crate) time: Time,
    /// For tasks of ours. Tasks of the script's are spawned by [`crate::tasks::spawn`].
    pub(crate) spawner: Spawner,
    pub(crate) limits: Limits,
    /// The script's task that runs now.
    pub(crate) current: RefCell<Option<Rc<Task>>>,
    /// Set: the script is to end so, as soon as control comes back from Lua.
    pub(crate) ending: RefCell<Option<Ending>>,
    /// The host is being stopped: listeners are closed, and what only waits for time need not go on.
    pub(crate) stopping: Cell<bool>,
    /// What ends the script wants its tasks' variables closed first.
    pub(crate) closes: Cell<bool>,
    /// The Lua state is being closed: a finalizer that runs then must find nothing of the host's.
    pub(crate) closed: Cell<bool>,
}

/// Something that a task has open and that is closed with it.
pub(crate) trait Resource {
    /// May be called on what is closed already.
    fn close(&self);
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
}
