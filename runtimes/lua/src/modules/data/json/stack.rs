//! Lua's stack, to read a value where it is.
//!
//! The one place in this crate that is not safe Rust. Through mlua's handles each key and value of a table is a reference
//! of its own that has to be made, counted and given back, which is most of the time that it takes to write a text:
//! four times as long as this. So it is for reading one, where each step would be a protected call besides.
//!
//! Promises: [`Top`] only reads. Nothing it does raises an error of Lua's, which would jump over whatever is on Rust's
//! stack: no call makes a value, calls a metamethod or converts in place, and what can fail (room on the stack) is
//! asked for. A panic does not go through Lua's frames. [`fill`] makes values, and where memory ends Lua jumps out of
//! it: over one frame, which holds nothing but numbers and references.
#![allow(unsafe_code, reason = "see above")]

use std::{
    ffi::c_void,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use mlua::{Lua, Table, Value, ffi};

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

/// Where a string's bytes are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Text {
    /// In the text that is read, as they are.
    Plain(usize, usize),
    /// In the buffer of those that had escapes.
    Scratch(usize, usize),
}

impl Text {
    pub(super) fn of<'a>(self, text: &'a [u8], scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(from, to) => text.get(from..to),
            Self::Scratch(from, to) => scratch.get(from..to),
        }
        .unwrap_or_default()
    }
}

/// Where a value goes.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Index(i64),
    Name(Text),
}

/// A value that is no table.
#[derive(Clone, Copy)]
pub(super) enum Scalar {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    String(Text),
}

/// A key and a value.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) key: Key,
    pub(super) value: Scalar,
}

/// Puts all of them into a table, in one protected call.
pub(super) fn fill(
    lua: &Lua,
    table: &Table,
    pieces: &[Piece],
    text: &[u8],
    scratch: &[u8],
) -> mlua::Result<()> {
    // SAFETY: a function of Lua's has room for twenty values, and here are at most three: the table, a key, a value. An
    // error of Lua's (no memory) leaves this frame, in which nothing is to be dropped, and none above it.
    unsafe {
        lua.exec_raw::<()>(table, |state| {
            let push = |at: Text| {
                let bytes = at.of(text, scratch);
                ffi::lua_pushlstring(state, bytes.as_ptr().cast(), bytes.len());
            };
            for piece in pieces {
                if let Key::Name(name) = piece.key {
                    push(name);
                }
                match piece.value {
                    Scalar::Null => ffi::lua_pushlightuserdata(state, std::ptr::null_mut()),
                    Scalar::Boolean(boolean) => ffi::lua_pushboolean(state, boolean.into()),
                    Scalar::Integer(integer) => ffi::lua_pushinteger(state, integer),
                    Scalar::Number(number) => ffi::lua_pushnumber(state, number),
                    Scalar::String(text) => push(text),
                }
                match piece.key {
                    Key::Index(index) => ffi::lua_rawseti(state, 1, index),
                    Key::Name(_) => ffi::lua_rawset(state, 1),
                }
            }
            ffi::lua_settop(state, 0);
        })
    }
}
