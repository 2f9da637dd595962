//! A whole stack in the hands of a fuzzer: frames, time, and what guests do. For `cargo fuzz run frames`, and for
//! `tests/frames.rs`, which needs no fuzzer.
//!
//! The bytes are a list of steps. Most frames are made from what the stack itself sent: turned around into the answer
//! that a peer would give, then changed here and there, with checksums that are right again; so a fuzzer gets
//! beyond the first look.
//!
//! What must hold: no panic; no call to `poll` after call without time going on; never more memory than was granted,
//! and all of it back when nobody holds anything; a lookup is answered in time.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    task::Waker,
};

use lunette_hostcalls::{
    Clock, Errno, Interest, Log, Lookup, Nanos, Net, Shutdown, TcpListener, TcpStream, UdpSocket,
    fake::{FakeClock, FakeRandom},
};
use lunette_net::{
    Config, Stack, V4, V6,
    smoltcp::{
        phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken},
        time::Instant,
    },
};

/// What the stack may take.
const MEMORY: usize = 1 << 20;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const MAX_STEPS: usize = 2000;
const MAX_HELD: usize = 64;
const MS: Nanos = 1_000_000;
const SECOND: Nanos = 1000 * MS;

/// Runs the steps that the bytes are.
pub fn run(bytes: &[u8]) {
    let mut steps = Bytes(bytes);
    let mut game = Game::new(steps.byte());
    for _ in 0..MAX_STEPS {
        if steps.0.is_empty() {
            break;
        }
        game.step(&mut steps);
        game.settle();
    }
    game.end();
}

/// Bytes to decide by; zeros when there are no more.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> Option<&'t T> {
        let at = usize::from(self.byte());
        from.get(at.checked_rem(from.len())?)
    }
}

#[derive(Clone, Default)]
struct Card(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    inbox: VecDeque<Vec<u8>>,
    /// What the stack sent last.
    sent: VecDeque<Vec<u8>>,
    full: bool,
}

impl Device for Card {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Card;

