//! The card against a device that keeps the contract, and against others.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use super::*;
use crate::drivers::fake::{FakeHal, received, send};

type Card = E1000<FakeHal, Fake>;

#[derive(Default)]
struct Device {
    values: BTreeMap<u32, u32>,
    writes: Vec<(u32, u32)>,
    /// It does not come out of its reset.
    stays: bool,
    /// How far it has come in each ring.
    received: u32,
    sent: u32,
}

/// The device's registers. Clones are the same ones.
#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Device>>);

impl Registers for Fake {
    fn read(&mut self, at: u32) -> u32 {
        let device = self.0.borrow();
        match at {
            register::CONTROL if device.stays => u32::MAX,
            _ => device.values.get(&at).copied().unwrap_or(0),
        }
    }

    fn write(&mut self, at: u32, value: u32) {
        let mut device = self.0.borrow_mut();
        device.writes.push((at, value));
        let value = if at == register::CONTROL { value & !RESET } else { value };
        device.values.insert(at, value);
    }
}

fn bytes(at: u64, length: usize) -> &'static mut [u8] {
    // SAFETY: addresses that the driver gave, used while it holds no reference to them (one thread).
    unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(at as usize), length) }
}

impl Fake {
    fn value(&self, at: u32) -> u32 {
        self.0.borrow().values.get(&at).copied().unwrap_or(0)
    }

    fn writes_to(&self, at: u32) -> usize {
        self.0.borrow().writes.iter().filter(|(to, _)| *to == at).count()
    }

    fn descriptor(&self, ring: u32, index: u32) -> &'static mut [u8] {
        let base = u64::from(self.value(ring)) | u64::from(self.value(ring + 4)) << 32;
        bytes(base + 16 * u64::from(index), 16)
    }

    fn slots(&self, ring: u32) -> u32 {
        self.value(ring + ring::LENGTH) / 16
    }

    /// Puts a frame where it belongs, if there is a buffer; says so with this status and these errors.
    fn deliver_as(&self, frame: &[u8], length: u16, status: u8, errors: u8) -> bool {
        let index = self.0.borrow().received;
        if index == self.value(register::RECEIVE_RING + ring::TAIL) {
            return false;
        }
        let descriptor = self.descriptor(register::RECEIVE_RING, index);
        let at = u64::from_le_bytes(descriptor[..8].try_into().unwrap());
        bytes(at, frame.len()).copy_from_slice(frame);
        descriptor[LENGTH..LENGTH + 2].copy_from_slice(&length.to_le_bytes());
        (descriptor[STATUS], descriptor[ERRORS]) = (status, errors);
        self.0.borrow_mut().received = (index + 1) % self.slots(register::RECEIVE_RING);
        true
    }

    fn deliver(&self, frame: &[u8]) -> bool {
        self.deliver_as(frame, frame.len() as u16, DONE | WHOLE, 0)
    }

    /// Takes the next frame that is to go, and says that it went.
    fn take(&self) -> Option<Vec<u8>> {
        let index = self.0.borrow().sent;
        if index == self.value(register::TRANSMIT_RING + ring::TAIL) {
            return None;
        }
        let descriptor = self.descriptor(register::TRANSMIT_RING, index);
        let at = u64::from_le_bytes(descriptor[..8].try_into().unwrap());
        let length = u16::from_le_bytes([descriptor[LENGTH], descriptor[LENGTH + 1]]);
        assert_eq!((descriptor[COMMAND], descriptor[STATUS]), (SEND, 0));
        descriptor[STATUS] = DONE;
        self.0.borrow_mut().sent = (index + 1) % self.slots(register::TRANSMIT_RING);
        Some(bytes(at, length.into()).to_vec())
    }
}

fn at(millis: i64) -> Instant {
    Instant::from_millis(millis)
}

fn card() -> (Card, Fake) {
    let fake = Fake::default();
    fake.0.borrow_mut().values.extend([
        (register::ADDRESS_LOW, 0x0100_5452),
        (register::ADDRESS_HIGH, 0x8000_0302),
        (register::STATUS, 2),
    ]);
    (Card::new(fake.clone(), 96 * 1024).unwrap(), fake)
}

