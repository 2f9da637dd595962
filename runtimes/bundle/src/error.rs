//! What is wrong with a bundle, a manifest or a launch: what, where, and what to do about it.

use std::fmt;

/// One problem, in words for the person who made or moved the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong, naming the thing.
    pub what: String,
    /// Where: `byte 512`, `lunette.toml:3:5`. Empty if there is no place to point at.
    pub place: String,
    /// What the reader can do.
    pub help: String,
}

impl Error {
    pub(crate) fn new(what: impl Into<String>, place: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), place: place.into(), help: help.into() }
    }

    /// A damaged or foreign bundle: `what` went wrong at byte `at`.
    pub(crate) fn damaged(what: impl Into<String>, at: usize) -> Self {
        Self::new(what, format!("bundle, byte {at}"), "make it again with `lunette build`")
    }
}

/// What stands between the problem and its remedy in the one-line form.
pub const HELP: &str = "; help: ";

/// One line: `what (where); help: remedy`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names come from outside: control characters would break the one line, or the terminal.
        let line = |f: &mut fmt::Formatter<'_>, s: &str| -> fmt::Result {
            for c in s.chars() {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
            }
            Ok(())
        };
        line(f, &self.what)?;
        if !self.place.is_empty() {
            f.write_str(" (")?;
            line(f, &self.place)?;
            f.write_str(")")?;
        }
        if !self.help.is_empty() {
            f.write_str(HELP)?;
            line(f, &self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
