//! `udp-socket`.

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::Poll,
};

use lunette_hostcalls::{Errno, Interest, Network, UdpSocket as Datagrams};
use wasmtime::{
    Result,
    component::{Accessor, HasSelf, Resource},
};

use super::{Failure, Hints, INVALID_STATE, any, decode, not_bound, peer, told};
use crate::{
    State,
    p3::{
        bindings::wasi::sockets::types::{
            HostUdpSocket, HostUdpSocketWithStore, IpAddressFamily, IpSocketAddress,
        },
        crowd::Crowd,
    },
};

/// The largest that can be sent or received.
const MAX_DATAGRAM: usize = u16::MAX as usize;

/// How many datagrams that are not for it one look at a socket passes over.
const MAX_UNHEARD: usize = 64;

pub struct UdpSocket {
    family: IpAddressFamily,
    /// `None`: not bound yet.
    port: Option<Port>,
    peer: Option<SocketAddr>,
    hints: Hints,
}

/// A port, and who waits for it: a guest may receive, and send, as often at once as it likes.
#[derive(Clone)]
struct Port {
    socket: Arc<dyn Datagrams>,
    readers: Arc<Crowd>,
    writers: Arc<Crowd>,
}

impl Port {
    async fn until<T>(
        &self,
        interest: Interest,
        mut ask: impl FnMut(&dyn Datagrams) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let crowd = if interest == Interest::Read { &self.readers } else { &self.writers };
        let member = crowd.join();
        poll_fn(|cx| match ask(&*self.socket) {
            Err(Errno::Again) => {
                self.socket.register(interest, &member.wait(cx));
                Poll::Pending
            }
            answer => Poll::Ready(answer),
        })
        .await
    }
}

impl UdpSocket {
    /// Its port; one that is free, if it has none.
    fn port(&mut self, network: &Network) -> Result<Port, Errno> {
        match &self.port {
            Some(port) => Ok(port.clone()),
            None => self.bind(network, any(self.family)),
        }
    }

    fn bind(&mut self, network: &Network, at: SocketAddr) -> Result<Port, Errno> {
        let socket = network.bind(at).map_err(not_bound)?;
        let port = Port { socket, readers: Arc::default(), writers: Arc::default() };
        self.port = Some(port.clone());
        Ok(port)
    }

    /// Where a datagram goes that is sent to `remote`.
    fn destination(&self, remote: Option<IpSocketAddress>) -> Result<SocketAddr, Errno> {
        match (remote, self.peer) {
            (Some(remote), connected) => {
                let remote = peer(remote, self.family)?;
                if connected.is_some_and(|connected| !is_same(connected, remote)) {
                    return Err(Errno::Inval);
                }
                Ok(remote)
            }
            (None, Some(connected)) => Ok(connected),
            (None, None) => Err(Errno::Inval),
        }
    }
}

fn is_same(a: SocketAddr, b: SocketAddr) -> bool {
    (a.ip(), a.port()) == (b.ip(), b.port())
}

/// The address of ours that would speak to `peer`.
fn source(network: &Network, peer: IpAddr) -> Option<IpAddr> {
    let ours = network.addresses();
    let of_family = || ours.iter().filter(|(ip, _)| ip.is_ipv4() == peer.is_ipv4());
    let near = of_family().find(|(ip, prefix)| prefix_of(*ip, *prefix) == prefix_of(peer, *prefix));
    near.or_else(|| of_family().find(|(ip, _)| !ip.is_loopback())).map(|(ip, _)| *ip)
}

