//! The fake world: a host without a machine, for tests. One seed gives the same run every time.
//!
//! Promises: no time passes but by [`FakeClock::advance`]; random bytes depend on the seed alone; input
//! arrives in the pieces that the script says, output is kept, and both can fail on request; the network
//! ([`FakeNet`]) has the weather that a test asks for.
//!
//! Does not: give bytes fit for keys, or anything else that may leave a test.
//!
//! ```
//! use lunette_hostcalls::{Files, Stdio, Stream, fake::FakeWorld};
//!
//! let world = FakeWorld::new(42);
//! world.files.insert_file(lunette_hostcalls::MountId::ROOT, "etc/motd", b"hello", 0).unwrap();
//! world.stdio.feed(b"two ").later().feed(b"pieces").close();
//! let ctx = world.ctx(&["app", "-v"], &[("HOME", "/")]);
//! ctx.stdio.write(Stream::Out, b"hi").unwrap();
//! assert_eq!(world.stdio.stdout(), b"hi");
//! ```

use alloc::{borrow::ToOwned, collections::VecDeque, string::String, sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    task::Waker,
};

use spin::Mutex;

use crate::{
    Clock, Ctx, Errno, Files, Grants, MountId, Nanos, Network, Node, Preopen, RamFs, Random, Ready, Stdio,
    Stream, task::replace_waker,
};

mod host;
mod net;

pub use host::{FakeHost, FakeLog};
pub use net::{FakeNet, Weather};

/// A world, and the handles by which a test moves it.
pub struct FakeWorld {
    pub clock: Arc<FakeClock>,
    pub random: Arc<FakeRandom>,
    pub stdio: Arc<FakeStdio>,
    pub files: Arc<RamFs>,
    /// Nothing of it is granted but by [`FakeWorld::network`].
    pub net: FakeNet,
    pub log: Arc<FakeLog>,
    /// The mount at `/tmp`.
    pub tmp: MountId,
    preopens: Vec<Preopen>,
}

impl FakeWorld {
    /// A read-only `/` and a writable `/tmp` of 16 MiB, both preopened in this order.
    pub fn new(seed: u64) -> Self {
        Self::with_tmp(seed, Some(16 << 20))
    }

    /// The same with another limit for `/tmp`; a small one is a full disk.
    pub fn with_tmp(seed: u64, limit: Option<u64>) -> Self {
        let files = Arc::new(RamFs::new());
        let (tmp, tmp_root) =
            files.add_mount(Some("/tmp"), true, limit).expect("an empty file system has room for /tmp");
        let clock = Arc::new(FakeClock::new(1_000_000, Some(FAKE_EPOCH)));
        let mut world = Self {
            net: FakeNet::new(clock.clone(), seed),
            log: Arc::default(),
            clock,
            random: Arc::new(FakeRandom::new(seed)),
            stdio: Arc::new(FakeStdio::default()),
            files,
            tmp,
            preopens: Vec::new(),
        };
        world.preopen("/", world.files.root());
        world.preopen("/tmp", tmp_root);
        world
    }

    /// Grants one more directory of [`FakeWorld::files`].
    pub fn preopen(&mut self, name: &str, root: Node) -> &mut Self {
        let files: Arc<dyn Files> = self.files.clone();
        self.preopens.push(Preopen { name: name.to_owned(), files, root });
        self
    }

    /// Grants a new writable directory with a root of its own.
    pub fn preopen_new(&mut self, name: &str, limit: Option<u64>) -> Result<(MountId, Node), Errno> {
        let (mount, root) = self.files.add_mount(None, true, limit)?;
        self.preopen(name, root);
        Ok((mount, root))
    }

    /// Takes back every directory granted so far.
    pub fn no_preopens(&mut self) -> &mut Self {
        self.preopens.clear();
        self
    }

    /// The network behind these grants, for [`Ctx::network`]: a guest called `app`.
    pub fn network(&self, grants: Grants) -> Network {
        Network::new("app".to_owned(), Arc::new(self.net.clone()), grants, self.log.clone())
    }

