//! Reading and writing: `fd_read`, `fd_write`, and the same at an offset. The only place that knows iovecs.

use lunette_hostcalls::{Clock, Errno, Nanos, Stdio, Stream, Wait};

use super::{
    Answer, Stop, Wasi,
    sock::Moving,
    table::{Descriptor, Held, Kind},
    types::{Fdflags, Riflags, Rights},
};
use crate::memory::{BadPointer, GuestMemory, Span};

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
    pub fn fd_read(&mut self, memory: &mut GuestMemory<'_>, fd: u32, iovs: Span, nread: u32) -> Answer {
        let descriptor = self.table.get_mut(fd)?;
        descriptor.open_for(Rights::FD_READ)?;
        let nonblocking = descriptor.nonblocking();
        transfer(memory, iovs, nread, |memory, iovecs| match &mut descriptor.kind {
            Kind::File { held, position } => {
                let done = read_file(memory, iovecs, held, *position)?;
                *position = position.saturating_add(done.into());
                Ok(done)
            }
            Kind::Stream(stream) => {
                let (progress, patience) = (&mut self.progress, &mut self.patience);
                Moving { stream, nonblocking, progress, patience }.receive(memory, iovecs, Riflags::NONE)
            }
            Kind::Stdin => match read_stdin(memory, iovecs, &*self.ctx.stdio) {
                Err(Stop::Errno(Errno::Again)) => Err(self.patience.blocked(nonblocking, Wait::stdin)),
                done => done,
            },
            Kind::Listener(_) => Err(Errno::Notconn.into()),
            Kind::Output(_) | Kind::Directory { .. } => Err(Errno::Badf.into()),
        })
    }

    /// Reads at an offset and leaves the descriptor where it is.
    ///
    /// As [`Wasi::fd_read`], and [`Errno::Spipe`]: standard input. [`Errno::Notcapable`]: no right to seek.
    pub fn fd_pread(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: Span,
        offset: u64,
        nread: u32,
    ) -> Answer {
        let (_, held) = self.at_offset(fd, Rights::FD_READ)?;
        transfer(memory, iovs, nread, |memory, iovecs| read_file(memory, iovecs, held, offset))
    }

    /// Writes on from where the descriptor is, or at the end with `append`. Waits where a stream takes nothing.
    ///
    /// [`Errno::Badf`]: not open for writing; a directory. [`Errno::Again`]: a stream takes nothing, and `nonblock`.
    /// [`Errno::Pipe`], [`Errno::Nospc`], [`Errno::Fbig`].
    #[inline]
    pub fn fd_write(&mut self, memory: &mut GuestMemory<'_>, fd: u32, iovs: Span, nwritten: u32) -> Answer {
        let descriptor = self.table.get_mut(fd)?;
        descriptor.open_for(Rights::FD_WRITE)?;
        let nonblocking = descriptor.nonblocking();
        let append = descriptor.flags.has(Fdflags::APPEND);
        transfer(memory, iovs, nwritten, |memory, iovecs| match &mut descriptor.kind {
            Kind::Output(stream) => match write_stream(memory, iovecs, &*self.ctx.stdio, *stream) {
                Err(Stop::Errno(Errno::Again)) => Err(self.patience.blocked(nonblocking, || Wait::GIVE_WAY)),
                done => done,
            },
            Kind::Stream(stream) => {
                let (progress, patience) = (&mut self.progress, &mut self.patience);
                Moving { stream, nonblocking, progress, patience }.send(memory, iovecs)
            }
            Kind::File { held, position } => {
                let from = if append { held.files.stat(held.node)?.size } else { *position };
                let done = write_file(memory, iovecs, held, from, now(&*self.ctx.clock))?;
                *position = from.saturating_add(done.into());
                Ok(done)
            }
            Kind::Stdin | Kind::Listener(_) | Kind::Directory { .. } => Err(Errno::Badf.into()),
        })
    }

    /// Writes at an offset and leaves the descriptor where it is. With `append` the offset counts for nothing,
    /// as in Linux and wasmtime.
    ///
    /// As [`Wasi::fd_write`], and [`Errno::Spipe`]: a stream. [`Errno::Notcapable`]: no right to seek.
    pub fn fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: Span,
        offset: u64,
        nwritten: u32,
    ) -> Answer {
        let (descriptor, held) = self.at_offset(fd, Rights::FD_WRITE)?;
        let append = descriptor.flags.has(Fdflags::APPEND);
        transfer(memory, iovs, nwritten, |memory, iovecs| {
            let from = if append { held.files.stat(held.node)?.size } else { offset };
            write_file(memory, iovecs, held, from, now(&*self.ctx.clock))
        })
    }

    /// The file behind a descriptor, to be read or written (`access`) at an offset: only files have any.
    fn at_offset(&self, fd: u32, access: Rights) -> Result<(&Descriptor, &Held), Errno> {
        let descriptor = self.table.get(fd)?;
        let held = match &descriptor.kind {
            Kind::File { held, .. } => held,
            Kind::Stdin if access == Rights::FD_READ => return Err(Errno::Spipe),
            Kind::Output(_) if access == Rights::FD_WRITE => return Err(Errno::Spipe),
            Kind::Listener(_) | Kind::Stream(_) => return Err(Errno::Spipe),
            Kind::Stdin | Kind::Output(_) | Kind::Directory { .. } => return Err(Errno::Badf),
        };
        descriptor.open_for(access)?;
        descriptor.may(Rights::FD_SEEK)?;
        Ok((descriptor, held))
    }
}

