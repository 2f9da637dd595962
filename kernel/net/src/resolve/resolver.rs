//! Names that are asked for, and what is to be sent for them.
//!
//! Does not: open sockets or know the time. [`Resolver::poll`] says what to send, [`Resolver::received`] takes what
//! came, [`Resolver::poll_at`] says when to come back.

use alloc::{
    collections::VecDeque,
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::Waker,
};

use lunette_hostcalls::{Errno, Nanos};

use super::{
    cache::Cache,
    lookup::{Answered, Pending},
    message::{self, Answer, Kind, MAX_LINKS, Outcome, question},
    name::{HostName, Wire},
    order,
};

pub(super) const SECOND: Nanos = 1_000_000_000;
/// How long a name is asked for, all servers and aliases together.
pub(super) const PATIENCE: Nanos = 10 * SECOND;
/// How long the first server has; it doubles with each round through the servers.
const FIRST_WAIT: Nanos = SECOND;
const LONGEST_WAIT: Nanos = 4 * SECOND;
/// A connection takes a few round trips more.
const TCP_WAIT: Nanos = 3 * SECOND;
/// When one family is known, how long the other may take yet: one loss, asked again.
pub(super) const GRACE: Nanos = 3 * SECOND / 2;
/// How many seconds a family that was not answered for is done without, so that not every asking pays for it.
const DO_WITHOUT: u32 = 60;
/// Servers that are asked; more are ignored.
const MAX_SERVERS: usize = 4;
/// Names that are asked for at a time; the others wait for their turn.
pub(super) const MAX_ACTIVE: usize = 16;
/// Names that are asked for or wait for their turn. More are refused.
pub(super) const MAX_SEARCHES: usize = 256;
/// Who may wait for one name.
const MAX_WAITING: usize = 1024;
/// How many late answers are waited for, for one question, while it is asked again.
const MAX_OPEN: usize = 2;
/// The longest answer that is read by TCP. No set of addresses that anyone can use is longer.
pub(super) const MAX_TCP: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    Udp,
    Tcp,
}

/// Names one [`Query`] until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) key: Key,
    pub(super) server: SocketAddr,
    pub(super) via: Via,
    /// By UDP a datagram; by TCP the bytes to write, their length included.
    pub(super) bytes: Vec<u8>,
}

/// What is to be done with the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Open a socket on a port nobody can guess, send, and hand what comes to [`Resolver::received`].
    Send(Query),
    /// Close its socket: what comes now is of no interest. Comes once for each query.
    Close(Key),
}

#[derive(Default)]
pub(super) struct Resolver {
    servers: Vec<Server>,
    /// The one that answered last is asked first.
    first: usize,
    hosts: Vec<(HostName, IpAddr)>,
    pub(super) cache: Cache,
    /// The oldest first; [`MAX_ACTIVE`] of them are being asked for.
    pub(super) searches: Vec<Search>,
    orders: VecDeque<Order>,
    keys: u64,
    woken: Vec<Waker>,
}

#[derive(Clone, Copy)]
struct Server {
    at: SocketAddr,
    /// It does not know EDNS.
    plain: bool,
}

/// One name that is asked for.
pub(super) struct Search {
    name: HostName,
    /// The families, each with its own questions.
    sides: Vec<Side>,
    ours: Vec<IpAddr>,
    /// Answered by then, one way or the other.
    until: Nanos,
    waiting: Vec<Weak<Pending>>,
}

/// One name and one kind.
struct Side {
    kind: Kind,
    /// The name asked for now: at the end of the aliases so far.
    target: Wire,
    links: u8,
    /// The least TTL of the aliases so far.
    ttl: u32,
    /// Questions sent, which says whose turn it is.
    tried: usize,
    /// When to ask again.
    next: Nanos,
    /// How to ask next, if that is settled already.
    again: Option<Way>,
    open: Vec<Attempt>,
    /// Servers that answered, but did not say.
    failed: Vec<SocketAddr>,
    outcome: Option<Outcome>,
}

/// How a question is put.
#[derive(Clone, Copy)]
struct Way {
    server: SocketAddr,
    via: Via,
    edns: bool,
}

/// One query that may yet be answered.
struct Attempt {
    key: Key,
    id: u16,
    way: Way,
    /// What came of it so far, by TCP.
    inbox: Vec<u8>,
}

impl Resolver {
    /// `hosts`: names that are asked of nobody. What is no name is left out.
    pub(super) fn new(hosts: &[(String, IpAddr)]) -> Self {
        let hosts = hosts.iter().filter_map(|(name, ip)| Some((HostName::parse(name).ok()?, *ip)));
        Self { hosts: hosts.collect(), ..Self::default() }
    }

