//! A component of 0.3 in the fake world: `tests/guest-p3` is asked, case by case.

use std::{
    net::SocketAddr,
    path::Path,
    process,
    sync::{Arc, LazyLock},
    time::Duration,
};

use lunette_hostcalls::{
    Ctx, Ending, Errno, Grants, Interest, Limit, Listening, Net, Network, Shutdown, TcpStream, UdpSocket,
    fake::{FakeHost, FakeLog, FakeNet, FakeWorld, Weather},
    task::{Executor, Time, Timers, until},
};
use lunette_native::{Engine, Limits, Meter, Variant};
use wasmtime::component::Component;

use crate::Command;

/// The program, as it is built and compiled.
static PROGRAM: LazyLock<Component> = LazyLock::new(|| {
    let engine = Engine::of(Variant::default()).unwrap();
    Component::new(engine.wasmtime(), std::fs::read(build()).unwrap()).unwrap()
});

fn build() -> impl AsRef<Path> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = here.join("../../target/guests");
    let built = process::Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--locked", "--target", "wasm32-wasip2", "--manifest-path"])
        .arg(here.join("tests/guest-p3/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        // Those of whoever runs the tests are for this machine.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status();
    assert!(built.unwrap().success());
    target.join("wasm32-wasip2/release/guest_p3.wasm")
}

/// A world, one guest in it, and whoever it has to do with.
struct Play<'a> {
    world: &'a FakeWorld,
    timers: Arc<Timers>,
    tasks: Executor<'a, Option<Ending>>,
}

impl<'a> Play<'a> {
    fn new(world: &'a FakeWorld) -> Self {
        let timers = Arc::<Timers>::default();
        Self { world, tasks: Executor::new(timers.clone()), timers }
    }

    fn time(&self) -> Time {
        Time::new(self.world.clock.clone(), self.timers.clone())
    }

    fn with(mut self, other: impl Future<Output = ()> + 'a) -> Self {
        self.tasks.spawn(async {
            other.await;
            None
        });
        self
    }

    /// Runs it to its end, and the others to theirs. `None`: it waits for ever.
    fn run(mut self, ctx: Ctx) -> (Option<Ending>, FakeHost) {
        let timers = self.timers.clone();
        let mut guest = Command::new(
            &PROGRAM,
            ctx,
            timers,
            Arc::<FakeLog>::default(),
            Limits::default(),
            Meter::default(),
        )
        .unwrap();
        self.tasks.spawn(async move { Some(guest.run().await) });
        let mut host = FakeHost::new(self.world);
        let mut ending = None;
        while let Some(ended) = self.tasks.next(&*self.world.clock, &mut host) {
            ending = ended.or(ending);
        }
        (ending, host)
    }
}

fn world() -> FakeWorld {
    FakeWorld::new(3)
}

fn ctx(world: &FakeWorld, case: &str) -> Ctx {
    world.ctx(&["guest", case], &[])
}

/// Runs a case alone, to a good end; what it said.
fn said(world: &FakeWorld, ctx: Ctx) -> String {
    let (ending, _) = Play::new(world).run(ctx);
    assert_eq!(ending, Some(Ending::Exited(0)), "{}", String::from_utf8_lossy(&world.stdio.stderr()));
    world.stdio.stdout_text()
}

