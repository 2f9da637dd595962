//! The standard library, where it is not PUC's own: what asks the host (`print`, `io`, `os`, the files of `package`), and
//! what could run for ever inside of C (patterns, `string.rep`, `table.move`, …).
//!
//! - [`native`] makes a Lua function of a Rust one that raises as PUC's do: strings with the caller's line; the arguments
//!   are checked by [`args`], in PUC's words. Errors of the host are told in Linux's ([`errno`]).
//! - [`place`] finds files by their paths, [`stream`] buffers them; [`io`], [`os`] (with [`date`]) and [`package`] are the
//!   libraries.
//! - [`patterns`] matches, [`strings`] decides when PUC's own matcher may; `prelude.lua` is what is best said in Lua:
//!   `load`, the bounds of `table`; `debug.lua` is the guard of `debug`.
//!
//! Promises: PUC 5.4's results and messages; nothing allocates more than the script may have, and no call runs for long
//! without the limits on instructions noticing: what is done in Rust is charged to the virtual machine
//! ([`Answer::costing`]). Chunks are text, unless [`crate::Limits::bytecode`] allows for more.
//!
//! Does not: know time zones or locales other than UTC and `C`, start processes, or load native modules.

use std::rc::Rc;

use mlua::{Function, IntoLua as _, Lua, MultiValue, Table, Value};

use crate::{failures, world::World};

mod args;
mod date;
mod debug;
mod errno;
mod io;
mod native;
mod os;
mod package;
mod patterns;
mod place;
mod stream;
mod strings;

pub(crate) use io::finish;
use native::Library;

const PRELUDE: &str = include_str!("prelude.lua");

pub(crate) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<()> {
    let globals = lua.globals();
    let natives = lua.create_table()?;
    // `settle` makes the functions of a library raise and wait; `rest` makes what is written in Lua.
    let (settle, rest): (Function, Function) = lua.load(PRELUDE).set_name("=[lua]").call((
        io::waiter(lua, world)?,
        world.limits.bytecode,
        i64::try_from(world.limits.memory).unwrap_or(i64::MAX),
    ))?;
    let library = Library { lua, world, settle };
    io::open(&library)?;
    io::warn(lua, world);
    os::open(&library)?;
    package::open(&library, &natives)?;
    strings::open(&library, &natives)?;
    natives.raw_set("put", io::put(&library)?)?;
    natives.raw_set(
        "caught",
        lua.create_function(|lua, error: Value| match error {
            Value::Error(_) => failures::caught(error).into_lua(lua),
            other => Ok(other),
        })?,
    )?;
    natives.raw_set("debug", debug::open(lua)?)?;
    natives.raw_set("guards", debug::guards(lua)?)?;
    rest.call::<()>((globals, natives))
}

/// The library's table, with nothing of PUC's in it.
fn emptied(lua: &Lua, name: &str) -> mlua::Result<Table> {
    let table: Table = lua.globals().get(name)?;
    table.clear()?;
    Ok(table)
}

/// Values, for a function to return.
fn values(lua: &Lua, values: impl mlua::IntoLuaMulti) -> mlua::Result<MultiValue> {
    values.into_lua_multi(lua)
}
