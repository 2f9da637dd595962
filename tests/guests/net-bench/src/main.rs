//! The server side of `cargo xtask bench`'s network figures: one connection after the other, plain blocking std.
//!
//! A connection sends orders, one letter each: `p` is answered by a byte; `r` with a number N (8 bytes,
//! little-endian) is followed by N bytes, and answered by how many came; `t` with a number N is answered
//! by N bytes. It ends when the client closes. The same source is the program of the Linux guest beside it.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
};

/// What one read or write moves.
const PIECE: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let listener = listener()?;
    println!("listening");
    let mut piece = vec![b'x'; PIECE];
    loop {
        let (connection, _) = listener.accept()?;
        // A client that goes away is no reason to end.
        if let Err(error) = serve(connection, &mut piece) {
            eprintln!("connection: {error}");
        }
    }
}

#[cfg(target_os = "wasi")]
fn listener() -> io::Result<TcpListener> {
    use std::os::fd::FromRawFd;
    // SAFETY: the host gives the first listening socket as descriptor 3, and nobody else here uses it.
    Ok(unsafe { TcpListener::from_raw_fd(3) })
}

#[cfg(not(target_os = "wasi"))]
fn listener() -> io::Result<TcpListener> {
    TcpListener::bind("0.0.0.0:80")
}

fn serve(mut connection: TcpStream, piece: &mut [u8]) -> io::Result<()> {
    #[cfg(not(target_os = "wasi"))]
    connection.set_nodelay(true)?;
    loop {
        let mut order = [0];
        if connection.read(&mut order)? == 0 {
            return Ok(());
        }
        match &order {
            b"p" => connection.write_all(b"p")?,
            b"r" => {
                let wanted = number(&mut connection)?;
                let mut left = wanted;
                while left > 0 {
                    let most = piece.len().min(usize::try_from(left).unwrap_or(PIECE));
                    match connection.read(&mut piece[..most])? {
                        0 => break,
                        n => left -= n as u64,
                    }
                }
                connection.write_all(&(wanted - left).to_le_bytes())?;
            }
            b"t" => {
                let mut left = number(&mut connection)?;
                while left > 0 {
                    let most = piece.len().min(usize::try_from(left).unwrap_or(PIECE));
                    connection.write_all(&piece[..most])?;
                    left -= most as u64;
                }
            }
            _ => return Err(io::Error::other("an order that nobody knows")),
        }
    }
}

fn number(connection: &mut TcpStream) -> io::Result<u64> {
    let mut bytes = [0; 8];
    connection.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
