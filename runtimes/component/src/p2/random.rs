//! `wasi:random`: bytes fit for keys, and some that need not be.

use wasmtime::{Error, Result};

use super::bindings::wasi::random::{insecure, insecure_seed, random};
use crate::State;

/// The most that one call gives; more is a trap, as in wasmtime.
const MAX_RANDOM: u64 = 16 << 20;

impl random::Host for State {
    async fn get_random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length(len)?];
        self.fill(&mut bytes).await?;
        Ok(bytes)
    }

    async fn get_random_u64(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes).await?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length(len)?];
        self.fill_somehow(&mut bytes);
        Ok(bytes)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.fill_somehow(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }
}

impl insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok(self.seed())
    }
}

fn length(len: u64) -> Result<usize> {
    if len > MAX_RANDOM {
        return Err(Error::msg(format!(
            "{len} random bytes at once are more than the {MAX_RANDOM} that can be had"
        )));
    }
    Ok(len as usize)
}
