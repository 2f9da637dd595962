//! Errors of scripts, as people and programs are told them: PUC's words, with the position of the call.

use std::{error::Error, fmt, sync::Arc};

use mlua::{Lua, Value};

/// How a task failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// `server.lua:3: message`.
    pub(crate) message: String,
    /// `stack traceback:` and its lines; or nothing.
    pub(crate) traceback: String,
}

/// Raised in a script that is not to go on: nothing in it catches this.
#[derive(Clone, Debug)]
pub(crate) struct Stop(pub(crate) Failure);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.traceback.is_empty() {
            write!(f, "\n{}", self.traceback)?;
        }
        Ok(())
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Failure {}
impl Error for Stop {}

const TRACEBACK: &str = "stack traceback:";
/// The chunk in which mlua waits for its futures.
const WAITS: &str = "__mlua_async_poll:";

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), traceback: String::new() }
    }

    pub(crate) fn of(error: &mlua::Error) -> Self {
        if let Some(Stop(failure)) = error.downcast_ref() {
            return failure.clone();
        }
        let (mut error, mut traceback) = (error, "");
        // The innermost: where it was raised.
        while let mlua::Error::CallbackError { traceback: of, cause } = error {
            (error, traceback) = (cause, of);
        }
        match error {
            mlua::Error::RuntimeError(words)
            | mlua::Error::MemoryError(words)
            | mlua::Error::SyntaxError { message: words, .. } => match words.rsplit_once(TRACEBACK) {
                // Raised in Lua, and passed on by a function of ours: it has its position.
                Some((message, trace)) => Self {
                    message: message.trim_end_matches('\n').to_owned(),
                    traceback: format!("{TRACEBACK}{trace}"),
                },
                None => Self::at(words.clone(), traceback),
            },
            mlua::Error::BadArgument { pos, cause, .. } => {
                let callee = callee(traceback).map_or_else(|| "?".to_owned(), str::to_owned);
                Self::at(format!("bad argument #{pos} to '{callee}' ({})", expectation(cause)), traceback)
            }
            mlua::Error::FromLuaConversionError { .. } => {
                let callee = callee(traceback).map_or_else(|| "?".to_owned(), str::to_owned);
                Self::at(format!("bad argument to '{callee}' ({})", expectation(error)), traceback)
            }
            other => match other.downcast_ref::<Self>() {
                Some(failure) => failure.clone(),
                None => Self::at(other.to_string(), traceback),
            },
        }
    }

    fn at(message: String, traceback: &str) -> Self {
        let message = match position(traceback) {
            Some(position) => format!("{position} {message}"),
            None => message,
        };
        Self { message, traceback: tidy(traceback) }
    }
}

/// What a script gets that catches an error of a native function. `None`: it may not.
pub(crate) fn caught(error: Value) -> Option<String> {
    match error {
        Value::Error(error) if error.downcast_ref::<Stop>().is_some() => None,
        Value::Error(error) => Some(Failure::of(&error).message),
        _ => Some(String::new()),
    }
}

/// A task's error, where it is raised.
pub(crate) fn raised(lua: &Lua, error: Value) -> mlua::Error {
    let message = match &error {
        Value::Error(error) if error.downcast_ref::<Stop>().is_some() => return (**error).clone(),
        Value::Error(error) => Failure::of(error).message,
        Value::String(words) => words.to_string_lossy(),
        Value::Integer(_) | Value::Number(_) => error.to_string().unwrap_or_default(),
        Value::Table(_) | Value::UserData(_) => match &error.to_string() {
            Ok(words) if has_words(&error) => words.clone(),
            _ => format!("(error object is a {} value)", error.type_name()),
        },
        other => format!("(error object is a {} value)", other.type_name()),
    };
    // Without this function of ours.
    let traceback = match lua.traceback(None, 1) {
        Ok(words) => tidy(&words.to_string_lossy()),
        Err(_) => String::new(),
    };
    mlua::Error::ExternalError(Arc::new(Failure { message, traceback }))
}

/// Raises [`Stop`], with the place where the script is.
pub(crate) fn stop(lua: &Lua, words: &str) -> Stop {
    // Without the function that raises it.
    let traceback = lua.traceback(None, 1).map(|words| tidy(&words.to_string_lossy())).unwrap_or_default();
    Stop(Failure { message: words.to_owned(), traceback })
}

fn has_words(value: &Value) -> bool {
    let metatable = match value {
        Value::Table(table) => table.metatable(),
        _ => return true,
    };
    metatable.is_some_and(|metatable| metatable.contains_key("__tostring").unwrap_or(false))
}

/// Without the lines that are ours and say nothing.
fn tidy(traceback: &str) -> String {
    let lines = traceback.trim_end().lines();
    let told: Vec<_> = lines.filter(|line| !line.trim_start().starts_with(WAITS)).collect();
    told.join("\n")
}

/// The lines of a traceback below the native function that failed.
fn callers(traceback: &str) -> impl Iterator<Item = &str> {
    let mut lines = traceback.lines().map(str::trim).filter(|line| !line.is_empty() && *line != TRACEBACK);
    let first = lines.next();
    // A function that waits is called by a Lua function of mlua's.
    let mut lines = lines.peekable();
    if first.is_some() && lines.peek().is_some_and(|line| line.starts_with(WAITS)) {
        lines.next();
    }
    lines
}

/// `file:line:`, if it was called by a Lua function.
fn position(traceback: &str) -> Option<&str> {
    place(callers(traceback).next()?)
}

fn place(line: &str) -> Option<&str> {
    let (place, _) = line.split_once(": in ").or_else(|| line.split_once(": "))?;
    let (_, number) = place.rsplit_once(':')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| &line[..place.len() + 1])
}

/// The name of the native function that failed.
fn callee(traceback: &str) -> Option<&str> {
    let mut lines = traceback.lines().map(str::trim).filter(|line| !line.is_empty() && *line != TRACEBACK);
    let first = lines.next()?;
    let line = lines.next().filter(|line| line.starts_with(WAITS)).unwrap_or(first);
    let (_, quoted) = line.split_once('\'')?;
    let (name, _) = quoted.split_once('\'')?;
    // `json.encode` is called `encode` in PUC's words of this kind.
    Some(name.rsplit(['.', ':']).next().unwrap_or(name))
}

fn expectation(cause: &mlua::Error) -> String {
    match cause {
        mlua::Error::FromLuaConversionError { from, to, .. } => {
            format!("{} expected, got {from}", lua_type(to))
        }
        other => other.to_string(),
    }
}

/// A type of Rust's as Lua programs call it.
fn lua_type(name: &str) -> &str {
    match name {
        "String" | "string" | "BString" | "LuaString" => "string",
        "Table" | "table" => "table",
        "Function" | "function" => "function",
        "f32" | "f64" | "number" => "number",
        "i8" | "u8" | "i16" | "u16" | "i32" | "u32" | "i64" | "u64" | "isize" | "usize" => "integer",
        "bool" => "boolean",
        other => other,
    }
}
