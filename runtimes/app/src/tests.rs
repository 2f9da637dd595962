//! Whole apps in the fake world: bundles of small guests, a network in memory, and a clock that is pushed.

use std::{
    cell::Cell,
    collections::VecDeque,
    ops::ControlFlow,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use lunette_bundle::Writer;
use lunette_hostcalls::{
    Errno, Interest, Stream, TcpStream,
    fake::{FakeHost, FakeWorld},
    farewell::Farewell,
    task::Host,
};

use super::*;

/// The imports that the guests below have in common, and their memory.
const HEAD: &str = r#"
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; Writes `len` bytes from 1024.
  (func $put (param $fd i32) (param $len i32)
    (i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (local.get $len))
    (drop (call $write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 24))))
  ;; Sleeps for so many milliseconds.
  (func $sleep (param $ms i32)
    (i32.store (i32.const 528) (i32.const 1))
    (i64.store (i32.const 536) (i64.mul (i64.extend_i32_u (local.get $ms)) (i64.const 1000000)))
    (i64.store (i32.const 544) (i64.const 0)) (i64.store (i32.const 552) (i64.const 0))
    (drop (call $poll (i32.const 512) (i32.const 600) (i32.const 1) (i32.const 700))))
"#;

fn guest(start: &str) -> Vec<u8> {
    let text = format!("(module {HEAD} (func (export \"_start\") {start}))");
    wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Says something, on standard output or error, after a while; exits with a code.
fn speaker(text: &str, fd: u8, after: u32, code: u32) -> Vec<u8> {
    let data: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        "(module {HEAD} (data (i32.const 1024) \"{data}\") (func (export \"_start\")
           (call $sleep (i32.const {after})) (call $put (i32.const {fd}) (i32.const {})) (call $exit (i32.const {code}))))",
        text.len()
    );
    wat::parse_str(text).unwrap()
}

/// Echoes, one connection after the other, at its first listener. Exits with 7 when there will be no more.
fn echo() -> Vec<u8> {
    guest(
        "(local $e i32) (loop $next
           (local.set $e (call $accept (i32.const 3) (i32.const 0) (i32.const 0)))
           (if (local.get $e) (then
             (call $exit (select (i32.const 7) (i32.add (i32.const 100) (local.get $e))
               (i32.eq (local.get $e) (i32.const 11))))))
           (block $done (loop $more
             (i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (i32.const 4096))
             (br_if $done (call $read (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 28)))
             (br_if $done (i32.eqz (i32.load (i32.const 28))))
             (call $put (i32.load (i32.const 0)) (i32.load (i32.const 28)))
             (br $more)))
           (drop (call $close (i32.load (i32.const 0))))
           (br $next))",
    )
}

/// Writes its environment to standard output.
fn environ() -> Vec<u8> {
    guest(
        "(drop (call $environ_sizes (i32.const 0) (i32.const 4)))
         (drop (call $environ (i32.const 64) (i32.const 1024)))
         (call $put (i32.const 1) (i32.load (i32.const 4)))",
    )
}

fn forever() -> Vec<u8> {
    guest("(loop $again (br $again))")
}

fn sleeper() -> Vec<u8> {
    guest("(loop $again (call $sleep (i32.const 1000)) (br $again))")
}

fn bundle(manifest: &str, files: &[(&str, Vec<u8>)]) -> &'static [u8] {
    let mut writer = Writer::new(manifest.as_bytes());
    files.iter().for_each(|(path, data)| writer.file(path, data.clone()).unwrap());
    writer.to_bytes().leak()
}

fn services(world: &FakeWorld, raised: Arc<AtomicUsize>) -> Services {
    let net = world.net.clone();
    Services {
        clock: world.clock.clone(),
        random: world.random.clone(),
        stdio: world.stdio.clone(),
        log: world.log.clone(),
        network: Arc::new(move || {
            raised.fetch_add(1, Relaxed);
            Ok(Arc::new(net.clone()) as Arc<dyn Net>)
        }),
        memory: 16 << 20,
        mount_size: 1 << 20,
        native: Native { open: Arc::new(|_| Err(io::ErrorKind::Unsupported.into())), tick: Arc::new(|| {}) },
        trust: Trust::default(),
        require_signed: false,
        settings: Launch::default(),
        versions: None,
        profile: None,
    }
}

