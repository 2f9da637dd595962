//! Sockets that a test holds the other end of: nothing comes and nothing goes but by its hand.
#![allow(dead_code, unreachable_pub, reason = "each test file is a crate and uses its own part")]

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
};

use lunette_hostcalls::{
    Ctx, Errno, Interest, Listening, Nanos, Ready, Shutdown, Source, TcpListener, TcpStream,
};

/// A connection, seen from the wire.
#[derive(Default)]
pub struct Connection {
    state: Mutex<State>,
    /// How often it was asked what is ready.
    pub looks: AtomicUsize,
}

pub struct State {
    /// What the guest will read, and does it end there?
    pub incoming: VecDeque<u8>,
    pub ended: bool,
    /// What the next operation that meets the wire is told, once.
    pub error: Option<Errno>,
    /// How much the guest can write, and what it wrote.
    pub room: usize,
    pub written: Vec<u8>,
    pub shut: Vec<Shutdown>,
    broken: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            incoming: VecDeque::new(),
            ended: false,
            error: None,
            room: usize::MAX,
            written: Vec::new(),
            shut: Vec::new(),
            broken: false,
        }
    }
}

impl Connection {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn send(&self, bytes: &[u8]) -> &Self {
        self.state().incoming.extend(bytes);
        self
    }

    pub fn end(&self) -> &Self {
        self.state().ended = true;
        self
    }

    /// The peer resets it.
    pub fn reset(&self) -> &Self {
        self.state().error = Some(Errno::Connreset);
        self
    }

    pub fn room(&self, bytes: usize) -> &Self {
        self.state().room = bytes;
        self
    }

    /// What the guest wrote since it was last asked.
    pub fn written(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().written)
    }

    /// Is only the test's end left?
    pub fn is_closed(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }
}

impl State {
    fn meet(&mut self) -> Result<(), Errno> {
        match self.error.take() {
            Some(error) => {
                (self.ended, self.broken) = (true, true);
                self.incoming.clear();
                Err(error)
            }
            None => Ok(()),
        }
    }

    fn read(&mut self, buf: &mut [u8], take: bool) -> Result<usize, Errno> {
        self.meet()?;
        if self.incoming.is_empty() && !self.ended && !buf.is_empty() {
            return Err(Errno::Again);
        }
        let n = buf.len().min(self.incoming.len());
        for (byte, incoming) in buf.iter_mut().zip(&self.incoming) {
            *byte = *incoming;
        }
        if take {
            self.incoming.drain(..n);
        }
        Ok(n)
    }
}

impl Source for Connection {
    fn ready(&self, interest: Interest) -> Ready {
        self.looks.fetch_add(1, Relaxed);
        let state = self.state();
        let gone = state.error.is_some() || state.broken;
        match interest {
            _ if state.error.is_some() => Ready { bytes: 0, hangup: true },
            Interest::Read => Ready { bytes: state.incoming.len() as u64, hangup: state.ended },
            Interest::Write => Ready { bytes: if gone { 0 } else { state.room as u64 }, hangup: gone },
        }
    }

    fn register(&self, _: Interest, _: &Waker) {}
}

impl TcpStream for Connection {
    fn connected(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.state().read(buf, true)
    }

    fn peek(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.state().read(buf, false)
    }

    fn write(&self, buf: &[u8]) -> Result<usize, Errno> {
        let mut state = self.state();
        state.meet()?;
        if state.broken {
            return Err(Errno::Pipe);
        }
        let n = buf.len().min(state.room);
        if n == 0 && !buf.is_empty() {
            return Err(Errno::Again);
        }
        state.room -= n;
        state.written.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        let mut state = self.state();
        if state.broken {
            return Err(Errno::Notconn);
        }
        state.shut.push(how);
        Ok(())
    }

    fn local(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 80))
    }

    fn peer(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 1234))
    }

    fn set_nodelay(&self, _: bool) {}

    fn set_keep_alive(&self, _: Option<Nanos>) {}

    fn abort(&self) {}
}

/// A socket that listens. `Err`: what it says to all who ask.
#[derive(Default)]
pub struct Listener(pub Mutex<(VecDeque<Arc<Connection>>, Option<Errno>)>);

impl Listener {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A peer connects.
    pub fn connect(&self) -> Arc<Connection> {
        let connection = Connection::new();
        self.0.lock().unwrap().0.push_back(connection.clone());
        connection
    }

    /// The host is being stopped.
    pub fn cancel(&self) {
        self.0.lock().unwrap().1 = Some(Errno::Canceled);
    }

    pub fn grant(self: &Arc<Self>, ctx: &mut Ctx) {
        ctx.listeners.push(Listening { name: "80".into(), socket: self.clone() });
    }
}

impl Source for Listener {
    fn ready(&self, _: Interest) -> Ready {
        let (queue, error) = &*self.0.lock().unwrap();
        Ready { bytes: queue.len() as u64, hangup: error.is_some() }
    }

    fn register(&self, _: Interest, _: &Waker) {}
}

impl TcpListener for Listener {
    fn accept(&self) -> Result<(Arc<dyn TcpStream>, SocketAddr), Errno> {
        let (queue, error) = &mut *self.0.lock().unwrap();
        if let Some(error) = error {
            return Err(*error);
        }
        let connection = queue.pop_front().ok_or(Errno::Again)?;
        let peer = connection.peer();
        Ok((connection, peer))
    }

    fn local(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 80))
    }
}
