//! `wasi:sockets/tcp`: connecting, listening, accepting.
//!
//! What waits is in two parts, and a `pollable` between them. Binding a socket listens already, so that the errors come where
//! they are expected; binding it again to where the guest's own manifest had it listen takes that over.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll};

use async_trait::async_trait;
use lunette_hostcalls::{Errno, Interest, Shutdown, Source, TcpStream};
use wasmtime::{Result as Answer, component::Resource};
use wasmtime_wasi_io::{
    poll::{DynPollable, Pollable, subscribe},
    streams::{DynInputStream, DynOutputStream},
};

use super::{
    super::bindings::wasi::sockets::{
        tcp::{self, ShutdownType},
        tcp_create_socket,
    },
    ErrorCode, IpAddressFamily, IpSocketAddress, Network, Result, new_socket,
    options::{self, Options},
    own, remote, tcp_streams,
    tcp_streams::Connection,
    to_bind,
};
use crate::{
    State,
    listeners::{self, Listener},
};

/// How many connections may wait to be accepted, where the guest doesn't say: too early, for it is said when listening.
const BACKLOG: usize = 128;

pub struct TcpSocket {
    family: IpAddressFamily,
    kind: Kind,
    started: Option<Started>,
    options: Options,
}

enum Kind {
    Unbound,
    /// To a port that was asked for, or to any.
    Bound(Listener, SocketAddr),
    /// To connect from: nobody has to be allowed to be listened to for that.
    ToConnect(SocketAddr),
    Connecting(Arc<dyn TcpStream>),
    Connected(Arc<Connection>),
    Listening(Listener),
    Closed,
}

/// What was started and is to be finished.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Started {
    Bind,
    Connect,
    Listen,
}

impl State {
    fn tcp(&mut self, socket: &Resource<TcpSocket>) -> Result<&mut TcpSocket> {
        Ok(self.table.get_mut(socket)?)
    }

    fn listen(&mut self, at: SocketAddr) -> Result<Listener, Errno> {
        listeners::listen(&self.ctx, &mut self.claims, at, BACKLOG)
    }

    fn streams(
        &mut self,
        socket: &Resource<TcpSocket>,
        connection: Arc<Connection>,
    ) -> Result<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let input: DynInputStream = Box::new(tcp_streams::Reader::new(connection.clone()));
        let output: DynOutputStream = Box::new(tcp_streams::Writer::new(connection));
        Ok((self.table.push_child(input, socket)?, self.table.push_child(output, socket)?))
    }
}

impl TcpSocket {
    fn new(family: IpAddressFamily, kind: Kind, options: Options) -> Self {
        Self { family, kind, started: None, options }
    }

    fn start(&self) -> Result<()> {
        if self.started.is_some() { Err(ErrorCode::ConcurrencyConflict.into()) } else { Ok(()) }
    }

    fn finish(&mut self, what: Started) -> Result<()> {
        if self.started != Some(what) {
            return Err(ErrorCode::NotInProgress.into());
        }
        self.started = None;
        Ok(())
    }

    fn apply(&self) {
        if let Kind::Connected(connection) = &self.kind {
            connection.stream.set_keep_alive(self.options.asks_after());
        }
    }

    /// Not with a socket that is no more.
    fn options(&mut self) -> Result<&mut Options> {
        if let Kind::Closed = self.kind { Err(ErrorCode::InvalidState.into()) } else { Ok(&mut self.options) }
    }
}

#[async_trait]
impl Pollable for TcpSocket {
    async fn ready(&mut self) {
        let (source, interest): (&dyn Source, _) = match &self.kind {
            Kind::Connecting(stream) => (&**stream, Interest::Write),
            Kind::Listening(listener) => (&*listener.socket, Interest::Read),
            _ => return,
        };
        poll_fn(|cx| {
            if source.ready(interest).any() {
                return Poll::Ready(());
            }
            source.register(interest, cx.waker());
            Poll::Pending
        })
        .await;
    }
}

impl tcp_create_socket::Host for State {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> Result<Resource<TcpSocket>> {
        new_socket(self.table.push(TcpSocket::new(family, Kind::Unbound, Options::default())))
    }
}

impl tcp::Host for State {}

