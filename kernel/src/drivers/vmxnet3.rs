//! VMware's vmxnet3, as ESXi and Workstation have it and QEMU emulates it: one queue each way, revision 1.
//!
//! Promises: as [`Frames`]. Each side's ring of descriptors has a ring of completions beside it; whose turn a slot is, a
//! bit in it says that changes with each round. Of a completion the index and the length are checked. A device may pass
//! receive descriptors over. Not: checksums, segmentation, VLANs, large frames, changes of the link.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use lunette_net::smoltcp::time::Instant;
use virtio_drivers::{BufferDirection, Hal};

use super::{
    Fault,
    card::{FRAME, Frames, LOOK, Watch},
    memory::Memory,
    registers::Registers,
    slots::Slots,
};

pub(crate) const VENDOR: u16 = 0x15ad;
pub(crate) const DEVICES: [u16; 1] = [0x07b0];
/// Bytes of registers in each of the two regions.
pub(crate) const REGISTERS: u32 = 4096;

/// In the first region: the interrupt's mask, and how far we are in each ring.
mod fast {
    pub(super) const MASK: u32 = 0;
    pub(super) const TRANSMIT: u32 = 0x600;
    pub(super) const RECEIVE: u32 = 0x800;
}

/// In the second.
mod slow {
    pub(super) const REVISION: u32 = 0;
    pub(super) const UPT_VERSION: u32 = 8;
    pub(super) const SHARED_LOW: u32 = 0x10;
    pub(super) const SHARED_HIGH: u32 = 0x18;
    pub(super) const COMMAND: u32 = 0x20;
    pub(super) const ADDRESS_LOW: u32 = 0x28;
    pub(super) const ADDRESS_HIGH: u32 = 0x30;
    pub(super) const CAUSE: u32 = 0x38;
}

mod command {
    pub(super) const ACTIVATE: u32 = 0xcafe_0000;
    pub(super) const QUIESCE: u32 = 0xcafe_0001;
    pub(super) const RESET: u32 = 0xcafe_0002;
    pub(super) const RECEIVE_MODE: u32 = 0xcafe_0003;
    pub(super) const LINK: u32 = 0xf00d_0002;
    pub(super) const MAC_LOW: u32 = 0xf00d_0003;
    pub(super) const MAC_HIGH: u32 = 0xf00d_0004;
}

/// The fifth page: what the driver tells of itself, the queues, and a second receive ring that is never filled.
mod shared {
    pub(super) const MAGIC: usize = 0;
    pub(super) const DRIVER_VERSION: usize = 8;
    pub(super) const SYSTEM: usize = 12;
    pub(super) const REVISIONS: usize = 16;
    pub(super) const UPT_VERSIONS: usize = 20;
    pub(super) const QUEUES_AT: usize = 40;
    pub(super) const QUEUES_LENGTH: usize = 52;
    pub(super) const MTU: usize = 56;
    /// Pieces of a frame, queues: 16, 8 and 8 bits.
    pub(super) const COUNTS: usize = 60;
    /// Whether they mask themselves, how many, which is for events.
    pub(super) const INTERRUPTS: usize = 80;
    pub(super) const RECEIVE_MODE: usize = 120;
    pub(super) const BYTES: u32 = 1024;

    pub(super) const TRANSMIT: usize = 1024;
    pub(super) const RECEIVE: usize = TRANSMIT + 256;
    pub(super) const QUEUES_BYTES: u32 = 512;
    pub(super) const SECOND_RING: usize = 2048;
}
const _: () = assert!(shared::RECEIVE_MODE < shared::BYTES as usize);

const MAGIC: u32 = 0xbabe_fee1;
/// Own address, multicast, broadcasts (for ARP), all of multicast (for IPv6).
const RECEIVE_MODE: u32 = 1 | 2 | 4 | 8;
/// A 64-bit system of the first kind (which is Linux: what devices are tried with).
const SYSTEM: u32 = 2 | 1 << 2;

const PAGE: usize = 4096;
/// Descriptors in each ring: a page of them, and a multiple of 32.
const RING: usize = 256;
const LEAST: usize = 32;
const DESCRIPTOR: usize = 16;
const BUFFER: usize = 2048;
/// So many buffers are given back, or frames shown, at once.
const BATCH: usize = 32;

