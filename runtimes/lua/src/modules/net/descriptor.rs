//! What a script's socket objects stand for: an open socket with a number, whose it is, and who waits for it.
//!
//! A socket is its task's: of the one that opened or accepted it, or that it was given to when that task was spawned
//! ([`give`]); it is closed when that task ends, or, if that is the main chunk, with the script. `sock:detach()` makes it
//! nobody's: it lives until it is closed, or collected. Using somebody else's socket changes nothing about whose it is.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use lunette_hostcalls::{Errno, Interest, Source, TcpListener, TcpStream, UdpSocket, task::Time};
use lunette_http::{Stream, tls};
use mlua::{Lua, Value};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{fault::Fault, tcp::Tcp, udp::Udp, wait::Bell, wait::Turns};
use crate::{
    tasks::Task,
    world::{Resource, World},
};

/// How much is read at once.
const PIECE: usize = 16 << 10;

/// All sockets of one script.
pub(crate) struct Sockets {
    pub(crate) world: Rc<World>,
    numbers: RefCell<Numbers>,
    /// What is read is read into here first: a socket that has nothing to read has no buffer.
    scratch: RefCell<Vec<u8>>,
    /// The listeners that the script came with and that it has taken over.
    taken: RefCell<Vec<(SocketAddr, Weak<Descriptor>)>>,
}

#[derive(Default)]
struct Numbers {
    open: BTreeMap<u32, Weak<Descriptor>>,
    free: BTreeSet<u32>,
}

/// The first number of a socket: those before it are files everywhere.
const FIRST: u32 = 3;

impl Sockets {
    pub(crate) fn of(lua: &Lua) -> Rc<Self> {
        if let Some(sockets) = lua.app_data_ref::<Rc<Self>>() {
            return sockets.clone();
        }
        let sockets = Rc::new(Self {
            world: World::of(lua),
            numbers: RefCell::default(),
            scratch: RefCell::default(),
            taken: RefCell::default(),
        });
        lua.set_app_data(sockets.clone());
        sockets
    }

    pub(crate) fn time(&self) -> &Time {
        &self.world.time
    }

    /// A new one, of the task that runs.
    pub(crate) fn open(self: &Rc<Self>, kind: Kind) -> Rc<Descriptor> {
        let mut numbers = self.numbers.borrow_mut();
        let number = numbers.free.pop_first().unwrap_or(FIRST + numbers.open.len() as u32);
        let descriptor = Rc::new(Descriptor {
            number,
            sockets: self.clone(),
            kind: RefCell::new(kind),
            bells: Default::default(),
            reading: Turns::default(),
            writing: Turns::default(),
            claim: RefCell::default(),
            options: RefCell::default(),
        });
        numbers.open.insert(number, Rc::downgrade(&descriptor));
        drop(numbers);
        let claim = descriptor.claim();
        self.world.adopt(claim);
        descriptor
    }

    pub(crate) fn find(&self, number: u32) -> Option<Rc<Descriptor>> {
        self.numbers.borrow().open.get(&number).and_then(Weak::upgrade)
    }

    /// A socket that listens at `at`: one that the script came with, if there is one for that address.
    pub(crate) fn listen(&self, at: SocketAddr, backlog: usize) -> Result<Arc<dyn TcpListener>, Errno> {
        let matching = |of: SocketAddr| {
            of.port() == at.port()
                && (of.ip() == at.ip() || of.ip().is_unspecified() && at.ip().is_unspecified())
        };
        let listeners = &self.world.ctx.listeners;
        let exact = listeners.iter().find(|listening| listening.socket.local() == at);
        let found = exact.or_else(|| listeners.iter().find(|listening| matching(listening.socket.local())));
        let Some(listening) = found else { return self.world.ctx.network.listen(at, backlog) };
        let local = listening.socket.local();
        let mut taken = self.taken.borrow_mut();
        taken.retain(|(_, by)| by.upgrade().is_some_and(|by| by.is_open()));
        if taken.iter().any(|(of, _)| *of == local) {
            return Err(Errno::Addrinuse);
        }
        Ok(listening.socket.clone())
    }

