//! Calls that catch errors, and coroutines that wait: PUC's `pcall`, `xpcall`, `setmetatable` and `coroutine` (5.4's
//! lbaselib.c and lcorolib.c, function by function), but for what a service needs beyond them:
//!
//! - An error of a native function is a string with its position, as PUC's own libraries raise theirs ([`failures`]).
//! - What stops a script ([`failures::Stop`]) is not caught: it goes on to the task's end.
//! - A coroutine in which something waits (mlua's sentinel), or that gave way to others (the hook), makes whoever
//!   resumed it wait too, up to the task's own coroutine; the script sees none of it. One that does neither costs what it
//!   costs in PUC.
//! - The hook is here, over the C API as well: mlua's own, when it raises an error, clears the registers of the Lua function
//!   that it interrupts, and calls its `<close>` variables in there.
//! - Finalizers run in a coroutine of their own, since Lua turns hooks off in them: one that does not end is ended.
//!
//! In C's manner, over the C API, because Lua lets nothing else yield in the middle of a protected call or a resume and
//! go on afterwards (`lua_pcallk`, `lua_yieldk`). Errors are longjmps: so no function here has anything on its frame
//! that would have to be dropped, and what needs Rust's values is called as a Lua function.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_int},
    rc::Rc,
};

use mlua::{
    Function, LightUserData, Lua, Table, Value,
    ffi::{self, lua_KContext, lua_State},
};

use crate::{failures, limits, world::World};

/// Upvalues of all functions here that catch errors: the metatable of mlua's errors, and what makes a string of one.
const METATABLE: c_int = 1;
const DESCRIBE: c_int = 2;
/// The third, of those that resume: by coroutine, which one it waits for; `false` for one that was stopped.
const WAITING: c_int = 3;

/// How often a finalizer may be interrupted by the hook before it is ended.
const FINALIZER_TURNS: u32 = 100;

/// Puts them in their places.
pub(crate) fn open(lua: &Lua, world: &World) -> mlua::Result<()> {
    let describe = lua.create_function(|_, error: Value| Ok(failures::caught(error)))?;
    let waiting = lua.create_table()?;
    waiting.set_metatable(Some(lua.create_table_from([("__mode", "k")])?))?;
    world.waiting.replace(Some(waiting.clone()));
    let globals = lua.globals();
    let coroutine: Table = globals.get("coroutine")?;
    let catching = |function: ffi::lua_CFunction, last: Value| {
        let sample = mlua::Error::runtime("");
        let upvalues = (sample, describe.clone(), last);
        // SAFETY: the three are on the stack; the first becomes its metatable, then all three are the upvalues.
        unsafe {
            lua.exec_raw::<Function>(upvalues, |l| {
                ffi::lua_getmetatable(l, 1);
                ffi::lua_replace(l, 1);
                ffi::lua_pushcclosure(l, function, 3);
            })
        }
    };
    globals.set("pcall", catching(pcall, Value::Nil)?)?;
    globals.set("xpcall", catching(xpcall, Value::Nil)?)?;
    coroutine.set("resume", catching(resume, Value::Table(waiting.clone()))?)?;
    coroutine.set("wrap", catching(wrap, Value::Table(waiting.clone()))?)?;
    coroutine.set("close", catching(close, Value::Table(waiting))?)?;
    let name = lua.create_string("__gc")?;
    // SAFETY: the one value on the stack is the upvalue.
    let setmetatable =
        unsafe { lua.exec_raw::<Function>(name, |l| ffi::lua_pushcclosure(l, setmetatable, 1))? };
    globals.set("setmetatable", setmetatable)
}

/// The keys of the hook's things in the registry: the world, and the function that raises the error.
static WORLD: u8 = 0;
static STOP: u8 = 0;

