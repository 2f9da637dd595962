//! `wasi:random`: bytes fit for keys, and some that need not be.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use lunette_hostcalls::Errno;
use wasmtime::{Error, Result};

use super::bindings::wasi::random::{insecure, insecure_seed, random};
use crate::State;

/// The most that one call gives; more is a trap, as in wasmtime.
const MAX_RANDOM: u64 = 16 << 20;

/// How long to wait before asking an unseeded generator again.
const SEED_WAIT: Duration = Duration::from_millis(1);

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
        Ok((insecure::Host::get_insecure_random_u64(self)?, insecure::Host::get_insecure_random_u64(self)?))
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

impl State {
    /// Waits while the generator is unseeded.
    async fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        loop {
            match self.ctx.random.fill(bytes) {
                Ok(()) => return Ok(()),
                Err(Errno::Again) => self.time.sleep(SEED_WAIT).await,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Does not wait: what an unseeded generator does not give is made of the time.
    fn fill_somehow(&mut self, bytes: &mut [u8]) {
        if self.ctx.random.fill(bytes).is_ok() {
            return;
        }
        for (n, chunk) in bytes.chunks_mut(8).enumerate() {
            let mut hasher = DefaultHasher::new();
            (n, self.ctx.clock.monotonic(), self.ctx.clock.wall()).hash(&mut hasher);
            chunk.copy_from_slice(&hasher.finish().to_le_bytes()[..chunk.len()]);
        }
    }
}
