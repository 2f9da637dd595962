//! Two ends of a wire in memory, and a clock that is pushed by hand. Nothing is lost, nothing takes time but waiting.

#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod raw;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Wake, Waker},
};

use lunette_hostcalls::{Clock, Errno, Interest, Log, Nanos, Net, Random, Source, TcpListener, TcpStream};
use lunette_net::{
    Config, Stack, V4, V6,
    smoltcp::{
        phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken},
        time::Instant,
    },
};

pub(crate) const SECOND: Nanos = 1_000_000_000;
pub(crate) const MILLI: Nanos = 1_000_000;

/// Starts late enough that "long ago" is not zero.
pub(crate) struct Hand(AtomicU64);

impl Default for Hand {
    fn default() -> Self {
        Self(AtomicU64::new(1000 * SECOND))
    }
}

impl Hand {
    pub(crate) fn push(&self, by: Nanos) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn push_to(&self, at: Nanos) {
        self.0.fetch_max(at, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn monotonic(&self) -> Nanos {
        self.0.load(Ordering::Relaxed)
    }

    fn wall(&self) -> Option<Nanos> {
        None
    }
}

/// SplitMix64: each number another one.
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Random for Dice {
    fn fill(&self, buf: &mut [u8]) -> Result<(), Errno> {
        for chunk in buf.chunks_mut(8) {
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Lines(pub(crate) Mutex<Vec<String>>);

impl Lines {
    pub(crate) fn has(&self, words: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.contains(words))
    }
}

impl Log for Lines {
    fn warn(&self, line: std::fmt::Arguments<'_>) {
        self.0.lock().unwrap().push(line.to_string());
    }
}

pub(crate) type Queue = Arc<Mutex<VecDeque<Vec<u8>>>>;

/// One end: what it receives, and where it sends.
pub(crate) struct End {
    pub(crate) comes: Queue,
    pub(crate) goes: Queue,
    /// How many frames may wait at the other end before this one is full.
    pub(crate) most: usize,
}

pub(crate) fn wire() -> (End, End) {
    let (left, right) = (Queue::default(), Queue::default());
    let most = 256;
    (End { comes: left.clone(), goes: right.clone(), most }, End { comes: right, goes: left, most })
}

pub(crate) struct Came(Vec<u8>);
pub(crate) struct Goes<'a>(&'a Queue);

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Goes<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.lock().unwrap().push_back(frame);
        result
    }
}

impl Device for End {
    type RxToken<'a> = Came;
    type TxToken<'a> = Goes<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Came, Goes<'_>)> {
        let frame = self.comes.lock().unwrap().pop_front()?;
        Some((Came(frame), Goes(&self.goes)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Goes<'_>> {
        (self.goes.lock().unwrap().len() < self.most).then_some(Goes(&self.goes))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// One host on the wire.
pub(crate) struct Host {
    pub(crate) stack: Arc<Stack<End>>,
    pub(crate) log: Arc<Lines>,
}

pub(crate) fn host(end: End, config: Config, clock: &Arc<Hand>) -> Host {
    let log = Arc::<Lines>::default();
    let seed = u64::from(config.mac[5]);
    let stack = Stack::new(end, config, clock.clone(), Arc::new(Dice::new(seed)), log.clone());
    Host { stack, log }
}

/// Two hosts, 10.0.0.1 and fd00::1, 10.0.0.2 and fd00::2.
pub(crate) struct World {
    pub(crate) clock: Arc<Hand>,
    pub(crate) a: Host,
    pub(crate) b: Host,
    /// What waits to be received by each.
    pub(crate) queues: [Queue; 2],
}

pub(crate) fn config(host: u8) -> Config {
    Config {
        mac: [2, 0, 0, 0, 0, host],
        ipv4: V4::Static { address: ([10, 0, 0, host].into(), 24), gateway: None },
        ipv6: V6::Static { address: ([0xfd00, 0, 0, 0, 0, 0, 0, host.into()].into(), 64), gateway: None },
        ..Config::default()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(config(1), config(2))
    }

    pub(crate) fn with(one: Config, two: Config) -> Self {
        let clock = Arc::<Hand>::default();
        let (left, right) = wire();
        let queues = [left.comes.clone(), right.comes.clone()];
        Self { a: host(left, one, &clock), b: host(right, two, &clock), clock, queues }
    }

    /// Lets both go on until `done`, or until so much time has passed. Was it done?
    pub(crate) fn until(&self, patience: Nanos, mut done: impl FnMut() -> bool) -> bool {
        let end = self.clock.monotonic() + patience;
        loop {
            let next = [self.a.stack.poll(), self.b.stack.poll()].into_iter().flatten().min();
            if done() {
                return true;
            }
            if self.queues.iter().any(|queue| !queue.lock().unwrap().is_empty()) {
                continue;
            }
            let now = self.clock.monotonic();
            if now >= end {
                return false;
            }
            self.clock.push_to(next.unwrap_or(end).clamp(now, end));
            if next.is_some_and(|next| next <= now) {
                self.clock.push(1000);
            }
        }
    }

    pub(crate) fn settle(&self) {
        self.run(MILLI);
    }

    pub(crate) fn run(&self, time: Nanos) {
        self.until(time, || false);
    }

    pub(crate) fn wait(&self, source: &(impl Source + ?Sized), interest: Interest) {
        assert!(self.until(200 * SECOND, || source.ready(interest).any()), "{interest:?} never came");
    }

    /// A connection from `a` to a listener of `b`'s.
    pub(crate) fn connection(
        &self,
        at: SocketAddr,
    ) -> (Arc<dyn TcpStream>, Arc<dyn TcpStream>, Arc<dyn TcpListener>) {
        let listener = self.b.stack.listen(SocketAddr::new(unspecified(at.ip()), at.port()), 8).unwrap();
        let (client, server) = self.join(at, &listener);
        (client, server, listener)
    }

    pub(crate) fn join(
        &self,
        at: SocketAddr,
        listener: &Arc<dyn TcpListener>,
    ) -> (Arc<dyn TcpStream>, Arc<dyn TcpStream>) {
        let client = self.a.stack.connect(at).unwrap();
        self.wait(&*client, Interest::Write);
        client.connected().unwrap();
        self.wait(&**listener, Interest::Read);
        let (server, peer) = listener.accept().unwrap();
        assert_eq!((peer, client.local()), (server.peer(), peer));
        (client, server)
    }

    pub(crate) fn read(&self, stream: &Arc<dyn TcpStream>) -> Vec<u8> {
        self.wait(&**stream, Interest::Read);
        let mut buf = vec![0; 1 << 20];
        let count = stream.read(&mut buf).unwrap();
        buf.truncate(count);
        buf
    }
}

pub(crate) fn unspecified(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) }
}

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::<Self>::default();
        (bell.clone(), bell.into())
    }

    pub(crate) fn rung(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}
