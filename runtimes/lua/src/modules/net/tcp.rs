//! The socket object of TCP, plain or with TLS: LuaSocket's `tcp{master}`, `tcp{client}` and `tcp{server}`, and what
//! `net.dial` and `net.listen` give. One object that becomes what is made of it.
//!
//! Answers and messages are LuaSocket's (`tcp.c`, `buffer.c`), with these exceptions: what is read is bounded (`too
//! large`, with what was read so far); numbers that count are integers.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use lunette_hostcalls::{Errno, Interest, Shutdown};
use lunette_http::{Plain, tls};
use mlua::{
    AnyUserData, IntoLuaMulti, Lua, LuaString, MetaMethod, MultiValue, UserData, UserDataFields,
    UserDataMethods, UserDataRef, Value,
};

use super::{
    address::{self, Family},
    args::{Args, bad_self},
    buffer::Buffer,
    descriptor::{Descriptor, Handshake, Kind, Sockets},
    fault::Fault,
    sockopt, tls_options,
    wait::{Patience, Timeouts, Turns},
};
use crate::{errors, methods::Methods as _, world::World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Master,
    Client,
    Server,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Master => "tcp{master}",
            Self::Client => "tcp{client}",
            Self::Server => "tcp{server}",
        }
    }
}

/// How much one read may gather of what a peer sends, where the script does not say: lines, and all of it.
pub(crate) const MAX_READ: usize = 1 << 20;

/// Which side of TLS one is.
#[derive(Clone)]
pub(crate) enum Side {
    Server(tls::Server),
    Client(tls::Client),
}

#[derive(Clone)]
pub(crate) struct Tcp(Rc<Inner>);

struct Inner {
    sockets: Rc<Sockets>,
    descriptor: RefCell<Option<Rc<Descriptor>>>,
    class: Cell<Class>,
    connected: Cell<bool>,
    /// The name that was connected to.
    host: RefCell<Option<String>>,
    family: Cell<Family>,
    timeouts: Timeouts,
    /// Read, and not yet asked for.
    buffer: RefCell<Buffer>,
    received: Cell<u64>,
    sent: Cell<u64>,
    birthday: Cell<f64>,
    max_read: Cell<usize>,
    /// A listener's: what it accepts is to begin with a handshake.
    server: RefCell<Option<tls::Server>>,
    /// To begin with when it is first used (LuaSec's `wrap`).
    wrapped: RefCell<Option<Side>>,
    shaking: Turns,
}

pub(crate) fn seconds_now(world: &World) -> f64 {
    let clock = &world.ctx.clock;
    clock.wall().unwrap_or_else(|| clock.monotonic()) as f64 / 1e9
}

impl Tcp {
    pub(crate) fn new(sockets: &Rc<Sockets>, class: Class, family: Family) -> Self {
        // LuaSocket knows no limit. A part of what there is, so that one peer does not take all of it.
        let most = usize::try_from(sockets.world.limits.memory / 8).unwrap_or(usize::MAX);
        Self(Rc::new(Inner {
            sockets: sockets.clone(),
            descriptor: RefCell::default(),
            class: Cell::new(class),
            connected: Cell::default(),
            host: RefCell::default(),
            family: Cell::new(family),
            timeouts: Timeouts::default(),
            buffer: RefCell::default(),
            received: Cell::default(),
            sent: Cell::default(),
            birthday: Cell::new(seconds_now(&sockets.world)),
            max_read: Cell::new(most.max(MAX_READ)),
            server: RefCell::default(),
            wrapped: RefCell::default(),
            shaking: Turns::default(),
        }))
    }

    /// LuaSocket's `tcp()`: of a family, it has a descriptor from the beginning.
    pub(crate) fn unconnected(sockets: &Rc<Sockets>, family: Family) -> Self {
        let this = Self::new(sockets, Class::Master, family);
        if family == Family::Any { this } else { this.with(Kind::New) }
    }

    fn with(self, kind: Kind) -> Self {
        self.0.descriptor.replace(Some(self.0.sockets.open(kind)));
        self
    }

    pub(crate) fn host(&self) -> Option<String> {
        self.0.host.borrow().clone()
    }

    pub(crate) fn set_host(&self, host: &str) {
        self.0.host.replace(Some(host.to_owned()));
    }

    pub(crate) fn set_max_read(&self, most: usize) {
        self.0.max_read.set(most);
    }

    pub(crate) fn set_server(&self, server: tls::Server) {
        self.0.server.replace(Some(server));
    }

    pub(crate) fn descriptor(&self) -> Option<Rc<Descriptor>> {
        self.0.descriptor.borrow().clone()
    }

    /// -1: it has none.
    pub(crate) fn number(&self) -> i64 {
        self.descriptor().filter(|descriptor| descriptor.is_open()).map_or(-1, |one| one.number().into())
    }

    fn open(&self) -> Result<Rc<Descriptor>, Fault> {
        self.descriptor().filter(|descriptor| descriptor.is_open()).ok_or(Fault::Closed)
    }

    fn begin(&self) -> Patience {
        self.0.timeouts.begin(self.0.sockets.time())
    }

