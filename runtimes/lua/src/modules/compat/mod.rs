//! Names that existing Lua code asks for: `socket`, `ssl`, `lpeg`, `lfs`, `zlib`, `bit`.

use super::{Made, Module};

mod cjson;
mod raising;

pub(super) const MODULES: &[Module] = &[
    // Data.
    Module { name: "cjson", made: Made::Native(cjson::open) },
    Module { name: "cjson.safe", made: Made::Native(cjson::open_safe) },
];
