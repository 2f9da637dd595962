//! Guests of a few lines, in a world of a few lines: what they do, how they end, and how they are held.

mod common;

use std::{sync::Arc, time::Instant};

use common::{World, finish, kind, names, run, trap, try_start, wasm};
use lunette_hostcalls::{Ending, Guest as _, Limit, Step, TrapKind, Wait};
use lunette_wasm::{Limits, Problem, engine, features};

const MS: u64 = 1_000_000;

#[test]
fn a_guest_prints_and_exits() {
    let world = Arc::new(World::default());
    let hello = wasm(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
            (func (export "_start")
                (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)) (then unreachable))
                (call $exit (i32.const 7))))"#,
    );
    let mut guest = lunette_wasm::start(&hello, world.ctx(), Limits::default()).unwrap();
    assert_eq!(guest.step(), Step::Ended(Ending::Exited(7)));
    assert_eq!(guest.step(), Step::Ended(Ending::Exited(7)), "and again");
    assert_eq!(world.output(), "hello\n");
}

#[test]
fn every_exit_code_arrives_whole() {
    for code in [0, 1, 125, 255, 256, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let text = |call| {
            format!(
                r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                    (func (export "_start") ({call} $exit (i32.const {}))))"#,
                code as i32
            )
        };
        assert_eq!(run(&text("call")), Ending::Exited(code));
        assert_eq!(run(&text("return_call")), Ending::Exited(code), "as a tail call");
    }
    assert_eq!(run(r#"(module (func (export "_start")))"#), Ending::Exited(0));
}

#[test]
fn a_trap_has_a_kind_and_names_the_functions() {
    let body = |code: &str| {
        format!(
            r#"(module
                (type $v (func)) (type $i (func (param i32)))
                (memory 1) (table $t 2 funcref) (table $big 10 funcref) (elem (table $t) (i32.const 0) func $_start)
                (func $inner (param i32) {code})
                (func $middle (call $inner (i32.const 0)) (drop (i32.const 1)))
                (func $_start (export "_start") (call $middle)))"#
        )
    };
    let cases = [
        ("unreachable", TrapKind::Unreachable),
        ("(drop (i32.load (i32.const 65533)))", TrapKind::MemoryOutOfBounds),
        ("(memory.fill (i32.const 65530) (i32.const 0) (i32.const 9))", TrapKind::MemoryOutOfBounds),
        ("(table.set $t (i32.const 2) (ref.null func))", TrapKind::TableOutOfBounds),
        ("(call_indirect $t (type $v) (i32.const 5))", TrapKind::TableOutOfBounds),
        ("(call_indirect $t (type $v) (i32.const 1))", TrapKind::IndirectCallToNull),
        ("(call_indirect $t (type $i) (i32.const 0) (i32.const 0))", TrapKind::BadSignature),
        ("(drop (i32.div_s (i32.const 1) (local.get 0)))", TrapKind::IntegerDivisionByZero),
        ("(drop (i64.rem_u (i64.const 1) (i64.const 0)))", TrapKind::IntegerDivisionByZero),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", TrapKind::IntegerOverflow),
        ("(drop (i32.trunc_f64_s (f64.const 1e30)))", TrapKind::IntegerOverflow),
        ("(drop (i32.trunc_f32_u (f32.const nan)))", TrapKind::BadConversionToInteger),
    ];
    for (code, expected) in cases {
        let trap = trap(&body(code));
        assert_eq!(trap.kind, expected, "{code}: {}", trap.message);
        assert_eq!(names(&trap), ["inner", "middle", "_start"], "{code}");
        assert!(!trap.message.is_empty() && !trap.message.contains('\n'));
    }
}

#[test]
fn functions_without_names_have_numbers_and_exports_help() {
    let text = r#"(module (func unreachable) (func (call 0)) (func (export "_start") (call 1)))"#;
    assert_eq!(names(&trap(text)), ["<function 0>", "<function 1>", "_start"]);
}

#[test]
fn names_of_rust_are_readable() {
    let text = r#"(module
        (func $_ZN4core9panicking5panic17h0123456789abcdefE unreachable)
        (func $_RNvC6_123foo3bar (call 0))
        (func $_ZN3foo3barEv (call 1))
        (func $_start (export "_start") (call 2)))"#;
    assert_eq!(names(&trap(text)), ["core::panicking::panic", "123foo::bar", "_ZN3foo3barEv", "_start"]);
}