fn prefix_of(ip: IpAddr, length: u8) -> u128 {
    let (bits, width) = match ip {
        IpAddr::V4(ip) => (u32::from(ip).into(), 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    bits.checked_shr(width - u32::from(length).min(width)).unwrap_or(0)
}

impl HostUdpSocketWithStore<State> for HasSelf<State> {
    async fn send(
        store: &Accessor<State, Self>,
        socket: Resource<UdpSocket>,
        data: Vec<u8>,
        remote: Option<IpSocketAddress>,
    ) -> Result<(), Failure> {
        let (port, to) = store.with(|mut access| {
            let state = access.get();
            let socket = state.table.get_mut(&socket)?;
            if data.len() > MAX_DATAGRAM {
                return Err(Errno::Msgsize.into());
            }
            let to = socket.destination(remote)?;
            Ok::<_, Failure>((socket.port(&state.ctx.network)?, to))
        })?;
        Ok(port.until(Interest::Write, |socket| socket.send_to(&data, to)).await?)
    }

    async fn receive(
        store: &Accessor<State, Self>,
        socket: Resource<UdpSocket>,
    ) -> Result<(Vec<u8>, IpSocketAddress), Failure> {
        let (port, connected) = store.with(|mut access| {
            let socket = access.get().table.get(&socket)?;
            let port = socket.port.clone().ok_or(INVALID_STATE)?;
            Ok::<_, Failure>((port, socket.peer))
        })?;
        let (data, from) = port
            .until(Interest::Read, |socket| {
                // So that who waits holds no buffer.
                if !socket.ready(Interest::Read).any() {
                    return Err(Errno::Again);
                }
                let mut data = vec![0; MAX_DATAGRAM];
                for _ in 0..MAX_UNHEARD {
                    let (took, _, from) = socket.recv_from(&mut data)?;
                    if connected.is_none_or(|connected| is_same(connected, from)) {
                        data.truncate(took);
                        data.shrink_to_fit();
                        return Ok((data, from));
                    }
                }
                Err(Errno::Again)
            })
            .await?;
        Ok((data, told(from)))
    }
}

impl HostUdpSocket for State {
    fn create(&mut self, family: IpAddressFamily) -> Result<Resource<UdpSocket>, Failure> {
        Ok(self.table.push(UdpSocket { family, port: None, peer: None, hints: Hints::default() })?)
    }

    fn bind(&mut self, socket: Resource<UdpSocket>, local: IpSocketAddress) -> Result<(), Failure> {
        let socket = self.table.get_mut(&socket)?;
        if socket.port.is_some() {
            return Err(INVALID_STATE.into());
        }
        let local = decode(local, socket.family)?;
        socket.bind(&self.ctx.network, local)?;
        Ok(())
    }

    fn connect(&mut self, socket: Resource<UdpSocket>, remote: IpSocketAddress) -> Result<(), Failure> {
        let socket = self.table.get_mut(&socket)?;
        let remote = peer(remote, socket.family)?;
        socket.port(&self.ctx.network)?;
        socket.peer = Some(remote);
        Ok(())
    }

    fn disconnect(&mut self, socket: Resource<UdpSocket>) -> Result<(), Failure> {
        match self.table.get_mut(&socket)?.peer.take() {
            Some(_) => Ok(()),
            None => Err(INVALID_STATE.into()),
        }
    }

    /// Connected, a socket that is bound to all addresses says which of them speaks to its peer.
    fn get_local_address(&mut self, socket: Resource<UdpSocket>) -> Result<IpSocketAddress, Failure> {
        let socket = self.table.get(&socket)?;
        let mut local = socket.port.as_ref().ok_or(INVALID_STATE)?.socket.local();
        if local.ip().is_unspecified()
            && let Some(peer) = socket.peer
            && let Some(ip) = source(&self.ctx.network, peer.ip())
        {
            local.set_ip(ip);
        }
        Ok(told(local))
    }

    fn get_remote_address(&mut self, socket: Resource<UdpSocket>) -> Result<IpSocketAddress, Failure> {
        Ok(told(self.table.get(&socket)?.peer.ok_or(INVALID_STATE)?))
    }

    fn get_address_family(&mut self, socket: Resource<UdpSocket>) -> Result<IpAddressFamily> {
        Ok(self.table.get(&socket)?.family)
    }

    fn get_unicast_hop_limit(&mut self, socket: Resource<UdpSocket>) -> Result<u8, Failure> {
        Ok(self.table.get(&socket)?.hints.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, socket: Resource<UdpSocket>, value: u8) -> Result<(), Failure> {
        Ok(self.table.get_mut(&socket)?.hints.set_hop_limit(value)?)
    }

    fn get_receive_buffer_size(&mut self, socket: Resource<UdpSocket>) -> Result<u64, Failure> {
        Ok(self.table.get(&socket)?.hints.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, socket: Resource<UdpSocket>, value: u64) -> Result<(), Failure> {
        Ok(self.table.get_mut(&socket)?.hints.set_receive_buffer(value)?)
    }

    fn get_send_buffer_size(&mut self, socket: Resource<UdpSocket>) -> Result<u64, Failure> {
        Ok(self.table.get(&socket)?.hints.send_buffer)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<UdpSocket>, value: u64) -> Result<(), Failure> {
        Ok(self.table.get_mut(&socket)?.hints.set_send_buffer(value)?)
    }

    fn drop(&mut self, socket: Resource<UdpSocket>) -> Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}
