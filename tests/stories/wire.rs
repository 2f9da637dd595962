//! A virtual Ethernet: VMs (`--net unix=…`) and peers of this process on one wire that loses, repeats, delays
//! and so reorders frames, as a seed says.
//!
//! Everybody hears everything, as on the yellow cable. What went over it is kept, and written as a capture
//! (`target/test-captures/NAME.pcap`) when the test that owns the wire fails.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs,
    io::{self, Write as _},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::clients::Noise;

/// What the wire does to frames; chances are in a thousand.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) loss: u32,
    pub(crate) duplicate: u32,
    /// Each frame takes this long, and up to `jitter` more: what overtakes is reordered.
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
}

/// The longest frame, with room for a device that joins segments.
const FRAME: usize = 65_550;
/// How much of a capture is kept: the newest.
const CAPTURE: usize = 16 << 20;

pub(crate) struct Wire {
    name: String,
    folder: tempfile::TempDir,
    ports: Arc<Mutex<Vec<Port>>>,
    frames: Sender<(usize, Vec<u8>)>,
    over: Arc<AtomicBool>,
    capture: Arc<Mutex<Capture>>,
    threads: Vec<JoinHandle<()>>,
}

/// Where frames for one station go.
enum Port {
    /// A VM: its own socket, and the one that we send from.
    Vm {
        path: PathBuf,
        socket: UnixDatagram,
    },
    Peer(Sender<Vec<u8>>),
}

/// A station of this process.
pub(crate) struct Tap {
    port: usize,
    to: Sender<(usize, Vec<u8>)>,
    from: Receiver<Vec<u8>>,
}

impl Wire {
    pub(crate) fn new(name: &str, seed: u64, faults: Faults) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lunette-wire-").tempdir()?;
        let (frames, inbox) = mpsc::channel();
        let ports = Arc::new(Mutex::new(Vec::new()));
        let capture = Arc::new(Mutex::new(Capture::default()));
        let over = Arc::new(AtomicBool::new(false));
        let carrier = Carrier {
            faults,
            random: Noise(seed | 1),
            ports: ports.clone(),
            capture: capture.clone(),
            under_way: BinaryHeap::new(),
            count: 0,
        };
        let threads = vec![thread::spawn(move || carrier.carry(&inbox))];
        Ok(Self { name: name.to_owned(), folder, ports, frames, over, capture, threads })
    }

    /// A socket for a VM: what `--net` is to be told.
    pub(crate) fn vm(&mut self) -> io::Result<String> {
        let mut ports = lock(&self.ports);
        let port = ports.len();
        let local = self.folder.path().join(format!("vm{port}"));
        let remote = self.folder.path().join(format!("wire{port}"));
        let socket = UnixDatagram::bind(&remote)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let words = format!("unix={},{}", local.display(), remote.display());
        ports.push(Port::Vm { path: local, socket: socket.try_clone()? });
        drop(ports);
        let (frames, over) = (self.frames.clone(), self.over.clone());
        self.threads.push(thread::spawn(move || {
            let mut frame = vec![0; FRAME];
            while !over.load(Ordering::Relaxed) {
                // A timeout is a look at `over`.
                let Ok(length) = socket.recv(&mut frame) else { continue };
                if frames.send((port, frame[..length].to_vec())).is_err() {
                    return;
                }
            }
        }));
        Ok(words)
    }

    pub(crate) fn tap(&mut self) -> Tap {
        let (to, from) = mpsc::channel();
        let mut ports = lock(&self.ports);
        ports.push(Port::Peer(to));
        Tap { port: ports.len() - 1, to: self.frames.clone(), from }
    }

    fn keep_capture(&self) -> io::Result<PathBuf> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../test-captures");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.pcap", self.name));
        lock(&self.capture).write(&path)?;
        Ok(path)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if thread::panicking() {
            match self.keep_capture() {
                Ok(path) => eprintln!("what went over the wire: {}", path.display()),
                Err(error) => eprintln!("the capture could not be written: {error}"),
            }
        }
        self.over.store(true, Ordering::Relaxed);
        lock(&self.ports).clear();
        // The carrier ends when the last that can send is gone; it is not waited for, since taps may live on.
        for reader in self.threads.drain(1..) {
            let _ = reader.join();
        }
    }
}