impl tcp::HostTcpSocket for State {
    fn start_bind(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<Network>,
        at: IpSocketAddress,
    ) -> Result<()> {
        self.table.get(&network)?;
        let socket = self.tcp(&this)?;
        socket.start()?;
        if !matches!(socket.kind, Kind::Unbound) {
            return Err(ErrorCode::InvalidState.into());
        }
        let at = to_bind(socket.family, at)?;
        let kind = match self.listen(at) {
            Ok(listener) => Kind::Bound(listener, at),
            Err(Errno::Acces | Errno::Netdown) if at.port() == 0 => Kind::ToConnect(at),
            Err(errno) => return Err(errno.into()),
        };
        let socket = self.tcp(&this)?;
        (socket.kind, socket.started) = (kind, Some(Started::Bind));
        Ok(())
    }

    fn finish_bind(&mut self, this: Resource<TcpSocket>) -> Result<()> {
        self.tcp(&this)?.finish(Started::Bind)
    }

    fn start_connect(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<Network>,
        to: IpSocketAddress,
    ) -> Result<()> {
        self.table.get(&network)?;
        let grants = self.ctx.network.clone();
        let socket = self.tcp(&this)?;
        socket.start()?;
        match &socket.kind {
            Kind::Unbound | Kind::ToConnect(_) => {}
            // A port of ours to connect from can't be chosen.
            Kind::Bound(_, at) if at.port() != 0 => return Err(ErrorCode::NotSupported.into()),
            Kind::Bound(..) => {}
            _ => return Err(ErrorCode::InvalidState.into()),
        }
        let to = remote(socket.family, to)?;
        if to.ip().is_multicast() || to.ip() == std::net::Ipv4Addr::BROADCAST {
            return Err(ErrorCode::InvalidArgument.into());
        }
        match grants.connect(to) {
            Ok(stream) => socket.kind = Kind::Connecting(stream),
            Err(errno) => {
                socket.kind = Kind::Closed;
                return Err(errno.into());
            }
        }
        socket.started = Some(Started::Connect);
        Ok(())
    }

    fn finish_connect(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> Result<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let socket = self.tcp(&this)?;
        let Kind::Connecting(stream) = &socket.kind else { return Err(ErrorCode::NotInProgress.into()) };
        let connection = match stream.connected() {
            Ok(()) => Connection::new(stream.clone()),
            Err(Errno::Again) => return Err(ErrorCode::WouldBlock.into()),
            Err(errno) => {
                (socket.kind, socket.started) = (Kind::Closed, None);
                return Err(errno.into());
            }
        };
        socket.finish(Started::Connect)?;
        socket.kind = Kind::Connected(connection.clone());
        socket.apply();
        self.streams(&this, connection)
    }

    fn start_listen(&mut self, this: Resource<TcpSocket>) -> Result<()> {
        let socket = self.tcp(&this)?;
        socket.start()?;
        match std::mem::replace(&mut socket.kind, Kind::Closed) {
            Kind::Bound(listener, _) => socket.kind = Kind::Listening(listener),
            Kind::ToConnect(at) => {
                // What was not granted when it was bound is not now either.
                let listened = self.listen(at);
                let socket = self.tcp(&this)?;
                socket.kind = match listened {
                    Ok(listener) => Kind::Listening(listener),
                    Err(errno) => {
                        socket.kind = Kind::ToConnect(at);
                        return Err(errno.into());
                    }
                };
            }
            other => {
                socket.kind = other;
                return Err(ErrorCode::InvalidState.into());
            }
        }
        self.tcp(&this)?.started = Some(Started::Listen);
        Ok(())
    }

    fn finish_listen(&mut self, this: Resource<TcpSocket>) -> Result<()> {
        self.tcp(&this)?.finish(Started::Listen)
    }

