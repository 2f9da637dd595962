//! Components: what compilers make of a program for `wasm32-wasip2` boots as it is, in a VM and on this machine.
//!
//! What each program is expected to say was checked with Wasmtime's own CLI.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    Stories,
    clients::{Http, get, pattern},
    guests::{file, folder},
    samples::{built, expected},
    servers::free_port,
    services::{certificates, curl, lacks, text},
    vm::{Place, Running, vm},
};

/// Where the long stories are told; the short ones, everywhere.
const TWO: [Place; 2] = [Place::Microvm, Place::Host];

/// How tests/guests/depths ends, by its argument: the exit code, the kind of trap if it is one, and the line of third.rs.
const ENDS: [(&str, i32, &str, u32); 7] = [
    ("none", 0, "", 0),
    ("trap", 134, "unreachable", 8),
    ("panic", 134, "a panic, as was asked for", 9),
    ("divide", 134, "by zero", 10),
    ("bounds", 134, "outside of", 11),
    ("table", 134, "outside of", 12),
    ("index", 134, "the len is 5 but the index is 100", 14),
];

pub(crate) fn stories(s: &mut Stories) {
    for place in Place::ALL {
        let on = |story: &str| format!("components: {story} on {}", place.name());
        let hello = place.lack().or(built("hello-component").is_none().then_some("not built"));
        s.needs(on("hello"), hello, move || {
            let hello = vm(built("hello-component").expect("built")).on(place);
            hello.run().exits(0).prints(expected("hello-rust")).stays_quiet();
            hello.args(["moon"]).run().exits(0).prints("Hello, moon, from Rust!\n");
        });
        let files = place.lack().or(built("component-files").is_none().then_some("not built"));
        s.needs(on("files and sockets"), files, move || {
            vm(built("component-files").expect("built"))
                .on(place)
                .run()
                .exits(0)
                .prints(expected("component-files"));
        });
        s.needs(on("pages by wasi:http"), place.lack().or(lacks_http()), move || pages(place));
        let unknown = on("a world that nobody knows");
        s.needs(unknown, place.lack(), move || {
            let ran = vm(wat("unknown-world")).on(place).run().refuses("acme:thing/foo@1.2.0");
            // One has a letter wrong, so there is something to propose.
            ran.says("wasi:filesytem/preopens")
                .says("wasi:filesystem/preopens")
                .says("wasi:cli/environment@0.9.0");
        });
        s.needs(on("a call into the host from an allocator"), place.lack(), move || {
            vm(wat("reentry")).on(place).run().exits(134).says("cannot leave component instance");
        });
    }
    for place in TWO {
        let on = |story: &str| format!("components: {story} on {}", place.name());
        let tools = lacks("openssl").or(lacks("curl"));
        s.needs(
            on("pages by TLS, over HTTP/1.1 and HTTP/2"),
            place.lack().or(lacks_http()).or(tools),
            move || secure_pages(place),
        );
        let hostile = guest("hostile").is_none().then_some("not built");
        s.needs(
            on("a handler without fuel ends, and its neighbours are served"),
            place.lack().or(hostile),
            move || out_of_fuel(place),
        );
        for version in ["2", "3"] {
            let name = format!("conform{version}");
            let lack = place.lack().or(guest(&name).is_none().then_some("not built"));
            s.needs(on(&format!("what WASI 0.{version} promises")), lack, move || conforms(place, version));
        }
        let depths = place.lack().or(guest("depths").is_none().then_some("not built"));
        s.needs(on("a panic with RUST_BACKTRACE"), depths, move || {
            // The program's own words, in which std has no stack to show; the host does, as without it.
            let flags = ["--aot", "-e", "RUST_BACKTRACE=1"];
            let ran = vm(guest("depths").expect("built")).on(place).flags(flags).args(["panic"]).run();
            let ran = ran.exits(134).says("third.rs:9:").says("a panic, as was asked for");
            ran.says("second").says("first at ").says("main.rs:");
        });
        s.needs(on("a backtrace without lines says how to get them"), place.lack(), move || {
            let traps = crate::guests::guest("traps");
            let ran = vm(&traps).on(place).flags(["--aot"]).args(["u"]).run().exits(134).says("innermost");
            ran.says("note: for files and lines, build it with debug information (rustc -C debuginfo=1");
            let ran = vm(&traps).on(place).flags(["--engine", "wasmi"]).args(["u"]).run().exits(134);
            ran.says("innermost").says("run it with --aot");
        });
        for (how, code, kind, line) in ENDS {
            for program in ["depths", "depths-component"] {
                let lack = place.lack().or(guest(program).is_none().then_some("not built"));
                s.needs(on(&format!("{program} ends by `{how}`")), lack, move || {
                    let program = guest(program).expect("built");
                    let ran = vm(program).on(place).flags(["--aot"]).args([how]).run().exits(code).says(kind);
                    if code == 134 {
                        // Names, and where DWARF says that they are.
                        ran.says("second").says("first").says(&format!("third.rs:{line}"));
                    }
                });
            }
        }
    }
}

