//! `cjson` and `cjson.safe`: lua-cjson 2.1's interface and error texts over our [`json`](crate::modules::data::json).
//!
//! Of OpenResty's additions there are `empty_array`, `array_mt`, `empty_array_mt`, `encode_empty_table_as_object`,
//! `encode_escape_forward_slash` and `decode_array_with_array_mt`. `encode_keep_buffer` is taken and has nothing to do.
//!
//! Not as in 2.1.0: what JSON writes as an integer is one (only `0x10` and its like are floats, as all numbers are
//! there), and nesting over [`DEEPEST`](write::DEEPEST) is excessive whatever the limit is set to.

use std::{cell::RefCell, rc::Rc};

use mlua::{IntoLuaMulti, Lua, MultiValue, Table, Value};

use super::raising::{self, argument};
use crate::{
    modules::data::json::{
        self,
        read::{self, Mark},
        write::{self, InvalidNumbers},
    },
    world::World,
};

/// What can be set, for each that `new` made.
struct Settings {
    lax: write::Lax,
    encode_depth: i64,
    decode_depth: i64,
    odd_numbers: bool,
    keep_buffer: bool,
    empty_as_object: bool,
    mark_arrays: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lax: write::Lax {
                sparse_convert: false,
                sparse_ratio: 2,
                sparse_safe: 10,
                invalid_numbers: InvalidNumbers::Refuse,
                precision: 14,
                escape_slash: true,
            },
            encode_depth: 1000,
            decode_depth: 1000,
            odd_numbers: true,
            keep_buffer: true,
            empty_as_object: true,
            mark_arrays: false,
        }
    }
}

pub(super) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    Ok(Value::Table(make(lua, world, false)?))
}

pub(super) fn open_safe(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    Ok(Value::Table(make(lua, world, true)?))
}

fn make(lua: &Lua, world: &Rc<World>, safe: bool) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let settings = Rc::new(RefCell::new(Settings::default()));
    module.raw_set("_NAME", "cjson")?;
    module.raw_set("_VERSION", "2.1.0")?;
    module.raw_set("null", Value::NULL)?;
    module.raw_set("empty_array", write::empty_array())?;
    module.raw_set("array_mt", json::array_mark(lua)?)?;
    module.raw_set("empty_array_mt", json::empty_mark(lua)?)?;
    module.raw_set("encode", converter(lua, safe, &settings, encode)?)?;
    module.raw_set("decode", converter(lua, safe, &settings, decode)?)?;
    let world = world.clone();
    module.raw_set("new", lua.create_function(move |lua, ()| make(lua, &world, safe))?)?;

    let set = |name: &str, most: usize, set: fn(&mut Settings, &[Value]) -> Result<Vec<Setting>, String>| {
        let settings = settings.clone();
        let function = raising::function(lua, move |_, args: MultiValue| {
            if args.len() > most {
                return Err(argument(most + 1, "found too many arguments"));
            }
            let mut args = args.into_vec();
            args.resize(most, Value::Nil);
            Ok(mlua::Variadic::from_iter(set(&mut settings.borrow_mut(), &args)?))
        })?;
        module.raw_set(name, function)
    };
    set("encode_sparse_array", 3, |settings, args| {
        let lax = &mut settings.lax;
        switch(&mut lax.sparse_convert, &args[0])?;
        integer(&mut lax.sparse_ratio, &args[1], 2, 0, INT_MAX)?;
        integer(&mut lax.sparse_safe, &args[2], 3, 0, INT_MAX)?;
        Ok(vec![
            Setting::Switch(lax.sparse_convert),
            Setting::Integer(lax.sparse_ratio),
            Setting::Integer(lax.sparse_safe),
        ])
    })?;
    set("encode_max_depth", 1, |settings, args| depth(&mut settings.encode_depth, args))?;
    set("decode_max_depth", 1, |settings, args| depth(&mut settings.decode_depth, args))?;
    set("encode_number_precision", 1, |settings, args| {
        let mut precision = settings.lax.precision as i64;
        integer(&mut precision, &args[0], 1, 1, 14)?;
        settings.lax.precision = precision as usize;
        Ok(vec![Setting::Integer(precision)])
    })?;
    set("encode_invalid_numbers", 1, |settings, args| {
        let invalid = &mut settings.lax.invalid_numbers;
        if let Some(choice) = choose(&args[0], &["off", "on", "null"])? {
            *invalid = [InvalidNumbers::Refuse, InvalidNumbers::Write, InvalidNumbers::Null][choice];
        }
        Ok(vec![match *invalid {
            InvalidNumbers::Null => Setting::Word("null"),
            other => Setting::Switch(other == InvalidNumbers::Write),
        }])
    })?;
    set("encode_keep_buffer", 1, |settings, args| switched(&mut settings.keep_buffer, args))?;
    set("encode_empty_table_as_object", 1, |settings, args| switched(&mut settings.empty_as_object, args))?;
    set("encode_escape_forward_slash", 1, |settings, args| switched(&mut settings.lax.escape_slash, args))?;
    set("decode_invalid_numbers", 1, |settings, args| switched(&mut settings.odd_numbers, args))?;
    set("decode_array_with_array_mt", 1, |settings, args| switched(&mut settings.mark_arrays, args))?;
    Ok(module)
}

