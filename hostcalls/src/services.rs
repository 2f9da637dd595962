//! The small services. One trait each, object-safe, `&self`: a host shares them among its guests.

use alloc::vec::Vec;
use core::{fmt, task::Waker};

use crate::Errno;

/// Nanoseconds: since an arbitrary start on the monotonic clock, since the Unix epoch on the wall clock.
pub type Nanos = u64;

/// Two clocks. Reading one never fails and never goes backwards (monotonic).
pub trait Clock: Send + Sync {
    /// Time since an arbitrary point, never set back.
    fn monotonic(&self) -> Nanos;
    /// Time since 1970-01-01T00:00:00Z, or `None` where the host has no idea of the date.
    fn wall(&self) -> Option<Nanos>;
    /// The smallest step the clocks can show.
    fn resolution(&self) -> Nanos {
        1
    }
}

/// Random bytes fit for keys.
pub trait Random: Send + Sync {
    /// Fills all of `buf`, or answers [`Errno::Again`] and leaves it alone while the generator is unseeded.
    fn fill(&self, buf: &mut [u8]) -> Result<(), Errno>;
}

/// The two ways out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// What a look at a stream found, without taking anything from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Bytes that can be read (or written) at once; 0 with `hangup` is end of file.
    pub bytes: u64,
    /// The other side is gone: nothing more will come.
    pub hangup: bool,
}

impl Ready {
    /// Would a read answer something other than [`Errno::Again`]?
    pub fn any(self) -> bool {
        self.bytes > 0 || self.hangup
    }
}

/// Standard input, output and error.
pub trait Stdio: Send + Sync {
    /// Takes what is there, up to `buf.len()`: `Ok(0)` is end of file, [`Errno::Again`] is "nothing yet".
    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno>;
    /// Is there input? Takes nothing.
    fn input(&self) -> Ready;
    /// Has `waker` woken as soon as there is input, at once if there is now. One waker: a new one takes the place
    /// of the old, which is woken unless it is of the same task ([`crate::task::replace_waker`]).
    fn register_input(&self, waker: &Waker);
    /// Hands on some of `buf` and says how much; unbuffered: what it took is out.
    /// [`Errno::Pipe`] once nobody listens.
    fn write(&self, stream: Stream, buf: &[u8]) -> Result<usize, Errno>;
    /// Is a person on the other side?
    fn is_terminal(&self) -> bool {
        false
    }
}

/// New versions of an app while it runs, from whoever watches its files.
pub trait Versions: Send + Sync {
    /// The newest that nobody has taken: a payload, as the first was.
    fn take(&self) -> Option<Vec<u8>>;
    /// Has `waker` woken as soon as there is one, at once if there is now. One waker.
    fn register(&self, waker: &Waker);
    /// Says what became of the one that was taken: it runs, or why the one before goes on.
    fn tell(&self, outcome: Result<(), &str>);
}

/// Where the host's own words about a guest go: not to the guest, but to whoever runs it.
pub trait Log: Send + Sync {
    /// Something was refused or went wrong. One line, without its end.
    fn warn(&self, line: fmt::Arguments<'_>);
}
