//! What a component is, needs and brings, without running it.
//!
//! Promises: all of it is validated, with the features of the engine that compiles it; an import that nobody provides is named
//! with what comes nearest. Does not: compare the types of what is imported (the linker does).

use lunette_component::interfaces::{self, Entry, PACKAGES, Package};
use lunette_wasm::Feature;
pub use lunette_wasm::is_component;
use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, KnownCustom, Parser, Payload, Validator, WasmFeatures,
};

use crate::problem::{Problem, printable};

/// What [`examine`] found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    pub size: usize,
    /// Each with its version, as in `wasi:io/streams@0.2.3`.
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// How many core modules it is made of.
    pub modules: usize,
    /// What made it: `("processed-by", "wit-component 0.240.0")`.
    pub producers: Vec<(String, String)>,
}

/// What native code can have been made from: as the engine is configured.
pub fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::GC
        | WasmFeatures::GC_TYPES
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::SIMD
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::FLOATS
        | WasmFeatures::COMPONENT_MODEL
        | WasmFeatures::CM_ASYNC
        | WasmFeatures::CM_ASYNC_STACKFUL
        | WasmFeatures::CM_MORE_ASYNC_BUILTINS
        | WasmFeatures::CM_ERROR_CONTEXT
}

/// Validates a component or a module for the engine that compiles it. `what`: which of the two.
pub fn validate(what: &str, bytes: &[u8]) -> Result<(), Problem> {
    Validator::new_with_features(features()).validate_all(bytes).map(drop).map_err(|e| invalid(what, &e))
}

fn invalid(what: &str, error: &wasmparser::Error) -> Problem {
    let (words, at) = (error.message(), error.offset());
    if let Some(feature) = Feature::of_message(words).filter(|feature| !feature.native()) {
        let what = format!("the {what} uses {}, which is not supported (at byte {at:#x})", feature.name());
        return Problem::new(what, feature.help());
    }
    if words.contains("legacy exceptions") || words.contains("legacy_exceptions") {
        let help = "build it for the standard's: clang and emscripten `-mllvm -wasm-use-legacy-eh=false`, Rust of 2026";
        return Problem::new(format!("the {what} uses exception handling of before the standard"), help);
    }
    if words.contains("unexpected end") {
        let what = format!("the {what} is cut short: it ends in the middle (at byte {at:#x})");
        return Problem::new(what, "copy or build the file again; the download or the copy was cut short");
    }
    let help = "the file is damaged or its producer has a bug: build it again, and try `wasm-tools validate`";
    Problem::new(format!("the {what} is not valid: {} (at byte {at:#x})", printable(words)), help)
}

/// Validates a component and says what is in it. One that is fine but can't be started has a world: [`World::check`] tells.
pub fn examine(bytes: &[u8]) -> Result<World, Problem> {
    validate("component", bytes)?;
    world(bytes).map_err(|e| invalid("component", &e))
}

impl World {
    /// Is all there that it imports, and can it be started?
    pub fn check(&self) -> Result<Entry, Problem> {
        let missing: Vec<_> = self.imports.iter().filter(|name| !interfaces::provided(name)).collect();
        if let Some(first) = missing.first() {
            let what = match missing.len() {
                1 => format!("the component imports {}, which nobody provides", printable(first)),
                n => {
                    let names = lunette_component::missing(missing.iter().map(|name| name.as_str()));
                    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                    format!("the component imports {n} interfaces that nobody provides: {}", names.join(", "))
                }
            };
            return Err(Problem::new(what, remedy(first)));
        }
        self.entry().ok_or_else(|| {
            let exports = match self.exports.as_slice() {
                [] => "nothing".into(),
                some => some.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", "),
            };
            Problem::new(
                format!("there is nothing to start: the component exports {exports}"),
                "export wasi:cli/run (a program with a `main`, built for wasm32-wasip2) or \
                 wasi:http/incoming-handler (a server), in version 0.2, or wasi:http/handler in version 0.3",
            )
        })
    }

    /// What it can be started as, if as anything.
    pub fn entry(&self) -> Option<Entry> {
        let entries = || self.exports.iter().filter_map(|name| interfaces::entry(name));
        entries().find(|entry| *entry == Entry::Handler).or_else(|| entries().next())
    }
}

