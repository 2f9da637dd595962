//! Datagrams.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
};

use lunette_hostcalls::{Errno, Interest, Ready, Source, UdpSocket};
use mio::net;
use rustix::{event::PollFlags, net::RecvFlags};
use socket2::Socket;

use super::{errno, tcp::now};
use crate::host::poller::{Place, Polled, Reactor, Readiness, register};

/// The largest datagram of IPv4: what there is room for when there is room.
const LARGEST: u64 = 65_507;

/// One port of a guest's, at all the addresses where it is found: one socket for each.
struct Datagrams {
    at: SocketAddr,
    sockets: Vec<net::UdpSocket>,
    /// Whose turn it is.
    turn: AtomicUsize,
    readiness: Readiness,
    place: Place,
}

pub(super) fn socket(
    mut at: SocketAddr,
    sockets: Vec<Socket>,
    reactor: &Arc<Reactor>,
) -> io::Result<Arc<dyn UdpSocket>> {
    let place = reactor.place();
    let mut ours = Vec::with_capacity(sockets.len());
    for socket in sockets {
        let mut socket = net::UdpSocket::from_std(socket.into());
        if at.port() == 0 {
            at.set_port(socket.local_addr()?.port());
        }
        place.register(&mut socket)?;
        ours.push(socket);
    }
    let (turn, readiness) = (AtomicUsize::new(0), Readiness::default());
    let this = Arc::new(Datagrams { at, sockets: ours, turn, readiness, place });
    this.place.settle(&this);
    Ok(this)
}

impl Polled for Datagrams {
    fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

impl Source for Datagrams {
    fn ready(&self, interest: Interest) -> Ready {
        self.readiness.look(interest, || {
            let flag = if interest == Interest::Read { PollFlags::IN } else { PollFlags::OUT };
            let ready = self.sockets.iter().find(|socket| now(socket, flag).contains(flag));
            let bytes = match ready {
                None => 0,
                // It may be empty.
                Some(socket) if interest == Interest::Read => {
                    rustix::io::ioctl_fionread(socket).unwrap_or(0).max(1)
                }
                Some(_) => LARGEST,
            };
            (bytes > 0, Ready { bytes, hangup: false })
        })
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        register(self, interest, waker);
    }
}

impl UdpSocket for Datagrams {
    fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, usize, SocketAddr), Errno> {
        let first = self.turn.fetch_add(1, Relaxed);
        for i in 0..self.sockets.len() {
            let socket = &self.sockets[first.wrapping_add(i) % self.sockets.len()];
            let flags = RecvFlags::TRUNC;
            match rustix::io::retry_on_intr(|| rustix::net::recvfrom(socket, &mut *buf, flags)) {
                Ok((took, whole, from)) => {
                    let from = from.and_then(|from| SocketAddr::try_from(from).ok()).ok_or(Errno::Io)?;
                    return Ok((took, whole, from));
                }
                Err(rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(errno(&error.into())),
            }
        }
        Err(Errno::Again)
    }

    fn send_to(&self, buf: &[u8], to: SocketAddr) -> Result<(), Errno> {
        let family =
            |socket: &&net::UdpSocket| socket.local_addr().is_ok_and(|local| local.is_ipv4() == to.is_ipv4());
        let socket = self.sockets.iter().find(family).ok_or(Errno::Afnosupport)?;
        loop {
            match socket.send_to(buf, to) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno(&error)),
            }
        }
    }

    fn local(&self) -> SocketAddr {
        self.at
    }
}
