//! The card against a device that keeps the contract, and against devices that do not.

use lunette_net::smoltcp::{
    phy::{Device, RxToken, TxToken},
    time::Instant,
    wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Address, Ipv4Packet, TcpPacket,
        UdpPacket,
    },
};

use super::*;
use crate::drivers::fake::{Fake, FakeHal};

type Card = Nic<FakeHal, Fake>;

const RX: usize = 0;
const TX: usize = 1;

fn at(millis: i64) -> Instant {
    Instant::from_millis(millis)
}

fn card_with(features: u64, memory: usize) -> (Card, Fake) {
    let fake = Fake::default();
    fake.with(|this| this.offered |= features);
    (Card::new(fake.clone(), memory).unwrap(), fake)
}

fn card() -> (Card, Fake) {
    card_with(0, 1 << 20)
}

/// What the device does when a frame comes in.
fn deliver(fake: &Fake, header: [u8; 12], frame: &[u8]) {
    let (id, mut buffers) = fake.take(RX).expect("a buffer is posted");
    buffers[0][..12].copy_from_slice(&header);
    buffers[0][12..12 + frame.len()].copy_from_slice(frame);
    fake.put(RX, id.into(), 12 + frame.len() as u32);
}

const PLAIN: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

fn received(card: &mut Card) -> Option<Vec<u8>> {
    card.receive(at(0)).map(|(frame, _)| frame.consume(<[u8]>::to_vec))
}

fn send(card: &mut Card, frame: &[u8]) -> bool {
    match card.transmit(at(0)) {
        Some(room) => {
            room.consume(frame.len(), |bytes| bytes.copy_from_slice(frame));
            true
        }
        None => false,
    }
}

#[test]
fn frames_come_and_buffers_stay_posted() {
    let (mut card, fake) = card();
    assert_eq!(card.mac(), [0x52, 0x54, 0, 1, 2, 3]);
    assert_eq!(card.capabilities().max_transmission_unit, 1514);
    for round in 0..2000_u32 {
        let frame = vec![round as u8; 60 + round as usize % 1400];
        deliver(&fake, PLAIN, &frame);
        if round % 3 == 0 {
            deliver(&fake, PLAIN, &[1; 60]);
            assert_eq!(received(&mut card), Some(frame));
            assert_eq!(received(&mut card), Some(vec![1; 60]));
        } else {
            assert_eq!(received(&mut card), Some(frame));
        }
        assert_eq!(received(&mut card), None);
        card.flush(at(round.into()));
    }
    assert_eq!(card.failure(), None);
}

#[test]
fn frames_go_and_the_device_is_told_once() {
    let (mut card, fake) = card();
    for round in 0..1000 {
        for i in 0..10 {
            assert!(send(&mut card, &[i; 100]));
        }
        let before = fake.with(|this| this.notified[TX]);
        card.flush(at(round));
        assert_eq!(fake.with(|this| this.notified[TX]), before + 1, "one notification a batch");
        for i in 0..10 {
            let (id, buffers) = fake.take(TX).expect("a frame");
            assert_eq!(buffers.len(), 1);
            assert_eq!(buffers[0][..12], [0; 12]);
            assert_eq!(buffers[0][12..], [i; 100]);
            fake.put(TX, id.into(), 0);
        }
        card.flush(at(round));
        assert_eq!(fake.with(|this| this.notified[TX]), before + 1, "and none for nothing");
    }
    assert_eq!(card.failure(), None);
    assert!(!fake.may_interrupt(TX) && !fake.may_interrupt(RX));
}

#[test]
fn a_device_that_looks_by_itself_is_not_told() {
    let (mut card, fake) = card();
    fake.suppress(TX, true);
    let before = fake.with(|this| this.notified[TX]);
    for _ in 0..5 {
        assert!(send(&mut card, &[0; 60]));
    }
    card.flush(at(0));
    assert_eq!(fake.with(|this| this.notified[TX]), before);
}

