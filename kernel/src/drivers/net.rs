//! virtio-net (virtio 1.3, 5.1) for smoltcp: one receive and one transmit queue.
//!
//! Promises: receive buffers are kept posted; sending never waits, and the device is told once a batch
//! ([`Nic::flush`]); a frame is read where the device put it. What the device says is a claim: an index that was not
//! given to it, a length beyond its buffer, a frame in more pieces than it named, or five seconds without taking
//! what is to be sent, and the device is reset and never used again ([`Nic::failure`] says why). Memory that it was
//! given stays its own then.
//!
//! Negotiated where offered: MAC, STATUS, MTU (at most 1500), MRG_RXBUF, CSUM (TCP leaves with a partial checksum),
//! GUEST_CSUM (a frame that the device vouches for is not summed again; what it does not vouch for is, here, and thrown
//! away if wrong) and, with both of the last, GUEST_TSO4/6: up to 64 KiB of a connection come as one frame.
//!
//! Not: RING_EVENT_IDX, whose index `virtio-drivers` compares without regard to its wrap-around (after 65,536 frames a
//! notification would be lost), and under which it can't switch interrupts off; the rings' flags do both. HOST_TSO4/6:
//! QEMU's user-mode network offers neither, and what is sent is cut into segments by the stack. More queue pairs, the
//! control queue, changes of the link or the MTU while it runs.

use alloc::{boxed::Box, vec::Vec};
use core::ptr::NonNull;

use lunette_net::smoltcp::{
    phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken},
    time::{Duration, Instant},
    wire::{EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket},
};
use virtio_drivers::{
    BufferDirection, Hal,
    queue::VirtQueue,
    transport::{DeviceStatus, Transport},
};

use super::{Fault, feature, memory::Memory};

/// Descriptors in each of the two queues.
pub const QUEUE: usize = 256;
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// A frame without VLAN tag and checksum: 14 bytes before 1500.
const ETHERNET: usize = 14;
const MTU: u16 = 1500;
/// A buffer: header and frame. Half a page, or a page where frames can be large.
const BUFFER: usize = 2048;
const LARGE_BUFFER: usize = 4096;
/// The most pieces that a frame can come in: 64 KiB and its headers, in the smaller buffers.
const PIECES: usize = 34;
/// `virtio_net_hdr`, with `num_buffers` and without (legacy devices that do not merge).
const HEADER: usize = 12;
const SHORT_HEADER: usize = 10;
/// How long the device may take nothing of what is to be sent, as far as somebody looked: a VM that was paused
/// blames nobody.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(500);
/// So many frames, or buffers, are shown to the device at once: it works while we do.
const BATCH: usize = 32;

/// Where fields of the configuration space lie, and of the header.
mod offset {
    pub(super) const CONFIG_STATUS: usize = 6;
    pub(super) const CONFIG_MTU: usize = 10;
    pub(super) const FLAGS: usize = 0;
    pub(super) const GSO_TYPE: usize = 1;
    pub(super) const CHECKSUM_START: usize = 6;
    pub(super) const CHECKSUM_OFFSET: usize = 8;
    pub(super) const BUFFERS: usize = 10;
}

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;

/// A network card.
pub struct Nic<H: Hal, T: Transport> {
    transport: T,
    rx: Receive<H>,
    tx: Transmit<H>,
    features: u64,
    mac: [u8; 6],
    mtu: u16,
    failure: Option<Fault>,
}

impl<H: Hal, T: Transport> Nic<H, T> {
    /// Sets the device up. `memory`: what its buffers may take of RAM, in bytes (32 KiB is the least).
    pub fn new(mut transport: T, memory: usize) -> Result<Self, Fault> {
        let result = Self::parts(&mut transport, memory);
        match result {
            Ok((rx, tx, features, mac, mtu)) => {
                transport.finish_init();
                let mut nic = Self { transport, rx, tx, features, mac, mtu, failure: None };
                nic.transport.notify(RECEIVE);
                nic.rx.queue.set_dev_notify(false);
                nic.tx.queue.set_dev_notify(false);
                Ok(nic)
            }
            Err(fault) => {
                transport.set_status(DeviceStatus::FAILED);
                Err(fault)
            }
        }
    }

