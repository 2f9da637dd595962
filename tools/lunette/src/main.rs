#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    lunette::main(std::env::args_os().collect()).into()
}
