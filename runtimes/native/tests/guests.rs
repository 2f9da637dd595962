//! Guests of a few lines as native code, in the fake world: what they do, how they end, and how they are held.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::Poll,
    thread::{self, JoinHandle},
    time::Duration,
};

use lunette_hostcalls::{
    Clock, Ending, Limit, TrapKind,
    fake::{FakeHost, FakeWorld},
    task::{Executor, Time, Timers},
};
use lunette_native::{
    Cpu, Engine, Instance, Limits, Meter, Mismatch, Problem, Profile, Source, Variant, compile, ticker,
};

const MS: u64 = 1_000_000;

/// Loads what was compiled as a machine does: from a file that can be mapped.
fn load(artifact: &lunette_native::Artifact, code: &[u8]) -> Result<wasmtime::Module, Mismatch> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("lunette-native-{}-{number}", std::process::id()));
    std::fs::write(&path, code).unwrap();
    let engine = Engine::of(artifact.label.variant).unwrap();
    let module = engine.module(&artifact.label, &Source { path: path.clone(), keep: None });
    std::fs::remove_file(path).unwrap();
    module
}

fn try_start(
    world: &FakeWorld,
    timers: &Arc<Timers>,
    text: &str,
    limits: Limits,
    meter: Meter,
) -> Result<Instance, Problem> {
    let variant = Variant { fuel: meter.fuel.is_some() };
    let artifact = compile(&wat::parse_str(text).unwrap(), variant, Cpu::V1, "00".into()).unwrap();
    let module = load(&artifact, &artifact.code).unwrap();
    let engine = Engine::of(variant).unwrap();
    lunette_native::start(&engine, module, world.ctx(&["test"], &[]), timers.clone(), limits, meter)
}

fn run_with(world: &FakeWorld, text: &str, limits: Limits, meter: Meter) -> (Ending, Vec<String>) {
    let timers = Arc::<Timers>::default();
    let mut guest = try_start(world, &timers, text, limits, meter).unwrap();
    let mut executor = Executor::new(timers);
    executor.spawn(guest.run());
    let ending = executor.next(&*world.clock, &mut FakeHost::new(world)).expect("it waits for ever");
    drop(executor);
    (ending, guest.backtrace().iter().map(ToString::to_string).collect())
}

fn run(text: &str) -> (Ending, Vec<String>) {
    run_with(&FakeWorld::new(1), text, Limits::default(), Meter::default())
}

#[test]
fn a_guest_prints_and_exits() {
    let world = FakeWorld::new(1);
    let hello = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
        (func (export "_start")
            (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)) (then unreachable))
            (call $exit (i32.const 7))))"#;
    assert_eq!(run_with(&world, hello, Limits::default(), Meter::default()).0, Ending::Exited(7));
    assert_eq!(world.stdio.stdout_text(), "hello\n");
    assert_eq!(run(r#"(module (func (export "_start")))"#).0, Ending::Exited(0));
}

#[test]
fn every_function_of_preview_1_can_be_linked() {
    for function in lunette_wasm::wasi::FUNCTIONS {
        let ty = |ty: &lunette_wasm::wasi::ValueType| format!("{ty:?}").to_lowercase();
        let params: Vec<_> = function.params.iter().map(ty).collect();
        let result = if function.result { "(result i32)" } else { "" };
        let text = format!(
            r#"(module (import "wasi_snapshot_preview1" "{}" (func (param {}) {result}))
                (memory (export "memory") 1) (func (export "_start")))"#,
            function.name,
            params.join(" ")
        );
        assert_eq!(run(&text).0, Ending::Exited(0), "{}", function.name);
    }
}

#[test]
fn a_trap_has_a_kind_and_names_the_functions() {
    for (code, kind) in [
        ("unreachable", TrapKind::Unreachable),
        ("(drop (i32.load (i32.const 70000)))", TrapKind::MemoryOutOfBounds),
        ("(i32.store (i32.const -1) (i32.const 1))", TrapKind::MemoryOutOfBounds),
        ("(drop (i32.div_u (i32.const 1) (local.get 0)))", TrapKind::IntegerDivisionByZero),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", TrapKind::IntegerOverflow),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", TrapKind::BadConversionToInteger),
        ("(call_indirect (type $v) (i32.const 1))", TrapKind::IndirectCallToNull),
        ("(call_indirect (type $v) (i32.const 9))", TrapKind::TableOutOfBounds),
        ("(call_indirect (type $i) (i32.const 1) (i32.const 0))", TrapKind::BadSignature),
        ("(call $inner (i32.const 0)) (drop (i32.const 1))", TrapKind::StackOverflow),
    ] {
        let text = format!(
            r#"(module (type $v (func)) (type $i (func (param i32)))
                (memory 1) (table 2 funcref) (elem (i32.const 0) func $_start)
                (func $inner (param i32) {code})
                (func $middle (call $inner (i32.const 0)) (drop (i32.const 1)))
                (func $_start (export "_start") (call $middle) (drop (i32.const 1))))"#
        );
        // Twice: the engine's own state survives it.
        for _ in 0..2 {
            let (Ending::Trapped(trap), frames) = run(&text) else { panic!("{code} does not trap") };
            assert_eq!(trap.kind, kind, "{code}: {}", trap.message);
            assert_eq!(frames[0], "inner", "{code}");
            if kind != TrapKind::StackOverflow {
                assert_eq!(frames, ["inner", "middle", "_start"], "{code}");
            }
        }
    }
}

