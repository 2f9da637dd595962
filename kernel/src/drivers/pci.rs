//! PCI: configuration space by its ports, where a virtio device's registers are, and its interrupts: by message where
//! it can (MSI-X), else by its line.
//!
//! Bus 0 only; addresses and lines are those that the firmware gave.

pub(super) mod plain;

use core::ptr::NonNull;

use virtio_drivers::{
    Hal,
    transport::{
        DeviceType,
        pci::{
            PciTransport,
            bus::{Command, ConfigurationAccess, DeviceFunction, PciRoot},
            virtio_device_type,
        },
    },
};
use x86_64::instructions::port::Port;

use super::virtio::{Interrupt, KernelHal};
use crate::arch::apic::{self, Trigger};

/// PCI configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2).
pub(super) struct ConfigurationPorts;

impl ConfigurationPorts {
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

impl ConfigurationAccess for ConfigurationPorts {
    fn read_word(&self, at: DeviceFunction, offset: u8) -> u32 {
        Self::select(at, offset);
        // SAFETY: reading configuration space of what was selected has no effect that matters.
        unsafe { Port::<u32>::new(0xcfc).read() }
    }

    fn write_word(&mut self, at: DeviceFunction, offset: u8, data: u32) {
        Self::select(at, offset);
        // SAFETY: commands, BARs and capabilities of a device that is ours.
        unsafe { Port::<u32>::new(0xcfc).write(data) };
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// Is there a PCI bus?
pub(super) fn is_there() -> bool {
    let host = DeviceFunction { bus: 0, device: 0, function: 0 };
    ConfigurationPorts.read_word(host, 0) != u32::MAX
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

/// The first virtio device of this kind after so many others.
pub(super) fn find(kind: DeviceType, others: usize) -> Option<(PciTransport, Registers)> {
    let mut root = PciRoot::new(ConfigurationPorts);
    let mut all = root.enumerate_bus(0).filter(|(_, info)| virtio_device_type(info) == Some(kind));
    let (at, _) = all.nth(others)?;
    root.set_command(at, Command::IO_SPACE | Command::MEMORY_SPACE | Command::BUS_MASTER);
    let registers = Registers::find(&mut root, at)?;
    Some((PciTransport::new::<KernelHal, _>(&mut root, at).ok()?, registers))
}

impl Registers {
    fn find(root: &mut PciRoot<ConfigurationPorts>, at: DeviceFunction) -> Option<Self> {
        let (mut common, mut doorbells) = (None, None);
        // A list that leads back to itself ends too: it has room for 48.
        let list: [_; 48] = {
            let mut all = root.capabilities(at);
            core::array::from_fn(|_| all.next())
        };
        for capability in list.iter().flatten().filter(|capability| capability.id == CAPABILITY_VENDOR) {
            let word = |i: u8| ConfigurationPorts.read_word(at, capability.offset.wrapping_add(4 * i));
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
        let mut root = PciRoot::new(ConfigurationPorts);
        let capability = root.capabilities(self.at).take(48).find(|c| c.id == CAPABILITY_MSIX)?;
        let word = |i: u8| ConfigurationPorts.read_word(self.at, capability.offset.wrapping_add(4 * i));
        let (control, table) = (word(0), word(1));
        let entry = memory(&mut root, self.at, (table & 7) as u8, table & !7, 16)?.cast::<u32>();
        let vector = apic::take_vector()?;
        let (address, data) = apic::message(vector);
        for (i, value) in [address, 0, data, 0].into_iter().enumerate() {
            // SAFETY: the first entry of the device's table: address, its upper half, data, and not masked.
            unsafe { entry.add(i).write_volatile(value) };
        }
        // On, and not all of them masked.
        ConfigurationPorts.write_word(self.at, capability.offset, control & !(1 << 30) | 1 << 31);
        let command = ConfigurationPorts.read_word(self.at, offset::COMMAND) & 0xffff;
        let quiet = u32::from(Command::INTERRUPT_DISABLE.bits());
        ConfigurationPorts.write_word(self.at, offset::COMMAND, command | quiet);
        Some(Interrupt::Message(vector))
    }

    fn line(&self) -> Option<Interrupt> {
        line_of(self.at)
    }
}

fn line_of(at: DeviceFunction) -> Option<Interrupt> {
    let line = ConfigurationPorts.read_word(at, offset::LINE) as u8;
    // 255: none; 0 to 2 are no PCI device's.
    (line > 2).then(|| apic::enable_line(line, Trigger::Level)).flatten().map(Interrupt::Line)
}

/// A part of one of the device's memory regions, mapped.
fn memory(
    root: &mut PciRoot<ConfigurationPorts>,
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
