//! Lua's stack, to read a value where it is.
//!
//! The one place in this crate that is not safe Rust. Through mlua's handles each key and value of a table is a reference
//! of its own that has to be made, counted and given back, which is most of the time that it takes to write a text:
//! four times as long as this.
//!
//! Promises: only reads. Nothing here raises an error of Lua's, which would jump over whatever is on Rust's stack: no
//! call makes a value, calls a metamethod or converts in place, and what can fail (room on the stack) is asked for. A
//! panic does not go through Lua's frames.
#![allow(unsafe_code, reason = "see above")]

use std::{
    ffi::c_void,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use mlua::{Lua, Value, ffi};

/// The values on top of the stack: the last one, and of a table that is walked its key below it.
pub(super) struct Top<'a> {
    state: *mut ffi::lua_State,
    _lua: PhantomData<&'a Lua>,
}

/// What a value is.
pub(super) enum Seen<'a> {
    Nil,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    String(&'a [u8]),
    Table,
    Pointer(*mut c_void),
    Other(&'static str),
}

/// Lua can't give the stack more room.
pub(super) struct Full;

/// Calls `read` with `value` on top.
pub(super) fn reading<R>(lua: &Lua, value: &Value, read: impl FnOnce(&mut Top<'_>) -> R) -> mlua::Result<R> {
    let (mut read, mut result) = (Some(read), None);
    let (take, put) = (&mut read, &mut result);
    // SAFETY: the closure owns nothing that is to be dropped; what it calls raises no error (see above) and leaves the
    // stack as it was but for the value itself, which is taken off.
    unsafe {
        lua.exec_raw::<()>(value, |state| {
            let mut top = Top { state, _lua: PhantomData };
            *put = take.take().map(|read| catch_unwind(AssertUnwindSafe(|| read(&mut top))));
            ffi::lua_settop(state, 0);
        })?;
    }
    result.expect("it was called").map_or_else(|panic| resume_unwind(panic), Ok)
}

impl Top<'_> {
    pub(super) fn value(&self) -> Seen<'_> {
        self.at(-1)
    }

    /// Inside of [`Top::each`]: the value's key.
    pub(super) fn key(&self) -> Seen<'_> {
        self.at(-2)
    }

    fn at(&self, index: i32) -> Seen<'_> {
        let state = self.state;
        // SAFETY: whoever has a `Top` has a value at -1, and inside of `each` a key at -2; a string's bytes stay where they
        // are while it is on the stack, which `self` being borrowed sees to. `lua_tolstring` converts numbers only.
        unsafe {
            match ffi::lua_type(state, index) {
                ffi::LUA_TNIL => Seen::Nil,
                ffi::LUA_TBOOLEAN => Seen::Boolean(ffi::lua_toboolean(state, index) != 0),
                ffi::LUA_TNUMBER if ffi::lua_isinteger(state, index) != 0 => {
                    Seen::Integer(ffi::lua_tointeger(state, index))
                }
                ffi::LUA_TNUMBER => Seen::Number(ffi::lua_tonumber(state, index)),
                ffi::LUA_TSTRING => {
                    let mut length = 0;
                    let bytes = ffi::lua_tolstring(state, index, &raw mut length);
                    Seen::String(std::slice::from_raw_parts(bytes.cast(), length))
                }
                ffi::LUA_TTABLE => Seen::Table,
                ffi::LUA_TLIGHTUSERDATA => Seen::Pointer(ffi::lua_touserdata(state, index)),
                ffi::LUA_TFUNCTION => Seen::Other("function"),
                ffi::LUA_TTHREAD => Seen::Other("thread"),
                _ => Seen::Other("userdata"),
            }
        }
    }

    fn is_table(&self) -> bool {
        matches!(self.value(), Seen::Table)
    }

    /// Where the metatable is; null if there is none.
    pub(super) fn metatable(&mut self) -> Result<*const c_void, Full> {
        self.room()?;
        // SAFETY: there is a value and room for its metatable.
        unsafe {
            if ffi::lua_getmetatable(self.state, -1) == 0 {
                return Ok(std::ptr::null());
            }
            let pointer = ffi::lua_topointer(self.state, -1);
            ffi::lua_pop(self.state, 1);
            Ok(pointer)
        }
    }

    /// The length of the table, without metamethods.
    pub(super) fn length(&self) -> i64 {
        // SAFETY: there is a value.
        unsafe { ffi::lua_rawlen(self.state, -1) as i64 }
    }

    /// Calls `call` with each key and value of the table on top, until it fails.
    pub(super) fn each<E: From<Full>>(
        &mut self,
        mut call: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        assert!(self.is_table(), "only tables are walked");
        self.room()?;
        // SAFETY: there is room for a key and a value; the key is the one that `lua_next` gave last (at first nil), for
        // whatever `call` does ends with the stack as it was, and changes no table.
        unsafe {
            let base = ffi::lua_gettop(self.state);
            ffi::lua_pushnil(self.state);
            while ffi::lua_next(self.state, base) != 0 {
                if let Err(error) = call(self) {
                    ffi::lua_settop(self.state, base);
                    return Err(error);
                }
                ffi::lua_settop(self.state, base + 1);
            }
        }
        Ok(())
    }

    /// Calls `call` with the table's element of that index.
    pub(super) fn element<E: From<Full>>(
        &mut self,
        index: i64,
        call: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        assert!(self.is_table(), "only tables have elements");
        self.room()?;
        // SAFETY: it is a table, and there is room for one value.
        unsafe {
            ffi::lua_rawgeti(self.state, -1, index);
            let result = call(self);
            ffi::lua_pop(self.state, 1);
            result
        }
    }

    /// Room for a key and a value.
    fn room(&mut self) -> Result<(), Full> {
        // SAFETY: it answers whether there is, and raises nothing.
        if unsafe { ffi::lua_checkstack(self.state, 3) } == 0 { Err(Full) } else { Ok(()) }
    }
}
