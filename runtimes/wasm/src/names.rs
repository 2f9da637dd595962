//! What a module's functions are called: its name section, read when somebody asks.
//!
//! Promises: a name section that is damaged costs names, nothing else. Rust's mangled names are made
//! readable; those of C++ and others are shown as they are.

use std::collections::BTreeMap;

use lunette_hostcalls::CodeFrame;
use wasmparser::{ExternalKind, KnownCustom, Name, Parser, Payload};

/// How long a name may be before it is cut: names come from the module, and end up on a console.
const MAX_NAME: usize = 256;

/// Names the functions with these indices, in one pass over the module.
pub(crate) fn frames(wasm: &[u8], functions: &[u32]) -> Vec<CodeFrame> {
    let mut names: BTreeMap<u32, Option<String>> = functions.iter().map(|f| (*f, None)).collect();
    collect(wasm, &mut names);
    functions
        .iter()
        .map(|f| CodeFrame { function: *f, name: names.get(f).cloned().flatten(), place: None })
        .collect()
}

/// Fills in what the name section knows, and the export section where that knows nothing.
fn collect(wasm: &[u8], names: &mut BTreeMap<u32, Option<String>>) {
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(Payload::ExportSection(section)) => {
                exports.extend(
                    section
                        .into_iter()
                        .map_while(Result::ok)
                        .filter(|e| e.kind == ExternalKind::Func)
                        .map(|e| (e.index, e.name)),
                );
            }
            Ok(Payload::CustomSection(section)) => {
                let KnownCustom::Name(subsections) = section.as_known() else { continue };
                for subsection in subsections.into_iter().map_while(Result::ok) {
                    let Name::Function(map) = subsection else { continue };
                    for naming in map.into_iter().map_while(Result::ok) {
                        if let Some(name) = names.get_mut(&naming.index) {
                            *name = Some(readable(naming.name));
                        }
                    }
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    for (index, export) in exports {
        if let Some(name @ None) = names.get_mut(&index) {
            *name = Some(readable(export));
        }
    }
}

/// Demangles, and makes one short printable line of it.
fn readable(name: &str) -> String {
    let plain = match rustc_demangle::try_demangle(name) {
        // Without the hash at the end.
        Ok(demangled) => format!("{demangled:#}"),
        Err(_) => name.to_owned(),
    };
    one_line(&plain, MAX_NAME)
}

/// Text from a module, fit for a line on a console: no control characters, at most `max` characters.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let mut line: String =
        text.chars().take(max).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(max).is_some() {
        line.push('…');
    }
    line
}
