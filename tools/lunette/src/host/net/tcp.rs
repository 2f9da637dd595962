//! Connections, and those who take them.

use std::{
    io::{
        self,
        ErrorKind::{ConnectionAborted, Interrupted, WouldBlock},
        Read, Write,
    },
    net::{Shutdown as Half, SocketAddr},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use lunette_hostcalls::{Errno, Interest, Nanos, Ready, Shutdown, Source, TcpListener, TcpStream};
use mio::net;
use rustix::event::{PollFd, PollFlags, Timespec};
use socket2::{SockRef, Socket, TcpKeepalive};

use super::errno;
use crate::host::poller::{Place, Polled, Reactor, Readiness, lock, register};

/// What there is room for in a socket that can be written to: less than the least that Linux means by it.
const ROOM: u64 = 2048;
/// The most that is thrown away at once of what comes for a reader who reads no more, and when it is closed: more
/// than a socket's buffer holds.
const DISCARD: usize = 4 << 20;
const DISCARD_LAST: usize = 64 << 20;

/// What poll(2) says of a socket now.
pub(super) fn now(socket: impl AsFd, of: PollFlags) -> PollFlags {
    let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), of)];
    match rustix::event::poll(&mut fds, Some(&Timespec::default())) {
        Ok(_) => fds[0].revents(),
        Err(_) => PollFlags::empty(),
    }
}

/// Nothing more will come.
const OVER: Ready = Ready { bytes: 0, hangup: true };

/// One port of a guest's, at all the addresses where it is found.
pub(super) struct Listener {
    /// What the guest asked for, with the port that was chosen.
    at: SocketAddr,
    /// `None` once it is closed.
    sockets: Mutex<Option<Vec<net::TcpListener>>>,
    /// Whose turn it is.
    turn: AtomicUsize,
    readiness: Readiness,
    place: Place,
}

impl Listener {
    pub(super) fn new(
        mut at: SocketAddr,
        sockets: Vec<Socket>,
        reactor: &Arc<Reactor>,
    ) -> io::Result<Arc<Self>> {
        let place = reactor.place();
        let mut ours = Vec::with_capacity(sockets.len());
        for socket in sockets {
            let mut socket = net::TcpListener::from_std(socket.into());
            if at.port() == 0 {
                at.set_port(socket.local_addr()?.port());
            }
            place.register(&mut socket)?;
            ours.push(socket);
        }
        let this = Arc::new(Self {
            at,
            sockets: Mutex::new(Some(ours)),
            turn: AtomicUsize::new(0),
            readiness: Readiness::default(),
            place,
        });
        this.place.settle(&this);
        Ok(this)
    }

    /// Nobody is taken any more.
    pub(super) fn close(&self) {
        let closed = lock(&self.sockets).take();
        drop(closed);
        self.readiness.stir(Interest::Read);
        self.readiness.stir(Interest::Write);
    }

    /// Is this one of its addresses on this machine?
    pub(super) fn listens(&self, at: SocketAddr) -> bool {
        let sockets = lock(&self.sockets);
        sockets.iter().flatten().any(|socket| socket.local_addr().is_ok_and(|local| local == at))
    }
}

impl Polled for Listener {
    fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

impl Source for Listener {
    fn ready(&self, interest: Interest) -> Ready {
        if interest == Interest::Write {
            return OVER;
        }
        let sockets = lock(&self.sockets);
        let Some(sockets) = &*sockets else { return OVER };
        self.readiness.look(interest, || {
            let come = sockets.iter().any(|socket| !now(socket, PollFlags::IN).is_empty());
            (come, Ready { bytes: come.into(), hangup: false })
        })
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        register(self, interest, waker);
    }
}

impl TcpListener for Listener {
    fn accept(&self) -> Result<(Arc<dyn TcpStream>, SocketAddr), Errno> {
        let sockets = lock(&self.sockets);
        let sockets = sockets.as_ref().ok_or(Errno::Canceled)?;
        let first = self.turn.fetch_add(1, Relaxed);
        for i in 0..sockets.len() {
            let socket = &sockets[first.wrapping_add(i) % sockets.len()];
            let accepted = loop {
                match socket.accept() {
                    // Gone before it was taken, or a signal.
                    Err(error) if matches!(error.kind(), ConnectionAborted | Interrupted) => {}
                    accepted => break accepted,
                }
            };
            match accepted {
                Ok((stream, peer)) => {
                    let mut local = stream.local_addr().map_err(|error| errno(&error))?;
                    // As the guest knows it, wherever it is published.
                    local.set_port(self.at.port());
                    let stream = Stream::new(Ok(stream), local, peer, true, self.place.reactor())?;
                    return Ok((stream, peer));
                }
                Err(error) if error.kind() == WouldBlock => {}
                Err(error) => return Err(errno(&error)),
            }
        }
        Err(Errno::Again)
    }

