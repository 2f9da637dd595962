//! Transfers over wires that nobody would want: what arrives is what was sent, or an error says that it did not.
//!
//! All in virtual time and from seeds: a failure says its seed, and leaves the last frames in
//! `target/tmp/captures/`.

mod wire;

use std::{cell::RefCell, net::SocketAddr, sync::Arc};

use lunette_hostcalls::{Errno, Interest, Net, TcpStream};
use wire::{Faults, MS, Nanos, Random, SECOND, World, program, v4, v6};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// One direction of a transfer.
#[derive(Clone, Copy)]
struct Flow {
    seed: u64,
    total: usize,
    /// The largest pieces that are written and read, and how long the reader rests after each.
    write: usize,
    read: usize,
    rest: Nanos,
}

impl Flow {
    fn new(seed: u64, total: usize) -> Self {
        Self { seed, total, write: 16 * KIB, read: 16 * KIB, rest: 0 }
    }
}

/// Both directions of one connection at once. Returns how long it took.
fn transfer(world: &mut World, to: fn(u8, u16) -> SocketAddr, up: Flow, down: Flow) -> Nanos {
    let (server, client) = (world.stack(), world.stack());
    let listener = server.listen(to(1, 80), 4).unwrap();
    let (waits, ends) = (world.waits(), RefCell::new([None; 4]));
    let both = async |stream: Arc<dyn TcpStream>, sends: Flow, takes: Flow, at: usize| {
        let sent = async {
            ends.borrow_mut()[at] =
                Some((sends.total, waits.send(&stream, sends.seed, sends.total, sends.write).await.unwrap()));
        };
        let taken = async {
            ends.borrow_mut()[at + 1] = Some(waits.receive(&stream, takes.read, takes.rest).await.unwrap());
        };
        join(sent, taken).await;
    };
    let serve = program(async { both(waits.accept(&listener).await.unwrap(), down, up, 0).await });
    let ask = program(async { both(waits.connect(&*client, to(1, 80)).await.unwrap(), up, down, 2).await });
    let took = world.run([serve, ask]);
    let ends = *ends.borrow();
    assert!(ends.iter().all(Option::is_some));
    assert_eq!(ends[0], ends[3], "down");
    assert_eq!(ends[2], ends[1], "up");
    took
}

async fn join(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    futures_util::future::join(a, b).await;
}

fn rate(bytes: usize, time: Nanos) -> String {
    format!("{:.2} MB/s", bytes as f64 * 1000.0 / time.max(1) as f64)
}

/// Loss, jitter and reordering as a bad network has them.
const BAD: Faults = Faults {
    loss: 10_000,
    duplicate: 1_000,
    corrupt: 1_000,
    reorder: 20_000,
    delay: MS,
    jitter: 5 * MS,
    hold: 5 * MS,
    rate: 1_000_000_000,
    queue: 1000,
};

#[test]
fn a_hundred_mebibytes_each_way_through_loss_jitter_and_reordering() {
    let mut world = World::new("hundred-mebibytes", 1, BAD);
    world.set_limit(20_000 * SECOND);
    let took = transfer(&mut world, v4, Flow::new(11, 100 * MIB), Flow::new(12, 100 * MIB));
    println!(
        "100 MiB each way in {} s: {} each; {:?}",
        took / SECOND,
        rate(100 * MIB, took),
        world.wire.counts()
    );
}

/// An echo reads no more while it can't write: both windows shut, and each end's acknowledgements come with what the
/// other can't take.
#[test]
fn an_echo_with_both_windows_shut_goes_on() {
    for seed in 1..=20 {
        let mut world = World::new("echo", seed, BAD);
        world.set_limit(2_000 * SECOND);
        let (server, client) = (world.stack(), world.stack());
        let listener = server.listen(v4(1, 7), 4).unwrap();
        let (waits, hashes) = (world.waits(), RefCell::new([None; 2]));
        let echo = program(async {
            let stream = waits.accept(&listener).await.unwrap();
            let mut buf = [0; 4096];
            loop {
                let length = waits.read(&stream, &mut buf).await.unwrap();
                if length == 0 {
                    break;
                }
                waits.write_all(&stream, &buf[..length]).await.unwrap();
            }
        });
        let ask = program(async {
            let stream = waits.connect(&*client, v4(1, 7)).await.unwrap();
            let sends = async {
                let hash = waits.send(&stream, seed, 4 * MIB, 64 * KIB).await.unwrap();
                hashes.borrow_mut()[0] = Some((4 * MIB, hash));
            };
            let takes = async {
                // Only when much has come: its own window is shut by then.
                waits.sleep(SECOND).await;
                hashes.borrow_mut()[1] = Some(waits.receive(&stream, 64 * KIB, 0).await.unwrap());
            };
            join(sends, takes).await;
        });
        world.run([echo, ask]);
        let [sent, came] = *hashes.borrow();
        assert!(sent.is_some());
        assert_eq!(sent, came, "seed {seed}");
    }
}

