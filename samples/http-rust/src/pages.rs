//! What there is to see here.

use std::time::Duration;

use crate::{
    limits::MAX_SLEEP,
    request::{Request, number},
};

const INDEX: &str = "\
/           this page
/bytes/N    N bytes: 0 to 250, and again
/echo       POST: the body comes back
/slow?ms=N  an answer after N milliseconds
/stats      figures of this server
";

pub struct Answer {
    pub status: u16,
    pub body: Body,
    /// For 405: what would be allowed.
    pub allow: &'static str,
    /// How long it takes.
    pub after: Duration,
}

pub enum Body {
    Text(String),
    Bytes(Vec<u8>),
    /// So many bytes of the [`pattern`].
    Pattern(u64),
}

/// Figures of the server.
#[derive(Default)]
pub struct Stats {
    pub connections: usize,
    pub requests: u64,
}

pub fn answer(request: &mut Request, stats: &Stats) -> Answer {
    let path = request.path.as_str();
    let allow = match path {
        "/" | "/slow" | "/stats" => "GET, HEAD",
        "/echo" => "POST",
        "*" => "OPTIONS",
        _ if path.starts_with("/bytes/") => "GET, HEAD",
        _ => return Answer::text(404, "not found\n"),
    };
    if !allow.split(", ").any(|method| method == request.method) {
        return Answer { allow, ..Answer::text(405, format!("allowed: {allow}\n")) };
    }
    match path {
        "/" => Answer::text(200, INDEX),
        "/stats" => Answer::text(200, stats.to_string()),
        "/echo" => Answer::new(200, Body::Bytes(std::mem::take(&mut request.body))),
        "/slow" => {
            let ms = request.query.split('&').find_map(|pair| number(pair.strip_prefix("ms=")?.as_bytes()));
            let Some(after) = ms.map(Duration::from_millis).filter(|after| *after <= MAX_SLEEP) else {
                return Answer::text(400, format!("expected /slow?ms=0 to {}\n", MAX_SLEEP.as_millis()));
            };
            Answer { after, ..Answer::text(200, "at last\n") }
        }
        "*" => Answer { allow: "GET, HEAD, POST, OPTIONS", ..Answer::text(200, "") },
        _ => match number(&path.as_bytes()["/bytes/".len()..]) {
            Some(length) => Answer::new(200, Body::Pattern(length)),
            None => Answer::text(400, "expected /bytes/N\n"),
        },
    }
}

impl Answer {
    fn new(status: u16, body: Body) -> Self {
        Self { status, body, allow: "", after: Duration::ZERO }
    }

    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, Body::Text(text.into()))
    }
}

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "connections {}\nrequests {}", self.connections, self.requests)?;
        #[cfg(target_family = "wasm")]
        writeln!(f, "memory {}", core::arch::wasm32::memory_size::<0>() * 65536)?;
        Ok(())
    }
}

const PERIOD: usize = 251;

static PATTERN: [u8; PERIOD * 262] = {
    let mut bytes = [0; PERIOD * 262];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = (at % PERIOD) as u8;
        at += 1;
    }
    bytes
};

/// The endless body from byte `at` on: at least 64 KiB of it, or `most` bytes.
pub fn pattern(at: u64, most: u64) -> &'static [u8] {
    let from = &PATTERN[(at % PERIOD as u64) as usize..];
    &from[..most.min(from.len() as u64) as usize]
}
