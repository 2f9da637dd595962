//! A network in memory: hosts on one wire, with the weather that a test asks for.
//!
//! Promises: the same seed, the same calls and the same steps of the clock give the same run. Streams keep their order
//! whatever is lost or late; nothing happens but when the clock has come to it, and then [`FakeNet::poll`], or any
//! operation, lets it happen and wakes whom it concerns.
//!
//! Does not: know packets, or be fair to those who share its wire. A lost piece of a stream is a late one.
//!
//! ```
//! use std::net::SocketAddr;
//! use lunette_hostcalls::{Errno, Interest, Net, Wait, fake::FakeWorld};
//!
//! let world = FakeWorld::new(42);
//! let database = world.net.host("10.0.0.5".parse().unwrap());
//! world.net.name("db.internal", 2_000_000, Ok(vec!["10.0.0.5".parse().unwrap()]));
//! let at: SocketAddr = "10.0.0.5:5432".parse().unwrap();
//! let listener = database.listen(at, 4).unwrap();
//!
//! let client = world.net.connect(at).unwrap();
//! assert_eq!(client.connected(), Err(Errno::Again));
//! world.net.wait(&Wait::socket(client.clone(), Interest::Write));
//! assert_eq!(client.connected(), Ok(()));
//! let (server, _) = listener.accept().unwrap();
//! assert_eq!(server.peer(), client.local());
//! ```

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    sync::Arc,
    vec,
    vec::Vec,
};
use core::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::Waker,
};

use spin::Mutex;

use super::{FakeClock, FakeRandom};
use crate::{
    Clock, Errno, Interest, Lookup, Nanos, Net, Ready, Shutdown, Source, TcpListener, TcpStream, UdpSocket,
    Wait, grants::name_fault, task::replace_waker,
};

/// One host of a network in memory. Clones are the same host; [`FakeNet::host`] makes others.
#[derive(Clone)]
pub struct FakeNet {
    shared: Arc<Shared>,
    host: usize,
}

/// What the wire does to what it carries.
#[derive(Clone, Debug)]
pub struct Weather {
    /// How long everything takes.
    pub latency: Nanos,
    /// Up to how much longer.
    pub jitter: Nanos,
    /// Of 1,000 pieces of streams, how many come only when they are sent again.
    pub loss: u64,
    /// Of 1,000 datagrams, how many never come.
    pub datagram_loss: u64,
    /// Of 1,000 writes, how many break the connection: both ends see a reset.
    pub resets: u64,
    /// Reads and writes take some of what they could.
    pub short: bool,
    /// How many bytes of a stream can be on their way, or wait to be read.
    pub window: usize,
}

impl Weather {
    /// 100 µs, and nothing else.
    pub const CALM: Self = Self {
        latency: 100_000,
        jitter: 0,
        loss: 0,
        datagram_loss: 0,
        resets: 0,
        short: false,
        window: 64 << 10,
    };

    /// Late, lost, and in small pieces; nothing breaks.
    pub const STORMY: Self =
        Self { latency: 1_000_000, jitter: 5_000_000, loss: 20, short: true, window: 5_000, ..Self::CALM };
}

/// How much later what was lost comes: doubled each time.
const RETRANSMISSION: Nanos = 200_000_000;
/// When it is clear that nobody has an address.
const NOBODY: Nanos = 3_000_000_000;
/// When a host that says nothing is given up.
const SILENCE: Nanos = 30_000_000_000;
/// Datagrams that wait to be received.
const MAX_DATAGRAMS: usize = 256;
/// The largest that IPv4 can carry.
const MAX_DATAGRAM: usize = 65_507;

type Id = u64;
type Answer = Result<Vec<IpAddr>, Errno>;

struct Shared {
    clock: Arc<FakeClock>,
    state: Mutex<State>,
}

struct State {
    random: FakeRandom,
    weather: Weather,
    hosts: Vec<Host>,
    /// What is on its way, by its time; the number tells equal times apart.
    due: BTreeMap<(Nanos, Id), Event>,
    count: Id,
    ends: BTreeMap<Id, End>,
    listeners: BTreeMap<Id, Listener>,
    sockets: BTreeMap<Id, Socket>,
    questions: BTreeMap<Id, Question>,
    asked: Vec<String>,
    names: BTreeMap<String, (Nanos, Answer)>,
    other_names: (Nanos, Answer),
    silent: BTreeSet<IpAddr>,
    /// To be woken once nothing is locked.
    woken: Vec<Waker>,
}

