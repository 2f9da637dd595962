//! VMs on one virtual wire, and a station of this process among them: its network is Lunette's own, on this side.
//!
//! What goes over the wire is the test's to lose, repeat and reorder, which the user's network is not.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use lunette_hostcalls::{Clock, Errno, Interest, Log, Nanos, Net, Random, Shutdown, TcpStream};
use lunette_net::{
    Config, Stack, V4, V6,
    smoltcp::{
        phy::{self, DeviceCapabilities, Medium},
        time::Instant as At,
    },
};
use sha2::{Digest, Sha256};

use crate::{
    Stories,
    clients::Noise,
    samples::built,
    vm::{Place, Running, vm},
    wire::{Faults, Tap, Wire},
};

const ECHO: &str = "tcp-echo-c";
const PORT: u16 = 7;
/// Bad, but a network.
const LOSSY: Faults =
    Faults { loss: 10, duplicate: 2, delay: Duration::from_micros(500), jitter: Duration::from_millis(5) };
/// For anything that the wire may hold up.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn stories(s: &mut Stories) {
    let lack = |place: Place| place.lack().or(if built(ECHO).is_none() { Some("not built") } else { None });
    for place in [Place::Microvm, Place::Q35] {
        s.needs(
            format!("wired: three VMs and a station on one wire on {}", place.name()),
            lack(place),
            move || neighbours(place),
        );
    }
    let mib = std::env::var("LUNETTE_TORTURE").ok().and_then(|mib| mib.parse().ok()).unwrap_or(12);
    s.needs(
        format!("wired: {mib} MiB each way through loss, jitter and reordering on microvm"),
        lack(Place::Microvm),
        move || torture(Place::Microvm, mib << 20, LOSSY),
    );
    s.needs("wired: 1 MiB each way through a tenth of all lost on pc", lack(Place::Pc), || {
        torture(Place::Pc, 1 << 20, Faults { loss: 100, duplicate: 50, ..LOSSY });
    });
}

/// Each VM echoes for the station; all have found one another's addresses over the same cable.
fn neighbours(place: Place) {
    let mut wire = Wire::new(&format!("neighbours-{}", place.name()), 3, Faults::default()).expect("a wire");
    let vms: Vec<Running> = (1..=3).map(|n| echo(&mut wire, place, n)).collect();
    let mut station = Station::new(wire.tap(), 100);
    let streams: Vec<_> = (1..=3).map(|n| station.connect(n)).collect();
    for (n, stream) in streams.iter().enumerate() {
        let words = format!("hello from {n}");
        station.write(&**stream, words.as_bytes());
    }
    for (n, stream) in streams.iter().enumerate() {
        let words = format!("hello from {n}");
        assert_eq!(String::from_utf8_lossy(&station.read(&**stream, words.len())), words);
    }
    drop(vms);
}

/// As much there as back, and the same.
fn torture(place: Place, length: usize, faults: Faults) {
    let mut wire = Wire::new(&format!("torture-{}", place.name()), 0x5eed, faults).expect("a wire");
    let _vm = echo(&mut wire, place, 1);
    let mut station = Station::new(wire.tap(), 100);
    let stream = station.connect(1);
    let began = Instant::now();
    let (sent, came) = station.there_and_back(&*stream, length);
    assert_eq!(sent, came, "what came back is not what went");
    let seconds = began.elapsed().as_secs_f64();
    println!("figure: {length} bytes each way in {seconds:.1} s, {:.1} MB/s", length as f64 / 1e6 / seconds);
}

fn echo(wire: &mut Wire, place: Place, n: u8) -> Running {
    let net = wire.vm().expect("a socket for a VM");
    let run = vm(built(ECHO).expect("built")).on(place);
    let address = format!("{}/24", address(n));
    run.flags(["--net", &net, "--ip", &address, "--ip6", "none"]).start().until_it_prints(": ready\n")
}

fn address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, n)
}

/// A host on the wire that is this process.
struct Station {
    stack: Arc<Stack<Card>>,
}

impl Station {
    fn new(tap: Tap, n: u8) -> Self {
        let config = Config {
            mac: [2, 0, 0, 9, 0, n],
            ipv4: V4::Static { address: (address(n), 24), gateway: None },
            ipv6: V6::None,
            ..Config::default()
        };
        let card = Card { tap, came: VecDeque::new() };
        let stack = Stack::new(card, config, Arc::new(Time), Arc::new(Seed), Arc::new(Loud));
        Self { stack }
    }

