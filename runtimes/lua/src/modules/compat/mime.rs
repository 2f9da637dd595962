//! `mime.core`: what of LuaSocket's `mime` is C. Filters that take their input piece by piece, and hand on what is left of
//! one to the next.

use std::rc::Rc;

use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue, Value};

use crate::{modules::net::args::Args, world::World};

pub(super) fn open(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let core = lua.create_table()?;
    core.raw_set("_VERSION", "MIME 1.0.3")?;
    core.raw_set("dot", lua.create_function(dot)?)?;
    core.raw_set(
        "b64",
        lua.create_function(|lua, values| atoms(lua, "b64", values, &mut Base64::default()))?,
    )?;
    core.raw_set("eol", lua.create_function(eol)?)?;
    core.raw_set("qp", lua.create_function(qp)?)?;
    core.raw_set("qpwrp", lua.create_function(|lua, values| wrap(lua, "qpwrp", values, true))?)?;
    core.raw_set(
        "unb64",
        lua.create_function(|lua, values| atoms(lua, "unb64", values, &mut FromBase64::default()))?,
    )?;
    core.raw_set(
        "unqp",
        lua.create_function(|lua, values| atoms(lua, "unqp", values, &mut FromQuoted::default()))?,
    )?;
    core.raw_set("wrp", lua.create_function(|lua, values| wrap(lua, "wrp", values, false))?)?;
    Ok(Value::Table(core))
}

const CRLF: &[u8] = b"\r\n";
/// A line's end that is none of the text's.
const SOFT: &[u8] = b"=\r\n";

/// A coding that gathers a few bytes before it can say what becomes of them.
trait Coding {
    fn take(&mut self, byte: u8, out: &mut Vec<u8>);
    /// There is no more: what becomes of the rest.
    fn end(&mut self, _out: &mut Vec<u8>) {}
    /// The bytes that wait for more.
    fn rest(&self) -> &[u8];
}

/// `A, B = coding(C, D)`: A is what becomes of C and D, B what is left of them. No D: there is no more.
fn atoms(
    lua: &Lua,
    call: &'static str,
    values: MultiValue,
    coding: &mut dyn Coding,
) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, call, values);
    let nothing = (Value::Nil, Value::Nil);
    let Some(input) = args.opt_string(1)? else { return nothing.into_lua_multi(lua) };
    let more = args.opt_string(2)?;
    let mut out = Vec::new();
    let mut feed = |input: &LuaString| input.as_bytes().iter().for_each(|byte| coding.take(*byte, &mut out));
    feed(&input);
    if let Some(more) = more {
        feed(&more);
        return (lua.create_string(out)?, lua.create_string(coding.rest())?).into_lua_multi(lua);
    }
    coding.end(&mut out);
    if out.is_empty() {
        return nothing.into_lua_multi(lua);
    }
    (lua.create_string(out)?, Value::Nil).into_lua_multi(lua)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Text into Base64.
#[derive(Default)]
struct Base64(Vec<u8>);

impl Coding for Base64 {
    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.0.push(byte);
        if self.0.len() == 3 {
            self.end(out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let count = self.0.len();
        if count == 0 {
            return;
        }
        self.0.resize(3, 0);
        let value = self.0.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
        for i in 0..4 {
            let digit = DIGITS[value >> (18 - 6 * i) & 63];
            out.push(if i <= count { digit } else { b'=' });
        }
        self.0.clear();
    }

    fn rest(&self) -> &[u8] {
        &self.0
    }
}

/// Base64 into text. What is no digit is passed over.
#[derive(Default)]
struct FromBase64(Vec<u8>);

fn digit(byte: u8) -> Option<u8> {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        b'=' => 0,
        _ => return None,
    };
    Some(digit)
}

impl Coding for FromBase64 {
    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        if digit(byte).is_none() {
            return;
        }
        self.0.push(byte);
        if let [_, _, third, fourth] = self.0[..] {
            let value =
                self.0.iter().fold(0u32, |value, byte| value << 6 | u32::from(digit(*byte).unwrap_or(0)));
            let valid = if third == b'=' {
                1
            } else if fourth == b'=' {
                2
            } else {
                3
            };
            out.extend_from_slice(&value.to_be_bytes()[1..1 + valid]);
            self.0.clear();
        }
    }

    fn rest(&self) -> &[u8] {
        &self.0
    }
}

/// Text into quoted-printable. One has to see the next two bytes to know what becomes of one.
struct Quoted<'a> {
    atom: Vec<u8>,
    /// What stands for a CRLF of the text's.
    marker: &'a [u8],
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 33..=60 | 62..=126)
}