    /// Nothing is asked for, and nothing is to be done.
    pub(super) fn is_idle(&self) -> bool {
        self.searches.is_empty() && self.orders.is_empty()
    }

    /// Who is asked, in this order. What is under way goes on with them.
    pub(super) fn set_servers(&mut self, servers: impl IntoIterator<Item = SocketAddr>) {
        let mut new: Vec<Server> = Vec::new();
        for at in servers {
            if new.len() < MAX_SERVERS && new.iter().all(|server| server.at != at) {
                let plain = self.servers.iter().any(|server| server.at == at && server.plain);
                new.push(Server { at, plain });
            }
        }
        let same = new.iter().map(|server| server.at).eq(self.servers.iter().map(|server| server.at));
        if !same {
            self.servers = new;
            self.first = 0;
        }
    }

    /// Asks for a name's addresses. `ours`: our own addresses, which say what can be reached, and how well.
    /// [`Errno::Inval`]: not a name. [`Errno::Nobufs`]: too many are being asked for.
    pub(super) fn ask(&mut self, name: &str, ours: &[IpAddr], now: Nanos) -> Result<Arc<Pending>, Errno> {
        if let Ok(ip) = name.parse() {
            return Ok(Pending::answered(Ok(alloc::vec![ip])));
        }
        let name = HostName::parse(name)?;
        if let Some(answer) = self.known_here(&name, ours) {
            return Ok(Pending::answered(answer));
        }

        let (v4, v6) = order::families(ours);
        let kinds =
            [(Kind::A, v4), (Kind::Aaaa, v6)].into_iter().filter_map(|(kind, yes)| yes.then_some(kind));
        let target = name.wire()?;
        let side = |kind| Side {
            kind,
            target: target.clone(),
            links: 0,
            ttl: u32::MAX,
            tried: 0,
            next: now,
            again: None,
            open: Vec::new(),
            failed: Vec::new(),
            outcome: self.cache.get(&name, kind, now).cloned(),
        };
        let sides: Vec<_> = kinds.map(side).collect();
        if let Some(answer) = combined(&sides, ours) {
            return Ok(Pending::answered(answer));
        }
        if self.servers.is_empty() {
            return Ok(Pending::answered(Err(Errno::Netdown)));
        }

        self.drop_unwanted();
        let pending = Arc::new(Pending::default());
        let same = |search: &&mut Search| {
            search.name == name
                && search.sides.iter().map(|side| side.kind).eq(sides.iter().map(|side| side.kind))
        };
        if let Some(search) = self.searches.iter_mut().find(same) {
            if search.waiting.len() >= MAX_WAITING {
                return Err(Errno::Nobufs);
            }
            search.waiting.push(Arc::downgrade(&pending));
            return Ok(pending);
        }
        if self.searches.len() >= MAX_SEARCHES {
            return Err(Errno::Nobufs);
        }
        let (ours, until) = (ours.to_vec(), now.saturating_add(PATIENCE));
        self.searches.push(Search {
            name,
            sides,
            ours,
            until,
            waiting: alloc::vec![Arc::downgrade(&pending)],
        });
        Ok(pending)
    }

    /// What to do at `now`; to be called until there is nothing. `random` gives the ids.
    pub(super) fn poll(&mut self, now: Nanos, random: &mut dyn FnMut() -> u16) -> Option<Order> {
        if self.orders.is_empty() && !self.searches.is_empty() {
            self.advance(now, random);
        }
        self.orders.pop_front()
    }

    /// When there will be something to do, if nothing comes before.
    pub(super) fn poll_at(&self) -> Option<Nanos> {
        if !self.orders.is_empty() {
            return Some(0);
        }
        let active = self.searches.iter().take(MAX_ACTIVE).flat_map(|search| {
            let open = search.sides.iter().filter(|side| side.outcome.is_none());
            open.map(|side| side.next).chain([search.until])
        });
        active.chain(self.searches.iter().skip(MAX_ACTIVE).map(|search| search.until)).min()
    }

