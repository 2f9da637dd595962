//! Components that mean harm, or are broken: each ends by itself, and the host does not notice.

mod common;

use std::sync::Arc;

use common::Program;
use lunette_hostcalls::{Ctx, Ending, Errno, Ready, Stdio, Stream, TrapKind, fake::FakeWorld};

/// A program in wat: `run` is `body`, with the functions of `imports` as core functions. `types` are what instances export.
fn program(imports: &str, lowered: &str, body: &str) -> Program {
    let wat = format!(
        r#"(component
            {imports}
            (core module $memory
                (memory (export "memory") 2)
                (global $next (mut i32) (i32.const 4096))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                    (global.set $next (i32.add (local.get $at) (local.get 3)))
                    (local.get $at)))
            (core instance $memory (instantiate $memory))
            (alias core export $memory "memory" (core memory $mem))
            (alias core export $memory "realloc" (core func $realloc))
            {lowered}
            {body}
            (func $run (result (result)) (canon lift (core func $main "run")))
            (instance $cli (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $cli)))"#
    );
    Program::wat(&wat)
}

const STREAMS: &str = r#"
    (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
    (alias export $error "error" (type $error-type))
    (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:io/streams@0.2.0" (instance $streams
        (export "output-stream" (type $output (sub resource)))
        (alias outer 1 $error-type (type $e))
        (export "error" (type $error (eq $e)))
        (type $stream-error (variant (case "last-operation-failed" (own $error)) (case "closed")))
        (export "stream-error" (type $told (eq $stream-error)))
        (export "[method]output-stream.blocking-write-and-flush"
            (func (param "self" (borrow $output)) (param "contents" (list u8)) (result (result (error $told)))))))
    (alias export $streams "output-stream" (type $output))
    (import "wasi:cli/stdout@0.2.0" (instance $stdout
        (alias outer 1 $output (type $o))
        (export "output-stream" (type $out (eq $o)))
        (export "get-stdout" (func (result (own $out))))))"#;

const LOWERED: &str = r#"
    (core func $get (canon lower (func $stdout "get-stdout")))
    (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
        (memory $mem) (realloc $realloc)))
    (core func $wait (canon lower (func $poll "poll") (memory $mem) (realloc $realloc)))
    (core func $drop (canon resource.drop $output))
    (core instance $host
        (export "get" (func $get)) (export "write" (func $write)) (export "poll" (func $wait))
        (export "drop" (func $drop)) (export "memory" (memory $mem)))"#;

/// `run` with streams and polls at hand.
fn with_streams(body: &str) -> Program {
    let main = format!(
        r#"(core module $main
            (import "host" "get" (func $get (result i32)))
            (import "host" "write" (func $write (param i32 i32 i32 i32)))
            (import "host" "poll" (func $poll (param i32 i32 i32)))
            (import "host" "drop" (func $drop (param i32)))
            (import "host" "memory" (memory 2))
            (data (i32.const 0) "hello\n")
            (func (export "run") (result i32) (local $out i32) {body} (i32.const 0)))
        (core instance $main (instantiate $main (with "host" (instance $host))))"#
    );
    program(STREAMS, LOWERED, &main)
}

const HELLO: &str =
    "(local.set $out (call $get)) (call $write (local.get $out) (i32.const 0) (i32.const 6) (i32.const 64))";

#[track_caller]
fn trap(program: &Program) -> String {
    let world = FakeWorld::new(1);
    let run = program.run(&world, world.ctx(&["app"], &[]));
    let Ending::Trapped(trap) = run.ending else { panic!("{run:?}") };
    assert!(!trap.message.contains('\n'), "{}", trap.message);
    trap.message
}

#[test]
fn a_program_by_hand_says_hello() {
    let world = FakeWorld::new(1);
    let run = with_streams(HELLO).run(&world, world.ctx(&["app"], &[]));
    assert_eq!((run.ending, world.stdio.stdout_text().as_str()), (Ending::Exited(0), "hello\n"));
}

#[test]
fn a_poll_of_nothing_is_its_end() {
    let words = trap(&with_streams("(call $poll (i32.const 0) (i32.const 0) (i32.const 64))"));
    assert!(words.contains("empty poll list"), "{words}");
}