struct Host {
    addresses: Vec<(IpAddr, u8)>,
    stopped: bool,
    last_port: u16,
}

/// One end of a connection.
struct End {
    host: usize,
    local: SocketAddr,
    peer: SocketAddr,
    /// The peer's, once it is there.
    other: Option<Id>,
    connecting: bool,
    inbox: VecDeque<u8>,
    /// How many more bytes may be written.
    room: usize,
    /// When the last that was sent arrives.
    last: Nanos,
    /// The peer wrote to its end.
    eof: bool,
    /// To be told once.
    error: Option<Errno>,
    /// Nothing more comes or goes.
    dead: bool,
    read_shut: bool,
    write_shut: bool,
    wakers: Wakers,
}

#[derive(Default)]
struct Wakers([Option<Waker>; 2]);

struct Listener {
    host: usize,
    at: SocketAddr,
    backlog: usize,
    queue: VecDeque<Id>,
    canceled: bool,
    wakers: Wakers,
}

struct Socket {
    host: usize,
    at: SocketAddr,
    queue: VecDeque<(SocketAddr, Vec<u8>)>,
    wakers: Wakers,
}

struct Question {
    answer: Option<Answer>,
    wakers: Wakers,
}

enum Event {
    /// A connection is asked for, this often already.
    Syn(Id, u32),
    Made(Id),
    Failed(Id, Errno),
    Data {
        to: Id,
        from: Id,
        data: Vec<u8>,
    },
    Fin(Id),
    Reset(Id),
    /// The peer has read.
    Room(Id, usize),
    Datagram {
        to: Id,
        from: SocketAddr,
        data: Vec<u8>,
    },
    Answer(Id, Answer),
}

impl FakeNet {
    /// A host with a loopback, 10.0.2.15/24 and fec0::15/64, in calm weather.
    pub fn new(clock: Arc<FakeClock>, seed: u64) -> Self {
        let state = State {
            random: FakeRandom::new(seed),
            weather: Weather::CALM,
            hosts: Vec::new(),
            due: BTreeMap::new(),
            count: 0,
            ends: BTreeMap::new(),
            listeners: BTreeMap::new(),
            sockets: BTreeMap::new(),
            questions: BTreeMap::new(),
            asked: Vec::new(),
            names: BTreeMap::new(),
            other_names: (0, Err(Errno::Noent)),
            silent: BTreeSet::new(),
            woken: Vec::new(),
        };
        let net = Self { shared: Arc::new(Shared { clock, state: Mutex::new(state) }), host: 0 };
        net.add_host(&[
            (IpAddr::V4(Ipv4Addr::new(10, 0, 2, 15)), 24),
            (IpAddr::V6(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0x15)), 64),
        ])
    }

    /// Another host on the wire, which a test plays: it listens, connects and sends as this one does.
    pub fn host(&self, ip: IpAddr) -> Self {
        self.add_host(&[(ip, if ip.is_ipv4() { 24 } else { 64 })])
    }

    fn add_host(&self, addresses: &[(IpAddr, u8)]) -> Self {
        let mut all = vec![(IpAddr::V4(Ipv4Addr::LOCALHOST), 8), (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)];
        all.extend_from_slice(addresses);
        let host = self.shared.with(|state, _| {
            state.hosts.push(Host { addresses: all, stopped: false, last_port: 49_151 });
            state.hosts.len() - 1
        });
        Self { shared: self.shared.clone(), host }
    }

    /// From now on, on the whole wire.
    pub fn set_weather(&self, weather: Weather) {
        self.shared.with(|state, _| state.weather = weather);
    }

    /// Nobody at this address ever says anything.
    pub fn set_silent(&self, ip: IpAddr) {
        self.shared.with(|state, _| state.silent.insert(ip));
    }

    /// What is answered when this name is asked for, and after how long.
    pub fn name(&self, name: &str, after: Nanos, answer: Answer) {
        self.shared.with(|state, _| state.names.insert(plain(name), (after, answer)));
    }

    /// What is answered for all other names: at first, that they are not there.
    pub fn other_names(&self, after: Nanos, answer: Answer) {
        self.shared.with(|state, _| state.other_names = (after, answer));
    }

    /// The names that were asked for so far: not literal addresses, and not localhost.
    pub fn asked(&self) -> Vec<String> {
        self.shared.with(|state, _| state.asked.clone())
    }

    /// Breaks every connection of this host's port: all ends see a reset.
    pub fn break_port(&self, port: u16) {
        self.shared.with(|state, now| {
            let of_port =
                state.ends.iter().filter(|(_, end)| end.host == self.host && end.local.port() == port);
            let ids: Vec<Id> = of_port.flat_map(|(id, end)| [Some(*id), end.other]).flatten().collect();
            ids.into_iter().for_each(|id| state.at(now, Event::Reset(id)));
        });
        self.poll();
    }

    /// How many connections' ends, listeners, sockets and questions are open, on all hosts.
    pub fn open(&self) -> usize {
        self.shared.with(|state, _| {
            state.ends.len() + state.listeners.len() + state.sockets.len() + state.questions.len()
        })
    }

    /// When something happens next; `None`: nothing is on its way.
    pub fn next(&self) -> Option<Nanos> {
        self.shared.state.lock().due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets happen what is due by the clock.
    pub fn poll(&self) {
        self.shared.with(|_, _| ());
    }

    /// Pushes the clock until one of the sockets is ready, [`Wait::until`] is reached, or 5 s have passed.
    pub fn wait(&self, wait: &Wait) {
        let end = self.shared.clock.monotonic().saturating_add(5_000_000_000);
        let end = wait.until.map_or(end, |until| until.min(end));
        loop {
            self.poll();
            let now = self.shared.clock.monotonic();
            if now >= end || wait.sockets.iter().any(|(socket, interest)| socket.ready(*interest).any()) {
                return;
            }
            let next = self.next().map_or(end, |next| next.min(end));
            self.shared.clock.advance(next.saturating_sub(now));
        }
    }
}

