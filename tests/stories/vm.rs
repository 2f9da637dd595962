//! `vm("hello").args(["you"]).run().exits(0).prints("…")`: a run of the CLI, and what is said of it.
//!
//! Every run has a deadline, and what it printed is shown only if a story fails.

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

/// Long enough for the slowest story on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// The places where an app runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Microvm,
    Pc,
    Q35,
    Host,
}

impl Place {
    pub(crate) const ALL: [Self; 4] = [Self::Microvm, Self::Pc, Self::Q35, Self::Host];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Microvm => "microvm",
            Self::Pc => "pc",
            Self::Q35 => "q35",
            Self::Host => "host",
        }
    }

    /// Why nothing can run there now.
    pub(crate) fn lack(self) -> Option<&'static str> {
        if self == Self::Host { None } else { cannot_boot() }
    }
}

/// The image of this file's name; or the one that the stories were given, if it was no folder.
pub(crate) fn image(file: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("LUNETTE_IMAGE")?);
    Some(if path.is_dir() { path.join(file) } else { path })
}

/// Why nothing boots here, if so.
pub(crate) fn cannot_boot() -> Option<&'static str> {
    if !image("lunette.elf").is_some_and(|path| path.is_file()) {
        return Some("no LUNETTE_IMAGE");
    }
    if which("qemu-system-x86_64") { None } else { Some("no QEMU") }
}

pub(crate) fn which(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Why no kernel runs on KVM here, if so: a device that opens is not enough, so one is booted. On some nested hosts ring 0 is
/// interpreted, of which ours uses instructions that their interpreter does not know.
pub(crate) fn no_kvm() -> Option<&'static str> {
    static VERDICT: OnceLock<Option<&str>> = OnceLock::new();
    *VERDICT.get_or_init(|| {
        if cannot_boot().is_some() {
            return cannot_boot();
        }
        if File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Some("no /dev/kvm that may be opened");
        }
        let fixed = "-accel kvm -cpu host -M microvm,acpi=off -m 64 -nodefaults -no-user-config -display none -no-reboot \
                     -serial stdio -append lunette.probe -kernel";
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(fixed.split_whitespace()).arg(image("lunette.elf").expect("it was looked for"));
        let mut child =
            qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut stdout = collect(child.stdout.take().expect("piped"));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) && !matches!(child.try_wait(), Ok(Some(_))) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        let said = String::from_utf8_lossy(&stdout.whole()).contains("farewell exit 0");
        if said { None } else { Some("KVM is of no use here: no kernel boots on it") }
    })
}

/// `lunette` with these words.
pub(crate) fn lunette<I: IntoIterator<Item: Into<OsString>>>(words: I) -> Run {
    Run {
        before: words.into_iter().map(Into::into).collect(),
        app: Vec::new(),
        stdin: Vec::new(),
        env: Vec::new(),
        place: None,
        descriptors: None,
    }
}

/// `lunette run` of this app, on microvm unless [`Run::on`] says otherwise.
pub(crate) fn vm(app: impl AsRef<Path>) -> Run {
    let mut run = lunette(["run"]).on(Place::Microvm);
    run.app.push(app.as_ref().into());
    run
}

/// What is to be run.
#[derive(Clone)]
pub(crate) struct Run {
    before: Vec<OsString>,
    app: Vec<OsString>,
    stdin: Vec<u8>,
    env: Vec<(String, OsString)>,
    place: Option<Place>,
    descriptors: Option<u32>,
}

impl Run {
    /// Arguments of the app.
    pub(crate) fn args<I: IntoIterator<Item: Into<OsString>>>(mut self, args: I) -> Self {
        self.app.extend(args.into_iter().map(Into::into));
        self
    }

    /// Flags of `lunette run`.
    pub(crate) fn flags<I: IntoIterator<Item: Into<OsString>>>(mut self, flags: I) -> Self {
        self.before.extend(flags.into_iter().map(Into::into));
        self
    }

