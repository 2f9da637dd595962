//! WebAssembly guests.
//!
//! - [`start`] makes a [`Guest`](lunette_hostcalls::Guest) of a module: the interpreter, its limits, the
//!   host calls, backtraces with names.
//! - [`examine`] says what a module is and needs, or why it can't be run: for `lunette check` and `inspect`.
//! - [`wasi`] is preview 1, which knows no engine; [`memory`] the checked door to a guest's memory.
//! - [`engine`] is the one configuration of the engine; [`features`] the same for a validator.
//!
//! Not here: components, SIMD, ahead-of-time code.
#![forbid(unsafe_code)]

mod calls;
mod engine;
mod examine;
mod interp;
mod limits;
pub mod memory;
mod names;
mod problem;
mod trap;
pub mod wasi;

pub use engine::{MAX_CALL_DEPTH, MAX_STACK_BYTES, engine, features};
pub use examine::{
    Data, Export, Import, Memory, Provided, Report, Section, Table, describe, examine, is_component,
};
pub use interp::{Instance, start};
pub use limits::{Account, Limits};
pub use problem::{BadImport, Feature, LooksLike, Problem, Refusal};