#[test]
fn imports_count_in_the_numbers_and_indirect_and_tail_calls_are_seen() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (type $v (func)) (table 1 funcref) (elem (i32.const 0) func $indirect)
        (func $indirect unreachable)
        (func $gone (return_call_indirect (type $v) (i32.const 0)))
        (func $_start (export "_start") (drop (call $yield)) (call $gone)))"#;
    let trap = trap(text);
    assert_eq!(names(&trap), ["indirect", "_start"], "a tail call leaves no frame");
    assert_eq!(trap.backtrace[0].function, 2);
}

#[test]
fn deep_recursion_is_a_trap_with_both_ends_of_the_stack() {
    let trap = trap(
        r#"(module (func $down (param i64) (call $down (local.get 0)) (call $down (local.get 0)))
            (func $main (call $down (i64.const 1)))
            (func $_start (export "_start") (call $main)))"#,
    );
    assert_eq!(trap.kind, TrapKind::StackOverflow);
    let names = names(&trap);
    assert_eq!(names.len(), 80);
    assert!(names[..78].iter().all(|name| name == "down"), "{names:?}");
    assert_eq!(names[78..], ["main", "_start"]);
    assert!(trap.message.contains("32768 calls"), "{}", trap.message);
    assert!(trap.message.contains("left out"), "{}", trap.message);
}

#[test]
fn wide_frames_exhaust_the_stack_in_bytes() {
    let locals = "i64 ".repeat(5000);
    let text = format!(
        r#"(module (func $wide (local {locals}) (call $wide) (call $wide)) (func (export "_start") (call $wide)))"#
    );
    let trap = trap(&text);
    assert_eq!(trap.kind, TrapKind::StackOverflow);
    assert_eq!(names(&trap)[0], "wide");
}

const LOOP: &str = r#"(module (func $spin (loop $l (br $l)))
    (func $busy (call $spin) (call $spin)) (func $_start (export "_start") (call $busy)))"#;

#[test]
fn an_endless_loop_is_stopped_by_time_and_named() {
    let world = Arc::new(World::default());
    let limits = Limits { time: Some(50 * MS), ..Limits::default() };
    let mut guest = lunette_wasm::start(&wasm(LOOP), world.ctx(), limits).unwrap();
    for _ in 0..3 {
        assert_eq!(guest.step(), Step::Wait(Wait::GIVE_WAY), "gives way");
    }
    world.advance(50 * MS);
    assert_eq!(guest.step(), Step::Ended(Ending::Stopped(Limit::Time)));
    let names: Vec<_> = guest.backtrace().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["spin", "busy", "_start"]);
    assert_eq!(guest.step(), Step::Ended(Ending::Stopped(Limit::Time)));
}

#[test]
fn a_guest_that_shares_a_machine_gives_way() {
    let mut guest = try_start(LOOP, Limits { slices: true, ..Limits::default() }).unwrap();
    for _ in 0..10 {
        assert_eq!(guest.step(), Step::Wait(Wait::GIVE_WAY));
    }
}

#[test]
fn an_endless_loop_is_stopped_by_fuel_and_named() {
    for fuel in [0, 1, 1000, 5_000_000] {
        let mut guest = try_start(LOOP, Limits { fuel: Some(fuel), ..Limits::default() }).unwrap();
        assert_eq!(finish(&mut guest), Ending::Stopped(Limit::Fuel));
        if fuel >= 1000 {
            assert_eq!(guest.backtrace()[0].to_string(), "spin");
        }
    }
}

#[test]
fn fuel_is_counted_the_same_each_time_and_across_slices() {
    // Some seven million units: several slices.
    let text = r#"(module (func $_start (export "_start") (local i32)
        (loop $l (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 1000000))))))"#;
    let ends = |fuel| {
        let mut guest = try_start(text, Limits { fuel: Some(fuel), ..Limits::default() }).unwrap();
        finish(&mut guest) == Ending::Exited(0)
    };
    let (mut low, mut high) = (0_u64, 100_000_000);
    assert!(ends(high) && !ends(low));
    while high - low > 1 {
        let middle = low.midpoint(high);
        if ends(middle) { high = middle } else { low = middle }
    }
    assert!(high > 2_000_000, "{high}");
    for _ in 0..3 {
        assert!(ends(high) && !ends(high - 1));
    }
}

