//! Lua 5.4 guests, by mlua.
//!
//! - [`start`] makes an [`Instance`] of a script: the language ([`stdlib`]), its limits ([`limits`]), the modules that it can
//!   require ([`modules`]); [`Instance::run`] runs it and all the tasks that it spawns ([`tasks`]).
//! - [`world`] is what all of these share: the guest's `Ctx`, the time, the task that runs.
//! - A script is a [`state`] with its tasks; for the developer it can be replaced while it serves ([`instance`],
//!   [`handover`]), and has a prompt ([`repl`]).
//! - [`protected`] is the one room over Lua's C API: calls that catch errors, coroutines, the hook. [`failures`] are errors in
//!   PUC's words, [`globals`] what a handler may define.
//!
//! Promises: a call that waits suspends its coroutine, never the VM; what fails in operation answers `nil, message`, and
//! what is used wrongly raises an error; sockets are their task's and are closed with it; no script can crash the host.
//!
//! Not here: HTTP and TLS (`lunette-http`), files and sockets themselves (host calls).
//!
//! A task's coroutine is used again for later tasks: what a script keeps by `coroutine.running()` it has to clear itself.
// One room opens it, and argues why: `modules::data::json::stack`.
#![deny(unsafe_code)]

mod arg;
mod errors;
mod examine;
mod failures;
mod globals;
mod handover;
mod instance;
mod limits;
mod methods;
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
