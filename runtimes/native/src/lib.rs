//! WebAssembly that was compiled ahead of time.
//!
//! - [`config`] is the one configuration of the engine: who compiles and who runs have it from here.
//! - [`Artifact`] is native code as it travels: wasmtime's ELF, and a [`Label`] that says what it needs.
//! - [`compile`] makes one (with the feature of that name: the image has no compiler).
//! - [`Engine`] runs them: [`Engine::module`] and [`Engine::component`] load what fits, and say what does not.
//! - [`start`] makes a guest of a module that speaks WASI preview 1.
//! - [`Profile`] is where guests spent their time.
//! - [`Meter`], [`Book`] and [`trap`] are what any guest of this engine needs: components have them as well.
//!
//! Does not: interpret, know WASI 0.2, or check who made an artifact: native code is believed, so its maker has to be.
#![deny(unsafe_code)]

mod artifact;
#[cfg(feature = "compile")]
mod compile;
mod config;
mod cpu;
mod engine;
mod limits;
mod meter;
mod module;
mod profile;
pub mod trap;

pub use artifact::{Kind, Label, Mismatch};
#[cfg(feature = "compile")]
pub use compile::{Artifact, Failure, compile};
pub use config::{Variant, config, fingerprint};
pub use cpu::Cpu;
pub use engine::{Engine, Open, Source, ticker};
pub use limits::{Book, Limits};
pub use meter::{Meter, Stopped};
pub use module::{Instance, Problem, start};
pub use profile::{Probe, Profile};