#[test]
fn a_bad_pointer_in_a_host_call_is_a_trap() {
    let (ending, frames) = run(r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $_start (export "_start") (drop (call $random (i32.const 65530) (i32.const 100)))))"#);
    let Ending::Trapped(trap) = ending else { panic!("{ending:?}") };
    assert_eq!((trap.kind, &*frames), (TrapKind::BadPointer, &["_start".to_owned()][..]), "{}", trap.message);
}

/// Sleeps for a second of the fake world's, three times.
const SLEEPER: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    ;; One subscription: a clock, the monotonic one, relative, 1e9 ns.
    (data (i32.const 16) "\01\00\00\00\00\00\00\00\00\ca\9a\3b")
    (func $_start (export "_start") (local $n i32)
        (loop $again
            (if (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)) (then unreachable))
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))))"#;

#[test]
fn a_wait_suspends_the_guest_and_nobody_else() {
    let world = FakeWorld::new(1);
    let (timers, begin) = (Arc::<Timers>::default(), world.clock.monotonic());
    let guest = || try_start(&world, &timers, SLEEPER, Limits::default(), Meter::default()).unwrap();
    let mut guests = [guest(), guest(), guest()];
    let mut executor = Executor::new(timers.clone());
    for guest in &mut guests {
        executor.spawn(guest.run());
    }
    let mut host = FakeHost::new(&world);
    for _ in 0..3 {
        assert_eq!(executor.next(&*world.clock, &mut host), Some(Ending::Exited(0)));
    }
    let took = world.clock.monotonic() - begin;
    assert!((3000 * MS..3100 * MS).contains(&took), "all three slept at once: {took}");
}

#[test]
fn who_waits_is_stopped_when_its_time_is_up() {
    let world = FakeWorld::new(1);
    let meter = Meter { deadline: Some(world.clock.monotonic() + 1500 * MS), ..Meter::default() };
    let (ending, frames) = run_with(&world, SLEEPER, Limits::default(), meter);
    assert_eq!((ending, &*frames), (Ending::Stopped(Limit::Time), &["_start".to_owned()][..]));
}

const LOOP: &str = r#"(module
    (func $spin (loop $l (br $l)))
    (func $_start (export "_start") (call $spin) (drop (i32.const 1))))"#;

