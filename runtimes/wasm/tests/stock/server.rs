//! What Rust's standard library makes of listeners and connections.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener},
    os::fd::FromRawFd,
};

fn main() {
    assert_eq!(fs::read_to_string("/etc/motd").unwrap(), "hello");
    fs::write("/tmp/new", "x").unwrap();

    // SAFETY: descriptor 3 is the listener that the host gives, and nobody else's.
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    // One that is asked for a page.
    let (mut stream, _) = listener.accept().unwrap();
    let mut lines = BufReader::new(&stream).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "GET / HTTP/1.0");
    while !lines.next().unwrap().unwrap().is_empty() {}
    stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
    stream.write_all(&vec![b'x'; 100_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    drop(stream);

    // One that sends much.
    let mut all = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 100_000);

    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    listener.set_nonblocking(false).unwrap();

    // One that is cut off.
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);

    // And then no more.
    let end = listener.accept().unwrap_err();
    println!("served; {end}");
}
