//! What native code says of itself, in a bundle: a few lines beside wasmtime's ELF.
//!
//! ```text
//! lunette native code 1
//! engine wasmtime 48.0.8
//! config 0123456789abcdef
//! cpu v1
//! kind component
//! of 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
//! ```
//!
//! Promises: whoever reads it can say before loading whether the code runs here, and if not, name both sides. Reading
//! believes nothing, and a label of another time (more lines, other words) is a [`Mismatch`], not an accident.
//! Does not: prove anything. Who can write a bundle can write what he likes.

use std::fmt;

use crate::{
    config::{self, Variant},
    cpu::Cpu,
};

/// What an artifact was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A core module that speaks preview 1.
    Module,
    Component,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub kind: Kind,
    pub variant: Variant,
    pub cpu: Cpu,
    /// SHA-256 of the bytecode that it was made from, in hex.
    pub of: String,
    engine: String,
    config: String,
}

/// Why an artifact does not run here: what it needs, and what is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Another release, or another configuration, of the engine.
    Engine { theirs: String, ours: String },
    /// The processor lacks these.
    Cpu { needs: Cpu, missing: Vec<&'static str> },
    /// It does not count what it executes, and is to, or the other way round.
    Fuel { counts: bool },
    /// It is no label that this release reads.
    Label(String),
    /// The engine refused it, in its words.
    Refused(String),
}

const FIRST: &str = "lunette native code 1";

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Component => "component",
        }
    }
}

impl Label {
    /// For what this build compiles.
    pub fn new(kind: Kind, variant: Variant, cpu: Cpu, of: String) -> Self {
        let engine = format!("wasmtime {}", config::VERSION);
        Self { kind, variant, cpu, of, engine, config: config::fingerprint(variant) }
    }

    pub fn parse(text: &str) -> Result<Self, Mismatch> {
        let wrong = |what: &str| Mismatch::Label(what.to_owned());
        let mut lines = text.lines();
        if lines.next() != Some(FIRST) {
            return Err(wrong("it does not begin as this release writes them"));
        }
        let mut field = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.ok_or_else(|| Mismatch::Label(format!("it has no line `{name}` where that should be")))
        };
        let engine = field("engine")?.to_owned();
        let config = field("config")?.to_owned();
        let cpu = field("cpu")?;
        let cpu = Cpu::from_name(cpu)
            .ok_or_else(|| Mismatch::Label(format!("the processor {cpu:?} is unknown")))?;
        let kind = match field("kind")? {
            "module" => Kind::Module,
            "component" => Kind::Component,
            other => return Err(Mismatch::Label(format!("the kind {other:?} is unknown"))),
        };
        let of = field("of")?.to_owned();
        if lines.next().is_some() {
            return Err(wrong("it has more lines than this release knows"));
        }
        let variant = Variant { fuel: config.ends_with("-fuel") };
        Ok(Self { kind, variant, cpu, of, engine, config })
    }

    /// Does it run here, in an engine of this variant? To be asked before it is loaded.
    pub fn fits(&self, variant: Variant) -> Result<(), Mismatch> {
        if variant.fuel != self.variant.fuel {
            return Err(Mismatch::Fuel { counts: self.variant.fuel });
        }
        let ours = Self::new(self.kind, variant, self.cpu, String::new());
        if (&self.engine, &self.config) != (&ours.engine, &ours.config) {
            return Err(Mismatch::Engine { theirs: self.engine_words(), ours: ours.engine_words() });
        }
        match self.cpu.missing() {
            missing if missing.is_empty() => Ok(()),
            missing => Err(Mismatch::Cpu { needs: self.cpu, missing }),
        }
    }

    /// The release and the configuration that it is for.
    pub fn engine_words(&self) -> String {
        format!("{}, configuration {}", self.engine, self.config)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, cpu, of, engine, config, .. } = self;
        let (kind, cpu) = (kind.name(), cpu.name());
        writeln!(f, "{FIRST}\nengine {engine}\nconfig {config}\ncpu {cpu}\nkind {kind}\nof {of}")
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine { theirs, ours } => {
                write!(f, "the native code is for {theirs}, and this is {ours}")
            }
            Self::Cpu { needs, missing } => {
                write!(f, "the native code is for {needs}, and this processor has no {}", missing.join(", "))
            }
            Self::Fuel { counts: true } => {
                f.write_str("the native code counts what it executes, and there is no limit on that")
            }
            Self::Fuel { counts: false } => {
                f.write_str("the native code does not count what it executes, and there is a limit on that")
            }
            Self::Label(what) => write!(f, "the native code's label can't be read: {what}"),
            Self::Refused(words) => write!(f, "the native code was refused by the engine: {words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        Label::new(Kind::Component, Variant::default(), Cpu::V3, "ab".into())
    }

    #[test]
    fn a_label_reads_back() {
        for fuel in [false, true] {
            let label = Label::new(Kind::Module, Variant { fuel }, Cpu::V1, "ab".into());
            assert_eq!(Label::parse(&label.to_string()), Ok(label));
        }
    }

    #[test]
    fn a_damaged_label_is_named() {
        let text = label().to_string();
        for (from, to, word) in [
            ("lunette", "moon", "begin"),
            ("cpu v3", "cpu v9", "v9"),
            ("kind component", "kind cow", "cow"),
            ("of ab\n", "", "`of`"),
            ("of ab\n", "of ab\nmore\n", "more lines"),
        ] {
            let Err(Mismatch::Label(what)) = Label::parse(&text.replace(from, to)) else {
                panic!("{to} was read")
            };
            assert!(what.contains(word), "{what}");
        }
        assert!(Label::parse("").is_err());
    }

    #[test]
    fn what_does_not_fit_names_both_sides() {
        let here = Label::new(Kind::Component, Variant::default(), Cpu::V1, "ab".into());
        assert_eq!(here.fits(Variant::default()), Ok(()));
        assert_eq!(here.fits(Variant { fuel: true }), Err(Mismatch::Fuel { counts: false }));
        let other = Label::parse(&here.to_string().replace(config::VERSION, "12.0.0")).unwrap();
        let words = other.fits(Variant::default()).unwrap_err().to_string();
        assert!(words.contains("wasmtime 12.0.0") && words.contains(config::VERSION), "{words}");
    }
}
