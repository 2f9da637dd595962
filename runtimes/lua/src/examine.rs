//! What Lua would say to a script, asked without running it; and what every script finds there.

use mlua::{Lua, LuaOptions, StdLib};

use crate::modules;

/// How Lua's bytecode begins.
pub const SIGNATURE: &[u8] = b"\x1bLua";

/// What Lua's compiler has against a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// Without the line and the name of the file.
    pub what: String,
}

/// Compiles a text, as [`crate::start`] and `require` would.
pub fn examine(text: &[u8]) -> Result<(), Fault> {
    // Told from all that a message can quote, and too short to be cut.
    const NAME: &str = "chunk";
    let fault = |words: String| {
        let (line, what) = words
            .strip_prefix(NAME)
            .and_then(|rest| rest.strip_prefix(':')?.split_once(": "))
            .and_then(|(line, what)| Some((line.parse().ok()?, what)))
            .unwrap_or((1, &words));
        Fault { line, what: what.to_owned() }
    };
    let lua = Lua::new_with(StdLib::NONE, LuaOptions::default()).map_err(|error| fault(error.to_string()))?;
    let chunk = lua.load(without_first_line(text)).set_name(format!("={NAME}"));
    match chunk.set_mode(mlua::chunk::ChunkMode::Text).into_function() {
        Ok(_) => Ok(()),
        Err(mlua::Error::SyntaxError { message, .. }) => Err(fault(message)),
        Err(other) => Err(fault(other.to_string())),
    }
}

/// Leaves out a first line that begins with `#` (it is for a shell), but not its end, for lines are counted.
pub fn without_first_line(text: &[u8]) -> &[u8] {
    match text.first() {
        Some(b'#') => &text[text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len())..],
        _ => text,
    }
}

/// The modules that a script can require without bringing them, beside those of the standard library.
pub fn built_in() -> Vec<&'static str> {
    modules::all().map(|module| module.name).collect()
}

/// The global names that Lua itself has.
pub fn standard() -> Vec<String> {
    let names = || -> mlua::Result<Vec<String>> {
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::default())?;
        lua.globals().pairs::<String, mlua::Value>().map(|pair| pair.map(|(name, _)| name)).collect()
    };
    names().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_its_line_and_the_compilers_words() {
        assert_eq!(examine(b"local x <const> = 1\nreturn x // 2"), Ok(()));
        let fault = examine(b"#!/usr/bin/lua\n\nlocal = 3").unwrap_err();
        assert_eq!(fault, Fault { line: 3, what: "<name> expected near '='".into() });
        let fault = examine(b"goto nowhere").unwrap_err();
        assert!(fault.line == 1 && fault.what.contains("no visible label 'nowhere'"), "{fault:?}");
        assert_eq!(examine(b"x = 'chunk:9: '\n?").unwrap_err().line, 2);
        assert!(examine(b"\x1bLua").unwrap_err().what.contains("binary"), "bytecode is no text");
        let deep = "(".repeat(100_000);
        assert!(examine(format!("return {deep}").as_bytes()).is_err());
    }

    #[test]
    fn what_lua_has() {
        let standard = standard();
        for name in ["print", "require", "_G", "_VERSION", "string", "utf8", "io", "os", "package"] {
            assert!(standard.iter().any(|known| known == name), "{name}");
        }
    }
}