    fn local(&self) -> SocketAddr {
        self.at
    }
}

/// A connection, made or being made.
pub(super) struct Stream {
    /// `None` once it is aborted, or if it could not be begun.
    socket: Mutex<Option<net::TcpStream>>,
    progress: Mutex<Progress>,
    /// What comes is thrown away.
    deaf: AtomicBool,
    local: SocketAddr,
    peer: SocketAddr,
    readiness: Readiness,
    place: Place,
}

#[derive(Clone, Copy)]
enum Progress {
    Connecting,
    Connected,
    Failed(Errno),
}

/// Begins a connection to `to`, which is found at `host`.
pub(super) fn connect(
    to: SocketAddr,
    host: SocketAddr,
    reactor: &Arc<Reactor>,
) -> Result<Arc<dyn TcpStream>, Errno> {
    let socket = net::TcpStream::connect(host).map_err(|error| errno(&error));
    let unknown = SocketAddr::new(
        if to.is_ipv4() {
            std::net::Ipv4Addr::UNSPECIFIED.into()
        } else {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        },
        0,
    );
    let local = match &socket {
        Ok(socket) => socket.local_addr().unwrap_or(unknown),
        // On the loopback this is known at once; elsewhere it takes a while.
        Err(Errno::Connrefused | Errno::Timedout | Errno::Hostunreach) => unknown,
        Err(errno) => return Err(*errno),
    };
    Ok(Stream::new(socket, local, to, false, reactor)?)
}

impl Stream {
    fn new(
        socket: Result<net::TcpStream, Errno>,
        local: SocketAddr,
        peer: SocketAddr,
        connected: bool,
        reactor: &Arc<Reactor>,
    ) -> Result<Arc<Self>, Errno> {
        let place = reactor.place();
        let (socket, progress) = match socket {
            Ok(mut socket) => {
                // Fails where the connection is over already, which the first read tells.
                let _ = socket.set_nodelay(true);
                place.register(&mut socket).map_err(|error| errno(&error))?;
                (Some(socket), if connected { Progress::Connected } else { Progress::Connecting })
            }
            Err(errno) => (None, Progress::Failed(errno)),
        };
        let this = Arc::new(Self {
            socket: Mutex::new(socket),
            progress: Mutex::new(progress),
            deaf: AtomicBool::new(false),
            local,
            peer,
            readiness: Readiness::default(),
            place,
        });
        this.place.settle(&this);
        Ok(this)
    }

    fn socket(&self) -> MutexGuard<'_, Option<net::TcpStream>> {
        lock(&self.socket)
    }

    /// Reads, unless that is over. A reset is told once.
    fn take(&self, read: impl FnMut(&mut net::TcpStream) -> io::Result<usize>) -> Result<usize, Errno> {
        let mut socket = self.socket();
        let Some(socket) = socket.as_mut().filter(|_| !self.deaf.load(Relaxed)) else { return Ok(0) };
        retry(socket, read)
    }
}

/// Does it again if a signal came in between.
fn retry(
    socket: &mut net::TcpStream,
    mut act: impl FnMut(&mut net::TcpStream) -> io::Result<usize>,
) -> Result<usize, Errno> {
    loop {
        match act(socket) {
            Err(error) if error.kind() == Interrupted => {}
            Err(error) if error.kind() == WouldBlock => return Err(Errno::Again),
            done => return done.map_err(|error| errno(&error)),
        }
    }
}

