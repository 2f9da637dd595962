//! The card against a backend that keeps the contract, and against others.

use super::*;
use crate::drivers::{
    fake::{received, send},
    xen::fake::{Backend, Daemon, Fake, LowHal, bytes, frame_at, page},
};

type Card = Netfront<LowHal, Fake>;

fn at(millis: i64) -> Instant {
    Instant::from_millis(millis)
}

const TREE: [(&str, &str); 5] = [
    ("device/vif/0/backend", "/b"),
    ("device/vif/0/backend-id", "3"),
    ("device/vif/0/mac", "00:16:3e:01:02:ff"),
    ("device/vif/0/state", "1"),
    ("/b/state", "2"),
];

/// The backend's side: its rings, and what was granted to it.
struct Other {
    fake: Fake,
    table: NonNull<u8>,
    rx: Backend<8>,
    tx: Backend<12>,
}

fn tree_with(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut tree: Vec<_> = TREE.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    for (path, value) in changes {
        tree.retain(|(known, _)| known != path);
        if !value.is_empty() {
            tree.push(((*path).to_owned(), (*value).to_owned()));
        }
    }
    tree
}

fn try_card(
    changes: &[(&str, &str)],
    reacts: bool,
) -> (Result<Card, Missing>, Store<Fake>, NonNull<u8>, Fake) {
    let (fake, store_page, table) = (Fake::default(), page(), page());
    let tree = tree_with(changes);
    let tree: Vec<_> = tree.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let mut daemon = Daemon::new(store_page, &tree);
    daemon.step = 4096;
    if reacts {
        daemon.reactions.push(("device/vif/0/state".into(), "/b/state".into(), "4".into()));
    }
    fake.0.borrow_mut().store = Some(daemon);
    // SAFETY: pages of the test's own.
    let (mut store, mut grants) = unsafe { (Store::new(fake.clone(), store_page, 2), Grants::new(table)) };
    let card = Card::new(&mut store, &mut grants, 96 * 1024, 2);
    (card, store, table, fake)
}

fn written(fake: &Fake, key: &str) -> String {
    let world = fake.0.borrow();
    let daemon = world.store.as_ref().unwrap();
    daemon.tree.get(&format!("device/vif/0/{key}")).cloned().unwrap_or_default()
}

/// A page that was granted to domain 3, and whether it may be written to.
fn granted(table: NonNull<u8>, reference: u32) -> (NonNull<u8>, bool) {
    let entry = bytes(table, 8 * reference as usize, 8);
    assert_eq!((entry[0] & 1, entry[2], entry[3]), (1, 3, 0), "granted, to the backend's domain");
    let frame = u32::from_le_bytes(entry[4..].try_into().unwrap());
    (frame_at(frame), entry[0] & 4 == 0)
}

fn card() -> (Card, Other, Store<Fake>) {
    let (card, store, table, fake) = try_card(&[], true);
    let card = card.unwrap();
    assert_eq!(written(&fake, "state"), "4");
    assert_eq!(written(&fake, "event-channel"), "5");
    assert_eq!(written(&fake, "request-rx-copy"), "1");
    let ring = |key: &str| {
        let (at, writable) = granted(table, written(&fake, key).parse().unwrap());
        assert!(writable);
        at
    };
    let (rx, tx) = (Backend::new(ring("rx-ring-ref")), Backend::new(ring("tx-ring-ref")));
    (card, Other { fake, table, rx, tx }, store)
}

impl Other {
    fn deliver(&mut self, frame: &[u8], offset: usize) {
        let request = self.rx.next().expect("a buffer is posted");
        let reference = u32::from_le_bytes(request[4..].try_into().unwrap());
        let (at, writable) = granted(self.table, reference);
        assert!(writable);
        // SAFETY: a page of the card's, which it gave us.
        unsafe { core::slice::from_raw_parts_mut(at.add(offset).as_ptr(), frame.len()) }
            .copy_from_slice(frame);
        self.rx_answer([request[0], request[1]], offset as u16, 0, frame.len() as i16);
    }

