//! Answers that are still good.
//!
//! Promises: at most [`MAX_NAMES`] names, whoever asks for whatever; nothing is kept for longer than its TTL or
//! [`MAX_TTL`] (what is not there: [`MAX_TTL_NEGATIVE`]).

use alloc::collections::BTreeMap;

use super::{
    message::{Kind, Outcome},
    name::HostName,
};
use lunette_hostcalls::Nanos;

pub(super) const MAX_NAMES: usize = 256;
/// A name server may say a week; what it says then is nobody's mistake for that long.
pub(super) const MAX_TTL: u32 = 3600;
/// RFC 2308, section 5, leaves it to us; a service that is just being set up should not be missed for long.
pub(super) const MAX_TTL_NEGATIVE: u32 = 300;

#[derive(Default)]
pub(super) struct Cache(BTreeMap<HostName, Known>);

/// One place for each [`Kind`]: what is known and until when.
#[derive(Default)]
struct Known([Option<(Outcome, Nanos)>; 2]);

impl Known {
    fn until(&self) -> Nanos {
        self.0.iter().flatten().map(|(_, until)| *until).max().unwrap_or(0)
    }
}

impl Cache {
    pub(super) fn get(&self, name: &HostName, kind: Kind, now: Nanos) -> Option<&Outcome> {
        let (outcome, until) = self.0.get(name)?.0[kind as usize].as_ref()?;
        (now < *until).then_some(outcome)
    }

    /// Keeps an answer for `ttl` seconds. What only says that no answer came is not kept.
    pub(super) fn put(&mut self, name: &HostName, kind: Kind, outcome: &Outcome, ttl: u32, now: Nanos) {
        let (max, kinds): (_, &[Kind]) = match outcome {
            Outcome::Addresses(_) => (MAX_TTL, &[kind]),
            Outcome::NoAddress => (MAX_TTL_NEGATIVE, &[kind]),
            Outcome::NoName => (MAX_TTL_NEGATIVE, &[Kind::A, Kind::Aaaa]),
            Outcome::Failed | Outcome::TimedOut => return,
        };
        if ttl == 0 {
            return;
        }
        let until = now.saturating_add(u64::from(ttl.min(max)) * 1_000_000_000);
        if self.0.len() >= MAX_NAMES && !self.0.contains_key(name) {
            self.make_room(now);
        }
        let known = self.0.entry(name.clone()).or_default();
        for kind in kinds {
            known.0[*kind as usize] = Some((outcome.clone(), until));
        }
    }

    /// Lets go of all that is no longer good, or else of what soonest would be.
    fn make_room(&mut self, now: Nanos) {
        self.0.retain(|_, known| now < known.until());
        if self.0.len() >= MAX_NAMES
            && let Some(name) =
                self.0.iter().min_by_key(|(_, known)| known.until()).map(|(name, _)| name.clone())
        {
            self.0.remove(&name);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
