//! Any frames, in any order, at any time, to a stack that is in use: see `../harness.rs` for what must hold.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../harness.rs"]
mod harness;

fuzz_target!(|bytes: &[u8]| harness::run(bytes));
