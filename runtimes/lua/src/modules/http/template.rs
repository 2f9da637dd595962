//! `template`: etlua's dialect of templates, and `html`.
//!
//! `<% code %>`, `<%= expression %>` escaped for HTML, `<%- expression %>` as it is; `-%>` takes the line end after it
//! away. Lines of the Lua chunk that is made are those of the template, so that errors name them.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value, chunk::ChunkMode};

use super::text;
use crate::{errors::failure, world::World};

pub(super) fn open_html(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let html = lua.create_table()?;
    html.raw_set("escape", lua.create_function(|lua, text: Value| escaped(lua, &text))?)?;
    Ok(Value::Table(html))
}

pub(super) fn open(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let template = lua.create_table()?;
    template.raw_set(
        "compile",
        lua.create_function(|lua, (source, name): (LuaString, Option<String>)| {
            let name = name.unwrap_or_else(|| "template".into());
            match compile(lua, &source.as_bytes(), &name)? {
                Ok(function) => Ok((Value::Function(function), None)),
                Err(words) => Ok(failure(words)),
            }
        })?,
    )?;
    template.raw_set(
        "render",
        lua.create_function(|lua, (source, env): (LuaString, Option<Table>)| {
            match compile(lua, &source.as_bytes(), "template")? {
                Ok(function) => Ok((function.call::<Value>(env)?, None)),
                Err(words) => Ok(failure(words)),
            }
        })?,
    )?;
    template.raw_set("escape", lua.create_function(|lua, text: Value| escaped(lua, &text))?)?;
    Ok(Value::Table(template))
}

fn escaped(lua: &Lua, value: &Value) -> mlua::Result<LuaString> {
    match value {
        Value::String(text) => {
            let text = text.as_bytes();
            lua.create_string(text::escape_html(&text))
        }
        other => lua.create_string(text::escape_html(other.to_string()?.as_bytes())),
    }
}

/// A function of an environment, or what is wrong and in which line.
fn compile(lua: &Lua, source: &[u8], name: &str) -> mlua::Result<Result<mlua::Function, String>> {
    let code = match translate(source) {
        Ok(code) => code,
        Err((line, what)) => return Ok(Err(format!("{name}:{line}: {what}"))),
    };
    let run = match lua.load(code).set_name(format!("={name}")).set_mode(ChunkMode::Text).into_function() {
        Ok(run) => run,
        Err(mlua::Error::SyntaxError { message, .. }) => return Ok(Err(message)),
        Err(other) => return Err(other),
    };
    let escape = lua.create_function(|lua, value: Value| escaped(lua, &value))?;
    Ok(Ok(lua.load(RENDER).set_name("=template").call((run, escape))?))
}

/// What a template's function does: names are those of what it is given, and then the global ones.
const RENDER: &str = "
local run, escape = ...
local concat, tostring, setmetatable, globals = table.concat, tostring, setmetatable, _G
return function(env)
  local out = {}
  local scope = globals
  if env ~= nil then
    local function look(_, name)
      local value = env[name]
      if value == nil then return globals[name] end
      return value
    end
    scope = look
  end
  run(out, escape, tostring, setmetatable({}, { __index = scope }))
  return concat(out)
end
";

/// As Lua.
fn translate(source: &[u8]) -> Result<Vec<u8>, (usize, &'static str)> {
    let mut code = b"local _out, _escape, _tostring, _ENV = ... ".to_vec();
    let mut rest = source;
    let find = |rest: &[u8], what: &[u8]| rest.windows(what.len()).position(|bytes| bytes == what);
    let line =
        |rest: &[u8]| 1 + source[..source.len() - rest.len()].iter().filter(|byte| **byte == b'\n').count();
    while !rest.is_empty() {
        let Some(at) = find(rest, b"<%") else {
            literal(&mut code, rest);
            break;
        };
        literal(&mut code, &rest[..at]);
        let opened = line(&rest[at..]);
        rest = &rest[at + 2..];
        let end = find(rest, b"%>").ok_or((opened, "<% without its %>"))?;
        let mut inner = &rest[..end];
        rest = &rest[end + 2..];
        if let Some(shorter) = inner.strip_suffix(b"-") {
            inner = shorter;
            let trimmed = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n"));
            if let Some(trimmed) = trimmed {
                rest = trimmed;
                // So that lines stay where they are; it is no part of what is put out.
                inner_line(&mut code, inner);
                code.push(b'\n');
                continue;
            }
        }
        inner_line(&mut code, inner);
    }
    Ok(code)
}

fn inner_line(code: &mut Vec<u8>, inner: &[u8]) {
    let (open, expression, close): (&[u8], _, &[u8]) = match inner {
        [b'=', expression @ ..] => (b"_out[#_out + 1] = _escape(", expression, b") "),
        [b'-', expression @ ..] => (b"_out[#_out + 1] = _tostring(", expression, b") "),
        // A comment would go on behind its end.
        code => (b"", without_comment(code), b" "),
    };
    code.extend_from_slice(open);
    code.extend_from_slice(expression);
    code.extend_from_slice(close);
}

/// Code whose last line is no comment.
fn without_comment(code: &[u8]) -> &[u8] {
    let start = code.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let last = code[start..].trim_ascii_start();
    if last.starts_with(b"--") && !last.starts_with(b"--[") { &code[..start] } else { code }
}

/// Text, in quotes; its line ends are those of the code.
fn literal(code: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() {
        return;
    }
    code.extend_from_slice(b"_out[#_out + 1] = \"");
    for &byte in text {
        match byte {
            b'\n' => code.extend_from_slice(b"\\\n"),
            b'"' | b'\\' => code.extend_from_slice(&[b'\\', byte]),
            b'\r' => code.extend_from_slice(b"\\r"),
            0 => code.extend_from_slice(b"\\x00"),
            byte => code.push(byte),
        }
    }
    code.extend_from_slice(b"\" ");
}