/// In lower case, without a final dot.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl Net for FakeNet {
    fn listen(&self, at: SocketAddr, backlog: usize) -> Result<Arc<dyn TcpListener>, Errno> {
        let (id, at) = self.shared.with(|state, _| {
            if state.hosts[self.host].stopped {
                return Err(Errno::Canceled);
            }
            let used = |listener: &Listener| (listener.host, listener.at, listener.canceled);
            let taken: Vec<_> = state.listeners.values().map(used).collect();
            let at = state.place(self.host, at, |at| {
                taken.iter().any(|(host, other, gone)| *host == self.host && !gone && overlap(*other, at))
            })?;
            let id = state.id();
            let (queue, wakers) = (VecDeque::new(), Wakers::default());
            let listener =
                Listener { host: self.host, at, backlog: backlog.max(1), queue, canceled: false, wakers };
            state.listeners.insert(id, listener);
            Ok((id, at))
        })?;
        Ok(Arc::new(FakeListener { shared: self.shared.clone(), id, at }))
    }

    fn connect(&self, to: SocketAddr) -> Result<Arc<dyn TcpStream>, Errno> {
        let (id, local) = self.shared.with(|state, now| {
            let ip = state.source(self.host, to.ip())?;
            let taken: BTreeSet<u16> =
                state.ends.values().filter(|end| end.host == self.host).map(|end| end.local.port()).collect();
            let port = state.free_port(self.host, |port| taken.contains(&port))?;
            let local = SocketAddr::new(ip, port);
            let id = state.id();
            let window = state.weather.window;
            state.ends.insert(id, End { connecting: true, ..End::new(self.host, local, to, window) });
            let at = now + state.delay();
            state.at(at, Event::Syn(id, 0));
            Ok((id, local))
        })?;
        Ok(Arc::new(FakeStream { shared: self.shared.clone(), id, local, peer: to }))
    }

    fn bind(&self, at: SocketAddr) -> Result<Arc<dyn UdpSocket>, Errno> {
        let (id, at) = self.shared.with(|state, _| {
            let taken: Vec<_> = state.sockets.values().map(|socket| (socket.host, socket.at)).collect();
            let at = state.place(self.host, at, |at| {
                taken.iter().any(|(host, other)| *host == self.host && overlap(*other, at))
            })?;
            let id = state.id();
            let (queue, wakers) = (VecDeque::new(), Wakers::default());
            state.sockets.insert(id, Socket { host: self.host, at, queue, wakers });
            Ok((id, at))
        })?;
        Ok(Arc::new(FakeSocket { shared: self.shared.clone(), id, at }))
    }

    fn resolve(&self, name: &str) -> Result<Arc<dyn Lookup>, Errno> {
        let literal = name.parse::<IpAddr>().ok();
        if literal.is_none() && name_fault(name).is_some() {
            return Err(Errno::Inval);
        }
        let name = plain(name);
        let id = self.shared.with(|state, now| {
            let id = state.id();
            let answer = match literal {
                Some(ip) => Some(Ok(vec![ip])),
                None if name == "localhost" => {
                    Some(Ok(vec![IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)]))
                }
                None => {
                    let (after, answer) = state.names.get(&name).unwrap_or(&state.other_names).clone();
                    state.asked.push(name);
                    let at = now + state.delay() + after;
                    state.at(at, Event::Answer(id, answer));
                    None
                }
            };
            state.questions.insert(id, Question { answer, wakers: Wakers::default() });
            id
        });
        Ok(Arc::new(FakeLookup { shared: self.shared.clone(), id }))
    }

    fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.shared.with(|state, _| state.hosts[self.host].addresses.clone())
    }

    fn close_listeners(&self) {
        self.shared.with(|state, now| {
            state.hosts[self.host].stopped = true;
            let ids: Vec<Id> =
                state.listeners.iter().filter(|(_, one)| one.host == self.host).map(|(id, _)| *id).collect();
            for id in ids {
                state.refuse_queue(id, now);
                if let Some(listener) = state.listeners.get_mut(&id) {
                    listener.canceled = true;
                    listener.wakers.wake(Interest::Read, &mut state.woken);
                }
            }
        });
    }
}

