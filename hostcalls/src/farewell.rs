//! The last words of a run: how the kernel tells whoever started the VM what became of the guest.
//!
//! One line, `lunette: farewell WORD [REST]`. A run that ends without one has crashed (a triple fault
//! looks like a clean power-off to a hypervisor). The kernel writes it to its report channel, or to the
//! console where it was given none; `tools/lunette` reads it back. Both use this file.

use alloc::{borrow::ToOwned, string::String};
use core::fmt;

/// What became of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The guest ended by itself with this code.
    Exit(u32),
    /// The guest trapped; the details went to standard error.
    Trap,
    /// The guest was stopped: its time was up.
    Timeout,
    /// The guest was stopped: its fuel was used up.
    Fuel,
    /// The guest was ended because the VM ran out of memory.
    OutOfMemory,
    /// Nothing was started: the bundle, the launch or the module can't be. One line says why.
    Refused(String),
    /// Somebody asked the VM to stop.
    Stopped,
    /// The kernel broke an invariant of its own. One line says which.
    Panic(String),
}

/// How each farewell line begins.
pub const PREFIX: &str = "lunette: farewell ";

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |s: &str| s.replace(['\n', '\r'], " ");
        f.write_str(PREFIX)?;
        match self {
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Trap => f.write_str("trap"),
            Self::Timeout => f.write_str("timeout"),
            Self::Fuel => f.write_str("fuel"),
            Self::OutOfMemory => f.write_str("out-of-memory"),
            Self::Refused(why) => write!(f, "refused {}", line(why)),
            Self::Stopped => f.write_str("stopped"),
            Self::Panic(why) => write!(f, "panic {}", line(why)),
        }
    }
}

impl Farewell {
    /// Reads one line back; `None` if it is no farewell.
    pub fn parse(line: &str) -> Option<Self> {
        let words = line.trim_end_matches(['\n', '\r']).strip_prefix(PREFIX)?;
        let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
        Some(match word {
            "exit" => Self::Exit(rest.parse().ok()?),
            "trap" => Self::Trap,
            "timeout" => Self::Timeout,
            "fuel" => Self::Fuel,
            "out-of-memory" => Self::OutOfMemory,
            "refused" => Self::Refused(rest.to_owned()),
            "stopped" => Self::Stopped,
            "panic" => Self::Panic(rest.to_owned()),
            _ => return None,
        })
    }
}

/// What became of a new version of the app, on the same channel: `lunette: version WORD [REST]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// It runs.
    Taken,
    /// The one before goes on. One line says why.
    Refused(String),
}

const VERSION: &str = "lunette: version ";

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => write!(f, "{VERSION}taken"),
            Self::Refused(why) => write!(f, "{VERSION}refused {}", why.replace(['\n', '\r'], " ")),
        }
    }
}

impl Version {
    /// Reads one line back; `None` if it is none of these.
    pub fn parse(line: &str) -> Option<Self> {
        let words = line.trim_end_matches(['\n', '\r']).strip_prefix(VERSION)?;
        match words.split_once(' ').unwrap_or((words, "")) {
            ("taken", _) => Some(Self::Taken),
            ("refused", why) => Some(Self::Refused(why.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::{Farewell, Version};

    #[test]
    fn what_became_of_a_version_reads_back() {
        for version in [Version::Taken, Version::Refused("a b".into())] {
            assert_eq!(Version::parse(&version.to_string()), Some(version));
        }
        assert_eq!(Version::Refused("a\nb".into()).to_string(), "lunette: version refused a b");
        assert_eq!(Version::parse("lunette: farewell exit 0"), None);
    }

    #[test]
    fn every_farewell_reads_back_and_stays_one_line() {
        let all = [
            Farewell::Exit(0),
            Farewell::Exit(255),
            Farewell::Trap,
            Farewell::Timeout,
            Farewell::Fuel,
            Farewell::OutOfMemory,
            Farewell::Refused("app.wasm: no such entry".into()),
            Farewell::Stopped,
            Farewell::Panic("index out of bounds".into()),
        ];
        for farewell in all {
            assert_eq!(Farewell::parse(&farewell.to_string()), Some(farewell));
        }
        let two_lines = Farewell::Refused("a\nlunette: farewell exit 0".into()).to_string();
        assert!(!two_lines.contains('\n'));
        assert_eq!(Farewell::parse("lunette: farewell exit"), None);
        assert_eq!(Farewell::parse("exit 0"), None);
    }
}