    #[allow(clippy::type_complexity, reason = "named by the only caller")]
    fn parts(
        transport: &mut T,
        memory: usize,
    ) -> Result<(Receive<H>, Transmit<H>, u64, [u8; 6], u16), Fault> {
        let wanted = feature::MAC
            | feature::STATUS
            | feature::MTU
            | feature::MRG_RXBUF
            | feature::CSUM
            | feature::GUEST_CSUM
            | feature::GUEST_TSO4
            | feature::GUEST_TSO6;
        let features = super::negotiate(transport, |offered| {
            let mut accepted = offered & wanted;
            if accepted & feature::GUEST_CSUM == 0 || accepted & feature::MRG_RXBUF == 0 {
                accepted &= !(feature::GUEST_TSO4 | feature::GUEST_TSO6);
            }
            accepted
        })?;
        let mac = if features & feature::MAC == 0 {
            // Locally administered (IEEE 802, 8.4.2), and ours: a device that gives none has no peer that knows one.
            [0x02, 0x6c, 0x75, 0x6e, 0x65, 0x74]
        } else {
            let mut mac = [0; 6];
            for (i, byte) in mac.iter_mut().enumerate() {
                *byte = transport.read_config_space(i).map_err(|_| Fault::Refused)?;
            }
            mac
        };
        let mtu = match features & feature::MTU {
            0 => MTU,
            _ => {
                let mtu: u16 = transport.read_config_space(offset::CONFIG_MTU).map_err(|_| Fault::Refused)?;
                // Below 68 it is no MTU (RFC 791); IPv6 needs 1280, and is told by whoever asks for the capabilities.
                if mtu < 68 { MTU } else { mtu.min(MTU) }
            }
        };
        let large = features & (feature::GUEST_TSO4 | feature::GUEST_TSO6) != 0;
        let header = match features & (feature::VERSION_1 | feature::MRG_RXBUF) {
            0 => SHORT_HEADER,
            _ => HEADER,
        };
        let size = if large { LARGE_BUFFER } else { BUFFER };
        let receive = (memory * 2 / 3 / size).clamp(8, QUEUE);
        let transmit = (memory / 3 / BUFFER).clamp(8, QUEUE);
        let merge = features & feature::MRG_RXBUF != 0;
        let check = features & feature::GUEST_CSUM != 0;
        let rx = Receive::new(transport, receive, size, header, merge, check)?;
        let tx = Transmit::new(transport, transmit, header, features & feature::CSUM != 0)?;
        Ok((rx, tx, features, mac, mtu))
    }

    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// What both sides agreed on.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Is there a cable? Yes, if the device does not say.
    pub fn link_is_up(&self) -> bool {
        if self.features & feature::STATUS == 0 {
            return true;
        }
        self.transport.read_config_space::<u16>(offset::CONFIG_STATUS).map_or(true, |status| status & 1 != 0)
    }

    /// Why it was given up, if it was.
    pub fn failure(&self) -> Option<Fault> {
        self.failure
    }

    /// After a batch: gives buffers back, tells the device what is new, and sees that it goes on with its work.
    pub fn flush(&mut self, now: Instant) {
        if self.failure.is_some() {
            return;
        }
        let done = self.rx.recycle().and_then(|()| self.tx.reclaim()).and_then(|()| self.tx.watch(now));
        if let Err(fault) = done {
            return self.give_up(fault);
        }
        notify(&mut self.transport, RECEIVE, &self.rx.queue, &mut self.rx.fresh);
        notify(&mut self.transport, TRANSMIT, &self.tx.queue, &mut self.tx.fresh);
    }

    /// When [`Nic::flush`] should be called again, if nothing happens before.
    pub fn flush_at(&self, now: Instant) -> Option<Instant> {
        (self.failure.is_none() && self.tx.under_way > 0).then(|| now + LOOK)
    }

