//! SHA-256 over a MiB, and over what came out before.

use sha2::{Digest, Sha256};

pub(crate) fn run(rounds: u32) -> u64 {
    let bytes: Vec<u8> = (0..1u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut digest = [0; 32];
    for _ in 0..rounds {
        digest = Sha256::new().chain_update(digest).chain_update(&bytes).finalize().into();
    }
    u64::from_be_bytes(digest[..8].try_into().expect("eight of them"))
}
