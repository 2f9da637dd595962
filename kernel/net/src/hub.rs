//! The middle: all sockets, found by address; what is due, and in which order; frames in and out.
//!
//! Promises: a turn does a bounded amount of work and says whether there is more; those that have something to send
//! take turns, one packet each; a socket that has nothing to do is not looked at.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};
use core::net::{IpAddr, SocketAddr};

use lunette_hostcalls::{Errno, Log, Random};
use slab::Slab;
use smoltcp::{
    iface::{Interface, PollResult, SocketSet},
    phy::{Device, DeviceCapabilities, TxToken},
    socket::AnySocket,
    time::{Duration, Instant},
    wire::IpCidr,
};

use crate::{
    address::{Flow, Lane},
    config::Config,
    demux::{Packet, look},
    dhcp::Dhcp,
    lane::{Inside, Inward, OneFrame, Watched},
    listener::Listener,
    memory::Budget,
    slot::{COST, Kind, Line, Slot},
    status::Status,
    wakers::Woken,
};

pub(crate) struct Hub {
    pub(crate) now: Instant,
    pub(crate) config: Config,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) budget: Arc<Budget>,

    pub(crate) wire: Interface,
    wire_capabilities: DeviceCapabilities,
    /// What the device's addresses were when they were looked at last.
    known: Vec<IpCidr>,
    inside: Interface,
    inward: Inside,
    /// For frames that no socket is meant by.
    nobody: SocketSet<'static>,

    pub(crate) slots: Slab<Slot>,
    pub(crate) flows: BTreeMap<Flow, usize>,
    pub(crate) listeners: Slab<Listener>,
    /// Sockets of datagrams by their port.
    pub(crate) ports: BTreeSet<(u16, usize)>,
    /// Connections that nobody holds any more and that have something to send yet.
    pub(crate) orphans: Line,
    pub(crate) time_wait: Line,
    pub(crate) dhcp: Option<Dhcp>,
    /// No more connections are taken.
    pub(crate) stopping: bool,

    queue: VecDeque<usize>,
    timers: BTreeSet<(Instant, usize)>,
    unresolved: BTreeSet<usize>,
    /// Connections that had no memory for what they were to send.
    pub(crate) starved: BTreeSet<usize>,
    /// When to look for buffers that nobody uses.
    tidy_at: Option<Instant>,
    /// The device could take no more.
    full: bool,
    pub(crate) woken: Woken,
}

/// How many frames are taken before what they brought about is sent.
const BURST: usize = 64;
/// How often that is done before the caller has a go.
const ROUNDS: usize = 16;
/// Buffers that hold nothing are given up after so long.
const TIDY: Duration = Duration::from_secs(1);
/// A device that is full says when it is not; but should that be lost, it is tried again.
const FULL: Duration = Duration::from_millis(5);
/// What a socket says is due, and then is not, is asked about again after so long.
const AGAIN: Duration = Duration::from_millis(10);
/// How long a neighbour is looked for.
const RESOLVE: Duration = Duration::from_secs(3);

impl Hub {
    pub(crate) fn new(
        config: Config,
        interfaces: (Interface, Interface),
        wire_capabilities: DeviceCapabilities,
        random: Arc<dyn Random>,
        log: Arc<dyn Log>,
        now: Instant,
    ) -> Self {
        let (wire, inside) = interfaces;
        Self {
            now,
            budget: Budget::new(config.memory),
            config,
            random,
            log,
            wire,
            wire_capabilities,
            known: Vec::new(),
            inside,
            inward: Inside::default(),
            nobody: SocketSet::new(Vec::new()),
            slots: Slab::new(),
            flows: BTreeMap::new(),
            listeners: Slab::new(),
            ports: BTreeSet::new(),
            orphans: Line::default(),
            time_wait: Line::default(),
            dhcp: None,
            stopping: false,
            queue: VecDeque::new(),
            timers: BTreeSet::new(),
            unresolved: BTreeSet::new(),
            starved: BTreeSet::new(),
            tidy_at: None,
            full: false,
            woken: Woken::new(),
        }
    }

