//! Names that existing Lua code asks for: `socket`, `ssl`, `lpeg`, `lfs`, `zlib`, `bit`.

use super::{Made, Module};

mod bit;
mod cjson;
mod lfs;
mod raising;
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
];
