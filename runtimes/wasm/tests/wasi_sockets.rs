//! Sockets: accepting, reading, writing, waiting for many, and all that is none.

mod wasi_guest;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use lunette_hostcalls::{Ctx, Errno, Interest, Shutdown, Source, Wait};
use lunette_wasm::wasi::{Answer, MAX_DESCRIPTORS, MAX_SUBSCRIPTIONS, Stop};
use wasi_guest::{
    net::{Connection, Listener},
    poll::*,
    rights::*,
    *,
};

const LISTENER: u32 = 3;
/// The directories follow the listener.
const DIR: u32 = 4;
const FIRST: u32 = 7;

const PEEK: u32 = 1;
const WAITALL: u32 = 2;

fn serving() -> (Guest, Arc<Listener>) {
    let listener = Listener::new();
    (Guest::with(|ctx| listener.grant(ctx)), listener)
}

/// With one connection, accepted.
fn connected() -> (Guest, Arc<Connection>) {
    let (mut guest, listener) = serving();
    let connection = listener.connect();
    assert_eq!(guest.accept(LISTENER, 0), Ok(FIRST));
    (guest, connection)
}

fn waits(answer: Answer, source: &Arc<impl Source + 'static>, interest: Interest) {
    assert_eq!(answer, Err(Stop::Wait(Wait::socket(source.clone(), interest))));
}

impl Guest {
    #[track_caller]
    fn accept(&mut self, fd: u32, flags: u32) -> Result<u32, Errno> {
        self.tell("sock_accept", &[fd.into(), flags.into(), RESULT.into()])?;
        Ok(self.u32(RESULT))
    }

    fn recv_call(&mut self, fd: u32, lengths: &[u32], flags: u32) -> Answer {
        self.iovecs(lengths);
        let count = lengths.len() as u64;
        let result = u64::from(RESULT);
        self.call("sock_recv", &[fd.into(), IOVECS.into(), count, flags.into(), result, result + 4])
    }

    #[track_caller]
    fn recv(&mut self, fd: u32, lengths: &[u32], flags: u32) -> Result<Vec<u8>, Errno> {
        match self.recv_call(fd, lengths, flags) {
            Ok(()) => {
                assert_eq!(self.bytes(RESULT + 4, 2), [0, 0], "nothing is cut off");
                Ok(self.bytes(BUFFER, self.u32(RESULT)).to_vec())
            }
            Err(Stop::Errno(errno)) => Err(errno),
            Err(stop) => panic!("{stop:?}"),
        }
    }

    fn send_call(&mut self, fd: u32, lengths: &[u32]) -> Answer {
        self.iovecs(lengths);
        self.call("sock_send", &[fd.into(), IOVECS.into(), lengths.len() as u64, 0, RESULT.into()])
    }

    #[track_caller]
    fn send(&mut self, fd: u32, bytes: &[u8]) -> Result<u32, Errno> {
        self.put(BUFFER, bytes);
        match self.send_call(fd, &[bytes.len() as u32]) {
            Ok(()) => Ok(self.u32(RESULT)),
            Err(Stop::Errno(errno)) => Err(errno),
            Err(stop) => panic!("{stop:?}"),
        }
    }

    #[track_caller]
    fn nonblock(&mut self, fd: u32, on: bool) {
        self.tell("fd_fdstat_set_flags", &[fd.into(), if on { NONBLOCK.into() } else { 0 }]).unwrap();
    }

    #[track_caller]
    fn shutdown(&mut self, fd: u32, how: u64) -> Result<(), Errno> {
        self.tell("sock_shutdown", &[fd.into(), how])
    }
}