/// `target/guests/NAME.wasm`.
pub(crate) fn guest(name: &str) -> Option<PathBuf> {
    let file = PathBuf::from(std::env::var_os("LUNETTE_GUESTS")?).join(format!("{name}.wasm"));
    file.is_file().then_some(file)
}

/// `tests/guests/NAME.wat`, a component.
fn wat(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(format!("{name}.wat"));
    let component = ::wat::parse_file(&source).unwrap_or_else(|e| panic!("{e}"));
    file(&format!("{name}.wasm"), &component)
}

fn lacks_http() -> Option<&'static str> {
    built("http-component").is_none().then_some("not built")
}

/// All checks in one run, each of which is told.
fn conforms(place: Place, version: &str) {
    let app = folder("conform");
    let name = format!("conform{version}.wasm");
    fs::copy(guest(&format!("conform{version}")).expect("built"), app.join(&name)).expect("copied");
    let manifest = format!(
        "[app]\nname = \"conform\"\nmain = \"{name}\"\n[env]\nCONFORM = \"{version}\"\n[network]\n\
         listen = [\"*\", \"*/udp\"]\nconnect = [\"*:*\", \"*:*/udp\"]\nresolve = [\"*\"]\n"
    );
    fs::write(app.join("lunette.toml"), manifest).expect("written");
    let list = vm(&app).on(place).args(["list"]).run().exits(0);
    let list = String::from_utf8(list.stdout).expect("names");
    assert!(list.lines().count() > 30, "{list}");
    let ran = vm(&app).on(place).run().exits(0);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    for name in list.lines() {
        assert!(said.lines().any(|line| line == format!("{name}: ok")), "{name} was not told\n{ran}");
    }
}

/// Each page as its README says, over one connection.
fn pages(place: Place) {
    let (_server, at) = served("http-component", place);
    let mut client = reached(at);
    let reply = client.get("/hello/moon").expect("a reply");
    assert_eq!((reply.status, reply.body.as_slice()), (200, b"Hello, moon!\n".as_slice()));
    for length in [0, 1, 1000, 100_000] {
        let reply = client.get(&format!("/bytes/{length}")).expect("a reply");
        assert!(reply.status == 200 && reply.body == pattern(length), "{length} bytes differ");
    }
    let body = pattern(300_000);
    let reply = client.post("/echo", &body).expect("a reply");
    assert!(reply.status == 200 && reply.body == body, "what was sent did not come back");
    let reply = client.get("/stream?n=3&ms=20").expect("a reply");
    assert_eq!(reply.body, b"line 1 of 3\nline 2 of 3\nline 3 of 3\n");
    let reply = client.get("/headers").expect("a reply");
    assert!(String::from_utf8_lossy(&reply.body).starts_with("GET http test /headers\n"));
    assert_eq!(client.get("/none").expect("a reply").status, 404);
    assert_eq!(client.post("/hello/moon", b"").expect("a reply").status, 405);
}

/// A sample, and where its port 80 is.
fn served(sample: &str, place: Place) -> (Running, SocketAddr) {
    let at = free_port();
    let run = vm(built(sample).expect("built")).on(place).flags(["-p".to_owned(), format!("{at}:80")]);
    (run.start(), at)
}

