//! The asking side: `http.request` and its shorthands, `http.proxy`.

use std::rc::Rc;

use mlua::{Lua, Table};

use crate::world::World;

pub(super) fn open(_lua: &Lua, _world: &Rc<World>, _http: &Table) -> mlua::Result<()> {
    Ok(())
}
