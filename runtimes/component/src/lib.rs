//! Components: what `cargo build --target wasm32-wasip2`, TinyGo, componentize-py and jco make.
//!
//! [`interfaces`] lists what they can import, and be started as. [`State`] is what belongs to one instance: its
//! [`Ctx`](lunette_hostcalls::Ctx), its resources, its book.
//!
//! Does not: compile, load (`lunette-native` does), or reach anything that is not in the `Ctx`.
#![forbid(unsafe_code)]

pub mod interfaces;
mod state;

pub use state::State;