type Act<'a> = Box<dyn FnMut(&mut FakeHost) + 'a>;

/// A host to whom the next thing happens when all wait and nothing else will.
struct Script<'a> {
    host: FakeHost,
    acts: VecDeque<Act<'a>>,
    /// Timers beyond this are too far away to be waited for while there is something left to happen.
    patience: Nanos,
}

impl Host for Script<'_> {
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()> {
        self.host.park(false, None)?;
        if !idle {
            return ControlFlow::Continue(());
        }
        let soon = until.filter(|until| *until <= self.patience || self.acts.is_empty());
        if self.host.park(true, soon).is_continue() {
            return ControlFlow::Continue(());
        }
        match self.acts.pop_front() {
            Some(mut act) => {
                act(&mut self.host);
                self.host.park(false, None)
            }
            None => ControlFlow::Break(()),
        }
    }

    fn begin_interruptible(&mut self) -> bool {
        self.host.begin_interruptible()
    }

    fn end_interruptible(&mut self) {
        self.host.end_interruptible();
    }

    fn stopping(&self) -> bool {
        self.host.stopping
    }
}

fn run_with(world: &FakeWorld, payload: &'static [u8], acts: Vec<Act<'_>>) -> Farewell {
    let app = start(payload, &services(world, Arc::default())).unwrap_or_else(|e| panic!("{}", e.0));
    let mut host = Script { host: FakeHost::new(world), acts: acts.into(), patience: Nanos::MAX };
    run(app, &mut host)
}

fn refused(world: &FakeWorld, payload: &'static [u8]) -> String {
    start(payload, &services(world, Arc::default())).map(|_| ()).unwrap_err().0
}

fn stderr(world: &FakeWorld) -> String {
    String::from_utf8(world.stdio.stderr()).unwrap()
}

fn connect(world: &FakeWorld, port: u16) -> Arc<dyn TcpStream> {
    let peer = world.net.host([10, 0, 2, 77].into());
    peer.connect(([10, 0, 2, 15], port).into()).unwrap()
}

/// Else nothing that a device brings would end a turn of one that computes.
#[test]
fn the_host_hears_of_turns_that_a_device_may_end() {
    #[derive(Default)]
    struct Counting {
        begun: usize,
        ended: usize,
    }
    impl Host for Counting {
        fn park(&mut self, idle: bool, _: Option<Nanos>) -> ControlFlow<()> {
            assert!(!idle, "it computes");
            if self.ended < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }

        fn begin_interruptible(&mut self) -> bool {
            self.begun += 1;
            true
        }

        fn end_interruptible(&mut self) {
            self.ended += 1;
        }
    }
    let world = FakeWorld::new(1);
    // One that is alone has its turns only when it waits.
    let payload = bundle(
        "[app]\nmain = \"a.wasm\"\n[[guest]]\nname = \"b\"\nmain = \"a.wasm\"\n",
        &[("a.wasm", forever())],
    );
    let mut host = Counting::default();
    assert_eq!(
        run(start(payload, &services(&world, Arc::default())).ok().unwrap(), &mut host),
        Farewell::Stopped
    );
    assert_eq!((host.begun, host.ended), (5, 5));
}

#[test]
fn without_grants_no_network_is_raised() {
    let (world, raised) = (FakeWorld::new(1), Arc::new(AtomicUsize::new(0)));
    let payload = bundle("[app]\nmain = \"a.wasm\"\n", &[("a.wasm", speaker("hello\n", 1, 0, 5))]);
    let app = start(payload, &services(&world, raised.clone())).ok().unwrap();
    let mut host = FakeHost::new(&world);
    assert_eq!(run(app, &mut host), Farewell::Exit(5));
    assert_eq!((raised.load(Relaxed), world.stdio.stdout()), (0, b"hello\n".to_vec()));
    assert_eq!(world.net.open(), 0);

    let payload = bundle(
        "[app]\nmain = \"a.wasm\"\n[[guest]]\nname = \"b\"\nmain = \"a.wasm\"\n[guest.network]\nresolve = [\"*\"]\n",
        &[("a.wasm", speaker("hello\n", 1, 0, 5))],
    );
    start(payload, &services(&world, raised.clone())).ok().unwrap();
    assert_eq!(raised.load(Relaxed), 1, "once, for any guest");
}