#[test]
fn a_start_function_is_held_too() {
    let text = |code: &str| {
        format!(
            r#"(module (memory 1) (func $init {code}) (start $init) (func (export "_start") unreachable))"#
        )
    };
    let limits = Limits { fuel: Some(3_000_000), ..Limits::default() };
    let mut guest = try_start(&text("(loop $l (br $l))"), limits).unwrap();
    assert_eq!(finish(&mut guest), Ending::Stopped(Limit::Fuel));
    assert_eq!(guest.backtrace()[0].to_string(), "init");
    let trap = trap(&text("(drop (i32.load (i32.const -1)))"));
    assert_eq!((trap.kind, names(&trap)), (TrapKind::MemoryOutOfBounds, vec!["init".to_owned()]));
    // And when it returns, `_start` is called.
    assert_eq!(kind(&text("")), TrapKind::Unreachable);
}

#[test]
fn memory_stops_growing_at_the_limit() {
    let text = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory 2) (memory $other 1)
        (func (export "_start") (local i32)
            (loop $l
                (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                (br_if $l (i32.ne (memory.grow $other (i32.const 1)) (i32.const -1))))
            (call $exit (i32.add (memory.size 0) (memory.size $other)))))"#;
    let limits = Limits { memory: 20 << 16, ..Limits::default() };
    let mut guest = try_start(text, limits).unwrap();
    assert_eq!(finish(&mut guest), Ending::Exited(20));
    assert_eq!(guest.memory_used(), 20 << 16);
    // With metering, growth that runs out of fuel in between is not counted twice.
    let mut guest = try_start(text, Limits { fuel: Some(1 << 40), ..limits }).unwrap();
    assert_eq!(finish(&mut guest), Ending::Exited(20));
}

#[test]
fn a_memory_that_is_too_large_from_the_start_is_refused_with_both_numbers() {
    let text = |pages: u32| format!(r#"(module (memory {pages}) (func (export "_start")))"#);
    let limits = Limits { memory: 1 << 20, ..Limits::default() };
    assert!(try_start(&text(16), limits).is_ok());
    let began = Instant::now();
    for pages in [17, 65536] {
        let problem = try_start(&text(pages), limits).err().unwrap();
        assert_eq!(problem, Problem::Memory { needs: u64::from(pages) << 16, allowed: 1 << 20 });
        assert!(problem.to_string().contains(&format!("{}", u64::from(pages) << 16)), "{problem}");
        assert!(problem.help().contains("-m "), "{}", problem.help());
    }
    assert!(began.elapsed().as_secs() < 5);
}

#[test]
fn tables_stop_growing_at_the_limit() {
    let text = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (table $t 10 funcref)
        (func (export "_start")
            (if (i32.ne (table.grow $t (ref.null func) (i32.const -100)) (i32.const -1)) (then unreachable))
            (if (i32.ne (table.grow $t (ref.null func) (i32.const 91)) (i32.const -1)) (then unreachable))
            (if (i32.ne (table.grow $t (ref.null func) (i32.const 90)) (i32.const 10)) (then unreachable))
            (call $exit (table.size $t))))"#;
    let limits = Limits { table_elements: 100, ..Limits::default() };
    assert_eq!(finish(&mut try_start(text, limits).unwrap()), Ending::Exited(100));
    let text = r#"(module (table 4000000000 funcref) (func (export "_start")))"#;
    let problem = try_start(text, limits).err().unwrap();
    assert_eq!(problem, Problem::Table { needs: 4_000_000_000, allowed: 100 });
}

/// Reads standard input, byte by byte, 50 calls down, and exits with the sum.
const READER: &str = include_str!("reader.wat");

#[test]
fn a_guest_waits_for_input_and_goes_on_where_it_was() {
    let world = Arc::new(World::default());
    let mut guest = lunette_wasm::start(&wasm(READER), world.ctx(), Limits::default()).unwrap();
    let waiting = Step::Wait(Wait::stdin());
    for text in ["a", "bcd", "e"] {
        assert_eq!(guest.step(), waiting);
        assert_eq!(guest.step(), waiting, "stepped early: no harm");
        world.type_in(text);
    }
    assert_eq!(guest.step(), waiting);
    world.close_input();
    assert_eq!(guest.step(), Step::Ended(Ending::Exited(b"abcde".iter().map(|b| u32::from(*b)).sum())));
}