#[test]
fn a_good_wire_is_filled() {
    for (name, to) in [("good-v4", v4 as fn(u8, u16) -> SocketAddr), ("good-v6", v6)] {
        let mut world = World::new(name, 2, Faults::default());
        let took = transfer(&mut world, to, Flow::new(21, 16 * MIB), Flow::new(22, MIB));
        println!("{name}: {}", rate(16 * MIB, took));
        // A gigabit is 125 MB/s, of which 118 are ours at best.
        assert!(took < SECOND / 2, "{}", rate(16 * MIB, took));
    }
}

#[test]
fn many_seeds() {
    for seed in 100..160 {
        let mut random = Random::new(seed);
        let faults = Faults {
            loss: random.below(60_000) as u32,
            duplicate: random.below(50_000) as u32,
            corrupt: random.below(30_000) as u32,
            reorder: random.below(100_000) as u32,
            delay: random.below(20 * MS),
            jitter: random.below(10 * MS),
            hold: random.below(30 * MS),
            rate: 1_000_000 << random.below(11),
            queue: 4 + random.below(200) as usize,
        };
        let mut world = World::new("many-seeds", seed, faults);
        world.set_limit(3600 * SECOND);
        let to = if seed % 2 == 0 { v4 } else { v6 };
        let flow = |seed, random: &mut Random| Flow {
            seed,
            total: random.below(200 * KIB as u64) as usize,
            write: 1 + random.below(8000) as usize,
            read: 1 + random.below(8000) as usize,
            rest: 0,
        };
        let (up, down) = (flow(seed, &mut random), flow(seed + 1, &mut random));
        transfer(&mut world, to, up, down);
    }
}

#[test]
fn a_fifth_of_all_frames_lost() {
    for seed in 200..210 {
        let faults = Faults { loss: Faults::percent(20), delay: 5 * MS, ..Faults::default() };
        let mut world = World::new("fifth-lost", seed, faults);
        world.set_limit(4 * 3600 * SECOND);
        transfer(&mut world, v4, Flow::new(seed, 64 * KIB), Flow::new(seed + 1, 64 * KIB));
    }
}

/// A reader that takes a few bytes now and then: its window is small or shut most of the time, and the frames that
/// would open it again are lost as any others.
#[test]
fn tiny_windows() {
    for (seed, read, rest) in [(300, 1, 0), (301, 7, MS), (302, 1460, 50 * MS), (303, 100_000, 3 * SECOND)] {
        let faults = Faults { loss: 30_000, jitter: MS, ..Faults::default() };
        let mut world = World::new("tiny-windows", seed, faults);
        world.set_limit(4 * 3600 * SECOND);
        let total = if read < 100 { 8 * KIB } else { 512 * KIB };
        let slow = Flow { read, rest, ..Flow::new(seed, total) };
        transfer(&mut world, v4, slow, slow);
    }
}

/// One side writes to its end, and only then the other, which has read until then.
#[test]
fn half_closed_both_ways() {
    for seed in 400..420 {
        let faults = Faults { loss: 30_000, duplicate: 30_000, reorder: 50_000, ..Faults::default() };
        let mut world = World::new("half-closed", seed, faults);
        let (server, client) = (world.stack(), world.stack());
        let listener = server.listen(v4(1, 80), 4).unwrap();
        let (waits, sums) = (world.waits(), RefCell::new(Vec::new()));
        let client_first = seed % 2 == 0;
        let side = async |stream: Arc<dyn TcpStream>, first: bool| {
            for turn in [first, !first] {
                let sum = match turn {
                    true => (100 * KIB, waits.send(&stream, seed, 100 * KIB, 3000).await.unwrap()),
                    false => waits.receive(&stream, 3000, 0).await.unwrap(),
                };
                sums.borrow_mut().push(sum);
            }
            // Both halves are closed: there is nothing more to read, and nobody to write to.
            assert_eq!(waits.read(&stream, &mut [0; 9]).await, Ok(0));
            assert_eq!(waits.write(&stream, b"more").await, Err(Errno::Pipe));
        };
        let serve = program(async { side(waits.accept(&listener).await.unwrap(), !client_first).await });
        let ask =
            program(async { side(waits.connect(&*client, v4(1, 80)).await.unwrap(), client_first).await });
        world.run([serve, ask]);
        let sums = sums.borrow();
        assert!(sums.len() == 4 && sums.iter().all(|sum| *sum == sums[0]));
    }
}