    /// Takes frames and sends frames. Is there more to do at once?
    pub(crate) fn turn<D: Device>(&mut self, device: &mut D) -> bool {
        self.full = false;
        self.wire.poll_maintenance(self.now);
        self.wire.poll_egress(self.now, device, &mut self.nobody);
        self.notice_addresses();
        self.tidy();
        while let Some((_, id)) = self.timers.first().filter(|(at, _)| *at <= self.now).copied() {
            // What is over is over, though the device may take nothing.
            self.settle(id, false);
            self.set_timer(id, None);
            self.enqueue(id);
        }
        for _ in 0..ROUNDS {
            let came = self.receive(device);
            let sent = self.send_all(device);
            if !came && !sent {
                break;
            }
        }
        if self.budget.take_refused() {
            self.release_idle();
        }
        self.feed_starved();
        (!self.queue.is_empty() && !self.full) || !self.inward.0.is_empty()
    }

    /// When the next turn is due at the latest.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        // What is due now was tried in this turn; the device may have been full.
        let wire = self.wire.poll_at(self.now, &self.nobody).map(|at| at.max(self.now + AGAIN));
        let full = self.full.then(|| self.now + FULL);
        [timer, wire, full, self.tidy_at].into_iter().flatten().min()
    }

    fn receive<D: Device>(&mut self, device: &mut D) -> bool {
        let mut came = false;
        for _ in 0..BURST {
            let Some((frame, answer)) = device.receive(self.now) else { break };
            use smoltcp::phy::RxToken as _;
            frame.consume(|frame| self.feed(Lane::Wire, frame, answer));
            came = true;
        }
        for _ in 0..BURST {
            let Some(packet) = self.inward.0.pop_front() else { break };
            let mut answers = VecDeque::new();
            self.feed(Lane::Inside, &packet, Inward(&mut answers));
            self.inward.0.extend(answers);
            came = true;
        }
        came
    }

    /// One frame that came, to whom it concerns.
    fn feed(&mut self, lane: Lane, frame: &[u8], answer: impl TxToken) {
        let capabilities = match lane {
            Lane::Wire => self.wire_capabilities.clone(),
            Lane::Inside => self.inward.capabilities(),
        };
        let (id, resets) = match look(frame, capabilities.medium) {
            Packet::Nothing => return,
            Packet::Other => (None, false),
            Packet::Udp { to, from } | Packet::Tcp { to, from, .. } if self.is_strange(lane, to, from) => {
                return;
            }
            Packet::Udp { to, from } => (self.datagrams_for(to, from), false),
            Packet::Tcp { to, from, flags } => {
                match self.connection_for(Flow { lane, local: to, remote: from }, flags) {
                    Ok(id) => (id, flags.resets),
                    Err(Dropped) => return,
                }
            }
        };
        let mut frame = OneFrame { frame, answer: Some(answer), capabilities };
        let interface = match lane {
            Lane::Wire => &mut self.wire,
            Lane::Inside => &mut self.inside,
        };
        let set = match id {
            Some(id) => self.slots[id].set(),
            None => &mut self.nobody,
        };
        interface.poll_ingress_single(self.now, &mut frame, set);
        match id {
            Some(id) => {
                self.touch(id);
                if let Some(Kind::Tcp(conn)) = self.slots.get_mut(id).map(|slot| &mut slot.kind) {
                    conn.heard = self.now;
                }
                self.settle(id, resets);
                self.enqueue(id);
            }
            // It may have said where a neighbour is.
            None => {
                for id in core::mem::take(&mut self.unresolved) {
                    self.enqueue(id);
                }
            }
        }
    }

    /// What cannot come by the device: what is ours, from there (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3).
    fn is_strange(&self, lane: Lane, to: SocketAddr, from: SocketAddr) -> bool {
        lane == Lane::Wire
            && (to.ip().is_loopback()
                || from.ip().is_loopback()
                || self.is_own(from.ip())
                || [to, from].into_iter().any(|at| at.ip().to_canonical() != at.ip()))
    }

    /// Lets those that may have something to send do so, in turns.
    fn send_all<D: Device>(&mut self, device: &mut D) -> bool {
        let mut sent = false;
        // Those that are put back stand behind all others, so each has its turn.
        for _ in 0..BURST * 4 {
            let Some(id) = self.queue.pop_front() else { break };
            let Some(slot) = self.slots.get_mut(id) else { continue };
            slot.queued = false;
            let outcome = match slot.lane {
                Lane::Wire => send(&mut self.wire, slot, self.now, device),
                Lane::Inside => send(&mut self.inside, slot, self.now, &mut self.inward),
            };
            match outcome {
                Sent::Packet => {
                    sent = true;
                    slot.unresolved = None;
                    self.settle(id, false);
                    self.enqueue(id);
                }
                Sent::Full => {
                    let lane = slot.lane;
                    slot.queued = true;
                    self.queue.push_front(id);
                    self.full |= lane == Lane::Wire;
                    break;
                }
                Sent::Nothing { due } => {
                    // It may be silent because it waits for its neighbour.
                    if slot.unresolved.is_some() {
                        self.unresolved.insert(id);
                    }
                    self.settle(id, false);
                    self.set_timer(id, due);
                }
                Sent::Unresolved { due } => {
                    let since = *slot.unresolved.get_or_insert(self.now);
                    self.unresolved.insert(id);
                    if self.now >= since + RESOLVE {
                        self.unreachable(id);
                    }
                    self.settle(id, false);
                    self.set_timer(id, due);
                }
            }
        }
        sent
    }

    /// Looks after a socket that something happened to.
    pub(crate) fn settle(&mut self, id: usize, reset: bool) {
        match self.slots.get(id).map(|slot| &slot.kind) {
            Some(Kind::Tcp(_)) => self.settle_tcp(id, reset),
            Some(Kind::Udp(_)) => self.settle_udp(id),
            Some(Kind::Dhcp) => self.settle_dhcp(id),
            None => {}
        }
    }

    fn unreachable(&mut self, id: usize) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.unresolved = None;
        match slot.kind {
            Kind::Tcp(_) => self.unreachable_tcp(id),
            Kind::Udp(_) => self.unreachable_udp(id),
            Kind::Dhcp => {}
        }
    }

    /// Puts a socket into the queue of those that may have something to send.
    pub(crate) fn enqueue(&mut self, id: usize) {
        if let Some(slot) = self.slots.get_mut(id)
            && !slot.queued
        {
            slot.queued = true;
            self.queue.push_back(id);
        }
    }

    /// Something happened to it: its buffers are in use.
    pub(crate) fn touch(&mut self, id: usize) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.active = true;
            if self.tidy_at.is_none() {
                self.tidy_at = Some(self.now + TIDY);
            }
        }
    }

    fn set_timer(&mut self, id: usize, due: Option<Instant>) {
        self.unset_timer(id);
        let Some(slot) = self.slots.get_mut(id) else { return };
        let until = match &slot.kind {
            Kind::Tcp(conn) => conn.deadline(),
            _ => None,
        };
        slot.timer = [due, until].into_iter().flatten().min().map(|at| at.max(self.now + AGAIN));
        self.timers.extend(slot.timer.map(|at| (at, id)));
    }

    fn unset_timer(&mut self, id: usize) {
        if let Some(at) = self.slots.get_mut(id).and_then(|slot| slot.timer.take()) {
            self.timers.remove(&(at, id));
        }
    }

    /// Makes room for a socket. [`Errno::Nobufs`]: there is none.
    pub(crate) fn insert(
        &mut self,
        socket: impl AnySocket<'static>,
        lane: Lane,
        kind: Kind,
    ) -> Result<usize, Errno> {
        let charge = loop {
            match self.budget.admit(COST) {
                Some(charge) => break charge,
                None if self.forget_one() => {}
                None => return Err(Errno::Nobufs),
            }
        };
        Ok(self.slots.insert(Slot::new(socket, lane, kind, charge)))
    }

    /// Forgets a socket, and all that it holds.
    pub(crate) fn remove(&mut self, id: usize) {
        self.unset_timer(id);
        self.unresolved.remove(&id);
        self.starved.remove(&id);
        let Some(mut slot) = self.slots.try_remove(id) else { return };
        slot.wakers.wake_all(&mut self.woken);
        match slot.kind {
            Kind::Tcp(conn) => self.forget_tcp(id, &conn),
            Kind::Udp(datagrams) => {
                self.ports.remove(&(datagrams.place.at.port(), id));
            }
            Kind::Dhcp => {}
        }
    }

    fn tidy(&mut self) {
        if self.tidy_at.is_none_or(|at| at > self.now) {
            return;
        }
        let mut active = false;
        for (_, slot) in &mut self.slots {
            if core::mem::take(&mut slot.active) {
                active = true;
            } else if let Some((socket, ..)) = slot.tcp() {
                socket.release();
            }
        }
        self.tidy_at = active.then(|| self.now + TIDY);
    }

    /// Somebody needs memory: takes it from those that hold some and have nothing in it.
    fn release_idle(&mut self) {
        for (_, slot) in &mut self.slots {
            if let Some((socket, ..)) = slot.tcp() {
                socket.release();
            }
        }
    }

    /// Says what became of the device's addresses, and lets those look who had one that is gone.
    pub(crate) fn notice_addresses(&mut self) {
        let addresses = self.wire.ip_addrs();
        if addresses == self.known {
            return;
        }
        let gone = self.known.iter().any(|known| !addresses.contains(known));
        self.known = addresses.to_vec();
        self.log.warn(format_args!("network: {}", self.status()));
        if gone {
            let all: Vec<_> = self.slots.iter().map(|(id, _)| id).collect();
            all.into_iter().for_each(|id| self.enqueue(id));
        }
    }

    /// Is it an address of the device?
    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        self.wire.ip_addrs().iter().any(|cidr| IpAddr::from(cidr.address()) == ip)
    }

    /// May one listen there?
    pub(crate) fn is_ours(&self, ip: IpAddr) -> bool {
        ip.is_unspecified() || ip.is_loopback() || self.is_own(ip)
    }

    /// By which interface one gets there, and from which address.
    pub(crate) fn route(&self, to: IpAddr) -> Result<(Lane, IpAddr), Errno> {
        if to.is_loopback() || self.is_own(to) {
            return Ok((Lane::Inside, to));
        }
        if to.is_unspecified() || to.is_multicast() {
            return Err(Errno::Netunreach);
        }
        let from = self.wire.get_source_address(&to.into()).map(IpAddr::from);
        let from = from.filter(|from| self.is_own(*from)).ok_or(Errno::Netunreach)?;
        let near = self.wire.ip_addrs().iter().any(|cidr| cidr.contains_addr(&to.into()));
        let routes = self.wire.routes();
        let far = match to {
            IpAddr::V4(to) => to.is_broadcast() || routes.get_default_ipv4_route().is_some(),
            IpAddr::V6(_) => routes.get_default_ipv6_route().is_some(),
        };
        if near || far { Ok((Lane::Wire, from)) } else { Err(Errno::Netunreach) }
    }

    pub(crate) fn interface(&mut self, lane: Lane) -> &mut Interface {
        match lane {
            Lane::Wire => &mut self.wire,
            Lane::Inside => &mut self.inside,
        }
    }

    /// The longest packet of IP that goes that way.
    pub(crate) fn mtu(&self, lane: Lane) -> usize {
        match lane {
            Lane::Wire => self.wire_capabilities.ip_mtu(),
            Lane::Inside => self.inward.capabilities().ip_mtu(),
        }
    }

    pub(crate) fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        // Unseeded, which is early in a boot without any source: better than nothing.
        if self.random.fill(&mut bytes).is_err() {
            return (self.now.total_micros() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn status(&self) -> Status {
        crate::dhcp::status(self)
    }
}

/// It is to be dropped without an answer.
pub(crate) struct Dropped;

enum Sent {
    Packet,
    Nothing { due: Option<Instant> },
    Unresolved { due: Option<Instant> },
    Full,
}

/// Lets one socket send one packet.
fn send<D: Device>(interface: &mut Interface, slot: &mut Slot, now: Instant, device: &mut D) -> Sent {
    let mut device = Watched::new(device);
    let result = interface.poll_egress(now, &mut device, slot.set());
    if device.full {
        return Sent::Full;
    }
    if result == PollResult::SocketStateChanged {
        return Sent::Packet;
    }
    let due = interface.poll_at(now, slot.set());
    if device.asked { Sent::Unresolved { due } } else { Sent::Nothing { due } }
}
