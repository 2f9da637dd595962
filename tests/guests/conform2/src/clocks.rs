//! wasi:clocks and wasi:io/poll: time goes on, and waiting takes it.

use wasip2::{
    clocks::{monotonic_clock as clock, wall_clock},
    io::poll::poll,
};

const MS: u64 = 1_000_000;

pub(crate) fn monotonic() {
    assert!(clock::resolution() > 0);
    let mut last = clock::now();
    for _ in 0..1000 {
        let now = clock::now();
        assert!(now >= last, "time went back");
        last = now;
    }
}

pub(crate) fn wall() {
    let resolution = wall_clock::resolution();
    assert!((resolution.seconds, resolution.nanoseconds) > (0, 0));
    let now = wall_clock::now();
    assert!(now.nanoseconds < 1_000_000_000);
    assert!(now.seconds > 1_700_000_000, "the clock says {}", now.seconds);
}

pub(crate) fn wait() {
    let begun = clock::now();
    let timer = clock::subscribe_duration(20 * MS);
    assert!(!timer.ready());
    timer.block();
    let waited = clock::now() - begun;
    assert!(waited >= 20 * MS, "{waited}");
    // What is over stays over.
    assert!(timer.ready());
    timer.block();
    let until = clock::subscribe_instant(clock::now() + 10 * MS);
    assert!(!until.ready());
    until.block();
    for over in [clock::subscribe_instant(0), clock::subscribe_instant(begun), clock::subscribe_duration(0)] {
        over.block();
        assert!(over.ready());
    }
}

/// Which of them are ready, by their places in the list; the same may be there twice.
pub(crate) fn poll_many() {
    let long = clock::subscribe_duration(3_600_000 * MS);
    let short = clock::subscribe_duration(5 * MS);
    let over = clock::subscribe_instant(0);
    over.block();
    assert_eq!(poll(&[&long, &over]), [1]);
    assert_eq!(poll(&[&over, &long, &over]), [0, 2]);
    assert_eq!(poll(&[&long, &short]), [1]);
    assert!(short.ready() && !long.ready());
    let many: Vec<_> = (0..200).map(|n| clock::subscribe_duration((10 + n % 3) * MS)).collect();
    let begun = clock::now();
    let mut left: Vec<_> = many.iter().collect();
    while !left.is_empty() {
        let ready = poll(&left);
        assert!(!ready.is_empty());
        let mut at = 0u32..;
        left.retain(|_| !ready.contains(&at.next().expect("no end")));
    }
    let waited = clock::now() - begun;
    assert!(waited < 1000 * MS, "{waited}: one after the other");
}