/// Can't both be listened at?
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let (one, two) = (a.ip(), b.ip());
    a.port() == b.port()
        && one.is_ipv4() == two.is_ipv4()
        && (one == two || one.is_unspecified() || two.is_unspecified())
}

/// Does `at` take what is sent to `to`? The larger, the closer.
fn takes(at: SocketAddr, to: SocketAddr) -> Option<u8> {
    match at.ip() {
        _ if at.port() != to.port() => None,
        ip if ip == to.ip() => Some(3),
        ip if ip.is_unspecified() && ip.is_ipv4() == to.is_ipv4() => Some(2),
        ip if ip.is_unspecified() && ip.is_ipv6() => Some(1),
        _ => None,
    }
}

impl Shared {
    fn with<T>(&self, then: impl FnOnce(&mut State, Nanos) -> T) -> T {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        state.run(now);
        let value = then(&mut state, now);
        let woken = mem::take(&mut state.woken);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        value
    }
}

impl Wakers {
    fn register(&mut self, interest: Interest, waker: &Waker, woken: &mut Vec<Waker>) {
        woken.extend(replace_waker(&mut self.0[interest as usize], waker));
    }

    fn wake(&mut self, interest: Interest, woken: &mut Vec<Waker>) {
        woken.extend(self.0[interest as usize].take());
    }

    fn wake_all(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.0.iter_mut().filter_map(Option::take));
    }
}

impl State {
    fn id(&mut self) -> Id {
        self.count += 1;
        self.count
    }

    fn at(&mut self, at: Nanos, event: Event) {
        let id = self.id();
        self.due.insert((at, id), event);
    }

    fn chance(&self, of_thousand: u64) -> bool {
        of_thousand > 0 && self.random.below(1000) < of_thousand
    }

    fn delay(&self) -> Nanos {
        let jitter = if self.weather.jitter > 0 { self.random.below(self.weather.jitter) } else { 0 };
        let mut delay = self.weather.latency + jitter;
        let mut wait = RETRANSMISSION;
        // Not for ever: a wire that loses everything only looks slow.
        while wait < RETRANSMISSION << 4 && self.chance(self.weather.loss) {
            delay += wait;
            wait *= 2;
        }
        delay
    }

    /// Some of what could be done.
    fn some(&self, most: usize) -> usize {
        if self.weather.short && most > 1 { 1 + self.random.below(most as u64) as usize } else { most }
    }

    /// Where one listens or binds who asked for `at`.
    fn place(
        &mut self,
        host: usize,
        at: SocketAddr,
        taken: impl Fn(SocketAddr) -> bool,
    ) -> Result<SocketAddr, Errno> {
        let ours = self.hosts[host].addresses.iter().any(|(ip, _)| *ip == at.ip());
        if !ours && !at.ip().is_unspecified() {
            return Err(Errno::Addrnotavail);
        }
        let at = match at.port() {
            0 => {
                SocketAddr::new(at.ip(), self.free_port(host, |port| taken(SocketAddr::new(at.ip(), port)))?)
            }
            _ => at,
        };
        if taken(at) { Err(Errno::Addrinuse) } else { Ok(at) }
    }

