//! A VM while it runs: its process, its streams, and how to end it.
//!
//! It is a process group of its own and dies with us ([`process`]). Does not: find it, make its command, or judge
//! what its end means.

mod folder;
mod process;
mod pumps;

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use folder::{Fifo, run_folder};
use lunette_hostcalls::farewell::Farewell;
pub use process::{GUARD, guard};
use process::{Process, watch_end};
use pumps::{start_input, start_pumps};

use super::{
    Hypervisor, Vm, Wires,
    qemu::{REPORT, STDERR, STDIN},
};
use crate::{console::Tail, problem::Problem};

/// How long a VM may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// How a VM is run, beside what it is.
pub struct Options {
    /// The program that [`guard`] is in: ours.
    pub guard: Option<PathBuf>,
    /// It is killed if it runs for longer: the kernel should have ended it before.
    pub limit: Option<Duration>,
    /// Our own streams are the guest's. Otherwise its input is empty and its output is dropped.
    pub streams: bool,
    /// SIGINT and SIGTERM stop it.
    pub signals: bool,
}

/// What became of a VM.
#[derive(Debug)]
pub struct Outcome {
    /// The kernel's last words, if there were any.
    pub farewell: Option<Farewell>,
    /// Why we killed it, if we did.
    pub killed: Option<Killed>,
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
    /// Asked twice, or asked once and deaf.
    Asked,
    /// Nobody listens to its output any more.
    Unheard,
}

enum Event {
    Ended,
    Signal,
    Unheard,
}

/// Runs `vm` until it ends.
pub fn run(hypervisor: &dyn Hypervisor, vm: &Vm, options: &Options) -> Result<Outcome, Problem> {
    let folder = run_folder()?;
    let (events, inbox) = mpsc::channel();
    let tail = Arc::new(Mutex::new(Tail::default()));
    let stderr = Fifo::make(&folder.path().join(STDERR))?;
    let input = Fifo::make(&folder.path().join(format!("{STDIN}.in")))?;
    let _unused = Fifo::make(&folder.path().join(format!("{STDIN}.out")))?;

    let signals = if options.signals { Some(watch_signals(&events)?) } else { None };
    let began = Instant::now();
    let line = hypervisor.command(vm, Wires::Folder(folder.path()));
    let mut process = Process::start(hypervisor.name(), &line, options.guard.as_deref())?;
    // Its end stays open as long as the VM: the input's own end is said in its coding.
    let to = input
        .keep
        .try_clone()
        .map_err(|e| Problem::new(format!("a pipe can't be kept: {e}"), "try again"))?;
    start_input(to, options.streams);
    let pumps = start_pumps(&mut process.child, stderr.reader, options.streams, &events, &tail);
    watch_end(process.pid, move || drop(events.send(Event::Ended)));

    let killed = wait(hypervisor, &process, folder.path(), &inbox, options.limit, began);
    let status = process.reap().map_err(|e| Problem::new(format!("the VM was lost: {e}"), "try again"))?;
    let took = began.elapsed();
    // Without a writer the reader comes to the end of what is in the pipe.
    drop(stderr.keep);
    let complaints = pumps.finish();
    if let Some(signals) = signals {
        signals.close();
    }

    let farewell = last_words(&fs::read(folder.path().join(REPORT)).unwrap_or_default());
    let tail = tail.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Outcome { farewell, killed, status, complaints, tail, took })
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
            let what =
                format!("{name} can't run the VM: {}", complaints.lines().last().unwrap_or_default().trim());
            return Problem::new(what, "try `lunette doctor`");
        }
        let help =
            "try more memory (`-m`); if that does not help, this is a bug: report it with the lines above";
        Problem::new(format!("the VM ended without a farewell: {how}"), help)
    }
}

fn watch_signals(events: &Sender<Event>) -> Result<signal_hook::iterator::Handle, Problem> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(|e| Problem::new(format!("signals can't be watched: {e}"), "try again"))?;
    let handle = signals.handle();
    let events = events.clone();
    std::thread::spawn(move || signals.forever().try_for_each(|_| events.send(Event::Signal)));
    Ok(handle)
}

/// Waits for the end; brings it about where it must.
fn wait(
    hypervisor: &dyn Hypervisor,
    process: &Process,
    folder: &Path,
    inbox: &Receiver<Event>,
    limit: Option<Duration>,
    began: Instant,
) -> Option<Killed> {
    let mut deadline = limit.map(|limit| (began + limit, Killed::Limit));
    let mut asked = false;
    let mut killed = None;
    loop {
        let event = match deadline {
            Some((at, _)) if killed.is_none() => {
                inbox.recv_timeout(at.saturating_duration_since(Instant::now()))
            }
            _ => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let why = match (event, deadline) {
            (Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected), _) => return killed,
            // Asking may take a moment, but a VM that does not answer will not end by itself either.
            (Ok(Event::Signal), _) if !asked && hypervisor.stop(folder).is_ok() => {
                asked = true;
                let grace = Instant::now() + GRACE;
                deadline = Some(deadline.map_or((grace, Killed::Asked), |(at, why)| {
                    if at < grace { (at, why) } else { (grace, Killed::Asked) }
                }));
                continue;
            }
            (Ok(Event::Signal), _) => Killed::Asked,
            (Ok(Event::Unheard), _) => Killed::Unheard,
            (Err(RecvTimeoutError::Timeout), Some((_, why))) => why,
            (Err(RecvTimeoutError::Timeout), None) => continue,
        };
        killed.get_or_insert(why);
        process.kill();
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
    }
}
