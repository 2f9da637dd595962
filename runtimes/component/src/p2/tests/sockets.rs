use lunette_hostcalls::{Errno, Listening, Net};
use wasmtime::component::Resource;
use wasmtime_wasi_io::{
    bindings::wasi::io::{
        poll::HostPollable,
        streams::{HostInputStream, HostOutputStream},
    },
    streams::StreamError,
};

use super::{io::again, *};
use crate::p2::{
    MAX_PIECE,
    bindings::wasi::sockets::{
        instance_network::Host as _,
        ip_name_lookup::{Host as _, HostResolveAddressStream as _},
        network::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress},
        tcp::{HostTcpSocket as Tcp, ShutdownType},
        tcp_create_socket::Host as _,
        udp::{
            HostIncomingDatagramStream as In, HostOutgoingDatagramStream as Out, HostUdpSocket as Udp,
            OutgoingDatagram,
        },
        udp_create_socket::Host as _,
    },
    sockets::{Fault, tcp::TcpSocket, udp::UdpSocket},
};

const V4: IpAddressFamily = IpAddressFamily::Ipv4;
const V6: IpAddressFamily = IpAddressFamily::Ipv6;

fn grants(listen: &[&str], connect: &[&str]) -> Grants {
    Grants {
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        connect: connect.iter().map(|text| text.parse().unwrap()).collect(),
        resolve: Vec::new(),
    }
}

