//! Reading and writing: `fd_read`, `fd_write`, and the same at an offset. The only place that knows iovecs.

use lunette_hostcalls::{Clock, Errno, Nanos, Stdio, Stream, Wait};

use super::{
    Answer, Stop, Wasi,
    table::{Held, Kind},
    types::{Fdflags, Rights},
};
use crate::memory::{BadPointer, GuestMemory};

/// How many buffers, empty ones aside, one call reads into or writes from. The rest waits for the next call.
pub const MAX_IOVECS: usize = 1024;
/// How many bytes one call reads from or writes to a stream: no guest keeps the host longer than that.
pub const MAX_STREAM: u32 = 1 << 20;
/// The same for a file: one that is all hole has no end, for no memory at all.
pub const MAX_FILE_IO: u32 = 64 << 20;

impl Wasi {
    /// Reads on from where the descriptor is. 0 bytes for buffers that are not empty: the end. Waits for standard
    /// input.
    ///
    /// [`Errno::Badf`]: not open for reading; a directory. [`Errno::Again`]: nothing there, and `nonblock`.
    #[inline]
    pub fn fd_read(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        nread: u32,
    ) -> Answer {
        let descriptor = self.table.get_mut(fd)?;
        descriptor.may_read()?;
        let nonblocking = descriptor.nonblocking();
        let iovecs = Iovecs::check(memory, iovs, iovs_len)?;
        memory.check(nread, 4, 4)?;
        let done = match &mut descriptor.kind {
            Kind::File { held, position } => {
                let done = read_file(memory, &iovecs, held, *position)?;
                *position = position.saturating_add(done.into());
                done
            }
            Kind::Stdin => match read_stdin(memory, &iovecs, &*self.ctx.stdio) {
                Err(Stop::Errno(Errno::Again)) if !nonblocking => {
                    return Err(Stop::Wait(Wait::stdin()));
                }
                done => done?,
            },
            Kind::Output(_) | Kind::Directory { .. } => return Err(Errno::Badf.into()),
        };
        Ok(memory.write_u32(nread, done)?)
    }

    /// Reads at an offset and leaves the descriptor where it is.
    ///
    /// As [`Wasi::fd_read`], and [`Errno::Spipe`]: standard input. [`Errno::Notcapable`]: no right to seek.
    pub fn fd_pread(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        offset: u64,
        nread: u32,
    ) -> Answer {
        let descriptor = self.table.get(fd)?;
        let held = match &descriptor.kind {
            Kind::File { held, .. } => held,
            Kind::Stdin => return Err(Errno::Spipe.into()),
            Kind::Output(_) | Kind::Directory { .. } => return Err(Errno::Badf.into()),
        };
        descriptor.may_read()?;
        descriptor.may(Rights::FD_SEEK)?;
        let iovecs = Iovecs::check(memory, iovs, iovs_len)?;
        memory.check(nread, 4, 4)?;
        let done = read_file(memory, &iovecs, held, offset)?;
        Ok(memory.write_u32(nread, done)?)
    }

    /// Writes on from where the descriptor is, or at the end with `append`. Waits where a stream takes nothing.
    ///
    /// [`Errno::Badf`]: not open for writing; a directory. [`Errno::Again`]: a stream takes nothing, and `nonblock`.
    /// [`Errno::Pipe`], [`Errno::Nospc`], [`Errno::Fbig`].
    #[inline]
    pub fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        nwritten: u32,
    ) -> Answer {
        let descriptor = self.table.get_mut(fd)?;
        descriptor.may_write()?;
        let nonblocking = descriptor.nonblocking();
        let append = descriptor.flags.has(Fdflags::APPEND);
        let iovecs = Iovecs::check(memory, iovs, iovs_len)?;
        memory.check(nwritten, 4, 4)?;
        let done = match &mut descriptor.kind {
            Kind::Output(stream) => match write_stream(memory, &iovecs, &*self.ctx.stdio, *stream) {
                Err(Stop::Errno(Errno::Again)) if !nonblocking => {
                    return Err(Stop::Wait(Wait::GIVE_WAY));
                }
                done => done?,
            },
            Kind::File { held, position } => {
                let from = if append { held.files.stat(held.node)?.size } else { *position };
                let done = write_file(memory, &iovecs, held, from, now(&*self.ctx.clock))?;
                *position = from.saturating_add(done.into());
                done
            }
            Kind::Stdin | Kind::Directory { .. } => return Err(Errno::Badf.into()),
        };
        Ok(memory.write_u32(nwritten, done)?)
    }

    /// Writes at an offset and leaves the descriptor where it is. With `append` the offset counts for nothing,
    /// as in Linux and wasmtime.
    ///
    /// As [`Wasi::fd_write`], and [`Errno::Spipe`]: a stream. [`Errno::Notcapable`]: no right to seek.
    pub fn fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        offset: u64,
        nwritten: u32,
    ) -> Answer {
        let descriptor = self.table.get(fd)?;
        let held = match &descriptor.kind {
            Kind::File { held, .. } => held,
            Kind::Output(_) => return Err(Errno::Spipe.into()),
            Kind::Stdin | Kind::Directory { .. } => return Err(Errno::Badf.into()),
        };
        descriptor.may_write()?;
        descriptor.may(Rights::FD_SEEK)?;
        let iovecs = Iovecs::check(memory, iovs, iovs_len)?;
        memory.check(nwritten, 4, 4)?;
        let append = descriptor.flags.has(Fdflags::APPEND);
        let from = if append { held.files.stat(held.node)?.size } else { offset };
        let done = write_file(memory, &iovecs, held, from, now(&*self.ctx.clock))?;
        Ok(memory.write_u32(nwritten, done)?)
    }
}

