//! The process that owns a VM in the background: `lunette __supervise FOLDER`.
//!
//! Its standard output goes to the command that started it, which is told in one line of JSON ([`Told`]) that
//! the guest runs, or how it failed; after that nobody listens. What it has to say for itself goes to the file
//! `supervisor` in the folder.

use std::{
    cell::RefCell,
    ffi::OsString,
    io::{self, Write},
    path::Path,
    rc::Rc,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::{
    log::{Log, Stream},
    store::{Ended, Entry, PAYLOAD, State},
};
use crate::{
    exit,
    hypervisor::{
        Accel, Hypervisor, Machine, Vm,
        qemu::Qemu,
        running::{self, Manners, Options, PATIENCE, Streams},
    },
    identity::Identity,
    problem::Problem,
    run::{self, End, Ran},
};

/// The hidden verb.
pub const VERB: &str = "__supervise";

/// What the command that started it is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    Runs,
    Failed { code: u8, problem: Option<Problem>, trace: Vec<String>, stillborn: bool },
}

/// Owns the VM in this folder until it has ended; the exit code, which nobody looks at.
pub fn supervise(words: &[OsString]) -> u8 {
    let [folder] = words else {
        eprintln!("for Lunette's own use");
        return exit::FAILURE;
    };
    // Of no terminal, and of no command's group, any more.
    if let Err(e) = rustix::process::setsid() {
        eprintln!("it can't have a session of its own: {e}");
        return exit::FAILURE;
    }
    let _ = std::env::set_current_dir("/");
    match own(Path::new(folder)) {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("{}: {e}", Path::new(folder).display());
            exit::FAILURE
        }
    }
}

fn own(folder: &Path) -> io::Result<()> {
    let mut entry = Entry::open(folder)?;
    entry.save(State::Starting { owner: Identity::of_us() })?;
    let entry = Rc::new(RefCell::new(entry));
    let log = Log::open(folder);
    let started = Rc::new(RefCell::new(None));
    let end = run(folder, &entry, &log, &started).unwrap_or_else(|problem| End {
        code: problem.code,
        how: "failed",
        problem: Some(problem),
        trace: Vec::new(),
        stillborn: true,
    });
    end.trace.iter().for_each(|line| log.say(line));
    if let Some(problem) = &end.problem {
        log.say(&format!("error: {problem}"));
        if !problem.help.is_empty() {
            log.say(&format!("help: {}", problem.help));
        }
    }
    log.close();
    let mut entry = entry.borrow_mut();
    entry.drop_payload();
    let since = *started.borrow();
    let saved = entry.save(State::Ended(Ended {
        code: end.code,
        how: end.how.to_owned(),
        problem: end.problem.clone(),
        since,
        until: Some(SystemTime::now()),
    }));
    if since.is_none() {
        let End { code, problem, trace, stillborn, .. } = end;
        tell(&Told::Failed { code, problem, trace, stillborn });
    }
    saved
}

fn run(
    folder: &Path,
    entry: &Rc<RefCell<Entry>>,
    log: &Log,
    started: &Rc<RefCell<Option<SystemTime>>>,
) -> Result<End, Problem> {
    let spec = entry.borrow().spec.clone();
    let unknown = |what: &str| Problem::new(format!("there is no {what} any more"), "start it again");
    let vm = Vm {
        image: spec.image,
        payload: Some(folder.join(PAYLOAD)),
        words: spec.words,
        machine: Machine::named(&spec.machine).ok_or_else(|| unknown("such machine"))?,
        accel: Accel::named(&spec.accel).ok_or_else(|| unknown("such accelerator"))?,
        memory: spec.memory,
        network: spec.network,
    };
    let qemu = Qemu { path: spec.qemu, version: spec.qemu_version };
    let patience = {
        let folder = folder.to_owned();
        Box::new(move || Entry::patience(&folder).unwrap_or(PATIENCE))
    };
    let runs = {
        let (entry, started) = (entry.clone(), started.clone());
        move || {
            let since = SystemTime::now();
            *started.borrow_mut() = Some(since);
            // That it runs is worth more than that it is written down.
            let _ = entry.borrow_mut().save(State::Running { owner: Identity::of_us(), since });
            tell(&Told::Runs);
        }
    };
    let options = Options {
        guard: std::env::current_exe().ok(),
        limit: run::limit(spec.timeout),
        streams: Streams::To { out: log.stream(Stream::Stdout), err: log.stream(Stream::Stderr) },
        manners: Some(Manners { drains: spec.drains, patience }),
        started: Some(Box::new(runs)),
        ..Options::default()
    };
    let outcome = running::run(&qemu, &vm, options)?;
    let ran = Ran { app: &spec.app, timeout: spec.timeout, memory: spec.asked_memory, host: false };
    let end = run::of_vm(&outcome, &qemu, ran, |line| {
        // How long it ran is known from the state; what the hypervisor had to say is not.
        if line.starts_with(qemu.name()) {
            log.say(line);
        }
    });
    if outcome.started && started.borrow().is_none() {
        // It began and ended in one breath.
        *started.borrow_mut() = Some(SystemTime::now());
        tell(&Told::Runs);
    }
    Ok(end)
}

fn tell(told: &Told) {
    let mut out = io::stdout().lock();
    let mut line = serde_json::to_vec(told).unwrap_or_default();
    line.push(b'\n');
    // Who started us may be gone by now.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}
