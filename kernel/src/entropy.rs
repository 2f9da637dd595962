//! Random bytes: a ChaCha20 generator, keyed by everything the machine offers.
//!
//! Sources are mixed by hashing them into the key with the generator itself, so that a bad source can't
//! undo a good one. Bytes are handed out only once a source that is fit for keys (RDSEED, RDRAND,
//! virtio-rng) has delivered at least 32 bytes. After every request the key is replaced (fast key erasure): what
//! was handed out can't be computed from what is in memory later.

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

/// Bytes of good entropy before anything is handed out.
const ENOUGH: usize = 32;

#[derive(Default)]
pub struct Generator {
    key: [u8; 32],
    good_bytes: usize,
}

impl Generator {
    pub const fn new() -> Self {
        Self { key: [0; 32], good_bytes: 0 }
    }

    /// Mixes `bytes` in. `good`: they are unpredictable, not only different at each boot.
    pub fn mix(&mut self, bytes: &[u8], good: bool) {
        for chunk in bytes.chunks(32) {
            for (slot, byte) in self.key.iter_mut().zip(chunk) {
                *slot ^= byte;
            }
            // A permutation of sorts: each chunk is spread over the whole key before the next is added.
            let mut rng = ChaCha20Rng::from_seed(self.key);
            rng.fill_bytes(&mut self.key);
        }
        if good {
            self.good_bytes = self.good_bytes.saturating_add(bytes.len());
        }
    }

    pub fn seeded(&self) -> bool {
        self.good_bytes >= ENOUGH
    }

    /// Fills `buf`, seeded or not: for hash tables, that only want to be different. Others ask
    /// [`Generator::seeded`] first.
    pub fn fill(&mut self, buf: &mut [u8]) {
        let mut rng = ChaCha20Rng::from_seed(self.key);
        rng.fill_bytes(&mut self.key);
        rng.fill_bytes(buf);
    }
}

#[cfg(test)]
mod tests {
    use super::Generator;

    #[test]
    fn is_seeded_by_good_entropy_only() {
        let mut generator = Generator::new();
        generator.mix(&[7; 1000], false);
        assert!(!generator.seeded());
        generator.mix(&[1; 31], true);
        assert!(!generator.seeded());
        generator.mix(&[1], true);
        assert!(generator.seeded());
    }

    #[test]
    fn every_input_bit_and_every_request_changes_the_output() {
        let output = |seed: &[u8], skip: usize| {
            let mut generator = Generator::new();
            generator.mix(seed, true);
            let mut buf = [0; 64];
            for _ in 0..=skip {
                generator.fill(&mut buf);
            }
            buf
        };
        let seed = [0x5a; 48];
        let first = output(&seed, 0);
        assert_eq!(first, output(&seed, 0), "deterministic in its inputs");
        assert_ne!(first, output(&seed, 1));
        for bit in 0..48 * 8 {
            let mut other = seed;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(first, output(&other, 0), "bit {bit}");
        }
        // A second chunk equal to the first doesn't cancel it.
        assert_ne!(output(&[9; 64], 0), output(&[], 0));
    }
}
