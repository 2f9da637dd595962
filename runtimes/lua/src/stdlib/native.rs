//! Rust functions that behave like PUC's: their errors are strings with the line of the caller, and what has to wait does
//! so in the caller's coroutine.
//!
//! mlua raises a Rust function's error as an object of its own, which scripts can't search for words; so the function
//! returns what is to be raised, and a few lines of Lua around it (`settle` in `prelude.lua`) raise it.

use std::rc::Rc;

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value};

use super::args::Args;
use crate::world::World;

/// How a call goes on.
pub(super) enum Answer {
    Values(MultiValue),
    /// The same, after so many instructions of the virtual machine were charged.
    Costly(MultiValue, u64),
    /// Try again when this may have come.
    Wait(Wait),
}

#[derive(Clone, Copy)]
pub(super) enum Wait {
    Input,
    Output,
    /// For ever: the script is over.
    End,
}

/// What is raised.
pub(super) enum Fault {
    /// A message, which gets the caller's file and line.
    Raise(String),
    /// The same, after so many instructions were charged.
    Costly(String, u64),
    Lua(mlua::Error),
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Self {
        match error {
            mlua::Error::MemoryError(_) => Self::Raise("not enough memory".into()),
            error => Self::Lua(error),
        }
    }
}

pub(super) type Outcome = Result<Answer, Fault>;

pub(super) struct Library<'a> {
    pub(super) lua: &'a Lua,
    pub(super) world: &'a Rc<World>,
    pub(super) settle: Function,
}

impl Library<'_> {
    /// `name` is what messages call it.
    pub(super) fn function(
        &self,
        name: &'static str,
        function: impl Fn(&Args<'_>) -> Outcome + 'static,
    ) -> mlua::Result<Function> {
        self.make(name, false, Rc::new(function))
    }

    /// One that is called with `:`: its first argument is not counted in messages.
    pub(super) fn method(
        &self,
        name: &'static str,
        function: impl Fn(&Args<'_>) -> Outcome + 'static,
    ) -> mlua::Result<Function> {
        self.make(name, true, Rc::new(function))
    }

    pub(super) fn set(
        &self,
        table: &Table,
        name: &'static str,
        function: impl Fn(&Args<'_>) -> Outcome + 'static,
    ) -> mlua::Result<()> {
        table.raw_set(name, self.function(name, function)?)
    }

    /// One that does not raise: it returns `false` and a message, or `true` and its values.
    pub(super) fn raw(
        &self,
        name: &'static str,
        function: impl Fn(&Args<'_>) -> Outcome + 'static,
    ) -> mlua::Result<Function> {
        let function: Rc<Body> = Rc::new(function);
        let world = self.world.clone();
        self.lua.create_function(move |lua, values: MultiValue| {
            if world.closed.get() {
                return Ok(MultiValue::new());
            }
            call(lua, name, false, &function, values)
        })
    }

    fn make(&self, name: &'static str, method: bool, function: Rc<Body>) -> mlua::Result<Function> {
        let world = self.world.clone();
        let raw = self.lua.create_function(move |lua, values: MultiValue| {
            // Called by a finalizer while the state is closed: mlua's own data are gone by then.
            if world.closed.get() {
                return Ok(MultiValue::new());
            }
            call(lua, name, method, &function, values)
        })?;
        self.settle.call(raw)
    }
}

type Body = dyn Fn(&Args<'_>) -> Outcome;

/// What `settle` reads: `true`, values; a number of instructions, values; `false`, message, instructions; or `nil`, a
/// function to be called again, what to wait for.
fn call(
    lua: &Lua,
    name: &'static str,
    method: bool,
    function: &Rc<Body>,
    values: MultiValue,
) -> mlua::Result<MultiValue> {
    let args = Args { lua, name, method, values };
    match function(&args) {
        Ok(Answer::Values(mut values)) => {
            values.push_front(Value::Boolean(true));
            Ok(values)
        }
        Ok(Answer::Costly(mut values, cost)) => {
            values.push_front(Value::Integer(cost as i64));
            Ok(values)
        }
        Ok(Answer::Wait(wait)) => {
            let (function, values) = (function.clone(), args.values);
            let again =
                lua.create_function(move |lua, ()| call(lua, name, method, &function, values.clone()))?;
            (Value::Nil, again, wait as u8).into_lua_multi(lua)
        }
        Err(Fault::Raise(words)) => (false, lua.create_string(words)?).into_lua_multi(lua),
        Err(Fault::Costly(words, cost)) => (false, words, cost).into_lua_multi(lua),
        Err(Fault::Lua(error)) => Err(error),
    }
}

/// Values as an answer.
pub(super) fn answer(lua: &Lua, values: impl IntoLuaMulti) -> Outcome {
    Ok(Answer::Values(values.into_lua_multi(lua)?))
}

impl Answer {
    /// How many instructions stand for so many steps of a loop in Rust: fewer than one for one, as their only use is
    /// that limits see them.
    pub(super) fn costing(steps: u64, values: MultiValue) -> Self {
        if steps < STEPS { Self::Values(values) } else { Self::Costly(values, steps / STEPS) }
    }
}

/// Steps of Rust for one instruction.
pub(super) const STEPS: u64 = 32;
