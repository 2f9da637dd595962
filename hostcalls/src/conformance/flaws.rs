//! Every check of the network can fail: for each there is a network with one flaw, and the check finds it.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    task::Waker,
};

use spin::Mutex;

use super::{NET_CHECKS, NetWorld};
use crate::{
    Errno, Interest, Lookup, Nanos, Net, Ready, Shutdown, Source, TcpListener, TcpStream, UdpSocket,
    fake::{FakeNet, FakeWorld},
};

/// What is wrong with the network, and the check that finds it.
const FLAWS: &[(Flaw, &str)] = &[
    (Flaw::NoLoopback, "the host's own addresses are known"),
    (Flaw::SaysPortZero, "a listener on port 0 gets a free port"),
    (Flaw::SharesPorts, "an address in use is refused"),
    (Flaw::HasAllAddresses, "an address of somebody else is refused"),
    (Flaw::AcceptsNewest, "connections are accepted, the oldest first"),
    (Flaw::AcceptNamesItself, "both ends know both addresses"),
    (Flaw::RefusalIsSilence, "where nobody listens, a connection is refused"),
    (Flaw::AnyPortConnects, "nothing connects to port 0"),
    (Flaw::NothingIsEnd, "what can't be done now says so"),
    (Flaw::EndUnseen, "readiness agrees with what can be done"),
    (Flaw::FlipsAByte, "a megabyte goes both ways in odd pieces"),
    (Flaw::Swallows, "a writer whom nobody reads has to wait"),
    (Flaw::PeekTakes, "a look takes nothing"),
    (Flaw::HalfIsWhole, "one half is closed and the other goes on"),
    (Flaw::ReadsOn, "a half closed for reading is at its end"),
    (Flaw::CloseAborts, "what was written before a close arrives"),
    (Flaw::ResetIsEnd, "an abort is seen once, by a read"),
    (Flaw::ResetIsPipe, "an abort is seen once, by a write"),
    (Flaw::CloseReads, "a close with data unread is a reset"),
    (Flaw::WakesNobody, "whatever comes wakes"),
    (Flaw::FirstWakerStays, "a waker gives way to the next"),
    (Flaw::WakesTheAsker, "a waker gives way to the next"),
    (Flaw::BacklogOfOne, "many wait to be accepted"),
    (Flaw::NoBacklogOfNone, "any backlog may be asked for"),
    (Flaw::SixtyAtMost, "a hundred connections at once are kept apart"),
    (Flaw::SkipsTheEnded, "a connection that ended is still accepted"),
    (Flaw::GivingUpClogs, "connections given up do no harm"),
    (Flaw::ListenersStay, "a dropped listener is gone, its connections stay"),
    (Flaw::ListenersStay, "who waits at a dropped listener is told"),
    (Flaw::KeepAliveKills, "options are taken in every state"),
    (Flaw::ForgesSenders, "datagrams go and come back"),
    (Flaw::CutsInSilence, "datagrams keep their edges"),
    (Flaw::TakesAnySize, "too large a datagram is refused"),
    (Flaw::MindsNobody, "a datagram to nobody does no harm"),
    (Flaw::OnePortSpace, "the ports of TCP and UDP are apart"),
    (Flaw::NoWayToSix, "::1 is as good as 127.0.0.1"),
    (Flaw::AllIsSix, "a listener on all addresses takes all"),
    (Flaw::LocalhostIsOut, "addresses and localhost resolve to themselves"),
    (Flaw::NonsenseIsNoent, "what is no name is not asked for"),
    (Flaw::NeverStops, "stopped, listeners are closed and connections stay"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    NoLoopback,
    SaysPortZero,
    SharesPorts,
    HasAllAddresses,
    AcceptsNewest,
    AcceptNamesItself,
    RefusalIsSilence,
    AnyPortConnects,
    NothingIsEnd,
    EndUnseen,
    FlipsAByte,
    Swallows,
    PeekTakes,
    HalfIsWhole,
    ReadsOn,
    CloseAborts,
    ResetIsEnd,
    ResetIsPipe,
    CloseReads,
    WakesNobody,
    FirstWakerStays,
    WakesTheAsker,
    BacklogOfOne,
    NoBacklogOfNone,
    SixtyAtMost,
    SkipsTheEnded,
    GivingUpClogs,
    ListenersStay,
    KeepAliveKills,
    ForgesSenders,
    CutsInSilence,
    TakesAnySize,
    MindsNobody,
    OnePortSpace,
    NoWayToSix,
    AllIsSix,
    LocalhostIsOut,
    NonsenseIsNoent,
    NeverStops,
}

fn check(flaw: Flaw, name: &str) -> Result<(), alloc::string::String> {
    let (_, check) = NET_CHECKS.iter().find(|(known, _)| *known == name).expect(name);
    let world = FakeWorld::new(1);
    let flawed = Flawed { net: world.net.clone(), common: Arc::new(Common::new(flaw)) };
    check(&NetWorld { net: &flawed, wait: &|wait| world.net.wait(wait) })
}

#[test]
fn each_check_finds_its_flaw() {
    for (name, _) in NET_CHECKS {
        assert!(FLAWS.iter().any(|(_, known)| known == name), "nothing makes this fail: {name}");
        assert_eq!(check(Flaw::None, name), Ok(()), "{name}");
    }
    for (flaw, name) in FLAWS {
        assert!(check(*flaw, name).is_err(), "{flaw:?} is not seen by: {name}");
    }
}

/// A network with a flaw.
struct Flawed {
    net: FakeNet,
    common: Arc<Common>,
}

struct Common {
    flaw: Flaw,
    streams: AtomicUsize,
    clogged: AtomicBool,
    listening: Mutex<Vec<SocketAddr>>,
    bound: Mutex<Vec<SocketAddr>>,
    kept: Mutex<Vec<Arc<dyn TcpListener>>>,
}

impl Common {
    fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            streams: AtomicUsize::new(0),
            clogged: AtomicBool::new(false),
            listening: Mutex::default(),
            bound: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn stream(self: &Arc<Self>, inner: Arc<dyn TcpStream>) -> Arc<dyn TcpStream> {
        self.streams.fetch_add(1, Relaxed);
        Arc::new(Stream {
            inner,
            common: self.clone(),
            got: AtomicUsize::new(0),
            registered: Default::default(),
        })
    }
}

impl Net for Flawed {
    fn listen(&self, at: SocketAddr, backlog: usize) -> Result<Arc<dyn TcpListener>, Errno> {
        let mut at = at;
        if self.common.has(Flaw::HasAllAddresses) && !at.ip().is_unspecified() {
            at.set_ip([127, 0, 0, 1].into());
        }
        if self.common.has(Flaw::AllIsSix) && at.ip().is_unspecified() {
            at.set_ip([0u16, 0, 0, 0, 0, 0, 0, 1].into());
        }
        if self.common.has(Flaw::NoBacklogOfNone) && backlog == 0 {
            return Err(Errno::Inval);
        }
        let backlog = if self.common.has(Flaw::BacklogOfOne) { 1 } else { backlog };
        let inner = match self.net.listen(at, backlog) {
            Err(Errno::Addrinuse) if self.common.has(Flaw::SharesPorts) => {
                self.net.listen(SocketAddr::new(at.ip(), 0), backlog)?
            }
            other => other?,
        };
        if self.common.has(Flaw::ListenersStay) {
            self.common.kept.lock().push(inner.clone());
        }
        self.common.listening.lock().push(inner.local());
        Ok(Arc::new(Listener { inner, common: self.common.clone() }))
    }

    fn connect(&self, to: SocketAddr) -> Result<Arc<dyn TcpStream>, Errno> {
        if self.common.has(Flaw::SixtyAtMost) && self.common.streams.load(Relaxed) >= 60 {
            return Err(Errno::Nobufs);
        }
        if self.common.has(Flaw::NoWayToSix) && to.is_ipv6() {
            return Err(Errno::Netunreach);
        }
        Ok(self.common.stream(self.net.connect(to)?))
    }

    fn bind(&self, at: SocketAddr) -> Result<Arc<dyn UdpSocket>, Errno> {
        if self.common.has(Flaw::OnePortSpace) && self.common.listening.lock().contains(&at) {
            return Err(Errno::Addrinuse);
        }
        let inner = self.net.bind(at)?;
        self.common.bound.lock().push(inner.local());
        Ok(Arc::new(Socket { inner, common: self.common.clone(), minds: AtomicBool::new(false) }))
    }

    fn resolve(&self, name: &str) -> Result<Arc<dyn Lookup>, Errno> {
        if self.common.has(Flaw::LocalhostIsOut) && name.starts_with("local") {
            return self.net.resolve("10.0.2.15");
        }
        match self.net.resolve(name) {
            Err(Errno::Inval) if self.common.has(Flaw::NonsenseIsNoent) => Err(Errno::Noent),
            other => other,
        }
    }

    fn addresses(&self) -> Vec<(IpAddr, u8)> {
        let mut all = self.net.addresses();
        if self.common.has(Flaw::NoLoopback) {
            all.retain(|(ip, _)| !ip.is_loopback());
        }
        all
    }

    fn close_listeners(&self) {
        if !self.common.has(Flaw::NeverStops) {
            self.net.close_listeners();
        }
    }
}

struct Stream {
    inner: Arc<dyn TcpStream>,
    common: Arc<Common>,
    got: AtomicUsize,
    registered: [AtomicBool; 2],
}

impl Source for Stream {
    fn ready(&self, interest: Interest) -> Ready {
        let ready = self.inner.ready(interest);
        Ready { hangup: ready.hangup && !self.common.has(Flaw::EndUnseen), ..ready }
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        let again = self.registered[interest as usize].swap(true, Relaxed);
        if self.common.has(Flaw::WakesNobody) || again && self.common.has(Flaw::FirstWakerStays) {
            return;
        }
        if again && self.common.has(Flaw::WakesTheAsker) {
            waker.wake_by_ref();
        }
        self.inner.register(interest, waker);
    }
}

impl TcpStream for Stream {
    fn connected(&self) -> Result<(), Errno> {
        match self.inner.connected() {
            Err(Errno::Connrefused) if self.common.has(Flaw::RefusalIsSilence) => Err(Errno::Again),
            Err(Errno::Connrefused) if self.common.has(Flaw::AnyPortConnects) => Ok(()),
            other => other,
        }
    }

    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        let read = match self.inner.read(buf) {
            Err(Errno::Again) if self.common.has(Flaw::NothingIsEnd) => Ok(0),
            Err(Errno::Connreset) if self.common.has(Flaw::ResetIsEnd) => Ok(0),
            other => other,
        }?;
        const AT: usize = 777_777;
        let got = self.got.fetch_add(read, Relaxed);
        if self.common.has(Flaw::FlipsAByte) && (got..got + read).contains(&AT) {
            buf[AT - got] = buf[AT - got].wrapping_add(1);
        }
        Ok(read)
    }

    fn peek(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        if self.common.has(Flaw::PeekTakes) { self.inner.read(buf) } else { self.inner.peek(buf) }
    }

    fn write(&self, buf: &[u8]) -> Result<usize, Errno> {
        match self.inner.write(buf) {
            Err(Errno::Again) if self.common.has(Flaw::Swallows) => Ok(buf.len()),
            Err(Errno::Connreset) if self.common.has(Flaw::ResetIsPipe) => Err(Errno::Pipe),
            other => other,
        }
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        match how {
            Shutdown::Write if self.common.has(Flaw::HalfIsWhole) => self.inner.shutdown(Shutdown::Both),
            Shutdown::Read if self.common.has(Flaw::ReadsOn) => Ok(()),
            _ => self.inner.shutdown(how),
        }
    }

    fn local(&self) -> SocketAddr {
        self.inner.local()
    }

    fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    fn set_nodelay(&self, on: bool) {
        self.inner.set_nodelay(on);
    }

    fn set_keep_alive(&self, after: Option<Nanos>) {
        if self.common.has(Flaw::KeepAliveKills) {
            self.inner.abort();
        }
        self.inner.set_keep_alive(after);
    }

    fn abort(&self) {
        self.inner.abort();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.common.streams.fetch_sub(1, Relaxed);
        if self.common.has(Flaw::GivingUpClogs) && self.inner.connected() == Err(Errno::Again) {
            self.common.clogged.store(true, Relaxed);
        }
        if self.common.has(Flaw::CloseAborts) {
            self.inner.abort();
        }
        while self.common.has(Flaw::CloseReads) && self.inner.read(&mut [0; 100]).is_ok_and(|read| read > 0) {
        }
    }
}

