//! Random bytes for an instance, whichever WASI it asks by.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use lunette_hostcalls::Errno;
use wasmtime::Result;

use crate::State;

/// How long to wait before asking an unseeded generator again.
const SEED_WAIT: Duration = Duration::from_millis(1);

impl State {
    /// Waits while the generator is unseeded.
    pub(crate) async fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        loop {
            match self.ctx.random.fill(bytes) {
                Ok(()) => return Ok(()),
                Err(Errno::Again) => self.time.sleep(SEED_WAIT).await,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The same for as long as the instance lives.
    pub(crate) fn seed(&mut self) -> (u64, u64) {
        if let Some(seed) = self.seed {
            return seed;
        }
        let mut bytes = [[0; 8]; 2];
        self.fill_somehow(bytes.as_flattened_mut());
        let [first, second] = bytes.map(u64::from_le_bytes);
        *self.seed.insert((first, second))
    }

    /// Does not wait: what an unseeded generator does not give is made of the time.
    pub(crate) fn fill_somehow(&mut self, bytes: &mut [u8]) {
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
