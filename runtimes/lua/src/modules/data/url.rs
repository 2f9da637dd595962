//! `url`: RFC 3986, and the arguments of forms.
//!
//! `parse(text)` gives a table of `scheme`, `user`, `password`, `host`, `port` (a number), `path`, `query`, `fragment`, as they
//! are in the text (nothing is decoded but the user and password), or `nil, message`; `build(table)` the text again.
//! `encode(s)` and `decode(s)` are for one component; `encode_args(table)` and `decode_args(text [, max])` for `a=1&b=2`, where
//! a name that comes again has a list.
//!
//! Not here: other alphabets in names of hosts (punycode is the caller's), resolving one URL against another.

use std::rc::Rc;

use mlua::{IntoLua, Lua, LuaString, MultiValue, Table, Value};

use crate::world::World;

/// How many arguments `decode_args` takes unless told otherwise.
const ARGS: usize = 1000;

pub(super) fn open(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    module.raw_set("parse", lua.create_function(parse)?)?;
    module.raw_set("build", lua.create_function(|_, parts: Table| build(&parts))?)?;
    module.raw_set(
        "encode",
        lua.create_function(|_, text: LuaString| {
            let mut out = String::new();
            encode(&mut out, &text.as_bytes(), |_| false);
            Ok(out)
        })?,
    )?;
    module.raw_set(
        "decode",
        lua.create_function(|lua, text: LuaString| match decode(&text.as_bytes(), false) {
            Some(bytes) => Ok((Some(lua.create_string(bytes)?), None)),
            None => Ok((None, Some("a % without two hexadecimal digits"))),
        })?,
    )?;
    module.raw_set("encode_args", lua.create_function(|_, args: Table| encode_args(&args))?)?;
    module.raw_set("decode_args", lua.create_function(decode_args)?)?;
    Ok(Value::Table(module))
}

/// Percent-encodes all but what RFC 3986 calls unreserved and what `also` lets through.
fn encode(out: &mut String, bytes: &[u8], also: fn(u8) -> bool) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn decode(text: &[u8], plus: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        out.push(match first {
            b'%' => {
                let [high, low, after @ ..] = rest else { return None };
                rest = after;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?
            }
            b'+' if plus => b' ',
            other => *other,
        });
    }
    Some(out)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A URL in its parts, undecoded.
#[derive(Default)]
struct Parts<'a> {
    scheme: Option<&'a str>,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: Option<&'a str>,
    port: Option<u16>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

fn split(text: &str) -> Result<Parts<'_>, String> {
    if let Some(at) = text.bytes().position(|byte| !(0x21..=0x7E).contains(&byte)) {
        return Err(format!("character {} may not be in a URL as it is", at + 1));
    }
    let mut parts = Parts::default();
    let mut rest = text;
    if let Some((before, fragment)) = rest.split_once('#') {
        (rest, parts.fragment) = (before, Some(fragment));
    }
    if let Some((before, query)) = rest.split_once('?') {
        (rest, parts.query) = (before, Some(query));
    }
    if let Some((scheme, after)) = rest.split_once(':')
        && is_scheme(scheme)
    {
        (rest, parts.scheme) = (after, Some(scheme));
    }
    if let Some(after) = rest.strip_prefix("//") {
        let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
        rest = path;
        let mut host = authority;
        if let Some((user, after)) = authority.rsplit_once('@') {
            host = after;
            match user.split_once(':') {
                Some((user, password)) => (parts.user, parts.password) = (Some(user), Some(password)),
                None => parts.user = Some(user),
            }
        }
        let port = match host.strip_prefix('[') {
            Some(literal) => {
                let (address, after) = literal.split_once(']').ok_or("a [ without its ]")?;
                let address = address.parse::<std::net::Ipv6Addr>().map(|_| address);
                host = address.map_err(|_| "what is in [] is no IPv6 address")?;
                match after.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if after.is_empty() => None,
                    None => return Err("something other than a port comes after the ]".into()),
                }
            }
            None => match host.split_once(':') {
                Some((name, port)) => {
                    host = name;
                    Some(port)
                }
                None => None,
            },
        };
        if let Some(port) = port.filter(|port| !port.is_empty()) {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            let number = port.parse().ok().filter(|_| digits);
            parts.port = Some(number.ok_or_else(|| format!("{port} is no port"))?);
        }
        parts.host = Some(host);
    }
    parts.path = rest;
    Ok(parts)
}

fn parse(lua: &Lua, text: LuaString) -> mlua::Result<MultiValue> {
    let wrong = |why: &str| Ok(MultiValue::from_vec(vec![Value::Nil, why.into_lua(lua)?]));
    let text = text.as_bytes();
    let Ok(text) = std::str::from_utf8(&text) else { return wrong("a URL is ASCII") };
    let parts = match split(text) {
        Ok(parts) => parts,
        Err(why) => return wrong(&why),
    };
    let table = lua.create_table()?;
    for (name, part) in [("user", parts.user), ("password", parts.password)] {
        let Some(part) = part else { continue };
        match decode(part.as_bytes(), false) {
            Some(bytes) => table.raw_set(name, lua.create_string(bytes)?)?,
            None => return wrong("a % without two hexadecimal digits"),
        }
    }
    table.raw_set("scheme", parts.scheme.map(str::to_ascii_lowercase))?;
    table.raw_set("host", parts.host.map(str::to_ascii_lowercase))?;
    table.raw_set("port", parts.port)?;
    table.raw_set("path", parts.path)?;
    table.raw_set("query", parts.query)?;
    table.raw_set("fragment", parts.fragment)?;
    Ok(MultiValue::from_vec(vec![Value::Table(table)]))
}