/// Has [`World::spend`] asked every so many instructions of each coroutine: of those that are made from now on. `stop` is
/// called to raise the error, where there is to be one.
pub(crate) fn watch(lua: &Lua, world: &Rc<World>, every: u32, stop: Function) -> mlua::Result<()> {
    // SAFETY: the world is the state's own (its app data), so it is there as long as the state is. The one value on the
    // stack is the function.
    unsafe {
        lua.exec_raw(stop, |l| {
            ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, (&raw const STOP).cast());
            ffi::lua_pushlightuserdata(l, Rc::as_ptr(world).cast_mut().cast());
            ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, (&raw const WORLD).cast());
            ffi::lua_sethook(l, Some(hook), ffi::LUA_MASKCOUNT, every.cast_signed());
        })
    }
}

unsafe extern "C-unwind" fn hook(l: *mut lua_State, frame: *mut ffi::lua_Debug) {
    // SAFETY: called by Lua, which has made room on the stack; the world is as long as the state (`watch`). Nothing here
    // has a destructor when Lua is asked to yield or to raise an error.
    unsafe {
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const WORLD).cast());
        let world: *const World = ffi::lua_touserdata(l, -1).cast();
        ffi::lua_pop(l, 1);
        if (*world).spend(u64::from(limits::TICK)).is_err() {
            ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const STOP).cast());
            ffi::lua_call(l, 0, 0);
        } else if ffi::lua_isyieldable(l) != 0 && !in_wait(l, frame) {
            (*world).usage.gave_way.set(true);
            ffi::lua_yield(l, 0);
        }
    }
}

/// Is it mlua's function that waits for a future? Between its asking and its waiting, the waker may have been called
/// already: whoever waits elsewhere first, would wait for ever.
unsafe fn in_wait(l: *mut lua_State, frame: *mut ffi::lua_Debug) -> bool {
    // SAFETY: called by the hook with its own record, which Lua fills in before it is read.
    unsafe {
        ffi::lua_getinfo(l, c"S".as_ptr(), frame) == 0
            || CStr::from_ptr((*frame).source) == c"=__mlua_async_poll"
    }
}

/// A function that calls its first argument with the others; an error passes `handler` where it is raised, and is
/// raised on once `<close>` has run. What a task begins with: an error that a hook raised leaves hooks off in its
/// coroutine, until it is caught once.
pub(crate) fn entry(lua: &Lua, world: &Rc<World>, handler: Function) -> mlua::Result<Function> {
    let world = LightUserData(Rc::as_ptr(world).cast_mut().cast());
    // SAFETY: the two values on the stack are the upvalues.
    unsafe { lua.exec_raw((handler, world), |l| ffi::lua_pushcclosure(l, enter, 2)) }
}

unsafe extern "C-unwind" fn enter(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua, with `LUA_MINSTACK` places on the stack; the world is as long as the state.
    unsafe {
        let world: *const World = ffi::lua_touserdata(l, ffi::lua_upvalueindex(2)).cast();
        if (*world).usage.entered.get().is_null() {
            (*world).usage.entered.set(l);
        }
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        ffi::lua_insert(l, 1);
        let status = ffi::lua_pcallk(l, ffi::lua_gettop(l) - 2, ffi::LUA_MULTRET, 1, 0, Some(entered));
        entered(l, status, 0)
    }
}

unsafe extern "C-unwind" fn entered(l: *mut lua_State, status: c_int, _: lua_KContext) -> c_int {
    // SAFETY: called by Lua or by `enter`; the stack has the handler, then the results or an error.
    unsafe {
        if well(status) {
            return ffi::lua_gettop(l) - 1;
        }
        ffi::lua_error(l)
    }
}

fn well(status: c_int) -> bool {
    matches!(status, ffi::LUA_OK | ffi::LUA_YIELD)
}

/// Makes a string of mlua's error on the top of the stack, unless it is something else. Raises one that nobody may catch.
unsafe fn settle(l: *mut lua_State) {
    // SAFETY: called with an error on the top, from functions with the upvalues of those that catch; leaves one value.
    unsafe {
        if is_native(l) && !describe(l) {
            ffi::lua_error(l);
        }
    }
}

/// Is the value on the top an error of mlua's?
unsafe fn is_native(l: *mut lua_State) -> bool {
    // SAFETY: as `settle`; leaves the stack as it was.
    unsafe {
        if ffi::lua_type(l, -1) != ffi::LUA_TUSERDATA || ffi::lua_getmetatable(l, -1) == 0 {
            return false;
        }
        let native = ffi::lua_rawequal(l, -1, ffi::lua_upvalueindex(METATABLE)) != 0;
        ffi::lua_pop(l, 1);
        native
    }
}

