//! `wasi:io` over the standard streams and clocks.

use wasmtime::component::Resource;
use wasmtime_wasi_io::{
    bindings::wasi::io::{
        error::HostError,
        poll::{Host as _, HostPollable},
        streams::{HostInputStream, HostOutputStream},
    },
    poll::DynPollable,
    streams::{DynInputStream, DynOutputStream, StreamError, StreamResult},
};

use super::*;
use crate::p2::{
    MAX_PIECE,
    bindings::wasi::{
        cli::{stderr, stdin, stdout},
        clocks::monotonic_clock,
    },
};

const SECOND: u64 = 1_000_000_000;

pub(super) fn again<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

fn own<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_own(resource.rep())
}

fn timer(state: &mut State, seconds: u64) -> Resource<DynPollable> {
    monotonic_clock::Host::subscribe_duration(state, seconds * SECOND).unwrap()
}

fn input(state: &mut State) -> Resource<DynInputStream> {
    stdin::Host::get_stdin(state).unwrap()
}

fn output(state: &mut State) -> Resource<DynOutputStream> {
    stdout::Host::get_stdout(state).unwrap()
}

#[track_caller]
fn closed<T: std::fmt::Debug>(answer: StreamResult<T>) {
    assert!(matches!(answer, Err(StreamError::Closed)), "{answer:?}");
}

#[track_caller]
fn trapped<T: std::fmt::Debug>(answer: StreamResult<T>) {
    assert!(matches!(answer, Err(StreamError::Trap(_))), "{answer:?}");
}

#[test]
fn a_poll_tells_all_that_is_ready_and_waits_for_the_first() {
    let bench = Bench::new();
    let mut state = bench.state();
    let stdin = input(&mut state);
    let stdin = HostInputStream::subscribe(&mut state.table, again(&stdin)).unwrap();
    let (one, two) = (timer(&mut state, 1), timer(&mut state, 2));
    let began = state.time.now();
    let all = || vec![again(&stdin), again(&two), again(&one)];
    assert_eq!(bench.run(state.table.poll(all())).unwrap(), [2]);
    assert_eq!(state.time.now() - began, SECOND);
    bench.world.stdio.feed(b"x");
    assert_eq!(bench.run(state.table.poll(all())).unwrap(), [0, 2]);
    bench.world.clock.advance(SECOND);
    let mut ready = bench.run(state.table.poll(vec![again(&one), again(&stdin), again(&one)])).unwrap();
    ready.sort();
    assert_eq!(ready, [0, 1, 2]);
    bench.run(HostPollable::block(&mut state.table, again(&two))).unwrap();
    assert!(bench.run(HostPollable::ready(&mut state.table, again(&two))).unwrap());
    assert_eq!(state.time.now() - began, 2 * SECOND);
}

#[test]
fn a_poll_of_nothing_is_a_trap() {
    let bench = Bench::new();
    let mut state = bench.state();
    assert!(bench.run(state.table.poll(Vec::new())).is_err());
}

#[test]
fn a_time_that_is_past_gives_way_once() {
    let bench = Bench::new();
    let mut state = bench.state();
    let past = timer(&mut state, 0);
    assert!(!bench.run(HostPollable::ready(&mut state.table, again(&past))).unwrap());
    assert!(bench.run(HostPollable::ready(&mut state.table, again(&past))).unwrap());
    let never = monotonic_clock::Host::subscribe_duration(&mut state, u64::MAX).unwrap();
    assert!(!bench.run(HostPollable::ready(&mut state.table, again(&never))).unwrap());
}

#[test]
fn input_is_read_as_it_comes_and_ends_for_good() {
    let bench = Bench::new();
    let mut state = bench.state();
    let stdin = input(&mut state);
    let table = &mut state.table;
    assert_eq!(HostInputStream::read(table, again(&stdin), 10).unwrap(), b"");
    bench.world.stdio.feed(b"hello").feed(b"world");
    assert_eq!(HostInputStream::read(table, again(&stdin), 0).unwrap(), b"");
    assert_eq!(HostInputStream::read(table, again(&stdin), 2).unwrap(), b"he");
    assert_eq!(HostInputStream::skip(table, again(&stdin), 1).unwrap(), 1);
    assert_eq!(HostInputStream::read(table, again(&stdin), u64::MAX).unwrap(), b"lo");
    assert_eq!(bench.run(HostInputStream::blocking_read(table, again(&stdin), 10)).unwrap(), b"world");
    bench.world.stdio.later().feed(b"!");
    assert_eq!(bench.run(HostInputStream::blocking_read(table, again(&stdin), u64::MAX)).unwrap(), b"!");
    assert!(bench.try_run(HostInputStream::blocking_read(table, again(&stdin), 1)).is_none(), "it waits");
    bench.world.stdio.close();
    closed(HostInputStream::read(table, again(&stdin), 1));
    closed(bench.run(HostInputStream::blocking_read(table, again(&stdin), 1)));
    closed(HostInputStream::read(table, again(&stdin), 0));
}

#[test]
fn no_buffer_is_as_large_as_a_guest_says() {
    let bench = Bench::new();
    let mut state = bench.state();
    bench.world.stdio.feed(&[7; 1 << 20]);
    let stdin = input(&mut state);
    assert_eq!(HostInputStream::read(&mut state.table, again(&stdin), u64::MAX).unwrap().len(), MAX_PIECE);
    let stdout = output(&mut state);
    trapped(HostOutputStream::write_zeroes(&mut state.table, again(&stdout), u64::MAX));
    let answer =
        HostOutputStream::blocking_write_zeroes_and_flush(&mut state.table, again(&stdout), u64::MAX);
    trapped(bench.run(answer));
}

