//! Names that existing Lua code asks for: `socket`, `ssl`, `lpeg`, `lfs`, `zlib`, `bit`.

use super::{Made, Module};

mod bit;
mod cjson;
mod lfs;
mod lpeg;
mod mime;
mod raising;
mod socket;
mod ssl;
mod zlib;

/// The text of a file that `build.rs` compressed: half a dozen rarely used libraries need not be three times as large.
macro_rules! packed {
    ($file:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".z"))
    };
}
use packed;

const fn script(name: &'static str, text: &'static [u8]) -> Module {
    Module { name, made: Made::Script(text) }
}

pub(super) const MODULES: &[Module] = &[
    // Data.
    Module { name: "cjson", made: Made::Native(cjson::open) },
    Module { name: "cjson.safe", made: Made::Native(cjson::open_safe) },
    Module { name: "bit", made: Made::Native(bit::open_bit) },
    Module { name: "bit32", made: Made::Native(bit::open_bit32) },
    script("compat51", packed!("compat51.lua")),
    Module { name: "lfs", made: Made::Native(lfs::open) },
    Module { name: "zlib", made: Made::Native(zlib::open) },
    // Patterns.
    lpeg::LPEG,
    lpeg::RE,
    // Sockets.
    script("ltn12", packed!("ltn12.lua")),
    script("mime", packed!("mime.lua")),
    Module { name: "mime.core", made: Made::Native(mime::open) },
    script("socket", packed!("socket.lua")),
    Module { name: "socket.core", made: Made::Native(socket::open) },
    script("socket.ftp", packed!("ftp.lua")),
    script("socket.headers", packed!("headers.lua")),
    script("socket.http", packed!("http.lua")),
    script("socket.smtp", packed!("smtp.lua")),
    script("socket.tp", packed!("tp.lua")),
    script("socket.url", packed!("url.lua")),
    Module { name: "ssl", made: Made::Native(ssl::open) },
    script("ssl.https", packed!("ssl_https.lua")),
];
