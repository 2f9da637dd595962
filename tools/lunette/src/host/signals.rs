//! SIGINT and SIGTERM: the first asks for an end in good order, the next ones insist.
//!
//! A guest that listens may finish: the first signal closes its listeners, the second, or [`DRAIN`] later, stops it.
//! A guest that does not is stopped by the first. Whatever does not come back to wait, and so can't be
//! stopped, is ended with the process [`GRACE`] later, or by one more signal.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::poller::Reactor;
use crate::exit;

/// How long a stopped guest has to come back to wait.
const GRACE: Duration = Duration::from_secs(1);
/// How long a guest that listens may take to finish.
const DRAIN: Duration = Duration::from_secs(10);

/// What the signals so far ask for.
#[derive(Default)]
pub(super) struct Asked {
    stopping: AtomicBool,
    stopped: AtomicBool,
    /// Is there anybody who may finish?
    pub(super) listening: AtomicBool,
}

impl Asked {
    /// To end in good order?
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// To end now?
    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }
}

/// Watches from now on, and wakes the process for what it sees.
pub(super) fn watch(asked: Arc<Asked>, reactor: Arc<Reactor>) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || signals.forever().try_for_each(|_| tell.send(())));
    std::thread::spawn(move || {
        let code = follow(&told, &asked, &|| reactor.wake(), DRAIN, GRACE);
        std::process::exit(code.into());
    });
    Ok(())
}

/// Follows the signals until the process must end by force; its exit code.
fn follow(
    signals: &mpsc::Receiver<()>,
    asked: &Asked,
    wake: &dyn Fn(),
    drain: Duration,
    grace: Duration,
) -> u8 {
    while signals.recv().is_err() {
        // Nobody sends any more: there is nothing left to wait for but the end of the process.
        std::thread::park();
    }
    let again = |time| signals.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
    asked.stopping.store(true, Relaxed);
    wake();
    if asked.listening.load(Relaxed) {
        again(drain);
    }
    asked.stopped.store(true, Relaxed);
    wake();
    if again(grace) { exit::KILLED } else { exit::STOPPED }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As the watching thread does, without its end.
    pub(in crate::host) fn follow_briefly(signals: &mpsc::Receiver<()>, asked: &Asked, reactor: &Reactor) {
        follow(signals, asked, &|| reactor.wake(), SHORT, SHORT);
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    /// What is asked for at each wake-up (stopping, stopped), and the exit code.
    fn after(signals: usize, listening: bool, drain: Duration, grace: Duration) -> (Vec<(bool, bool)>, u8) {
        let asked = Asked::default();
        asked.listening.store(listening, Relaxed);
        let (tell, told) = mpsc::channel();
        (0..signals).for_each(|_| tell.send(()).unwrap());
        let seen = std::cell::RefCell::new(Vec::new());
        let wake = || seen.borrow_mut().push((asked.stopping(), asked.stopped()));
        let code = follow(&told, &asked, &wake, drain, grace);
        (seen.into_inner(), code)
    }

    #[test]
    fn each_signal_asks_for_more() {
        let both = vec![(true, false), (true, true)];
        assert_eq!(after(1, false, LONG, SHORT), (both.clone(), exit::STOPPED));
        assert_eq!(after(2, false, LONG, LONG), (both.clone(), exit::KILLED));
        assert_eq!(after(1, true, SHORT, SHORT), (both.clone(), exit::STOPPED));
        assert_eq!(after(2, true, LONG, SHORT), (both.clone(), exit::STOPPED));
        assert_eq!(after(3, true, LONG, LONG), (both, exit::KILLED));
    }
}
