//! `poll_oneoff`: waiting for several things at once.
//!
//! The hot path of a server, so: every subscription is looked at once, and nothing is allocated unless the guest has to
//! wait. Regular files are always ready, as in POSIX.

use core::mem;
use std::sync::Arc;

use lunette_hostcalls::{Errno, Interest, Nanos, Ready, Source, Wait};

use super::{
    Answer, Progress, Stop, Wasi,
    table::{Kind, MAX_DESCRIPTORS},
    types::{Clockid, Rights, Subclockflags},
};
use crate::memory::{GuestMemory, Span};

/// How many subscriptions a call may have: every descriptor, to read and to write. More are [`Errno::Inval`], as in Linux.
pub const MAX_SUBSCRIPTIONS: usize = 2 * MAX_DESCRIPTORS;

/// `subscription` and `event`, in bytes; both are aligned to 8.
const SUBSCRIPTION: usize = 48;
const EVENT: usize = 32;

/// `eventtype`.
const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

struct Subscription {
    userdata: u64,
    kind: u8,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Clock { id: Clockid, timeout: u64, absolute: bool },
    Fd { fd: u32, interest: Interest },
}

/// What a look at a subscription found.
enum Look {
    /// It has happened.
    Event(Ready),
    /// It can't happen.
    Error(Errno),
    /// Not before this.
    Until(Nanos),
    /// Not before something else does.
    NotYet,
}

impl From<Ready> for Look {
    fn from(ready: Ready) -> Self {
        if ready.any() { Self::Event(ready) } else { Self::NotYet }
    }
}

/// The time of one call.
#[derive(Clone, Copy, Default)]
struct Times {
    now: Nanos,
    /// When it was made first.
    began: Nanos,
}

impl Wasi {
    /// Waits until at least one of the things subscribed to has happened, and reports all that have.
    ///
    /// In an event: [`Errno::Badf`] (not open, or not for that), [`Errno::Notcapable`], [`Errno::Inval`] (no such
    /// clock here). For the call: [`Errno::Inval`]: no subscriptions, more than [`MAX_SUBSCRIPTIONS`], or one that
    /// can't be decoded.
    pub fn poll_oneoff(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: u32,
        events: u32,
        nsubscriptions: u32,
        nevents: u32,
    ) -> Answer {
        let progress = mem::take(&mut self.progress);
        if nsubscriptions == 0 {
            return Err(Errno::Inval.into());
        }
        memory.check(subscriptions, u64::from(nsubscriptions) * SUBSCRIPTION as u64, 8)?;
        memory.check(events, u64::from(nsubscriptions) * EVENT as u64, 8)?;
        memory.check(nevents, 4, 4)?;
        if nsubscriptions as usize > MAX_SUBSCRIPTIONS {
            return Err(Errno::Inval.into());
        }
        // First of all: do they mean anything? Nothing may be written if one of them doesn't.
        let all = Span { start: subscriptions, length: nsubscriptions * SUBSCRIPTION as u32 };
        let mut clocks = false;
        for record in memory.bytes(all)?.as_chunks::<SUBSCRIPTION>().0 {
            match record[8] {
                CLOCK => {
                    Subscription::decode(record)?;
                    clocks = true;
                }
                FD_READ | FD_WRITE => {}
                _ => return Err(Errno::Inval.into()),
            }
        }
        if self.patience.ends() {
            self.progress = progress;
            return Err(Stop::Wait(Wait::GIVE_WAY));
        }
        let now = if clocks { self.ctx.clock.monotonic() } else { 0 };
        let began = if let Progress::Began(began) = progress { began } else { now };
        let times = Times { now, began };

        let (mut count, mut until) = (0, None);
        for n in 0..nsubscriptions {
            let subscription = Subscription::read(memory, subscriptions, n)?;
            let (error, ready) = match self.look(&subscription.what, times) {
                Look::Event(ready) => (0, ready),
                Look::Error(error) => (error.code(), Ready::default()),
                Look::Until(due) => {
                    until = Some(until.map_or(due, |other: Nanos| other.min(due)));
                    continue;
                }
                Look::NotYet => continue,
            };
            let mut event = [0; EVENT];
            event[0..8].copy_from_slice(&subscription.userdata.to_le_bytes());
            event[8..10].copy_from_slice(&error.to_le_bytes());
            event[10] = subscription.kind;
            event[16..24].copy_from_slice(&ready.bytes.to_le_bytes());
            event[24] = ready.hangup.into();
            memory.write_record(events.wrapping_add(count * EVENT as u32), 8, &event)?;
            count += 1;
        }
        if count > 0 {
            return Ok(memory.write_u32(nevents, count)?);
        }
        let wait = Wait { until, ..self.wait_for(memory, all)? };
        self.progress = Progress::Began(began);
        self.patience.renew();
        Err(Stop::Wait(wait))
    }

