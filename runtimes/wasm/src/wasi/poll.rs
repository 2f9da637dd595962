//! `poll_oneoff`: waiting for several things at once.
//!
//! The hot path of a server, so: every subscription is looked at once, and nothing is allocated unless the guest has to
//! wait. Regular files are always ready, as in POSIX. An event of reading with neither bytes nor the flag of a hang-up is
//! the end of what a peer sends.

use core::mem;
use std::sync::Arc;

use lunette_hostcalls::{Errno, Interest, Nanos, Ready, Source, Wait};

use super::{
    Answer, Progress, Stop, Wasi,
    table::{Kind, MAX_DESCRIPTORS},
    types::{Clockid, Rights, Subclockflags},
};
use crate::memory::{BadPointer, GuestMemory, Span};

/// How many subscriptions a call may have: every descriptor, to read and to write. More are [`Errno::Inval`], as in Linux.
pub const MAX_SUBSCRIPTIONS: usize = 2 * MAX_DESCRIPTORS;

/// `subscription` and `event`, in bytes; both are aligned to 8.
const SUBSCRIPTION: usize = 48;
const EVENT: usize = 32;

/// `eventtype`.
const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

/// `subscription`, as the guest has laid it out.
type Record = [u8; SUBSCRIPTION];

/// `subscription_clock`.
#[derive(Clone, Copy)]
struct Clock {
    id: Clockid,
    timeout: u64,
    absolute: bool,
}

/// What a look at a subscription found, unless it can't happen.
enum Look {
    /// It has happened.
    Event(Ready),
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
        for record in records(memory, all)? {
            match record[8] {
                CLOCK => clocks = Clock::decode(record).map(|_| true)?,
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

        let (mut count, mut next, mut until) = (0, 0, None);
        while let Some((n, event)) = self.look(records(memory, all)?, next, times, &mut until)? {
            memory.write_record(events.wrapping_add(count * EVENT as u32), 8, &event)?;
            (count, next) = (count + 1, n + 1);
        }
        if count > 0 {
            return Ok(memory.write_u32(nevents, count)?);
        }
        let wait = Wait { until, ..self.wait_for(records(memory, all)?)? };
        self.progress = Progress::Began(began);
        self.patience.renew();
        Err(Stop::Wait(wait))
    }

    /// Looks at one subscription after the other, from `first` on, until there is an event: which it was, and what to
    /// report. `until` becomes the earliest time that was met on the way.
    fn look(
        &self,
        records: &[Record],
        first: usize,
        times: Times,
        until: &mut Option<Nanos>,
    ) -> Result<Option<(usize, [u8; EVENT])>, Errno> {
        for (n, record) in records.iter().enumerate().skip(first) {
            let kind = record[8];
            let look = match kind {
                FD_READ => self.look_at_input(word(record, 16)),
                FD_WRITE => self.look_at_output(word(record, 16)),
                // Events that were laid over subscriptions (they may not be) can have made nonsense of this one.
                _ => self.look_at_clock(Clock::decode(record)?, times),
            };
            let (error, ready) = match look {
                Ok(Look::NotYet) => continue,
                Ok(Look::Until(due)) => {
                    *until = Some(until.map_or(due, |other| other.min(due)));
                    continue;
                }
                Ok(Look::Event(ready)) => (0, ready),
                Err(error) => (error.code(), Ready::default()),
            };
            let mut event = [0; EVENT];
            event[0..8].copy_from_slice(&record[0..8]);
            event[8..10].copy_from_slice(&error.to_le_bytes());
            event[10] = kind;
            event[16..24].copy_from_slice(&ready.bytes.to_le_bytes());
            event[24] = ready.hangup.into();
            return Ok(Some((n, event)));
        }
        Ok(None)
    }

    fn look_at_clock(&self, clock: Clock, times: Times) -> Result<Look, Errno> {
        let Clock { id, timeout, absolute } = clock;
        let due = match (id, absolute) {
            (Clockid::Monotonic, true) => timeout,
            (Clockid::Monotonic, false) => times.began.saturating_add(timeout),
            (Clockid::Realtime, _) => match self.ctx.clock.wall() {
                None => return Err(Errno::Inval),
                Some(_) if !absolute => times.began.saturating_add(timeout),
                // The date may be set while we wait: this is worked out anew each time.
                Some(date) => times.now.saturating_add(timeout.saturating_sub(date)),
            },
            (Clockid::Cputime, _) => return Err(Errno::Inval),
        };
        Ok(if due <= times.now { Look::Event(Ready::default()) } else { Look::Until(due) })
    }

    fn look_at_input(&self, fd: u32) -> Result<Look, Errno> {
        let descriptor = self.table.get(fd)?;
        descriptor.open_for(Rights::FD_READ)?;
        descriptor.may(Rights::POLL_FD_READWRITE)?;
        match &descriptor.kind {
            Kind::Stream(stream) => {
                let mut ready = stream.ready(Interest::Read);
                if ready.any() {
                    // As in Linux: a peer that only ended what it sends may wait for an answer, and many a server takes
                    // this flag for the end of the connection.
                    ready.hangup = ready.hangup && stream.ready(Interest::Write).hangup;
                    return Ok(Look::Event(ready));
                }
                Ok(Look::NotYet)
            }
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
    fn wait_for(&self, records: &[Record]) -> Result<Wait, Errno> {
        let mut wait = Wait::default();
        for (n, record) in records.iter().enumerate() {
            let interest = match record[8] {
                FD_READ => Interest::Read,
                FD_WRITE => Interest::Write,
                _ => continue,
            };
            let source: Arc<dyn Source> = match &self.table.get(word(record, 16))?.kind {
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

fn records<'m>(memory: &'m GuestMemory<'_>, all: Span) -> Result<&'m [Record], BadPointer> {
    Ok(memory.bytes(all)?.as_chunks().0)
}

#[inline]
fn word(record: &Record, at: usize) -> u32 {
    u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
}

impl Clock {
    /// [`Errno::Inval`] for a clock or flag that does not exist.
    fn decode(record: &Record) -> Result<Self, Errno> {
        Ok(Self {
            id: Clockid::decode(word(record, 16))?,
            timeout: u64::from(word(record, 24)) | u64::from(word(record, 28)) << 32,
            absolute: Subclockflags::decode(word(record, 40) & 0xffff)?.has(Subclockflags::ABSTIME),
        })
    }
}