fn network(world: &FakeWorld, listen: &[&str], connect: &[&str], resolve: &[&str]) -> Network {
    world.network(Grants {
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        connect: connect.iter().map(|text| text.parse().unwrap()).collect(),
        resolve: resolve.iter().map(|text| text.parse().unwrap()).collect(),
    })
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_program_finds_its_arguments_environment_and_terminal() {
    let world = world();
    let said = said(&world, world.ctx(&["guest", "environment"], &[("HOME", "/")]));
    assert_eq!(said, "[\"guest\", \"environment\"] [(\"HOME\", \"/\")] Some(\"/\")\n");
    assert_eq!(world.stdio.stderr(), b"terminal false\n");
    let mut world = FakeWorld::new(4);
    world.no_preopens().stdio.set_terminal(true);
    assert!(self::said(&world, ctx(&world, "environment")).ends_with("None\n"));
    assert_eq!(world.stdio.stderr(), b"terminal true\n");
}

#[test]
fn a_program_ends_by_its_word_its_answer_or_a_trap() {
    let world = world();
    let end = |case| Play::new(&world).run(ctx(&world, case)).0.unwrap();
    assert_eq!(end("exit"), Ending::Exited(7));
    assert_eq!(end("fail"), Ending::Exited(1));
    assert!(matches!(end("nonsense"), Ending::Trapped(_)));
    assert!(String::from_utf8_lossy(&world.stdio.stderr()).contains("no such case"));
}

#[test]
fn input_comes_in_the_pieces_that_it_came_in() {
    let world = world();
    world.stdio.feed(b"one ").later().feed(b"a piece of more than sixteen").close();
    assert_eq!(said(&world, ctx(&world, "cat")), "[\"one \", \"a piece of more \", \"than sixteen\"]");
}

#[test]
fn a_stream_can_be_handed_on_unread() {
    let world = world();
    world.stdio.feed(&[b'x'; 100_000]).later().feed(b"y").close();
    let said = said(&world, ctx(&world, "hand-on"));
    assert_eq!(said, "x".repeat(100_000) + "y and that was all");
}

#[test]
fn who_leaves_early_leaves_the_rest_and_all_is_well() {
    let world = world();
    world.stdio.feed(b"abcdef").close();
    assert_eq!(said(&world, ctx(&world, "leave")), "\"abc\" Ok(()) \"def\"");
}

#[test]
fn a_read_that_is_cancelled_takes_nothing() {
    let world = world();
    let play = Play::new(&world);
    let time = play.time();
    let (ending, _) = play
        .with(async {
            time.sleep(MS).await;
            assert_eq!(world.stdio.stdout_text(), "asked;");
            world.stdio.feed(b"late").close();
        })
        .run(ctx(&world, "cancel"));
    assert_eq!(ending, Some(Ending::Exited(0)));
    assert_eq!(world.stdio.stdout_text(), "asked;false \"late\"");
}

#[test]
fn two_may_wait_for_input_and_do_not_wake_each_other() {
    let world = world();
    let play = Play::new(&world);
    let time = play.time();
    let (ending, host) = play
        .with(async {
            time.sleep(2 * MS).await;
            world.stdio.feed(b"first");
            time.sleep(MS).await;
            world.stdio.feed(b"second");
        })
        .run(ctx(&world, "twice"));
    assert_eq!(ending, Some(Ending::Exited(0)));
    assert_eq!(world.stdio.stdout_text(), "() [\"first\", \"second\"]");
    assert!(host.parks < 20, "{} times", host.parks);
}

#[test]
fn who_waits_for_input_that_never_comes_waits_and_can_be_dropped() {
    let world = world();
    let before = Arc::strong_count(&world.stdio);
    let (ending, host) = Play::new(&world).run(ctx(&world, "cat"));
    assert_eq!((ending, host.parks < 5), (None, true));
    assert_eq!(Arc::strong_count(&world.stdio), before);
}

#[test]
fn output_goes_out_bit_by_bit_and_fails_in_its_future() {
    let world = world();
    world.stdio.short_writes(Some(3)).stall_writes(5);
    assert!(said(&world, ctx(&world, "environment")).contains("environment"));
    world.stdio.break_pipe();
    let (ending, _) = Play::new(&world).run(ctx(&world, "pipe"));
    assert_eq!(ending, Some(Ending::Exited(3)));
}

#[test]
fn waits_go_on_at_once() {
    let world = world();
    assert_eq!(said(&world, ctx(&world, "waits")), "1000000000 1767225601 0");
    world.clock.set_wall(None);
    let (ending, _) = Play::new(&world).run(ctx(&world, "waits"));
    let Some(Ending::Trapped(trap)) = ending else { panic!("{ending:?}") };
    assert_eq!(trap.message, "this machine does not know the date");
}

#[test]
fn random_bytes_are_as_many_as_can_be_and_waited_for() {
    let world = world();
    world.random.set_unseeded(true);
    let play = Play::new(&world);
    let time = play.time();
    let (ending, _) = play
        .with(async {
            time.sleep(20 * MS).await;
            world.random.set_unseeded(false);
        })
        .run(ctx(&world, "random"));
    assert_eq!(ending, Some(Ending::Exited(0)));
    assert_eq!(world.stdio.stdout_text(), "20 65536 0 65536");
}

#[test]
fn files_are_written_read_listed_and_moved() {
    let world = world();
    assert_eq!(said(&world, ctx(&world, "files")), "[\"dir\"] bye");
}

#[test]
fn what_can_not_be_done_with_files_is_said() {
    let world = world();
    let said = said(&world, ctx(&world, "file-errors"));
    let codes: Vec<_> = said.lines().map(|line| line.trim_start_matches("ErrorCode::")).collect();
    let expected = [
        "ReadOnly",
        "NotPermitted",
        "NoEntry",
        "IsDirectory",
        "NotDirectory",
        "BadDescriptor",
        "IsDirectory",
        "Invalid",
        "BadDescriptor",
        "BadDescriptor",
        "BadDescriptor",
        "Invalid",
        "NotDirectory",
        "BadDescriptor",
    ];
    assert_eq!(codes, expected);
}

#[test]
fn a_full_disk_is_told_by_the_future() {
    let world = FakeWorld::with_tmp(3, Some(64 << 10));
    assert_eq!(said(&world, ctx(&world, "full")), "ErrorCode::InsufficientSpace true");
}

/// All that comes, to the end.
async fn rest(stream: &dyn TcpStream) -> Result<Vec<u8>, Errno> {
    let (mut all, mut buf) = (Vec::new(), [0; 4096]);
    loop {
        match until(stream, Interest::Read, || stream.read(&mut buf)).await? {
            0 => return Ok(all),
            n => all.extend_from_slice(&buf[..n]),
        }
    }
}

async fn send(stream: &dyn TcpStream, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let n = until(stream, Interest::Write, || stream.write(bytes)).await?;
        bytes = &bytes[n..];
    }
    Ok(())
}

