//! `cargo xtask bench`: the figures that the project promises, measured, beside their limits.
//!
//! Instructions are counted by QEMU itself (`-icount shift=0,sleep=off`: the guest's time stamp counter is
//! an exact count) and are the same on every machine. Milliseconds are for information: they are those of
//! an emulator on whatever runs this. A figure over its limit is shown, and fails nothing.

mod boot;
mod debian;
mod hostcall;
mod http;
mod net;
mod nginx;
mod ram;
mod vm;
mod wall;

use std::fs;

use crate::{
    image, json, run, samples, setup,
    sh::{Result, target},
};

/// One measurement.
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it must not exceed.
    limit: Option<f64>,
}

impl Figure {
    fn new(name: &str, value: f64, unit: &'static str) -> Self {
        Self { name: name.to_owned(), value, unit, limit: None }
    }

    fn limit(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

/// A part of the bench: one file, some figures.
type Measure = fn(&vm::Bench) -> Result<Vec<Figure>>;

const PARTS: [(&str, Measure); 12] = [
    ("boot", boot::measure),
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
];

/// All parts, or those of these names.
pub(crate) fn bench(only: &[String]) -> Result<()> {
    if let Some(wrong) = only.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        let names: Vec<_> = PARTS.iter().map(|(part, _)| *part).collect();
        return Err(format!("no part `{wrong}`; there are: {}", names.join(", ")).into());
    }
    setup::setup()?;
    let image = image::build()?;
    let bench = vm::Bench { cli: run::cli()?, hello: sample("hello-rust")?, image: image.path };
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

fn image_size(bench: &vm::Bench) -> Result<Vec<Figure>> {
    let bytes = fs::metadata(&bench.image)?.len();
    Ok(vec![Figure::new("image.default", bytes as f64, "bytes").limit(6.0 * f64::from(1 << 20))])
}

fn sample(name: &str) -> Result<std::path::PathBuf> {
    match samples::build(name)? {
        samples::State::Built(path) => Ok(path),
        samples::State::Skipped(why) => Err(format!("{name}: {why}").into()),
    }
}

fn print(figures: &[Figure]) {
    println!("{:<34}{:>14} {:<6} {:>14}", "figure", "value", "unit", "limit");
    for Figure { name, value, unit, limit } in figures {
        let (limit, verdict) = match limit {
            Some(limit) => (number(*limit), if value <= limit { "holds" } else { "EXCEEDED" }),
            None => (String::new(), ""),
        };
        println!("{name:<34}{:>14} {unit:<6} {limit:>14} {verdict}", number(*value));
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

/// Whole where it is whole; else two places.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
