//! Programs as rustc makes them for wasm32-wasip2, compiled ahead of time and run in the fake world.

mod common;

use std::sync::Arc;

use common::Program;
use lunette_component::Problem;
use lunette_hostcalls::{
    Clock as _, Ending, Limit, TrapKind,
    fake::{FakeHost, FakeWorld},
    task::{Executor, Timers},
};
use lunette_native::{Limits, Meter};

fn hello() -> Option<Program> {
    Program::rustc("tests/programs/hello.rs")
}

#[test]
fn a_program_says_hello() {
    let Some(program) = hello() else { return };
    let world = FakeWorld::new(1);
    let run = program.run(&world, world.ctx(&["app"], &[]));
    assert_eq!(run.ending, Ending::Exited(0));
    assert_eq!(world.stdio.stdout_text(), "hello from app\n");
}

#[test]
fn what_it_is_given_it_finds() {
    let Some(program) = hello() else { return };
    let world = FakeWorld::new(1);
    world.stdio.feed(b"one\ntw").later().feed(b"o\n").close();
    assert_eq!(program.run(&world, world.ctx(&["app", "lines"], &[])).ending, Ending::Exited(0));
    assert_eq!(world.stdio.stdout_text(), "hello from app\n> one\n> two\nthen 0\n");
    let world = FakeWorld::new(1);
    assert_eq!(program.run(&world, world.ctx(&["app", "env"], &[("HOME", "/")])).ending, Ending::Exited(0));
    assert_eq!(world.stdio.stdout_text(), "hello from app\nHOME=/\n");
}

#[test]
fn it_ends_as_it_says() {
    let Some(program) = hello() else { return };
    let end = |args: &[&str]| {
        let world = FakeWorld::new(1);
        let run = program.run(&world, world.ctx(args, &[]));
        (run, world)
    };
    assert_eq!(end(&["app", "exit", "0"]).0.ending, Ending::Exited(0));
    // std of this release knows only whether it went well.
    assert_eq!(end(&["app", "exit", "1"]).0.ending, Ending::Exited(1));
    let (run, world) = end(&["app", "panic"]);
    assert!(matches!(run.ending, Ending::Trapped(ref trap) if trap.kind == TrapKind::Unreachable), "{run:?}");
    assert!(String::from_utf8_lossy(&world.stdio.stderr()).contains("as it was told"));
    let names: Vec<_> = run.backtrace.iter().map(ToString::to_string).collect();
    assert!(names.iter().any(|name| name.contains("main")), "{names:?}");
}

#[test]
fn it_waits_without_a_turn() {
    let Some(program) = hello() else { return };
    let world = FakeWorld::new(1);
    assert_eq!(program.run(&world, world.ctx(&["app", "sleep"], &[])).ending, Ending::Exited(0));
    assert_eq!(world.stdio.stdout_text(), "hello from app\nslept 1.5s 1.5s\n");
}

#[test]
fn many_wait_at_once() {
    let Some(program) = hello() else { return };
    let world = FakeWorld::new(1);
    let timers = Arc::new(Timers::default());
    let mut executor = Executor::new(timers.clone());
    let began = world.clock.monotonic();
    for n in 0..20 {
        let ctx = world.ctx(&["app", if n == 7 { "panic" } else { "sleep" }], &[]);
        let mut command = program.start(ctx, &timers, Limits::default(), Meter::default()).unwrap();
        executor.spawn(async move { (n, command.run().await) });
    }
    let mut host = FakeHost::new(&world);
    let ended: Vec<_> = std::iter::from_fn(|| executor.next(&*world.clock, &mut host)).collect();
    assert_eq!(ended.len(), 20);
    for (n, ending) in ended {
        assert_eq!(matches!(ending, Ending::Exited(0)), n != 7, "{n}: {ending:?}");
    }
    assert_eq!(world.clock.monotonic() - began, 1_500_000_000);
}

#[test]
fn much_output_comes_whole() {
    let Some(program) = hello() else { return };
    let world = FakeWorld::new(1);
    world.stdio.short_writes(Some(1000));
    assert_eq!(program.run(&world, world.ctx(&["app", "much"], &[])).ending, Ending::Exited(0));
    let text = world.stdio.stdout_text();
    assert_eq!(text.lines().count(), 20_001);
    assert_eq!(text.lines().last(), Some("line 19999"));
    assert_eq!(world.stdio.stderr(), b"done\n");
}