#[test]
fn sending_never_waits_and_room_is_asked_for() {
    let (mut card, fake) = card_with(0, 96 * 1024);
    let mut sent = 0;
    while send(&mut card, &[7; 1514]) {
        sent += 1;
    }
    assert!((8..64).contains(&sent), "a third of the memory: {sent}");
    card.flush(at(0));
    // What comes in may need an answer, so it waits as well.
    deliver(&fake, PLAIN, &[9; 60]);
    assert_eq!(received(&mut card), None);
    assert!(card.listen(true), "there is something to do already");
    assert!(fake.may_interrupt(TX), "and whoever waits for room hears of it");
    let (id, _) = fake.take(TX).unwrap();
    fake.put(TX, id.into(), 0);
    assert!(card.work());
    assert!(card.receive(at(1)).is_some());
    assert!(send(&mut card, &[7; 60]));
    assert!(!send(&mut card, &[7; 60]));
    card.listen(false);
    assert!(!fake.may_interrupt(TX) && !fake.may_interrupt(RX));
}

#[test]
fn a_frame_that_does_not_fit_goes_nowhere() {
    let (mut card, fake) = card();
    assert!(send(&mut card, &[0; 3000]));
    card.flush(at(0));
    assert!(fake.take(TX).is_none());
}

#[test]
fn merged_buffers_are_one_frame() {
    let (mut card, fake) = card_with(feature::MRG_RXBUF, 1 << 20);
    let whole: Vec<u8> = (0..9000_u32).map(|i| (i % 251) as u8).collect();
    for round in 0..300 {
        // In the order in which they were posted; at the end of the memory they do not lie in a row.
        let (mut rest, mut ids) = (&whole[..], Vec::new());
        while !rest.is_empty() {
            let (id, mut buffers) = fake.take(RX).unwrap();
            let skip = if ids.is_empty() { 12 } else { 0 };
            let n = rest.len().min(buffers[0].len() - skip);
            buffers[0][skip..skip + n].copy_from_slice(&rest[..n]);
            if ids.is_empty() {
                buffers[0][..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0]);
            }
            ids.push((id, skip + n));
            rest = &rest[n..];
        }
        assert_eq!(ids.len(), 5);
        for (id, length) in ids {
            fake.put(RX, id.into(), length as u32);
        }
        assert_eq!(received(&mut card).as_deref(), Some(&whole[..]), "round {round}");
        card.flush(at(round));
    }
    assert_eq!(card.failure(), None);
}

/// A TCP segment, summed or not.
fn segment(summed: bool) -> Vec<u8> {
    let mut frame = vec![0; 14 + 20 + 20 + 33];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame);
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
    ethernet.set_dst_addr(EthernetAddress([1; 6]));
    let mut ip = Ipv4Packet::new_unchecked(ethernet.payload_mut());
    ip.set_version(4);
    ip.set_header_len(20);
    ip.set_total_len(73);
    ip.set_next_header(IpProtocol::Tcp);
    let (from, to) = (Ipv4Address::new(10, 0, 2, 15), Ipv4Address::new(10, 0, 2, 2));
    ip.set_src_addr(from);
    ip.set_dst_addr(to);
    ip.fill_checksum();
    let mut tcp = TcpPacket::new_unchecked(ip.payload_mut());
    tcp.set_src_port(80);
    tcp.set_dst_port(4000);
    tcp.set_header_len(20);
    tcp.payload_mut().copy_from_slice(&[0xa5; 33]);
    if summed {
        tcp.fill_checksum(&from.into(), &to.into());
    }
    frame
}

