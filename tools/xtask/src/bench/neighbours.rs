//! What a handler's misdeeds do to others: the time in which ninety-nine of a hundred requests are answered
//! (tests/guests/hostile, `/ok`), alone, and beside requests to the same server that never return, trap, or eat memory.
//!
//! All have the one core. Those that behave ask at a pace that leaves it idle most of the time, so that what is seen is
//! the waiting for others, not the lack of a processor; the one who misbehaves begins again soon after each end.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{
    Figure,
    http::{Client, PATIENCE},
    net::{free_port, served},
    vm::Bench,
};
use crate::{
    guests,
    sh::{Result, target},
};

const CLIENTS: usize = 4;
const PACE: Duration = Duration::from_millis(20);
const SPELL: Duration = Duration::from_secs(5);
/// Of each of these there are so many.
const TIMES: usize = 5;
/// How soon the next misdeed begins.
const RESPITE: Duration = Duration::from_millis(50);

/// By how much the time may be longer.
const MOST: f64 = 1.2;

/// A name, and what is asked for.
const MISDEEDS: [(&str, &str); 3] = [("loop", "/loop"), ("trap", "/trap"), ("eat", "/eat")];

const MANIFEST: &str = "\
[app]
name = \"hostile\"
main = \"hostile.wasm\"
[network]
listen = [\"80\"]
[http.limits]
memory = \"32MiB\"
time = \"1s\"
";

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let port = free_port()?;
    let mut words = served(bench, "q35", port, &app()?, &["-m", "128M"])?;
    // Memory that nobody had yet is some milliseconds of the host's for each 2 MiB, and of those that eat it only.
    words.add(&["-mem-prealloc"]);
    let _vm = words.start()?;
    until_it_answers(port)?;
    // Each round beside its own: a machine that others use is slower at times, for a while.
    let (mut alone, mut beside) = (Vec::new(), MISDEEDS.map(|_| Vec::new()));
    for _ in 0..TIMES {
        let one = spell(port, None)?;
        alone.push(one);
        for ((_, path), times) in MISDEEDS.iter().zip(&mut beside) {
            let time = spell(port, Some(path))?;
            times.push((time, time / one));
        }
    }
    let ms = |seconds: f64| (seconds * 100_000.0).round() / 100.0;
    let mut figures = vec![Figure::new("http.neighbour.p99", ms(middle(alone)), "ms")];
    for ((name, _), times) in MISDEEDS.iter().zip(beside) {
        let (time, ratio): (Vec<_>, Vec<_>) = times.into_iter().unzip();
        figures.push(Figure::new(&format!("http.neighbour.p99.{name}"), ms(middle(time)), "ms"));
        let ratio = Figure::new(&format!("http.neighbour.p99.{name}/alone"), middle(ratio), "times");
        figures.push(ratio.at_most(MOST));
    }
    Ok(figures)
}

/// The one in the middle.
fn middle(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// The handler, with limits that a misdeed meets soon.
fn app() -> Result<PathBuf> {
    let to = target().join("bench-hostile");
    fs::create_dir_all(&to)?;
    fs::copy(guests::build("hostile", "wasm32-wasip2", "hostile.wasm")?, to.join("hostile.wasm"))?;
    fs::write(to.join("lunette.toml"), MANIFEST)?;
    Ok(to)
}

fn ok(client: &mut Client) -> std::io::Result<()> {
    let body = client.get("/ok", true)?;
    if body == b"ok\n" { Ok(()) } else { Err(std::io::Error::other("/ok says something else")) }
}

fn until_it_answers(port: u16) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if Client::new(port).and_then(|mut client| ok(&mut client)).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err("the handler did not answer".into())
}

/// The 99th of a hundred times in seconds, beside a misdeed or alone.
fn spell(port: u16, misdeed: Option<&str>) -> Result<f64> {
    let over = AtomicBool::new(false);
    let mut times = thread::scope(|scope| -> Result<Vec<Duration>> {
        if let Some(path) = misdeed {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    // That it fails is what it is for.
                    let _ = Client::new(port).and_then(|mut client| client.get(path, false));
                    thread::sleep(RESPITE);
                }
            });
        }
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| paced(port))).collect();
        let mut times = Vec::new();
        let mut failure = None;
        for client in clients {
            match client.join() {
                Ok(Ok(more)) => times.extend(more),
                Ok(Err(error)) => failure = Some(error.to_string()),
                Err(_) => failure = Some("a client panicked".into()),
            }
        }
        over.store(true, Relaxed);
        match failure {
            None => Ok(times),
            Some(failure) => Err(format!("beside {}: {failure}", misdeed.unwrap_or("nobody")).into()),
        }
    })?;
    times.sort_unstable();
    Ok(times.get(times.len() * 99 / 100).ok_or("nothing was answered")?.as_secs_f64())
}

fn paced(port: u16) -> std::io::Result<Vec<Duration>> {
    let mut client = Client::new(port)?;
    ok(&mut client)?;
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < SPELL {
        thread::sleep(PACE);
        let asked = Instant::now();
        ok(&mut client)?;
        times.push(asked.elapsed());
    }
    Ok(times)
}
