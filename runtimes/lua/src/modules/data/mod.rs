//! Data: `json`, `url`, `crypto`, `kv` and the like.

use super::{Made, Module};

pub(super) mod json;

pub(super) const MODULES: &[Module] = &[Module { name: "json", made: Made::Native(json::open) }];
