//! Reading from a virtio disk (virtio 1.3, 5.2): one request at a time, waited for.
//!
//! Not: writing, several requests at once, interrupts. It is for what is read once, at the start.

use alloc::boxed::Box;

use virtio_drivers::{
    Hal,
    queue::VirtQueue,
    transport::{DeviceStatus, Transport},
};

use super::Fault;

pub const SECTOR: usize = 512;
/// What is read by one request.
const AT_ONCE: usize = 2048;
/// The header, the status, then the data: in one page, which is in one piece.
const STATUS: usize = 16;
const DATA: usize = SECTOR;
const PAGE: usize = 4096;

const READ: u8 = 0;
const OK: u8 = 0;
/// What stands there before the device has answered.
const NONE: u8 = 0xff;
/// How often a device is looked at that does not answer: seconds.
const PATIENCE: u32 = 100_000_000;

pub struct Disk<H: Hal, T: Transport> {
    transport: T,
    queue: VirtQueue<H, 4>,
    page: Box<[u8; PAGE]>,
    sectors: u64,
    patience: u32,
}

impl<H: Hal, T: Transport> Disk<H, T> {
    pub fn new(mut transport: T) -> Result<Self, Fault> {
        // Header, data and status are a buffer each, as legacy devices want them.
        let set_up = super::negotiate_with(&mut transport, 0, |_| 0).and_then(|_| {
            let queue = VirtQueue::new(&mut transport, 0, false, false).map_err(|_| Fault::Queues)?;
            // The capacity. A device promises no more than four bytes at once.
            let half = |at| transport.read_config_space::<u32>(at).map_err(|_| Fault::Refused);
            Ok((queue, u64::from(half(0)?) | u64::from(half(4)?) << 32))
        });
        let (queue, sectors) = set_up.inspect_err(|_| transport.set_status(DeviceStatus::FAILED))?;
        transport.finish_init();
        Ok(Self { transport, queue, page: Box::new([0; PAGE]), sectors, patience: PATIENCE })
    }

    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Reads whole sectors. After a fault the device is not to be used any more.
    pub fn read(&mut self, mut sector: u64, into: &mut [u8]) -> Result<(), Fault> {
        for part in into.chunks_mut(AT_ONCE) {
            self.request(sector, part.len())?;
            part.copy_from_slice(&self.page[DATA..DATA + part.len()]);
            sector += (AT_ONCE / SECTOR) as u64;
        }
        Ok(())
    }

    fn request(&mut self, sector: u64, length: usize) -> Result<(), Fault> {
        let (front, data) = self.page.split_at_mut(DATA);
        let (header, status) = front.split_at_mut(STATUS);
        header.fill(0);
        header[0] = READ;
        header[8..].copy_from_slice(&sector.to_le_bytes());
        status[0] = NONE;
        let (data, status) = (&mut data[..length], &mut status[..1]);
        // SAFETY: parts of a heap block that lives as long as the queue; they are not looked at before `pop_used`, or the
        // device's reset.
        let token = unsafe { self.queue.add(&[&*header], &mut [&mut *data, &mut *status]) };
        let token = token.map_err(|_| Fault::Queues)?;
        self.transport.notify(0);
        let answered = (0..self.patience).any(|_| {
            core::hint::spin_loop();
            self.queue.can_pop()
        });
        if !answered {
            self.reset();
            return Err(Fault::Silent);
        }
        // SAFETY: the very buffers that were added under this token.
        let popped = unsafe { self.queue.pop_used(token, &[&*header], &mut [&mut *data, &mut *status]) };
        if popped.is_err() {
            self.reset();
            return Err(Fault::WildIndex(token));
        }
        match self.page[STATUS] {
            OK => Ok(()),
            status => Err(Fault::Unreadable(status)),
        }
    }

    /// False: the device has not confirmed it, and may still write.
    fn reset(&mut self) -> bool {
        self.transport.set_status(DeviceStatus::empty());
        (0..1_000_000).any(|_| self.transport.get_status() == DeviceStatus::empty())
    }
}

