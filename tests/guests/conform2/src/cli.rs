//! wasi:cli: what a program is given.

use wasip2::cli::{environment, terminal_stderr, terminal_stdin, terminal_stdout};

pub(crate) fn arguments() {
    let arguments = environment::get_arguments();
    assert!(!arguments.is_empty(), "the program's own name comes first");
    assert_eq!(arguments, std::env::args().collect::<Vec<_>>());
}

pub(crate) fn environment() {
    let variables = environment::get_environment();
    assert!(variables.iter().any(|(name, value)| name == "CONFORM" && value == "2"), "{variables:?}");
    let _: Option<String> = environment::initial_cwd();
}

/// Asking does not fail, and what came is let go.
pub(crate) fn terminals() {
    for _ in 0..3 {
        drop(terminal_stdin::get_terminal_stdin());
        drop(terminal_stdout::get_terminal_stdout());
        drop(terminal_stderr::get_terminal_stderr());
    }
}