#[test]
fn a_network_that_cannot_be_raised_refuses_the_app() {
    let world = FakeWorld::new(1);
    let services = Services {
        network: Arc::new(|| Err("there is no network card; help: --net user".into())),
        ..services(&world, Arc::default())
    };
    let payload = bundle(
        "[app]\nmain = \"a.wasm\"\n[network]\nconnect = [\"*:80\"]\n",
        &[("a.wasm", speaker("", 1, 0, 0))],
    );
    let refusal = start(payload, &services).map(|_| ()).unwrap_err();
    assert_eq!(refusal.0, "there is no network: there is no network card; help: --net user");
}

#[test]
fn listeners_are_there_when_the_guest_starts_and_it_is_told() {
    let world = FakeWorld::new(1);
    let manifest = "[app]\nmain = \"a.wasm\"\n[env]\nA = \"1\"\n[network]\n\
                    listen = [\"80\", \"53/udp\", \"*\", \"127.0.0.1:8080\", \"[::1]:81\"]\n";
    let payload = bundle(manifest, &[("a.wasm", environ())]);
    assert_eq!(run_with(&world, payload, Vec::new()), Farewell::Exit(0));
    let expected = "A=1\0LISTEN_FDS=3\0LISTEN_FDNAMES=80:127.0.0.1_8080:[__1]_81\0";
    assert_eq!(world.stdio.stdout_text(), expected);
    assert_eq!(world.net.open(), 0, "all is closed at the end");

    let world = FakeWorld::new(1);
    let manifest = "[app]\nmain = \"a.wasm\"\n[env]\nLISTEN_FDS = \"mine\"\n[network]\nlisten = [\"80\"]\n";
    run_with(&world, bundle(manifest, &[("a.wasm", environ())]), Vec::new());
    assert_eq!(world.stdio.stdout_text(), "LISTEN_FDS=mine\0LISTEN_FDNAMES=80\0");
}

#[test]
fn a_port_or_an_address_that_cannot_be_had_is_named() {
    let world = FakeWorld::new(1);
    let two = |app: &str, other: &str| {
        let manifest = format!(
            "[app]\nmain = \"a.wasm\"\n[network]\nlisten = [{app}]\n[[guest]]\nname = \"metrics\"\nmain = \"a.wasm\"\n\
             [guest.network]\nlisten = [{other}]\n"
        );
        bundle(&manifest, &[("a.wasm", echo())])
    };
    let give = "; help: give each guest a port of its own in its `network.listen`";
    assert_eq!(
        refused(&world, two("\"80\"", "\"81\", \"80\"")),
        format!("metrics can't listen on 80: a does already{give}")
    );
    assert_eq!(
        refused(&world, two("\"80\"", "\"127.0.0.1:80\"")),
        format!("metrics can't listen on 127.0.0.1:80: a does already{give}")
    );
    assert!(
        refused(&world, two("\"80\", \"127.0.0.1:80\"", ""))
            .starts_with("a listens on 127.0.0.1:80 twice; help: ")
    );
    assert_eq!(
        refused(&world, two("", "\"192.0.2.1:80\"")),
        "metrics can't listen on 192.0.2.1:80: that is none of the addresses here, which are 127.0.0.1, ::1, 10.0.2.15, \
         fec0::15; help: leave the address out, to listen on all"
    );
    assert!(
        refused(&world, two("\"0.0.0.0:80\"", "\"[::]:80\""))
            .starts_with("metrics can't listen on [::]:80: a does")
    );
    start(two("\"0.0.0.0:80\"", "\"[::1]:80\""), &services(&world, Arc::default())).ok().unwrap();
    let somebody = world.net.listen("[::]:80".parse().unwrap(), 1).unwrap();
    let taken = "a can't listen on 80: the port is in use; help: give it another port in its `network.listen`, or end what \
                 listens there";
    assert_eq!(refused(&world, two("\"80\"", "")), taken);
    drop(somebody);
    assert_eq!(world.net.open(), 0, "a refusal leaves nothing open");
}