#[test]
fn listeners_stand_before_the_directories_which_are_found() {
    let (one, two) = (Listener::new(), Listener::new());
    let mut guest = Guest::with(|ctx| [&one, &two].map(|listener| listener.grant(ctx)).into_iter().collect());
    // What programs do when they start: from 3 on, until the first that is no preopen.
    let mut found = Vec::new();
    for fd in 3.. {
        match guest.tell("fd_prestat_get", &[fd, RESULT.into()]) {
            Ok(()) => found.push((guest.memory[RESULT as usize], guest.u32(RESULT + 4))),
            Err(errno) => {
                assert_eq!((errno, fd), (Errno::Badf, 8));
                break;
            }
        }
    }
    assert_eq!(found, [(1, 0), (1, 0), (0, 1), (0, 7), (0, 5)]);
    for fd in [3, 4] {
        let answer = guest.tell("fd_prestat_dir_name", &[fd, PATH.into(), 100]);
        assert_eq!(answer, Err(Errno::Notdir));
    }
    guest.tell("fd_prestat_dir_name", &[6, PATH.into(), 7]).unwrap();
    assert_eq!(guest.bytes(PATH, 7), b"/bundle");
    assert!(guest.open(6, "hello.txt", 0, FD_READ).is_ok());
}

#[test]
fn connections_are_accepted_in_order_and_get_the_lowest_number() {
    let (mut guest, listener) = serving();
    let (one, two) = (listener.connect(), listener.connect());
    assert_eq!(guest.accept(LISTENER, 0), Ok(FIRST));
    assert_eq!(guest.accept(LISTENER, NONBLOCK), Ok(FIRST + 1));
    assert_eq!(guest.fdstat(FIRST).unwrap().flags, 0);
    assert_eq!(guest.fdstat(FIRST + 1).unwrap().flags, NONBLOCK as u16);
    guest.send(FIRST, b"first").unwrap();
    guest.send(FIRST + 1, b"second").unwrap();
    assert_eq!((one.written(), two.written()), (b"first".to_vec(), b"second".to_vec()));

    guest.close(DIR).unwrap();
    guest.close(FIRST).unwrap();
    assert!(one.is_closed());
    for lowest in [DIR, FIRST, FIRST + 2] {
        listener.connect();
        assert_eq!(guest.accept(LISTENER, 0), Ok(lowest));
    }
}

#[test]
fn nobody_there_is_waited_for_or_told() {
    let (mut guest, listener) = serving();
    let call = [LISTENER.into(), 0, RESULT.into()];
    let before = guest.memory.clone();
    waits(guest.call("sock_accept", &call), &listener, Interest::Read);
    waits(guest.call("sock_accept", &call), &listener, Interest::Read);
    assert!(guest.memory == before);
    guest.nonblock(LISTENER, true);
    assert_eq!(guest.accept(LISTENER, 0), Err(Errno::Again));
    guest.nonblock(LISTENER, false);
    listener.connect();
    assert_eq!(guest.accept(LISTENER, 0), Ok(FIRST));
    listener.cancel();
    assert_eq!(guest.accept(LISTENER, 0), Err(Errno::Canceled));
}

#[test]
fn sockets_say_what_they_are() {
    let (mut guest, connection) = connected();
    let stream = FD_FDSTAT_SET_FLAGS | FD_FILESTAT_GET | POLL_FD_READWRITE;
    let connection_rights = FD_READ | FD_WRITE | stream | SOCK_SHUTDOWN;
    let expected = [
        (LISTENER, FD_READ | stream | SOCK_ACCEPT, connection_rights),
        (FIRST, connection_rights, connection_rights),
    ];
    for (fd, base, inheriting) in expected {
        assert_eq!(guest.fdstat(fd).unwrap(), Fdstat { kind: 6, flags: 0, base, inheriting });
        let stat = guest.fstat(fd).unwrap();
        assert_eq!((stat.kind, stat.size, stat.device, stat.inode), (6, 0, 0, 0));
        for whence in 0..3 {
            assert_eq!(guest.seek(fd, 0, whence), Err(Errno::Spipe));
        }
        assert_eq!(guest.fd_tell(fd), Err(Errno::Spipe));
        assert_eq!(guest.pread(fd, 1, 0), Err(Errno::Spipe));
        assert_eq!(guest.pwrite(fd, b"x", 0), Err(Errno::Spipe));
        for (name, arguments) in [
            ("fd_sync", &[][..]),
            ("fd_datasync", &[]),
            ("fd_advise", &[0, 0, 0]),
            ("fd_allocate", &[0, 1]),
            ("fd_filestat_set_size", &[0]),
            ("fd_filestat_set_times", &[0, 0, 0]),
            ("fd_readdir", &[BUFFER.into(), 100, 0, RESULT.into()]),
        ] {
            let arguments = [&[fd.into()], arguments].concat();
            assert_eq!(guest.tell(name, &arguments), Err(Errno::Badf), "{name}");
        }
        assert_eq!(guest.open(fd, "x", 0, FD_READ), Err(Errno::Notdir));
        assert_eq!(guest.mkdir(fd, "x"), Err(Errno::Badf));
        // Synchronised writing is chosen at the beginning, or never.
        assert_eq!(guest.tell("fd_fdstat_set_flags", &[fd.into(), SYNC.into()]), Err(Errno::Inval));
    }
    assert!(connection.written().is_empty());
}

