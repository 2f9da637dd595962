//! The official tests of Lua 5.4 ("testes" of its repository), as they are released: see `lua-suite/README.md`.

use std::path::Path;

use crate::{known, world::Stage};
use lunette_hostcalls::{Ending, ramfs::MountId};

/// Left as released; what is cut is said in `known`.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lua-suite");

fn run(name: &str) -> Result<(), String> {
    let mut stage = Stage::new();
    stage.limits.memory = 512 << 20;
    stage.env = vec![("PATH", "/bin")];
    stage.limits.bytecode = true;
    stage.world.preopen_new("/libs", None).expect("room for a mount");
    for (name, text) in known::files(Path::new(FOLDER)) {
        stage.world.files.insert_file(MountId::ROOT, &name, text.leak(), 0).expect("a place");
    }
    stage.world.stdio.close();
    let ran = stage.try_run(&known::main(&format!("'{name}'"))).map_err(|problem| problem.to_string())?;
    if ran.ending == Ending::Exited(0) { Ok(()) } else { Err(format!("{:?}\n{}", ran.ending, ran.err)) }
}

#[test]
fn the_suite_passes() {
    let only = std::env::var("SUITE").ok();
    let names = known::names(Path::new(FOLDER)).into_iter();
    let names = names.filter(|name| only.as_ref().is_none_or(|only| only == name));
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
