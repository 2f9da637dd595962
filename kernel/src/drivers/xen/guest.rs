//! This machine, where it is a guest of Xen: what boot finds of it, the console, events, the clock, the store, and power.
//!
//! Found where the boot protocol's RSDP lies where Xen puts it, or is missing: elsewhere nothing of this is looked for.
//! All but the console is set up when it is first needed.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::*, fence},
};

use virtio_drivers::{BufferDirection, Hal};

use super::{
    Hypervisor, PAGE,
    bytes::{Bytes, Place},
    grant::Grants,
    hypercall::{self, Reason, Space},
    netfront::{Missing, Netfront},
    store::{Problem, Store},
};
use crate::{
    acpi::Rsdp,
    arch::{apic, cpu},
    boot,
    cell::StaticCell,
    console::log,
    drivers::virtio::{DmaHal, KernelHal},
    platform::stop,
    time,
};

/// Where Xen's toolstack puts ACPI's tables (`LAPIC` and special pages are above).
const LOWEST_RSDP: u64 = 0xfc00_0000;

/// `HVM_PARAM_*` (public/hvm/params.h).
mod parameter {
    pub(super) const CALLBACK_IRQ: u32 = 0;
    pub(super) const STORE_PAGE: u32 = 1;
    pub(super) const STORE_PORT: u32 = 2;
    pub(super) const CONSOLE_PAGE: u32 = 17;
    pub(super) const CONSOLE_PORT: u32 = 18;
}

static PRESENT: AtomicBool = AtomicBool::new(false);

/// Are we a guest of Xen?
pub(crate) fn present() -> bool {
    PRESENT.load(Relaxed)
}

/// Finds out, and where the console is.
///
/// # Safety
/// Once, at boot.
pub(crate) unsafe fn detect(rsdp: &Rsdp) {
    if matches!(*rsdp, Rsdp::At(at) if at < LOWEST_RSDP)
        || cpu::hypervisor_signature() != Some(*b"XenVMMXenVMM")
    {
        return;
    }
    // SAFETY: Xen said that it is there; this is the only time.
    unsafe {
        hypercall::init();
        PRESENT.store(true, Relaxed);
        if let Some((page, port)) = shared_page(parameter::CONSOLE_PAGE, parameter::CONSOLE_PORT) {
            *CONSOLE.get() =
                Some(Console { out: Bytes::new(page, OUT), input: Bytes::new(page, INPUT), port });
        }
    }
}

/// A page that the toolstack has made, and its event channel.
///
/// # Safety
/// This is a guest of Xen.
unsafe fn shared_page(page: u32, port: u32) -> Option<(NonNull<u8>, u32)> {
    // SAFETY: the caller's.
    let (frame, port) = unsafe { (hypercall::parameter(page)?, hypercall::parameter(port)?) };
    let at = frame.checked_mul(PAGE as u64).filter(|at| *at < boot::tables::MAPPED - PAGE as u64)?;
    let page = NonNull::new(core::ptr::with_exposed_provenance_mut(at as usize))?;
    (port != 0).then_some((page, port as u32))
}

/// The hypervisor as drivers see it.
#[derive(Clone, Copy)]
pub(crate) struct Xen;

impl Hypervisor for Xen {
    fn notify(&self, port: u32) {
        hypercall::notify(port);
    }

    fn offer(&self, peer: u16) -> Option<u32> {
        let port = hypercall::offer_port(peer)?;
        hypercall::unmask(port);
        Some(port)
    }

    fn pause(&self) {
        hypercall::pause();
    }

    fn now(&self) -> u64 {
        time::monotonic()
    }
}

// The console.

struct Console {
    out: Bytes,
    input: Bytes,
    port: u32,
}

/// `struct xencons_interface`.
const INPUT: Place = Place { data: 0, size: 1024, consumed: 3072, produced: 3076 };
const OUT: Place = Place { data: 1024, size: 2048, consumed: 3080, produced: 3084 };

static CONSOLE: StaticCell<Option<Console>> = StaticCell::new(None);

