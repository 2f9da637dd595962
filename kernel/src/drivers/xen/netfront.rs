//! netfront (public/io/netif.h): a network card whose other half is a driver in another domain.
//!
//! The two find one another in the store: we name two rings and an event channel, and say that we are connected; the
//! backend does so too. Frames lie in buffers that the backend may use for good: those of what is sent for reading,
//! half a page each; those of what comes for writing, a page each. One queue; no checksums, no segments put together,
//! no frame in several pieces: the backend is told so.

use alloc::{format, string::String};
use core::ptr::NonNull;

use lunette_net::smoltcp::time::Instant;
use virtio_drivers::{BufferDirection, Hal};

use super::{
    Hypervisor, PAGE,
    grant::Grants,
    ring::{Ring, SLOTS},
    store::{Problem, Store},
    wait_for,
};
use crate::drivers::{
    Fault,
    card::{FRAME, Frames, LOOK, Watch},
    memory::Memory,
};

/// Where the store has the first card, below the domain's own path.
const PATH: &str = "device/vif/0";

/// `XenbusState` (public/io/xenbus.h).
mod state {
    pub(super) const INIT_WAIT: u32 = 2;
    pub(super) const CONNECTED: u32 = 4;
    pub(super) const CLOSING: u32 = 5;
    pub(super) const CLOSED: u32 = 6;
}

/// How long the backend may take for each step: a script of the toolstack's may be among them.
const PATIENCE: u64 = 10_000_000_000;
/// Between two questions to the store.
const PAUSE: u64 = 2_000_000;

/// Buffers of what is sent, to a page.
const HALVES: usize = 2;
const HALF: usize = PAGE / HALVES;
/// So many frames, or buffers, are shown to the backend at once: it works while we do.
const BATCH: u32 = 32;

/// Why there is no card, or none that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The domain has none.
    NotThere,
    Store(Problem),
    Device(Fault),
}

impl From<Problem> for Missing {
    fn from(problem: Problem) -> Self {
        Self::Store(problem)
    }
}

impl From<Fault> for Missing {
    fn from(fault: Fault) -> Self {
        Self::Device(fault)
    }
}

pub(crate) struct Netfront<M: Hal, H> {
    hypervisor: H,
    port: u32,
    mac: [u8; 6],
    /// Where the backend says how it is.
    backend_state: String,
    rx: Receive<M>,
    tx: Transmit<M>,
    watch: Watch,
    failure: Option<Fault>,
}

impl<M: Hal, H: Hypervisor + Clone> Netfront<M, H> {
    /// Sets up the first card and waits until its backend is ready. `memory`: what its buffers may take, in bytes.
    /// `token`: by which the store tells of the backend's state.
    pub(super) fn new(
        store: &mut Store<H>,
        grants: &mut Grants,
        memory: usize,
        token: u8,
    ) -> Result<Self, Missing> {
        let ours = |key: &str| format!("{PATH}/{key}");
        let Some(backend) = store.read(&ours("backend"))?.and_then(|path| String::from_utf8(path).ok())
        else {
            return Err(Missing::NotThere);
        };
        let peer = store.number(&ours("backend-id"))?.and_then(|id| u16::try_from(id).ok());
        let peer = peer.ok_or(Fault::Refused)?;
        let mac = store.read(&ours("mac"))?.and_then(|mac| parse_mac(&mac)).ok_or(Fault::Refused)?;
        let backend_state = format!("{backend}/state");
        reach(store, &backend_state, state::INIT_WAIT)?;

        let hypervisor = store.hypervisor().clone();
        let (rings, rx_ring, tx_ring) = rings::<M>(grants, peer)?;
        // SAFETY: two zeroed pages that are nobody else's, and are never given back.
        let (rx, tx) = unsafe { (Ring::new(rings), Ring::new(rings.add(PAGE))) };
        let rx = Receive::new(rx, grants, peer, memory * 2 / 3)?;
        let tx = Transmit::new(tx, grants, peer, memory / 3)?;
        let port = hypervisor.offer(peer).ok_or(Fault::Refused)?;
        for (key, value) in [
            ("rx-ring-ref", rx_ring),
            ("tx-ring-ref", tx_ring),
            ("event-channel", port),
            ("request-rx-copy", 1),
            ("feature-rx-notify", 1),
            ("feature-no-csum-offload", 1),
            ("state", state::CONNECTED),
        ] {
            store.write(&ours(key), &format!("{value}"))?;
        }
        reach(store, &backend_state, state::CONNECTED)?;
        store.watch(&backend_state, token)?;
        let watch = Watch::new();
        let mut this = Self { hypervisor, port, mac, backend_state, rx, tx, watch, failure: None };
        this.tell();
        Ok(this)
    }