    /// Bytes came for a query: by UDP a whole datagram, by TCP some more of the answer. Bytes that are no answer to it
    /// change nothing.
    pub(super) fn received(&mut self, key: Key, from: SocketAddr, bytes: &[u8], now: Nanos) {
        let Some((search, side, at)) = self.find(key) else { return };
        let it = &mut self.searches[search].sides[side];
        let attempt = &mut it.open[at];
        if attempt.way.server != from {
            return;
        }
        let whole = match attempt.way.via {
            Via::Udp => bytes,
            Via::Tcp => {
                let room = MAX_TCP + 2 - attempt.inbox.len().min(MAX_TCP + 2);
                attempt.inbox.extend_from_slice(&bytes[..bytes.len().min(room)]);
                match framed(&attempt.inbox) {
                    Ok(Some(whole)) => whole,
                    Ok(None) => return,
                    Err(()) => return self.failed(key, now),
                }
            }
        };
        let answer = message::answer(whole, attempt.id, &it.target, it.kind);
        match (answer, attempt.way.via) {
            // By UDP anybody may have sent it: the right one may still come.
            (None, Via::Udp) => {}
            (None, Via::Tcp) => self.failed(key, now),
            (Some(answer), _) => self.answered(search, side, at, answer, now),
        }
    }

    /// Nothing will come for a query: no connection, or it ended, or no port was free.
    pub(super) fn failed(&mut self, key: Key, now: Nanos) {
        if let Some((search, side, at)) = self.find(key) {
            self.answered(search, side, at, Answer::Failed, now);
        }
    }

    /// Whom to wake, when no lock is held.
    pub(super) fn take_woken(&mut self) -> Vec<Waker> {
        core::mem::take(&mut self.woken)
    }

    /// Names that need nobody to be asked.
    fn known_here(&self, name: &HostName, ours: &[IpAddr]) -> Option<Answered> {
        let mut known: Vec<_> =
            self.hosts.iter().filter(|(host, _)| host == name).map(|(_, ip)| *ip).collect();
        if !known.is_empty() {
            order::best_first(&mut known, ours);
            return Some(Ok(known));
        }
        // RFC 6761, section 6.3 and 6.4. IPv4 first: who listens on one of the two mostly listens on that.
        if name.is_within("localhost") {
            let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
            known.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
            known.extend(ours.contains(&v6).then_some(v6));
            return Some(Ok(known));
        }
        name.is_within("invalid").then_some(Err(Errno::Noent))
    }

    fn find(&self, key: Key) -> Option<(usize, usize, usize)> {
        self.searches.iter().take(MAX_ACTIVE).enumerate().find_map(|(search, it)| {
            it.sides.iter().enumerate().find_map(|(side, it)| {
                it.open.iter().position(|attempt| attempt.key == key).map(|at| (search, side, at))
            })
        })
    }

    /// Takes what one attempt brought.
    fn answered(&mut self, search: usize, side: usize, at: usize, answer: Answer, now: Nanos) {
        let Search { name, sides, .. } = &mut self.searches[search];
        let it = &mut sides[side];
        let attempt = it.open.remove(at);
        self.orders.push_back(Order::Close(attempt.key));
        let server = self.servers.iter().position(|server| server.at == attempt.way.server);

        match answer {
            Answer::Known(outcome, ttl) => {
                self.first = server.unwrap_or(self.first);
                self.cache.put(name, it.kind, &outcome, ttl.min(it.ttl), now);
                let nothing = outcome == Outcome::NoName;
                it.settle(outcome, &mut self.orders);
                // No name of one kind is no name of any.
                for other in sides.iter_mut().filter(|other| nothing && other.outcome.is_none()) {
                    other.settle(Outcome::NoName, &mut self.orders);
                }
                // What settles the whole is seen to by `advance`.
            }
            Answer::Alias(target, links, ttl) => {
                self.first = server.unwrap_or(self.first);
                it.close(&mut self.orders);
                it.links = it.links.saturating_add(links);
                it.ttl = it.ttl.min(ttl);
                if it.links > MAX_LINKS {
                    it.outcome = Some(Outcome::Failed);
                } else {
                    it.target = target;
                    it.failed.clear();
                    it.again = Some(attempt.way);
                    it.next = now;
                }
            }
            Answer::Truncated if attempt.way.via == Via::Udp => {
                it.again = Some(Way { via: Via::Tcp, ..attempt.way });
                it.next = now;
            }
            Answer::Unsupported if attempt.way.edns => {
                if let Some(server) = server {
                    self.servers[server].plain = true;
                }
                it.again = Some(Way { edns: false, ..attempt.way });
                it.next = now;
            }
            Answer::Truncated | Answer::Unsupported | Answer::Failed => {
                it.failed.push(attempt.way.server);
                it.next = now;
            }
        }
    }

