//! wasi:clocks: time goes on, and waiting takes it.

use futures::future::join_all;
use wasip3::clocks::{monotonic_clock as clock, system_clock};

const MS: u64 = 1_000_000;

pub(crate) async fn monotonic() {
    assert!(clock::get_resolution() > 0);
    let first = clock::now();
    let mut last = first;
    for _ in 0..1000 {
        let now = clock::now();
        assert!(now >= last, "time went back");
        last = now;
    }
}

pub(crate) async fn system() {
    assert!(system_clock::get_resolution() > 0);
    let now = system_clock::now();
    assert!(now.nanoseconds < 1_000_000_000);
    assert!(now.seconds > 1_700_000_000, "the clock says {}", now.seconds);
}

pub(crate) async fn wait() {
    let begun = clock::now();
    clock::wait_for(20 * MS).await;
    let waited = clock::now() - begun;
    assert!(waited >= 20 * MS, "{waited}");
    clock::wait_until(clock::now() + 10 * MS).await;
    // What is over is no wait at all.
    clock::wait_until(0).await;
    clock::wait_until(begun).await;
    clock::wait_for(0).await;
}

/// They wait together, not one after the other.
pub(crate) async fn many_wait() {
    let begun = clock::now();
    join_all((0..50).map(|n| clock::wait_for((n % 5 + 20) * MS))).await;
    let waited = clock::now() - begun;
    assert!((24 * MS..500 * MS).contains(&waited), "{waited}");
    // A wait that is dropped is over.
    let mut long = Box::pin(clock::wait_for(3_600_000 * MS));
    let short = Box::pin(clock::wait_for(MS));
    match futures::future::select(&mut long, short).await {
        futures::future::Either::Right(_) => {}
        futures::future::Either::Left(_) => panic!("an hour is over"),
    }
}
