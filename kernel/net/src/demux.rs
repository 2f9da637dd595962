//! A look at a frame, to find whom it concerns before smoltcp reads it.
//!
//! What is found is a claim: nothing is verified but what is needed not to read beyond the end. smoltcp verifies the
//! frame afterwards, and throws away what is wrong; so all that a liar gains is to name the socket that sees his
//! frame thrown away.

use core::net::{IpAddr, SocketAddr};

use smoltcp::{
    phy::Medium,
    wire::{
        EthernetFrame, EthernetProtocol, IpProtocol, IpVersion, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Tcp {
        to: SocketAddr,
        from: SocketAddr,
        flags: Flags,
    },
    Udp {
        to: SocketAddr,
        from: SocketAddr,
    },
    /// What interfaces answer by themselves: ARP, ICMP, and what nobody listens to.
    Other,
    /// A piece of a packet, or nonsense.
    Nothing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// The first of a connection: SYN, and not ACK.
    pub(crate) opens: bool,
    pub(crate) resets: bool,
}

pub(crate) fn look(frame: &[u8], medium: Medium) -> Packet {
    packet(frame, medium).unwrap_or(Packet::Nothing)
}

fn packet(frame: &[u8], medium: Medium) -> Option<Packet> {
    let (version, packet) = match medium {
        Medium::Ethernet => {
            let ethernet = EthernetFrame::new_checked(frame).ok()?;
            let version = match ethernet.ethertype() {
                EthernetProtocol::Ipv4 => IpVersion::Ipv4,
                EthernetProtocol::Ipv6 => IpVersion::Ipv6,
                EthernetProtocol::Arp => return Some(Packet::Other),
                EthernetProtocol::Unknown(_) => return None,
            };
            (version, ethernet.payload())
        }
        Medium::Ip => (IpVersion::of_packet(frame).ok()?, frame),
    };
    let (to, from, protocol, payload): (IpAddr, IpAddr, _, _) = match version {
        IpVersion::Ipv4 => {
            let ip = Ipv4Packet::new_checked(packet).ok()?;
            // Pieces are not put together, and the first one must not be taken for the whole.
            if ip.more_frags() || ip.frag_offset() != 0 {
                return None;
            }
            (ip.dst_addr().into(), ip.src_addr().into(), ip.next_header(), ip.payload())
        }
        IpVersion::Ipv6 => {
            let ip = Ipv6Packet::new_checked(packet).ok()?;
            let (protocol, payload) = match ip.next_header() {
                // The one header that smoltcp reads over.
                IpProtocol::HopByHop => {
                    let [next, words, ..] = *ip.payload() else { return None };
                    (next.into(), ip.payload().get((usize::from(words) + 1) * 8..)?)
                }
                protocol => (protocol, ip.payload()),
            };
            (ip.dst_addr().into(), ip.src_addr().into(), protocol, payload)
        }
    };
    Some(match protocol {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(payload).ok()?;
            Packet::Tcp {
                to: SocketAddr::new(to, tcp.dst_port()),
                from: SocketAddr::new(from, tcp.src_port()),
                flags: Flags { opens: tcp.syn() && !tcp.ack() && !tcp.rst(), resets: tcp.rst() },
            }
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(payload).ok()?;
            Packet::Udp {
                to: SocketAddr::new(to, udp.dst_port()),
                from: SocketAddr::new(from, udp.src_port()),
            }
        }
        _ => Packet::Other,
    })
}
