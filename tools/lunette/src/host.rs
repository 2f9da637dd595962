//! `run --host`: the same runtimes and host calls as in the VM, as a process.
//!
//! Promises: services never block (standard input is read on a thread of its own); the same exit codes.
//! Does not: confine this process further than the runtimes confine the guest.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Read},
    ops::ControlFlow,
    sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use lunette_app::Services;
use lunette_hostcalls::{
    Clock, Errno, Log, Nanos, Random, Ready, Stdio, Stream, farewell::Farewell, task::Host,
};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{exit, problem::Problem};

/// Linear memory that a guest may have whose manifest doesn't say: all that 32-bit wasm can address.
const MEMORY: u64 = 4 << 30;
/// Bytes that can be written to a directory of no given size.
const MOUNT_SIZE: u64 = 1 << 30;

/// Runs a payload in this process; the farewell that the VM would have said.
pub fn run(payload: Vec<u8>) -> Result<Farewell, Problem> {
    let clock = Arc::new(ProcessClock::new());
    let stdio = Arc::new(ProcessStdio::new());
    let waiter = stdio.waiter.clone();
    let services = Services {
        clock: clock.clone(),
        random: Arc::new(ProcessRandom),
        stdio,
        log: Arc::new(ProcessLog),
        network: Arc::new(|| Err("there is no network here yet".into())),
        memory: MEMORY,
        mount_size: MOUNT_SIZE,
    };
    // Files are read in place, as from the VM's memory. One payload a process, so nothing leaks that matters.
    let app = match lunette_app::start(payload.leak(), &services) {
        Ok(app) => app,
        Err(refusal) => return Ok(Farewell::Refused(refusal.0)),
    };
    watch_signals(waiter.clone())
        .map_err(|e: io::Error| Problem::new(format!("signals can't be watched: {e}"), "try again"))?;
    Ok(lunette_app::run(app, &mut ProcessHost { waiter, clock: &*clock }))
}

struct ProcessLog;

impl Log for ProcessLog {
    fn warn(&self, line: std::fmt::Arguments<'_>) {
        eprintln!("lunette: warning: {line}");
    }
}

struct ProcessHost<'a> {
    waiter: Waiter,
    clock: &'a dyn Clock,
}

impl Host for ProcessHost<'_> {
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()> {
        self.waiter.park(idle, until, self.clock)
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

/// What wakes a waiting guest: input, its end, a signal.
#[derive(Clone, Default)]
pub struct Waiter(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    input: VecDeque<u8>,
    /// Nothing more comes.
    ended: bool,
    stopped: bool,
    waker: Option<std::task::Waker>,
}

impl Waiter {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.0.1.notify_all();
    }

    fn sleep<'s>(&'s self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when there is input that is waited for, or it is time; breaks if a signal wants the guest to stop.
    fn park(&self, idle: bool, until: Option<Nanos>, clock: &dyn Clock) -> ControlFlow<()> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return ControlFlow::Break(());
            }
            if state.ended || !state.input.is_empty() {
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                    return ControlFlow::Continue(());
                }
            }
            let left = until.map(|until| until.saturating_sub(clock.monotonic()));
            if !idle || left == Some(0) {
                return ControlFlow::Continue(());
            }
            state = match left {
                Some(left) => {
                    let (state, _) = self
                        .0
                        .1
                        .wait_timeout(state, Duration::from_nanos(left))
                        .unwrap_or_else(PoisonError::into_inner);
                    state
                }
                None => self.sleep(state),
            };
        }
    }
}

/// The process's streams. Input is read ahead, this far, once the guest asks for it first.
const AHEAD: usize = 64 * 1024;

struct ProcessStdio {
    waiter: Waiter,
    reader: Once,
}

impl ProcessStdio {
    fn new() -> Self {
        Self { waiter: Waiter::default(), reader: Once::new() }
    }

    fn reading(&self) -> MutexGuard<'_, State> {
        self.reader.call_once(|| {
            let waiter = self.waiter.clone();
            // Not waited for: it may hang on a read for ever, and ends with the process.
            std::thread::spawn(move || read_ahead(&mut io::stdin().lock(), &waiter));
        });
        self.waiter.lock()
    }
}

