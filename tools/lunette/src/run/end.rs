//! What the end of a run means, in words and as a code.

use std::time::Duration;

use lunette_hostcalls::farewell::Farewell;

use super::named;
use crate::{
    exit,
    hypervisor::{
        Hypervisor,
        running::{Ask, Killed, Outcome},
    },
    problem::{Problem, printable},
};

/// How much longer than its own limit a VM may take before it is killed: the kernel ends it in time.
pub(super) const BACKSTOP: Duration = Duration::from_secs(5);

/// What was run, as far as its end needs it.
#[derive(Clone, Copy, Debug)]
pub struct Ran<'a> {
    pub app: &'a str,
    pub timeout: Option<Duration>,
    /// The VM's memory, if somebody chose it.
    pub memory: Option<u64>,
    pub host: bool,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct End {
    pub code: u8,
    /// In a word.
    pub how: &'static str,
    /// What the guest's own output does not explain.
    pub problem: Option<Problem>,
    /// Of a crash: what led to it, by the hypervisor and on the console.
    pub trace: Vec<String>,
    /// Is all of it told by `problem`, because nothing ever ran?
    pub stillborn: bool,
}

/// The end of a VM. What the hypervisor said of one that ended well is told to `info`.
pub fn of_vm(outcome: &Outcome, hypervisor: &dyn Hypervisor, ran: Ran<'_>, info: impl Fn(&str)) -> End {
    info(&format!("the VM ran for {} ms", outcome.took.as_millis()));
    let said = outcome.complaints.lines().filter(|line| !line.trim().is_empty());
    let said = said.map(|line| format!("{}: {}", hypervisor.name(), printable(line)));
    if let Some(farewell) = &outcome.farewell {
        said.for_each(|line| info(&line));
        return of_farewell(farewell, outcome.asked, ran);
    }
    let end = |how, problem: Problem| End {
        code: problem.code,
        how,
        problem: (!problem.what.is_empty()).then_some(problem),
        trace: Vec::new(),
        stillborn: false,
    };
    match outcome.killed {
        Some(Killed::Limit) => {
            let time = ran.timeout.unwrap_or_default();
            let what = format!("the VM overran its {time:?} by {BACKSTOP:?} and was killed");
            let help =
                "raise --timeout if it needs longer; that the kernel did not end it is a bug: report it";
            end("timeout", Problem::new(what, help).code(exit::TIMEOUT))
        }
        Some(Killed::Asked) => end("killed", Problem::new("the VM was killed", "").code(exit::KILLED)),
        Some(Killed::Unheard) => end("unheard", Problem::new("", "").code(exit::UNHEARD)),
        None => {
            let console = outcome.tail.lines(10);
            let never_ran = console.is_empty() && outcome.status.code() == Some(1);
            let console = console.into_iter().map(|line| format!("console: {line}"));
            // Its own word for it is in the problem.
            let trace = if never_ran { Vec::new() } else { said.chain(console).collect() };
            End { trace, stillborn: never_ran, ..end("crashed", outcome.crash(hypervisor)) }
        }
    }
}

/// The end of a run that said how it ended.
pub(super) fn of_farewell(farewell: &Farewell, asked: Option<Ask>, ran: Ran<'_>) -> End {
    let app = ran.app;
    let (how, problem) = match farewell {
        Farewell::Exit(_) => ("exited", None),
        Farewell::Trap => ("trapped", None),
        Farewell::Stopped => ("stopped", None),
        Farewell::Timeout => {
            let time = ran.timeout.unwrap_or_default();
            let what = format!("{app} was stopped: its time of {time:?} was up");
            ("timeout", Some(Problem::new(what, "give it more with --timeout")))
        }
        Farewell::Fuel => {
            let what = format!("{app} was stopped: its fuel was used up");
            ("fuel", Some(Problem::new(what, "give it more with --fuel, or with `fuel` in [resources]")))
        }
        Farewell::OutOfMemory => {
            let problem = if ran.host {
                Problem::new(format!("{app} ran out of memory"), "raise `memory` in [resources], or -m")
            } else {
                let help = match ran.memory {
                    Some(size) => format!("give it more: -m {}Mi", (size >> 20).max(4).saturating_mul(2)),
                    None => "give it more: -m 1Gi".into(),
                };
                Problem::new(format!("{app}: the VM ran out of memory"), help)
            };
            ("out-of-memory", Some(problem))
        }
        Farewell::Refused(why) => ("refused", Some(named(Problem::from_line(why), app))),
        Farewell::Panic(why) => {
            let help = "this is a bug in Lunette: report it with the lines above";
            ("panicked", Some(Problem::new(format!("the kernel panicked: {why}"), help)))
        }
    };
    let code = match (farewell, asked) {
        (Farewell::Stopped, Some(Ask::Terminate)) => exit::TERMINATED,
        _ => exit::of(farewell),
    };
    let problem = problem.map(|problem| problem.code(code));
    End { code, how, problem, trace: Vec::new(), stillborn: matches!(farewell, Farewell::Refused(_)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_is_told_by_the_code() {
        let ran = Ran { app: "a", timeout: None, memory: None, host: false };
        let code = |farewell: Farewell, asked| of_farewell(&farewell, asked, ran).code;
        assert_eq!(code(Farewell::Stopped, Some(Ask::Terminate)), 143);
        assert_eq!(code(Farewell::Stopped, Some(Ask::Interrupt)), 130);
        assert_eq!(code(Farewell::Stopped, None), 130);
        // One that finishes in good order has a code of its own.
        assert_eq!(code(Farewell::Exit(7), Some(Ask::Terminate)), 7);
        let refused = of_farewell(&Farewell::Refused("no (x); help: do".into()), None, ran);
        assert!(refused.stillborn && refused.code == 125 && refused.problem.unwrap().help == "do");
    }
}
