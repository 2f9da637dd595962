//! Names become addresses by the process's own resolver, getaddrinfo(3): files, DNS, whatever this machine is set up
//! for. It blocks, so threads ask it, never more than [`THREADS`]; questions beyond wait their turn.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, Weak},
    task::Waker,
};

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType};
use lunette_hostcalls::{Errno, Interest, Lookup, Ready, Source, grants::name_fault};

use crate::host::poller::{Reactor, lock, put};

const THREADS: usize = 4;
/// Questions that may wait, and addresses that an answer may have.
const QUESTIONS: usize = 256;
const ADDRESSES: usize = 64;

type Answer = Result<Vec<IpAddr>, Errno>;

pub(super) struct Resolver {
    reactor: Arc<Reactor>,
    queue: Arc<Mutex<Queue>>,
    ask: fn(&str) -> Answer,
    loopback: Vec<IpAddr>,
}

#[derive(Default)]
struct Queue {
    /// Those that nobody waits for any more are not asked.
    questions: VecDeque<Weak<Question>>,
    threads: usize,
}

struct Question {
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl Resolver {
    /// `loopback`: what `localhost` is.
    pub(super) fn new(reactor: Arc<Reactor>, loopback: Vec<IpAddr>) -> Self {
        Self { reactor, queue: Arc::default(), ask, loopback }
    }

    pub(super) fn ask(&self, name: &str) -> Result<Arc<dyn Lookup>, Errno> {
        let question = |answer| {
            let state = Mutex::new(State { answer, waker: None });
            Arc::new(Question { name: name.into(), state })
        };
        if let Ok(ip) = name.parse() {
            return Ok(question(Some(Ok(vec![ip]))));
        }
        if name_fault(name).is_some() {
            return Err(Errno::Inval);
        }
        if local(name) {
            return Ok(question(Some(Ok(self.loopback.clone()))));
        }
        let question = question(None);
        let mut queue = lock(&self.queue);
        queue.questions.retain(|question| question.strong_count() > 0);
        if queue.questions.len() == QUESTIONS {
            return Err(Errno::Nobufs);
        }
        queue.questions.push_back(Arc::downgrade(&question));
        if queue.threads < THREADS {
            let (ours, reactor, ask) = (self.queue.clone(), self.reactor.clone(), self.ask);
            let thread = std::thread::Builder::new().name("resolver".into());
            match thread.spawn(move || answer(&ours, &reactor, ask)) {
                Ok(_) => queue.threads += 1,
                // Another one will ask.
                Err(_) if queue.threads > 0 => {}
                Err(_) => return Err(Errno::Nomem),
            }
        }
        Ok(question)
    }
}

/// Answers questions until there are none.
fn answer(queue: &Mutex<Queue>, reactor: &Reactor, ask: fn(&str) -> Answer) {
    loop {
        let mut ours = lock(queue);
        let Some(next) = ours.questions.pop_front() else {
            ours.threads -= 1;
            return;
        };
        drop(ours);
        let Some(question) = next.upgrade() else { continue };
        let answer = ask(&question.name);
        let mut state = lock(&question.state);
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
            reactor.wake();
        }
    }
}

fn ask(name: &str) -> Answer {
    // One of each address, whatever it is for.
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let found =
        dns_lookup::getaddrinfo(Some(name), None, Some(hints)).map_err(|error| match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => Errno::Noent,
            LookupErrorKind::Again => Errno::Timedout,
            LookupErrorKind::Memory => Errno::Nomem,
            _ => Errno::Io,
        })?;
    let mut addresses = Vec::new();
    for entry in found.flatten().take(ADDRESSES) {
        let ip = entry.sockaddr.ip();
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    if addresses.is_empty() { Err(Errno::Noent) } else { Ok(addresses) }
}

/// Never a question for anybody else (RFC 6761, 6.3).
fn local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

impl Source for Question {
    fn ready(&self, interest: Interest) -> Ready {
        let bytes = match interest {
            Interest::Read => lock(&self.state).answer.is_some().into(),
            Interest::Write => 0,
        };
        Ready { bytes, hangup: interest == Interest::Write }
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        let mut state = lock(&self.state);
        if interest == Interest::Write || state.answer.is_some() {
            waker.wake_by_ref();
        } else {
            put(&mut state.waker, waker);
        }
    }
}