#[test]
fn waiting_counts_towards_the_time_and_says_where() {
    let world = Arc::new(World::default());
    let limits = Limits { time: Some(70 * MS), ..Limits::default() };
    let mut guest = lunette_wasm::start(&wasm(READER), world.ctx(), limits).unwrap();
    assert_eq!(guest.step(), Step::Wait(Wait { stdin: true, ..Wait::until(70 * MS) }));
    world.advance(69 * MS);
    world.type_in("x");
    assert_eq!(guest.step(), Step::Wait(Wait { stdin: true, ..Wait::until(70 * MS) }));
    world.advance(MS);
    world.type_in("x");
    assert_eq!(guest.step(), Step::Ended(Ending::Stopped(Limit::Time)));
    assert_eq!(guest.backtrace().len(), 53);
    assert_eq!(guest.backtrace()[0].to_string(), "byte");
}

#[test]
fn a_timer_wakes_a_guest() {
    // One clock subscription: monotonic, relative, 5 ms.
    let world = Arc::new(World::default());
    let text = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store (i32.const 16) (i32.const 1))
            (i64.store (i32.const 24) (i64.const 5000000))
            (if (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)) (then unreachable))
            (if (i32.ne (i32.load (i32.const 128)) (i32.const 1)) (then unreachable))))"#;
    let mut guest = lunette_wasm::start(&wasm(text), world.ctx(), Limits::default()).unwrap();
    assert_eq!(guest.step(), Step::Wait(Wait::until(5 * MS)));
    world.advance(3 * MS);
    assert_eq!(guest.step(), Step::Wait(Wait::until(5 * MS)), "from the first time on");
    world.advance(2 * MS);
    assert_eq!(guest.step(), Step::Ended(Ending::Exited(0)));
}

#[test]
fn a_start_function_may_wait() {
    let text =
        READER.replace(r#"(func (export "_start")"#, r#"(func (export "_start")) (start $init) (func $init"#);
    let world = Arc::new(World::default());
    let mut guest = lunette_wasm::start(&wasm(&text), world.ctx(), Limits::default()).unwrap();
    assert_eq!(guest.step(), Step::Wait(Wait::stdin()));
    world.type_in("A");
    world.close_input();
    assert_eq!(guest.step(), Step::Ended(Ending::Exited(65)));
}

#[test]
fn a_bad_pointer_is_a_trap_of_the_guest_s() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $ask (drop (call $random (i32.const 65530) (i32.const 100))))
        (func $_start (export "_start") (call $ask)))"#;
    let bad = trap(text);
    assert_eq!((bad.kind, names(&bad)), (TrapKind::BadPointer, vec!["ask".into(), "_start".into()]));
    let none = trap(&text.replace(r#"(memory (export "memory") 1)"#, ""));
    assert_eq!(none.kind, TrapKind::BadPointer, "a module without a memory: {}", none.message);
}

#[test]
fn a_panic_in_a_host_call_ends_this_guest_only() {
    let text = wasm(
        r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $_start (export "_start") (drop (call $random (i32.const 0) (i32.const 100)))))"#,
    );
    let world = Arc::new(World { panics: true, ..World::default() });
    let mut guest = lunette_wasm::start(&text, world.ctx(), Limits::default()).unwrap();
    let Step::Ended(Ending::Trapped(trap)) = guest.step() else { panic!() };
    assert_eq!((trap.kind, names(&trap)), (TrapKind::HostPanic, vec!["_start".to_owned()]));
    assert!(trap.message.contains("random_get") && trap.message.contains("no random bytes today"));
    assert!(!trap.message.contains('\n'));
    // The next one is well.
    let mut guest = lunette_wasm::start(&text, Arc::new(World::default()).ctx(), Limits::default()).unwrap();
    assert_eq!(guest.step(), Step::Ended(Ending::Exited(0)));
}

