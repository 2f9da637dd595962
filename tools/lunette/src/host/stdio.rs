//! The process's standard streams. Input is read ahead on a thread of its own, once a guest asks for it first.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError},
    task::Waker,
    time::Duration,
};

use lunette_hostcalls::{Errno, Ready, Stdio, Stream};

use super::poller::{Reactor, lock, put};

/// How far input is read ahead.
const AHEAD: usize = 64 * 1024;

pub(super) struct ProcessStdio {
    input: Arc<Input>,
    reader: Once,
}

struct Input {
    state: Mutex<State>,
    /// There is room again.
    taken: Condvar,
    /// Whoever waits for input may be waiting there.
    reactor: Arc<Reactor>,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Nothing more comes.
    ended: bool,
    waker: Option<Waker>,
}

impl State {
    fn ready(&self) -> Ready {
        Ready { bytes: self.bytes.len() as u64, hangup: self.ended }
    }
}

impl Input {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
            self.reactor.wake();
        }
    }

    fn read_ahead(&self, from: &mut dyn Read) {
        let mut buffer = [0; 4096];
        loop {
            match from.read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // An input that can't be read (closed, a directory) has ended.
                Ok(0) | Err(_) => return self.change(|state| state.ended = true),
                Ok(n) => {
                    self.change(|state| state.bytes.extend(&buffer[..n]));
                    let mut state = lock(&self.state);
                    while state.bytes.len() >= AHEAD {
                        state = self.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            }
        }
    }
}

impl ProcessStdio {
    pub(super) fn new(reactor: Arc<Reactor>) -> Self {
        let input = Input { state: Mutex::default(), taken: Condvar::new(), reactor };
        Self { input: Arc::new(input), reader: Once::new() }
    }

    /// One whose input has ended: as in a VM, whose way in is taken by new versions of its app.
    pub(super) fn without_input(reactor: Arc<Reactor>) -> Self {
        let stdio = Self::new(reactor);
        stdio.reader.call_once(|| {});
        stdio.input.change(|state| state.ended = true);
        stdio
    }

    fn reading(&self) -> MutexGuard<'_, State> {
        self.reader.call_once(|| {
            let input = self.input.clone();
            // Not waited for: it may hang on a read for ever, and ends with the process.
            std::thread::spawn(move || input.read_ahead(&mut io::stdin().lock()));
        });
        lock(&self.input.state)
    }
}

impl Stdio for ProcessStdio {
    fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut state = self.reading();
        if state.bytes.is_empty() {
            return if state.ended || buf.is_empty() { Ok(0) } else { Err(Errno::Again) };
        }
        let n = state.bytes.read(buf).map_err(|_| Errno::Io)?;
        self.input.taken.notify_all();
        Ok(n)
    }

    fn input(&self) -> Ready {
        self.reading().ready()
    }

    fn register_input(&self, waker: &Waker) {
        let mut state = self.reading();
        put(&mut state.waker, waker);
        if state.ready().any() {
            waker.wake_by_ref();
        }
    }

    fn write(&self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        let write = || match stream {
            Stream::Out => rustix::io::write(io::stdout(), buf),
            Stream::Err => rustix::io::write(io::stderr(), buf),
        };
        loop {
            return match write() {
                Ok(n) => Ok(n),
                Err(rustix::io::Errno::INTR) => continue,
                // Somebody made our output non-blocking, and nobody tells when it takes more.
                Err(rustix::io::Errno::AGAIN) => {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                Err(rustix::io::Errno::PIPE) => Err(Errno::Pipe),
                Err(_) => Err(Errno::Io),
            };
        }
    }

    fn is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::host::poller::Poller;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads nothing by itself.
    fn stdio(poller: &Poller) -> ProcessStdio {
        let stdio = ProcessStdio::new(poller.reactor().clone());
        stdio.reader.call_once(|| {});
        stdio
    }

    #[test]
    fn input_is_again_then_bytes_then_the_end() {
        let stdio = stdio(&Poller::new().unwrap());
        let mut buf = [0; 2];
        assert_eq!(stdio.read(&mut buf), Err(Errno::Again));
        assert_eq!(stdio.input(), Ready::default());
        stdio.input.read_ahead(&mut &b"abc"[..]);
        assert_eq!(stdio.input(), Ready { bytes: 3, hangup: true });
        assert_eq!((stdio.read(&mut buf), buf), (Ok(2), *b"ab"));
        assert_eq!((stdio.read(&mut buf), buf[0]), (Ok(1), b'c'));
        assert_eq!(stdio.read(&mut buf), Ok(0));
    }

    #[test]
    fn who_waits_for_input_is_woken_and_so_is_the_process() {
        let mut poller = Poller::new().unwrap();
        let stdio = stdio(&poller);
        let woken = Arc::new(Woken::default());
        stdio.register_input(&woken.clone().into());
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        let input = stdio.input.clone();
        let typist = std::thread::spawn(move || input.read_ahead(&mut &b"abc"[..]));
        poller.wait(None);
        typist.join().unwrap();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        stdio.register_input(&woken.clone().into());
        assert_eq!(woken.0.load(Ordering::Relaxed), 2, "there is input already");
    }

    #[test]
    fn reading_ahead_has_an_end() {
        let stdio = stdio(&Poller::new().unwrap());
        let input = stdio.input.clone();
        let reader = std::thread::spawn(move || input.read_ahead(&mut io::repeat(1).take(3 * AHEAD as u64)));
        let (mut taken, mut buf) = (0, vec![0; AHEAD]);
        while taken < 3 * AHEAD {
            assert!(stdio.input().bytes < AHEAD as u64 + 4096);
            match stdio.read(&mut buf) {
                Ok(n) => taken += n,
                Err(e) => {
                    assert_eq!(e, Errno::Again);
                    std::thread::yield_now();
                }
            }
        }
        reader.join().unwrap();
    }
}
