//! `base64` and `hex`: bytes as text.
//!
//! `base64.encode(s)`, `base64.decode(text)`; `encode_url` and `decode_url` with the alphabet for URLs and file names,
//! without padding. `hex.encode(s)`, `hex.decode(text)`. What can't be decoded is `nil, message`. Padding may be left out.

use std::rc::Rc;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use mlua::{Lua, LuaString, Value};

use crate::world::World;

const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
pub(super) const BASE64_URL: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG.with_encode_padding(false));

pub(super) fn open_base64(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    for (encode, decode, engine) in [("encode", "decode", &BASE64), ("encode_url", "decode_url", &BASE64_URL)]
    {
        let function = lua.create_function(move |_, bytes: LuaString| Ok(engine.encode(bytes.as_bytes())))?;
        module.raw_set(encode, function)?;
        let function =
            lua.create_function(move |lua, text: LuaString| match engine.decode(text.as_bytes()) {
                Ok(bytes) => Ok((Some(lua.create_string(bytes)?), None)),
                Err(error) => Ok((None, Some(format!("not base64: {error}")))),
            })?;
        module.raw_set(decode, function)?;
    }
    Ok(Value::Table(module))
}

pub(super) fn open_hex(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    module.raw_set("encode", lua.create_function(|_, bytes: LuaString| Ok(hex(&bytes.as_bytes())))?)?;
    module.raw_set(
        "decode",
        lua.create_function(|lua, text: LuaString| match unhex(&text.as_bytes()) {
            Ok(bytes) => Ok((Some(lua.create_string(bytes)?), None)),
            Err(words) => Ok((None, Some(words))),
        })?,
    )?;
    Ok(Value::Table(module))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &[u8]) -> Result<Vec<u8>, String> {
    let digit = |at: usize| {
        let digit = text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        let digit = digit.and_then(|digit| u8::try_from(digit).ok());
        digit.ok_or_else(|| format!("not hexadecimal: no digit at character {}", at + 1))
    };
    (0..text.len()).step_by(2).map(|at| Ok(digit(at)? << 4 | digit(at + 1)?)).collect()
}
