//! A connection as libraries want it.

use std::{
    io,
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
        // hyper's buffer is not initialised, and only unsafe code may fill it in place.
        let mut buf = [0; 8 * 1024];
        let room = cursor.remaining().min(buf.len());
        let mut buf = ReadBuf::new(&mut buf[..room]);
        ready!(AsyncRead::poll_read(self, cx, &mut buf))?;
        cursor.put_slice(buf.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(self, cx)
    }
}
