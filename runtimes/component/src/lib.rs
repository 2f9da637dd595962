//! Components: what `cargo build --target wasm32-wasip2`, TinyGo, componentize-py and jco make.
//!
//! - [`State`] is what belongs to one instance: its [`Ctx`](lunette_hostcalls::Ctx), its resources, its book.
//! - [`Command`] runs a program, a [`serve::Server`] answers requests by handlers; [`http`] is what both ask others by.
//! - [`missing`] says what of a component's imports there is not; a [`Problem`], why it can't be started.
//! - [`interfaces`] lists what they can import, and be started as.
//!
//! Does not: compile, load (`lunette-native` does), or reach anything that is not in the `Ctx`.
#![forbid(unsafe_code)]

mod command;
mod files;
pub mod http;
pub mod interfaces;
mod link;
mod listeners;
mod p2;
mod p3;
mod problem;
mod random;
pub mod serve;
mod state;
mod terminal;

pub use command::Command;
pub use link::{Missing, missing};
pub use problem::Problem;
pub use state::{MAX_RESOURCES, State};
