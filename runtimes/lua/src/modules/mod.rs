//! What a script can `require` without bringing it. One list; a module is made when it is first asked for.

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use crate::world::World;

mod compat;
pub(crate) mod data;
mod http;
mod net;
mod tasks;

/// A module: its name, and how it is made.
pub(crate) struct Module {
    pub(crate) name: &'static str,
    pub(crate) made: Made,
}

pub(crate) enum Made {
    /// In Rust.
    Native(fn(&Lua, &Rc<World>) -> mlua::Result<Value>),
    /// In Lua: the text of its file, shown in tracebacks under this name.
    Script(&'static str),
}

/// All there are, in groups.
fn all() -> impl Iterator<Item = &'static Module> {
    [tasks::MODULES, net::MODULES, http::MODULES, data::MODULES, compat::MODULES].into_iter().flatten()
}

/// What there is, for messages.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|module| module.name)
}

/// Puts a maker of each into `package.preload`.
pub(crate) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<()> {
    let preload: Table = lua.globals().get::<Table>("package")?.get("preload")?;
    for module in all() {
        let world = world.clone();
        let make = lua.create_function(move |lua, name: Value| match module.made {
            Made::Native(make) => make(lua, &world),
            Made::Script(text) => lua.load(text).set_name(format!("={}", module.name)).call(name),
        })?;
        preload.raw_set(module.name, make)?;
    }
    Ok(())
}
