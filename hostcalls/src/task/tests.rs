//! The executor in the fake world, where every park is counted.

use alloc::{rc::Rc, string::String, sync::Arc, task::Wake, vec, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    ops::ControlFlow,
    task::Waker,
};

use super::{
    step_back::{MANY, OLDEST},
    *,
};
use crate::{
    Interest, Net, Source, TcpListener, TcpStream, UdpSocket,
    fake::{FakeHost, FakeWorld, Weather},
};

struct Bench {
    world: FakeWorld,
    timers: Arc<Timers>,
    host: FakeHost,
    said: Rc<RefCell<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        let world = FakeWorld::new(1);
        let host = FakeHost::new(&world);
        Self { world, timers: Arc::default(), host, said: Rc::default() }
    }

    async fn wait(&self, wait: Wait) {
        ready(&wait, &*self.world.clock, &*self.world.stdio, &self.timers).await;
    }

    fn now(&self) -> Nanos {
        self.world.clock.monotonic()
    }

    fn say(&self, what: &str) {
        self.said.borrow_mut().push(what.into());
    }

    fn socket(&self) -> Arc<dyn UdpSocket> {
        self.world.net.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
    }
}

/// A host that says what it was told, and does what a test wants.
struct Told<F: FnMut(usize, bool, Option<Nanos>) -> ControlFlow<()>>(usize, F);

impl<F: FnMut(usize, bool, Option<Nanos>) -> ControlFlow<()>> Host for Told<F> {
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()> {
        self.0 += 1;
        self.1(self.0, idle, until)
    }

    fn begin_interruptible(&mut self) -> bool {
        true
    }

    fn end_interruptible(&mut self) {}
}

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

#[test]
fn without_tasks_there_is_nothing_to_wait_for() {
    let mut bench = Bench::new();
    let mut executor = Executor::<()>::new(bench.timers.clone());
    assert!(executor.is_empty());
    assert_eq!(executor.next(&*bench.world.clock, &mut bench.host), None);
    assert_eq!(bench.host.parks, 0);
}

#[test]
fn tasks_that_give_way_take_turns() {
    let bench = Bench::new();
    let mut host = FakeHost::new(&bench.world);
    let mut executor = Executor::new(bench.timers.clone());
    for name in ["a", "b", "c"] {
        let bench = &bench;
        executor.spawn(async move {
            for _ in 0..3 {
                bench.say(name);
                bench.wait(Wait::GIVE_WAY).await;
            }
            name
        });
    }
    let ended: Vec<_> = core::iter::from_fn(|| executor.next(&*bench.world.clock, &mut host)).collect();
    assert_eq!(ended, ["a", "b", "c"]);
    assert_eq!(*bench.said.borrow(), ["a", "b", "c", "a", "b", "c", "a", "b", "c"]);
    assert_eq!(host.idle, 0, "nobody ever waited");
}