    fn class_is(&self, call: &str, class: Class) -> mlua::Result<()> {
        if self.0.class.get() == class { Ok(()) } else { Err(bad_self(call, class.name())) }
    }

    /// Is there something to read that a look at the connection below doesn't show?
    pub(crate) fn dirty(&self) -> bool {
        if self.buffered() > 0 {
            return true;
        }
        let Some(descriptor) = self.descriptor() else { return false };
        if !descriptor.with(|kind| matches!(kind, Kind::Tls(_))) {
            return false;
        }
        // A record that has come may have been taken in already.
        let cx = &mut Context::from_waker(Waker::noop());
        let read = descriptor.poll_read(cx, self.0.buffer.borrow_mut().space());
        matches!(read, Poll::Ready(Ok(n)) if n > 0)
    }

    // Connecting.

    /// LuaSocket's `inet_tryconnect`: all the addresses of a host, in order.
    pub(crate) async fn connect(&self, host: &str, port: &str) -> Result<(), String> {
        let patience = self.begin();
        if let Ok(descriptor) = self.open() {
            if self.0.connected.get() {
                return Err(errors::words(Errno::Isconn));
            }
            if let Some(answer) = descriptor.with(connecting) {
                self.0.connected.set(answer.is_ok());
                if !matches!(answer, Ok(()) | Err(Fault::Errno(Errno::Already))) {
                    descriptor.become_(Kind::New);
                }
                return answer.map_err(|fault| fault.words());
            }
            if descriptor.with(|kind| matches!(kind, Kind::Listener(_))) {
                // A port of ours to connect from can't be had.
                return Err(errors::words(Errno::Addrnotavail));
            }
        }
        let port = address::port(port).ok_or(address::BAD_SERVICE)?;
        // What a script with no time to wait asks for, it has to wait for all the same: as in C.
        let lookup = if patience.is_none() { Patience::ENDLESS } else { patience };
        let addresses = address::addresses(&self.0.sockets, host, port, self.0.family.get(), lookup).await;
        let addresses = addresses.map_err(|fault| match fault {
            Fault::Timeout => fault.words(),
            fault => address::lookup_words(&fault),
        })?;
        self.0.host.replace(Some(host.to_owned()));
        self.connect_to(&addresses, || self.begin()).await.map_err(|fault| fault.words())
    }