struct Listener {
    inner: Arc<dyn TcpListener>,
    common: Arc<Common>,
}

impl Source for Listener {
    fn ready(&self, interest: Interest) -> Ready {
        self.inner.ready(interest)
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.inner.register(interest, waker);
    }
}

impl TcpListener for Listener {
    fn accept(&self) -> Result<(Arc<dyn TcpStream>, SocketAddr), Errno> {
        if self.common.clogged.load(Relaxed) {
            return Err(Errno::Again);
        }
        let (mut stream, mut from) = self.inner.accept()?;
        if self.common.has(Flaw::AcceptsNewest) {
            // The others are kept for later, by nobody.
            let rest: Vec<_> = core::iter::from_fn(|| self.inner.accept().ok()).collect();
            if let Some((last, last_from)) = rest.last() {
                (stream, from) = (last.clone(), *last_from);
            }
            Box::leak(Box::new(rest));
        }
        if self.common.has(Flaw::SkipsTheEnded) && stream.ready(Interest::Read).hangup {
            return Err(Errno::Again);
        }
        if self.common.has(Flaw::AcceptNamesItself) {
            from = stream.local();
        }
        Ok((self.common.stream(stream), from))
    }

    fn local(&self) -> SocketAddr {
        let local = self.inner.local();
        if self.common.has(Flaw::SaysPortZero) { SocketAddr::new(local.ip(), 0) } else { local }
    }
}

