//! What an instance for each request costs before its handler runs: guest instructions from the wake-up by the frame
//! that carries a request until the handler's first host call.
//!
//! Both ends are read on the guest's monotonic clock. The handler (tests/guests/handler) reads it before all else and
//! answers with it; the kernel, with `lunette.wakes` on its command line, writes `lunette: woke NANOS` to the report
//! channel. It writes that before it halts the next time, so that the writing is no part of what is counted. Under
//! `-icount shift=0` a nanosecond is an instruction. The virtual clock goes on with the real one while the processor halts
//! (`sleep=on`): if it jumped, whatever a server waits for would time out at once.
//!
//! So it counts the driver, TCP, the request's head, the instance, and the call; not the sending of the answer before it, nor
//! the instance's end. Of many requests, each sent to a halted processor, the one in the middle counts.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{
    Figure,
    http::{self, Client},
    net::{free_port, served},
    vm::Bench,
};
use crate::{
    guests,
    sh::{Result, target},
};

/// The first requests find what is made once.
const WARM_UP: usize = 20;
const REQUESTS: usize = 200;
/// Between requests. Before it halts, a guest looks for more of what it was just brought for 200 µs of its own time, which
/// under `-icount` are many of ours.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the report may lag behind.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn start(bench: &Bench) -> Result<Vec<Figure>> {
    let port = free_port()?;
    let mut words = served(bench, "microvm", port, &component()?, &[])?;
    let report = target().join("bench-report");
    words.report_to(&report)?;
    words.set("-append", |line| format!("{line} lunette.wakes"))?;
    words.add(&["-icount", "shift=0"]);
    let _ = fs::remove_file(&report);
    let _vm = words.start()?;
    if !http::answers(port, http::PATIENCE) {
        return Err("the handler did not answer".into());
    }
    let mut client = Client::new(port)?;
    let mut entries = Vec::new();
    for n in 0..WARM_UP + REQUESTS {
        thread::sleep(PAUSE);
        let body = client.get("/entry", true)?;
        let entry: u64 = String::from_utf8_lossy(&body).trim().parse()?;
        if n >= WARM_UP {
            entries.push(entry);
        }
    }
    // The last wake-up is told when the processor halts again.
    let (begun, last) = (Instant::now(), entries.last().copied().unwrap_or(0));
    let mut wakes = Vec::new();
    while begun.elapsed() < PATIENCE && wakes.last().is_none_or(|wake| *wake < last) {
        wakes = parse(&fs::read_to_string(&report).unwrap_or_default());
        thread::sleep(PAUSE);
    }
    let mut counts: Vec<u64> =
        entries.iter().filter_map(|entry| Some(entry - last_before(&wakes, *entry)?)).collect();
    if counts.len() < REQUESTS {
        return Err(format!("the kernel told of too few wake-ups: {}", wakes.len()).into());
    }
    counts.sort_unstable();
    let at = |percent: usize| counts[(counts.len() - 1) * percent / 100] as f64;
    Ok(vec![
        Figure::new("http.instance_start", at(50), "insn").at_most(40_000.0),
        Figure::new("http.instance_start.p99", at(99), "insn"),
    ])
}

/// The handler, as a component.
pub(super) fn component() -> Result<PathBuf> {
    guests::build("handler", "wasm32-wasip2", "handler.wasm")
}

/// The wake-ups in a report, in their order; a last line that is not whole yet is none.
fn parse(report: &str) -> Vec<u64> {
    let wake = |line: &str| line.strip_suffix('\n')?.strip_prefix("lunette: woke ")?.trim().parse().ok();
    report.split_inclusive('\n').filter_map(wake).collect()
}

fn last_before(wakes: &[u64], entry: u64) -> Option<u64> {
    wakes[..wakes.partition_point(|wake| *wake <= entry)].last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_belongs_to_the_wake_up_before_it() {
        let wakes = parse("lunette: mark entry 7\nlunette: woke 10\nlunette: woke 30\nlunette: wo");
        assert_eq!(wakes, [10, 30]);
        assert_eq!(last_before(&wakes, 9), None);
        assert_eq!(last_before(&wakes, 29), Some(10));
        assert_eq!(last_before(&wakes, 30), Some(30));
        // Half a number is another number.
        assert_eq!(parse("lunette: woke 10\nlunette: woke 3"), [10]);
    }
}
