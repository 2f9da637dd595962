//! A wire that loses, doubles, reorders, delays and damages what it carries, all from one seed.
//!
//! Promises: the same seed and the same frames give the same events; every port but the sender's gets a copy, as on
//! a hub; the last frames are kept, and written to a file should the test panic.
//!
//! Does not: damage what no checksum covers (of ARP, only a real wire's frame check would notice).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use lunette_net::smoltcp::{
    phy::{Device, DeviceCapabilities, Medium, PcapLinkType, PcapSink, RxToken, TxToken},
    time::Instant,
};

/// Nanoseconds of virtual time.
pub(crate) type Nanos = u64;

pub(crate) const MS: Nanos = 1_000_000;
pub(crate) const SECOND: Nanos = 1_000_000_000;

/// How bad a wire is. The default is a good one: a gigabit, a tenth of a millisecond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// Frames in a million that are lost; come twice; are damaged in one bit; are held back, so that later ones pass.
    pub(crate) loss: u32,
    pub(crate) duplicate: u32,
    pub(crate) corrupt: u32,
    pub(crate) reorder: u32,
    /// What every frame takes, and what it may take more. Jitter reorders, too.
    pub(crate) delay: Nanos,
    pub(crate) jitter: Nanos,
    /// How long frames that are held back are held back.
    pub(crate) hold: Nanos,
    /// Bits a second of each port, and how many frames may wait for that: what is too much is lost.
    pub(crate) rate: u64,
    pub(crate) queue: usize,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            loss: 0,
            duplicate: 0,
            corrupt: 0,
            reorder: 0,
            delay: MS / 10,
            jitter: 0,
            hold: 2 * MS,
            rate: 1_000_000_000,
            queue: 1000,
        }
    }
}

impl Faults {
    pub(crate) fn percent(percent: u32) -> u32 {
        percent * 10_000
    }
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    pub(crate) dropped: u64,
    pub(crate) doubled: u64,
    pub(crate) damaged: u64,
    pub(crate) held: u64,
}

#[derive(Clone)]
pub(crate) struct Wire(Arc<Mutex<Inner>>);

struct Inner {
    name: String,
    seed: u64,
    random: Random,
    faults: Faults,
    now: Nanos,
    /// Frames on their way: when they arrive, in which order they left, and where.
    flying: BinaryHeap<Reverse<Flight>>,
    count: u64,
    ports: Vec<End>,
    counts: Counts,
    capture: VecDeque<(Nanos, Vec<u8>)>,
    /// Frames from one port to another that are lost from now on.
    cut: BTreeMap<(usize, usize), bool>,
}

type Flight = (Nanos, u64, usize, Vec<u8>);

#[derive(Default)]
struct End {
    inbox: VecDeque<Vec<u8>>,
    /// It takes nothing.
    deaf: bool,
    /// Until when what was sent keeps the port busy; when each frame that waits will have left.
    busy: Nanos,
    leaving: VecDeque<Nanos>,
}

/// Frames kept for a capture: the last moments before a failure.
const CAPTURE: usize = 20_000;
const INBOX: usize = 4096;
const MTU: usize = 1514;

impl Wire {
    pub(crate) fn new(name: &str, seed: u64, faults: Faults) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            name: name.into(),
            seed,
            random: Random::new(seed),
            faults,
            now: 0,
            flying: BinaryHeap::new(),
            count: 0,
            ports: Vec::new(),
            counts: Counts::default(),
            capture: VecDeque::new(),
            cut: BTreeMap::new(),
        })))
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn port(&self) -> Port {
        let mut inner = self.inner();
        inner.ports.push(End::default());
        Port { wire: self.clone(), number: inner.ports.len() - 1 }
    }

    /// A port that only sends, by [`Wire::inject`].
    pub(crate) fn mouth(&self) -> usize {
        let mut inner = self.inner();
        inner.ports.push(End { deaf: true, ..End::default() });
        inner.ports.len() - 1
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.inner().faults = faults;
    }

    /// Whether frames from one port reach another. They do unless this said otherwise.
    pub(crate) fn set_cut(&self, from: usize, to: usize, cut: bool) {
        self.inner().cut.insert((from, to), cut);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.inner().counts
    }

    /// When the next frame arrives.
    pub(crate) fn next(&self) -> Option<Nanos> {
        self.inner().flying.peek().map(|Reverse((at, ..))| *at)
    }

    /// Goes on to `now`. True if any frame arrived.
    pub(crate) fn advance(&self, now: Nanos) -> bool {
        let mut inner = self.inner();
        inner.now = now;
        let mut any = false;
        while inner.flying.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((at, _, port, frame))) = inner.flying.pop() else { break };
            inner.keep(at, &frame);
            let full = inner.ports[port].inbox.len() >= INBOX;
            inner.counts.dropped += u64::from(full);
            if !full {
                inner.ports[port].inbox.push_back(frame);
            }
            any = true;
        }
        any
    }

    /// The frame that arrived so many frames ago.
    pub(crate) fn heard(&self, back: usize) -> Option<Vec<u8>> {
        self.inner().capture.iter().rev().nth(back).map(|(_, frame)| frame.clone())
    }

    /// Puts a frame on the wire as if it came from `port`.
    pub(crate) fn inject(&self, port: usize, frame: &[u8]) {
        self.inner().send(port, frame);
    }
}