impl<H: Hal, T: Transport> Drop for Disk<H, T> {
    fn drop(&mut self) {
        // The page is freed after this: not under a device that may still write to it.
        if !self.reset() {
            core::mem::forget(core::mem::replace(&mut self.page, Box::new([0; PAGE])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::fake::{Fake, FakeHal};

    /// What the device does with a request: whom it says it answers (0: as is right), and with which status.
    type Answer = Option<(u32, u8)>;

    /// A transport whose device answers as soon as it is notified.
    struct Answering {
        fake: Fake,
        disk: Vec<u8>,
        answer: Answer,
    }

    fn disk(answer: Answer, change: impl FnOnce(&mut Fake)) -> Result<Disk<FakeHal, Answering>, Fault> {
        let mut fake = Fake::default();
        fake.with(|registers| registers.config = 8_u64.to_le_bytes().to_vec());
        change(&mut fake);
        let disk = (0..8 * SECTOR).map(|at| (at / SECTOR * 16 + at % 16) as u8).collect();
        let mut disk = Disk::new(Answering { fake, disk, answer })?;
        disk.patience = 1000;
        Ok(disk)
    }

    impl Answering {
        fn serve(&mut self) {
            let (Some((id, mut chain)), Some((wrong, status))) = (self.fake.take(0), self.answer) else {
                return;
            };
            let sector = u64::from_le_bytes(chain[0][8..16].try_into().expect("8")) as usize;
            assert_eq!(chain[0][0], READ);
            let length = chain[1].len();
            chain[1].copy_from_slice(&self.disk[sector * SECTOR..sector * SECTOR + length]);
            chain[2][0] = status;
            self.fake.put(0, u32::from(id) + wrong, length as u32 + 1);
        }
    }

    impl Transport for Answering {
        fn notify(&mut self, queue: u16) {
            self.fake.notify(queue);
            self.serve();
        }
        fn device_type(&self) -> virtio_drivers::transport::DeviceType {
            virtio_drivers::transport::DeviceType::Block
        }
        fn read_device_features(&mut self) -> u64 {
            self.fake.read_device_features()
        }
        fn write_driver_features(&mut self, features: u64) {
            self.fake.write_driver_features(features);
        }
        fn max_queue_size(&mut self, queue: u16) -> u32 {
            self.fake.max_queue_size(queue)
        }
        fn get_status(&self) -> DeviceStatus {
            self.fake.get_status()
        }
        fn set_status(&mut self, status: DeviceStatus) {
            self.fake.set_status(status);
        }
        fn set_guest_page_size(&mut self, _: u32) {}
        fn requires_legacy_layout(&self) -> bool {
            false
        }
        fn queue_set(&mut self, queue: u16, size: u32, descriptors: u64, driver: u64, device: u64) {
            self.fake.queue_set(queue, size, descriptors, driver, device);
        }
        fn queue_unset(&mut self, _: u16) {}
        fn queue_used(&mut self, _: u16) -> bool {
            false
        }
        fn ack_interrupt(&mut self) -> virtio_drivers::transport::InterruptStatus {
            self.fake.ack_interrupt()
        }
        fn read_config_generation(&self) -> u32 {
            0
        }
        fn read_config_space<V: zerocopy::FromBytes + zerocopy::IntoBytes>(
            &self,
            offset: usize,
        ) -> virtio_drivers::Result<V> {
            self.fake.read_config_space(offset)
        }
        fn write_config_space<V: zerocopy::IntoBytes + zerocopy::Immutable>(
            &mut self,
            offset: usize,
            value: V,
        ) -> virtio_drivers::Result<()> {
            self.fake.write_config_space(offset, value)
        }
    }

    #[test]
    fn sectors_are_read() {
        let mut disk = disk(Some((0, OK)), |_| {}).unwrap();
        assert_eq!(disk.sectors(), 8);
        let mut all = vec![0; 7 * SECTOR];
        for _ in 0..20 {
            disk.read(1, &mut all).unwrap();
            assert_eq!(all, disk.transport.disk[SECTOR..]);
        }
    }

    #[test]
    fn what_it_does_not_keep_is_a_fault() {
        let mut sector = [0; SECTOR];
        let mut read = |answer| disk(answer, |_| {}).unwrap().read(0, &mut sector);
        assert_eq!(read(None), Err(Fault::Silent));
        assert_eq!(read(Some((1, OK))), Err(Fault::WildIndex(0)));
        assert_eq!(read(Some((0, 1))), Err(Fault::Unreadable(1)));
        assert_eq!(read(Some((0, NONE))), Err(Fault::Unreadable(NONE)));
        let refused = |change: fn(&mut Fake)| disk(None, change).err();
        assert_eq!(refused(|fake| fake.with(|registers| registers.offered = 0)), Some(Fault::TooOld));
        assert_eq!(refused(|fake| fake.with(|registers| registers.refuses = true)), Some(Fault::Refused));
        assert_eq!(refused(|fake| fake.with(|registers| registers.max_queue = 2)), Some(Fault::Queues));
        assert_eq!(refused(|fake| fake.with(|registers| registers.config.clear())), Some(Fault::Refused));
    }
}
