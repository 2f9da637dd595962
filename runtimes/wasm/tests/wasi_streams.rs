//! Everything that is not files: arguments, clocks, streams, waiting, random bytes, sockets, the end.

mod wasi_guest;

use std::sync::{Arc, Mutex};

use lunette_hostcalls::{Clock, Errno, Ready, Stdio, Stream, TrapKind, Wait};
use lunette_wasm::wasi::{MAX_STREAM, Stop};
use wasi_guest::{poll::*, rights::*, *};

fn wait(stdin: bool, until: Option<u64>) -> Result<(), Stop> {
    Err(Stop::Wait(Wait { stdin, until, ..Wait::default() }))
}

#[test]
fn arguments_and_environment_are_laid_out() {
    let mut guest = Guest::new();
    for (kind, strings) in
        [("args", &["guest.wasm\0", "first\0", "täst\0"][..]), ("environ", &["HOME=/\0", "EMPTY=\0"])]
    {
        guest.tell(&format!("{kind}_sizes_get"), &[RESULT.into(), u64::from(RESULT) + 4]).unwrap();
        let all = strings.concat();
        assert_eq!((guest.u32(RESULT), guest.u32(RESULT + 4)), (strings.len() as u32, all.len() as u32));
        guest.put(BUFFER, &[b'#'; 64]);
        guest.tell(&format!("{kind}_get"), &[RESULT.into(), BUFFER.into()]).unwrap();
        assert_eq!(guest.bytes(BUFFER, all.len() as u32 + 1), [all.as_bytes(), b"#"].concat());
        let mut at = BUFFER;
        for (n, string) in strings.iter().enumerate() {
            assert_eq!(guest.u32(RESULT + 4 * n as u32), at);
            at += string.len() as u32;
        }
    }
}

#[test]
fn the_last_byte_of_memory_is_as_good_as_any() {
    let mut guest = Guest::new();
    let size = "guest.wasm\0first\0täst\0".len() as u64;
    guest.tell("args_get", &[(MEMORY as u64 - size - 14) & !3, MEMORY as u64 - size]).unwrap();
    assert_eq!(guest.memory[MEMORY - 2..], *b"t\0");
    let before = guest.memory.clone();
    let Err(Stop::Trap(trap)) = guest.call("args_get", &[0, MEMORY as u64 - size + 1]) else { panic!() };
    assert_eq!(trap.kind, TrapKind::BadPointer);
    assert!(trap.message.starts_with("args_get: 23 bytes at "), "{}", trap.message);
    assert!(guest.memory == before, "nothing was written");
}

#[test]
fn clocks_tell_the_time_or_are_not_there() {
    let mut guest = Guest::new();
    for (id, time) in [(0, NOW), (1, START)] {
        guest.tell("clock_time_get", &[id, 1, RESULT.into()]).unwrap();
        assert_eq!(guest.u64(RESULT), time);
        guest.tell("clock_res_get", &[id, RESULT.into()]).unwrap();
        assert_eq!(guest.u64(RESULT), 1);
    }
    for id in [2, 3, 4, 0xffff_ffff] {
        assert_eq!(guest.tell("clock_time_get", &[id, 0, RESULT.into()]), Err(Errno::Inval));
        assert_eq!(guest.tell("clock_res_get", &[id, RESULT.into()]), Err(Errno::Inval));
    }
    guest.world.clock.set_wall(None);
    assert_eq!(guest.tell("clock_time_get", &[0, 0, RESULT.into()]), Err(Errno::Inval));
}

#[test]
fn random_bytes_wait_for_the_seed() {
    let mut guest = Guest::new();
    guest.world.random.set_unseeded(true);
    let before = guest.memory.clone();
    assert_eq!(guest.call("random_get", &[BUFFER.into(), 100]), wait(false, Some(START + 1_000_000)));
    assert!(guest.memory == before);
    guest.world.random.set_unseeded(false);
    guest.call("random_get", &[BUFFER.into(), 100]).unwrap();
    assert_ne!(guest.bytes(BUFFER, 100), &before[BUFFER as usize..][..100]);
    assert_eq!(guest.memory[BUFFER as usize + 100], 0xaa);
    guest.call("random_get", &[MEMORY as u64, 0]).unwrap();
    guest.call("random_get", &[0, MEMORY as u64]).unwrap();
}

#[test]
fn yielding_gives_way_once() {
    let mut guest = Guest::new();
    for _ in 0..3 {
        assert_eq!(guest.call("sched_yield", &[]), wait(false, Some(0)));
        assert_eq!(guest.call("sched_yield", &[]), Ok(()));
    }
}