#[test]
fn a_guest_serves_and_waits_without_spinning() {
    let world = FakeWorld::new(1);
    let payload = bundle("[app]\nmain = \"a.wasm\"\n[network]\nlisten = [\"80\"]\n", &[("a.wasm", echo())]);
    let client = Cell::new(None);
    let acts: Vec<Act<'_>> = vec![
        Box::new(|_| client.set(Some(connect(&world, 80)))),
        Box::new(|_| {
            let stream = client.take().unwrap();
            stream.write(b"hello").unwrap();
            client.set(Some(stream));
        }),
        Box::new(|host| {
            let mut buf = [0; 8];
            assert_eq!(client.take().unwrap().read(&mut buf), Ok(5));
            assert_eq!(&buf[..5], b"hello");
            assert!(host.parks < 60, "{} parks", host.parks);
        }),
    ];
    assert_eq!(run_with(&world, payload, acts), Farewell::Stopped);
}

#[test]
fn guests_beside_the_app_say_who_they_are_and_end_with_it() {
    let world = FakeWorld::new(1);
    world.stdio.short_writes(Some(3));
    let manifest = "[app]\nmain = \"a.wasm\"\n[[guest]]\nname = \"one\"\nmain = \"one.wasm\"\n[[guest]]\nname = \"two\"\n\
                    main = \"two.wasm\"\n[[guest]]\nname = \"bad\"\nmain = \"bad.wasm\"\n[[guest]]\nname = \"lazy\"\nmain = \
                    \"lazy.wasm\"\n";
    let payload = bundle(
        manifest,
        &[
            ("a.wasm", speaker("app", 1, 500, 3)),
            ("one.wasm", speaker("first\nsecond\nthird", 1, 10, 4)),
            ("two.wasm", speaker("error\n", 2, 20, 0)),
            ("bad.wasm", guest("(call $sleep (i32.const 30)) unreachable")),
            ("lazy.wasm", sleeper()),
        ],
    );
    assert_eq!(run_with(&world, payload, Vec::new()), Farewell::Exit(3));
    // A write takes three bytes, and the speaker writes once.
    assert_eq!(world.stdio.stdout_text(), "app");
    let said = stderr(&world);
    assert!(
        said.starts_with("one: first\none: second\none: third\ntwo: error\nbad: error: bad trapped: "),
        "{said}"
    );
    assert!(said.contains("\nbad:    0: _start\n"), "{said}");
    let log = world.log.lines();
    assert_eq!(log, ["one ended with exit code 4", "two ended with exit code 0", "bad trapped"]);
}

#[test]
fn of_several_guests_none_starves_the_others() {
    let world = FakeWorld::new(1);
    let payload = bundle(
        "[app]\nmain = \"a.wasm\"\n[[guest]]\nname = \"greedy\"\nmain = \"greedy.wasm\"\n",
        &[("a.wasm", speaker("done", 1, 0, 0)), ("greedy.wasm", forever())],
    );
    assert_eq!(run_with(&world, payload, Vec::new()), Farewell::Exit(0));
}

#[test]
fn a_limit_is_a_guests_own() {
    let world = FakeWorld::new(1);
    let limited = |table: &str| {
        format!(
            "[app]\nmain = \"a.wasm\"\n[[guest]]\nname = \"b\"\nmain = \"b.wasm\"\n[guest.resources]\n{table}\n"
        )
    };
    let files = [("a.wasm", speaker("", 1, 5000, 0)), ("b.wasm", sleeper())];
    let payload = bundle(&limited("timeout = \"2s\""), &files);
    assert_eq!(run_with(&world, payload, Vec::new()), Farewell::Exit(0));
    assert_eq!(world.log.lines(), ["b was stopped: its time was up"]);
    assert!(stderr(&world).starts_with("b: b was stopped in:\nb:    0: "), "{}", stderr(&world));

    let world = FakeWorld::new(1);
    let files = [("a.wasm", speaker("", 1, 5000, 0)), ("b.wasm", forever())];
    assert_eq!(run_with(&world, bundle(&limited("fuel = 1000"), &files), Vec::new()), Farewell::Exit(0));
    assert_eq!(world.log.lines(), ["b was stopped: its fuel was used up"]);
}

