//! Tasks: `task`.

use super::Module;

pub(super) const MODULES: &[Module] = &[];
