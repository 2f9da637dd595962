//! Guests beside the app, in one VM and in one process.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Stories,
    guests::folder,
    vm::{Place, vm},
};

pub(crate) fn stories(s: &mut Stories) {
    for place in Place::ALL {
        let on = |story: &str| format!("beside: {story} on {}", place.name());
        s.needs(on("the app's end is everybody's, and who else ends is told"), place.lack(), move || {
            ends(place)
        });
        s.needs(on("nobody starves"), place.lack(), move || starves(place));
        s.needs(on("two serve, and the end waits for both"), place.lack(), move || serve(place));
        s.needs(on("a port that two want is named"), place.lack(), move || same_port(place));
    }
}

/// A folder with these modules and this manifest.
fn app(name: &str, manifest: &str, modules: &[(&str, &str)]) -> PathBuf {
    let dir = folder(name);
    fs::write(dir.join("lunette.toml"), manifest).expect("a manifest");
    for (module, body) in modules {
        let text = format!(
            r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "here\n")
  (func $put (param $fd i32) (param $len i32)
    (i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (local.get $len))
    (drop (call $write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 24))))
  (func $sleep (param $ms i32)
    (i32.store (i32.const 528) (i32.const 1))
    (i64.store (i32.const 536) (i64.mul (i64.extend_i32_u (local.get $ms)) (i64.const 1000000)))
    (drop (call $poll (i32.const 512) (i32.const 600) (i32.const 1) (i32.const 700))))
  (func (export "_start") {body}))"#
        );
        let bytes = wat::parse_str(&text).unwrap_or_else(|e| panic!("{module}: {e}"));
        fs::write(dir.join(format!("{module}.wasm")), bytes).expect("a module");
    }
    dir
}

/// Echoes to one client after the other; exits with 7 once nobody will come any more.
const ECHO: &str = "(local $e i32) (call $put (i32.const 1) (i32.const 5)) (loop $next
  (local.set $e (call $accept (i32.const 3) (i32.const 0) (i32.const 0)))
  (if (local.get $e) (then (call $exit
    (select (i32.const 7) (i32.add (i32.const 100) (local.get $e)) (i32.eq (local.get $e) (i32.const 11))))))
  (block $done (loop $more
    (i32.store (i32.const 16) (i32.const 2048)) (i32.store (i32.const 20) (i32.const 4096))
    (br_if $done (call $read (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 28)))
    (br_if $done (i32.eqz (i32.load (i32.const 28))))
    (i32.store (i32.const 20) (i32.load (i32.const 28)))
    (drop (call $write (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 24)))
    (br $more)))
  (drop (call $close (i32.load (i32.const 0)))) (br $next))";

fn ends(place: Place) {
    let manifest = "[app]\nmain = \"app.wasm\"\n[[guest]]\nname = \"brief\"\nmain = \"brief.wasm\"\n[[guest]]\nname = \
                    \"broken\"\nmain = \"broken.wasm\"\n[[guest]]\nname = \"patient\"\nmain = \"patient.wasm\"\n";
    let app = app(
        "ends",
        manifest,
        &[
            (
                "app",
                "(call $sleep (i32.const 500)) (call $put (i32.const 1) (i32.const 5)) (call $exit (i32.const 3))",
            ),
            ("brief", "(call $put (i32.const 1) (i32.const 5)) (call $exit (i32.const 4))"),
            ("broken", "unreachable"),
            ("patient", "(loop $l (call $sleep (i32.const 3600000)) (br $l))"),
        ],
    );
    let ran = vm(app).on(place).run().exits(3).prints("here\n");
    let ran = ran.says("brief: here\n").says("broken: error: broken trapped: ").says("broken trapped\n");
    ran.says("brief ended with exit code 4");
}

fn starves(place: Place) {
    let manifest = "[app]\nmain = \"app.wasm\"\n[[guest]]\nname = \"greedy\"\nmain = \"greedy.wasm\"\n";
    let body = "(call $sleep (i32.const 100)) (call $put (i32.const 1) (i32.const 5))";
    let app = app("starves", manifest, &[("app", body), ("greedy", "(loop $l (br $l))")]);
    vm(app).on(place).run().exits(0).prints("here\n").stays_quiet();
}

fn serve(place: Place) {
    let manifest = "[app]\nmain = \"echo.wasm\"\n[network]\nlisten = [\"7\"]\n[[guest]]\nname = \"second\"\nmain = \
                    \"echo.wasm\"\n[guest.network]\nlisten = [\"70\"]\n";
    let app = app("serve", manifest, &[("echo", ECHO)]);
    let [first, second] = [0; 2].map(|_| {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        free.expect("a free port")
    });
    let flags = ["-p".to_owned(), format!("{first}:7"), "-p".to_owned(), format!("{second}:70")];
    let running = vm(app).on(place).flags(flags).start().until_it_prints("here\n");
    let mut clients = [first, second].map(|at| {
        let client = TcpStream::connect(at).expect("a connection");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        client
    });
    let echo = |client: &mut TcpStream, text: &str| {
        client.write_all(text.as_bytes()).expect("written");
        let mut heard = vec![0; text.len()];
        client.read_exact(&mut heard).expect("an echo");
        assert_eq!(heard, text.as_bytes());
    };
    clients.iter_mut().for_each(|client| echo(client, "one"));
    running.signal(Signal::TERM);
    clients.iter_mut().for_each(|client| echo(client, "two"));
    let [mut app, mut other] = clients;
    other.shutdown(Shutdown::Write).expect("an end");
    assert_eq!(other.read(&mut [0; 8]).expect("its end"), 0);
    echo(&mut app, "three");
    app.shutdown(Shutdown::Write).expect("an end");
    running.wait(Duration::from_secs(20)).exits(7).says("second: here\n");
}

fn same_port(place: Place) {
    let manifest = "[app]\nmain = \"echo.wasm\"\n[network]\nlisten = [\"7777\"]\n[[guest]]\nname = \"second\"\nmain = \
                    \"echo.wasm\"\n[guest.network]\nlisten = [\"127.0.0.1:7777\"]\n";
    let app = app("same-port", manifest, &[("echo", ECHO)]);
    vm(app).on(place).run().refuses("second can't listen on 127.0.0.1:7777: echo does already");
}
