//! Wall time: from power-on to the first line, and of the whole command. The least of several runs, for
//! only other work on the machine makes a run longer.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use super::{Figure, vm::Bench};
use crate::sh::{Result, show};

const RUNS: usize = 7;

pub(super) fn first_line(bench: &Bench) -> Result<Vec<Figure>> {
    [("microvm", 70.0), ("pc", 100.0), ("q35", f64::INFINITY)]
        .into_iter()
        .map(|(machine, limit)| {
            let words = bench.words(machine, &bench.hello)?;
            let run = || words.start()?.first_byte()?.ok_or_else(|| format!("{machine}: no output").into());
            let figure = Figure::new(&format!("boot.{machine}.first_line"), least(run)?, "ms");
            Ok(if limit.is_finite() { figure.at_most(limit) } else { figure })
        })
        .collect()
}

pub(super) fn cli_hello(bench: &Bench) -> Result<Vec<Figure>> {
    let run = || {
        let mut run = bench.run("microvm", &bench.hello);
        let begun = Instant::now();
        let status = run.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        let took = begun.elapsed();
        if status.success() { Ok(took) } else { Err(format!("{}: {status}", show(&run)).into()) }
    };
    Ok(vec![Figure::new("cli.hello", least(run)?, "ms").at_most(200.0)])
}

fn least(mut run: impl FnMut() -> Result<Duration>) -> Result<f64> {
    let mut least = Duration::MAX;
    for _ in 0..RUNS {
        least = least.min(run()?);
    }
    Ok((least.as_secs_f64() * 100_000.0).round() / 100.0)
}
