//! What a script may use, and how it is held to that.
//!
//! A hook of Lua's runs every [`TICK`] instructions of a coroutine. There the guest's fuel and time, and the task's own
//! budget, are looked at, and the task gives way to the others: where it can yield. Where it can't (in a comparison for
//! `table.sort`, a finalizer, a `__close`), it may go on for [`BURST`].
//!
//! What is over is over: the error passes `pcall` and all the others ([`crate::protected`]), `<close>` variables are
//! closed, and whatever runs on in them meets the error again a tick later.
//!
//! Does not: see what runs in C. Functions there that can take long are bounded by themselves, say what they took
//! ([`charge`]), or ask ([`over`]).

use std::{rc::Rc, time::Duration};

use lunette_hostcalls::{Ending, Limit, Nanos};
use mlua::Lua;

use crate::{failures, protected, world::World};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that the Lua state may have.
    pub memory: u64,
    /// How long the script may run in all.
    pub time: Option<Nanos>,
    /// How many of the virtual machine's instructions it may execute in all.
    pub fuel: Option<u64>,
    /// May chunks be bytecode? Lua checks none of it, so only for bundles that are trusted like the image.
    pub bytecode: bool,
}

/// Instructions between two looks.
pub(crate) const TICK: u32 = 10_000;
/// How long a task may keep all others waiting.
pub(crate) const BURST: Duration = Duration::from_secs(10);
/// Tasks, and timers, at a time. A task takes 1.5 KiB of the state's memory, and 1.2 KiB of the host's, which is not
/// counted there: so that it stays below half of the state's, there may be one for each [`TASK`] bytes.
const MAX_TASKS: u64 = 200_000;
const MAX_TIMERS: u64 = 10_000;
const TASK: u64 = 2_400;
const TIMER: u64 = 10 * TASK;

impl Limits {
    pub(crate) fn tasks(&self) -> usize {
        (self.memory / TASK).min(MAX_TASKS) as usize
    }

    pub(crate) fn timers(&self) -> usize {
        (self.memory / TIMER).min(MAX_TIMERS) as usize
    }
}

/// What is over.
#[derive(Clone, Copy)]
pub(crate) enum Over {
    Guest(Limit),
    Task,
}

/// Sets the hook. To be called before there is any coroutine: they inherit it.
pub(crate) fn watch(lua: &Lua, world: &Rc<World>) -> mlua::Result<()> {
    world.usage.deadline.set(world.limits.time.map(|time| world.time.now().saturating_add(time)));
    let stop = {
        let world = world.clone();
        lua.create_function(move |lua, ()| match world.spend(0) {
            Ok(()) => Ok(()),
            Err(over) => Err(world.stop_script(lua, over)),
        })?
    };
    protected::watch(lua, world, TICK, stop)
}

/// To be called by a function that has done the work of so many instructions: an error, if that was too much.
pub(crate) fn charge(lua: &Lua, instructions: u64) -> mlua::Result<()> {
    let world = World::of(lua);
    world.spend(instructions).map_err(|over| world.stop_script(lua, over))
}

/// Is something over? For what takes long: it gives up, and is then charged.
pub(crate) fn over(lua: &Lua) -> bool {
    World::of(lua).spend(0).is_err()
}

impl World {
    /// Notes the work of so many instructions. What is over stays over.
    pub(crate) fn spend(&self, instructions: u64) -> Result<(), Over> {
        let usage = &self.usage;
        usage.fuel.set(usage.fuel.get().saturating_add(instructions));
        if self.limits.fuel.is_some_and(|fuel| usage.fuel.get() >= fuel) {
            return Err(Over::Guest(Limit::Fuel));
        }
        let now = self.time.now();
        if usage.deadline.get().is_some_and(|deadline| deadline <= now) {
            return Err(Over::Guest(Limit::Time));
        }
        let since = usage.since.get().unwrap_or(now);
        usage.since.set(Some(since));
        let burst = u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX);
        let over = self.current.borrow().as_ref().is_some_and(|task| task.is_over_budget(now));
        if over || now.saturating_sub(since) > burst {
            return Err(Over::Task);
        }
        Ok(())
    }

    /// The error that nothing in the script catches; it says where the script is.
    fn stop_script(&self, lua: &Lua, over: Over) -> mlua::Error {
        let stop = failures::stop(
            lua,
            match over {
                Over::Guest(Limit::Time) => "limit: time",
                Over::Guest(Limit::Fuel) => "limit: fuel",
                Over::Task => "limit: cpu",
            },
        );
        if let Over::Guest(limit) = over
            && self.ending.borrow().is_none()
        {
            self.say(&stop.0.traceback);
            self.ending.replace(Some(Ending::Stopped(limit)));
        }
        mlua::Error::external(stop)
    }
}