#[test]
fn frames_come_and_buffers_stay_posted() {
    let (mut card, fake) = card();
    assert_eq!((card.mac(), card.link_is_up()), ([0x52, 0x54, 0, 1, 2, 3], true));
    for round in 0..2000_usize {
        let frame = vec![round as u8; 60 + round % 1400];
        assert!(fake.deliver(&frame) && card.work());
        if round % 3 == 0 {
            assert!(fake.deliver(&[1; 60]));
            assert_eq!(received(&mut card), Some(frame));
            assert_eq!(received(&mut card), Some(vec![1; 60]));
        } else {
            assert_eq!(received(&mut card), Some(frame));
        }
        assert_eq!(received(&mut card), None);
        card.flush(at(round as i64));
    }
    // As many as there are buffers, at once; a bad one among them is passed over.
    let mut count = 0;
    assert!(fake.deliver_as(&[0; 60], 60, DONE | WHOLE, 1));
    while fake.deliver(&[count; 70]) {
        count += 1;
    }
    assert!(count > 20);
    for i in 0..count {
        assert_eq!(received(&mut card), Some(vec![i; 70]));
    }
    assert_eq!((received(&mut card), card.failure()), (None, None));
}

#[test]
fn frames_go_and_the_device_is_told_once() {
    let (mut card, fake) = card();
    let tail = register::TRANSMIT_RING + ring::TAIL;
    for round in 0..500 {
        let before = fake.writes_to(tail);
        for i in 0..10_u8 {
            assert!(send(&mut card, &[i; 100]));
        }
        card.flush(at(round));
        assert_eq!(fake.writes_to(tail), before + 1);
        for i in 0..10 {
            assert_eq!(fake.take(), Some(vec![i; 100]));
        }
        card.flush(at(round));
        assert_eq!(fake.writes_to(tail), before + 1);
    }
    assert!(send(&mut card, &[0; 1515]), "a frame that does not fit goes nowhere");
    card.flush(at(0));
    assert_eq!((fake.take(), card.failure()), (None, None));
}

#[test]
fn sending_never_waits_and_room_is_asked_for() {
    let (mut card, fake) = card();
    let mut sent = 0;
    while send(&mut card, &[7; 1514]) {
        sent += 1;
    }
    assert_eq!(sent, 15, "a third of the memory, and a ring is never full");
    card.flush(at(0));
    assert!(!card.listen(true));
    assert_eq!(fake.value(register::UNMASK), SENT, "whoever waits for room hears of it");
    fake.take().unwrap();
    assert!(card.work() && send(&mut card, &[7; 60]) && !send(&mut card, &[7; 60]));
    fake.take().unwrap();
    assert!(card.has_room());
    card.listen(true);
    assert_eq!(fake.value(register::MASK), SENT);
}

#[test]
fn lies_are_the_end_of_the_card_and_of_nothing_else() {
    for (length, status, fault) in [
        (2049, DONE | WHOLE, Fault::WildLength(2049)),
        (u16::MAX, DONE | WHOLE, Fault::WildLength(65535)),
        (60, DONE, Fault::WildPieces(2)),
    ] {
        let (mut card, fake) = card();
        assert!(fake.deliver_as(&[0; 60], length, status, 0));
        assert_eq!((received(&mut card), card.failure()), (None, Some(fault)));
        assert_eq!(fake.value(register::MASK), u32::MAX);
        assert!(!card.work() && !card.listen(true) && card.flush_at(at(0)).is_none());
        assert!(card.has_room() && card.buffer(60).is_none() && card.receive().is_none());
        card.flush(at(1));
    }
    // Everything is done, it says, also what it was not given.
    let (mut card, fake) = card();
    for index in 0..fake.slots(register::TRANSMIT_RING) {
        fake.descriptor(register::TRANSMIT_RING, index)[STATUS] = 0xff;
    }
    for index in 0..fake.slots(register::RECEIVE_RING) {
        fake.descriptor(register::RECEIVE_RING, index)[STATUS] = 0xff;
    }
    card.flush(at(0));
    for _ in 0..1000 {
        card.receive();
        send(&mut card, &[0; 60]);
        card.flush(at(0));
    }
    assert_eq!(card.failure(), None);
}

#[test]
fn a_device_that_sends_nothing_is_given_up_after_five_seconds() {
    let (mut card, _fake) = card();
    assert!(send(&mut card, &[0; 60]));
    card.flush(at(0));
    let mut now = 0;
    while card.failure().is_none() && now < 20_000 {
        now += 500;
        card.flush(at(now));
    }
    assert_eq!((card.failure(), now), (Some(Fault::Stuck), 5000));
}

#[test]
fn what_is_not_there_is_refused() {
    let fake = Fake::default();
    fake.0.borrow_mut().stays = true;
    assert_eq!(Card::new(fake, 1 << 20).err(), Some(Fault::Refused));
    assert_eq!(Card::new(Fake::default(), 1 << 20).err(), Some(Fault::Refused), "no address");
}
