//! A device for tests: its registers, and its side of the rings, in which it can say what it likes; and the stack's side of any card.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    cell::RefCell,
    ptr::NonNull,
    rc::Rc,
};

use virtio_drivers::{
    BufferDirection, Hal, PhysAddr,
    transport::{DeviceStatus, DeviceType, InterruptStatus, Transport},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{card::Frames, feature};

/// Physical addresses are the test's own.
pub(crate) struct FakeHal;

fn layout(pages: usize) -> Layout {
    Layout::from_size_align(pages * 4096, 4096).expect("some pages")
}

// SAFETY: whole zeroed pages of the test's own heap, at their own addresses.
unsafe impl Hal for FakeHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // SAFETY: the layout is not empty.
        let at = NonNull::new(unsafe { alloc_zeroed(layout(pages)) }).expect("memory");
        (at.as_ptr().expose_provenance() as u64, at)
    }

    unsafe fn dma_dealloc(_: PhysAddr, at: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: from `dma_alloc`.
        unsafe { dealloc(at.as_ptr(), layout(pages)) };
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("there are no registers in memory")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as u64
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Ring {
    size: usize,
    descriptors: usize,
    available: usize,
    used: usize,
    /// What of the available ring was taken, and what was put into the used ring.
    taken: u16,
    put: u16,
}

/// What a test sees and says of the device.
pub(crate) struct Registers {
    pub(crate) offered: u64,
    pub(crate) accepted: u64,
    pub(crate) refuses: bool,
    pub(crate) status: DeviceStatus,
    pub(crate) max_queue: u32,
    pub(crate) config: Vec<u8>,
    pub(crate) rings: [Ring; 2],
    pub(crate) notified: [u32; 2],
    pub(crate) resets: u32,
}

impl Default for Registers {
    fn default() -> Self {
        let mut config = vec![0x52, 0x54, 0, 1, 2, 3, 1, 0, 1, 0, 0xdc, 5];
        config.resize(64, 0);
        Self {
            offered: feature::VERSION_1 | feature::MAC,
            accepted: 0,
            refuses: false,
            status: DeviceStatus::empty(),
            max_queue: 256,
            config,
            rings: Default::default(),
            notified: [0; 2],
            resets: 0,
        }
    }
}

/// The device. Clones are the same one: a test keeps one, the driver has the other.
#[derive(Clone, Default)]
pub(crate) struct Fake(pub(crate) Rc<RefCell<Registers>>);

/// Memory that both sides have, by address.
fn bytes<'a>(at: usize, length: usize) -> &'a mut [u8] {
    // SAFETY: addresses that the driver gave, used while it holds no reference to them (one thread).
    unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(at), length) }
}

fn short(at: usize) -> u16 {
    u16::from_le_bytes([bytes(at, 2)[0], bytes(at, 2)[1]])
}

impl Fake {
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Registers) -> R) -> R {
        f(&mut self.0.borrow_mut())
    }

    /// The next chain that was made available: its first index, and its buffers.
    pub(crate) fn take(&self, queue: usize) -> Option<(u16, Vec<&'static mut [u8]>)> {
        self.with(|this| {
            let ring = &mut this.rings[queue];
            if ring.size == 0 || short(ring.available + 2) == ring.taken {
                return None;
            }
            let head = short(ring.available + 4 + 2 * (usize::from(ring.taken) % ring.size));
            ring.taken = ring.taken.wrapping_add(1);
            let (mut index, mut chain) = (head, Vec::new());
            loop {
                let descriptor = &*bytes(ring.descriptors + 16 * usize::from(index), 16);
                let at = u64::from_le_bytes(descriptor[..8].try_into().expect("8"));
                let length = u32::from_le_bytes(descriptor[8..12].try_into().expect("4"));
                chain.push(bytes(at as usize, length as usize));
                if descriptor[12] & 1 == 0 {
                    return Some((head, chain));
                }
                index = u16::from_le_bytes([descriptor[14], descriptor[15]]);
            }
        })
    }

    /// Puts an entry into the used ring, and says so.
    pub(crate) fn put(&self, queue: usize, id: u32, length: u32) {
        self.with(|this| {
            let ring = &mut this.rings[queue];
            let slot = ring.used + 4 + 8 * (usize::from(ring.put) % ring.size);
            bytes(slot, 4).copy_from_slice(&id.to_le_bytes());
            bytes(slot + 4, 4).copy_from_slice(&length.to_le_bytes());
            ring.put = ring.put.wrapping_add(1);
        });
        self.publish(queue, 0);
    }

    /// Says that so many more entries were used than were put.
    pub(crate) fn publish(&self, queue: usize, more: u16) {
        self.with(|this| {
            let ring = &this.rings[queue];
            bytes(ring.used + 2, 2).copy_from_slice(&ring.put.wrapping_add(more).to_le_bytes());
        });
    }

    /// "Do not notify me", or do.
    pub(crate) fn suppress(&self, queue: usize, on: bool) {
        self.with(|this| bytes(this.rings[queue].used, 2).copy_from_slice(&u16::from(on).to_le_bytes()));
    }

    /// May it interrupt?
    pub(crate) fn may_interrupt(&self, queue: usize) -> bool {
        self.with(|this| short(this.rings[queue].available) & 1 == 0)
    }
}

impl Transport for Fake {
    fn device_type(&self) -> DeviceType {
        DeviceType::Network
    }

    fn read_device_features(&mut self) -> u64 {
        self.with(|this| this.offered)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.with(|this| this.accepted = features);
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        self.with(|this| this.max_queue)
    }

    fn notify(&mut self, queue: u16) {
        self.with(|this| this.notified[usize::from(queue)] += 1);
    }

    fn get_status(&self) -> DeviceStatus {
        self.with(|this| this.status)
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.with(|this| {
            this.resets += u32::from(status.is_empty());
            this.status = status;
            if this.refuses {
                this.status.remove(DeviceStatus::FEATURES_OK);
            }
        });
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        self.with(|this| {
            this.rings[usize::from(queue)] = Ring {
                size: size as usize,
                descriptors: descriptors as usize,
                available: driver as usize,
                used: device as usize,
                taken: 0,
                put: 0,
            };
        });
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, _: u16) -> bool {
        false
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> virtio_drivers::Result<V> {
        self.with(|this| {
            let bytes = this.config.get(offset..offset + size_of::<V>());
            bytes
                .and_then(|bytes| V::read_from_bytes(bytes).ok())
                .ok_or(virtio_drivers::Error::ConfigSpaceTooSmall)
        })
    }

    fn write_config_space<V: IntoBytes + Immutable>(&mut self, _: usize, _: V) -> virtio_drivers::Result<()> {
        Ok(())
    }
}

/// The next frame of a card's, as the stack sees it.
pub(crate) fn received(card: &mut impl Frames) -> Option<Vec<u8>> {
    // SAFETY: it stays until the next call.
    card.receive().map(|frame| unsafe { frame.as_ref() }.to_vec())
}

/// Sends one as the stack does; false: there is no room.
pub(crate) fn send(card: &mut impl Frames, frame: &[u8]) -> bool {
    if !card.has_room() {
        return false;
    }
    if let Some(room) = card.buffer(frame.len()) {
        room.copy_from_slice(frame);
        card.send(frame.len());
    }
    true
}