/// The date, for what is written down: the epoch where the host doesn't know it.
pub(super) fn now(clock: &dyn Clock) -> Nanos {
    clock.wall().unwrap_or(0)
}

/// The frame of every call that reads or writes: checks the buffers and the place of the result, has `work` done on
/// the buffers, and says how many bytes that was.
#[inline]
pub(super) fn transfer<'g>(
    memory: &mut GuestMemory<'g>,
    iovs: Span,
    result: u32,
    work: impl FnOnce(&mut GuestMemory<'g>, &Iovecs) -> Result<u32, Stop>,
) -> Answer {
    let iovecs = Iovecs::check(memory, iovs)?;
    memory.check(result, 4, 4)?;
    let done = work(memory, &iovecs)?;
    Ok(memory.write_u32(result, done)?)
}

/// How long a guest that does not wait is let.
///
/// One that asks again and again whether something has come keeps the world from going on, which alone could bring it.
/// So after some questions it gives way, once, without noticing.
#[derive(Default)]
pub(super) struct Patience(u32);

/// How many questions.
const PATIENCE: u32 = 32;

impl Patience {
    /// One more question. Is the guest to give way before it is answered?
    pub(super) fn ends(&mut self) -> bool {
        self.0 += 1;
        let ends = self.0 > PATIENCE;
        if ends {
            self.0 = 0;
        }
        ends
    }

    /// The guest waits.
    pub(super) fn renew(&mut self) {
        self.0 = 0;
    }

    /// What can't be done now is waited for, or the guest is told: as the descriptor has it.
    #[cold]
    pub(super) fn blocked(&mut self, nonblocking: bool, wait: impl FnOnce() -> Wait) -> Stop {
        if nonblocking {
            return if self.ends() { Stop::Wait(Wait::GIVE_WAY) } else { Errno::Again.into() };
        }
        self.renew();
        Stop::Wait(wait())
    }
}

/// A guest's list of buffers, of which the first `count` are in use.
pub(super) struct Iovecs(Span);