#[test]
fn its_time_and_its_memory_are_bounded() {
    let Some(program) = hello() else { return };
    let world = FakeWorld::new(1);
    let meter = Meter { deadline: Some(1_500_000_000), ..Meter::default() };
    let run = program.run_with(&world, world.ctx(&["app", "sleep"], &[]), Limits::default(), meter);
    assert_eq!(run.ending, Ending::Stopped(Limit::Time));

    let world = FakeWorld::new(1);
    let ticks = common::ticks();
    // Time passes once it has said that it is there.
    let stdio = world.stdio.clone();
    let step = move || if stdio.stdout().is_empty() { 0 } else { 100_000_000 };
    let passing = common::passing(world.clock.clone(), step);
    let ctx = world.ctx(&["app", "spin"], &[]);
    let run = program.run_beside(&world, ctx, Limits::default(), meter, passing);
    drop(ticks);
    assert_eq!(run.ending, Ending::Stopped(Limit::Time));
    assert!(run.backtrace.iter().any(|frame| frame.to_string().contains("main")), "{:?}", run.backtrace);

    let world = FakeWorld::new(1);
    let limits = Limits { memory: 16 << 20, ..Limits::default() };
    let run = program.run_with(&world, world.ctx(&["app", "hoard"], &[]), limits, Meter::default());
    assert!(matches!(run.ending, Ending::Trapped(_)), "{run:?}");
    assert!(String::from_utf8_lossy(&world.stdio.stderr()).contains("memory allocation"), "{run:?}");
}

#[test]
fn files_by_std() {
    let Some(program) = Program::rustc("tests/programs/files.rs") else { return };
    let world = FakeWorld::new(1);
    world.files.insert_file(lunette_hostcalls::MountId::ROOT, "etc/motd", b"hello", 0).unwrap();
    let run = program.run(&world, world.ctx(&["app"], &[]));
    assert_eq!(world.stdio.stdout_text(), "files are fine\n", "{}", run.words(&world));
    assert_eq!(run.ending, Ending::Exited(0));
}

#[test]
fn sockets_by_std() {
    let Some(program) = Program::rustc("tests/programs/sockets.rs") else { return };
    let world = FakeWorld::new(1);
    world.net.name("db.internal", 1000, Ok(vec!["10.0.2.15".parse().unwrap()]));
    let mut ctx = world.ctx(&["app"], &[]);
    let grants = lunette_hostcalls::Grants {
        listen: ["127.0.0.1:8080", "5300/udp", "5301/udp"].map(|one| one.parse().unwrap()).into(),
        connect: ["127.0.0.1:*", "127.0.0.1:*/udp", "db.internal:80"].map(|one| one.parse().unwrap()).into(),
        resolve: Vec::new(),
    };
    ctx.network = world.network(grants);
    let run = program.run(&world, ctx);
    let said = "QUESTION\ndatagram from 127.0.0.1:5301\nOk(10.0.2.15:80)\n";
    assert_eq!(world.stdio.stdout_text(), said, "{}", run.words(&world));
    assert_eq!(run.ending, Ending::Exited(0));
    let log = world.log.lines();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[0].contains("connect 10.9.9.9:1 is not granted"), "{log:?}");
    assert!(log[1].contains("listen 127.0.0.1:8081 is not granted"), "{log:?}");
    assert_eq!(world.net.open(), 0, "all is closed at its end");
}

#[test]
fn a_component_for_another_world_is_told_what_is_missing() {
    let wat = r#"(component
        (import "acme:rocket/launch@1.0.0" (instance (export "go" (func))))
        (import "wasi:cli/environment@0.2.0" (instance))
        (import "wasi:cli/stdout@0.1.0" (instance))
        (import "ignite" (func)))"#;
    let problem = Program::wat(wat).problem();
    let Problem::World(missing) = &problem else { panic!("{problem}") };
    let missing: Vec<_> = missing.iter().map(|one| (one.import.as_str(), one.nearest.as_deref())).collect();
    assert_eq!(
        missing,
        [
            ("acme:rocket/launch@1.0.0", None),
            ("wasi:cli/stdout@0.1.0", Some("wasi:cli/stdout@0.3.0")),
            ("ignite", None)
        ]
    );
}

#[test]
fn a_component_that_is_no_program_is_told_so() {
    let problem = Program::wat("(component)").problem();
    assert_eq!(problem.to_string(), "it does not export wasi:cli/run of WASI 0.2 or 0.3, nor anything else");
    let problem = Program::wat(r#"(component (instance $i) (export "a:b/c@1.0.0" (instance $i)))"#).problem();
    assert_eq!(
        problem.to_string(),
        "it does not export wasi:cli/run of WASI 0.2 or 0.3; it exports a:b/c@1.0.0"
    );
    // A function that this version of the interface does not have.
    let wat =
        r#"(component (import "wasi:cli/environment@0.2.50" (instance (export "get-weather" (func)))))"#;
    let words = Program::wat(wat).problem().to_string();
    assert!(words.contains("get-weather"), "{words}");
}
