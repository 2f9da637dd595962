//! wasi:sockets: TCP, at loopback.

use futures::future::join_all;
use wasip3::{
    sockets::types::{
        ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, TcpSocket,
    },
    wit_stream,
};

use crate::refused;

pub(crate) fn at(port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (127, 0, 0, 1) })
}

pub(crate) fn port(address: IpSocketAddress) -> u16 {
    match address {
        IpSocketAddress::Ipv4(address) => address.port,
        IpSocketAddress::Ipv6(address) => address.port,
    }
}

pub(crate) fn at_six(address: (u16, u16, u16, u16, u16, u16, u16, u16)) -> IpSocketAddress {
    IpSocketAddress::Ipv6(Ipv6SocketAddress { port: 0, flow_info: 0, address, scope_id: 0 })
}

fn socket() -> TcpSocket {
    TcpSocket::create(IpAddressFamily::Ipv4).expect("a socket")
}

pub(crate) async fn bind() {
    refused!(socket().bind(at_six((0, 0, 0, 0, 0, 0, 0, 1))), InvalidArgument);
    for first in [224, 239, 255] {
        let address = if first == 255 { (255, 255, 255, 255) } else { (first, 0, 0, 1) };
        refused!(
            socket().bind(IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 7300, address })),
            InvalidArgument
        );
    }
    let six = TcpSocket::create(IpAddressFamily::Ipv6).expect("a socket");
    refused!(six.bind(at_six((0, 0, 0, 0, 0, 0xffff, 0x7f00, 1))), InvalidArgument);
    refused!(six.bind(at(7300)), InvalidArgument);
    let one = socket();
    one.bind(at(7300)).expect("bound");
    assert_eq!(port(one.get_local_address().expect("an address")), 7300);
    refused!(one.bind(at(7301)), InvalidState);
    let _clients = one.listen().expect("listening");
    let two = socket();
    // Some hosts say it when it is bound, some when it is to listen.
    refused!(two.bind(at(7300)).and_then(|()| two.listen().map(drop)), AddressInUse);
}

pub(crate) async fn states() {
    let socket = socket();
    assert!(matches!(socket.get_address_family(), IpAddressFamily::Ipv4));
    assert!(!socket.get_is_listening());
    refused!(socket.get_local_address(), InvalidState);
    refused!(socket.get_remote_address(), InvalidState);
    let (bytes, ended) = socket.receive();
    assert!(bytes.collect().await.is_empty());
    refused!(ended.await, InvalidState);
    let (writer, reader) = wit_stream::new();
    let sent = socket.send(reader);
    drop(writer);
    refused!(sent.await, InvalidState);
    socket.bind(at(7301)).expect("bound");
    let _clients = socket.listen().expect("listening");
    assert!(socket.get_is_listening());
    refused!(socket.listen(), InvalidState);
    refused!(socket.connect(at(7301)).await, InvalidState);
    refused!(socket.get_remote_address(), InvalidState);
}

/// There, back, and an end for each way.
pub(crate) async fn echo() {
    let listener = socket();
    listener.bind(at(7302)).expect("bound");
    let mut clients = listener.listen().expect("listening");
    let client = socket();
    let (accepted, connected) = futures::join!(clients.next(), client.connect(at(7302)));
    connected.expect("connected");
    let server = accepted.expect("a client");
    assert_eq!(port(client.get_remote_address().expect("an address")), 7302);
    assert_eq!(
        port(server.get_remote_address().expect("an address")),
        port(client.get_local_address().expect("an address"))
    );
    refused!(client.connect(at(7302)).await, InvalidState);
    let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 253) as u8).collect();
    let (back, back_ended) = client.receive();
    let (mut writer, reader) = wit_stream::new();
    let upwards = client.send(reader);
    let serve = async {
        let (bytes, ended) = server.receive();
        // What comes goes straight back, without a copy of ours.
        server.send(bytes).await.expect("sent back");
        ended.await.expect("an end");
    };
    let write = async {
        assert!(writer.write_all(sent.clone()).await.is_empty());
        drop(writer);
        upwards.await.expect("sent");
    };
    let (got, (), ()) = futures::join!(back.collect(), serve, write);
    assert!(got == sent, "{} of {} bytes came back", got.len(), sent.len());
    back_ended.await.expect("an end");
    // Each way has one stream.
    let (bytes, ended) = client.receive();
    assert!(bytes.collect().await.is_empty());
    refused!(ended.await, InvalidState);
}

pub(crate) async fn many() {
    let listener = socket();
    listener.bind(at(7303)).expect("bound");
    let mut clients = listener.listen().expect("listening");
    let serve = async {
        for _ in 0..20 {
            let server = clients.next().await.expect("a client");
            let (bytes, ended) = server.receive();
            server.send(bytes).await.expect("sent back");
            ended.await.expect("an end");
        }
    };
    let ask = |n: u8| async move {
        let client = socket();
        client.connect(at(7303)).await.expect("connected");
        let (mut writer, reader) = wit_stream::new();
        let sent = client.send(reader);
        assert!(writer.write_all(vec![n; 100]).await.is_empty());
        drop(writer);
        sent.await.expect("sent");
        let (bytes, ended) = client.receive();
        assert_eq!(bytes.collect().await, [n; 100]);
        ended.await.expect("an end");
    };
    futures::join!(serve, join_all((0..20).map(ask)));
}

pub(crate) async fn refused() {
    refused!(socket().connect(at(7309)).await, ConnectionRefused);
    refused!(socket().connect(at(0)).await, InvalidArgument);
    refused!(socket().connect(at_six((0, 0, 0, 0, 0, 0, 0, 1))).await, InvalidArgument);
    let any = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 7309, address: (0, 0, 0, 0) });
    refused!(socket().connect(any).await, InvalidArgument);
}

