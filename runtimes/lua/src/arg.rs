//! `arg`, as the program `lua` makes it: the script's name at 0, and its arguments from 1.

use std::rc::Rc;

use mlua::Lua;

use crate::world::World;

pub(crate) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<()> {
    let arg = lua.create_table()?;
    for (i, word) in world.ctx.args.iter().enumerate() {
        arg.raw_set(i, word.as_str())?;
    }
    lua.globals().raw_set("arg", arg)
}