/// Replaces mlua's error on the top by its words. `false`: it is not to be caught, and is still there.
unsafe fn describe(l: *mut lua_State) -> bool {
    // SAFETY: as `settle`; the callee is a function of mlua's, which longjmps only out of frames that hold nothing.
    unsafe {
        ffi::luaL_checkstack(l, 3, std::ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(DESCRIBE));
        ffi::lua_pushvalue(l, -2);
        ffi::lua_call(l, 1, 1);
        let caught = ffi::lua_type(l, -1) != ffi::LUA_TNIL;
        if caught {
            ffi::lua_replace(l, -2);
        } else {
            ffi::lua_pop(l, 1);
        }
        caught
    }
}

unsafe extern "C-unwind" fn pcall(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; as `luaB_pcall`.
    unsafe {
        ffi::luaL_checkany(l, 1);
        ffi::lua_pushboolean(l, 1);
        ffi::lua_insert(l, 1);
        let status = ffi::lua_pcallk(l, ffi::lua_gettop(l) - 2, ffi::LUA_MULTRET, 0, 0, Some(called));
        called(l, status, 0)
    }
}

/// `extra`: how many values at the bottom are not results.
unsafe extern "C-unwind" fn called(l: *mut lua_State, status: c_int, extra: lua_KContext) -> c_int {
    // SAFETY: called by Lua, or by the two functions above and below, with what they left on the stack.
    unsafe {
        if well(status) {
            return ffi::lua_gettop(l) - extra as c_int;
        }
        settle(l);
        ffi::lua_pushboolean(l, 0);
        ffi::lua_pushvalue(l, -2);
        2
    }
}

unsafe extern "C-unwind" fn xpcall(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; as `luaB_xpcall`, with the handler in one of ours.
    unsafe {
        let n = ffi::lua_gettop(l);
        ffi::luaL_checktype(l, 2, ffi::LUA_TFUNCTION);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(METATABLE));
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(DESCRIBE));
        ffi::lua_pushvalue(l, 2);
        ffi::lua_pushcclosure(l, handle, 3);
        ffi::lua_replace(l, 2);
        ffi::lua_pushboolean(l, 1);
        ffi::lua_pushvalue(l, 1);
        ffi::lua_rotate(l, 3, 2);
        let status = ffi::lua_pcallk(l, n - 2, ffi::LUA_MULTRET, 2, 2, Some(called));
        called(l, status, 2)
    }
}

/// The handler of an `xpcall`: the script's own is the third upvalue. It does not see what stops the script: hooks are
/// off here, so that it could run for ever.
unsafe extern "C-unwind" fn handle(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with an error.
    unsafe {
        ffi::lua_settop(l, 1);
        if is_native(l) && !describe(l) {
            return 1;
        }
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(3));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, 1, 1);
        1
    }
}

/// What came of resuming a coroutine.
enum Resumed {
    /// It yielded or returned so many values, which are on the resumer's stack now.
    Values(c_int),
    /// It failed; the error is on the resumer's stack.
    Failed,
    /// Something in it waits, or it gave way.
    Waits,
}

/// Resumes `co` with the `n` values on the top of the stack of `l`.
unsafe fn go(l: *mut lua_State, co: *mut lua_State, n: c_int) -> Resumed {
    // SAFETY: both are live coroutines of one state, `co` is on the stack of `l` or in its upvalue; as `auxresume`.
    unsafe {
        let mut n = n;
        loop {
            if ffi::lua_checkstack(co, n) == 0 {
                ffi::lua_pushstring(l, c"too many arguments to resume".as_ptr());
                return Resumed::Failed;
            }
            ffi::lua_xmove(l, co, n);
            let mut count = 0;
            let status = ffi::lua_resume(co, l, n, &raw mut count);
            if !well(status) {
                ffi::lua_xmove(co, l, 1);
                return Resumed::Failed;
            }
            if status == ffi::LUA_YIELD {
                if count == 1 && ffi::lua_touserdata(co, -1) == Lua::poll_pending().0 {
                    ffi::lua_pop(co, 1);
                    return Resumed::Waits;
                }
                if count == 0 && gave_way(co) {
                    if ffi::lua_isyieldable(l) != 0 {
                        return Resumed::Waits;
                    }
                    // Nobody further out can give way.
                    n = 0;
                    continue;
                }
            }
            if ffi::lua_checkstack(l, count + 1) == 0 {
                ffi::lua_pop(co, count);
                ffi::lua_pushstring(l, c"too many results to resume".as_ptr());
                return Resumed::Failed;
            }
            ffi::lua_xmove(co, l, count);
            return Resumed::Values(count);
        }
    }
}