    /// Lets all searches go on: asks what is to be asked, ends what is at its end.
    fn advance(&mut self, now: Nanos, random: &mut dyn FnMut() -> u16) {
        self.drop_unwanted();
        let mut index = 0;
        while index < self.searches.len() {
            if index < MAX_ACTIVE {
                self.ask_servers(index, now, random);
            }
            let search = &mut self.searches[index];
            if now >= search.until {
                for side in search.sides.iter_mut().filter(|side| side.outcome.is_none()) {
                    let failed = !side.failed.is_empty();
                    side.settle(if failed { Outcome::Failed } else { Outcome::TimedOut }, &mut self.orders);
                }
            } else if search.sides.iter().any(|side| matches!(side.outcome, Some(Outcome::Addresses(_)))) {
                search.until = search.until.min(now.saturating_add(GRACE));
            }
            let Some(answer) = combined(&search.sides, &search.ours) else {
                index += 1;
                continue;
            };
            // Its place goes to one that waits, which comes later in the list.
            let search = self.searches.remove(index);
            let silent = |side: &&Side| matches!(side.outcome, Some(Outcome::TimedOut | Outcome::Failed));
            for side in search.sides.iter().filter(silent).filter(|_| answer.is_ok()) {
                self.cache.put(&search.name, side.kind, &Outcome::NoAddress, DO_WITHOUT, now);
            }
            for pending in search.waiting.iter().filter_map(Weak::upgrade) {
                self.woken.extend(pending.settle(answer.clone()));
            }
        }
    }

    /// Sends whatever of this search is due.
    fn ask_servers(&mut self, index: usize, now: Nanos, random: &mut dyn FnMut() -> u16) {
        let search = &mut self.searches[index];
        for side in &mut search.sides {
            if side.outcome.is_some() || now < side.next || now >= search.until {
                continue;
            }
            let count = self.servers.len();
            let turn = || {
                let mut turns = (0..count).map(|step| self.servers[(self.first + side.tried + step) % count]);
                let server = turns.find(|server| !side.failed.contains(&server.at))?;
                Some(Way { server: server.at, via: Via::Udp, edns: !server.plain })
            };
            let Some(way) = side.again.or_else(turn) else {
                side.settle(Outcome::Failed, &mut self.orders);
                continue;
            };
            side.again = None;
            let id = random();
            let Some(mut bytes) = question(id, &side.target, side.kind, way.edns) else {
                side.settle(Outcome::Failed, &mut self.orders);
                continue;
            };
            if way.via == Via::Tcp {
                let length = (bytes.len() as u16).to_be_bytes();
                bytes.splice(0..0, length);
            }
            let round = side.tried.checked_div(count).unwrap_or(0).min(8);
            side.tried += 1;
            side.next = now.saturating_add(match way.via {
                Via::Udp => (FIRST_WAIT << round).min(LONGEST_WAIT),
                Via::Tcp => TCP_WAIT,
            });
            if side.open.len() >= MAX_OPEN {
                self.orders.push_back(Order::Close(side.open.remove(0).key));
            }
            self.keys += 1;
            let key = Key(self.keys);
            side.open.push(Attempt { key, id, way, inbox: Vec::new() });
            self.orders.push_back(Order::Send(Query { key, server: way.server, via: way.via, bytes }));
        }
    }

    /// Ends what nobody waits for any more.
    fn drop_unwanted(&mut self) {
        let orders = &mut self.orders;
        self.searches.retain_mut(|search| {
            search.waiting.retain(|pending| pending.strong_count() > 0);
            if search.waiting.is_empty() {
                search.sides.iter_mut().for_each(|side| side.close(orders));
            }
            !search.waiting.is_empty()
        });
    }
}

impl Side {
    fn settle(&mut self, outcome: Outcome, orders: &mut VecDeque<Order>) {
        self.outcome = Some(outcome);
        self.close(orders);
    }

    fn close(&mut self, orders: &mut VecDeque<Order>) {
        orders.extend(self.open.drain(..).map(|attempt| Order::Close(attempt.key)));
    }
}

/// The answer of all sides together, once each has its own.
fn combined(sides: &[Side], ours: &[IpAddr]) -> Option<Answered> {
    let mut found = Vec::new();
    let mut error = Errno::Noent;
    for side in sides {
        match side.outcome.as_ref()? {
            Outcome::Addresses(addresses) => found.extend_from_slice(addresses),
            Outcome::NoAddress | Outcome::NoName => {}
            Outcome::Failed if error == Errno::Timedout => {}
            Outcome::Failed => error = Errno::Io,
            Outcome::TimedOut => error = Errno::Timedout,
        }
    }
    if found.is_empty() {
        return Some(Err(error));
    }
    order::best_first(&mut found, ours);
    Some(Ok(found))
}

/// A message behind its length (RFC 1035, section 4.2.2). `None`: not all of it is there. An error: too long.
fn framed(bytes: &[u8]) -> Result<Option<&[u8]>, ()> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > MAX_TCP {
        return Err(());
    }
    Ok(rest.get(..length))
}
