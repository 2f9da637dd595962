//! wasi:sockets: TCP, at loopback.

use wasip2::{
    io::streams::{InputStream, OutputStream, StreamError},
    sockets::{
        instance_network::instance_network,
        network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress},
        tcp::{ShutdownType, TcpSocket},
        tcp_create_socket::create_tcp_socket,
    },
};

use crate::{finish, refused};

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
    create_tcp_socket(IpAddressFamily::Ipv4).expect("a socket")
}

fn bound(socket: &TcpSocket, address: IpSocketAddress) -> Result<(), ErrorCode> {
    socket.start_bind(&instance_network(), address)?;
    finish(&socket.subscribe(), ErrorCode::WouldBlock, || socket.finish_bind())
}

fn listening(socket: &TcpSocket) -> Result<(), ErrorCode> {
    socket.start_listen()?;
    finish(&socket.subscribe(), ErrorCode::WouldBlock, || socket.finish_listen())
}

fn connected(socket: &TcpSocket, address: IpSocketAddress) -> Result<(InputStream, OutputStream), ErrorCode> {
    socket.start_connect(&instance_network(), address)?;
    finish(&socket.subscribe(), ErrorCode::WouldBlock, || socket.finish_connect())
}

fn listener(port: u16) -> TcpSocket {
    let listener = socket();
    bound(&listener, at(port)).expect("bound");
    listening(&listener).expect("listening");
    listener
}

fn accepted(listener: &TcpSocket) -> (TcpSocket, InputStream, OutputStream) {
    finish(&listener.subscribe(), ErrorCode::WouldBlock, || listener.accept()).expect("a client")
}

fn to_end(input: &InputStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match input.blocking_read(1 << 16) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => return bytes,
            Err(StreamError::LastOperationFailed(error)) => panic!("{}", error.to_debug_string()),
        }
    }
}

pub(crate) fn bind() {
    refused!(bound(&socket(), at_six((0, 0, 0, 0, 0, 0, 0, 1))), InvalidArgument);
    for address in [(224, 0, 0, 1), (239, 0, 0, 1), (255, 255, 255, 255)] {
        let address = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 7200, address });
        refused!(bound(&socket(), address), InvalidArgument);
    }
    let six = create_tcp_socket(IpAddressFamily::Ipv6).expect("a socket");
    refused!(bound(&six, at_six((0, 0, 0, 0, 0, 0xffff, 0x7f00, 1))), InvalidArgument);
    let one = socket();
    refused!(one.finish_bind(), NotInProgress);
    bound(&one, at(7200)).expect("bound");
    assert_eq!(port(one.local_address().expect("an address")), 7200);
    refused!(bound(&one, at(7201)), InvalidState);
    listening(&one).expect("listening");
    let two = socket();
    // Some hosts say it when it is bound, some when it is to listen.
    refused!(bound(&two, at(7200)).and_then(|()| listening(&two)), AddressInUse);
}

pub(crate) fn states() {
    let socket = socket();
    assert_eq!(socket.address_family(), IpAddressFamily::Ipv4);
    assert!(!socket.is_listening());
    refused!(socket.local_address(), InvalidState);
    refused!(socket.remote_address(), InvalidState);
    refused!(socket.accept(), InvalidState);
    refused!(socket.shutdown(ShutdownType::Both), InvalidState);
    refused!(socket.start_listen(), InvalidState);
    refused!(socket.finish_listen(), NotInProgress);
    refused!(socket.finish_connect(), NotInProgress);
    socket.start_bind(&instance_network(), at(7201)).expect("begun");
    refused!(socket.start_listen(), ConcurrencyConflict | InvalidState);
    finish(&socket.subscribe(), ErrorCode::WouldBlock, || socket.finish_bind()).expect("bound");
    refused!(socket.finish_bind(), NotInProgress);
    listening(&socket).expect("listening");
    assert!(socket.is_listening());
    refused!(socket.accept(), WouldBlock);
    refused!(socket.start_listen(), InvalidState);
    refused!(socket.start_connect(&instance_network(), at(7201)), InvalidState);
    refused!(socket.remote_address(), InvalidState);
    refused!(socket.shutdown(ShutdownType::Both), InvalidState);
}

