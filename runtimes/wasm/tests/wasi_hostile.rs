//! Guests that mean harm: every function with every argument wild, alone and together. No call may panic, run
//! away, or write where it was not asked to; one that fails writes nothing at all.

mod wasi_guest;

use std::{ops::Range, panic::AssertUnwindSafe, sync::Arc};

use lunette_hostcalls::TrapKind;
use lunette_wasm::wasi::{FUNCTIONS, MAX_FILE_IO, MAX_SOCKET, Signature, Stop};
use wasi_guest::{
    net::{Connection, Listener},
    rights::*,
    *,
};

/// What to pass so that a call gets as far as it can, and where it writes then: (pointer, length) by the index
/// of the argument, or a length.
struct Call {
    name: &'static str,
    arguments: &'static [u64],
    writes: &'static [Write],
}

#[derive(Clone, Copy)]
enum Write {
    Fixed(usize, u64),
    Buffer(usize, usize),
    /// What the list of buffers points to.
    Iovecs(usize, usize),
    /// As many records of that size.
    Records(usize, usize, u64),
}

use Write::{Buffer, Fixed, Iovecs, Records};

/// Listener, directories, connection, file, directory.
const LISTENER: u64 = 3;
const ROOT: u32 = 4;
const STREAM: u64 = 7;
const FILE_FD: u64 = 8;
const DIR_FD: u64 = 9;
const P: u64 = PATH as u64;
const P2: u64 = PATH_2 as u64;
const V: u64 = IOVECS as u64;
const B: u64 = BUFFER as u64;
const R: u64 = RESULT as u64;
const SUBSCRIPTIONS: u64 = 0x6000;

macro_rules! calls {
    ($($name:ident($($argument:expr),*) $(=> $($write:expr),+)?;)*) => {
        const CALLS: &[Call] = &[$(Call {
            name: stringify!($name),
            arguments: &[$($argument),*],
            writes: &[$($($write),+)?],
        }),*];
    };
}

// `prepare` puts paths of 4 bytes at P ("file") and P2 ("new1"), two buffers of 64 bytes at V.
calls! {
    args_get(R, B) => Fixed(0, 12), Fixed(1, 23);
    args_sizes_get(R, R + 4) => Fixed(0, 4), Fixed(1, 4);
    clock_res_get(1, R) => Fixed(1, 8);
    clock_time_get(1, 0, R) => Fixed(2, 8);
    environ_get(R, B) => Fixed(0, 8), Fixed(1, 14);
    environ_sizes_get(R, R + 4) => Fixed(0, 4), Fixed(1, 4);
    fd_advise(FILE_FD, 0, 10, 0);
    fd_allocate(FILE_FD, 0, 10);
    fd_close(FILE_FD);
    fd_datasync(FILE_FD);
    fd_fdstat_get(FILE_FD, R) => Fixed(1, 24);
    fd_fdstat_set_flags(FILE_FD, 1);
    fd_fdstat_set_rights(FILE_FD, 0, 0);
    fd_filestat_get(FILE_FD, R) => Fixed(1, 64);
    fd_filestat_set_size(FILE_FD, 10);
    fd_filestat_set_times(FILE_FD, 1, 1, 5);
    fd_pread(FILE_FD, V, 2, 0, R) => Iovecs(1, 2), Fixed(4, 4);
    fd_prestat_dir_name(4, P, 16) => Buffer(1, 2);
    fd_prestat_get(3, R) => Fixed(1, 8);
    fd_pwrite(FILE_FD, V, 2, 0, R) => Fixed(4, 4);
    fd_read(FILE_FD, V, 2, R) => Iovecs(1, 2), Fixed(3, 4);
    fd_readdir(DIR_FD, B, 200, 0, R) => Buffer(1, 2), Fixed(4, 4);
    fd_renumber(FILE_FD, DIR_FD);
    fd_seek(FILE_FD, 1, 0, R) => Fixed(3, 8);
    fd_sync(FILE_FD);
    fd_tell(FILE_FD, R) => Fixed(1, 8);
    fd_write(FILE_FD, V, 2, R) => Fixed(3, 4);
    path_create_directory(DIR_FD, P2, 4);
    path_filestat_get(DIR_FD, 1, P, 4, R) => Fixed(4, 64);
    path_filestat_set_times(DIR_FD, 1, P, 4, 1, 1, 5);
    path_link(DIR_FD, 0, P, 4, DIR_FD, P2, 4);
    path_open(DIR_FD, 1, P, 4, 1, FILE, FILE, 0, R) => Fixed(8, 4);
    path_readlink(DIR_FD, P + 16, 4, B, 64, R) => Buffer(3, 4), Fixed(5, 4);
    path_remove_directory(DIR_FD, P + 32, 4);
    path_rename(DIR_FD, P, 4, DIR_FD, P2, 4);
    path_symlink(P, 4, DIR_FD, P2, 4);
    path_unlink_file(DIR_FD, P, 4);
    poll_oneoff(SUBSCRIPTIONS, B, 3, R) => Records(1, 2, 32), Fixed(3, 4);
    proc_exit(0);
    proc_raise(0);
    random_get(B, 64) => Buffer(0, 1);
    sched_yield();
    sock_accept(LISTENER, 0, R) => Fixed(2, 4);
    sock_recv(STREAM, V, 2, 0, R, R + 4) => Iovecs(1, 2), Fixed(4, 4), Fixed(5, 2);
    sock_send(STREAM, V, 2, 0, R) => Fixed(4, 4);
    sock_shutdown(STREAM, 1);
}

