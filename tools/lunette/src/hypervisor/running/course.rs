//! How a run is brought to its end: what to do next to the VM, and until when to wait for it.
//!
//! A pure machine: it knows no clock and no VM. Each step is harsher than the one before: asked to finish (only
//! an app that listens has something to finish), stopped by an NMI, killed.

use std::time::{Duration, Instant};

use super::Killed;

/// How long a VM may take to end after it was stopped.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Who wants the VM to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Ctrl-C: a second one insists.
    Interrupt,
    /// SIGTERM, `lunette stop`.
    Terminate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    /// Ask the guest to finish.
    Drain,
    /// End the guest, whatever it is doing.
    Stop,
    Kill(Killed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Draining,
    Stopping,
    Killed,
}

pub(super) struct Course {
    drains: bool,
    stage: Stage,
    /// When the run as a whole is too long.
    limit: Option<Instant>,
    /// When the stage is.
    deadline: Option<Instant>,
    /// The last who asked.
    pub(super) asked: Option<Ask>,
}

impl Course {
    pub(super) fn new(drains: bool, limit: Option<Instant>) -> Self {
        Self { drains, stage: Stage::Running, limit, deadline: None, asked: None }
    }

    /// Until when to wait for the VM.
    pub(super) fn until(&self) -> Option<Instant> {
        if self.stage == Stage::Killed {
            return None;
        }
        self.deadline.into_iter().chain(self.limit).min()
    }

    /// Somebody asks. `patience`: how long the guest may take to finish.
    pub(super) fn ask(&mut self, ask: Ask, patience: Duration, now: Instant) -> Act {
        if self.stage == Stage::Killed {
            return Act::Nothing;
        }
        self.asked = Some(ask);
        if patience.is_zero() {
            return self.kill(Killed::Asked);
        }
        let by = now.checked_add(patience);
        match (self.stage, ask) {
            (Stage::Running, _) if self.drains => {
                (self.stage, self.deadline) = (Stage::Draining, by);
                Act::Drain
            }
            (Stage::Running, _) | (Stage::Draining, Ask::Interrupt) => self.stop(now),
            // One who is in more of a hurry.
            (Stage::Draining, Ask::Terminate) => {
                self.deadline = self.deadline.into_iter().chain(by).min();
                Act::Nothing
            }
            (Stage::Stopping, Ask::Terminate) => Act::Nothing,
            (Stage::Stopping, Ask::Interrupt) => self.kill(Killed::Asked),
            (Stage::Killed, _) => Act::Nothing,
        }
    }

    /// It is later than [`Course::until`].
    pub(super) fn late(&mut self, now: Instant) -> Act {
        if self.limit.is_some_and(|limit| limit <= now) {
            return self.kill(Killed::Limit);
        }
        match self.stage {
            Stage::Draining => self.stop(now),
            Stage::Stopping => self.kill(Killed::Asked),
            Stage::Running | Stage::Killed => Act::Nothing,
        }
    }

    /// The VM can't be asked that: the next harsher thing.
    pub(super) fn deaf(&mut self, now: Instant) -> Act {
        match self.stage {
            Stage::Draining => self.stop(now),
            _ => self.kill(Killed::Asked),
        }
    }

    fn stop(&mut self, now: Instant) -> Act {
        (self.stage, self.deadline) = (Stage::Stopping, Some(now + GRACE));
        Act::Stop
    }

    pub(super) fn kill(&mut self, why: Killed) -> Act {
        if self.stage == Stage::Killed {
            return Act::Nothing;
        }
        self.stage = Stage::Killed;
        Act::Kill(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn an_app_that_listens_may_finish() {
        let now = Instant::now();
        for ask in [Ask::Interrupt, Ask::Terminate] {
            let mut course = Course::new(true, None);
            assert_eq!((course.until(), course.ask(ask, TEN, now)), (None, Act::Drain));
            assert_eq!(course.until(), Some(now + TEN));
            assert_eq!((course.late(now + TEN), course.until()), (Act::Stop, Some(now + TEN + GRACE)));
            assert_eq!((course.late(now + TEN + GRACE), course.until()), (Act::Kill(Killed::Asked), None));
            assert_eq!(course.ask(ask, TEN, now), Act::Nothing);
        }
    }

    #[test]
    fn one_that_does_not_is_stopped_at_once() {
        let now = Instant::now();
        let mut course = Course::new(false, None);
        assert_eq!(course.ask(Ask::Interrupt, TEN, now), Act::Stop);
        assert_eq!(course.until(), Some(now + GRACE));
        assert_eq!(course.ask(Ask::Interrupt, TEN, now), Act::Kill(Killed::Asked));
    }

    #[test]
    fn who_asks_twice_insists_or_is_in_more_of_a_hurry() {
        let now = Instant::now();
        let mut course = Course::new(true, None);
        course.ask(Ask::Terminate, TEN, now);
        assert_eq!(course.ask(Ask::Terminate, TEN * 2, now), Act::Nothing);
        assert_eq!(course.until(), Some(now + TEN));
        assert_eq!(course.ask(Ask::Terminate, TEN / 10, now), Act::Nothing);
        assert_eq!(course.until(), Some(now + TEN / 10));
        assert_eq!((course.ask(Ask::Interrupt, TEN, now), course.asked), (Act::Stop, Some(Ask::Interrupt)));
        assert_eq!(course.ask(Ask::Terminate, TEN, now), Act::Nothing);
        assert_eq!(course.ask(Ask::Terminate, Duration::ZERO, now), Act::Kill(Killed::Asked));
    }

    #[test]
    fn a_deaf_vm_gets_the_next_harsher_thing() {
        let now = Instant::now();
        let mut course = Course::new(true, None);
        course.ask(Ask::Terminate, TEN, now);
        assert_eq!((course.deaf(now), course.deaf(now)), (Act::Stop, Act::Kill(Killed::Asked)));
    }

    #[test]
    fn a_limit_ends_it_in_any_stage() {
        let now = Instant::now();
        let mut course = Course::new(true, Some(now + TEN));
        assert_eq!(course.until(), Some(now + TEN));
        course.ask(Ask::Terminate, TEN * 2, now);
        assert_eq!((course.until(), course.late(now + TEN)), (Some(now + TEN), Act::Kill(Killed::Limit)));
        // Time without end is no end.
        let mut course = Course::new(true, None);
        assert_eq!((course.ask(Ask::Terminate, Duration::MAX, now), course.until()), (Act::Drain, None));
    }
}
