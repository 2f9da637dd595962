//! A connection as libraries want it.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use lunette_hostcalls::{Errno, Interest, Shutdown, TcpStream, task::poll_until};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection of TCP, perhaps with TLS around it.
pub enum Stream {
    Plain(Plain),
    ServerTls(Box<tokio_rustls::server::TlsStream<Plain>>),
    ClientTls(Box<tokio_rustls::client::TlsStream<Plain>>),
}

impl Stream {
    pub fn plain(socket: Arc<dyn TcpStream>) -> Self {
        Self::Plain(Plain(socket))
    }

    /// The connection below.
    pub fn socket(&self) -> &Arc<dyn TcpStream> {
        match self {
            Self::Plain(plain) => &plain.0,
            Self::ServerTls(tls) => &tls.get_ref().0.0,
            Self::ClientTls(tls) => &tls.get_ref().0.0,
        }
    }

    pub fn peer(&self) -> SocketAddr {
        self.socket().peer()
    }
}

/// A connection without TLS.
pub struct Plain(pub Arc<dyn TcpStream>);

fn error(errno: Errno) -> io::Error {
    let kind = match errno {
        Errno::Connreset => io::ErrorKind::ConnectionReset,
        Errno::Connaborted => io::ErrorKind::ConnectionAborted,
        Errno::Connrefused => io::ErrorKind::ConnectionRefused,
        Errno::Pipe => io::ErrorKind::BrokenPipe,
        Errno::Notconn => io::ErrorKind::NotConnected,
        Errno::Timedout => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, errno)
}

impl AsyncRead for Plain {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let ask = || self.0.read(buf.initialize_unfilled());
        let took = ready!(poll_until(&*self.0, Interest::Read, cx, ask)).map_err(error)?;
        buf.advance(took);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        poll_until(&*self.0, Interest::Write, cx, || self.0.write(buf)).map_err(error)
    }

    /// Small pieces go as one: a head and its body, records of TLS.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = pieces.iter().position(|piece| !piece.is_empty()).unwrap_or(0);
        match pieces.get(first..).unwrap_or_default() {
            [] => Poll::Ready(Ok(0)),
            [only] => self.poll_write(cx, only),
            [first, ..] if first.len() >= SCRATCH / 2 => self.poll_write(cx, first),
            several => with_scratch(|scratch| {
                let mut length = 0;
                for piece in several {
                    let room = &mut scratch[length..];
                    let took = piece.len().min(room.len());
                    room[..took].copy_from_slice(&piece[..took]);
                    length += took;
                }
                self.poll_write(cx, &scratch[..length])
            }),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was taken is on its way.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.shutdown(Shutdown::Write) {
            Ok(()) | Err(Errno::Notconn) => Poll::Ready(Ok(())),
            Err(errno) => Poll::Ready(Err(error(errno))),
        }
    }
}

/// How much is read, or joined to be written, at once.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A place for bytes, for the length of one call: one for all connections, for one that waits needs none. TLS that
/// reads may have to write, so there can be a second.
fn with_scratch<T>(call: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut scratch = SPARE.take();
    scratch.resize(SCRATCH, 0);
    let result = call(&mut scratch);
    SPARE.set(scratch);
    result
}

/// Calls the method of whichever it is.
macro_rules! each {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($inner) => $call,
            Stream::ServerTls($inner) => $call,
            Stream::ClientTls($inner) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, inner => Pin::new(inner).poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_shutdown(cx))
    }
}

/// The same for hyper, which has traits of its own.
impl hyper::rt::Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's buffer is not initialised, and to fill it in place would be to zero all of it first, where most of
        // what comes is small.
        with_scratch(|scratch| {
            let room = cursor.remaining().min(scratch.len());
            let mut buf = ReadBuf::new(&mut scratch[..room]);
            ready!(AsyncRead::poll_read(self, cx, &mut buf))?;
            cursor.put_slice(buf.filled());
            Poll::Ready(Ok(()))
        })
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write_vectored(self, cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(self, cx)
    }
}