    /// What a guest started in this world gets: no network.
    pub fn ctx(&self, args: &[&str], env: &[(&str, &str)]) -> Ctx {
        Ctx {
            name: args.first().copied().unwrap_or("guest").to_owned(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: env.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            clock: self.clock.clone(),
            random: self.random.clone(),
            stdio: self.stdio.clone(),
            preopens: self.preopens.clone(),
            network: Network::none(),
            listeners: Vec::new(),
        }
    }
}

/// 2026-01-01T00:00:00Z, where the fake wall clock starts.
pub const FAKE_EPOCH: Nanos = 1_767_225_600_000_000_000;

/// A clock that is pushed by hand.
pub struct FakeClock {
    monotonic: AtomicU64,
    wall: Mutex<Option<Nanos>>,
}

impl FakeClock {
    pub fn new(monotonic: Nanos, wall: Option<Nanos>) -> Self {
        Self { monotonic: AtomicU64::new(monotonic), wall: Mutex::new(wall) }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Nanos) {
        let mut wall = self.wall.lock();
        *wall = wall.map(|now| now.saturating_add(by));
        self.monotonic.store(self.monotonic.load(Relaxed).saturating_add(by), Relaxed);
    }

    /// Sets the date, forwards or back; `None`: the date is unknown.
    pub fn set_wall(&self, to: Option<Nanos>) {
        *self.wall.lock() = to;
    }
}

impl Clock for FakeClock {
    fn monotonic(&self) -> Nanos {
        self.monotonic.load(Relaxed)
    }

    fn wall(&self) -> Option<Nanos> {
        *self.wall.lock()
    }
}

/// Random bytes from a seed: SplitMix64. Not random at all, which is the point.
pub struct FakeRandom {
    state: Mutex<u64>,
    unseeded: AtomicBool,
}

impl FakeRandom {
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(seed), unseeded: AtomicBool::new(false) }
    }

    /// While on, every fill answers [`Errno::Again`].
    pub fn set_unseeded(&self, on: bool) {
        self.unseeded.store(on, Relaxed);
    }

    /// The next 64 bits: for tests that need numbers.
    pub fn next(&self) -> u64 {
        let mut state = self.state.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 for a bound of 0).
    pub fn below(&self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }
}

impl Random for FakeRandom {
    fn fill(&self, buf: &mut [u8]) -> Result<(), Errno> {
        if self.unseeded.load(Relaxed) {
            return Err(Errno::Again);
        }
        for chunk in buf.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Standard streams that follow a script.
///
/// Input: each piece fed is one read's worth at most (a short read); [`FakeStdio::later`] puts one
/// [`Errno::Again`] in between; at the end of the script a read answers Again, or end of file once
/// [`FakeStdio::close`] was called.
#[derive(Default)]
pub struct FakeStdio {
    state: Mutex<StdioState>,
}

#[derive(Default)]
struct StdioState {
    input: VecDeque<Input>,
    closed: bool,
    out: Vec<u8>,
    err: Vec<u8>,
    /// The most that one write takes.
    write_limit: Option<usize>,
    /// Writes that still answer Again.
    write_again: usize,
    broken: bool,
    terminal: bool,
    waker: Option<Waker>,
}

impl StdioState {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

enum Input {
    Piece(Vec<u8>),
    NotYet,
}

impl FakeStdio {
    /// A piece of input.
    pub fn feed(&self, piece: &[u8]) -> &Self {
        if !piece.is_empty() {
            let mut state = self.state.lock();
            state.input.push_back(Input::Piece(piece.to_vec()));
            state.wake();
        }
        self
    }

    /// One "nothing yet" before what is fed next.
    pub fn later(&self) -> &Self {
        self.state.lock().input.push_back(Input::NotYet);
        self
    }

    /// End of file after what was fed.
    pub fn close(&self) -> &Self {
        let mut state = self.state.lock();
        state.closed = true;
        state.wake();
        drop(state);
        self
    }

    /// The most that one write takes from now on; `None`: all of it.
    pub fn short_writes(&self, most: Option<usize>) -> &Self {
        self.state.lock().write_limit = most.map(|most| most.max(1));
        self
    }

    /// The next `times` writes answer [`Errno::Again`].
    pub fn stall_writes(&self, times: usize) -> &Self {
        self.state.lock().write_again = times;
        self
    }

    /// Nobody listens any more: every write answers [`Errno::Pipe`].
    pub fn break_pipe(&self) -> &Self {
        self.state.lock().broken = true;
        self
    }

    pub fn set_terminal(&self, on: bool) -> &Self {
        self.state.lock().terminal = on;
        self
    }

    /// What was written to standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.state.lock().out.clone()
    }

    /// What was written to standard error so far.
    pub fn stderr(&self) -> Vec<u8> {
        self.state.lock().err.clone()
    }

    /// [`FakeStdio::stdout`] as text, for messages.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().out).into_owned()
    }
}

impl Stdio for FakeStdio {
    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if buf.is_empty() {
            return Ok(0);
        }
        match state.input.front_mut() {
            Some(Input::Piece(piece)) => {
                let take = piece.len().min(buf.len());
                buf[..take].copy_from_slice(&piece[..take]);
                piece.drain(..take);
                if piece.is_empty() {
                    state.input.pop_front();
                }
                Ok(take)
            }
            Some(Input::NotYet) => {
                state.input.pop_front();
                Err(Errno::Again)
            }
            None if state.closed => Ok(0),
            None => Err(Errno::Again),
        }
    }

