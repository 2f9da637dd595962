//! Frames from nowhere: what `fuzz/` does with a fuzzer, here from seeds, on any laptop; and an attacker who hears all
//! and says what he likes.

mod wire;

#[path = "../fuzz/harness.rs"]
#[allow(unreachable_pub, reason = "shared with the fuzzer")]
mod harness;

use std::{net::SocketAddr, sync::Arc};

use lunette_hostcalls::{Errno, Net, Shutdown, TcpListener};
use lunette_net::Stack;
use wire::{Faults, MS, Port, Random, SECOND, Waits, World, program, v4, v6};

/// What a seed does can be had again: `FRAMES_SEED=17 cargo test -p lunette-net --test frames`.
#[test]
fn random_steps_do_no_harm() {
    let one = std::env::var("FRAMES_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in one.map_or(0..1500_u64, |seed| seed..seed + 1) {
        let mut random = Random::new(seed);
        let mut bytes = vec![0; 200 + random.below(3000) as usize];
        random.fill(&mut bytes);
        let result = std::panic::catch_unwind(|| harness::run(&bytes));
        assert!(result.is_ok(), "seed {seed}");
    }
}

async fn echo(waits: &Waits, listener: Arc<dyn TcpListener>) {
    while let Ok(stream) = waits.accept(&listener).await {
        // What a flood of half-made ones may hold up, but not for ever.
        stream.set_keep_alive(Some(SECOND));
        let mut buf = [0; 4096];
        while let Ok(length @ 1..) = waits.read(&stream, &mut buf).await {
            if waits.write_all(&stream, &buf[..length]).await.is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
    }
}

async fn ask(waits: &Waits, net: &Stack<Port>, to: SocketAddr) -> Result<(), Errno> {
    let stream = waits.connect(net, to).await?;
    stream.set_keep_alive(Some(SECOND));
    waits.write_all(&stream, &[7; 3000]).await?;
    stream.shutdown(Shutdown::Write)?;
    let (mut heard, mut buf) = (0, [0; 4096]);
    loop {
        match waits.read(&stream, &mut buf).await? {
            0 => break,
            length => heard += length,
        }
    }
    if heard == 3000 { Ok(()) } else { Err(Errno::Io) }
}

/// A third on the wire repeats what it hears, changed here and there, with the right checksums and anybody's address.
/// While it lasts connections may break; none may hang, and when it is over all is well again.
#[test]
fn an_attacker_on_the_wire_breaks_nothing_for_good() {
    for seed in 0..8 {
        let mut world = World::new("attacker", seed, Faults::default());
        world.set_limit(7200 * SECOND);
        let (server, client) = (world.stack(), world.stack());
        let listeners = [server.listen(v4(1, 80), 16).unwrap(), server.listen(v6(1, 81), 16).unwrap()];
        let attacker = world.wire.mouth();
        let (waits, wire) = (world.waits(), world.wire.clone());
        let attack = async {
            let mut random = Random::new(seed);
            for _ in 0..20_000 {
                waits.sleep(MS / 2).await;
                if let Some(mut frame) = wire.heard(random.below(64) as usize) {
                    let mut how = [0; 16];
                    random.fill(&mut how);
                    harness::change(&mut frame, &mut harness::Bytes(&how));
                    wire.inject(attacker, &frame);
                }
            }
        };
        let talk = async {
            let until = waits.now() + 10 * SECOND;
            let mut count = 0;
            while waits.now() < until {
                count += 1;
                let began = waits.now();
                let to = if count % 2 == 0 { v4(1, 80) } else { v6(1, 81) };
                // It may fail: he can reset it.
                let _ = ask(&waits, &client, to).await;
                assert!(waits.now() - began < 400 * SECOND);
                waits.sleep(2 * MS).await;
            }
            // A neighbour is believed for a minute, whoever said where it is.
            waits.sleep(400 * SECOND).await;
            for to in [v4(1, 80), v6(1, 81)] {
                assert_eq!(ask(&waits, &client, to).await, Ok(()), "seed {seed}");
            }
            server.close_listeners();
        };
        let [one, two] = listeners;
        world.run([program(attack), program(talk), program(echo(&waits, one)), program(echo(&waits, two))]);
    }
}