/// A thread that counts the epoch up, as a machine's timer does.
struct Ticks {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticks {
    fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
                ticker();
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn an_endless_loop_is_stopped_and_its_neighbour_runs_meanwhile() {
    let world = FakeWorld::new(1);
    let timers = Arc::<Timers>::default();
    let meter = Meter { deadline: Some(world.clock.monotonic() + 5000 * MS), ..Meter::default() };
    let mut stuck = try_start(&world, &timers, LOOP, Limits::default(), meter).unwrap();
    let mut other = try_start(&world, &timers, SLEEPER, Limits::default(), Meter::default()).unwrap();
    let ticks = Ticks::begin();
    let mut executor = Executor::new(timers);
    executor.spawn(stuck.run());
    executor.spawn(other.run());
    // Time passes when all have had a go, however long that takes here; and little of it, for the neighbour steps back as well if it
    // meets a tick, which others' tests make too.
    executor.spawn(poll_fn(|cx| {
        world.clock.advance(MS);
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    let mut host = FakeHost::new(&world);
    assert_eq!(executor.next(&*world.clock, &mut host), Some(Ending::Exited(0)), "the neighbour first");
    assert_eq!(executor.next(&*world.clock, &mut host), Some(Ending::Stopped(Limit::Time)));
    drop(ticks);
    drop(executor);
    assert_eq!(stuck.backtrace()[0].to_string(), "spin");
}

#[test]
fn memory_is_filled_and_copied_beside_others_and_no_longer_than_it_may() {
    for write in [
        "(memory.fill (i32.const 0) (i32.const 7) (i32.const 0x10000000))",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const 0x0fffffff))",
        "(memory.copy (i32.const 1) (i32.const 0) (i32.const 0x0fffffff))",
    ] {
        let text = format!(r#"(module (memory 4096) (func $_start (export "_start") {write}))"#);
        for is_dropped in [false, true] {
            let world = FakeWorld::new(1);
            let timers = Arc::<Timers>::default();
            let meter = Meter { deadline: Some(world.clock.monotonic() + 40 * MS), ..Meter::default() };
            let limits = Limits { memory: 1 << 29, ..Limits::default() };
            let mut guest = try_start(&world, &timers, &text, limits, meter).unwrap();
            let _ticks = Ticks::begin();
            let mut executor = Executor::new(timers);
            executor.spawn(guest.run());
            let mut turns = 0;
            executor.spawn(poll_fn(|cx| {
                turns += 1;
                if is_dropped && turns == 2 {
                    return Poll::Ready(Ending::Exited(9));
                }
                world.clock.advance(20 * MS);
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
            let ending = executor.next(&*world.clock, &mut FakeHost::new(&world));
            drop(executor);
            if is_dropped {
                assert_eq!(ending, Some(Ending::Exited(9)), "{write}");
            } else {
                assert_eq!(ending, Some(Ending::Stopped(Limit::Time)), "{write}");
                assert_eq!(guest.backtrace()[0].to_string(), "_start");
            }
        }
    }
}

#[test]
fn what_is_filled_and_copied_in_stretches_is_all_there() {
    // 300,000 bytes, more than a few stretches, over each other by 70,000 in both directions.
    let text = r#"(module (memory 16)
        (func $is (param $at i32) (param $byte i32)
            (if (i32.ne (i32.load8_u (local.get $at)) (local.get $byte)) (then unreachable)))
        (func (export "_start") (local $n i32)
            (memory.fill (i32.const 99) (i32.const 0x1ff) (i32.const 300_002))
            (call $is (i32.const 98) (i32.const 0))
            (call $is (i32.const 99) (i32.const 255))
            (call $is (i32.const 300_100) (i32.const 255))
            (call $is (i32.const 300_101) (i32.const 0))
            (loop $l
                (i32.store (local.get $n) (i32.mul (local.get $n) (i32.const 0x9e3779b1)))
                (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 4))) (i32.const 300_000))))
            (memory.copy (i32.const 70_000) (i32.const 0) (i32.const 300_000))
            (memory.copy (i32.const 8) (i32.const 70_000) (i32.const 300_000))
            (local.set $n (i32.const 0))
            (loop $l
                (if (i32.ne (i32.load offset=8 (local.get $n)) (i32.mul (local.get $n) (i32.const 0x9e3779b1)))
                    (then unreachable))
                (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 4))) (i32.const 300_000))))))"#;
    assert_eq!(run(text).0, Ending::Exited(0));
}

#[test]
fn a_profile_shows_where_the_time_went() {
    // Nine parts of ten are spent in one function.
    let text = r#"(module
        (func $count (param $n i32)
            (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func $hot (call $count (i32.const 9_000_000)) (drop (i32.const 1)))
        (func $cold (call $count (i32.const 1_000_000)) (drop (i32.const 1)))
        (func $_start (export "_start") (loop $ever (call $hot) (call $cold) (br $ever))))"#;
    let world = FakeWorld::new(1);
    let timers = Arc::<Timers>::default();
    let profile = Profile::begin();
    let probe = Some(profile.probe("counter"));
    let meter = Meter { probe, ..Meter::default() };
    let mut guest = try_start(&world, &timers, text, Limits::default(), meter).unwrap();
    let mut quiet = try_start(&world, &timers, LOOP, Limits::default(), Meter::default()).unwrap();
    let ticks = Ticks::begin();
    let mut executor = Executor::new(timers);
    executor.spawn(guest.run());
    executor.spawn(quiet.run());
    // As many samples as it takes, however fast this machine is.
    executor.spawn(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if profile.samples().ticks() < 100 { Poll::Pending } else { Poll::Ready(Ending::Exited(0)) }
    }));
    assert_eq!(executor.next(&*world.clock, &mut FakeHost::new(&world)), Some(Ending::Exited(0)));
    drop(ticks);
    drop(executor);
    let folded: Vec<_> = profile.samples().folded().collect();
    let of = |stack: &str| {
        let counts = folded.iter().filter_map(|line| line.strip_prefix(stack)?.trim().parse::<u64>().ok());
        counts.sum::<u64>()
    };
    let (hot, cold) = (of("counter;_start;hot;count "), of("counter;_start;cold;count "));
    assert!(hot > 60 && hot > 2 * cold, "{folded:#?}");
    assert!(folded.iter().all(|line| line.starts_with("counter;_start")), "{folded:#?}");
}

/// A clock by which each look at it takes a second.
struct Slow(AtomicU64);

impl Clock for Slow {
    fn monotonic(&self) -> u64 {
        self.0.fetch_add(1000 * MS, Ordering::Relaxed)
    }

    fn wall(&self) -> Option<u64> {
        None
    }
}

