//! Intel's 8254x and 82574L (e1000, e1000e), as hypervisors emulate them: VirtualBox's and VMware's usual cards, and
//! Proxmox' for what has no virtio. By legacy descriptors, which all of them have (Intel 317453, 3.2.3 and 3.3.3).
//!
//! Promises: as [`Frames`]. Buffers keep their places in the rings; the device can only say of the next one that it is
//! done, how long it is, and whether it is good. Not: checksums, segmentation, VLANs, large frames, changes of the link,
//! hardware whose PHY has to be set up (emulators' is).

use core::{
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
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

pub(crate) const VENDOR: u16 = 0x8086;
/// 82540EM, 82543GC, 82544GC, 82545EM, 82574L.
pub(crate) const DEVICES: [u16; 5] = [0x100e, 0x1004, 0x100c, 0x100f, 0x10d3];

/// Bytes of registers.
pub(crate) const REGISTERS: u32 = 0x20000;

/// Offsets of registers (Intel 317453, table 13-2).
mod register {
    pub(super) const CONTROL: u32 = 0;
    pub(super) const STATUS: u32 = 8;
    pub(super) const CAUSES: u32 = 0xc0;
    pub(super) const UNMASK: u32 = 0xd0;
    pub(super) const MASK: u32 = 0xd8;
    pub(super) const RECEIVE_CONTROL: u32 = 0x100;
    pub(super) const TRANSMIT_CONTROL: u32 = 0x400;
    pub(super) const TRANSMIT_GAP: u32 = 0x410;
    pub(super) const RECEIVE_RING: u32 = 0x2800;
    pub(super) const TRANSMIT_RING: u32 = 0x3800;
    pub(super) const MULTICAST: u32 = 0x5200;
    pub(super) const ADDRESS_LOW: u32 = 0x5400;
    pub(super) const ADDRESS_HIGH: u32 = 0x5404;
}

/// In a ring's registers: where it is (twice 32 bits), its length, and how far each side is.
mod ring {
    pub(super) const LENGTH: u32 = 8;
    pub(super) const HEAD: u32 = 0x10;
    pub(super) const TAIL: u32 = 0x18;
}

const RESET: u32 = 1 << 26;
const LINK_UP: u32 = 1 << 6 | 1 << 5;
const STATUS_LINK: u32 = 1 << 1;
/// Causes of interrupts: what was sent; what came, the ring runs empty, it was empty.
const SENT: u32 = 1;
const RECEIVED: u32 = 1 << 7 | 1 << 6 | 1 << 4;
/// Enabled, broadcasts, all of multicast (for IPv6), 2 KiB buffers, without their checksum.
const RECEIVE: u32 = 1 << 1 | 1 << 15 | 1 << 4 | 1 << 26;
/// Enabled, short frames padded, and what the manual says of collisions.
const TRANSMIT: u32 = 1 << 1 | 1 << 3 | 0xf << 4 | 0x40 << 12;
const GAP: u32 = 10 | 8 << 10 | 6 << 20;

/// Descriptors in each ring.
const RING: usize = 256;
const DESCRIPTOR: usize = 16;
const BUFFER: usize = 2048;
/// So many buffers are given back, or frames shown, at once.
const BATCH: usize = 32;
/// How often a reset is looked at.
const TRIES: u32 = 100_000;

/// In a descriptor: where its length is, and status, errors and command.
const LENGTH: usize = 8;
const COMMAND: usize = 11;
const STATUS: usize = 12;
const ERRORS: usize = 13;
const DONE: u8 = 1;
const WHOLE: u8 = 2;
/// The end of a frame, with its checksum, and say when it is sent.
const SEND: u8 = 1 | 2 | 8;

/// One of the two rings, with a buffer for each descriptor.
struct Ring<H: Hal> {
    descriptors: Memory<H>,
    buffers: Memory<H>,
    slots: Slots,
}

impl<H: Hal> Ring<H> {
    fn new(memory: usize, direction: BufferDirection) -> Result<Self, Fault> {
        let count = (memory / BUFFER).clamp(8, RING);
        let (mut descriptors, room) = Memory::new(RING, DESCRIPTOR, BufferDirection::Both)?;
        let (mut buffers, count) = Memory::new(count, BUFFER, direction)?;
        // Never given back: what does not confirm its reset may still write there.
        descriptors.keep = true;
        buffers.keep = true;
        // The length of a ring is a multiple of 128 bytes.
        let count = count.min(room) & !7;
        let this = Self { descriptors, buffers, slots: Slots::new(count) };
        for index in 0..count {
            let at = this.buffers.physical + (index * BUFFER) as u64;
            // SAFETY: within the descriptors, which are ours alone, and aligned.
            unsafe { this.at(index, 0).cast::<u64>().write_volatile(at) };
        }
        Ok(this)
    }

    /// Tells the device of the ring, which is empty.
    fn announce(&self, registers: &mut impl Registers, base: u32) {
        registers.write(base, self.descriptors.physical as u32);
        registers.write(base + 4, (self.descriptors.physical >> 32) as u32);
        registers.write(base + ring::LENGTH, (self.slots.count() * DESCRIPTOR) as u32);
        registers.write(base + ring::HEAD, 0);
        registers.write(base + ring::TAIL, 0);
    }

    fn at(&self, index: usize, offset: usize) -> NonNull<u8> {
        // SAFETY: within the descriptors: no index is as large as their number.
        unsafe { self.descriptors.at.add(index * DESCRIPTOR + offset) }
    }

    fn byte(&self, index: usize, offset: usize) -> u8 {
        // SAFETY: as in `at`; the device may write at any time.
        unsafe { self.at(index, offset).read_volatile() }
    }

    fn set(&self, index: usize, offset: usize, value: u8) {
        // SAFETY: as in `at`.
        unsafe { self.at(index, offset).write_volatile(value) };
    }

    fn length(&self, index: usize) -> u16 {
        // SAFETY: as in `at`; aligned.
        unsafe { self.at(index, LENGTH).cast::<u16>().read_volatile() }
    }

    /// Is the device done with the first of those that it has?
    fn is_done(&self) -> bool {
        self.slots.under_way() > 0 && self.byte(self.slots.first(), STATUS) & DONE != 0
    }

    /// Takes that one back.
    fn take(&mut self) -> usize {
        fence(Ordering::Acquire);
        self.slots.take()
    }

    /// Tells the device of those that are fresh, if there are so many.
    fn show(&mut self, registers: &mut impl Registers, base: u32, least: usize) {
        if self.slots.fresh() >= least {
            self.slots.shown();
            fence(Ordering::Release);
            registers.write(base + ring::TAIL, self.slots.next() as u32);
        }
    }
}

pub(crate) struct E1000<H: Hal, R: Registers> {
    registers: R,
    mac: [u8; 6],
    link: bool,
    rx: Ring<H>,
    tx: Ring<H>,
    /// A frame was given out: its buffer is not the device's yet.
    lent: bool,
    /// Somebody waits for room, and the device knows.
    wanted: bool,
    asked: bool,
    watch: Watch,
    failure: Option<Fault>,
}

impl<H: Hal, R: Registers> E1000<H, R> {
    /// Sets the device up. `memory`: what its buffers may take, in bytes.
    pub(crate) fn new(mut registers: R, memory: usize) -> Result<Self, Fault> {
        registers.write(register::MASK, u32::MAX);
        registers.write(register::CONTROL, RESET);
        // It says when it is done by taking the bit back; what is not there says all ones.
        if !(0..TRIES).any(|_| registers.read(register::CONTROL) & RESET == 0) {
            return Err(Fault::Refused);
        }
        registers.write(register::MASK, u32::MAX);
        registers.read(register::CAUSES);
        let control = registers.read(register::CONTROL);
        registers.write(register::CONTROL, control | LINK_UP);
        let mut mac = [0; 6];
        mac[..4].copy_from_slice(&registers.read(register::ADDRESS_LOW).to_le_bytes());
        mac[4..].copy_from_slice(&registers.read(register::ADDRESS_HIGH).to_le_bytes()[..2]);
        if mac[0] & 1 != 0 || mac == [0; 6] {
            return Err(Fault::Refused);
        }
        (0..128).for_each(|i| registers.write(register::MULTICAST + 4 * i, 0));
        let mut rx = Ring::new(memory * 2 / 3, BufferDirection::DeviceToDriver)?;
        let tx = Ring::new(memory / 3, BufferDirection::DriverToDevice)?;
        rx.announce(&mut registers, register::RECEIVE_RING);
        tx.announce(&mut registers, register::TRANSMIT_RING);
        registers.write(register::TRANSMIT_GAP, GAP);
        registers.write(register::TRANSMIT_CONTROL, TRANSMIT);
        registers.write(register::RECEIVE_CONTROL, RECEIVE);
        while rx.slots.has_room() {
            rx.slots.give();
        }
        rx.show(&mut registers, register::RECEIVE_RING, 1);
        let link = registers.read(register::STATUS) & STATUS_LINK != 0;
        // It may interrupt from now on: the processor hears of that only while it is halted.
        registers.write(register::UNMASK, RECEIVED);
        let (watch, failure) = (Watch::new(), None);
        Ok(Self { registers, mac, link, rx, tx, lent: false, wanted: false, asked: false, watch, failure })
    }

    /// Gives back the buffer of the frame that was given out last.
    fn recycle(&mut self) {
        if core::mem::take(&mut self.lent) {
            self.rx.set(self.rx.slots.next(), STATUS, 0);
            self.rx.slots.give();
            self.rx.show(&mut self.registers, register::RECEIVE_RING, BATCH);
        }
    }

    fn reclaim(&mut self) {
        while self.tx.is_done() {
            self.tx.take();
            self.watch.alive();
            self.wanted = false;
        }
    }

    #[cold]
    fn give_up(&mut self, fault: Fault) {
        self.failure = Some(fault);
        self.registers.write(register::MASK, u32::MAX);
        self.registers.write(register::CONTROL, RESET);
    }
}

impl<H: Hal, R: Registers> Frames for E1000<H, R> {
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
        loop {
            self.recycle();
            if self.failure.is_some() || !self.rx.is_done() {
                return None;
            }
            let index = self.rx.take();
            self.lent = true;
            let length = usize::from(self.rx.length(index));
            if length > BUFFER {
                self.give_up(Fault::WildLength(length as u32));
                return None;
            }
            // Frames that fit into no buffer were not asked for.
            if self.rx.byte(index, STATUS) & WHOLE == 0 {
                self.give_up(Fault::WildPieces(2));
                return None;
            }
            if self.rx.byte(index, ERRORS) == 0 && length > 0 {
                // SAFETY: the buffer is ours until it is recycled, and the length is within it.
                return Some(NonNull::from(unsafe { self.rx.buffers.bytes(index, 0, length) }));
            }
        }
    }

    fn has_room(&mut self) -> bool {
        if self.failure.is_some() {
            return true;
        }
        if !self.tx.slots.has_room() {
            self.reclaim();
        }
        let room = self.tx.slots.has_room();
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
        let index = self.tx.slots.next();
        // SAFETY: within the descriptors; aligned.
        unsafe { self.tx.at(index, LENGTH).cast::<u16>().write_volatile(length as u16) };
        self.tx.set(index, COMMAND, SEND);
        self.tx.set(index, STATUS, 0);
        self.tx.slots.give();
        self.tx.show(&mut self.registers, register::TRANSMIT_RING, BATCH);
    }

    fn flush(&mut self, now: Instant) {
        if self.failure.is_some() {
            return;
        }
        self.recycle();
        self.reclaim();
        if let Err(fault) = self.watch.look(now, self.tx.slots.under_way() > 0) {
            return self.give_up(fault);
        }
        self.rx.show(&mut self.registers, register::RECEIVE_RING, 1);
        self.tx.show(&mut self.registers, register::TRANSMIT_RING, 1);
    }

    fn flush_at(&self, now: Instant) -> Option<Instant> {
        (self.failure.is_none() && self.tx.slots.under_way() > 0).then(|| now + LOOK)
    }

    fn listen(&mut self, on: bool) -> bool {
        // Of what was sent only somebody who waits for room wants to know.
        let ask = on && self.wanted && self.failure.is_none();
        if ask != self.asked {
            self.asked = ask;
            self.registers.write(if ask { register::UNMASK } else { register::MASK }, SENT);
        }
        self.work()
    }

    fn work(&self) -> bool {
        self.failure.is_none() && (self.rx.is_done() || self.wanted && self.tx.is_done())
    }

    fn acknowledge(&mut self) {
        self.registers.read(register::CAUSES);
    }
}

// SAFETY: rings and buffers are owned by the card; one core has one of them.
unsafe impl<H: Hal, R: Registers + Send> Send for E1000<H, R> {}

#[cfg(test)]
#[path = "e1000_tests.rs"]
mod tests;