#[test]
fn the_end() {
    let mut guest = Guest::new();
    for code in [0, 33, 126, u32::MAX] {
        assert_eq!(guest.call("proc_exit", &[code.into()]), Err(Stop::Exit(code)));
    }
    for signal in [0, 6, 30] {
        assert_eq!(guest.tell("proc_raise", &[signal]), Err(Errno::Notsup));
    }
    assert_eq!(guest.tell("proc_raise", &[31]), Err(Errno::Inval));
}

#[test]
fn nothing_is_a_socket() {
    let mut guest = Guest::new();
    let calls: [(&str, &[u64]); 4] = [
        ("sock_accept", &[0, RESULT as u64]),
        ("sock_recv", &[0, 0, 3, RESULT as u64, RESULT as u64]),
        ("sock_send", &[0, 0, 0, RESULT as u64]),
        ("sock_shutdown", &[1]),
    ];
    for (name, arguments) in calls {
        for (fd, errno) in [(1, Errno::Notsock), (ROOT, Errno::Badf), (99, Errno::Badf)] {
            assert_eq!(guest.tell(name, &[&[fd.into()], arguments].concat()), Err(errno), "{name}");
        }
    }
    assert_eq!(guest.tell("sock_accept", &[1, 32, 0]), Err(Errno::Inval));
    assert_eq!(guest.tell("sock_recv", &[1, 0, 0, 4, 0, 0]), Err(Errno::Inval));
    assert_eq!(guest.tell("sock_send", &[1, 0, 0, 1, 0]), Err(Errno::Inval));
    assert_eq!(guest.tell("sock_shutdown", &[1, 4]), Err(Errno::Inval));
}

#[test]
fn streams_say_what_they_are() {
    let mut guest = Guest::new();
    for (terminal, kind) in [(false, 0), (true, 2)] {
        guest.world.stdio.set_terminal(terminal);
        for (fd, right, other) in [(0, FD_READ, FD_WRITE), (1, FD_WRITE, FD_READ), (2, FD_WRITE, FD_READ)] {
            let stat = guest.fdstat(fd).unwrap();
            assert_eq!((stat.kind, stat.flags), (kind, 0));
            assert_eq!(stat.base & right, right);
            // wasi-libc takes what can seek for no terminal.
            assert_eq!(stat.base & (other | FD_SEEK | FD_TELL), 0);
            let stat = guest.fstat(fd).unwrap();
            assert_eq!((stat.kind, stat.size, stat.device, stat.inode), (kind, 0, 0, 0));
            for whence in 0..3 {
                assert_eq!(guest.seek(fd, 0, whence), Err(Errno::Spipe));
            }
            assert_eq!(guest.fd_tell(fd), Err(Errno::Spipe));
        }
    }
}

#[test]
fn output_goes_to_its_stream() {
    let mut guest = Guest::new();
    assert_eq!(guest.write(1, b"out"), Ok(3));
    assert_eq!(guest.write(2, b"err"), Ok(3));
    assert_eq!(guest.write(0, b"x"), Err(Errno::Badf));
    assert_eq!(guest.read(1, 1), Err(Errno::Badf));
    assert_eq!(guest.write(-31337_i32 as u32, b"x"), Err(Errno::Badf));
    assert_eq!(guest.world.stdio.stdout(), b"out");
    assert_eq!(guest.world.stdio.stderr(), b"err");
    // A stream that takes little at a time is asked again.
    guest.world.stdio.short_writes(Some(2));
    guest.put(BUFFER, b"abcdefg");
    guest.iovecs(&[3, 4]);
    guest.tell("fd_write", &[1, IOVECS.into(), 2, RESULT.into()]).unwrap();
    assert_eq!(guest.u32(RESULT), 7);
    assert_eq!(guest.world.stdio.stdout(), b"outabcdefg");
    guest.world.stdio.break_pipe();
    assert_eq!(guest.write(1, b"x"), Err(Errno::Pipe));
}

/// Standard streams that take so many bytes more, and then nothing.
struct Narrow(Mutex<(usize, Vec<u8>)>);

impl Stdio for Narrow {
    fn register_input(&self, _: &std::task::Waker) {}

    fn read(&self, _buf: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::Again)
    }

    fn input(&self) -> Ready {
        Ready::default()
    }

    fn write(&self, _stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        let (room, taken) = &mut *self.0.lock().unwrap();
        let n = buf.len().min(*room);
        *room -= n;
        taken.extend_from_slice(&buf[..n]);
        if n == 0 { Err(Errno::Again) } else { Ok(n) }
    }
}