impl Tap {
    pub(crate) fn send(&self, frame: Vec<u8>) {
        let _ = self.to.send((self.port, frame));
    }

    /// The next frame, waiting for it no longer than this.
    pub(crate) fn receive(&self, wait: Duration) -> Option<Vec<u8>> {
        self.from.recv_timeout(wait).ok()
    }
}

/// When it arrives, a number that tells equal times apart, where it comes from, and the frame.
type UnderWay = (Instant, u64, usize, Vec<u8>);

/// The thread that moves frames.
struct Carrier {
    faults: Faults,
    /// A seed is a run, as far as the machine's timing allows.
    random: Noise,
    ports: Arc<Mutex<Vec<Port>>>,
    capture: Arc<Mutex<Capture>>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    count: u64,
}

impl Carrier {
    fn carry(mut self, inbox: &Receiver<(usize, Vec<u8>)>) {
        loop {
            let event = match self.under_way.peek() {
                Some(Reverse((at, ..))) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok((from, frame)) => self.take(from, frame),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Some(Reverse((at, ..))) = self.under_way.peek() {
                if *at > Instant::now() {
                    break;
                }
                if let Some(Reverse((_, _, from, frame))) = self.under_way.pop() {
                    self.deliver(from, &frame);
                }
            }
        }
    }

    fn take(&mut self, from: usize, frame: Vec<u8>) {
        lock(&self.capture).add(&frame);
        if self.chance(self.faults.loss) {
            return;
        }
        let copies = if self.chance(self.faults.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = self.faults.jitter.as_nanos() as u64;
            let late = if jitter == 0 { 0 } else { self.random.next() % jitter };
            let at = Instant::now() + self.faults.delay + Duration::from_nanos(late);
            self.count += 1;
            self.under_way.push(Reverse((at, self.count, from, frame.clone())));
        }
    }

    fn deliver(&self, from: usize, frame: &[u8]) {
        for (n, port) in lock(&self.ports).iter().enumerate() {
            if n == from {
                continue;
            }
            // Nobody there, or nobody listening: a frame lost, as on any wire.
            match port {
                Port::Vm { path, socket } => drop(socket.send_to(frame, path)),
                Port::Peer(to) => drop(to.send(frame.to_vec())),
            }
        }
    }

    fn chance(&mut self, in_a_thousand: u32) -> bool {
        in_a_thousand != 0 && self.random.next() % 1000 < u64::from(in_a_thousand)
    }
}

/// Frames as they came, the newest of them.
#[derive(Default)]
struct Capture {
    frames: std::collections::VecDeque<(Duration, Vec<u8>)>,
    bytes: usize,
}

impl Capture {
    fn add(&mut self, frame: &[u8]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.bytes += frame.len();
        self.frames.push_back((now, frame.to_vec()));
        while self.bytes > CAPTURE {
            let Some((_, old)) = self.frames.pop_front() else { break };
            self.bytes -= old.len();
        }
    }

    /// The classic format (draft-ietf-opsawg-pcap): Ethernet, microseconds, this machine's byte order.
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = io::BufWriter::new(fs::File::create(path)?);
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, FRAME as u32, 1] {
            file.write_all(&word.to_le_bytes())?;
        }
        for (at, frame) in &self.frames {
            let length = frame.len() as u32;
            for word in [at.as_secs() as u32, at.subsec_micros(), length, length] {
                file.write_all(&word.to_le_bytes())?;
            }
            file.write_all(frame)?;
        }
        file.flush()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