#[test]
fn what_an_ended_guest_had_open_is_closed() {
    let world = FakeWorld::new(1);
    let manifest = "[app]\nmain = \"a.wasm\"\n[[guest]]\nname = \"b\"\nmain = \"b.wasm\"\n[guest.network]\nlisten = [\"80\"]\n";
    let payload = bundle(manifest, &[("a.wasm", sleeper()), ("b.wasm", guest("unreachable"))]);
    let app = start(payload, &services(&world, Arc::default())).ok().unwrap();
    assert_eq!(world.net.open(), 1);
    let mut host = Script {
        host: FakeHost::new(&world),
        acts: VecDeque::from([Box::new(|host: &mut FakeHost| {
            assert_eq!(world.net.open(), 0);
            host.stopping = true;
        }) as Act<'_>]),
        patience: 0,
    };
    assert_eq!(run(app, &mut host), Farewell::Stopped);
}

#[test]
fn memory_is_what_was_asked_for_or_an_even_share_of_the_rest() {
    let plan = |manifest: &str| {
        let files = ["a.wasm", "b.wasm", "c.wasm"].map(|name| (name, echo()));
        Payload::parse(bundle(manifest, &files)).unwrap().plan().unwrap()
    };
    let three = |a: &str, b: &str| {
        plan(&format!(
            "[app]\nmain = \"a.wasm\"\n{a}\n[[guest]]\nname = \"b\"\nmain = \"b.wasm\"\n{b}\n[[guest]]\nname = \"c\"\nmain = \
             \"c.wasm\"\n"
        ))
    };
    assert_eq!(share(&plan("[app]\nmain = \"a.wasm\"\n"), 90), 90);
    assert_eq!(share(&three("", ""), 90), 30);
    assert_eq!(share(&three("[resources]\nmemory = 50", ""), 90), 20);
    assert_eq!(share(&three("[resources]\nmemory = 50", "[guest.resources]\nmemory = 50"), 90), 0);
    assert_eq!(share(&plan("[app]\nmain = \"a.wasm\"\n[resources]\nmemory = 5\n"), 90), 0);

    let world = FakeWorld::new(1);
    let large = "(module (memory (export \"memory\") 100) (func (export \"_start\")))";
    let payload = bundle(
        "[app]\nmain = \"a.wasm\"\n[[guest]]\nname = \"b\"\nmain = \"b.wasm\"\n[[guest]]\nname = \"c\"\nmain = \"b.wasm\"\n",
        &[("a.wasm", wat::parse_str(large).unwrap()), ("b.wasm", echo())],
    );
    let why = refused(&world, payload);
    assert!(
        why.contains("; help: give the VM more memory (-m), or say how much each guest may have"),
        "{why}"
    );
}

#[test]
fn asked_to_stop_an_app_that_listens_finishes_what_it_does() {
    let world = FakeWorld::new(1);
    let manifest = "[app]\nmain = \"a.wasm\"\n[network]\nlisten = [\"80\"]\n[[guest]]\nname = \"b\"\nmain = \"b.wasm\"\n";
    let payload = bundle(manifest, &[("a.wasm", echo()), ("b.wasm", speaker("never", 1, 3_600_000, 0))]);
    let client = Rc::new(Cell::new(None));
    let say = |text: &'static [u8]| -> Act<'_> {
        let client = client.clone();
        Box::new(move |_| {
            let stream: Arc<dyn TcpStream> = client.take().unwrap();
            stream.write(text).unwrap();
            client.set(Some(stream));
        })
    };
    let opened = client.clone();
    let heard = client.clone();
    let acts: Vec<Act<'_>> = vec![
        Box::new(|_| opened.set(Some(connect(&world, 80)))),
        say(b"one"),
        Box::new(|host| host.stopping = true),
        say(b"two"),
        Box::new(|_| {
            let late = connect(&world, 80);
            world.net.wait(&lunette_hostcalls::Wait::socket(late.clone(), Interest::Write));
            assert_eq!(late.connected(), Err(Errno::Connrefused));
            let stream = heard.take().unwrap();
            let mut buf = [0; 8];
            assert_eq!(stream.read(&mut buf), Ok(6));
            assert_eq!(&buf[..6], b"onetwo");
        }),
    ];
    let app = start(payload, &services(&world, Arc::default())).ok().unwrap();
    let mut host = Script { host: FakeHost::new(&world), acts: acts.into(), patience: 1_000_000_000 };
    assert_eq!(run(app, &mut host), Farewell::Exit(7), "its exit code is kept");
    assert!(host.acts.is_empty());
    assert_eq!((world.stdio.stdout_text(), stderr(&world)), (String::new(), String::new()));
}

#[test]
fn asked_to_stop_who_does_not_listen_ends_at_once() {
    let stop = |manifest: &str, files: &[(&str, Vec<u8>)]| {
        let world = FakeWorld::new(1);
        let app = start(bundle(manifest, files), &services(&world, Arc::default())).ok().unwrap();
        let acts: Vec<Act<'_>> = vec![Box::new(|host| host.stopping = true)];
        let mut host = Script { host: FakeHost::new(&world), acts: acts.into(), patience: 0 };
        let farewell = run(app, &mut host);
        assert_eq!(world.net.open(), 0);
        farewell
    };
    let files = [("a.wasm", sleeper()), ("b.wasm", echo())];
    assert_eq!(stop("[app]\nmain = \"a.wasm\"\n", &files), Farewell::Stopped);
    let beside = "[app]\nmain = \"a.wasm\"\n[[guest]]\nname = \"b\"\nmain = \"b.wasm\"\n[guest.network]\nlisten = [\"80\"]\n";
    assert_eq!(stop(beside, &files), Farewell::Stopped, "the app's end is the others'");
    // One that is compute-bound is asked as soon as it gives way.
    let files = [("a.wasm", forever()), ("b.wasm", sleeper())];
    let world = FakeWorld::new(1);
    let payload = bundle("[app]\nmain = \"a.wasm\"\n[[guest]]\nname = \"b\"\nmain = \"b.wasm\"\n", &files);
    let app = start(payload, &services(&world, Arc::default())).ok().unwrap();
    let mut host = FakeHost::new(&world);
    host.stopping = true;
    assert_eq!(run(app, &mut host), Farewell::Stopped);
}

#[test]
fn who_never_finishes_is_stopped_by_the_host() {
    let world = FakeWorld::new(1);
    let payload = bundle("[app]\nmain = \"a.wasm\"\n[network]\nlisten = [\"80\"]\n", &[("a.wasm", echo())]);
    // The client never closes, so the guest never finishes; then the host breaks.
    let kept = Cell::new(None);
    let acts: Vec<Act<'_>> =
        vec![Box::new(|_| kept.set(Some(connect(&world, 80)))), Box::new(|host| host.stopping = true)];
    assert_eq!(run_with(&world, payload, acts), Farewell::Stopped);
}

#[test]
fn a_labelled_line_is_whole_and_never_held_for_long() {
    let world = FakeWorld::new(1);
    let labelled = Labelled::new("b", world.stdio.clone());
    assert_eq!((labelled.read(&mut [0; 4]), labelled.input().hangup), (Ok(0), true));
    world.stdio.stall_writes(1);
    assert_eq!(labelled.write(Stream::Out, b"a\nb\n"), Ok(2), "what is taken is as good as out");
    assert_eq!(labelled.write(Stream::Out, b"b\n"), Ok(2));
    labelled.write(Stream::Out, &[b'x'; 5000]).unwrap();
    labelled.write(Stream::Err, b"between\n").unwrap();
    drop(labelled);
    let said = stderr(&world);
    let lines: Vec<_> = said.lines().map(|line| (line.split_at(3).0, line.len() - 3)).collect();
    assert_eq!(lines, [("b: ", 1), ("b: ", 1), ("b: ", 4096), ("b: ", 7), ("b: ", 904)]);
    let labelled = Labelled::new("b", world.stdio.clone());
    world.stdio.break_pipe();
    assert_eq!(labelled.write(Stream::Out, b"a\n"), Err(Errno::Pipe));
}
