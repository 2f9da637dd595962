//! Guest instructions from the kernel's entry to the first output, by phase: hello interpreted, hello compiled ahead of
//! time, and hello as a component.
//!
//! With `lunette.marks` on its command line the kernel writes `lunette: mark NAME TSC` to the report
//! channel at the end of each phase.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{
    Figure, sample,
    vm::{Bench, Words},
};
use crate::{
    samples::HELLO_COMPONENT,
    sh::{Result, target},
};

pub(super) const ENTRY: &str = "entry";
pub(super) const FIRST_OUTPUT: &str = "first-output";

/// The kernel's own share ends where it hands over to the runtime.
const KERNEL: (&str, &str, f64) = ("runtime", "boot.microvm.kernel", 60_000.0);
const WHOLE: (&str, &str, f64) = (FIRST_OUTPUT, "boot.microvm.wasmi_hello", 3_500_000.0);

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let marks = marks(bench.words("microvm", &bench.hello)?)?;
    let entry = at(&marks, ENTRY)?;
    let mut figures = Vec::new();
    for (mark, name, limit) in [KERNEL, WHOLE] {
        let count = at(&marks, mark)?.saturating_sub(entry);
        figures.push(Figure::new(name, count as f64, "insn").at_most(limit));
    }
    figures.extend(phases("boot.microvm", &marks));
    Ok(figures)
}

/// The same module as native code.
pub(super) fn aot(bench: &Bench) -> Result<Vec<Figure>> {
    native("boot.microvm.aot_hello", 350_000.0, bench.words_with("microvm", &bench.hello, &["--aot"])?)
}

/// The same program, built for WASI 0.2: compiled without being asked.
pub(super) fn component(bench: &Bench) -> Result<Vec<Figure>> {
    let hello = sample(HELLO_COMPONENT)?;
    native("boot.microvm.component_hello", 700_000.0, bench.words("microvm", &hello)?)
}

fn native(name: &str, limit: f64, words: Words) -> Result<Vec<Figure>> {
    let marks = marks(words)?;
    let count = at(&marks, FIRST_OUTPUT)?.saturating_sub(at(&marks, ENTRY)?);
    let mut figures = vec![Figure::new(name, count as f64, "insn").at_most(limit)];
    figures.extend(phases(name, &marks));
    Ok(figures)
}

fn phases(name: &str, marks: &[(String, u64)]) -> Vec<Figure> {
    let phase = |pair: &[(String, u64)]| {
        let count = pair[1].1.saturating_sub(pair[0].1);
        Figure::new(&format!("{name}.phase.{}", pair[1].0), count as f64, "insn")
    };
    marks.windows(2).map(phase).collect()
}

/// Boots it; the marks until its first output.
pub(super) fn marks(mut words: Words) -> Result<Vec<(String, u64)>> {
    let report = target().join("bench-report");
    words.report_to(&report)?;
    words.set("-append", |line| format!("{line} lunette.marks"))?;
    words.add(&["-icount", "shift=0,sleep=off"]);
    let _ = fs::remove_file(&report);
    let begun = Instant::now();
    let _vm = words.start()?;
    // A server does not end by itself.
    loop {
        let marks = parse(&fs::read_to_string(&report).unwrap_or_default());
        if marks.iter().any(|(name, _)| name == FIRST_OUTPUT) {
            return Ok(marks);
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("the VM said nothing within 60 s".into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The marks in a report; a last line that is not whole yet is none.
fn parse(report: &str) -> Vec<(String, u64)> {
    let mark = |line: &str| {
        let (name, tsc) = line.strip_suffix('\n')?.strip_prefix("lunette: mark ")?.split_once(' ')?;
        Some((name.to_owned(), tsc.trim().parse().ok()?))
    };
    report.split_inclusive('\n').filter_map(mark).collect()
}

pub(super) fn at(marks: &[(String, u64)], name: &str) -> Result<u64> {
    let found = marks.iter().find(|(mark, _)| mark == name);
    found.map(|(_, tsc)| *tsc).ok_or_else(|| format!("the kernel reported no mark `{name}`").into())
}