fn read_ahead(from: &mut dyn Read, waiter: &Waiter) {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // An input that can't be read (closed, a directory) has ended.
            Ok(0) | Err(_) => return waiter.change(|state| state.ended = true),
            Ok(n) => {
                waiter.change(|state| state.input.extend(&buffer[..n]));
                let mut state = waiter.lock();
                while state.input.len() >= AHEAD {
                    state = waiter.sleep(state);
                }
            }
        }
    }
}

impl Stdio for ProcessStdio {
    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut state = self.reading();
        if state.input.is_empty() {
            return if state.ended || buf.is_empty() { Ok(0) } else { Err(Errno::Again) };
        }
        let n = state.input.read(buf).map_err(|_| Errno::Io)?;
        self.waiter.0.1.notify_all();
        Ok(n)
    }

    fn input(&self) -> Ready {
        let state = self.reading();
        Ready { bytes: state.input.len() as u64, hangup: state.ended }
    }

    fn register_input(&self, waker: &std::task::Waker) {
        self.reading().waker = Some(waker.clone());
    }

    fn write(&self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        let write = || match stream {
            Stream::Out => rustix::io::write(io::stdout(), buf),
            Stream::Err => rustix::io::write(io::stderr(), buf),
        };
        loop {
            return match write() {
                Ok(n) => Ok(n),
                Err(rustix::io::Errno::INTR) => continue,
                // Somebody made our output non-blocking, and nobody tells when it takes more.
                Err(rustix::io::Errno::AGAIN) => {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                Err(rustix::io::Errno::PIPE) => Err(Errno::Pipe),
                Err(_) => Err(Errno::Io),
            };
        }
    }

    fn is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }
}

/// How long the first signal leaves a guest that does not wait.
const GRACE: Duration = Duration::from_secs(1);

/// The first signal stops the guest when it waits next, and the process a little later; the second at once.
fn watch_signals(waiter: Waiter) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if waiter.lock().stopped {
                std::process::exit(exit::KILLED.into());
            }
            waiter.change(|state| state.stopped = true);
            std::thread::spawn(|| {
                std::thread::sleep(GRACE);
                std::process::exit(exit::STOPPED.into());
            });
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_waits_for_time_input_and_signals() {
        let clock = ProcessClock::new();
        let waiter = Waiter::default();
        let until = clock.monotonic() + 20_000_000;
        assert!(waiter.park(true, Some(until), &clock).is_continue());
        assert!(clock.monotonic() >= until);

        waiter.lock().waker = Some(std::task::Waker::noop().clone());
        let other = waiter.clone();
        let typist = std::thread::spawn(move || read_ahead(&mut &b"abc"[..], &other));
        assert!(waiter.park(true, None, &clock).is_continue());
        typist.join().unwrap();
        assert!(waiter.lock().ended);

        let waiter = Waiter::default();
        let other = waiter.clone();
        std::thread::spawn(move || other.change(|state| state.stopped = true));
        assert!(waiter.park(true, None, &clock).is_break());
    }

    #[test]
    fn input_is_again_then_bytes_then_the_end() {
        let stdio = ProcessStdio::new();
        stdio.reader.call_once(|| {});
        let mut buf = [0; 2];
        assert_eq!(stdio.read(&mut buf), Err(Errno::Again));
        assert_eq!(stdio.input(), Ready::default());
        read_ahead(&mut &b"abc"[..], &stdio.waiter);
        assert_eq!(stdio.input(), Ready { bytes: 3, hangup: true });
        assert_eq!((stdio.read(&mut buf), buf), (Ok(2), *b"ab"));
        assert_eq!((stdio.read(&mut buf), buf[0]), (Ok(1), b'c'));
        assert_eq!(stdio.read(&mut buf), Ok(0));
    }

    #[test]
    fn reading_ahead_has_an_end() {
        let waiter = Waiter::default();
        let other = waiter.clone();
        let reader =
            std::thread::spawn(move || read_ahead(&mut io::repeat(1).take(3 * AHEAD as u64), &other));
        let mut taken = 0;
        while taken < 3 * AHEAD {
            let mut state = waiter.lock();
            assert!(state.input.len() < AHEAD + 4096);
            taken += state.input.len();
            state.input.clear();
            drop(state);
            waiter.0.1.notify_all();
        }
        reader.join().unwrap();
    }

    #[test]
    fn random_bytes_are_not_zeros() {
        let mut bytes = [0; 32];
        ProcessRandom.fill(&mut bytes).unwrap();
        assert_ne!(bytes, [0; 32]);
    }
}
