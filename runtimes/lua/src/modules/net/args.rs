//! Arguments as LuaSocket's C functions take them (numbers for strings and strings for numbers), and its words for what is
//! wrong with them.

use mlua::{Lua, LuaString, MultiValue, Value};

/// A call's arguments, without the object whose method it is: so the first is 1, as in messages.
pub(crate) struct Args<'a> {
    lua: &'a Lua,
    call: &'static str,
    values: MultiValue,
}

impl<'a> Args<'a> {
    pub(crate) fn new(lua: &'a Lua, call: &'static str, values: MultiValue) -> Self {
        Self { lua, call, values }
    }

    pub(crate) fn get(&self, n: usize) -> Option<&Value> {
        self.values.get(n - 1).filter(|value| !value.is_nil())
    }

    pub(crate) fn string(&self, n: usize) -> mlua::Result<LuaString> {
        self.opt_string(n)?.ok_or_else(|| self.expected(n, "string"))
    }

    pub(crate) fn opt_string(&self, n: usize) -> mlua::Result<Option<LuaString>> {
        let Some(value) = self.get(n) else { return Ok(None) };
        let string = match value {
            Value::String(_) | Value::Integer(_) | Value::Number(_) => {
                self.lua.coerce_string(value.clone())?
            }
            _ => None,
        };
        string.map(Some).ok_or_else(|| self.expected(n, "string"))
    }

    /// A string that is a name, an address or the like. What is no UTF-8 is none, and is not found later.
    pub(crate) fn text(&self, n: usize) -> mlua::Result<String> {
        Ok(self.string(n)?.to_string_lossy())
    }

    pub(crate) fn opt_text(&self, n: usize) -> mlua::Result<Option<String>> {
        Ok(self.opt_string(n)?.map(|string| string.to_string_lossy()))
    }

    pub(crate) fn number(&self, n: usize) -> mlua::Result<f64> {
        self.opt_number(n)?.ok_or_else(|| self.expected(n, "number"))
    }

    pub(crate) fn opt_number(&self, n: usize) -> mlua::Result<Option<f64>> {
        let Some(value) = self.get(n) else { return Ok(None) };
        number(self.lua, value)?.map(Some).ok_or_else(|| self.expected(n, "number"))
    }

    /// The number that an argument is or can be read as, if it is one.
    pub(crate) fn as_number(&self, n: usize) -> mlua::Result<Option<f64>> {
        self.get(n).map_or(Ok(None), |value| number(self.lua, value))
    }

    pub(crate) fn boolean(&self, n: usize) -> mlua::Result<bool> {
        match self.get(n) {
            Some(Value::Boolean(value)) => Ok(*value),
            _ => Err(self.expected(n, "boolean")),
        }
    }

    /// One of these words.
    pub(crate) fn word<T: Copy>(
        &self,
        n: usize,
        default: &'static str,
        words: &[(&str, T)],
    ) -> mlua::Result<T> {
        let word = self.opt_text(n)?.unwrap_or_else(|| default.into());
        let found = words.iter().find(|(name, _)| *name == word);
        found.map(|(_, value)| *value).ok_or_else(|| self.fault(n, format_args!("invalid option '{word}'")))
    }

    pub(crate) fn expected(&self, n: usize, what: &str) -> mlua::Error {
        let got = match self.values.get(n - 1) {
            None => "no value",
            Some(Value::Integer(_)) => "number",
            Some(value) => value.type_name(),
        };
        self.fault(n, format_args!("{what} expected, got {got}"))
    }

    pub(crate) fn fault(&self, n: usize, what: std::fmt::Arguments<'_>) -> mlua::Error {
        mlua::Error::runtime(format!("bad argument #{n} to '{}' ({what})", self.call))
    }
}

fn number(lua: &Lua, value: &Value) -> mlua::Result<Option<f64>> {
    match value {
        Value::Integer(_) | Value::Number(_) | Value::String(_) => lua.coerce_number(value.clone()),
        _ => Ok(None),
    }
}

/// A method that the object does not have in the state that it is in.
pub(crate) fn bad_self(call: &str, expected: &str) -> mlua::Error {
    mlua::Error::runtime(format!("calling '{call}' on bad self ({expected} expected)"))
}
