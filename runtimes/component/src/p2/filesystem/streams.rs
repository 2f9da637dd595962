//! Files as streams. They are in memory, so they never wait.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lunette_hostcalls::{Clock, Errno};
use wasmtime_wasi_io::{
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use crate::{
    files::{Held, now},
    p2::{MAX_PIECE, Permit, fault::stream_error},
};

pub(super) struct Reader {
    held: Held,
    position: u64,
}

impl Reader {
    pub(super) fn new(held: Held, position: u64) -> Self {
        Self { held, position }
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self.held.read(self.position, size.min(MAX_PIECE)).map_err(stream_error)?;
        if bytes.is_empty() {
            return Err(StreamError::Closed);
        }
        self.position += bytes.len() as u64;
        Ok(bytes.into())
    }
}

pub(super) struct Writer {
    held: Held,
    /// `None`: at the end, wherever that is by then.
    position: Option<u64>,
    permit: Permit,
    clock: Arc<dyn Clock>,
    /// It failed, and said so.
    closed: bool,
}

impl Writer {
    pub(super) fn new(held: Held, position: Option<u64>, clock: Arc<dyn Clock>) -> Self {
        Self { held, position, permit: Permit::default(), clock, closed: false }
    }

    fn open(&self) -> StreamResult<()> {
        if self.closed { Err(StreamError::Closed) } else { Ok(()) }
    }

    fn write_all(&mut self, bytes: &[u8]) -> StreamResult<()> {
        let written = self.try_write_all(bytes);
        self.closed = written.is_err();
        written.map_err(stream_error)
    }

    fn try_write_all(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        let now = now(&*self.clock);
        while !bytes.is_empty() {
            let at = match self.position {
                Some(position) => position,
                None => self.held.stat()?.size,
            };
            let written = self.held.write(at, bytes, now)?.min(bytes.len());
            if written == 0 {
                return Err(Errno::Io);
            }
            self.position = self.position.map(|position| position.saturating_add(written as u64));
            bytes = &bytes[written..];
        }
        Ok(())
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.open()?;
        self.permit.take(bytes.len())?;
        self.write_all(&bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.open()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.open()?;
        Ok(self.permit.give(MAX_PIECE))
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.open()?;
        self.write_all(&bytes)
    }
}