fn prepare() -> Guest {
    prepare_with_peer().0
}

/// And the other end of its connection.
fn prepare_with_peer() -> (Guest, Arc<Connection>) {
    let listener = Listener::new();
    let peer = listener.connect();
    peer.send(&[b'.'; 200]);
    let mut guest = Guest::with(|ctx| listener.grant(ctx));
    guest.tell("sock_accept", &[LISTENER, 0, R]).unwrap();
    assert_eq!(u64::from(guest.u32(RESULT)), STREAM);
    // And one more waits.
    listener.connect();
    guest.file(ROOT, "file", &[b'.'; 100]);
    guest.symlink("file", ROOT, "link").unwrap();
    guest.mkdir(ROOT, "dir0").unwrap();
    assert_eq!(guest.open(ROOT, "file", 0, FILE), Ok(FILE_FD as u32));
    assert_eq!(guest.dir(ROOT, "."), Ok(DIR_FD as u32));
    guest.memory.fill(0xaa);
    guest.put(PATH, b"file");
    guest.put(PATH + 16, b"link");
    guest.put(PATH + 32, b"dir0");
    guest.put(PATH_2, b"new1");
    guest.iovecs(&[64, 64]);
    for (n, tag) in [0, 1, 2].into_iter().enumerate() {
        let mut record = [0; 48];
        record[8] = tag;
        record[16] = [1, STREAM as u8, 1][n];
        guest.put(SUBSCRIPTIONS as u32 + 48 * n as u32, &record);
    }
    (guest, peer)
}

/// Where a call may write with these arguments.
fn allowed(guest: &Guest, call: &Call, arguments: &[u64]) -> Vec<Range<usize>> {
    let low = |n: usize| arguments[n] as u32 as usize;
    let mut ranges = Vec::new();
    for write in call.writes {
        match *write {
            Fixed(pointer, length) => ranges.push(low(pointer)..low(pointer).saturating_add(length as usize)),
            Buffer(pointer, length) => ranges.push(low(pointer)..low(pointer).saturating_add(low(length))),
            Records(pointer, count, size) => {
                ranges.push(
                    low(pointer)..low(pointer).saturating_add(low(count).saturating_mul(size as usize)),
                );
            }
            Iovecs(pointer, count) => {
                let words = guest.memory.get(low(pointer)..).unwrap_or_default().chunks_exact(8);
                for iovec in words.take(low(count)) {
                    let word = |at| u32::from_le_bytes(iovec[at..at + 4].try_into().unwrap()) as usize;
                    ranges.push(word(0)..word(0).saturating_add(word(4)));
                }
            }
        }
    }
    ranges
}

