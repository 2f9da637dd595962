//! The streams of a file. Each has its own place in it, and none minds the others.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use lunette_hostcalls::{Clock, Errno};

use super::descriptor::{Descriptor, offset};
use crate::{
    files::{Held, now},
    p3::{
        bindings::wasi::filesystem::types::DescriptorFlags,
        stream::{ByteSink, ByteSource},
    },
};

impl Descriptor {
    pub(super) fn reader(&self, at: u64) -> Result<Box<dyn ByteSource>, Errno> {
        if self.directory().is_ok() {
            return Err(Errno::Isdir);
        }
        let held = self.file(DescriptorFlags::READ)?.clone();
        Ok(Box::new(Reader { held, at: offset(at)? }))
    }

    /// `None`: at the end, wherever it is by then.
    pub(super) fn writer(&self, at: Option<u64>, clock: &Arc<dyn Clock>) -> Result<Box<dyn ByteSink>, Errno> {
        let held = self.file(DescriptorFlags::WRITE)?.clone();
        let at = at.map(offset).transpose()?;
        Ok(Box::new(Writer { held, at, clock: clock.clone() }))
    }
}

struct Reader {
    held: Held,
    at: u64,
}

impl ByteSource for Reader {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Errno>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let read = self.held.read_into(self.at, buf);
        if let Ok(n) = read {
            self.at = self.at.saturating_add(n as u64);
        }
        Poll::Ready(read)
    }
}

struct Writer {
    held: Held,
    at: Option<u64>,
    clock: Arc<dyn Clock>,
}

impl ByteSink for Writer {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Errno>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Poll::Ready(self.write(bytes))
    }
}

impl Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let from = match self.at {
            Some(at) => at,
            None => self.held.stat()?.size,
        };
        let n = self.held.write(from, bytes, now(&*self.clock))?;
        self.at = self.at.map(|at| at.saturating_add(n as u64));
        Ok(n)
    }
}
