//! Stacks on a simulated wire, in virtual time, and programs that use them as guests do.
//!
//! Programs are tasks on the executor that the kernel has, woken by the stacks and by nothing else: a wake-up that is
//! forgotten leaves a world in which nothing happens any more, and that is a panic here.

#![allow(dead_code, reason = "each test takes what it needs")]

mod link;

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

pub(crate) use link::{Faults, MS, Nanos, Port, Random, SECOND, Wire};
use lunette_hostcalls::{
    Clock, Errno, Interest, Log, Net, Ready, Shutdown, Source, Stdio, Stream, TcpListener, TcpStream, Wait,
    fake::FakeRandom,
    task::{self, Executor, Timers},
};
use lunette_net::{Config, Stack, V4, V6};
use sha2::{Digest, Sha256};

/// The time that all share.
#[derive(Default)]
pub(crate) struct SimClock(AtomicU64);

impl Clock for SimClock {
    fn monotonic(&self) -> Nanos {
        self.0.load(Ordering::Relaxed)
    }

    fn wall(&self) -> Option<Nanos> {
        None
    }
}

/// What stacks say of themselves is of no interest.
struct NoLog;

impl Log for NoLog {
    fn warn(&self, _: std::fmt::Arguments<'_>) {}
}

/// Nobody types.
struct NoStdio;

impl Stdio for NoStdio {
    fn read(&self, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::Again)
    }

    fn input(&self) -> Ready {
        Ready::default()
    }

    fn register_input(&self, _: &Waker) {}

    fn write(&self, _: Stream, buf: &[u8]) -> Result<usize, Errno> {
        Ok(buf.len())
    }
}

/// A wire, and the stacks at its ends.
pub(crate) struct World {
    pub(crate) wire: Wire,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) random: Random,
    stacks: Vec<Arc<Stack<Port>>>,
    timers: Arc<Timers>,
    /// The test has failed if it is still running then.
    limit: Nanos,
    /// How often all were polled at one instant.
    spins: u32,
}

impl World {
    pub(crate) fn new(name: &str, seed: u64, faults: Faults) -> Self {
        Self {
            wire: Wire::new(name, seed, faults),
            clock: Arc::default(),
            random: Random::new(!seed),
            stacks: Vec::new(),
            timers: Arc::default(),
            limit: 600 * SECOND,
            spins: 0,
        }
    }

    /// One more stack: `10.0.0.N/24` and `fd00::N/64`, the first has N = 1.
    pub(crate) fn stack(&mut self) -> Arc<Stack<Port>> {
        let number = self.stacks.len() as u8 + 1;
        self.stack_with(Config {
            ipv4: V4::Static { address: ([10, 0, 0, number].into(), 24), gateway: None },
            ipv6: V6::Static {
                address: ([0xfd00, 0, 0, 0, 0, 0, 0, number.into()].into(), 64),
                gateway: None,
            },
            ..Config::default()
        })
    }

    pub(crate) fn stack_with(&mut self, config: Config) -> Arc<Stack<Port>> {
        let number = self.stacks.len() as u8 + 1;
        let config = Config { mac: [2, 0, 0, 0, 0, number], ..config };
        let random = Arc::new(FakeRandom::new(self.random.next()));
        let stack = Stack::new(self.wire.port(), config, self.clock.clone(), random, Arc::new(NoLog));
        self.stacks.push(stack.clone());
        stack
    }

    pub(crate) fn now(&self) -> Nanos {
        self.clock.monotonic()
    }

    pub(crate) fn set_limit(&mut self, limit: Nanos) {
        self.limit = limit;
    }

    /// What a program needs to wait.
    pub(crate) fn waits(&self) -> Waits {
        Waits { clock: self.clock.clone(), timers: self.timers.clone() }
    }

    /// Runs these programs to their ends. Returns how long that took, in virtual time.
    pub(crate) fn run<'a>(&mut self, programs: impl IntoIterator<Item = Program<'a>>) -> Nanos {
        let began = self.now();
        let mut executor = Executor::new(self.timers.clone());
        for program in programs {
            executor.spawn(program);
        }
        let clock = self.clock.clone();
        while executor.next(&*clock, self).is_some() {}
        self.now() - began
    }

    /// Lets the world go on for so long, with no program in it.
    pub(crate) fn pass(&mut self, time: Nanos) {
        let waits = self.waits();
        self.run([program(async move { waits.sleep(time).await })]);
    }

    /// Lets all stacks do what they have to. When they have to again, at the latest.
    fn poll(&self) -> Option<Nanos> {
        self.stacks.iter().filter_map(|stack| stack.poll()).min()
    }
}

