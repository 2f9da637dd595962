use crate::Check;
use lunette_hostcalls::Clock;
use lunette_hostcalls::task::Host;
use lunette_kernel::{
    network,
    services::{KernelClock, KernelHost},
};
use smoltcp::phy::{Device, RxToken, TxToken};
use std::time::{Duration, Instant};

pub(crate) const CHECKS: &[Check] = &[("frames", frames)];

fn frames() {
    let mut card = network::open().unwrap();
    println!("{:?}", card.capabilities());
    let at = |i: Instant| smoltcp::time::Instant::from_micros(i.elapsed().as_micros() as i64);
    let begin = Instant::now();
    for round in 0..20 {
        let start = Instant::now();
        let mut frame = vec![0xff; 6];
        frame.extend([
            0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56,
            10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
        ]);
        card.transmit(at(begin)).unwrap().consume(frame.len(), |b| b.copy_from_slice(&frame));
        let mut waits = 0;
        let took = loop {
            if let Some((frame, _)) = card.receive(at(begin)) {
                let reply = frame.consume(|b| b.to_vec());
                if round == 0 {
                    println!("{:x?}", reply);
                }
                break start.elapsed();
            }
            waits += 1;
            let until = KernelClock.monotonic() + 1_000_000_000;
            let _ = KernelHost.park(true, Some(until));
            assert!(start.elapsed() < Duration::from_secs(3));
        };
        println!("answer after {took:?}, {waits} waits");
        std::thread::sleep(Duration::from_millis(20));
    }
}
