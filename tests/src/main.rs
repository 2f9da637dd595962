//! The CLI, once more, for the stories: cargo names a package's own binaries to its tests.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    lunette::main(std::env::args_os().collect()).into()
}
