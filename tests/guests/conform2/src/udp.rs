//! wasi:sockets: UDP, at loopback.

use wasip2::sockets::{
    instance_network::instance_network,
    network::{ErrorCode, IpAddressFamily, IpSocketAddress},
    udp::{IncomingDatagram, IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket},
    udp_create_socket::create_udp_socket,
};

use crate::{
    finish, refused,
    tcp::{at, at_six, port},
};

fn socket() -> UdpSocket {
    create_udp_socket(IpAddressFamily::Ipv4).expect("a socket")
}

fn bound(socket: &UdpSocket, address: IpSocketAddress) -> Result<(), ErrorCode> {
    socket.start_bind(&instance_network(), address)?;
    finish(&socket.subscribe(), ErrorCode::WouldBlock, || socket.finish_bind())
}

fn send(stream: &OutgoingDatagramStream, data: &[u8], to: Option<IpSocketAddress>) -> Result<u64, ErrorCode> {
    while stream.check_send()? == 0 {
        stream.subscribe().block();
    }
    stream.send(&[OutgoingDatagram { data: data.to_vec(), remote_address: to }])
}

fn receive(stream: &IncomingDatagramStream) -> IncomingDatagram {
    loop {
        let mut datagrams = stream.receive(1).expect("received");
        assert!(datagrams.len() <= 1);
        match datagrams.pop() {
            Some(datagram) => return datagram,
            None => stream.subscribe().block(),
        }
    }
}

pub(crate) fn echo() {
    let (one, two) = (socket(), socket());
    bound(&one, at(7204)).expect("bound");
    bound(&two, at(7205)).expect("bound");
    let (from_two, to_two) = one.stream(None).expect("streams");
    let (from_one, to_one) = two.stream(None).expect("streams");
    assert!(from_one.receive(10).expect("nothing yet").is_empty());
    assert_eq!(send(&to_two, b"ping", Some(at(7205))).expect("sent"), 1);
    let got = receive(&from_one);
    assert_eq!((got.data.as_slice(), port(got.remote_address)), (b"ping".as_slice(), 7204));
    // Nothing is a datagram too.
    for data in [vec![], vec![9; 1000]] {
        assert_eq!(send(&to_one, &data, Some(at(7204))).expect("sent"), 1);
        assert_eq!(receive(&from_two).data, data);
    }
    refused!(send(&to_two, &[0; 70_000], Some(at(7205))), DatagramTooLarge);
}

pub(crate) fn connect() {
    let (one, two) = (socket(), socket());
    bound(&one, at(7206)).expect("bound");
    bound(&two, at(7207)).expect("bound");
    let (from_one, _to_one) = two.stream(None).expect("streams");
    let streams = one.stream(Some(at(7207))).expect("connected");
    assert_eq!(port(one.remote_address().expect("an address")), 7207);
    send(&streams.1, b"to the one", None).expect("sent");
    assert_eq!(receive(&from_one).data, b"to the one");
    send(&streams.1, b"to the same", Some(at(7207))).expect("sent");
    assert_eq!(receive(&from_one).data, b"to the same");
    refused!(send(&streams.1, b"to another", Some(at(7208))), InvalidArgument);
    drop(streams);
    let streams = one.stream(None).expect("disconnected");
    refused!(one.remote_address(), InvalidState);
    refused!(send(&streams.1, b"to nobody", None), InvalidArgument);
}

pub(crate) fn states() {
    let socket = socket();
    assert_eq!(socket.address_family(), IpAddressFamily::Ipv4);
    refused!(socket.local_address(), InvalidState);
    refused!(socket.remote_address(), InvalidState);
    refused!(socket.stream(None), InvalidState);
    refused!(socket.finish_bind(), NotInProgress);
    refused!(bound(&socket, at_six((0, 0, 0, 0, 0, 0, 0, 1))), InvalidArgument);
    bound(&socket, at(7208)).expect("bound");
    refused!(bound(&socket, at(7209)), InvalidState);
    refused!(socket.stream(Some(at(0))), InvalidArgument);
    refused!(socket.set_unicast_hop_limit(0), InvalidArgument);
    socket.set_unicast_hop_limit(9).expect("set");
    assert_eq!(socket.unicast_hop_limit().expect("it"), 9);
}
