//! `json`: values to text and back, RFC 8259 to the letter.
//!
//! `encode(value [, {pretty=, empty_array=, max_depth=}])` gives the text, or raises what can't be text and where it is;
//! `decode(text [, {max_depth=}])` gives the value, or `nil, message, position`. Integers stay integers; floats are
//! written with the fewest digits that are read back as the same float. `json.null` is `null` in a table; `json.array(t)`
//! makes a table an array even if it is empty, which arrays that were read are already.
//!
//! Both are native and go straight between text and Lua's values. [`read`] and [`write`] serve `cjson` too.

use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use crate::{options::Options, world::World};

pub(crate) mod read;
mod stack;
pub(crate) mod write;

/// How deep a text may be nested unless told otherwise: it comes from anybody.
const DEPTH: usize = 128;

/// How texts are read.
pub(super) const STRICT: read::Rules =
    read::Rules { max_depth: DEPTH, lax: false, odd_numbers: false, mark: read::Mark::Empty };

const ARRAY: &str = "lunette.json.array";
const EMPTY: &str = "lunette.json.empty";

/// The metatable of what is always an array.
pub(crate) fn array_mark(lua: &Lua) -> mlua::Result<Table> {
    mark(lua, ARRAY)
}

/// The metatable of what is an array if it is empty.
pub(crate) fn empty_mark(lua: &Lua) -> mlua::Result<Table> {
    mark(lua, EMPTY)
}

fn mark(lua: &Lua, name: &str) -> mlua::Result<Table> {
    if let Value::Table(mark) = lua.named_registry_value(name)? {
        return Ok(mark);
    }
    let mark = lua.create_table()?;
    lua.set_named_registry_value(name, &mark)?;
    Ok(mark)
}

pub(super) fn open(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    module.raw_set("null", Value::NULL)?;
    module.raw_set("encode", lua.create_function(encode)?)?;
    module.raw_set("decode", lua.create_function(decode)?)?;
    module.raw_set(
        "array",
        lua.create_function(|lua, table: Option<Table>| {
            let table = table.map_or_else(|| lua.create_table(), Ok)?;
            table.set_metatable(Some(array_mark(lua)?))?;
            Ok(table)
        })?,
    )?;
    Ok(Value::Table(module))
}

fn encode(lua: &Lua, (value, options): (Value, Option<Table>)) -> mlua::Result<LuaString> {
    let mut rules = rules(lua)?;
    if options.is_some() {
        let options = Options::new(lua, "json.encode", options);
        rules.pretty = options.get("pretty")?.unwrap_or(false);
        rules.empty_array = options.get("empty_array")?.unwrap_or(false);
        rules.max_depth = options.get("max_depth")?.unwrap_or(DEPTH);
        options.finish()?;
    }
    let mut out = Vec::new();
    match write::write(lua, &mut out, &value, &rules) {
        Ok(()) => lua.create_string(out),
        Err(write::Fault::Lua(error)) => Err(error),
        Err(write::Fault::Value(why, path)) => {
            let path: String = path.iter().rev().map(String::as_str).collect();
            let place = if path.is_empty() { path } else { format!(" (at {path})") };
            Err(mlua::Error::runtime(format!("json.encode: {why}{place}")))
        }
    }
}

fn decode(lua: &Lua, (text, options): (LuaString, Option<Table>)) -> mlua::Result<MultiValue> {
    let mut rules = read::Rules { max_depth: DEPTH, lax: false, odd_numbers: false, mark: read::Mark::Empty };
    if options.is_some() {
        let options = Options::new(lua, "json.decode", options);
        rules.max_depth = options.get("max_depth")?.unwrap_or(DEPTH);
        options.finish()?;
    }
    match read::read(lua, &text.as_bytes(), rules) {
        Ok(value) => Ok(MultiValue::from_vec(vec![value])),
        Err(read::Fault::Lua(error)) => Err(error),
        Err(read::Fault::Text(why, at)) => Ok(MultiValue::from_vec(vec![
            Value::Nil,
            Value::String(lua.create_string(why)?),
            Value::Integer(at as i64),
        ])),
    }
}

/// A value as people are shown it: as JSON where it can be.
pub(super) fn shown(lua: &Lua, value: &Value) -> mlua::Result<String> {
    match text(lua, value) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(write::Fault::Lua(error)) => Err(error),
        Err(write::Fault::Value(..)) => value.to_string(),
    }
}

/// A value as `encode` writes it.
pub(super) fn text(lua: &Lua, value: &Value) -> Result<Vec<u8>, write::Fault> {
    let mut out = Vec::new();
    write::write(lua, &mut out, value, &rules(lua)?)?;
    Ok(out)
}

fn rules(lua: &Lua) -> mlua::Result<write::Rules> {
    Ok(write::Rules {
        max_depth: DEPTH,
        empty_array: false,
        pretty: false,
        max_length: World::of(lua).limits.memory,
        lax: None,
        array: array_mark(lua)?,
        empty: empty_mark(lua)?,
    })
}