/// Is a result laid over the list that it comes from? What comes of that is the guest's business.
fn overlaps(call: &Call, arguments: &[u64], allowed: &[Range<usize>]) -> bool {
    let low = |n: usize| arguments[n] as u32 as usize;
    call.writes.iter().any(|write| {
        let list = match *write {
            Iovecs(pointer, count) => low(pointer)..low(pointer).saturating_add(low(count).saturating_mul(8)),
            Records(_, count, _) => low(0)..low(0).saturating_add(low(count).saturating_mul(48)),
            Fixed(..) | Buffer(..) => return false,
        };
        allowed.iter().any(|range| range.start < list.end && list.start < range.end)
    })
}

/// Makes the call and looks at what it left behind.
fn attack(guest: &mut Guest, call: &Call, arguments: &[u64]) -> Result<(), Stop> {
    let before = guest.memory.clone();
    let allowed = allowed(guest, call, arguments);
    let overlapping = overlaps(call, arguments, &allowed);
    let answer = std::panic::catch_unwind(AssertUnwindSafe(|| guest.call(call.name, arguments)))
        .unwrap_or_else(|_| panic!("{}{arguments:x?} panicked", call.name));
    match &answer {
        Err(_) if !overlapping => {
            assert!(guest.memory == before, "{}{arguments:x?} failed, and wrote", call.name);
        }
        _ => {
            for (at, (new, old)) in guest.memory.iter().zip(&before).enumerate() {
                let changed = new != old && !allowed.iter().any(|range| range.contains(&at));
                assert!(!changed || overlapping, "{}{arguments:x?} wrote at {at:#x}", call.name);
            }
        }
    }
    if let Err(Stop::Trap(trap)) = &answer {
        assert_eq!(trap.kind, TrapKind::BadPointer);
        assert!(trap.message.starts_with(&format!("{}: ", call.name)), "{}", trap.message);
    }
    answer
}

fn signature(call: &Call) -> &'static Signature {
    let signature = Signature::find(call.name).unwrap();
    assert_eq!(signature.params.len(), call.arguments.len(), "{}", call.name);
    signature
}

#[test]
fn every_function_is_attacked() {
    let names: Vec<_> = CALLS.iter().map(|call| call.name).collect();
    let all: Vec<_> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert_eq!(names, all);
    // And what the attacks start from works.
    for call in CALLS {
        signature(call);
        let answer = attack(&mut prepare(), call, call.arguments);
        let fine = match call.name {
            "fd_allocate" | "proc_raise" | "proc_exit" | "sched_yield" => answer.is_err(),
            _ => answer.is_ok(),
        };
        assert!(fine, "{}: {answer:?}", call.name);
    }
}

#[test]
fn one_wild_argument_at_a_time() {
    let end = MEMORY as u64;
    let wild = [
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        8,
        0x101,
        0x102,
        0x104,
        0xff,
        0xffff,
        0x1_0000,
        end - 64,
        end - 25,
        end - 24,
        end - 9,
        end - 8,
        end - 7,
        end - 5,
        end - 4,
        end - 3,
        end - 2,
        end - 1,
        end,
        end + 1,
        end + 4,
        end + 8,
        0x7fff_fff8,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff8,
        0xffff_fffc,
        0xffff_ffff,
        0x1_0000_0000,
        0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        0xffff_ffff_0000_0000,
        u64::MAX,
    ];
    for call in CALLS {
        for n in 0..call.arguments.len() {
            for value in wild {
                let mut guest = prepare();
                let mut arguments = call.arguments.to_vec();
                arguments[n] = value;
                let _ = attack(&mut guest, call, &arguments);
            }
        }
    }
}