    fn free_port(&mut self, host: usize, taken: impl Fn(u16) -> bool) -> Result<u16, Errno> {
        for _ in 49_152..=u16::MAX {
            let last = &mut self.hosts[host].last_port;
            *last = if *last == u16::MAX { 49_152 } else { *last + 1 };
            if !taken(*last) {
                return Ok(*last);
            }
        }
        Err(Errno::Addrnotavail)
    }

    /// Our address for what is sent to `to`.
    fn source(&self, host: usize, to: IpAddr) -> Result<IpAddr, Errno> {
        let addresses = &self.hosts[host].addresses;
        let own = addresses.iter().find(|(ip, _)| *ip == to);
        let like = addresses.iter().find(|(ip, _)| ip.is_ipv4() == to.is_ipv4() && !ip.is_loopback());
        own.or(like.filter(|_| !to.is_loopback())).map(|(ip, _)| *ip).ok_or(Errno::Netunreach)
    }

    /// Whose address it is, for `host`.
    fn owner(&self, host: usize, ip: IpAddr) -> Option<usize> {
        if ip.is_loopback() {
            return Some(host);
        }
        self.hosts.iter().position(|one| one.addresses.iter().any(|(own, _)| *own == ip))
    }

    fn run(&mut self, now: Nanos) {
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= now
        {
            let ((at, _), event) = first.remove_entry();
            self.happen(at, event);
        }
    }

    fn happen(&mut self, now: Nanos, event: Event) {
        match event {
            Event::Syn(id, times) => self.syn(id, times, now),
            Event::Made(id) => {
                if let Some(end) = self.ends.get_mut(&id) {
                    end.connecting = false;
                    end.wakers.wake_all(&mut self.woken);
                }
            }
            Event::Failed(id, error) => self.fail(id, error),
            Event::Reset(id) => self.fail(id, Errno::Connreset),
            Event::Data { to, from, data } => match self.ends.get_mut(&to).filter(|end| !end.dead) {
                Some(end) if end.read_shut => {
                    let at = now + self.delay();
                    self.at(at, Event::Room(from, data.len()));
                }
                Some(end) => {
                    end.inbox.extend(data);
                    end.wakers.wake(Interest::Read, &mut self.woken);
                }
                None => {
                    let at = now + self.delay();
                    self.at(at, Event::Reset(from));
                }
            },
            Event::Fin(id) => {
                if let Some(end) = self.ends.get_mut(&id) {
                    end.eof = true;
                    end.wakers.wake(Interest::Read, &mut self.woken);
                }
            }
            Event::Room(id, more) => {
                if let Some(end) = self.ends.get_mut(&id) {
                    end.room += more;
                    end.wakers.wake(Interest::Write, &mut self.woken);
                }
            }
            Event::Datagram { to, from, data } => {
                if let Some(socket) = self.sockets.get_mut(&to)
                    && socket.queue.len() < MAX_DATAGRAMS
                {
                    socket.queue.push_back((from, data));
                    socket.wakers.wake(Interest::Read, &mut self.woken);
                }
            }
            Event::Answer(id, answer) => {
                if let Some(question) = self.questions.get_mut(&id) {
                    question.answer = Some(answer);
                    question.wakers.wake(Interest::Read, &mut self.woken);
                }
            }
        }
    }

    fn syn(&mut self, id: Id, times: u32, now: Nanos) {
        let Some(end) = self.ends.get(&id).filter(|end| !end.dead) else { return };
        let (host, local, to) = (end.host, end.local, end.peer);
        if self.silent.contains(&to.ip()) {
            return self.at(now + SILENCE, Event::Failed(id, Errno::Timedout));
        }
        let Some(owner) = self.owner(host, to.ip()) else {
            return self.at(now + NOBODY, Event::Failed(id, Errno::Hostunreach));
        };
        let back = now + self.delay();
        let open = self.listeners.iter().filter(|(_, one)| one.host == owner && !one.canceled);
        let Some((_, listener)) = open.filter_map(|(id, one)| Some((takes(one.at, to)?, *id))).max() else {
            return self.at(back, Event::Failed(id, Errno::Connrefused));
        };
        let window = self.weather.window;
        let server = self.id();
        let Some(listener) = self.listeners.get_mut(&listener) else { return };
        if listener.queue.len() >= listener.backlog {
            let event = match times {
                5.. => Event::Failed(id, Errno::Timedout),
                _ => Event::Syn(id, times + 1),
            };
            return self.at(now + (1_000_000_000 << times.min(5)), event);
        }
        listener.queue.push_back(server);
        listener.wakers.wake(Interest::Read, &mut self.woken);
        self.ends.insert(server, End { other: Some(id), ..End::new(owner, to, local, window) });
        if let Some(end) = self.ends.get_mut(&id) {
            end.other = Some(server);
        }
        // Before whatever the server sends.
        if let Some(end) = self.ends.get_mut(&server) {
            end.last = back;
        }
        self.at(back, Event::Made(id));
    }

