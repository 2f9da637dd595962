//! Text of the web: escapes, queries, forms, cookies, sizes.

use std::borrow::Cow;

use mlua::{Lua, Table, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn escape(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// What is no escape stays as it is.
pub(super) fn unescape(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.contains(&b'%') { Cow::Owned(percent_decode(bytes).collect()) } else { Cow::Borrowed(bytes) }
}

/// The same where a plus is a space: queries and forms.
fn unescape_form(bytes: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = bytes.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).collect()
}

/// `a=1&b=2` as a table; a name that is there more than once has a list.
pub(super) fn form(lua: &Lua, text: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for pair in text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        let (name, value) = split(pair, b'=').unwrap_or((pair, b""));
        add(lua, &table, &unescape_form(name), &unescape_form(value))?;
    }
    Ok(table)
}

/// One more value of a name: the second makes it a list.
pub(super) fn add(lua: &Lua, table: &Table, name: &[u8], value: &[u8]) -> mlua::Result<()> {
    let (name, value) = (lua.create_string(name)?, lua.create_string(value)?);
    match table.raw_get::<Value>(&name)? {
        Value::Nil => table.raw_set(name, value),
        Value::Table(list) => list.raw_push(value),
        first => table.raw_set(name, lua.create_sequence_from([first, Value::String(value)])?),
    }
}

/// RFC 6265, 4.2.1; of two with one name, the first.
pub(super) fn cookies(lua: &Lua, text: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for pair in text.split(|&byte| byte == b';') {
        let Some((name, value)) = split(pair.trim_ascii(), b'=') else { continue };
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        let name = lua.create_string(name)?;
        if !table.contains_key(&name)? {
            table.raw_set(name, lua.create_string(unescape(value))?)?;
        }
    }
    Ok(table)
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let i = bytes.iter().position(|&byte| byte == at)?;
    Some((&bytes[..i], &bytes[i + 1..]))
}

/// `64K`, `1M`, a number of bytes, `math.huge`.
pub(super) fn size(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::Number(bytes) if *bytes >= 0.0 => Some(*bytes as u64),
        Value::String(text) => {
            let text = text.to_str().ok()?;
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = match &text[digits.len()..] {
                "" | "B" => 1,
                "K" | "KiB" | "k" => 1 << 10,
                "M" | "MiB" => 1 << 20,
                "G" | "GiB" => 1 << 30,
                _ => return None,
            };
            digits.parse::<u64>().ok()?.checked_mul(unit)
        }
        _ => None,
    }
}

/// For text in HTML, also within quotes.
pub(super) fn escape_html(text: &[u8]) -> Cow<'_, [u8]> {
    let entity = |byte: u8| -> Option<&'static [u8]> {
        Some(match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            b'\'' => b"&#39;",
            _ => return None,
        })
    };
    if !text.iter().any(|&byte| entity(byte).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    for &byte in text {
        match entity(byte) {
            Some(entity) => out.extend_from_slice(entity),
            None => out.push(byte),
        }
    }
    Cow::Owned(out)
}
