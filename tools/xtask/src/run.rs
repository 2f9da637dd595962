//! `cargo xtask run`: from a clean checkout to the first VM.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    image, samples, setup,
    sh::{Result, cargo, command, run as sh, show, target},
};

/// Builds what is needed and boots the Rust hello; `args` are the app's. Gives back the app's exit code.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    setup::setup()?;
    let image = image::build(image::FULL)?;
    println!("{image}");
    let cli = cli()?;
    let samples::State::Built(hello) = samples::build("hello-rust")? else {
        return Err("the Rust hello was not built".into());
    };
    let mut run = command(&cli, &["run"]);
    run.arg(&hello).args(args).env("LUNETTE_IMAGE", image::path());
    println!("{}", show(&run));
    let status = run.status().map_err(|e| format!("{}: {e}", cli.display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The CLI as it is shipped.
pub(crate) fn cli() -> Result<PathBuf> {
    sh(&mut cargo(&["build", "--release", "-p", "lunette"]))?;
    Ok(target().join("release/lunette"))
}
