//! What goes wrong on our side, told in two lines: `error: what (where)` and `help: the remedy`.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

use serde::{Deserialize, Serialize};

use crate::exit;

/// An error for the person at the terminal. Always has a remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub what: String,
    /// A file, a flag, a place in a file; may be empty.
    pub place: String,
    pub help: String,
    /// The exit code that it ends the command with.
    pub code: u8,
    /// Lines of a source, to be shown as they are. May be empty.
    #[serde(default)]
    pub excerpt: String,
}

impl Problem {
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            place: String::new(),
            help: help.into(),
            code: exit::FAILURE,
            excerpt: String::new(),
        }
    }

    pub fn at(mut self, place: impl fmt::Display) -> Self {
        let place = place.to_string();
        if self.place.is_empty() {
            self.place = place;
        } else {
            self.place = format!("{place}: {}", self.place);
        }
        self
    }

    /// Shows a line of a source, and points at the byte `at`.
    pub fn showing(mut self, number: usize, line: &str, at: Option<usize>) -> Self {
        // A character is a column, which is true enough of what people write in programs.
        let shown = |text: &str| text.replace('\t', "    ");
        self.excerpt = format!("{number:>4} | {}\n", printable(&shown(line)));
        if let Some(before) = at.and_then(|at| line.get(..at)) {
            self.excerpt += &format!("     | {}^\n", " ".repeat(printable(&shown(before)).chars().count()));
        }
        self
    }

    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// From the one-line form that the kernel's farewell has: `what (where); help: remedy`.
    pub fn from_line(line: &str) -> Self {
        let (what, help) =
            line.split_once(lunette_bundle::HELP).unwrap_or((line, "try `lunette check` on it"));
        Self::new(what, help)
    }
}

/// Without the remedy: `what (where)`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.what))?;
        if !self.place.is_empty() {
            write!(f, " ({})", printable(&self.place))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<lunette_bundle::Error> for Problem {
    fn from(e: lunette_bundle::Error) -> Self {
        Self { place: e.place, ..Self::new(e.what, e.help) }
    }
}

/// Names come from files and their authors: control characters must not reach the terminal.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// How much the CLI says by itself, and in which colours.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    pub quiet: bool,
    pub verbose: bool,
    colour: bool,
}

impl Voice {
    pub fn new(quiet: bool, verbose: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { quiet, verbose, colour: io::stderr().is_terminal() && !no_colour }
    }

    pub fn error(&self, problem: &Problem) {
        self.line("31;1", "error", &problem.to_string());
        let _ = io::stderr().lock().write_all(problem.excerpt.as_bytes());
        if !problem.help.is_empty() {
            self.line("36;1", "help", &printable(&problem.help));
        }
    }

    pub fn warn(&self, text: &str) {
        if !self.quiet {
            self.line("33;1", "warning", &printable(text));
        }
    }

    /// What somebody who runs it will want to know.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.line("2", "lunette", &printable(text));
        }
    }

    /// Said with `-v` only.
    pub fn info(&self, text: &str) {
        if self.verbose {
            self.say(text);
        }
    }

    fn line(&self, colour: &str, label: &str, text: &str) {
        // One write, so that lines of the guest do not get in between. Nobody to tell if it fails.
        let line = if self.colour {
            format!("\x1b[{colour}m{label}:\x1b[0m {text}\n")
        } else {
            format!("{label}: {text}\n")
        };
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_and_nests_its_places() {
        let problem = Problem::new("bad\nname \x1b[31m", "fix it").at("lunette.toml:3:5").at("app");
        assert_eq!(problem.to_string(), "bad\\nname \\u{1b}[31m (app: lunette.toml:3:5)");
        assert_eq!(problem.code, 125);
    }

    #[test]
    fn the_kernels_line_is_taken_apart_again() {
        let problem = Problem::from_line("no such entry (bundle, byte 5); help: build it");
        assert_eq!(
            (problem.what.as_str(), problem.help.as_str()),
            ("no such entry (bundle, byte 5)", "build it")
        );
    }
}
