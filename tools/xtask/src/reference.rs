//! `cargo xtask reference`: Wasmtime's own CLI, of the release that Lunette is built on, into `target/reference`.
//!
//! Guests and figures are compared with it; nothing that is shipped needs it. It takes ten minutes on two cores, so it is
//! built once, in the background's priority.

use std::path::PathBuf;

use crate::sh::{Result, command, read, run, target};

const VERSION: &str = "48.0.8";

/// What running and serving needs, and no second compiler, debugger or neural network.
const FEATURES: &str = "run,serve,compile,cranelift,parallel-compilation,pooling-allocator,component-model,\
    component-model-async,wasi-http,wasi-config,wasi-keyvalue,wat,gc,gc-drc,gc-null,threads,backtrace,demangle,\
    addr2line,logging,clap/default";

/// The program, if it has been built.
pub(crate) fn built() -> Option<PathBuf> {
    let program = target().join("reference/bin/wasmtime");
    let said = read(&mut command(&program, &["--version"])).ok()?;
    said.split_whitespace().any(|word| word == VERSION).then_some(program)
}

/// The program, built if need be.
pub(crate) fn build() -> Result<PathBuf> {
    if let Some(program) = built() {
        return Ok(program);
    }
    let package = format!("wasmtime-cli@{VERSION}");
    let mut install = command("nice", &["-n", "15", "cargo", "install", "--locked", "--force", &package]);
    install.args(["--no-default-features", "--features", FEATURES, "--root"]).arg(target().join("reference"));
    // Flags for the machine that runs this would make it another program.
    install.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    run(&mut install)?;
    built().ok_or_else(|| format!("what was built does not say {VERSION}").into())
}