/// Sends piece by piece, and reads as it goes.
async fn client(net: FakeNet, time: Time, bytes: Vec<u8>) {
    time.sleep(MS).await;
    let stream = net.connect(at("10.0.2.15:80")).unwrap();
    until(&*stream, Interest::Write, || stream.connected()).await.unwrap();
    let (mut heard, mut buf) = (Vec::new(), [0; 1000]);
    for piece in bytes.chunks(1000) {
        send(&*stream, piece).await.unwrap();
        // What can be on its way is less than all of it: who only sent would wait for ever.
        let sent = heard.len() + piece.len();
        while heard.len() < sent {
            let n = until(&*stream, Interest::Read, || stream.read(&mut buf)).await.unwrap();
            assert_ne!(n, 0);
            heard.extend_from_slice(&buf[..n]);
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    heard.extend(rest(&*stream).await.unwrap());
    assert!(heard == bytes);
}

fn listening(world: &FakeWorld) -> Listening {
    Listening { name: "80".into(), socket: world.net.listen(at("0.0.0.0:80"), 4).unwrap() }
}

#[test]
fn a_server_serves_two_at_once_in_any_weather() {
    for (weather, given) in [(Weather::CALM, true), (Weather::STORMY, false)] {
        let world = world();
        world.net.set_weather(weather);
        let play = Play::new(&world);
        let (net, time) = (world.net.host("10.0.0.5".parse().unwrap()), play.time());
        let ctx = match given {
            // By its manifest: it needs no other grant.
            true => Ctx { listeners: vec![listening(&world)], ..ctx(&world, "serve") },
            false => Ctx { network: network(&world, &["80"], &[], &[]), ..ctx(&world, "serve") },
        };
        let (ending, _) = play
            .with(client(net.clone(), time.clone(), vec![1; 20_000]))
            .with(client(net, time, (0..=255).cycle().take(50_000).collect()))
            .run(ctx);
        assert_eq!(ending, Some(Ending::Exited(0)), "{}", String::from_utf8_lossy(&world.stdio.stderr()));
        let said = world.stdio.stdout_text();
        assert!(["20000 50000", "50000 20000"].contains(&said.as_str()), "{said}");
        assert_eq!(world.net.open(), 0);
    }
}

#[test]
fn a_client_hears_the_answer_or_why_there_is_none() {
    let ask = |granted: bool, answer: Option<&'static [u8]>, breaks: bool| {
        let world = world();
        let net = world.net.host("10.0.0.5".parse().unwrap());
        let grants = if granted { &["10.0.0.5:7"][..] } else { &[] };
        let ctx = Ctx { network: network(&world, &[], grants, &[]), ..ctx(&world, "tcp") };
        let play = match answer {
            None => Play::new(&world),
            Some(answer) => Play::new(&world).with(async move {
                let listener = net.listen(at("10.0.0.5:7"), 1).unwrap();
                let accept = || listener.accept();
                let (stream, _) = until(&*listener, Interest::Read, accept).await.unwrap();
                send(&*stream, answer).await.unwrap();
                assert_eq!(rest(&*stream).await.unwrap(), b"ping");
                if breaks {
                    stream.abort();
                }
            }),
        };
        assert_eq!(play.run(ctx).0, Some(Ending::Exited(0)));
        assert_eq!(world.net.open(), 0);
        world.stdio.stdout_text()
    };
    assert_eq!(ask(true, Some(b"pong"), false), "pong Ok(())");
    assert_eq!(ask(true, None, false), "ErrorCode::ConnectionRefused");
    assert_eq!(ask(false, None, false), "ErrorCode::AccessDenied");
    assert_eq!(ask(true, Some(b""), true), " Err(\"ErrorCode::ConnectionReset\")");
}

#[test]
fn a_socket_says_what_can_not_be_done_in_its_state() {
    let world = world();
    let network = network(&world, &["80"], &["10.0.0.9:1"], &[]);
    let said = said(&world, Ctx { network, ..ctx(&world, "tcp-state") });
    let codes: Vec<_> = said.lines().map(|line| line.trim_start_matches("ErrorCode::")).collect();
    let expected = [
        "InvalidState",
        "InvalidState",
        "InvalidArgument",
        "InvalidArgument",
        "AccessDenied",
        "InvalidState",
        "AddressInUse",
        "InvalidArgument",
        "NotSupported",
        "RemoteUnreachable",
        "RemoteUnreachable",
    ];
    assert_eq!(codes, expected);
    assert_eq!(world.net.open(), 0);
}

#[test]
fn datagrams_are_answered_sent_and_kept_to_what_is_granted() {
    let world = world();
    let play = Play::new(&world);
    let (net, time) = (world.net.host("10.0.0.5".parse().unwrap()), play.time());
    let network = network(&world, &["53/udp"], &["10.0.0.5:9/udp"], &[]);
    let peer = async {
        let socket = net.bind(at("10.0.0.5:9")).unwrap();
        for word in [b"one", b"two"] {
            time.sleep(MS).await;
            socket.send_to(word, at("10.0.2.15:53")).unwrap();
        }
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.push(receive(&*socket).await);
        }
        heard.sort();
        assert_eq!(heard, ["hello", "one", "two"]);
    };
    let (ending, host) = play.with(peer).run(Ctx { network, ..ctx(&world, "udp") });
    assert_eq!(ending, Some(Ending::Exited(0)), "{}", String::from_utf8_lossy(&world.stdio.stderr()));
    let said = world.stdio.stdout_text();
    assert_eq!(said, "ErrorCode::DatagramTooLarge ErrorCode::AccessDenied (10, 0, 2, 15)");
    assert!(host.parks < 40, "{} times", host.parks);
    assert_eq!(world.net.open(), 0);
}

