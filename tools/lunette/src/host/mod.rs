//! `run --host`: the same runtimes and host calls as in the VM, as a process.
//!
//! Promises: services never block (standard input is read, and names are asked for, on threads of their own); the
//! process waits in one place ([`poller`]), without spinning; the same exit codes. Does not: confine this process
//! further than the runtimes confine the guest.

mod net;
mod poller;
mod signals;
mod stdio;
mod versions;

use std::{
    fs::File,
    io::{self, Write},
    ops::ControlFlow,
    os::fd::AsRawFd,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use lunette_app::{Code, Launch, Native, Profile, Services, Trust};
use lunette_hostcalls::{Clock, Errno, Log, Nanos, Net, Random, Versions, farewell::Farewell, task::Host};
use rustix::fs::{MemfdFlags, memfd_create};

use net::HostNet;
use poller::Poller;
use signals::Asked;
use stdio::ProcessStdio;
use versions::ProcessVersions;

use crate::{network::publish::Published, problem::Problem, watch::Watch};

/// Linear memory that a guest may have whose manifest doesn't say: all that 32-bit wasm can address.
const MEMORY: u64 = 4 << 30;
/// Bytes that can be written to a directory of no given size.
const MOUNT_SIZE: u64 = 1 << 30;

/// Runs a payload in this process, with these ports of the guests' at addresses of this machine, with its new
/// versions if they are watched for, and with samples taken if there is a place for them; the farewell that the VM would have said.
pub fn run(
    payload: Vec<u8>,
    published: Vec<Published>,
    watch: Option<Watch>,
    profile: Option<&'static Profile>,
) -> Result<Farewell, Problem> {
    let no_poller = |e: io::Error| Problem::new(format!("the process can't wait: {e}"), "try again");
    let poller = Poller::new().map_err(no_poller)?;
    let reactor = poller.reactor().clone();
    let asked = Arc::new(Asked::default());
    let clock = Arc::new(ProcessClock::new());
    let log = Arc::new(ProcessLog);
    let network = {
        let (reactor, asked, log) = (reactor.clone(), asked.clone(), log.clone());
        move || {
            let net = HostNet::new(&published, reactor.clone(), asked.clone(), log.clone())?;
            Ok(Arc::new(net) as Arc<dyn Net>)
        }
    };
    let services = Services {
        clock: clock.clone(),
        random: Arc::new(ProcessRandom),
        stdio: if watch.is_some() {
            Arc::new(ProcessStdio::without_input(reactor.clone()))
        } else {
            Arc::new(ProcessStdio::new(reactor.clone()))
        },
        log,
        network: Arc::new(network),
        memory: MEMORY,
        mount_size: MOUNT_SIZE,
        native: Native { open: Arc::new(native_code), tick: Arc::new(tick) },
        // The CLI has refused it before it came here.
        trust: Trust::default(),
        require_signed: false,
        settings: Launch::default(),
        versions: watch.map(|watch| ProcessVersions::new(watch, reactor.clone()) as Arc<dyn Versions>),
        profile,
    };
    // Files are read in place, as from the VM's memory. One payload a process, so nothing leaks that matters.
    let app = match lunette_app::start(payload.leak(), &services) {
        Ok(app) => app,
        Err(refusal) => return Ok(Farewell::Refused(refusal.0)),
    };
    signals::watch(asked.clone(), reactor)
        .map_err(|e: io::Error| Problem::new(format!("signals can't be watched: {e}"), "try again"))?;
    Ok(lunette_app::run(app, &mut ProcessHost { poller, asked, clock }))
}

/// Native code in a file of its own, that no other process can name.
fn native_code(code: &[u8]) -> io::Result<Code> {
    let file = File::from(memfd_create("lunette-native", MemfdFlags::CLOEXEC)?);
    (&file).write_all(code)?;
    Ok(Code { path: format!("/proc/self/fd/{}", file.as_raw_fd()).into(), keep: Some(file) })
}

/// How long a guest may run on before the others have a go.
const TICK: Duration = Duration::from_millis(10);

/// Does everybody wait?
static IDLE: AtomicBool = AtomicBool::new(false);

/// Has guests interrupted, for as long as this process lives.
fn tick() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ticks = || loop {
            thread::sleep(TICK);
            // Who waits is not interrupted when it goes on, as in a VM, which does not tick meanwhile.
            if !IDLE.load(Relaxed) {
                lunette_app::ticker();
            }
        };
        // Without it, guests run as they did: nothing is lost but that they give way.
        if let Err(error) = thread::Builder::new().name("tick".into()).spawn(ticks) {
            ProcessLog.warn(format_args!("guests can't be interrupted: {error}"));
        }
    });
}

struct ProcessHost {
    poller: Poller,
    asked: Arc<Asked>,
    clock: Arc<ProcessClock>,
}

impl Host for ProcessHost {
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()> {
        let limit = match until {
            _ if !idle => Some(Duration::ZERO),
            Some(until) => Some(Duration::from_nanos(until.saturating_sub(self.clock.monotonic()))),
            None => None,
        };
        IDLE.store(idle, Relaxed);
        self.poller.wait(limit);
        IDLE.store(false, Relaxed);
        if self.asked.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Nothing interrupts here: what has come is looked for once each tick.
    fn begin_interruptible(&mut self) -> bool {
        true
    }

    fn end_interruptible(&mut self) {}

    fn stopping(&self) -> bool {
        self.asked.stopping()
    }
}

struct ProcessLog;

impl Log for ProcessLog {
    fn warn(&self, line: std::fmt::Arguments<'_>) {
        eprintln!("lunette: warning: {line}");
    }
}

struct ProcessClock(Instant);

impl ProcessClock {
    fn new() -> Self {
        Self(Instant::now())
    }
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

impl Clock for ProcessClock {
    fn monotonic(&self) -> Nanos {
        nanos(self.0.elapsed())
    }

    fn wall(&self) -> Option<Nanos> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok().map(nanos)
    }
}

struct ProcessRandom;

impl Random for ProcessRandom {
    fn fill(&self, buf: &mut [u8]) -> Result<(), Errno> {
        getrandom::fill(buf).map_err(|_| Errno::Io)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_process_waits_for_time_and_for_signals() {
        let poller = Poller::new().unwrap();
        let (clock, asked) = (Arc::new(ProcessClock::new()), Arc::new(Asked::default()));
        let reactor = poller.reactor().clone();
        let mut host = ProcessHost { poller, asked: asked.clone(), clock: clock.clone() };
        let until = clock.monotonic() + 20_000_000;
        while clock.monotonic() < until {
            assert!(host.park(true, Some(until)).is_continue());
        }
        assert!(host.park(false, None).is_continue(), "whoever is not idle does not wait");

        let (tell, told) = mpsc::channel();
        let watcher = thread::spawn(move || signals::tests::follow_briefly(&told, &asked, &reactor));
        tell.send(()).unwrap();
        while host.park(true, None).is_continue() {}
        assert!(host.stopping());
        watcher.join().unwrap();
    }

    #[test]
    fn random_bytes_are_not_zeros() {
        let mut bytes = [0; 32];
        ProcessRandom.fill(&mut bytes).unwrap();
        assert_ne!(bytes, [0; 32]);
    }
}