    fn rx_answer(&mut self, id: [u8; 2], offset: u16, flags: u16, status: i16) -> bool {
        let mut response = [0; 8];
        response[..2].copy_from_slice(&id);
        response[2..4].copy_from_slice(&offset.to_le_bytes());
        response[4..6].copy_from_slice(&flags.to_le_bytes());
        response[6..].copy_from_slice(&status.to_le_bytes());
        self.rx.answer(response)
    }

    /// The next frame that was sent, and its identifier.
    fn take(&mut self) -> Option<([u8; 2], Vec<u8>)> {
        let request = self.tx.next()?;
        let short = |at: usize| usize::from(u16::from_le_bytes([request[at], request[at + 1]]));
        let reference = u32::from_le_bytes(request[..4].try_into().unwrap());
        let (page, writable) = granted(self.table, reference);
        assert!(!writable, "what is sent is nobody's to change");
        assert_eq!(short(6), 0);
        assert!(short(4) + short(10) <= PAGE);
        Some(([request[8], request[9]], bytes(page, short(4), short(10))))
    }

    fn sent(&mut self, id: [u8; 2]) -> bool {
        let mut response = [0; 12];
        response[..2].copy_from_slice(&id);
        self.tx.answer(response)
    }
}

#[test]
fn frames_come_and_buffers_stay_posted() {
    let (mut card, mut other, _) = card();
    assert_eq!(card.mac(), [0, 0x16, 0x3e, 1, 2, 0xff]);
    for round in 0..2000_usize {
        let frame = vec![round as u8; 60 + round % 1400];
        other.deliver(&frame, round % 64);
        assert!(card.work());
        assert_eq!(received(&mut card), Some(frame));
        assert_eq!(received(&mut card), None);
        card.flush(at(round as i64));
    }
    assert_eq!(card.failure(), None);
}

#[test]
fn frames_go_and_the_backend_is_told_once() {
    let (mut card, mut other, _) = card();
    for round in 0..500 {
        let before = other.fake.0.borrow().notified.len();
        for i in 0..10_u8 {
            assert!(send(&mut card, &[i; 100]));
        }
        card.flush(at(round));
        assert_eq!(other.fake.0.borrow().notified[before..], [5], "once a batch");
        for i in 0..10 {
            let (id, frame) = other.take().expect("a frame");
            assert_eq!(frame, [i; 100]);
            other.sent(id);
        }
        card.flush(at(round));
        assert_eq!(other.fake.0.borrow().notified.len(), before + 1, "and not for nothing");
    }
    assert_eq!(card.failure(), None);
    // A frame that does not fit goes nowhere.
    assert!(send(&mut card, &[0; 1515]));
    card.flush(at(0));
    assert!(other.take().is_none());
}

#[test]
fn sending_never_waits_and_room_is_asked_for() {
    let (mut card, mut other, _) = card();
    let mut sent = 0;
    while send(&mut card, &[7; 1514]) {
        sent += 1;
    }
    assert_eq!(sent, 16, "a third of the memory");
    card.flush(at(0));
    assert!(!card.listen(true));
    let (id, _) = other.take().unwrap();
    assert!(other.sent(id), "whoever waits for room hears of it");
    assert!(card.work() && card.has_room());
    assert!(send(&mut card, &[7; 60]) && !send(&mut card, &[7; 60]));
    card.listen(false);
    card.flush(at(1));
    let (id, _) = other.take().unwrap();
    assert!(!other.sent(id));
}

#[test]
fn only_who_listens_is_notified_of_frames() {
    let (mut card, mut other, _) = card();
    card.listen(false);
    let request = other.rx.next().unwrap();
    assert!(!other.rx_answer([request[0], request[1]], 0, 0, 60));
    assert!(received(&mut card).is_some());
    card.flush(at(0));
    assert!(!card.listen(true));
    let request = other.rx.next().unwrap();
    assert!(other.rx_answer([request[0], request[1]], 0, 0, 60));
    assert!(card.listen(true), "there is something to do already");
}

#[test]
fn a_frame_that_could_not_be_brought_is_passed_over() {
    let (mut card, mut other, _) = card();
    for _ in 0..300 {
        let request = other.rx.next().unwrap();
        other.rx_answer([request[0], request[1]], 0, 0, -1);
        let request = other.rx.next().unwrap();
        other.rx_answer([request[0], request[1]], 0, 0, 0);
        other.deliver(&[1; 60], 0);
        assert_eq!(received(&mut card), Some(vec![1; 60]));
        card.flush(at(0));
    }
    assert_eq!(card.failure(), None);
}

