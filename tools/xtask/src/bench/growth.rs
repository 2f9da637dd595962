//! Whether instances leave anything behind: how much larger a server's process is after ten thousand requests, each with an
//! instance of its own. Under `--host`, where the system counts the pages; the runtime is the image's.

use std::{fs, process::Stdio};

use super::{
    Figure,
    http::{Client, PATIENCE, Runs, answers},
    instance,
    net::free_port,
    vm::Bench,
};
use crate::sh::{Result, command};

/// Before the first look: pools and caches are filled by then.
const WARM_UP: usize = 2000;
const REQUESTS: usize = 10_000;
/// A hundred bytes for each request.
const MOST_KIB: f64 = 1000.0;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let port = free_port()?;
    let mut run = command(&bench.cli, &["run", "--host", "-p", &format!("127.0.0.1:{port}:80")]);
    let child = run.arg(instance::component()?).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let pid = child.id();
    let _runs = Runs::Process(child);
    if !answers(port, PATIENCE) {
        return Err("the handler did not answer".into());
    }
    let mut client = Client::new(port)?;
    let mut ask = |times: usize| (0..times).try_for_each(|_| client.get("/hello", true).map(drop));
    ask(WARM_UP)?;
    let before = resident(pid)?;
    ask(REQUESTS)?;
    let growth = resident(pid)?.saturating_sub(before);
    Ok(vec![Figure::new("http.component_growth", growth as f64, "KiB").at_most(MOST_KIB)])
}

/// KiB of a process that are in memory.
fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")).ok_or("the system does not tell")?;
    Ok(kib.trim().parse()?)
}