async fn receive(socket: &dyn UdpSocket) -> String {
    let mut buf = [0; 100];
    let (n, ..) = until(socket, Interest::Read, || socket.recv_from(&mut buf)).await.unwrap();
    String::from_utf8_lossy(&buf[..n]).into_owned()
}

#[test]
fn names_are_resolved_as_granted() {
    let world = world();
    world.net.name("db.internal", 2_000_000, Ok(vec!["10.0.0.5".parse().unwrap()]));
    let network = network(&world, &[], &[], &["*.internal"]);
    let said = said(&world, Ctx { network, ..ctx(&world, "names") });
    let expected = "\
Ok([IpAddress::Ipv4((10, 0, 0, 5))])
Err(ErrorCode::NameUnresolvable)
Err(ErrorCode::AccessDenied)
Err(ErrorCode::InvalidArgument)
Ok([IpAddress::Ipv4((192, 0, 2, 7))])
Ok([IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 1))])
";
    assert_eq!(said, expected);
    assert_eq!(world.log.lines().len(), 1);
}

#[test]
fn a_listener_that_it_came_with_is_one_socket_s_at_a_time() {
    let world = world();
    let network = network(&world, &[], &["10.0.0.9:1"], &[]);
    let listeners = vec![listening(&world)];
    let said = said(&world, Ctx { network, listeners, ..ctx(&world, "tcp-state") });
    assert!(said.contains("InvalidState\nErrorCode::AddressInUse\n"), "{said}");
}