/// Whose turn it is: in a descriptor to send, in one to receive, in a completion.
const TURN_TO_SEND: u32 = 1 << 14;
const TURN: u32 = 1 << 31;
/// The end of a frame, and tell when it is sent.
const SEND: u32 = 1 << 12 | 1 << 13;
/// In a completion of what came.
const INDEX: u32 = 0xfff;
const WHOLE: u32 = 1 << 14 | 1 << 15;
const OTHER_RING: u32 = 0x3ff << 16;
const LENGTH: u32 = 0x3fff;
const BAD: u32 = 1 << 14;

/// A ring of descriptors, and that of completions behind it: a page each.
struct Ring<H: Hal> {
    at: NonNull<u8>,
    buffers: Memory<H>,
    slots: Slots,
    /// The next completion, and the round it belongs to.
    completion: usize,
    odd: bool,
    /// The round of the next descriptor.
    round: bool,
}

impl<H: Hal> Ring<H> {
    fn new(at: NonNull<u8>, memory: usize, direction: BufferDirection) -> Result<Self, Fault> {
        let count = (memory / BUFFER).clamp(LEAST, RING) & !(LEAST - 1);
        let (mut buffers, count) = Memory::new(count, BUFFER, direction)?;
        // Never given back: what does not confirm its reset may still write there.
        buffers.keep = true;
        let count = count & !(LEAST - 1);
        if count == 0 {
            return Err(Fault::NoMemory);
        }
        let this = Self { at, buffers, slots: Slots::new(count), completion: 0, odd: true, round: true };
        for index in 0..count {
            let at = this.buffers.physical + (index * BUFFER) as u64;
            this.word(0, index, 0).store(at as u32, Ordering::Relaxed);
            this.word(0, index, 1).store((at >> 32) as u32, Ordering::Relaxed);
        }
        Ok(this)
    }

    /// A word of a slot, in the ring of descriptors (0) or of completions (1).
    fn word(&self, page: usize, index: usize, word: usize) -> &AtomicU32 {
        // SAFETY: within the two pages, for an index is below `RING`; both sides use these as atomics.
        unsafe { self.at.add(page * PAGE + index * DESCRIPTOR + 4 * word).cast::<AtomicU32>().as_ref() }
    }

    /// Gives the next slot, by its last words. `turn`: the bit in the third one.
    fn give(&mut self, third: u32, turn: u32, fourth: u32) {
        let index = self.slots.next();
        self.word(0, index, 3).store(fourth, Ordering::Relaxed);
        let third = if self.round { third | turn } else { third };
        // The device may see it at once.
        self.word(0, index, 2).store(third, Ordering::Release);
        self.slots.give();
        if self.slots.next() == 0 {
            self.round = !self.round;
        }
    }

    /// Has the device completed something?
    fn is_done(&self) -> bool {
        let turn = self.word(1, self.completion, 3).load(Ordering::Acquire) & TURN != 0;
        self.slots.under_way() > 0 && turn == self.odd
    }

    /// The next completion's first and third words.
    fn complete(&mut self) -> (u32, u32) {
        let word = |word| self.word(1, self.completion, word).load(Ordering::Acquire);
        let words = (word(0), word(2));
        self.completion += 1;
        if self.completion == self.slots.count() {
            self.completion = 0;
            self.odd = !self.odd;
        }
        words
    }
}

pub(crate) struct Vmxnet3<H: Hal, R: Registers> {
    fast: R,
    slow: R,
    mac: [u8; 6],
    link: bool,
    rx: Ring<H>,
    tx: Ring<H>,
    /// Slots that were taken back, and the frame in the last of them given out.
    lent: usize,
    /// Somebody waits for room.
    wanted: bool,
    watch: Watch,
    failure: Option<Fault>,
}

impl<H: Hal, R: Registers> Vmxnet3<H, R> {
    /// Sets the device up. `memory`: what its buffers may take, in bytes.
    pub(crate) fn new(fast: R, mut slow: R, memory: usize) -> Result<Self, Fault> {
        slow.write(slow::COMMAND, command::RESET);
        for register in [slow::REVISION, slow::UPT_VERSION] {
            // What is not there says all ones.
            let offered = slow.read(register);
            if offered & 1 == 0 || offered == u32::MAX {
                return Err(Fault::Refused);
            }
            slow.write(register, 1);
        }
        let mut ask = |command| {
            slow.write(slow::COMMAND, command);
            slow.read(slow::COMMAND)
        };
        let (low, high, link) = (ask(command::MAC_LOW), ask(command::MAC_HIGH), ask(command::LINK) & 1 != 0);
        let mut mac = [0; 6];
        mac[..4].copy_from_slice(&low.to_le_bytes());
        mac[4..].copy_from_slice(&high.to_le_bytes()[..2]);
        if mac[0] & 1 != 0 || mac == [0; 6] {
            return Err(Fault::Refused);
        }
        let (physical, pages) = H::dma_alloc(5, BufferDirection::Both);
        if physical == 0 {
            return Err(Fault::NoMemory);
        }
        // SAFETY: five pages of ours, never given back.
        let page = |index: usize| unsafe { pages.add(index * PAGE) };
        let tx = Ring::new(page(0), memory / 3, BufferDirection::DriverToDevice)?;
        let rx = Ring::new(page(2), memory * 2 / 3, BufferDirection::DeviceToDriver)?;
        let (link, failure) = (link, None);
        let mut this =
            Self { fast, slow, mac, link, rx, tx, lent: 0, wanted: false, watch: Watch::new(), failure };
        this.describe(page(4), physical);
        this.activate(physical + 4 * PAGE as u64)?;
        Ok(this)
    }