/// What there is instead of an import.
fn remedy(import: &str) -> String {
    let shown =
        |package: &Package, interface: &str| format!("{}/{interface}@{}", package.name, package.version);
    let plain = import.split_once('@').map_or(import, |(name, _)| name);
    let all =
        || PACKAGES.iter().flat_map(|package| package.interfaces.iter().map(move |name| (package, *name)));
    let versions: Vec<_> = all()
        .filter(|(package, name)| plain == format!("{}/{name}", package.name))
        .map(|(package, name)| shown(package, name))
        .collect();
    if !versions.is_empty() {
        return format!("build it for the version that is here: {}", versions.join(" or "));
    }
    let distance = |text: &str| strsim::levenshtein(plain, text);
    let near = all().map(|(package, name)| (distance(&format!("{}/{name}", package.name)), package, name));
    if let Some((_, package, name)) =
        near.min_by_key(|(distance, ..)| *distance).filter(|(distance, ..)| *distance * 4 <= plain.len())
    {
        return format!("the nearest that is provided is {}", shown(package, name));
    }
    // Others' packages for what WASI has by now: fermyon:spin/key-value, wasmcloud:bus/http.
    let words: String = plain.chars().filter(char::is_ascii_alphanumeric).collect();
    let same = PACKAGES.iter().find(|package| {
        let (_, name) = package.name.split_once(':').unwrap_or_default();
        name != "io" && name != "cli" && words.contains(name)
    });
    if let Some(package) = same {
        return format!(
            "the nearest package that is provided is {}@{}: build it for that",
            package.name, package.version
        );
    }
    let mut names: Vec<_> = PACKAGES.iter().map(|package| package.name).collect();
    names.sort_unstable();
    names.dedup();
    format!(
        "compose it with a component that exports it (`wac plug`), or do without; provided are {}",
        names.join(", ")
    )
}

