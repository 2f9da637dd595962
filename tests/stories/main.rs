//! Stories: what a user does with Lunette, and what must come of it. They run the CLI as a process and
//! boot real images.
//!
//! `cargo xtask test stories` sets what they need in the environment; `cargo test -p lunette-tests` alone
//! runs those that need nothing. What can't be run here is *ignored*, with the reason in brackets before
//! its name; it never counts as passed.
//!
//! | variable | what |
//! |---|---|
//! | `LUNETTE_IMAGE` | the kernel image, or the folder of images; without it, or without QEMU, nothing boots |
//! | `LUNETTE_SAMPLES` | the built samples (`cargo xtask samples`) |
//! | `LUNETTE_GUESTS` | the built guests (`cargo xtask guests`) |
//! | `LUNETTE_TORTURE` | how many MiB cross the bad wire (12; the stack's own tests send 100, in virtual time) |
//! | `LUNETTE_FOREIGN` | the foreign programs and the other host (`cargo xtask vendor-tests`) |
#![forbid(unsafe_code)]

mod background;
mod bad_input;
mod beside;
mod clients;
mod components;
mod ends;
mod exports;
mod foreign;
mod guests;
mod hostile;
mod images;
mod lua;
mod lua_suites;
mod misdeeds;
mod network_flags;
mod processes;
mod profiles;
mod samples;
mod servers;
mod services;
mod signed;
mod streams;
mod vm;
mod wire;
mod wired;

use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};

/// A story that takes longer is named: all of them together are to be told while somebody waits.
const LONG: Duration = Duration::from_secs(5);

/// The stories of this run.
pub(crate) struct Stories(Vec<Trial>);

impl Stories {
    /// One that boots. `machine` is in the name, so that a failure names it.
    pub(crate) fn boots(&mut self, name: impl Into<String>, story: impl FnOnce() + Send + 'static) {
        self.needs(name, vm::cannot_boot(), story);
    }

    /// One that needs no VM.
    pub(crate) fn tells(&mut self, name: impl Into<String>, story: impl FnOnce() + Send + 'static) {
        self.needs(name, None, story);
    }

    /// One that is ignored for a reason, if there is one.
    pub(crate) fn needs(
        &mut self,
        name: impl Into<String>,
        lack: Option<&'static str>,
        story: impl FnOnce() + Send + 'static,
    ) {
        let name = name.into();
        let trial = Trial::test(name.clone(), move || {
            let begun = Instant::now();
            story();
            let took = begun.elapsed();
            if took > LONG {
                eprintln!("long: {name}: {:.1} s", took.as_secs_f64());
            }
            Ok(())
        });
        self.0.push(match lack {
            Some(why) => trial.with_kind(why).with_ignored_flag(true),
            None => trial,
        });
    }
}

fn main() {
    let arguments = Arguments::from_args();
    // Some stories have a thousand clients.
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit });
    let mut stories = Stories(Vec::new());
    samples::stories(&mut stories);
    images::stories(&mut stories);
    beside::stories(&mut stories);
    lua::stories(&mut stories);
    lua_suites::stories(&mut stories);
    servers::stories(&mut stories);
    services::stories(&mut stories);
    signed::stories(&mut stories);
    exports::stories(&mut stories);
    streams::stories(&mut stories);
    ends::stories(&mut stories);
    hostile::stories(&mut stories);
    bad_input::stories(&mut stories);
    processes::stories(&mut stories);
    network_flags::stories(&mut stories);
    background::stories(&mut stories);
    components::stories(&mut stories);
    misdeeds::stories(&mut stories);
    profiles::stories(&mut stories);
    foreign::stories(&mut stories);
    wired::stories(&mut stories);
    libtest_mimic::run(&arguments, stories.0).exit();
}
