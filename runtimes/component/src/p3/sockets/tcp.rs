//! `tcp-socket`.
//!
//! `bind` takes the port by listening there at once, for the network has no other way to hold one: who connects between `bind` and
//! `listen` waits instead of being refused. Who binds to any port and then connects does so from another; from a certain port
//! nobody can connect (`not-supported`).
//! The backlog counts if it is set before.

use std::{
    mem,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use lunette_hostcalls::{
    Errno, Interest, Nanos, Shutdown, TcpStream,
    task::{poll_until, until},
};
use wasmtime::{
    AsContextMut, Result, StoreContextMut,
    component::{
        Access, Accessor, Destination, HasSelf, Resource, StreamProducer, StreamReader, StreamResult,
    },
};

use super::{Failure, Hints, INVALID_STATE, any, decode, not_bound, peer, positive, told, unicast};
use crate::{
    State,
    listeners::{Listener, listen},
    p3::{
        bindings::wasi::sockets::types::{
            ErrorCode, HostTcpSocket, HostTcpSocketWithStore, IpAddressFamily, IpSocketAddress,
        },
        stream::{self, ByteSink, ByteSource, MAX_STREAM, Outcome, Produced},
    },
};

/// How many connections wait to be accepted, unless a guest asks for another number.
const BACKLOG: usize = 128;
const MAX_BACKLOG: u64 = 4096;

const SECOND: Nanos = 1_000_000_000;

pub struct TcpSocket {
    family: IpAddressFamily,
    phase: Phase,
    backlog: usize,
    options: Options,
}

enum Phase {
    Unbound,
    /// To a port that was asked for, or to any.
    Bound(Listener, SocketAddr),
    /// To connect from any port: nobody has to be allowed to be listened to for that.
    ToConnect(SocketAddr),
    Listening(Listener),
    Connecting,
    Connected {
        stream: Arc<dyn TcpStream>,
        sends: bool,
        receives: bool,
    },
    Closed(Errno),
}

/// What a connection has from its listener.
#[derive(Clone, Copy)]
struct Options {
    keep_alive: bool,
    idle: Nanos,
    /// Kept only: the network has its own.
    interval: Nanos,
    count: u32,
    hints: Hints,
}

impl Default for Options {
    /// What Linux has.
    fn default() -> Self {
        Self {
            keep_alive: false,
            idle: 7200 * SECOND,
            interval: 75 * SECOND,
            count: 9,
            hints: Hints::default(),
        }
    }
}

/// As in Linux: whole seconds, up to 15 bits of them.
fn seconds(time: Nanos) -> Result<Nanos, Errno> {
    Ok(positive(time)?.div_ceil(SECOND).clamp(1, 32_767) * SECOND)
}

impl TcpSocket {
    fn new(family: IpAddressFamily) -> Self {
        Self { family, phase: Phase::Unbound, backlog: BACKLOG, options: Options::default() }
    }

    fn accepted(
        stream: Result<Arc<dyn TcpStream>, Errno>,
        family: IpAddressFamily,
        options: Options,
    ) -> Self {
        let phase = match stream {
            Ok(stream) => Phase::Connected { stream, sends: false, receives: false },
            Err(errno) => Phase::Closed(errno),
        };
        let socket = Self { family, phase, backlog: BACKLOG, options };
        socket.keep_alive();
        socket
    }

    fn keep_alive(&self) {
        if let Phase::Connected { stream, .. } = &self.phase {
            stream.set_keep_alive(self.options.keep_alive.then_some(self.options.idle));
        }
    }

    fn state<T>(&self) -> Result<T, Errno> {
        match &self.phase {
            Phase::Closed(errno) => Err(*errno),
            _ => Err(INVALID_STATE),
        }
    }

    fn local(&self) -> Result<SocketAddr, Errno> {
        match &self.phase {
            Phase::Bound(listener, _) | Phase::Listening(listener) => Ok(listener.socket.local()),
            Phase::ToConnect(at) => Ok(*at),
            Phase::Connected { stream, .. } => Ok(stream.local()),
            _ => self.state(),
        }
    }

    fn sender(&mut self) -> Result<Box<dyn ByteSink>, Errno> {
        match &mut self.phase {
            Phase::Connected { stream, sends, .. } if !*sends => {
                *sends = true;
                Ok(Box::new(Sender(stream.clone())))
            }
            _ => self.state(),
        }
    }

    fn receiver(&mut self) -> Result<Box<dyn ByteSource>, Errno> {
        match &mut self.phase {
            Phase::Connected { stream, receives, .. } if !*receives => {
                *receives = true;
                Ok(Box::new(Receiver(stream.clone())))
            }
            _ => self.state(),
        }
    }
}

/// Takes or keeps what a socket is told.
fn with(
    state: &mut State,
    socket: &Resource<TcpSocket>,
    set: impl FnOnce(&mut Options) -> Result<(), Errno>,
) -> Result<(), Failure> {
    let socket = state.table.get_mut(socket)?;
    set(&mut socket.options)?;
    socket.keep_alive();
    Ok(())
}

fn options<T>(
    state: &State,
    socket: &Resource<TcpSocket>,
    get: impl FnOnce(&Options) -> T,
) -> Result<T, Failure> {
    Ok(get(&state.table.get(socket)?.options))
}

impl HostTcpSocketWithStore<State> for HasSelf<State> {
    async fn connect(
        store: &Accessor<State, Self>,
        socket: Resource<TcpSocket>,
        remote: IpSocketAddress,
    ) -> Result<(), Failure> {
        let stream = store.with(|mut access| begin(access.get(), &socket, remote))?;
        let connected = until(&*stream, Interest::Write, || stream.connected()).await;
        store.with(|mut access| {
            let socket = access.get().table.get_mut(&socket)?;
            socket.phase = match connected {
                Ok(()) => Phase::Connected { stream, sends: false, receives: false },
                Err(errno) => Phase::Closed(errno),
            };
            socket.keep_alive();
            Ok(connected?)
        })
    }

    fn listen(
        mut store: Access<'_, State, Self>,
        socket: Resource<TcpSocket>,
    ) -> Result<StreamReader<Resource<TcpSocket>>, Failure> {
        let state = store.get();
        let this = state.table.get_mut(&socket)?;
        let listener = match mem::replace(&mut this.phase, Phase::Unbound) {
            Phase::Bound(listener, _) => listener,
            phase @ (Phase::Unbound | Phase::ToConnect(_)) => {
                let at = if let Phase::ToConnect(at) = phase { at } else { any(this.family) };
                this.phase = phase;
                listen(&state.ctx, &mut state.claims, at, this.backlog).map_err(not_bound)?
            }
            phase => {
                this.phase = phase;
                return Ok(this.state()?);
            }
        };
        this.phase = Phase::Listening(listener.clone());
        let connections = Connections { listener, family: this.family, options: this.options };
        StreamReader::new(&mut store, connections).map_err(Failure::Trap)
    }

    fn send(
        mut store: Access<'_, State, Self>,
        socket: Resource<TcpSocket>,
        data: StreamReader<u8>,
    ) -> Result<Outcome<ErrorCode>> {
        let sink = store.get().table.get_mut(&socket)?.sender();
        stream::write(store.as_context_mut(), data, sink)
    }

    fn receive(
        mut store: Access<'_, State, Self>,
        socket: Resource<TcpSocket>,
    ) -> Result<Produced<u8, ErrorCode>> {
        let source = store.get().table.get_mut(&socket)?.receiver();
        stream::read(store.as_context_mut(), source)
    }
}

/// Begins a connection, which nobody else may then do with that socket.
fn begin(
    state: &mut State,
    socket: &Resource<TcpSocket>,
    remote: IpSocketAddress,
) -> Result<Arc<dyn TcpStream>, Failure> {
    let socket = state.table.get_mut(socket)?;
    match socket.phase {
        // A port of ours to connect from can't be chosen.
        Phase::Bound(_, at) if at.port() != 0 => return Err(Errno::Notsup.into()),
        Phase::Unbound | Phase::Bound(..) | Phase::ToConnect(_) => {}
        _ => return Ok(socket.state()?),
    }
    let remote = unicast(peer(remote, socket.family)?)?;
    socket.phase = Phase::Connecting;
    state.ctx.network.connect(remote).map_err(|errno| {
        // Here it is said of the port that is to be ours.
        let errno = if errno == Errno::Addrnotavail { Errno::Addrinuse } else { errno };
        socket.phase = Phase::Closed(errno);
        errno.into()
    })
}

struct Receiver(Arc<dyn TcpStream>);

impl ByteSource for Receiver {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Errno>> {
        let most = buf.len().min(MAX_STREAM);
        poll_until(&*self.0, Interest::Read, cx, || match most {
            0 if self.0.ready(Interest::Read).any() => Ok(0),
            0 => Err(Errno::Again),
            most => self.0.read(&mut buf[..most]),
        })
    }
}

impl Drop for Receiver {
    /// Who reads no more is told nothing more. It may be closed already.
    fn drop(&mut self) {
        _ = self.0.shutdown(Shutdown::Read);
    }
}

struct Sender(Arc<dyn TcpStream>);

impl ByteSink for Sender {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Errno>> {
        let bytes = &bytes[..bytes.len().min(MAX_STREAM)];
        poll_until(&*self.0, Interest::Write, cx, || match bytes {
            [] if self.0.ready(Interest::Write).any() => Ok(0),
            [] => Err(Errno::Again),
            bytes => self.0.write(bytes),
        })
    }
}

impl Drop for Sender {
    /// The peer reads to the end of what was written. It may be closed already.
    fn drop(&mut self) {
        _ = self.0.shutdown(Shutdown::Write);
    }
}

/// The connections that a listener takes, for as long as the host is not stopped. One that failed before it was accepted is a
/// socket that says why.
struct Connections {
    listener: Listener,
    family: IpAddressFamily,
    options: Options,
}

impl StreamProducer<State> for Connections {
    type Item = Resource<TcpSocket>;
    type Buffer = Option<Resource<TcpSocket>>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, State>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let looks = destination.remaining(&mut store) == Some(0);
        let accepted = poll_until(&*self.listener.socket, Interest::Read, cx, || match looks {
            true if self.listener.socket.ready(Interest::Read).any() => Ok(None),
            true => Err(Errno::Again),
            false => self.listener.socket.accept().map(Some),
        });
        let stream = match accepted {
            Poll::Ready(Ok(None)) => return Poll::Ready(Ok(StreamResult::Completed)),
            Poll::Ready(Ok(Some((stream, _)))) => Ok(stream),
            Poll::Ready(Err(Errno::Canceled)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Ready(Err(errno)) => Err(errno),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        let socket = TcpSocket::accepted(stream, self.family, self.options);
        destination.set_buffer(Some(store.data_mut().table.push(socket)?));
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

impl HostTcpSocket for State {
    fn create(&mut self, family: IpAddressFamily) -> Result<Resource<TcpSocket>, Failure> {
        Ok(self.table.push(TcpSocket::new(family))?)
    }

    fn bind(&mut self, socket: Resource<TcpSocket>, local: IpSocketAddress) -> Result<(), Failure> {
        let socket = self.table.get_mut(&socket)?;
        if !matches!(socket.phase, Phase::Unbound) {
            return Err(INVALID_STATE.into());
        }
        let local = unicast(decode(local, socket.family)?)?;
        socket.phase = match listen(&self.ctx, &mut self.claims, local, socket.backlog) {
            Ok(listener) => Phase::Bound(listener, local),
            Err(Errno::Acces | Errno::Netdown) if local.port() == 0 => Phase::ToConnect(local),
            Err(errno) => return Err(not_bound(errno).into()),
        };
        Ok(())
    }

    fn get_local_address(&mut self, socket: Resource<TcpSocket>) -> Result<IpSocketAddress, Failure> {
        Ok(told(self.table.get(&socket)?.local()?))
    }

    fn get_remote_address(&mut self, socket: Resource<TcpSocket>) -> Result<IpSocketAddress, Failure> {
        let socket = self.table.get(&socket)?;
        match &socket.phase {
            Phase::Connected { stream, .. } => Ok(told(stream.peer())),
            _ => Ok(socket.state()?),
        }
    }

    fn get_is_listening(&mut self, socket: Resource<TcpSocket>) -> Result<bool> {
        Ok(matches!(self.table.get(&socket)?.phase, Phase::Listening(_)))
    }

    fn get_address_family(&mut self, socket: Resource<TcpSocket>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&socket)?.family)
    }

    fn set_listen_backlog_size(&mut self, socket: Resource<TcpSocket>, value: u64) -> Result<(), Failure> {
        let backlog = positive(value)?.min(MAX_BACKLOG) as usize;
        let socket = self.table.get_mut(&socket)?;
        match socket.phase {
            Phase::Unbound | Phase::Bound(..) | Phase::ToConnect(_) | Phase::Listening(_) => {
                socket.backlog = backlog
            }
            _ => return Ok(socket.state()?),
        }
        Ok(())
    }

    fn get_keep_alive_enabled(&mut self, socket: Resource<TcpSocket>) -> Result<bool, Failure> {
        options(self, &socket, |options| options.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, socket: Resource<TcpSocket>, value: bool) -> Result<(), Failure> {
        with(self, &socket, |options| {
            options.keep_alive = value;
            Ok(())
        })
    }

    fn get_keep_alive_idle_time(&mut self, socket: Resource<TcpSocket>) -> Result<u64, Failure> {
        options(self, &socket, |options| options.idle)
    }

    fn set_keep_alive_idle_time(&mut self, socket: Resource<TcpSocket>, value: u64) -> Result<(), Failure> {
        with(self, &socket, |options| {
            options.idle = seconds(value)?;
            Ok(())
        })
    }

    fn get_keep_alive_interval(&mut self, socket: Resource<TcpSocket>) -> Result<u64, Failure> {
        options(self, &socket, |options| options.interval)
    }

    fn set_keep_alive_interval(&mut self, socket: Resource<TcpSocket>, value: u64) -> Result<(), Failure> {
        with(self, &socket, |options| {
            options.interval = seconds(value)?;
            Ok(())
        })
    }

    fn get_keep_alive_count(&mut self, socket: Resource<TcpSocket>) -> Result<u32, Failure> {
        options(self, &socket, |options| options.count)
    }

    fn set_keep_alive_count(&mut self, socket: Resource<TcpSocket>, value: u32) -> Result<(), Failure> {
        with(self, &socket, |options| {
            options.count = positive(value)?.min(127);
            Ok(())
        })
    }

    fn get_hop_limit(&mut self, socket: Resource<TcpSocket>) -> Result<u8, Failure> {
        options(self, &socket, |options| options.hints.hop_limit)
    }

    fn set_hop_limit(&mut self, socket: Resource<TcpSocket>, value: u8) -> Result<(), Failure> {
        with(self, &socket, |options| options.hints.set_hop_limit(value))
    }

    fn get_receive_buffer_size(&mut self, socket: Resource<TcpSocket>) -> Result<u64, Failure> {
        options(self, &socket, |options| options.hints.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<TcpSocket>, value: u64) -> Result<(), Failure> {
        with(self, &socket, |options| options.hints.set_receive_buffer(value))
    }

    fn get_send_buffer_size(&mut self, socket: Resource<TcpSocket>) -> Result<u64, Failure> {
        options(self, &socket, |options| options.hints.send_buffer)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<TcpSocket>, value: u64) -> Result<(), Failure> {
        with(self, &socket, |options| options.hints.set_send_buffer(value))
    }

    fn drop(&mut self, socket: Resource<TcpSocket>) -> Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}