#[test]
fn a_full_stream_makes_the_guest_wait() {
    let stdio = Arc::new(Narrow(Mutex::new((5, Vec::new()))));
    let mut guest = Guest::with(|ctx| ctx.stdio = stdio.clone());
    guest.put(BUFFER, b"abcdefg");
    guest.iovecs(&[3, 4]);
    let call = [1, IOVECS.into(), 2, RESULT.into()];
    guest.tell("fd_write", &call).unwrap();
    assert_eq!(guest.u32(RESULT), 5, "a short write");
    let before = guest.memory.clone();
    assert_eq!(guest.call("fd_write", &call), wait(false, Some(0)));
    assert!(guest.memory == before);
    guest.tell("fd_fdstat_set_flags", &[1, NONBLOCK.into()]).unwrap();
    assert_eq!(guest.tell("fd_write", &call), Err(Errno::Again));
    guest.tell("fd_fdstat_set_flags", &[1, 0]).unwrap();
    stdio.0.lock().unwrap().0 = 100;
    guest.tell("fd_write", &call).unwrap();
    assert_eq!(stdio.0.lock().unwrap().1, b"abcdeabcdefg");
}

#[test]
fn one_call_moves_only_so_much_through_a_stream() {
    let mut guest = Guest::new();
    guest.memory = vec![b'x'; 3 * MAX_STREAM as usize];
    guest.put(IOVECS, &[0_u32.to_le_bytes(), (2 * MAX_STREAM).to_le_bytes()].concat());
    guest.tell("fd_write", &[1, IOVECS.into(), 1, RESULT.into()]).unwrap();
    assert_eq!(guest.u32(RESULT), MAX_STREAM);
    assert_eq!(guest.world.stdio.stdout().len(), MAX_STREAM as usize);
}

#[test]
fn input_is_waited_for() {
    let mut guest = Guest::new();
    guest.iovecs(&[4, 0, 4]);
    let call = [0, IOVECS.into(), 3, RESULT.into()];
    let before = guest.memory.clone();
    assert_eq!(guest.call("fd_read", &call), wait(true, None));
    assert!(guest.memory == before);
    guest.tell("fd_fdstat_set_flags", &[0, NONBLOCK.into()]).unwrap();
    assert_eq!(guest.tell("fd_read", &call), Err(Errno::Again));
    guest.tell("fd_fdstat_set_flags", &[0, 0]).unwrap();

    guest.world.stdio.feed(b"abcdefghij");
    guest.tell("fd_read", &call).unwrap();
    assert_eq!((guest.u32(RESULT), guest.bytes(BUFFER, 8)), (8, &b"abcdefgh"[..]));
    guest.tell("fd_read", &call).unwrap();
    assert_eq!((guest.u32(RESULT), guest.bytes(BUFFER, 2)), (2, &b"ij"[..]));
    // No buffer, no wait.
    guest.iovecs(&[0]);
    guest.tell("fd_read", &[0, IOVECS.into(), 1, RESULT.into()]).unwrap();
    guest.tell("fd_read", &[0, IOVECS.into(), 0, RESULT.into()]).unwrap();
    assert_eq!(guest.u32(RESULT), 0);
    guest.world.stdio.close();
    assert_eq!(guest.read(0, 4).unwrap(), b"", "the end");
    guest.close(0).unwrap();
    assert_eq!(guest.read(0, 4), Err(Errno::Badf));
}

#[test]
fn a_timeout_counts_from_the_first_call() {
    let mut guest = Guest::new();
    for id in [0, 1] {
        let start = guest.world.clock.monotonic();
        let call = guest.subscribe(&[Subscribe::Clock { id, timeout: 500, flags: 0 }]);
        let before = guest.memory.clone();
        assert_eq!(guest.call("poll_oneoff", &call), wait(false, Some(start + 500)));
        guest.world.clock.advance(400);
        assert_eq!(guest.call("poll_oneoff", &call), wait(false, Some(start + 500)));
        assert!(guest.memory == before);
        guest.world.clock.advance(100);
        guest.call("poll_oneoff", &call).unwrap();
        assert_eq!(guest.events(), [(100, 0, 0, 0, 0)]);
        // The next one begins anew.
        assert_eq!(guest.call("poll_oneoff", &call), wait(false, Some(start + 1_000)));
        guest.world.clock.advance(2_000);
        guest.call("poll_oneoff", &call).unwrap();
    }
    let call = guest.subscribe(&[Subscribe::Clock { id: 1, timeout: 0, flags: 0 }]);
    guest.call("poll_oneoff", &call).unwrap();
    let call = guest.subscribe(&[Subscribe::Clock { id: 1, timeout: u64::MAX, flags: 0 }]);
    assert_eq!(guest.call("poll_oneoff", &call), wait(false, Some(u64::MAX)));
}