fn at(text: &str) -> IpSocketAddress {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

fn text(address: IpSocketAddress) -> String {
    std::net::SocketAddr::from(address).to_string()
}

#[track_caller]
fn code<T>(answer: Result<T, Fault>) -> ErrorCode {
    match answer.err().expect("an error") {
        Fault::Code(code) => code,
        Fault::Trap(error) => panic!("a trap: {error}"),
    }
}

#[track_caller]
fn trapped<T>(answer: Result<T, Fault>) {
    assert!(matches!(answer, Err(Fault::Trap(_))));
}

fn tcp(state: &mut State) -> Resource<TcpSocket> {
    state.create_tcp_socket(V4).unwrap()
}

fn bind(state: &mut State, socket: &Resource<TcpSocket>, address: &str) -> Result<(), Fault> {
    let network = state.instance_network().unwrap();
    Tcp::start_bind(state, again(socket), network, at(address))?;
    Tcp::finish_bind(state, again(socket))
}

fn listen(state: &mut State, address: &str) -> Result<Resource<TcpSocket>, Fault> {
    let socket = tcp(state);
    bind(state, &socket, address)?;
    state.start_listen(again(&socket))?;
    state.finish_listen(again(&socket))?;
    Ok(socket)
}

fn start_connect(state: &mut State, socket: &Resource<TcpSocket>, to: &str) -> Result<(), Fault> {
    let network = state.instance_network().unwrap();
    state.start_connect(again(socket), network, at(to))
}

/// Until the socket is ready.
fn wait(bench: &Bench, state: &mut State, socket: &Resource<TcpSocket>) {
    let pollable = Tcp::subscribe(state, again(socket)).unwrap();
    bench.run(HostPollable::block(&mut state.table, again(&pollable))).unwrap();
    HostPollable::drop(&mut state.table, Resource::new_own(pollable.rep())).unwrap();
}

#[test]
fn what_is_started_is_to_be_finished() {
    let bench = Bench::new();
    let mut state = bench.granted(grants(&["8080"], &["127.0.0.1:*"]));
    let socket = tcp(&mut state);
    let network = state.instance_network().unwrap();
    assert_eq!(code(Tcp::finish_bind(&mut state, again(&socket))), ErrorCode::NotInProgress);
    assert_eq!(code(state.finish_listen(again(&socket))), ErrorCode::NotInProgress);
    assert_eq!(code(state.finish_connect(again(&socket))), ErrorCode::NotInProgress);
    assert_eq!(code(state.start_listen(again(&socket))), ErrorCode::InvalidState);
    assert_eq!(code(Tcp::local_address(&mut state, again(&socket))), ErrorCode::InvalidState);
    Tcp::start_bind(&mut state, again(&socket), again(&network), at("127.0.0.1:8080")).unwrap();
    assert_eq!(code(Tcp::local_address(&mut state, again(&socket))), ErrorCode::InvalidState);
    assert_eq!(code(state.start_listen(again(&socket))), ErrorCode::ConcurrencyConflict);
    let twice = Tcp::start_bind(&mut state, again(&socket), again(&network), at("127.0.0.1:8080"));
    assert_eq!(code(twice), ErrorCode::ConcurrencyConflict);
    Tcp::finish_bind(&mut state, again(&socket)).unwrap();
    assert_eq!(text(Tcp::local_address(&mut state, again(&socket)).unwrap()), "127.0.0.1:8080");
    let twice = Tcp::start_bind(&mut state, again(&socket), again(&network), at("127.0.0.1:8080"));
    assert_eq!(code(twice), ErrorCode::InvalidState);
    assert_eq!(code(start_connect(&mut state, &socket, "127.0.0.1:8080")), ErrorCode::NotSupported);
    state.start_listen(again(&socket)).unwrap();
    assert!(!state.is_listening(again(&socket)).unwrap());
    assert_eq!(code(state.accept(again(&socket))), ErrorCode::InvalidState);
    state.finish_listen(again(&socket)).unwrap();
    assert!(state.is_listening(again(&socket)).unwrap());
    assert_eq!(code(state.accept(again(&socket))), ErrorCode::WouldBlock);
    assert_eq!(code(start_connect(&mut state, &socket, "127.0.0.1:8080")), ErrorCode::InvalidState);
    assert_eq!(code(state.shutdown(again(&socket), ShutdownType::Both)), ErrorCode::InvalidState);
    assert_eq!(code(Tcp::remote_address(&mut state, again(&socket))), ErrorCode::InvalidState);
    assert_eq!(code(listen(&mut state, "127.0.0.1:8080")), ErrorCode::AddressInUse);
    Tcp::drop(&mut state, Resource::new_own(socket.rep())).unwrap();
    listen(&mut state, "127.0.0.1:8080").ok().unwrap();
}

#[test]
fn a_connection_goes_both_ways_and_ends_half_by_half() {
    let bench = Bench::new();
    let mut state = bench.granted(grants(&["8080"], &["127.0.0.1:*"]));
    let listener = listen(&mut state, "127.0.0.1:8080").ok().unwrap();
    let client = tcp(&mut state);
    start_connect(&mut state, &client, "127.0.0.1:8080").unwrap();
    assert_eq!(code(start_connect(&mut state, &client, "127.0.0.1:8080")), ErrorCode::ConcurrencyConflict);
    wait(&bench, &mut state, &client);
    let (client_in, client_out) = state.finish_connect(again(&client)).unwrap();
    assert_eq!(code(state.finish_connect(again(&client))), ErrorCode::NotInProgress);
    wait(&bench, &mut state, &listener);
    let (server, server_in, server_out) = state.accept(again(&listener)).unwrap();
    let client_address = text(Tcp::local_address(&mut state, again(&client)).unwrap());
    assert_eq!(text(Tcp::remote_address(&mut state, again(&server)).unwrap()), client_address);
    assert_eq!(text(Tcp::remote_address(&mut state, again(&client)).unwrap()), "127.0.0.1:8080");

    // More than the network takes at once.
    let table = &mut state.table;
    let sent: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    let (mut written, mut received) = (0, Vec::new());
    while written < sent.len() || received.len() < sent.len() {
        let room = HostOutputStream::check_write(table, again(&client_out)).unwrap() as usize;
        assert!(room <= MAX_PIECE);
        let piece = &sent[written..][..room.min(sent.len() - written)];
        if !piece.is_empty() {
            HostOutputStream::write(table, again(&client_out), piece.to_vec()).unwrap();
            written += piece.len();
        }
        if received.len() < written {
            let read = HostInputStream::blocking_read(table, again(&server_in), u64::MAX);
            received.extend(bench.run(read).unwrap());
        } else {
            let pollable = HostOutputStream::subscribe(table, again(&client_out)).unwrap();
            bench.run(HostPollable::block(table, again(&pollable))).unwrap();
            HostPollable::drop(table, Resource::new_own(pollable.rep())).unwrap();
        }
    }
    assert!(received == sent);
    let unpermitted = HostOutputStream::write(table, again(&client_out), vec![0; MAX_PIECE + 1]);
    assert!(matches!(unpermitted, Err(StreamError::Trap(_))));

    state.shutdown(again(&client), ShutdownType::Send).unwrap();
    let table = &mut state.table;
    let closed = HostOutputStream::check_write(table, again(&client_out));
    assert!(matches!(closed, Err(StreamError::Closed)), "{closed:?}");
    let end = bench.run(HostInputStream::blocking_read(table, again(&server_in), 1));
    assert!(matches!(end, Err(StreamError::Closed)), "{end:?}");
    let answer = HostOutputStream::blocking_write_and_flush(table, again(&server_out), b"answer".to_vec());
    bench.run(answer).unwrap();
    let read = HostInputStream::blocking_read(table, again(&client_in), 100);
    assert_eq!(bench.run(read).unwrap(), b"answer");
    state.shutdown(again(&client), ShutdownType::Receive).unwrap();
    let closed = HostInputStream::read(&mut state.table, again(&client_in), 1);
    assert!(matches!(closed, Err(StreamError::Closed)), "{closed:?}");
    // Children first.
    assert!(Tcp::drop(&mut state, Resource::new_own(client.rep())).is_err());
}

#[test]
fn a_reset_is_told_once_and_is_the_end() {
    let bench = Bench::new();
    let mut state = bench.granted(grants(&["8080"], &["127.0.0.1:*"]));
    let listener = listen(&mut state, "127.0.0.1:8080").ok().unwrap();
    let client = tcp(&mut state);
    start_connect(&mut state, &client, "127.0.0.1:8080").unwrap();
    wait(&bench, &mut state, &client);
    let (input, output) = state.finish_connect(again(&client)).unwrap();
    wait(&bench, &mut state, &listener);
    bench.world.net.break_port(8080);
    let told = bench.run(HostInputStream::blocking_read(&mut state.table, again(&input), 1));
    let Err(StreamError::LastOperationFailed(error)) = told else { panic!("{told:?}") };
    assert_eq!(error.downcast_ref(), Some(&Errno::Connreset));
    let closed = HostInputStream::read(&mut state.table, again(&input), 1);
    assert!(matches!(closed, Err(StreamError::Closed)), "{closed:?}");
    let write = HostOutputStream::blocking_write_and_flush(&mut state.table, again(&output), b"x".to_vec());
    assert!(bench.run(write).is_err());
}

#[test]
fn what_can_not_be_connected_to_is_told() {
    let bench = Bench::new();
    bench.world.net.set_silent("10.0.0.9".parse().unwrap());
    let mut state = bench.granted(grants(&[], &["127.0.0.1:*"]));
    for (to, error) in [
        ("0.0.0.0:80", ErrorCode::InvalidArgument),
        ("127.0.0.1:0", ErrorCode::InvalidArgument),
        ("224.0.0.1:80", ErrorCode::InvalidArgument),
        ("255.255.255.255:80", ErrorCode::InvalidArgument),
        ("[::1]:80", ErrorCode::InvalidArgument),
        ("10.0.0.9:80", ErrorCode::AccessDenied),
    ] {
        let socket = tcp(&mut state);
        assert_eq!(code(start_connect(&mut state, &socket, to)), error, "{to}");
    }
    let six = state.create_tcp_socket(V6).unwrap();
    assert_eq!(code(start_connect(&mut state, &six, "[::ffff:127.0.0.1]:80")), ErrorCode::InvalidArgument);
    let [line] = bench.world.log.lines().try_into().unwrap();
    assert!(line.starts_with("app: connect 10.0.0.9:80 is not granted"), "{line}");
    let socket = tcp(&mut state);
    start_connect(&mut state, &socket, "127.0.0.1:9").unwrap();
    wait(&bench, &mut state, &socket);
    assert_eq!(code(state.finish_connect(again(&socket))), ErrorCode::ConnectionRefused);
    // It is good for nothing any more.
    assert_eq!(code(start_connect(&mut state, &socket, "127.0.0.1:9")), ErrorCode::InvalidState);
    assert_eq!(code(state.set_keep_alive_enabled(again(&socket), true)), ErrorCode::InvalidState);
}

#[test]
fn what_can_not_be_bound_is_told() {
    let bench = Bench::new();
    let mut state = bench.granted(grants(&["*"], &[]));
    for (address, error) in [
        ("224.0.0.1:80", ErrorCode::InvalidArgument),
        ("[::1]:80", ErrorCode::InvalidArgument),
        ("10.1.2.3:80", ErrorCode::AddressNotBindable),
    ] {
        let socket = tcp(&mut state);
        assert_eq!(code(bind(&mut state, &socket, address)), error, "{address}");
        // It can be tried again.
        bind(&mut state, &socket, "127.0.0.1:0").unwrap();
        assert!(!text(Tcp::local_address(&mut state, again(&socket)).unwrap()).ends_with(":0"));
    }
    let mut state = bench.granted(grants(&["80"], &[]));
    assert_eq!(code(listen(&mut state, "127.0.0.1:81")), ErrorCode::AccessDenied);
    // To connect from, any port will do.
    let socket = tcp(&mut state);
    bind(&mut state, &socket, "127.0.0.1:0").unwrap();
    assert_eq!(code(state.start_listen(again(&socket))), ErrorCode::AccessDenied);
}

#[test]
fn a_listener_that_the_guest_came_with_is_taken_over() {
    let bench = Bench::new();
    let mut ctx = bench.world.ctx(&["app"], &[]);
    let socket = bench.world.net.listen("[::]:80".parse().unwrap(), 8).unwrap();
    ctx.listeners.push(Listening { name: "80".into(), socket });
    let mut state = bench.state_of(ctx);
    let listener = listen(&mut state, "0.0.0.0:80").ok().unwrap();
    assert_eq!(text(Tcp::local_address(&mut state, again(&listener)).unwrap()), "0.0.0.0:80");
    assert_eq!(code(listen(&mut state, "0.0.0.0:80")), ErrorCode::AddressInUse);
    let _peer = bench.world.net.connect("127.0.0.1:80".parse().unwrap()).unwrap();
    wait(&bench, &mut state, &listener);
    state.accept(again(&listener)).ok().unwrap();
    Tcp::drop(&mut state, Resource::new_own(listener.rep())).unwrap();
    listen(&mut state, "0.0.0.0:80").ok().unwrap();
    // Nothing else was given.
    assert_eq!(code(listen(&mut state, "0.0.0.0:81")), ErrorCode::RemoteUnreachable);
    state.close();
    assert_eq!(bench.world.net.open(), 1, "the peer's end");
}

#[test]
fn options_are_kept_within_bounds() {
    let mut state = Bench::new().state();
    let socket = tcp(&mut state);
    assert_eq!(Tcp::address_family(&mut state, again(&socket)).unwrap(), V4);
    assert_eq!(code(state.set_listen_backlog_size(again(&socket), 0)), ErrorCode::InvalidArgument);
    state.set_listen_backlog_size(again(&socket), u64::MAX).unwrap();
    state.set_keep_alive_enabled(again(&socket), true).unwrap();
    assert!(state.keep_alive_enabled(again(&socket)).unwrap());
    for (set, told) in [(1, 1_000_000_000), (1_500_000_000, 2_000_000_000), (u64::MAX, 32_767_000_000_000)] {
        state.set_keep_alive_idle_time(again(&socket), set).unwrap();
        assert_eq!(state.keep_alive_idle_time(again(&socket)).unwrap(), told);
        state.set_keep_alive_interval(again(&socket), set).unwrap();
        assert_eq!(state.keep_alive_interval(again(&socket)).unwrap(), told);
    }
    state.set_keep_alive_count(again(&socket), u32::MAX).unwrap();
    assert_eq!(state.keep_alive_count(again(&socket)).unwrap(), 127);
    state.set_hop_limit(again(&socket), 42).unwrap();
    assert_eq!(state.hop_limit(again(&socket)).unwrap(), 42);
    Tcp::set_send_buffer_size(&mut state, again(&socket), u64::MAX).unwrap();
    assert_eq!(Tcp::send_buffer_size(&mut state, again(&socket)).unwrap(), 4 << 20);
    Tcp::set_receive_buffer_size(&mut state, again(&socket), 65_536).unwrap();
    assert_eq!(Tcp::receive_buffer_size(&mut state, again(&socket)).unwrap(), 65_536);
    for answer in [
        state.set_keep_alive_idle_time(again(&socket), 0),
        state.set_keep_alive_interval(again(&socket), 0),
        state.set_keep_alive_count(again(&socket), 0),
        state.set_hop_limit(again(&socket), 0),
        Tcp::set_send_buffer_size(&mut state, again(&socket), 0),
        Tcp::set_receive_buffer_size(&mut state, again(&socket), 0),
    ] {
        assert_eq!(code(answer), ErrorCode::InvalidArgument);
    }
}

fn udp(state: &mut State, address: &str) -> Result<Resource<UdpSocket>, Fault> {
    let socket = state.create_udp_socket(V4).unwrap();
    let network = state.instance_network().unwrap();
    Udp::start_bind(state, again(&socket), network, at(address))?;
    assert_eq!(code(Udp::local_address(state, again(&socket))), ErrorCode::InvalidState);
    Udp::finish_bind(state, again(&socket))?;
    Ok(socket)
}

fn datagram(data: &[u8], to: Option<&str>) -> OutgoingDatagram {
    OutgoingDatagram { data: data.to_vec(), remote_address: to.map(at) }
}

#[test]
fn datagrams_go_where_they_may() {
    let bench = Bench::new();
    let mut state = bench.granted(grants(&["5300/udp", "5301/udp"], &["127.0.0.1:*/udp"]));
    let unbound = state.create_udp_socket(V4).unwrap();
    assert_eq!(code(state.stream(again(&unbound), None)), ErrorCode::InvalidState);
    assert_eq!(code(Udp::finish_bind(&mut state, unbound)), ErrorCode::NotInProgress);
    assert_eq!(code(udp(&mut state, "127.0.0.1:5302")), ErrorCode::AccessDenied);
    let (one, other) =
        (udp(&mut state, "127.0.0.1:5300").ok().unwrap(), udp(&mut state, "127.0.0.1:5301").ok().unwrap());
    assert_eq!(text(Udp::local_address(&mut state, again(&one)).unwrap()), "127.0.0.1:5300");
    let (one_in, one_out) = state.stream(again(&one), None).ok().unwrap();
    let (_, other_out) = state.stream(again(&other), Some(at("127.0.0.1:5300"))).ok().unwrap();
    assert_eq!(text(Udp::remote_address(&mut state, again(&other)).unwrap()), "127.0.0.1:5300");
    assert_eq!(code(Udp::remote_address(&mut state, again(&one))), ErrorCode::InvalidState);
    trapped(state.stream(again(&one), None));

    assert_eq!(In::receive(&mut state, again(&one_in), 5).unwrap().len(), 0);
    trapped(Out::send(&mut state, again(&other_out), vec![datagram(b"not asked", None)]));
    assert_eq!(Out::check_send(&mut state, again(&other_out)).unwrap(), 16);
    trapped(Out::send(&mut state, again(&other_out), (0..17).map(|_| datagram(b"", None)).collect()));
    Out::check_send(&mut state, again(&other_out)).unwrap();
    let all = vec![
        datagram(b"first", None),
        datagram(b"", Some("127.0.0.1:5300")),
        datagram(b"x", Some("127.0.0.1:1")),
    ];
    assert_eq!(Out::send(&mut state, again(&other_out), all).unwrap(), 2);
    assert_eq!(Out::send(&mut state, again(&other_out), Vec::new()).unwrap(), 0);
    let pollable = In::subscribe(&mut state, again(&one_in)).unwrap();
    bench.run(HostPollable::block(&mut state.table, pollable)).unwrap();
    let mut received = In::receive(&mut state, again(&one_in), 1).unwrap();
    bench.world.clock.advance(1_000_000_000);
    received.extend(In::receive(&mut state, again(&one_in), u64::MAX).unwrap());
    let received: Vec<_> = received.into_iter().map(|one| (one.data, text(one.remote_address))).collect();
    let from = "127.0.0.1:5301".to_owned();
    assert_eq!(received, [(b"first".to_vec(), from.clone()), (Vec::new(), from)]);

    for (datagram, error) in [
        (datagram(b"x", None), ErrorCode::InvalidArgument),
        (datagram(b"x", Some("127.0.0.1:0")), ErrorCode::InvalidArgument),
        (datagram(b"x", Some("0.0.0.0:1")), ErrorCode::InvalidArgument),
        (datagram(b"x", Some("[::1]:1")), ErrorCode::InvalidArgument),
        (datagram(b"x", Some("10.9.9.9:53")), ErrorCode::AccessDenied),
        (datagram(&[0; 70_000], Some("127.0.0.1:5301")), ErrorCode::DatagramTooLarge),
    ] {
        Out::check_send(&mut state, again(&one_out)).unwrap();
        assert_eq!(code(Out::send(&mut state, again(&one_out), vec![datagram])), error);
    }
    assert!(bench.world.log.lines().iter().any(|line| line.contains("10.9.9.9:53/udp is not granted")));
}

#[test]
fn a_socket_with_a_peer_hears_nobody_else() {
    let bench = Bench::new();
    let mut state = bench.granted(grants(&["5300/udp"], &["127.0.0.1:*/udp"]));
    let socket = udp(&mut state, "127.0.0.1:5300").ok().unwrap();
    let (input, _output) = state.stream(again(&socket), Some(at("127.0.0.1:5301"))).ok().unwrap();
    let friend = bench.world.net.bind("127.0.0.1:5301".parse().unwrap()).unwrap();
    let stranger = bench.world.net.bind("127.0.0.1:5302".parse().unwrap()).unwrap();
    stranger.send_to(b"psst", "127.0.0.1:5300".parse().unwrap()).unwrap();
    friend.send_to(b"hello", "127.0.0.1:5300".parse().unwrap()).unwrap();
    bench.world.clock.advance(1_000_000_000);
    bench.world.net.poll();
    let received = In::receive(&mut state, input, 16).unwrap();
    assert_eq!(received.iter().map(|one| one.data.as_slice()).collect::<Vec<_>>(), [b"hello"]);
}

#[test]
fn names_become_addresses() {
    let bench = Bench::new();
    let answer = vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
    bench.world.net.name("db.internal", 1_000_000, Ok(answer));
    bench.world.net.name("slow.internal", 1_000_000, Err(Errno::Timedout));
    let mut state = bench.granted(grants(&[], &["*.internal:80"]));
    let network = state.instance_network().unwrap();
    let mut resolve = |name: &str| state.resolve_addresses(again(&network), name.into());
    assert_eq!(code(resolve("example.org")), ErrorCode::AccessDenied);
    assert_eq!(code(resolve("not a name")), ErrorCode::InvalidArgument);
    assert_eq!(code(resolve("")), ErrorCode::InvalidArgument);
    let (db, slow, none) = (
        resolve("db.internal").unwrap(),
        resolve("slow.internal").unwrap(),
        resolve("none.internal").unwrap(),
    );
    let literal = resolve("127.0.0.1").unwrap();
    assert_eq!(code(state.resolve_next_address(again(&db))), ErrorCode::WouldBlock);
    for stream in [&db, &slow, &none, &literal] {
        let pollable =
            crate::p2::bindings::wasi::sockets::ip_name_lookup::HostResolveAddressStream::subscribe(
                &mut state,
                again(stream),
            );
        bench.run(HostPollable::block(&mut state.table, pollable.unwrap())).unwrap();
    }
    let mut next = |stream| state.resolve_next_address(again(stream));
    assert!(matches!(next(&db).unwrap(), Some(IpAddress::Ipv4((10, 0, 0, 7)))));
    assert!(matches!(next(&db).unwrap(), Some(IpAddress::Ipv6((0xfd00, 0, 0, 0, 0, 0, 0, 7)))));
    assert!(next(&db).unwrap().is_none());
    assert!(next(&db).unwrap().is_none());
    assert_eq!(code(next(&slow)), ErrorCode::TemporaryResolverFailure);
    assert_eq!(code(next(&none)), ErrorCode::NameUnresolvable);
    assert!(matches!(next(&literal).unwrap(), Some(IpAddress::Ipv4((127, 0, 0, 1)))));
}

#[test]
fn more_sockets_than_there_may_be_are_an_error() {
    let mut state = Bench::new().state();
    let error = loop {
        if let Err(error) = state.create_tcp_socket(V4) {
            break error;
        }
    };
    assert_eq!(code::<()>(Err(error)), ErrorCode::NewSocketLimit);
    assert_eq!(code(state.create_udp_socket(V6)), ErrorCode::NewSocketLimit);
}
