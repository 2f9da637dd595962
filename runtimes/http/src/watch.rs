//! What a connection does, seen from below: when it was last of use, and since when it waits for its peer.
//!
//! A [`Watch`] is a connection like the one that it looks at, so what is above, TLS or an upgrade, need not know.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
};

use lunette_hostcalls::{Errno, Interest, Nanos, Ready, Shutdown, Source, TcpStream, task::Time};

use crate::Stream;

/// Times are 0 where there is none. Read and written by one thread: the order is that of the program.
pub(crate) struct Watch {
    inner: Arc<dyn TcpStream>,
    time: Time,
    /// The time, while the connection's own task runs.
    now: AtomicU64,
    /// When the first byte of a head came.
    heard: AtomicU64,
    /// Since when there is no request.
    free: AtomicU64,
    /// Requests that are not answered to their end.
    active: AtomicU64,
    /// Was there a body to the last of them?
    with_body: AtomicBool,
    /// Since when there is no room to write.
    stalled: AtomicU64,
}

impl Watch {
    /// Puts itself below `stream`.
    pub(crate) fn below(stream: &mut Stream, time: &Time) -> Arc<Self> {
        let watch = Arc::new(Self {
            inner: stream.socket().clone(),
            time: time.clone(),
            now: AtomicU64::default(),
            heard: AtomicU64::default(),
            free: AtomicU64::new(time.now()),
            active: AtomicU64::default(),
            with_body: AtomicBool::default(),
            stalled: AtomicU64::default(),
        });
        let plain = match stream {
            Stream::Plain(plain) => plain,
            Stream::ServerTls(tls) => tls.get_mut().0,
            Stream::ClientTls(tls) => tls.get_mut().0,
        };
        plain.0 = watch.clone();
        watch
    }

    fn now(&self) -> Nanos {
        match self.now.load(Relaxed) {
            0 => self.time.now(),
            now => now,
        }
    }

    /// The connection's task has its go.
    pub(crate) fn begin(&self) -> Nanos {
        let now = self.time.now();
        self.now.store(now, Relaxed);
        now
    }

    pub(crate) fn end(&self) {
        self.now.store(0, Relaxed);
    }

    pub(crate) fn heard(&self) -> Option<Nanos> {
        Some(self.heard.load(Relaxed)).filter(|at| *at > 0)
    }

    pub(crate) fn stalled(&self) -> Option<Nanos> {
        Some(self.stalled.load(Relaxed)).filter(|at| *at > 0)
    }

    /// Since when there is no request; `None`: there is one.
    pub(crate) fn free(&self) -> Option<Nanos> {
        (self.active.load(Relaxed) == 0).then(|| self.free.load(Relaxed))
    }

    /// A head is there.
    pub(crate) fn request(self: &Arc<Self>, with_body: bool) -> Active {
        self.with_body.store(with_body, Relaxed);
        self.active.store(self.active.load(Relaxed) + 1, Relaxed);
        self.heard.store(0, Relaxed);
        Active(self.clone())
    }

    /// Was there a body to the last request? Some of it may be unread.
    pub(crate) fn was_sent_a_body(&self) -> bool {
        self.with_body.load(Relaxed)
    }

    fn saw<T>(&self, interest: Interest, result: Result<T, Errno>) -> Result<T, Errno> {
        match (interest, &result) {
            (Interest::Read, Ok(_)) if self.active.load(Relaxed) == 0 && self.heard.load(Relaxed) == 0 => {
                self.heard.store(self.now(), Relaxed);
            }
            (Interest::Write, Ok(_)) => self.stalled.store(0, Relaxed),
            (Interest::Write, Err(Errno::Again)) if self.stalled.load(Relaxed) == 0 => {
                self.stalled.store(self.now(), Relaxed);
            }
            _ => {}
        }
        result
    }
}

/// A request, until its answer is handed over to its last byte, or given up.
pub(crate) struct Active(Arc<Watch>);

impl Drop for Active {
    fn drop(&mut self) {
        let left = self.0.active.load(Relaxed) - 1;
        self.0.active.store(left, Relaxed);
        if left == 0 {
            self.0.free.store(self.0.now(), Relaxed);
        }
    }
}

impl Source for Watch {
    fn ready(&self, interest: Interest) -> Ready {
        self.inner.ready(interest)
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.inner.register(interest, waker);
    }
}

impl TcpStream for Watch {
    fn connected(&self) -> Result<(), Errno> {
        self.inner.connected()
    }

    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.saw(Interest::Read, self.inner.read(buf))
    }

    fn peek(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.inner.peek(buf)
    }

    fn write(&self, buf: &[u8]) -> Result<usize, Errno> {
        self.saw(Interest::Write, self.inner.write(buf))
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        self.inner.shutdown(how)
    }

    fn local(&self) -> SocketAddr {
        self.inner.local()
    }

    fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    fn set_nodelay(&self, on: bool) {
        self.inner.set_nodelay(on);
    }

    fn set_keep_alive(&self, after: Option<Nanos>) {
        self.inner.set_keep_alive(after);
    }

    fn abort(&self) {
        self.inner.abort();
    }
}