    /// The store says that the backend's state may be another one. Without its other half a card is none.
    pub(super) fn look_at_backend(&mut self, store: &mut Store<H>) {
        if self.failure.is_some() {
            return;
        }
        let at = store.number(&self.backend_state).unwrap_or(None);
        if at != Some(state::CONNECTED) {
            self.failure = Some(Fault::Closed);
            // It waits for this, if it still listens.
            let _ = store.write(&format!("{PATH}/state"), &format!("{}", state::CLOSED));
        }
    }

    /// Shows the backend what is new, and wakes it if it sleeps.
    fn tell(&mut self) {
        let (rx, tx) = (self.rx.ring.show(), self.tx.ring.show());
        if rx || tx {
            self.hypervisor.notify(self.port);
        }
    }

    fn tell_of_a_batch(&mut self) {
        if self.rx.ring.fresh().max(self.tx.ring.fresh()) >= BATCH {
            self.tell();
        }
    }

    #[cold]
    fn give_up(&mut self, fault: Fault) {
        self.failure = Some(fault);
    }
}

/// Waits until the backend is in this state.
fn reach<H: Hypervisor + Clone>(store: &mut Store<H>, path: &str, wanted: u32) -> Result<(), Missing> {
    let hypervisor = store.hypervisor().clone();
    let begun = hypervisor.now();
    loop {
        match store.number(path)? {
            Some(at) if at == wanted => return Ok(()),
            None | Some(state::CLOSING..) => return Err(Fault::Closed.into()),
            Some(_) if hypervisor.now().saturating_sub(begun) >= PATIENCE => {
                return Err(Fault::NotReady.into());
            }
            Some(_) => wait_for(&hypervisor, PAUSE, || false),
        };
    }
}

/// Two pages for the rings, granted: where they are, and by which references.
fn rings<M: Hal>(grants: &mut Grants, peer: u16) -> Result<(NonNull<u8>, u32, u32), Fault> {
    let (physical, at) = M::dma_alloc(2, BufferDirection::Both);
    if physical == 0 {
        return Err(Fault::NoMemory);
    }
    let frame = physical / PAGE as u64;
    let mut grant = |frame| grants.grant(peer, frame, true).ok_or(Fault::NoMemory);
    Ok((at, grant(frame)?, grant(frame + 1)?))
}

fn parse_mac(text: &[u8]) -> Option<[u8; 6]> {
    let mut parts = core::str::from_utf8(text).ok()?.trim().split(':');
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    // Not a group's.
    (parts.next().is_none() && mac[0] & 1 == 0).then_some(mac)
}

/// What comes: the buffer under each identifier is the one of that number.
struct Receive<M: Hal> {
    ring: Ring<8>,
    memory: Memory<M>,
    grants: [u32; SLOTS as usize],
    /// Which buffers the backend has.
    posted: [bool; SLOTS as usize],
    /// The buffer of the frame that was given out last.
    lent: Option<u16>,
}

