//! Guest instructions from the kernel's entry to the first output, by phase.
//!
//! With `lunette.marks` on its command line the kernel writes `lunette: mark NAME TSC` to the report
//! channel at the end of each phase.

use std::{fs, time::Duration};

use super::{Figure, vm::Bench};
use crate::sh::{Result, target};

/// The kernel's own share ends where it hands over to the runtime.
const KERNEL: (&str, &str, f64) = ("runtime", "boot.microvm.kernel", 60_000.0);
const WHOLE: (&str, &str, f64) = ("first-output", "boot.microvm.wasmi_hello", 3_500_000.0);

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let marks = marks(bench, "microvm")?;
    let entry = at(&marks, "entry")?;
    let mut figures = Vec::new();
    for (mark, name, limit) in [KERNEL, WHOLE] {
        let count = at(&marks, mark)?.saturating_sub(entry);
        figures.push(Figure::new(name, count as f64, "insn").limit(limit));
    }
    for pair in marks.windows(2) {
        let count = pair[1].1.saturating_sub(pair[0].1);
        figures.push(Figure::new(&format!("boot.microvm.phase.{}", pair[1].0), count as f64, "insn"));
    }
    Ok(figures)
}

fn marks(bench: &Bench, machine: &str) -> Result<Vec<(String, u64)>> {
    let report = target().join("bench-report");
    let mut words = bench.words(machine, &bench.hello)?;
    words.report_to(&report)?;
    words.set("-append", |line| format!("{line} lunette.marks"))?;
    words.add(&["-icount", "shift=0,sleep=off"]);
    words.start()?.output(Duration::from_secs(60))?.ok_or("the VM did not end within 60 s")?;
    let text = fs::read_to_string(&report)?;
    let mark = |line: &str| {
        let (name, tsc) = line.strip_prefix("lunette: mark ")?.split_once(' ')?;
        Some((name.to_owned(), tsc.trim().parse().ok()?))
    };
    Ok(text.lines().filter_map(mark).collect())
}

fn at(marks: &[(String, u64)], name: &str) -> Result<u64> {
    let found = marks.iter().find(|(mark, _)| mark == name);
    found.map(|(_, tsc)| *tsc).ok_or_else(|| format!("the kernel reported no mark `{name}`").into())
}
