//! std itself: unwinding, thread-locals, hash maps, time.

use std::{
    cell::Cell,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    panic::catch_unwind,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant, SystemTime},
};

use lunette_kernel::{
    arch::{apic, traps},
    time,
};

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("a panic unwinds, runs destructors and is caught", unwinding),
    ("thread-locals are initialised and destroyed in order", thread_locals),
    ("hash maps work, and two states differ", hash_maps),
    ("the clock runs, in nanoseconds, and sleeping takes as long as asked", clock),
    ("the date is plausible", date),
    ("a thread can't be had, and std says so", threads),
    ("floating point is exact", floats),
    ("ticks come while code computes, and disturb nothing", ticks),
    ("a tick's hook is called while code computes and not while the machine is idle", tick_hook),
    ("the environment is empty and there is one argument", environment),
];

fn unwinding() {
    struct Bump(Rc<Cell<u32>>);
    impl Drop for Bump {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    fn deep(n: u32, counter: &Rc<Cell<u32>>) {
        let _guard = Bump(counter.clone());
        if n == 0 {
            panic!("on purpose");
        }
        deep(n - 1, counter);
    }
    for _ in 0..20 {
        let counter = Rc::new(Cell::new(0));
        let inner = std::panic::AssertUnwindSafe(counter.clone());
        let caught = catch_unwind(move || deep(50, &inner)).expect_err("it panics");
        assert_eq!(caught.downcast_ref::<&str>(), Some(&"on purpose"));
        assert_eq!(counter.get(), 51);
    }
}

fn thread_locals() {
    thread_local! {
        static PLAIN: Cell<u64> = const { Cell::new(0x1234_5678_9abc_def0) };
        static LAZY: Vec<u32> = (0..100).collect();
    }
    PLAIN.with(|cell| {
        assert_eq!(cell.get(), 0x1234_5678_9abc_def0);
        cell.set(7);
    });
    assert_eq!(PLAIN.get(), 7);
    LAZY.with(|v| assert_eq!(v.iter().sum::<u32>(), 4950));
}

fn hash_maps() {
    let map: HashMap<u32, String> = (0..10_000).map(|i| (i, i.to_string())).collect();
    assert!((0..10_000).all(|i| map[&i] == i.to_string()));
    assert_ne!(RandomState::new().hash_one(1), RandomState::new().hash_one(1));
}

fn clock() {
    let start = Instant::now();
    let mut last = start;
    for _ in 0..10_000 {
        let now = Instant::now();
        assert!(now >= last);
        last = now;
    }
    assert!(last > start, "it does not stand still");
    for millis in [1, 20, 100] {
        let before = Instant::now();
        thread::sleep(Duration::from_millis(millis));
        let took = before.elapsed();
        assert!(took >= Duration::from_millis(millis), "slept {took:?} instead of {millis} ms");
        assert!(took < Duration::from_millis(millis) * 10 + Duration::from_secs(5), "overslept: {took:?}");
    }
}

fn date() {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!((1_700_000_000..5_000_000_000).contains(&since), "{since} s since 1970");
}

fn threads() {
    assert!(thread::Builder::new().spawn(|| ()).is_err());
    assert_eq!(thread::available_parallelism().map(usize::from).unwrap_or(1), 1);
}

fn floats() {
    let x: f64 = std::hint::black_box(7.5);
    assert_eq!(x % 2.0, 1.5);
    assert_eq!(std::hint::black_box(1u128 << 100) as f64, 1.267_650_600_228_229_4e30);
    assert_eq!(std::hint::black_box(1e20_f64) as u128, 100_000_000_000_000_000_000);
    assert_eq!(std::hint::black_box(2.0_f64).powi(53), 9_007_199_254_740_992.0);
    assert_eq!(std::hint::black_box(1.0_f64).sin(), 0.841_470_984_807_896_5);
}

/// The tick may come at any instruction: in the red zone, between SSE operations, during a page fault.
fn ticks() {
    let compute = || {
        let mut sum = 0.0_f64;
        let mut pages = vec![0_u8; 1 << 20];
        for i in 0..200_000_u32 {
            sum += f64::from(i).sqrt() * f64::from(i % 7);
            pages[(i as usize * 4099) % (1 << 20)] ^= i as u8;
        }
        (sum.to_bits(), pages.iter().map(|&b| u64::from(b)).sum::<u64>())
    };
    let expected = compute();
    let before = traps::ticks();
    apic::start_tick(100_000);
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < Duration::from_millis(300) || rounds < 3 {
        assert_eq!(compute(), expected);
        rounds += 1;
    }
    apic::stop_tick();
    let ticks = traps::ticks() - before;
    assert!(ticks >= 10, "{ticks} ticks");
    assert_eq!(traps::ticks() - before, ticks, "stopped");
}

fn tick_hook() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    /// Uses what a hook may: the registers that compiled code does not keep, SSE's included.
    extern "C" fn hook() {
        let calls = CALLS.fetch_add(1, Relaxed) as f64;
        std::hint::black_box((calls * 1.5).sqrt());
    }
    let wait_for = |more: u64| {
        let (end, start) = (CALLS.load(Relaxed) + more, Instant::now());
        let mut sum = 0.0_f64;
        let mut rounds = 0_u32;
        while CALLS.load(Relaxed) < end {
            rounds += 1;
            sum += f64::from(rounds % 1000);
            assert!(start.elapsed() < Duration::from_secs(20), "the hook is not called");
        }
        let expected: f64 = (1..=rounds).map(|i| f64::from(i % 1000)).sum();
        assert_eq!(sum, expected, "the hook disturbed the sum");
    };
    time::on_tick(1_000_000, Some(hook));
    wait_for(50);
    let (calls, ticks) = (CALLS.load(Relaxed), traps::ticks());
    thread::sleep(Duration::from_millis(200));
    // Before the sleep, and after it, a few may have come.
    assert!(traps::ticks() - ticks < 20, "{} ticks in a sleep of 200 ms", traps::ticks() - ticks);
    assert!(CALLS.load(Relaxed) - calls <= traps::ticks() - ticks);
    wait_for(10); // they go on after a halt
    time::on_tick(0, None);
    let calls = CALLS.load(Relaxed);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(20) {}
    assert_eq!(CALLS.load(Relaxed), calls, "ended");
}

fn environment() {
    assert_eq!(std::env::vars().count(), 0);
    assert_eq!(std::env::args().collect::<Vec<_>>(), ["lunette"]);
}