fn console() -> Option<&'static Console> {
    // SAFETY: written once, at boot.
    unsafe { (*CONSOLE.get()).as_ref() }
}

/// How long the console's daemon may take nothing, in ticks of the time stamp counter: a second or less. (The clock may not
/// be asked here: this is where words go when nothing else works.)
const CONSOLE_PATIENCE: u64 = 2_000_000_000;

/// Writes to the console. What nobody reads in time is lost.
pub(crate) fn console_write(mut bytes: &[u8]) {
    let Some(console) = console() else { return };
    while !bytes.is_empty() {
        let count = console.out.put(bytes);
        bytes = &bytes[count..];
        hypercall::notify(console.port);
        if count == 0 && !console_moves(console) {
            return;
        }
    }
}

/// Waits until the console's daemon has read something; false: it does not.
fn console_moves(console: &Console) -> bool {
    /// Where it stood when it was given up: until it moves on it is not waited for again.
    static STUCK_AT: AtomicU64 = AtomicU64::new(u64::MAX);
    let at = console.out.consumed();
    let begun = cpu::tsc();
    let patience = if STUCK_AT.load(Relaxed) == u64::from(at) { 0 } else { CONSOLE_PATIENCE };
    while console.out.consumed() == at {
        if cpu::tsc().wrapping_sub(begun) >= patience {
            STUCK_AT.store(at.into(), Relaxed);
            return false;
        }
        hypercall::pause();
    }
    true
}

/// Takes what was typed, as long as `take` has room for another byte.
pub(crate) fn console_read(mut take: impl FnMut(u8) -> bool) {
    let Some(console) = console() else { return };
    let (mut byte, mut some) = ([0], false);
    while console.input.take(&mut byte) == Some(1) {
        some = true;
        if !take(byte[0]) {
            break;
        }
    }
    if some {
        hypercall::notify(console.port);
    }
}

/// Lets what is typed wake a halted processor.
pub(crate) fn open_console() {
    if let Some(console) = console() {
        events();
        hypercall::unmask(console.port);
    }
}

// Power.

/// Switches the machine off, once the console's daemon has the last words.
pub(crate) fn shut_down(well: bool) {
    if let Some(console) = console() {
        while console.out.used().is_some_and(|used| used > 0) && console_moves(console) {}
    }
    hypercall::shut_down(if well { Reason::PowerOff } else { Reason::Crash });
}

// The page that Xen tells of itself with (`struct shared_info`): events and the time.

mod shared {
    pub(super) const UPCALL_PENDING: usize = 0;
    pub(super) const PENDING_WORDS: usize = 8;
    /// `struct pvclock_vcpu_time_info` of the first processor.
    pub(super) const TIME: usize = 32;
    pub(super) const PENDING: usize = 2048;
    pub(super) const WALL: usize = 3072;
    pub(super) const WALL_HIGH: usize = 3084;
}

#[repr(C, align(4096))]
struct Page([u8; PAGE]);

#[unsafe(link_section = ".bss.pages.xen")]
static SHARED: StaticCell<Page> = StaticCell::new(Page([0; PAGE]));

/// The page, once Xen has it there.
fn shared_info() -> Option<NonNull<u8>> {
    static PLACED: AtomicBool = AtomicBool::new(false);
    if !present() {
        return None;
    }
    let page = NonNull::new(SHARED.get())?.cast();
    if !PLACED.load(Relaxed) {
        // SAFETY: a page of zeros of our own, which nobody has looked at.
        if !unsafe { hypercall::place(Space::SharedInfo, page.addr().get() as u64 / PAGE as u64) } {
            return None;
        }
        PLACED.store(true, Relaxed);
    }
    Some(page)
}

/// The factor of the TSC, as Xen tells it: `nanos = (tsc << shift) * multiplier / 2^32`.
pub(crate) fn tsc_scale() -> Option<(u32, i8)> {
    snapshot().map(|(_, _, multiplier, shift)| (multiplier, shift))
}

