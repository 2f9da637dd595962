//! The engine's configuration: one place, for the interpreter, for `examine`, and for the spec tests.
//!
//! Promises: [`engine`] and [`features`] agree (a test holds them to it): what [`crate::examine`] calls
//! valid, the engine runs, and the other way round.
//!
//! What guests get is WebAssembly 2.0 without SIMD, plus multi-memory, tail calls and extended constant
//! expressions. SIMD is left out because it adds 0.9 MB to the image and an interpreter gains nothing
//! by it; 64-bit memories because nothing that speaks WASI preview 1 can use them.

use wasmi::{CompilationMode, Config, CustomFuelCosts, Engine};
use wasmparser::WasmFeatures;

/// How many calls deep a guest may be.
///
/// A frame costs the host 32 bytes. wasmtime's default stack of 512 KiB is used up after some ten
/// thousand calls of ordinary size; what runs there must run here.
pub const MAX_CALL_DEPTH: usize = 32 * 1024;

/// How many bytes a guest's locals and operands may take, over all its frames. Grows on demand.
pub const MAX_STACK_BYTES: usize = 4 << 20;

/// Builds the engine that every guest runs on.
///
/// Functions are validated and translated when they are first called: safe for bytes that nobody has
/// looked at, and half the instructions to the first output. A function that is not valid ends the guest
/// when it is called, not before; who wants to know earlier asks [`crate::examine`].
///
/// With `metering`, executed code uses up fuel: about a unit an instruction, and one for 64 bytes that
/// are copied or cleared in bulk. Translation is free, which bounds nothing away: a function is translated
/// once, so this work is linear in the module's size. (wasmi cannot resume a call that ran out of fuel
/// *while* translating.)
pub fn engine(metering: bool) -> Engine {
    let mut config = Config::default();
    config
        .compilation_mode(CompilationMode::Lazy)
        .set_max_recursion_depth(MAX_CALL_DEPTH)
        .set_max_stack_height(MAX_STACK_BYTES)
        .set_max_cached_stacks(1)
        .ignore_custom_sections(true)
        .consume_fuel(metering)
        .fuel_cost(CustomFuelCosts {
            bytes_copied_per_fuel: 64,
            fuel_per_bytes_translated: 0,
            fuel_per_bytes_validated: 0,
        })
        .wasm_mutable_global(true)
        .wasm_sign_extension(true)
        .wasm_saturating_float_to_int(true)
        .wasm_multi_value(true)
        .wasm_multi_memory(true)
        .wasm_bulk_memory(true)
        .wasm_reference_types(true)
        .wasm_tail_call(true)
        .wasm_extended_const(true)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .floats(true);
    Engine::new(&config)
}

/// The same, in the words of the validator.
pub fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::REFERENCE_TYPES
        // Only the types that reference types need.
        | WasmFeatures::GC_TYPES
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::FLOATS
}