    /// The connection is no more.
    fn fail(&mut self, id: Id, error: Errno) {
        if let Some(end) = self.ends.get_mut(&id)
            && !end.dead
        {
            end.connecting = false;
            end.dead = true;
            end.error = Some(error);
            end.wakers.wake_all(&mut self.woken);
        }
    }

    /// Sends something along a connection, behind what was sent before.
    fn send(&mut self, id: Id, now: Nanos, event: impl FnOnce(Id) -> Event) {
        let delay = self.delay();
        let Some(end) = self.ends.get_mut(&id) else { return };
        let Some(other) = end.other else { return };
        end.last = end.last.max(now + delay);
        let at = end.last;
        self.at(at, event(other));
    }

    /// As `close(2)` does.
    fn close(&mut self, id: Id, now: Nanos) {
        let Some(end) = self.ends.get(&id) else { return };
        if !end.dead {
            if !end.inbox.is_empty() {
                self.send(id, now, Event::Reset);
            } else if !end.write_shut {
                self.send(id, now, Event::Fin);
            }
        }
        self.ends.remove(&id);
    }

    /// Those that wait to be accepted won't be.
    fn refuse_queue(&mut self, id: Id, now: Nanos) {
        let queue = self.listeners.get_mut(&id).map(|listener| mem::take(&mut listener.queue));
        for end in queue.unwrap_or_default() {
            self.send(end, now, Event::Reset);
            self.ends.remove(&end);
        }
    }
}

impl End {
    fn new(host: usize, local: SocketAddr, peer: SocketAddr, window: usize) -> Self {
        Self {
            host,
            local,
            peer,
            other: None,
            connecting: false,
            inbox: VecDeque::new(),
            room: window,
            last: 0,
            eof: false,
            error: None,
            dead: false,
            read_shut: false,
            write_shut: false,
            wakers: Wakers::default(),
        }
    }

    fn ready(&self, interest: Interest) -> Ready {
        match interest {
            _ if self.connecting => Ready::default(),
            Interest::Read => {
                Ready { bytes: self.inbox.len() as u64, hangup: self.eof || self.dead || self.read_shut }
            }
            Interest::Write if self.dead || self.write_shut => Ready { bytes: 0, hangup: true },
            Interest::Write => Ready { bytes: self.room as u64, hangup: false },
        }
    }
}

struct FakeStream {
    shared: Arc<Shared>,
    id: Id,
    local: SocketAddr,
    peer: SocketAddr,
}

impl FakeStream {
    fn with<T>(&self, then: impl FnOnce(&mut State, Nanos, &mut End) -> T) -> T {
        self.shared.with(|state, now| {
            // It is there as long as this is; out of the table, it and the table can be changed at once.
            let mut end = state.ends.remove(&self.id).expect("an open stream has an end");
            let value = then(state, now, &mut end);
            state.ends.insert(self.id, end);
            value
        })
    }

    fn take(&self, buf: &mut [u8], keep: bool) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.with(|state, now, end| {
            if !end.inbox.is_empty() {
                let most = buf.len().min(end.inbox.len());
                let some = state.some(most);
                for (to, from) in buf.iter_mut().zip(end.inbox.iter().take(some)) {
                    *to = *from;
                }
                if !keep {
                    end.inbox.drain(..some);
                    if let Some(other) = end.other {
                        let at = now + state.delay();
                        state.at(at, Event::Room(other, some));
                    }
                }
                return Ok(some);
            }
            match end.error.take() {
                Some(error) => Err(error),
                None if end.eof || end.dead || end.read_shut => Ok(0),
                None => Err(Errno::Again),
            }
        })
    }
}

impl Source for FakeStream {
    fn ready(&self, interest: Interest) -> Ready {
        self.with(|_, _, end| end.ready(interest))
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.with(|state, _, end| {
            end.wakers.register(interest, waker, &mut state.woken);
            if end.ready(interest).any() {
                end.wakers.wake(interest, &mut state.woken);
            }
        });
    }
}

