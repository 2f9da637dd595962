//! Compiles LPeg (`vendor/lpeg`) against the headers of the Lua that mlua builds, and compresses the modules that are
//! written in Lua (`modules/compat`).

use std::{env, fs, path::Path};

const SCRIPTS: [&str; 12] = [
    "src/modules/compat/compat51.lua",
    "src/modules/compat/ssl_https.lua",
    "vendor/lpeg/1.1.0/re.lua",
    "vendor/luasocket/3.1.0/ftp.lua",
    "vendor/luasocket/3.1.0/headers.lua",
    "vendor/luasocket/3.1.0/http.lua",
    "vendor/luasocket/3.1.0/ltn12.lua",
    "vendor/luasocket/3.1.0/mime.lua",
    "vendor/luasocket/3.1.0/smtp.lua",
    "vendor/luasocket/3.1.0/socket.lua",
    "vendor/luasocket/3.1.0/tp.lua",
    "vendor/luasocket/3.1.0/url.lua",
];

fn main() {
    lpeg();
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    for script in SCRIPTS {
        println!("cargo:rerun-if-changed={script}");
        let text = fs::read(script).unwrap_or_else(|e| panic!("{script}: {e}"));
        let name = Path::new(script).file_name().expect("a file").to_string_lossy();
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(&text, 10);
        fs::write(Path::new(&out).join(format!("{name}.z")), packed)
            .unwrap_or_else(|e| panic!("{name}.z: {e}"));
    }
}

fn lpeg() {
    let include = env::var_os("DEP_LUA_INCLUDE").expect("mlua-sys says where the headers are");
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