/// The date, for what is written down: the epoch where the host doesn't know it.
pub(super) fn now(clock: &dyn Clock) -> Nanos {
    clock.wall().unwrap_or(0)
}

/// A guest's list of buffers, of which the first `count` are in use.
struct Iovecs {
    pointer: u32,
    count: u32,
}

impl Iovecs {
    /// Looks at the list and at every buffer in it that will be used.
    #[inline]
    fn check(memory: &GuestMemory<'_>, pointer: u32, length: u32) -> Result<Self, BadPointer> {
        if length != 0 {
            memory.check(pointer, u64::from(length) * 8, 4)?;
        }
        let mut iovecs = Self { pointer, count: length };
        let mut used = 0;
        for n in 0..length {
            let (buf, len) = iovecs.get(memory, n)?;
            if len != 0 {
                if used == MAX_IOVECS {
                    iovecs.count = n;
                    break;
                }
                used += 1;
                memory.check(buf, len.into(), 1)?;
            }
        }
        Ok(iovecs)
    }

    /// Where buffer `n` begins, and its length. Read anew each time: what was read into one buffer may have
    /// changed the list.
    #[inline]
    fn get(&self, memory: &GuestMemory<'_>, n: u32) -> Result<(u32, u32), BadPointer> {
        let at = self.pointer.wrapping_add(n.wrapping_mul(8));
        Ok((memory.read_u32(at)?, memory.read_u32(at.wrapping_add(4))?))
    }

    /// Hands buffer after buffer to `step`, at most `limit` bytes in all, with the number of bytes done before.
    /// Ends early once `step` does less than its buffer; an error counts only if nothing was done before it.
    #[inline]
    fn each<'m, 'g>(
        &self,
        memory: &'m mut GuestMemory<'g>,
        limit: u32,
        mut step: impl FnMut(&mut GuestMemory<'g>, u32, u32, u32) -> Result<usize, Stop>,
    ) -> Result<u32, Stop> {
        let mut done = 0;
        for n in 0..self.count {
            let (buf, len) = self.get(memory, n)?;
            let len = len.min(limit - done);
            if len == 0 {
                continue;
            }
            match step(memory, buf, len, done) {
                // No service does more than it is asked for; a broken one must not make us overflow.
                Ok(now) if now >= len as usize => done += len,
                Ok(now) => return Ok(done + now as u32),
                Err(Stop::Errno(_)) if done > 0 => return Ok(done),
                Err(stop) => return Err(stop),
            }
        }
        Ok(done)
    }
}

fn read_file(memory: &mut GuestMemory<'_>, iovecs: &Iovecs, held: &Held, from: u64) -> Result<u32, Stop> {
    iovecs.each(memory, MAX_FILE_IO, |memory, buf, len, done| {
        let Some(offset) = from.checked_add(done.into()) else { return Ok(0) };
        Ok(held.files.read_at(held.node, offset, memory.bytes_mut(buf, len)?)?)
    })
}

fn write_file(
    memory: &mut GuestMemory<'_>,
    iovecs: &Iovecs,
    held: &Held,
    from: u64,
    now: Nanos,
) -> Result<u32, Stop> {
    iovecs.each(memory, MAX_FILE_IO, |memory, buf, len, done| {
        let offset = from.checked_add(done.into()).ok_or(Errno::Fbig)?;
        offset.checked_add(len.into()).ok_or(Errno::Fbig)?;
        Ok(held.files.write_at(held.node, offset, memory.bytes(buf, len)?, now)?)
    })
}

fn read_stdin(memory: &mut GuestMemory<'_>, iovecs: &Iovecs, stdio: &dyn Stdio) -> Result<u32, Stop> {
    iovecs.each(memory, MAX_STREAM, |memory, buf, len, done| {
        // An end of input that is found now would be lost: a terminal says it once.
        if done > 0 && stdio.input().bytes == 0 {
            return Ok(0);
        }
        Ok(stdio.read(memory.bytes_mut(buf, len)?)?)
    })
}

fn write_stream(
    memory: &mut GuestMemory<'_>,
    iovecs: &Iovecs,
    stdio: &dyn Stdio,
    stream: Stream,
) -> Result<u32, Stop> {
    iovecs.each(memory, MAX_STREAM, |memory, buf, len, _| {
        let bytes = memory.bytes(buf, len)?;
        let mut written = 0;
        while written < bytes.len() {
            match stdio.write(stream, &bytes[written..]) {
                Ok(0) => break,
                // As in `each`: never past the end.
                Ok(n) => written = written.saturating_add(n).min(bytes.len()),
                Err(_) if written > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    })
}
