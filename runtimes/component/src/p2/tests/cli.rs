use lunette_hostcalls::{Random, fake::FAKE_EPOCH};
use lunette_native::trap::Exit;

use super::*;
use crate::p2::bindings::wasi::{
    cli::{environment, exit, terminal_stdin, terminal_stdout},
    clocks::{monotonic_clock, wall_clock},
    random::{insecure, insecure_seed, random},
};

#[test]
fn what_a_program_is_started_with() {
    let bench = Bench::new();
    let mut state = bench.state();
    assert_eq!(environment::Host::get_arguments(&mut state).unwrap(), ["app", "-v"]);
    assert_eq!(environment::Host::get_environment(&mut state).unwrap(), [("HOME".into(), "/".into())]);
    assert_eq!(environment::Host::initial_cwd(&mut state).unwrap().as_deref(), Some("/"));
    state.ctx.preopens.remove(0);
    assert_eq!(environment::Host::initial_cwd(&mut state).unwrap(), None);
}

#[test]
fn its_end_has_a_code() {
    let mut state = Bench::new().state();
    let code = |answer: wasmtime::Result<()>| answer.unwrap_err().downcast::<Exit>().unwrap().0;
    assert_eq!(code(exit::Host::exit(&mut state, Ok(()))), 0);
    assert_eq!(code(exit::Host::exit(&mut state, Err(()))), 1);
    assert_eq!(code(exit::Host::exit_with_code(&mut state, 200)), 200);
}

#[test]
fn a_terminal_is_one_only_if_somebody_is_there() {
    let bench = Bench::new();
    let mut state = bench.state();
    assert!(terminal_stdin::Host::get_terminal_stdin(&mut state).unwrap().is_none());
    bench.world.stdio.set_terminal(true);
    assert!(terminal_stdin::Host::get_terminal_stdin(&mut state).unwrap().is_some());
    assert!(terminal_stdout::Host::get_terminal_stdout(&mut state).unwrap().is_some());
}

#[test]
fn clocks_show_the_time() {
    let bench = Bench::new();
    let mut state = bench.state();
    let before = monotonic_clock::Host::now(&mut state).unwrap();
    bench.world.clock.advance(1_500_000_007);
    assert_eq!(monotonic_clock::Host::now(&mut state).unwrap() - before, 1_500_000_007);
    let date = wall_clock::Host::now(&mut state).unwrap();
    assert_eq!((date.seconds, date.nanoseconds), (FAKE_EPOCH / 1_000_000_000 + 1, 500_000_007));
    assert!(monotonic_clock::Host::resolution(&mut state).unwrap() > 0);
    bench.world.clock.set_wall(None);
    assert_eq!(wall_clock::Host::now(&mut state).unwrap().seconds, 0);
}

#[test]
fn random_bytes_are_as_many_as_asked_for_within_bounds() {
    let bench = Bench::new();
    let mut state = bench.state();
    let bytes = bench.run(random::Host::get_random_bytes(&mut state, 1000)).unwrap();
    assert_eq!(bytes.len(), 1000);
    assert_ne!(bytes, bench.run(random::Host::get_random_bytes(&mut state, 1000)).unwrap());
    assert_eq!(bench.run(random::Host::get_random_bytes(&mut state, 0)).unwrap(), []);
    for len in [u64::MAX, 1 << 32, (16 << 20) + 1] {
        assert!(bench.run(random::Host::get_random_bytes(&mut state, len)).is_err(), "{len}");
        assert!(insecure::Host::get_insecure_random_bytes(&mut state, len).is_err(), "{len}");
    }
}

#[test]
fn an_unseeded_generator_is_waited_for() {
    let bench = Bench::new();
    let mut state = bench.state();
    bench.world.random.set_unseeded(true);
    let (time, random) = (state.time.clone(), bench.world.random.clone());
    let before = time.now();
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(async {
        time.sleep(std::time::Duration::from_secs(1)).await;
        random.set_unseeded(false);
        None
    });
    executor.spawn(async { Some(random::Host::get_random_u64(&mut state).await) });
    let mut next = || executor.next(&*bench.world.clock, &mut FakeHost::new(&bench.world)).unwrap();
    assert!(next().is_none());
    assert!(next().unwrap().is_ok());
    assert!(time.now() - before >= 1_000_000_000);
    drop(executor);
    // What need not be good does not wait.
    bench.world.random.set_unseeded(true);
    let one = insecure::Host::get_insecure_random_u64(&mut state).unwrap();
    bench.world.clock.advance(1);
    assert_ne!(one, insecure::Host::get_insecure_random_u64(&mut state).unwrap());
    let seed = insecure_seed::Host::insecure_seed(&mut state).unwrap();
    bench.world.clock.advance(1);
    assert_eq!(seed, insecure_seed::Host::insecure_seed(&mut state).unwrap(), "one for an instance");
    assert!(bench.world.random.fill(&mut [0]).is_err());
}