    /// Lets the device interrupt from now on, or not. True: there is something to do already, so don't wait.
    pub fn listen(&mut self, on: bool) -> bool {
        if self.failure.is_some() {
            return false;
        }
        self.rx.queue.set_dev_notify(on);
        // Of what was sent only somebody who waits for room wants to know.
        self.tx.queue.set_dev_notify(on && self.tx.wanted);
        if on {
            // The flag must be seen by a device that we do not see having used a buffer.
            core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        }
        self.work()
    }

    /// Has the device brought something, or made the room that was missing? Reads memory only.
    pub fn work(&self) -> bool {
        self.failure.is_none() && (self.rx.queue.can_pop() || (self.tx.wanted && self.tx.queue.can_pop()))
    }

    /// Acknowledges an interrupt.
    pub fn acknowledge(&mut self) {
        let _ = self.transport.ack_interrupt();
    }

    #[cold]
    fn give_up(&mut self, fault: Fault) {
        self.failure = Some(fault);
        self.tx.dead = true;
        self.transport.set_status(DeviceStatus::empty());
    }
}

impl<H: Hal, T: Transport> Drop for Nic<H, T> {
    fn drop(&mut self) {
        // The rings and buffers are freed after this: not under a device that may still write to them.
        self.transport.set_status(DeviceStatus::empty());
        let quiet = (0..1_000_000).any(|_| self.transport.get_status() == DeviceStatus::empty());
        self.rx.memory.keep |= !quiet;
        self.tx.memory.keep |= !quiet;
    }
}

/// Tells the device of fresh buffers, unless it said that it looks by itself.
fn notify<H: Hal, T: Transport>(
    transport: &mut T,
    index: u16,
    queue: &VirtQueue<H, QUEUE>,
    fresh: &mut usize,
) {
    if *fresh > 0 {
        *fresh = 0;
        // The ring's new index must be out before its flags are read.
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        if queue.should_notify() {
            transport.notify(index);
        }
    }
}

const NONE: u16 = u16::MAX;

struct Receive<H: Hal> {
    queue: Box<VirtQueue<H, QUEUE>>,
    memory: Memory<H>,
    /// Which buffer the device has under which index.
    posted: [u16; QUEUE],
    /// The buffers of the frame that was given out last.
    pieces: [u16; PIECES],
    piece_count: usize,
    /// Where a frame is put together whose pieces do not lie behind one another.
    scratch: Vec<u8>,
    header: usize,
    merge: bool,
    check: bool,
    /// Buffers posted that the device was not told of.
    fresh: usize,
}

impl<H: Hal> Receive<H> {
    fn new<T: Transport>(
        transport: &mut T,
        count: usize,
        size: usize,
        header: usize,
        merge: bool,
        check: bool,
    ) -> Result<Self, Fault> {
        let (memory, count) = Memory::new(count, size, BufferDirection::DeviceToDriver)?;
        let queue = queue(transport, RECEIVE)?;
        let mut this = Self {
            queue,
            memory,
            posted: [NONE; QUEUE],
            pieces: [0; PIECES],
            piece_count: 0,
            scratch: Vec::new(),
            header,
            merge,
            check,
            fresh: 0,
        };
        for buffer in 0..count {
            this.post(buffer as u16)?;
        }
        this.fresh = 0;
        Ok(this)
    }

    fn post(&mut self, buffer: u16) -> Result<(), Fault> {
        // SAFETY: the buffer is one of ours, and nobody's until `pop` gives it back: its frame is no longer borrowed.
        let token = unsafe {
            let bytes = self.memory.bytes(usize::from(buffer), 0, self.memory.size);
            self.queue.add(&[], &mut [bytes])
        };
        let token = token.map_err(|_| Fault::Queues)?;
        self.posted[usize::from(token)] = buffer;
        self.fresh += 1;
        Ok(())
    }

