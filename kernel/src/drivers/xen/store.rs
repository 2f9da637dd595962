//! The store (xenstore): a tree of paths and values where domains find one another, by messages in a ring
//! (docs/misc/xenstore-ring.txt, docs/misc/xenstore.txt, public/io/xs_wire.h).
//!
//! One request at a time, and its answer is waited for, with patience. Not here: transactions, listing, permissions.

use alloc::{string::String, vec::Vec};
use core::{fmt, ptr::NonNull};

use super::{
    Hypervisor,
    bytes::{Bytes, Place},
    wait_for,
};

const REQUESTS: Place = Place { data: 0, size: 1024, consumed: 2048, produced: 2052 };
const ANSWERS: Place = Place { data: 1024, size: 1024, consumed: 2056, produced: 2060 };

/// Kind, identifier, transaction, length: 32 bits each.
const HEADER: usize = 16;
/// `XENSTORE_PAYLOAD_MAX`.
const LARGEST: usize = 4096;

const READ: u32 = 2;
const WATCH: u32 = 4;
const WRITE: u32 = 11;
const WATCH_EVENT: u32 = 15;
const ERROR: u32 = 16;

/// How long an answer may take. The daemon shares a processor with much else.
const PATIENCE: u64 = 10_000_000_000;

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Silent,
    Broken,
    Refused(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("the store (xenstore) has not answered for 10 s"),
            Self::Broken => f.write_str("the store (xenstore) does not keep its protocol"),
            Self::Refused(why) => write!(f, "the store (xenstore) refuses: {why}"),
        }
    }
}

pub(crate) struct Store<H> {
    hypervisor: H,
    port: u32,
    requests: Bytes,
    answers: Bytes,
    /// The message that is coming, as far as it is there.
    incoming: Vec<u8>,
    last: u32,
    /// Tokens of watches that fired, a bit each.
    fired: u32,
    /// It is not asked any more.
    dead: Option<Problem>,
}

impl<H: Hypervisor> Store<H> {
    /// # Safety
    /// `page` is the store's, as the hypervisor named it; it stays mapped and is nobody else's.
    pub(super) unsafe fn new(hypervisor: H, page: NonNull<u8>, port: u32) -> Self {
        // SAFETY: the caller's; both places are inside of a page.
        let (requests, answers) = unsafe { (Bytes::new(page, REQUESTS), Bytes::new(page, ANSWERS)) };
        Self { hypervisor, port, requests, answers, incoming: Vec::new(), last: 0, fired: 0, dead: None }
    }

    pub(super) fn hypervisor(&self) -> &H {
        &self.hypervisor
    }