/// What the host brings for others comes before it, too.
#[test]
fn who_computes_on_and_on_lets_all_others_go_first() {
    let bench = Bench::new();
    let waker = RefCell::new(None::<Waker>);
    let (come, waited) = (Cell::new(0), Cell::new(0));
    let mut executor = Executor::new(bench.timers.clone());
    for name in ["x", "y"] {
        let bench = &bench;
        executor.spawn(async move {
            loop {
                bench.say(name);
                StepBack::new(&*bench.timers, 0, || false).await;
            }
        });
    }
    executor.spawn(async {
        poll_fn(|cx| {
            waker.replace(Some(cx.waker().clone()));
            if waited.get() < come.get() {
                waited.set(waited.get() + 1);
                bench.say("packet");
                // It takes a few goes to see to it.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if waited.get() == 3 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    let mut host = Told(0, |time, idle, _| {
        assert!(!idle, "they could run");
        if time == 2 {
            come.set(3);
            waker.borrow().as_ref().unwrap().wake_by_ref();
        }
        GO_ON
    });
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some(()));
    assert_eq!(*bench.said.borrow(), ["x", "y", "x", "packet", "packet", "packet"]);
}

#[test]
fn who_steps_back_is_passed_over_so_often_and_no_more() {
    let bench = Bench::new();
    let rounds = Cell::new(0);
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(async {
        loop {
            rounds.set(rounds.get() + 1);
            give_way().await;
        }
    });
    executor.spawn(async {
        for _ in 0..3 {
            StepBack::new(&*bench.timers, 0, || false).await;
        }
    });
    let mut host = Told(0, |_, _, _| GO_ON);
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some(()));
    let passed_over = 3 * (PASSED_OVER as usize + 1);
    assert!((passed_over..=passed_over + 3).contains(&rounds.get()), "{}", rounds.get());
}

/// A request that takes a little longer than others does not wait for those that never end.
#[test]
fn of_those_who_stepped_back_who_had_the_fewest_turns_goes_first() {
    let bench = Bench::new();
    let mut executor = Executor::new(bench.timers.clone());
    for (name, turns) in [("endless", MANY), ("young", 2), ("new", 1), ("old", u64::MAX), ("as new", 1)] {
        let bench = &bench;
        executor.spawn(async move {
            StepBack::new(&*bench.timers, turns, || false).await;
            bench.say(name);
        });
    }
    let mut host = Told(0, |_, _, _| GO_ON);
    while executor.next(&*bench.world.clock, &mut host).is_some() {}
    assert_eq!(*bench.said.borrow(), ["new", "as new", "young", "endless", "old"]);
}

#[test]
fn however_many_are_younger_who_waits_longest_has_a_turn() {
    let bench = Bench::new();
    let rounds = Cell::new(0);
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(async {
        StepBack::new(&*bench.timers, MANY, || false).await;
        true
    });
    executor.spawn(async {
        loop {
            rounds.set(rounds.get() + 1);
            StepBack::new(&*bench.timers, 1, || false).await;
        }
    });
    let mut host = Told(0, |_, _, _| GO_ON);
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some(true));
    assert_eq!(rounds.get(), OLDEST);
}

/// Nobody goes on who has run for long already while a device has something for the others: but not for ever.
#[test]
fn what_a_device_has_already_is_seen_to_before_who_stepped_back() {
    let bench = Bench::new();
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(StepBack::new(&*bench.timers, 1, || false));
    let mut host = Interrupted { parks: 0, begun: 0, ended: 0, until: 3 };
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some(()));
    assert_eq!((host.parks, host.begun, host.ended), (3, 3, 1));

    executor.spawn(StepBack::new(&*bench.timers, 1, || false));
    let mut host = Interrupted { parks: 0, begun: 0, ended: 0, until: usize::MAX };
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some(()));
    assert_eq!((host.parks, host.ended), (PASSED_OVER as usize + 1, 0));
}

/// A host with a device that has something all the time, until it was asked so often.
struct Interrupted {
    parks: usize,
    begun: usize,
    ended: usize,
    until: usize,
}

impl Host for Interrupted {
    fn park(&mut self, _: bool, _: Option<Nanos>) -> ControlFlow<()> {
        self.parks += 1;
        GO_ON
    }

    fn begin_interruptible(&mut self) -> bool {
        self.begun += 1;
        self.begun >= self.until
    }

    fn end_interruptible(&mut self) {
        self.ended += 1;
    }
}

/// A packet for its connection, say; but at its deadline it has to go on, to be stopped where it is.
#[test]
fn who_is_woken_while_it_steps_back_does_not_go_on_unless_its_time_is_over() {
    let bench = Bench::new();
    let over = Cell::new(false);
    let mut back = core::pin::pin!(StepBack::new(&*bench.timers, 0, || over.get()));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(back.as_mut().poll(&mut cx).is_pending());
    }
    assert!(!bench.timers.back.is_empty());
    over.set(true);
    assert!(back.as_mut().poll(&mut cx).is_ready());
    // Dropped, it leaves nothing behind.
    {
        let mut dropped = core::pin::pin!(StepBack::new(&*bench.timers, 0, || false));
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
    }
    bench.timers.back.wake_next();
    assert!(bench.timers.back.is_empty());
}

