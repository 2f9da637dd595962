//! Data: `json`, `url`, `crypto`, `kv` and the like.

use super::Module;

pub(super) const MODULES: &[Module] = &[];