/// A peer that aborts in the middle, seen through a wire that may lose the reset: the reader is told, once, and not
/// after ever so long.
#[test]
fn resets_in_the_middle() {
    for seed in 500..540 {
        let faults = Faults { loss: 100_000, jitter: MS, ..Faults::default() };
        let mut world = World::new("resets", seed, faults);
        let (server, client) = (world.stack(), world.stack());
        let listener = server.listen(v4(1, 80), 4).unwrap();
        let waits = world.waits();
        let by_drop = seed % 2 == 0;
        let serve = program(async {
            let stream = waits.accept(&listener).await.unwrap();
            let mut buf = [0; 1000];
            let mut taken = 0;
            while taken < 50 * KIB {
                let came = waits.read(&stream, &mut buf).await.unwrap();
                assert!(came > 0);
                taken += came;
            }
            match by_drop {
                // With something unread, that is a reset as well.
                true => {
                    waits.until(stream.clone(), Interest::Read, || stream.peek(&mut [0])).await.unwrap();
                    drop(stream);
                }
                false => stream.abort(),
            }
        });
        let ask = program(async {
            let stream = waits.connect(&*client, v4(1, 80)).await.unwrap();
            // More than both buffers hold, so it ends in the middle.
            assert_eq!(waits.send(&stream, seed, 64 * MIB, 16 * KIB).await, Err(Errno::Connreset));
            assert_eq!(waits.write(&stream, b"more").await, Err(Errno::Pipe));
            assert_eq!(waits.read(&stream, &mut [0; 9]).await, Ok(0));
            assert!(stream.ready(Interest::Read).hangup && stream.ready(Interest::Write).hangup);
        });
        world.run([serve, ask]);
        assert!(world.now() < 300 * SECOND, "told after {} s", world.now() / SECOND);
    }
}

/// A peer that is gone without a word: whoever writes to it is told in the end.
#[test]
fn a_cut_wire_is_a_timeout() {
    let mut world = World::new("cut", 600, Faults::default());
    world.set_limit(3600 * SECOND);
    let (server, client) = (world.stack(), world.stack());
    let listener = server.listen(v4(1, 80), 4).unwrap();
    let (waits, wire) = (world.waits(), world.wire.clone());
    let set_cut = |cut| {
        wire.set_cut(0, 1, cut);
        wire.set_cut(1, 0, cut);
    };
    let serve = program(async {
        let first = waits.accept(&listener).await.unwrap();
        first.set_keep_alive(Some(30 * SECOND));
        let mut buf = [0; 1000];
        assert_eq!(waits.read(&first, &mut buf).await, Ok(5));
        // It only reads: by keep-alive it learns that the peer is gone.
        assert_eq!(waits.read(&first, &mut buf).await, Err(Errno::Timedout));
        assert_eq!(waits.read(&first, &mut buf).await, Ok(0));
        let second = waits.accept(&listener).await.unwrap();
        assert_eq!(waits.read(&second, &mut buf).await, Ok(5));
        assert_eq!(waits.read(&second, &mut buf).await, Ok(0));
    });
    let ask = program(async {
        let stream = waits.connect(&*client, v4(1, 80)).await.unwrap();
        waits.write_all(&stream, b"hello").await.unwrap();
        waits.sleep(SECOND).await;
        set_cut(true);
        let began = waits.now();
        assert_eq!(waits.send(&stream, 1, 64 * MIB, 1000).await, Err(Errno::Timedout));
        let took = waits.now() - began;
        assert!((100 * SECOND..1000 * SECOND).contains(&took), "{} s", took / SECOND);
        // Nobody is there at all: a new one is not made.
        let began = waits.now();
        let error = waits.connect(&*client, v4(1, 80)).await.err();
        assert!(matches!(error, Some(Errno::Timedout | Errno::Hostunreach)), "{error:?}");
        assert!(waits.now() - began < 200 * SECOND);
        set_cut(false);
        let again = waits.connect(&*client, v4(1, 80)).await.unwrap();
        waits.write_all(&again, b"hello").await.unwrap();
    });
    world.run([serve, ask]);
}