/// Nor its timers, nor another guest.
#[test]
fn a_task_that_never_waits_does_not_keep_the_host_from_its_work() {
    let bench = Bench::new();
    let start = bench.now();
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(async {
        loop {
            give_way().await;
        }
    });
    executor.spawn(async {
        bench.wait(Wait::until(start + 10)).await;
        "timer"
    });
    let mut host = Told(0, |time, idle, until| {
        assert!(!idle && time < 100);
        assert_eq!(until, Some(start + 10));
        bench.world.clock.advance(1);
        GO_ON
    });
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some("timer"));
    assert_eq!(host.0, 10, "once for each step of the clock");
}

#[test]
fn timers_fire_in_order_and_the_host_is_told_the_next() {
    let bench = Bench::new();
    let mut executor = Executor::new(bench.timers.clone());
    let start = bench.now();
    for after in [30, 10, 20, 10] {
        let bench = &bench;
        executor.spawn(async move {
            bench.wait(Wait::until(start + after)).await;
            (after, bench.now() - start)
        });
    }
    let mut told = Vec::new();
    let mut host = Told(0, |_, idle, until| {
        told.push((idle, until.unwrap() - start));
        // Later than asked for, now and then: an interrupt took its time.
        bench.world.clock.advance(until.unwrap() + 3 - bench.now());
        GO_ON
    });
    let ended: Vec<_> = core::iter::from_fn(|| executor.next(&*bench.world.clock, &mut host)).collect();
    assert_eq!(ended, [(10, 13), (10, 13), (20, 23), (30, 33)]);
    assert_eq!(told, [(true, 10), (true, 20), (true, 30)]);
    assert_eq!(bench.timers.next(), None);
}

#[test]
fn equal_times_fire_in_the_order_in_which_they_were_set() {
    let timers = Timers::default();
    let order = Arc::new(Mutex::new(Vec::new()));
    struct Say(Arc<Mutex<Vec<u32>>>, u32);
    impl Wake for Say {
        fn wake(self: Arc<Self>) {
            self.0.lock().push(self.1);
        }
    }
    let wakers: Vec<Waker> = (0..4).map(|n| Arc::new(Say(order.clone(), n)).into()).collect();
    let kept: Vec<_> = [(5, 0), (5, 1), (4, 2), (6, 3)].map(|(at, n)| timers.set(at, &wakers[n])).into();
    timers.fire(3);
    assert_eq!(*order.lock(), [0; 0]);
    timers.fire(5);
    assert_eq!((order.lock().clone(), timers.next()), (vec![2, 0, 1], Some(6)));
    drop(kept);
    assert_eq!(timers.next(), None, "given up when dropped");
}

#[test]
fn an_early_or_needless_wake_is_borne() {
    let bench = Bench::new();
    let end = bench.now() + 100;
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(async {
        bench.wait(Wait::until(end)).await;
        bench.now()
    });
    let mut host = Told(0, |_, idle, until| {
        assert_eq!((idle, until), (true, Some(end)));
        bench.world.clock.advance(7);
        GO_ON
    });
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some(end + 5));
    assert_eq!(host.0, 15, "came back early each time, and was asked again");
}

#[test]
fn a_wait_that_ends_otherwise_leaves_no_timer() {
    let mut bench = Bench::new();
    let socket = bench.socket();
    let far = bench.now() + 1_000_000_000;
    let timers = bench.timers.clone();
    let mut host = FakeHost::new(&bench.world);
    host.stopping = true;
    assert!(host.stopping() && !bench.host.stopping());
    let mut executor = Executor::new(timers.clone());
    let bench = &mut bench;
    socket.send_to(b"x", socket.local()).unwrap();
    let source: Arc<dyn Source> = socket.clone();
    executor.spawn(async {
        bench.wait(Wait { until: Some(far), ..Wait::socket(source, Interest::Read) }).await;
        bench.now()
    });
    let came = executor.next(&*bench.world.clock, &mut host).unwrap();
    assert!(came < far);
    assert_eq!(timers.next(), None);
}

