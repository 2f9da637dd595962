//! wasi:sockets: UDP, at loopback.

use wasip3::sockets::types::{ErrorCode, IpAddressFamily, UdpSocket};

use crate::{
    refused,
    tcp::{at, at_six, port},
};

fn socket() -> UdpSocket {
    UdpSocket::create(IpAddressFamily::Ipv4).expect("a socket")
}

pub(crate) async fn echo() {
    let (one, two) = (socket(), socket());
    one.bind(at(7304)).expect("bound");
    two.bind(at(7305)).expect("bound");
    let (said, heard) = futures::join!(one.send(b"ping".to_vec(), Some(at(7305))), two.receive());
    said.expect("sent");
    let (bytes, from) = heard.expect("received");
    assert_eq!((bytes.as_slice(), port(from)), (b"ping".as_slice(), 7304));
    // Nothing is a datagram too, and one at a time they come.
    for bytes in [vec![], vec![9; 1000]] {
        two.send(bytes.clone(), Some(at(7304))).await.expect("sent");
        assert_eq!(one.receive().await.expect("received").0, bytes);
    }
    refused!(one.send(vec![0; 70_000], Some(at(7305))).await, DatagramTooLarge);
}

pub(crate) async fn connect() {
    let (one, two) = (socket(), socket());
    one.bind(at(7306)).expect("bound");
    two.bind(at(7307)).expect("bound");
    one.connect(at(7307)).expect("connected");
    assert_eq!(port(one.get_remote_address().expect("an address")), 7307);
    one.send(b"to the one".to_vec(), None).await.expect("sent");
    assert_eq!(two.receive().await.expect("received").0, b"to the one");
    one.disconnect().expect("disconnected");
    refused!(one.get_remote_address(), InvalidState);
    refused!(one.disconnect(), InvalidState);
    refused!(one.send(b"to nobody".to_vec(), None).await, InvalidArgument);
}

pub(crate) async fn states() {
    let socket = socket();
    refused!(socket.get_local_address(), InvalidState);
    refused!(socket.get_remote_address(), InvalidState);
    refused!(socket.receive().await, InvalidState);
    refused!(socket.bind(at_six((0, 0, 0, 0, 0, 0, 0, 1))), InvalidArgument);
    refused!(socket.connect(at(0)), InvalidArgument);
    refused!(socket.send(vec![1], Some(at(0))).await, InvalidArgument);
    socket.bind(at(7308)).expect("bound");
    refused!(socket.bind(at(7309)), InvalidState);
    refused!(socket.set_unicast_hop_limit(0), InvalidArgument);
    socket.set_unicast_hop_limit(9).expect("set");
    assert_eq!(socket.get_unicast_hop_limit().expect("it"), 9);
}

/// Whoever sends or connects without an address gets one.
pub(crate) async fn implicit() {
    let peer = socket();
    peer.bind(at(0)).expect("bound");
    let there = peer.get_local_address().expect("an address");
    refused!(socket().bind(there), AddressInUse);
    let sender = socket();
    sender.send(b"from somewhere".to_vec(), Some(there)).await.expect("sent");
    let from = port(sender.get_local_address().expect("an address"));
    let (bytes, address) = peer.receive().await.expect("received");
    assert_eq!((bytes.as_slice(), port(address)), (b"from somewhere".as_slice(), from));
    refused!(sender.get_remote_address(), InvalidState);
    let connected = socket();
    for _ in 0..2 {
        connected.connect(there).expect("connected");
    }
    assert_ne!(port(connected.get_local_address().expect("an address")), port(there));
    connected.disconnect().expect("disconnected");
    connected.connect(at(7309)).expect("connected to another");
    assert_eq!(port(connected.get_remote_address().expect("an address")), 7309);
    refused!(socket().send(vec![1], Some(at_six((0, 0, 0, 0, 0, 0, 0, 1)))).await, InvalidArgument);
    refused!(socket().send(vec![1], None).await, InvalidArgument);
}
