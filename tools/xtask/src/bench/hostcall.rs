//! What one host call costs a guest: tests/guests/clock.wat reads the clock 100,000 times. Beside it the
//! same in the same interpreter as a process of this machine.

use std::{fs, process::Command};

use super::{Figure, vm::Bench};
use crate::sh::{Result, root, show, target};

const CALLS: f64 = 100_000.0;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let module = target().join("bench-clock.wasm");
    fs::write(&module, wat::parse_file(root().join("tests/guests/clock.wat"))?)?;
    let vm = least(|| bench.run("microvm", &module))?;
    let mut host = Command::new(&bench.cli);
    host.args(["run", "--host"]).arg(&module);
    let host = once(&mut host)?;
    Ok(vec![
        Figure::new("hostcall.clock_time_get", vm, "ns").at_most(300.0),
        Figure::new("hostcall.clock_time_get.host", host, "ns"),
    ])
}

fn least(run: impl Fn() -> Command) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        least = least.min(once(&mut run())?);
    }
    Ok(least)
}

fn once(command: &mut Command) -> Result<f64> {
    let output = command.output().map_err(|e| format!("{}: {e}", show(command)))?;
    let bytes: [u8; 8] = output.stdout.as_slice().try_into().map_err(|_| {
        format!("{}: {}\n{}", show(command), output.status, String::from_utf8_lossy(&output.stderr))
    })?;
    Ok((u64::from_le_bytes(bytes) as f64 / CALLS * 10.0).round() / 10.0)
}
