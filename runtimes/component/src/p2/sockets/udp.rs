//! `wasi:sockets/udp`: datagrams, in and out by the handful.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll};

use async_trait::async_trait;
use lunette_hostcalls::{Errno, Interest, UdpSocket as Socket};
use wasmtime::{Result as Answer, component::Resource};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::{
    super::{
        MAX_PIECE,
        bindings::wasi::sockets::{
            udp::{self, IncomingDatagram, OutgoingDatagram},
            udp_create_socket,
        },
    },
    ErrorCode, Fault, IpAddressFamily, IpSocketAddress, Network, Result, new_socket,
    options::{self, Options},
    own, remote, to_bind,
};
use crate::State;

/// How many datagrams one call takes or gives.
const MAX_DATAGRAMS: u64 = 16;

/// The largest datagram that there is.
const MAX_DATAGRAM: usize = 65_535;

pub struct UdpSocket {
    family: IpAddressFamily,
    socket: Option<Arc<dyn Socket>>,
    /// Binding was started and is to be finished.
    binding: bool,
    remote: Option<SocketAddr>,
    options: Options,
}

pub struct Incoming {
    socket: Arc<dyn Socket>,
    remote: Option<SocketAddr>,
    /// Room for any datagram, once there was one.
    buffer: Vec<u8>,
}

pub struct Outgoing {
    socket: Arc<dyn Socket>,
    family: IpAddressFamily,
    remote: Option<SocketAddr>,
    /// How many may be sent: what `check-send` said last.
    permit: u64,
}

impl State {
    fn udp(&mut self, socket: &Resource<UdpSocket>) -> Result<&mut UdpSocket> {
        Ok(self.table.get_mut(socket)?)
    }
}

async fn ready(socket: &dyn Socket, interest: Interest) {
    poll_fn(|cx| {
        if socket.ready(interest).any() {
            return Poll::Ready(());
        }
        socket.register(interest, cx.waker());
        Poll::Pending
    })
    .await;
}

/// What is done with the socket itself never waits.
#[async_trait]
impl Pollable for UdpSocket {
    async fn ready(&mut self) {}
}

#[async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        ready(&*self.socket, Interest::Read).await;
    }
}

#[async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        ready(&*self.socket, Interest::Write).await;
    }
}

impl udp_create_socket::Host for State {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> Result<Resource<UdpSocket>> {
        let socket =
            UdpSocket { family, socket: None, binding: false, remote: None, options: Options::default() };
        new_socket(self.table.push(socket))
    }
}

impl udp::Host for State {}