fn quote(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

impl Coding for Quoted<'_> {
    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.atom.push(byte);
        while let Some(first) = self.atom.first().copied() {
            match (first, &self.atom[1..]) {
                (b'\r', []) | (b'\t' | b' ', [] | [_]) => return,
                (b'\r', [b'\n', ..]) => {
                    out.extend_from_slice(self.marker);
                    return self.atom.clear();
                }
                // At the end of a line it would get lost.
                (b'\t' | b' ', b"\r\n") => {
                    quote(first, out);
                    out.extend_from_slice(self.marker);
                    return self.atom.clear();
                }
                (b'\t' | b' ', _) => out.push(first),
                _ if is_plain(first) => out.push(first),
                _ => quote(first, out),
            }
            self.atom.remove(0);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        for byte in &self.atom {
            if is_plain(*byte) { out.push(*byte) } else { quote(*byte, out) }
        }
        if !self.atom.is_empty() {
            out.extend_from_slice(SOFT);
        }
    }

    fn rest(&self) -> &[u8] {
        &self.atom
    }
}

fn qp(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let marker = Args::new(lua, "qp", values.clone()).opt_string(3)?;
    let marker = marker.as_ref().map(LuaString::as_bytes);
    let marker = marker.as_deref().unwrap_or(CRLF);
    atoms(lua, "qp", values, &mut Quoted { atom: Vec::new(), marker })
}

/// Quoted-printable into text. What can't be meant is left as it is, or out.
#[derive(Default)]
struct FromQuoted(Vec<u8>);

impl Coding for FromQuoted {
    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.0.push(byte);
        match self.0[..] {
            [b'=' | b'\r'] | [b'=', _] => return,
            [b'=', b'\r', b'\n'] => {}
            [b'=', high, low] => match (char::from(high).to_digit(16), char::from(low).to_digit(16)) {
                (Some(high), Some(low)) => out.push((high << 4 | low) as u8),
                _ => out.extend_from_slice(&self.0),
            },
            [b'\r', b'\n'] => out.extend_from_slice(CRLF),
            [byte] if byte == b'\t' || (32..127).contains(&byte) => out.push(byte),
            _ => {}
        }
        self.0.clear();
    }

    fn rest(&self) -> &[u8] {
        &self.0
    }
}

/// `A, n = wrp(l, B, length)`: breaks B into lines, of which the first has room for `l` bytes; the last has for `n`.
/// Quoted-printable is not broken inside of `=XX`.
fn wrap(lua: &Lua, call: &'static str, values: MultiValue, quoted: bool) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, call, values);
    let mut left = args.number(1)? as i64;
    let length = args.opt_number(3)?.unwrap_or(76.0) as i64;
    let end = if quoted { SOFT } else { CRLF };
    let Some(input) = args.opt_string(2)? else {
        // A line that was begun is ended.
        let end = if left < length { Value::String(lua.create_string(end)?) } else { Value::Nil };
        return (end, length).into_lua_multi(lua);
    };
    let mut out = Vec::new();
    for byte in input.as_bytes().iter().copied() {
        match byte {
            b'\r' => {}
            b'\n' => {
                out.extend_from_slice(CRLF);
                left = length;
            }
            _ => {
                let needs = match (quoted, byte) {
                    (false, _) => 0,
                    (true, b'=') => 3,
                    (true, _) => 1,
                };
                if left <= needs {
                    left = length;
                    out.extend_from_slice(end);
                }
                out.push(byte);
                left -= 1;
            }
        }
    }
    (lua.create_string(out)?, left).into_lua_multi(lua)
}

/// `A, n = eol(o, B, marker)`: makes all ends of lines the same; `o` and `n` are the byte before, if it was half of one.
fn eol(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, "eol", values);
    let mut last = args.number(1)? as i64;
    let (input, marker) = (args.opt_string(2)?, args.opt_string(3)?);
    let Some(input) = input else { return (Value::Nil, 0).into_lua_multi(lua) };
    let marker = marker.as_ref().map(LuaString::as_bytes);
    let marker = marker.as_deref().unwrap_or(CRLF);
    let is_end = |byte: i64| byte == i64::from(b'\r') || byte == i64::from(b'\n');
    let mut out = Vec::new();
    for byte in input.as_bytes().iter().copied() {
        let this = i64::from(byte);
        last = if !is_end(this) {
            out.push(byte);
            0
        } else if !is_end(last) {
            out.extend_from_slice(marker);
            this
        } else {
            if this == last {
                out.extend_from_slice(marker);
            }
            0
        };
    }
    (lua.create_string(out)?, last).into_lua_multi(lua)
}

/// `A, n = dot(l, D)`: doubles dots that begin a line, for SMTP. `l` and `n`: how much of CRLF came before (2: a line begins).
fn dot(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, "dot", values);
    let mut state = args.number(1)? as i64;
    let Some(input) = args.opt_string(2)? else { return (Value::Nil, 2).into_lua_multi(lua) };
    let mut out = Vec::new();
    for byte in input.as_bytes().iter().copied() {
        out.push(byte);
        state = match byte {
            b'\r' => 1,
            b'\n' if state == 1 => 2,
            b'.' if state == 2 => {
                out.push(b'.');
                0
            }
            _ => 0,
        };
    }
    (lua.create_string(out)?, state).into_lua_multi(lua)
}
