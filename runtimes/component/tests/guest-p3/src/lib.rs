//! What WASI 0.3 is asked: each case is named by the first argument, and says on standard output what it found. Without std, which
//! would ask WASI 0.2.
#![no_std]

extern crate alloc;

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::{
    alloc::Layout,
    fmt::Debug,
    future::{Future, IntoFuture, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use wasip3::{
    cli::{environment, exit, stderr, stdin, stdout},
    clocks::{monotonic_clock, system_clock},
    filesystem::{
        preopens,
        types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags},
    },
    random,
    sockets::{
        ip_name_lookup,
        types::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket, UdpSocket},
    },
    wit_bindgen::{StreamReader, StreamResult, StreamWriter},
    wit_stream,
};

// For `memcmp` and its kin, of which nothing asks the system.
#[link(name = "c")]
unsafe extern "C" {}

/// The host puts lists and strings here. On this target it is std that brings it.
///
/// # Safety
/// Called by the host alone, as the canonical ABI has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_length: usize, align: usize, length: usize) -> *mut u8 {
    let layout = |length| Layout::from_size_align(length, align).unwrap();
    let place = match (old_length, length) {
        (0, 0) => return core::ptr::without_provenance_mut(align),
        (0, length) => unsafe { alloc::alloc::alloc(layout(length)) },
        (old_length, length) => unsafe { alloc::alloc::realloc(old, layout(old_length), length) },
    };
    assert!(!place.is_null(), "out of memory");
    place
}

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Says why, as far as the host takes it at once, and traps.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (mut writer, reader) = wit_stream::new();
    let _outcome = stderr::write_via_stream(reader);
    let mut words = pin!(writer.write(info.to_string().into_bytes()));
    let _ = words.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    core::arch::wasm32::unreachable()
}

wasip3::cli::command::export!(Guest);

struct Guest;

impl wasip3::exports::cli::run::Guest for Guest {
    async fn run() -> Result<(), ()> {
        let arguments = environment::get_arguments();
        match arguments.get(1).map(String::as_str) {
            Some("environment") => show_environment().await,
            Some("exit") => exit::exit_with_code(7),
            Some("fail") => return Err(()),
            Some("cat") => cat().await,
            Some("hand-on") => hand_on().await,
            Some("leave") => leave().await,
            Some("cancel") => cancel().await,
            Some("twice") => twice().await,
            Some("pipe") => broken_pipe().await,
            Some("waits") => waits().await,
            Some("random") => show_random().await,
            Some("files") => files().await,
            Some("file-errors") => file_errors().await,
            Some("full") => full().await,
            Some("serve") => serve().await,
            Some("tcp") => tcp_client().await,
            Some("tcp-state") => tcp_state().await,
            Some("udp") => udp().await,
            Some("names") => names().await,
            Some("many-handles") => many_handles().await,
            Some("huge-list") => huge_list().await,
            Some("endless") => endless().await,
            Some("mad-sizes") => mad_sizes().await,
            Some("behind") => behind(),
            other => panic!("no such case: {other:?}"),
        }
        Ok(())
    }
}

/// Both at once.
async fn both<A, B>(a: impl IntoFuture<Output = A>, b: impl IntoFuture<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a.into_future()), pin!(b.into_future()));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(cx)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(cx)
        {
            second = Some(value);
        }
        if first.is_some() && second.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (first.unwrap(), second.unwrap())
}