    /// The next buffer that the device gave back, and how much it wrote.
    fn pop(&mut self) -> Result<Option<(u16, usize)>, Fault> {
        let Some(token) = self.queue.peek_used() else { return Ok(None) };
        let buffer =
            self.posted.get_mut(usize::from(token)).map_or(NONE, |slot| core::mem::replace(slot, NONE));
        if buffer == NONE {
            return Err(Fault::WildIndex(token));
        }
        // SAFETY: the very buffer that was added under this token.
        let length = unsafe {
            let bytes = self.memory.bytes(usize::from(buffer), 0, self.memory.size);
            self.queue.pop_used(token, &[], &mut [bytes])
        };
        match length {
            Ok(length) if length as usize <= self.memory.size => Ok(Some((buffer, length as usize))),
            Ok(length) => Err(Fault::WildLength(length)),
            Err(_) => Err(Fault::WildIndex(token)),
        }
    }

    /// Posts the buffers of the last frame again.
    fn recycle(&mut self) -> Result<(), Fault> {
        for i in 0..core::mem::take(&mut self.piece_count) {
            self.post(self.pieces[i])?;
        }
        Ok(())
    }

    /// The next frame that is worth a look. It stays where it is until [`Receive::recycle`].
    fn next(&mut self) -> Result<Option<NonNull<[u8]>>, Fault> {
        loop {
            self.recycle()?;
            let Some((first, length)) = self.pop()? else { return Ok(None) };
            self.pieces[0] = first;
            self.piece_count = 1;
            if length < self.header {
                return Err(Fault::WildLength(length as u32));
            }
            // SAFETY: `pop` gave the buffer to us, with so many bytes written, which fit.
            let bytes = unsafe { self.memory.bytes(usize::from(first), 0, length) };
            let (header, mut frame) = bytes.split_at_mut(self.header);
            let (flags, gso) = (header[offset::FLAGS], header[offset::GSO_TYPE]);
            let start =
                u16::from_le_bytes([header[offset::CHECKSUM_START], header[offset::CHECKSUM_START + 1]]);
            let at =
                u16::from_le_bytes([header[offset::CHECKSUM_OFFSET], header[offset::CHECKSUM_OFFSET + 1]]);
            if self.merge {
                let pieces = u16::from_le_bytes([header[offset::BUFFERS], header[offset::BUFFERS + 1]]);
                if pieces != 1 {
                    frame = self.gather(pieces, first, length)?;
                }
            }
            // What was not negotiated is nothing that a frame may be (and large ones need the checksum's word).
            let fine = if self.check {
                vouched(frame, flags, usize::from(start), usize::from(at))
            } else {
                flags & NEEDS_CHECKSUM == 0 && gso == 0
            };
            if fine {
                return Ok(Some(NonNull::from(frame)));
            }
        }
    }

    /// A frame in several buffers. As long as the device takes them in the order in which they were posted, they lie
    /// behind one another, all but the first without a header: then they are one piece as they are.
    fn gather<'a>(&mut self, pieces: u16, first: u16, length: usize) -> Result<&'a mut [u8], Fault> {
        if pieces == 0 || usize::from(pieces) > PIECES {
            return Err(Fault::WildPieces(pieces));
        }
        let mut lengths = [0; PIECES];
        lengths[0] = length;
        let size = self.memory.size;
        let mut in_a_row = true;
        let mut total = length;
        for i in 1..usize::from(pieces) {
            let Some((buffer, length)) = self.pop()? else { return Err(Fault::WildPieces(pieces)) };
            in_a_row &= usize::from(buffer) == usize::from(first) + i && lengths[i - 1] == size;
            self.pieces[i] = buffer;
            self.piece_count = i + 1;
            lengths[i] = length;
            total += length;
        }
        if in_a_row {
            // SAFETY: the buffers are ours now, adjacent, and full but for the last.
            return Ok(unsafe { self.memory.bytes(usize::from(first), self.header, total - self.header) });
        }
        self.scratch.clear();
        for (i, &buffer) in self.pieces[..usize::from(pieces)].iter().enumerate() {
            let skip = if i == 0 { self.header } else { 0 };
            // SAFETY: the buffer is ours now, with so many bytes written.
            let bytes = unsafe { self.memory.bytes(usize::from(buffer), skip, lengths[i] - skip) };
            self.scratch.extend_from_slice(bytes);
        }
        let mut whole = NonNull::from(&mut self.scratch[..]);
        // SAFETY: the scratch space is not touched again before the frame has been read: `next` comes first.
        Ok(unsafe { whole.as_mut() })
    }
}