    /// The first of these that answers, with a new patience for each.
    pub(crate) async fn connect_to(
        &self,
        addresses: &[SocketAddr],
        mut patience: impl FnMut() -> Patience,
    ) -> Result<(), Fault> {
        let mut last = Fault::Closed;
        for address in addresses {
            let patience = patience();
            match self.connect_once(*address, patience).await {
                Ok(()) => return Ok(()),
                // It goes on by itself: who has no time asks again.
                Err(Fault::Timeout) if patience.is_none() => return Err(Fault::Timeout),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    async fn connect_once(&self, to: SocketAddr, patience: Patience) -> Result<(), Fault> {
        let stream = self.0.sockets.world.ctx.network.connect(to)?;
        self.0.family.set(Family::of(to.ip()));
        let descriptor = match self.open() {
            Ok(descriptor) => {
                descriptor.become_(Kind::Stream(stream.clone()));
                descriptor
            }
            Err(_) => {
                let descriptor = self.0.sockets.open(Kind::Stream(stream.clone()));
                self.0.descriptor.replace(Some(descriptor.clone()));
                descriptor
            }
        };
        let made = patience
            .wait(self.0.sockets.time(), |cx| {
                if !descriptor.is_open() {
                    return Poll::Ready(Err(Fault::Closed));
                }
                descriptor.ask(&*stream, Interest::Write, cx, || stream.connected())
            })
            .await;
        match &made {
            Ok(()) => {
                self.0.connected.set(true);
                sockopt::apply(&descriptor);
            }
            Err(Fault::Timeout) if patience.is_none() => {}
            Err(_) if descriptor.is_open() => drop(descriptor.become_(Kind::New)),
            Err(_) => {}
        }
        made
    }

    // Listening.

    /// LuaSocket's `inet_trybind`, which with us listens already: so the errors come where they are expected.
    pub(crate) async fn bind(&self, host: &str, port: &str) -> Result<(), String> {
        let port = address::port(port).ok_or(address::BAD_SERVICE)?;
        let addresses = if host == "*" {
            vec![SocketAddr::new(self.0.family.get().unspecified(), port)]
        } else {
            address::addresses(&self.0.sockets, host, port, self.0.family.get(), Patience::ENDLESS)
                .await
                .map_err(|fault| address::lookup_words(&fault))?
        };
        if let Ok(descriptor) = self.open()
            && !descriptor.with(|kind| matches!(kind, Kind::New))
        {
            return Err(Fault::Errno(Errno::Inval).words());
        }
        let mut last = Fault::Closed;
        for at in addresses {
            match self.bind_once(at, BACKLOG) {
                Ok(()) => return Ok(()),
                Err(fault) => last = fault,
            }
        }
        Err(last.words())
    }

    pub(crate) fn bind_once(&self, at: SocketAddr, backlog: usize) -> Result<(), Fault> {
        let kind = match self.0.sockets.listen(at, backlog) {
            Ok(listener) => Kind::Listener(listener),
            // To connect from: nobody has to be allowed to be listened to for that.
            Err(Errno::Acces) if at.port() == 0 => Kind::Bound(at),
            Err(errno) => return Err(errno.into()),
        };
        let local = match &kind {
            Kind::Listener(listener) => listener.local(),
            _ => at,
        };
        self.0.family.set(Family::of(at.ip()));
        let descriptor = match self.open() {
            Ok(descriptor) => {
                descriptor.become_(kind);
                descriptor
            }
            Err(_) => {
                let descriptor = self.0.sockets.open(kind);
                self.0.descriptor.replace(Some(descriptor.clone()));
                descriptor
            }
        };
        self.0.sockets.took(local, &descriptor);
        Ok(())
    }

    pub(crate) fn listen(&self, backlog: usize) -> Result<(), Fault> {
        let at = match self.open()?.with(|kind| match kind {
            Kind::Listener(_) => None,
            Kind::Bound(at) => Some(Ok(*at)),
            Kind::New => Some(Ok(SocketAddr::new(self.0.family.get().unspecified(), 0))),
            _ => Some(Err(Fault::Errno(Errno::Inval))),
        }) {
            None => None,
            Some(at) => Some(at?),
        };
        if let Some(at) = at {
            let listener = self.0.sockets.listen(at, backlog)?;
            self.open()?.become_(Kind::Listener(listener));
        }
        self.0.class.set(Class::Server);
        Ok(())
    }

    pub(crate) async fn accept(&self) -> Result<Self, Fault> {
        let patience = self.begin();
        let sockets = &self.0.sockets;
        let descriptor = self.open()?;
        let accepted = patience
            .wait(sockets.time(), |cx| {
                descriptor.with(|kind| match kind {
                    Kind::Listener(listener) => {
                        descriptor.ask(&**listener, Interest::Read, cx, || listener.accept())
                    }
                    Kind::Closed => Poll::Ready(Err(Fault::Closed)),
                    _ => Poll::Ready(Err(Errno::Inval.into())),
                })
            })
            .await;
        let (stream, _) = match accepted {
            Err(Fault::Errno(Errno::Canceled)) => {
                sockets.world.stop();
                return Err(Fault::Closed);
            }
            accepted => accepted?,
        };
        // Whoever comes through a listener for both families is of its own.
        let accepted = Self::new(sockets, Class::Client, Family::of(stream.peer().ip()));
        accepted.0.max_read.set(self.0.max_read.get());
        let accepted = accepted.with(Kind::Stream(stream));
        accepted.0.connected.set(true);
        if let Some(server) = &*self.0.server.borrow() {
            // Done by whoever reads from it first: a slow client keeps nobody from being accepted.
            accepted.begin_tls(Side::Server(server.clone()))?;
        }
        Ok(accepted)
    }

    // TLS.

    /// Begins with TLS: the handshake is made by whoever first uses the connection.
    pub(crate) fn begin_tls(&self, side: Side) -> Result<(), Fault> {
        let descriptor = self.open()?;
        if self.buffered() > 0 {
            // What was read in the clear must not be taken for something that came inside.
            return Err(Fault::Said("tls: there is unread data before the handshake".into()));
        }
        let stream = descriptor.with(|kind| match kind {
            Kind::Stream(stream) => Ok(stream.clone()),
            Kind::Tls(_) | Kind::Shaking(..) => {
                Err(Fault::Said("tls: the connection has TLS already".into()))
            }
            _ => Err(Errno::Notconn.into()),
        })?;
        let plain = Plain(stream.clone());
        let handshake: Handshake = match side {
            Side::Server(server) => Box::pin(async move { server.accept(plain).await }),
            Side::Client(client) => {
                let name = self.host().unwrap_or_else(|| stream.peer().ip().to_string());
                Box::pin(async move { client.connect(plain, &name).await })
            }
        };
        descriptor.become_(Kind::Shaking(stream, RefCell::new(handshake)));
        Ok(())
    }

    /// LuaSec's `wrap`: another object for the same socket, which this one has no more.
    pub(crate) fn wrap(&self, side: Side) -> Self {
        let wrapped = Self::new(&self.0.sockets, Class::Client, self.0.family.get());
        wrapped.0.descriptor.replace(self.0.descriptor.take());
        wrapped.0.connected.set(true);
        wrapped.0.host.replace(self.host());
        wrapped.0.max_read.set(self.0.max_read.get());
        wrapped.0.timeouts.block.set(self.0.timeouts.block.get());
        wrapped.0.timeouts.total.set(self.0.timeouts.total.get());
        wrapped.0.wrapped.replace(Some(side));
        wrapped
    }

    /// Makes the handshake, if there is one to be made. One that takes too long can be gone on with.
    pub(crate) async fn handshake(&self, patience: Patience) -> Result<(), Fault> {
        if let Some(side) = self.0.wrapped.take() {
            self.begin_tls(side)?;
        }
        let descriptor = self.open()?;
        if !descriptor.with(|kind| matches!(kind, Kind::Shaking(..))) {
            return Ok(());
        }
        let time = self.0.sockets.time();
        let turn = self.0.shaking.take();
        patience.turn(time, &turn).await?;
        patience.wait(time, |cx| descriptor.poll_handshake(cx)).await
    }

    /// What became of TLS, if there is any.
    pub(crate) fn agreed(&self) -> Option<tls::Agreed> {
        self.descriptor()?.with(|kind| match kind {
            Kind::Tls(stream) => stream.borrow().agreed(),
            _ => None,
        })
    }

    // Moving bytes.

    /// Reads into the buffer once. The end is [`Fault::Closed`].
    async fn fill(&self, descriptor: &Descriptor, patience: Patience) -> Result<(), Fault> {
        let read = patience
            .wait(self.0.sockets.time(), |cx| descriptor.poll_read(cx, self.0.buffer.borrow_mut().space()));
        if read.await? == 0 { Err(Fault::Closed) } else { Ok(()) }
    }

    /// Takes `n` bytes out of the buffer into `out`.
    fn take(&self, n: usize, out: &mut Vec<u8>) {
        self.0.buffer.borrow_mut().take(n, out);
        self.0.received.set(self.0.received.get() + n as u64);
    }

    fn buffered(&self) -> usize {
        self.0.buffer.borrow().len()
    }

    /// Reads until `pattern` says that it has what it wants.
    pub(crate) async fn read(
        &self,
        pattern: &Pattern,
        out: &mut Vec<u8>,
        patience: Patience,
    ) -> Result<(), Fault> {
        let time = self.0.sockets.time();
        let descriptor = self.open()?;
        let turn = descriptor.reading.take();
        patience.turn(time, &turn).await?;
        self.handshake(patience).await?;
        let before = out.len();
        loop {
            if self.buffered() == 0 {
                match self.fill(&descriptor, patience).await {
                    Ok(()) => {}
                    Err(Fault::Closed) if matches!(pattern, Pattern::All) && out.len() > before => {
                        return Ok(());
                    }
                    Err(fault) => return Err(fault),
                }
            }
            if self.step(pattern, before, out)? {
                return Ok(());
            }
        }
    }

    /// Takes what belongs to the pattern out of the buffer: is that all?
    fn step(&self, pattern: &Pattern, before: usize, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let most = match pattern {
            Pattern::Until(_, most) => *most,
            _ => self.0.max_read.get(),
        };
        let room = most.saturating_sub(out.len());
        let here = self.buffered();
        match pattern {
            Pattern::Exactly(wanted) => {
                self.take(here.min(wanted - (out.len() - before)), out);
                Ok(out.len() - before >= *wanted)
            }
            Pattern::Some(most) => {
                self.take(here.min(*most), out);
                Ok(true)
            }
            Pattern::All => {
                self.take(here.min(room), out);
                if here > room { Err(Fault::TooLarge) } else { Ok(false) }
            }
            Pattern::Line => {
                let end = self.0.buffer.borrow().rest().iter().position(|byte| *byte == b'\n');
                let whole = end.filter(|end| *end <= room);
                let start = out.len();
                self.take(whole.map_or(here.min(room), |end| end + 1), out);
                if whole.is_some() {
                    out.pop();
                }
                // As LuaSocket does: every CR goes, wherever it is. What was there before is not looked at again, or a
                // long line would cost the square of its length.
                out.extract_if(start.., |byte| *byte == b'\r').for_each(drop);
                if whole.is_none() && here > room { Err(Fault::TooLarge) } else { Ok(whole.is_some()) }
            }
            Pattern::Until(end, _) => {
                // The pattern may have begun in what was taken before.
                let from = out.len().saturating_sub(end.len() - 1);
                let most = most.saturating_add(end.len());
                self.take(here.min(most - out.len()), out);
                match out[from..].windows(end.len()).position(|window| window == &**end) {
                    Some(at) => {
                        // What comes behind it is for the next read.
                        let behind = out.split_off(from + at + end.len());
                        self.0.buffer.borrow_mut().give_back(&behind);
                        self.0.received.set(self.0.received.get() - behind.len() as u64);
                        out.truncate(from + at);
                        Ok(true)
                    }
                    None if out.len() == most => Err(Fault::TooLarge),
                    None => Ok(false),
                }
            }
        }
    }

    /// Sends all of it, or says how much.
    pub(crate) async fn write(
        &self,
        data: impl AsBytes,
        patience: Patience,
        sent: &mut usize,
    ) -> Result<(), Fault> {
        let time = self.0.sockets.time();
        let descriptor = self.open()?;
        let turn = descriptor.writing.take();
        patience.turn(time, &turn).await?;
        self.handshake(patience).await?;
        loop {
            let wrote = patience
                .wait(time, |cx| data.bytes(|data| descriptor.poll_write(cx, &data[*sent..])))
                .await?;
            *sent += wrote;
            self.0.sent.set(self.0.sent.get() + wrote as u64);
            if data.bytes(<[u8]>::len) == *sent {
                break;
            }
        }
        patience.wait(time, |cx| descriptor.poll_flush(cx)).await
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        let Some(descriptor) = self.descriptor() else { return };
        descriptor.with(|kind| match kind {
            Kind::Stream(stream) | Kind::Shaking(stream, _) => drop(stream.shutdown(how)),
            Kind::Tls(stream) => {
                let stream = &mut **stream.borrow_mut();
                if how != Shutdown::Read {
                    let cx = &mut Context::from_waker(Waker::noop());
                    let _ = tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut *stream), cx);
                }
                if how != Shutdown::Write {
                    let _ = stream.socket().shutdown(how);
                }
            }
            _ => {}
        });
    }

    pub(crate) fn close(&self) {
        if let Some(descriptor) = self.descriptor() {
            descriptor.close();
        }
        self.0.buffer.take();
    }
}

/// What is sent, wherever it lies.
pub(crate) trait AsBytes {
    fn bytes<T>(&self, with: impl FnOnce(&[u8]) -> T) -> T;
}

/// Some of a string.
struct Slice {
    string: LuaString,
    from: usize,
    to: usize,
}

impl AsBytes for Slice {
    fn bytes<T>(&self, with: impl FnOnce(&[u8]) -> T) -> T {
        with(&self.string.as_bytes()[self.from..self.to])
    }
}

impl AsBytes for &[u8] {
    fn bytes<T>(&self, with: impl FnOnce(&[u8]) -> T) -> T {
        with(self)
    }
}

/// How much is to be read.
pub(crate) enum Pattern {
    Line,
    All,
    Exactly(usize),
    /// Whatever is there, up to this.
    Some(usize),
    /// What comes before this, up to so much.
    Until(Vec<u8>, usize),
}

/// How many connections wait to be accepted, where the script does not say: LuaSocket's own number.
pub(crate) const BACKLOG: usize = 32;

/// What asking to connect means to what is there already.
fn connecting(kind: &Kind) -> Option<Result<(), Fault>> {
    match kind {
        Kind::Stream(stream) => Some(stream.connected().map_err(|errno| match errno {
            Errno::Again => Fault::Errno(Errno::Already),
            errno => errno.into(),
        })),
        _ => None,
    }
}

/// `nil, message` or 1.
fn done(lua: &Lua, result: Result<(), String>) -> mlua::Result<MultiValue> {
    match result {
        Ok(()) => 1.into_lua_multi(lua),
        Err(words) => errors::failure(words).into_lua_multi(lua),
    }
}

/// `data, nil, nil` or `nil, message, partial`.
fn received(lua: &Lua, result: Result<(), Fault>, data: &[u8]) -> mlua::Result<MultiValue> {
    let data = lua.create_string(data)?;
    match result {
        Ok(()) => (data, Value::Nil, Value::Nil).into_lua_multi(lua),
        Err(fault) => (Value::Nil, fault.words(), data).into_lua_multi(lua),
    }
}

async fn receive(lua: Lua, this: Tcp, values: MultiValue) -> mlua::Result<MultiValue> {
    this.class_is("receive", Class::Client)?;
    let args = Args::new(&lua, "receive", values);
    let mut out = args.opt_string(2)?.map(|prefix| prefix.as_bytes().to_vec()).unwrap_or_default();
    let bad = || args.fault(1, format_args!("invalid receive pattern"));
    let pattern = match args.as_number(1)? {
        Some(n) if n >= 0.0 => {
            let wanted = n as usize;
            if !out.is_empty() && wanted <= out.len() {
                return received(&lua, Ok(()), &out);
            }
            if n > this.0.sockets.world.limits.memory as f64 {
                return received(&lua, Err(Fault::TooLarge), &out);
            }
            Pattern::Exactly(wanted - out.len())
        }
        Some(_) => return Err(bad()),
        None => match args.opt_string(1)?.as_ref().map_or(b"*l".to_vec(), |p| p.as_bytes().to_vec())[..] {
            [b'*', b'l', ..] => Pattern::Line,
            [b'*', b'a', ..] => Pattern::All,
            _ => return Err(bad()),
        },
    };
    let result = this.read(&pattern, &mut out, this.begin()).await;
    received(&lua, result, &out)
}

async fn send(lua: Lua, this: Tcp, values: MultiValue) -> mlua::Result<MultiValue> {
    this.class_is("send", Class::Client)?;
    let args = Args::new(&lua, "send", values);
    let string = args.string(1)?;
    let size = string.as_bytes().len() as i64;
    let (from, to) = (args.opt_number(2)?.unwrap_or(1.0) as i64, args.opt_number(3)?.unwrap_or(-1.0) as i64);
    let from = if from < 0 { size.saturating_add(from).saturating_add(1) } else { from }.max(1);
    let to = if to < 0 { size.saturating_add(to).saturating_add(1) } else { to }.min(size);
    let mut sent = 0;
    let result = if from <= to {
        let slice = Slice { string, from: from as usize - 1, to: to as usize };
        this.write(slice, this.begin(), &mut sent).await
    } else {
        Ok(())
    };
    let last = sent as i64 + from - 1;
    match result {
        Ok(()) => (last, Value::Nil, Value::Nil).into_lua_multi(&lua),
        Err(fault) => (Value::Nil, fault.words(), last).into_lua_multi(&lua),
    }
}

/// Copies both ways, until both have ended: each end is passed on. The bytes that went out of the first, and of the second.
async fn splice(lua: Lua, one: Tcp, other: Tcp) -> mlua::Result<MultiValue> {
    let (mut out, mut back) = (0u64, 0u64);
    let result = {
        let there = copy(&one, &other, &mut out);
        let here = copy(&other, &one, &mut back);
        both(there, here).await
    };
    match result {
        Ok(()) => (out, back).into_lua_multi(&lua),
        Err(fault) => (Value::Nil, fault.words(), out, back).into_lua_multi(&lua),
    }
}

async fn copy(from: &Tcp, to: &Tcp, count: &mut u64) -> Result<(), Fault> {
    loop {
        let mut piece = Vec::new();
        match from.read(&Pattern::Some(usize::MAX), &mut piece, from.begin()).await {
            Ok(()) => {}
            Err(Fault::Closed) => {
                to.shutdown(Shutdown::Write);
                return Ok(());
            }
            Err(fault) => return Err(fault),
        }
        to.write(&*piece, to.begin(), &mut 0).await?;
        *count += piece.len() as u64;
    }
}

/// Both futures at once; the first that fails ends both.
async fn both(
    one: impl Future<Output = Result<(), Fault>>,
    other: impl Future<Output = Result<(), Fault>>,
) -> Result<(), Fault> {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    let (mut one_done, mut other_done) = (false, false);
    std::future::poll_fn(|cx| {
        if !one_done && let Poll::Ready(result) = one.as_mut().poll(cx) {
            one_done = true;
            if result.is_err() {
                return Poll::Ready(result);
            }
        }
        if !other_done && let Poll::Ready(result) = other.as_mut().poll(cx) {
            other_done = true;
            if result.is_err() {
                return Poll::Ready(result);
            }
        }
        if one_done && other_done { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// A line without its end, or what is left at the end; `nil` after it; `nil, message` if it could not be read.
async fn next_line(lua: Lua, this: Tcp) -> mlua::Result<MultiValue> {
    let mut out = Vec::new();
    match this.read(&Pattern::Line, &mut out, this.begin()).await {
        Ok(()) => lua.create_string(&out)?.into_lua_multi(&lua),
        Err(Fault::Closed) if !out.is_empty() => lua.create_string(&out)?.into_lua_multi(&lua),
        Err(Fault::Closed) => Value::Nil.into_lua_multi(&lua),
        Err(fault) => errors::failure(fault.words()).into_lua_multi(&lua),
    }
}

/// How long a listener rests when a connection could not be taken for want of memory.
const REST: std::time::Duration = std::time::Duration::from_millis(10);

/// The next connection; `nil` when there will be no more.
async fn next_connection(lua: Lua, this: Tcp) -> mlua::Result<MultiValue> {
    loop {
        match this.accept().await {
            Ok(connection) => return connection.into_lua_multi(&lua),
            Err(Fault::Errno(Errno::Nomem | Errno::Nobufs | Errno::Mfile | Errno::Nfile)) => {
                this.0.sockets.time().sleep(REST).await;
            }
            Err(Fault::Closed) => return Value::Nil.into_lua_multi(&lua),
            Err(fault) => return errors::failure(fault.words()).into_lua_multi(&lua),
        }
    }
}

pub(crate) fn name_of(lua: &Lua, address: SocketAddr, port_as_text: bool) -> mlua::Result<MultiValue> {
    let family = Family::of(address.ip()).name();
    let port = match port_as_text {
        true => lua.create_string(address.port().to_string()).map(Value::String)?,
        false => Value::Integer(address.port().into()),
    };
    (address.ip().to_string(), port, family).into_lua_multi(lua)
}

pub(crate) const NO_DESCRIPTOR: &str = "Bad file descriptor";

impl UserData for Tcp {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("class", |_, this| Ok(this.0.class.get().name()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_function(MetaMethod::ToString, |_, object: AnyUserData| {
            let class = object.borrow::<Self>()?.0.class.get();
            Ok(format!("{}: {:p}", class.name(), object.to_pointer()))
        });
        methods.add_meta_method(MetaMethod::Close, |_, this, _: MultiValue| {
            this.close();
            Ok(())
        });

        methods.waiting_method("receive", |lua, this: UserDataRef<Self>, values| {
            receive(lua, this.clone(), values)
        });
        methods
            .waiting_method("send", |lua, this: UserDataRef<Self>, values| send(lua, this.clone(), values));
        connecting_methods(methods);
        methods.waiting_method("accept", |lua, this: UserDataRef<Self>, ()| async move {
            this.class_is("accept", Class::Server)?;
            match this.accept().await {
                Ok(connection) => connection.into_lua_multi(&lua),
                Err(fault) => errors::failure(fault.words()).into_lua_multi(&lua),
            }
        });
        methods.method("close", |_, this, ()| {
            this.close();
            Ok(1)
        });
        methods.method("shutdown", |lua, this, values| {
            this.class_is("shutdown", Class::Client)?;
            let how = Args::new(lua, "shutdown", values).word(
                1,
                "both",
                &[("receive", Shutdown::Read), ("send", Shutdown::Write), ("both", Shutdown::Both)],
            )?;
            this.shutdown(how);
            Ok(1)
        });
        telling_methods(methods);
        own_methods(methods);
        tls_methods(methods);
    }
}

fn connecting_methods<M: UserDataMethods<Tcp>>(methods: &mut M) {
    for name in ["connect", "setpeername"] {
        methods.waiting_method(name, move |lua, this: UserDataRef<Tcp>, values| async move {
            let args = Args::new(&lua, name, values);
            let (host, port) = (args.text(1)?, args.text(2)?);
            let result = this.connect(&host, &port).await;
            this.0.class.set(Class::Client);
            done(&lua, result)
        });
    }
    for name in ["bind", "setsockname"] {
        methods.waiting_method(name, move |lua, this: UserDataRef<Tcp>, values| async move {
            this.class_is(name, Class::Master)?;
            let args = Args::new(&lua, name, values);
            let (host, port) = (args.text(1)?, args.text(2)?);
            done(&lua, this.bind(&host, &port).await)
        });
    }
    methods.method("listen", |lua, this, values| {
        this.class_is("listen", Class::Master)?;
        let backlog = Args::new(lua, "listen", values).opt_number(1)?.unwrap_or(BACKLOG as f64);
        done(lua, this.listen(backlog as usize).map_err(|fault| fault.words()))
    });
}

fn telling_methods<M: UserDataMethods<Tcp>>(methods: &mut M) {
    methods.method("dirty", |_, this, ()| Ok(this.dirty()));
    methods.method("getfamily", |_, this, ()| {
        Ok(if this.0.family.get() == Family::V6 { "inet6" } else { "inet4" })
    });
    methods.method("getfd", |_, this, ()| Ok(this.number()));
    methods.method("setfd", |lua, this, values| {
        let number = Args::new(lua, "setfd", values).number(1)?;
        let found = (number >= 0.0).then(|| this.0.sockets.find(number as u32)).flatten();
        this.0.descriptor.replace(found);
        Ok(())
    });
    methods.method("getpeername", |lua, this, ()| {
        let peer = match this.open() {
            Err(_) => return errors::failure(NO_DESCRIPTOR).into_lua_multi(lua),
            Ok(descriptor) => descriptor.with(|kind| match kind {
                Kind::Stream(stream) if stream.connected().is_ok() => Some(stream.peer()),
                Kind::Shaking(stream, _) => Some(stream.peer()),
                Kind::Tls(stream) => Some(stream.borrow().peer()),
                _ => None,
            }),
        };
        match peer {
            Some(peer) => name_of(lua, peer, false),
            None => errors::failure(errors::words(Errno::Notconn)).into_lua_multi(lua),
        }
    });
    methods.method("getsockname", |lua, this, ()| {
        let local = match this.open() {
            Err(_) => return errors::failure(NO_DESCRIPTOR).into_lua_multi(lua),
            Ok(descriptor) => descriptor.with(|kind| match kind {
                Kind::Stream(stream) | Kind::Shaking(stream, _) => stream.local(),
                Kind::Tls(stream) => stream.borrow().socket().local(),
                Kind::Listener(listener) => listener.local(),
                Kind::Bound(at) => *at,
                _ => SocketAddr::new(this.0.family.get().unspecified(), 0),
            }),
        };
        name_of(lua, local, true)
    });
    methods.method("getstats", |_, this, ()| {
        let age = seconds_now(&this.0.sockets.world) - this.0.birthday.get();
        Ok((this.0.received.get(), this.0.sent.get(), age))
    });
    methods.method("setstats", |lua, this, values| {
        let args = Args::new(lua, "setstats", values);
        let count = |n, old: &Cell<u64>| {
            old.set(args.opt_number(n)?.map_or(old.get(), |new| new as u64));
            Ok::<_, mlua::Error>(())
        };
        count(1, &this.0.received)?;
        count(2, &this.0.sent)?;
        if let Some(age) = args.as_number(3)? {
            this.0.birthday.set(seconds_now(&this.0.sockets.world) - age);
        }
        Ok(1)
    });
    methods.method("settimeout", |lua, this, values| set_timeout(lua, &this.0.timeouts, values));
    methods
        .method("gettimeout", |_, this, ()| Ok((this.0.timeouts.block.get(), this.0.timeouts.total.get())));
    methods.method("getoption", |lua, this, values| {
        sockopt::get(lua, true, this.open().ok().as_deref(), values)
    });
    methods.method("setoption", |lua, this, values| {
        sockopt::set(lua, true, this.open().ok().as_deref(), values)
    });
}

pub(crate) fn set_timeout(lua: &Lua, timeouts: &Timeouts, values: MultiValue) -> mlua::Result<i64> {
    let args = Args::new(lua, "settimeout", values);
    let seconds = args.opt_number(1)?.unwrap_or(-1.0);
    match args.opt_text(2)?.as_deref().unwrap_or("b").as_bytes().first() {
        Some(b'b') => timeouts.block.set(seconds),
        Some(b'r' | b't') => timeouts.total.set(seconds),
        _ => return Err(args.fault(2, format_args!("invalid timeout mode"))),
    }
    Ok(1)
}

/// What LuaSocket's objects don't have.
fn own_methods<M: UserDataMethods<Tcp>>(methods: &mut M) {
    methods.waiting_method("readany", |lua, this: UserDataRef<Tcp>, values| async move {
        this.class_is("readany", Class::Client)?;
        let most = Args::new(&lua, "readany", values).opt_number(1)?.unwrap_or(f64::INFINITY);
        let mut out = Vec::new();
        let result = this.read(&Pattern::Some((most as usize).max(1)), &mut out, this.begin()).await;
        received(&lua, result, &out)
    });
    methods.waiting_method("readuntil", |lua, this: UserDataRef<Tcp>, values| async move {
        this.class_is("readuntil", Class::Client)?;
        let args = Args::new(&lua, "readuntil", values);
        let end = args.string(1)?.as_bytes().to_vec();
        if end.is_empty() {
            return Err(args.fault(1, format_args!("the empty string is everywhere")));
        }
        let most = args.opt_number(2)?.map_or(this.0.max_read.get(), |most| most as usize);
        let mut out = Vec::new();
        let result = this.read(&Pattern::Until(end, most), &mut out, this.begin()).await;
        received(&lua, result, &out)
    });
    methods.method("lines", |lua, this, ()| {
        this.class_is("lines", Class::Client)?;
        let this = this.clone();
        lua.create_async_function(move |lua, _: MultiValue| next_line(lua, this.clone()))
    });
    methods.method("conns", |lua, this, ()| {
        this.class_is("conns", Class::Server)?;
        let this = this.clone();
        lua.create_async_function(move |lua, _: MultiValue| next_connection(lua, this.clone()))
    });
    methods.waiting_method("splice", |lua, this: UserDataRef<Tcp>, other: UserDataRef<Tcp>| async move {
        this.class_is("splice", Class::Client)?;
        other.class_is("splice", Class::Client)?;
        splice(lua, this.clone(), other.clone()).await
    });
    methods.add_function("detach", |_, object: AnyUserData| {
        if let Some(descriptor) = object.borrow::<Tcp>()?.descriptor() {
            descriptor.detach();
        }
        Ok(object)
    });
    methods.add_async_function(
        "tls",
        |lua, (object, table): (AnyUserData, Option<mlua::Table>)| async move {
            let this = object.borrow::<Tcp>()?.clone();
            this.class_is("tls", Class::Client)?;
            let begun = match tls_options::begin(&lua, &this, table)? {
                Ok(()) => this.handshake(this.begin()).await,
                Err(fault) => Err(fault),
            };
            match begun {
                Ok(()) => object.into_lua_multi(&lua),
                Err(fault) => errors::failure(fault.words()).into_lua_multi(&lua),
            }
        },
    );
}

/// What LuaSec's objects have besides.
fn tls_methods<M: UserDataMethods<Tcp>>(methods: &mut M) {
    methods.waiting_method("dohandshake", |lua, this: UserDataRef<Tcp>, ()| async move {
        let patience = this.begin();
        match this.handshake(patience).await {
            Ok(()) => true.into_lua_multi(&lua),
            Err(Fault::Timeout) if patience.is_none() => (false, "wantread").into_lua_multi(&lua),
            Err(fault) => (false, fault.words()).into_lua_multi(&lua),
        }
    });
    methods.method("sni", |lua, this, values| {
        this.set_host(&Args::new(lua, "sni", values).text(1)?);
        Ok(())
    });
    methods.method("info", |lua, this, values| {
        let field = Args::new(lua, "info", values).opt_text(1)?;
        let Some(agreed) = this.agreed() else { return Ok(Value::Nil) };
        let info = lua.create_table()?;
        info.raw_set("protocol", agreed.version)?;
        info.raw_set("cipher", agreed.cipher)?;
        match field {
            Some(field) => info.raw_get(field),
            None => Ok(Value::Table(info)),
        }
    });
    methods.method("getalpn", |lua, this, ()| {
        let alpn = this.agreed().and_then(|agreed| agreed.alpn);
        alpn.map(|alpn| lua.create_string(alpn)).transpose()
    });
    methods.method("getsniname", |_, this, ()| Ok(this.agreed().and_then(|agreed| agreed.name)));
    methods.method("getpeercertificate", |lua, this, number: Option<usize>| {
        let certificates = this.agreed().map(|agreed| agreed.certificates).unwrap_or_default();
        let Some(der) = certificates.get(number.unwrap_or(1).saturating_sub(1)) else {
            return Ok(None);
        };
        let pem = tls_options::to_pem(der);
        let certificate = lua.create_table()?;
        certificate.raw_set("pem", lua.create_function(move |_, _: MultiValue| Ok(pem.clone()))?)?;
        Ok(Some(certificate))
    });
}