/// As a browser comes: a certificate that it believes, and the version of HTTP that it likes best.
fn secure_pages(place: Place) {
    let (at, files) = (free_port(), certificates("2"));
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| files.join(name).display().to_string());
    let flags = ["--tls".to_owned(), format!("{cert},{key}"), "-p".into(), format!("{at}:80")];
    let server = vm(built("http-component").expect("built")).on(place).flags(flags).start();
    let secure = |words: &[&str], path: &str| {
        let mut command =
            curl(&["--cacert", &cert, "--retry", "20", "--retry-all-errors", "--retry-delay", "1"]);
        command.args(["--resolve", &format!("localhost:{}:127.0.0.1", at.port())]).args(words);
        text(command.arg(format!("https://localhost:{}{path}", at.port())))
    };
    let version = "\n%{http_code} %{http_version}";
    assert_eq!(secure(&["--http1.1", "-w", version], "/hello/moon"), "Hello, moon!\n\n200 1.1");
    assert!(secure(&["--http1.1"], "/headers").starts_with("GET https localhost"));
    if text(&mut curl(&["--version"])).contains("HTTP2") {
        assert_eq!(secure(&["--http2", "-w", version], "/hello/moon"), "Hello, moon!\n\n200 2");
        assert_eq!(secure(&["--http2", "-d", "to and fro"], "/echo"), "to and fro");
        // Several at once over one connection, each with an instance of its own.
        let pages: Vec<_> =
            (1..5).map(|n| format!("https://localhost:{}/stream?n={n}&ms=20", at.port())).collect();
        let mut words = vec!["--http2", "--parallel", "-w", "%{http_version}:%{num_connects}\n"];
        words.extend(pages.iter().map(String::as_str));
        let said = secure(&words, "/hello/moon");
        // How many connections each had to make: pieces of the pages are in between.
        let made = ["2:0", "2:1"].map(|words| said.matches(words).count());
        assert!(made[0] + made[1] == 5 && made[1] < 5, "{said}");
    }
    // Who speaks no TLS is no end of anybody else.
    let _ = Http::new(at).and_then(|mut rude| rude.get("/hello/moon"));
    assert_eq!(secure(&[], "/hello/moon"), "Hello, moon!\n");
    server.signal(Signal::TERM);
    server.wait(Duration::from_secs(20)).exits(0);
}

/// A request may execute so much, and not more: told by what was executed, not by a clock.
fn out_of_fuel(place: Place) {
    let app = folder("fuel");
    fs::copy(guest("hostile").expect("built"), app.join("hostile.wasm")).expect("copied");
    let manifest = "[app]\nname = \"hostile\"\nmain = \"hostile.wasm\"\n[network]\nlisten = [\"80\"]\n\
                    [http.limits]\nfuel = 100_000_000\ntime = \"60s\"\n";
    fs::write(app.join("lunette.toml"), manifest).expect("written");
    let at = free_port();
    let server = vm(&app).on(place).flags(["-p".to_owned(), format!("{at}:80")]).start();
    let mut neighbour = reached(at);
    let mut stuck = Http::new(at).expect("connected");
    stuck.say(get("/loop")).expect("asked");
    for _ in 0..5 {
        let reply = neighbour.get("/ok").expect("a reply");
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"ok\n".as_slice()));
    }
    assert_eq!(stuck.reply().expect("a reply").status, 500);
    // Each request has all of it again.
    assert_eq!(neighbour.get("/ok").expect("a reply").status, 200);
    server.signal(Signal::TERM);
    server
        .wait(Duration::from_secs(20))
        .exits(0)
        .says("GET /loop: stopped: its fuel was used up")
        .says("GET /loop:   at ");
}

/// As soon as it answers.
pub(crate) fn reached(at: SocketAddr) -> Http {
    let begun = Instant::now();
    loop {
        let client = Http::new(at).and_then(|mut client| client.get("/").map(|_| client));
        match client {
            Ok(client) => return client,
            Err(error) if begun.elapsed() > Duration::from_secs(30) => panic!("nobody answers: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
