//! What WASI 0.3 promises a command, as checks: `conform3 [NAME…]`, `conform3 list`.
//!
//! Each check says `NAME: ok`, or ends the program by a panic that names file and line. It needs a folder `/tmp` to write
//! to, loopback with any port of TCP and UDP, `localhost` as a name, the variable `CONFORM=3`, and nothing at standard
//! input. wasi:http is asked for what needs no network: fields, requests, answers, options.
//!
//! The world is that of `wasi:cli/command`; std speaks WASI 0.2 meanwhile, as it does in every Rust program of today.

mod cli;
mod clocks;
mod edges;
mod files;
mod http;
mod names;
mod random;
mod tcp;
mod udp;

use std::{future::Future, pin::Pin};

wasip3::cli::command::export!(Command);

struct Command;

type Check = fn() -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! checks {
    ($($name:literal $check:path,)*) => { [$(($name, (|| Box::pin($check())) as Check),)*] };
}

const CHECKS: &[(&str, Check)] = &checks! {
    "cli-arguments" cli::arguments,
    "cli-environment" cli::environment,
    "cli-stdout" cli::stdout,
    "cli-terminals" cli::terminals,
    "clocks-monotonic" clocks::monotonic,
    "clocks-system" clocks::system,
    "clocks-wait" clocks::wait,
    "clocks-many-wait" clocks::many_wait,
    "random" random::random,
    "files-write-read" files::write_read,
    "files-append" files::append,
    "files-stream-ends" files::stream_ends,
    "files-open" files::open,
    "files-directories" files::directories,
    "files-read-directory" files::read_directory,
    "files-rename-link" files::rename_link,
    "files-symlinks" files::symlinks,
    "files-size-times" files::size_times,
    "files-same-object" files::same_object,
    "files-dots" files::dots,
    "files-flags" edges::flags,
    "files-at-once" edges::at_once,
    "files-paths" edges::paths,
    "files-advice" edges::advice,
    "names" names::names,
    "tcp-bind" tcp::bind,
    "tcp-states" tcp::states,
    "tcp-echo" tcp::echo,
    "tcp-many" tcp::many,
    "tcp-refused" tcp::refused,
    "tcp-options" tcp::options,
    "tcp-listen" tcp::listen,
    "tcp-half" tcp::half,
    "tcp-six" tcp::six,
    "udp-echo" udp::echo,
    "udp-connect" udp::connect,
    "udp-states" udp::states,
    "udp-implicit" udp::implicit,
    "http-fields" http::fields,
    "http-requests" http::requests,
    "http-responses" http::responses,
    "http-options" http::options,
};

impl wasip3::exports::cli::run::Guest for Command {
    async fn run() -> Result<(), ()> {
        let wanted: Vec<String> = wasip3::cli::environment::get_arguments().split_off(1);
        if wanted.iter().any(|name| name == "list") {
            CHECKS.iter().for_each(|(name, _)| println!("{name}"));
            return Ok(());
        }
        if let Some(name) = wanted.iter().find(|name| CHECKS.iter().all(|(known, _)| known != name)) {
            eprintln!("conform3: no check `{name}`");
            return Err(());
        }
        for (name, check) in CHECKS {
            if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
                check().await;
                println!("{name}: ok");
            }
        }
        Ok(())
    }
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
