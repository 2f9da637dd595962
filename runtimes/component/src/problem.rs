//! Why a component can't be started though its code was loaded.

use std::fmt;

use lunette_native::trap;

use crate::Missing;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is for another world: it imports what there is not.
    World(Vec<Missing>),
    /// It does not export what is to be called. What it was to be, and what it exports.
    NoEntry { wanted: &'static str, exports: Vec<String> },
    /// The engine's words.
    Setup(String),
}

impl Problem {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::World(_) => {
                "build it for wasi:cli/command or wasi:http/proxy: these are the worlds that are here"
            }
            Self::NoEntry { .. } => {
                "build it as a command (a `main`) or as an HTTP handler (wasi:http/incoming-handler)"
            }
            Self::Setup(_) => "build the bundle again with the `lunette` that belongs to this image",
        }
    }

    /// What the engine says, in one line.
    pub(crate) fn setup(error: wasmtime::Error) -> Self {
        Self::Setup(trap::words(&error))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World(missing) => {
                f.write_str("it is for a world that is not this one; it imports what there is not: ")?;
                list(f, missing)
            }
            Self::NoEntry { wanted, exports } if exports.is_empty() => {
                write!(f, "it does not export {wanted}, nor anything else")
            }
            Self::NoEntry { wanted, exports } => {
                write!(f, "it does not export {wanted}; it exports ")?;
                list(f, exports)
            }
            Self::Setup(words) => f.write_str(words),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (n, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if n == 0 { "" } else { ", " })?;
    }
    Ok(())
}