/// What a device does with a partial checksum (virtio 1.3, 5.1.6.2).
fn complete(frame: &mut [u8], header: &[u8]) {
    let field = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let (start, at) = (field(6), field(8));
    let sum = !sum(&frame[start..]);
    frame[start + at..start + at + 2].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn tcp_leaves_with_a_partial_checksum_where_the_device_completes_it() {
    let (mut card, fake) = card_with(feature::CSUM, 1 << 20);
    assert!(!card.capabilities().checksum.tcp.tx() && card.capabilities().checksum.tcp.rx());
    assert!(send(&mut card, &segment(false)));
    let (_, mut buffers) = fake.take(TX).unwrap();
    let (header, frame) = buffers[0].split_at_mut(12);
    assert_eq!(header[0], NEEDS_CHECKSUM);
    complete(frame, header);
    assert_eq!(frame, segment(true));
    // What is no TCP is complete, and whatever a guest sends is no panic.
    for mut other in [segment(true), vec![0; 14], vec![0x45; 60], Vec::new()] {
        if other.len() > 24 {
            other[23] = 17;
        }
        let expected = other.clone();
        assert!(send(&mut card, &other));
        let (_, buffers) = fake.take(TX).unwrap();
        assert_eq!((buffers[0][0], &buffers[0][12..]), (0, &expected[..]));
    }
}

#[test]
fn what_the_device_vouches_for_is_not_summed_and_the_rest_is() {
    let (mut card, fake) = card_with(feature::GUEST_CSUM, 1 << 20);
    assert!(card.capabilities().checksum.tcp.tx() && !card.capabilities().checksum.tcp.rx());
    let vouched = |flags| [flags, 0, 0, 0, 0, 0, 34, 0, 16, 0, 1, 0];
    for (flags, frame, comes) in [
        (0, segment(true), true),
        (0, segment(false), false),
        (DATA_VALID, segment(false), true),
        (NEEDS_CHECKSUM, segment(false), true),
    ] {
        deliver(&fake, vouched(flags), &frame);
        assert_eq!(received(&mut card), comes.then_some(frame), "flags {flags}");
    }
    // A datagram's partial checksum is completed, for the stack sums it as ever.
    let (from, to) = (Ipv4Address::new(10, 0, 2, 15).into(), Ipv4Address::new(10, 0, 2, 2).into());
    let mut frame = segment(false);
    frame[23] = 17;
    let mut udp = UdpPacket::new_unchecked(&mut frame[34..]);
    udp.set_len(53);
    udp.fill_checksum(&from, &to);
    let expected = frame.clone();
    // The pseudo-header's sum, as the sender's kernel leaves it.
    frame[40..42].fill(0);
    let pseudo = !sum(&frame[34..]);
    let full = u16::from_be_bytes([expected[40], expected[41]]);
    let partial = u32::from(full) + u32::from(!pseudo);
    let partial = !(((partial & 0xffff) + (partial >> 16)) as u16);
    frame[40..42].copy_from_slice(&partial.to_be_bytes());
    deliver(&fake, [NEEDS_CHECKSUM, 0, 0, 0, 0, 0, 34, 0, 6, 0, 1, 0], &frame);
    assert_eq!(received(&mut card), Some(expected));
    // Offsets that lead out of the frame.
    for (start, at) in [(0xffff_u16, 0_u16), (34, 0xffff), (86, 1), (87, 0), (88, 0)] {
        let mut header = [NEEDS_CHECKSUM, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        header[6..8].copy_from_slice(&start.to_le_bytes());
        header[8..10].copy_from_slice(&at.to_le_bytes());
        deliver(&fake, header, &frame);
        let _ = received(&mut card);
    }
    assert_eq!(card.failure(), None);
}

/// Shuts the card down, and what follows is quiet.
fn given_up(card: &mut Card, fake: &Fake, fault: Fault) {
    card.flush(at(1));
    assert_eq!(card.failure(), Some(fault));
    assert_eq!(fake.with(|this| this.status), DeviceStatus::empty(), "{fault}");
    let told = fake.with(|this| this.notified);
    assert!(received(card).is_none());
    // What is sent goes nowhere, and nobody waits for room.
    (0..1000).for_each(|_| assert!(send(card, &[0; 60])));
    assert!(!card.listen(true) && !card.work());
    card.flush(at(2));
    assert_eq!(fake.with(|this| this.notified), told);
}

#[test]
fn a_device_that_lies_about_what_it_received_is_shut_down() {
    for (id, length, fault) in [
        (9999, 100, Fault::WildIndex(9999)),
        (256, 100, Fault::WildIndex(256)),
        (0xffff, 100, Fault::WildIndex(0xffff)),
        (3, 2049, Fault::WildLength(2049)),
        (3, u32::MAX, Fault::WildLength(u32::MAX)),
        (3, 11, Fault::WildLength(11)),
        (3, 0, Fault::WildLength(0)),
    ] {
        let (mut card, fake) = card();
        fake.put(RX, id, length);
        assert_eq!(received(&mut card), None);
        given_up(&mut card, &fake, fault);
    }
}

#[test]
fn an_index_that_runs_wild_ends_it() {
    for more in [1, 2, 257, 0x8000, 0xfffe] {
        let (mut card, fake) = card();
        deliver(&fake, PLAIN, &[5; 60]);
        fake.publish(RX, more);
        let mut frames = 0;
        while received(&mut card).is_some() {
            frames += 1;
            assert!(frames < 1000, "it would go on for ever");
        }
        // What the ring held before is nothing: entries of no length, or buffers that it does not have.
        assert!(card.failure().is_some(), "{more}");
    }
    for more in [1, 300, 0xfffe] {
        let (mut card, fake) = card();
        assert!(send(&mut card, &[1; 60]));
        card.flush(at(0));
        let (id, _) = fake.take(TX).unwrap();
        fake.put(TX, id.into(), 0);
        fake.publish(TX, more);
        card.flush(at(1));
        assert!(matches!(card.failure(), Some(Fault::WildIndex(_))), "{more}");
    }
}

#[test]
fn a_frame_in_more_pieces_than_there_are_ends_it() {
    for pieces in [0_u16, 2, 35, 0xffff] {
        let (mut card, fake) = card_with(feature::MRG_RXBUF, 1 << 20);
        let mut header = PLAIN;
        header[10..].copy_from_slice(&pieces.to_le_bytes());
        deliver(&fake, header, &[1; 100]);
        assert_eq!(received(&mut card), None);
        given_up(&mut card, &fake, Fault::WildPieces(pieces));
    }
}

#[test]
fn what_was_sent_comes_back_once() {
    let (mut card, fake) = card();
    assert!(send(&mut card, &[1; 60]));
    let (id, _) = fake.take(TX).unwrap();
    fake.put(TX, id.into(), 0);
    fake.put(TX, id.into(), 0);
    given_up(&mut card, &fake, Fault::WildIndex(id));
}

#[test]
fn a_device_that_takes_nothing_is_given_up_after_five_seconds() {
    let (mut card, fake) = card();
    assert!(send(&mut card, &[1; 60]));
    card.flush(at(1000));
    assert!(card.flush_at(at(1000)).is_some());
    // A VM that was paused looks once, however long ago the last look was.
    card.flush(at(3_600_000));
    assert_eq!(card.failure(), None);
    for i in 1..9 {
        card.flush(at(3_600_000 + 500 * i));
        assert_eq!(card.failure(), None, "{i}");
    }
    card.flush(at(3_605_000));
    given_up(&mut card, &fake, Fault::Stuck);
    assert_eq!(card.flush_at(at(9_000_000)), None);
}

#[test]
fn a_device_that_is_slow_is_not() {
    let (mut card, fake) = card();
    for second in 0..20 {
        assert!(send(&mut card, &[1; 60]));
        card.flush(at(second * 4000));
        for i in 1..8 {
            card.flush(at(second * 4000 + i * 500));
        }
        while let Some((id, _)) = fake.take(TX) {
            fake.put(TX, id.into(), 0);
        }
    }
    card.flush(at(1_000_000));
    assert_eq!((card.failure(), card.flush_at(at(0))), (None, None));
}

#[test]
fn a_device_that_cannot_be_used_is_refused() {
    let refused = |change: fn(&mut crate::drivers::fake::Registers)| {
        let fake = Fake::default();
        fake.with(change);
        let fault = Card::new(fake.clone(), 1 << 20).err();
        assert_eq!(fake.with(|this| this.status), DeviceStatus::FAILED);
        fault
    };
    assert_eq!(refused(|this| this.refuses = true), Some(Fault::Refused));
    assert_eq!(refused(|this| this.offered = feature::MAC), Some(Fault::TooOld));
    assert_eq!(refused(|this| this.max_queue = 64), Some(Fault::Queues));
    assert_eq!(refused(|this| this.max_queue = 0), Some(Fault::Queues));
    assert_eq!(refused(|this| this.config.clear()), Some(Fault::Refused));
}

#[test]
fn what_is_offered_is_agreed_on_and_nothing_else() {
    let accepted = |offered| card_with(offered, 1 << 20).1.with(|this| this.accepted);
    let always = feature::VERSION_1 | feature::MAC;
    assert_eq!(accepted(0), always);
    assert_eq!(accepted(feature::GUEST_TSO4 | feature::GUEST_CSUM), always | feature::GUEST_CSUM);
    let large = feature::GUEST_TSO4 | feature::GUEST_TSO6 | feature::GUEST_CSUM | feature::MRG_RXBUF;
    assert_eq!(accepted(large), always | large);
    let (card, fake) = card_with(!(feature::MTU | feature::STATUS), 1 << 20);
    assert_eq!(fake.with(|this| this.accepted), always | large | feature::CSUM);
    drop(card);
    let (card, fake) = card_with(feature::MTU | feature::STATUS, 1 << 20);
    assert_eq!(card.capabilities().max_transmission_unit, 14 + 1500);
    assert!(card.link_is_up());
    fake.with(|this| this.config[6] = 0);
    assert!(!card.link_is_up());
}
