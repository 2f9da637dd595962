//! Lua values to JSON text, straight into one buffer.
//!
//! One writer for two dialects ([`Rules`]): `json`'s, which refuses what can't be read back as it was, and lua-cjson's.
//!
//! Promises: a value inside of itself ends at the depth limit, as does what is nested deeper than the stack bears.

use std::{ffi::c_void, io::Write};

use mlua::{Lua, Table, Value};

use super::stack::{Full, Seen, Top, reading};

/// How deep tables can be in each other whatever the rules say: what the stack bears.
pub(crate) const DEEPEST: usize = 2000;

/// How values are written.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) max_depth: usize,
    /// Empty tables that are not marked as arrays are arrays.
    pub(crate) empty_array: bool,
    /// Members and elements on lines of their own, indented by two.
    pub(crate) pretty: bool,
    /// How long the text can get.
    pub(crate) max_length: u64,
    /// lua-cjson's ways; `None`: `json`'s.
    pub(crate) lax: Option<Lax>,
    /// Metatables: of what is always an array, and of what is one if it is empty.
    pub(crate) array: Table,
    pub(crate) empty: Table,
}

/// What can be set in lua-cjson.
#[derive(Clone, Copy)]
pub(crate) struct Lax {
    pub(crate) sparse_convert: bool,
    pub(crate) sparse_ratio: i64,
    pub(crate) sparse_safe: i64,
    pub(crate) invalid_numbers: InvalidNumbers,
    pub(crate) precision: usize,
    pub(crate) escape_slash: bool,
}

/// What becomes of infinities and NaN.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum InvalidNumbers {
    Refuse,
    Write,
    Null,
}

/// Why a value can't be written.
pub(crate) enum Fault {
    /// Why; and where it is in the whole, from the inside outwards.
    Value(String, Vec<String>),
    Lua(mlua::Error),
}

impl From<Full> for Fault {
    fn from(_: Full) -> Self {
        Self::Lua(mlua::Error::StackError)
    }
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

/// A light userdata that is written as `[]`: lua-cjson's `empty_array`.
pub(crate) fn empty_array() -> Value {
    Value::LightUserData(mlua::LightUserData(empty_pointer()))
}

fn empty_pointer() -> *mut c_void {
    static PLACE: u8 = 0;
    (&raw const PLACE).cast_mut().cast()
}

/// Appends `value` to `out`.
pub(crate) fn write(lua: &Lua, out: &mut Vec<u8>, value: &Value, rules: &Rules) -> Result<(), Fault> {
    reading(lua, value, |top| Writer { out, rules }.value(top, 0))?
}

/// What a table is, by its keys.
enum Shape {
    Empty,
    Array(i64),
    Object,
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    rules: &'a Rules,
}

impl Writer<'_> {
    /// Writes the value on top.
    fn value(&mut self, top: &mut Top<'_>, depth: usize) -> Result<(), Fault> {
        if self.out.len() as u64 > self.rules.max_length {
            return Err(mlua::Error::MemoryError("not enough memory".into()).into());
        }
        match top.value() {
            Seen::Nil => self.out.extend_from_slice(b"null"),
            Seen::Boolean(boolean) => self.out.extend_from_slice(if boolean { b"true" } else { b"false" }),
            Seen::Integer(integer) => self.integer(integer),
            Seen::Number(number) => self.number(number)?,
            Seen::String(bytes) => self.string(bytes)?,
            Seen::Table => self.table(top, depth + 1)?,
            Seen::Pointer(pointer) if pointer.is_null() => self.out.extend_from_slice(b"null"),
            Seen::Pointer(pointer) if pointer == empty_pointer() => self.out.extend_from_slice(b"[]"),
            other => return Err(refused(&other, "type not supported")),
        }
        Ok(())
    }

    fn integer(&mut self, integer: i64) {
        write!(self.out, "{integer}").expect("a vector takes it");
    }