impl TcpStream for FakeStream {
    fn connected(&self) -> Result<(), Errno> {
        self.with(|_, _, end| match end.error.take() {
            _ if end.connecting => Err(Errno::Again),
            Some(error) => Err(error),
            None if end.dead => Err(Errno::Notconn),
            None => Ok(()),
        })
    }

    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.take(buf, false)
    }

    fn peek(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.take(buf, true)
    }

    fn write(&self, buf: &[u8]) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        let (took, other) = self.with(|state, now, end| {
            if let Some(error) = end.error.take() {
                return Err(error);
            }
            if end.dead || end.write_shut {
                return Err(Errno::Pipe);
            }
            if end.connecting || end.room == 0 {
                return Err(Errno::Again);
            }
            if state.chance(state.weather.resets) {
                let ids = [Some(self.id), end.other];
                ids.into_iter().flatten().for_each(|id| state.at(now, Event::Reset(id)));
            }
            let some = state.some(buf.len().min(end.room));
            end.room -= some;
            Ok((some, end.other))
        })?;
        if other.is_some() {
            let data = buf[..took].to_vec();
            self.shared.with(|state, now| {
                state.send(self.id, now, |to| Event::Data { to, from: self.id, data });
            });
        }
        Ok(took)
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        let fin = self.with(|state, now, end| {
            if end.connecting || end.dead {
                return Err(Errno::Notconn);
            }
            if how != Shutdown::Write && !end.read_shut {
                end.read_shut = true;
                let unread = mem::take(&mut end.inbox).len();
                if let Some(other) = end.other {
                    let at = now + state.delay();
                    state.at(at, Event::Room(other, unread));
                }
                end.wakers.wake(Interest::Read, &mut state.woken);
            }
            let fin = how != Shutdown::Read && !end.write_shut;
            if fin {
                end.write_shut = true;
                end.wakers.wake(Interest::Write, &mut state.woken);
            }
            Ok(fin)
        })?;
        if fin {
            self.shared.with(|state, now| state.send(self.id, now, Event::Fin));
        }
        Ok(())
    }

    fn local(&self) -> SocketAddr {
        self.local
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn set_nodelay(&self, _on: bool) {}

    fn set_keep_alive(&self, _after: Option<Nanos>) {}

    fn abort(&self) {
        self.shared.with(|state, now| {
            if state.ends.get(&self.id).is_some_and(|end| !end.dead) {
                state.send(self.id, now, Event::Reset);
                state.fail(self.id, Errno::Connreset);
            }
            if let Some(end) = state.ends.get_mut(&self.id) {
                // Its own doing: nobody has to be told.
                end.error = None;
                end.inbox.clear();
            }
        });
    }
}

impl Drop for FakeStream {
    fn drop(&mut self) {
        self.shared.with(|state, now| state.close(self.id, now));
    }
}

struct FakeListener {
    shared: Arc<Shared>,
    id: Id,
    at: SocketAddr,
}

impl FakeListener {
    fn with<T>(&self, then: impl FnOnce(&mut Listener, &mut Vec<Waker>) -> T) -> T {
        self.shared.with(|state, _| {
            let listener = state.listeners.get_mut(&self.id).expect("an open listener is there");
            then(listener, &mut state.woken)
        })
    }
}

impl Listener {
    fn ready(&self, interest: Interest) -> Ready {
        match interest {
            Interest::Read => Ready { bytes: self.queue.len() as u64, hangup: self.canceled },
            Interest::Write => Ready { bytes: 0, hangup: true },
        }
    }
}

impl Source for FakeListener {
    fn ready(&self, interest: Interest) -> Ready {
        self.with(|listener, _| listener.ready(interest))
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.with(|listener, woken| {
            listener.wakers.register(interest, waker, woken);
            if listener.ready(interest).any() {
                listener.wakers.wake(interest, woken);
            }
        });
    }
}

impl TcpListener for FakeListener {
    fn accept(&self) -> Result<(Arc<dyn TcpStream>, SocketAddr), Errno> {
        let id = self.with(|listener, _| match listener.queue.pop_front() {
            _ if listener.canceled => Err(Errno::Canceled),
            Some(id) => Ok(id),
            None => Err(Errno::Again),
        })?;
        let (local, peer) = self.shared.with(|state, _| {
            let end = state.ends.get(&id).expect("what waits to be accepted has an end");
            (end.local, end.peer)
        });
        Ok((Arc::new(FakeStream { shared: self.shared.clone(), id, local, peer }), peer))
    }