    /// Says whose a listener is that [`Sockets::listen`] gave.
    pub(crate) fn took(&self, at: SocketAddr, by: &Rc<Descriptor>) {
        if self.world.ctx.listeners.iter().any(|listening| listening.socket.local() == at) {
            self.taken.borrow_mut().push((at, Rc::downgrade(by)));
        }
    }
}

/// A handshake that is gone on with as it is polled.
pub(crate) type Handshake = Pin<Box<dyn Future<Output = Result<Stream, tls::Error>>>>;

/// What one is, as the host knows it.
pub(crate) enum Kind {
    Closed,
    /// Nothing yet: neither connected nor bound.
    New,
    /// To be listened at, once it is listened at: a port of the host's choice.
    Bound(SocketAddr),
    /// Made or being made.
    Stream(Arc<dyn TcpStream>),
    /// With a handshake to be made.
    Shaking(Arc<dyn TcpStream>, RefCell<Handshake>),
    Tls(RefCell<Box<Stream>>),
    Listener(Arc<dyn TcpListener>),
    Udp(Arc<dyn UdpSocket>),
}

pub(crate) struct Descriptor {
    number: u32,
    sockets: Rc<Sockets>,
    kind: RefCell<Kind>,
    bells: [Arc<Bell>; 2],
    pub(crate) reading: Turns,
    pub(crate) writing: Turns,
    claim: RefCell<Option<Rc<Claim>>>,
    /// Options that were set, for those who ask.
    pub(crate) options: RefCell<BTreeMap<&'static str, Value>>,
}

/// A task's hold on a socket. The socket keeps one at most: whoever has another has nothing.
struct Claim(Weak<Descriptor>);

impl Resource for Claim {
    fn close(&self) {
        if let Some(descriptor) = self.0.upgrade() {
            descriptor.close();
        }
    }
}

/// To be called when a task is spawned, for each of its arguments: a socket becomes the new task's.
pub(crate) fn give(task: &Task, value: &Value) {
    if let Some(descriptor) = descriptor_of(value) {
        task.own(descriptor.claim());
    }
}

/// The socket behind an object, of whichever kind it is.
pub(crate) fn descriptor_of(value: &Value) -> Option<Rc<Descriptor>> {
    let object = value.as_userdata()?;
    match object.borrow::<Tcp>() {
        Ok(tcp) => tcp.descriptor(),
        Err(_) => object.borrow::<Udp>().ok()?.descriptor(),
    }
}

impl Descriptor {
    /// A new hold on it, in the place of the old one.
    fn claim(self: &Rc<Self>) -> Weak<dyn Resource> {
        let claim = Rc::new(Claim(Rc::downgrade(self)));
        let weak: Weak<Claim> = Rc::downgrade(&claim);
        self.claim.replace(Some(claim));
        weak
    }

    /// Makes it nobody's.
    pub(crate) fn detach(&self) {
        self.claim.take();
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn is_open(&self) -> bool {
        !matches!(&*self.kind.borrow(), Kind::Closed)
    }

    /// Asks what it is.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&Kind) -> T) -> T {
        ask(&self.kind.borrow())
    }

    /// Makes something else of it, and wakes who waits for what it was.
    pub(crate) fn become_(&self, kind: Kind) -> Kind {
        let old = self.kind.replace(kind);
        self.bells.iter().for_each(|bell| bell.ring());
        old
    }

