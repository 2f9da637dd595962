//! How fast work is that is nothing but work (tests/guests/compute): interpreted, compiled ahead of time, as a native
//! program, and by Wasmtime's own CLI. All are processes of this machine: an emulator would measure itself.
//!
//! A kernel tells the seconds that its rounds took, so loading and compiling are in none of the figures. The engines take turns,
//! and the best round of each counts. A checksum that is not everybody's fails the figure.
//!
//! Wasmtime's CLI compiles code that nobody can interrupt; ours always can be. So it is asked once more with a limit of time,
//! for code that looks at the epoch as ours does: what is between its two figures is the price of that.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Figure, vm::Bench, wasmtime};
use crate::{
    guests,
    sh::{Result, command, read, show},
};

const ROUNDS: usize = 3;

/// Kernels whose work is floating-point numbers, for which nothing was promised.
const FLOATS: [&str; 2] = ["matmul", "nbody"];
/// Of the others: how many times as fast as interpreted, and as by Wasmtime's CLI, code compiled ahead of time has to be.
const OVER_WASMI: f64 = 8.0;
const OVER_WASMTIME: f64 = 0.9;

/// Who computes, and by which command.
struct Engine {
    name: &'static str,
    words: Vec<PathBuf>,
}

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let module = guests::build("compute", "wasm32-wasip1", "compute.wasm")?;
    let native = guests::build("compute", &host()?, "compute-native")?;
    let mut engines = vec![
        Engine::new("wasmi", &bench.cli, &["run", "--host", "--engine", "wasmi"], Some(&module)),
        Engine::new("aot", &bench.cli, &["run", "--host", "--aot"], Some(&module)),
        Engine::new("native", &native, &[], None),
    ];
    match wasmtime::program() {
        Ok(program) => {
            engines.push(Engine::new("wasmtime", &program, &["run"], Some(&module)));
            let flags = ["run", "-W", "timeout=1h"];
            engines.push(Engine::new("wasmtime_epochs", &program, &flags, Some(&module)));
        }
        Err(error) => println!("not measured: compute.….wasmtime: {error}"),
    }
    let kernels = read(&mut command(&native, &["list"]))?;
    let mut figures = Vec::new();
    for kernel in kernels.lines() {
        figures.extend(compare(kernel, &engines)?);
    }
    Ok(figures)
}

fn compare(kernel: &str, engines: &[Engine]) -> Result<Vec<Figure>> {
    let mut best = vec![f64::INFINITY; engines.len()];
    let mut sum = None;
    for _ in 0..ROUNDS {
        for (engine, best) in engines.iter().zip(&mut best) {
            let (seconds, said) = engine.run(kernel)?;
            let agreed = sum.get_or_insert_with(|| said.clone());
            if *agreed != said {
                return Err(format!("{kernel}: {} says {said:?}, others {agreed:?}", engine.name).into());
            }
            *best = best.min(seconds);
        }
    }
    let figure = |(engine, best): (&Engine, &f64)| {
        Figure::new(&format!("compute.{kernel}.{}", engine.name), *best, "s")
    };
    let mut figures: Vec<_> = engines.iter().zip(&best).map(figure).collect();
    let took = |name| Some(best[engines.iter().position(|engine| engine.name == name)?]);
    for (other, least) in [("wasmi", OVER_WASMI), ("wasmtime", OVER_WASMTIME), ("native", 0.0)] {
        if let (Some(aot), Some(other_took)) = (took("aot"), took(other)) {
            let ratio = Figure::new(&format!("compute.{kernel}.aot/{other}"), other_took / aot, "times");
            let promised = least > 0.0 && !FLOATS.contains(&kernel);
            figures.push(if promised { ratio.at_least(least) } else { ratio });
        }
    }
    Ok(figures)
}

impl Engine {
    fn new(name: &'static str, program: &Path, flags: &[&str], module: Option<&Path>) -> Self {
        let flags = flags.iter().map(PathBuf::from);
        let words = std::iter::once(program.to_owned()).chain(flags).chain(module.map(Path::to_owned));
        Self { name, words: words.collect() }
    }

    /// The seconds that it took, and what it came to.
    fn run(&self, kernel: &str) -> Result<(f64, String)> {
        let mut run = Command::new(&self.words[0]);
        run.args(&self.words[1..]).arg(kernel).stdin(Stdio::null());
        let output = run.output().map_err(|e| format!("{}: {e}", show(&run)))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let seconds = errors.lines().find_map(|line| line.strip_suffix(" s")?.parse().ok());
        match seconds {
            Some(seconds) if output.status.success() => {
                Ok((seconds, String::from_utf8_lossy(&output.stdout).trim().to_owned()))
            }
            _ => Err(format!("{}: {}\n{errors}", show(&run), output.status).into()),
        }
    }
}

/// What this machine's own programs are built for.
fn host() -> Result<String> {
    let about = read(&mut command("rustc", &["-vV"]))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc names no host")?.to_owned())
}
