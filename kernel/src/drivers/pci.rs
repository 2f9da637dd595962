//! PCI: configuration space by its ports, or in memory (ECAM) where ACPI says so and there are no ports; where a virtio
//! device's registers are, and its interrupts: by message where it can (MSI-X), else by its line.
//!
//! Bus 0 only. Addresses are those that the firmware gave; where there was none to give any, they are given here, in the window that
//! ACPI says the host bridge has ([`give_places`]). Lines are the firmware's: without it (they would have to be looked up in
//! `_PRT`, which is AML) only messages interrupt, and a device that has none is looked at now and then.

pub(super) mod plain;

use core::{
    ops::Range,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use virtio_drivers::{
    Hal,
    transport::{
        DeviceType,
        pci::{
            PciTransport,
            bus::{
                BarInfo, Command, ConfigurationAccess, DeviceFunction, DeviceFunctionInfo, MemoryBarType,
                PciRoot,
            },
            virtio_device_type,
        },
    },
};
use x86_64::instructions::port::Port;

use super::virtio::{self, Interrupt, KernelHal};
use crate::{
    acpi,
    arch::apic::{self, Trigger},
    boot,
    cell::StaticCell,
    console::log,
    platform::LowMemory,
};

/// The configuration space of bus 0: by the ports (mechanism 1; PCI Local Bus 3.0, 3.2.2.3.2), or in memory once [`is_there`]
/// has found it there.
pub(super) struct Configuration;

/// Where bus 0 is configured, 4 KiB a function; or one of:
static ECAM: AtomicU64 = AtomicU64::new(UNKNOWN);
const UNKNOWN: u64 = 0;
const NO_PORTS: u64 = 1;
const NONE: u64 = 2;
const PORTS: u64 = 3;
const ECAM_BYTES: u64 = 1 << 20;

/// The part of the window in which nothing is yet. Empty where firmware gave the addresses.
static WINDOW: StaticCell<Range<u64>> = StaticCell::new(0..0);

impl Configuration {
    /// The register in memory, if it is there.
    fn register(at: DeviceFunction, offset: u8) -> Option<*mut u32> {
        let base = ECAM.load(Relaxed);
        let place = u64::from(at.device) << 15 | u64::from(at.function) << 12 | u64::from(offset & 0xfc);
        (base > PORTS).then(|| core::ptr::with_exposed_provenance_mut((base + place % ECAM_BYTES) as usize))
    }

    fn select(at: DeviceFunction, offset: u8) {
        let address = 0x8000_0000
            | u32::from(at.bus) << 16
            | u32::from(at.device) << 11
            | u32::from(at.function) << 8
            | u32::from(offset & 0xfc);
        // SAFETY: the configuration address port; one core, no interrupt handler uses it.
        unsafe { Port::<u32>::new(0xcf8).write(address) };
    }
}

impl ConfigurationAccess for Configuration {
    fn read_word(&self, at: DeviceFunction, offset: u8) -> u32 {
        if let Some(register) = Self::register(at, offset) {
            // SAFETY: within what `find_in_memory` found; reading it has no effect that matters.
            return unsafe { register.read_volatile() };
        }
        Self::select(at, offset);
        // SAFETY: reading configuration space of what was selected has no effect that matters.
        unsafe { Port::<u32>::new(0xcfc).read() }
    }

    fn write_word(&mut self, at: DeviceFunction, offset: u8, data: u32) {
        if let Some(register) = Self::register(at, offset) {
            // SAFETY: as above; commands, BARs and capabilities of a device that is ours.
            return unsafe { register.write_volatile(data) };
        }
        Self::select(at, offset);
        // SAFETY: as above.
        unsafe { Port::<u32>::new(0xcfc).write(data) };
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// Is there a PCI bus that is configured by ports?
pub(super) fn has_ports() -> bool {
    if ECAM.load(Relaxed) == UNKNOWN {
        let host = DeviceFunction { bus: 0, device: 0, function: 0 };
        let answers = Configuration.read_word(host, 0) != u32::MAX;
        ECAM.store(if answers { PORTS } else { NO_PORTS }, Relaxed);
    }
    ECAM.load(Relaxed) == PORTS
}

/// Is there a PCI bus? Ports are asked first: nothing needs to be known for that.
pub(super) fn is_there() -> bool {
    if !has_ports() && ECAM.load(Relaxed) == NO_PORTS {
        let found = find_in_memory().unwrap_or(NONE);
        ECAM.store(found, Relaxed);
    }
    ECAM.load(Relaxed) != NONE
}

/// Where the bus is configured that has no ports.
#[cold]
fn find_in_memory() -> Option<u64> {
    let bridge = acpi::host_bridge(&LowMemory, &boot::info().rsdp)?;
    let base = bridge.configuration;
    if !base.is_multiple_of(ECAM_BYTES) || !virtio::is_mapped(&(base..base.checked_add(ECAM_BYTES)?)) {
        log!(
            warn,
            "pci: configured at {base:#x}, says ACPI, which is out of reach; its devices are not used"
        );
        return None;
    }
    ECAM.store(base, Relaxed);
    let root = PciRoot::new(Configuration);
    let mut any = false;
    let mut set_up = false;
    for (at, _) in root.enumerate_bus(0) {
        any = true;
        set_up |= root.get_status_command(at).1.contains(Command::MEMORY_SPACE);
    }
    if !set_up && virtio::is_mapped(&bridge.window) {
        // SAFETY: one core, and no reference is kept here or in `give_places`.
        unsafe { *WINDOW.get() = bridge.window };
    }
    any.then_some(base)
}

/// The first device on bus 0 that is one of these, with its registers switched on.
fn first(
    mut is_one: impl FnMut(&DeviceFunctionInfo) -> bool,
) -> Option<(DeviceFunction, DeviceFunctionInfo)> {
    let mut root = PciRoot::new(Configuration);
    let found = root.enumerate_bus(0).find(|(_, info)| is_one(info))?;
    give_places(&mut root, found.0);
    // Ports that firmware has not given would be those that others have.
    let io = if has_ports() { Command::IO_SPACE } else { Command::empty() };
    root.set_command(found.0, io | Command::MEMORY_SPACE | Command::BUS_MASTER);
    Some(found)
}

/// Gives a device's memory its addresses, where nobody has.
fn give_places(root: &mut PciRoot<Configuration>, at: DeviceFunction) {
    // SAFETY: as in `find_in_memory`.
    let free = unsafe { &mut *WINDOW.get() };
    if free.is_empty() {
        return;
    }
    let Ok(bars) = root.bars(at) else { return };
    for (i, bar) in (0..).zip(bars) {
        let Some(BarInfo::Memory { address_type, address: 0, size, .. }) = bar else { continue };
        // A region lies at a multiple of its size, which is a power of two; and in pages of its own.
        let start = size.is_power_of_two().then(|| free.start.checked_next_multiple_of(size.max(4096)));
        let Some(start) = start.flatten() else { continue };
        match start.checked_add(size.max(4096)) {
            Some(end) if end <= free.end => free.start = end,
            _ => {
                log!(warn, "pci: no room for region {i} of the device at {at}, {size} bytes");
                continue;
            }
        }
        match address_type {
            MemoryBarType::Width64 => root.set_bar_64(at, i, start),
            // Below 4 GiB, as the whole window.
            _ => root.set_bar_32(at, i, start as u32),
        }
    }
}

/// Virtio structures in the device's memory (virtio 1.3, 4.1.4), as far as this module uses them.
pub(super) struct Registers {
    at: DeviceFunction,
    common: NonNull<u8>,
    doorbells: NonNull<u8>,
    doorbell_bytes: u32,
    doorbell_step: u32,
}

mod offset {
    pub(super) const COMMAND: u8 = 4;
    pub(super) const LINE: u8 = 0x3c;
    // In virtio's common configuration.
    pub(super) const CONFIG_VECTOR: usize = 16;
    pub(super) const QUEUE_SELECT: usize = 22;
    pub(super) const QUEUE_VECTOR: usize = 26;
    pub(super) const QUEUE_DOORBELL: usize = 30;
    pub(super) const COMMON_BYTES: u32 = 56;
}

const CAPABILITY_MSIX: u8 = 0x11;
const CAPABILITY_VENDOR: u8 = 9;
const COMMON: u32 = 1;
const DOORBELL: u32 = 2;
const NO_VECTOR: u16 = 0xffff;

/// The first virtio device of this kind after those that are `left` out.
pub(super) fn find(kind: DeviceType, left: &mut usize) -> Option<(PciTransport, Registers)> {
    let (at, _) = first(|info| {
        let is_one = virtio_device_type(info) == Some(kind);
        let counts = is_one && *left == 0;
        *left -= usize::from(is_one && !counts);
        counts
    })?;
    let mut root = PciRoot::new(Configuration);
    let registers = Registers::find(&mut root, at)?;
    Some((PciTransport::new::<KernelHal, _>(&mut root, at).ok()?, registers))
}

impl Registers {
    fn find(root: &mut PciRoot<Configuration>, at: DeviceFunction) -> Option<Self> {
        let (mut common, mut doorbells) = (None, None);
        // There is room for 48. One that leads back to itself never ends: `PciTransport` would not find out.
        let list: [_; 48] = {
            let mut all = root.capabilities(at);
            core::array::from_fn(|_| all.next())
        };
        if list[47].is_some() {
            return None;
        }
        for capability in list.iter().flatten().filter(|capability| capability.id == CAPABILITY_VENDOR) {
            let word = |i: u8| Configuration.read_word(at, capability.offset.wrapping_add(4 * i));
            let (kind, bar, offset, length) = (word(0) >> 24, word(1) as u8, word(2), word(3));
            if kind != COMMON && kind != DOORBELL {
                // `PciTransport` adds these without looking.
                offset.checked_add(length)?;
                continue;
            }
            let place = memory(root, at, bar, offset, length)?;
            if kind == COMMON && common.is_none() && length >= offset::COMMON_BYTES {
                common = Some(place);
            } else if kind == DOORBELL && doorbells.is_none() {
                doorbells = Some((place, length, word(4)));
            }
        }
        let (doorbells, doorbell_bytes, doorbell_step) = doorbells?;
        Some(Self { at, common: common?, doorbells, doorbell_bytes, doorbell_step })
    }

    fn common(&self, offset: usize) -> *mut u16 {
        // SAFETY: the structure has at least `COMMON_BYTES`.
        unsafe { self.common.as_ptr().add(offset).cast() }
    }

    fn select(&self, queue: u16) {
        // SAFETY: a 16-bit register of a device that is ours.
        unsafe { self.common(offset::QUEUE_SELECT).write_volatile(queue) };
    }

    /// Where a queue's news are told, if the device says so of a place that it has.
    pub(super) fn doorbell(&self, queue: u16) -> Option<NonNull<u16>> {
        self.select(queue);
        // SAFETY: as above.
        let index = unsafe { self.common(offset::QUEUE_DOORBELL).read_volatile() };
        let offset = u32::from(index).checked_mul(self.doorbell_step)?;
        (offset.checked_add(2)? <= self.doorbell_bytes && offset.is_multiple_of(2))
            // SAFETY: within the structure, by the line above.
            .then(|| unsafe { self.doorbells.add(offset as usize) }.cast())
    }

    /// Has all queues interrupt by message 0. True: the device agreed.
    pub(super) fn use_message(&self, queue: u16) -> bool {
        self.select(queue);
        // SAFETY: as above.
        unsafe {
            self.common(offset::CONFIG_VECTOR).write_volatile(NO_VECTOR);
            self.common(offset::QUEUE_VECTOR).write_volatile(0);
            self.common(offset::QUEUE_VECTOR).read_volatile() == 0
        }
    }

    /// Lets the device interrupt.
    pub(super) fn interrupt(&self) -> Interrupt {
        self.messages().or_else(|| self.line()).unwrap_or(Interrupt::None)
    }

    /// MSI-X (PCI Local Bus 3.0, 6.8.2): one message, to this processor.
    fn messages(&self) -> Option<Interrupt> {
        let mut root = PciRoot::new(Configuration);
        let capability = root.capabilities(self.at).take(48).find(|c| c.id == CAPABILITY_MSIX)?;
        let word = |i: u8| Configuration.read_word(self.at, capability.offset.wrapping_add(4 * i));
        let (control, table) = (word(0), word(1));
        let entry = memory(&mut root, self.at, (table & 7) as u8, table & !7, 16)?.cast::<u32>();
        let vector = apic::take_vector()?;
        let (address, data) = apic::message(vector);
        for (i, value) in [address, 0, data, 0].into_iter().enumerate() {
            // SAFETY: the first entry of the device's table: address, its upper half, data, and not masked.
            unsafe { entry.add(i).write_volatile(value) };
        }
        // On, and not all of them masked.
        Configuration.write_word(self.at, capability.offset, control & !(1 << 30) | 1 << 31);
        let command = Configuration.read_word(self.at, offset::COMMAND) & 0xffff;
        let quiet = u32::from(Command::INTERRUPT_DISABLE.bits());
        Configuration.write_word(self.at, offset::COMMAND, command | quiet);
        Some(Interrupt::Message(vector))
    }

    fn line(&self) -> Option<Interrupt> {
        line_of(self.at)
    }
}

fn line_of(at: DeviceFunction) -> Option<Interrupt> {
    let line = Configuration.read_word(at, offset::LINE) as u8;
    // 255: none; 0 to 2 are no PCI device's.
    (line > 2).then(|| apic::enable_line(line, Trigger::Level)).flatten().map(Interrupt::Line)
}

/// A part of one of the device's memory regions, mapped.
fn memory(
    root: &mut PciRoot<Configuration>,
    at: DeviceFunction,
    bar: u8,
    offset: u32,
    length: u32,
) -> Option<NonNull<u8>> {
    let info = (bar < 6).then(|| root.bar_info(at, bar).ok().flatten()).flatten()?;
    let (address, size) = info.memory_address_size()?;
    let start = address.checked_add(offset.into())?;
    let fits = u64::from(offset) + u64::from(length) <= size && address != 0;
    // SAFETY: the region belongs to the device, says the bus.
    fits.then(|| unsafe { KernelHal::mmio_phys_to_virt(start, length as usize) })
}
