//! A connection as two streams of `wasi:io`.
//!
//! Promises: what the guest was told is written is with the network, or on its way until the stream is dropped; the end of
//! a connection, and half of one that was shut down, is a closed stream.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use lunette_hostcalls::{Errno, Interest, Shutdown, TcpStream, task::poll_until};
use wasmtime_wasi_io::{
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use crate::p2::{MAX_PIECE, Permit, fault::stream_error};

/// A connection, and which halves of it the guest shut down.
pub(super) struct Connection {
    pub(super) stream: Arc<dyn TcpStream>,
    no_reading: AtomicBool,
    no_writing: AtomicBool,
}

impl Connection {
    pub(super) fn new(stream: Arc<dyn TcpStream>) -> Arc<Self> {
        Arc::new(Self { stream, no_reading: AtomicBool::default(), no_writing: AtomicBool::default() })
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        self.stream.shutdown(how)?;
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.no_reading.store(true, Relaxed);
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.no_writing.store(true, Relaxed);
        }
        Ok(())
    }
}

pub(super) struct Reader {
    connection: Arc<Connection>,
    ended: bool,
}

impl Reader {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, ended: false }
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        let connection = &self.connection;
        poll_fn(|cx| {
            if self.ended
                || connection.no_reading.load(Relaxed)
                || connection.stream.ready(Interest::Read).any()
            {
                return Poll::Ready(());
            }
            connection.stream.register(Interest::Read, cx.waker());
            Poll::Pending
        })
        .await;
    }
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let stream = &self.connection.stream;
        if self.ended || self.connection.no_reading.load(Relaxed) {
            return Err(StreamError::Closed);
        }
        if size == 0 {
            return Ok(Bytes::new());
        }
        let there = usize::try_from(stream.ready(Interest::Read).bytes).unwrap_or(MAX_PIECE);
        let mut buf = vec![0; size.min(there.clamp(1, MAX_PIECE))];
        match stream.read(&mut buf) {
            Ok(n) if n > 0 => {
                buf.truncate(n);
                Ok(buf.into())
            }
            Err(Errno::Again) => Ok(Bytes::new()),
            ended => {
                self.ended = true;
                Err(ended.map_or_else(stream_error, |_| StreamError::Closed))
            }
        }
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        loop {
            let bytes = self.read(size)?;
            if size == 0 || !bytes.is_empty() {
                return Ok(bytes);
            }
            self.ready().await;
        }
    }
}

pub(super) struct Writer {
    connection: Arc<Connection>,
    /// What was taken over and is not with the network yet.
    pending: Bytes,
    permit: Permit,
    /// Why the rest of it never will be: for the next call.
    failed: Option<Errno>,
    closed: bool,
}

impl Writer {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, pending: Bytes::new(), permit: Permit::default(), failed: None, closed: false }
    }

    /// Hands on what is pending. Ready: all of it is with the network, or none of it ever will be.
    fn poll_out(&mut self, cx: &Context<'_>) -> Poll<Result<(), Errno>> {
        let stream = &self.connection.stream;
        while !self.pending.is_empty() {
            let pending = &self.pending;
            match poll_until(&**stream, Interest::Write, cx, || stream.write(pending)) {
                Poll::Ready(Ok(n)) => self.pending.advance(n.min(self.pending.len())),
                Poll::Ready(Err(errno)) => {
                    self.pending.clear();
                    self.closed = true;
                    return Poll::Ready(Err(errno));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Without a waker: is all out?
    fn hand_on(&mut self) -> StreamResult<bool> {
        match self.poll_out(&Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(out) => out.map(|()| true).map_err(stream_error),
            Poll::Pending => Ok(false),
        }
    }

    /// Is it open? If not, why, once.
    fn open(&mut self) -> StreamResult<()> {
        if let Some(errno) = self.failed.take() {
            return Err(stream_error(errno));
        }
        if self.closed || self.connection.no_writing.load(Relaxed) {
            return Err(StreamError::Closed);
        }
        Ok(())
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        if let Err(errno) = poll_fn(|cx| self.poll_out(cx)).await {
            self.failed = Some(errno);
        }
        let connection = &self.connection;
        poll_fn(|cx| {
            if self.closed
                || connection.no_writing.load(Relaxed)
                || connection.stream.ready(Interest::Write).any()
            {
                return Poll::Ready(());
            }
            connection.stream.register(Interest::Write, cx.waker());
            Poll::Pending
        })
        .await;
    }
}

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.open()?;
        self.permit.take(bytes.len())?;
        self.pending = bytes;
        self.hand_on().map(drop)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.open()?;
        self.hand_on().map(drop)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.open()?;
        if !self.hand_on()? {
            return Ok(self.permit.give(0));
        }
        let ready = self.connection.stream.ready(Interest::Write);
        // Why it is at its end is what a write is told.
        let room = if ready.hangup { MAX_PIECE } else { usize::try_from(ready.bytes).unwrap_or(MAX_PIECE) };
        Ok(self.permit.give(room))
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.open()?;
        poll_fn(|cx| self.poll_out(cx)).await.map_err(stream_error)?;
        self.pending = bytes;
        poll_fn(|cx| self.poll_out(cx)).await.map_err(stream_error)
    }

    async fn write_ready(&mut self) -> StreamResult<usize> {
        loop {
            match self.check_write()? {
                0 => self.ready().await,
                room => return Ok(room),
            }
        }
    }

    async fn cancel(&mut self) {
        // Who drops it can't be told.
        let _ = poll_fn(|cx| self.poll_out(cx)).await;
    }
}