/// What is set is what there is, but for sizes, which a host may round.
pub(crate) async fn options() {
    let socket = socket();
    socket.set_keep_alive_enabled(true).expect("set");
    assert!(socket.get_keep_alive_enabled().expect("it"));
    refused!(socket.set_keep_alive_idle_time(0), InvalidArgument);
    refused!(socket.set_keep_alive_interval(0), InvalidArgument);
    refused!(socket.set_keep_alive_count(0), InvalidArgument);
    socket.set_keep_alive_count(5).expect("set");
    assert_eq!(socket.get_keep_alive_count().expect("it"), 5);
    socket.set_keep_alive_idle_time(30_000_000_000).expect("set");
    assert_eq!(socket.get_keep_alive_idle_time().expect("it"), 30_000_000_000);
    refused!(socket.set_hop_limit(0), InvalidArgument);
    socket.set_hop_limit(42).expect("set");
    assert_eq!(socket.get_hop_limit().expect("it"), 42);
    refused!(socket.set_receive_buffer_size(0), InvalidArgument);
    refused!(socket.set_send_buffer_size(0), InvalidArgument);
    refused!(socket.set_listen_backlog_size(0), InvalidArgument);
    for size in [1, 10_000, u64::MAX] {
        socket.set_receive_buffer_size(size).expect("set, or as near as can be");
        assert!(socket.get_receive_buffer_size().expect("it") > 0);
        socket.set_send_buffer_size(size).expect("set, or as near as can be");
        assert!(socket.get_send_buffer_size().expect("it") > 0);
    }
}

/// Without an address a listener gets one, and who is accepted is as the listener is.
pub(crate) async fn listen() {
    let anywhere = socket();
    refused!(anywhere.get_local_address(), InvalidState);
    let _clients = anywhere.listen().expect("listening");
    assert_ne!(port(anywhere.get_local_address().expect("an address")), 0);
    let listener = socket();
    listener.bind(at(0)).expect("bound");
    let address = listener.get_local_address().expect("an address");
    assert_ne!(port(address), 0);
    listener.set_hop_limit(33).expect("set");
    listener.set_keep_alive_enabled(true).expect("set");
    let mut clients = listener.listen().expect("listening");
    let client = socket();
    client.bind(at(0)).expect("bound");
    let (accepted, connected) = futures::join!(clients.next(), client.connect(address));
    connected.expect("connected");
    let accepted = accepted.expect("a client");
    assert_eq!(accepted.get_hop_limit().expect("it"), 33);
    assert!(accepted.get_keep_alive_enabled().expect("it"));
    assert!(!accepted.get_is_listening());
    // One that is under way is not begun again.
    let twice = socket();
    let (first, second) = futures::join!(twice.connect(address), twice.connect(address));
    first.expect("connected");
    refused!(second, InvalidState);
}

/// Either half may end before the other.
pub(crate) async fn half() {
    let listener = socket();
    listener.bind(at(0)).expect("bound");
    let address = listener.get_local_address().expect("an address");
    let mut clients = listener.listen().expect("listening");
    let client = socket();
    let (accepted, connected) = futures::join!(clients.next(), client.connect(address));
    connected.expect("connected");
    let server = accepted.expect("a client");
    // The server says all it has to say, and hears the rest all the same.
    let (mut writer, reader) = wit_stream::new();
    let sent = server.send(reader);
    assert!(writer.write_all(b"farewell".to_vec()).await.is_empty());
    drop(writer);
    sent.await.expect("sent");
    let (bytes, ended) = client.receive();
    assert_eq!(bytes.collect().await, b"farewell");
    ended.await.expect("an end");
    let (mut writer, reader) = wit_stream::new();
    let sent = client.send(reader);
    assert!(writer.write_all(b"and you".to_vec()).await.is_empty());
    drop(writer);
    let (bytes, ended) = server.receive();
    let (second, second_ended) = server.receive();
    assert!(second.collect().await.is_empty());
    refused!(second_ended.await, InvalidState);
    assert_eq!(bytes.collect().await, b"and you");
    ended.await.expect("an end");
    sent.await.expect("sent");
}

/// The same with the other family.
pub(crate) async fn six() {
    let local = at_six((0, 0, 0, 0, 0, 0, 0, 1));
    let listener = TcpSocket::create(IpAddressFamily::Ipv6).expect("a socket");
    refused!(listener.bind(at_six((0xff02, 0, 0, 0, 0, 0, 0, 1))), InvalidArgument);
    listener.bind(local).expect("bound");
    let address = listener.get_local_address().expect("an address");
    assert!(
        matches!(address, IpSocketAddress::Ipv6(it) if it.address == (0, 0, 0, 0, 0, 0, 0, 1) && it.port != 0)
    );
    let mut clients = listener.listen().expect("listening");
    let client = TcpSocket::create(IpAddressFamily::Ipv6).expect("a socket");
    let (accepted, connected) = futures::join!(clients.next(), client.connect(address));
    connected.expect("connected");
    let server = accepted.expect("a client");
    assert!(matches!(server.get_address_family(), IpAddressFamily::Ipv6));
    let unbound = || TcpSocket::create(IpAddressFamily::Ipv6).expect("a socket");
    refused!(unbound().connect(at_six((0, 0, 0, 0, 0, 0xffff, 0x7f00, 1))).await, InvalidArgument);
    refused!(unbound().connect(at_six((0, 0, 0, 0, 0, 0, 0, 0))).await, InvalidArgument);
    refused!(unbound().connect(at_six((0xff02, 0, 0, 0, 0, 0, 0, 1))).await, InvalidArgument);
}
