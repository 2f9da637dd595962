use super::{io::again, *};
use crate::p2::{
    bindings::wasi::{
        config,
        keyvalue::{
            atomics::Host as _,
            batch::Host as _,
            store::{Error, Host as _, HostBucket as _},
        },
    },
    keyvalue::Fault,
};

#[track_caller]
fn told<T>(answer: Result<T, Fault>) -> Error {
    match answer.err().expect("an error") {
        Fault::Told(error) => error,
        Fault::Trap(error) => panic!("a trap: {error}"),
    }
}

#[test]
fn the_configuration_is_the_environment() {
    let mut state = Bench::new().state();
    assert_eq!(config::store::Host::get(&mut state, "HOME".into()).unwrap().unwrap().as_deref(), Some("/"));
    assert_eq!(config::store::Host::get(&mut state, "home".into()).unwrap().unwrap(), None);
    assert_eq!(config::store::Host::get_all(&mut state).unwrap().unwrap(), [("HOME".into(), "/".into())]);
}

#[test]
fn values_are_kept_by_their_keys() {
    let mut state = Bench::new().state();
    assert!(matches!(told(state.open("elsewhere".into())), Error::NoSuchStore));
    let bucket = state.open("default".into()).unwrap();
    assert_eq!(state.get(again(&bucket), "a".into()).unwrap(), None);
    state.set(again(&bucket), "a".into(), b"1".to_vec()).unwrap();
    // One bucket, whoever opens it.
    let other = state.open(String::new()).unwrap();
    assert_eq!(state.get(again(&other), "a".into()).unwrap().as_deref(), Some(&b"1"[..]));
    assert!(state.exists(again(&bucket), "a".into()).unwrap());
    assert_eq!(state.increment(again(&bucket), "a".into(), 41).unwrap(), 42);
    assert_eq!(state.increment(again(&bucket), "new".into(), 7).unwrap(), 7);
    assert!(matches!(told(state.increment(again(&bucket), "a".into(), u64::MAX)), Error::Other(_)));
    state.set_many(again(&bucket), vec![("b".into(), b"x".to_vec()), ("c".into(), Vec::new())]).unwrap();
    assert!(matches!(told(state.increment(again(&bucket), "b".into(), 1)), Error::Other(_)));
    let many = state.get_many(again(&bucket), vec!["c".into(), "none".into()]).unwrap();
    assert_eq!(many, [Some(("c".into(), Vec::new())), None]);
    state.delete_many(again(&bucket), vec!["b".into(), "none".into()]).unwrap();
    state.delete(again(&bucket), "new".into()).unwrap();
    let listed = state.list_keys(again(&bucket), None).unwrap();
    assert_eq!((listed.keys, listed.cursor), (vec!["a".into(), "c".into()], None));
    assert!(state.list_keys(again(&bucket), Some(u64::MAX)).unwrap().keys.is_empty());
}

#[test]
fn a_store_is_no_larger_than_it_may_be() {
    let mut state = Bench::new().state();
    let bucket = state.open(String::new()).unwrap();
    let set = |state: &mut State, n: usize, bytes| state.set(again(&bucket), n.to_string(), vec![0; bytes]);
    let room = (0..).take_while(|n| set(&mut state, *n, 1 << 20).is_ok()).count();
    assert_eq!(room, 15);
    assert!(matches!(told(set(&mut state, 99, 1 << 20)), Error::Other(_)));
    // In the place of another there is room; and what is many times the same is not handed out.
    set(&mut state, 0, 1 << 20).unwrap();
    assert!(matches!(told(state.get_many(again(&bucket), vec!["0".into(); 17])), Error::Other(_)));
    state.delete(again(&bucket), "0".into()).unwrap();
    set(&mut state, 99, 1 << 20).unwrap();
    // Keys cost as well, and are listed some at a time.
    (0..2500).for_each(|n| set(&mut state, 1000 + n, 0).unwrap());
    let (mut cursor, mut keys) = (None, 0);
    loop {
        let page = state.list_keys(again(&bucket), cursor).unwrap();
        keys += page.keys.len();
        match page.cursor {
            None => break,
            next => cursor = next,
        }
    }
    assert_eq!(keys, 2515);
    assert!((0..1_000_000).any(|n| set(&mut state, 10_000 + n, 0).is_err()));
}
