//! `bit` (LuaJIT's BitOp: signed results of 32 bits) and `bit32` (Lua 5.2's: unsigned).

use std::rc::Rc;

use mlua::{Lua, MultiValue, Value};

use super::raising::{self, argument};
use crate::world::World;

pub(super) fn open_bit(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    let add = |name: &str, call: fn(&Args) -> Result<u32, String>| {
        // The bits, as the signed number that they are.
        let function = raising::function(lua, move |lua, args: MultiValue| {
            call(&Args { lua, args }).map(u32::cast_signed)
        })?;
        module.raw_set(name, function)
    };
    add("tobit", |args| args.bits(1))?;
    add("bnot", |args| Ok(!args.bits(1)?))?;
    add("bswap", |args| Ok(args.bits(1)?.swap_bytes()))?;
    add("band", |args| args.fold(|a, b| a & b))?;
    add("bor", |args| args.fold(|a, b| a | b))?;
    add("bxor", |args| args.fold(|a, b| a ^ b))?;
    // Only the lower five bits of a distance count.
    add("lshift", |args| Ok(args.bits(1)? << (args.bits(2)? & 31)))?;
    add("rshift", |args| Ok(args.bits(1)? >> (args.bits(2)? & 31)))?;
    add("arshift", |args| Ok((args.bits(1)?.cast_signed() >> (args.bits(2)? & 31)).cast_unsigned()))?;
    add("rol", |args| Ok(args.bits(1)?.rotate_left(args.bits(2)? & 31)))?;
    add("ror", |args| Ok(args.bits(1)?.rotate_right(args.bits(2)? & 31)))?;
    module.raw_set(
        "tohex",
        raising::function(lua, |lua, args: MultiValue| {
            let args = Args { lua, args };
            let digits = if args.args.len() > 1 { args.bits(2)?.cast_signed() } else { 8 };
            let kept = digits.unsigned_abs().min(8) as usize;
            let text = format!("{:08x}", args.bits(1)?);
            let text = &text[8 - kept..];
            Ok(if digits < 0 { text.to_uppercase() } else { text.to_owned() })
        })?,
    )?;
    Ok(Value::Table(module))
}

pub(super) fn open_bit32(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    let add = |name: &str, call: fn(&Args) -> Result<u32, String>| {
        module.raw_set(name, raising::function(lua, move |lua, args: MultiValue| call(&Args { lua, args }))?)
    };
    add("band", |args| args.fold_from(u32::MAX, |a, b| a & b))?;
    add("bor", |args| args.fold_from(0, |a, b| a | b))?;
    add("bxor", |args| args.fold_from(0, |a, b| a ^ b))?;
    add("bnot", |args| Ok(!args.bits(1)?))?;
    add("lshift", |args| Ok(shift(args.bits(1)?, args.distance(2)?)))?;
    add("rshift", |args| Ok(shift(args.bits(1)?, -args.distance(2)?)))?;
    add("arshift", |args| {
        let (bits, distance) = (args.bits(1)?, args.distance(2)?);
        Ok(match distance {
            ..0 => shift(bits, -distance),
            _ => (bits.cast_signed() >> distance.min(31)).cast_unsigned(),
        })
    })?;
    add("lrotate", |args| Ok(args.bits(1)?.rotate_left(args.distance(2)?.rem_euclid(32) as u32)))?;
    add("rrotate", |args| Ok(args.bits(1)?.rotate_right(args.distance(2)?.rem_euclid(32) as u32)))?;
    add("extract", |args| {
        let (field, mask) = args.field(2)?;
        Ok(args.bits(1)? >> field & mask)
    })?;
    add("replace", |args| {
        let (field, mask) = args.field(3)?;
        Ok(args.bits(1)? & !(mask << field) | (args.bits(2)? & mask) << field)
    })?;
    let test = raising::function(lua, |lua, args: MultiValue| {
        Args { lua, args }.fold_from(u32::MAX, |a, b| a & b).map(|bits| bits != 0)
    })?;
    module.raw_set("btest", test)?;
    Ok(Value::Table(module))
}

/// To the left; to the right if negative; all gone from 32 on.
fn shift(bits: u32, distance: i64) -> u32 {
    let by = u32::try_from(distance.unsigned_abs()).unwrap_or(u32::MAX);
    if distance < 0 { bits.checked_shr(by) } else { bits.checked_shl(by) }.unwrap_or(0)
}

struct Args<'a> {
    lua: &'a Lua,
    args: MultiValue,
}

impl Args<'_> {
    fn number(&self, position: usize) -> Result<f64, String> {
        let value = self.args.get(position - 1);
        let text = match value {
            Some(Value::Integer(integer)) => return Ok(*integer as f64),
            Some(Value::Number(number)) => return Ok(*number),
            Some(Value::String(text)) => self.lua.coerce_number(Value::String(text.clone())).ok().flatten(),
            _ => None,
        };
        let got = match value {
            None => "no value",
            Some(value) => value.type_name(),
        };
        text.ok_or_else(|| argument(position, &format!("number expected, got {got}")))
    }

    /// The lower 32 bits of a number, rounded to the nearest integer.
    fn bits(&self, position: usize) -> Result<u32, String> {
        if let Some(Value::Integer(integer)) = self.args.get(position - 1) {
            return Ok(*integer as u32);
        }
        let number = self.number(position)?.round_ties_even();
        Ok(number.rem_euclid(4_294_967_296.0) as u32)
    }

    fn distance(&self, position: usize) -> Result<i64, String> {
        // A C `int`, there.
        Ok(i64::from(self.number(position)? as i64 as i32))
    }

    fn fold(&self, op: fn(u32, u32) -> u32) -> Result<u32, String> {
        let first = self.bits(1)?;
        (2..=self.args.len()).try_fold(first, |bits, position| Ok(op(bits, self.bits(position)?)))
    }

    fn fold_from(&self, first: u32, op: fn(u32, u32) -> u32) -> Result<u32, String> {
        (1..=self.args.len()).try_fold(first, |bits, position| Ok(op(bits, self.bits(position)?)))
    }

    /// A field's place and the mask of its width, from that argument on.
    fn field(&self, position: usize) -> Result<(u32, u32), String> {
        let field = self.distance(position)?;
        let width = if self.args.len() > position { self.distance(position + 1)? } else { 1 };
        if field < 0 {
            return Err(argument(position, "field cannot be negative"));
        }
        if width < 1 {
            return Err(argument(position + 1, "width must be positive"));
        }
        if field.saturating_add(width) > 32 {
            return Err("trying to access non-existent bits".into());
        }
        Ok((field as u32, u32::MAX >> (32 - width)))
    }
}