/// Polls it once, and drops it if that was not enough.
async fn at_once<T>(future: impl IntoFuture<Output = T>) -> Option<T> {
    let mut future = pin!(future.into_future());
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn print(text: impl AsRef<str>) {
    let (mut writer, reader) = wit_stream::new();
    let (outcome, rest) = both(stdout::write_via_stream(reader), async {
        let rest = writer.write_all(text.as_ref().as_bytes().to_vec()).await;
        drop(writer);
        rest
    })
    .await;
    outcome.unwrap();
    assert!(rest.is_empty());
}

async fn show_environment() {
    print(format!(
        "{:?} {:?} {:?}\n",
        environment::get_arguments(),
        environment::get_environment(),
        environment::get_initial_cwd()
    ))
    .await;
    let terminal = wasip3::cli::terminal_stdin::get_terminal_stdin().is_some();
    let (writer, reader) = wit_stream::new();
    let mut writer: StreamWriter<u8> = writer;
    let outcome = stderr::write_via_stream(reader);
    assert!(writer.write_all(format!("terminal {terminal}\n").into_bytes()).await.is_empty());
    drop(writer);
    outcome.await.unwrap();
}

async fn cat() {
    let (mut input, outcome) = stdin::read_via_stream();
    let mut pieces = Vec::new();
    loop {
        let (result, piece) = input.read(Vec::with_capacity(16)).await;
        match result {
            StreamResult::Complete(n) => pieces.push(String::from_utf8_lossy(&piece[..n]).into_owned()),
            StreamResult::Dropped => break,
            StreamResult::Cancelled => panic!("nobody cancelled"),
        }
    }
    outcome.await.unwrap();
    print(format!("{pieces:?}")).await;
}

/// The host reads what the host writes: none of it comes by here.
async fn hand_on() {
    let (input, outcome) = stdin::read_via_stream();
    stdout::write_via_stream(input).await.unwrap();
    outcome.await.unwrap();
    print(" and that was all").await;
}

/// Reads a little, and drops the stream: its future says that all is well.
async fn leave() {
    let (mut input, outcome) = stdin::read_via_stream();
    let (_, piece) = input.read(Vec::with_capacity(3)).await;
    drop(input);
    let outcome = outcome.await;
    let (rest, _) = stdin::read_via_stream();
    let rest = rest.collect().await;
    print(format!("{:?} {outcome:?} {:?}", text(&piece), text(&rest))).await;
}

/// Cancels a read that waits; what comes later is read by the next.
async fn cancel() {
    let (mut input, _) = stdin::read_via_stream();
    let first = at_once(input.read(Vec::with_capacity(8))).await.is_some();
    for _ in 0..100 {
        assert!(at_once(input.read(Vec::with_capacity(8))).await.is_none());
    }
    print("asked;").await;
    let (_, piece) = input.read(Vec::with_capacity(8)).await;
    print(format!("{first} {:?}", text(&piece))).await;
}

/// Two streams of the same input, both waited for.
async fn twice() {
    let ((mut a, _), (mut b, _)) = (stdin::read_via_stream(), stdin::read_via_stream());
    let read = both(a.read(Vec::with_capacity(8)), b.read(Vec::with_capacity(8)));
    let (clock, ((_, a), (_, b))) = both(monotonic_clock::wait_for(1_000_000), read).await;
    let mut pieces = [text(&a), text(&b)];
    pieces.sort();
    print(format!("{clock:?} {pieces:?}")).await;
}

async fn broken_pipe() {
    let (mut writer, reader) = wit_stream::new();
    let outcome = stdout::write_via_stream(reader);
    let rest = writer.write_all(b"into the void".to_vec()).await;
    let outcome = outcome.await;
    let (mut writer, reader) = wit_stream::new();
    let err = stderr::write_via_stream(reader);
    let _ = writer.write_all(format!("{outcome:?} {}", rest.len()).into_bytes()).await;
    drop(writer);
    let _ = err.await;
    exit::exit_with_code(if outcome.is_err() { 3 } else { 0 });
}

async fn waits() {
    let began = monotonic_clock::now();
    let waits: Vec<Pin<Box<dyn Future<Output = ()>>>> = (1..=10)
        .map(|n| Box::pin(monotonic_clock::wait_for(n * 100_000_000)) as Pin<Box<dyn Future<Output = ()>>>)
        .collect();
    let mut waits = waits.into_iter().map(Some).collect::<Vec<_>>();
    poll_fn(|cx| {
        for wait in &mut waits {
            if wait.as_mut().is_some_and(|wait| wait.as_mut().poll(cx).is_ready()) {
                *wait = None;
            }
        }
        if waits.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let took = monotonic_clock::now() - began;
    // A wait that is dropped is no wait.
    assert!(at_once(monotonic_clock::wait_for(3_600_000_000_000)).await.is_none());
    monotonic_clock::wait_until(began).await;
    let now = system_clock::now();
    print(format!("{took} {} {}", now.seconds, now.nanoseconds)).await;
}

async fn show_random() {
    let bytes = random::random::get_random_bytes(20);
    let many = random::random::get_random_bytes(u64::MAX).len();
    let none = random::random::get_random_bytes(0).len();
    let insecure = random::insecure::get_insecure_random_bytes(1 << 40).len();
    let seeds = random::insecure_seed::get_insecure_seed();
    assert_ne!(seeds.0, seeds.1);
    assert_ne!(random::random::get_random_u64(), random::insecure::get_insecure_random_u64());
    print(format!("{} {many} {none} {insecure}", bytes.len())).await;
}

fn directory(name: &str) -> Descriptor {
    let mut directories = preopens::get_directories().into_iter();
    directories.find(|(_, found)| found == name).expect("a directory of that name").0
}

fn open(
    dir: &Descriptor,
    path: &str,
    how: OpenFlags,
    flags: DescriptorFlags,
) -> impl Future<Output = Result<Descriptor, String>> {
    let opened = dir.open_at(PathFlags::empty(), path.to_string(), how, flags);
    async { opened.await.map_err(word) }
}

async fn contents(file: &Descriptor, offset: u64) -> Result<Vec<u8>, String> {
    let (stream, outcome) = file.read_via_stream(offset);
    let bytes = stream.collect().await;
    outcome.await.map(|()| bytes).map_err(word)
}

async fn store(file: &Descriptor, offset: Option<u64>, bytes: &[u8]) -> (Result<(), String>, usize) {
    let (mut writer, reader) = wit_stream::new();
    let outcome = match offset {
        Some(offset) => file.write_via_stream(reader, offset),
        None => file.append_via_stream(reader),
    };
    let (outcome, rest) = both(outcome, async {
        let rest = writer.write_all(bytes.to_vec()).await;
        drop(writer);
        rest
    })
    .await;
    (outcome.map_err(word), bytes.len() - rest.len())
}

async fn listing(dir: &Descriptor) -> Vec<String> {
    let (stream, outcome) = dir.read_directory();
    let mut names: Vec<_> = stream.collect().await.into_iter().map(|entry| entry.name).collect();
    outcome.await.unwrap();
    names.sort();
    names
}

async fn files() {
    let tmp = directory("/tmp");
    assert_eq!(
        tmp.get_flags().await.map_err(word),
        Ok(DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY)
    );
    let new = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let file = open(&tmp, "a.txt", new, DescriptorFlags::READ | DescriptorFlags::WRITE).await.unwrap();
    assert_eq!(store(&file, Some(0), b"hello!").await, (Ok(()), 6));
    assert_eq!(store(&file, Some(0), b"byeee").await, (Ok(()), 5));
    assert_eq!(store(&file, None, b" laters!!").await, (Ok(()), 9));
    assert_eq!(contents(&file, 0).await.unwrap(), b"byeee! laters!!");
    assert_eq!(contents(&file, 7).await.unwrap(), b"laters!!");
    assert_eq!(contents(&file, 700).await.unwrap(), b"");
    // Larger than any piece, and past a hole.
    let large: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    assert_eq!(store(&file, Some(20), &large).await, (Ok(()), large.len()));
    assert!(contents(&file, 20).await.unwrap() == large);
    assert_eq!(contents(&file, 0).await.unwrap()[15..20], [0; 5]);
    assert_eq!(file.stat().await.unwrap().size, 3_000_020);

    // Half of it, and no more.
    let (mut stream, outcome) = file.read_via_stream(0);
    let (_, piece) = stream.read(Vec::with_capacity(5)).await;
    drop(stream);
    assert_eq!((outcome.await.map_err(word), text(&piece).as_str()), (Ok(()), "byeee"));

    tmp.create_directory_at("dir".into()).await.unwrap();
    let dir = open(&tmp, "dir", OpenFlags::DIRECTORY, DescriptorFlags::MUTATE_DIRECTORY).await.unwrap();
    for n in 0..200 {
        open(&dir, &format!("{n}"), new, DescriptorFlags::empty()).await.unwrap();
    }
    assert_eq!(listing(&dir).await.len(), 200);
    let (mut entries, outcome) = dir.read_directory();
    let (_, some) = entries.read(Vec::with_capacity(3)).await;
    drop(entries);
    assert_eq!((some.len(), outcome.await.map_err(word)), (3, Ok(())));

    tmp.symlink_at("a.txt".into(), "link".into()).await.unwrap();
    assert_eq!(tmp.readlink_at("link".into()).await.unwrap(), "a.txt");
    tmp.link_at(PathFlags::empty(), "a.txt".into(), &dir, "hard".into()).await.unwrap();
    let hard = open(&dir, "hard", OpenFlags::empty(), DescriptorFlags::READ).await.unwrap();
    assert!(hard.is_same_object(&file).await);
    assert!(!hard.is_same_object(&dir).await);
    assert_eq!(hash(&hard).await, hash(&file).await);
    let before = hash(&file).await;
    file.set_size(3).await.unwrap();
    assert_ne!(hash(&file).await, before);
    tmp.rename_at("a.txt".into(), &dir, "moved".into()).await.unwrap();
    tmp.unlink_file_at("link".into()).await.unwrap();
    print(format!("{:?} {}", listing(&tmp).await, text(&contents(&hard, 0).await.unwrap()))).await;
}

async fn hash(file: &Descriptor) -> (u64, u64) {
    let hash = file.metadata_hash().await.unwrap();
    (hash.lower, hash.upper)
}

async fn file_errors() {
    let (root, tmp) = (directory("/"), directory("/tmp"));
    let read = DescriptorFlags::READ;
    let write = DescriptorFlags::WRITE;
    let new = OpenFlags::CREATE;
    let mut said = Vec::new();
    said.push(open(&root, "new", new, write).await.err());
    said.push(open(&tmp, "../etc", OpenFlags::empty(), read).await.err());
    said.push(open(&tmp, "none", OpenFlags::empty(), read).await.err());
    said.push(open(&tmp, ".", OpenFlags::empty(), write).await.err());
    let file = open(&tmp, "file", new, write).await.unwrap();
    said.push(open(&file, "x", OpenFlags::empty(), read).await.err());
    said.push(contents(&file, 0).await.err());
    said.push(contents(&tmp, 0).await.err());
    let reading = open(&tmp, "file", OpenFlags::empty(), read).await.unwrap();
    said.push(contents(&reading, u64::MAX).await.err());
    said.push(store(&reading, Some(0), b"x").await.0.err());
    said.push(store(&tmp, None, b"x").await.0.err());
    said.push(reading.set_size(0).await.map_err(word).err());
    said.push(file.set_size(u64::MAX).await.map_err(word).err());
    said.push(reading.read_directory().1.await.map_err(word).err());
    said.push(tmp.advise(0, 0, wasip3::filesystem::types::Advice::Normal).await.map_err(word).err());
    for code in said {
        print(format!("{}\n", code.expect("it fails"))).await;
    }
}

/// A file system without room: the future says so, the writer is left with the rest.
async fn full() {
    let tmp = directory("/tmp");
    let file = open(&tmp, "file", OpenFlags::CREATE, DescriptorFlags::WRITE).await.unwrap();
    let (outcome, written) = store(&file, Some(0), &vec![1; 1 << 20]).await;
    print(format!("{} {}", outcome.unwrap_err(), written < 1 << 20)).await;
}

fn ipv4(address: (u8, u8, u8, u8), port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })
}

/// Echoes two connections at once, and ends.
async fn serve() {
    let listener = TcpSocket::create(IpAddressFamily::Ipv4).unwrap();
    listener.bind(ipv4((0, 0, 0, 0), 80)).unwrap();
    let mut connections: StreamReader<TcpSocket> = listener.listen().unwrap();
    assert!(listener.get_is_listening());
    let first = connections.next().await.unwrap();
    let second = connections.next().await.unwrap();
    let (a, b) = both(echo(first), echo(second)).await;
    print(format!("{a} {b}")).await;
}

async fn echo(socket: TcpSocket) -> usize {
    let (mut input, outcome) = socket.receive();
    let (mut output, reader) = wit_stream::new();
    let sent = socket.send(reader);
    let mut bytes = 0;
    loop {
        let (result, piece) = input.read(Vec::with_capacity(4096)).await;
        match result {
            StreamResult::Complete(n) => bytes += n,
            _ => break,
        }
        assert!(output.write_all(piece).await.is_empty());
    }
    drop(output);
    outcome.await.unwrap();
    sent.await.unwrap();
    bytes
}

/// Says something to a server, and shows the answer.
async fn tcp_client() {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4).unwrap();
    if let Err(error) = socket.connect(ipv4((10, 0, 0, 5), 7)).await {
        return print(word(error)).await;
    }
    let (mut output, reader) = wit_stream::new();
    let sent = socket.send(reader);
    assert!(output.write_all(b"ping".to_vec()).await.is_empty());
    drop(output);
    sent.await.unwrap();
    let (input, outcome) = socket.receive();
    let answer = input.collect().await;
    let outcome = outcome.await.map_err(word);
    print(format!("{} {outcome:?}", text(&answer))).await;
}