#[test]
fn code_that_is_not_valid_ends_the_guest_when_it_is_called() {
    // (func (result i32)) with an empty body, and a `_start` that calls it if the byte at the end says so.
    let module = |call: u8| {
        let mut bytes = wasm(
            r#"(module (func (result i32) (i32.const 1)) (func (export "_start") (if (i32.const 1) (then (drop (call 0))))))"#,
        );
        let code = bytes.windows(4).position(|w| w == [0x00, 0x41, 0x01, 0x0b]).unwrap();
        bytes[code + 1..code + 3].copy_from_slice(&[0x01, 0x01]);
        let condition = bytes.windows(4).position(|w| w == [0x41, 0x01, 0x04, 0x40]).unwrap();
        bytes[condition + 1] = call;
        bytes
    };
    let go = |bytes: &[u8]| {
        finish(&mut lunette_wasm::start(bytes, Arc::new(World::default()).ctx(), Limits::default()).unwrap())
    };
    assert_eq!(go(&module(0)), Ending::Exited(0));
    let Ending::Trapped(trap) = go(&module(1)) else { panic!() };
    assert!(trap.message.contains("not valid") && trap.message.contains("type mismatch"), "{}", trap.message);
    assert!(lunette_wasm::examine(&module(0)).is_err());
}

#[test]
fn every_function_can_be_linked() {
    let imports: String = lunette_wasm::wasi::FUNCTIONS
        .iter()
        .map(|f| {
            let params: String = f.params.iter().map(|p| format!("{p:?} ").to_lowercase()).collect();
            let result = if f.result { "(result i32)" } else { "" };
            format!(r#"(import "wasi_snapshot_preview1" "{}" (func (param {params}) {result}))"#, f.name)
        })
        .collect();
    let text = format!(r#"(module {imports} (func (export "_start")))"#);
    assert_eq!(run(&text), Ending::Exited(0));
    assert!(lunette_wasm::examine(&wasm(&text)).unwrap().check().is_ok());
}

#[test]
fn hostile_modules_are_refused_or_held_quickly() {
    let began = Instant::now();
    // A million locals: not valid.
    let mut locals = wasm(r#"(module (func (export "_start") (local i32)))"#);
    let at = locals.windows(4).position(|w| w == [0x01, 0x01, 0x7f, 0x0b]).unwrap();
    locals.splice(at + 1..at + 2, [0xc0, 0x84, 0x3d]);
    let len = locals.len();
    // The sizes of the body and of the section grow by two.
    locals[at - 1] += 2;
    locals[at - 3] += 2;
    assert_eq!(locals.len(), len);
    assert!(
        matches!(lunette_wasm::examine(&locals), Err(Problem::Invalid { .. })),
        "{:?}",
        lunette_wasm::examine(&locals)
    );
    let ending = lunette_wasm::start(&locals, Arc::new(World::default()).ctx(), Limits::default())
        .map(|mut g| finish(&mut g));
    assert!(matches!(ending, Ok(Ending::Trapped(_)) | Err(_)), "{ending:?}");
    // A br_table of a million targets: valid, so it runs.
    let targets = "0 ".repeat(1_000_000);
    let text = format!(r#"(module (func (export "_start") (block (br_table {targets} (i32.const 7)))))"#);
    let big = wasm(&text);
    drop(lunette_wasm::examine(&big));
    drop(
        lunette_wasm::start(&big, Arc::new(World::default()).ctx(), Limits::default())
            .map(|mut g| finish(&mut g)),
    );
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn the_engine_and_the_validator_agree_on_features() {
    let samples = [
        r#"(module (memory 1) (memory 1))"#,
        r#"(module (func (return_call 0)))"#,
        r#"(module (global i32 (i32.add (i32.const 1) (i32.const 2))))"#,
        r#"(module (func (param externref) (result externref) (local.get 0)))"#,
        r#"(module (func (result i32 i32) (i32.const 1) (i32.const 2)))"#,
        r#"(module (func (result i64) (i64.extend8_s (i64.const 1))))"#,
        r#"(module (func (result v128) (v128.const i64x2 0 0)))"#,
        r#"(module (memory i64 1))"#,
        r#"(module (memory 1 1 shared))"#,
        r#"(module (memory 1 (pagesize 1)))"#,
        r#"(module (tag))"#,
        r#"(module (type (struct (field i32))))"#,
        r#"(module (type $f (func)) (func (param (ref $f))))"#,
        r#"(module (func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1))))"#,
        r#"(module (table 1 (ref null extern)))"#,
    ];
    let engine = engine(false);
    for text in samples {
        let bytes = wasm(text);
        let ours = wasmparser::Validator::new_with_features(features()).validate_all(&bytes);
        let engines = wasmi::Module::validate(&engine, &bytes);
        assert_eq!(ours.is_ok(), engines.is_ok(), "{text}: {:?} {engines:?}", ours.err());
    }
}