    /// Lets frames come and go, for a moment.
    fn pump(&self) {
        let next = self.stack.poll();
        let wait =
            next.map_or(Duration::MAX, |next| Duration::from_nanos(next.saturating_sub(Time.monotonic())));
        self.stack.with_device(|card| card.wait(wait.min(Duration::from_millis(5))));
        self.stack.poll();
    }

    /// Tries until it is not [`Errno::Again`].
    fn until<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T, Errno>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            match attempt() {
                Ok(done) => return done,
                Err(Errno::Again) => assert!(Instant::now() < end, "{what} takes too long"),
                Err(errno) => panic!("{what}: {errno}"),
            }
            self.pump();
        }
    }

    fn connect(&mut self, n: u8) -> Arc<dyn TcpStream> {
        let to = SocketAddr::new(IpAddr::V4(address(n)), PORT);
        let stream = self.stack.connect(to).expect("a connection begins");
        self.until("connecting", || stream.connected());
        stream
    }

    fn write(&self, stream: &dyn TcpStream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = self.until("writing", || stream.write(bytes));
            bytes = &bytes[n..];
        }
    }

    fn read(&self, stream: &dyn TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            let n = self.until("reading", || stream.read(&mut bytes[done..]));
            assert_ne!(n, 0, "the stream ended after {done} of {length} bytes");
            done += n;
        }
        bytes
    }

    /// Writes so much and reads it back at the same time; the hashes of both.
    fn there_and_back(&self, stream: &dyn TcpStream, length: usize) -> ([u8; 32], [u8; 32]) {
        let mut noise = Noise(1);
        let (mut sent, mut came) = (Sha256::new(), Sha256::new());
        let (mut to_send, mut to_come) = (length, length);
        let mut piece = Vec::new();
        let mut inbox = vec![0; 64 * 1024];
        let mut last = Instant::now();
        while to_come > 0 {
            let mut moved = false;
            if piece.is_empty() && to_send > 0 {
                piece = vec![0; to_send.min(64 * 1024)];
                noise.fill(&mut piece);
                sent.update(&piece);
                to_send -= piece.len();
            }
            if !piece.is_empty() && stream.ready(Interest::Write).any() {
                let n = stream.write(&piece).unwrap_or_else(|e| panic!("writing: {e}"));
                piece.drain(..n);
                moved = true;
                if piece.is_empty() && to_send == 0 {
                    stream.shutdown(Shutdown::Write).expect("half of it is closed");
                }
            }
            if stream.ready(Interest::Read).any() {
                let n = stream.read(&mut inbox).unwrap_or_else(|e| panic!("reading: {e}"));
                assert_ne!(n, 0, "the stream ended with {to_come} bytes to come");
                came.update(&inbox[..n]);
                to_come -= n;
                moved = true;
            }
            if moved {
                last = Instant::now();
                self.stack.poll();
            } else {
                assert!(last.elapsed() < PATIENCE, "nothing moves any more: {to_come} bytes to come");
                self.pump();
            }
        }
        (sent.finalize().into(), came.finalize().into())
    }
}

/// The station's network card: one end of the wire.
struct Card {
    tap: Tap,
    came: VecDeque<Vec<u8>>,
}

impl Card {
    fn wait(&mut self, wait: Duration) {
        if self.came.is_empty() {
            self.came.extend(self.tap.receive(wait));
        }
    }
}

impl phy::Device for Card {
    type RxToken<'a> = Frame;
    type TxToken<'a> = &'a Tap;

    fn receive(&mut self, _: At) -> Option<(Frame, &Tap)> {
        let frame = self.came.pop_front().or_else(|| self.tap.receive(Duration::ZERO))?;
        Some((Frame(frame), &self.tap))
    }

    fn transmit(&mut self, _: At) -> Option<&Tap> {
        Some(&self.tap)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Frame(Vec<u8>);

impl phy::RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for &Tap {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.send(frame);
        result
    }
}

/// Since the first look at it.
struct Time;

impl Clock for Time {
    fn monotonic(&self) -> Nanos {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as Nanos
    }

    fn wall(&self) -> Option<Nanos> {
        None
    }
}

/// Numbers that differ are all that a test needs.
struct Seed;

impl Random for Seed {
    fn fill(&self, buf: &mut [u8]) -> Result<(), Errno> {
        Noise(Time.monotonic() | 0x9e37_79b9).fill(buf);
        Ok(())
    }
}

struct Loud;

impl Log for Loud {
    fn warn(&self, line: std::fmt::Arguments<'_>) {
        println!("station: {line}");
    }
}