#[test]
fn lies_are_the_end_of_the_card_and_of_nothing_else() {
    type Lie = fn(&mut Other);
    let lies: [(Lie, Fault); 9] = [
        (|other| _ = other.rx_answer([200, 0], 0, 0, 60), Fault::WildIndex(200)),
        (|other| _ = other.rx_answer([0xff, 0xff], 0, 0, 60), Fault::WildIndex(0xffff)),
        (
            |other| {
                let id = other.rx.next().unwrap();
                other.rx_answer([id[0], id[1]], 0, 0, 60);
                other.rx_answer([id[0], id[1]], 0, 0, 60);
            },
            Fault::WildIndex(0),
        ),
        (|other| _ = other.rx_answer([0, 0], 0, 0, 4097), Fault::WildLength(4097)),
        (|other| _ = other.rx_answer([0, 0], 4095, 0, 2), Fault::WildLength(4097)),
        (|other| _ = other.rx_answer([0, 0], 0xffff, 0, i16::MAX), Fault::WildLength(65535 + 32767)),
        (|other| _ = other.rx_answer([0, 0], 0, 4, 60), Fault::WildPieces(2)),
        (|other| other.rx.claim(u32::MAX), Fault::WildIndex(0xffff)),
        (|other| _ = other.sent([3, 0]), Fault::WildIndex(1)),
    ];
    for (i, (lie, fault)) in lies.into_iter().enumerate() {
        let (mut card, mut other, _) = card();
        lie(&mut other);
        while received(&mut card).is_some() {}
        card.flush(at(0));
        assert_eq!(card.failure(), Some(fault), "lie {i}");
        // From now on it is silent.
        assert!(!card.work() && !card.listen(true) && card.flush_at(at(0)).is_none());
        assert!(card.has_room() && card.buffer(60).is_none() && card.receive().is_none());
        card.flush(at(1));
    }
    // A response to a frame that was sent, twice.
    let (mut card, mut other, _) = card();
    assert!(send(&mut card, &[0; 60]) && send(&mut card, &[0; 60]));
    card.flush(at(0));
    let (id, _) = other.take().unwrap();
    other.sent(id);
    other.sent(id);
    card.flush(at(1));
    assert!(matches!(card.failure(), Some(Fault::WildIndex(_))));
}

#[test]
fn a_backend_that_takes_nothing_is_given_up_after_five_seconds() {
    let (mut card, _other, _) = card();
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
fn a_backend_that_goes_away_is_heard_of() {
    let (mut card, other, mut store) = card();
    store.fired();
    other.fake.0.borrow_mut().store.as_mut().unwrap().set("/b/state", "5");
    other.fake.pause();
    assert_eq!(store.fired(), 1 << 2);
    card.look_at_backend(&mut store);
    assert_eq!(card.failure(), Some(Fault::Closed));
    assert_eq!(written(&other.fake, "state"), "6");
}

#[test]
fn what_does_not_come_up_says_why() {
    let why = |changes: &[(&str, &str)], reacts| try_card(changes, reacts).0.err();
    assert_eq!(why(&[("device/vif/0/backend", "")], true), Some(Missing::NotThere));
    for (path, value) in [
        ("device/vif/0/backend-id", ""),
        ("device/vif/0/backend-id", "70000"),
        ("device/vif/0/backend-id", "13"),
        ("device/vif/0/mac", "00:16:3e:01:02"),
        ("device/vif/0/mac", "01:16:3e:01:02:03"),
        ("device/vif/0/mac", "00:16:3e:01:02:03:04"),
        ("device/vif/0/mac", "zz:16:3e:01:02:03"),
    ] {
        assert_eq!(why(&[(path, value)], true), Some(Fault::Refused.into()), "{path} = {value}");
    }
    assert_eq!(why(&[("/b/state", "")], true), Some(Fault::Closed.into()));
    assert_eq!(why(&[("/b/state", "6")], true), Some(Fault::Closed.into()));
    assert_eq!(why(&[("/b/state", "1")], true), Some(Fault::NotReady.into()));
    assert_eq!(why(&[], false), Some(Fault::NotReady.into()), "it never connects");
}
