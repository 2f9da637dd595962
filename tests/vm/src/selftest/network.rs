//! The network over the card of this machine. QEMU's user-mode network is the peer.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use lunette_hostcalls::{
    Clock, Errno, Interest, Net, Wait,
    conformance::{NetWorld, run_network},
    task::{Executor, Timers, ready},
};
use lunette_kernel::{
    network,
    services::{KernelClock, KernelHost, KernelStdio},
};

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("what comes over the wire wakes a halted processor", wakes),
    ("several tasks wait at once, each for its own", tasks),
    ("the network conforms", conform),
];

fn net() -> Arc<dyn Net> {
    network::raise().unwrap_or_else(|why| panic!("{why}"))
}

/// Waits as a guest does.
fn wait(wait: &Wait) {
    let until = KernelClock.monotonic() + 5_000_000_000;
    let wait = Wait { until: Some(wait.until.map_or(until, |at| at.min(until))), ..wait.clone() };
    let timers = Arc::new(Timers::default());
    let mut executor = Executor::new(timers.clone());
    executor.spawn(ready(&wait, &KernelClock, &KernelStdio, &timers));
    executor.next(&KernelClock, &mut KernelHost);
}

/// The gateway answers a connection to a port where nobody listens. Were it found by looking now and then, it
/// would never take less than that.
fn wakes() {
    let net = net();
    let mut fastest = Duration::MAX;
    for _ in 0..50 {
        let start = Instant::now();
        let stream = net.connect(([10, 0, 2, 2], 1).into()).expect("a way there");
        while stream.connected() == Err(Errno::Again) {
            wait(&Wait::socket(stream.clone(), Interest::Write));
            assert!(start.elapsed() < Duration::from_secs(20), "no answer");
        }
        assert_eq!(stream.connected(), Err(Errno::Connrefused));
        fastest = fastest.min(start.elapsed());
        // The processor halts for good.
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(fastest < Duration::from_millis(5), "the fastest answer came after {fastest:?}");
}

/// Tasks that send one another on, by sockets and by the clock.
fn tasks() {
    const TASKS: usize = 20;
    let net = net();
    let timers = Arc::new(Timers::default());
    let order = Rc::new(RefCell::new(Vec::new()));
    let mut executor = Executor::new(timers.clone());
    let start = KernelClock.monotonic();
    for i in 0..TASKS {
        let listener = net.listen(([127, 0, 0, 1], 2000 + i as u16).into(), 4).expect("a free port");
        let (net, timers, order) = (net.clone(), timers.clone(), order.clone());
        executor.spawn(async move {
            let wait = async |wait: Wait| ready(&wait, &KernelClock, &KernelStdio, &timers).await;
            // The first is due last: it wakes the second, and so on.
            wait(Wait::until(start + 1_000_000 * (TASKS - i) as u64)).await;
            if i > 0 {
                while listener.accept().is_err() {
                    wait(Wait::socket(listener.clone(), Interest::Read)).await;
                }
            }
            order.borrow_mut().push(i);
            if i + 1 < TASKS {
                let next = net.connect(([127, 0, 0, 1], 2001 + i as u16).into()).expect("a way there");
                while next.connected() == Err(Errno::Again) {
                    wait(Wait::socket(next.clone(), Interest::Write)).await;
                }
                assert_eq!(next.connected(), Ok(()));
            }
        });
    }
    while !executor.is_empty() {
        executor.next(&KernelClock, &mut KernelHost).expect("nobody stops the run");
        assert!(KernelClock.monotonic() < start + 30_000_000_000, "{:?}", order.borrow());
    }
    assert_eq!(*order.borrow(), (0..TASKS).collect::<Vec<_>>());
}

fn conform() {
    let net = net();
    let world = NetWorld { net: &*net, wait: &wait };
    let failed = run_network(&world, &mut |name, result| match result {
        Ok(()) => println!("  ok {name}"),
        Err(why) => println!("  FAILED {name}: {why}"),
    });
    assert_eq!(failed, 0);
}