    /// Fills the page that the device reads when it is activated.
    fn describe(&self, page: NonNull<u8>, physical: u64) {
        let set = |at: usize, value: u32| {
            // SAFETY: within the page, aligned, and nobody else's yet.
            unsafe { page.add(at).cast::<u32>().write_volatile(value) };
        };
        let set_wide = |at: usize, value: u64| {
            set(at, value as u32);
            set(at + 4, (value >> 32) as u32);
        };
        let own = physical + 4 * PAGE as u64;
        for (at, value) in [
            (shared::MAGIC, MAGIC),
            (shared::DRIVER_VERSION, 1),
            (shared::SYSTEM, SYSTEM),
            (shared::REVISIONS, 1),
            (shared::UPT_VERSIONS, 1),
            (shared::QUEUES_LENGTH, shared::QUEUES_BYTES),
            (shared::MTU, 1500),
            (shared::COUNTS, 1 | 1 << 16 | 1 << 24),
            (shared::INTERRUPTS, 1 << 8),
            (shared::RECEIVE_MODE, RECEIVE_MODE),
            // Of a queue: how many descriptors, of data, of completions.
            (shared::TRANSMIT + 56, self.tx.slots.count() as u32),
            (shared::TRANSMIT + 64, self.tx.slots.count() as u32),
            (shared::RECEIVE + 56, self.rx.slots.count() as u32),
            (shared::RECEIVE + 60, LEAST as u32),
            (shared::RECEIVE + 64, self.rx.slots.count() as u32),
        ] {
            set(at, value);
        }
        for (at, value) in [
            (shared::QUEUES_AT, own + shared::TRANSMIT as u64),
            (shared::TRANSMIT + 16, physical),
            (shared::TRANSMIT + 32, physical + PAGE as u64),
            (shared::RECEIVE + 16, physical + 2 * PAGE as u64),
            (shared::RECEIVE + 24, own + shared::SECOND_RING as u64),
            (shared::RECEIVE + 32, physical + 3 * PAGE as u64),
        ] {
            set_wide(at, value);
        }
    }

    fn activate(&mut self, shared: u64) -> Result<(), Fault> {
        self.slow.write(slow::SHARED_LOW, shared as u32);
        self.slow.write(slow::SHARED_HIGH, (shared >> 32) as u32);
        let [a, b, c, d, e, f] = self.mac;
        self.slow.write(slow::ADDRESS_LOW, u32::from_le_bytes([a, b, c, d]));
        self.slow.write(slow::ADDRESS_HIGH, u32::from_le_bytes([e, f, 0, 0]));
        self.slow.write(slow::COMMAND, command::ACTIVATE);
        if self.slow.read(slow::COMMAND) != 0 {
            return Err(Fault::Refused);
        }
        while self.rx.slots.has_room() {
            self.rx.give(BUFFER as u32, TURN, 0);
        }
        self.show(1);
        self.slow.write(slow::COMMAND, command::RECEIVE_MODE);
        // It may interrupt from now on: the processor hears of that only while it is halted.
        self.fast.write(fast::MASK, 0);
        Ok(())
    }

    /// Tells the device of what is fresh, where there is so much of it.
    fn show(&mut self, least: usize) {
        for (ring, register) in [(&mut self.rx, fast::RECEIVE), (&mut self.tx, fast::TRANSMIT)] {
            if ring.slots.fresh() >= least {
                ring.slots.shown();
                self.fast.write(register, ring.slots.next() as u32);
            }
        }
    }

