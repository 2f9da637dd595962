//! One state of Lua's, and the tasks that run in it: a script, until other code takes its place.

use std::{
    cell::Cell,
    rc::Rc,
    task::{Context, Poll},
};

use lunette_hostcalls::{
    Ctx, Ending,
    task::{Local, Time},
};
use mlua::{
    Lua, LuaOptions, StdLib,
    chunk::ChunkMode,
    state::{GcIncParams, GcMode},
};

use crate::{
    Limits, Problem, arg,
    failures::{self, Failure},
    globals,
    handover::Lent,
    limits, modules, protected, repl, stdlib, tasks,
    world::{Closing, Kept, World},
};

/// How many coroutines are kept for the next tasks.
const POOL: usize = 256;
/// About what `lua_newstate` asks for.
const STATE: usize = 1_500;

pub(crate) struct State {
    local: Local,
    /// What the script does not wait for.
    background: Local,
    pub(crate) world: Rc<World>,
    /// How its main chunk ended; `None`: it runs.
    main: Rc<Cell<Option<bool>>>,
    told_stop: bool,
    /// Kept until the tasks are gone.
    pub(crate) lua: Lua,
    /// Dropped last.
    _closing: Closing,
}

impl Drop for State {
    fn drop(&mut self) {
        self.world.closed.set(true);
        Closing::begin();
    }
}

impl State {
    /// Nothing of the script has run when this returns.
    pub(crate) fn new(
        name: &str,
        text: &[u8],
        mut ctx: Ctx,
        time: Time,
        limits: Limits,
        kept: Kept,
    ) -> Result<Self, Problem> {
        let memory = |_| Problem::Memory;
        let listeners: Vec<_> =
            ctx.listeners.iter().map(|listening| Lent::new(listening.socket.clone())).collect();
        for (listening, lent) in ctx.listeners.iter_mut().zip(&listeners) {
            listening.socket = lent.clone();
        }
        let lua = new_lua(&ctx).map_err(memory)?;
        let (local, background) = (Local::default(), Local::default());
        let spawners = [&local, &background].map(|tasks| tasks.spawner().clone());
        let world = World::new(ctx, time, spawners, limits, kept, listeners);
        lua.set_app_data(world.clone());
        open(&lua, &world).map_err(memory)?;
        let chunk = lua.load(text).set_name(format!("@{name}")).set_mode(match limits.bytecode {
            true if text.first() == Some(&0x1b) => ChunkMode::Binary,
            _ => ChunkMode::Text,
        });
        let chunk = chunk.into_function().map_err(|error| Problem::Syntax(Failure::of(&error).message))?;
        let main = Rc::new(Cell::new(None));
        local.spawner().spawn({
            let (world, main) = (world.clone(), main.clone());
            let args: Vec<_> = world.ctx.args.iter().skip(1).cloned().collect();
            async move {
                let result = tasks::call_chunk(world.clone(), chunk, mlua::Variadic::from(args)).await;
                main.set(Some(result.is_ok()));
                if let Err(error) = result
                    && world.ending.borrow().is_none()
                {
                    world.say(&format!("lunette: {}", Failure::of(&error)));
                    world.ending.replace(Some(Ending::Exited(1)));
                }
            }
        });
        Ok(Self { local, background, world, main, told_stop: false, lua, _closing: Closing })
    }

    /// Runs what can run. Ready when it has ended.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Ending> {
        self.world.usage.since.set(None);
        let poll = self.local.poll(cx);
        if poll.is_pending() {
            // After those, for whom it works: what they began has its first go now.
            let _ = self.background.poll(cx);
        }
        if let Some(ending) = self.world.ending.take() {
            return Poll::Ready(ending);
        }
        if self.world.stopping.get() && !self.told_stop {
            self.told_stop = true;
            self.world.tell_stop();
        }
        poll.map(|()| Ending::Exited(0))
    }

    /// It runs no more. Its tasks' variables are closed if that was asked for; what it wrote is still to go out.
    pub(crate) fn end(&mut self) -> Lua {
        if self.world.closes.get() {
            self.cancel();
        }
        self.lua.clone()
    }

    /// Ends its tasks, and closes their variables.
    pub(crate) fn cancel(&mut self) {
        self.local = Local::default();
        self.background = Local::default();
    }

    /// How its main chunk ended (well?); `None`: it runs.
    pub(crate) fn main(&self) -> Option<bool> {
        self.main.get()
    }

    /// Has it finish what it does, and take nothing new.
    pub(crate) fn drain(&self) {
        for function in self.world.on_reload.take() {
            let world = self.world.clone();
            self.world.spawner.spawn(async move {
                if let Err(error) = tasks::call(world.clone(), function, ()).await {
                    tasks::tell(&world, "function for service.on_reload", &error);
                }
            });
        }
        self.world.stop();
    }

    pub(crate) fn repl(&self) {
        self.world.spawner.spawn(repl::run(self.lua.clone(), self.world.clone()));
    }
}

/// A state with its string hash seeded, as well as unmodified PUC lets it be: `lua_newstate` hashes the address of the
/// state, that of a local variable, and the time in seconds. In a machine without address space randomisation the first
/// two are the same at each boot, and the third is known. So where the state comes to lie, and how deep the stack is, are
/// drawn from the host's randomness: some 2^25 seeds, of which an attacker does not know which. That is less than a keyed
/// hash: what comes from the network in great numbers is bounded where it comes in (headers, arguments, JSON).
fn new_lua(ctx: &Ctx) -> mlua::Result<Lua> {
    let mut random = [0; 4];
    if ctx.random.fill(&mut random).is_err() {
        // Unseeded as yet: what the clock says is better than nothing.
        random = (ctx.clock.monotonic() as u32).to_le_bytes();
    }
    let [a, b, c, d] = random.map(usize::from);
    // Of any size, and of the state's: an allocator may keep sizes apart.
    let gap = Vec::<u8>::with_capacity(a << 7 | b >> 1);
    let states: Vec<_> = (0..c).map(|_| Vec::<u8>::with_capacity(STATE)).collect();
    let lua = deeper(d, &|| Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new().thread_pool_size(POOL)));
    drop(std::hint::black_box((gap, states)));
    lua
}

#[inline(never)]
fn deeper(frames: usize, f: &dyn Fn() -> mlua::Result<Lua>) -> mlua::Result<Lua> {
    let frame = std::hint::black_box([frames; 2]);
    let result = if frames == 0 { f() } else { deeper(frames - 1, f) };
    std::hint::black_box(frame);
    result
}

fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<()> {
    lua.set_memory_limit(usize::try_from(world.limits.memory).unwrap_or(usize::MAX))?;
    // A collection begins when there is half as much again as the last one left, not twice as much.
    lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(150).step_multiplier(200)));
    limits::watch(lua, world)?;
    let raised =
        lua.create_function(|lua, error| Ok(mlua::Value::Error(failures::raised(lua, error).into())))?;
    world.entry.replace(Some(protected::entry(lua, world, raised)?));
    protected::open(lua, world)?;
    stdlib::open(lua, world)?;
    modules::open(lua, world)?;
    arg::open(lua, world)?;
    globals::open(lua, world)
}
