//! Data: `json`, `url`, `crypto`, `kv` and the like.

use super::{Made, Module};

mod crypto;
mod encoding;
pub(crate) mod json;
pub(crate) mod kv;
mod log;
mod metrics;
mod url;

pub(super) const MODULES: &[Module] = &[
    Module { name: "json", made: Made::Native(json::open) },
    Module { name: "url", made: Made::Native(url::open) },
    Module { name: "base64", made: Made::Native(encoding::open_base64) },
    Module { name: "hex", made: Made::Native(encoding::open_hex) },
    Module { name: "crypto", made: Made::Native(crypto::open) },
    Module { name: "log", made: Made::Native(log::open) },
    Module { name: "metrics", made: Made::Native(metrics::open) },
    Module { name: "kv", made: Made::Native(kv::open) },
];
