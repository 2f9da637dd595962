//! Time: a monotonic clock in nanoseconds over the time stamp counter, and the date.
//!
//! Nothing is calibrated at boot. The frequency comes from the hypervisor (kvmclock, Xen's shared page, the VMware timing leaf)
//! or the processor (CPUID leaf 15h) where one of them tells; else the PIT is started at entry, and the first
//! reading compares how far both have come. A later reading, when more time has passed, refines it.
//! The clock starts at 0 at kernel entry and is never set back.

pub mod scale;

#[cfg(any(target_env = "musl", target_os = "none"))]
mod date;
#[cfg(any(target_env = "musl", target_os = "none"))]
mod kvmclock;
#[cfg(any(target_env = "musl", target_os = "none"))]
mod pit;
#[cfg(any(target_env = "musl", target_os = "none"))]
mod wakes;

#[cfg(any(target_env = "musl", target_os = "none"))]
pub use machine::*;

#[cfg(any(target_env = "musl", target_os = "none"))]
mod machine {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use embedded_io::Write;

    use super::{
        date, kvmclock, pit,
        scale::{self, Scale},
        wakes,
    };
    use crate::{
        arch::cpu::{self, tsc},
        boot,
        cell::StaticCell,
        cmdline::Cmdline,
        console::Channel,
        drivers::xen::guest as xen,
    };

    /// How the clock got its frequency.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Source {
        Unknown,
        /// Told by somebody who knows.
        Told,
        /// Compared with the PIT over too short a time to be the last word.
        Estimated,
        Measured,
    }

    struct State {
        source: Source,
        scale: Scale,
        /// The last reading, for "never set back" across a refinement.
        last: u64,
    }

    static STATE: StaticCell<State> =
        StaticCell::new(State { source: Source::Unknown, scale: Scale::new(0, 0, 1_000_000_000), last: 0 });
    /// More often than this a hypervisor would do little else.
    const SHORTEST_TICK: u64 = 50_000;

    static ENTRY: AtomicU64 = AtomicU64::new(0);

    /// Takes the reference pair. # Safety: once, at boot.
    pub(crate) unsafe fn init(entry_tsc: u64, cmdline: &Cmdline<'_>) {
        ENTRY.store(entry_tsc, Relaxed);
        pit::start();
        wakes::init(cmdline);
    }

    fn state() -> &'static mut State {
        // SAFETY: one core; no interrupt handler reads the clock; the borrow ends within each function here.
        unsafe { &mut *STATE.get() }
    }

    /// Hertz of the TSC, from the factor that Xen wants us to multiply with.
    fn xen_frequency() -> Option<u64> {
        let (multiplier, shift) = xen::tsc_scale()?;
        scale::frequency(multiplier, shift)
    }

    /// Hertz of the TSC as told by the hypervisor or the processor.
    fn told() -> Option<u64> {
        if let Some(hz) = kvmclock::tsc_frequency().or_else(xen_frequency) {
            return Some(hz);
        }
        if let Some([khz, ..]) = cpu::hypervisor_signature().and_then(|_| cpu::cpuid(0x4000_0010))
            && khz != 0
        {
            return Some(u64::from(khz) * 1000);
        }
        // Intel SDM vol. 2, CPUID leaf 15h: TSC = crystal * EBX / EAX.
        let [denominator, numerator, crystal, _] = cpu::cpuid(0x15)?;
        (denominator != 0 && numerator != 0 && crystal != 0)
            .then(|| u64::from(crystal) * u64::from(numerator) / u64::from(denominator))
    }

    /// Finds or refines the frequency. Rare: not on the path of a settled clock.
    #[cold]
    fn settle(state: &mut State) {
        let entry = ENTRY.load(Relaxed);
        if state.source == Source::Unknown
            && let Some(hz) = told()
        {
            state.scale = Scale::new(entry, 0, hz);
            state.source = Source::Told;
            return;
        }
        let (hz, exact) = pit::tsc_frequency();
        let now = tsc();
        // From now on with the new frequency, from where the old one has led.
        let base = match state.source {
            Source::Unknown => {
                state.scale = Scale::new(entry, 0, hz);
                state.scale.nanos(now)
            }
            _ => state.scale.nanos(now).max(state.last),
        };
        state.scale = Scale::new(now, base, hz);
        state.source = if exact { Source::Measured } else { Source::Estimated };
    }

    /// Nanoseconds since kernel entry.
    pub fn monotonic() -> u64 {
        let state = state();
        if matches!(state.source, Source::Unknown) || (state.source == Source::Estimated && pit::due()) {
            settle(state);
        }
        let nanos = state.scale.nanos(tsc()).max(state.last);
        state.last = nanos;
        nanos
    }

    /// Nanoseconds between two time stamps.
    pub(crate) fn nanos_between(start: u64, end: u64) -> u64 {
        let state = state();
        if state.source == Source::Unknown {
            settle(state);
        }
        state.scale.span(end.saturating_sub(start))
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z, if the machine knows the date.
    pub fn wall() -> Option<u64> {
        static OFFSET: AtomicU64 = AtomicU64::new(0);
        let now = monotonic();
        match OFFSET.load(Relaxed) {
            0 => {
                let date = kvmclock::wall_at_boot().or_else(xen::wall).or_else(date::read_rtc)?;
                OFFSET.store(date.saturating_sub(now).max(1), Relaxed);
                Some(date)
            }
            offset => Some(offset + now),
        }
    }

    /// Halts until a device interrupts or the monotonic clock reaches `until`.
    pub(crate) fn sleep(until: Option<u64>) {
        wakes::tell();
        match until {
            None => crate::arch::apic::halt(None),
            Some(until) => {
                let now = monotonic();
                if until > now {
                    crate::arch::apic::halt(Some(until - now));
                }
            }
        }
        wakes::note();
    }

    /// Calls `hook` every `period` nanoseconds from now on, as long as the processor runs: what preempts native code
    /// (an engine's epoch goes up). `None` ends it. There is one hook; nothing ticks without one, and an idle machine
    /// does not tick at all.
    ///
    /// `hook` runs in the middle of anything, the memory layer and the allocator included, on a stack of 16 KiB, and
    /// must come back soon: it may count, set atomics, and nothing else. No allocation, no lock, no panic, no floor call,
    /// no memory that has never been touched; no AVX. When the processor was busy elsewhere for longer than a period, ticks are
    /// lost, not made up for.
    pub fn on_tick(period: u64, hook: Option<extern "C" fn()>) {
        use crate::arch::{apic, traps};
        apic::stop_tick();
        traps::set_tick_hook(hook);
        if hook.is_some() {
            apic::start_tick(period.max(SHORTEST_TICK));
        }
    }

    /// With `lunette.marks` on the command line: says on the report channel that boot has come this far.
    pub fn mark(name: &str) {
        mark_at(name, tsc(), &boot::info().cmdline);
    }

    pub(crate) fn mark_at(name: &str, when: u64, cmdline: &Cmdline<'_>) {
        if cmdline.has("marks") {
            let Ok(()) = Channel::Report.write_fmt(format_args!("lunette: mark {name} {when}\n")).or(Ok::<
                _,
                core::convert::Infallible,
            >(
                ()
            ));
        }
    }
}
