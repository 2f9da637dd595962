//! PCI devices that are not virtio's: found by their numbers, with their memory regions, and an interrupt by message
//! (MSI) where they can, else by their line.

use core::ptr::NonNull;

use virtio_drivers::transport::pci::bus::{Command, ConfigurationAccess, DeviceFunction, PciRoot};

use super::{Configuration, line_of, memory, offset};
use crate::{
    arch::apic,
    drivers::{registers::Registers, virtio::Interrupt},
};

const CAPABILITY_MSI: u8 = 5;

/// A device that is ours.
pub(crate) struct Plain {
    at: DeviceFunction,
    pub(crate) device: u16,
}

/// The first device of a vendor's that is one of these.
pub(crate) fn find(vendor: u16, devices: &[u16]) -> Option<Plain> {
    let (at, info) = super::first(|info| info.vendor_id == vendor && devices.contains(&info.device_id))?;
    Some(Plain { at, device: info.device_id })
}

impl Plain {
    /// So many bytes from the start of a memory region.
    pub(crate) fn region(&self, bar: u8, bytes: u32) -> Option<Region> {
        let mut root = PciRoot::new(Configuration);
        memory(&mut root, self.at, bar, 0, bytes).map(|base| Region { base, bytes })
    }

    /// Lets it interrupt a halted processor.
    pub(crate) fn interrupt(&self) -> Interrupt {
        self.message().or_else(|| line_of(self.at)).unwrap_or(Interrupt::None)
    }

    /// MSI (PCI Local Bus 3.0, 6.8.1): one message, to this processor.
    fn message(&self) -> Option<Interrupt> {
        let root = PciRoot::new(Configuration);
        let capability = root.capabilities(self.at).take(48).find(|c| c.id == CAPABILITY_MSI)?;
        let write = |i: u8, data| Configuration.write_word(self.at, capability.offset.wrapping_add(i), data);
        let control = Configuration.read_word(self.at, capability.offset);
        let vector = apic::take_vector()?;
        let (address, data) = apic::message(vector);
        write(4, address);
        if control & 1 << 23 != 0 {
            write(8, 0);
            write(12, data);
        } else {
            write(8, data);
        }
        // On, and one message of those that it could send.
        write(0, control & !(7 << 20) | 1 << 16);
        let command = Configuration.read_word(self.at, offset::COMMAND) & 0xffff;
        let quiet = u32::from(Command::INTERRUPT_DISABLE.bits());
        Configuration.write_word(self.at, offset::COMMAND, command | quiet);
        Some(Interrupt::Message(vector))
    }
}

/// A device's registers in memory.
pub(crate) struct Region {
    base: NonNull<u8>,
    bytes: u32,
}

impl Registers for Region {
    fn read(&mut self, at: u32) -> u32 {
        if !at.is_multiple_of(4) || at >= self.bytes {
            return u32::MAX;
        }
        // SAFETY: within the region, which is mapped and this device's.
        unsafe { self.base.add(at as usize).cast::<u32>().read_volatile() }
    }

    fn write(&mut self, at: u32, value: u32) {
        if at.is_multiple_of(4) && at < self.bytes {
            // SAFETY: as above.
            unsafe { self.base.add(at as usize).cast::<u32>().write_volatile(value) };
        }
    }
}

// SAFETY: one core; the region is the device's, wherever its owner goes.
unsafe impl Send for Region {}
