//! Where virtio devices are found (PCI by its configuration ports, or QEMU microvm's MMIO slots), and what
//! `virtio-drivers` needs of us.

use core::ptr::NonNull;

use virtio_drivers::{
    BufferDirection, Hal, PhysAddr,
    device::common::Feature,
    transport::{
        DeviceType, SomeTransport, Transport,
        mmio::{MmioTransport, VirtIOHeader},
        pci::{
            PciTransport,
            bus::{Command, ConfigurationAccess, DeviceFunction, PciRoot},
            virtio_device_type,
        },
    },
};
use x86_64::instructions::port::Port;

use crate::mm;

/// The one feature that every driver here wants.
pub(crate) const VERSION_1: Feature = Feature::VERSION_1;

/// QEMU microvm: 24 slots of 512 bytes (hw/i386/microvm.c, VIRTIO_MMIO_BASE).
const MMIO_BASE: usize = 0xfeb0_0000;
const MMIO_SLOTS: usize = 24;
const MMIO_SLOT_BYTES: usize = 512;

/// The first device of this kind.
pub(crate) fn find(kind: DeviceType) -> Option<SomeTransport<'static>> {
    let mut root = PciRoot::new(ConfigurationPorts);
    let host = DeviceFunction { bus: 0, device: 0, function: 0 };
    if ConfigurationPorts.read_word(host, 0) != u32::MAX {
        let (at, _) = root.enumerate_bus(0).find(|(_, info)| virtio_device_type(info) == Some(kind))?;
        root.set_command(at, Command::IO_SPACE | Command::MEMORY_SPACE | Command::BUS_MASTER);
        return PciTransport::new::<KernelHal, _>(&mut root, at).ok().map(SomeTransport::Pci);
    }
    (0..MMIO_SLOTS).find_map(|slot| {
        let header =
            core::ptr::with_exposed_provenance_mut::<VirtIOHeader>(MMIO_BASE + slot * MMIO_SLOT_BYTES);
        // SAFETY: the slot is mapped uncached by boot; where there is no device the magic number isn't either,
        // and `new` says so. Nobody else uses it: devices are looked for by one place at a time.
        let transport = unsafe { MmioTransport::new(NonNull::new(header)?, MMIO_SLOT_BYTES) }.ok()?;
        (transport.device_type() == kind).then(|| SomeTransport::Mmio(transport))
    })
}

/// PCI configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2).
struct ConfigurationPorts;

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
        // SAFETY: `virtio-drivers` writes commands and BARs of the device that it was given.
        unsafe { Port::<u32>::new(0xcfc).write(data) };
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// Sharing a buffer is naming its physical address. It must be one piece there: small blocks of the kernel
/// heap and DMA pages are.
pub(crate) struct KernelHal;

// SAFETY: `dma_alloc` gives whole, zeroed, exclusive pages; MMIO below 4 GiB is mapped by boot; `share` gives
// the physical address of the buffer itself.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let Some(at) = mm::take_dma(pages as u64, 4096) else { return (0, NonNull::dangling()) };
        let Some(memory) = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(at.0 as usize)) else {
            return (0, NonNull::dangling());
        };
        // SAFETY: whole pages that are ours alone now, mapped at their own address.
        unsafe { memory.write_bytes(0, pages * 4096) };
        (at.0, memory)
    }

    unsafe fn dma_dealloc(_: PhysAddr, at: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: the caller hands back what `dma_alloc` gave.
        unsafe { mm::give_dma(mm::PhysAddr(at.addr().get() as u64), pages as u64) };
        0
    }

    unsafe fn mmio_phys_to_virt(at: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(core::ptr::with_exposed_provenance_mut(at as usize)).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        // What is not mapped has no physical address: 0 is then no RAM of ours, and the device's business.
        mm::translate(buffer.addr().get() as u64).map_or(0, |at| at.0)
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
