//! Components from source to their end.
#![allow(dead_code, unreachable_pub, reason = "each test file is a crate and uses its own part")]

use std::{
    future::poll_fn,
    path::Path,
    process::Command as Process,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use lunette_component::{Command, Problem};
use lunette_hostcalls::{
    CodeFrame, Ctx, Ending, Nanos,
    fake::{FakeClock, FakeHost, FakeLog, FakeWorld},
    task::{Executor, Timers},
};
use lunette_native::{Cpu, Engine, Limits, Meter, Source, Variant, compile};
use wasmtime::component::Component;

pub struct Program(Component);

/// How a run went.
#[derive(Debug)]
pub struct Run {
    pub ending: Ending,
    pub backtrace: Vec<CodeFrame>,
}

impl Program {
    /// What rustc makes of a file below this crate; `None`, with a word about it, where the target is not installed.
    pub fn rustc(source: &str) -> Option<Self> {
        // Each is compiled once for all tests of a file.
        static MADE: LazyLock<Mutex<Vec<(String, Component)>>> = LazyLock::new(Mutex::default);
        let mut made = MADE.lock().unwrap();
        if let Some((_, component)) = made.iter().find(|(of, _)| of == source) {
            return Some(Self(component.clone()));
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        assert!(path.is_file(), "{}", path.display());
        let wasm =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(source.replace('/', "-")).with_extension("wasm");
        let mut rustc = Process::new("rustc");
        rustc.args(["--edition=2024", "--target=wasm32-wasip2", "-O", "-Cstrip=debuginfo", "-o"]);
        let output = rustc.arg(&wasm).arg(&path).env_remove("RUSTFLAGS").output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            assert!(words.contains("target may not be installed"), "{source}: {words}");
            eprintln!("left out: {source} needs Rust's target wasm32-wasip2 (`cargo xtask setup`)");
            return None;
        }
        let Self(component) = Self::of(&std::fs::read(&wasm).unwrap());
        made.push((source.to_owned(), component.clone()));
        Some(Self(component))
    }

    /// What cargo makes of a folder of this repository; `None` as for [`Program::rustc`].
    pub fn cargo(folder: &str) -> Option<Self> {
        static MADE: LazyLock<Mutex<Vec<(String, Component)>>> = LazyLock::new(Mutex::default);
        let mut made = MADE.lock().unwrap();
        if let Some((_, component)) = made.iter().find(|(of, _)| of == folder) {
            return Some(Self(component.clone()));
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
        let mut cargo = Process::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target=wasm32-wasip2",
            "--manifest-path",
        ]);
        cargo.arg(path.join("Cargo.toml")).arg("--target-dir").arg(&target).env_remove("RUSTFLAGS");
        let output = cargo.output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            assert!(words.contains("target may not be installed"), "{folder}: {words}");
            eprintln!("left out: {folder} needs Rust's target wasm32-wasip2 (`cargo xtask setup`)");
            return None;
        }
        let name = path.file_name().unwrap().to_str().unwrap().replace('-', "_");
        let wasm = target.join("wasm32-wasip2/release").join(name).with_extension("wasm");
        let Self(component) = Self::of(&std::fs::read(&wasm).unwrap());
        made.push((folder.to_owned(), component.clone()));
        Some(Self(component))
    }

    pub fn component(&self) -> &Component {
        &self.0
    }

    pub fn wat(text: &str) -> Self {
        Self::of(&wat::parse_str(text).unwrap())
    }

    /// As the packager and the machine do it: compiled, written down, loaded.
    pub fn of(wasm: &[u8]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let variant = Variant::default();
        let artifact = compile(wasm, variant, Cpu::here(), String::new()).unwrap();
        let name = format!("{}-{}.cwasm", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, &artifact.code).unwrap();
        let engine = Engine::of(variant).unwrap();
        let component =
            engine.component(&artifact.label, &Source { path: path.clone(), keep: None }).unwrap();
        std::fs::remove_file(path).unwrap();
        Self(component)
    }

    #[track_caller]
    pub fn run(&self, world: &FakeWorld, ctx: Ctx) -> Run {
        self.run_with(world, ctx, Limits::default(), Meter::default())
    }

    #[track_caller]
    pub fn run_with(&self, world: &FakeWorld, ctx: Ctx, limits: Limits, meter: Meter) -> Run {
        self.run_beside(world, ctx, limits, meter, std::future::pending())
    }

    /// Runs it with something beside it.
    #[track_caller]
    pub fn run_beside(
        &self,
        world: &FakeWorld,
        ctx: Ctx,
        limits: Limits,
        meter: Meter,
        other: impl Future<Output = Ending>,
    ) -> Run {
        let timers = Arc::new(Timers::default());
        let mut command = self.start(ctx, &timers, limits, meter).unwrap();
        let ending = {
            let mut executor = Executor::new(timers);
            executor.spawn(command.run());
            executor.spawn(other);
            let ended = executor.next(&*world.clock, &mut FakeHost::new(world));
            ended.expect("it waits for what never comes")
        };
        Run { ending, backtrace: command.backtrace().to_vec() }
    }

    pub fn start(
        &self,
        ctx: Ctx,
        timers: &Arc<Timers>,
        limits: Limits,
        meter: Meter,
    ) -> Result<Command, Problem> {
        Command::new(&self.0, ctx, timers.clone(), Arc::<FakeLog>::default(), limits, meter)
    }

    /// Why it can't be started.
    pub fn problem(&self) -> Problem {
        let ctx = FakeWorld::new(1).ctx(&["app"], &[]);
        let command = self.start(ctx, &Arc::default(), Limits::default(), Meter::default());
        command.err().expect("a problem")
    }
}

impl Run {
    /// For messages.
    pub fn words(&self, world: &FakeWorld) -> String {
        let (out, err) = (world.stdio.stdout(), world.stdio.stderr());
        let (out, err) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
        format!("{:?}\n{out}\n{err}\n{:?}", self.ending, world.log.lines())
    }
}

/// Who reads it has guests that are not interrupted: the engine is the process's, and so is its epoch.
static STILL: RwLock<()> = RwLock::new(());

/// Nobody is interrupted until this is dropped: an answer that a handler gives at once is all there at once.
pub fn still() -> RwLockReadGuard<'static, ()> {
    STILL.read().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the engine's epoch up, so that a guest that runs on lets the others have a go. Until dropped.
pub struct Ticks {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _alone: RwLockWriteGuard<'static, ()>,
}

/// How long a test may have guests that run on, before it is one that hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn ticks() -> Ticks {
    let alone = STILL.write().unwrap_or_else(PoisonError::into_inner);
    let (stop, begun) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || {
        while !stopped.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
            lunette_native::ticker();
            if begun.elapsed() > PATIENCE {
                eprintln!("somebody runs on for {PATIENCE:?}, and lets nobody else have a go");
                std::process::exit(101);
            }
        }
    });
    Ticks { stop, thread: Some(thread), _alone: alone }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Lets time pass though somebody runs on: as much as `step` says, each time that all have had a go. How fast the machine is
/// that tests makes no difference.
pub async fn passing<T>(clock: Arc<FakeClock>, step: impl Fn() -> Nanos) -> T {
    poll_fn(|cx| {
        clock.advance(step());
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
