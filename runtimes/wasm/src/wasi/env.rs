//! What a guest can ask of its surroundings: arguments, environment, clocks, random bytes, and its own end.

use core::mem;

use lunette_hostcalls::{Errno, Nanos, Wait};

use super::{Answer, Progress, Stop, Wasi, types::Clockid};
use crate::memory::{BadPointer, GuestMemory, Span};

/// How long to wait before asking an unseeded generator again.
const SEED_WAIT: Nanos = 1_000_000;

/// `signal`: the highest number.
const LAST_SIGNAL: u32 = 30;

impl Wasi {
    /// The arguments, each with a NUL behind it, and pointers to them.
    ///
    /// No errors.
    pub fn args_get(&mut self, memory: &mut GuestMemory<'_>, argv: u32, argv_buf: u32) -> Answer {
        let parts = self.ctx.args.iter().map(|arg| [arg.as_bytes(), b"\0"]);
        Ok(strings_get(memory, argv, argv_buf, parts)?)
    }

    /// How many arguments there are, and how many bytes they take with their NULs.
    ///
    /// [`Errno::Overflow`]: more than 4 GiB.
    pub fn args_sizes_get(&mut self, memory: &mut GuestMemory<'_>, argc: u32, argv_buf_size: u32) -> Answer {
        let parts = self.ctx.args.iter().map(|arg| [arg.as_bytes(), b"\0"]);
        strings_sizes_get(memory, argc, argv_buf_size, parts)
    }

    /// The environment as `KEY=VALUE`, each with a NUL behind it, and pointers to them.
    ///
    /// No errors.
    pub fn environ_get(&mut self, memory: &mut GuestMemory<'_>, environ: u32, environ_buf: u32) -> Answer {
        let parts = self.ctx.env.iter().map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes(), b"\0"]);
        Ok(strings_get(memory, environ, environ_buf, parts)?)
    }

    /// As [`Wasi::args_sizes_get`].
    pub fn environ_sizes_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        environc: u32,
        environ_buf_size: u32,
    ) -> Answer {
        let parts = self.ctx.env.iter().map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes(), b"\0"]);
        strings_sizes_get(memory, environc, environ_buf_size, parts)
    }

    /// The smallest step of a clock, never 0.
    ///
    /// [`Errno::Inval`]: no such clock here.
    pub fn clock_res_get(&mut self, memory: &mut GuestMemory<'_>, id: u32, resolution: u32) -> Answer {
        match Clockid::decode(id)? {
            Clockid::Realtime | Clockid::Monotonic => {}
            Clockid::Cputime => return Err(Errno::Inval.into()),
        }
        Ok(memory.write_u64(resolution, self.ctx.clock.resolution().max(1))?)
    }

    /// The time of a clock. It is always as precise as can be had.
    ///
    /// [`Errno::Inval`]: no such clock here.
    pub fn clock_time_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        id: u32,
        _precision: u64,
        time: u32,
    ) -> Answer {
        let now = match Clockid::decode(id)? {
            Clockid::Monotonic => self.ctx.clock.monotonic(),
            Clockid::Realtime => self.ctx.clock.wall().ok_or(Errno::Inval)?,
            Clockid::Cputime => return Err(Errno::Inval.into()),
        };
        Ok(memory.write_u64(time, now)?)
    }

    /// Fills a buffer with bytes fit for keys. Waits while the generator is unseeded.
    ///
    /// Errors: what the generator answers.
    pub fn random_get(&mut self, memory: &mut GuestMemory<'_>, buf: Span) -> Answer {
        let bytes = memory.bytes_mut(buf)?;
        match self.ctx.random.fill(bytes) {
            Ok(()) => Ok(()),
            Err(Errno::Again) => {
                let until = self.ctx.clock.monotonic().saturating_add(SEED_WAIT);
                Err(Stop::Wait(Wait::until(until)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives way to others, once.
    ///
    /// No errors.
    pub fn sched_yield(&mut self, _memory: &mut GuestMemory<'_>) -> Answer {
        if let Progress::Yielded = mem::take(&mut self.progress) {
            return Ok(());
        }
        self.progress = Progress::Yielded;
        Err(Stop::Wait(Wait::GIVE_WAY))
    }

    /// Ends the guest. Any code will do: 126 and up are the host's to tell apart.
    pub fn proc_exit(&mut self, _memory: &mut GuestMemory<'_>, code: u32) -> Answer {
        Err(Stop::Exit(code))
    }

    /// [`Errno::Notsup`], as wasmtime: there are no signals. [`Errno::Inval`]: no number of one.
    pub fn proc_raise(&mut self, _memory: &mut GuestMemory<'_>, signal: u32) -> Answer {
        Err(if signal <= LAST_SIGNAL { Errno::Notsup } else { Errno::Inval }.into())
    }
}

/// Lays strings, each of `N` parts, one behind the other, and their addresses in `pointers`.
fn strings_get<'a, const N: usize>(
    memory: &mut GuestMemory<'_>,
    pointers: u32,
    buf: u32,
    strings: impl ExactSizeIterator<Item = [&'a [u8]; N]> + Clone,
) -> Result<(), BadPointer> {
    memory.check(pointers, strings.len() as u64 * 4, 4)?;
    memory.check(buf, total(strings.clone()), 1)?;
    // Both lie inside of a memory that 32 bits can address, so the sums below don't overflow.
    let (mut pointer, mut at) = (pointers, buf);
    for string in strings {
        memory.write_u32(pointer, at)?;
        pointer = pointer.wrapping_add(4);
        for part in string {
            let length = part.len() as u32;
            memory.bytes_mut(Span { start: at, length })?.copy_from_slice(part);
            at = at.wrapping_add(length);
        }
    }
    Ok(())
}

fn strings_sizes_get<'a, const N: usize>(
    memory: &mut GuestMemory<'_>,
    count: u32,
    size: u32,
    strings: impl ExactSizeIterator<Item = [&'a [u8]; N]>,
) -> Answer {
    let n = u32::try_from(strings.len()).map_err(|_| Errno::Overflow)?;
    let bytes = u32::try_from(total(strings)).map_err(|_| Errno::Overflow)?;
    memory.check(size, 4, 4)?;
    memory.write_u32(count, n)?;
    Ok(memory.write_u32(size, bytes)?)
}

fn total<'a, const N: usize>(strings: impl Iterator<Item = [&'a [u8]; N]>) -> u64 {
    strings.flatten().map(|part| part.len() as u64).sum()
}
