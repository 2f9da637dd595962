//! `debug`: what of it a script may have.
//!
//! The table is PUC's; `debug.lua` takes away what could break the host before any script sees it, and says for each
//! function why.

use mlua::{Function, Lua, MultiValue, Table};

#[allow(unsafe_code)]
pub(super) fn open(lua: &Lua) -> mlua::Result<Table> {
    // SAFETY: `luaopen_debug` is a C function like any other: it takes a state with room on its stack (a protected call
    // gives it that), touches nothing below, and leaves one table. mlua calls the library unsafe for what some of its
    // functions allow (upvalues of mlua's own functions, metatables of its userdata, the registry, hooks); none of those
    // gets out of `debug.lua` unguarded.
    unsafe {
        lua.exec_raw((), |state| {
            mlua::ffi::luaopen_debug(state);
        })
    }
}

/// Makes the guarded functions of PUC's.
pub(super) fn guards(lua: &Lua) -> mlua::Result<Function> {
    lua.create_function(|lua, args: MultiValue| {
        lua.load(include_str!("debug.lua")).set_name("=[lua]").call::<Table>(args)
    })
}