    pub(crate) fn on(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// In the CLI's own environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// With so many descriptors, unless it asks for more.
    pub(crate) fn descriptors(mut self, few: u32) -> Self {
        self.descriptors = Some(few);
        self
    }

    fn command(&self) -> Command {
        let binary = env!("CARGO_BIN_EXE_lunette-under-test");
        let mut command = match self.descriptors {
            None => Command::new(binary),
            Some(few) => {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("ulimit -Sn {few} && exec \"$0\" \"$@\""), binary]);
                command
            }
        };
        command.args(&self.before);
        match self.place {
            Some(Place::Host) => command.arg("--host"),
            // Emulated, so that every machine tells the same story.
            Some(place) => command.args(["--accel", "tcg", "--machine", place.name()]),
            None => &mut command,
        };
        command.args(&self.app).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self) -> Running {
        let mut command = self.command();
        let words = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{words}: {e}"));
        let mut stdin = child.stdin.take().expect("piped");
        let input = self.stdin.clone();
        // A reader that went away is the app's affair.
        thread::spawn(move || drop(stdin.write_all(&input)));
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        Running { child, words, stdout, stderr, begun: Instant::now() }
    }

    pub(crate) fn run(&self) -> Ran {
        self.start().wait(DEADLINE)
    }

    /// At a terminal, which is standard input and output.
    pub(crate) fn at_a_terminal(&self) -> Terminal {
        use rustix::{fs, pty};
        let near = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY).expect("a terminal");
        pty::grantpt(&near).and_then(|()| pty::unlockpt(&near)).expect("a terminal");
        let name = pty::ptsname(&near, Vec::new()).expect("a terminal's name");
        let far = fs::open(name, fs::OFlags::RDWR | fs::OFlags::NOCTTY, fs::Mode::empty());
        let far = far.expect("a terminal's other end");
        let copy = || Stdio::from(far.try_clone().expect("a descriptor"));
        let mut command = self.command();
        command.stdin(copy()).stdout(copy());
        let words = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{words}: {e}"));
        let near = File::from(near);
        let stdout = collect(near.try_clone().expect("a descriptor"));
        let stderr = collect(child.stderr.take().expect("piped"));
        Terminal { near, running: Running { child, words, stdout, stderr, begun: Instant::now() }, seen: 0 }
    }
}

/// A run at a terminal.
pub(crate) struct Terminal {
    near: File,
    running: Running,
    seen: usize,
}

impl Terminal {
    pub(crate) fn types(&mut self, keys: &str) {
        self.near.write_all(keys.as_bytes()).expect("typed");
    }

    /// Waits until these words come after those that it showed last.
    #[track_caller]
    pub(crate) fn shows(&mut self, words: &str) {
        let from = self.seen;
        let mut found = None;
        self.running.until(words, |out| {
            found = out[from..].windows(words.len()).position(|window| window == words.as_bytes());
            found.is_some()
        });
        self.seen = from + found.expect("it was found") + words.len();
    }

    /// Waits for its end.
    pub(crate) fn ends(self) -> i32 {
        let mut running = self.running;
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = running.child.try_wait().expect("a child of ours") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "{}: it does not end", running.words);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> Collected {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let seen = bytes.clone();
    let reader = thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            seen.lock().expect("no reader panics").extend_from_slice(&buffer[..length]);
        }
    });
    Collected { bytes, reader: Some(reader) }
}

/// What a run has said so far, and who listens.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Collected {
    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().expect("no reader panics").clone()
    }

    fn whole(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("a reader")
        }
        std::mem::take(&mut self.bytes.lock().expect("no reader panics"))
    }
}

