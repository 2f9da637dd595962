//! Which process it was: a number that another may have later, and what tells the two apart.

use std::{fs, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

/// A process of this machine, now or in the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: u32,
    /// When it began, in ticks since the machine did.
    pub start: u64,
    /// The machine's run.
    pub boot: String,
}

impl Identity {
    pub fn of_us() -> Self {
        Self::of(std::process::id())
    }

    fn of(pid: u32) -> Self {
        Self { pid, start: start(pid).unwrap_or(0), boot: boot() }
    }

    pub fn alive(&self) -> bool {
        start(self.pid) == Some(self.start) && self.boot == boot()
    }

    /// A hold on it: what is done through it is done to this process or to none. `None`: it is gone.
    pub fn hold(&self) -> Option<Held> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // The hold may be on a later one of the same number.
        self.alive().then_some(Held(fd))
    }
}

/// A process that is held.
pub struct Held(OwnedFd);

impl Held {
    pub fn signal(&self, signal: Signal) {
        // That it is gone by now is what most signals are for.
        let _ = pidfd_send_signal(&self.0, signal);
    }

    /// Waits for its end, this long at most (`None`: as long as it takes). Has it ended?
    pub fn ended(&self, within: Option<Duration>) -> bool {
        let time = within.and_then(|time| Timespec::try_from(time).ok());
        loop {
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut fds, time.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
                Ok(count) => return count > 0,
            }
        }
    }
}

/// In ticks since the machine began; `None`: there is no such process, or only what is left of it.
/// See proc_pid_stat(5).
fn start(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, in which anything may be.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Part of a name that tells whose it is, and [`owner_is_gone`] reads.
pub fn mark() -> String {
    let us = Identity::of_us();
    format!("{}-{}", us.pid, us.start)
}

/// Was something named by a process that is no more? `None`: this is no such name.
pub fn owner_is_gone(mark: &str) -> Option<bool> {
    let (pid, begin) = mark.split_once('-')?;
    let (pid, begin): (u32, u64) = (pid.parse().ok()?, begin.parse().ok()?);
    Some(start(pid) != Some(begin))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_number() {
        let us = Identity::of_us();
        assert!(us.alive() && us.start > 0 && !us.boot.is_empty());
        assert!(!Identity { start: us.start + 1, ..us.clone() }.alive());
        let elsewhere = Identity { boot: "another".into(), ..us.clone() };
        assert!(!elsewhere.alive() && elsewhere.hold().is_none());
        assert_eq!(owner_is_gone(&mark()), Some(false));
        assert_eq!(owner_is_gone(&format!("{}-{}", us.pid, us.start + 1)), Some(true));
        assert_eq!((owner_is_gone("12"), owner_is_gone("a-b")), (None, None));
    }

    #[test]
    fn one_that_is_held_can_be_ended_and_waited_for() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let held = Identity::of(child.id()).hold().unwrap();
        assert!(!held.ended(Some(Duration::from_millis(10))));
        held.signal(Signal::KILL);
        assert!(held.ended(None));
        // Not reaped yet, and gone all the same.
        let left = Identity::of(child.id());
        assert_eq!(left.start, 0);
        child.wait().unwrap();
        assert!(left.hold().is_none());
    }
}