impl<M: Hal> Receive<M> {
    fn new(ring: Ring<8>, table: &mut Grants, peer: u16, memory: usize) -> Result<Self, Fault> {
        let count = (memory / PAGE).clamp(8, SLOTS as usize);
        let (mut memory, count) = Memory::new(count, PAGE, BufferDirection::DeviceToDriver)?;
        memory.keep = true;
        let mut grants = [0; SLOTS as usize];
        for (i, grant) in grants[..count].iter_mut().enumerate() {
            let frame = memory.physical / PAGE as u64 + i as u64;
            *grant = table.grant(peer, frame, true).ok_or(Fault::NoMemory)?;
        }
        let mut this = Self { ring, memory, grants, posted: [false; SLOTS as usize], lent: None };
        (0..count).for_each(|buffer| this.post(buffer as u16));
        Ok(this)
    }

    /// Gives a buffer to the backend. There is a slot for each.
    fn post(&mut self, buffer: u16) {
        let index = usize::from(buffer) % SLOTS as usize;
        let mut request = [0; 8];
        request[..2].copy_from_slice(&buffer.to_le_bytes());
        request[4..].copy_from_slice(&self.grants[index].to_le_bytes());
        self.posted[index] = self.ring.ask(request);
    }

    fn recycle(&mut self) {
        if let Some(buffer) = self.lent.take() {
            self.post(buffer);
        }
    }

    fn next(&mut self) -> Result<Option<NonNull<[u8]>>, Fault> {
        loop {
            let Some(response) = self.ring.answer()? else {
                self.recycle();
                return Ok(None);
            };
            let field = |at: usize| u16::from_le_bytes([response[at], response[at + 1]]);
            let (buffer, offset, flags, status) = (field(0), field(2), field(4), field(6) as i16);
            let posted = self.posted.get_mut(usize::from(buffer)).filter(|posted| **posted);
            *posted.ok_or(Fault::WildIndex(buffer))? = false;
            // Only now, so that one that was answered twice is noticed.
            self.recycle();
            self.lent = Some(buffer);
            // Nothing of this was agreed on (`NETRXF_more_data`, `NETRXF_extra_info`).
            if flags & 0xc != 0 {
                return Err(Fault::WildPieces(2));
            }
            // Negative: this frame could not be brought; that is no breach.
            let Ok(length) = usize::try_from(status) else { continue };
            if usize::from(offset) + length > PAGE {
                return Err(Fault::WildLength(u32::from(offset) + length as u32));
            }
            if length > 0 {
                // SAFETY: the buffer is ours until it is recycled, and the range is inside.
                let frame = unsafe { self.memory.bytes(usize::from(buffer), offset.into(), length) };
                return Ok(Some(NonNull::from(frame)));
            }
        }
    }
}

/// What goes: an identifier is a buffer's number.
struct Transmit<M: Hal> {
    ring: Ring<12>,
    memory: Memory<M>,
    /// Of each page.
    grants: [u32; SLOTS as usize / HALVES],
    posted: [bool; SLOTS as usize],
    /// Buffers that are ours now.
    free: [u16; SLOTS as usize],
    free_count: usize,
    /// Somebody waits for room.
    wanted: bool,
}

impl<M: Hal> Transmit<M> {
    fn new(ring: Ring<12>, table: &mut Grants, peer: u16, memory: usize) -> Result<Self, Fault> {
        let count = (memory / HALF).clamp(8, SLOTS as usize);
        let (mut memory, count) = Memory::new(count, HALF, BufferDirection::DriverToDevice)?;
        memory.keep = true;
        let mut grants = [0; SLOTS as usize / HALVES];
        for (i, grant) in grants[..count.div_ceil(HALVES)].iter_mut().enumerate() {
            let frame = memory.physical / PAGE as u64 + i as u64;
            *grant = table.grant(peer, frame, false).ok_or(Fault::NoMemory)?;
        }
        let free = core::array::from_fn(|i| i as u16);
        let posted = [false; SLOTS as usize];
        Ok(Self { ring, memory, grants, posted, free, free_count: count, wanted: false })
    }