impl task::Host for World {
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()> {
        let due = self.poll();
        if idle {
            let next = due.into_iter().chain(self.wire.next()).chain(until).min();
            let Some(next) = next else { panic!("tasks wait, and nothing will ever happen") };
            let now = self.now().max(next);
            assert!(now <= self.limit, "still running after {} s", self.limit / SECOND);
            self.spins = if now > self.now() { 0 } else { self.spins + 1 };
            assert!(self.spins < 10_000, "polled and polled, and no time passes");
            self.clock.0.store(now, Ordering::Relaxed);
            self.wire.advance(now);
        }
        ControlFlow::Continue(())
    }

    fn begin_interruptible(&mut self) -> bool {
        true
    }

    fn end_interruptible(&mut self) {}
}

pub(crate) type Program<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

pub(crate) fn program<'a>(future: impl Future<Output = ()> + 'a) -> Program<'a> {
    Box::pin(future)
}

/// How programs wait, and what they do while they do.
#[derive(Clone)]
pub(crate) struct Waits {
    clock: Arc<SimClock>,
    timers: Arc<Timers>,
}

impl Waits {
    pub(crate) fn now(&self) -> Nanos {
        self.clock.monotonic()
    }

    pub(crate) async fn ready(&self, wait: &Wait) {
        task::ready(wait, &*self.clock, &NoStdio, &self.timers).await;
    }

    pub(crate) async fn sleep(&self, time: Nanos) {
        let until = self.now() + time.max(1);
        while self.now() < until {
            self.ready(&Wait::until(until)).await;
        }
    }

    /// Does `what` until it is done.
    pub(crate) async fn until<T>(
        &self,
        source: Arc<dyn Source>,
        interest: Interest,
        mut what: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let wait = Wait::socket(source, interest);
        loop {
            match what() {
                Err(Errno::Again) => self.ready(&wait).await,
                done => return done,
            }
        }
    }

    pub(crate) async fn connect(&self, net: &dyn Net, to: SocketAddr) -> Result<Arc<dyn TcpStream>, Errno> {
        let stream = net.connect(to)?;
        self.until(stream.clone(), Interest::Write, || stream.connected()).await?;
        Ok(stream)
    }

    pub(crate) async fn accept(&self, listener: &Arc<dyn TcpListener>) -> Result<Arc<dyn TcpStream>, Errno> {
        Ok(self.until(listener.clone(), Interest::Read, || listener.accept()).await?.0)
    }

    pub(crate) async fn read(&self, stream: &Arc<dyn TcpStream>, buf: &mut [u8]) -> Result<usize, Errno> {
        self.until(stream.clone(), Interest::Read, || stream.read(buf)).await
    }

    pub(crate) async fn write(&self, stream: &Arc<dyn TcpStream>, buf: &[u8]) -> Result<usize, Errno> {
        self.until(stream.clone(), Interest::Write, || stream.write(buf)).await
    }

    pub(crate) async fn write_all(&self, stream: &Arc<dyn TcpStream>, mut buf: &[u8]) -> Result<(), Errno> {
        while !buf.is_empty() {
            buf = &buf[self.write(stream, buf).await?..];
        }
        Ok(())
    }

    /// Writes `total` bytes that nobody could guess, in pieces of `piece` bytes at most, then ends its half. Returns
    /// their hash.
    pub(crate) async fn send(
        &self,
        stream: &Arc<dyn TcpStream>,
        seed: u64,
        total: usize,
        piece: usize,
    ) -> Result<Hash, Errno> {
        let (mut random, mut hash) = (Random::new(seed), Sha256::new());
        let mut buf = vec![0; piece];
        let mut left = total;
        while left > 0 {
            let length = (1 + random.below(piece as u64) as usize).min(left);
            random.fill(&mut buf[..length]);
            hash.update(&buf[..length]);
            self.write_all(stream, &buf[..length]).await?;
            left -= length;
        }
        stream.shutdown(Shutdown::Write)?;
        Ok(hash.finalize().into())
    }

    /// Reads to the end, in pieces of `piece` bytes at most, with a rest of `rest` after each. Returns how many bytes
    /// there were, and their hash.
    pub(crate) async fn receive(
        &self,
        stream: &Arc<dyn TcpStream>,
        piece: usize,
        rest: Nanos,
    ) -> Result<(usize, Hash), Errno> {
        let (mut total, mut hash) = (0, Sha256::new());
        let mut buf = vec![0; piece];
        loop {
            let length = self.read(stream, &mut buf).await?;
            if length == 0 {
                return Ok((total, hash.finalize().into()));
            }
            hash.update(&buf[..length]);
            total += length;
            if rest > 0 {
                self.sleep(rest).await;
            }
        }
    }
}

pub(crate) type Hash = [u8; 32];

/// The address of the `number`th stack (from 1).
pub(crate) fn v4(number: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], port))
}

pub(crate) fn v6(number: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)]), port)
}