#[test]
fn tasks_dropped_while_they_wait_are_gone() {
    let bench = Bench::new();
    let mut host = FakeHost::new(&bench.world);
    let socket = bench.socket();
    let source: Arc<dyn Source> = socket.clone();
    let guard = Rc::new(());
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn({
        let (guard, bench) = (guard.clone(), &bench);
        async move {
            let until = Some(bench.now() + 1_000_000);
            bench.wait(Wait { stdin: true, until, sockets: vec![(source, Interest::Read)] }).await;
            drop(guard);
        }
    });
    executor.spawn(async {});
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some(()));
    assert!(bench.timers.next().is_some() && Rc::strong_count(&guard) == 2);
    drop(executor);
    assert_eq!((bench.timers.next(), Rc::strong_count(&guard)), (None, 1));
    // Its wakers are still registered, and wake nobody.
    socket.send_to(b"x", socket.local()).unwrap();
    bench.world.clock.advance(1_000_000_000);
    bench.world.net.poll();
    bench.world.stdio.feed(b"x");
}

#[test]
fn who_waits_for_several_is_woken_by_any_and_rests_until_then() {
    let bench = Bench::new();
    let mut host = FakeHost::new(&bench.world);
    let (one, two) = (bench.socket(), bench.socket());
    let sources: Vec<Arc<dyn Source>> = vec![one.clone(), two.clone()];
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn({
        let (bench, one) = (&bench, one.clone());
        async move {
            for _ in 0..10 {
                let sockets = sources.iter().map(|source| (source.clone(), Interest::Read)).collect();
                let until = Some(bench.now() + 60_000_000_000);
                bench.wait(Wait { stdin: true, until, sockets }).await;
                assert_eq!(one.recv_from(&mut []).map(|(_, whole, _)| whole), Ok(1));
            }
        }
    });
    executor.spawn({
        let bench = &bench;
        async move {
            for _ in 0..10 {
                bench.wait(Wait::until(bench.now() + 1_000_000_000)).await;
                two.send_to(b"x", one.local()).unwrap();
            }
        }
    });
    while executor.next(&*bench.world.clock, &mut host).is_some() {}
    assert!(executor.is_empty());
    // A timer and a datagram for each round.
    assert_eq!((host.parks, host.idle), (20, 20));
}

#[test]
fn a_waker_takes_the_place_of_anothers_and_not_of_its_own_tasks() {
    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    let (one, two) = (Waker::from(Arc::new(Nobody)), Waker::from(Arc::new(Nobody)));
    let mut place = None;
    assert!(replace_waker(&mut place, &one).is_none());
    assert!(replace_waker(&mut place, &one.clone()).is_none(), "its own");
    assert!(replace_waker(&mut place, &two).is_some_and(|old| old.will_wake(&one)));
    assert!(place.is_some_and(|now| now.will_wake(&two)));
}

#[test]
fn when_nothing_will_ever_come_the_host_ends_the_run() {
    let bench = Bench::new();
    let mut host = FakeHost::new(&bench.world);
    let mut executor = Executor::<()>::new(bench.timers.clone());
    executor.spawn(async {
        bench.wait(Wait::stdin()).await;
        unreachable!("nobody feeds it");
    });
    assert_eq!(executor.next(&*bench.world.clock, &mut host), None);
    assert_eq!((executor.is_empty(), host.parks), (false, 1));
}

#[test]
fn a_waker_called_from_outside_lets_its_task_run() {
    let bench = Bench::new();
    let waiting = RefCell::new(None::<Waker>);
    let may = Cell::new(false);
    let polls = Cell::new(0);
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(poll_fn(|cx| {
        polls.set(polls.get() + 1);
        *waiting.borrow_mut() = Some(cx.waker().clone());
        if may.get() { Poll::Ready(()) } else { Poll::Pending }
    }));
    let mut host = Told(0, |time, idle, until| {
        assert!(idle && until.is_none());
        if time == 3 {
            may.set(true);
            waiting.borrow_mut().take().unwrap().wake();
        }
        GO_ON
    });
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some(()));
    assert_eq!((host.0, polls.get()), (3, 2), "polled at first, and when it was woken");
}