    /// Takes back what was sent. True: there was something.
    fn reclaim(&mut self) -> Result<bool, Fault> {
        let mut some = false;
        while let Some(response) = self.ring.answer()? {
            // Whether it arrived (`status`) is for whoever waits for an answer to find out.
            let buffer = u16::from_le_bytes([response[0], response[1]]);
            let posted = self.posted.get_mut(usize::from(buffer)).filter(|posted| **posted);
            *posted.ok_or(Fault::WildIndex(buffer))? = false;
            self.free[self.free_count] = buffer;
            self.free_count += 1;
            self.wanted = false;
            some = true;
        }
        Ok(some)
    }

    fn next_free(&self) -> Option<u16> {
        self.free_count.checked_sub(1).map(|last| self.free[last])
    }

    fn send(&mut self, length: usize) {
        let Some(buffer) = self.next_free() else { return };
        let index = usize::from(buffer);
        let (grant, offset) = (self.grants[index / HALVES], index % HALVES * HALF);
        let mut request = [0; 12];
        request[..4].copy_from_slice(&grant.to_le_bytes());
        request[4..6].copy_from_slice(&(offset as u16).to_le_bytes());
        request[8..10].copy_from_slice(&buffer.to_le_bytes());
        request[10..].copy_from_slice(&(length as u16).to_le_bytes());
        if self.ring.ask(request) {
            self.posted[index] = true;
            self.free_count -= 1;
        }
    }
}

impl<M: Hal, H: Hypervisor + Clone> Frames for Netfront<M, H> {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn link_is_up(&self) -> bool {
        true
    }

    fn failure(&self) -> Option<Fault> {
        self.failure
    }

    fn receive(&mut self) -> Option<NonNull<[u8]>> {
        if self.failure.is_some() {
            return None;
        }
        let next = self.rx.next();
        self.tell_of_a_batch();
        next.unwrap_or_else(|fault| {
            self.give_up(fault);
            None
        })
    }

    fn has_room(&mut self) -> bool {
        if self.failure.is_none() && self.tx.free_count == 0 {
            match self.tx.reclaim() {
                Ok(true) => self.watch.alive(),
                Ok(false) => {}
                Err(fault) => self.give_up(fault),
            }
        }
        self.tx.wanted |= self.tx.free_count == 0;
        self.failure.is_some() || self.tx.free_count > 0
    }

    fn buffer(&mut self, length: usize) -> Option<&mut [u8]> {
        if self.failure.is_some() || length > FRAME {
            return None;
        }
        let buffer = self.tx.next_free()?;
        // SAFETY: a free buffer is ours alone, and a frame fits.
        Some(unsafe { self.tx.memory.bytes(usize::from(buffer), 0, length) })
    }

    fn send(&mut self, length: usize) {
        self.tx.send(length);
        self.tell_of_a_batch();
    }

    fn flush(&mut self, now: Instant) {
        if self.failure.is_some() {
            return;
        }
        self.rx.recycle();
        let done = self.tx.reclaim().and_then(|some| {
            if some {
                self.watch.alive();
            }
            self.watch.look(now, self.tx.ring.outstanding() > self.tx.ring.fresh())
        });
        match done {
            Ok(()) => self.tell(),
            Err(fault) => self.give_up(fault),
        }
    }

    fn flush_at(&self, now: Instant) -> Option<Instant> {
        (self.failure.is_none() && self.tx.ring.outstanding() > 0).then(|| now + LOOK)
    }

    fn listen(&mut self, on: bool) -> bool {
        if self.failure.is_some() {
            return false;
        }
        // Of what was sent only somebody who waits for room wants to know.
        self.tx.ring.listen(on && self.tx.wanted);
        self.rx.ring.listen(on);
        self.work()
    }

    fn work(&self) -> bool {
        self.failure.is_none() && (self.rx.ring.has_answer() || (self.tx.wanted && self.tx.ring.has_answer()))
    }

    fn acknowledge(&mut self) {}
}

// SAFETY: rings and buffers are owned by the card; one core has one of them.
unsafe impl<M: Hal, H: Send> Send for Netfront<M, H> {}

#[cfg(test)]
#[path = "netfront_tests.rs"]
mod tests;
