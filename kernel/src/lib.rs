//! The machine side of Lunette: from the first instruction to the services that guests are given.
//!
//! Promises: `no_std`; one core; virtual = physical for RAM; no page is ever both writable and executable;
//! page 0 is unmapped and a guard page lies below every stack; nothing that a guest, a peer or a device
//! sends panics the kernel; every run ends with a farewell.
//!
//! What it does not know: engines, bundles, WASI. `kernel/image` joins those with this crate.
//!
//! The parts that stand on no machine (memory management, clock arithmetic, the generator, parsing) are
//! tested on a laptop; the others are compiled for the image's target and for `x86_64-unknown-none` only.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod cmdline;
pub mod floor;
pub mod mm;

pub mod acpi;
pub mod cell;
pub mod drivers;
pub mod entropy;
pub mod handover;
pub mod stdin;
pub mod symbols;
pub mod time;

#[cfg(any(target_env = "musl", target_os = "none"))]
pub mod arch;
#[cfg(any(target_env = "musl", target_os = "none"))]
mod backtrace;
#[cfg(any(target_env = "musl", target_os = "none"))]
pub mod boot;
#[cfg(any(target_env = "musl", target_os = "none"))]
mod cold;
#[cfg(any(target_env = "musl", target_os = "none"))]
pub mod configuration;
#[cfg(any(target_env = "musl", target_os = "none"))]
pub mod console;
#[cfg(any(target_env = "musl", target_os = "none"))]
mod metadata;
#[cfg(any(target_env = "musl", target_os = "none"))]
pub mod network;
#[cfg(any(target_env = "musl", target_os = "none"))]
pub mod platform;
#[cfg(any(target_env = "musl", target_os = "none"))]
pub mod services;

/// What the image's panic hook calls: the words and a backtrace with names, to the log.
#[cfg(any(target_env = "musl", target_os = "none"))]
pub fn report_panic(words: &dyn core::fmt::Display) {
    console::log_line(console::Level::Error, format_args!("kernel: {words}"));
    backtrace::print_here();
}
