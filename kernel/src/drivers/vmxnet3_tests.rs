//! The card against a device that keeps the contract, and against others.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use super::*;
use crate::drivers::fake::{FakeHal, received, send};

type Card = Vmxnet3<FakeHal, Fake>;

#[derive(Default)]
struct Device {
    values: BTreeMap<u32, u32>,
    /// What commands were given, and what the last one is answered.
    commands: Vec<u32>,
    refuses: bool,
    transmit_told: usize,
    rx: Side,
    tx: Side,
}

/// How far the device has come in a ring and in its completions.
#[derive(Clone, Copy)]
struct Side {
    index: usize,
    turn: bool,
    completion: usize,
    odd: bool,
}

impl Default for Side {
    fn default() -> Self {
        Self { index: 0, turn: true, completion: 0, odd: true }
    }
}

/// Both regions of registers (their offsets differ). Clones are the same ones.
#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Device>>);

impl Registers for Fake {
    fn read(&mut self, at: u32) -> u32 {
        let device = self.0.borrow();
        match (at, device.commands.last()) {
            (slow::COMMAND, Some(&command::MAC_LOW)) => 0x0100_5452,
            (slow::COMMAND, Some(&command::MAC_HIGH)) => 0x0302,
            (slow::COMMAND, Some(&command::LINK)) => 10_000 << 16 | 1,
            (slow::COMMAND, Some(&command::ACTIVATE)) => u32::from(device.refuses),
            _ => device.values.get(&at).copied().unwrap_or(0),
        }
    }

    fn write(&mut self, at: u32, value: u32) {
        let mut device = self.0.borrow_mut();
        if at == slow::COMMAND {
            device.commands.push(value);
        }
        device.transmit_told += usize::from(at == fast::TRANSMIT);
        device.values.insert(at, value);
    }
}

fn bytes(at: u64, length: usize) -> &'static mut [u8] {
    // SAFETY: addresses that the driver gave, used while it holds no reference to them (one thread).
    unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(at as usize), length) }
}

fn word(at: u64) -> u32 {
    u32::from_le_bytes(bytes(at, 4).try_into().unwrap())
}

fn wide(at: u64) -> u64 {
    u64::from_le_bytes(bytes(at, 8).try_into().unwrap())
}

impl Fake {
    fn queue(&self, offset: u64) -> u64 {
        let device = self.0.borrow();
        let shared =
            u64::from(device.values[&slow::SHARED_LOW]) | u64::from(device.values[&slow::SHARED_HIGH]) << 32;
        wide(shared + 40) + offset
    }

    /// The next descriptor, if it is the device's turn: its address, length and last word.
    fn next(&self, queue: u64, side: &mut Side, turn: u32) -> Option<(usize, u64, u32, u32)> {
        let at = wide(queue + 16) + 16 * side.index as u64;
        let third = word(at + 8);
        if (third & turn != 0) != side.turn {
            return None;
        }
        let found = (side.index, wide(at), third & LENGTH, word(at + 12));
        side.index += 1;
        if side.index == word(queue + 56) as usize {
            (side.index, side.turn) = (0, !side.turn);
        }
        Some(found)
    }

    fn complete(queue: u64, side: &mut Side, first: u32, third: u32) {
        let at = wide(queue + 32) + 16 * side.completion as u64;
        bytes(at, 4).copy_from_slice(&first.to_le_bytes());
        bytes(at + 8, 4).copy_from_slice(&third.to_le_bytes());
        bytes(at + 12, 4).copy_from_slice(&(if side.odd { TURN } else { 0 }).to_le_bytes());
        side.completion += 1;
        if side.completion == word(queue + 64) as usize {
            (side.completion, side.odd) = (0, !side.odd);
        }
    }

    /// Passes so many descriptors over, and completes the next as it is told.
    fn deliver_as(&self, frame: &[u8], skip: usize, change: impl FnOnce(&mut u32, &mut u32)) -> bool {
        let (queue, mut side) = (self.queue(256), self.0.borrow().rx);
        for _ in 0..skip {
            self.next(queue, &mut side, TURN).expect("a buffer is posted");
        }
        let Some((index, at, length, _)) = self.next(queue, &mut side, TURN) else { return false };
        assert!(frame.len() <= length as usize);
        bytes(at, frame.len()).copy_from_slice(frame);
        let (mut first, mut third) = (index as u32 | WHOLE, frame.len() as u32);
        change(&mut first, &mut third);
        Self::complete(queue, &mut side, first, third);
        self.0.borrow_mut().rx = side;
        true
    }

    fn deliver(&self, frame: &[u8]) -> bool {
        self.deliver_as(frame, 0, |_, _| {})
    }

    /// Takes the next frame that is to go, and says that it went.
    fn take(&self) -> Option<Vec<u8>> {
        let (queue, mut side) = (self.queue(0), self.0.borrow().tx);
        let (index, at, length, fourth) = self.next(queue, &mut side, TURN_TO_SEND)?;
        assert_eq!(fourth, SEND);
        Self::complete(queue, &mut side, index as u32, 0);
        self.0.borrow_mut().tx = side;
        Some(bytes(at, length as usize).to_vec())
    }
}

fn at(millis: i64) -> Instant {
    Instant::from_millis(millis)
}

fn device() -> Fake {
    let fake = Fake::default();
    fake.0.borrow_mut().values.extend([(slow::REVISION, 7), (slow::UPT_VERSION, 1)]);
    fake
}

fn card() -> (Card, Fake) {
    let fake = device();
    (Card::new(fake.clone(), fake.clone(), 192 * 1024).unwrap(), fake)
}

