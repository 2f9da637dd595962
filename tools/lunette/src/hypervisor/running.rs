//! A VM while it runs: its process, its streams, and how to end it.
//!
//! The VM is a process group of its own, so that Ctrl-C at the terminal reaches only us, and it dies with
//! us: it is started through [`guard`], or, where there is no such program, killed on drop only.

use std::{
    fs,
    io::{self, Read},
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use lunette_hostcalls::farewell::Farewell;
use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, WaitIdOptions},
};

use super::{
    CommandLine, Hypervisor, Vm, Wires,
    qemu::{REPORT, STDERR, STDIN},
};
use crate::{
    console::{self, Copied, Tail},
    problem::Problem,
};

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
    let mut process = Process::start(hypervisor, &line, options)?;
    // Its end stays open as long as the VM: the input's own end is said in its coding.
    let to = input
        .keep
        .try_clone()
        .map_err(|e| Problem::new(format!("a pipe can't be kept: {e}"), "try again"))?;
    start_input(to, options.streams);
    let pumps = start_pumps(&mut process, stderr.reader, options, &events, &tail);
    watch_end(process.pid, events);

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

/// A private folder for one run, removed with it. The path is short: a socket's name has 107 bytes.
fn run_folder() -> Result<tempfile::TempDir, Problem> {
    let temp = std::env::temp_dir();
    let temp = if temp.as_os_str().len() > 60 { PathBuf::from("/tmp") } else { temp };
    let private = fs::Permissions::from_mode(0o700);
    let make = || tempfile::Builder::new().prefix("lunette-").permissions(private).tempdir_in(&temp);
    make().map_err(|e| {
        Problem::new(
            format!("there is no room for the run's files: {e}"),
            "set TMPDIR to a folder that can be written",
        )
        .at(temp.display())
    })
}

/// A named pipe that is never at its end while `keep` lives.
struct Fifo {
    reader: fs::File,
    keep: fs::File,
}

impl Fifo {
    fn make(path: &Path) -> Result<Self, Problem> {
        let make = || -> io::Result<Self> {
            rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::from_raw_mode(0o600))?;
            // Non-blocking, or it would wait for a writer here.
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            let reader = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
            let keep = fs::OpenOptions::new().write(true).open(path)?;
            let blocking = rustix::fs::fcntl_getfl(&reader)? - OFlags::NONBLOCK;
            rustix::fs::fcntl_setfl(&reader, blocking)?;
            Ok(Self { reader, keep })
        };
        make().map_err(|e| {
            Problem::new(format!("a named pipe can't be made: {e}"), "set TMPDIR to a folder on a local disk")
                .at(path.display())
        })
    }
}

/// A running hypervisor; killed with its whole group when dropped.
struct Process {
    child: Child,
    pid: Pid,
    reaped: bool,
}

impl Process {
    fn start(hypervisor: &dyn Hypervisor, line: &CommandLine, options: &Options) -> Result<Self, Problem> {
        let mut words = line.0.iter();
        let mut command = match &options.guard {
            Some(guard) => {
                let mut command = Command::new(guard);
                command.arg(GUARD).arg(std::process::id().to_string()).args(words);
                command
            }
            None => {
                let mut command = Command::new(words.next().map_or_else(Default::default, Clone::clone));
                command.args(words);
                command
            }
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn().map_err(|e| {
            Problem::new(format!("{} can't be started: {e}", hypervisor.name()), "try `lunette doctor`")
        })?;
        let pid = Pid::from_child(&child);
        Ok(Self { child, pid, reaped: false })
    }

    /// Safe to call until it is reaped: until then nobody else can get its number.
    fn kill(&self) {
        if !self.reaped {
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        }
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// The hidden verb that starts a hypervisor so that it dies with us: `lunette GUARD PARENT PROGRAM ARGS`.
pub const GUARD: &str = "__guard";

/// Becomes the program, to be killed when its parent dies. Comes back only if it can't.
pub fn guard(words: &[std::ffi::OsString]) -> io::Error {
    let [parent, program, args @ ..] = words else {
        return io::Error::other("for Lunette's own use");
    };
    if let Err(e) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return e.into();
    }
    // Had it died before, nobody would tell us any more.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if now.as_deref().map(std::ffi::OsStr::new) != Some(parent.as_os_str()) {
        return io::Error::other("the parent is gone");
    }
    Command::new(program).args(args).exec()
}

struct Pumps {
    output: Vec<JoinHandle<()>>,
    complaints: Option<JoinHandle<String>>,
}

impl Pumps {
    fn finish(self) -> String {
        for pump in self.output {
            let _ = pump.join();
        }
        self.complaints.and_then(|pump| pump.join().ok()).unwrap_or_default()
    }
}

fn start_pumps(
    process: &mut Process,
    stderr: fs::File,
    options: &Options,
    events: &Sender<Event>,
    tail: &Arc<Mutex<Tail>>,
) -> Pumps {
    let child = &mut process.child;
    let streams = options.streams;
    let output = |mut from: Box<dyn Read + Send>, out: bool| {
        let (events, tail) = (events.clone(), tail.clone());
        std::thread::spawn(move || {
            let mut to: Box<dyn io::Write> = match (streams, out) {
                (false, _) => Box::new(io::sink()),
                (true, true) => Box::new(Raw(io::stdout())),
                (true, false) => Box::new(Raw(io::stderr())),
            };
            let seen = |bytes: &[u8]| tail.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
            let copied = console::pump_output(&mut from, &mut to, seen);
            // A closed standard output ends the run, as it ends other programs; a closed standard error
            // does not, but the VM must not wait for us.
            if copied == Copied::Broken {
                if out {
                    let _ = events.send(Event::Unheard);
                }
                let _ = io::copy(&mut from, &mut io::sink());
            }
        })
    };
    let mut pumps = Pumps { output: vec![output(Box::new(stderr), false)], complaints: None };
    if let Some(stdout) = child.stdout.take() {
        pumps.output.push(output(Box::new(stdout), true));
    }
    pumps.complaints = child.stderr.take().map(|mut from| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = from.by_ref().take(64 * 1024).read_to_end(&mut text);
            let _ = io::copy(&mut from, &mut io::sink());
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    pumps
}

/// The input's pump is not waited for: it may hang on a read, or on a VM that doesn't listen, for ever, and ends
/// with the process.
fn start_input(mut to: fs::File, streams: bool) {
    std::thread::spawn(move || {
        let mut from: Box<dyn Read> =
            if streams { Box::new(io::stdin().lock()) } else { Box::new(io::empty()) };
        // An error means that the VM is gone.
        let _ = console::pump_input(&mut from, &mut to);
    });
}

/// A standard stream without its buffer: what was taken is out.
struct Raw<T>(T);

impl<T: std::os::fd::AsFd> io::Write for Raw<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0.as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

/// Says when the process has ended, and leaves it to be reaped by its owner.
fn watch_end(pid: Pid, events: Sender<Event>) {
    std::thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let wait = || rustix::process::waitid(rustix::process::WaitId::Pid(pid), options);
        while matches!(wait(), Err(rustix::io::Errno::INTR)) {}
        let _ = events.send(Event::Ended);
    });
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

    #[test]
    fn the_folder_of_a_run_is_private_and_goes_away() {
        let folder = run_folder().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let fifo = Fifo::make(&path.join(STDERR)).unwrap();
        fs::write(path.join(STDERR), "words").unwrap();
        drop(fifo.keep);
        assert_eq!(io::read_to_string(fifo.reader).unwrap(), "words");
        drop(folder);
        assert!(!path.exists());
    }
}
