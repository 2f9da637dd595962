//! What a component can import: interfaces by their names, each with what adds it to a linker.

use wasmtime::component::Linker;

use crate::State;

/// One interface of one release.
pub(crate) struct Interface {
    /// `wasi:cli/stdout`.
    pub(crate) name: &'static str,
    /// The release that it is of; it serves every other of its minor version.
    pub(crate) version: &'static str,
    pub(crate) add: fn(&mut Linker<State>) -> wasmtime::Result<()>,
}