    fn receive(&mut self, _: Instant) -> Option<(Frame, Card)> {
        let frame = self.0.lock().unwrap().inbox.pop_front()?;
        Some((Frame(frame), self.clone()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Card> {
        (!self.0.lock().unwrap().full).then(|| self.clone())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Frame(Vec<u8>);

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Card {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        assert!(len <= 1514, "a frame of {len} bytes");
        let mut ends = self.0.lock().unwrap();
        ends.sent.push_back(frame);
        if ends.sent.len() > 16 {
            ends.sent.pop_front();
        }
        result
    }
}

struct NoLog;

impl Log for NoLog {
    fn warn(&self, _: std::fmt::Arguments<'_>) {}
}

struct Game {
    card: Card,
    clock: Arc<FakeClock>,
    stack: Arc<Stack<Card>>,
    listeners: Vec<Arc<dyn TcpListener>>,
    streams: Vec<Arc<dyn TcpStream>>,
    sockets: Vec<Arc<dyn UdpSocket>>,
    lookups: Vec<(Arc<dyn Lookup>, Nanos)>,
}

impl Game {
    fn new(how: u8) -> Self {
        let (card, clock) = (Card::default(), Arc::new(FakeClock::new(SECOND, None)));
        let config = Config {
            mac: MAC,
            ipv4: match how & 1 {
                0 => V4::Static { address: (OWN, 24), gateway: Some(PEER) },
                _ => V4::Dhcp,
            },
            ipv6: match how & 2 {
                0 => V6::Auto,
                _ => V6::Static { address: ([0xfd00, 0, 0, 0, 0, 0, 0, 2].into(), 64), gateway: None },
            },
            dns: vec![IpAddr::V4(PEER)],
            memory: MEMORY,
            ..Config::default()
        };
        let random = Arc::new(FakeRandom::new(how.into()));
        let stack = Stack::new(card.clone(), config, clock.clone(), random, Arc::new(NoLog));
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let listeners = [("[::]:80", 8), ("0.0.0.0:81", 1)].map(|(text, most)| stack.listen(at(text), most));
        let listeners = listeners.into_iter().map(Result::unwrap).collect();
        let sockets = vec![stack.bind(at("[::]:5000")).unwrap()];
        let (streams, lookups) = (Vec::new(), Vec::new());
        let game = Self { card, clock, stack, listeners, streams, sockets, lookups };
        game.settle();
        game
    }

    /// Lets the stack do what it has to do now.
    fn settle(&self) {
        for _ in 0..2000 {
            let due = self.stack.poll();
            assert!(self.stack.memory_used() <= MEMORY);
            if due.is_none_or(|at| at > self.clock.monotonic()) {
                return;
            }
        }
        panic!("polled and polled, and no time passes");
    }

    /// Lets time pass, with a turn of the stack whenever it asks for one.
    fn pass(&self, time: Nanos) {
        let until = self.clock.monotonic() + time;
        for _ in 0..100_000 {
            self.settle();
            let now = self.clock.monotonic();
            let next = self.stack.poll().unwrap_or(until).clamp(now, until);
            if now == until {
                return;
            }
            self.clock.advance((next - now).max(1000).min(until - now));
        }
        panic!("a hundred thousand turns in {} s", time / SECOND);
    }

    fn receive(&self, mut frame: Vec<u8>) {
        frame.truncate(1514);
        self.card.0.lock().unwrap().inbox.push_back(frame);
    }

    fn step(&mut self, steps: &mut Bytes<'_>) {
        match steps.byte() % 16 {
            0 => {
                let length = usize::from(steps.byte()) * 6;
                self.receive(steps.take(length).to_vec());
            }
            1..=5 => {
                let sent = self.card.0.lock().unwrap().sent.make_contiguous().to_vec();
                // The newest first.
                let back = usize::from(steps.byte() % 4);
                let frame = sent.iter().rev().nth(back).and_then(|frame| turned(frame, steps));
                self.receive(frame.unwrap_or_default());
            }
            6 => self.receive(opening(steps)),
            7 => {
                let time = MS << (steps.byte() % 16);
                self.pass(time);
            }
            8 => {
                let mut ends = self.card.0.lock().unwrap();
                ends.full = !ends.full && steps.byte().is_multiple_of(4);
            }
            _ => self.guest(steps),
        }
    }

    fn guest(&mut self, steps: &mut Bytes<'_>) {
        let mut buf = [0; 3000];
        match steps.byte() % 16 {
            0 | 1 => {
                if let Some(Ok((stream, _))) = steps.pick(&self.listeners).map(|listener| listener.accept()) {
                    self.streams.push(stream);
                }
            }
            2 | 3 => {
                let length = usize::from(steps.word() % 3000);
                if let Some(stream) = steps.pick(&self.streams) {
                    let _ = stream.read(&mut buf[..length]);
                    let _ = stream.peek(&mut buf[..1]);
                }
            }
            4 | 5 => {
                let length = usize::from(steps.word() % 3000);
                if let Some(stream) = steps.pick(&self.streams) {
                    let wrote = stream.write(&buf[..length]);
                    assert!(wrote.is_err() || wrote.is_ok_and(|wrote| wrote > 0 || length == 0));
                }
            }
            6 => {
                let how = [Shutdown::Read, Shutdown::Write, Shutdown::Both][usize::from(steps.byte() % 3)];
                if let Some(stream) = steps.pick(&self.streams) {
                    let _ = stream.shutdown(how);
                }
            }
            7 => {
                if let Some(stream) = steps.pick(&self.streams) {
                    stream.abort();
                }
            }
            8 => {
                if !self.streams.is_empty() {
                    let at = usize::from(steps.byte()) % self.streams.len();
                    self.streams.swap_remove(at);
                }
            }
            9 => {
                let ip = if steps.byte().is_multiple_of(2) {
                    IpAddr::V4(PEER)
                } else {
                    "fd00::1".parse().unwrap()
                };
                self.streams.extend(self.stack.connect(SocketAddr::new(ip, 7)));
            }
            10 | 11 => {
                let name = ["a.test", "b.test", "c.d.test", "localhost"][usize::from(steps.byte() % 4)];
                let asked = self.stack.resolve(name).map(|lookup| (lookup, self.clock.monotonic()));
                self.lookups.extend(asked);
            }
            12 => {
                if let Some(socket) = steps.pick(&self.sockets) {
                    while socket.recv_from(&mut buf).is_ok() {}
                    let _ = socket.send_to(&buf[..usize::from(steps.word() % 2000)], (PEER, 9).into());
                }
            }
            13 => {
                let keep_alive = (steps.byte().is_multiple_of(2)).then(|| SECOND * u64::from(steps.byte()));
                if let Some(stream) = steps.pick(&self.streams) {
                    stream.set_keep_alive(keep_alive);
                    stream.set_nodelay(steps.byte().is_multiple_of(2));
                }
            }
            14 => {
                for stream in &self.streams {
                    for interest in [Interest::Read, Interest::Write] {
                        stream.register(interest, Waker::noop());
                        let _ = stream.ready(interest);
                    }
                }
            }
            _ => {
                let port = 80 + steps.word() % 4;
                self.sockets.extend(self.stack.bind(SocketAddr::from(([0, 0, 0, 0], port))));
                self.listeners.extend(self.stack.listen(SocketAddr::from(([0; 16], port)), 3));
            }
        }
        self.streams.truncate(MAX_HELD);
        self.sockets.truncate(MAX_HELD);
        self.listeners.truncate(MAX_HELD);
        self.lookups.truncate(MAX_HELD);
    }

    /// Everybody goes home.
    fn end(mut self) {
        self.card.0.lock().unwrap().full = false;
        self.pass(11 * SECOND);
        for (lookup, since) in &self.lookups {
            assert_ne!(
                lookup.addresses(),
                Err(Errno::Again),
                "asked {} s ago",
                (self.clock.monotonic() - since) / SECOND
            );
        }
        self.streams.clear();
        self.sockets.clear();
        self.lookups.clear();
        self.listeners.clear();
        self.pass(900 * SECOND);
        let left = self.stack.memory_used();
        assert!(left <= 8 * 1024, "{left} bytes are held for nobody");
    }
}

/// The answer that a peer would give to a frame, more or less.
fn turned(frame: &[u8], steps: &mut Bytes<'_>) -> Option<Vec<u8>> {
    let mut answer = frame.to_vec();
    answer.get_mut(..14)?;
    answer[..6].copy_from_slice(&MAC);
    answer[6..12].copy_from_slice(&PEER_MAC);
    match (frame[12], frame[13]) {
        (0x08, 0x06) => turn_arp(&mut answer)?,
        (0x08, 0x00) => turn_v4(&mut answer, steps)?,
        (0x86, 0xdd) => turn_v6(&mut answer, steps)?,
        _ => return None,
    }
    change(&mut answer, steps);
    Some(answer)
}

/// Changes a frame here and there, and (mostly) makes its checksums right again.
pub fn change(frame: &mut Vec<u8>, steps: &mut Bytes<'_>) {
    let how = steps.byte();
    for _ in 0..how % 4 {
        let at = usize::from(steps.word());
        // Mostly in the headers.
        let at = if at & 0x8000 == 0 { at % 80 } else { at };
        if let Some(at) = at.checked_rem(frame.len()) {
            frame[at] = steps.byte();
        }
    }
    if how & 0x30 == 0x30 {
        frame.truncate(usize::from(steps.word()) % 1514);
    }
    if how & 0xc0 != 0xc0 {
        mend(frame);
    }
}

fn turn_arp(frame: &mut [u8]) -> Option<()> {
    let arp = frame.get_mut(14..42)?;
    arp[7] = 2;
    let (sender, target): ([u8; 4], [u8; 4]) = (arp[14..18].try_into().ok()?, arp[24..28].try_into().ok()?);
    arp[8..14].copy_from_slice(&PEER_MAC);
    arp[14..18].copy_from_slice(&target);
    arp[18..24].copy_from_slice(&MAC);
    arp[24..28].copy_from_slice(&sender);
    Some(())
}

fn turn_v4(frame: &mut Vec<u8>, steps: &mut Bytes<'_>) -> Option<()> {
    let ip = frame.get_mut(14..34)?;
    let (from, to): ([u8; 4], [u8; 4]) = (ip[12..16].try_into().ok()?, ip[16..20].try_into().ok()?);
    let all = to == [255; 4] || to[0] >= 224;
    ip[12..16].copy_from_slice(if all { PEER.octets() } else { to }.as_slice());
    ip[16..20].copy_from_slice(if from == [0; 4] { OWN.octets() } else { from }.as_slice());
    let (start, protocol) = (14 + usize::from(ip[0] & 15) * 4, ip[9]);
    match protocol {
        6 => turn_tcp(frame, start, steps)?,
        17 => turn_udp(frame, start, steps)?,
        _ => {}
    }
    let length = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&length.to_be_bytes());
    Some(())
}

fn turn_v6(frame: &mut Vec<u8>, steps: &mut Bytes<'_>) -> Option<()> {
    let ip = frame.get_mut(14..54)?;
    let (from, to): ([u8; 16], [u8; 16]) = (ip[8..24].try_into().ok()?, ip[24..40].try_into().ok()?);
    let router: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let all: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    ip[8..24].copy_from_slice(if to[0] == 0xff { &router } else { &to });
    ip[24..40].copy_from_slice(if from == [0; 16] { &all } else { &from });
    match ip[6] {
        6 => turn_tcp(frame, 54, steps)?,
        17 => turn_udp(frame, 54, steps)?,
        58 => {
            let icmp = frame.get(54..)?.to_vec();
            let options: &[u8] =
                &[2, 1, PEER_MAC[0], PEER_MAC[1], PEER_MAC[2], PEER_MAC[3], PEER_MAC[4], PEER_MAC[5]];
            frame.truncate(54);
            match icmp.first()? {
                // Who has this address? We do. (And sometimes for the address that it is about to take itself.)
                135 => {
                    let target = icmp.get(8..24)?;
                    frame[22..38].copy_from_slice(target);
                    frame.extend_from_slice(&[136, 0, 0, 0, 0x60, 0, 0, 0]);
                    frame.extend_from_slice(target);
                    frame.extend_from_slice(options);
                }
                // Is there a router? There is, with a prefix.
                133 => {
                    let lifetime = steps.word().to_be_bytes();
                    frame.extend_from_slice(&[
                        134,
                        0,
                        0,
                        0,
                        64,
                        0,
                        lifetime[0],
                        lifetime[1],
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                    ]);
                    frame.extend_from_slice(&[
                        1,
                        1,
                        PEER_MAC[0],
                        PEER_MAC[1],
                        PEER_MAC[2],
                        PEER_MAC[3],
                        PEER_MAC[4],
                        9,
                    ]);
                    for _ in 0..1 + steps.byte() % 3 {
                        let times =
                            [0, 0, steps.byte(), steps.byte(), 0, 0, steps.byte(), steps.byte(), 0, 0, 0, 0];
                        frame.extend_from_slice(&[3, 4, 64, 0xc0]);
                        frame.extend_from_slice(&times);
                        frame.extend_from_slice(&[
                            0xfd,
                            steps.byte() % 8,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                        ]);
                    }
                }
                128 => {
                    frame.extend_from_slice(&icmp);
                    frame[54] = 129;
                }
                _ => frame.extend_from_slice(&icmp),
            }
            frame[21] = 255;
        }
        _ => {}
    }
    let length = (frame.len() - 54) as u16;
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    Some(())
}

fn turn_tcp(frame: &mut Vec<u8>, start: usize, steps: &mut Bytes<'_>) -> Option<()> {
    let tcp = frame.get_mut(start..)?;
    let header = usize::from(*tcp.get(12)? >> 4) * 4;
    let sent = tcp.len().checked_sub(header)? as u32;
    swap_ports(tcp);
    let (seq, ack) = (word32(tcp, 4)?, word32(tcp, 8)?);
    let flags = *tcp.get(13)?;
    let (fin, syn, is_ack) = (flags & 1, flags >> 1 & 1, flags >> 4 & 1);
    let next = seq.wrapping_add(sent).wrapping_add(u32::from(fin + syn));
    // A sequence number of our own, if there is none yet.
    let own = if is_ack == 1 { ack } else { 1000 };
    tcp[4..8].copy_from_slice(&own.wrapping_add(u32::from(steps.byte() % 8 / 7)).to_be_bytes());
    tcp[8..12].copy_from_slice(&next.to_be_bytes());
    let how = steps.byte();
    tcp[13] = match how % 16 {
        0 => 0x11,
        1 => 0x14,
        2 => steps.byte(),
        3 => 0x02,
        _ if syn == 1 && is_ack == 0 => 0x12,
        _ => 0x10,
    };
    if how & 0x10 == 0 {
        // All the window there is, or hardly any.
        tcp[14..16].copy_from_slice(&if how & 0x20 == 0 { [0xff, 0xff] } else { [0, steps.byte()] });
    }
    let keep = if syn == 1 && how & 0x40 == 0 { header } else { 20 };
    frame.truncate(start + keep);
    frame[start + 12] = (keep as u8 / 4) << 4;
    if how & 0x80 != 0 {
        let length = usize::from(steps.byte()) * 6;
        frame.resize(start + keep + length, 0x5a);
    }
    Some(())
}

fn turn_udp(frame: &mut Vec<u8>, start: usize, steps: &mut Bytes<'_>) -> Option<()> {
    let udp = frame.get_mut(start..)?;
    swap_ports(udp);
    let from = u16::from_be_bytes([udp[0], *udp.get(1)?]);
    let data = start + 8;
    match from {
        53 => {
            frame.get_mut(data..data + 12)?;
            frame[data + 2] |= 0x80;
            frame[data + 3] = [0, 0, 0, 2, 3][usize::from(steps.byte() % 5)];
            // Its additional record would lie behind ours.
            frame[data + 11] = 0;
            let question = frame[data + 12..].iter().position(|byte| *byte == 0)?;
            let kind = *frame.get(data + 12 + question + 2)?;
            frame.truncate(data + 12 + question + 5);
            let count = steps.byte() % 4;
            frame[data + 7] = count;
            for _ in 0..count {
                let how = steps.byte();
                frame.extend_from_slice(&[
                    0xc0,
                    if how & 0x70 == 0 { how } else { 12 },
                    0,
                    if how & 1 == 0 { kind } else { 5 },
                ]);
                frame.extend_from_slice(&[0, 1, 0, 0, 0, steps.byte()]);
                let length = if how & 1 == 1 {
                    2
                } else if kind == 1 {
                    4
                } else {
                    16
                };
                frame.extend_from_slice(&[0, length]);
                let bytes = steps.take(usize::from(length)).to_vec();
                frame.extend_from_slice(&bytes);
            }
            frame[data + 2] |= if steps.byte().is_multiple_of(8) { 2 } else { 0 };
        }
        67 => {
            frame.get_mut(data..data + 240)?;
            let asked =
                frame[data + 240..].windows(3).find(|option| option[..2] == [53, 1]).map(|option| option[2]);
            frame[data] = 2;
            frame[data + 16..data + 20].copy_from_slice(&OWN.octets());
            frame.truncate(data + 240);
            let answer = match (steps.byte() % 8, asked) {
                (0, _) => 6,
                (_, Some(1)) => 2,
                _ => 5,
            };
            frame.extend_from_slice(&[
                53, 1, answer, 54, 4, 10, 0, 0, 1, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 0, 1,
            ]);
            frame.extend_from_slice(&[51, 4, 0, 0, steps.byte(), steps.byte(), 58, 4, 0, 0, 0, steps.byte()]);
            frame.extend_from_slice(&[59, 4, 0, 0, 0, steps.byte(), 6, 4, 10, 0, 0, steps.byte(), 255]);
        }
        _ => {}
    }
    let length = (frame.len() - start) as u16;
    frame[start + 4..start + 6].copy_from_slice(&length.to_be_bytes());
    Some(())
}

/// The first segment of a connection to one of the listeners, or a datagram.
fn opening(steps: &mut Bytes<'_>) -> Vec<u8> {
    let mut frame = [&MAC[..], &PEER_MAC, &[8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0]].concat();
    frame.extend_from_slice(&PEER.octets());
    frame.extend_from_slice(&OWN.octets());
    let how = steps.byte();
    frame.extend_from_slice(&[0x80, steps.byte(), 0, 80 + how % 2]);
    if how % 8 == 7 {
        frame[23] = 17;
        frame.extend_from_slice(&[0; 4]);
        frame[36..38].copy_from_slice(&5000_u16.to_be_bytes());
        let length = usize::from(steps.byte());
        frame.resize(frame.len() + length, 7);
        frame[38..40].copy_from_slice(&(8 + length as u16).to_be_bytes());
    } else {
        frame.extend_from_slice(&[0, 0, 3, 231, 0, 0, 0, 0, 0x80, 2, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend_from_slice(&[2, 4, 5, steps.byte(), 3, 3, steps.byte() % 16, 1, 4, 2, 1, 1]);
    }
    let length = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&length.to_be_bytes());
    change(&mut frame, steps);
    frame
}

fn swap_ports(packet: &mut [u8]) {
    if let Some([a, b, c, d]) = packet.first_chunk_mut() {
        (*a, *b, *c, *d) = (*c, *d, *a, *b);
    }
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// Makes the checksums right, wherever they are where they should be.
pub fn mend(frame: &mut [u8]) -> Option<()> {
    let (start, end, protocol, mut sum) = match (*frame.get(12)?, *frame.get(13)?) {
        (0x08, 0x00) => {
            let ip = frame.get_mut(14..)?;
            let header = usize::from(*ip.first()? & 15) * 4;
            ip.get_mut(..header.max(20))?[10..12].fill(0);
            let sum = !add(0, &ip[..header]);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            let rest = length.checked_sub(header)?;
            (
                14 + header,
                14 + length,
                ip[9],
                add(add(0, &ip[12..20]), &[0, ip[9], (rest >> 8) as u8, rest as u8]),
            )
        }
        (0x86, 0xdd) => {
            let ip = frame.get(14..54)?;
            let length = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            (54, 54 + length, ip[6], add(add(0, &ip[8..40]), &[ip[4], ip[5], 0, ip[6]]))
        }
        _ => return None,
    };
    let at = match protocol {
        6 => 16,
        17 => 6,
        58 => 2,
        1 => {
            sum = 0;
            2
        }
        _ => return None,
    };
    let packet = frame.get_mut(start..end)?;
    packet.get_mut(at..at + 2)?.fill(0);
    let sum = !add(sum, packet);
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    Some(())
}

/// RFC 1071.
fn add(sum: u16, bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(sum, |sum, pair| {
        let (sum, carry) = sum.overflowing_add(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        sum + u16::from(carry)
    })
}