#[test]
fn the_device_is_told_what_it_needs() {
    let (card, fake) = card();
    assert_eq!((card.mac(), card.link_is_up()), ([0x52, 0x54, 0, 1, 2, 3], true));
    let device = fake.0.borrow();
    let shared =
        u64::from(device.values[&slow::SHARED_LOW]) | u64::from(device.values[&slow::SHARED_HIGH]) << 32;
    assert_eq!(word(shared), 3_133_079_265);
    // One queue each way, one interrupt, a receive mode; rings of a multiple of 32, at multiples of 512.
    assert_eq!((bytes(shared + 62, 2), bytes(shared + 81, 1)), (&mut [1, 1][..], &mut [1][..]));
    assert_eq!((word(shared + 120), word(shared + 52), word(shared + 56)), (15, 512, 1500));
    let queues = wide(shared + 40);
    assert_eq!(queues % 128, 0);
    for (ring, size) in [(16, 56), (32, 64), (256 + 16, 256 + 56), (256 + 24, 256 + 60), (256 + 32, 256 + 64)]
    {
        assert_eq!(wide(queues + ring) % 512, 0);
        let size = word(queues + size);
        assert!(size >= 32 && size.is_multiple_of(32));
    }
    assert_eq!(device.commands[0], command::RESET);
    assert!(device.commands.ends_with(&[command::ACTIVATE, command::RECEIVE_MODE]));
    assert_eq!(device.values[&fast::MASK], 0);
}

#[test]
fn frames_come_and_buffers_stay_posted() {
    let (mut card, fake) = card();
    for round in 0..2000_usize {
        let frame = vec![round as u8; 60 + round % 1400];
        // Now and then some are passed over, and one is bad.
        assert!(fake.deliver_as(&frame, round % 5, |_, _| {}) && card.work());
        if round % 3 == 0 {
            assert!(fake.deliver_as(&[2; 60], 0, |_, third| *third |= BAD));
            assert!(fake.deliver(&[1; 60]));
            assert_eq!(received(&mut card), Some(frame));
            assert_eq!(received(&mut card), Some(vec![1; 60]));
        } else {
            assert_eq!(received(&mut card), Some(frame));
        }
        assert_eq!(received(&mut card), None);
        card.flush(at(round as i64));
    }
    let mut count = 0;
    while fake.deliver(&[count; 70]) {
        count += 1;
    }
    assert_eq!(count, 63, "all that there are but one");
    for i in 0..count {
        assert_eq!(received(&mut card), Some(vec![i; 70]));
    }
    assert_eq!((received(&mut card), card.failure()), (None, None));
}

#[test]
fn frames_go_and_the_device_is_told_once() {
    let (mut card, fake) = card();
    for round in 0..500 {
        let before = fake.0.borrow().transmit_told;
        for i in 0..10_u8 {
            assert!(send(&mut card, &[i; 100]));
        }
        card.flush(at(round));
        assert_eq!(fake.0.borrow().transmit_told, before + 1);
        for i in 0..10 {
            assert_eq!(fake.take(), Some(vec![i; 100]));
        }
        card.flush(at(round));
        assert_eq!(fake.0.borrow().transmit_told, before + 1);
    }
    let mut sent = 0;
    while send(&mut card, &[7; 1514]) {
        sent += 1;
    }
    assert_eq!(sent, 31);
    card.flush(at(0));
    assert!(!card.listen(true));
    fake.take().unwrap();
    assert!(card.work() && send(&mut card, &[7; 60]) && !send(&mut card, &[7; 60]));
    assert_eq!(card.failure(), None);
}

#[test]
fn lies_are_the_end_of_the_card_and_of_nothing_else() {
    type Lie = fn(&mut u32, &mut u32);
    let lies: [(Lie, Fault); 6] = [
        (|first, _| *first = 4095 | WHOLE, Fault::WildIndex(4095)),
        (|first, _| *first = 63 | WHOLE, Fault::WildIndex(63)),
        (|first, _| *first |= 1 << 16, Fault::WildIndex(0)),
        (|_, third| *third = 2049, Fault::WildLength(2049)),
        (|_, third| *third = u32::MAX, Fault::WildLength(0x3fff)),
        (|first, _| *first &= !(1 << 14), Fault::WildPieces(2)),
    ];
    for (lie, fault) in lies {
        let (mut card, fake) = card();
        assert!(fake.deliver_as(&[0; 60], 0, lie));
        assert_eq!((received(&mut card), card.failure()), (None, Some(fault)));
        assert!(fake.0.borrow().commands.ends_with(&[command::QUIESCE, command::RESET]));
        assert!(!card.work() && !card.listen(true) && card.flush_at(at(0)).is_none());
        assert!(card.has_room() && card.buffer(60).is_none() && card.receive().is_none());
        card.flush(at(1));
    }
    let (mut card, fake) = card();
    assert!(send(&mut card, &[0; 60]) && send(&mut card, &[0; 60]));
    card.flush(at(0));
    let mut side = Side::default();
    Fake::complete(fake.queue(0), &mut side, 1, 0);
    card.flush(at(1));
    assert_eq!(card.failure(), Some(Fault::WildIndex(1)), "not in their order");
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
    let refused = |fake: Fake| Card::new(fake.clone(), fake, 1 << 20).err();
    assert_eq!(refused(Fake::default()), Some(Fault::Refused));
    let fake = device();
    fake.0.borrow_mut().values.insert(slow::REVISION, u32::MAX);
    assert_eq!(refused(fake), Some(Fault::Refused));
    let fake = device();
    fake.0.borrow_mut().refuses = true;
    assert_eq!(refused(fake), Some(Fault::Refused));
}
