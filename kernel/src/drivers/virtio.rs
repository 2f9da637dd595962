//! Where virtio devices are found, how they interrupt, and what `virtio-drivers` needs of us.
//!
//! They are looked for where the command line says that they are; else on PCI; else where ACPI says; else in QEMU microvm's
//! slots.

use core::{mem::ManuallyDrop, ops::Range, ptr::NonNull};

use virtio_drivers::{
    BufferDirection, Hal, PhysAddr,
    transport::{
        DeviceStatus, DeviceType, InterruptStatus, SomeTransport, Transport,
        mmio::{MmioTransport, VirtIOHeader},
    },
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{pci, xen::guest as xen};
use crate::{
    acpi::{self, Line},
    arch::apic::{self, Trigger},
    boot, mm,
    platform::LowMemory,
};

/// QEMU microvm: 24 slots of 512 bytes (hw/i386/microvm.c, VIRTIO_MMIO_BASE).
const MMIO_BASE: u64 = 0xfeb0_0000;
const MMIO_SLOTS: u64 = 24;
const MMIO_SLOT_BYTES: u64 = 512;
/// Where devices are: what boot/enter.s maps uncached, up to 4 GiB.
const UNCACHED: u64 = 3 << 30;

/// May these be a device's registers, which boot has mapped?
pub(crate) fn is_mapped(registers: &Range<u64>) -> bool {
    let ram = |range: Range<u64>| range.start < registers.end && registers.start < range.end;
    UNCACHED <= registers.start
        && registers.start < registers.end
        && registers.end <= boot::tables::MAPPED
        && !boot::info().memory.iter().any(ram)
}

/// How a device interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Not, as far as we know: whoever waits for it has to look.
    None,
    /// By a line of the I/O APIC, which stays up until it is acknowledged.
    Line(u8),
    /// By a message, which asks for nothing more.
    Message(u8),
}

impl Interrupt {
    pub(crate) fn vector(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Line(vector) | Self::Message(vector) => Some(vector),
        }
    }
}

/// A device as it was found, with its interrupt once that is asked for. Never dropped into: a device that does not
/// confirm its reset must not hang us.
pub(crate) struct Wired {
    inner: ManuallyDrop<SomeTransport<'static>>,
    registers: Option<pci::Registers>,
    /// The line of an MMIO device, as the command line or ACPI says.
    line: Option<Line>,
    interrupt: Interrupt,
    /// Where the first queues' news are told (PCI). `virtio-drivers` asks the device each time, and believes it.
    doorbells: [Option<NonNull<u16>>; 2],
}

/// The first device of this kind.
pub(crate) fn find(kind: DeviceType) -> Option<Wired> {
    find_after(kind, 0)
}

/// The first device of this kind after so many others.
pub(crate) fn find_after(kind: DeviceType, others: usize) -> Option<Wired> {
    if xen::present() {
        return None;
    }
    let (mut left, mut named) = (others, false);
    for (size, at, number) in boot::info().cmdline.virtio_mmio() {
        named = true;
        let line = Line { number, edge: true, low: false };
        let found = at.checked_add(size).and_then(|end| mmio(kind, &(at..end), Some(line), &mut left));
        if found.is_some() {
            return found;
        }
    }
    let on_pci = |left: &mut usize| {
        let (transport, registers) = pci::find(kind, left)?;
        Some(Wired::new(SomeTransport::Pci(transport), Some(registers), None))
    };
    // Who has ports has all devices there, and who names devices names them all: only others have to ask ACPI.
    if pci::has_ports() {
        return on_pci(&mut left);
    }
    if named {
        return None;
    }
    if pci::is_there()
        && let Some(found) = on_pci(&mut left)
    {
        return Some(found);
    }
    let (mut found, mut described) = (None, false);
    acpi::virtio(&LowMemory, &boot::info().rsdp, &mut |device| {
        described = true;
        if found.is_none() {
            found = mmio(kind, &device.registers, device.line, &mut left);
        }
    });
    if described {
        return found;
    }
    // Neither named nor described (QEMU's `acpi=off,auto-kernel-cmdline=off`): there is a convention.
    let mut slots = (0..MMIO_SLOTS).map(|slot| MMIO_BASE + slot * MMIO_SLOT_BYTES);
    slots.find_map(|at| mmio(kind, &(at..at + MMIO_SLOT_BYTES), None, &mut left))
}

/// The device whose registers these are, if it is one of this kind and none of those that are `left` out.
fn mmio(kind: DeviceType, registers: &Range<u64>, line: Option<Line>, left: &mut usize) -> Option<Wired> {
    let (at, size) = (registers.start, registers.end.checked_sub(registers.start)?);
    if size < MMIO_SLOT_BYTES || at % 8 != 0 || !is_mapped(registers) {
        return None;
    }
    let header = core::ptr::with_exposed_provenance_mut::<VirtIOHeader>(at as usize);
    // SAFETY: mapped uncached by boot, where no RAM is; where there is no device the magic number isn't
    // either, and `new` says so. Nobody else uses it: devices are looked for by one place at a time.
    let transport = unsafe { MmioTransport::new(NonNull::new(header)?, size as usize) }.ok()?;
    let is_one = transport.device_type() == kind;
    if !is_one || *left > 0 {
        *left -= usize::from(is_one);
        // Its `Drop` would reset somebody else's device.
        core::mem::forget(transport);
        return None;
    }
    Some(Wired::new(SomeTransport::Mmio(transport), None, line))
}