impl udp::HostUdpSocket for State {
    fn start_bind(
        &mut self,
        this: Resource<UdpSocket>,
        network: Resource<Network>,
        at: IpSocketAddress,
    ) -> Result<()> {
        self.table.get(&network)?;
        let grants = self.ctx.network.clone();
        let socket = self.udp(&this)?;
        if socket.binding {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        if socket.socket.is_some() {
            return Err(ErrorCode::InvalidState.into());
        }
        socket.socket = Some(grants.bind(to_bind(socket.family, at)?)?);
        socket.binding = true;
        Ok(())
    }

    fn finish_bind(&mut self, this: Resource<UdpSocket>) -> Result<()> {
        let socket = self.udp(&this)?;
        if !std::mem::take(&mut socket.binding) {
            return Err(ErrorCode::NotInProgress.into());
        }
        Ok(())
    }

    fn stream(
        &mut self,
        this: Resource<UdpSocket>,
        to: Option<IpSocketAddress>,
    ) -> Result<(Resource<Incoming>, Resource<Outgoing>)> {
        let in_use =
            self.table.iter_children(&this)?.any(|child| child.is::<Incoming>() || child.is::<Outgoing>());
        if in_use {
            return Err(Fault::trap("the streams of this socket have to be dropped first"));
        }
        let this_socket = self.udp(&this)?;
        let (Some(socket), false) = (this_socket.socket.clone(), this_socket.binding) else {
            return Err(ErrorCode::InvalidState.into());
        };
        let (family, to) = (this_socket.family, to.map(|to| remote(this_socket.family, to)).transpose()?);
        this_socket.remote = to;
        let incoming = Incoming { socket: socket.clone(), remote: to, buffer: Vec::new() };
        let outgoing = Outgoing { socket, family, remote: to, permit: 0 };
        Ok((self.table.push_child(incoming, &this)?, self.table.push_child(outgoing, &this)?))
    }

    fn local_address(&mut self, this: Resource<UdpSocket>) -> Result<IpSocketAddress> {
        let socket = self.udp(&this)?;
        match &socket.socket {
            Some(bound) if !socket.binding => Ok(own(socket.family, bound.local())),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn remote_address(&mut self, this: Resource<UdpSocket>) -> Result<IpSocketAddress> {
        Ok(self.udp(&this)?.remote.ok_or(ErrorCode::InvalidState)?.into())
    }

    fn address_family(&mut self, this: Resource<UdpSocket>) -> Answer<IpAddressFamily> {
        Ok(self.table.get(&this)?.family)
    }

    fn unicast_hop_limit(&mut self, this: Resource<UdpSocket>) -> Result<u8> {
        Ok(self.udp(&this)?.options.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, this: Resource<UdpSocket>, value: u8) -> Result<()> {
        self.udp(&this)?.options.hop_limit = options::hop_limit(value)?;
        Ok(())
    }

    fn receive_buffer_size(&mut self, this: Resource<UdpSocket>) -> Result<u64> {
        Ok(self.udp(&this)?.options.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> Result<()> {
        self.udp(&this)?.options.receive_buffer = options::buffer(value)?;
        Ok(())
    }

    fn send_buffer_size(&mut self, this: Resource<UdpSocket>) -> Result<u64> {
        Ok(self.udp(&this)?.options.send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> Result<()> {
        self.udp(&this)?.options.send_buffer = options::buffer(value)?;
        Ok(())
    }

    fn subscribe(&mut self, this: Resource<UdpSocket>) -> Answer<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn drop(&mut self, this: Resource<UdpSocket>) -> Answer<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl Incoming {
    /// The next datagram from whom one listens to. `None`: none there.
    fn next(&mut self) -> Result<Option<IncomingDatagram>, Errno> {
        self.buffer.resize(MAX_DATAGRAM, 0);
        // So many from others are passed over: the guest asks again.
        for _ in 0..MAX_DATAGRAMS {
            let (took, _, from) = match self.socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(Errno::Again) => return Ok(None),
                Err(errno) => return Err(errno),
            };
            if self.remote.is_none_or(|remote| remote == from) {
                let data = self.buffer[..took.min(MAX_DATAGRAM)].to_vec();
                return Ok(Some(IncomingDatagram { data, remote_address: from.into() }));
            }
        }
        Ok(None)
    }
}

impl udp::HostIncomingDatagramStream for State {
    fn receive(&mut self, this: Resource<Incoming>, most: u64) -> Result<Vec<IncomingDatagram>> {
        let stream = self.table.get_mut(&this)?;
        let (mut datagrams, mut bytes) = (Vec::new(), 0);
        while (datagrams.len() as u64) < most.min(MAX_DATAGRAMS) && bytes < MAX_PIECE {
            match stream.next() {
                Ok(Some(datagram)) => {
                    bytes += datagram.data.len();
                    datagrams.push(datagram);
                }
                Ok(None) => break,
                Err(errno) if datagrams.is_empty() => return Err(errno.into()),
                Err(_) => break,
            }
        }
        Ok(datagrams)
    }

    fn subscribe(&mut self, this: Resource<Incoming>) -> Answer<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn drop(&mut self, this: Resource<Incoming>) -> Answer<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl Outgoing {
    fn send(&self, datagram: &OutgoingDatagram) -> Result<()> {
        let given = datagram.remote_address.map(|to| remote(self.family, to)).transpose()?;
        let to = match (self.remote, given) {
            (Some(remote), Some(given)) if remote != given => return Err(ErrorCode::InvalidArgument.into()),
            (remote, given) => remote.or(given).ok_or(ErrorCode::InvalidArgument)?,
        };
        if datagram.data.len() > MAX_DATAGRAM {
            return Err(ErrorCode::DatagramTooLarge.into());
        }
        Ok(self.socket.send_to(&datagram.data, to)?)
    }
}

impl udp::HostOutgoingDatagramStream for State {
    fn check_send(&mut self, this: Resource<Outgoing>) -> Result<u64> {
        let stream = self.table.get_mut(&this)?;
        stream.permit = if stream.socket.ready(Interest::Write).any() { MAX_DATAGRAMS } else { 0 };
        Ok(stream.permit)
    }

    fn send(&mut self, this: Resource<Outgoing>, datagrams: Vec<OutgoingDatagram>) -> Result<u64> {
        let stream = self.table.get_mut(&this)?;
        if datagrams.is_empty() {
            return Ok(0);
        }
        if datagrams.len() as u64 > std::mem::take(&mut stream.permit) {
            return Err(Fault::trap("more datagrams than check-send permitted"));
        }
        let mut sent = 0;
        for datagram in &datagrams {
            match stream.send(datagram) {
                Ok(()) => sent += 1,
                Err(Fault::Code(ErrorCode::WouldBlock)) => break,
                Err(fault) if sent == 0 => return Err(fault),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    fn subscribe(&mut self, this: Resource<Outgoing>) -> Answer<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn drop(&mut self, this: Resource<Outgoing>) -> Answer<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
