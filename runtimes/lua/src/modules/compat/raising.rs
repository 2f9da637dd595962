//! Errors as C libraries raise them: strings, with the caller's place before them. (What a native function of ours
//! raises is an object of mlua's, which old code that matches on messages does not expect.)

use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, MultiValue, Value};

/// A function whose error is what `luaL_error` makes of these words.
pub(super) fn function<A, R>(
    lua: &Lua,
    call: impl Fn(&Lua, A) -> Result<R, String> + 'static,
) -> mlua::Result<Function>
where
    A: FromLuaMulti,
    R: IntoLuaMulti,
{
    wrapped(lua, lua.create_function(answering(call))?, 2)
}

/// The same, without a place before the words: `lua_error`.
pub(super) fn plain<A, R>(
    lua: &Lua,
    call: impl Fn(&Lua, A) -> Result<R, String> + 'static,
) -> mlua::Result<Function>
where
    A: FromLuaMulti,
    R: IntoLuaMulti,
{
    wrapped(lua, lua.create_function(answering(call))?, 0)
}

/// Answers `true` and the values, or `false` and the error.
fn answering<A, R>(
    call: impl Fn(&Lua, A) -> Result<R, String> + 'static,
) -> impl Fn(&Lua, MultiValue) -> mlua::Result<MultiValue> + 'static
where
    A: FromLuaMulti,
    R: IntoLuaMulti,
{
    move |lua, args: MultiValue| {
        let given = args.len();
        let result = match A::from_lua_args(args, 1, None, lua) {
            Ok(args) => call(lua, args),
            Err(error) => Err(words(&error, given)),
        };
        match result {
            Ok(values) => {
                let mut values = values.into_lua_multi(lua)?;
                values.push_front(Value::Boolean(true));
                Ok(values)
            }
            Err(words) => (false, words).into_lua_multi(lua),
        }
    }
}

fn wrapped(lua: &Lua, call: Function, level: u8) -> mlua::Result<Function> {
    const WRAP: &str = "lunette.compat.raising";
    let wrap = match lua.named_registry_value(WRAP)? {
        Value::Function(wrap) => wrap,
        _ => {
            let text = "local call, level = ...
                local error = error
                local function check(ok, ...)
                    if ok then return ... end
                    error((...), level)
                end
                return function(...) return check(call(...)) end";
            let wrap = lua.load(text).set_name("=compat").into_function()?;
            lua.set_named_registry_value(WRAP, &wrap)?;
            wrap
        }
    };
    wrap.call((call, level))
}

/// An argument of the wrong type, as Lua's own library says it, where that many were given.
fn words(error: &mlua::Error, given: usize) -> String {
    match error {
        mlua::Error::BadArgument { pos, cause, .. } => match &**cause {
            mlua::Error::FromLuaConversionError { from, to, .. } => {
                let from = match *from {
                    "nil" if *pos > given => "no value",
                    "integer" => "number",
                    other => other,
                };
                let to = match to.as_str() {
                    "i64" | "f64" | "u64" | "i32" | "u32" | "usize" => "number",
                    "String" | "LuaString" => "string",
                    other => other,
                };
                argument(*pos, &format!("{to} expected, got {from}"))
            }
            cause => argument(*pos, &cause.to_string()),
        },
        other => other.to_string(),
    }
}

/// As `luaL_argerror` has it for a function that it has no name for.
pub(super) fn argument(position: usize, why: &str) -> String {
    format!("bad argument #{position} to '?' ({why})")
}
