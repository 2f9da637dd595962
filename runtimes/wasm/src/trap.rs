//! From the engine's errors to [`Trap`]s that a person can read.

use lunette_hostcalls::{CodeFrame, Trap, TrapKind};
use wasmi::{Error, TrapCode, WasmBacktrace, errors::ErrorKind};

use crate::{names, problem::Problem};

/// The trap that an execution ended with.
pub(crate) fn of_error(error: &Error, wasm: &[u8]) -> Trap {
    let backtrace = backtrace(error.wasm_backtrace(), wasm);
    let depth = error.wasm_backtrace().depth;
    let (kind, mut message) = match (error.as_trap_code(), error.kind()) {
        (Some(code), _) => of_code(code, depth),
        // Lazily validated: the function that was called is the one that is not valid.
        (None, ErrorKind::Wasm(error)) => {
            let problem = Problem::from_parser(error, wasm);
            (TrapKind::Other, format!("a function was called whose code can't be run: {problem}"))
        }
        (None, ErrorKind::Translation(error)) => {
            (TrapKind::Other, format!("a function was called whose code can't be translated: {error}"))
        }
        (None, _) => (TrapKind::Other, names::one_line(&error.to_string(), 200)),
    };
    if depth > backtrace.len() {
        let left_out = depth - backtrace.len();
        message += &format!(
            " ({left_out} of {depth} calls are left out below, after the first {})",
            WasmBacktrace::INNERMOST
        );
    }
    Trap { kind, message, backtrace }
}

/// The names for the functions that the engine found on the stack.
pub(crate) fn backtrace(found: &WasmBacktrace, wasm: &[u8]) -> Vec<CodeFrame> {
    names::frames(wasm, &found.frames)
}

fn of_code(code: TrapCode, depth: usize) -> (TrapKind, String) {
    let (kind, words) = match code {
        TrapCode::UnreachableCodeReached => (
            TrapKind::Unreachable,
            "the program reached code that it marked as unreachable (abort, panic, assertion)",
        ),
        TrapCode::MemoryOutOfBounds => {
            (TrapKind::MemoryOutOfBounds, "an access outside of the program's memory")
        }
        TrapCode::TableOutOfBounds => {
            (TrapKind::TableOutOfBounds, "an access outside of a table, or a wild function pointer")
        }
        TrapCode::IndirectCallToNull => {
            (TrapKind::IndirectCallToNull, "a call through a null function pointer")
        }
        TrapCode::BadSignature => {
            (TrapKind::BadSignature, "a call through a function pointer of another type")
        }
        TrapCode::IntegerDivisionByZero => {
            (TrapKind::IntegerDivisionByZero, "a division of an integer by zero")
        }
        TrapCode::IntegerOverflow => {
            (TrapKind::IntegerOverflow, "an integer overflow in a division or conversion")
        }
        TrapCode::BadConversionToInteger => {
            (TrapKind::BadConversionToInteger, "a conversion of NaN to an integer")
        }
        TrapCode::StackOverflow => {
            return (TrapKind::StackOverflow, format!("the call stack is exhausted, {depth} calls deep"));
        }
        TrapCode::OutOfSystemMemory => {
            (TrapKind::OutOfMemory, "the host has no memory left for this program")
        }
        TrapCode::GrowthOperationLimited => (TrapKind::OutOfMemory, "the program may not have more memory"),
        // The host refuels; what gets here is a bug.
        TrapCode::OutOfFuel => (TrapKind::Other, "out of fuel where it can't be refuelled"),
    };
    (kind, words.into())
}
