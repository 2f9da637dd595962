//! What can be set at a socket. Kept as it is set, within bounds, and told again; of all this the network here knows
//! keep-alive.

use lunette_hostcalls::Nanos;

use super::{ErrorCode, Result};

const SECOND: Nanos = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) keep_alive: bool,
    pub(super) idle: Nanos,
    pub(super) interval: Nanos,
    pub(super) count: u32,
    pub(super) hop_limit: u8,
    pub(super) receive_buffer: u64,
    pub(super) send_buffer: u64,
}

/// Linux's.
impl Default for Options {
    fn default() -> Self {
        Self {
            keep_alive: false,
            idle: 7200 * SECOND,
            interval: 75 * SECOND,
            count: 9,
            hop_limit: 64,
            receive_buffer: 64 << 10,
            send_buffer: 64 << 10,
        }
    }
}

impl Options {
    /// After how much silence a peer is asked whether it lives.
    pub(super) fn asks_after(&self) -> Option<Nanos> {
        self.keep_alive.then_some(self.idle)
    }
}

/// A time in whole seconds, at least one: what systems can be told.
pub(super) fn time(value: Nanos) -> Result<Nanos> {
    positive(value).map(|value| value.div_ceil(SECOND).clamp(1, 32_767) * SECOND)
}

pub(super) fn count(value: u32) -> Result<u32> {
    positive(value).map(|value| value.min(127))
}

pub(super) fn hop_limit(value: u8) -> Result<u8> {
    positive(value)
}

pub(super) fn buffer(value: u64) -> Result<u64> {
    positive(value).map(|value| value.clamp(4 << 10, 4 << 20))
}

fn positive<T: PartialEq + Default>(value: T) -> Result<T> {
    if value == T::default() { Err(ErrorCode::InvalidArgument.into()) } else { Ok(value) }
}
