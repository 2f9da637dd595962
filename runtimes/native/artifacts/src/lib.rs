//! What wasmtime says of code that it compiled (functions, types, names), read back when the code is loaded.
//!
//! A crate of its own so that it is compiled for speed where the rest of wasmtime is compiled for size: a third of the
//! instructions between boot and a program's start are spent here, in numbers of one byte. The vendored wasmtime calls it.

#![forbid(unsafe_code)]

use postcard::{Result, from_bytes};
use wasmtime_environ::{
    CompiledFunctionsTable, CompiledModuleInfo, ModuleTypes, component::ComponentArtifacts,
};

/// Of a module.
pub fn module(bytes: &[u8]) -> Result<(CompiledModuleInfo, CompiledFunctionsTable, ModuleTypes)> {
    from_bytes(bytes)
}

/// Of a component.
pub fn component(bytes: &[u8]) -> Result<ComponentArtifacts> {
    from_bytes(bytes)
}
