//! Datagrams.
//!
//! What comes waits in a queue of its own until it is read ([`MOST_WAITING`] bytes; more is lost, as datagrams are).
//! What goes to ourselves is put there at once; what goes to the device stands in smoltcp's buffer until its
//! neighbour is known. There is no fragmentation: a datagram is no longer than a packet.

use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec};
use core::{net::SocketAddr, task::Waker};

use lunette_hostcalls::{Errno, Interest, Ready, Source, UdpSocket};
use smoltcp::{
    socket::udp::{PacketBuffer, PacketMetadata, SendError, Socket, UdpMetadata},
    wire::{IpEndpoint, IpListenEndpoint, UDP_HEADER_LEN},
};

use crate::{
    address::{Lane, Place, canonical, destination},
    hub::Hub,
    memory::Charge,
    slot::Kind,
    stack::Shared,
};

pub(crate) struct Datagrams {
    pub(crate) place: Place,
    waiting: VecDeque<Datagram>,
    bytes: usize,
    /// How much waited to be sent when there was no room for one more.
    full: Option<usize>,
    _charge: Charge,
}

struct Datagram {
    from: SocketAddr,
    bytes: Box<[u8]>,
    _charge: Charge,
}

/// How much may wait to be read, with [`EACH`] for each.
const MOST_WAITING: usize = 256 * 1024;
const EACH: usize = 128;
/// How much may wait to be sent.
const SENDING: usize = 16 * 1024;
const SENDING_PACKETS: usize = 32;

impl Datagrams {
    fn ready(&self, socket: &Socket<'_>, interest: Interest) -> Ready {
        let bytes = match interest {
            Interest::Read => self.waiting.front().map_or(0, |datagram| datagram.bytes.len().max(1)),
            Interest::Write if socket.can_send() && self.full.is_none() => {
                (socket.payload_send_capacity() - socket.send_queue()).max(1)
            }
            Interest::Write => 0,
        };
        Ready { bytes: bytes as u64, hangup: false }
    }
}

impl Hub {
    pub(crate) fn bind(&mut self, at: SocketAddr) -> Result<(usize, SocketAddr), Errno> {
        let place = self.place(at, |place| {
            self.on_port(place.at.port())
                .any(|id| self.datagrams(id).is_some_and(|other| other.place.meets(place)))
        })?;
        let mtu = self.mtu(Lane::Wire);
        let charge = self.budget.admit(mtu + SENDING).ok_or(Errno::Nobufs)?;
        // One at a time: each is taken out as soon as it is in.
        let came = PacketBuffer::new(vec![PacketMetadata::EMPTY], vec![0; mtu]);
        let goes = PacketBuffer::new(vec![PacketMetadata::EMPTY; SENDING_PACKETS], vec![0; SENDING.max(mtu)]);
        let mut socket = Socket::new(came, goes);
        let addr = place.is_exact().then(|| place.at.ip().into());
        socket.bind(IpListenEndpoint { addr, port: place.at.port() }).map_err(|_| Errno::Addrnotavail)?;
        let datagrams = Datagrams { place, waiting: VecDeque::new(), bytes: 0, full: None, _charge: charge };
        let id = self.insert(socket, Lane::Wire, Kind::Udp(datagrams))?;
        self.ports.insert((place.at.port(), id));
        Ok((id, place.at))
    }

    fn on_port(&self, port: u16) -> impl Iterator<Item = usize> {
        self.ports.range((port, 0)..=(port, usize::MAX)).map(|(_, id)| *id)
    }

    fn datagrams(&self, id: usize) -> Option<&Datagrams> {
        match &self.slots.get(id)?.kind {
            Kind::Udp(datagrams) => Some(datagrams),
            _ => None,
        }
    }

    /// The socket that a datagram is for.
    pub(crate) fn datagrams_for(&self, to: SocketAddr, from: SocketAddr) -> Option<usize> {
        if let Some(dhcp) = self.dhcp.as_ref().and_then(|dhcp| dhcp.is_for(to, from)) {
            return Some(dhcp);
        }
        let takes = self.on_port(to.port()).filter_map(|id| {
            let place = self.datagrams(id)?.place;
            place.takes(to).then_some((place.is_exact(), id))
        });
        takes.max().map(|(_, id)| id)
    }

    pub(crate) fn settle_udp(&mut self, id: usize) {
        let Some((socket, datagrams, wakers)) = self.slots.get_mut(id).and_then(|slot| slot.udp()) else {
            return;
        };
        while let Ok((bytes, from)) = socket.recv() {
            let from = from.endpoint.into();
            put(datagrams, &self.budget, bytes, from);
        }
        datagrams.full = datagrams.full.filter(|full| socket.send_queue() >= *full);
        for interest in [Interest::Read, Interest::Write] {
            wakers.wake(interest, datagrams.ready(socket, interest), &mut self.woken);
        }
    }