#[test]
fn a_task_spawned_between_runs_at_once() {
    let mut bench = Bench::new();
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(core::future::pending());
    executor.spawn(async { 1 });
    assert_eq!(executor.next(&*bench.world.clock, &mut bench.host), Some(1));
    executor.spawn(async { 2 });
    assert_eq!(executor.next(&*bench.world.clock, &mut bench.host), Some(2));
    assert_eq!(bench.host.parks, 0);
    assert_eq!(executor.next(&*bench.world.clock, &mut bench.host), None);
}

#[test]
fn thousands_wait_and_only_those_run_that_are_due() {
    const TASKS: u64 = 5_000;
    let bench = Bench::new();
    let mut host = FakeHost::new(&bench.world);
    let polls = Cell::new(0u64);
    let mut executor = Executor::new(bench.timers.clone());
    let start = bench.now();
    for n in 0..TASKS {
        let (bench, polls) = (&bench, &polls);
        executor.spawn(async move {
            // Each is due at a time of its own, in another order than they were made.
            let at = start + 1 + n * 7919 % TASKS;
            let mut wait = core::pin::pin!(bench.wait(Wait::until(at)));
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                wait.as_mut().poll(cx)
            })
            .await;
            assert_eq!(bench.now(), at);
        });
    }
    let mut ended = 0;
    while executor.next(&*bench.world.clock, &mut host).is_some() {
        ended += 1;
    }
    assert_eq!((ended, polls.get()), (TASKS, 2 * TASKS));
    assert_eq!(host.idle as u64, TASKS);
    assert!(host.parks as u64 <= TASKS + 2, "{} parks", host.parks);
}

/// An echo server and its clients, one task each, in bad weather.
#[test]
fn servers_and_clients_are_tasks_of_one_executor() {
    const CLIENTS: usize = 50;
    enum End {
        Accepted(Arc<dyn TcpStream>),
        Echoed(usize),
        Done,
    }
    async fn accept(bench: &Bench, listener: &Arc<dyn TcpListener>) -> End {
        loop {
            match listener.accept() {
                Ok((stream, _)) => return End::Accepted(stream),
                Err(_) => bench.wait(Wait::socket(listener.clone(), Interest::Read)).await,
            }
        }
    }
    async fn echo(bench: &Bench, stream: Arc<dyn TcpStream>) -> End {
        let (mut buf, mut echoed) = ([0; 100], 0);
        loop {
            match stream.read(&mut buf) {
                Ok(0) => return End::Echoed(echoed),
                Ok(read) => {
                    let mut sent = 0;
                    while sent < read {
                        match stream.write(&buf[sent..read]) {
                            Ok(took) => sent += took,
                            Err(_) => bench.wait(Wait::socket(stream.clone(), Interest::Write)).await,
                        }
                    }
                    echoed += read;
                }
                Err(_) => bench.wait(Wait::socket(stream.clone(), Interest::Read)).await,
            }
        }
    }
    async fn client(bench: &Bench, at: SocketAddr, number: u8) -> End {
        let stream = bench.world.net.connect(at).unwrap();
        while stream.connected().is_err() {
            bench.wait(Wait::socket(stream.clone(), Interest::Write)).await;
        }
        let data = [number; 300];
        let (mut sent, mut got) = (0, Vec::new());
        let mut buf = [0; 64];
        while got.len() < data.len() {
            sent += stream.write(&data[sent..]).unwrap_or(0);
            match stream.read(&mut buf) {
                Ok(read) => got.extend_from_slice(&buf[..read]),
                Err(_) => bench.wait(Wait::socket(stream.clone(), Interest::Read)).await,
            }
        }
        assert_eq!(got, data);
        End::Done
    }

    let bench = Bench::new();
    bench.world.net.set_weather(Weather::STORMY);
    let mut host = FakeHost::new(&bench.world);
    let listener = bench.world.net.listen(SocketAddr::from(([127, 0, 0, 1], 0)), CLIENTS).unwrap();
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(accept(&bench, &listener));
    for number in 0..CLIENTS {
        executor.spawn(client(&bench, listener.local(), number as u8));
    }
    let (mut done, mut echoed) = (0, 0);
    // The one that accepts waits for ever.
    while let Some(end) = executor.next(&*bench.world.clock, &mut host) {
        match end {
            End::Accepted(stream) => {
                executor.spawn(echo(&bench, stream));
                executor.spawn(accept(&bench, &listener));
            }
            End::Echoed(bytes) => echoed += bytes,
            End::Done => done += 1,
        }
    }
    assert_eq!((done, echoed), (CLIENTS, CLIENTS * 300));
    drop(executor);
    drop(listener);
    assert_eq!(bench.world.net.open(), 0);
}