/// `encode` or `decode`: what goes wrong with the value is raised, or in the safe module an answer.
fn converter(
    lua: &Lua,
    safe: bool,
    settings: &Rc<RefCell<Settings>>,
    convert: fn(&Lua, &Settings, Value) -> Result<Value, String>,
) -> mlua::Result<mlua::Function> {
    let settings = settings.clone();
    raising::function(lua, move |lua, args: MultiValue| {
        let mut args = args.into_vec();
        if args.len() != 1 {
            return Err(argument(1, "expected 1 argument"));
        }
        match convert(lua, &settings.borrow(), args.swap_remove(0)) {
            Ok(value) => Ok(MultiValue::from_vec(vec![value])),
            Err(words) if safe => (Value::Nil, words).into_lua_multi(lua).map_err(|error| error.to_string()),
            Err(words) => Err(words),
        }
    })
}

fn encode(lua: &Lua, settings: &Settings, value: Value) -> Result<Value, String> {
    let make = || {
        Ok::<_, mlua::Error>(write::Rules {
            max_depth: settings.encode_depth as usize,
            empty_array: !settings.empty_as_object,
            pretty: false,
            max_length: World::of(lua).limits.memory,
            lax: Some(settings.lax),
            array: json::array_mark(lua)?,
            empty: json::empty_mark(lua)?,
        })
    };
    let rules = make().map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    match write::write(lua, &mut out, &value, &rules) {
        Ok(()) => lua.create_string(out).map(Value::String).map_err(|error| error.to_string()),
        Err(write::Fault::Value(words, _)) => Err(words),
        Err(write::Fault::Lua(error)) => Err(error.to_string()),
    }
}

fn decode(lua: &Lua, settings: &Settings, text: Value) -> Result<Value, String> {
    let got = text.type_name();
    let Ok(Some(text)) = lua.coerce_string(text) else {
        return Err(argument(1, &format!("string expected, got {got}")));
    };
    let text = text.as_bytes();
    // Only the first character is certainly ASCII, and it is enough.
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err("JSON parser does not support UTF-16 or UTF-32".into());
    }
    let rules = read::Rules {
        max_depth: settings.decode_depth as usize,
        lax: true,
        odd_numbers: settings.odd_numbers,
        mark: if settings.mark_arrays { Mark::All } else { Mark::None },
    };
    read::read(lua, &text, rules).map_err(|fault| match fault {
        read::Fault::Text(words, _) => words,
        read::Fault::Lua(error) => error.to_string(),
    })
}

/// What a setting is answered as.
enum Setting {
    Switch(bool),
    Integer(i64),
    Word(&'static str),
}

impl mlua::IntoLua for Setting {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Self::Switch(on) => on.into_lua(lua),
            Self::Integer(integer) => integer.into_lua(lua),
            Self::Word(word) => word.into_lua(lua),
        }
    }
}

const INT_MAX: i64 = i32::MAX as i64;

fn depth(setting: &mut i64, args: &[Value]) -> Result<Vec<Setting>, String> {
    integer(setting, &args[0], 1, 1, INT_MAX)?;
    Ok(vec![Setting::Integer(*setting)])
}

fn switched(setting: &mut bool, args: &[Value]) -> Result<Vec<Setting>, String> {
    switch(setting, &args[0])?;
    Ok(vec![Setting::Switch(*setting)])
}

fn integer(setting: &mut i64, value: &Value, position: usize, min: i64, max: i64) -> Result<(), String> {
    let integer = match value {
        Value::Nil => return Ok(()),
        Value::Integer(integer) => Some(*integer),
        Value::Number(number) => (number.fract() == 0.0).then_some(*number as i64),
        Value::String(text) => text.to_str().ok().and_then(|text| text.trim().parse().ok()),
        _ => None,
    };
    let integer =
        integer.ok_or_else(|| argument(position, &format!("number expected, got {}", value.type_name())))?;
    if !(min..=max).contains(&integer) {
        return Err(argument(1, &format!("expected integer between {min} and {max}")));
    }
    *setting = integer;
    Ok(())
}

fn switch(setting: &mut bool, value: &Value) -> Result<(), String> {
    if let Some(choice) = choose(value, &["off", "on"])? {
        *setting = choice == 1;
    }
    Ok(())
}

/// Which of the words it is; a boolean is one of the first two.
fn choose(value: &Value, words: &[&str]) -> Result<Option<usize>, String> {
    let word = match value {
        Value::Nil => return Ok(None),
        Value::Boolean(on) => return Ok(Some(usize::from(*on))),
        Value::String(_) | Value::Integer(_) | Value::Number(_) => value.to_string().unwrap_or_default(),
        other => return Err(argument(1, &format!("string expected, got {}", other.type_name()))),
    };
    words
        .iter()
        .position(|known| *known == word)
        .map(Some)
        .ok_or_else(|| argument(1, &format!("invalid option '{word}'")))
}
