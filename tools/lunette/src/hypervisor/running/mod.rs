//! A VM while it runs: its process, its streams, and how to end it.
//!
//! It is a process group of its own and dies with us ([`process`]). Does not: find it, make its command, or judge
//! what its end means.

mod course;
mod folder;
mod process;
mod pumps;

use std::{
    fs,
    io::{self, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub use course::Ask;
use course::{Act, Course};
pub use folder::prefix;
use folder::{Fifo, run_folder};
use lunette_hostcalls::{
    farewell::{Farewell, Version},
    profile::Profile,
};
pub use process::{GUARD, guard};
use process::{Process, watch_end};
use pumps::{start_input, start_pumps, start_versions};

use super::{
    Hypervisor, Vm, Wires,
    qemu::{REPORT, STDERR, STDIN},
};
use crate::{
    console::Tail,
    problem::Problem,
    watch::{Line, Watch},
};

/// How long an app that listens may take to finish, unless somebody says otherwise. As docker.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How a VM is run, beside what it is.
#[derive(Default)]
pub struct Options {
    /// The program that [`guard`] is in: ours.
    pub guard: Option<PathBuf>,
    /// It is killed if it runs for longer: the kernel should have ended it before.
    pub limit: Option<Duration>,
    pub streams: Streams,
    /// SIGINT and SIGTERM end it, like this; otherwise they are not looked at.
    pub manners: Option<Manners>,
    /// Told when the kernel says that the guest runs (with `lunette.marks` on its command line).
    pub started: Option<Box<dyn FnOnce()>>,
    /// New versions of the app take the place of its input.
    pub watch: Option<Watch>,
    /// Is there a profile in the kernel's report?
    pub profile: bool,
}

/// Where the guest's streams end.
#[derive(Default)]
pub enum Streams {
    /// Nowhere: the input is empty, the output is dropped.
    #[default]
    None,
    /// In our own.
    Ours,
    /// Here; the input is empty.
    To { out: Box<dyn io::Write + Send>, err: Box<dyn io::Write + Send> },
}

/// How a VM is ended that somebody wants to end.
pub struct Manners {
    /// Has the app anything to finish?
    pub drains: bool,
    /// How long it may take, asked each time.
    pub patience: Box<dyn Fn() -> Duration>,
}

/// What became of a VM.
#[derive(Debug)]
pub struct Outcome {
    /// The kernel's last words, if there were any.
    pub farewell: Option<Farewell>,
    /// Why we killed it, if we did.
    pub killed: Option<Killed>,
    /// Who wanted it to end.
    pub asked: Option<Ask>,
    /// Did the guest run at all? Known only with `lunette.marks`.
    pub started: bool,
    /// Where it spent its time, if that was asked for.
    pub profile: Profile,
    pub status: ExitStatus,
    /// What the hypervisor itself said.
    pub complaints: String,
    /// The last of what went over the console and the guest's standard error.
    pub tail: Tail,
    pub took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// It overran [`Options::limit`].
    Limit,
    /// Somebody asked, and it did not end, or not soon enough.
    Asked,
    /// Nobody listens to its output any more.
    Unheard,
}

enum Event {
    Ended,
    Asked(Ask),
    Unheard,
    Started,
}

/// Runs `vm` until it ends.
pub fn run(hypervisor: &dyn Hypervisor, vm: &Vm, options: Options) -> Result<Outcome, Problem> {
    let folder = run_folder()?;
    let folder = folder.path();
    let (events, inbox) = mpsc::channel();
    let tail = Arc::new(Mutex::new(Tail::default()));
    let stderr = Fifo::make(&folder.join(STDERR))?;
    let report = Fifo::make(&folder.join(REPORT))?;
    let input = Fifo::make(&folder.join(format!("{STDIN}.in")))?;
    let _unused = Fifo::make(&folder.join(format!("{STDIN}.out")))?;

    let signals = if options.manners.is_some() { Some(watch_signals(&events)?) } else { None };
    let began = Instant::now();
    let line = hypervisor.command(vm, Wires::Folder(folder));
    let mut process = Process::start(hypervisor.name(), &line, options.guard.as_deref())?;
    // Its end stays open as long as the VM: the input's own end is said in its coding.
    let to = input
        .keep
        .try_clone()
        .map_err(|e| Problem::new(format!("a pipe can't be kept: {e}"), "try again"))?;
    let versions = match options.watch {
        Some(watch) => {
            let (tell, answers) = mpsc::channel();
            watch.start(Line { send: start_versions(to), answers });
            Some(tell)
        }
        None => {
            start_input(to, matches!(options.streams, Streams::Ours));
            None
        }
    };
    let pumps = start_pumps(&mut process.child, stderr.reader, options.streams, &events, &tail);
    let said = read_report(report.reader, events.clone(), versions, options.profile);
    watch_end(process.pid, move || drop(events.send(Event::Ended)));

    let patience = options.manners.as_ref().map(|manners| &*manners.patience);
    let course = Course::new(
        options.manners.as_ref().is_some_and(|manners| manners.drains),
        options.limit.and_then(|limit| began.checked_add(limit)),
    );
    let vm = Running { hypervisor, vm, folder, process: &process };
    let (asked, killed) = vm.wait(&inbox, course, patience.unwrap_or(&|| PATIENCE), options.started);
    let status = process.reap().map_err(|e| Problem::new(format!("the VM was lost: {e}"), "try again"))?;
    let took = began.elapsed();
    // Without a writer the readers come to the end of what is in the pipes.
    drop((stderr.keep, report.keep));
    let complaints = pumps.finish();
    let (said, profile) = said.join().unwrap_or_default();
    if let Some(signals) = signals {
        signals.close();
    }

    let farewell = last_words(&said);
    let started = has_started(&said);
    let tail = tail.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Outcome { farewell, killed, asked, started, profile, status, complaints, tail, took })
}

/// The kernel's report, of which only the last is kept: words come at the end. And its profile, if there is one.
fn read_report(
    mut from: fs::File,
    events: mpsc::Sender<Event>,
    versions: Option<mpsc::Sender<Version>>,
    profiled: bool,
) -> JoinHandle<(Vec<u8>, Profile)> {
    const LIMIT: usize = 64 * 1024;
    std::thread::spawn(move || {
        let (mut said, mut buffer, mut told) = (Vec::new(), [0; 4096], false);
        let (mut line, mut profile) = (Vec::new(), Profile::default());
        let by_line = versions.is_some() || profiled;
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return (said, profile),
                Ok(n) => {
                    said.extend_from_slice(&buffer[..n]);
                    for byte in buffer[..n].iter().filter(|_| by_line) {
                        if *byte != b'\n' {
                            if line.len() < LIMIT {
                                line.push(*byte);
                            }
                            continue;
                        }
                        let words = String::from_utf8_lossy(&line).into_owned();
                        if let Some(versions) = &versions {
                            Version::parse(&words)
                                .into_iter()
                                .for_each(|version| drop(versions.send(version)));
                        }
                        if profiled {
                            profile.read(&words);
                        }
                        line.clear();
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return (said, profile),
            }
            if !told && has_started(&said) {
                told = true;
                let _ = events.send(Event::Started);
            }
            let excess = said.len().saturating_sub(LIMIT);
            said.drain(..excess);
        }
    })
}

/// The mark that the kernel makes when the guest begins.
fn has_started(report: &[u8]) -> bool {
    const MARK: &[u8] = b"lunette: mark started ";
    report.split(|b| *b == b'\n').any(|line| line.starts_with(MARK))
}

/// The last farewell among the lines of a report.
pub fn last_words(report: &[u8]) -> Option<Farewell> {
    String::from_utf8_lossy(report).lines().rev().find_map(Farewell::parse)
}

impl Outcome {
    /// The end of a VM that said no farewell, in words.
    pub fn crash(&self, hypervisor: &dyn Hypervisor) -> Problem {
        let name = hypervisor.name();
        let how = match (self.status.code(), self.status.signal()) {
            // isa-debug-exit makes every code odd, so 0 is a reset or a power-off, and 1 its own failure.
            (Some(0), _) => "it reset or powered off: a crash of the kernel, or too little memory".into(),
            (Some(code), _) => format!("{name} ended with code {code}"),
            (None, Some(signal)) => format!("{name} was killed by signal {signal}"),
            (None, None) => format!("{name} ended"),
        };
        let complaints = self.complaints.trim();
        if !complaints.is_empty() && self.status.code() == Some(1) {
            if let Some(problem) = hypervisor.explain(complaints) {
                return problem;
            }
            let what =
                format!("{name} can't run the VM: {}", complaints.lines().last().unwrap_or_default().trim());
            return Problem::new(what, "try `lunette doctor`");
        }
        let help =
            "try more memory (`-m`); if that does not help, this is a bug: report it with the lines above";
        Problem::new(format!("the VM ended without a farewell: {how}"), help)
    }
}

fn watch_signals(events: &mpsc::Sender<Event>) -> Result<signal_hook::iterator::Handle, Problem> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(|e| Problem::new(format!("signals can't be watched: {e}"), "try again"))?;
    let handle = signals.handle();
    let events = events.clone();
    let ask = |signal| if signal == SIGINT { Ask::Interrupt } else { Ask::Terminate };
    std::thread::spawn(move || {
        signals.forever().try_for_each(|signal| events.send(Event::Asked(ask(signal))))
    });
    Ok(handle)
}

