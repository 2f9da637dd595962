//! The network below HTTP: `net`, `dns`.

use super::Module;

pub(super) const MODULES: &[Module] = &[];