/// Did a coroutine that is suspended yield from the hook, in the middle of a Lua function?
unsafe fn gave_way(co: *mut lua_State) -> bool {
    // SAFETY: `co` is suspended; the record is filled in by Lua before it is read.
    unsafe {
        let mut frame = std::mem::zeroed::<ffi::lua_Debug>();
        ffi::lua_getstack(co, 0, &raw mut frame) != 0
            && ffi::lua_getinfo(co, c"S".as_ptr(), &raw mut frame) != 0
            && *frame.what != b'C'.cast_signed()
    }
}

/// Waits with the coroutine that waits: `then` resumes it. It is kept aside, because whoever resumes us may clear the
/// stack (mlua does).
unsafe fn wait(l: *mut lua_State, co: c_int, then: ffi::lua_KFunction) -> c_int {
    // SAFETY: `co` is the index of a coroutine; the value yielded is mlua's own.
    unsafe {
        ffi::luaL_checkstack(l, 4, std::ptr::null());
        ffi::lua_pushvalue(l, co);
        ffi::lua_pushthread(l);
        ffi::lua_insert(l, -2);
        ffi::lua_rawset(l, ffi::lua_upvalueindex(WAITING));
        ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, (&raw const WORLD).cast());
        let world: *const World = ffi::lua_touserdata(l, -1).cast();
        // The last one to say so is the outermost.
        (*world).usage.waits_in.set(l);
        ffi::lua_pop(l, 1);
        ffi::lua_pushlightuserdata(l, Lua::poll_pending().0);
        ffi::lua_yieldk(l, 1, 0, Some(then))
    }
}

/// Closes the coroutines in which a task waits, the innermost first: it will not go on. `outermost` is the task's own, which is
/// suspended and is not closed.
pub(crate) fn abandon(lua: &Lua, waiting: &Table, outermost: *mut lua_State) -> mlua::Result<()> {
    // SAFETY: the task holds its own coroutine, and the table (at 1) those within.
    unsafe { lua.exec_raw(waiting, |l| abandon_within(l, outermost)) }
}

unsafe fn abandon_within(l: *mut lua_State, co: *mut lua_State) {
    // SAFETY: `co` is suspended; what it waits for is taken out of the table, so that it is met once.
    unsafe {
        if ffi::lua_checkstack(co, 1) == 0 || ffi::lua_checkstack(l, 4) == 0 {
            return;
        }
        let top = ffi::lua_gettop(l);
        ffi::lua_pushthread(co);
        ffi::lua_xmove(co, l, 1);
        ffi::lua_pushvalue(l, -1);
        ffi::lua_rawget(l, 1);
        ffi::lua_insert(l, -2);
        ffi::lua_pushnil(l);
        ffi::lua_rawset(l, 1);
        let inner = ffi::lua_tothread(l, -1);
        if !inner.is_null() && ffi::lua_status(inner) == ffi::LUA_YIELD {
            abandon_within(l, inner);
            ffi::lua_closethread(inner, l);
        }
        ffi::lua_settop(l, top);
    }
}

