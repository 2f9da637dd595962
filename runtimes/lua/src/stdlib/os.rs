//! `os`: time, the environment, names of files, and the end of the script.
//!
//! There is one zone, UTC, one locale, `C`, and no shell: `os.execute` says so as PUC does where there is none.
//!
//! `os.exit` never returns: its task waits for ever, and the script ends as soon as the host has control. Where a task
//! can't wait (below a C function), it raises, and the script ends when that one has returned.

use lunette_hostcalls::{Ctx, Ending, Errno, FileKind};
use mlua::Value;

use super::{
    args::Args,
    date::Date,
    emptied,
    io::failed,
    native::{Answer, Fault, Library, Outcome, Wait, answer},
    place::Spot,
    stream::now,
};
use crate::world::World;

pub(super) fn open(library: &Library<'_>) -> mlua::Result<()> {
    let os = emptied(library.lua, "os")?;
    let start = library.world.ctx.clock.monotonic();
    // Nobody else has this machine: the time that passes is the processor's.
    library.set(&os, "clock", move |args| {
        let nanos = World::of(args.lua).ctx.clock.monotonic() - start;
        answer(args.lua, nanos as f64 / 1e9)
    })?;
    library.set(&os, "date", date)?;
    library.set(&os, "time", time)?;
    library.set(&os, "difftime", |args| {
        let (later, earlier) = (args.integer(1)?, args.integer(2)?);
        answer(args.lua, later as f64 - earlier as f64)
    })?;
    library.set(&os, "execute", |args| match args.opt_string(1)? {
        None => answer(args.lua, false),
        // What `system` gives where there is no shell: a command that could not be run.
        Some(_) => answer(args.lua, (Value::Nil, "exit", 127)),
    })?;
    library.set(&os, "exit", exit)?;
    library.set(&os, "getenv", |args| {
        let name = args.text(1)?;
        let world = World::of(args.lua);
        let value = world.ctx.env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        answer(args.lua, value)
    })?;
    library.set(&os, "remove", |args| {
        let name = args.text(1)?;
        match remove(&World::of(args.lua).ctx, &name) {
            Ok(()) => answer(args.lua, true),
            Err(errno) => failed(args.lua, errno, Some(&name)),
        }
    })?;
    library.set(&os, "rename", |args| {
        let (from, to) = (args.text(1)?, args.text(2)?);
        match rename(&World::of(args.lua).ctx, &from, &to) {
            Ok(()) => answer(args.lua, true),
            Err(errno) => failed(args.lua, errno, Some(&from)),
        }
    })?;
    library.set(&os, "tmpname", |args| {
        let ctx = &World::of(args.lua).ctx;
        let made =
            new_name(ctx).and_then(|name| Spot::find(ctx, &name, false)?.create(now(ctx)).map(|_| name));
        match made {
            Ok(name) => answer(args.lua, name),
            Err(_) => Err(Fault::Raise("unable to generate a unique filename".into())),
        }
    })?;
    library.set(&os, "setlocale", |args| {
        let locale = args.opt_string(1)?;
        args.option(2, Some(0), &["all", "collate", "ctype", "monetary", "numeric", "time"])?;
        let known = locale.is_none_or(|locale| matches!(&*locale.as_bytes(), b"" | b"C" | b"POSIX"));
        answer(args.lua, known.then_some("C"))
    })
}

/// Seconds since 1970. A machine that has no idea of the date counts from there.
fn seconds(args: &Args<'_>) -> i64 {
    (now(&World::of(args.lua).ctx) / 1_000_000_000) as i64
}

fn date(args: &Args<'_>) -> Outcome {
    let format = args.opt_string(1)?;
    let format = format.as_ref().map_or_else(|| b"%c".to_vec(), |format| format.as_bytes().to_vec());
    let at = args.opt_integer(2)?.unwrap_or_else(|| seconds(args));
    let format = format.strip_prefix(b"!").unwrap_or(&format);
    let date = Date::of(at)
        .ok_or_else(|| Fault::Raise("date result cannot be represented in this installation".into()))?;
    if format == b"*t" {
        let table = args.lua.create_table()?;
        set_fields(&table, &date)?;
        return answer(args.lua, table);
    }
    let text = date.format(format).map_err(|rest| {
        args.fault(1, format_args!("invalid conversion specifier '%{}'", String::from_utf8_lossy(rest)))
    })?;
    answer(args.lua, args.lua.create_string(text)?)
}