#[test]
fn samples_that_take_long_are_taken_seldom_and_count_for_those_left_out() {
    let world = FakeWorld::new(1);
    let profile = Profile::begin();
    let meter = Meter { probe: Some(profile.probe("app")), ..Meter::default() };
    let engine = Engine::of(Variant::default()).unwrap();
    let mut store = wasmtime::Store::new(engine.wasmtime(), ());
    let clock = Arc::new(Slow(AtomicU64::new(0)));
    let timers = Arc::<Timers>::default();
    meter.hold(&mut store, Time::new(clock.clone(), timers.clone())).unwrap();
    // Each turn is a tick, and each tick looks at the clock.
    let tick = wasmtime::Func::wrap(&mut store, ticker);
    let text = r#"(module (import "" "tick" (func $tick)) (func $run (export "run") (local $n i32)
        (loop $l (call $tick) (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100))))))"#;
    let artifact = compile(&wat::parse_str(text).unwrap(), Variant::default(), Cpu::V1, "00".into()).unwrap();
    let module = load(&artifact, &artifact.code).unwrap();
    let mut executor = Executor::new(timers);
    executor.spawn(async {
        let instance = wasmtime::Instance::new_async(&mut store, &module, &[tick.into()]).await.unwrap();
        let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
        run.call_async(&mut store, ()).await.unwrap();
        Ending::Exited(0)
    });
    executor.next(&*world.clock, &mut FakeHost::new(&world)).unwrap();
    drop(executor);
    // A sample, and nine ticks without: of a hundred ticks, those after the last sample are not counted yet.
    let folded: Vec<_> = profile.samples().folded().collect();
    let [one] = &folded[..] else { panic!("{folded:?}") };
    let ticks: u64 = one.strip_prefix("app;run ").unwrap().parse().unwrap();
    assert!(ticks >= 85, "{one}");
    // A tick looks at the clock once, and once more if it takes a sample.
    let looks = clock.0.load(Ordering::Relaxed) / (1000 * MS);
    assert!((8..=30).contains(&(looks - ticks)), "{looks} looks for {ticks} ticks");
}

#[test]
fn fuel_is_counted() {
    let meter = |fuel| Meter { fuel: Some(fuel), ..Meter::default() };
    let world = FakeWorld::new(1);
    let (ending, frames) = run_with(&world, LOOP, Limits::default(), meter(20_000_000));
    assert_eq!((ending, &*frames[0]), (Ending::Stopped(Limit::Fuel), "spin"));
    let short = r#"(module (func (export "_start")))"#;
    assert_eq!(run_with(&world, short, Limits::default(), meter(100)).0, Ending::Exited(0));
}

#[test]
fn memory_is_limited() {
    let grow = r#"(module (memory 1)
        (func (export "_start")
            (if (i32.ne (memory.grow (i32.const 3)) (i32.const 1)) (then unreachable))
            (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))))"#;
    let limits = Limits { memory: 4 << 16, ..Limits::default() };
    assert_eq!(run_with(&FakeWorld::new(1), grow, limits, Meter::default()).0, Ending::Exited(0));
    let large = r#"(module (memory 100) (func (export "_start")))"#;
    let Ending::Trapped(trap) = run_with(&FakeWorld::new(1), large, limits, Meter::default()).0 else {
        panic!("it has more than it may")
    };
    assert_eq!(trap.kind, TrapKind::OutOfMemory, "{}", trap.message);
}

#[test]
fn what_is_not_there_is_named() {
    let world = FakeWorld::new(1);
    let timers = Arc::<Timers>::default();
    let refused = |text: &str| {
        try_start(&world, &timers, text, Limits::default(), Meter::default()).err().unwrap().to_string()
    };
    let imports = refused(
        r#"(module (import "env" "emscripten_x" (func))
            (import "wasi_snapshot_preview1" "fd_close" (func (param i64)))
            (func (export "_start")))"#,
    );
    assert!(imports.contains("env.emscripten_x") && imports.contains("fd_close"), "{imports}");
    assert!(refused("(module)").contains("_start"));
}

#[test]
fn what_is_no_native_code_is_refused_by_the_engine() {
    let artifact = compile(&wat::parse_str(LOOP).unwrap(), Variant::default(), Cpu::V1, "00".into()).unwrap();
    for bytes in [&b""[..], b"\x7fELF", &artifact.code[..artifact.code.len() / 2]] {
        let Err(Mismatch::Refused(words)) = load(&artifact, bytes) else {
            panic!("{} bytes were taken", bytes.len())
        };
        assert!(!words.contains('\n'));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let wasm = wat::parse_str(LOOP).unwrap();
    let code = || compile(&wasm, Variant::default(), Cpu::V1, "00".into()).unwrap().code;
    assert_eq!(code(), code());
}
