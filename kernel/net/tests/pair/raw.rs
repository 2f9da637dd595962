//! Frames made by hand, and what is said in those that come.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lunette_net::smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr,
        IpProtocol, IpRepr, Ipv4Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
    },
};

use super::{End, Queue};

/// Somebody on the wire who says what he likes.
pub(crate) struct Raw {
    pub(crate) comes: Queue,
    pub(crate) goes: Queue,
    pub(crate) mac: [u8; 6],
}

pub(crate) fn tcp(
    to: SocketAddr,
    from: SocketAddr,
    control: TcpControl,
    seq: i32,
    ack: Option<i32>,
) -> TcpRepr<'static> {
    TcpRepr {
        src_port: from.port(),
        dst_port: to.port(),
        control,
        seq_number: TcpSeqNumber(seq),
        ack_number: ack.map(TcpSeqNumber),
        window_len: 64000,
        window_scale: None,
        max_seg_size: (control == TcpControl::Syn).then_some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

impl Raw {
    pub(crate) fn new(end: End, mac: [u8; 6]) -> Self {
        Self { comes: end.comes, goes: end.goes, mac }
    }

    fn send(&self, to: [u8; 6], protocol: EthernetProtocol, length: usize, fill: impl FnOnce(&mut [u8])) {
        let mut bytes = vec![0; 14 + length];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_src_addr(EthernetAddress(self.mac));
        frame.set_dst_addr(EthernetAddress(to));
        frame.set_ethertype(protocol);
        fill(frame.payload_mut());
        self.goes.lock().unwrap().push_back(bytes);
    }

    pub(crate) fn ip(&self, mac: [u8; 6], repr: IpRepr, fill: impl FnOnce(&mut [u8])) {
        let kind =
            if matches!(repr, IpRepr::Ipv4(_)) { EthernetProtocol::Ipv4 } else { EthernetProtocol::Ipv6 };
        self.send(mac, kind, repr.buffer_len(), |bytes| {
            repr.emit(&mut *bytes, &ChecksumCapabilities::default());
            fill(&mut bytes[repr.header_len()..]);
        });
    }

    pub(crate) fn tcp(&self, mac: [u8; 6], to: IpAddr, from: IpAddr, repr: &TcpRepr<'_>) {
        let ip = IpRepr::new(from.into(), to.into(), IpProtocol::Tcp, repr.buffer_len(), 64);
        self.ip(mac, ip, |bytes| {
            repr.emit(
                &mut TcpPacket::new_unchecked(bytes),
                &from.into(),
                &to.into(),
                &ChecksumCapabilities::default(),
            );
        });
    }

    pub(crate) fn udp(&self, mac: [u8; 6], to: SocketAddr, from: SocketAddr, payload: &[u8]) {
        let udp = UdpRepr { src_port: from.port(), dst_port: to.port() };
        let length = udp.header_len() + payload.len();
        let ip = IpRepr::new(from.ip().into(), to.ip().into(), IpProtocol::Udp, length, 64);
        self.ip(mac, ip, |bytes| {
            udp.emit(
                &mut UdpPacket::new_unchecked(bytes),
                &from.ip().into(),
                &to.ip().into(),
                payload.len(),
                |place| place.copy_from_slice(payload),
                &ChecksumCapabilities::default(),
            );
        });
    }

    pub(crate) fn icmp4(&self, mac: [u8; 6], to: Ipv4Addr, from: Ipv4Addr, repr: &Icmpv4Repr<'_>) {
        let ip = IpRepr::new(from.into(), to.into(), IpProtocol::Icmp, repr.buffer_len(), 64);
        self.ip(mac, ip, |bytes| {
            repr.emit(&mut Icmpv4Packet::new_unchecked(bytes), &ChecksumCapabilities::default());
        });
    }

    pub(crate) fn icmp6(&self, mac: [u8; 6], to: Ipv6Addr, from: Ipv6Addr, repr: &Icmpv6Repr<'_>) {
        let ip = IpRepr::new(from.into(), to.into(), IpProtocol::Icmpv6, repr.buffer_len(), 255);
        self.ip(mac, ip, |bytes| {
            let caps = ChecksumCapabilities::default();
            repr.emit(&from, &to, &mut Icmpv6Packet::new_unchecked(bytes), &caps);
        });
    }

    /// All frames that came, and that `read` makes something of.
    pub(crate) fn take<R>(&self, mut read: impl FnMut(EthernetProtocol, &[u8]) -> Option<R>) -> Vec<R> {
        let frames = std::mem::take(&mut *self.comes.lock().unwrap());
        let read = |bytes: &Vec<u8>| {
            let frame = EthernetFrame::new_checked(&bytes[..]).unwrap();
            read(frame.ethertype(), frame.payload())
        };
        frames.iter().filter_map(read).collect()
    }

    /// Segments of TCP over IPv4 that came.
    pub(crate) fn take_tcp(&self) -> Vec<(TcpControl, i32, Option<i32>, usize)> {
        self.take(|protocol, bytes| {
            let ip = (protocol == EthernetProtocol::Ipv4).then(|| Ipv4Packet::new_checked(bytes).unwrap())?;
            let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
            let tcp =
                TcpPacket::new_checked(ip.payload()).ok().filter(|_| ip.next_header() == IpProtocol::Tcp)?;
            let tcp = TcpRepr::parse(&tcp, &from, &to, &ChecksumCapabilities::default()).unwrap();
            Some((tcp.control, tcp.seq_number.0, tcp.ack_number.map(|ack| ack.0), tcp.payload.len()))
        })
    }
}