#[test]
fn what_is_no_socket_is_told_so() {
    let (mut guest, connection) = connected();
    guest.file(DIR, "file", b"x");
    let file = guest.open(DIR, "file", 0, FILE).unwrap();
    for (fd, errno) in [
        (0, Errno::Notsock),
        (1, Errno::Notsock),
        (file, Errno::Notsock),
        (DIR, Errno::Badf),
        (99, Errno::Badf),
    ] {
        assert_eq!(guest.accept(fd, 0), Err(errno), "{fd}");
        assert_eq!(guest.recv(fd, &[1], 0), Err(errno), "{fd}");
        assert_eq!(guest.send(fd, b"x"), Err(errno), "{fd}");
        assert_eq!(guest.shutdown(fd, 1), Err(errno), "{fd}");
    }
    assert_eq!(guest.accept(FIRST, 0), Err(Errno::Inval), "a connection does not listen");
    assert_eq!(guest.recv(LISTENER, &[1], 0), Err(Errno::Notconn));
    assert_eq!(guest.send(LISTENER, b"x"), Err(Errno::Notconn));
    assert_eq!(guest.shutdown(LISTENER, 3), Err(Errno::Notconn));
    assert_eq!(guest.read(LISTENER, 1), Err(Errno::Notconn));
    assert_eq!(guest.write(LISTENER, b"x"), Err(Errno::Badf));
    // Flags that mean nothing.
    assert_eq!(guest.accept(LISTENER, 32), Err(Errno::Inval));
    assert_eq!(guest.accept(LISTENER, APPEND | NONBLOCK), Err(Errno::Inval));
    assert_eq!(guest.recv(FIRST, &[1], 4), Err(Errno::Inval));
    assert_eq!(
        guest.tell("sock_send", &[FIRST.into(), IOVECS.into(), 0, 1, RESULT.into()]),
        Err(Errno::Inval)
    );
    assert_eq!(guest.shutdown(FIRST, 0), Err(Errno::Inval));
    assert_eq!(guest.shutdown(FIRST, 4), Err(Errno::Inval));
    assert!(connection.state().shut.is_empty());
}

#[test]
fn reading_takes_what_is_there_and_waits_for_the_first_byte() {
    let (mut guest, connection) = connected();
    guest.iovecs(&[4, 0, 4]);
    let read = [FIRST.into(), IOVECS.into(), 3, RESULT.into()];
    let before = guest.memory.clone();
    waits(guest.call("fd_read", &read), &connection, Interest::Read);
    waits(guest.recv_call(FIRST, &[4, 0, 4], 0), &connection, Interest::Read);
    assert!(guest.memory == before);
    guest.nonblock(FIRST, true);
    assert_eq!(guest.tell("fd_read", &read), Err(Errno::Again));
    assert_eq!(guest.recv(FIRST, &[4, 4], WAITALL), Err(Errno::Again));
    guest.nonblock(FIRST, false);

    connection.send(b"abcdefghij");
    guest.iovecs(&[4, 0, 4]);
    guest.tell("fd_read", &read).unwrap();
    assert_eq!((guest.u32(RESULT), guest.bytes(BUFFER, 8)), (8, &b"abcdefgh"[..]));
    assert_eq!(guest.recv(FIRST, &[1, 5], 0).unwrap(), b"ij");
    assert_eq!(guest.recv(FIRST, &[0], 0).unwrap(), b"", "no buffer, no wait");
    connection.end();
    for _ in 0..2 {
        assert_eq!(guest.read(FIRST, 4).unwrap(), b"");
        assert_eq!(guest.recv(FIRST, &[4], WAITALL).unwrap(), b"");
    }
}

