//! Transfers over wires that nobody would want: what arrives is what was sent, or an error says that it did not.
//!
//! All in virtual time and from seeds: a failure says its seed, and leaves the last frames in
//! `target/tmp/captures/`.

mod wire;

use std::{cell::RefCell, net::SocketAddr, sync::Arc};

use lunette_hostcalls::{Errno, Interest, Net, Shutdown, Source, TcpStream};
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

/// What the issue of the network asks for.
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
