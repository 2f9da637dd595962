//! What one client, and all of them together, may use.

use std::{env, time::Duration};

/// A request's head, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// Its header lines.
pub const MAX_HEADERS: usize = 64;
/// All that is kept of requests and answers, in bytes. Who comes on top is told 503.
pub const MAX_HELD: usize = 16 * 1024 * 1024;
/// An answer may take so long on purpose.
pub const MAX_SLEEP: Duration = Duration::from_secs(60);
/// So long a client may take to see that it was refused.
pub const LINGER: Duration = Duration::from_secs(2);

/// What the environment may change.
pub struct Limits {
    /// `MAX_CONNECTIONS`: who comes on top waits to be accepted.
    pub connections: usize,
    /// `MAX_BODY`: a request's, in bytes.
    pub body: usize,
    /// `IDLE_SECONDS`: between requests, and without any progress of an answer.
    pub idle: Duration,
    /// `REQUEST_SECONDS`: from a request's first byte to its last.
    pub request: Duration,
}

impl Limits {
    pub fn from_env() -> Result<Self, String> {
        Ok(Self {
            connections: number("MAX_CONNECTIONS", 4096)?,
            body: number("MAX_BODY", 1024 * 1024)?,
            idle: Duration::from_secs(number("IDLE_SECONDS", 60)? as u64),
            request: Duration::from_secs(number("REQUEST_SECONDS", 20)? as u64),
        })
    }
}

fn number(name: &str, default: usize) -> Result<usize, String> {
    match env::var(name) {
        Err(_) => Ok(default),
        Ok(text) => match text.parse() {
            Ok(value) if value > 0 => Ok(value),
            _ => Err(format!("{name} is {text:?}, expected a number from 1")),
        },
    }
}