#[test]
fn peek_leaves_it_there() {
    let (mut guest, connection) = connected();
    waits(guest.recv_call(FIRST, &[4], PEEK), &connection, Interest::Read);
    connection.send(b"abcdef");
    assert_eq!(guest.recv(FIRST, &[4, 4], PEEK).unwrap(), b"abcd");
    assert_eq!(guest.recv(FIRST, &[8], PEEK | WAITALL).unwrap(), b"abcdef");
    assert_eq!(guest.recv(FIRST, &[4, 4], 0).unwrap(), b"abcdef");
}

#[test]
fn waitall_waits_for_all_or_the_end() {
    let (mut guest, connection) = connected();
    connection.send(b"ab");
    for more in [&b"cd"[..], b"e"] {
        waits(guest.recv_call(FIRST, &[3, 2, 2], WAITALL), &connection, Interest::Read);
        assert!(connection.state().incoming.is_empty(), "it makes room for more");
        connection.send(more);
    }
    waits(guest.recv_call(FIRST, &[3, 2, 2], WAITALL), &connection, Interest::Read);
    connection.send(b"fghi");
    assert_eq!(guest.recv(FIRST, &[3, 2, 2], WAITALL).unwrap(), b"abcdefg");
    // The next one begins anew.
    waits(guest.recv_call(FIRST, &[4], WAITALL), &connection, Interest::Read);
    connection.end();
    assert_eq!(guest.recv(FIRST, &[4], WAITALL).unwrap(), b"hi");
    assert_eq!(guest.recv(FIRST, &[4], WAITALL).unwrap(), b"");
}

#[test]
fn an_error_is_told_by_the_next_call() {
    let (mut guest, connection) = connected();
    connection.send(b"ab");
    waits(guest.recv_call(FIRST, &[4], WAITALL), &connection, Interest::Read);
    connection.reset();
    assert_eq!(guest.recv(FIRST, &[4], WAITALL).unwrap(), b"ab", "what came before it");
    assert_eq!(guest.recv(FIRST, &[4], WAITALL), Err(Errno::Connreset));
    assert_eq!(guest.recv(FIRST, &[4], WAITALL).unwrap(), b"");
    assert_eq!(guest.send(FIRST, b"x"), Err(Errno::Pipe));
    assert_eq!(guest.write(FIRST, b"x"), Err(Errno::Pipe));
    assert_eq!(guest.shutdown(FIRST, 2), Err(Errno::Notconn));

    let (mut guest, connection) = connected();
    connection.room(3);
    guest.put(BUFFER, b"abcdef");
    waits(guest.send_call(FIRST, &[2, 4]), &connection, Interest::Write);
    connection.reset();
    guest.send_call(FIRST, &[2, 4]).unwrap();
    assert_eq!(guest.u32(RESULT), 3);
    assert_eq!(guest.send(FIRST, b"x"), Err(Errno::Connreset));
    assert_eq!(guest.send(FIRST, b"x"), Err(Errno::Pipe));
}

