//! Tables of options, read strictly: a name that nobody knows is an error that says which there are.

use std::{cell::RefCell, time::Duration};

use mlua::{FromLua, Lua, Table, Value};

/// A call's options.
pub(crate) struct Options<'a> {
    lua: &'a Lua,
    /// Whose: `http.serve`.
    call: &'static str,
    table: Option<Table>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Options<'a> {
    pub(crate) fn new(lua: &'a Lua, call: &'static str, table: Option<Table>) -> Self {
        Self { lua, call, table, known: RefCell::default() }
    }

    pub(crate) fn get<T: FromLua>(&self, name: &'static str) -> mlua::Result<Option<T>> {
        self.known.borrow_mut().push(name);
        let Some(table) = &self.table else { return Ok(None) };
        let value: Value = table.raw_get(name)?;
        if value.is_nil() {
            return Ok(None);
        }
        let got = value.type_name();
        T::from_lua(value, self.lua)
            .map(Some)
            .map_err(|_| self.fault(format_args!("{name} can't be a {got}")))
    }

    /// A time in seconds.
    pub(crate) fn seconds(&self, name: &'static str) -> mlua::Result<Option<Duration>> {
        let Some(seconds) = self.get::<f64>(name)? else { return Ok(None) };
        duration(seconds)
            .map(Some)
            .ok_or_else(|| self.fault(format_args!("{name} can't be {seconds}: it is a time in seconds")))
    }

    /// To be called when all were read.
    pub(crate) fn finish(self) -> mlua::Result<()> {
        let Some(table) = &self.table else { return Ok(()) };
        let known = self.known.borrow();
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            let name = key.to_string()?;
            if !known.iter().any(|known| *known == name) {
                return Err(
                    self.fault(format_args!("there is no option {name}; there are: {}", known.join(", ")))
                );
            }
        }
        Ok(())
    }

    pub(crate) fn fault(&self, what: std::fmt::Arguments<'_>) -> mlua::Error {
        mlua::Error::runtime(format!("{}: {what}", self.call))
    }
}

/// `None`: no time (negative, not a number). What is too long is for ever.
pub(crate) fn duration(seconds: f64) -> Option<Duration> {
    (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
