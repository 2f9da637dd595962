//! Names that existing Lua code asks for: `socket`, `ssl`, `lpeg`, `lfs`, `zlib`, `bit`.

use super::{Made, Module};

mod mime;
mod socket;

pub(super) const MODULES: &[Module] = &[
    Module { name: "ltn12", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/ltn12.lua")) },
    Module { name: "mime", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/mime.lua")) },
    Module { name: "mime.core", made: Made::Native(mime::open) },
    Module { name: "socket", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/socket.lua")) },
    Module { name: "socket.core", made: Made::Native(socket::open) },
    Module { name: "socket.ftp", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/ftp.lua")) },
    Module {
        name: "socket.headers",
        made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/headers.lua")),
    },
    Module { name: "socket.http", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/http.lua")) },
    Module { name: "socket.smtp", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/smtp.lua")) },
    Module { name: "socket.tp", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/tp.lua")) },
    Module { name: "socket.url", made: Made::Script(include_str!("../../../vendor/luasocket/3.1.0/url.lua")) },
];