#[test]
fn everything_wild_at_once() {
    // xorshift64*: the same attacks every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut guest = prepare();
    for round in 0..60_000 {
        if round % 500 == 0 {
            guest = prepare();
        }
        let call = &CALLS[random() as usize % CALLS.len()];
        let arguments: Vec<u64> = call
            .arguments
            .iter()
            .map(|&usual| match random() % 8 {
                0 => random(),
                1 => random() % 16,
                2 => u64::from(u32::MAX) - random() % 64,
                3 => MEMORY as u64 - random() % 128,
                4 => (random() % MEMORY as u64) & !7,
                _ => usual,
            })
            .collect();
        if random() % 16 == 0 {
            let at = random() as usize % (MEMORY - 8);
            guest.memory[at..at + 8].copy_from_slice(&random().to_le_bytes());
        }
        let answer = std::panic::catch_unwind(AssertUnwindSafe(|| guest.call(call.name, &arguments)));
        assert!(answer.is_ok(), "round {round}: {}{arguments:x?} panicked", call.name);
    }
}

#[test]
fn without_a_memory_no_pointer_is_good() {
    for call in CALLS {
        let mut guest = prepare();
        guest.memory.clear();
        let answer = guest.call(call.name, call.arguments);
        if !call.writes.is_empty() {
            assert!(matches!(answer, Err(Stop::Trap(_))), "{}: {answer:?}", call.name);
        }
    }
}

#[test]
fn buffers_over_their_own_list_do_no_harm() {
    let mut guest = prepare();
    // What is read replaces the list while it is being read.
    guest.put(IOVECS, &[IOVECS.to_le_bytes(), 32_u32.to_le_bytes()].concat().repeat(4));
    for fill in [0, 0x7f, 0xff] {
        let content = [fill; 100];
        let file = guest.open(ROOT, "file", TRUNC, FILE).unwrap();
        guest.memory[BUFFER as usize..][..100].copy_from_slice(&content);
        let list = guest.bytes(IOVECS, 32).to_vec();
        guest.write(file, &content).unwrap();
        guest.seek(file, 0, 0).unwrap();
        guest.put(IOVECS, &list);
        guest.put(PATH, b"file");
        match guest.call("fd_read", &[file.into(), V, 4, R]) {
            Ok(()) => assert!(guest.u32(RESULT) <= 100),
            Err(Stop::Trap(trap)) => assert_eq!(trap.kind, TrapKind::BadPointer),
            Err(stop) => panic!("{stop:?}"),
        }
    }
    // The result is laid over the list, and the list over the bytes.
    let _ = guest.call("fd_write", &[FILE_FD, V, 4, V]);
    let _ = guest.call("poll_oneoff", &[SUBSCRIPTIONS, SUBSCRIPTIONS + 8, 3, SUBSCRIPTIONS]);
}

#[test]
fn huge_numbers_are_refused_at_once() {
    let mut guest = prepare();
    // Four billion buffers, subscriptions, bytes.
    for (name, arguments) in [
        ("fd_read", &[FILE_FD, V, 0xffff_ffff, R][..]),
        ("fd_write", &[1, V, 0x2000_0000, R]),
        ("poll_oneoff", &[SUBSCRIPTIONS, B, 0xffff_ffff, R]),
        ("poll_oneoff", &[SUBSCRIPTIONS, B, 0x0555_5556, R]),
        ("random_get", &[B, 0xffff_ffff]),
        ("sock_recv", &[STREAM, V, 0xffff_ffff, 0, R, R + 4]),
        ("sock_send", &[STREAM, V, 0x2000_0000, 0, R]),
        ("path_open", &[DIR_FD, 0, P, 0xffff_ffff, 0, 0, 0, 0, R]),
        ("fd_readdir", &[DIR_FD, B, 0xffff_ffff, 0, R]),
    ] {
        let answer = guest.call(name, arguments);
        assert!(matches!(answer, Err(Stop::Trap(_))), "{name}: {answer:?}");
    }
    // A thousand buffers that are the whole memory each: one megabyte goes out, and no more.
    guest.memory = vec![0; 1 << 20];
    for n in 0..1024 {
        guest.put(IOVECS + 8 * n, &[0_u32.to_le_bytes(), (1_u32 << 20).to_le_bytes()].concat());
    }
    guest.call("fd_write", &[1, V, 1024, R]).unwrap();
    assert_eq!(guest.u32(RESULT), 1 << 20);
    assert_eq!(guest.world.stdio.stdout().len(), 1 << 20);
    guest.world.stdio.stall_writes(1);
    assert!(matches!(guest.call("fd_write", &[1, V, 1024, R]), Err(Stop::Wait(_))));
    // And from a file that is one endless hole, so much.
    guest.tell("fd_filestat_set_size", &[FILE_FD, 1 << 34]).unwrap();
    for n in 0..1024 {
        guest.put(IOVECS + 8 * n, &[0x10000_u32.to_le_bytes(), 0xf_0000_u32.to_le_bytes()].concat());
    }
    guest.call("fd_read", &[FILE_FD, V, 1024, R]).unwrap();
    assert_eq!(guest.u32(RESULT), MAX_FILE_IO);
}

