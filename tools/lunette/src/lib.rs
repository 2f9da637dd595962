//! The CLI `lunette`: run, build, sign, verify, check, inspect, doctor; and ps, logs, stop, rm, wait for VMs in the background.
//!
//! Promises: what is bad is refused before anything boots, with what, where and the remedy; a run that
//! ends without the kernel's farewell is never taken for success; the app's exit code is the command's
//! ([`exit`]). Does not: share folders live, restart VMs, configure the host's network.
//!
//! The way of a run: [`cli`] → [`app`] (a bundle of whatever was named) → [`run`] (the launch, the checks)
//! → [`native`] (what is to be compiled is) → [`network`] (what it is connected to) → [`hypervisor`] (the command, the process, the probe of KVM), in this process
//! or in one of its own ([`background`]), or [`host`] (no VM) → an exit code.
#![forbid(unsafe_code)]

pub mod app;
pub mod background;
pub mod baked;
pub mod cache;
pub mod cli;
pub mod component;
pub mod console;
pub mod exit;
pub mod export;
pub mod host;
pub mod hypervisor;
pub mod identity;
pub mod image;
pub mod module;
pub mod native;
pub mod network;
pub mod problem;
pub mod profile;
pub mod run;
pub mod script;
pub mod signing;
pub mod verbs;
pub mod watch;

use std::ffi::OsString;

use background::supervisor;
use clap::{CommandFactory, Parser};
use cli::{Cli, ImageVerb, Verb};
use hypervisor::running;
use problem::{Problem, Voice};

/// The whole program: the exit code for these arguments, the first being the program's name.
pub fn main(args: Vec<OsString>) -> u8 {
    if args.get(1).is_some_and(|word| word == running::GUARD) {
        // What it says goes where the hypervisor's words go.
        eprintln!("{}", running::guard(&args[2..]));
        return exit::FAILURE;
    }
    if args.get(1).is_some_and(|word| word == supervisor::VERB) {
        return supervisor::supervise(&args[2..]);
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are no errors. For all others our code is docker's.
            let code = if e.use_stderr() { exit::FAILURE } else { 0 };
            let _ = e.print();
            return code;
        }
    };
    let voice = Voice::new(cli.quiet, cli.verbose);
    let us = run::Us { executable: std::env::current_exe().ok(), voice, cache: cache::Cache::of_user() };
    dispatch(&cli.verb, &us).unwrap_or_else(|problem| {
        // An end that needs no words has none.
        if !problem.what.is_empty() {
            voice.error(&problem);
        }
        problem.code
    })
}

fn dispatch(verb: &Verb, us: &run::Us) -> Result<u8, Problem> {
    match verb {
        Verb::Run(args) => run::run(args, us),
        Verb::Repl { command } => run::repl(command, us),
        Verb::New(args) => verbs::new::new(args, us),
        Verb::Build(args) => verbs::build::build(args, us),
        Verb::Check(args) => verbs::check::check(args, us),
        Verb::Inspect(args) => verbs::inspect::inspect(args, us),
        Verb::Sign(args) => verbs::sign::sign(args),
        Verb::Verify(args) => verbs::sign::verify(args),
        Verb::Image { verb: ImageVerb::Export(args) } => export::export(args, us),
        Verb::Image { verb: ImageVerb::Releases(verb) } => verbs::images::releases(verb, us),
        Verb::Own { format } => verbs::own::own(*format, us),
        Verb::Ps(args) => verbs::ps::ps(args, us),
        Verb::Logs(args) => verbs::logs::logs(args),
        Verb::Stop(args) => verbs::end::stop(args, us),
        Verb::Rm(args) => verbs::end::rm(args, us),
        Verb::Wait(args) => verbs::end::wait(args, us),
        Verb::Doctor(args) => verbs::doctor::doctor(args, us),
        Verb::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "lunette", &mut script);
            verbs::print(&String::from_utf8_lossy(&script)).map(|()| 0)
        }
        Verb::Version { format } => {
            let version = env!("CARGO_PKG_VERSION");
            let text = if format.json() {
                format!("{:#}\n", serde_json::json!({ "name": "lunette", "version": version }))
            } else {
                format!("lunette {version}\n")
            };
            verbs::print(&text).map(|()| 0)
        }
    }
}
