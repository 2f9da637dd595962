//! TCP and UDP by std: a server that answers one, a client that asks it, and what is not granted.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
};

fn main() {
    let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
    assert_eq!(listener.local_addr().unwrap().to_string(), "127.0.0.1:8080");
    assert_eq!(TcpListener::bind("127.0.0.1:8080").unwrap_err().kind(), ErrorKind::AddrInUse);
    let mut client = TcpStream::connect("127.0.0.1:8080").unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    assert_eq!(client.local_addr().unwrap(), peer);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut question = String::new();
    server.read_to_string(&mut question).unwrap();
    server.write_all(question.to_uppercase().as_bytes()).unwrap();
    drop(server);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    println!("{answer}");

    assert_eq!(TcpStream::connect("10.9.9.9:1").unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(TcpListener::bind("127.0.0.1:8081").unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(TcpStream::connect("127.0.0.1:9").unwrap_err().kind(), ErrorKind::ConnectionRefused);

    let one = UdpSocket::bind("127.0.0.1:5300").unwrap();
    let other = UdpSocket::bind("127.0.0.1:5301").unwrap();
    other.send_to(b"datagram", "127.0.0.1:5300").unwrap();
    let mut buf = [0; 100];
    let (n, from) = one.recv_from(&mut buf).unwrap();
    println!("{} from {from}", std::str::from_utf8(&buf[..n]).unwrap());

    println!(
        "{:?}",
        "db.internal:80".to_socket_addrs().map(|mut found| found.next().unwrap()).map_err(|_| ())
    );
}