/// Nanoseconds from when Xen's time began to the time stamp, the time stamp, and the factor.
fn snapshot() -> Option<(u64, u64, u32, i8)> {
    let page = shared_info()?;
    for _ in 0..1000 {
        // SAFETY: fields of the shared page, aligned; Xen writes them, under an even version.
        unsafe {
            let version = || page.add(shared::TIME).cast::<AtomicU32>().as_ref().load(Acquire);
            let before = version();
            let all = (
                page.add(shared::TIME + 16).cast::<u64>().read_volatile(),
                page.add(shared::TIME + 8).cast::<u64>().read_volatile(),
                page.add(shared::TIME + 24).cast::<u32>().read_volatile(),
                page.add(shared::TIME + 28).cast::<i8>().read_volatile(),
            );
            fence(Acquire);
            if before & 1 == 0 && version() == before && before != 0 {
                return Some(all);
            }
        }
    }
    None
}

/// Nanoseconds since 1970 now.
pub(crate) fn wall() -> Option<u64> {
    let (system, stamp, ..) = snapshot()?;
    let page = shared_info()?;
    for _ in 0..1000 {
        // SAFETY: as above: version, seconds, nanoseconds, and the upper half of the seconds.
        unsafe {
            let word = |at: usize| page.add(at).cast::<AtomicU32>().as_ref().load(Acquire);
            let before = word(shared::WALL);
            let seconds = u64::from(word(shared::WALL + 4)) | u64::from(word(shared::WALL_HIGH)) << 32;
            let nanos = word(shared::WALL + 8);
            if before & 1 == 0 && word(shared::WALL) == before {
                let began = seconds.checked_mul(1_000_000_000)?.checked_add(nanos.into())?;
                let since = time::nanos_between(stamp, cpu::tsc());
                return (seconds != 0).then_some(began.checked_add(system)?.checked_add(since)?);
            }
        }
    }
    None
}

// Events. Whoever was told of one looks at all rings, so it does not matter which it was.

/// The bit of the interrupt; `NO_BIT`: not set up yet.
static BIT: AtomicU8 = AtomicU8::new(NO_BIT);
const NO_BIT: u8 = 0xff;

/// Has events interrupt a halted processor; by which bit of [`apic::take_fired`], or 0 if that can't be.
pub(crate) fn events() -> u32 {
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Relaxed)
        && shared_info().is_some()
        && let Some(vector) = apic::take_vector()
    {
        // SAFETY: the vector leads to the handler of devices. The first line is for Xen to learn that this is a 64-bit
        // guest that hears events; the last for one that is too old for its own interrupt (before 4.6): that comes
        // without regard to priorities, and needs no end, but is recorded all the same.
        let fine = unsafe {
            hypercall::set_parameter(parameter::CALLBACK_IRQ, 1) && hypercall::set_event_vector(vector)
                || hypercall::set_parameter(parameter::CALLBACK_IRQ, 2 << 56 | u64::from(vector))
        };
        match fine {
            true => BIT.store(apic::bit(vector).trailing_zeros() as u8, Relaxed),
            false => log!(warn, "xen: events can't interrupt; what comes is seen late"),
        }
    }
    bit()
}

fn bit() -> u32 {
    match BIT.load(Relaxed) {
        NO_BIT => 0,
        bit => 1 << bit,
    }
}

/// Has the next event interrupt. To be called before the last look at the rings: what comes later is not lost.
pub(crate) fn arm() {
    if bit() == 0 {
        return;
    }
    let Some(page) = shared_info() else { return };
    // SAFETY: words of the shared page, which both sides change as atomics. First the flag, then the words that it stands
    // for: an event in between raises it again.
    unsafe {
        let word = |at: usize| page.add(at).cast::<AtomicU64>().as_ref();
        page.add(shared::UPCALL_PENDING).cast::<AtomicU8>().as_ref().store(0, SeqCst);
        let mut words = word(shared::PENDING_WORDS).swap(0, SeqCst);
        while words != 0 {
            word(shared::PENDING + 8 * words.trailing_zeros() as usize).store(0, SeqCst);
            words &= words - 1;
        }
    }
}

