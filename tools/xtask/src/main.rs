//! The repository's chores, as one program: `cargo xtask COMMAND`.
//!
//! Everything a checkout needs is reached from here, so that a laptop and CI do the same. It depends on
//! no crate of the workspace: it is what builds them.
#![forbid(unsafe_code)]

mod bench;
mod dist;
mod echo;
mod foreign;
mod guests;
mod image;
mod json;
mod loaders;
mod packages;
mod reference;
mod run;
mod samples;
mod seal;
mod setup;
mod sh;
mod symbols;
mod test;
mod xen;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  run [ARGS]      set up, build everything, boot the Rust hello and print its output (ARGS go to the app)
  test [PHASE…]   all checks and tests; with names, only those phases (`test list` names them)
  bench [PART…]   measure; the table goes to standard output, the figures to target/bench.json
                  (bench --cli PATH [PART…]: by that `lunette`, instead of one built for release)
  setup           install what is missing: Rust targets, apt packages
  image [--variant NAME,…]
                  build target/image/lunette.elf; or what leaves something out (wasm, lua, native) as lunette-NAME.elf
                  and the loaders for disks
  loaders         build those only: target/image/lunette.bios and lunette.efi
  dist --key FILE [--cli PATH] [--index PATH] [--variant NAME,…] [--stream NAME] [--output DIR]
                  build a release into target/dist/: images, command line, bills of materials, sums, signed index
  samples         build the samples into target/samples/
  guests          build the tests' Rust programs into target/guests/
  reference       build Wasmtime's own CLI, to compare with, into target/reference/
  vendor-tests    fetch the foreign programs that the tests run into target/foreign/
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match command.as_str() {
        "run" => return run::run(&rest).unwrap_or_else(|error| failed(&*error)),
        "test" => return test::test(&rest).unwrap_or_else(|error| failed(&*error)),
        "bench" => bench::bench(&rest),
        "setup" => setup::setup(),
        "image" => image::asked(&rest).and_then(|variants| {
            variants.iter().try_for_each(|variant| image::build(variant).map(|image| println!("{image}")))?;
            loaders::build().map(|built| built.iter().for_each(|loader| println!("{loader}")))
        }),
        "loaders" => loaders::build().map(|built| built.iter().for_each(|loader| println!("{loader}"))),
        "dist" => dist::dist(&rest),
        "samples" => samples::build_all().map(|built| {
            for (name, state) in built {
                match state {
                    samples::State::Built(path) => println!("{name}: {}", path.display()),
                    samples::State::Skipped(why) => println!("{name}: skipped: {why}"),
                }
            }
        }),
        "guests" => guests::build_all().map(|built| built.iter().for_each(|it| println!("{}", it.display()))),
        "reference" => reference::build().map(|program| println!("{}", program.display())),
        "vendor-tests" | "fetch" => foreign::fetch().map(|it| println!("{}", it.dir.display())),
        "" | "help" | "-h" | "--help" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(format!("no command `{other}`\n\n{USAGE}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