struct Transmit<H: Hal> {
    queue: Box<VirtQueue<H, QUEUE>>,
    memory: Memory<H>,
    /// Buffers that are ours: the first `free_count`.
    free: [u16; QUEUE],
    free_count: usize,
    /// Which buffer the device has under which index, and how much of it.
    posted: [(u16, u16); QUEUE],
    under_way: usize,
    header: usize,
    /// TCP leaves with a partial checksum.
    partial: bool,
    fresh: usize,
    /// Somebody would send, and there was no buffer.
    wanted: bool,
    /// The device was given up: what is sent goes nowhere, so that nobody waits for room.
    dead: bool,
    /// Since when the device takes nothing: when somebody last looked, and for how long in all.
    looked: Instant,
    stuck: Duration,
}

impl<H: Hal> Transmit<H> {
    fn new<T: Transport>(
        transport: &mut T,
        count: usize,
        header: usize,
        partial: bool,
    ) -> Result<Self, Fault> {
        let (memory, count) = Memory::new(count, BUFFER, BufferDirection::DriverToDevice)?;
        let mut free = [NONE; QUEUE];
        for (i, slot) in free[..count].iter_mut().enumerate() {
            *slot = i as u16;
        }
        Ok(Self {
            queue: queue(transport, TRANSMIT)?,
            memory,
            free,
            free_count: count,
            posted: [(NONE, 0); QUEUE],
            under_way: 0,
            header,
            partial,
            fresh: 0,
            wanted: false,
            dead: false,
            looked: Instant::ZERO,
            stuck: Duration::ZERO,
        })
    }

    /// Takes back what the device has sent.
    fn reclaim(&mut self) -> Result<(), Fault> {
        while let Some(token) = self.queue.peek_used() {
            let Some(slot) = self.posted.get_mut(usize::from(token)).filter(|slot| slot.0 != NONE) else {
                return Err(Fault::WildIndex(token));
            };
            let (buffer, length) = core::mem::replace(slot, (NONE, 0));
            // SAFETY: the very bytes that were added under this token.
            let popped = unsafe {
                let bytes = self.memory.bytes(usize::from(buffer), 0, usize::from(length));
                self.queue.pop_used(token, &[bytes], &mut [])
            };
            if popped.is_err() {
                return Err(Fault::WildIndex(token));
            }
            self.free[self.free_count] = buffer;
            self.free_count += 1;
            self.under_way -= 1;
            self.stuck = Duration::ZERO;
            self.wanted = false;
        }
        Ok(())
    }

    /// Has the device done nothing for too long?
    fn watch(&mut self, now: Instant) -> Result<(), Fault> {
        let since = if now > self.looked { now - self.looked } else { Duration::ZERO };
        self.looked = now;
        // What is new, and what was looked at too long ago, is nobody's fault.
        if self.under_way == self.fresh {
            self.stuck = Duration::ZERO;
        } else {
            self.stuck += since.min(LOOK);
        }
        if self.stuck < PATIENCE { Ok(()) } else { Err(Fault::Stuck) }
    }

    fn has_room(&mut self) -> Result<bool, Fault> {
        if self.free_count == 0 {
            self.reclaim()?;
        }
        self.wanted |= self.free_count == 0;
        Ok(self.free_count > 0)
    }

    /// Room for a frame of `length` bytes; `None`: it goes nowhere, for the device is dead, or it is larger than the
    /// capabilities say.
    fn open(&mut self, length: usize) -> Option<&mut [u8]> {
        if self.dead || self.free_count == 0 || self.header + length > BUFFER {
            return None;
        }
        let buffer = self.free[self.free_count - 1];
        // SAFETY: a free buffer is ours alone, and the length was checked.
        Some(unsafe { self.memory.bytes(usize::from(buffer), self.header, length) })
    }