    /// Its neighbour does not answer: what is for it must not hold up what is for others.
    pub(crate) fn unreachable_udp(&mut self, id: usize) {
        if let Some((socket, ..)) = self.slots.get_mut(id).and_then(|slot| slot.udp()) {
            let at = socket.endpoint();
            socket.close();
            // It was bound there before.
            let _ = socket.bind(at);
        }
    }

    fn send_to(&mut self, id: usize, bytes: &[u8], to: SocketAddr) -> Result<(), Errno> {
        let to = destination(to);
        if to.port() == 0 {
            return Err(Errno::Inval);
        }
        let place = self.datagrams(id).ok_or(Errno::Badf)?.place;
        let (lane, from) = self.route(to.ip())?;
        let from = if place.is_exact() { place.at.ip() } else { from };
        if from.is_ipv4() != to.is_ipv4() || (to.is_ipv4() && place.at.is_ipv6() && !place.both) {
            return Err(Errno::Afnosupport);
        }
        let header = if to.is_ipv4() { 20 } else { 40 } + UDP_HEADER_LEN;
        if bytes.len() > self.mtu(lane).saturating_sub(header) {
            return Err(Errno::Msgsize);
        }
        if lane == Lane::Inside {
            let from = SocketAddr::new(from, place.at.port());
            if let Some(other) = self.datagrams_for(to, from) {
                if let Some((_, datagrams, _)) = self.slots.get_mut(other).and_then(|slot| slot.udp()) {
                    put(datagrams, &self.budget, bytes, from);
                }
                self.settle_udp(other);
            }
            return Ok(());
        }
        if from.is_loopback() {
            return Err(Errno::Netunreach);
        }
        let (socket, datagrams, _) = self.slots.get_mut(id).and_then(|slot| slot.udp()).ok_or(Errno::Badf)?;
        let meta = UdpMetadata { local_address: Some(from.into()), ..IpEndpoint::from(to).into() };
        match socket.send_slice(bytes, meta) {
            Ok(()) => {}
            Err(SendError::BufferFull) => {
                datagrams.full = Some(socket.send_queue());
                return Err(Errno::Again);
            }
            Err(SendError::Unaddressable) => return Err(Errno::Netunreach),
        }
        self.enqueue(id);
        Ok(())
    }
}

/// Puts a datagram where it waits to be read, if there is room.
fn put(datagrams: &mut Datagrams, budget: &Arc<crate::memory::Budget>, bytes: &[u8], from: SocketAddr) {
    let cost = bytes.len() + EACH;
    if datagrams.bytes + cost > MOST_WAITING {
        return;
    }
    if let Some(charge) = budget.charge(cost) {
        datagrams.bytes += cost;
        datagrams.waiting.push_back(Datagram { from, bytes: bytes.into(), _charge: charge });
    }
}

/// A socket of datagrams as a guest holds it.
pub(crate) struct Port {
    shared: Arc<Shared>,
    id: usize,
    local: SocketAddr,
}

impl Port {
    pub(crate) fn new(shared: Arc<Shared>, id: usize, local: SocketAddr) -> Self {
        Self { shared, id, local }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.shared.with(|hub| hub.remove(self.id));
    }
}

impl Source for Port {
    fn ready(&self, interest: Interest) -> Ready {
        self.shared
            .look(|hub| {
                let (socket, datagrams, _) = hub.slots.get_mut(self.id)?.udp()?;
                Some(datagrams.ready(socket, interest))
            })
            .unwrap_or_default()
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.shared.look(|hub| {
            let (slots, woken) = (&mut hub.slots, &mut hub.woken);
            if let Some((socket, datagrams, wakers)) = slots.get_mut(self.id).and_then(|slot| slot.udp()) {
                wakers.register(interest, waker, datagrams.ready(socket, interest), woken);
            }
        });
    }
}

impl UdpSocket for Port {
    fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, usize, SocketAddr), Errno> {
        self.shared.look(|hub| {
            let (_, datagrams, _) =
                hub.slots.get_mut(self.id).and_then(|slot| slot.udp()).ok_or(Errno::Badf)?;
            let datagram = datagrams.waiting.pop_front().ok_or(Errno::Again)?;
            datagrams.bytes -= datagram.bytes.len() + EACH;
            let took = datagram.bytes.len().min(buf.len());
            buf[..took].copy_from_slice(&datagram.bytes[..took]);
            Ok((took, datagram.bytes.len(), canonical(datagram.from)))
        })
    }

    fn send_to(&self, buf: &[u8], to: SocketAddr) -> Result<(), Errno> {
        self.shared.with(|hub| hub.send_to(self.id, buf, to))
    }

    fn local(&self) -> SocketAddr {
        self.local
    }
}
