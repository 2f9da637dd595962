//! `http`: a server, and a client.

use super::Module;

pub(super) const MODULES: &[Module] = &[];
