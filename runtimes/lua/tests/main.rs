//! The crate's tests from outside: one program, for each would link the language, HTTP and TLS anew.

use std::{fs, path::Path};

mod bombs;
mod compat_data;
mod crypto;
mod http;
mod http_client;
mod http_cost;
mod http_live;
mod http_routes;
mod isolation;
mod json;
mod kv;
mod limits;
mod log;
mod lpeg;
mod luasocket;
mod metrics;
mod net;
mod peers;
mod repl;
mod scripts;
mod ssl;
mod stdlib;
mod stdlib_suite;
mod stubs;
mod suites;
mod tasks;
mod vendored;
mod world;

/// What holds vendored files against their releases.
#[path = "../../../tests/vendored.rs"]
mod release;

/// What others test Lua with.
#[path = "../../../tests/lua_suites.rs"]
mod known;

/// A file that nobody names would be no test.
#[test]
fn every_file_here_is_a_module() {
    let known = include_str!("main.rs");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") {
            assert!(known.contains(&format!("\nmod {module};\n")), "tests/{name} is not run");
        }
    }
}