#[test]
fn writing_waits_until_all_is_on_its_way() {
    let (mut guest, connection) = connected();
    guest.put(BUFFER, b"abcdefg");
    connection.room(0);
    let before = guest.memory.clone();
    waits(guest.send_call(FIRST, &[3, 4]), &connection, Interest::Write);
    connection.room(2);
    waits(guest.send_call(FIRST, &[3, 4]), &connection, Interest::Write);
    connection.room(3);
    waits(guest.send_call(FIRST, &[3, 4]), &connection, Interest::Write);
    connection.room(100);
    assert_eq!(guest.bytes(RESULT, 4), &before[RESULT as usize..][..4]);
    guest.send_call(FIRST, &[3, 4]).unwrap();
    assert_eq!(guest.u32(RESULT), 7);
    assert_eq!(connection.written(), b"abcdefg");

    // What does not block says how much it took.
    guest.nonblock(FIRST, true);
    connection.room(5);
    guest.send_call(FIRST, &[3, 4]).unwrap();
    assert_eq!(guest.u32(RESULT), 5);
    assert_eq!(guest.tell("fd_write", &[FIRST.into(), IOVECS.into(), 2, RESULT.into()]), Err(Errno::Again));
    connection.room(2);
    guest.tell("fd_write", &[FIRST.into(), IOVECS.into(), 2, RESULT.into()]).unwrap();
    assert_eq!(guest.u32(RESULT), 2);
}

#[test]
fn halves_are_shut_down() {
    let (mut guest, connection) = connected();
    for how in [1, 2, 3] {
        guest.shutdown(FIRST, how).unwrap();
    }
    assert_eq!(connection.state().shut, [Shutdown::Read, Shutdown::Write, Shutdown::Both]);
}

#[test]
fn sockets_are_closed_with_their_descriptors() {
    let (mut guest, listener) = serving();
    let (one, two, three) = (listener.connect(), listener.connect(), listener.connect());
    for n in 0..3 {
        assert_eq!(guest.accept(LISTENER, 0), Ok(FIRST + n));
    }
    // The second takes the number of the first; a file takes that of the third.
    guest.tell("fd_renumber", &[u64::from(FIRST) + 1, FIRST.into()]).unwrap();
    assert!(one.is_closed() && !two.is_closed());
    guest.send(FIRST, b"two").unwrap();
    assert_eq!(two.written(), b"two");
    guest.file(DIR, "file", b"x");
    let file = guest.open(DIR, "file", 0, FILE).unwrap();
    assert_eq!(file, FIRST + 1);
    guest.tell("fd_renumber", &[file.into(), u64::from(FIRST) + 2]).unwrap();
    assert!(three.is_closed());
    assert_eq!(guest.send(FIRST + 2, b"x"), Err(Errno::Notsock));
    assert_eq!(guest.tell("fd_renumber", &[FIRST.into(), 99]), Err(Errno::Badf));
    assert_eq!(guest.tell("fd_renumber", &[FIRST.into(), FIRST.into()]), Ok(()));
    assert!(!two.is_closed());
    guest.tell("fd_renumber", &[FIRST.into(), LISTENER.into()]).unwrap();
    assert_eq!(Arc::strong_count(&listener), 1, "nobody listens any more");
    assert_eq!(guest.accept(LISTENER, 0), Err(Errno::Inval));
    drop(guest);
    assert!(two.is_closed());
}

#[test]
fn rights_that_were_given_up_are_missed() {
    let (mut guest, listener) = serving();
    let connection = listener.connect();
    guest.narrow(LISTENER, FD_READ | POLL_FD_READWRITE | SOCK_ACCEPT, FD_READ | POLL_FD_READWRITE);
    let fd = guest.accept(LISTENER, 0).unwrap();
    let stat = guest.fdstat(fd).unwrap();
    assert_eq!((stat.base, stat.inheriting), (FD_READ | POLL_FD_READWRITE, FD_READ | POLL_FD_READWRITE));
    connection.send(b"x");
    assert_eq!(guest.recv(fd, &[1], 0).unwrap(), b"x");
    assert_eq!(guest.send(fd, b"x"), Err(Errno::Badf));
    assert_eq!(guest.shutdown(fd, 1), Err(Errno::Notcapable));
    assert_eq!(guest.tell("fd_fdstat_set_flags", &[fd.into(), 0]), Err(Errno::Notcapable));
    guest.narrow(LISTENER, 0, 0);
    assert_eq!(guest.accept(LISTENER, 0), Err(Errno::Notcapable));
    assert_eq!(guest.poll(&[Subscribe::Read(LISTENER)]), [(100, Errno::Badf.code(), 1, 0, 0)]);
}