    fn number(&mut self, number: f64) -> Result<(), Fault> {
        let invalid = self.rules.lax.map_or(InvalidNumbers::Refuse, |lax| lax.invalid_numbers);
        match (number.is_finite(), invalid) {
            (true, _) => match self.rules.lax {
                Some(lax) => self.out.extend_from_slice(shortened(number, lax.precision).as_bytes()),
                // The fewest digits that are read back as the same number, and always as a float.
                None => write!(self.out, "{number:?}").expect("a vector takes it"),
            },
            (false, InvalidNumbers::Refuse) => {
                return Err(fault("Cannot serialise number: must not be NaN or Inf".into()));
            }
            (false, InvalidNumbers::Null) => self.out.extend_from_slice(b"null"),
            (false, InvalidNumbers::Write) => self.out.extend_from_slice(match number {
                f64::INFINITY => b"inf",
                f64::NEG_INFINITY => b"-inf",
                _ => b"nan",
            }),
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.rules.lax.is_none()
            && let Err(error) = std::str::from_utf8(bytes)
        {
            let at = error.valid_up_to() + 1;
            return Err(fault(format!("Cannot serialise string: invalid UTF-8 at byte {at}")));
        }
        self.out.reserve(bytes.len() + 2);
        self.out.push(b'"');
        let special = |byte: u8| match byte {
            0..0x20 | b'"' | b'\\' => true,
            b'/' => self.rules.lax.is_some_and(|lax| lax.escape_slash),
            0x7F => self.rules.lax.is_some(),
            _ => false,
        };
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|&byte| special(byte)) {
            self.out.extend_from_slice(&rest[..at]);
            match rest[at] {
                byte @ (b'"' | b'\\' | b'/') => self.out.extend_from_slice(&[b'\\', byte]),
                8 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                byte => write!(self.out, "\\u{byte:04x}").expect("a vector takes it"),
            }
            rest = &rest[at + 1..];
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
        Ok(())
    }

    fn table(&mut self, top: &mut Top<'_>, depth: usize) -> Result<(), Fault> {
        if depth > self.rules.max_depth.min(DEEPEST) {
            return Err(fault(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        let meta = top.metatable()?;
        let marked = meta == self.rules.array.to_pointer();
        match self.shape(top, marked)? {
            Shape::Array(length) => self.array(top, length, depth),
            Shape::Object => self.object(top, depth),
            Shape::Empty => {
                let array = marked || self.rules.empty_array || meta == self.rules.empty.to_pointer();
                self.out.extend_from_slice(if array { b"[]" } else { b"{}" });
                Ok(())
            }
        }
    }

    fn shape(&self, top: &mut Top<'_>, marked: bool) -> Result<Shape, Fault> {
        if marked && self.rules.lax.is_some() {
            let length = top.length();
            return Ok(if length == 0 { Shape::Empty } else { Shape::Array(length) });
        }
        let (mut count, mut max, mut named) = (0_i64, 0_i64, false);
        // The first name says that it is an object, unless that has to be checked.
        let known = top.each(|top| {
            let index = match top.key() {
                Seen::Integer(index) => index,
                // Only a float that is no integer is a float here.
                _ => 0,
            };
            named |= index < 1;
            max = max.max(index);
            count += 1;
            if named && (self.rules.lax.is_some() || count == 1) { Err(Stop::Known) } else { Ok(()) }
        });
        if let Err(Stop::Full(full)) = known {
            return Err(full.into());
        }
        match (count, named, self.rules.lax) {
            (0, ..) => Ok(Shape::Empty),
            (_, true, None) if marked => {
                Err(fault("Cannot serialise array: it has a key that is no index".into()))
            }
            (_, true, None) if max > 0 => Err(fault(MIXED.into())),
            (_, true, _) => Ok(Shape::Object),
            (_, false, None) if max != count => {
                Err(fault(format!("Cannot serialise sparse array: {count} of {max} elements are there")))
            }
            (_, false, Some(lax))
                if lax.sparse_ratio > 0
                    && max > count.saturating_mul(lax.sparse_ratio)
                    && max > lax.sparse_safe =>
            {
                match lax.sparse_convert {
                    true => Ok(Shape::Object),
                    false => Err(fault("Cannot serialise table: excessively sparse array".into())),
                }
            }
            _ => Ok(Shape::Array(max)),
        }
    }

    fn array(&mut self, top: &mut Top<'_>, length: i64, depth: usize) -> Result<(), Fault> {
        self.out.push(b'[');
        for index in 1..=length {
            if index > 1 {
                self.out.push(b',');
            }
            self.line(depth);
            top.element(index, |top| {
                self.value(top, depth).map_err(|fault| fault.within(|| format!("[{index}]")))
            })?;
        }
        self.line(depth - 1);
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, top: &mut Top<'_>, depth: usize) -> Result<(), Fault> {
        self.out.push(b'{');
        let mut first = true;
        top.each(|top| {
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            self.line(depth);
            match (top.key(), self.rules.lax) {
                (Seen::String(name), _) => self.string(name)?,
                (Seen::Integer(index), Some(_)) => {
                    self.out.push(b'"');
                    self.integer(index);
                    self.out.push(b'"');
                }
                (Seen::Number(number), Some(_)) => {
                    self.out.push(b'"');
                    self.number(number)?;
                    self.out.push(b'"');
                }
                (other, Some(_)) => return Err(refused(&other, "table key must be a number or string")),
                (Seen::Integer(_), None) => return Err(fault(MIXED.into())),
                (other, None) => return Err(refused(&other, "table key must be a string")),
            }
            self.out.extend_from_slice(if self.rules.pretty { b": " } else { b":" });
            self.value(top, depth).map_err(|fault| fault.within(|| named(&top.key())))
        })?;
        self.line(depth - 1);
        self.out.push(b'}');
        Ok(())
    }

    /// Where the next line begins, if there are lines.
    fn line(&mut self, depth: usize) {
        if self.rules.pretty {
            self.out.push(b'\n');
            self.out.extend(std::iter::repeat_n(b' ', 2 * depth));
        }
    }
}

fn fault(why: String) -> Fault {
    Fault::Value(why, Vec::new())
}

const MIXED: &str = "Cannot serialise table: it has both indexes and names";

fn refused(value: &Seen<'_>, why: &str) -> Fault {
    let kind = match value {
        Seen::Nil => "nil",
        Seen::Boolean(_) => "boolean",
        Seen::Integer(_) | Seen::Number(_) => "number",
        Seen::String(_) => "string",
        Seen::Table => "table",
        Seen::Pointer(_) => "userdata",
        Seen::Other(kind) => kind,
    };
    fault(format!("Cannot serialise {kind}: {why}"))
}

fn named(key: &Seen<'_>) -> String {
    match key {
        Seen::String(name) => format!(".{}", String::from_utf8_lossy(name)),
        Seen::Integer(index) => format!("[{index}]"),
        Seen::Number(number) => format!("[{number}]"),
        _ => "[?]".into(),
    }
}

/// Why a walk through a table ended before its end.
enum Stop {
    Known,
    Full(Full),
}

impl From<Full> for Stop {
    fn from(full: Full) -> Self {
        Self::Full(full)
    }
}

impl Fault {
    /// How much of a path is told: the inner end.
    const STEPS: usize = 8;

    fn within(mut self, step: impl FnOnce() -> String) -> Self {
        if let Self::Value(_, path) = &mut self
            && path.len() < Self::STEPS
        {
            path.push(step());
        }
        self
    }
}

/// C's `%.*g`.
pub(crate) fn shortened(number: f64, precision: usize) -> String {
    let scientific = format!("{number:.*e}", precision - 1);
    let (digits, power) = scientific.split_once('e').expect("it was asked for");
    let power: i32 = power.parse().expect("a number");
    let trim = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if power < -4 || power >= precision as i32 {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(digits), power.abs());
    }
    trim(&format!("{number:.*}", usize::try_from(precision as i32 - 1 - power).unwrap_or(0)))
}
