//! Global variables, and modules.
//!
//! A global that the script has not declared can't be made in a handler (of a request, a spawned task, a timer): all
//! share it, so there it is nearly always a forgotten `local`. The main chunk, modules while they are `require`d, and the
//! REPL may make some. An undeclared one is `nil`, as in PUC; `rawset` makes one anywhere, for those who mean it.
//!
//! The look at assignments is a `__newindex` of `_G`, from when the first handler runs; a script that has given `_G` one
//! of its own keeps that.
//!
//! `require` is PUC's, but that a module can wait while it is loaded.

use std::rc::Rc;

use mlua::{Lua, Table};

use crate::{tasks::Kind, world::World};

const REQUIRE: &str = r#"
local loading, loaded, package = ...
local concat, error, format, rawget, tostring, type =
  table.concat, error, string.format, rawget, tostring, type

local done = setmetatable({}, { __close = function() loading(-1) end })

function require(name)
  if type(name) == "number" then
    name = tostring(name)
  elseif type(name) ~= "string" then
    error(format("bad argument #1 to 'require' (string expected, got %s)", type(name)), 2)
  end
  local value = loaded[name]
  if value then return value end
  local searchers, tried, i = package.searchers, {}, 0
  if type(searchers) ~= "table" then error("'package.searchers' must be a table", 2) end
  while true do
    i = i + 1
    local searcher = rawget(searchers, i)
    if searcher == nil then error(format("module '%s' not found:%s", name, concat(tried)), 2) end
    local loader, data = searcher(name)
    if type(loader) == "function" then
      loading(1)
      local done <close> = done
      value = loader(name, data)
      if value ~= nil then loaded[name] = value end
      if loaded[name] == nil then loaded[name] = true end
      return loaded[name], data
    elseif type(loader) == "string" or type(loader) == "number" then
      tried[#tried + 1] = "\n\t" .. loader
    end
  end
end
"#;

const GUARD: &str = r#"
local may_define = ...
local error, format, rawset, tostring = error, string.format, rawset, tostring
return function(globals, name, value)
  if not may_define() then
    error(format(
      "assignment to undeclared global '%s' in a handler; declare it local, or set it at the top of the script",
      tostring(name)), 2)
  end
  rawset(globals, name, value)
end
"#;

pub(crate) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<()> {
    let package: Table = lua.globals().get("package")?;
    let loaded: Table = package.get("loaded")?;
    let loading = {
        let world = world.clone();
        lua.create_function(move |_, by: isize| {
            if let Some(task) = &*world.current.borrow() {
                task.loading.update(|n| n.saturating_add_signed(by));
            }
            Ok(())
        })?
    };
    lua.load(REQUIRE).set_name("=[lua]").call((loading, loaded, package))
}

/// Looks at assignments from now on.
pub(crate) fn guard(lua: &Lua, world: &Rc<World>) {
    if !world.guarded.replace(true)
        && let Err(error) = set_guard(lua, world)
    {
        world.say(&format!("lunette: globals are not guarded: {error}"));
    }
}

fn set_guard(lua: &Lua, world: &Rc<World>) -> mlua::Result<()> {
    let globals = lua.globals();
    let metatable = match globals.metatable() {
        Some(metatable) => metatable,
        None => lua.create_table()?,
    };
    if metatable.raw_get::<mlua::Value>("__newindex")?.is_nil() {
        let world = world.clone();
        let may_define = lua.create_function(move |_, ()| {
            let current = world.current.borrow();
            Ok(current.as_ref().is_none_or(|task| task.kind == Kind::Chunk || task.loading.get() > 0))
        })?;
        let guard: mlua::Function = lua.load(GUARD).set_name("=globals").call(may_define)?;
        metatable.raw_set("__newindex", guard)?;
    }
    globals.set_metatable(Some(metatable))
}
