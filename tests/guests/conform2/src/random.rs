//! wasi:random: as many bytes as asked for, and not the same twice.

use wasip2::random::{insecure, insecure_seed, random as secure};

pub(crate) fn random() {
    for length in [0u64, 1, 7, 4096] {
        assert_eq!(secure::get_random_bytes(length).len() as u64, length);
        assert_eq!(insecure::get_insecure_random_bytes(length).len() as u64, length);
    }
    assert_ne!(secure::get_random_bytes(32), secure::get_random_bytes(32));
    assert_ne!(secure::get_random_u64(), secure::get_random_u64());
    assert_ne!(insecure::get_insecure_random_u64(), insecure::get_insecure_random_u64());
    assert_eq!(insecure_seed::insecure_seed(), insecure_seed::insecure_seed(), "it is one seed");
}
