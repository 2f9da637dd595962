//! The standard streams as streams of `wasi:io`.
//!
//! Promises: input is taken from the host only when the guest reads it; output that the guest was told is written is
//! out, or on its way until the stream is dropped.

use std::{future::poll_fn, sync::Arc, task::Poll};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use lunette_hostcalls::{Errno, Stdio, Stream, task::give_way};
use wasmtime_wasi_io::{
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use super::{MAX_PIECE, Permit, fault::stream_error};

pub(super) struct Input {
    stdio: Arc<dyn Stdio>,
    /// A terminal says it once; the guest is told ever after.
    ended: bool,
}

impl Input {
    pub(super) fn new(stdio: Arc<dyn Stdio>) -> Self {
        Self { stdio, ended: false }
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        poll_fn(|cx| {
            if self.ended || self.stdio.input().any() {
                return Poll::Ready(());
            }
            self.stdio.register_input(cx.waker());
            Poll::Pending
        })
        .await;
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.ended {
            return Err(StreamError::Closed);
        }
        if size == 0 {
            return Ok(Bytes::new());
        }
        let there = usize::try_from(self.stdio.input().bytes).unwrap_or(MAX_PIECE);
        let mut buf = vec![0; size.min(there.clamp(1, MAX_PIECE))];
        match self.stdio.read(&mut buf) {
            Ok(0) => {
                self.ended = true;
                Err(StreamError::Closed)
            }
            Ok(n) => {
                buf.truncate(n);
                Ok(buf.into())
            }
            Err(Errno::Again) => Ok(Bytes::new()),
            Err(errno) => Err(stream_error(errno)),
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

pub(super) struct Output {
    stdio: Arc<dyn Stdio>,
    which: Stream,
    /// What was taken over and is not out yet.
    pending: Bytes,
    permit: Permit,
    /// Why the rest of it never will be: for the next call.
    failed: Option<Errno>,
}

impl Output {
    pub(super) fn new(stdio: Arc<dyn Stdio>, which: Stream) -> Self {
        Self { stdio, which, pending: Bytes::new(), permit: Permit::default(), failed: None }
    }

    /// Hands on as much as the host takes. Is all of it out?
    fn hand_on(&mut self) -> Result<bool, Errno> {
        while !self.pending.is_empty() {
            match self.stdio.write(self.which, &self.pending) {
                Ok(0) | Err(Errno::Again) => return Ok(false),
                Ok(n) => self.pending.advance(n.min(self.pending.len())),
                Err(errno) => {
                    self.pending.clear();
                    return Err(errno);
                }
            }
        }
        Ok(true)
    }

    /// Nobody tells when a stream takes something again: so one asks, and lets the others have a go in between.
    async fn out(&mut self) -> Result<(), Errno> {
        while !self.hand_on()? {
            give_way().await;
        }
        Ok(())
    }

    fn told(&mut self) -> StreamResult<()> {
        self.failed.take().map_or(Ok(()), |errno| Err(stream_error(errno)))
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        if let Err(errno) = self.out().await {
            self.failed = Some(errno);
        }
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.told()?;
        self.permit.take(bytes.len())?;
        self.pending = bytes;
        self.hand_on().map(drop).map_err(stream_error)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.told()?;
        self.hand_on().map(drop).map_err(stream_error)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.told()?;
        let out = self.hand_on().map_err(stream_error)?;
        Ok(self.permit.give(if out { MAX_PIECE } else { 0 }))
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.told()?;
        self.out().await.map_err(stream_error)?;
        self.pending = bytes;
        self.out().await.map_err(stream_error)
    }

    async fn cancel(&mut self) {
        // Who drops it can't be told.
        let _ = self.out().await;
    }
}
