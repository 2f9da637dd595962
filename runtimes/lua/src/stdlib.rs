//! The standard library, where it is not PUC's own: what asks the host (`print`, `io`, `os`, files of `package`), and what
//! could run for ever inside of C (patterns, `string.rep`, …).

use std::rc::Rc;

use mlua::Lua;

use crate::world::World;

pub(crate) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<()> {
    let print = {
        let world = world.clone();
        lua.create_function(move |lua, args: mlua::Variadic<mlua::Value>| {
            let _ = lua;
            let words = args.iter().map(mlua::Value::to_string).collect::<mlua::Result<Vec<_>>>()?;
            let line = words.join("\t") + "\n";
            let _ = world.ctx.stdio.write(lunette_hostcalls::Stream::Out, line.as_bytes());
            Ok(())
        })?
    };
    lua.globals().set("print", print)
}