#[test]
fn numbers_that_mean_nothing_are_errors() {
    let world = world();
    assert_eq!(said(&world, ctx(&world, "mad-sizes")), "mad");
}

#[test]
fn who_takes_too_much_is_ended() {
    for case in ["many-handles", "huge-list"] {
        let world = world();
        let before = Arc::strong_count(&world.stdio);
        let network = network(&world, &[], &["10.0.0.5:9/udp"], &[]);
        let (ending, _) = Play::new(&world).run(Ctx { network, ..ctx(&world, case) });
        assert!(matches!(ending, Some(Ending::Trapped(_))), "{case}: {ending:?}");
        assert_eq!(Arc::strong_count(&world.stdio), before);
    }
}

#[test]
fn who_writes_for_ever_hears_that_nobody_listens() {
    let world = world();
    let play = Play::new(&world);
    let time = play.time();
    world.stdio.stall_writes(1);
    let (ending, _) = play
        .with(async {
            // Writes answer at once and no time passes: it stops where it is told to.
            time.sleep(Duration::ZERO).await;
            world.stdio.break_pipe();
        })
        .run(ctx(&world, "endless"));
    assert_eq!(ending, Some(Ending::Exited(0)));
}

#[test]
fn what_a_program_leaves_under_way_is_waited_for() {
    let world = world();
    let play = Play::new(&world);
    let time = play.time();
    let (ending, _) = play
        .with(async {
            time.sleep(MS).await;
            world.stdio.feed(b"at last");
        })
        .run(ctx(&world, "behind"));
    assert_eq!((ending, time.now()), (Some(Ending::Exited(0)), 2_000_000));
}

#[test]
fn a_program_that_waits_is_stopped_at_its_deadline() {
    let world = world();
    let timers = Arc::<Timers>::default();
    let meter = Meter { deadline: Some(5_000_000), ..Meter::default() };
    let mut guest = Command::new(
        &PROGRAM,
        ctx(&world, "cat"),
        timers.clone(),
        Arc::<FakeLog>::default(),
        Limits::default(),
        meter,
    )
    .unwrap();
    let mut tasks = Executor::new(timers);
    tasks.spawn(guest.run());
    let ending = tasks.next(&*world.clock, &mut FakeHost::new(&world));
    assert_eq!(ending, Some(Ending::Stopped(Limit::Time)));
}
