//! Components: what `cargo build --target wasm32-wasip2`, TinyGo, componentize-py and jco make.
//!
//! - [`State`] is what belongs to one instance: its [`Ctx`](lunette_hostcalls::Ctx), its resources, its book.
//! - [`http`] is wasi:http, [`serve`] a server of its handlers.
//!
//! Does not: compile, load (`lunette-native` does), or reach anything that is not in the `Ctx`.
#![forbid(unsafe_code)]

pub mod http;
pub mod serve;
mod state;

pub use state::State;