fn set_fields(table: &mlua::Table, date: &Date) -> mlua::Result<()> {
    for (name, value) in [
        ("year", date.year),
        ("month", date.month),
        ("day", date.day),
        ("hour", date.hour),
        ("min", date.minute),
        ("sec", date.second),
        ("yday", date.day_of_year),
        ("wday", date.weekday + 1),
    ] {
        table.set(name, value)?;
    }
    table.set("isdst", false)
}

fn time(args: &Args<'_>) -> Outcome {
    if args.is_nil(1) {
        return answer(args.lua, seconds(args));
    }
    let table = args.table(1)?;
    // What C has in an `int`, counted from `base`.
    let field = |name: &str, default: Option<i64>, base: i64| -> Result<i64, Fault> {
        let value: Value = table.get(name)?;
        let Some(number) = args.lua.coerce_integer(value.clone())? else {
            return match (value.is_nil(), default) {
                (true, Some(default)) => Ok(default),
                (true, None) => Err(Fault::Raise(format!("field '{name}' missing in date table"))),
                (false, _) => Err(Fault::Raise(format!("field '{name}' is not an integer"))),
            };
        };
        let fits = number.checked_sub(base).is_some_and(|number| i32::try_from(number).is_ok());
        fits.then_some(number).ok_or_else(|| Fault::Raise(format!("field '{name}' is out-of-bound")))
    };
    let (year, month) = (field("year", None, 1900)?, field("month", None, 1)?);
    let (day, hour) = (field("day", None, 0)?, field("hour", Some(12), 0)?);
    let (minute, second) = (field("min", Some(0), 0)?, field("sec", Some(0), 0)?);
    let at = Date::seconds(year, month, day, hour, minute, second);
    let date = Date::of(at)
        .filter(|_| at != -1)
        .ok_or_else(|| Fault::Raise("time result cannot be represented in this installation".into()))?;
    set_fields(&table, &date)?;
    answer(args.lua, at)
}

fn exit(args: &Args<'_>) -> Outcome {
    let code = match args.get(1) {
        Value::Boolean(well) => i64::from(!well),
        _ => args.opt_integer(1)?.unwrap_or(0),
    };
    let world = World::of(args.lua);
    world.closes.set(args.truth(2));
    world.ending.replace(Some(Ending::Exited(code as u8 as u32)));
    Ok(Answer::Wait(Wait::End))
}

pub(super) fn remove(ctx: &Ctx, path: &str) -> Result<(), Errno> {
    let spot = Spot::find(ctx, path, false)?;
    let node = spot.place.existing()?;
    let name = spot.place.name.as_deref().ok_or(Errno::Busy)?;
    match spot.files.stat(node)?.kind {
        FileKind::Directory => spot.files.remove_directory(spot.place.dir, name, now(ctx)),
        _ => spot.files.unlink(spot.place.dir, name, now(ctx)),
    }
}

fn rename(ctx: &Ctx, from: &str, to: &str) -> Result<(), Errno> {
    let (old, new) = (Spot::find(ctx, from, false)?, Spot::find(ctx, to, false)?);
    old.place.existing()?;
    let (Some(from), Some(to)) = (&old.place.name, &new.place.name) else { return Err(Errno::Busy) };
    if !std::sync::Arc::ptr_eq(&old.files, &new.files) {
        return Err(Errno::Xdev);
    }
    old.files.rename(old.place.dir, from, new.place.dir, to, now(ctx))
}

/// A name in `/tmp` that nothing has.
pub(super) fn new_name(ctx: &Ctx) -> Result<String, Errno> {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    loop {
        let mut random = [0; 6];
        ctx.random.fill(&mut random)?;
        let letters = random.iter().map(|&byte| LETTERS[usize::from(byte) % LETTERS.len()] as char);
        let name = format!("/tmp/lua_{}", letters.collect::<String>());
        if Spot::find(ctx, &name, false)?.place.node.is_none() {
            return Ok(name);
        }
    }
}