fn build(parts: &Table) -> mlua::Result<String> {
    let text = |name: &str| parts.raw_get::<Option<String>>(name);
    let mut out = String::new();
    if let Some(scheme) = text("scheme")? {
        if !is_scheme(&scheme) {
            return Err(mlua::Error::runtime(format!("url.build: {scheme:?} is no scheme")));
        }
        out = scheme + ":";
    }
    let path = text("path")?.unwrap_or_default();
    if let Some(host) = text("host")? {
        out += "//";
        if let Some(user) = text("user")? {
            encode(&mut out, user.as_bytes(), |_| false);
            if let Some(password) = text("password")? {
                out.push(':');
                encode(&mut out, password.as_bytes(), |_| false);
            }
            out.push('@');
        }
        if host.bytes().any(|byte| !(0x21..=0x7E).contains(&byte) || b"/?#@[]".contains(&byte)) {
            return Err(mlua::Error::runtime(format!("url.build: {host:?} is no host")));
        }
        out += &if host.contains(':') { format!("[{host}]") } else { host };
        if let Some(port) = parts.raw_get::<Option<u16>>("port")? {
            out += &format!(":{port}");
        }
        if !path.is_empty() && !path.starts_with('/') {
            out.push('/');
        }
    }
    // What is encoded already stays so; what can't be there as it is, is encoded.
    encode(&mut out, path.as_bytes(), |byte| b"/:@!$&'()*+,;=%".contains(&byte));
    for (mark, name) in [('?', "query"), ('#', "fragment")] {
        let part: Value = parts.raw_get(name)?;
        let part = match part {
            Value::Nil => continue,
            Value::Table(args) => encode_args(&args)?,
            Value::String(text) => text.to_string_lossy(),
            other => {
                let words = format!("url.build: {name} can't be a {}", other.type_name());
                return Err(mlua::Error::runtime(words));
            }
        };
        out.push(mark);
        encode(&mut out, part.as_bytes(), |byte| b"/:@!$&'()*+,;=%?".contains(&byte));
    }
    Ok(out)
}

/// Sorted by their names, for the order in a table is none.
fn encode_args(args: &Table) -> mlua::Result<String> {
    let mut pairs = Vec::new();
    for pair in args.pairs::<LuaString, Value>() {
        let (name, value) = pair?;
        match value {
            Value::Table(list) => {
                for value in list.sequence_values::<Value>() {
                    pairs.push((name.clone(), value?));
                }
            }
            value => pairs.push((name, value)),
        }
    }
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut out = String::new();
    for (name, value) in pairs {
        if matches!(value, Value::Boolean(false)) {
            continue;
        }
        if !out.is_empty() {
            out.push('&');
        }
        encode(&mut out, &name.as_bytes(), |_| false);
        match value {
            // Only there or not.
            Value::Boolean(_) => {}
            Value::String(text) => {
                out.push('=');
                encode(&mut out, &text.as_bytes(), |_| false);
            }
            Value::Integer(_) | Value::Number(_) => {
                out.push('=');
                encode(&mut out, value.to_string()?.as_bytes(), |_| false);
            }
            other => {
                let name = name.to_string_lossy();
                let words = format!("url.encode_args: {name} can't be a {}", other.type_name());
                return Err(mlua::Error::runtime(words));
            }
        }
    }
    Ok(out)
}

fn decode_args(
    lua: &Lua,
    (text, max): (LuaString, Option<usize>),
) -> mlua::Result<(Option<Table>, Option<String>)> {
    let max = max.unwrap_or(ARGS);
    let args = lua.create_table()?;
    let text = text.as_bytes();
    let pieces = text.split(|&byte| byte == b'&').filter(|piece| !piece.is_empty());
    for (index, piece) in pieces.enumerate() {
        if index == max {
            return Ok((None, Some(format!("more than {max} arguments"))));
        }
        let at = piece.iter().position(|&byte| byte == b'=');
        let (name, value) = piece.split_at(at.unwrap_or(piece.len()));
        let (Some(name), Some(value)) =
            (decode(name, true), decode(value.get(1..).unwrap_or_default(), true))
        else {
            return Ok((None, Some("a % without two hexadecimal digits".into())));
        };
        let name = lua.create_string(name)?;
        let value = Value::String(lua.create_string(value)?);
        match args.raw_get::<Value>(&name)? {
            Value::Nil => args.raw_set(name, value)?,
            Value::Table(list) => list.raw_push(value)?,
            first => args.raw_set(name, lua.create_sequence_from([first, value])?)?,
        }
    }
    Ok((Some(args), None))
}