    /// Whoever waits for it is told.
    pub(crate) fn close(&self) {
        let old = self.become_(Kind::Closed);
        if let Kind::Tls(stream) = old {
            // Says goodbye, if there is room for it now.
            let cx = &mut Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut **stream.borrow_mut()).poll_shutdown(cx);
        }
    }

    /// Goes on with the handshake, if there is one to be made. One that failed closes the connection.
    pub(crate) fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let made = match &*self.kind.borrow() {
            Kind::Shaking(_, handshake) => {
                // For who closes it meanwhile.
                self.bells[Interest::Read as usize].add(cx.waker());
                handshake.borrow_mut().as_mut().poll(cx)
            }
            Kind::Closed => return Poll::Ready(Err(Fault::Closed)),
            _ => return Poll::Ready(Ok(())),
        };
        made.map(|made| match made {
            Ok(stream) => {
                self.become_(Kind::Tls(RefCell::new(Box::new(stream))));
                Ok(())
            }
            Err(error) => {
                self.close();
                Err(Fault::Said(format!("tls: {error}")))
            }
        })
    }

    /// Asks the host, and waits for `source` if it can't be told now.
    pub(crate) fn ask<T>(
        &self,
        source: &dyn Source,
        interest: Interest,
        cx: &Context<'_>,
        ask: impl FnOnce() -> Result<T, Errno>,
    ) -> Poll<Result<T, Fault>> {
        match ask() {
            Err(Errno::Again) => {
                self.register(source, interest, cx);
                Poll::Pending
            }
            answer => Poll::Ready(answer.map_err(Fault::from)),
        }
    }

    fn register(&self, source: &dyn Source, interest: Interest, cx: &Context<'_>) {
        let bell = &self.bells[interest as usize];
        // First: the source may ring at once.
        bell.add(cx.waker());
        source.register(interest, &Waker::from(bell.clone()));
    }

    /// Reads some into `into`, behind what is there; 0 bytes are the end.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<Result<usize, Fault>> {
        let mut scratch = self.sockets.scratch.borrow_mut();
        scratch.resize(PIECE, 0);
        let read = match &*self.kind.borrow() {
            Kind::Stream(stream) => self.ask(&**stream, Interest::Read, cx, || stream.read(&mut scratch)),
            Kind::Tls(stream) => {
                self.bells[Interest::Read as usize].add(cx.waker());
                let mut buf = ReadBuf::new(&mut scratch);
                let poll = Pin::new(&mut **stream.borrow_mut()).poll_read(cx, &mut buf);
                poll.map_ok(|()| buf.filled().len()).map_err(Fault::from)
            }
            Kind::Closed => Poll::Ready(Err(Fault::Closed)),
            _ => Poll::Ready(Err(Errno::Notconn.into())),
        };
        if let Poll::Ready(Ok(n)) = read {
            into.extend_from_slice(&scratch[..n]);
        }
        read
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Fault>> {
        match &*self.kind.borrow() {
            Kind::Stream(stream) => self.ask(&**stream, Interest::Write, cx, || stream.write(data)),
            Kind::Tls(stream) => {
                self.bells[Interest::Write as usize].add(cx.waker());
                Pin::new(&mut **stream.borrow_mut()).poll_write(cx, data).map_err(Fault::from)
            }
            Kind::Closed => Poll::Ready(Err(Fault::Closed)),
            _ => Poll::Ready(Err(Errno::Notconn.into())),
        }
    }

    /// Has what was written sent: TLS may hold some of it back.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match &*self.kind.borrow() {
            Kind::Tls(stream) => {
                self.bells[Interest::Write as usize].add(cx.waker());
                Pin::new(&mut **stream.borrow_mut()).poll_flush(cx).map_err(Fault::from)
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Could one read (or accept) or write at once? If not, `cx` is woken when one can.
    pub(crate) fn poll_ready(&self, interest: Interest, cx: &Context<'_>) -> bool {
        let at = |source: &dyn Source| {
            let ready = source.ready(interest).any();
            if !ready {
                self.register(source, interest, cx);
            }
            ready
        };
        match &*self.kind.borrow() {
            Kind::Stream(stream) | Kind::Shaking(stream, _) => at(&**stream),
            Kind::Tls(stream) => at(&**stream.borrow().socket()),
            Kind::Listener(listener) => at(&**listener),
            Kind::Udp(socket) => at(&**socket),
            Kind::New | Kind::Bound(_) => {
                // Woken when it becomes something.
                self.bells[interest as usize].add(cx.waker());
                false
            }
            Kind::Closed => true,
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.close();
        let mut numbers = self.sockets.numbers.borrow_mut();
        numbers.open.remove(&self.number);
        numbers.free.insert(self.number);
    }
}
