//! How fast a component that handles HTTP answers, an instance for each request, beside `wasmtime serve` of the same file:
//! in a Debian guest under the same QEMU flags, and, for information, both as processes of this machine.
//!
//! Taken as [`super::http`] says: by turns, over connections that are kept.

use std::{path::Path, process::Stdio};

use super::{
    Figure,
    http::{PATIENCE, ROUNDS, Runs, Spell, Take, answers, spell, with_room},
    instance,
    net::{beside, free_port, served},
    vm::Bench,
    wasmtime,
};
use crate::sh::{Result, command};

/// How many times as many requests as `wasmtime serve`.
const LEAST: f64 = 1.2;

struct Server {
    take: Take,
    port: u16,
    best: Option<Spell>,
    _runs: Runs,
}

impl Server {
    fn new(name: &'static str, port: u16, runs: Runs) -> Result<Self> {
        if !answers(port, PATIENCE) {
            return Err(format!("{name}: no answer within {} s", PATIENCE.as_secs()).into());
        }
        Ok(Self { take: Take { name, path: "/hello", kept: true }, port, best: None, _runs: runs })
    }
}

/// Makes a server.
type Start = fn(&Bench, &Path) -> Result<Server>;

/// Those that ours is compared with.
const OTHERS: [(&str, Start); 3] = [
    ("http.wasmtime_serve_guest", in_debian),
    ("http.component_hello_host", host),
    ("http.wasmtime_serve_host", wasmtime_on_the_host),
];

pub(super) fn rates(bench: &Bench) -> Result<Vec<Figure>> {
    let handler = instance::component()?;
    let mut servers = vec![in_a_vm(bench, &handler)?];
    for (name, start) in OTHERS {
        match start(bench, &handler) {
            Ok(server) => servers.push(server),
            // What can't be had leaves the others' figures.
            Err(error) => println!("not measured: {name}: {error}"),
        }
    }
    for _ in 0..ROUNDS {
        for server in &mut servers {
            let spell = spell(server.port, &server.take).map_err(|e| format!("{}: {e}", server.take.name))?;
            spell.compete(&mut server.best);
        }
    }
    let rate = |name: &str| {
        let server = servers.iter().find(|server| server.take.name == name)?;
        Some(server.best?.per_second)
    };
    let mut figures = Vec::new();
    for server in &servers {
        figures.extend(server.best.iter().flat_map(|best| best.figures(server.take.name)));
    }
    if let (Some(ours), Some(theirs)) = (rate("http.component_hello"), rate("http.wasmtime_serve_guest")) {
        figures.push(Figure::new("http.component_hello/wasmtime", ours / theirs, "times").at_least(LEAST));
    }
    Ok(figures)
}

fn in_a_vm(bench: &Bench, handler: &Path) -> Result<Server> {
    let port = free_port()?;
    let words = served(bench, "q35", port, handler, &["-m", "64M"])?;
    Server::new("http.component_hello", port, Runs::Vm { _vm: words.start()? })
}

fn in_debian(bench: &Bench, handler: &Path) -> Result<Server> {
    let guest = wasmtime::guest(handler)?;
    let port = free_port()?;
    let words = served(bench, "q35", port, handler, &["-m", "64M"])?;
    let words = beside(with_room(words)?, &guest, port)?;
    Server::new("http.wasmtime_serve_guest", port, Runs::Vm { _vm: words.start()? })
}

fn host(bench: &Bench, handler: &Path) -> Result<Server> {
    let port = free_port()?;
    let mut run = command(&bench.cli, &["run", "--host", "-p", &format!("127.0.0.1:{port}:80")]);
    run.arg(handler).stdin(Stdio::null()).stdout(Stdio::null());
    Server::new("http.component_hello_host", port, Runs::Process(run.spawn()?))
}

fn wasmtime_on_the_host(_: &Bench, handler: &Path) -> Result<Server> {
    let port = free_port()?;
    let mut serve = command(wasmtime::program()?, &wasmtime::SERVE);
    serve.arg(format!("--addr=127.0.0.1:{port}")).arg(handler);
    serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Server::new("http.wasmtime_serve_host", port, Runs::Process(serve.spawn()?))
}
