//! Names that existing Lua code asks for: `socket`, `ssl`, `lpeg`, `lfs`, `zlib`, `bit`.

use super::Module;

pub(super) const MODULES: &[Module] = &[];