#[test]
fn an_absolute_time_is_waited_for() {
    let mut guest = Guest::new();
    let call = guest.subscribe(&[Subscribe::Clock { id: 1, timeout: START + 200, flags: 1 }]);
    assert_eq!(guest.call("poll_oneoff", &call), wait(false, Some(START + 200)));
    guest.world.clock.advance(300);
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(guest.events().len(), 1);

    let call = guest.subscribe(&[Subscribe::Clock { id: 0, timeout: NOW + 350, flags: 1 }]);
    assert_eq!(guest.call("poll_oneoff", &call), wait(false, Some(START + 350)));
    // The date is set while it waits.
    guest.world.clock.set_wall(Some(NOW + 360));
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(guest.events(), [(100, 0, 0, 0, 0)]);
    // A date that nobody knows never comes.
    guest.world.clock.set_wall(None);
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(guest.events(), [(100, Errno::Inval.code(), 0, 0, 0)]);
}

#[test]
fn the_first_of_several_things_ends_the_wait() {
    let mut guest = Guest::new();
    let clock = |timeout| Subscribe::Clock { id: 1, timeout, flags: 0 };
    let call = guest.subscribe(&[clock(900), Subscribe::Read(0), clock(200)]);
    assert_eq!(guest.call("poll_oneoff", &call), wait(true, Some(START + 200)));
    guest.world.stdio.feed(b"abc");
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(guest.events(), [(101, 0, 1, 3, 0)]);
    assert_eq!(guest.read(0, 3).unwrap(), b"abc");
    assert_eq!(guest.call("poll_oneoff", &call), wait(true, Some(START + 200)));
    guest.world.clock.advance(5_000);
    guest.world.stdio.close();
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(guest.events(), [(100, 0, 0, 0, 0), (101, 0, 1, 0, 1), (102, 0, 0, 0, 0)]);

    let call = guest.subscribe(&[Subscribe::Write(1), clock(200), Subscribe::Write(2)]);
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(guest.events(), [(100, 0, 2, 1, 0), (102, 0, 2, 1, 0)]);
}

#[test]
fn files_are_always_ready() {
    let mut guest = Guest::new();
    guest.file(ROOT, "file", b"12345");
    let file = guest.open(ROOT, "file", 0, FILE).unwrap();
    guest.read(file, 2).unwrap();
    let call = guest.subscribe(&[Subscribe::Read(file), Subscribe::Write(file)]);
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(guest.events(), [(100, 0, 1, 3, 0), (101, 0, 2, 1, 0)]);
    guest.read(file, 10).unwrap();
    guest.call("poll_oneoff", &call).unwrap();
    assert_eq!(guest.events()[0], (100, 0, 1, 0, 1));
}

#[test]
fn what_is_wrong_with_one_subscription_is_in_its_event() {
    let mut guest = Guest::new();
    guest.file(ROOT, "file", b"x");
    let bare = guest.open(ROOT, "file", 0, FD_READ | FD_WRITE).unwrap();
    guest.narrow(bare, FD_READ | FD_WRITE, 0);
    let call = guest.subscribe(&[
        Subscribe::Read(99),
        Subscribe::Read(ROOT),
        Subscribe::Read(1),
        Subscribe::Write(0),
        Subscribe::Write(bare),
        Subscribe::Clock { id: 2, timeout: 0, flags: 0 },
        Subscribe::Clock { id: 1, timeout: 10, flags: 0 },
    ]);
    guest.call("poll_oneoff", &call).unwrap();
    let errors: Vec<_> = guest.events().iter().map(|event| (event.0, event.1, event.2)).collect();
    let badf = Errno::Badf.code();
    assert_eq!(
        errors,
        [
            (100, badf, 1),
            (101, badf, 1),
            (102, badf, 1),
            (103, badf, 2),
            (104, Errno::Notcapable.code(), 2),
            (105, Errno::Inval.code(), 0),
        ]
    );

    // What can't be decoded is not reported but refused, whatever else is ready.
    for bad in [
        Subscribe::Raw(3),
        Subscribe::Clock { id: 4, timeout: 0, flags: 0 },
        Subscribe::Clock { id: 1, timeout: 0, flags: 2 },
    ] {
        let call = guest.subscribe(&[Subscribe::Write(1), bad]);
        let before = guest.memory.clone();
        assert_eq!(guest.tell("poll_oneoff", &call), Err(Errno::Inval));
        assert!(guest.memory == before);
    }
    assert_eq!(guest.tell("poll_oneoff", &[IN.into(), OUT.into(), 0, RESULT.into()]), Err(Errno::Inval));
}