    /// Posts the frame that was written where [`Transmit::open`] said.
    fn post(&mut self, length: usize) {
        let Some(last) = self.free_count.checked_sub(1) else { return };
        let buffer = self.free[last];
        let whole = self.header + length;
        // SAFETY: as in `open`, which has checked the length.
        let bytes = unsafe { self.memory.bytes(usize::from(buffer), 0, whole) };
        let (header, frame) = bytes.split_at_mut(self.header);
        header.fill(0);
        if self.partial
            && let Some((start, at)) = make_partial(frame)
        {
            header[offset::FLAGS] = NEEDS_CHECKSUM;
            header[offset::CHECKSUM_START..][..2].copy_from_slice(&start.to_le_bytes());
            header[offset::CHECKSUM_OFFSET..][..2].copy_from_slice(&at.to_le_bytes());
        }
        // SAFETY: nobody touches the buffer before `reclaim` has it back.
        if let Ok(token) = unsafe { self.queue.add(&[bytes], &mut []) } {
            self.posted[usize::from(token)] = (buffer, whole as u16);
            self.free_count -= 1;
            self.under_way += 1;
            self.fresh += 1;
        }
    }
}

fn queue<H: Hal, T: Transport>(transport: &mut T, index: u16) -> Result<Box<VirtQueue<H, QUEUE>>, Fault> {
    VirtQueue::new(transport, index, false, false).map(Box::new).map_err(|error| match error {
        virtio_drivers::Error::DmaError => Fault::NoMemory,
        _ => Fault::Queues,
    })
}

/// Leaves the sum of the pseudo-header in a TCP segment's checksum, for the device to complete: from where, and where
/// to put it. `None`: no TCP, it is complete.
fn make_partial(frame: &mut [u8]) -> Option<(u16, u16)> {
    const CHECKSUM: usize = 16;
    let (start, addresses) = match u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]) {
        0x0800 if *frame.get(ETHERNET + 9)? == 6 => {
            (ETHERNET + 4 * usize::from(*frame.get(ETHERNET)? & 0xf), ETHERNET + 12..ETHERNET + 20)
        }
        0x86dd if *frame.get(ETHERNET + 6)? == 6 => (ETHERNET + 40, ETHERNET + 8..ETHERNET + 40),
        _ => return None,
    };
    let length = frame.len().checked_sub(start)?;
    let mut sum = 6 + length as u32;
    for pair in frame.get(addresses)?.chunks_exact(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    frame.get_mut(start + CHECKSUM..start + CHECKSUM + 2)?.copy_from_slice(&(sum as u16).to_be_bytes());
    Some((start as u16, CHECKSUM as u16))
}

/// With GUEST_CSUM the stack sums no TCP segment: has the device done it, or a host that needs none? Else it is summed
/// here. Of other protocols' frames a partial checksum is completed, and the stack sums as ever.
fn vouched(frame: &mut [u8], flags: u8, start: usize, at: usize) -> bool {
    let Some(protocol) = transport_of(frame) else { return true };
    if protocol == IpProtocol::Tcp {
        return flags & (NEEDS_CHECKSUM | DATA_VALID) != 0 || tcp_is_right(frame);
    }
    if flags & NEEDS_CHECKSUM != 0 {
        let Some(sum) = frame.get(start..).map(sum) else { return false };
        let Some(field) = frame.get_mut(start.saturating_add(at)..).and_then(|rest| rest.get_mut(..2)) else {
            return false;
        };
        // All ones for zero, which in UDP would mean "none" (RFC 768).
        let sum = if sum == 0xffff { sum } else { !sum };
        field.copy_from_slice(&sum.to_be_bytes());
    }
    true
}

