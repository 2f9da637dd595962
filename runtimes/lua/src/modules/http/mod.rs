//! `http`: a server with a router, bodies, files, WebSockets and events; a client. And `template`, `html`.
//!
//! - [`serve`] listens and keeps connections; [`handle`] answers one request: calls what [`router`] finds for it with a
//!   [`request`], and makes a response of what comes back ([`answer`]).
//! - Bodies come ([`incoming`]) and go ([`stream`]) bit by bit, or whole; [`files`] sends those that lie in the bundle.
//! - [`websocket`], [`client`], [`template`].
//!
//! HTTP itself is `lunette_http`'s.

use std::rc::Rc;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use super::{Made, Module};
use crate::world::World;

mod answer;
mod client;
mod files;
mod handle;
mod headers;
mod incoming;
mod request;
mod router;
mod serve;
mod stream;
mod template;
mod text;
mod turn;
mod websocket;

pub(super) const MODULES: &[Module] = &[
    Module { name: "http", made: Made::Native(open) },
    Module { name: "template", made: Made::Native(template::open) },
    Module { name: "html", made: Made::Native(template::open_html) },
];

fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    lua.set_app_data(Rc::new(Http::default()));
    let http = lua.create_table()?;
    http.raw_set("serve", {
        let world = world.clone();
        lua.create_function(move |lua, options: Table| serve::serve(lua, &world, options))?
    })?;
    http.raw_set("router", lua.create_function(|lua, ()| Ok(router::Router::new(lua)))?)?;
    http.raw_set(
        "escape",
        lua.create_function(|lua, text: LuaString| lua.create_string(text::escape(&text.as_bytes())))?,
    )?;
    http.raw_set(
        "unescape",
        lua.create_function(|lua, text: LuaString| lua.create_string(text::unescape(&text.as_bytes())))?,
    )?;
    client::open(lua, world, &http)?;
    Ok(Value::Table(http))
}

/// Functions that are looked for once.
#[derive(Default)]
struct Http {
    encode: std::cell::OnceCell<Function>,
    decode: std::cell::OnceCell<Function>,
    pull: std::cell::OnceCell<Function>,
    compose: std::cell::OnceCell<Function>,
    events: std::cell::OnceCell<Function>,
}

/// What is said more easily in Lua.
const GLUE: &str = include_str!("glue.lua");

impl Http {
    fn of(lua: &Lua) -> Rc<Self> {
        lua.app_data_ref::<Rc<Self>>().expect("set when the module was opened").clone()
    }

    fn glue(lua: &Lua, place: &std::cell::OnceCell<Function>, what: &str) -> mlua::Result<Function> {
        if let Some(function) = place.get() {
            return Ok(function.clone());
        }
        let function: Function = lua.load(GLUE).set_name("=http").call(what)?;
        Ok(place.get_or_init(|| function).clone())
    }

    /// Of `json`.
    fn json(lua: &Lua, place: &std::cell::OnceCell<Function>, what: &str) -> mlua::Result<Function> {
        if let Some(function) = place.get() {
            return Ok(function.clone());
        }
        let json: Table = lua.globals().get::<Function>("require")?.call("json")?;
        let function: Function = json.get(what)?;
        Ok(place.get_or_init(|| function).clone())
    }

    /// A value as JSON, or why it has none.
    fn encode(&self, lua: &Lua, value: Value) -> Result<LuaString, String> {
        let made = Self::json(lua, &self.encode, "encode")
            .and_then(|encode| encode.call::<(Option<LuaString>, Option<String>)>(value));
        match made {
            Ok((Some(text), _)) => Ok(text),
            Ok((None, words)) => Err(words.unwrap_or_default()),
            Err(mlua::Error::RuntimeError(words)) => Err(words),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What `json.decode` says to a text.
    fn decode(&self, lua: &Lua, text: LuaString) -> mlua::Result<MultiValue> {
        Self::json(lua, &self.decode, "decode")?.call(text)
    }

    fn pull(&self, lua: &Lua) -> mlua::Result<Function> {
        Self::glue(lua, &self.pull, "pull")
    }

    fn compose(&self, lua: &Lua) -> mlua::Result<Function> {
        Self::glue(lua, &self.compose, "compose")
    }

    fn events(&self, lua: &Lua) -> mlua::Result<Function> {
        Self::glue(lua, &self.events, "events")
    }
}

/// A line in the log: what happened, and to what.
#[cold]
fn log(lua: &Lua, level: &str, what: &str, fields: &[(&str, &str)]) {
    let told = || -> mlua::Result<()> {
        let log: Table = lua.globals().get::<Function>("require")?.call("log")?;
        let table = lua.create_table()?;
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            table.raw_set(*name, *value)?;
        }
        log.get::<Function>(level)?.call((what, table))
    };
    if let Err(error) = told() {
        World::of(lua).say(&format!("lunette: {what} ({error})"));
    }
}