#[test]
fn a_bad_pointer_takes_nothing_from_a_socket() {
    let end = MEMORY as u64;
    let (mut guest, peer) = prepare_with_peer();
    for (name, arguments) in [
        ("sock_accept", &[LISTENER, 0, end - 3][..]),
        ("sock_accept", &[LISTENER, 0, R + 1]),
        ("sock_recv", &[STREAM, V, 2, 0, end - 3, R]),
        ("sock_recv", &[STREAM, V, 2, 0, R, end - 1]),
        ("sock_recv", &[STREAM, V, 2, 0, R, R + 1]),
        ("sock_recv", &[STREAM, V + 4, 2, 0, R, R + 4]),
        ("fd_read", &[STREAM, V, 2, end]),
        ("sock_send", &[STREAM, V, 2, 0, end]),
        ("sock_send", &[STREAM, end - 8, 2, 0, R]),
        ("fd_write", &[STREAM, V, 2, R + 2]),
        ("poll_oneoff", &[SUBSCRIPTIONS, B, 3, end]),
        ("poll_oneoff", &[SUBSCRIPTIONS, end - 64, 3, R]),
    ] {
        let answer = guest.call(name, arguments);
        assert!(matches!(answer, Err(Stop::Trap(_))), "{name}{arguments:x?}: {answer:?}");
    }
    assert_eq!(peer.state().incoming.len(), 200);
    assert!(peer.written().is_empty());
    // And the second connection is still there.
    guest.tell("sock_accept", &[LISTENER, 0, R]).unwrap();
}

#[test]
fn one_call_moves_only_so_much_through_a_socket() {
    let (mut guest, peer) = prepare_with_peer();
    guest.memory = vec![0; 1 << 20];
    for n in 0..1024 {
        guest.put(IOVECS + 8 * n, &[0_u32.to_le_bytes(), (1_u32 << 20).to_le_bytes()].concat());
    }
    guest.call("sock_send", &[STREAM, V, 1024, 0, R]).unwrap();
    assert_eq!(guest.u32(RESULT), MAX_SOCKET);
    assert_eq!(peer.written().len(), MAX_SOCKET as usize);
    // One that is woken for every byte of it comes to an end too.
    peer.room(0);
    let call = [STREAM, V, 1024, 0, R];
    for _ in 0..1000 {
        assert!(matches!(guest.call("sock_send", &call), Err(Stop::Wait(_))));
        peer.room(1);
    }
    peer.room(usize::MAX);
    guest.call("sock_send", &call).unwrap();
    assert_eq!(guest.u32(RESULT), MAX_SOCKET);
}

#[test]
fn a_list_that_changes_while_its_call_waits_does_no_harm() {
    let (mut guest, peer) = prepare_with_peer();
    peer.room(60);
    let call = [STREAM, V, 2, 0, R];
    assert!(matches!(guest.call("sock_send", &call), Err(Stop::Wait(_))));
    // Only somebody else could do this: shorter buffers than what is done already, none, and ones that lead nowhere.
    for lengths in [&[1, 1][..], &[0, 0], &[u32::MAX, 1]] {
        for (n, length) in lengths.iter().enumerate() {
            guest.put(IOVECS + 8 * n as u32 + 4, &length.to_le_bytes());
        }
        let _ = guest.call("sock_send", &call);
        let _ = guest.call("sock_recv", &[STREAM, V, 2, 2, R, R + 4]);
    }
}
