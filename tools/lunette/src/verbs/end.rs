//! `lunette stop`, `rm` and `wait`: the end of VMs in the background.
//!
//! Each goes on with the others where one fails; the code is that of the first that did.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{
    background::store::{Entry, Store},
    cli::{Names, Rm, Stop},
    exit,
    hypervisor::running::PATIENCE,
    identity::Held,
    problem::Problem,
    run::Us,
};

/// How much longer than its VM a supervisor may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Asks them to finish, all at once, and waits until they have; prints their names.
pub fn stop(args: &Stop, us: &Us) -> Result<u8, Problem> {
    let store = Store::of_user()?;
    let patience = args.time.unwrap_or(PATIENCE);
    let asked: Vec<_> = args.names.iter().map(|name| (name, ask(&store, name, patience))).collect();
    each(
        us,
        asked
            .into_iter()
            .map(|(name, asked)| asked.and_then(|asked| asked.wait(patience)).map(|()| format!("{name}\n"))),
    )
}

/// Takes them away; with `-f`, those that run too.
pub fn rm(args: &Rm, us: &Us) -> Result<u8, Problem> {
    let store = Store::of_user()?;
    each(us, args.names.iter().map(|name| remove(&store, name, args.force).map(|()| format!("{name}\n"))))
}

/// Waits until they have ended; prints their codes.
pub fn wait(args: &Names, us: &Us) -> Result<u8, Problem> {
    let store = Store::of_user()?;
    each(
        us,
        args.names.iter().map(|name| {
            let mut entry = store.find(name)?;
            loop {
                if let Some(held) = entry.owner().and_then(|owner| owner.hold()) {
                    held.ended(None);
                }
                // While it begins, it goes from one owner to the next.
                entry.refresh().map_err(|e| unreadable(&entry, &e))?;
                if let Some(ended) = entry.ended() {
                    return Ok(format!("{}\n", ended.code));
                }
            }
        }),
    )
}

/// Prints what each came to. The first problem's code, or 0.
fn each(us: &Us, all: impl Iterator<Item = Result<String, Problem>>) -> Result<u8, Problem> {
    let mut code = 0;
    for one in all {
        match one {
            Ok(text) => super::print(&text)?,
            Err(problem) => {
                us.voice.error(&problem);
                code = if code == 0 { problem.code } else { code };
            }
        }
    }
    Ok(code)
}

fn remove(store: &Store, name: &str, force: bool) -> Result<(), Problem> {
    if force && store.remove_unreadable(name)? {
        return Ok(());
    }
    let entry = store.find(name)?;
    if entry.lives() {
        if !force {
            let what = format!("the VM {name} still runs");
            return Err(Problem::new(what, format!("lunette stop {name}, or lunette rm -f {name}")));
        }
        match ask_entry(entry.clone(), Duration::ZERO) {
            Ok(asked) => asked.wait(Duration::ZERO)?,
            // It has ended by itself.
            Err(_) if !entry.lives() => {}
            Err(problem) => return Err(problem),
        }
    }
    store.remove(&entry)
}

/// A VM that was asked to end.
struct Asked {
    entry: Entry,
    held: Held,
    since: Instant,
}

fn ask(store: &Store, name: &str, patience: Duration) -> Result<Asked, Problem> {
    ask_entry(store.find(name)?, patience)
}

fn ask_entry(entry: Entry, patience: Duration) -> Result<Asked, Problem> {
    let name = &entry.spec.name;
    let Some(held) = entry.owner().and_then(|owner| owner.hold()) else {
        let what = format!("the VM {name} has already stopped");
        return Err(Problem::new(
            what,
            format!("lunette logs {name} shows what it said, lunette rm {name} takes it away"),
        ));
    };
    entry.set_patience(patience).map_err(|e| {
        let what = format!("the VM {name} can't be told how long it may take: {e}");
        Problem::new(what, format!("make room, or lunette rm -f {name}")).at(entry.folder.display())
    })?;
    held.signal(Signal::TERM);
    Ok(Asked { entry, held, since: Instant::now() })
}

impl Asked {
    fn wait(self, patience: Duration) -> Result<(), Problem> {
        let within = patience.saturating_add(GRACE).saturating_sub(self.since.elapsed());
        if !self.held.ended(Some(within)) {
            // The VM dies with it.
            self.held.signal(Signal::KILL);
            if !self.held.ended(Some(GRACE)) {
                let what = format!("the supervisor of the VM {} does not end", self.entry.spec.name);
                return Err(Problem::new(what, "look at it with ps").code(exit::FAILURE));
            }
        }
        Ok(())
    }
}

fn unreadable(entry: &Entry, e: &std::io::Error) -> Problem {
    let what = format!("what is known of the VM {} can't be read: {e}", entry.spec.name);
    Problem::new(what, "lunette ps -a lists them all").at(entry.folder.display())
}
