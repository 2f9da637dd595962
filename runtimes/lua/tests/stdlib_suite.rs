//! The official tests of Lua 5.4 ("testes" of its repository), as they are released: see `lua-suite/README.md`.

use crate::world::Stage;
use lunette_hostcalls::{Ending, ramfs::MountId};

/// Files that are left out, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("all.lua", "it runs the others"),
    ("main.lua", "it tests the program `lua`, by starting it"),
    ("db.lua", "it is about hooks, which are not for scripts"),
    ("heavy.lua", "it fills the memory of a large machine"),
];

/// Parts that are left out: from a text to the one before which they go on, and why.
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

fn run(name: &str) -> Result<(), String> {
    let mut stage = Stage::new();
    stage.limits.memory = 512 << 20;
    stage.env = vec![("PATH", "/bin")];
    stage.limits.bytecode = true;
    stage.world.preopen_new("/libs", None).expect("room for a mount");
    for (name, text) in suite() {
        stage.world.files.insert_file(MountId::ROOT, &name, text.leak(), 0).expect("a place");
    }
    stage.world.stdio.close();
    let main = format!("_port, _soft, _nomsg, T = true, true, true, nil\nassert(loadfile('/{name}'))()");
    let ran = stage.try_run(&main).map_err(|problem| problem.to_string())?;
    if ran.ending == Ending::Exited(0) { Ok(()) } else { Err(format!("{:?}\n{}", ran.ending, ran.err)) }
}

fn suite() -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/tests/lua-suite", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).expect("the suite").map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        let mut text = std::fs::read(entry.path()).expect("its text");
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
    files.filter(|(name, _)| name.ends_with(".lua")).collect()
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[test]
fn the_suite_passes() {
    let only = std::env::var("SUITE").ok();
    let mut names: Vec<_> = suite()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| only.as_ref().is_none_or(|only| only == name))
        .filter(|name| LEFT_OUT.iter().all(|(left_out, _)| left_out != name))
        .collect();
    names.sort();
    let mut failed = Vec::new();
    for name in names {
        let start = std::time::Instant::now();
        let result = std::panic::catch_unwind(|| run(&name)).unwrap_or_else(|_| Err("panicked".into()));
        eprintln!("{name}: {} {:?}", if result.is_ok() { "ok" } else { "FAILED" }, start.elapsed());
        if let Err(words) = result {
            failed.push(format!("{name}: {words}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
