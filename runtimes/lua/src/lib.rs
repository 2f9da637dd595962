//! Lua 5.4 guests, by mlua.
//!
//! - [`start`] makes an [`Instance`] of a script: the language ([`stdlib`]), its limits ([`limits`]), the modules that it can
//!   require ([`modules`]); [`Instance::run`] runs it and all the tasks that it spawns ([`tasks`]).
//! - [`world`] is what all of these share: the guest's `Ctx`, the time, the task that runs.
//!
//! Promises: a call that waits suspends its coroutine, never the VM; what fails in operation answers `nil, message`, and
//! what is used wrongly raises an error; sockets are their task's and are closed with it; no script can crash the host.
//!
//! Not here: HTTP and TLS (`lunette-http`), files and sockets themselves (host calls).
#![deny(unsafe_code)]

mod arg;
mod errors;
mod examine;
mod failures;
mod globals;
mod handover;
mod instance;
mod limits;
mod modules;
mod options;
mod protected;
mod repl;
mod state;
mod stdlib;
mod tasks;
mod world;

pub use examine::{Fault, SIGNATURE, built_in, examine, standard, without_first_line};
pub use instance::{Instance, Problem, Reloader, start};
pub use limits::Limits;
