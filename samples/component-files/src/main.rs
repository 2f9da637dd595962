//! Files and sockets by nothing but Rust's standard library, as a component of the world `wasi:cli/command`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    time::Duration,
};

fn main() -> io::Result<()> {
    files()?;
    refusals();
    names()?;
    streams()?;
    datagrams()
}

/// The bundle's files are at `/`; `/tmp` is always there, and `/work` because lunette.toml grants it.
fn files() -> io::Result<()> {
    for (n, line) in BufReader::new(File::open("/data/poems/moon.txt")?).lines().enumerate() {
        println!("{} {}", n + 1, line?);
    }
    fs::create_dir_all("/tmp/a/b")?;
    fs::write("/tmp/a/one.txt", "first\n")?;
    writeln!(OpenOptions::new().append(true).open("/tmp/a/one.txt")?, "second")?;
    fs::copy("/tmp/a/one.txt", "/work/copy.txt")?;
    let mut file = OpenOptions::new().read(true).write(true).open("/work/copy.txt")?;
    file.set_len(3)?;
    file.seek(SeekFrom::Start(5))?;
    file.write_all(b"!")?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    println!("cut and written past the end: {bytes:?}");
    fs::rename("/tmp/a/one.txt", "/tmp/a/b/two.txt")?;
    let mut names = fs::read_dir("/tmp/a/b")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    println!("a/b: {}", names.join(" "));
    println!("two.txt: {:?}", fs::read_to_string("/tmp/a/b/two.txt")?);
    fs::remove_dir_all("/tmp/a")
}

/// What is not allowed is said, and the program goes on.
fn refusals() {
    let show = |what: &str, done: io::Result<()>| match done {
        Ok(()) => println!("{what}: done"),
        // WASI's number: std has no name for some of them.
        Err(error) if error.raw_os_error() == Some(55) => println!("{what}: not empty"),
        Err(error) => println!("{what}: {}", error.kind()),
    };
    show("reading what is not there", fs::read("/data/none").map(drop));
    show("removing a full folder", fs::create_dir_all("/tmp/x/y").and_then(|()| fs::remove_dir("/tmp/x")));
    show("making what is there", fs::create_dir("/tmp/x"));
    show("listening where nothing grants it", TcpListener::bind("0.0.0.0:7").map(drop));
    show("connecting where nothing grants it", TcpStream::connect("127.0.0.1:7").map(drop));
}

fn names() -> io::Result<()> {
    let found = ("localhost", 7070).to_socket_addrs()?.any(|address| address.ip() == Ipv4Addr::LOCALHOST);
    println!("localhost is 127.0.0.1: {found}");
    Ok(())
}

/// A connection to itself: what goes in at one end comes out at the other, and the end of it too.
fn streams() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:7070")?;
    println!("listening at port {}", listener.local_addr()?.port());
    let mut client = TcpStream::connect("127.0.0.1:7070")?;
    let (mut server, from) = listener.accept()?;
    println!("from where the client is: {}", from == client.local_addr()?);
    client.write_all(b"to the server")?;
    client.shutdown(Shutdown::Write)?;
    let mut heard = String::new();
    server.read_to_string(&mut heard)?;
    println!("the server heard {heard:?}");
    client.set_read_timeout(Some(Duration::from_millis(10)))?;
    let waited = client.read(&mut [0]).err().map(|error| error.kind());
    println!("nothing came in time: {}", matches!(waited, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)));
    client.set_read_timeout(None)?;
    // More than fits on the way, written and read in turns.
    let (mut sent, mut got) = (0, 0);
    server.set_nonblocking(true)?;
    let mut piece = vec![0; 64 * 1024];
    while got < 1 << 20 {
        if sent < 1 << 20 {
            match server.write(&piece[..piece.len().min((1 << 20) - sent)]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        got += client.read(&mut piece)?;
    }
    drop(server);
    println!("the client heard {got} bytes, and then {}", client.read(&mut piece)?);
    Ok(())
}

fn datagrams() -> io::Result<()> {
    let one = UdpSocket::bind((Ipv4Addr::LOCALHOST, 7070))?;
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 7071))?;
    one.send_to(b"ping", SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7071))?;
    let mut datagram = [0; 64];
    let (length, from) = other.recv_from(&mut datagram)?;
    println!("{from} said {:?}", String::from_utf8_lossy(&datagram[..length]));
    other.connect(from)?;
    other.send(b"pong")?;
    let (length, from) = one.recv_from(&mut datagram)?;
    println!("{from} said {:?}", String::from_utf8_lossy(&datagram[..length]));
    Ok(())
}
