//! The kernel's side of the contract: clock, random numbers and standard streams as guests are given them,
//! and the one place where the processor waits.

use alloc::vec::Vec;
use core::{
    fmt,
    ops::ControlFlow,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    task::Waker,
};

use embedded_io::Write;
use lunette_hostcalls::{
    Clock, Errno, Log, Nanos, Random, Ready, Stdio, Stream, Versions,
    farewell::Version,
    task::{Host, replace_waker},
};
use spin::Mutex;

use crate::{
    arch::{apic, cpu},
    boot,
    cell::StaticCell,
    console::{self, Channel, log},
    drivers::machine,
    entropy::Generator,
    network,
    platform::stop,
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

/// New versions of the app come by the console that carries standard input, and what became of them is said on the report
/// channel.
pub struct KernelVersions;

impl Versions for KernelVersions {
    fn take(&self) -> Option<Vec<u8>> {
        console::take_version()
    }

    fn register(&self, waker: &Waker) {
        console::open_input();
        let old = replace_waker(&mut VERSION_WAKER.lock(), waker);
        if let Some(old) = old {
            old.wake();
        }
        if console::has_version() {
            waker.wake_by_ref();
        }
    }

    fn tell(&self, outcome: Result<(), &str>) {
        let version = match outcome {
            Ok(()) => Version::Taken,
            Err(why) => Version::Refused(why.into()),
        };
        let Ok(()) =
            Channel::Report.write_fmt(format_args!("{version}\n")).or(Ok::<_, core::convert::Infallible>(()));
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

/// Who waits for a new version of the app.
static VERSION_WAKER: Mutex<Option<Waker>> = Mutex::new(None);

/// The machine as the executor sees it. Breaks when it was asked a second time to stop.
pub struct KernelHost;

impl Host for KernelHost {
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()> {
        apic::steady();
        if look(!idle) || !idle {
            return stop_twice();
        }
        stop::listen();
        wait(until);
        look(false);
        stop_twice()
    }

    fn begin_interruptible(&mut self) -> bool {
        // A profile counts ticks, and this would make more of them.
        if boot::info().cmdline.has("profile") {
            return true;
        }
        if machine::listen(true, console::takes_input()) {
            machine::listen(false, false);
            return false;
        }
        OPEN.store(apic::open(), Relaxed);
        true
    }

    fn end_interruptible(&mut self) {
        if OPEN.swap(false, Relaxed) {
            apic::close();
            machine::listen(false, false);
            see_to_interrupts();
        }
    }

    fn stopping(&self) -> bool {
        stop::requests() > 0
    }
}

/// Do devices interrupt who runs?
static OPEN: AtomicBool = AtomicBool::new(false);

fn stop_twice() -> ControlFlow<()> {
    if stop::requests() > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// While something streams in: how long it is waited for without halting. Longer than a hypervisor takes to fill a buffer
/// again, for a halt for each buffer would cost more than all the rest.
const PATIENCE: Nanos = 200_000;
/// How often what interrupts nobody is looked for: soon after the last of it, and later. While tasks run all the time,
/// nothing interrupts either, and the power button is looked at that often.
const LOOK_SOON: Nanos = 1_000_000;
const LOOK_LATER: Nanos = 20_000_000;
const SOON: Nanos = 100_000_000;

/// When a device last brought something.
static LAST_WORK: AtomicU64 = AtomicU64::new(0);

/// Takes what devices brought, and wakes whom that concerns: true if somebody was. `busy`: nobody has halted for a while,
/// perhaps, so interrupts may wait.
fn look(busy: bool) -> bool {
    static LAST_LOOK: AtomicU64 = AtomicU64::new(0);
    let now = time::monotonic();
    if machine::work(console::takes_input()) {
        LAST_WORK.store(now, Relaxed);
    }
    machine::look_at_store();
    let mut woke = network::poll(now);
    if busy && now - LAST_LOOK.load(Relaxed).min(now) >= LOOK_LATER {
        LAST_LOOK.store(now, Relaxed);
        stop::listen();
        stop::look();
    }
    // Whoever waits for input has opened it; and a request to stop comes that way, whether somebody reads or not.
    if console::input_is_open() {
        let (bytes, ended) = console::input_ready();
        if (bytes > 0 || ended)
            && let Some(waker) = INPUT_WAKER.lock().take()
        {
            waker.wake();
            woke = true;
        }
        if console::has_version()
            && let Some(waker) = VERSION_WAKER.lock().take()
        {
            waker.wake();
            woke = true;
        }
    }
    woke
}

/// Waits until a device has something for us, or the clock reaches `until`.
fn wait(until: Option<Nanos>) {
    let now = time::monotonic();
    let takes_input = console::takes_input();
    let sooner = |a: Option<Nanos>, b: Option<Nanos>| a.into_iter().chain(b).min();
    let mut until = sooner(until, network::next(now));
    let quiet = now - LAST_WORK.load(Relaxed).min(now);
    if quiet < PATIENCE {
        let end = (now + PATIENCE).min(until.unwrap_or(Nanos::MAX));
        while time::monotonic() < end {
            if machine::work(takes_input) {
                return;
            }
            core::hint::spin_loop();
        }
    }
    if !machine::all_interrupt() {
        until = sooner(until, Some(now + if quiet < SOON { LOOK_SOON } else { LOOK_LATER }));
    }
    // Nothing is lost between the last look and the halt: a device that listens interrupts, and the interrupt
    // waits for the halt.
    if !machine::listen(true, takes_input) {
        time::sleep(until);
    }
    machine::listen(false, false);
    see_to_interrupts();
}

fn see_to_interrupts() {
    let fired = apic::take_fired();
    if fired != 0 {
        machine::acknowledge(fired);
        stop::acknowledge(fired);
        apic::rearm(fired);
    }
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
    let n = machine::virtio_entropy(&mut from_device[..]);
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
