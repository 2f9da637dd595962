//! `lunette run -d`: writes the VM down, starts its supervisor, and waits until the guest runs or has failed.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader},
    os::unix::fs::OpenOptionsExt,
    process::{Command, Stdio},
    time::SystemTime,
};

use super::{
    store::{Spec, Store},
    supervisor::{Told, VERB},
};
use crate::{
    problem::{Problem, printable},
    run::{Ready, Us},
    verbs,
};

/// What the supervisor says for itself.
const WORDS: &str = "supervisor";

/// Starts it; prints its identifier. The exit code.
pub fn start(
    ready: Ready,
    store: &Store,
    name: Option<&str>,
    payload: &[u8],
    us: &Us,
) -> Result<u8, Problem> {
    let no_executable =
        || Problem::new("there is no executable of ours to run VMs in the background", "run it without -d");
    let executable = us.executable.as_deref().ok_or_else(no_executable)?;
    let Ready { qemu, vm, published, reserved, timeout, drains, app, name: like, memory } = ready;
    let mut words = vm.words;
    words.push("lunette.marks".into());
    let entry = store.create(name, &like, payload, |id, name| Spec {
        id,
        name,
        app,
        created: SystemTime::now(),
        qemu: qemu.path,
        qemu_version: qemu.version,
        image: std::path::absolute(&vm.image).unwrap_or(vm.image),
        words,
        machine: vm.machine.name.to_owned(),
        accel: vm.accel.name().to_owned(),
        memory: vm.memory,
        asked_memory: memory,
        network: vm.network,
        published,
        timeout,
        drains,
    })?;
    let said = entry.folder.join(WORDS);
    let failed = |e: std::io::Error| {
        let _ = store.remove(&entry);
        Problem::new(format!("the VM's supervisor can't be started: {e}"), "run it without -d")
    };
    let mut words = OpenOptions::new();
    let file: File = words.write(true).create(true).truncate(true).mode(0o600).open(&said).map_err(failed)?;
    let mut command = Command::new(executable);
    command.arg(VERB).arg(&entry.folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
    // It leaves our session by itself, which who leads a group can't.
    let mut child = command.spawn().map_err(failed)?;
    let mut line = String::new();
    let heard = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    drop(reserved);
    match serde_json::from_str(&line) {
        Ok(Told::Runs) => {
            for published in &entry.spec.published {
                us.voice.say(&format!("published {published}"));
            }
            verbs::print(&format!("{}\n", entry.spec.id))?;
            Ok(0)
        }
        Ok(Told::Failed { code, problem, trace, stillborn }) => {
            let _ = child.wait();
            trace.iter().for_each(|line| eprintln!("{line}"));
            if stillborn {
                store.remove(&entry)?;
            } else {
                us.voice.say(&format!("what it said: lunette logs {}", entry.spec.name));
            }
            Err(problem.unwrap_or_else(|| Problem::new("", "")).code(code))
        }
        Err(_) => {
            let _ = child.wait();
            let words = fs::read_to_string(&said).unwrap_or_default();
            let why = match heard {
                Some(Err(e)) => e.to_string(),
                _ => words.lines().next().map_or_else(|| "it was killed".to_owned(), printable),
            };
            store.remove(&entry)?;
            let what = format!("the VM's supervisor ended before the VM began: {why}");
            Err(Problem::new(what, "run it without -d"))
        }
    }
}
