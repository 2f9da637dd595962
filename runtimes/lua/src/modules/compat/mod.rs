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

pub(super) const MODULES: &[Module] = &[
    // Data.
    Module { name: "cjson", made: Made::Native(cjson::open) },
    Module { name: "cjson.safe", made: Made::Native(cjson::open_safe) },
    Module { name: "bit", made: Made::Native(bit::open_bit) },
    Module { name: "bit32", made: Made::Native(bit::open_bit32) },
    Module { name: "compat51", made: Made::Script(include_str!("compat51.lua")) },
    Module { name: "lfs", made: Made::Native(lfs::open) },
    Module { name: "zlib", made: Made::Native(zlib::open) },
    // Patterns.
    lpeg::LPEG,
    lpeg::RE,
    // Sockets.
    Module { name: "ltn12", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/ltn12.lua")) },
    Module { name: "mime", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/mime.lua")) },
    Module { name: "mime.core", made: Made::Native(mime::open) },
    Module { name: "socket", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/socket.lua")) },
    Module { name: "socket.core", made: Made::Native(socket::open) },
    Module {
        name: "socket.ftp",
        made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/ftp.lua")),
    },
    Module {
        name: "socket.headers",
        made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/headers.lua")),
    },
    Module {
        name: "socket.http",
        made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/http.lua")),
    },
    Module {
        name: "socket.smtp",
        made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/smtp.lua")),
    },
    Module { name: "socket.tp", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/tp.lua")) },
    Module {
        name: "socket.url",
        made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/url.lua")),
    },
    Module { name: "ssl", made: Made::Native(ssl::open) },
    Module { name: "ssl.https", made: Made::Script(include_str!("ssl_https.lua")) },
];
