//! `log`: one line for each event, on standard error.
//!
//! `log.debug|info|warn|error(message [, fields])` write `2026-11-21T07:33:57.123Z INFO  message name=value`: a person reads
//! it, and what comes after the level is logfmt. `log.level([name])` sets and tells the level from which on lines are written,
//! at first what `LUNETTE_LOG` says, or `info`. `log.with(fields)` gives a logger whose lines have these too: a request's id.
//!
//! Promises: a message can't begin a line of its own or reach a terminal's controls; a line is at most [`LONGEST`] bytes
//! long; writing never waits, and what does not go out at once is lost.

use std::{cell::Cell, fmt::Write, rc::Rc};

use mlua::{Lua, Table, Value};

use super::json;
use crate::world::World;

/// Longer lines are cut.
const LONGEST: usize = 8192;

const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

pub(super) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    let env = world.ctx.env.iter().find(|(name, _)| name == "LUNETTE_LOG");
    let (level, unknown) = match env.map(|(_, value)| (value, level_of(value))) {
        Some((_, Some(level))) => (level, None),
        Some((value, None)) => (1, Some(value)),
        None => (1, None),
    };
    let log = Rc::new(Log { world: world.clone(), level: Cell::new(level) });
    if let Some(value) = unknown {
        log.line(2, &format!("LUNETTE_LOG is {value}; it can be {}", LEVELS.join(", ")), "");
    }
    Ok(Value::Table(logger(lua, log, String::new())?))
}

struct Log {
    world: Rc<World>,
    level: Cell<usize>,
}

fn level_of(name: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.eq_ignore_ascii_case(name))
}

/// The functions, where `bound` is the end of every line.
fn logger(lua: &Lua, log: Rc<Log>, bound: String) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    for (level, name) in LEVELS.into_iter().enumerate() {
        let (log, bound) = (log.clone(), bound.clone());
        let write = move |lua: &Lua, (message, fields): (Value, Option<Table>)| {
            if level < log.level.get() {
                return Ok(());
            }
            let mut more = fields.map_or(Ok(String::new()), |fields| self::fields(lua, &fields))?;
            more += &bound;
            log.line(level, &message.to_string()?, &more);
            Ok(())
        };
        module.raw_set(name, lua.create_function(write)?)?;
    }
    {
        let log = log.clone();
        let with = move |lua: &Lua, fields: Table| {
            let mut more = self::fields(lua, &fields)?;
            more += &bound;
            logger(lua, log.clone(), more)
        };
        module.raw_set("with", lua.create_function(with)?)?;
    }
    let level = move |_: &Lua, name: Option<String>| {
        if let Some(name) = name {
            let level = level_of(&name).ok_or_else(|| {
                mlua::Error::runtime(format!(
                    "log.level: there is no level {name}; there are: {}",
                    LEVELS.join(", ")
                ))
            })?;
            log.level.set(level);
        }
        Ok(LEVELS[log.level.get()])
    };
    module.raw_set("level", lua.create_function(level)?)?;
    Ok(module)
}

impl Log {
    fn line(&self, level: usize, message: &str, fields: &str) {
        let mut line = match self.world.ctx.clock.wall() {
            Some(now) => date(now / 1_000_000),
            // The clock is not set: since the start.
            None => format!("+{:.3}", self.world.ctx.clock.monotonic() as f64 / 1e9),
        };
        let name = LEVELS[level].to_ascii_uppercase();
        write!(line, " {name:<5} ").expect("a string takes it");
        escape(&mut line, message);
        line += fields;
        if line.len() > LONGEST {
            let end = line.floor_char_boundary(LONGEST - '…'.len_utf8());
            line.truncate(end);
            line.push('…');
        }
        self.world.say(&line);
    }
}

/// ` name=value` of each, in the order of the names.
fn fields(lua: &Lua, fields: &Table) -> mlua::Result<String> {
    let mut pairs = Vec::new();
    for pair in fields.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let value = match &value {
            Value::String(text) => text.to_string_lossy(),
            Value::Table(_) => json::shown(lua, &value)?,
            other => other.to_string()?,
        };
        pairs.push((name.to_string()?, value));
    }
    pairs.sort();
    let mut out = String::new();
    for (name, value) in pairs {
        out.push(' ');
        // A name is a word.
        out.extend(name.chars().map(|char| match char {
            char if char.is_alphanumeric() || "_-.".contains(char) => char,
            _ => '_',
        }));
        out.push('=');
        let plain = |char: char| !char.is_whitespace() && !char.is_control() && !"\"=\\".contains(char);
        if !value.is_empty() && value.chars().all(plain) {
            out += &value;
        } else {
            out.push('"');
            escape(&mut out, &value.replace('\\', "\\\\").replace('"', "\\\""));
            out.push('"');
        }
    }
    Ok(out)
}

/// Controls, and what changes the direction or the line, as escapes.
fn escape(out: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                write!(out, "\\u{{{:x}}}", u32::from(char)).expect("a string takes it");
            }
            char if char.is_control() => {
                write!(out, "\\x{:02x}", u32::from(char)).expect("a string takes it");
            }
            char => out.push(char),
        }
    }
}

/// Milliseconds since 1970 as RFC 3339 has them.
fn date(millis: u64) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (days, seconds) = (seconds / 86400, seconds % 86400);
    // Howard Hinnant's `civil_from_days`: years begin in March, eras of 400 years are alike.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::{date, escape};

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_246_437, "2026-11-21T07:33:57.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(date(seconds * 1000), expected);
        }
        assert_eq!(date(123), "1970-01-01T00:00:00.123Z");
    }

    #[test]
    fn no_message_begins_a_line_or_steers_a_terminal() {
        let mut out = String::new();
        escape(&mut out, "a\nb\u{1b}[2J\u{202e}\u{85}é");
        assert_eq!(out, "a\\nb\\x1b[2J\\u{202e}\\x85é");
    }
}