    /// Gives back the slots of the frame that was given out last.
    fn recycle(&mut self) {
        for _ in 0..core::mem::take(&mut self.lent) {
            self.rx.give(BUFFER as u32, TURN, 0);
        }
    }

    fn reclaim(&mut self) -> Result<(), Fault> {
        while self.tx.is_done() {
            // One descriptor a frame, each with a completion: so they come in order.
            let (first, _) = self.tx.complete();
            if first & INDEX != self.tx.slots.first() as u32 {
                return Err(Fault::WildIndex((first & INDEX) as u16));
            }
            self.tx.slots.take();
            self.watch.alive();
            self.wanted = false;
        }
        Ok(())
    }

    /// The next frame that is worth a look.
    fn next(&mut self) -> Result<Option<NonNull<[u8]>>, Fault> {
        while self.rx.is_done() {
            let (first, third) = self.rx.complete();
            let index = (first & INDEX) as usize;
            let count = self.rx.slots.count();
            let skipped = (index + count - self.rx.slots.first()) % count;
            if index >= count || skipped >= self.rx.slots.under_way() || first & OTHER_RING != 0 {
                return Err(Fault::WildIndex(index as u16));
            }
            self.recycle();
            for _ in 0..=skipped {
                self.rx.slots.take();
                self.lent += 1;
            }
            let length = (third & LENGTH) as usize;
            if length > BUFFER {
                return Err(Fault::WildLength(length as u32));
            }
            if first & WHOLE != WHOLE {
                return Err(Fault::WildPieces(2));
            }
            if third & BAD == 0 && length > 0 {
                // SAFETY: the buffer is ours until it is recycled, and the length is within it.
                return Ok(Some(NonNull::from(unsafe { self.rx.buffers.bytes(index, 0, length) })));
            }
        }
        self.recycle();
        Ok(None)
    }

    #[cold]
    fn give_up(&mut self, fault: Fault) {
        self.failure = Some(fault);
        self.fast.write(fast::MASK, 1);
        self.slow.write(slow::COMMAND, command::QUIESCE);
        self.slow.write(slow::COMMAND, command::RESET);
    }
}

impl<H: Hal, R: Registers> Frames for Vmxnet3<H, R> {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn link_is_up(&self) -> bool {
        self.link
    }

    fn failure(&self) -> Option<Fault> {
        self.failure
    }

    fn receive(&mut self) -> Option<NonNull<[u8]>> {
        if self.failure.is_some() {
            return None;
        }
        let next = self.next();
        self.show(BATCH);
        next.unwrap_or_else(|fault| {
            self.give_up(fault);
            None
        })
    }

    fn has_room(&mut self) -> bool {
        if self.failure.is_none()
            && !self.tx.slots.has_room()
            && let Err(fault) = self.reclaim()
        {
            self.give_up(fault);
        }
        let room = self.failure.is_some() || self.tx.slots.has_room();
        self.wanted |= !room;
        room
    }

    fn buffer(&mut self, length: usize) -> Option<&mut [u8]> {
        if self.failure.is_some() || length > FRAME || !self.tx.slots.has_room() {
            return None;
        }
        // SAFETY: a buffer that the device does not have, and a frame fits.
        Some(unsafe { self.tx.buffers.bytes(self.tx.slots.next(), 0, length) })
    }

    fn send(&mut self, length: usize) {
        self.tx.give(length as u32 & (TURN_TO_SEND - 1), TURN_TO_SEND, SEND);
        self.show(BATCH);
    }

    fn flush(&mut self, now: Instant) {
        if self.failure.is_some() {
            return;
        }
        self.recycle();
        let done = self.reclaim().and_then(|()| self.watch.look(now, self.tx.slots.under_way() > 0));
        match done {
            Ok(()) => self.show(1),
            Err(fault) => self.give_up(fault),
        }
    }

    fn flush_at(&self, now: Instant) -> Option<Instant> {
        (self.failure.is_none() && self.tx.slots.under_way() > 0).then(|| now + LOOK)
    }

    fn listen(&mut self, _: bool) -> bool {
        self.work()
    }

    fn work(&self) -> bool {
        self.failure.is_none() && (self.rx.is_done() || self.wanted && self.tx.is_done())
    }

    fn acknowledge(&mut self) {
        // What came by a line has to be asked for to be over.
        self.slow.read(slow::CAUSE);
    }
}

// SAFETY: rings and buffers are owned by the card; one core has one of them.
unsafe impl<H: Hal, R: Registers + Send> Send for Vmxnet3<H, R> {}

#[cfg(test)]
#[path = "vmxnet3_tests.rs"]
mod tests;
