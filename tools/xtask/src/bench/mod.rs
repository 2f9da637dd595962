//! `cargo xtask bench`: the figures that the project promises, measured, beside their limits.
//!
//! Instructions are counted by QEMU itself (`-icount shift=0,sleep=off`: the guest's time stamp counter is
//! an exact count) and are the same on every machine. Milliseconds are for information: they are those of
//! an emulator on whatever runs this. A figure over its limit is shown, and fails nothing. What a figure stands beside
//! and can't be had here (a Debian guest, Wasmtime's CLI) is `not measured`, by name, and never a number.
//!
//! | part | figures |
//! |---|---|
//! | `boot`, `boot-aot`, `boot-component` | instructions until hello speaks: interpreted, as native code, as a component |
//! | `first-line`, `cli` | milliseconds until it does, and of the whole command |
//! | `image` | bytes of the image |
//! | `ram`, `ram-net`, `ram-http` | the least memory for hello, a server, a Lua service |
//! | `hostcall` | nanoseconds of a host call |
//! | `net-listen`, `net` | instructions until a server listens; bytes, round trips, connections, beside Debian |
//! | `lua-listen`, `http` | the same of a Lua service; requests, beside nginx in Debian |
//! | `instance` | instructions from a request's bytes to the entry of a handler with an instance of its own |
//! | `component-http` | requests to a component, beside `wasmtime serve` in Debian |
//! | `component-neighbours` | milliseconds of a request beside handlers that loop, trap and eat memory |
//! | `component-growth` | KiB that ten thousand instances leave behind |
//! | `compute` | seconds of eight kernels: interpreted, ahead of time, native, Wasmtime's CLI |
//!
//! Wasmtime's CLI comes by `cargo xtask reference`.

mod boot;
mod component;
mod compute;
mod debian;
mod growth;
mod hostcall;
mod http;
mod instance;
mod neighbours;
mod net;
mod nginx;
mod ram;
mod vm;
mod wall;
mod wasmtime;

use std::{fs, path::Path};

use crate::{
    image, json, run, samples, setup,
    sh::{Result, target},
};

/// One measurement.
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    limit: Option<Limit>,
}

/// What a figure must not exceed, or has to reach.
#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    fn new(name: &str, value: f64, unit: &'static str) -> Self {
        Self { name: name.to_owned(), value, unit, limit: None }
    }

    fn at_most(self, limit: f64) -> Self {
        Self { limit: Some(Limit::AtMost(limit)), ..self }
    }

    fn at_least(self, limit: f64) -> Self {
        Self { limit: Some(Limit::AtLeast(limit)), ..self }
    }

    /// The limit and whether it holds, as the table has them.
    fn verdict(&self) -> (String, &'static str) {
        let (limit, holds, broken) = match self.limit {
            None => return (String::new(), ""),
            Some(Limit::AtMost(limit)) => (number(limit), self.value <= limit, "EXCEEDED"),
            Some(Limit::AtLeast(limit)) => (format!(">= {}", number(limit)), self.value >= limit, "MISSED"),
        };
        (limit, if holds { "holds" } else { broken })
    }
}

/// A part of the bench: one file, some figures.
type Measure = fn(&vm::Bench) -> Result<Vec<Figure>>;

const PARTS: [(&str, Measure); 19] = [
    ("boot", boot::measure),
    ("boot-aot", boot::aot),
    ("boot-component", boot::component),
    ("first-line", wall::first_line),
    ("image", image_size),
    ("ram", ram::measure),
    ("hostcall", hostcall::measure),
    ("cli", wall::cli_hello),
    ("net-listen", net::listen),
    ("ram-net", net::ram),
    ("net", net::rates),
    ("lua-listen", http::listen),
    ("ram-http", http::ram),
    ("http", http::rates),
    ("instance", instance::start),
    ("component-http", component::rates),
    ("component-neighbours", neighbours::measure),
    ("component-growth", growth::measure),
    ("compute", compute::measure),
];

/// All parts, or those of these names; with `--cli PATH` first, by that command line tool instead of one built for release,
/// which takes twenty minutes of a processor: what is measured inside of a VM is the same.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    let (cli, only) = match args {
        [flag, path, only @ ..] if flag == "--cli" => (Some(fs::canonicalize(path)?), only),
        only => (None, only),
    };
    if let Some(wrong) = only.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        let names: Vec<_> = PARTS.iter().map(|(part, _)| *part).collect();
        return Err(format!("no part `{wrong}`; there are: {}", names.join(", ")).into());
    }
    setup::setup()?;
    let image = image::build(image::FULL)?;
    let cli = cli.map_or_else(run::cli, Ok)?;
    let bench = vm::Bench { cli, hello: sample("hello-rust")?, image: image.path };
    let mut figures = Vec::new();
    let mut notes = Vec::new();
    for (name, measure) in PARTS.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|n| n == name))
    {
        match measure(&bench) {
            Ok(more) => figures.extend(more),
            // The others are still worth having.
            Err(error) => notes.push(format!("not measured: {name}: {error}")),
        }
    }
    print(&figures);
    notes.iter().for_each(|note| println!("{note}"));
    write(&figures)?;
    if notes.is_empty() { Ok(()) } else { Err(format!("{} parts could not be measured", notes.len()).into()) }
}

/// Of the default image, and of those that leave something out.
fn image_size(bench: &vm::Bench) -> Result<Vec<Figure>> {
    let size = |path: &Path| Ok::<_, crate::sh::Error>(fs::metadata(path)?.len() as f64);
    let mut figures =
        vec![Figure::new("image.default", size(&bench.image)?, "bytes").at_most(8.0 * f64::from(1 << 20))];
    for variant in image::VARIANTS.iter().filter(|variant| variant.name != image::FULL.name) {
        let built = image::build(variant)?;
        figures.push(Figure::new(&format!("image.{}", variant.name), size(&built.path)?, "bytes"));
    }
    Ok(figures)
}

fn sample(name: &str) -> Result<std::path::PathBuf> {
    match samples::build(name)? {
        samples::State::Built(path) => Ok(path),
        samples::State::Skipped(why) => Err(format!("{name}: {why}").into()),
    }
}

fn print(figures: &[Figure]) {
    println!("{:<40}{:>14} {:<6} {:>14}", "figure", "value", "unit", "limit");
    for figure in figures {
        let Figure { name, value, unit, .. } = figure;
        let (limit, verdict) = figure.verdict();
        println!("{name:<40}{:>14} {unit:<6} {limit:>14} {verdict}", number(*value));
    }
}

fn write(figures: &[Figure]) -> Result<()> {
    let lines: Vec<String> = figures
        .iter()
        .map(|Figure { name, value, unit, .. }| {
            let (name, unit) = (json::string(name), json::string(unit));
            format!("  {{\"name\": {name}, \"value\": {}, \"unit\": {unit}}}", number(*value))
        })
        .collect();
    let path = target().join("bench.json");
    fs::write(&path, format!("{{\"figures\": [\n{}\n]}}\n", lines.join(",\n")))?;
    println!("written to {}", path.display());
    Ok(())
}

/// Whole where it is whole; else two places, or four digits where there would be nothing to see.
fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        ..1.0 => format!("{value:.4}"),
        _ => format!("{value:.2}"),
    }
}