struct Socket {
    inner: Arc<dyn UdpSocket>,
    common: Arc<Common>,
    minds: AtomicBool,
}

impl Source for Socket {
    fn ready(&self, interest: Interest) -> Ready {
        self.inner.ready(interest)
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.inner.register(interest, waker);
    }
}

impl UdpSocket for Socket {
    fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, usize, SocketAddr), Errno> {
        if self.minds.swap(false, Relaxed) {
            return Err(Errno::Connrefused);
        }
        let (took, mut whole, mut from) = self.inner.recv_from(buf)?;
        if self.common.has(Flaw::CutsInSilence) {
            whole = took;
        }
        if self.common.has(Flaw::ForgesSenders) {
            from.set_port(from.port() ^ 1);
        }
        Ok((took, whole, from))
    }

    fn send_to(&self, buf: &[u8], to: SocketAddr) -> Result<(), Errno> {
        if self.common.has(Flaw::MindsNobody) && !self.common.bound.lock().contains(&to) {
            self.minds.store(true, Relaxed);
        }
        match self.inner.send_to(buf, to) {
            Err(Errno::Msgsize) if self.common.has(Flaw::TakesAnySize) => Ok(()),
            other => other,
        }
    }

    fn local(&self) -> SocketAddr {
        self.inner.local()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let local = self.inner.local();
        self.common.bound.lock().retain(|bound| *bound != local);
    }
}