/// Finds the coroutine that `l` waits for, and leaves it as the one value on its stack.
unsafe fn waited(l: *mut lua_State) -> *mut lua_State {
    // SAFETY: called from a continuation, in which the stack is ours.
    unsafe {
        ffi::lua_settop(l, 0);
        ffi::lua_pushthread(l);
        ffi::lua_rawget(l, ffi::lua_upvalueindex(WAITING));
        ffi::lua_pushthread(l);
        ffi::lua_pushnil(l);
        ffi::lua_rawset(l, ffi::lua_upvalueindex(WAITING));
        ffi::lua_tothread(l, 1)
    }
}

/// Notes that the coroutine was stopped, if its error, on the top, says so: hooks stay off in it for ever, so nothing
/// may run in it again.
unsafe fn note_stop(l: *mut lua_State, co: *mut lua_State) {
    // SAFETY: an error is on the top of `l`; `co` has ended, so that there is room on its stack.
    unsafe {
        if !is_native(l) {
            return;
        }
        ffi::lua_pushvalue(l, -1);
        let caught = describe(l);
        ffi::lua_pop(l, 1);
        if !caught {
            ffi::lua_pushthread(co);
            ffi::lua_xmove(co, l, 1);
            ffi::lua_pushboolean(l, 0);
            ffi::lua_rawset(l, ffi::lua_upvalueindex(WAITING));
            ffi::lua_error(l);
        }
    }
}

unsafe fn coroutine_at_1(l: *mut lua_State) -> *mut lua_State {
    // SAFETY: called by functions that Lua called.
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TTHREAD);
        ffi::lua_tothread(l, 1)
    }
}

unsafe extern "C-unwind" fn resume(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the coroutine stays at 1.
    unsafe {
        let co = coroutine_at_1(l);
        resumed(l, co, ffi::lua_gettop(l) - 1)
    }
}

unsafe extern "C-unwind" fn resume_on(l: *mut lua_State, _: c_int, _: lua_KContext) -> c_int {
    // SAFETY: called by Lua, after `wait`.
    unsafe {
        let co = waited(l);
        resumed(l, co, 0)
    }
}

unsafe fn resumed(l: *mut lua_State, co: *mut lua_State, n: c_int) -> c_int {
    // SAFETY: `co` is at 1 and `n` values are on the top.
    unsafe {
        match go(l, co, n) {
            Resumed::Values(count) => {
                ffi::lua_pushboolean(l, 1);
                ffi::lua_insert(l, -(count + 1));
                count + 1
            }
            Resumed::Failed => {
                note_stop(l, co);
                settle(l);
                ffi::lua_pushboolean(l, 0);
                ffi::lua_insert(l, -2);
                2
            }
            Resumed::Waits => wait(l, 1, resume_on),
        }
    }
}

unsafe extern "C-unwind" fn wrap(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; as `luaB_cowrap`. The upvalues are our own three and the coroutine.
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TFUNCTION);
        for i in [METATABLE, DESCRIBE, WAITING] {
            ffi::lua_pushvalue(l, ffi::lua_upvalueindex(i));
        }
        let co = ffi::lua_newthread(l);
        ffi::lua_pushvalue(l, 1);
        ffi::lua_xmove(l, co, 1);
        ffi::lua_pushcclosure(l, wrapped, 4);
        1
    }
}

unsafe extern "C-unwind" fn wrapped(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe { call_wrapped(l, ffi::lua_gettop(l)) }
}

unsafe extern "C-unwind" fn wrapped_on(l: *mut lua_State, _: c_int, _: lua_KContext) -> c_int {
    // SAFETY: called by Lua, after `wait`.
    unsafe {
        waited(l);
        ffi::lua_settop(l, 0);
        call_wrapped(l, 0)
    }
}

unsafe fn call_wrapped(l: *mut lua_State, n: c_int) -> c_int {
    // SAFETY: the fourth upvalue is a coroutine; as `luaB_auxwrap`.
    unsafe {
        let co = ffi::lua_tothread(l, ffi::lua_upvalueindex(4));
        match go(l, co, n) {
            Resumed::Values(count) => count,
            Resumed::Waits => wait(l, ffi::lua_upvalueindex(4), wrapped_on),
            Resumed::Failed => {
                note_stop(l, co);
                let mut status = ffi::lua_status(co);
                if !well(status) {
                    status = ffi::lua_closethread(co, l);
                    ffi::lua_xmove(co, l, 1);
                }
                settle(l);
                if status != ffi::LUA_ERRMEM && ffi::lua_type(l, -1) == ffi::LUA_TSTRING {
                    ffi::luaL_where(l, 1);
                    ffi::lua_insert(l, -2);
                    ffi::lua_concat(l, 2);
                }
                ffi::lua_error(l)
            }
        }
    }
}

