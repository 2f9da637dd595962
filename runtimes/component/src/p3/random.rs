//! `wasi:random`: bytes fit for keys, and some that need not be.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use lunette_hostcalls::Errno;
use wasmtime::Result;

use super::bindings::wasi::random::{insecure, insecure_seed, random};
use crate::State;

/// The most that one call gives: who wants more asks again, as the specification has it.
const MAX_RANDOM: usize = 64 << 10;

/// How long to wait before asking an unseeded generator again.
const SEED_WAIT: Duration = Duration::from_millis(1);

impl random::Host for State {
    async fn get_random_bytes(&mut self, most: u64) -> Result<Vec<u8>> {
        let mut bytes = buffer(most);
        secure(self, &mut bytes).await?;
        Ok(bytes)
    }

    async fn get_random_u64(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        secure(self, &mut bytes).await?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, most: u64) -> Result<Vec<u8>> {
        let mut bytes = buffer(most);
        somehow(self, &mut bytes);
        Ok(bytes)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        somehow(self, &mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }
}

impl insecure_seed::Host for State {
    fn get_insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((insecure::Host::get_insecure_random_u64(self)?, insecure::Host::get_insecure_random_u64(self)?))
    }
}

fn buffer(most: u64) -> Vec<u8> {
    vec![0; usize::try_from(most).unwrap_or(MAX_RANDOM).min(MAX_RANDOM)]
}

/// Waits while the generator is unseeded.
async fn secure(state: &mut State, bytes: &mut [u8]) -> Result<()> {
    loop {
        match state.ctx.random.fill(bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::Again) => state.time.sleep(SEED_WAIT).await,
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Does not wait: what an unseeded generator does not give is made of the time.
fn somehow(state: &State, bytes: &mut [u8]) {
    if state.ctx.random.fill(bytes).is_ok() {
        return;
    }
    for (n, chunk) in bytes.chunks_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        (n, state.ctx.clock.monotonic(), state.ctx.clock.wall()).hash(&mut hasher);
        chunk.copy_from_slice(&hasher.finish().to_le_bytes()[..chunk.len()]);
    }
}