async fn tcp_state() {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4).unwrap();
    let mut said = Vec::new();
    said.push(socket.receive().1.await.unwrap_err());
    said.push(socket.get_local_address().unwrap_err());
    said.push(socket.bind(ipv4((224, 0, 0, 1), 0)).unwrap_err());
    said.push(socket.connect(ipv4((0, 0, 0, 0), 80)).await.unwrap_err());
    said.push(socket.bind(ipv4((0, 0, 0, 0), 81)).unwrap_err());
    socket.bind(ipv4((0, 0, 0, 0), 80)).unwrap();
    said.push(socket.bind(ipv4((0, 0, 0, 0), 80)).unwrap_err());
    let other = TcpSocket::create(IpAddressFamily::Ipv4).unwrap();
    said.push(other.bind(ipv4((0, 0, 0, 0), 80)).unwrap_err());
    socket.set_keep_alive_idle_time(1).unwrap();
    assert_eq!(socket.get_keep_alive_idle_time().unwrap(), 1_000_000_000);
    said.push(socket.set_hop_limit(0).unwrap_err());
    said.push(socket.connect(ipv4((10, 0, 0, 9), 1)).await.unwrap_err());
    said.push(other.connect(ipv4((10, 0, 0, 9), 1)).await.unwrap_err());
    said.push(other.connect(ipv4((10, 0, 0, 9), 1)).await.unwrap_err());
    for code in said {
        print(format!("{}\n", word(code))).await;
    }
}

