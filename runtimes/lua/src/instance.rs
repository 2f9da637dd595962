//! A script that runs.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    rc::Rc,
    task::Poll,
};

use lunette_hostcalls::{
    Ctx, Ending,
    task::{Local, Time},
};
use mlua::{Lua, LuaOptions, StdLib};

use crate::{
    limits::Limits,
    modules, stdlib, tasks,
    world::{Closing, World},
};

/// A started script.
pub struct Instance {
    local: Local,
    world: Rc<World>,
    /// Kept until the tasks are gone.
    lua: Lua,
    /// Dropped last.
    _closing: Closing,
}

/// Why a script can't be started: with its file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    Syntax(String),
    /// The state itself takes more than it may have.
    Memory,
}

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
    let memory = |_| Problem::Memory;
    let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::default()).map_err(memory)?;
    let local = Local::default();
    let world = Rc::new(World {
        ctx,
        time,
        spawner: local.spawner().clone(),
        limits,
        current: RefCell::default(),
        ending: RefCell::default(),
        stopping: Cell::default(),
        closes: Cell::default(),
        closed: Cell::default(),
    });
    lua.set_app_data(world.clone());
    stdlib::open(&lua, &world).map_err(memory)?;
    modules::open(&lua, &world).map_err(memory)?;
    let chunk = lua.load(text).set_name(format!("@{name}")).set_mode(mlua::chunk::ChunkMode::Text);
    let main = chunk.into_function().map_err(|error| Problem::Syntax(error.to_string()))?;
    local.spawner().spawn({
        let world = world.clone();
        async move {
            if let Err(error) = tasks::call(world.clone(), main, ()).await {
                world.say(&format!("lunette: {error}"));
                world.ending.replace(Some(Ending::Exited(1)));
            }
        }
    });
    Ok(Instance { local, world, lua, _closing: Closing })
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.world.closed.set(true);
        Closing::begin();
    }
}

impl Instance {
    /// Runs it until it ends: its main chunk has returned and no task is left, or it asked to. Dropped in the middle, it
    /// can be called again.
    pub async fn run(&mut self) -> Ending {
        let ending = poll_fn(|cx| {
            let poll = self.local.poll(cx);
            match (self.world.ending.take(), poll) {
                (Some(ending), _) => Poll::Ready(ending),
                (None, Poll::Ready(())) => Poll::Ready(Ending::Exited(0)),
                (None, Poll::Pending) => Poll::Pending,
            }
        })
        .await;
        if self.world.closes.get() {
            self.local = Local::default();
        }
        stdlib::finish(&self.lua).await;
        ending
    }
}
