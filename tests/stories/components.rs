//! Components: what compilers make of a program for `wasm32-wasip2` boots as it is, in a VM and on this machine.
//!
//! What each program is expected to say was checked with Wasmtime's own CLI.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    Stories,
    clients::{Http, pattern},
    guests::{file, folder},
    samples::{built, expected},
    servers::free_port,
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
            let ran = vm(text("unknown-world")).on(place).run().refuses("acme:thing/foo@1.2.0");
            // One has a letter wrong, so there is something to propose.
            ran.says("wasi:filesytem/preopens")
                .says("wasi:filesystem/preopens")
                .says("wasi:cli/environment@0.9.0");
        });
        s.needs(on("a call into the host from an allocator"), place.lack(), move || {
            vm(text("reentry")).on(place).run().exits(134).says("cannot leave component instance");
        });
    }
    for place in TWO {
        let on = |story: &str| format!("components: {story} on {}", place.name());
        for version in ["2", "3"] {
            let name = format!("conform{version}");
            let lack = place.lack().or(guest(&name).is_none().then_some("not built"));
            s.needs(on(&format!("what WASI 0.{version} promises")), lack, move || conforms(place, version));
        }
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
fn text(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(format!("{name}.wat"));
    let component = wat::parse_file(&source).unwrap_or_else(|e| panic!("{e}"));
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
