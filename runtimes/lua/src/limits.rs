//! What a script may use, and how it is held to that.
//!
//! A hook of Lua's runs every [`TICK`] instructions of a coroutine. There the guest's fuel and time, and the task's own
//! budget, are looked at, and the task gives way to the others: where it can yield. Where it can't (in a comparison for
//! `table.sort`, a finalizer, a `__close`), it may go on for [`BURST`].
//!
//! What is over is over: the error passes `pcall` and all the others ([`crate::protected`]), `<close>` variables are
//! closed, and whatever runs on in them meets the error again a tick later.
//!
//! Does not: see what runs in C. Functions there that can take long are bounded by themselves, or say what they took
//! ([`charge`]).

use std::{rc::Rc, time::Duration};

use lunette_hostcalls::{Ending, Limit, Nanos};
use mlua::{HookTriggers, Lua, VmState};

use crate::{
    failures::{self, Stop},
    world::World,
};

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
/// Tasks, and timers, at a time.
pub(crate) const MAX_TASKS: usize = 200_000;
pub(crate) const MAX_TIMERS: usize = 10_000;

/// Sets the hook. To be called before there is any coroutine: they inherit it.
pub(crate) fn watch(lua: &Lua, world: &Rc<World>) -> mlua::Result<()> {
    world.usage.deadline.set(world.limits.time.map(|time| world.time.now().saturating_add(time)));
    let world = world.clone();
    lua.set_global_hook(HookTriggers::new().every_nth_instruction(TICK), move |lua, _| {
        world.spend(lua, u64::from(TICK))?;
        world.usage.gave_way.set(true);
        Ok(VmState::Yield)
    })
}

/// To be called by a function that has done the work of so many instructions: an error, if that was too much.
#[allow(dead_code, reason = "for functions that take long")]
pub(crate) fn charge(lua: &Lua, instructions: u64) -> mlua::Result<()> {
    World::of(lua).spend(lua, instructions)
}

impl World {
    fn spend(&self, lua: &Lua, instructions: u64) -> mlua::Result<()> {
        let usage = &self.usage;
        usage.fuel.set(usage.fuel.get().saturating_add(instructions));
        if self.limits.fuel.is_some_and(|fuel| usage.fuel.get() >= fuel) {
            return Err(self.end(lua, Limit::Fuel));
        }
        let now = self.time.now();
        if usage.deadline.get().is_some_and(|deadline| deadline <= now) {
            return Err(self.end(lua, Limit::Time));
        }
        let since = usage.since.get().unwrap_or(now);
        usage.since.set(Some(since));
        let burst = u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX);
        let over = self.current.borrow().as_ref().is_some_and(|task| task.is_over_budget(now));
        if over || now.saturating_sub(since) > burst {
            return Err(mlua::Error::external(failures::stop(lua, "limit: cpu")));
        }
        Ok(())
    }

    /// The guest is to end.
    fn end(&self, lua: &Lua, limit: Limit) -> mlua::Error {
        let words = match limit {
            Limit::Time => "limit: time",
            Limit::Fuel => "limit: fuel",
        };
        let stop @ Stop(_) = failures::stop(lua, words);
        if self.ending.borrow().is_none() {
            self.say(&stop.0.traceback);
            self.ending.replace(Some(Ending::Stopped(limit)));
        }
        mlua::Error::external(stop)
    }
}
