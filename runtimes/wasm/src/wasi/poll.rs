//! `poll_oneoff`: waiting for several things at once.

use lunette_hostcalls::{Errno, Nanos, Wait};

use super::{
    Answer, Stop, Wasi,
    table::Kind,
    types::{Clockid, Rights, Subclockflags},
};
use crate::memory::GuestMemory;

/// `subscription` and `event`, in bytes; both are aligned to 8.
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

/// `eventtype`.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Type {
    Clock = 0,
    FdRead = 1,
    FdWrite = 2,
}

struct Subscription {
    userdata: u64,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Clock { id: Clockid, timeout: u64, absolute: bool },
    FdRead { fd: u32 },
    FdWrite { fd: u32 },
}

/// What a look at a subscription found.
enum Look {
    /// It has happened: so many bytes, and is the other side gone?
    Event { bytes: u64, hangup: bool },
    /// It can't happen.
    Error(Errno),
    /// Not before this.
    Until(Nanos),
    /// Not before there is input.
    Stdin,
}

impl Wasi {
    /// Waits until at least one of the things subscribed to has happened, and reports all that have.
    ///
    /// In an event: [`Errno::Badf`] (not open, or not for that), [`Errno::Notcapable`], [`Errno::Inval`] (no such
    /// clock here). For the call: [`Errno::Inval`]: no subscriptions, or one that can't be decoded.
    pub fn poll_oneoff(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: u32,
        events: u32,
        nsubscriptions: u32,
        nevents: u32,
    ) -> Answer {
        let now = self.ctx.clock.monotonic();
        let began = self.began.take().unwrap_or(now);
        if nsubscriptions == 0 {
            return Err(Errno::Inval.into());
        }
        memory.check(subscriptions, u64::from(nsubscriptions) * u64::from(SUBSCRIPTION), 8)?;
        memory.check(events, u64::from(nsubscriptions) * u64::from(EVENT), 8)?;
        memory.check(nevents, 4, 4)?;

        // First look at all without writing: nothing may be written if there is nothing to report.
        let mut wait = Wait::default();
        let mut ready = false;
        for n in 0..nsubscriptions {
            let subscription = Subscription::read(memory, subscriptions, n)?;
            match self.look(&subscription.what, began, now) {
                Look::Event { .. } | Look::Error(_) => ready = true,
                Look::Until(due) => wait.until = Some(wait.until.map_or(due, |other| other.min(due))),
                Look::Stdin => wait.stdin = true,
            }
        }
        if !ready {
            self.began = Some(began);
            return Err(Stop::Wait(wait));
        }
        let mut count = 0;
        for n in 0..nsubscriptions {
            // Events that were laid over subscriptions (they may not be) can have changed this one.
            let subscription = Subscription::read(memory, subscriptions, n)?;
            let (error, bytes, hangup) = match self.look(&subscription.what, began, now) {
                Look::Event { bytes, hangup } => (0, bytes, hangup),
                Look::Error(error) => (error.code(), 0, false),
                Look::Until(_) | Look::Stdin => continue,
            };
            let mut event = [0; EVENT as usize];
            event[0..8].copy_from_slice(&subscription.userdata.to_le_bytes());
            event[8..10].copy_from_slice(&error.to_le_bytes());
            event[10] = subscription.what.kind() as u8;
            event[16..24].copy_from_slice(&bytes.to_le_bytes());
            event[24] = hangup.into();
            memory.write_record(events.wrapping_add(count * EVENT), 8, &event)?;
            count += 1;
        }
        Ok(memory.write_u32(nevents, count)?)
    }

    fn look(&self, what: &What, began: Nanos, now: Nanos) -> Look {
        match *what {
            What::Clock { id, timeout, absolute } => self.look_at_clock(id, timeout, absolute, began, now),
            What::FdRead { fd } => self.look_at_input(fd).unwrap_or_else(Look::Error),
            What::FdWrite { fd } => self.look_at_output(fd).unwrap_or_else(Look::Error),
        }
    }

    fn look_at_clock(&self, id: Clockid, timeout: u64, absolute: bool, began: Nanos, now: Nanos) -> Look {
        let wall = self.ctx.clock.wall();
        let due = match (id, absolute, wall) {
            (Clockid::Monotonic, true, _) => timeout,
            (Clockid::Monotonic, false, _) | (Clockid::Realtime, false, Some(_)) => {
                began.saturating_add(timeout)
            }
            // The date may be set while we wait: this is worked out anew each time.
            (Clockid::Realtime, true, Some(date)) => now.saturating_add(timeout.saturating_sub(date)),
            (Clockid::Realtime, _, None) | (Clockid::Cputime, ..) => return Look::Error(Errno::Inval),
        };
        if due <= now { Look::Event { bytes: 0, hangup: false } } else { Look::Until(due) }
    }

    fn look_at_input(&self, fd: u32) -> Result<Look, Errno> {
        let descriptor = self.table.get(fd)?;
        descriptor.open_for(Rights::FD_READ)?;
        descriptor.may(Rights::POLL_FD_READWRITE)?;
        match &descriptor.kind {
            Kind::Stdin => {
                let input = self.ctx.stdio.input();
                let found = Look::Event { bytes: input.bytes, hangup: input.hangup };
                Ok(if input.any() { found } else { Look::Stdin })
            }
            Kind::File { held, position } => {
                let bytes = held.files.stat(held.node)?.size.saturating_sub(*position);
                Ok(Look::Event { bytes, hangup: bytes == 0 })
            }
            Kind::Output(_) | Kind::Directory { .. } => Err(Errno::Badf),
        }
    }

    fn look_at_output(&self, fd: u32) -> Result<Look, Errno> {
        let descriptor = self.table.get(fd)?;
        descriptor.open_for(Rights::FD_WRITE)?;
        descriptor.may(Rights::POLL_FD_READWRITE)?;
        match &descriptor.kind {
            // Nobody knows how much; wasmtime says 1 too.
            Kind::Output(_) | Kind::File { .. } => Ok(Look::Event { bytes: 1, hangup: false }),
            Kind::Stdin | Kind::Directory { .. } => Err(Errno::Badf),
        }
    }
}

impl Subscription {
    /// [`Errno::Inval`] for a type, clock or flag that does not exist.
    fn read(memory: &GuestMemory<'_>, array: u32, n: u32) -> Result<Self, Stop> {
        let at = array.wrapping_add(n.wrapping_mul(SUBSCRIPTION));
        let userdata = memory.read_u64(at)?;
        let kind = memory.read_u8(at.wrapping_add(8))?;
        let first = memory.read_u32(at.wrapping_add(16))?;
        let what = match kind {
            0 => What::Clock {
                id: Clockid::decode(first)?,
                timeout: memory.read_u64(at.wrapping_add(24))?,
                absolute: Subclockflags::decode(memory.read_u16(at.wrapping_add(40))?.into())?
                    .has(Subclockflags::ABSTIME),
            },
            1 => What::FdRead { fd: first },
            2 => What::FdWrite { fd: first },
            _ => return Err(Errno::Inval.into()),
        };
        Ok(Self { userdata, what })
    }
}

impl What {
    fn kind(self) -> Type {
        match self {
            Self::Clock { .. } => Type::Clock,
            Self::FdRead { .. } => Type::FdRead,
            Self::FdWrite { .. } => Type::FdWrite,
        }
    }
}
