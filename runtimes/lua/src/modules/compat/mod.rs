//! Names that existing Lua code asks for: `socket`, `ssl`, `lpeg`, `lfs`, `zlib`, `bit`.

use super::Module;

mod lpeg;

pub(super) const MODULES: &[Module] = &[lpeg::LPEG, lpeg::RE];
