//! A call's arguments, checked as `lauxlib` does, in its words.

use mlua::{AnyUserData, Lua, LuaString, MultiValue, Table, Value};

use super::native::Fault;

pub(super) struct Args<'a> {
    pub(super) lua: &'a Lua,
    pub(super) name: &'static str,
    /// Called with `:`.
    pub(super) method: bool,
    pub(super) values: MultiValue,
}

impl Args<'_> {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The `index`th, from 1 on.
    pub(super) fn get(&self, index: usize) -> &Value {
        self.values.get(index - 1).unwrap_or(&Value::Nil)
    }

    pub(super) fn is_nil(&self, index: usize) -> bool {
        self.get(index).is_nil()
    }

    pub(super) fn truth(&self, index: usize) -> bool {
        !matches!(self.get(index), Value::Nil | Value::Boolean(false))
    }

    pub(super) fn fault(&self, index: usize, what: impl std::fmt::Display) -> Fault {
        let name = self.name;
        Fault::Raise(match (self.method, index) {
            (true, 1) => format!("calling '{name}' on bad self ({what})"),
            (true, index) => format!("bad argument #{} to '{name}' ({what})", index - 1),
            (false, index) => format!("bad argument #{index} to '{name}' ({what})"),
        })
    }

    pub(super) fn expected(&self, index: usize, what: &str) -> Fault {
        let got = match self.values.get(index - 1) {
            None => "no value".to_owned(),
            Some(value) => type_name(value),
        };
        self.fault(index, format_args!("{what} expected, got {got}"))
    }

    pub(super) fn string(&self, index: usize) -> Result<LuaString, Fault> {
        match self.get(index) {
            Value::String(string) => Ok(string.clone()),
            number @ (Value::Integer(_) | Value::Number(_)) => {
                self.lua.coerce_string(number.clone())?.ok_or_else(|| self.expected(index, "string"))
            }
            _ => Err(self.expected(index, "string")),
        }
    }

    pub(super) fn opt_string(&self, index: usize) -> Result<Option<LuaString>, Fault> {
        if self.is_nil(index) { Ok(None) } else { self.string(index).map(Some) }
    }

    /// A string that C would see as a whole, as text. What follows a NUL is not seen.
    pub(super) fn text(&self, index: usize) -> Result<String, Fault> {
        let string = self.string(index)?;
        let bytes = string.as_bytes();
        let seen = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(seen).into_owned())
    }

    pub(super) fn integer(&self, index: usize) -> Result<i64, Fault> {
        let value = self.get(index);
        if let Value::Integer(integer) = value {
            return Ok(*integer);
        }
        if let Some(integer) = self.lua.coerce_integer(value.clone())? {
            return Ok(integer);
        }
        Err(match self.lua.coerce_number(value.clone())? {
            Some(_) => self.fault(index, "number has no integer representation"),
            None => self.expected(index, "number"),
        })
    }

    pub(super) fn opt_integer(&self, index: usize) -> Result<Option<i64>, Fault> {
        if self.is_nil(index) { Ok(None) } else { self.integer(index).map(Some) }
    }

    pub(super) fn table(&self, index: usize) -> Result<Table, Fault> {
        match self.get(index) {
            Value::Table(table) => Ok(table.clone()),
            _ => Err(self.expected(index, "table")),
        }
    }

    /// One of some words, the first if it is left out and may be.
    pub(super) fn option(
        &self,
        index: usize,
        default: Option<usize>,
        options: &[&str],
    ) -> Result<usize, Fault> {
        if let (true, Some(default)) = (self.is_nil(index), default) {
            return Ok(default);
        }
        let name = self.text(index)?;
        options
            .iter()
            .position(|option| *option == name)
            .ok_or_else(|| self.fault(index, format_args!("invalid option '{name}'")))
    }

    pub(super) fn userdata(&self, index: usize) -> Option<&AnyUserData> {
        match self.get(index) {
            Value::UserData(userdata) => Some(userdata),
            _ => None,
        }
    }
}

/// `luaL_typeerror`'s name of a type: the metatable's, if it has one.
fn type_name(value: &Value) -> String {
    let own = match value {
        Value::Table(table) => {
            table.metatable().and_then(|meta| meta.raw_get::<Option<LuaString>>("__name").ok().flatten())
        }
        Value::UserData(userdata) => userdata.type_name().ok(),
        Value::LightUserData(_) => return "light userdata".into(),
        Value::Integer(_) => return "number".into(),
        _ => None,
    };
    own.map_or_else(|| value.type_name().to_owned(), |name| name.to_string_lossy())
}