/// A run that goes on. Killed if it is dropped.
pub(crate) struct Running {
    child: Child,
    words: String,
    stdout: Collected,
    stderr: Collected,
    begun: Instant,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the CLI alone.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
        rustix::process::kill_process(pid, signal).expect("it is still there");
    }

    /// Waits until standard output has this. A run that ends before has failed, and so has one that takes too long.
    #[track_caller]
    pub(crate) fn until_it_prints(mut self, words: &str) -> Self {
        self.until(words, |stdout| String::from_utf8_lossy(stdout).contains(words));
        self
    }

    #[track_caller]
    fn until(&mut self, words: &str, mut seen: impl FnMut(&[u8]) -> bool) {
        loop {
            let ended = self.child.try_wait().expect("a child of ours").is_some();
            let (stdout, stderr) = (self.stdout.so_far(), self.stderr.so_far());
            if seen(&stdout) {
                return;
            }
            if ended || self.begun.elapsed() > DEADLINE {
                let [stdout, stderr] =
                    [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
                panic!("{}: it never printed {words:?}\n{stdout}\n{stderr}", self.words);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end; a story that is not over by then has failed.
    pub(crate) fn wait(mut self, limit: Duration) -> Ran {
        let deadline = Instant::now() + limit;
        let (status, late) = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break (status, false);
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                break (self.child.wait().expect("a child of ours"), true);
            }
            thread::sleep(Duration::from_millis(5));
        };
        let took = self.begun.elapsed();
        let (stdout, stderr) = (self.stdout.whole(), self.stderr.whole());
        let ran = Ran { words: std::mem::take(&mut self.words), status, stdout, stderr, took };
        assert!(!late, "not over after {limit:?}\n{ran}");
        ran
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A payload that QEMU boots by itself, on microvm, as on a bare machine: all that is said is on the console.
#[track_caller]
pub(crate) fn booted(payload: &[u8], words: &str) -> Booted {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(payload).expect("a file");
    let image = image("lunette.elf").expect("an image");
    let mut command = Command::new("qemu-system-x86_64");
    let fixed = "-accel tcg -cpu max -M microvm,acpi=off -m 256 -nodefaults -no-user-config -display none -no-reboot -serial stdio \
                 -device isa-debug-exit,iobase=0xf4,iosize=4";
    command.args(fixed.split_whitespace()).arg("-kernel").arg(image).arg("-initrd").arg(file.path());
    command.args(["-append", words]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Booted::of(command)
}

/// What a machine's console showed.
pub(crate) struct Booted(String);

impl Booted {
    /// What a command shows that boots one, until it ends.
    #[track_caller]
    pub(crate) fn of(mut command: Command) -> Self {
        let words = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{words}: {e}"));
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        let ran = Running { child, words, stdout, stderr, begun: Instant::now() }.wait(DEADLINE);
        Self(String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).replace("\r\n", "\n"))
    }

    /// It said farewell with these words.
    #[track_caller]
    pub(crate) fn farewell(self, words: &str) -> Self {
        let farewell = format!("lunette: farewell {words}");
        assert!(self.0.lines().any(|line| line.starts_with(&farewell)), "no {farewell:?} in:\n{}", self.0);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.0.contains(words), "no {words:?} in:\n{}", self.0);
        self
    }
}

/// What became of it. Each claim that does not hold ends the story and shows all of it.
pub(crate) struct Ran {
    words: String,
    status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) took: Duration,
}

impl Ran {
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        self.exits_with_one_of(&[code])
    }

    #[track_caller]
    pub(crate) fn exits_with_one_of(self, codes: &[i32]) -> Self {
        assert!(codes.contains(&self.code()), "expected exit code {codes:?}\n{self}");
        self
    }

    /// Standard output is this, to the byte.
    #[track_caller]
    pub(crate) fn prints(self, expected: impl AsRef<[u8]>) -> Self {
        let expected = expected.as_ref();
        if self.stdout != expected {
            let at = self.stdout.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let (got, want) = (self.stdout.len(), expected.len());
            panic!("standard output differs from byte {at} on ({got} bytes, expected {want})\n{self}");
        }
        self
    }

    /// Standard error has this somewhere.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        let text = String::from_utf8_lossy(&self.stderr).into_owned();
        assert!(text.contains(words), "standard error does not say {words:?}\n{self}");
        self
    }

    /// Nothing at all on standard error.
    #[track_caller]
    pub(crate) fn stays_quiet(self) -> Self {
        assert!(self.stderr.is_empty(), "standard error is not empty\n{self}");
        self
    }

    /// Our own failure: one `error:` line, which names `what`, and one `help:` line.
    #[track_caller]
    pub(crate) fn refuses(self, what: &str) -> Self {
        self.refuses_with(125, what)
    }

    #[track_caller]
    pub(crate) fn refuses_with(self, code: i32, what: &str) -> Self {
        let text = String::from_utf8_lossy(&self.stderr).into_owned();
        let line = |begin: &str| text.lines().filter(|line| line.starts_with(begin)).collect::<Vec<_>>();
        let (errors, helps) = (line("error:"), line("help:"));
        assert!(errors.len() == 1 && helps.len() == 1, "expected one error: and one help: line\n{self}");
        assert!(text.contains(what), "the error does not name {what:?}\n{self}");
        assert!(helps[0].len() > "help: ".len(), "the help is empty\n{self}");
        assert!(self.stdout.is_empty(), "a refusal prints nothing\n{self}");
        self.exits(code)
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |name: &str, bytes: &[u8]| {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]).into_owned();
            let cut = if bytes.len() > 4000 { " (the first 4,000 bytes)" } else { "" };
            format!("--- {name}{cut}\n{shown}\n")
        };
        writeln!(f, "{}: {} after {:?}", self.words, self.status, self.took)?;
        write!(f, "{}{}", part("stdout", &self.stdout), part("stderr", &self.stderr))
    }
}