impl Polled for Stream {
    fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    fn stirred(&self) {
        if self.deaf.load(Relaxed) {
            self.discard(DISCARD);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Closed with something unread, it would be reset.
        if self.deaf.load(Relaxed) {
            self.discard(DISCARD_LAST);
        }
    }
}

impl Stream {
    fn discard(&self, most: usize) {
        let (mut buffer, mut left) = ([0; 16 * 1024], most);
        let mut socket = self.socket();
        let Some(socket) = socket.as_mut() else { return };
        while left > 0
            && let Ok(n @ 1..) = socket.read(&mut buffer)
        {
            left = left.saturating_sub(n);
        }
    }
}

impl Source for Stream {
    fn ready(&self, interest: Interest) -> Ready {
        let socket = self.socket();
        let Some(socket) = &*socket else { return OVER };
        match interest {
            Interest::Read if self.deaf.load(Relaxed) => OVER,
            Interest::Read => self.readiness.look(interest, || {
                let events = now(socket, PollFlags::IN);
                if events.is_empty() {
                    return (false, Ready::default());
                }
                let bytes = rustix::io::ioctl_fionread(socket).unwrap_or(0);
                (
                    true,
                    Ready { bytes, hangup: bytes == 0 || events.intersects(PollFlags::HUP | PollFlags::ERR) },
                )
            }),
            Interest::Write => self.readiness.look(interest, || {
                let events = now(socket, PollFlags::OUT);
                let hangup = events.intersects(PollFlags::HUP | PollFlags::ERR);
                let room = events.contains(PollFlags::OUT) && !hangup;
                (room || hangup, Ready { bytes: if room { ROOM } else { 0 }, hangup })
            }),
        }
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        register(self, interest, waker);
    }
}

impl TcpStream for Stream {
    fn connected(&self) -> Result<(), Errno> {
        let mut progress = lock(&self.progress);
        if let Progress::Connecting = *progress {
            let socket = self.socket();
            *progress = match &*socket {
                None => Progress::Failed(Errno::Connaborted),
                Some(socket) if now(socket, PollFlags::OUT).is_empty() => Progress::Connecting,
                Some(socket) => match socket.take_error() {
                    Ok(Some(error)) | Err(error) => Progress::Failed(errno(&error)),
                    Ok(None) => Progress::Connected,
                },
            };
        }
        match *progress {
            Progress::Connecting => Err(Errno::Again),
            Progress::Connected => Ok(()),
            Progress::Failed(errno) => Err(errno),
        }
    }

    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.take(|socket| socket.read(buf))
    }

    fn peek(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.take(|socket| socket.peek(buf))
    }

    fn write(&self, buf: &[u8]) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut socket = self.socket();
        let socket = socket.as_mut().ok_or(Errno::Pipe)?;
        retry(socket, |socket| socket.write(buf))
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        let socket = self.socket();
        let socket = socket.as_ref().ok_or(Errno::Notconn)?;
        let done = match how {
            // The system keeps what it has and opens its window no more; the peer would wait for ever.
            Shutdown::Read => socket.peer_addr().map(drop),
            Shutdown::Write | Shutdown::Both => socket.shutdown(Half::Write),
        };
        done.map_err(|error| errno(&error))?;
        if how != Shutdown::Write {
            self.deaf.store(true, Relaxed);
        }
        self.readiness.stir(Interest::Read);
        self.readiness.stir(Interest::Write);
        Ok(())
    }

    fn local(&self) -> SocketAddr {
        self.local
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn set_nodelay(&self, on: bool) {
        if let Some(socket) = &*self.socket() {
            // Of a connection that is over it makes no difference.
            let _ = socket.set_nodelay(on);
        }
    }

    fn set_keep_alive(&self, after: Option<Nanos>) {
        if let Some(socket) = &*self.socket() {
            let socket = SockRef::from(socket);
            let _ = match after.map(Duration::from_nanos) {
                None => socket.set_keepalive(false),
                Some(after) => {
                    let after = after.max(Duration::from_secs(1));
                    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after))
                }
            };
        }
    }

    fn abort(&self) {
        let socket = self.socket().take();
        if let Some(socket) = socket {
            // Closed so, it is reset.
            let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        }
        self.readiness.stir(Interest::Read);
        self.readiness.stir(Interest::Write);
    }
}