impl Iovecs {
    /// Looks at the list and at every buffer in it that will be used.
    #[inline]
    fn check(memory: &GuestMemory<'_>, list: Span) -> Result<Self, BadPointer> {
        if list.length != 0 {
            memory.check(list.start, u64::from(list.length) * 8, 4)?;
        }
        let mut iovecs = Self(list);
        let mut used = 0;
        for n in 0..list.length {
            let buf = iovecs.get(memory, n)?;
            if buf.length != 0 {
                if used == MAX_IOVECS {
                    iovecs.0.length = n;
                    break;
                }
                used += 1;
                memory.bytes(buf)?;
            }
        }
        Ok(iovecs)
    }

    /// Buffer `n`. Read anew each time: what was read into one buffer may have
    /// changed the list.
    #[inline]
    fn get(&self, memory: &GuestMemory<'_>, n: u32) -> Result<Span, BadPointer> {
        let at = self.0.start.wrapping_add(n.wrapping_mul(8));
        Ok(Span { start: memory.read_u32(at)?, length: memory.read_u32(at.wrapping_add(4))? })
    }

    /// Hands buffer after buffer to `step`, at most `limit` bytes in all, with the number of bytes done before it; goes
    /// on behind the first `before` bytes, which are counted as done. Ends early once `step` does less than its buffer; an error counts only if nothing was done before it.
    #[inline]
    pub(super) fn each<'m, 'g>(
        &self,
        memory: &'m mut GuestMemory<'g>,
        limit: u32,
        before: u32,
        mut step: impl FnMut(&mut GuestMemory<'g>, Span, u32) -> Result<usize, Stop>,
    ) -> Result<u32, Stop> {
        let (mut done, mut skip) = (before, before);
        for n in 0..self.0.length {
            let mut buf = self.get(memory, n)?;
            let skipped = skip.min(buf.length);
            skip -= skipped;
            buf.start = buf.start.wrapping_add(skipped);
            buf.length = (buf.length - skipped).min(limit.saturating_sub(done));
            if buf.length == 0 {
                continue;
            }
            match step(memory, buf, done) {
                // No service does more than it is asked for; a broken one must not make us overflow.
                Ok(now) if now >= buf.length as usize => done += buf.length,
                Ok(now) => return Ok(done + now as u32),
                Err(Stop::Errno(_)) if done > 0 => return Ok(done),
                Err(stop) => return Err(stop),
            }
        }
        Ok(done)
    }
}

fn read_file(memory: &mut GuestMemory<'_>, iovecs: &Iovecs, held: &Held, from: u64) -> Result<u32, Stop> {
    iovecs.each(memory, MAX_FILE_IO, 0, |memory, buf, done| {
        let Some(offset) = from.checked_add(done.into()) else { return Ok(0) };
        Ok(held.files.read_at(held.node, offset, memory.bytes_mut(buf)?)?)
    })
}

fn write_file(
    memory: &mut GuestMemory<'_>,
    iovecs: &Iovecs,
    held: &Held,
    from: u64,
    now: Nanos,
) -> Result<u32, Stop> {
    iovecs.each(memory, MAX_FILE_IO, 0, |memory, buf, done| {
        let offset = from.checked_add(done.into()).ok_or(Errno::Fbig)?;
        offset.checked_add(buf.length.into()).ok_or(Errno::Fbig)?;
        Ok(held.files.write_at(held.node, offset, memory.bytes(buf)?, now)?)
    })
}

fn read_stdin(memory: &mut GuestMemory<'_>, iovecs: &Iovecs, stdio: &dyn Stdio) -> Result<u32, Stop> {
    iovecs.each(memory, MAX_STREAM, 0, |memory, buf, done| {
        // An end of input that is found now would be lost: a terminal says it once.
        if done > 0 && stdio.input().bytes == 0 {
            return Ok(0);
        }
        Ok(stdio.read(memory.bytes_mut(buf)?)?)
    })
}

fn write_stream(
    memory: &mut GuestMemory<'_>,
    iovecs: &Iovecs,
    stdio: &dyn Stdio,
    stream: Stream,
) -> Result<u32, Stop> {
    iovecs.each(memory, MAX_STREAM, 0, |memory, buf, _| {
        let bytes = memory.bytes(buf)?;
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