impl Inner {
    fn keep(&mut self, at: Nanos, frame: &[u8]) {
        if self.capture.len() == CAPTURE {
            self.capture.pop_front();
        }
        self.capture.push_back((at, frame.to_vec()));
    }

    fn send(&mut self, from: usize, frame: &[u8]) {
        let (faults, now) = (self.faults, self.now);
        self.counts.sent += 1;
        let port = &mut self.ports[from];
        while port.leaving.front().is_some_and(|at| *at <= now) {
            port.leaving.pop_front();
        }
        if port.leaving.len() >= faults.queue {
            self.counts.dropped += 1;
            return;
        }
        // With the preamble, the frame check and the gap.
        let bits = (frame.len() as u64 + 24) * 8;
        let left = port.busy.max(now) + bits * SECOND / faults.rate.max(1);
        port.busy = left;
        port.leaving.push_back(left);
        for to in 0..self.ports.len() {
            if to != from && !self.ports[to].deaf && !self.cut.get(&(from, to)).is_some_and(|cut| *cut) {
                self.carry(to, left, frame);
            }
        }
    }

    fn carry(&mut self, to: usize, left: Nanos, frame: &[u8]) {
        let faults = self.faults;
        if self.random.chance(faults.loss) {
            self.counts.lost += 1;
            return;
        }
        let copies = if self.random.chance(faults.duplicate) { 2 } else { 1 };
        self.counts.doubled += copies - 1;
        for _ in 0..copies {
            let mut at = left + faults.delay + self.random.below(faults.jitter + 1);
            if self.random.chance(faults.reorder) {
                self.counts.held += 1;
                at += faults.hold;
            }
            let mut frame = frame.to_vec();
            if self.random.chance(faults.corrupt) && has_checksums(&frame) {
                self.counts.damaged += 1;
                let at = 14 + self.random.below(frame.len() as u64 - 14) as usize;
                frame[at] ^= 1 << self.random.below(8);
            }
            self.count += 1;
            self.flying.push(Reverse((at, self.count, to, frame)));
        }
    }

    fn write_capture(&self) -> std::io::Result<PathBuf> {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("captures");
        std::fs::create_dir_all(&dir)?;
        let path = dir.join(format!("{}-{}.pcap", self.name, self.seed));
        let mut sink = Sink(Vec::new());
        sink.global_header(PcapLinkType::Ethernet);
        for (at, frame) in &self.capture {
            sink.packet(Instant::from_micros((*at / 1000) as i64), frame);
        }
        std::fs::write(&path, sink.0)?;
        Ok(path)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            match self.write_capture() {
                Ok(path) => {
                    eprintln!("{} (seed {}): the last frames are in {}", self.name, self.seed, path.display())
                }
                Err(error) => eprintln!("{}: no capture: {error}", self.name),
            }
        }
    }
}

struct Sink(Vec<u8>);

impl PcapSink for Sink {
    fn write(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }
}

/// Will its receiver notice a bit that is wrong? (Not in the Ethernet header; in IP, wherever it matters.)
fn has_checksums(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd])) && frame.len() > 14
}

/// One end of a wire: what a stack has for a network card.
pub(crate) struct Port {
    wire: Wire,
    pub(crate) number: usize,
}

impl Port {
    pub(crate) fn has_frames(&self) -> bool {
        !self.wire.inner().ports[self.number].inbox.is_empty()
    }
}

impl Device for Port {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending)> {
        let frame = self.wire.inner().ports[self.number].inbox.pop_front()?;
        Some((Received(frame), self.sending()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending> {
        Some(self.sending())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

impl Port {
    fn sending(&self) -> Sending {
        Sending { wire: self.wire.clone(), port: self.number }
    }
}

pub(crate) struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(crate) struct Sending {
    wire: Wire,
    port: usize,
}

impl TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.wire.inner().send(self.port, &frame);
        result
    }
}

/// SplitMix64: small, and good enough to lose frames by.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// So many times in a million.
    pub(crate) fn chance(&mut self, million: u32) -> bool {
        million > 0 && self.below(1_000_000) < u64::from(million)
    }

    pub(crate) fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