unsafe extern "C-unwind" fn close(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; as `luaB_close`.
    unsafe {
        let co = coroutine_at_1(l);
        let mut frame = std::mem::zeroed::<ffi::lua_Debug>();
        if co == l {
            return ffi::luaL_error(l, c"cannot close a running coroutine".as_ptr());
        }
        if ffi::lua_status(co) == ffi::LUA_OK && ffi::lua_getstack(co, 0, &raw mut frame) != 0 {
            return ffi::luaL_error(l, c"cannot close a normal coroutine".as_ptr());
        }
        ffi::lua_pushvalue(l, 1);
        let waits = ffi::lua_rawget(l, ffi::lua_upvalueindex(WAITING));
        if waits == ffi::LUA_TBOOLEAN {
            ffi::lua_pushstring(l, c"limit: cpu".as_ptr());
            return 2;
        }
        if ffi::lua_closethread(co, l) == ffi::LUA_OK {
            ffi::lua_pushboolean(l, 1);
            return 1;
        }
        ffi::lua_pushboolean(l, 0);
        ffi::lua_xmove(co, l, 1);
        settle(l);
        2
    }
}

unsafe extern "C-unwind" fn setmetatable(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; as `luaB_setmetatable`, with the finalizer in one of ours. The upvalue is its name.
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TTABLE);
        let kind = ffi::lua_type(l, 2);
        if kind != ffi::LUA_TNIL && kind != ffi::LUA_TTABLE {
            let words = ffi::lua_pushfstring(
                l,
                c"nil or table expected, got %s".as_ptr(),
                ffi::lua_typename(l, kind),
            );
            return ffi::luaL_argerror(l, 2, words);
        }
        if ffi::luaL_getmetafield(l, 1, c"__metatable".as_ptr()) != ffi::LUA_TNIL {
            return ffi::luaL_error(l, c"cannot change a protected metatable".as_ptr());
        }
        ffi::lua_settop(l, 2);
        if kind == ffi::LUA_TTABLE {
            ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
            if ffi::lua_rawget(l, 2) == ffi::LUA_TFUNCTION
                && ffi::lua_tocfunction(l, -1).is_none_or(|f| !std::ptr::fn_addr_eq(f, FINALIZE))
            {
                ffi::lua_pushcclosure(l, finalize, 1);
                ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
                ffi::lua_insert(l, -2);
                ffi::lua_rawset(l, 2);
            }
            ffi::lua_settop(l, 2);
        }
        ffi::lua_setmetatable(l, 1);
        1
    }
}

const FINALIZE: ffi::lua_CFunction = finalize;

/// A script's finalizer, its upvalue, in a coroutine of its own, in which hooks are on.
unsafe extern "C-unwind" fn finalize(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua, by its collector with the object; the coroutine stays on the stack.
    unsafe {
        ffi::lua_settop(l, 1);
        let co = ffi::lua_newthread(l);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        ffi::lua_pushvalue(l, 1);
        ffi::lua_xmove(l, co, 2);
        let mut n = 1;
        for _ in 0..FINALIZER_TURNS {
            let mut count = 0;
            match ffi::lua_resume(co, l, n, &raw mut count) {
                ffi::LUA_OK => return 0,
                ffi::LUA_YIELD if count == 0 && gave_way(co) => n = 0,
                ffi::LUA_YIELD => {
                    ffi::lua_closethread(co, l);
                    return ffi::luaL_error(l, c"attempt to yield across a C-call boundary".as_ptr());
                }
                _ => {
                    ffi::lua_xmove(co, l, 1);
                    ffi::lua_error(l);
                }
            }
        }
        ffi::luaL_error(l, c"limit: cpu".as_ptr())
    }
}