/// The ones' complement sum of 16-bit words (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u64 = 0;
    let mut words = bytes.chunks_exact(2);
    for word in &mut words {
        sum += u64::from(u16::from_be_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn transport_of(frame: &[u8]) -> Option<IpProtocol> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    match frame.ethertype() {
        EthernetProtocol::Ipv4 => Some(Ipv4Packet::new_checked(frame.payload()).ok()?.next_header()),
        EthernetProtocol::Ipv6 => Some(Ipv6Packet::new_checked(frame.payload()).ok()?.next_header()),
        _ => None,
    }
}

fn tcp_is_right(frame: &[u8]) -> bool {
    fn right(segment: &[u8], from: IpAddress, to: IpAddress) -> bool {
        TcpPacket::new_checked(segment).is_ok_and(|segment| segment.verify_checksum(&from, &to))
    }
    let Ok(frame) = EthernetFrame::new_checked(frame) else { return false };
    match frame.ethertype() {
        EthernetProtocol::Ipv4 => Ipv4Packet::new_checked(frame.payload())
            .is_ok_and(|packet| right(packet.payload(), packet.src_addr().into(), packet.dst_addr().into())),
        EthernetProtocol::Ipv6 => Ipv6Packet::new_checked(frame.payload())
            .is_ok_and(|packet| right(packet.payload(), packet.src_addr().into(), packet.dst_addr().into())),
        _ => false,
    }
}

impl<H: Hal, T: Transport> Device for Nic<H, T> {
    type RxToken<'a>
        = Frame<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Room<'a, H, T>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Frame<'_>, Room<'_, H, T>)> {
        // A frame may ask for an answer, so it is not looked at before there is room for one.
        if self.failure.is_some() || !self.rx.queue.can_pop() && self.rx.piece_count == 0 {
            return None;
        }
        let next = match self.tx.has_room() {
            Ok(true) => self.rx.next(),
            Ok(false) => return None,
            Err(fault) => Err(fault),
        };
        if self.rx.fresh >= BATCH {
            notify(&mut self.transport, RECEIVE, &self.rx.queue, &mut self.rx.fresh);
        }
        match next {
            // SAFETY: the frame lies in buffers that are ours until `Receive::recycle`, or in the scratch space; both
            // need `self`, which is borrowed for as long as the frame.
            Ok(Some(frame)) => Some((
                Frame(unsafe { frame.as_ref() }),
                Room { tx: &mut self.tx, transport: &mut self.transport },
            )),
            Ok(None) => None,
            Err(fault) => {
                self.give_up(fault);
                None
            }
        }
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_, H, T>> {
        if self.failure.is_none() {
            match self.tx.has_room() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(fault) => self.give_up(fault),
            }
        }
        Some(Room { tx: &mut self.tx, transport: &mut self.transport })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = ETHERNET + usize::from(self.mtu);
        capabilities.checksum.tcp =
            match (self.features & feature::GUEST_CSUM != 0, self.features & feature::CSUM != 0) {
                (false, false) => Checksum::Both,
                (true, false) => Checksum::Tx,
                (false, true) => Checksum::Rx,
                (true, true) => Checksum::None,
            };
        capabilities
    }
}

/// A frame that came.
pub struct Frame<'a>(pub(super) &'a [u8]);

impl RxToken for Frame<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// Room for a frame that is to go.
pub struct Room<'a, H: Hal, T: Transport> {
    tx: &'a mut Transmit<H>,
    transport: &'a mut T,
}

impl<H: Hal, T: Transport> Room<'_, H, T> {
    /// Where a frame of this length is to be written; `None`: it goes nowhere.
    pub(super) fn open(&mut self, length: usize) -> Option<&mut [u8]> {
        self.tx.open(length)
    }

    /// Sends what was written where [`Room::open`] said.
    pub(super) fn send(self, length: usize) {
        self.tx.post(length);
        if self.tx.fresh >= BATCH {
            notify(self.transport, TRANSMIT, &self.tx.queue, &mut self.tx.fresh);
        }
    }
}

impl<H: Hal, T: Transport> TxToken for Room<'_, H, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, length: usize, fill: F) -> R {
        let Some(bytes) = self.open(length) else { return fill(&mut alloc::vec![0; length]) };
        let result = fill(bytes);
        self.send(length);
        result
    }
}

// SAFETY: the buffers are owned by the card, whose queues may move between threads; so may the transport.
unsafe impl<H: Hal, T: Transport + Send> Send for Nic<H, T> {}

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;