#[test]
fn handles_that_are_no_more_are_its_end() {
    for (body, word) in [
        (
            "(call $write (i32.const 77) (i32.const 0) (i32.const 6) (i32.const 64))",
            "unknown handle index 77",
        ),
        ("(call $drop (i32.const 0))", "unknown handle index 0"),
        (
            "(local.set $out (call $get)) (call $drop (local.get $out)) (call $drop (local.get $out))",
            "unknown handle",
        ),
        (
            "(local.set $out (call $get)) (call $drop (local.get $out))
             (call $write (local.get $out) (i32.const 0) (i32.const 6) (i32.const 64))",
            "unknown handle",
        ),
    ] {
        let words = trap(&with_streams(body));
        assert!(words.contains(word), "{words}");
    }
}

#[test]
fn lists_that_are_none_are_its_end() {
    for (pointer, length) in [(0, u32::MAX), (u32::MAX, 1), (1 << 20, 6), (131_072 - 5, 6)] {
        let body = format!(
            "(local.set $out (call $get))
             (call $write (local.get $out) (i32.const {}) (i32.const {}) (i32.const 64))",
            pointer as i32, length as i32
        );
        let words = trap(&with_streams(&body));
        assert!(words.contains("out of bounds"), "{words}");
    }
    // A list of 4 GiB of handles.
    let words = trap(&with_streams("(call $poll (i32.const 0) (i32.const 0x40000000) (i32.const 64))"));
    assert!(words.contains("out of bounds") || words.contains("fuel"), "{words}");
    // A place for the answer that is none.
    trap(&with_streams(
        "(local.set $out (call $get)) (call $write (local.get $out) (i32.const 0) (i32.const 6) (i32.const -4))",
    ));
    let words = trap(&with_streams(
        "(local.set $out (call $get)) (call $write (local.get $out) (i32.const 0) (i32.const 4097) (i32.const 64))",
    ));
    assert!(words.contains("4096"), "{words}");
}

#[test]
fn a_million_resources_are_its_end() {
    let words = trap(&with_streams("(loop $more (drop (call $get)) (br $more))"));
    assert!(words.contains("no free keys") || words.contains("handle"), "{words}");
    // And as many as it makes itself.
    let own = r#"
        (type $mine (resource (rep i32)))
        (core func $new (canon resource.new $mine))
        (core instance $host (export "new" (func $new)))"#;
    let main = r#"(core module $main
            (import "host" "new" (func $new (param i32) (result i32)))
            (func (export "run") (result i32) (loop $more (drop (call $new (i32.const 1))) (br $more)) (i32.const 0)))
        (core instance $main (instantiate $main (with "host" (instance $host))))"#;
    let words = trap(&program("", own, main));
    assert!(words.contains("handle"), "{words}");
}

/// Streams that panic: a bug of ours.
struct Broken;

impl Stdio for Broken {
    fn read(&self, _: &mut [u8]) -> Result<usize, Errno> {
        panic!("no reading")
    }

    fn input(&self) -> Ready {
        Ready::default()
    }

    fn register_input(&self, _: &std::task::Waker) {}

    fn write(&self, _: Stream, _: &[u8]) -> Result<usize, Errno> {
        panic!("a bug\nof ours")
    }
}

#[test]
fn a_panic_of_the_host_ends_the_guest_alone() {
    let program = with_streams(HELLO);
    let world = FakeWorld::new(1);
    let ctx = Ctx { stdio: Arc::new(Broken), ..world.ctx(&["app"], &[]) };
    let Ending::Trapped(trap) = program.run(&world, ctx).ending else { panic!() };
    assert_eq!((trap.kind, trap.message.as_str()), (TrapKind::HostPanic, "a host call panicked: a bug"));
    // Another one runs as ever.
    assert_eq!(program.run(&world, world.ctx(&["app"], &[])).ending, Ending::Exited(0));
    assert_eq!(world.stdio.stdout_text(), "hello\n");
}

#[test]
fn nobody_who_listens_is_told() {
    let world = FakeWorld::new(1);
    world.stdio.break_pipe();
    // The answer's first byte says that it failed: the program says so.
    let program = with_streams(&format!("{HELLO} (return (i32.load8_u (i32.const 64)))"));
    assert_eq!(program.run(&world, world.ctx(&["app"], &[])).ending, Ending::Exited(1));
}
