//! Work that is nothing but work, for comparing engines: `compute NAME [ROUNDS]`, `compute list`.
//!
//! Standard output gets a line with the name and a checksum, which is the same on every engine; standard error the
//! seconds that the rounds took, without the time to load and start. The usual rounds take a native build about a fifth of
//! a second.

mod kernels {
    pub(crate) mod coremark;
    pub(crate) mod json;
    pub(crate) mod matmul;
    pub(crate) mod nbody;
    pub(crate) mod parser;
    pub(crate) mod regex;
    pub(crate) mod sha256;
    pub(crate) mod sieve;
}

use std::{process::ExitCode, time::Instant};

use kernels::{coremark, json, matmul, nbody, parser, regex, sha256, sieve};

/// Its rounds (how many to do) to a checksum.
type Kernel = fn(u32) -> u64;

const KERNELS: [(&str, u32, Kernel); 8] = [
    ("coremark", 8000, coremark::run),
    ("json", 180, json::run),
    ("matmul", 12, matmul::run),
    ("nbody", 3_000_000, nbody::run),
    ("parser", 1400, parser::run),
    ("regex", 30, regex::run),
    ("sha256", 36, sha256::run),
    ("sieve", 22, sieve::run),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    if name == "list" {
        KERNELS.iter().for_each(|(name, ..)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let Some((name, usual, kernel)) = KERNELS.iter().find(|(known, ..)| *known == name) else {
        eprintln!("compute: no kernel `{name}`; `compute list` names them");
        return ExitCode::from(2);
    };
    let rounds = match args.next().map(|rounds| rounds.parse()) {
        None => *usual,
        Some(Ok(rounds)) => rounds,
        Some(Err(error)) => {
            eprintln!("compute: rounds: {error}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let sum = kernel(rounds);
    eprintln!("{:.6} s", begun.elapsed().as_secs_f64());
    println!("{name} {sum:016x}");
    ExitCode::SUCCESS
}

/// Numbers that look random and are the same everywhere (xorshift64*).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// FNV-1a, for folding results into one number.
pub(crate) fn fold(sum: u64, bytes: &[u8]) -> u64 {
    let start = if sum == 0 { 0xcbf2_9ce4_8422_2325 } else { sum };
    bytes.iter().fold(start, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