/// A VM that runs, and all that it can be asked through.
struct Running<'r> {
    hypervisor: &'r dyn Hypervisor,
    vm: &'r Vm,
    folder: &'r Path,
    process: &'r Process,
}

impl Running<'_> {
    /// Waits for the end; brings it about where it must. Who asked for it, and why it was killed.
    fn wait(
        &self,
        inbox: &Receiver<Event>,
        mut course: Course,
        patience: &dyn Fn() -> Duration,
        mut started: Option<Box<dyn FnOnce()>>,
    ) -> (Option<Ask>, Option<Killed>) {
        let mut killed = None;
        loop {
            let event = match course.until() {
                Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let now = Instant::now();
            let mut act = match event {
                Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => return (course.asked, killed),
                Ok(Event::Started) => {
                    if let Some(started) = started.take() {
                        started();
                    }
                    Act::Nothing
                }
                Ok(Event::Asked(ask)) => course.ask(ask, patience(), now),
                Ok(Event::Unheard) => course.kill(Killed::Unheard),
                Err(RecvTimeoutError::Timeout) => course.late(now),
            };
            // Asking may take a moment, but a VM that does not answer will not end by itself either.
            loop {
                let asked = match act {
                    Act::Nothing => break,
                    Act::Drain => self.hypervisor.drain(self.vm, self.folder),
                    Act::Stop => self.hypervisor.stop(self.folder),
                    Act::Kill(why) => {
                        killed = Some(why);
                        self.process.kill();
                        break;
                    }
                };
                if asked.is_ok() {
                    break;
                }
                act = course.deaf(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_farewell_counts() {
        assert_eq!(last_words(b""), None);
        assert_eq!(last_words(b"lunette: farewell exit 3\n"), Some(Farewell::Exit(3)));
        assert_eq!(last_words(b"x\nlunette: farewell exit 3\nnoise \xff\n\n"), Some(Farewell::Exit(3)));
        assert_eq!(last_words(b"lunette: farewell exit 3\nlunette: farewell trap"), Some(Farewell::Trap));
        assert_eq!(last_words(b"lunette: farewell ex"), None);
        assert!(has_started(b"lunette: mark mm 1\nlunette: mark started 12\n"));
        assert!(!has_started(b"lunette: mark runtime 1\nlunette: farewell refused lunette: mark started \n"));
    }
}
