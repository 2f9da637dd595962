//! Tests that others wrote for Lua, and what of them is run, on the host and in the machine: those of well-known modules
//! (`tests/lua`), and the official ones of Lua 5.4 ("testes" of its repository), as they are released
//! (`runtimes/lua/tests/lua-suite`). Shared by those who run them (`#[path]`).

use std::{fs, path::Path};

/// The modules whose suites are kept here, and how many of their tests pass.
pub(crate) const MODULES: [(&str, u32); 8] = [
    ("say", 8),
    ("mediator", 26),
    ("luassert", 208),
    ("inspect", 46),
    ("binaryheap", 60),
    ("dkjson", 1),
    ("argparse", 174),
    ("cjson", 109),
];

/// Of the official tests: files that are left out, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("all.lua", "it runs the others"),
    ("main.lua", "it tests the program `lua`, by starting it"),
    ("db.lua", "it is about hooks, which are not for scripts"),
    ("heavy.lua", "it fills the memory of a large machine"),
];

/// Parts of the others that are left out: from a text to the one before which they go on, and why.
const CUT: &[(&str, &str, &str, &str)] = &[
    ("calls.lua", "assert(not pcall(string.dump, print))", "\n", "`print` is written in Lua"),
    (
        "errors.lua",
        "checkmessage([[\n  -- create light udata",
        "_G.D = nil",
        "userdata have no values that scripts may set",
    ),
    (
        "errors.lua",
        "checkmessage(\"getmetatable(io.stdin).__gc()",
        "\n",
        "the metatable of files is not for scripts",
    ),
    ("files.lua", "assert(getmetatable(io.input())", "\n", "the metatable of files is not for scripts"),
    ("coroutine.lua", "  debug.sethook(co, dotrace", "end\n\n-- errors in", "hooks are not for scripts"),
    (
        "locals.lua",
        "do   -- '__close' vs. return hooks in Lua functions",
        "print \"to-be-closed variables in coroutines\"",
        "hooks are not for scripts",
    ),
    (
        "gc.lua",
        "  assert(collectgarbage(\"count\") <= m + 1)   -- eveything",
        "\n",
        "`string.rep` calls a level deeper than PUC's, and that level is kept",
    ),
    (
        "errors.lua",
        "checkmessage(\"table.sort({1,2,3}, table.sort)",
        "\n\n",
        "who calls it is C, and the name is told as `sort`",
    ),
    ("errors.lua", "checkmessage(\"coroutine.yield()\"", "\n", "every script is a coroutine"),
    ("attrib.lua", "  assert(msg == expected)", "\n", "the message names what is built in as well"),
    ("coroutine.lua", "assert(type(main) ==", "\n\n", "every script is a coroutine"),
    ("locals.lua", "    debug.sethook(hook, \"r\")", "  debug.sethook()", "hooks are not for scripts"),
];

/// The script that runs one of the official tests; `file` is Lua for its name.
pub(crate) fn main(file: &str) -> String {
    format!("_port, _soft, _nomsg, T = true, true, true, nil\nassert(loadfile('/' .. {file}))()")
}

/// Those of the official tests that are run, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        list(folder).filter(|name| LEFT_OUT.iter().all(|(left_out, _)| left_out != name)).collect();
    names.sort();
    names
}

fn list(folder: &Path) -> impl Iterator<Item = String> {
    let files = fs::read_dir(folder).expect("the suite");
    let names = files.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    names.filter(|name| name.ends_with(".lua"))
}

/// All files of the official tests, without what is cut out of them.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = list(folder).map(|name| {
        let mut text = fs::read(folder.join(&name)).expect("its text");
        for (_, from, to, _) in CUT.iter().filter(|(file, ..)| *file == name) {
            let start = find(&text, from.as_bytes()).unwrap_or_else(|| panic!("{name} has no {from:?}"));
            let length =
                find(&text[start..], to.as_bytes()).unwrap_or_else(|| panic!("{name} has no {to:?}"));
            // Lines keep their numbers.
            text[start..start + length]
                .iter_mut()
                .filter(|byte| **byte != b'\n')
                .for_each(|byte| *byte = b' ');
        }
        (name, text)
    });
    files.collect()
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
