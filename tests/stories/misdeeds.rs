//! A handler of wasi:http that does what it should not (tests/guests/hostile), one misdeed for each path. Whatever it does,
//! its own client is told that it failed, and everybody else is served.

use std::{fs, io, net::SocketAddr, time::Duration};

use crate::{
    Stories,
    clients::{Http, Reply},
    components::{guest, reached},
    guests::folder,
    servers::free_port,
    vm::{Place, Running, vm},
};

/// What the client of a misdeed gets.
#[derive(Clone, Copy)]
enum Gets {
    /// This answer, in words that it begins with.
    Answer(u16, &'static str),
    /// An answer that says that the server failed.
    Failure,
    /// A body that is seen to be cut off; or a failure, if nothing had been sent by then.
    CutOff,
    /// As the host likes, as long as there is an end to it.
    Anything,
}

use Gets::{Answer, Anything, CutOff, Failure};

const MISDEEDS: [(&str, Gets); 36] = [
    // Each request has an instance that no other has touched.
    ("/count", Answer(200, "1\n")),
    ("/count", Answer(200, "1\n")),
    ("/sleep?ms=20", Answer(200, "slept\n")),
    ("/loop", Failure),
    ("/trap", Failure),
    ("/panic", Failure),
    ("/recurse", Failure),
    ("/exit", Failure),
    ("/eat?mib=8", Answer(200, "ate 8 MiB\n")),
    ("/eat", Failure),
    ("/noresponse", Failure),
    ("/error", Failure),
    ("/cut", CutOff),
    ("/open", CutOff),
    ("/short", CutOff),
    ("/long", Anything),
    ("/linger", Answer(200, "all of it\n")),
    ("/many?n=1000", Answer(200, "kept 1000\n")),
    ("/many", Anything),
    ("/many?of=pollables", Anything),
    ("/many?of=streams", Anything),
    ("/drop?what=parent", Anything),
    ("/drop?what=twice", Failure),
    ("/drop?what=guess", Failure),
    ("/drop?what=none", Failure),
    ("/huge?what=random", Failure),
    ("/huge?what=read", Answer(200, "Err(StreamError::Closed)")),
    ("/huge?what=zeroes", Anything),
    ("/huge?what=write", Failure),
    ("/huge?what=fields", Failure),
    ("/head?what=status", Answer(200, "refused")),
    ("/head?what=lines", Answer(200, "refused: HeaderError::InvalidSyntax")),
    ("/head?what=forbidden", Answer(200, "refused: HeaderError::Forbidden")),
    ("/head?what=headers", Anything),
    ("/head?what=long", Anything),
    // Nobody granted it to ask anyone, not even itself.
    ("/reenter?depth=2", Answer(502, "ErrorCode::HttpRequestDenied")),
];

pub(crate) fn stories(s: &mut Stories) {
    for place in [Place::Microvm, Place::Host] {
        let lack = place.lack().or(guest("hostile").is_none().then_some("not built"));
        let on = |story: &str| format!("misdeeds: {story} on {}", place.name());
        s.needs(on("each is told to its client, and to nobody else"), lack, move || all(place));
        s.needs(
            on("a body without an end goes on for whoever listens, and for nobody else"),
            lack,
            move || {
                forever(place);
            },
        );
    }
}

/// Served with limits that a misdeed meets soon.
fn served(place: Place) -> (Running, SocketAddr) {
    let app = folder("hostile");
    fs::copy(guest("hostile").expect("built"), app.join("hostile.wasm")).expect("copied");
    let manifest = "[app]\nname = \"hostile\"\nmain = \"hostile.wasm\"\n[network]\nlisten = [\"80\"]\n\
         [http.limits]\nmemory = \"64MiB\"\ntime = \"3s\"\n";
    fs::write(app.join("lunette.toml"), manifest).expect("written");
    let at = free_port();
    let running = vm(&app).on(place).flags(["-p".to_owned(), format!("{at}:80")]).start();
    (running, at)
}

fn all(place: Place) {
    let (_server, at) = served(place);
    let mut neighbour = reached(at);
    for (path, gets) in MISDEEDS {
        let got = Http::new(at).and_then(|mut client| client.get(path));
        judge(path, gets, got);
        let reply = neighbour.get("/ok").unwrap_or_else(|error| panic!("after {path}: {error}"));
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"ok\n".as_slice()), "after {path}");
    }
}

#[track_caller]
fn judge(path: &str, gets: Gets, got: io::Result<Reply>) {
    match (gets, &got) {
        (Anything, _) => {}
        (Answer(status, words), Ok(reply)) => {
            assert_eq!(reply.status, status, "{path}: {got:?}");
            assert!(reply.body.starts_with(words.as_bytes()), "{path}: {got:?}");
        }
        (Failure | CutOff, Ok(reply)) => assert!(reply.status >= 500, "{path}: {got:?}"),
        (CutOff, Err(error)) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{path}"),
        (_, Err(error)) => panic!("{path}: {error}"),
    }
}

fn forever(place: Place) {
    let (_server, at) = served(place);
    let mut neighbour = reached(at);
    let mut listener = Http::new(at).expect("connected");
    listener.say(crate::clients::get("/forever")).expect("asked");
    let mut piece = vec![0; 1 << 20];
    let mut heard = 0;
    while heard < 4 << 20 {
        match io::Read::read(&mut listener.stream, &mut piece).expect("more of it") {
            0 => break,
            n => heard += n,
        }
        assert_eq!(neighbour.get("/ok").expect("a reply").status, 200);
    }
    assert!(heard >= 4 << 20, "it ended after {heard} bytes");
    drop(listener);
    std::thread::sleep(Duration::from_millis(200));
    for _ in 0..20 {
        assert_eq!(neighbour.get("/ok").expect("a reply").status, 200);
    }
}
