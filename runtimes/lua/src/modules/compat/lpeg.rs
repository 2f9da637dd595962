//! `lpeg` and `re`: LPeg 1.1.0, the reference in C (`vendor/lpeg`), with limits. Its matcher is a loop in C that no hook of
//! Lua's interrupts, so it counts its own steps; a pattern that takes more than its subject's length can justify is a Lua
//! error (`pattern too expensive`). They count as instructions of the script's. Memory is the state's, and within its limit.

use std::{ffi::c_int, rc::Rc};

use mlua::{Lua, Value};

use crate::{
    limits,
    modules::{Made, Module},
    world::World,
};

pub(super) const LPEG: Module = Module { name: "lpeg", made: Made::Native(lpeg) };
pub(super) const RE: Module = super::script("re", super::packed!("re.lua"));

#[allow(unsafe_code, reason = "the only way to a module in C")]
fn lpeg(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    unsafe extern "C-unwind" {
        fn luaopen_lpeg(state: *mut mlua::ffi::lua_State) -> c_int;
    }
    // SAFETY: it is a `lua_CFunction` that was compiled against the headers of this very Lua, and asks of its caller what
    // Lua promises every one of them. It and what it registers check their arguments, and raise errors only over frames of C:
    // no frame of Rust lies between them and Lua.
    let open = unsafe { lua.create_c_function(luaopen_lpeg) }?;
    // How it tells of its steps (`CHARGE` in its `lptypes.h`).
    lua.set_named_registry_value("lpeg-charge", lua.create_function(limits::charge)?)?;
    open.call(())
}
