//! wasi:random: as many bytes as asked for, and not the same twice.

use wasip3::random::{insecure, insecure_seed, random as secure};

pub(crate) async fn random() {
    for length in [0u64, 1, 7, 4096] {
        assert_eq!(secure::get_random_bytes(length).len() as u64, length);
        assert_eq!(insecure::get_insecure_random_bytes(length).len() as u64, length);
    }
    assert_ne!(secure::get_random_bytes(32), secure::get_random_bytes(32));
    assert_ne!(secure::get_random_u64(), secure::get_random_u64());
    assert_ne!(insecure::get_insecure_random_u64(), insecure::get_insecure_random_u64());
    let _: (u64, u64) = insecure_seed::get_insecure_seed();
}
