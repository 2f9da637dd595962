//! `wasi:random`: bytes fit for keys, and some that need not be.

use wasmtime::Result;

use super::bindings::wasi::random::{insecure, insecure_seed, random};
use crate::State;

/// The most that one call gives: who wants more asks again, as the specification has it.
const MAX_RANDOM: usize = 64 << 10;

impl random::Host for State {
    async fn get_random_bytes(&mut self, most: u64) -> Result<Vec<u8>> {
        let mut bytes = buffer(most);
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
    fn get_insecure_random_bytes(&mut self, most: u64) -> Result<Vec<u8>> {
        let mut bytes = buffer(most);
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
    fn get_insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok(self.seed())
    }
}

fn buffer(most: u64) -> Vec<u8> {
    vec![0; usize::try_from(most).unwrap_or(MAX_RANDOM).min(MAX_RANDOM)]
}