#[test]
fn poll_tells_what_is_ready_and_how_much() {
    let (mut guest, listener) = serving();
    let (one, two) = (listener.connect(), listener.connect());
    let (a, b) = (guest.accept(LISTENER, 0).unwrap(), guest.accept(LISTENER, 0).unwrap());
    let call = guest.subscribe(&[
        Subscribe::Read(LISTENER),
        Subscribe::Read(a),
        Subscribe::Read(b),
        Subscribe::Clock { id: 1, timeout: 500, flags: 0 },
    ]);
    let mut expected = Wait::until(START + 500);
    expected.sockets.push((listener.clone(), Interest::Read));
    expected.sockets.push((one.clone(), Interest::Read));
    expected.sockets.push((two.clone(), Interest::Read));
    let before = guest.memory.clone();
    assert_eq!(guest.call("poll_oneoff", &call), Err(Stop::Wait(expected.clone())));
    assert_eq!(guest.call("poll_oneoff", &call), Err(Stop::Wait(expected)));
    assert!(guest.memory == before);

    one.send(b"abc");
    listener.connect();
    two.end();
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(
        guest.events(),
        [(100, 0, 1, 1, 0), (101, 0, 1, 3, 0), (102, 0, 1, 0, 0)],
        "the end of one half hangs up nothing"
    );
    // Both halves of one connection, each with its own count; what is wrong is told beside it.
    one.room(7);
    two.reset();
    let all = [
        Subscribe::Write(a),
        Subscribe::Read(a),
        Subscribe::Write(b),
        Subscribe::Read(b),
        Subscribe::Write(LISTENER),
        Subscribe::Read(99),
        Subscribe::Write(1),
    ];
    let badf = Errno::Badf.code();
    assert_eq!(
        guest.poll(&all),
        [
            (100, 0, 2, 7, 0),
            (101, 0, 1, 3, 0),
            (102, 0, 2, 0, 1),
            (103, 0, 1, 0, 1),
            (104, badf, 2, 0, 0),
            (105, badf, 1, 0, 0),
            (106, 0, 2, 1, 0),
        ]
    );
    listener.0.lock().unwrap().0.clear();
    listener.cancel();
    assert_eq!(guest.poll(&[Subscribe::Read(LISTENER)]), [(100, 0, 1, 0, 1)]);
}

#[test]
fn a_full_connection_is_waited_for_with_standard_input() {
    let (mut guest, connection) = connected();
    connection.room(0);
    let call = guest.subscribe(&[Subscribe::Write(FIRST), Subscribe::Read(0)]);
    let expected = Wait { stdin: true, ..Wait::socket(connection.clone(), Interest::Write) };
    assert_eq!(guest.call("poll_oneoff", &call), Err(Stop::Wait(expected)));
    connection.room(1);
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(guest.events(), [(100, 0, 2, 1, 0)]);
}

/// A guest that asks without waiting gives way now and then, or what it asks for would never come.
#[test]
fn whoever_never_waits_gives_way() {
    let (mut guest, connection) = connected();
    guest.nonblock(FIRST, true);
    guest.nonblock(LISTENER, true);
    guest.iovecs(&[4]);
    let read = [FIRST.into(), IOVECS.into(), 1, RESULT.into()];
    let clock = Subscribe::Clock { id: 1, timeout: 0, flags: 0 };
    let poll = guest.subscribe(&[clock, Subscribe::Read(FIRST)]);
    let accept = [LISTENER.into(), 0, RESULT.into()];
    for (name, call, usual) in [
        ("fd_read", &read[..], Err(Stop::Errno(Errno::Again))),
        ("sock_accept", &accept, Err(Stop::Errno(Errno::Again))),
        ("poll_oneoff", &poll, Ok(())),
    ] {
        let mut gave_way = 0;
        for _ in 0..1000 {
            let answer = guest.call(name, call);
            if answer == Err(Stop::Wait(Wait::GIVE_WAY)) {
                gave_way += 1;
                assert_eq!(guest.call(name, call), usual, "{name}: the next time is answered");
            } else {
                assert_eq!(answer, usual, "{name}");
            }
        }
        assert!((10..100).contains(&gave_way), "{name}: {gave_way}");
    }
    drop(connection);
}

