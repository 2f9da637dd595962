//! What a script can `require` without bringing it. One list; a module is made when it is first asked for.

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use crate::world::World;

mod compat;
pub(crate) mod data;
mod http;
pub(crate) mod net;
mod tasks;

/// A module: its name, and how it is made.
pub(crate) struct Module {
    pub(crate) name: &'static str,
    pub(crate) made: Made,
}

pub(crate) enum Made {
    /// In Rust.
    Native(fn(&Lua, &Rc<World>) -> mlua::Result<Value>),
    /// In Lua: the text of its file, as a zlib stream, shown in tracebacks under the module's name.
    Script(&'static [u8]),
}

/// All there are, in groups.
pub(crate) fn all() -> impl Iterator<Item = &'static Module> {
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
            Made::Script(text) => {
                let text = miniz_oxide::inflate::decompress_to_vec_zlib(text)
                    .map_err(|e| mlua::Error::runtime(e.to_string()))?;
                lua.load(text).set_name(format!("={}", module.name)).call(name)
            }
        })?;
        preload.raw_set(module.name, make)?;
    }
    Ok(())
}
