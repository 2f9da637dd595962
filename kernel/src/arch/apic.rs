//! The local APIC (its timer, and the priority that keeps devices out while code runs) and the I/O APIC
//! (which line interrupts where).
//!
//! Devices interrupt only while the processor is halted, or runs who gives way to others ([`open`]). At all other times
//! interrupts are off; or, where it ticks, the task priority is raised.
//! An interrupt is recorded ([`take_fired`]); whoever halted acts. The timer tick stands above that priority.
//! Intel SDM vol. 3, chapter 11; Intel 82093AA (I/O APIC).

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::cpu;
use crate::{boot, time};

const LOCAL: usize = 0xfee0_0000;
const IO: usize = 0xfec0_0000;

/// Vectors: below 0x40 those of traps.s; the tick is in a priority class of its own. Here first those of ISA lines.
pub(crate) const DEVICE_VECTORS: u8 = 0x20;
const ISA_LINES: u8 = 16;
/// The timer when it wakes a halted processor: a device like others.
pub(crate) const WAKE_VECTOR: u8 = 0x30;
/// For whoever asks.
const FREE_VECTORS: core::ops::Range<u8> = 0x31..0x3f;
pub(crate) const TICK_VECTOR: u8 = 0xf0;
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

mod register {
    pub(super) const ID: usize = 0x20;
    pub(super) const EOI: usize = 0xb0;
    pub(super) const SPURIOUS: usize = 0xf0;
    pub(super) const LVT_TIMER: usize = 0x320;
    pub(super) const LVT_LINT0: usize = 0x350;
    pub(super) const LVT_LINT1: usize = 0x360;
    pub(super) const INITIAL_COUNT: usize = 0x380;
    pub(super) const CURRENT_COUNT: usize = 0x390;
    pub(super) const DIVIDE: usize = 0x3e0;
}

const MASKED: u32 = 1 << 16;
const PERIODIC: u32 = 1 << 17;

/// Timer counts in a second, once measured.
static FREQUENCY: AtomicU64 = AtomicU64::new(0);
/// The time stamp at which the timer began to count down from `u32::MAX`, for measuring it.
static STARTED: AtomicU64 = AtomicU64::new(0);

fn write(register: usize, value: u32) {
    // SAFETY: the local APIC's page is mapped uncached by boot; its registers are 32 bits wide.
    unsafe { core::ptr::with_exposed_provenance_mut::<u32>(LOCAL + register).write_volatile(value) }
}

fn read(register: usize) -> u32 {
    // SAFETY: as above.
    unsafe { core::ptr::with_exposed_provenance::<u32>(LOCAL + register).read_volatile() }
}

/// A second I/O APIC: where it is, and the first of its lines; 0: none is known.
static SECOND: AtomicU64 = AtomicU64::new(0);
static SECOND_FIRST: AtomicU8 = AtomicU8::new(0);

/// Lines from `first` on are those of another I/O APIC.
///
/// # Safety
/// Its page is mapped uncached, and nobody else's.
pub(crate) unsafe fn know_second(page: u64, first: u8) {
    SECOND.store(page, Relaxed);
    SECOND_FIRST.store(first, Relaxed);
}

/// The I/O APIC of a line, and which of its own that is.
fn io_of(line: u8) -> (usize, u8) {
    let first = SECOND_FIRST.load(Relaxed);
    if first == 0 || line < first { (IO, line) } else { (SECOND.load(Relaxed) as usize, line - first) }
}

/// The register of a line's that says how it interrupts; the one behind it says whom.
fn redirection((io, line): (usize, u8)) -> (usize, u32) {
    (io, 0x10 + 2 * u32::from(line))
}

fn io_write((io, register): (usize, u32), value: u32) {
    // SAFETY: the I/O APIC's page is mapped uncached, by boot or as `know_second` was told. Index and window are 32 bits
    // wide.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<u32>(io).write_volatile(register);
        core::ptr::with_exposed_provenance_mut::<u32>(io + 0x10).write_volatile(value);
    }
}

fn io_read((io, register): (usize, u32)) -> u32 {
    // SAFETY: as above.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<u32>(io).write_volatile(register);
        core::ptr::with_exposed_provenance::<u32>(io + 0x10).read_volatile()
    }
}