// The store, and what it tells of: the request to shut down, and the card's backend.

const SHUTDOWN: &str = "control/shutdown";
/// Tokens of our watches.
const SHUTDOWN_TOKEN: u8 = 1;
const CARD_TOKEN: u8 = 2;

/// What was opened of it.
struct Opened {
    store: Store<Xen>,
    grants: Option<Grants>,
}

static STORE: StaticCell<Option<Opened>> = StaticCell::new(None);

fn opened() -> Option<&'static mut Opened> {
    // SAFETY: one core, no interrupt handler comes here; no function of this module keeps the reference over a call of
    // another that takes it.
    unsafe { (*STORE.get()).as_mut() }
}

fn open() -> Option<&'static mut Opened> {
    static TRIED: AtomicBool = AtomicBool::new(false);
    if !TRIED.swap(true, Relaxed) {
        // SAFETY: we are a guest of Xen, says whoever calls this; the page is the store's, and this is the only time.
        unsafe {
            let (page, port) = shared_page(parameter::STORE_PAGE, parameter::STORE_PORT)?;
            *STORE.get() = Some(Opened { store: Store::new(Xen, page, port), grants: None });
            events();
            hypercall::unmask(port);
        }
    }
    opened()
}

/// Listens for a request to shut down.
pub(crate) fn listen_for_stop() {
    let Some(Opened { store, .. }) = open() else { return };
    if let Err(problem) = store.watch(SHUTDOWN, SHUTDOWN_TOKEN) {
        log!(warn, "xen: {problem}; a request to shut down is not heard");
    }
}

/// Has something come that [`look`] should see?
pub(crate) fn work() -> bool {
    opened().is_some_and(|opened| opened.store.work())
}

/// Has something been typed?
pub(crate) fn console_work() -> bool {
    console().is_some_and(|console| console.input.used() != Some(0))
}

/// Sees to what the store tells of. True: the card's backend has changed, and somebody should look at it.
pub(crate) fn look(card: Option<&mut Card>) {
    let Some(Opened { store, .. }) = opened() else { return };
    if !store.work() {
        return;
    }
    let fired = store.fired();
    if fired & 1 << CARD_TOKEN != 0
        && let Some(card) = card
    {
        card.look_at_backend(store);
    }
    if fired & 1 << SHUTDOWN_TOKEN != 0 && asked_to_shut_down(store) {
        stop::request();
    }
}

/// What the toolstack asks for. A reboot is a shut-down too: what comes afterwards is the toolstack's to do.
fn asked_to_shut_down(store: &mut Store<Xen>) -> bool {
    let Ok(Some(word)) = store.read(SHUTDOWN) else { return false };
    // It wants to see that it was heard.
    let asked = matches!(&word[..], b"poweroff" | b"halt" | b"reboot");
    if !word.is_empty() {
        if let Err(problem) = store.write(SHUTDOWN, "") {
            log!(debug, "xen: {SHUTDOWN}: {problem}");
        }
        if !asked {
            log!(warn, "xen: asked to `{}`, which this machine can't do", word.escape_ascii());
        }
    }
    asked
}

/// The first network card.
pub(crate) type Card = Netfront<DmaHal, Xen>;

/// Sets up the first card. `memory`: what its buffers may take.
pub(crate) fn open_card(memory: usize) -> Result<Card, Missing> {
    let opened = open().ok_or(Missing::NotThere)?;
    if opened.grants.is_none() {
        let (physical, at) = KernelHal::dma_alloc(1, BufferDirection::Both);
        // SAFETY: a page of ours that holds nothing; from then on it is the first of the grant table.
        let placed = physical != 0 && unsafe { hypercall::place(Space::GrantTable, physical / PAGE as u64) };
        if !placed {
            return Err(Missing::Store(Problem::Refused("a grant table".into())));
        }
        // SAFETY: as above.
        opened.grants = Some(unsafe { Grants::new(at) });
    }
    let grants = opened.grants.as_mut().ok_or(Missing::NotThere)?;
    Netfront::new(&mut opened.store, grants, memory, CARD_TOKEN)
}