    /// The value at a path, if there is one.
    pub(super) fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, Problem> {
        match self.ask(READ, &[path.as_bytes(), &[0]]) {
            Ok(value) => Ok(Some(value)),
            Err(Problem::Refused(why)) if why == "ENOENT" => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// A value that is a number.
    pub(super) fn number(&mut self, path: &str) -> Result<Option<u32>, Problem> {
        let value = self.read(path)?;
        Ok(value.and_then(|value| core::str::from_utf8(&value).ok()?.trim().parse().ok()))
    }

    pub(super) fn write(&mut self, path: &str, value: &str) -> Result<(), Problem> {
        self.ask(WRITE, &[path.as_bytes(), &[0], value.as_bytes()]).map(drop)
    }

    /// Wants to hear of changes at a path and below, by a number below 32. It fires once at first.
    pub(super) fn watch(&mut self, path: &str, token: u8) -> Result<(), Problem> {
        let token = [b'0' + token / 10, b'0' + token % 10, 0];
        self.ask(WATCH, &[path.as_bytes(), &[0], &token]).map(drop)
    }

    /// The watches that fired since the last call, a bit each. Does not wait.
    pub(super) fn fired(&mut self) -> u32 {
        while let Ok(Some(_)) = self.message() {
            // An answer that nobody waits for any more.
        }
        core::mem::take(&mut self.fired)
    }

    /// Has something come? Reads memory only.
    pub(super) fn work(&self) -> bool {
        self.dead.is_none() && (self.answers.used() != Some(0) || self.fired != 0)
    }

    fn ask(&mut self, kind: u32, parts: &[&[u8]]) -> Result<Vec<u8>, Problem> {
        if let Some(problem) = &self.dead {
            return Err(problem.clone());
        }
        let answer = self.exchange(kind, parts);
        if let Err(problem @ (Problem::Silent | Problem::Broken)) = &answer {
            // What comes later would be taken for the answer to something else.
            self.dead = Some(problem.clone());
        }
        answer
    }

    fn exchange(&mut self, kind: u32, parts: &[&[u8]]) -> Result<Vec<u8>, Problem> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > LARGEST {
            return Err(Problem::Refused("a request that is too long".into()));
        }
        self.last = self.last.wrapping_add(1);
        let id = self.last;
        for word in [kind, id, 0, length as u32] {
            self.send(&word.to_le_bytes())?;
        }
        for part in parts {
            self.send(part)?;
        }
        self.hypervisor.notify(self.port);
        let begun = self.hypervisor.now();
        loop {
            match self.message()? {
                Some((answer, of, payload)) if of == id => {
                    return match answer {
                        _ if answer == kind => Ok(payload),
                        ERROR => Err(Problem::Refused(text(&payload))),
                        _ => Err(Problem::Broken),
                    };
                }
                Some(_) => {}
                None if self.hypervisor.now().saturating_sub(begun) >= PATIENCE => {
                    return Err(Problem::Silent);
                }
                None => self.hypervisor.pause(),
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Problem> {
        let Self { hypervisor, requests, port, .. } = self;
        let sent = wait_for(hypervisor, PATIENCE, || {
            bytes = &bytes[requests.put(bytes)..];
            if !bytes.is_empty() {
                hypervisor.notify(*port);
            }
            bytes.is_empty()
        });
        if sent { Ok(()) } else { Err(Problem::Silent) }
    }

    /// The next message that is no watch's, if it is there as a whole: its kind, whose answer it is, and what it says.
    fn message(&mut self) -> Result<Option<(u32, u32, Vec<u8>)>, Problem> {
        loop {
            let mut whole = HEADER;
            if let Some(header) = self.incoming.get(..HEADER) {
                let length = word(header, 3) as usize;
                if length > LARGEST {
                    return self.broken();
                }
                whole += length;
            }
            let had = self.incoming.len();
            if had == whole {
                let message = core::mem::take(&mut self.incoming);
                let (header, payload) = message.split_at(HEADER);
                if word(header, 0) == WATCH_EVENT {
                    self.note(payload);
                    continue;
                }
                return Ok(Some((word(header, 0), word(header, 1), payload.to_vec())));
            }
            self.incoming.resize(whole, 0);
            let Some(count) = self.answers.take(&mut self.incoming[had..]) else { return self.broken() };
            self.incoming.truncate(had + count);
            if count == 0 {
                return Ok(None);
            }
            // There is room again.
            self.hypervisor.notify(self.port);
            // A header without a payload is whole, and one with some is not: either way, once more.
        }
    }

    fn broken<T>(&mut self) -> Result<T, Problem> {
        self.dead = Some(Problem::Broken);
        Err(Problem::Broken)
    }

    /// A watch fired: "PATH\0TOKEN\0". What is no token of ours is nobody's.
    fn note(&mut self, payload: &[u8]) {
        let token = payload.split(|byte| *byte == 0).nth(1).map(text);
        if let Some(token) = token.and_then(|token| token.parse::<u32>().ok()).filter(|token| *token < 32) {
            self.fired |= 1 << token;
        }
    }
}

fn word(header: &[u8], index: usize) -> u32 {
    let bytes = header.get(4 * index..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Short text, whatever it was.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    bytes.iter().take(80).map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '?' }).collect()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