/// Lets a line interrupt, of whichever I/O APIC it is.
fn enable(line: Line) -> Option<u8> {
    const OF_THE_FIRST: u8 = 24;
    if line.number >= OF_THE_FIRST
        && let Some((page, first @ 1..)) = acpi::io_apic(&LowMemory, &boot::info().rsdp, line.number)
    {
        if !is_mapped(&(page..page + 4096)) || page % 4096 != 0 {
            return None;
        }
        // SAFETY: mapped uncached by boot, where no RAM is; it is an I/O APIC's, says the firmware.
        unsafe { apic::know_second(page, first) };
    }
    apic::enable_line(line.number, Trigger::of(line.edge, line.low))
}

impl Wired {
    fn new(inner: SomeTransport<'static>, registers: Option<pci::Registers>, line: Option<Line>) -> Self {
        let inner = ManuallyDrop::new(inner);
        Self { inner, registers, line, interrupt: Interrupt::None, doorbells: [None; 2] }
    }

    /// Lets it interrupt a halted processor from now on. To be called before its queues are made.
    pub(crate) fn interrupt(&mut self) -> Interrupt {
        self.interrupt = match (&self.registers, self.line) {
            (Some(registers), _) => registers.interrupt(),
            (None, Some(line)) => enable(line).map_or(Interrupt::None, Interrupt::Line),
            (None, None) => Interrupt::None,
        };
        self.interrupt
    }
}

impl Transport for Wired {
    fn notify(&mut self, queue: u16) {
        match (&self.registers, self.doorbells.get(usize::from(queue))) {
            (None, _) => self.inner.notify(queue),
            // SAFETY: a doorbell of this device, as `Registers::doorbell` found it.
            (Some(_), Some(Some(doorbell))) => unsafe { doorbell.write_volatile(queue) },
            // It has no such place: then it is not told, and will be found to do nothing.
            (Some(_), _) => {}
        }
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        if let Some(registers) = &self.registers {
            if let Some(slot) = self.doorbells.get_mut(usize::from(queue)) {
                *slot = registers.doorbell(queue);
            }
            if matches!(self.interrupt, Interrupt::Message(_)) && !registers.use_message(queue) {
                self.interrupt = Interrupt::None;
            }
        }
        self.inner.queue_set(queue, size, descriptors, driver_area, device_area);
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        match self.interrupt {
            Interrupt::Message(_) => InterruptStatus::QUEUE_INTERRUPT,
            _ => self.inner.ack_interrupt(),
        }
    }

    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }

    fn write_driver_features(&mut self, features: u64) {
        self.inner.write_driver_features(features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }

    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.inner.set_status(status);
    }

    fn set_guest_page_size(&mut self, size: u32) {
        self.inner.set_guest_page_size(size);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.inner.requires_legacy_layout()
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> virtio_drivers::Result<V> {
        self.inner.read_config_space(offset)
    }

    fn write_config_space<V: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: V,
    ) -> virtio_drivers::Result<()> {
        self.inner.write_config_space(offset, value)
    }
}

/// Sharing a buffer is naming its physical address. It must be one piece there: small blocks of the kernel
/// heap and DMA pages are.
pub(crate) struct KernelHal;

// SAFETY: `dma_alloc` gives whole, zeroed, exclusive pages; MMIO is mapped by boot (below 4 GiB) or here; `share` gives
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

    unsafe fn mmio_phys_to_virt(at: PhysAddr, bytes: usize) -> NonNull<u8> {
        let mapped = if at < boot::tables::MAPPED {
            core::ptr::with_exposed_provenance_mut(at as usize)
        } else {
            // SAFETY: a device's region, says the bus; there is no RAM of ours above what boot maps that is also that.
            unsafe { mm::map_mmio(mm::PhysAddr(at), bytes as u64) }.unwrap_or(core::ptr::null_mut())
        };
        NonNull::new(mapped).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        // What is not mapped has no physical address: 0 is then no RAM of ours, and the device's business.
        mm::translate(buffer.addr().get() as u64).map_or(0, |at| at.0)
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// As [`KernelHal`], for buffers that are DMA memory themselves: those lie at their own address.
pub(crate) struct DmaHal;

// SAFETY: as above; what is shared is what `dma_alloc` gave, at virtual = physical.
unsafe impl Hal for DmaHal {
    fn dma_alloc(pages: usize, direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        KernelHal::dma_alloc(pages, direction)
    }

    unsafe fn dma_dealloc(physical: PhysAddr, at: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: the caller's.
        unsafe { KernelHal::dma_dealloc(physical, at, pages) }
    }

    unsafe fn mmio_phys_to_virt(at: PhysAddr, bytes: usize) -> NonNull<u8> {
        // SAFETY: the caller's.
        unsafe { KernelHal::mmio_phys_to_virt(at, bytes) }
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.addr().get() as u64
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
