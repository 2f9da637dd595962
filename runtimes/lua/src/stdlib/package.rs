//! The files of `package`: where modules are looked for, and their text. `require` itself is in `prelude.lua`.
//!
//! The bundle is at `/`, with LuaRocks' layout below it. There are no native modules: a rock that has one is told from a
//! module that is not there.

use mlua::{Lua, Table, Value};

use super::{
    errno::linux,
    native::{Answer, Fault, Library, Outcome, Wait, answer},
    place,
    stream::{Format, Stop, Stream},
};
use crate::world::World;

const PATH: &str =
    "/?.lua;/?/init.lua;/lua_modules/share/lua/5.4/?.lua;/lua_modules/share/lua/5.4/?/init.lua";
const NATIVE: &str = "/lua_modules/lib/lua/5.4/?.so;/?.so";

pub(super) fn open(library: &Library<'_>, natives: &Table) -> mlua::Result<()> {
    let package: Table = library.lua.globals().get("package")?;
    package.raw_set("path", PATH)?;
    package.raw_set("cpath", "")?;
    library.set(&package, "loadlib", |args| {
        args.text(1)?;
        args.text(2)?;
        let words = "dynamic libraries not enabled; check your Lua installation";
        answer(args.lua, (Value::Nil, words, "absent"))
    })?;
    library.set(&package, "searchpath", |args| {
        let (name, path) = (args.text(1)?, args.text(2)?);
        let separator = if args.is_nil(3) { ".".to_owned() } else { args.text(3)? };
        let replacement = if args.is_nil(4) { "/".to_owned() } else { args.text(4)? };
        match search(args.lua, &name, &path, &separator, &replacement) {
            Ok(found) => answer(args.lua, found),
            Err(tried) => answer(args.lua, (Value::Nil, tried)),
        }
    })?;
    library.set(natives, "native", |args| {
        let name = args.text(1)?;
        answer(args.lua, search(args.lua, &name, NATIVE, ".", "/").ok())
    })?;
    natives.raw_set(
        "built_in",
        library.function("require", |args| {
            let names: Vec<_> = crate::modules::names().collect();
            answer(args.lua, names.join(", "))
        })?,
    )?;
    let stdin = std::cell::RefCell::new(None);
    library.set(natives, "source", move |args| {
        let world = World::of(args.lua);
        let name = args.opt_string(1)?.map(|_| args.text(1)).transpose()?;
        let text = match &name {
            Some(path) => match place::read(&world.ctx, path, world.limits.memory) {
                Ok(text) => text,
                Err(errno) => {
                    let verb = if errno == lunette_hostcalls::Errno::Isdir { "read" } else { "open" };
                    return answer(
                        args.lua,
                        (Value::Nil, format!("cannot {verb} {path}: {}", linux(errno).1)),
                    );
                }
            },
            None => {
                let mut stdin = stdin.borrow_mut();
                let stream = stdin.get_or_insert_with(|| Stream::input(world.limits.memory));
                match stream.read(&world.ctx, &[Format::All]) {
                    Ok(mut items) => items.pop().flatten().unwrap_or_default(),
                    Err(Stop::Wait(_)) => return Ok(Answer::Wait(Wait::Input)),
                    Err(Stop::Error(errno)) => {
                        return answer(
                            args.lua,
                            (Value::Nil, format!("cannot read stdin: {}", linux(errno).1)),
                        );
                    }
                }
            }
        };
        chunk(args.lua, &text, name)
    })?;
    Ok(())
}

/// A file's text without what only shells and editors read, and the name of its chunk.
fn chunk(lua: &Lua, text: &[u8], name: Option<String>) -> Outcome {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    // The line stays, empty, for the numbers of the others.
    let text = if text.first() == Some(&b'#') {
        text.iter().position(|&byte| byte == b'\n').map_or(&b""[..], |end| {
            let rest = &text[end..];
            if rest.get(1) == Some(&0x1B) { &rest[1..] } else { rest }
        })
    } else {
        text
    };
    let name = name.map_or_else(|| "=stdin".to_owned(), |name| format!("@{name}"));
    let text = lua.create_string(text).map_err(Fault::from)?;
    answer(lua, (text, name))
}

/// The first file of a path that could be read; or what was tried, in PUC's words.
fn search(lua: &Lua, name: &str, path: &str, separator: &str, replacement: &str) -> Result<String, String> {
    let name = if separator.is_empty() { name.to_owned() } else { name.replace(separator, replacement) };
    let ctx = &World::of(lua).ctx;
    let mut tried = Vec::new();
    for template in path.split(';') {
        let file = template.replace('?', &name);
        if place::readable(ctx, &file) {
            return Ok(file);
        }
        tried.push(format!("no file '{file}'"));
    }
    Err(tried.join("\n\t"))
}