    fn look(&self, what: &What, times: Times) -> Look {
        match *what {
            What::Clock { id, timeout, absolute } => self.look_at_clock(id, timeout, absolute, times),
            What::Fd { fd, interest: Interest::Read } => self.look_at_input(fd).unwrap_or_else(Look::Error),
            What::Fd { fd, interest: Interest::Write } => self.look_at_output(fd).unwrap_or_else(Look::Error),
        }
    }

    fn look_at_clock(&self, id: Clockid, timeout: u64, absolute: bool, times: Times) -> Look {
        let due = match (id, absolute) {
            (Clockid::Monotonic, true) => timeout,
            (Clockid::Monotonic, false) => times.began.saturating_add(timeout),
            (Clockid::Realtime, _) => match self.ctx.clock.wall() {
                None => return Look::Error(Errno::Inval),
                Some(_) if !absolute => times.began.saturating_add(timeout),
                // The date may be set while we wait: this is worked out anew each time.
                Some(date) => times.now.saturating_add(timeout.saturating_sub(date)),
            },
            (Clockid::Cputime, _) => return Look::Error(Errno::Inval),
        };
        if due <= times.now { Look::Event(Ready::default()) } else { Look::Until(due) }
    }

    fn look_at_input(&self, fd: u32) -> Result<Look, Errno> {
        let descriptor = self.table.get(fd)?;
        descriptor.open_for(Rights::FD_READ)?;
        descriptor.may(Rights::POLL_FD_READWRITE)?;
        match &descriptor.kind {
            Kind::Stream(stream) => Ok(stream.ready(Interest::Read).into()),
            Kind::Listener(listener) => Ok(listener.ready(Interest::Read).into()),
            Kind::Stdin => Ok(self.ctx.stdio.input().into()),
            Kind::File { held, position } => {
                let bytes = held.files.stat(held.node)?.size.saturating_sub(*position);
                Ok(Look::Event(Ready { bytes, hangup: bytes == 0 }))
            }
            Kind::Output(_) | Kind::Directory { .. } => Err(Errno::Badf),
        }
    }

    fn look_at_output(&self, fd: u32) -> Result<Look, Errno> {
        let descriptor = self.table.get(fd)?;
        descriptor.open_for(Rights::FD_WRITE)?;
        descriptor.may(Rights::POLL_FD_READWRITE)?;
        match &descriptor.kind {
            Kind::Stream(stream) => Ok(stream.ready(Interest::Write).into()),
            // Nobody knows how much; wasmtime says 1 too.
            Kind::Output(_) | Kind::File { .. } => Ok(Look::Event(Ready { bytes: 1, hangup: false })),
            Kind::Stdin | Kind::Listener(_) | Kind::Directory { .. } => Err(Errno::Badf),
        }
    }

    /// What would wake a guest whose subscriptions have all been looked at in vain, but for the clocks.
    /// [`Errno::Nomem`]: the host has no room for the list.
    #[cold]
    fn wait_for(&self, memory: &GuestMemory<'_>, all: Span) -> Result<Wait, Stop> {
        let mut wait = Wait::default();
        let records = memory.bytes(all)?.as_chunks::<SUBSCRIPTION>().0;
        for (n, record) in records.iter().enumerate() {
            let What::Fd { fd, interest } = Subscription::decode(record)?.what else { continue };
            let source: Arc<dyn Source> = match &self.table.get(fd)?.kind {
                Kind::Stream(stream) => stream.clone(),
                Kind::Listener(listener) => listener.clone(),
                Kind::Stdin => {
                    wait.stdin = true;
                    continue;
                }
                Kind::Output(_) | Kind::File { .. } | Kind::Directory { .. } => continue,
            };
            if wait.sockets.is_empty() {
                wait.sockets.try_reserve_exact(records.len() - n).map_err(|_| Errno::Nomem)?;
            }
            wait.sockets.push((source, interest));
        }
        Ok(wait)
    }
}

impl Subscription {
    fn read(memory: &GuestMemory<'_>, array: u32, n: u32) -> Result<Self, Stop> {
        let at = array.wrapping_add(n.wrapping_mul(SUBSCRIPTION as u32));
        Ok(Self::decode(&memory.read_record(at, 8)?)?)
    }

    /// [`Errno::Inval`] for a type, clock or flag that does not exist.
    #[inline]
    fn decode(record: &[u8; SUBSCRIPTION]) -> Result<Self, Errno> {
        let word =
            |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let kind = record[8];
        let what = match kind {
            CLOCK => What::Clock {
                id: Clockid::decode(word(16))?,
                timeout: long(24),
                absolute: Subclockflags::decode(word(40) & 0xffff)?.has(Subclockflags::ABSTIME),
            },
            FD_READ => What::Fd { fd: word(16), interest: Interest::Read },
            FD_WRITE => What::Fd { fd: word(16), interest: Interest::Write },
            _ => return Err(Errno::Inval),
        };
        Ok(Self { userdata: long(0), kind, what })
    }
}
