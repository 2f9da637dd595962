//! The store's client against a daemon that answers a few bytes at a time, and against others.

use super::*;
use crate::drivers::xen::fake::{Daemon, Fake, page};

fn store(tree: &[(&str, &str)]) -> (Store<Fake>, Fake) {
    let (fake, page) = (Fake::default(), page());
    fake.0.borrow_mut().store = Some(Daemon::new(page, tree));
    // SAFETY: a page of the test's own.
    (unsafe { Store::new(fake.clone(), page, 2) }, fake)
}

fn with_daemon<R>(fake: &Fake, f: impl FnOnce(&mut Daemon) -> R) -> R {
    f(fake.0.borrow_mut().store.as_mut().expect("there is one"))
}

#[test]
fn values_are_read_and_written() {
    let long = "x".repeat(3000);
    let (mut store, fake) = store(&[("a/b", "17"), ("a/c", "no number"), ("long", &long)]);
    for _ in 0..50 {
        assert_eq!(store.read("a/b"), Ok(Some(b"17".to_vec())));
        assert_eq!(store.number("a/b"), Ok(Some(17)));
        assert_eq!(store.number("a/c"), Ok(None));
        assert_eq!(store.read("a/d"), Ok(None));
        assert_eq!(store.write("a/d", "4"), Ok(()));
        with_daemon(&fake, |daemon| assert_eq!(daemon.tree.remove("a/d").as_deref(), Some("4")));
    }
    assert_eq!(store.write("empty", ""), Ok(()));
    assert_eq!(store.read("empty"), Ok(Some(Vec::new())));
    with_daemon(&fake, |daemon| daemon.step = 5000);
    assert_eq!(store.read("long"), Ok(Some(long.into_bytes())), "more than the ring holds at once");
    assert!(fake.0.borrow().notified.iter().all(|port| *port == 2));
}

#[test]
fn a_refusal_has_its_reason_and_is_not_the_end() {
    let (mut store, _) = store(&[("a", "1")]);
    assert_eq!(store.write("forbidden/x", "1"), Err(Problem::Refused("EACCES".into())));
    assert_eq!(store.number("a"), Ok(Some(1)));
    assert!(matches!(store.write("a", &"x".repeat(5000)), Err(Problem::Refused(_))));
    assert_eq!(store.number("a"), Ok(Some(1)));
}

#[test]
fn watches_fire_between_answers_and_by_themselves() {
    let (mut store, fake) = store(&[("a", "1")]);
    assert_eq!((store.watch("a", 3), store.watch("b", 17)), (Ok(()), Ok(())));
    assert_eq!(store.number("a"), Ok(Some(1)));
    assert_eq!(store.fired(), 1 << 3 | 1 << 17, "each fires once at first");
    assert_eq!((store.fired(), store.work()), (0, false));
    with_daemon(&fake, |daemon| daemon.set("b/c", "x"));
    (0..100).for_each(|_| fake.pause());
    assert!(store.work());
    assert_eq!((store.fired(), store.fired()), (1 << 17, 0));
    with_daemon(&fake, |daemon| {
        for token in ["", "99", "-1", "x", "\u{ff}"] {
            daemon.say(15, 0, format!("a\0{token}\0").as_bytes());
        }
        daemon.say(15, 0, b"");
        daemon.say(15, 0, b"a");
    });
    assert_eq!(store.number("a"), Ok(Some(1)));
    assert_eq!(store.fired(), 0, "what is no token of ours is nobody's");
}

#[test]
fn one_that_says_nothing_is_not_asked_again() {
    let fake = Fake::default();
    // SAFETY: a page of the test's own.
    let mut store = unsafe { Store::new(fake.clone(), page(), 2) };
    assert_eq!(store.read("a"), Err(Problem::Silent));
    let notified = fake.0.borrow().notified.len();
    assert_eq!(store.read("a"), Err(Problem::Silent));
    assert_eq!(fake.0.borrow().notified.len(), notified);
    assert!(!store.work());
}

#[test]
fn nonsense_is_the_end_of_it() {
    // A message without end, an answer of another kind, indices that can't be.
    let (mut one, fake) = store(&[]);
    with_daemon(&fake, |daemon| daemon.out.extend([2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 16, 0, 0]));
    assert_eq!(one.read("a"), Err(Problem::Broken));
    assert_eq!(one.read("a"), Err(Problem::Broken));

    let (mut one, fake) = store(&[]);
    with_daemon(&fake, |daemon| daemon.say(11, 1, b"OK\0"));
    assert_eq!(one.read("a"), Err(Problem::Broken));

    let (fake, page) = (Fake::default(), page());
    // SAFETY: a page of the test's own; the index of what was answered.
    let mut one = unsafe {
        page.add(2060).cast::<u32>().write(1025);
        Store::new(fake, page, 2)
    };
    assert_eq!(one.read("a"), Err(Problem::Broken));
    assert_eq!(one.fired(), 0);

    // An answer to somebody else's question is passed over.
    let (mut one, fake) = store(&[("a", "1")]);
    with_daemon(&fake, |daemon| daemon.say(2, 77, b"2"));
    assert_eq!(one.number("a"), Ok(Some(1)));
}
