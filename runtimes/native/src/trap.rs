//! From the engine's errors to [`Ending`]s and [`Trap`]s that a person can read.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use lunette_hostcalls::{CodeFrame, Ending, Limit, Trap, TrapKind};
use wasmtime::{Error, WasmBacktrace};

use crate::meter::Stopped;

/// A host call's wish to end the guest, as the engine's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u32);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}", self.0)
    }
}

impl std::error::Error for Exit {}

/// A trap of a host call's, as the engine's error.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTrap(pub Trap);

impl fmt::Display for HostTrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for HostTrap {}

/// How long a name may be before it is cut: names come from the guest, and end up on a console.
const MAX_NAME: usize = 256;

/// What an execution ended with, and where it was.
pub fn ending(error: &Error) -> (Ending, Vec<CodeFrame>) {
    let frames = error.downcast_ref::<WasmBacktrace>().map(backtrace).unwrap_or_default();
    if let Some(Exit(code)) = error.downcast_ref() {
        return (Ending::Exited(*code), frames);
    }
    if let Some(Stopped(limit)) = error.downcast_ref() {
        return (Ending::Stopped(*limit), frames);
    }
    if let Some(wasmtime::Trap::OutOfFuel) = error.downcast_ref() {
        return (Ending::Stopped(Limit::Fuel), frames);
    }
    let trap = match (error.downcast_ref::<HostTrap>(), error.downcast_ref::<wasmtime::Trap>()) {
        (Some(HostTrap(trap)), _) => Trap { backtrace: frames.clone(), ..trap.clone() },
        (None, Some(trap)) => {
            let (kind, words) = of_code(*trap);
            Trap { kind, message: words, backtrace: frames.clone() }
        }
        (None, None) => Trap { kind: TrapKind::Other, message: root(error), backtrace: frames.clone() },
    };
    (Ending::Trapped(trap), frames)
}

/// An error with its causes, in one line.
pub fn words(error: &Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error's root, in one line that can't hurt a terminal.
fn root(error: &Error) -> String {
    one_line(&error.root_cause().to_string(), 400)
}

fn one_line(text: &str, most: usize) -> String {
    if text.len() <= most && !text.bytes().any(|byte| !matches!(byte, b' '..=b'~')) {
        return text.trim_end().to_owned();
    }
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    line.truncate(line.trim_end().len());
    line
}

fn backtrace(found: &WasmBacktrace) -> Vec<CodeFrame> {
    let frames = found.frames().iter();
    frames
        .map(|frame| {
            // The innermost of what was inlined is what the code calls itself; its place is that of the instruction.
            let symbol = frame.symbols().first();
            let name = symbol.and_then(|symbol| symbol.name()).or_else(|| frame.func_name());
            let place = symbol.and_then(|symbol| {
                let file = symbol.file()?;
                Some(match (symbol.line(), symbol.column()) {
                    (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
                    (Some(line), None) => format!("{file}:{line}"),
                    (None, _) => file.to_owned(),
                })
            });
            CodeFrame {
                function: frame.func_index(),
                name: name.map(shown),
                place: place.map(|place| one_line(&place, MAX_NAME)),
            }
        })
        .collect()
}

/// How to get what a backtrace lacks; `None` if it lacks nothing, or is none.
pub fn note(frames: &[CodeFrame]) -> Option<&'static str> {
    let lacks = |no: fn(&CodeFrame) -> bool| !frames.is_empty() && frames.iter().all(no);
    if lacks(|frame| frame.name.is_none()) {
        return Some(
            "note: for names, files and lines, build it with debug information (rustc -C debuginfo=1, clang -g) and do not strip it",
        );
    }
    lacks(|frame| frame.place.is_none()).then_some(
        "note: for files and lines, build it with debug information (rustc -C debuginfo=1, clang -g)",
    )
}

/// The names of the functions on a stack, innermost first, with those that were inlined, as far as debug information tells.
pub(crate) fn names(found: &WasmBacktrace) -> Vec<String> {
    let mut names = Vec::new();
    for frame in found.frames() {
        let number = names.len();
        names.extend(frame.symbols().iter().filter_map(|symbol| symbol.name()).map(demangled));
        if names.len() == number {
            names.push(match frame.func_name() {
                Some(name) => demangled(name),
                None => format!("[function {}]", frame.func_index()),
            });
        }
    }
    names
}

/// A name as its language writes it, in one line. That takes a while, and what fails once will again: the last few hundred are kept.
fn shown(name: &str) -> String {
    const KEPT: usize = 256;
    static SHOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut kept = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shown) = kept.get(name) {
        return shown.clone();
    }
    let shown = one_line(&demangled(name), MAX_NAME);
    if kept.len() >= KEPT {
        kept.clear();
    }
    // Who makes names of megabytes has them made again.
    if name.len() <= 4 * MAX_NAME {
        kept.insert(name.to_owned(), shown.clone());
    }
    shown
}

/// A name as its language writes it.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

fn of_code(trap: wasmtime::Trap) -> (TrapKind, String) {
    use wasmtime::Trap as Code;
    let (kind, words) = match trap {
        Code::UnreachableCodeReached => (
            TrapKind::Unreachable,
            "the program reached code that it marked as unreachable (abort, panic, assertion)",
        ),
        Code::MemoryOutOfBounds => (TrapKind::MemoryOutOfBounds, "an access outside of the program's memory"),
        Code::TableOutOfBounds => {
            (TrapKind::TableOutOfBounds, "an access outside of a table, or a wild function pointer")
        }
        Code::IndirectCallToNull => (TrapKind::IndirectCallToNull, "a call through a null function pointer"),
        Code::BadSignature => (TrapKind::BadSignature, "a call through a function pointer of another type"),
        Code::IntegerDivisionByZero => (TrapKind::IntegerDivisionByZero, "a division of an integer by zero"),
        Code::IntegerOverflow => {
            (TrapKind::IntegerOverflow, "an integer overflow in a division or conversion")
        }
        Code::BadConversionToInteger => {
            (TrapKind::BadConversionToInteger, "a conversion of NaN to an integer")
        }
        Code::StackOverflow => (TrapKind::StackOverflow, "the call stack is exhausted"),
        Code::AllocationTooLarge => (TrapKind::OutOfMemory, "an allocation larger than can be"),
        other => return (TrapKind::Other, one_line(&other.to_string(), 200)),
    };
    (kind, words.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backtrace_lacks_is_said_with_the_way_to_get_it() {
        let frame = |name: Option<&str>, place: Option<&str>| CodeFrame {
            function: 1,
            name: name.map(str::to_owned),
            place: place.map(str::to_owned),
        };
        let note = |frames: &[CodeFrame]| note(frames).unwrap_or_default();
        assert_eq!(note(&[]), "");
        // Some of what is linked has none: the rest is what matters.
        assert_eq!(note(&[frame(Some("a"), None), frame(Some("b"), Some("b.rs:1"))]), "");
        assert!(note(&[frame(Some("a"), None), frame(None, None)]).contains("for files and lines"));
        assert!(note(&[frame(None, None)]).contains("for names, files and lines"));
    }
}
