//! Compiles LPeg (`vendor/lpeg`) against the headers of the Lua that mlua builds.

fn main() {
    let include = std::env::var_os("DEP_LUA_INCLUDE").expect("mlua-sys says where the headers are");
    let folder = "vendor/lpeg/1.1.0";
    println!("cargo:rerun-if-changed={folder}");
    cc::Build::new()
        .files(["lpcap", "lpcode", "lpcset", "lptree", "lpvm"].map(|name| format!("{folder}/{name}.c")))
        .include(include)
        .define("NDEBUG", None)
        // The interpreter's loop is C like Lua's own: as fast, also where Rust is built to be debugged.
        .opt_level(2)
        .warnings(false)
        .compile("lpeg");
}