    fn accept(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> Result<(Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let socket = self.tcp(&this)?;
        let Kind::Listening(listener) = &socket.kind else { return Err(ErrorCode::InvalidState.into()) };
        if socket.started.is_some() {
            return Err(ErrorCode::InvalidState.into());
        }
        let listener = listener.socket.clone();
        // A connection that there is no place for stays where it is.
        let accepted = TcpSocket::new(socket.family, Kind::Closed, socket.options);
        let accepted = new_socket(self.table.push(accepted))?;
        let connection = match listener.accept() {
            Ok((stream, _)) => Connection::new(stream),
            Err(errno) => {
                self.table.delete(accepted)?;
                return Err(errno.into());
            }
        };
        let socket = self.tcp(&accepted)?;
        socket.kind = Kind::Connected(connection.clone());
        socket.apply();
        let (input, output) = self.streams(&accepted, connection)?;
        Ok((accepted, input, output))
    }

    fn local_address(&mut self, this: Resource<TcpSocket>) -> Result<IpSocketAddress> {
        let socket = self.tcp(&this)?;
        let local = match &socket.kind {
            Kind::Bound(listener, _) | Kind::Listening(listener) if socket.started != Some(Started::Bind) => {
                listener.socket.local()
            }
            Kind::ToConnect(at) if socket.started.is_none() => *at,
            Kind::Connected(connection) => connection.stream.local(),
            _ => return Err(ErrorCode::InvalidState.into()),
        };
        Ok(own(socket.family, local))
    }

    fn remote_address(&mut self, this: Resource<TcpSocket>) -> Result<IpSocketAddress> {
        match &self.tcp(&this)?.kind {
            Kind::Connected(connection) => Ok(connection.stream.peer().into()),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn is_listening(&mut self, this: Resource<TcpSocket>) -> Answer<bool> {
        let socket = self.table.get(&this)?;
        Ok(matches!(socket.kind, Kind::Listening(_)) && socket.started.is_none())
    }

    fn address_family(&mut self, this: Resource<TcpSocket>) -> Answer<IpAddressFamily> {
        Ok(self.table.get(&this)?.family)
    }

    /// How many wait is the host's business: it is as much as there is memory for.
    fn set_listen_backlog_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<()> {
        let socket = self.tcp(&this)?;
        if value == 0 {
            return Err(ErrorCode::InvalidArgument.into());
        }
        match socket.kind {
            Kind::Unbound | Kind::Bound(..) | Kind::ToConnect(_) | Kind::Listening(_) => Ok(()),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn keep_alive_enabled(&mut self, this: Resource<TcpSocket>) -> Result<bool> {
        Ok(self.tcp(&this)?.options()?.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<TcpSocket>, value: bool) -> Result<()> {
        let socket = self.tcp(&this)?;
        socket.options()?.keep_alive = value;
        socket.apply();
        Ok(())
    }

    fn keep_alive_idle_time(&mut self, this: Resource<TcpSocket>) -> Result<u64> {
        Ok(self.tcp(&this)?.options()?.idle)
    }

    fn set_keep_alive_idle_time(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<()> {
        let socket = self.tcp(&this)?;
        socket.options()?.idle = options::time(value)?;
        socket.apply();
        Ok(())
    }

    fn keep_alive_interval(&mut self, this: Resource<TcpSocket>) -> Result<u64> {
        Ok(self.tcp(&this)?.options()?.interval)
    }

    fn set_keep_alive_interval(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<()> {
        self.tcp(&this)?.options()?.interval = options::time(value)?;
        Ok(())
    }

    fn keep_alive_count(&mut self, this: Resource<TcpSocket>) -> Result<u32> {
        Ok(self.tcp(&this)?.options()?.count)
    }

    fn set_keep_alive_count(&mut self, this: Resource<TcpSocket>, value: u32) -> Result<()> {
        self.tcp(&this)?.options()?.count = options::count(value)?;
        Ok(())
    }

    fn hop_limit(&mut self, this: Resource<TcpSocket>) -> Result<u8> {
        Ok(self.tcp(&this)?.options()?.hop_limit)
    }

    fn set_hop_limit(&mut self, this: Resource<TcpSocket>, value: u8) -> Result<()> {
        self.tcp(&this)?.options()?.hop_limit = options::hop_limit(value)?;
        Ok(())
    }

    fn receive_buffer_size(&mut self, this: Resource<TcpSocket>) -> Result<u64> {
        Ok(self.tcp(&this)?.options()?.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<()> {
        self.tcp(&this)?.options()?.receive_buffer = options::buffer(value)?;
        Ok(())
    }

    fn send_buffer_size(&mut self, this: Resource<TcpSocket>) -> Result<u64> {
        Ok(self.tcp(&this)?.options()?.send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<()> {
        self.tcp(&this)?.options()?.send_buffer = options::buffer(value)?;
        Ok(())
    }

    fn subscribe(&mut self, this: Resource<TcpSocket>) -> Answer<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn shutdown(&mut self, this: Resource<TcpSocket>, how: ShutdownType) -> Result<()> {
        let Kind::Connected(connection) = &self.tcp(&this)?.kind else {
            return Err(ErrorCode::InvalidState.into());
        };
        connection.shutdown(match how {
            ShutdownType::Receive => Shutdown::Read,
            ShutdownType::Send => Shutdown::Write,
            ShutdownType::Both => Shutdown::Both,
        })?;
        Ok(())
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> Answer<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
