//! The kernel's side of the contract: clock, random numbers and standard streams as guests are given them,
//! and the one place where the processor waits.

use core::{
    fmt,
    ops::ControlFlow,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    task::Waker,
};

use embedded_io::Write;
use lunette_hostcalls::{
    Clock, Errno, Log, Nanos, Random, Ready, Stdio, Stream,
    task::{Host, replace_waker},
};
use spin::Mutex;

use crate::{
    arch::cpu,
    cell::StaticCell,
    console::{self, Channel, log},
    drivers,
    entropy::Generator,
    time,
};

pub struct KernelClock;

impl Clock for KernelClock {
    fn monotonic(&self) -> Nanos {
        time::monotonic()
    }

    fn wall(&self) -> Option<Nanos> {
        time::wall()
    }
}

pub struct KernelRandom;

impl Random for KernelRandom {
    fn fill(&self, buf: &mut [u8]) -> Result<(), Errno> {
        if random(buf) { Ok(()) } else { Err(Errno::Again) }
    }
}

pub struct KernelStdio;

impl Stdio for KernelStdio {
    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        match console::input_ready() {
            (0, true) => Ok(0),
            (0, false) => Err(Errno::Again),
            _ => Ok(console::read_input(buf)),
        }
    }

    fn input(&self) -> Ready {
        let (bytes, ended) = console::input_ready();
        Ready { bytes: bytes as u64, hangup: ended }
    }

    fn register_input(&self, waker: &Waker) {
        let old = replace_waker(&mut INPUT_WAKER.lock(), waker);
        if let Some(old) = old {
            old.wake();
        }
    }

    fn is_terminal(&self) -> bool {
        console::is_terminal()
    }

    fn write(&self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        static SPOKE: AtomicBool = AtomicBool::new(false);
        if !SPOKE.swap(true, Relaxed) {
            time::mark("first-output");
        }
        let mut channel = match stream {
            Stream::Out => Channel::Console,
            Stream::Err => Channel::Stderr,
        };
        let Ok(()) = channel.write_all(buf);
        Ok(buf.len())
    }
}

pub struct KernelLog;

impl Log for KernelLog {
    fn warn(&self, line: fmt::Arguments<'_>) {
        log!(warn, "{line}");
    }
}

/// Who waits for standard input.
static INPUT_WAKER: Mutex<Option<Waker>> = Mutex::new(None);

/// The machine as the executor sees it. Never breaks: whoever wants the VM to stop sends an NMI.
pub struct KernelHost;

impl Host for KernelHost {
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()> {
        let listens = INPUT_WAKER.lock().is_some();
        if idle {
            if !listens || !input_comes(until) {
                let look = next_look().filter(|_| listens);
                time::sleep(match (until, look) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                });
            }
        }
        if listens
            && KernelStdio.input().any()
            && let Some(waker) = INPUT_WAKER.lock().take()
        {
            waker.wake();
        }
        ControlFlow::Continue(())
    }
}

/// While input streams in: how long it is waited for without halting. Longer than a hypervisor takes to
/// fill a buffer again, for a halt for each buffer would cost more than all the rest.
const PATIENCE: Nanos = 200_000;
/// How often input that interrupts nobody is looked for: soon after the last of it, and later.
const LOOK_SOON: Nanos = 1_000_000;
const LOOK_LATER: Nanos = 20_000_000;
const SOON: Nanos = 100_000_000;

/// When input was last seen.
static LAST_INPUT: AtomicU64 = AtomicU64::new(0);

/// Is there input, now or (while it streams in) in a moment?
fn input_comes(until: Option<Nanos>) -> bool {
    let now = time::monotonic();
    let streams = now - LAST_INPUT.load(Relaxed).min(now) < PATIENCE;
    let end = (now + if streams { PATIENCE } else { 0 }).min(until.unwrap_or(Nanos::MAX));
    loop {
        let (bytes, ended) = console::input_ready();
        if bytes > 0 || ended {
            LAST_INPUT.store(time::monotonic(), Relaxed);
            return true;
        }
        if time::monotonic() >= end {
            return false;
        }
        core::hint::spin_loop();
    }
}

/// When to look for input next, if nothing interrupts for it.
fn next_look() -> Option<Nanos> {
    console::input_is_polled().then(|| {
        let now = time::monotonic();
        let quiet = now - LAST_INPUT.load(Relaxed).min(now);
        now + if quiet < SOON { LOOK_SOON } else { LOOK_LATER }
    })
}

static GENERATOR: StaticCell<Generator> = StaticCell::new(Generator::new());

fn generator() -> &'static mut Generator {
    // SAFETY: one core, no interrupt handler draws random numbers; the borrow ends within each function here.
    unsafe { &mut *GENERATOR.get() }
}

/// Asks every source of entropy that there is, once.
#[cold]
fn gather_entropy(generator: &mut Generator) {
    for _ in 0..8 {
        // Each RDRAND word is good for keys as long as nobody doubts the processor; RDSEED more so.
        if let Some(word) = cpu::rdseed().or_else(cpu::rdrand) {
            generator.mix(&word.to_le_bytes(), true);
        }
    }
    // In the heap's small classes, so in the identity map: a device can write to it.
    let mut from_device = alloc::boxed::Box::new([0; 64]);
    let n = drivers::virtio_entropy(&mut from_device[..]);
    generator.mix(&from_device[..n], true);
    generator.mix(&cpu::tsc().to_le_bytes(), false);
}

/// Fills `buf` with bytes fit for keys; false while there is no good entropy.
pub(crate) fn random(buf: &mut [u8]) -> bool {
    let generator = generator();
    if !generator.seeded() {
        gather_entropy(generator);
        if !generator.seeded() {
            log!(
                warn,
                "no entropy: the machine has neither RDRAND nor a virtio-rng device; random bytes are refused"
            );
            return false;
        }
    }
    generator.fill(buf);
    true
}

/// For hash tables: different at each boot, that is all.
pub(crate) fn insecure_random(buf: &mut [u8]) {
    let generator = generator();
    if !generator.seeded() {
        generator.mix(&cpu::tsc().to_le_bytes(), false);
        if let Some(word) = cpu::rdrand() {
            generator.mix(&word.to_le_bytes(), true);
        }
    }
    generator.fill(buf);
}
