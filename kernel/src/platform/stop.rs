//! "Stop, please": the power button where there is ACPI, a code on the virtio console where there is none
//! (`stdin`), a word in the store where we are a guest of Xen. The first request lets guests end in good order, the second ends the run. An NMI ends it at once
//! ([`super::stop_requested`]).
//!
//! Nothing is set up before somebody waits for the first time: a run that never waits is over before it could be asked.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use x86_64::instructions::port::Port;

use crate::{
    acpi::{self, Off, Physical, PowerButton, Register},
    arch::apic::{self, Trigger},
    boot,
    cell::StaticCell,
    console::{self, log},
    drivers::{virtio, xen::guest as xen},
};

/// How often we were asked.
static REQUESTS: AtomicU32 = AtomicU32::new(0);
static BUTTON: StaticCell<Option<PowerButton>> = StaticCell::new(None);
/// The bit of its interrupt; `NO_BIT`: it has none.
static BIT: AtomicU8 = AtomicU8::new(NO_BIT);
const NO_BIT: u8 = 0xff;

/// PM1 status and enable (ACPI 6.5, 4.8.3.1): the power button.
const PWRBTN: u16 = 1 << 8;
/// PM1 control: the interrupt is ours, not the firmware's.
const SCI_EN: u16 = 1;

/// What lies below 3 GiB and is nobody's: where firmware leaves its tables.
pub(crate) struct LowMemory;

impl Physical for LowMemory {
    fn bytes(&self, at: u64, length: usize) -> Option<&[u8]> {
        let end = at.checked_add(length as u64)?;
        let usable = |range: &core::ops::Range<u64>| range.start < end && at < range.end;
        // Page 0 is unmapped, the image is not there for this, and from 3 GiB on there are devices.
        if at < 4096 || end > 3 << 30 || boot::image().start < end && at < boot::image().end {
            return None;
        }
        // Firmware's tables are in none of the memory that is ours to use.
        if boot::info().memory.iter().any(|range| usable(&range)) {
            return None;
        }
        // SAFETY: mapped by boot, and nobody's: neither memory that is handed out nor the image.
        Some(unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(at as usize), length) })
    }
}

/// Makes ready to be asked. Costs nothing after the first time.
pub(crate) fn listen() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Relaxed) {
        return;
    }
    console::listen_for_stop();
    if xen::present() {
        return xen::listen_for_stop();
    }
    let Some(button) = acpi::power_button(&LowMemory, &boot::info().rsdp) else { return };
    // SAFETY: ports that the firmware's tables, which sum up, name for this.
    unsafe {
        if !switch_on(button.control, button.enable) {
            log!(warn, "acpi: it can't be switched on; the power button is not heard");
            return;
        }
        // A press from before this moment is one all the same, so the status stays.
        Port::<u16>::new(button.event + 2).write(PWRBTN);
        *BUTTON.get() = Some(button);
    }
    match apic::enable_line(button.line, Trigger::of(button.edge, button.low)) {
        Some(vector) => BIT.store(apic::bit(vector).trailing_zeros() as u8, Relaxed),
        None => log!(warn, "acpi: line {} can't interrupt; the power button is heard late", button.line),
    }
}

/// Has the firmware leave ACPI's registers to us, where it has to be asked. False: it does not.
///
/// # Safety
/// The ports are those that the firmware's tables name for this.
unsafe fn switch_on(control: u16, enable: Option<(u16, u8)>) -> bool {
    let mut control = Port::<u16>::new(control);
    // SAFETY: the caller's.
    unsafe {
        if control.read() & SCI_EN != 0 {
            return true;
        }
        let Some((port, value)) = enable else { return true };
        Port::<u8>::new(port).write(value);
        // Up to three seconds, says the specification; QEMU takes none.
        (0..100_000).any(|_| control.read() & SCI_EN != 0)
    }
}

/// Switches the machine off as the firmware's tables say; comes back where they don't, or where it has no effect.
pub(super) fn switch_off() {
    let Some(info) = boot::found() else { return };
    match acpi::power_off(&LowMemory, &info.rsdp) {
        Some(Off::Control { ports, enable }) => {
            for (port, value) in ports.into_iter().flatten() {
                let mut control = Port::<u16>::new(port);
                // SAFETY: as above; this run is over.
                unsafe {
                    switch_on(port, enable);
                    let kept = control.read() & !(acpi::SLP_TYP | acpi::SLP_EN);
                    control.write(kept | value);
                }
            }
        }
        // SAFETY: as above.
        Some(Off::Sleep { register: Register::Port(port), value }) => unsafe {
            Port::<u8>::new(port).write(value);
        },
        Some(Off::Sleep { register: Register::Memory(at), value })
            if virtio::is_mapped(&(at..at.saturating_add(1))) =>
        {
            // SAFETY: as above; uncached, and no memory of ours.
            unsafe { core::ptr::with_exposed_provenance_mut::<u8>(at as usize).write_volatile(value) }
        }
        Some(Off::Sleep { .. }) => {}
        None => {}
    }
}

/// Looks at the power button, if its interrupt is among these.
pub(crate) fn acknowledge(fired: u32) {
    let bit = BIT.load(Relaxed);
    if bit != NO_BIT && fired & 1 << bit != 0 {
        look();
    }
}

/// Looks at the power button.
pub(crate) fn look() {
    // SAFETY: one core, no interrupt handler comes here; the ports as above.
    unsafe {
        if let Some(button) = &*BUTTON.get() {
            let mut status = Port::<u16>::new(button.event);
            let pending = status.read();
            if pending & PWRBTN != 0 {
                request();
            }
            // Whatever else it was, it is seen: else a level-triggered line would stay up.
            status.write(pending);
        }
    }
}

/// Somebody asks.
pub(crate) fn request() {
    let before = REQUESTS.fetch_add(1, Relaxed);
    log!(info, "{}", if before == 0 { "stop: asked to end in good order" } else { "stop: asked again" });
}

/// How often we were asked to stop.
pub(crate) fn requests() -> u32 {
    REQUESTS.load(Relaxed)
}
