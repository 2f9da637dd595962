//! Which processor native code is for: the levels of the x86-64 psABI.

use std::fmt;

/// A level, each with all of those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cpu {
    /// x86-64 as it began: every machine.
    #[default]
    V1,
    /// SSE4.2 and POPCNT: since about 2009.
    V2,
    /// AVX2, BMI2, FMA: since about 2013.
    V3,
}

/// The features of a level that code generation knows: cranelift's name and the processor's.
type Features = &'static [(&'static str, &'static str)];

const V2: Features = &[
    ("has_cmpxchg16b", "cmpxchg16b"),
    ("has_sse3", "sse3"),
    ("has_ssse3", "ssse3"),
    ("has_sse41", "sse4.1"),
    ("has_sse42", "sse4.2"),
    ("has_popcnt", "popcnt"),
];
const V3: Features = &[
    ("has_avx", "avx"),
    ("has_avx2", "avx2"),
    ("has_bmi1", "bmi1"),
    ("has_bmi2", "bmi2"),
    ("has_fma", "fma"),
    ("has_lzcnt", "lzcnt"),
];

impl Cpu {
    pub const ALL: [Self; 3] = [Self::V1, Self::V2, Self::V3];

    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cpu| cpu.name() == name)
    }

    /// The best that this machine has all of.
    pub fn here() -> Self {
        Self::ALL.into_iter().rev().find(|cpu| cpu.missing().is_empty()).unwrap_or_default()
    }

    /// What this machine lacks of the level.
    pub fn missing(self) -> Vec<&'static str> {
        self.features().filter(|(_, name)| !has(name)).map(|(_, name)| *name).collect()
    }

    pub(crate) fn features(self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let v2: Features = if self >= Self::V2 { V2 } else { &[] };
        let v3: Features = if self >= Self::V3 { V3 } else { &[] };
        v2.iter().chain(v3)
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x86-64-{}", self.name())
    }
}

fn has(feature: &str) -> bool {
    macro_rules! detect {
        ($($name:tt)*) => {
            match feature {
                $($name => std::arch::is_x86_feature_detected!($name),)*
                _ => false,
            }
        };
    }
    detect!("cmpxchg16b" "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "avx2" "bmi1" "bmi2" "fma" "lzcnt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_contain_each_other() {
        for cpu in Cpu::ALL {
            assert_eq!(Cpu::from_name(cpu.name()), Some(cpu));
        }
        assert_eq!(Cpu::V1.features().count(), 0);
        assert!(Cpu::V3.features().count() > Cpu::V2.features().count());
        assert_eq!(Cpu::from_name("v4"), None);
        assert!(Cpu::V1.missing().is_empty() && Cpu::here().missing().is_empty());
    }
}