impl Lookup for Question {
    fn addresses(&self) -> Answer {
        lock(&self.state).answer.clone().unwrap_or(Err(Errno::Again))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        time::Duration,
    };

    use super::*;
    use crate::host::poller::Poller;

    fn wait(lookup: &dyn Lookup, poller: &mut Poller) -> Answer {
        while !lookup.ready(Interest::Read).any() {
            lookup.register(Interest::Read, Waker::noop());
            poller.wait(Some(Duration::from_secs(5)));
        }
        lookup.addresses()
    }

    #[test]
    fn a_literal_is_its_own_answer_and_localhost_is_here() {
        let mut poller = Poller::new().unwrap();
        let resolver = Resolver::new(poller.reactor().clone(), Vec::new());
        let literal = resolver.ask("2001:db8::1").unwrap();
        assert_eq!(literal.ready(Interest::Read), Ready { bytes: 1, hangup: false });
        assert_eq!(literal.addresses(), Ok(vec!["2001:db8::1".parse().unwrap()]));
        let here = vec![[127, 0, 0, 1].into()];
        let resolver = Resolver::new(poller.reactor().clone(), here.clone());
        for name in ["localhost", "LocalHost.", "db.localhost"] {
            assert_eq!(resolver.ask(name).unwrap().addresses(), Ok(here.clone()), "{name}");
        }
        // By the process's resolver: what it answers depends on the machine, but it answers.
        let _ = wait(&*resolver.ask("lunette.invalid").unwrap(), &mut poller);
        assert_eq!(ask("localhost").map(|found| found.iter().all(IpAddr::is_loopback)), Ok(true));
    }

    #[test]
    fn what_is_no_name_is_not_asked() {
        let resolver = Resolver::new(Poller::new().unwrap().reactor().clone(), Vec::new());
        let long = format!("{}.org", "a".repeat(64));
        let longer = ["abcdefg"; 32].join(".");
        for name in [
            "",
            ".",
            "a..b",
            "-a",
            "a b",
            "a/b",
            "*",
            "a:80",
            "1.2.3",
            "0x7f000001",
            "a.0X1.",
            "b\u{fc}cher.de",
            "a\0b",
            &long,
            &longer,
        ] {
            assert_eq!(resolver.ask(name).err(), Some(Errno::Inval), "{name:?}");
        }
        for name in [
            "a",
            "a.",
            "_srv._tcp.example.org",
            "0x7g",
            "1.a",
            "xn--bcher-kva.de",
            "1e100.net",
            &longer[..253],
        ] {
            assert!(name_fault(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn few_threads_ask_many_questions_and_those_still_wanted_only() {
        static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn slow(name: &str) -> Answer {
            MOST.fetch_max(AT_ONCE.fetch_add(1, Relaxed) + 1, Relaxed);
            ASKED.fetch_add(1, Relaxed);
            std::thread::sleep(Duration::from_millis(20));
            AT_ONCE.fetch_sub(1, Relaxed);
            if name == "none" { Err(Errno::Noent) } else { Ok(vec![[192, 0, 2, 1].into()]) }
        }
        let mut poller = Poller::new().unwrap();
        let resolver = Resolver { ask: slow, ..Resolver::new(poller.reactor().clone(), Vec::new()) };
        let kept: Vec<_> = (0..10).map(|i| resolver.ask(&format!("host{i}")).unwrap()).collect();
        for _ in 0..1000 {
            drop(resolver.ask("nobody-cares").unwrap());
        }
        let none = resolver.ask("none").unwrap();
        for lookup in kept {
            assert_eq!(wait(&*lookup, &mut poller), Ok(vec![[192, 0, 2, 1].into()]));
        }
        assert_eq!(wait(&*none, &mut poller), Err(Errno::Noent));
        assert!(MOST.load(Relaxed) <= THREADS);
        assert!(ASKED.load(Relaxed) < 100, "{ASKED:?} questions were asked");

        let kept: Vec<_> = (0..QUESTIONS + THREADS + 1).map(|_| resolver.ask("busy")).collect();
        assert!(kept.iter().any(|lookup| matches!(lookup, Err(Errno::Nobufs))));
    }
}