    fn input(&self) -> Ready {
        let state = self.state.lock();
        match state.input.front() {
            Some(Input::Piece(piece)) => Ready { bytes: piece.len() as u64, hangup: false },
            Some(Input::NotYet) => Ready::default(),
            None => Ready { bytes: 0, hangup: state.closed },
        }
    }

    fn register_input(&self, waker: &Waker) {
        let mut state = self.state.lock();
        let ready = !state.input.is_empty() || state.closed;
        let old = if ready { state.waker.take() } else { replace_waker(&mut state.waker, waker) };
        drop(state);
        if ready {
            waker.wake_by_ref();
        }
        if let Some(old) = old {
            old.wake();
        }
    }

    fn write(&self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        let mut state = self.state.lock();
        if state.broken {
            return Err(Errno::Pipe);
        }
        if state.write_again > 0 {
            state.write_again -= 1;
            return Err(Errno::Again);
        }
        let take = buf.len().min(state.write_limit.unwrap_or(usize::MAX));
        match stream {
            Stream::Out => state.out.extend_from_slice(&buf[..take]),
            Stream::Err => state.err.extend_from_slice(&buf[..take]),
        }
        Ok(take)
    }

    fn is_terminal(&self) -> bool {
        self.state.lock().terminal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_comes_as_the_script_says() {
        let stdio = FakeStdio::default();
        stdio.feed(b"abc").later().feed(b"d");
        let mut buf = [0; 2];
        assert_eq!(stdio.input(), Ready { bytes: 3, hangup: false });
        assert_eq!(stdio.read(&mut buf), Ok(2));
        assert_eq!(stdio.read(&mut buf), Ok(1));
        assert!(!stdio.input().any());
        assert_eq!(stdio.read(&mut buf), Err(Errno::Again));
        assert_eq!(stdio.read(&mut buf), Ok(1));
        assert_eq!(buf[0], b'd');
        assert_eq!(stdio.read(&mut buf), Err(Errno::Again));
        stdio.close();
        assert!(stdio.input().any());
        assert_eq!(stdio.read(&mut buf), Ok(0));
    }

    #[test]
    fn output_is_kept_apart_and_can_fail() {
        let stdio = FakeStdio::default();
        stdio.short_writes(Some(3)).stall_writes(1);
        assert_eq!(stdio.write(Stream::Out, b"hello"), Err(Errno::Again));
        assert_eq!(stdio.write(Stream::Out, b"hello"), Ok(3));
        assert_eq!(stdio.write(Stream::Err, b"no"), Ok(2));
        stdio.break_pipe();
        assert_eq!(stdio.write(Stream::Out, b"lo"), Err(Errno::Pipe));
        assert_eq!((stdio.stdout().as_slice(), stdio.stderr().as_slice()), (&b"hel"[..], &b"no"[..]));
    }

    #[test]
    fn a_seed_is_a_world_and_time_is_pushed() {
        let fill = |seed| {
            let mut buf = [0; 13];
            FakeRandom::new(seed).fill(&mut buf).map(|()| buf)
        };
        assert_eq!(fill(1), fill(1));
        assert_ne!(fill(1), fill(2));
        let world = FakeWorld::new(1);
        world.random.set_unseeded(true);
        let mut buf = [7; 4];
        assert_eq!(world.random.fill(&mut buf), Err(Errno::Again));
        assert_eq!(buf, [7; 4]);
        let before = world.clock.monotonic();
        world.clock.advance(5);
        assert_eq!(world.clock.monotonic(), before + 5);
        assert_eq!(world.clock.wall(), Some(FAKE_EPOCH + 5));
        world.clock.set_wall(None);
        assert_eq!(world.clock.wall(), None);
    }
}
