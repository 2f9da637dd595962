//! The hypervisor's process: a group of its own, so that Ctrl-C at the terminal reaches only us, which dies with
//! us: it is started through [`guard`], or, where there is no such program, killed on drop only.

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, WaitIdOptions};

use super::super::CommandLine;
use crate::problem::Problem;

/// A running hypervisor; killed with its whole group when dropped.
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) pid: Pid,
    reaped: bool,
}

impl Process {
    /// `name` is the hypervisor's.
    pub(super) fn start(name: &str, line: &CommandLine, guard: Option<&Path>) -> Result<Self, Problem> {
        let mut words = line.0.iter();
        let mut command = match guard {
            Some(guard) => {
                let mut command = Command::new(guard);
                command.arg(GUARD).arg(std::process::id().to_string()).args(words);
                command
            }
            None => {
                let mut command = Command::new(words.next().map_or_else(Default::default, Clone::clone));
                command.args(words);
                command
            }
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command
            .spawn()
            .map_err(|e| Problem::new(format!("{} can't be started: {e}", name), "try `lunette doctor`"))?;
        let pid = Pid::from_child(&child);
        Ok(Self { child, pid, reaped: false })
    }

    /// Safe to call until it is reaped: until then nobody else can get its number.
    pub(super) fn kill(&self) {
        if !self.reaped {
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        }
    }

    pub(super) fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// The hidden verb that starts a hypervisor so that it dies with us: `lunette GUARD PARENT PROGRAM ARGS`.
pub const GUARD: &str = "__guard";

/// Becomes the program, to be killed when its parent dies. Comes back only if it can't.
pub fn guard(words: &[std::ffi::OsString]) -> io::Error {
    let [parent, program, args @ ..] = words else {
        return io::Error::other("for Lunette's own use");
    };
    if let Err(e) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return e.into();
    }
    // Had it died before, nobody would tell us any more.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if now.as_deref().map(std::ffi::OsStr::new) != Some(parent.as_os_str()) {
        return io::Error::other("the parent is gone");
    }
    Command::new(program).args(args).exec()
}

/// Says when the process has ended, and leaves it to be reaped by its owner.
pub(super) fn watch_end(pid: Pid, ended: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let wait = || rustix::process::waitid(rustix::process::WaitId::Pid(pid), options);
        while matches!(wait(), Err(rustix::io::Errno::INTR)) {}
        ended();
    });
}
