//! What is wrong with a file, in words: one line, and a remedy.

mod common;

use common::{try_start, wasm};
use lunette_wasm::{BadImport, Feature, Limits, LooksLike, Problem, Provided, examine};

/// Every problem is one line, and has something to do about it.
fn check(problem: &Problem) -> String {
    let line = problem.to_string();
    for text in [&line, &problem.help()] {
        assert!(!text.is_empty() && !text.contains('\n') && !text.contains("  "), "{text:?}");
    }
    line
}

fn problem(bytes: &[u8]) -> Problem {
    let problem = examine(bytes).expect_err("should not be fine");
    check(&problem);
    // Started without having been examined, it is refused too.
    let started =
        lunette_wasm::start(bytes, std::sync::Arc::new(common::World::default()).ctx(), Limits::default());
    assert!(
        started.is_err() || matches!(problem, Problem::Invalid { .. } | Problem::Unsupported { .. }),
        "{problem}"
    );
    problem
}

#[test]
fn other_files_are_recognised() {
    let cases: &[(&[u8], LooksLike)] = &[
        (b"", LooksLike::Empty),
        (b"\0as", LooksLike::Stub),
        (b"\0asm\x01\0", LooksLike::Stub),
        (b"\x7fELF\x02\x01\x01\0", LooksLike::Elf),
        (b"MZ\x90\0", LooksLike::Pe),
        (b"\x1f\x8b\x08\0", LooksLike::Gzip),
        (b"PK\x03\x04....", LooksLike::Zip),
        (b"BC\xc0\xde....", LooksLike::LlvmBitcode),
        (b"!<arch>\nx", LooksLike::Archive),
        (b";; a comment\n(module\n (func))", LooksLike::Wat),
        (b"#!/bin/sh\necho", LooksLike::Shell),
        (b"#!/usr/bin/env bash\necho", LooksLike::Shell),
        (b"#!/usr/bin/env python3\n", LooksLike::Script),
        (b"#!/usr/bin/env lua\n", LooksLike::Lua),
        (b"-- hello\nlocal x = 1\nprint(x)\n", LooksLike::Lua),
        (b"\x1bLua\x54", LooksLike::Lua),
        (b"<!DOCTYPE html><html>", LooksLike::Html),
        (b"{\"a\": 1}", LooksLike::Json),
        ("grüße\n".as_bytes(), LooksLike::Text),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", LooksLike::Unknown),
        (&[0xff; 100], LooksLike::Unknown),
    ];
    for (bytes, expected) in cases {
        assert_eq!(problem(bytes), Problem::NotWasm(*expected));
    }
    let mut tar = vec![b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert_eq!(problem(&tar), Problem::NotWasm(LooksLike::Tar));
}

#[test]
fn components_and_other_versions() {
    assert_eq!(problem(b"\0asm\x0d\0\x01\0"), Problem::Component);
    assert!(Problem::Component.help().contains("lunette build --aot"));
    assert_eq!(problem(b"\0asm\x02\0\0\0"), Problem::Version(2));
}

#[test]
fn a_module_cut_short_anywhere_is_refused() {
    let whole = wasm(
        r#"(module (memory 1) (data (i32.const 0) "0123456789") (func (export "_start") (drop (i32.const 7))) (func $f))"#,
    );
    assert!(examine(&whole).unwrap().check().is_ok());
    let mut truncated = 0;
    for len in 0..whole.len() {
        match examine(&whole[..len]) {
            Err(Problem::Truncated { size, .. }) => {
                assert_eq!(size, len);
                truncated += 1;
            }
            Err(other) => drop(check(&other)),
            // Between two sections it is a module of its own, which can't be started.
            Ok(report) => {
                assert!(report.check().is_err() || !report.names || len > whole.len() - 20, "{len}")
            }
        }
    }
    assert!(truncated > whole.len() - 20, "{truncated} of {}", whole.len());
}

#[test]
fn a_flipped_byte_never_panics() {
    let whole = wasm(include_str!("reader.wat"));
    for at in 0..whole.len() {
        for bit in [0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            match examine(&bytes) {
                Ok(report) => drop(report.check().map_err(|problem| check(&problem))),
                Err(problem) => drop(check(&problem)),
            }
        }
    }
}

#[test]
fn what_our_engine_leaves_out_is_named_with_the_flag_that_avoids_it() {
    let cases = [
        ("(func (result v128) (v128.const i64x2 0 0))", Feature::Simd),
        ("(func (drop (i32x4.extract_lane 0 (v128.const i64x2 0 0))))", Feature::Simd),
        ("(func (param v128))", Feature::Simd),
        ("(memory 1) (func (drop (v128.load (i32.const 0))))", Feature::Simd),
        ("(tag)", Feature::Exceptions),
        ("(func (try_table))", Feature::Exceptions),
        ("(memory 1 1 shared)", Feature::Threads),
        ("(memory 1) (func (atomic.fence))", Feature::Threads),
        ("(memory 1) (func (drop (i32.atomic.load (i32.const 0))))", Feature::Threads),
        ("(memory i64 1)", Feature::Memory64),
        ("(type (struct (field i32)))", Feature::Gc),
        ("(rec (type (func)) (type (func)))", Feature::Gc),
        ("(func (drop (ref.i31 (i32.const 0))))", Feature::Gc),
        ("(type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0)))", Feature::FunctionReferences),
        ("(memory 1 (pagesize 1))", Feature::CustomPageSizes),
        (
            "(func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))",
            Feature::WideArithmetic,
        ),
    ];
    for (text, expected) in cases {
        match problem(&wasm(&format!("(module {text})"))) {
            Problem::Unsupported { feature, .. } => assert_eq!(feature, expected, "{text}"),
            other => panic!("{text}: {other}"),
        }
    }
    assert!(Feature::Simd.help().contains("-C target-feature=-simd128"));
}

#[test]
fn native_code_is_advised_for_what_it_can_do_and_such_a_module_described() {
    // Types that are collected come first, and count.
    let text = r#"(module (type (struct (field i32))) (rec (type (func)) (type (struct)))
        (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
        (tag) (func (export "_start")))"#;
    let Problem::Unsupported { feature, .. } = problem(&wasm(text)) else { panic!() };
    assert!(feature.native() && !Feature::Threads.native());
    assert!(problem(&wasm(text)).help().contains("lunette run --aot"));
    let report = lunette_wasm::describe(&wasm(text)).unwrap();
    assert_eq!((report.check(), &report.imports[0].provided), (Ok(()), &Provided::Yes));
}

#[test]
fn simd_in_a_function_that_is_called_is_named_too() {
    let text = r#"(module (func $v (drop (i32x4.extract_lane 0 (v128.const i64x2 0 0)))) (func (export "_start") (call $v)))"#;
    let mut guest = try_start(text, Limits::default()).unwrap();
    match common::finish(&mut guest) {
        lunette_hostcalls::Ending::Trapped(trap) => {
            assert!(trap.message.contains("SIMD"), "{}", trap.message);
            assert_eq!(trap.backtrace[0].to_string(), "_start");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_bad_imports_are_told_with_both_types() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_seek" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_fly" (func))
        (import "wasi_snapshot_preview1" "fd_read" (memory 1))
        (import "env" "puts" (func (param i32 f64) (result i32 i32)))
        (func (export "_start")))"#;
    let bad = |module: &str, name: &str, wanted: &str, provided: Option<&str>| BadImport {
        module: module.into(),
        name: name.into(),
        wanted: wanted.into(),
        provided: provided.map(Into::into),
    };
    let expected = Problem::Imports(vec![
        bad(
            "wasi_snapshot_preview1",
            "fd_seek",
            "(i32, i32, i32, i32) -> i32",
            Some("(i32, i64, i32, i32) -> i32"),
        ),
        bad("wasi_snapshot_preview1", "fd_fly", "()", None),
        bad("wasi_snapshot_preview1", "fd_read", "a memory", Some("(i32, i32, i32, i32) -> i32")),
        bad("env", "puts", "(i32, f64) -> (i32, i32)", None),
    ]);
    // The engine lists imports by their kinds.
    let Some(Problem::Imports(mut started)) = try_start(text, Limits::default()).err() else { panic!() };
    started
        .sort_by_key(|import| import.name != "fd_seek" && import.name != "fd_fly" && import.module == "env");
    assert_eq!(Problem::Imports(started), expected);
    let report = examine(&wasm(text)).unwrap();
    assert_eq!(report.check(), Err(expected.clone()));
    assert_eq!(report.imports[0].provided, Provided::Yes);
    assert_eq!(report.imports[4].provided, Provided::UnknownModule);
    let line = check(&expected);
    assert!(
        line.contains("fd_seek is wanted as (i32, i32, i32, i32) -> i32 and provided as (i32, i64"),
        "{line}"
    );
}

#[test]
fn foreign_toolchains_get_a_fitting_remedy() {
    let cases = [
        ("wasi_unstable", "fd_write", "wasm32-wasip1"),
        ("wasi", "thread-spawn", "wasm32-wasip1-threads"),
        ("wasix_32v1", "fd_dup", "WASIX"),
        ("__wbindgen_placeholder__", "f", "wasm-bindgen"),
        ("gojs", "runtime.wasmExit", "GOOS=wasip1"),
        ("env", "__linear_memory", "object file"),
        ("env", "emscripten_memcpy_js", "STANDALONE_WASM"),
        ("wasi:cli/exit@0.2.0", "exit", "component"),
        ("mine", "f", "wasi_snapshot_preview1"),
    ];
    for (module, name, remedy) in cases {
        let text = format!(r#"(module (import "{module}" "{name}" (func)) (func (export "_start")))"#);
        let problem = try_start(&text, Limits::default()).err().unwrap();
        check(&problem);
        assert!(problem.help().contains(remedy), "{module}: {}", problem.help());
    }
}

#[test]
fn a_module_without_an_entry_says_what_it_exports() {
    let entry = |text: &str| {
        let problem = try_start(text, Limits::default()).err().unwrap();
        assert_eq!(examine(&wasm(text)).unwrap().check(), Err(problem.clone()));
        (check(&problem), problem.help())
    };
    let (line, help) =
        entry(r#"(module (func (export "_initialize")) (func (export "add")) (memory (export "memory") 1))"#);
    assert!(line.contains("`_initialize`") && line.contains("add") && !line.contains("memory"), "{line}");
    assert!(help.contains("reactor") && help.contains("cdylib"), "{help}");
    let (line, _) = entry("(module)");
    assert!(line.contains("exports no functions"), "{line}");
    let (line, _) = entry(r#"(module (func (export "_start") (result i32) (i32.const 0)))"#);
    assert!(line.contains("() -> i32"), "{line}");
    let (line, _) = entry(r#"(module (memory (export "_start") 1))"#);
    assert!(line.contains("a memory"), "{line}");
}

#[test]
fn names_from_the_module_do_no_harm_to_a_terminal() {
    let text = r#"(module (import "a\1b[2Jb\n" "c" (func)) (func (export "_start")))"#;
    let line = check(&try_start(text, Limits::default()).err().unwrap());
    assert!(!line.contains('\u{1b}'), "{line}");
}

#[test]
fn segments_that_do_not_fit() {
    for (text, words) in [
        (r#"(module (memory 1) (data (i32.const 65536) "x") (func (export "_start")))"#, "data segment"),
        (
            r#"(module (table 1 funcref) (func $f (export "_start")) (elem (i32.const 1) $f))"#,
            "element segment",
        ),
    ] {
        let problem = try_start(text, Limits::default()).err().unwrap();
        assert!(check(&problem).contains(words), "{problem}");
    }
}

#[test]
fn a_report_tells_what_is_in_a_module() {
    let bytes = wasm(
        r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 2 10) (table 3 funcref) (data (i32.const 0) "abc") (data (i32.const 8) "de")
        (func $init) (start $init)
        (func $_start (export "_start"))
        (@producers (language "Rust" "2024") (processed-by "rustc" "1.95.0")))"#,
    );
    let report = examine(&bytes).unwrap();
    assert_eq!(report.size, bytes.len());
    assert_eq!((report.functions, report.names, report.start, report.debug), (2, true, true, false));
    assert_eq!((report.memory(), report.memories[0].maximum), (2 << 16, Some(10 << 16)));
    assert_eq!(report.tables[0].minimum, 3);
    assert_eq!((report.data.segments, report.data.bytes), (2, 5));
    assert_eq!(report.imports[0].ty, "(i32)");
    assert_eq!(
        report.exports.iter().map(|e| (e.name.as_str(), e.ty.as_str())).collect::<Vec<_>>(),
        [("memory", "a memory"), ("_start", "()")]
    );
    assert_eq!(
        report.producers,
        [
            ("language".to_owned(), "Rust 2024".to_owned()),
            ("processed-by".to_owned(), "rustc 1.95.0".to_owned())
        ]
    );
    let names: Vec<_> = report.sections.iter().map(|section| section.name.as_str()).collect();
    assert!(names.contains(&"code") && names.contains(&"custom name"), "{names:?}");
    assert_eq!(report.check(), Ok(()));
}