/// Switches the local APIC on, and sets its timer off, to be measured later.
pub(crate) fn init() {
    write(register::SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
    write(register::LVT_LINT0, MASKED);
    write(register::LVT_LINT1, 0x400); // NMI: how a hypervisor asks for attention
    write(register::DIVIDE, 0b1011); // by 1
    write(register::LVT_TIMER, MASKED);
    write(register::INITIAL_COUNT, u32::MAX);
    STARTED.store(cpu::tsc(), Relaxed);
}

/// Keeps devices out (or lets them in, around a halt).
#[inline]
fn set_priority(keep_out: bool) {
    let class: u64 = if keep_out { 0xe } else { 0 };
    // SAFETY: CR8 only holds back interrupts.
    unsafe { core::arch::asm!("mov cr8, {}", in(reg) class, options(nomem, nostack)) };
}

/// Timer counts in a second: from the counts that passed since [`init`], or anew if those ran out.
fn frequency() -> u64 {
    let known = FREQUENCY.load(Relaxed);
    if known != 0 {
        return known;
    }
    let mut counts = u64::from(u32::MAX - read(register::CURRENT_COUNT));
    let mut nanos = time::nanos_between(STARTED.load(Relaxed), cpu::tsc());
    if counts == u64::from(u32::MAX) || nanos < 100_000 {
        write(register::INITIAL_COUNT, u32::MAX);
        let start = cpu::tsc();
        while time::nanos_between(start, cpu::tsc()) < 200_000 {
            core::hint::spin_loop();
        }
        counts = u64::from(u32::MAX - read(register::CURRENT_COUNT));
        nanos = time::nanos_between(start, cpu::tsc());
    }
    let frequency = (u128::from(counts) * 1_000_000_000 / u128::from(nanos.max(1))) as u64;
    let frequency = frequency.max(1);
    FREQUENCY.store(frequency, Relaxed);
    frequency
}

fn counts(nanos: u64) -> u32 {
    (u128::from(nanos) * u128::from(frequency()) / 1_000_000_000).clamp(1, u128::from(u32::MAX)) as u32
}

/// The timer counts of a tick; 0: there are to be none.
static PERIOD: AtomicU32 = AtomicU32::new(0);

/// Ticks every `nanos` from now on, while the processor runs: [`super::traps::ticks`] counts them. A processor that is
/// halted is left alone (see [`halt`]).
pub fn start_tick(nanos: u64) {
    EVEN.store(boot::info().cmdline.has("profile"), Relaxed);
    PERIOD.store(counts(nanos), Relaxed);
    set_priority(true);
    tick();
    x86_64::instructions::interrupts::enable();
}

/// No more ticks.
pub fn stop_tick() {
    x86_64::instructions::interrupts::disable();
    PERIOD.store(0, Relaxed);
    silence();
    set_priority(false);
}

/// Makes the timer tick.
fn tick() {
    write(register::LVT_TIMER, PERIODIC | u32::from(TICK_VECTOR));
    write(register::INITIAL_COUNT, PERIOD.load(Relaxed));
}

/// A processor that was woken has its first tick after this part of a period: most of what wakes it is done by then, and who
/// goes on keeps the others waiting no longer, for in its first turn no device interrupts it.
const SOON: u32 = 4;

/// Ticks are samples of a profile: each stands for as much time as any other.
static EVEN: AtomicBool = AtomicBool::new(false);

/// How many ticks there were when they were made to come [`SOON`]; `u64::MAX`: they come as they should.
static SINCE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Makes the timer tick, soon at first.
fn tick_soon() {
    if EVEN.load(Relaxed) {
        return tick();
    }
    SINCE.store(super::traps::ticks(), Relaxed);
    write(register::LVT_TIMER, PERIODIC | u32::from(TICK_VECTOR));
    write(register::INITIAL_COUNT, (PERIOD.load(Relaxed) / SOON).max(1));
}

/// After a tick that came soon, the next ones take their whole time. To be called now and then.
pub(crate) fn steady() {
    let since = SINCE.load(Relaxed);
    if since != u64::MAX && since != super::traps::ticks() {
        SINCE.store(u64::MAX, Relaxed);
        if PERIOD.load(Relaxed) != 0 {
            tick();
        }
    }
}

/// Stops the timer.
fn silence() {
    write(register::LVT_TIMER, MASKED);
    write(register::INITIAL_COUNT, 0);
}

/// Halts until a device interrupts or `nanos` have passed, whichever comes first; now and then sooner. Call it
/// after a last look at what you wait for: nothing that happens in between is lost.
///
/// Whoever has started ticks finds them going on when this returns, but an idle processor does not tick. With a time
/// to wait for, the timer serves that, and making it tick again takes as many writes as stopping it would. Without
/// one it goes on at first, for a device soon wakes a busy machine, which then pays for nothing; only the halt after
/// one that a tick has ended stops it.
pub(crate) fn halt(nanos: Option<u64>) {
    static ENDED_BY_TICK: AtomicBool = AtomicBool::new(false);
    x86_64::instructions::interrupts::disable();
    let ticking = PERIOD.load(Relaxed) != 0;
    let mut taken = nanos.is_some();
    if let Some(nanos) = nanos {
        // A long wait is cut at what the counter holds; the caller looks again anyway.
        let counts = counts(nanos);
        write(register::LVT_TIMER, u32::from(WAKE_VECTOR));
        write(register::INITIAL_COUNT, counts);
    } else if ticking && ENDED_BY_TICK.load(Relaxed) {
        silence();
        taken = true;
    }
    let ticks = super::traps::ticks();
    if ticking {
        set_priority(false);
    }
    x86_64::instructions::interrupts::enable_and_hlt();
    x86_64::instructions::interrupts::disable();
    if ticking {
        set_priority(true);
    }
    ENDED_BY_TICK.store(FIRED.load(Relaxed) == 0 && super::traps::ticks() != ticks, Relaxed);
    match (taken, ticking) {
        (true, true) => tick_soon(),
        (true, false) => silence(),
        (false, _) => {}
    }
    if ticking {
        x86_64::instructions::interrupts::enable();
    }
}

/// When a line interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// As it goes up.
    Edge,
    /// As long as it is up.
    Level,
    /// As long as it is down.
    LevelLow,
}