    fn local(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for FakeListener {
    fn drop(&mut self) {
        self.shared.with(|state, now| {
            state.refuse_queue(self.id, now);
            state.listeners.remove(&self.id);
        });
    }
}

struct FakeSocket {
    shared: Arc<Shared>,
    id: Id,
    at: SocketAddr,
}

impl FakeSocket {
    fn with<T>(&self, then: impl FnOnce(&mut Socket, &mut Vec<Waker>) -> T) -> T {
        self.shared.with(|state, _| {
            let socket = state.sockets.get_mut(&self.id).expect("an open socket is there");
            then(socket, &mut state.woken)
        })
    }
}

impl Socket {
    fn ready(&self, interest: Interest) -> Ready {
        let bytes = match interest {
            Interest::Read => self.queue.front().map_or(0, |(_, data)| data.len().max(1)),
            Interest::Write => MAX_DATAGRAM,
        };
        Ready { bytes: bytes as u64, hangup: false }
    }
}

impl Source for FakeSocket {
    fn ready(&self, interest: Interest) -> Ready {
        self.with(|socket, _| socket.ready(interest))
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.with(|socket, woken| {
            socket.wakers.register(interest, waker, woken);
            if socket.ready(interest).any() {
                socket.wakers.wake(interest, woken);
            }
        });
    }
}

impl UdpSocket for FakeSocket {
    fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, usize, SocketAddr), Errno> {
        let (from, data) = self.with(|socket, _| socket.queue.pop_front()).ok_or(Errno::Again)?;
        let took = data.len().min(buf.len());
        buf[..took].copy_from_slice(&data[..took]);
        Ok((took, data.len(), from))
    }

    fn send_to(&self, buf: &[u8], to: SocketAddr) -> Result<(), Errno> {
        if buf.len() > MAX_DATAGRAM {
            return Err(Errno::Msgsize);
        }
        if to.port() == 0 {
            return Err(Errno::Inval);
        }
        self.shared.with(|state, now| {
            let host = state.sockets.get(&self.id).expect("an open socket is there").host;
            let ip = state.source(host, to.ip())?;
            let from = SocketAddr::new(
                if self.at.ip().is_unspecified() { ip } else { self.at.ip() },
                self.at.port(),
            );
            let delay = state.weather.latency
                + if state.weather.jitter > 0 { state.random.below(state.weather.jitter) } else { 0 };
            let Some(owner) = state.owner(host, to.ip()) else { return Ok(()) };
            let there = state.sockets.iter().filter(|(_, socket)| socket.host == owner);
            let there = there.filter_map(|(id, socket)| Some((takes(socket.at, to)?, *id))).max();
            if let Some((_, to)) = there
                && !state.chance(state.weather.datagram_loss)
            {
                state.at(now + delay, Event::Datagram { to, from, data: buf.to_vec() });
            }
            Ok(())
        })
    }

    fn local(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for FakeSocket {
    fn drop(&mut self) {
        self.shared.with(|state, _| state.sockets.remove(&self.id));
    }
}

struct FakeLookup {
    shared: Arc<Shared>,
    id: Id,
}

impl FakeLookup {
    fn with<T>(&self, then: impl FnOnce(&mut Question, &mut Vec<Waker>) -> T) -> T {
        self.shared.with(|state, _| {
            let question =
                state.questions.get_mut(&self.id).expect("a question is there until it is dropped");
            then(question, &mut state.woken)
        })
    }
}

impl Question {
    fn ready(&self, interest: Interest) -> Ready {
        let answered = self.answer.is_some() && interest == Interest::Read;
        Ready { bytes: answered.into(), hangup: answered || interest == Interest::Write }
    }
}

impl Source for FakeLookup {
    fn ready(&self, interest: Interest) -> Ready {
        self.with(|question, _| question.ready(interest))
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.with(|question, woken| {
            question.wakers.register(interest, waker, woken);
            if question.ready(interest).any() {
                question.wakers.wake(interest, woken);
            }
        });
    }
}

impl Lookup for FakeLookup {
    fn addresses(&self) -> Answer {
        self.with(|question, _| question.answer.clone().unwrap_or(Err(Errno::Again)))
    }
}

impl Drop for FakeLookup {
    fn drop(&mut self) {
        self.shared.with(|state, _| state.questions.remove(&self.id));
    }
}

#[cfg(test)]
mod tests;