/// Answers two datagrams that it waits for at once, and sends one of its own.
async fn udp() {
    let socket = UdpSocket::create(IpAddressFamily::Ipv4).unwrap();
    assert!(socket.receive().await.is_err());
    socket.bind(ipv4((0, 0, 0, 0), 53)).unwrap();
    let (a, b) = both(socket.receive(), socket.receive()).await;
    for (data, from) in [a.unwrap(), b.unwrap()] {
        socket.send(data, Some(from)).await.unwrap();
    }
    let too_large = socket.send(vec![0; 65_536], Some(ipv4((10, 0, 0, 5), 9))).await.unwrap_err();
    let client = UdpSocket::create(IpAddressFamily::Ipv4).unwrap();
    client.connect(ipv4((10, 0, 0, 5), 9)).unwrap();
    client.send(b"hello".to_vec(), None).await.unwrap();
    let denied = socket.send(vec![1], Some(ipv4((10, 0, 0, 77), 9))).await.unwrap_err();
    let IpSocketAddress::Ipv4(local) = client.get_local_address().unwrap() else { panic!("IPv4") };
    print(format!("{} {} {:?}", word(too_large), word(denied), local.address)).await;
}

async fn names() {
    for name in ["db.internal", "none.internal", "elsewhere.example", "no name", "192.0.2.7", "::1"] {
        let found = ip_name_lookup::resolve_addresses(name.to_string()).await;
        print(format!("{found:?}\n")).await;
    }
}

