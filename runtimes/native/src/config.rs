//! The engine's configuration: one function, for the packager that compiles and for the machine that runs.
//!
//! Promises: what one [`Variant`] compiled, the same variant of another build of the same version runs, whatever
//! Cargo features either has. All that has a default which depends on the build or on the machine is said here.
//! [`fingerprint`] changes whenever what this says does.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use wasmtime::{Collector, Config, WasmBacktraceDetails};

/// What compiled code can differ in, besides the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Does the code count what it executes? It is a fifth to a half slower by that.
    pub fuel: bool,
}

/// The release that compiles and runs.
pub(crate) const VERSION: &str = "48.0.8";

/// Artifacts are for the system whose calls the image answers, and are the same for a process on this machine: the only
/// thing that depends on the system is how it is checked.
#[cfg(feature = "compile")]
pub(crate) const TARGET: &str = "x86_64-unknown-linux-musl";

/// The hash of what the compiler is told, of all variants and processors: a test holds it to what [`config`] says. (It can't
/// be made here, for the machine has no compiler.)
const HASH: &str = "4fd6019bb9789904";

/// What a wasm stack may take of the host's.
const WASM_STACK: usize = 512 << 10;

/// The whole stack of a guest: host calls run on it as well, and need their own part.
const STACK: usize = 1 << 20;

/// How many frames of a stack are looked at, innermost first: for each one the debug information is read again.
static FRAMES: AtomicUsize = AtomicUsize::new(20);

/// Has engines that are made from now on look at the whole of a stack, or nearly: a profile begins with the outermost.
pub(crate) fn look_deeper() {
    FRAMES.store(128, Relaxed);
}

pub(crate) fn frames() -> usize {
    FRAMES.load(Relaxed)
}

/// Names the release, and what this page says: equal for all that can run each other's code.
pub fn fingerprint(variant: Variant) -> String {
    format!("{HASH}{}", if variant.fuel { "-fuel" } else { "" })
}

/// For the machine that runs. Guard pages and signals catch what leaves a memory, start images are mapped
/// copy-on-write, and a guest can be interrupted at every loop and call.
pub fn config(variant: Variant) -> Config {
    let mut config = Config::new();
    config
        .signals_based_traps(true)
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .memory_reservation_for_growth(2 << 30)
        .guard_before_linear_memory(true)
        .memory_init_cow(true)
        .table_lazy_init(true)
        .epoch_interruption(true)
        .consume_fuel(variant.fuel)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(STACK)
        .native_unwind_info(false)
        .generate_address_map(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(frames()))
        .gc_support(true)
        .collector(Collector::DeferredReferenceCounting)
        .concurrency_support(true)
        .wasm_component_model(true)
        .wasm_component_model_async(true)
        .wasm_component_model_more_async_builtins(true)
        .wasm_component_model_async_stackful(true)
        .wasm_component_model_error_context(true)
        .wasm_bulk_memory(true)
        .wasm_multi_memory(true)
        .wasm_multi_value(true)
        .wasm_reference_types(true)
        .wasm_function_references(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .wasm_tail_call(true)
        .wasm_extended_const(true)
        .wasm_exceptions(true)
        .wasm_gc(true)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config
}