impl Trigger {
    pub(crate) fn of(edge: bool, low: bool) -> Self {
        match (edge, low) {
            (true, _) => Self::Edge,
            (false, false) => Self::Level,
            (false, true) => Self::LevelLow,
        }
    }
}

/// Which of the vectors from [`DEVICE_VECTORS`] on have interrupted since somebody asked.
static FIRED: AtomicU32 = AtomicU32::new(0);
/// For each of these vectors: the level-triggered line that it belongs to.
static LEVEL_LINES: [AtomicU8; 32] = [const { AtomicU8::new(NO_LINE) }; 32];
const NO_LINE: u8 = 0xff;
/// Do devices interrupt who runs? See [`open`].
static OPEN: AtomicBool = AtomicBool::new(false);

/// Lets devices interrupt who runs, from now on: each is recorded, and is a tick beside, so that the others have a go soon. False:
/// not where nothing ticks.
pub(crate) fn open() -> bool {
    let ticking = PERIOD.load(Relaxed) != 0;
    if ticking {
        OPEN.store(true, Relaxed);
        set_priority(false);
    }
    ticking
}

/// Keeps devices out again.
pub(crate) fn close() {
    set_priority(true);
    OPEN.store(false, Relaxed);
}

/// The next of [`FREE_VECTORS`].
static NEXT_VECTOR: AtomicU8 = AtomicU8::new(FREE_VECTORS.start);

/// A device interrupts: called by the handler, while the processor was halted or [`open`].
pub(crate) fn interrupted(vector: u8) {
    let index = vector.wrapping_sub(DEVICE_VECTORS) & 31;
    FIRED.fetch_or(1 << index, Relaxed);
    let line = LEVEL_LINES[usize::from(index)].load(Relaxed);
    if line != NO_LINE {
        // It stays up until somebody has seen to the device, who then calls `rearm`.
        let redirection = redirection(io_of(line));
        io_write(redirection, io_read(redirection) | MASKED);
    }
    write(register::EOI, 0);
    if OPEN.load(Relaxed) {
        super::traps::call_tick_hook();
    }
}

/// The vectors that have interrupted since the last call: bit 0 is [`DEVICE_VECTORS`].
pub(crate) fn take_fired() -> u32 {
    FIRED.swap(0, Relaxed)
}

/// The bit of a vector in [`take_fired`].
pub(crate) fn bit(vector: u8) -> u32 {
    1 << (vector.wrapping_sub(DEVICE_VECTORS) & 31)
}

/// Opens the level-triggered lines among these again, once their devices are content.
pub(crate) fn rearm(fired: u32) {
    for (index, line) in LEVEL_LINES.iter().enumerate() {
        let line = line.load(Relaxed);
        if fired & 1 << index != 0 && line != NO_LINE {
            let redirection = redirection(io_of(line));
            io_write(redirection, io_read(redirection) & !MASKED);
        }
    }
}

/// A vector that is nobody else's.
pub(crate) fn take_vector() -> Option<u8> {
    let vector = NEXT_VECTOR.load(Relaxed);
    if !FREE_VECTORS.contains(&vector) {
        return None;
    }
    NEXT_VECTOR.store(vector + 1, Relaxed);
    Some(vector)
}

/// Lets a line of the I/O APICs interrupt a halted processor; by which vector. `None`: there is no such line, or there are no
/// more vectors.
pub(crate) fn enable_line(line: u8, trigger: Trigger) -> Option<u8> {
    let (io, own) = io_of(line);
    let last = (io_read((io, 1)) >> 16) as u8;
    if own > last.min(239) {
        return None;
    }
    let shared = LEVEL_LINES.iter().position(|known| known.load(Relaxed) == line);
    let vector = match shared {
        Some(index) => DEVICE_VECTORS + index as u8,
        None if line < ISA_LINES => DEVICE_VECTORS + line,
        None => take_vector()?,
    };
    let mut low = u32::from(vector);
    if trigger != Trigger::Edge {
        low |= 1 << 15;
        LEVEL_LINES[usize::from(vector - DEVICE_VECTORS)].store(line, Relaxed);
    }
    if trigger == Trigger::LevelLow {
        low |= 1 << 13;
    }
    let (io, register) = redirection((io, own));
    io_write((io, register + 1), own_id() << 24);
    io_write((io, register), low);
    Some(vector)
}

fn own_id() -> u32 {
    read(register::ID) >> 24
}

/// Where a device writes, and what, to interrupt by this vector (Intel SDM vol. 3, 11.11).
pub(crate) fn message(vector: u8) -> (u32, u32) {
    (LOCAL as u32 | own_id() << 12, u32::from(vector))
}