#[test]
fn output_is_written_as_permitted_and_no_more() {
    let bench = Bench::new();
    let mut state = bench.state();
    let (stdout, table) = (output(&mut state), &mut state.table);
    trapped(HostOutputStream::write(table, again(&stdout), b"not asked".to_vec()));
    assert_eq!(HostOutputStream::check_write(table, again(&stdout)).unwrap(), MAX_PIECE as u64);
    trapped(HostOutputStream::write(table, again(&stdout), vec![0; MAX_PIECE + 1]));
    HostOutputStream::check_write(table, again(&stdout)).unwrap();
    HostOutputStream::write(table, again(&stdout), b"one ".to_vec()).unwrap();
    trapped(HostOutputStream::write(table, again(&stdout), b"twice".to_vec()));
    HostOutputStream::write_zeroes(table, again(&stdout), 2).unwrap();
    HostOutputStream::flush(table, again(&stdout)).unwrap();
    assert_eq!(bench.world.stdio.stdout(), b"one \0\0");
}

#[test]
fn output_that_is_taken_slowly_comes_whole_and_in_order() {
    let bench = Bench::new();
    let mut state = bench.state();
    let (stdout, table) = (output(&mut state), &mut state.table);
    HostOutputStream::check_write(table, again(&stdout)).unwrap();
    bench.world.stdio.short_writes(Some(2)).stall_writes(1);
    HostOutputStream::write(table, again(&stdout), b"hello".to_vec()).unwrap();
    assert_eq!(bench.world.stdio.stdout(), b"");
    bench.world.stdio.stall_writes(1);
    assert_eq!(HostOutputStream::check_write(table, again(&stdout)).unwrap(), 0);
    bench.world.stdio.stall_writes(3);
    let flushed = HostOutputStream::blocking_write_and_flush(table, again(&stdout), b" world".to_vec());
    bench.run(flushed).unwrap();
    assert_eq!(bench.world.stdio.stdout(), b"hello world");
    let subscribed = HostOutputStream::subscribe(table, again(&stdout)).unwrap();
    bench.run(HostPollable::block(table, again(&subscribed))).unwrap();
    HostPollable::drop(table, own(&subscribed)).unwrap();
    // Dropped, it still is written.
    HostOutputStream::check_write(table, again(&stdout)).unwrap();
    bench.world.stdio.stall_writes(2);
    HostOutputStream::write(table, again(&stdout), b"!".to_vec()).unwrap();
    bench.run(HostOutputStream::drop(table, own(&stdout))).unwrap();
    assert_eq!(bench.world.stdio.stdout(), b"hello world!");
}

#[test]
fn blocking_writes_take_4096_bytes() {
    let bench = Bench::new();
    let mut state = bench.state();
    let stderr = stderr::Host::get_stderr(&mut state).unwrap();
    let mut write = |n: usize| {
        let write =
            HostOutputStream::blocking_write_and_flush(&mut state.table, again(&stderr), vec![b'.'; n]);
        bench.run(write)
    };
    write(4096).unwrap();
    trapped(write(4097));
    assert_eq!(bench.world.stdio.stderr().len(), 4096);
}

#[test]
fn nobody_who_listens_is_a_closed_stream() {
    let bench = Bench::new();
    let mut state = bench.state();
    let (stdout, table) = (output(&mut state), &mut state.table);
    HostOutputStream::check_write(table, again(&stdout)).unwrap();
    bench.world.stdio.break_pipe();
    closed(HostOutputStream::write(table, again(&stdout), b"x".to_vec()));
    closed(bench.run(HostOutputStream::blocking_write_and_flush(table, again(&stdout), b"x".to_vec())));
}

#[test]
fn bytes_go_from_stream_to_stream() {
    let bench = Bench::new();
    let mut state = bench.state();
    let (stdin, stdout) = (input(&mut state), output(&mut state));
    let table = &mut state.table;
    assert_eq!(HostOutputStream::splice(table, again(&stdout), again(&stdin), 10).unwrap(), 0);
    bench.world.stdio.feed(b"from here to there");
    assert_eq!(HostOutputStream::splice(table, again(&stdout), again(&stdin), 4).unwrap(), 4);
    let rest = HostOutputStream::blocking_splice(table, again(&stdout), again(&stdin), u64::MAX);
    assert_eq!(bench.run(rest).unwrap(), 14);
    assert_eq!(bench.world.stdio.stdout_text(), "from here to there");
    bench.world.stdio.close();
    closed(HostOutputStream::splice(table, again(&stdout), again(&stdin), 4));
}

#[test]
fn a_stream_with_a_pollable_can_not_be_dropped() {
    let bench = Bench::new();
    let mut state = bench.state();
    let stdin = input(&mut state);
    let table = &mut state.table;
    let pollable = HostInputStream::subscribe(table, again(&stdin)).unwrap();
    assert!(bench.run(HostInputStream::drop(table, own(&stdin))).is_err());
    HostPollable::drop(table, own(&pollable)).unwrap();
    bench.run(HostInputStream::drop(table, own(&stdin))).unwrap();
    assert!(HostInputStream::read(table, again(&stdin), 1).is_err(), "it is no more");
    assert!(table.is_empty());
}

#[test]
fn an_error_can_be_asked_for() {
    let mut state = Bench::new().state();
    let error = state.table.push(wasmtime::Error::new(lunette_hostcalls::Errno::Nospc)).unwrap();
    assert!(HostError::to_debug_string(&mut state.table, again(&error)).unwrap().contains("no space"));
    HostError::drop(&mut state.table, error).unwrap();
}

#[test]
fn a_million_resources_are_refused() {
    let mut state = Bench::new().state();
    let taken = (0..1_000_000).take_while(|_| stdin::Host::get_stdin(&mut state).is_ok()).count();
    assert_eq!(taken, crate::MAX_RESOURCES);
}