#[test]
fn the_waker_of_a_task_that_ended_harms_nobody() {
    let bench = Bench::new();
    let (kept, polls) = (RefCell::new(None::<Waker>), Cell::new(0));
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(poll_fn(|cx| {
        *kept.borrow_mut() = Some(cx.waker().clone());
        Poll::Ready(1)
    }));
    let mut host = FakeHost::new(&bench.world);
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some(1));
    let kept = kept.take().expect("it ran");
    // Its number is another's now, who is woken for nothing.
    executor.spawn(poll_fn(|_| {
        polls.set(polls.get() + 1);
        if polls.get() == 2 { Poll::Ready(2) } else { Poll::Pending }
    }));
    kept.wake();
    assert_eq!(executor.next(&*bench.world.clock, &mut host), Some(2));
    assert!(executor.is_empty());
}

#[test]
fn a_task_that_is_many_spawns_sleeps_and_times_out() {
    let bench = Bench::new();
    let clock: Arc<dyn Clock> = bench.world.clock.clone();
    let time = Time::new(clock, bench.timers.clone());
    let mut local = Local::default();
    let spawner = local.spawner().clone();
    for (name, after) in [("late", 30), ("early", 10)] {
        let (time, said, spawner) = (time.clone(), bench.said.clone(), spawner.clone());
        local.spawner().spawn(async move {
            time.sleep(Duration::from_secs(after)).await;
            said.borrow_mut().push(name.into());
            spawner.spawn(async move { said.borrow_mut().push("child".into()) });
        });
    }
    {
        let (time, said) = (time.clone(), bench.said.clone());
        local.spawner().spawn(async move {
            let cut = time.timeout(Duration::from_secs(20), time.sleep(Duration::from_secs(25))).await;
            assert!(cut.is_none());
            said.borrow_mut().push("cut".into());
        });
    }
    let begun = bench.now();
    let mut host = FakeHost::new(&bench.world);
    let mut executor = Executor::new(bench.timers.clone());
    executor.spawn(async move { poll_fn(|cx| local.poll(cx)).await });
    assert!(executor.next(&*bench.world.clock, &mut host).is_some());
    assert_eq!(*bench.said.borrow(), ["early", "child", "cut", "late", "child"]);
    assert_eq!(bench.now() - begun, 30_000_000_000);
    assert_eq!(bench.timers.next(), None, "a wait that was dropped leaves nothing behind");
}

#[test]
fn what_dropped_tasks_spawn_is_dropped_too() {
    struct Spawns(Spawner, Rc<()>);

    impl Drop for Spawns {
        fn drop(&mut self) {
            let held = (self.0.clone(), self.1.clone());
            self.0.spawn(async move { drop(held) });
        }
    }

    let (mut local, held) = (Local::default(), Rc::new(()));
    let spawns = Spawns(local.spawner().clone(), held.clone());
    local.spawner().spawn(async move {
        let _spawns = spawns;
        core::future::pending::<()>().await;
    });
    assert!(local.poll(&Context::from_waker(Waker::noop())).is_pending());
    drop(local);
    assert_eq!(Rc::strong_count(&held), 1);
}