/// What a valid component says of itself, at its outermost level.
pub fn world(bytes: &[u8]) -> wasmparser::Result<World> {
    let mut world = World { size: bytes.len(), ..World::default() };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ModuleSection { .. } => world.modules += 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    let import = import?;
                    // A type is not brought by anybody: it is a name for what is known.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        world.imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export?;
                    if export.kind != ComponentExternalKind::Type {
                        world.exports.push(export.name.name.to_owned());
                    }
                }
            }
            Payload::CustomSection(section) if depth == 1 => {
                if let KnownCustom::Producers(fields) = section.as_known() {
                    // A damaged custom section is no error.
                    for field in fields.into_iter().map_while(Result::ok) {
                        for value in field.values.into_iter().map_while(Result::ok) {
                            let words = format!("{} {}", value.name, value.version);
                            world.producers.push((printable(field.name), printable(words.trim())));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(world)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component of these lines.
    fn component(lines: &str) -> Vec<u8> {
        wat::parse_str(format!("(component {lines})")).unwrap()
    }

    const RUN: &str = r#"
        (core module $m (func (export "f") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "f")))
        (instance $run (export "run" (func $run)))
        (export "wasi:cli/run@0.2.3" (instance $run))"#;

    fn problem(imports: &str) -> Problem {
        examine(&component(&format!("{imports}{RUN}"))).unwrap().check().unwrap_err()
    }

    #[test]
    fn a_component_says_what_it_is() {
        let text =
            format!("(import \"wasi:io/poll@0.2.0\" (instance)) (import \"t\" (type (sub resource))) {RUN}");
        let world = examine(&component(&text)).unwrap();
        assert_eq!((&*world.imports[0], world.imports.len(), world.modules), ("wasi:io/poll@0.2.0", 1, 1));
        assert_eq!(
            (&*world.exports, world.check()),
            (&["wasi:cli/run@0.2.3".to_owned()][..], Ok(Entry::Command))
        );
        let handler = component("(instance $i) (export \"wasi:http/incoming-handler@0.2.0\" (instance $i))");
        assert_eq!(examine(&handler).unwrap().check(), Ok(Entry::Handler));
        assert!(is_component(&handler) && !is_component(b"\0asm\x01\0\0\0") && !is_component(b"\0asm"));
    }

    #[test]
    fn what_is_missing_is_named_with_what_comes_nearest() {
        for (import, help) in [
            ("wasi:io/steams@0.2.0", "nearest that is provided is wasi:io/streams@0.2.12"),
            (
                "wasi:cli/stdout@0.1.0",
                "version that is here: wasi:cli/stdout@0.2.12 or wasi:cli/stdout@0.3.0",
            ),
            ("wasi:io/poll@0.2.0-rc-2023-11-10", "version that is here: wasi:io/poll@0.2.12"),
            ("fermyon:spin/key-value@2.0.0", "nearest package that is provided is wasi:keyvalue"),
            ("acme:shop/cart@1.0.0", "`wac plug`"),
        ] {
            let problem = problem(&format!("(import \"{import}\" (instance))"));
            assert_eq!(problem.what, format!("the component imports {import}, which nobody provides"));
            assert!(problem.help.contains(help), "{import}: {}", problem.help);
        }
        let two = problem(
            "(import \"a:b/c\" (instance)) (import \"log\" (func)) (import \"wasi:io/poll@0.2.1\" (instance))",
        );
        assert_eq!(two.what, "the component imports 2 interfaces that nobody provides: a:b/c, log");
    }

    #[test]
    fn one_that_starts_nothing_or_is_damaged_is_named() {
        let e = examine(&component("(instance $i) (export \"a:b/c\" (instance $i))"))
            .unwrap()
            .check()
            .unwrap_err();
        assert_eq!(e.what, "there is nothing to start: the component exports a:b/c");
        let whole = component(RUN);
        for length in 8..whole.len() {
            match examine(&whole[..length]) {
                Err(e) => assert!(!e.help.is_empty(), "{e}"),
                Ok(world) => match world.check() {
                    Err(e) => assert!(e.what.contains("nothing to start"), "{e}"),
                    // Nothing but names is missing.
                    Ok(_) => assert_eq!((world.modules, length > whole.len() / 2), (1, true), "{length}"),
                },
            }
        }
        let threads = component("(core module (memory 1 1 shared))");
        assert!(examine(&threads).unwrap_err().what.contains("uses threads"));
    }

    /// What is called valid here is compiled, and what is not is not.
    #[test]
    fn the_compiler_agrees() {
        for (text, valid) in [
            ("(tag) (func (block (try_table (catch_all 0))))", true),
            ("(func (result v128) (v128.const i64x2 0 0))", true),
            ("(type $s (struct (field i32))) (func (drop (struct.new $s (i32.const 1))))", true),
            ("(func (param i32) (return_call 0 (local.get 0)))", true),
            ("(memory 1) (memory 1)", true),
            ("(memory 1 1 shared)", false),
            ("(memory i64 1)", false),
            ("(memory 1 (pagesize 1))", false),
            ("(func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))", false),
        ] {
            let wasm = wat::parse_str(format!("(module {text})")).unwrap();
            assert_eq!(validate("module", &wasm).is_ok(), valid, "{text}");
            let (variant, cpu) = (lunette_native::Variant::default(), lunette_native::Cpu::V1);
            assert_eq!(lunette_native::compile(&wasm, variant, cpu, String::new()).is_ok(), valid, "{text}");
        }
    }
}