/// More handles than anybody needs, and none of them given back.
async fn many_handles() {
    let mut all = Vec::new();
    loop {
        all.push(stdin::read_via_stream());
    }
}

/// A datagram of all the memory that there is.
async fn huge_list() {
    let socket = UdpSocket::create(IpAddressFamily::Ipv4).unwrap();
    let data = vec![0; 40 << 20];
    let _ = socket.send(data, Some(ipv4((10, 0, 0, 5), 9))).await;
}

/// Writes for ever, to whoever listens.
async fn endless() {
    let (mut writer, reader) = wit_stream::new();
    let outcome = stdout::write_via_stream(reader);
    loop {
        if !writer.write_all(vec![b'x'; 1 << 16]).await.is_empty() {
            break;
        }
    }
    let said = outcome.await.map_err(word);
    let (mut writer, reader) = wit_stream::new();
    let _outcome = stderr::write_via_stream(reader);
    let _ = writer.write_all(format!("{said:?}").into_bytes()).await;
}

/// Numbers that mean nothing, where a host might believe them.
async fn mad_sizes() {
    let tmp = directory("/tmp");
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    let file = open(&tmp, "file", OpenFlags::CREATE, flags).await.unwrap();
    let (outcome, written) = store(&file, Some(i64::MAX as u64), b"x").await;
    assert!(outcome.is_err() && written <= 1);
    assert!(contents(&file, i64::MAX as u64).await.unwrap().is_empty());
    assert!(file.advise(u64::MAX, u64::MAX, wasip3::filesystem::types::Advice::Normal).await.is_err());
    let long = "x/".repeat(1 << 20);
    assert!(tmp.stat_at(PathFlags::empty(), long.clone()).await.is_err());
    assert!(tmp.symlink_at(long, "link".into()).await.is_err());
    assert!(ip_name_lookup::resolve_addresses("a.".repeat(1 << 20)).await.is_err());
    let new = |seconds| {
        let at = system_clock::Instant { seconds, nanoseconds: u32::MAX };
        wasip3::filesystem::types::NewTimestamp::Timestamp(at)
    };
    assert!(file.set_times(new(i64::MAX), new(0)).await.is_err());
    assert!(file.set_times(new(i64::MIN), new(0)).await.is_err());
    assert!(file.set_times(new(1), new(2)).await.is_ok());
    assert!(at_once(monotonic_clock::wait_for(u64::MAX)).await.is_none());
    assert!(at_once(monotonic_clock::wait_until(u64::MAX)).await.is_none());
    let socket = TcpSocket::create(IpAddressFamily::Ipv6).unwrap();
    socket.set_listen_backlog_size(u64::MAX).unwrap();
    socket.set_keep_alive_idle_time(u64::MAX).unwrap();
    socket.set_keep_alive_enabled(true).unwrap();
    assert!(socket.bind(ipv4((127, 0, 0, 1), 0)).is_err());
    print("mad").await;
}

/// Returns, and leaves a read under way.
fn behind() {
    let (mut input, outcome) = stdin::read_via_stream();
    let mut read = Box::pin(async move { input.read(Vec::with_capacity(8)).await });
    let _ = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    core::mem::forget((read, outcome));
}

/// An error's name.
fn word(error: impl Debug) -> String {
    format!("{error:?}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
