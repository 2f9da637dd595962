//! What WASI 0.2 promises a command, as checks: `conform2 [NAME…]`, `conform2 list`.
//!
//! Each check says `NAME: ok`, or ends the program by a panic that names file and line. It needs a folder `/tmp` to write
//! to, loopback with the ports 7200 to 7209 of TCP and UDP, `localhost` as a name, the variable `CONFORM=2`, and nothing at
//! standard input. wasi:http is asked for what needs no network: fields, requests, options.

mod cli;
mod clocks;
mod files;
mod http;
mod names;
mod random;
mod streams;
mod tcp;
mod udp;

use std::process::ExitCode;

use wasip2::io::poll::Pollable;

const CHECKS: &[(&str, fn())] = &[
    ("cli-arguments", cli::arguments),
    ("cli-environment", cli::environment),
    ("cli-terminals", cli::terminals),
    ("clocks-monotonic", clocks::monotonic),
    ("clocks-wall", clocks::wall),
    ("clocks-wait", clocks::wait),
    ("poll", clocks::poll_many),
    ("random", random::random),
    ("streams-output", streams::output),
    ("streams-input", streams::input),
    ("streams-splice", streams::splice),
    ("files-write-read", files::write_read),
    ("files-streams", files::streams),
    ("files-open", files::open),
    ("files-directories", files::directories),
    ("files-read-directory", files::read_directory),
    ("files-rename-link", files::rename_link),
    ("files-symlinks", files::symlinks),
    ("files-size-times", files::size_times),
    ("files-same-object", files::same_object),
    ("files-dots", files::dots),
    ("files-errors", files::errors),
    ("names", names::names),
    ("tcp-bind", tcp::bind),
    ("tcp-states", tcp::states),
    ("tcp-echo", tcp::echo),
    ("tcp-many", tcp::many),
    ("tcp-refused", tcp::refused),
    ("tcp-options", tcp::options),
    ("udp-echo", udp::echo),
    ("udp-connect", udp::connect),
    ("udp-states", udp::states),
    ("http-fields", http::fields),
    ("http-requests", http::requests),
    ("http-options", http::options),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.iter().any(|name| name == "list") {
        CHECKS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    if let Some(name) = wanted.iter().find(|name| CHECKS.iter().all(|(known, _)| known != name)) {
        eprintln!("conform2: no check `{name}`");
        return ExitCode::FAILURE;
    }
    for (name, check) in CHECKS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            check();
            println!("{name}: ok");
        }
    }
    ExitCode::SUCCESS
}

/// Is it this error, and no other?
#[macro_export]
macro_rules! refused {
    ($done:expr, $($error:ident)|+) => {
        match $done {
            Err($(ErrorCode::$error)|+) => {}
            Err(other) => panic!("{}: {other:?}", stringify!($done)),
            Ok(_) => panic!("{} was not refused", stringify!($done)),
        }
    };
}

/// Asks again whenever what there is to wait for is ready, for as long as the answer is that it would block.
fn finish<T, E: PartialEq>(
    ready: &Pollable,
    would_block: E,
    mut ask: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    loop {
        match ask() {
            Err(error) if error == would_block => ready.block(),
            done => return done,
        }
    }
}