/// There, back, and an end for each way.
pub(crate) fn echo() {
    let listener = listener(7202);
    let client = socket();
    let (from_server, to_server) = connected(&client, at(7202)).expect("connected");
    let (server, from_client, to_client) = accepted(&listener);
    assert_eq!(port(client.remote_address().expect("an address")), 7202);
    let address = client.local_address().expect("an address");
    assert_eq!(port(server.remote_address().expect("an address")), port(address));
    refused!(connected(&client, at(7202)), InvalidState);
    assert_eq!(from_client.read(10).expect("nothing yet"), b"");
    to_server.blocking_write_and_flush(b"ping").expect("written");
    from_client.subscribe().block();
    assert_eq!(from_client.read(10).expect("bytes"), b"ping");
    // More than fits on the way: what the one side writes the other reads in turns.
    let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 253) as u8).collect();
    let (mut at, mut got) = (0, Vec::new());
    while got.len() < sent.len() {
        let room = to_client.check_write().expect("room") as usize;
        let now = room.min(sent.len() - at).min(4096);
        if now > 0 {
            to_client.write(&sent[at..at + now]).expect("written");
            to_client.flush().expect("on its way");
            at += now;
        }
        if now == 0 || at == sent.len() {
            from_server.subscribe().block();
        }
        got.extend(from_server.read(1 << 16).expect("bytes"));
    }
    assert!(got == sent, "300,000 bytes differ");
    client.shutdown(ShutdownType::Send).expect("no more");
    assert!(to_end(&from_client).is_empty());
    // The other way is open still.
    to_client.blocking_write_and_flush(b"farewell").expect("written");
    drop((from_client, to_client));
    drop(server);
    assert_eq!(to_end(&from_server), b"farewell");
}

pub(crate) fn many() {
    let listener = listener(7203);
    let mut pairs = Vec::new();
    for n in 0..20u8 {
        let client = socket();
        let (input, output) = connected(&client, at(7203)).expect("connected");
        output.blocking_write_and_flush(&[n; 100]).expect("written");
        client.shutdown(ShutdownType::Send).expect("no more");
        drop(output);
        pairs.push((input, client));
    }
    for _ in 0..20 {
        let (server, input, output) = accepted(&listener);
        output.blocking_write_and_flush(&to_end(&input)).expect("written back");
        drop((input, output));
        drop(server);
    }
    for (n, (input, client)) in (0u8..).zip(pairs) {
        assert_eq!(to_end(&input), [n; 100]);
        drop(input);
        drop(client);
    }
}

pub(crate) fn refused() {
    refused!(connected(&socket(), at(7209)), ConnectionRefused);
    refused!(connected(&socket(), at(0)), InvalidArgument);
    refused!(connected(&socket(), at_six((0, 0, 0, 0, 0, 0, 0, 1))), InvalidArgument);
    let any = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 7209, address: (0, 0, 0, 0) });
    refused!(connected(&socket(), any), InvalidArgument);
}

/// What is set is what there is, but for sizes, which a host may round.
pub(crate) fn options() {
    let socket = socket();
    socket.set_keep_alive_enabled(true).expect("set");
    assert!(socket.keep_alive_enabled().expect("it"));
    refused!(socket.set_keep_alive_idle_time(0), InvalidArgument);
    refused!(socket.set_keep_alive_interval(0), InvalidArgument);
    refused!(socket.set_keep_alive_count(0), InvalidArgument);
    socket.set_keep_alive_count(5).expect("set");
    assert_eq!(socket.keep_alive_count().expect("it"), 5);
    socket.set_keep_alive_idle_time(30_000_000_000).expect("set");
    assert_eq!(socket.keep_alive_idle_time().expect("it"), 30_000_000_000);
    refused!(socket.set_hop_limit(0), InvalidArgument);
    socket.set_hop_limit(42).expect("set");
    assert_eq!(socket.hop_limit().expect("it"), 42);
    refused!(socket.set_receive_buffer_size(0), InvalidArgument);
    refused!(socket.set_send_buffer_size(0), InvalidArgument);
    refused!(socket.set_listen_backlog_size(0), InvalidArgument);
    for size in [1, 10_000, u64::MAX] {
        socket.set_receive_buffer_size(size).expect("set, or as near as can be");
        assert!(socket.receive_buffer_size().expect("it") > 0);
        socket.set_send_buffer_size(size).expect("set, or as near as can be");
        assert!(socket.send_buffer_size().expect("it") > 0);
    }
}
