//! Scripts that ask for too much (`tests/lua/limits`) end as they say, in the fake world.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use crate::world::{Ran, Stage};
use lunette_hostcalls::{Ending, Limit, fake::FakeHost, task::Executor};

/// What a script says of itself.
struct Told {
    stage: Stage,
    ends: Ending,
    prints: String,
    says: Vec<String>,
}

fn told(name: &str, text: &str) -> Told {
    let mut told =
        Told { stage: Stage::new(), ends: Ending::Exited(0), prints: String::new(), says: Vec::new() };
    for line in text.lines().map_while(|line| line.strip_prefix("-- ")) {
        let Some((key, value)) = line.split_once(": ") else { continue };
        let number = |unit: &str| -> u64 { value.strip_suffix(unit).expect(name).parse().expect(name) };
        match key {
            "memory" => told.stage.limits.memory = number("MiB") << 20,
            "timeout" => told.stage.limits.time = Some(number("s") * 1_000_000_000),
            "fuel" => told.stage.limits.fuel = Some(number("")),
            "ends" => {
                told.ends = match value {
                    "time" => Ending::Stopped(Limit::Time),
                    "fuel" => Ending::Stopped(Limit::Fuel),
                    code => Ending::Exited(code.parse().expect(name)),
                }
            }
            "prints" => told.prints += &format!("{value}\n"),
            "says" => told.says.push(value.to_owned()),
            _ => {}
        }
    }
    told
}

/// How much faster the fake clock goes than ours: what ends by its time ends sooner, and what ends by itself has plenty.
const HASTE: u32 = 4;

/// Runs a script by its name, while the fake clock goes on: a script that computes must see its time pass.
fn run(stage: &Stage, name: &str, text: &str) -> Ran {
    let mut script =
        lunette_lua::start(name, text.as_bytes(), stage.ctx(), stage.time(), stage.limits).expect(name);
    let mut executor = Executor::new(stage.timers.clone());
    executor.spawn(async move { script.run().await });
    let (clock, over) = (stage.world.clock.clone(), AtomicBool::new(false));
    let ending = std::thread::scope(|scope| {
        scope.spawn(|| {
            let tick = Duration::from_millis(10);
            while !over.load(Relaxed) {
                std::thread::sleep(tick / HASTE);
                clock.advance(tick.as_nanos() as u64);
            }
        });
        let ending = executor.next(&*stage.world.clock, &mut FakeHost::new(&stage.world));
        over.store(true, Relaxed);
        ending.expect(name)
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { ending, out: text(&stage.world.stdio.stdout()), err: text(&stage.world.stdio.stderr()) }
}

#[test]
fn scripts_that_ask_for_too_much_end_as_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/lua/limits");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".lua") {
            continue;
        }
        // As in a booted image: a stack of 8 MiB.
        let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(move || {
            let text = fs::read_to_string(path).unwrap();
            let told = told(&name, &text);
            let ran = run(&told.stage, &name, &text);
            assert_eq!(ran.ending, told.ends, "{name}: {}\n{}", ran.out, ran.err);
            assert_eq!(ran.out, told.prints, "{name}: {}", ran.err);
            for words in told.says {
                assert!(ran.err.contains(&words), "{name}: no {words:?} in\n{}", ran.err);
            }
        });
        thread.unwrap().join().unwrap();
        count += 1;
    }
    assert!(count >= 10, "{count} scripts");
}
