#![forbid(unsafe_code)]

pub mod memory;
pub mod wasi;