#[test]
fn thousands_of_connections_are_held_and_polled() {
    const MANY: u32 = 1_100;
    let (mut guest, listener) = serving();
    guest.memory = vec![0; 1 << 18];
    let connections: Vec<_> = (0..MANY).map(|_| listener.connect()).collect();
    for n in 0..MANY {
        assert_eq!(guest.accept(LISTENER, 0), Ok(FIRST + n));
    }
    let subscriptions: Vec<_> = (0..MANY).map(|n| Subscribe::Read(FIRST + n)).collect();
    let call = guest.subscribe_at(0x1000, 0x2_0000, &subscriptions);
    let Err(Stop::Wait(wait)) = guest.call("poll_oneoff", &call) else { panic!() };
    assert_eq!(wait.sockets.len(), MANY as usize);
    connections[17].send(b"x");
    connections[1_099].send(b"yy");
    for connection in &connections {
        connection.looks.store(0, Relaxed);
    }
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(guest.events_at(0x2_0000), [(117, 0, 1, 1, 0), (1_199, 0, 1, 2, 0)]);
    assert!(connections.iter().all(|connection| connection.looks.load(Relaxed) == 1), "one look at each");
}

#[test]
fn there_is_a_limit_and_a_connection_beyond_it_is_not_lost() {
    let (mut guest, listener) = serving();
    let began = Instant::now();
    for n in FIRST..MAX_DESCRIPTORS as u32 {
        listener.connect();
        assert_eq!(guest.accept(LISTENER, 0), Ok(n));
    }
    let last = listener.connect();
    assert_eq!(guest.accept(LISTENER, 0), Err(Errno::Mfile));
    assert_eq!(guest.open(DIR, "x", CREAT, FILE), Err(Errno::Mfile));
    guest.close(1000).unwrap();
    assert_eq!(guest.accept(LISTENER, 0), Ok(1000));
    assert!(!last.is_closed());
    // All at once, and again from the lowest on.
    for n in (FIRST..MAX_DESCRIPTORS as u32).rev() {
        guest.close(n).unwrap();
    }
    assert!(last.is_closed());
    for n in FIRST..MAX_DESCRIPTORS as u32 {
        listener.connect();
        assert_eq!(guest.accept(LISTENER, 0), Ok(n));
    }
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn a_list_that_is_too_long_is_refused() {
    let (mut guest, listener) = serving();
    let count = MAX_SUBSCRIPTIONS as u64 + 1;
    guest.memory = vec![0; 0x10000 + count as usize * 80];
    for n in 0..count as usize {
        guest.memory[0x10000 + 48 * n + 8] = 1;
        guest.memory[0x10000 + 48 * n + 16] = LISTENER as u8;
    }
    let events = 0x10000 + 48 * count;
    assert_eq!(guest.tell("poll_oneoff", &[0x10000, events, count, 0x8000]), Err(Errno::Inval));
    let answer = guest.call("poll_oneoff", &[0x10000, events, count - 1, 0x8000]);
    assert!(matches!(answer, Err(Stop::Wait(wait)) if wait.sockets.len() == MAX_SUBSCRIPTIONS));
    drop(listener);
}

#[test]
fn no_listener_is_no_change() {
    let mut ctx: Option<Ctx> = None;
    let mut guest = Guest::with(|given| ctx = Some(given.clone()));
    assert!(ctx.unwrap().listeners.is_empty());
    assert_eq!(guest.tell("fd_prestat_get", &[ROOT.into(), RESULT.into()]), Ok(()));
    assert_eq!(guest.memory[RESULT as usize], 0);
}
