//! The server before peers who send and read as they like.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use http::{Request, Response};
use lunette_hostcalls::{
    Interest, Shutdown, TcpStream,
    fake::{FakeRandom, Weather},
    task::{Spawner, until},
};
use lunette_http::{
    Body, Incoming, Stream,
    client::{Client, Options},
    server::{Settings, serve},
    tls,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{AT, Issuer, SECOND, Stage, accept, all, connect, read_until, send, some};

/// What became of connections, in the order of their ends.
type Faults = Rc<RefCell<Vec<Option<String>>>>;

/// Accepts for ever: `/echo` sends bodies back, `/slow` takes its time, `/big` is much, all others are greeted.
fn begin(stage: &Stage, spawner: &Spawner, settings: Settings, tls: Option<tls::Server>) -> Faults {
    let faults = Faults::default();
    let (listener, spawned, time, log) =
        (stage.listen(AT), spawner.clone(), stage.time.clone(), faults.clone());
    spawner.spawn(async move {
        loop {
            let socket = accept(&listener).await;
            let (spawner, time, settings, log, tls) =
                (spawned.clone(), time.clone(), settings.clone(), log.clone(), tls.clone());
            spawned.spawn(async move {
                let stream = match tls {
                    None => Stream::plain(socket),
                    Some(tls) => tls.accept(lunette_http::Plain(socket)).await.unwrap(),
                };
                let clock = time.clone();
                let handler = move |request| answer(request, clock.clone());
                let result = serve(stream, &settings, &time, &spawner, handler).await;
                log.borrow_mut().push(result.err().map(|fault| fault.0));
            });
        }
    });
    faults
}

async fn answer(request: Request<Incoming>, time: lunette_hostcalls::task::Time) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/upgrade" => {
            let mut request = request;
            let upgraded = lunette_http::upgrade::of_request(&mut request);
            BIG.with_borrow_mut(|big| {
                big.push(Box::pin(async move {
                    let (mut stream, ahead) = upgraded.await.unwrap();
                    let mut buf = [0; 5];
                    buf[..ahead.len()].copy_from_slice(&ahead);
                    stream.read_exact(&mut buf[ahead.len()..]).await.unwrap();
                    stream.write_all(&buf.map(|byte| byte.to_ascii_uppercase())).await.unwrap();
                }));
            });
            let mut response = Response::new(Body::empty());
            *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("upgrade", "shout".parse().unwrap());
            response.headers_mut().insert("connection", "upgrade".parse().unwrap());
            response
        }
        "/echo" => Response::new(Body::from(request.into_body())),
        "/read" => match request.into_body().whole(1 << 20).await {
            Ok(whole) => {
                let trailer = whole.trailers.and_then(|trailers| trailers.get("x-end").cloned());
                let end = trailer.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
                Response::new(Body::full(format!("{} bytes{end}", whole.bytes.len())))
            }
            Err(fault) => Response::new(Body::full(fault.to_string())),
        },
        "/slow" => {
            time.sleep(5 * SECOND).await;
            Response::new(Body::full("at last"))
        }
        "/big" => {
            let (mut sender, body) = Body::channel(1);
            let piece = bytes::Bytes::from(vec![b'x'; 10_000]);
            let response = Response::new(body);
            // As a task of the handler's own would: until nobody takes it.
            BIG.with_borrow_mut(|big| {
                big.push(Box::pin(async move {
                    let mut sent = 0;
                    while sender.send_data(piece.clone()).await.is_ok() {
                        sent += piece.len();
                        SENT.set(sent);
                    }
                    GONE.set(true);
                }))
            });
            response
        }
        _ => Response::new(Body::full("hello")),
    }
}

thread_local! {
    static BIG: RefCell<Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(Vec::new()) };
    static SENT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    static GONE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// A run with one server.
#[track_caller]
fn with<T: 'static>(
    settings: Settings,
    peer: impl AsyncFnOnce(Rc<Stage>, Spawner, Faults) -> T + 'static,
) -> T {
    let stage = Rc::new(Stage::new());
    let inner = stage.clone();
    stage.run(async move |spawner| {
        let faults = begin(&inner, &spawner, settings, None);
        peer(inner, spawner, faults).await
    })
}

/// What is answered to these bytes, to the end; with the date left out.
fn said(settings: Settings, bytes: &'static [u8]) -> (String, Vec<Option<String>>) {
    with(settings, async move |stage, _, faults| {
        let peer = connect(&stage.peers, AT).await;
        send(&peer, bytes).await.unwrap();
        let got = all(&peer).await;
        let got = String::from_utf8(got).unwrap().replace("date: Thu, 01 Jan 2026 00:00:00 GMT\r\n", "");
        drop(peer);
        stage.time.sleep(3 * SECOND).await;
        (got, faults.take())
    })
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[test]
fn requests_follow_each_other_on_a_connection_and_all_at_once() {
    with(Settings::default(), async |stage, _, faults| {
        let peer = connect(&stage.peers, AT).await;
        for _ in 0..3 {
            send(&peer, GET).await.unwrap();
            let answer = read_until(&peer, "hello").await;
            assert!(answer.contains("date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"), "{answer}");
        }
        send(&peer, &GET.repeat(50)).await.unwrap();
        for _ in 0..50 {
            read_until(&peer, "hello").await;
        }
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all(&peer).await, b"");
        stage.time.sleep(SECOND).await;
        assert_eq!(faults.take(), [None]);
    });
}

#[test]
fn without_a_date_none_is_said() {
    with(Settings::default(), async |stage, _, _| {
        stage.world.clock.set_wall(None);
        let peer = connect(&stage.peers, AT).await;
        send(&peer, GET).await.unwrap();
        assert_eq!(read_until(&peer, "hello").await, HELLO);
    });
}

#[test]
fn an_old_client_is_answered_and_hung_up_on() {
    let (got, faults) = said(Settings::default(), b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!((got.as_str(), faults), ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", vec![None]));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    const BODY: &str = "0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    let refused = [
        ("two lengths", "POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n"),
        ("a list of lengths", "POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 6\r\n\r\n"),
        ("no number", "POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\n"),
        ("a huge number", "POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n"),
        ("not chunked last", "POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n"),
        ("unknown encoding", "POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n"),
        ("chunked in 1.0", "POST /read HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("space before colon", "POST /read HTTP/1.1\r\nhost: a\r\ncontent-length : 5\r\n\r\n"),
        ("tab before colon", "POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding\t: chunked\r\n\r\n"),
        ("folded", "POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n chunked\r\n\r\n"),
        ("space before the first field", "POST /read HTTP/1.1\r\n host: a\r\n\r\n"),
        ("bare CR", "GET / HTTP/1.1\r\nhost: a\rx: y\r\n\r\n"),
        ("NUL", "GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n"),
        ("no colon", "GET / HTTP/1.1\r\nhost\r\n\r\n"),
        ("no name", "GET / HTTP/1.1\r\n: x\r\n\r\n"),
        ("two spaces", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("no version", "GET /\r\nhost: a\r\n\r\n"),
        ("strange version", "GET / HTTP/1.2\r\nhost: a\r\n\r\n"),
        ("TLS", "\x16\x03\x01\x02\x00\x01\x00"),
    ];
    for (name, head) in refused {
        let text: &'static str = format!("{head}{BODY}").leak();
        let (got, faults) = said(Settings::default(), text.as_bytes());
        assert!(got.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{name}: {got:?}");
        assert_eq!(got.matches("HTTP/1.1").count(), 1, "{name}: {got}");
        assert!(faults.len() == 1 && faults[0].is_some(), "{name}: {faults:?}");
    }
}

#[test]
fn what_is_taken_for_one_request_is_one() {
    // Both: chunked counts, and nothing after it is read.
    for text in [
        "POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    ] {
        let text: &'static str = format!("{text}GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n").leak();
        let (got, _) = said(Settings::default(), text.as_bytes());
        assert!(got.ends_with("\r\n\r\n0 bytes") && got.matches("HTTP/1.1").count() == 1, "{got}");
        assert!(got.contains("connection: close"), "{got}");
    }
    // The same length twice is one length; a bare LF ends a line.
    let (got, _) = said(
        Settings::default(),
        b"POST /read HTTP/1.1\nhost: a\ncontent-length: 2\ncontent-length: 2\nconnection: close\n\nab",
    );
    assert!(got.ends_with("2 bytes"), "{got}");
}

#[test]
fn a_chunk_that_is_none_breaks_the_body_and_ends_the_connection() {
    for chunk in [
        "zz\r\nab\r\n",
        "-2\r\nab\r\n",
        "2\nab\r\n",
        "2\r\nabc\r\n",
        "fffffffffffffffff\r\n",
        "2;\x01\nab\r\n",
    ] {
        let text: &'static str = format!(
            "POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\nGET / HTTP/1.1\r\nhost: \
             a\r\n\r\n"
        )
        .leak();
        let (got, _) = said(Settings::default(), text.as_bytes());
        assert!(!got.ends_with(" bytes") && !got.contains("hello"), "{chunk:?}: {got}");
        assert!(got.matches("HTTP/1.1").count() <= 1, "{chunk:?}: {got}");
    }
}

#[test]
fn heads_have_a_size_and_a_number_of_fields() {
    let many: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "y".repeat(40_000);
    for (name, text, status) in [
        ("fields", format!("GET / HTTP/1.1\r\n{many}\r\n"), "431"),
        ("field", format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"), "431"),
        ("never ends", format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(20_000)), "431"),
        ("path", format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(70_000)), "4"),
    ] {
        let (got, _) = said(Settings::default(), text.leak().as_bytes());
        assert!(got.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {got:?}");
    }
    let few = Settings { fields: 3, ..Settings::default() };
    let (got, _) = said(few.clone(), b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 431"), "{got:?}");
    let (got, _) = said(few, b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nconnection: close\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 200"), "{got:?}");
}

#[test]
fn slow_heads_are_answered_and_idle_connections_closed() {
    let settings = Settings { head_time: 10 * SECOND, keep_alive: 60 * SECOND, ..Settings::default() };
    with(settings, async |stage, spawner, faults| {
        // A byte a second, for ever.
        let slow = connect(&stage.peers, AT).await;
        let (dripping, time) = (slow.clone(), stage.time.clone());
        spawner.spawn(async move {
            for byte in b"GET / HTTP/1.1\r\nhost: aaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
                if send(&dripping, &[*byte]).await.is_err() {
                    return;
                }
                time.sleep(SECOND).await;
            }
        });
        let before = stage.now();
        let got = String::from_utf8(all(&slow).await).unwrap();
        assert!(got.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{got}");
        assert_eq!((stage.now() - before) / 1_000_000_000, 10);
        drop(slow);
        let idle = connect(&stage.peers, AT).await;
        let before = stage.now();
        send(&idle, GET).await.unwrap();
        assert!(all(&idle).await.ends_with(b"hello"));
        assert_eq!((stage.now() - before) / 1_000_000_000, 60);
        let silent = connect(&stage.peers, AT).await;
        let before = stage.now();
        assert_eq!(all(&silent).await, b"");
        assert_eq!((stage.now() - before) / 1_000_000_000, 60);
        // A handler may take as long as it wants.
        let patient = connect(&stage.peers, AT).await;
        send(&patient, b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(all(&patient).await.ends_with(b"at last"));
        stage.time.sleep(5 * SECOND).await;
        assert_eq!(faults.take(), [Some("timeout in a request's head".into()), None, None, None]);
    });
}

#[test]
fn bodies_that_stop_are_given_up() {
    let settings = Settings { body_time: 7 * SECOND, ..Settings::default() };
    with(settings, async |stage, _, _| {
        let peer = connect(&stage.peers, AT).await;
        send(&peer, b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
        let before = stage.now();
        read_until(&peer, "timeout").await;
        assert_eq!((stage.now() - before) / 1_000_000_000, 7);
    });
}

#[test]
fn continue_is_said_when_somebody_reads() {
    with(Settings::default(), async |stage, _, _| {
        let peer = connect(&stage.peers, AT).await;
        let head = b"POST /read HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
        send(&peer, head).await.unwrap();
        assert_eq!(read_until(&peer, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        send(&peer, b"text").await.unwrap();
        read_until(&peer, "4 bytes").await;
        // Nobody wants this one.
        let peer = connect(&stage.peers, AT).await;
        let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
        send(&peer, head).await.unwrap();
        assert!(read_until(&peer, "hello").await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn trailers_come_and_go() {
    let (got, _) = said(
        Settings::default(),
        b"POST /read HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntrailer: x-end\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\
          \r\nx-end:  of it\r\n\r\n",
    );
    assert!(got.ends_with("2 bytesof it"), "{got}");
    let (got, _) = said(
        Settings::default(),
        b"POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\
          \r\n\r\n",
    );
    assert!(got.ends_with("2\r\nab\r\n0\r\n\r\n"), "{got}");
}

#[test]
fn bodies_are_echoed_in_any_weather() {
    for (seed, weather) in
        [Weather::CALM, Weather::STORMY, Weather { window: 7, short: true, ..Weather::CALM }]
            .into_iter()
            .enumerate()
    {
        let length = if weather.window < 100 { 1_000 } else { 100_000 };
        let stage = Rc::new(Stage::seeded(seed as u64));
        stage.world.net.set_weather(weather);
        let inner = stage.clone();
        stage.run(async move |spawner| {
            let _faults = begin(&inner, &spawner, Settings::default(), None);
            let tls = tls::Client::new(tls::Trust::Web, &[], &inner.time).unwrap();
            let client = Client::new(inner.network(), inner.time.clone(), spawner, tls);
            let sent: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            for _ in 0..2 {
                let request = Request::post("http://10.0.2.15/echo").body(Body::full(sent.clone())).unwrap();
                let options = Options { timeout: 1000 * SECOND, idle: 1000 * SECOND, ..Options::default() };
                let answer = client.request(request, &options).await.unwrap();
                let back = answer.into_body().whole(length).await.unwrap();
                assert!(back.bytes == sent);
            }
        });
    }
}

/// Runs what handlers left to be run.
fn run_big(spawner: &Spawner) {
    let all = BIG.take();
    all.into_iter().for_each(|task| spawner.spawn(task));
}

#[test]
fn who_does_not_read_is_not_gathered_for_and_given_up() {
    let settings = Settings { body_time: 20 * SECOND, ..Settings::default() };
    with(settings, async |stage, spawner, faults| {
        let peer = connect(&stage.peers, AT).await;
        send(&peer, b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        stage.time.sleep(SECOND).await;
        run_big(&spawner);
        stage.time.sleep(10 * SECOND).await;
        let sent = SENT.get();
        assert!((50_000..250_000).contains(&sent), "a window and two buffers: {sent}");
        // Who reads on is sent more.
        for _ in 0..100 {
            some(&peer).await.unwrap();
        }
        stage.time.sleep(10 * SECOND).await;
        assert!(SENT.get() > sent);
        let sent = SENT.get();
        stage.time.sleep(30 * SECOND).await;
        assert!(SENT.get() <= sent + 100_000);
        assert!(GONE.get(), "the handler hears of it");
        assert_eq!(faults.take(), [Some("timeout: what was sent is not read".into())]);
    });
}

#[test]
fn a_connection_becomes_something_else() {
    with(Settings::default(), async |stage, spawner, faults| {
        let tls = tls::Client::new(tls::Trust::Web, &[], &stage.time).unwrap();
        let client = Client::new(stage.network(), stage.time.clone(), spawner.clone(), tls);
        let request = Request::get("http://10.0.2.15/upgrade")
            .header("connection", "upgrade")
            .header("upgrade", "shout")
            .body(Body::empty())
            .unwrap();
        let mut answer = client.request(request, &Options::default()).await.unwrap();
        assert_eq!(answer.status(), 101);
        run_big(&spawner);
        let (mut stream, ahead) = lunette_http::upgrade::of_response(&mut answer).await.unwrap();
        assert!(ahead.is_empty());
        stream.write_all(b"hello").await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert_eq!((back.as_slice(), faults.take()), (&b"HELLO"[..], vec![None]));
    });
}

#[test]
fn an_early_answer_arrives_though_more_is_sent() {
    with(Settings::default(), async |stage, _, _| {
        let peer = connect(&stage.peers, AT).await;
        send(&peer, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
        let mut sent = 0;
        while sent < 150_000 {
            match until(&*peer, Interest::Write, || peer.write(&[b'x'; 5000])).await {
                Ok(wrote) => sent += wrote,
                Err(_) => break,
            }
        }
        read_until(&peer, "hello").await;
    });
}

#[test]
fn connections_that_break_are_nobodys_fault_but_theirs() {
    with(Settings::default(), async |stage, spawner, faults| {
        for text in [
            &b""[..],
            b"GET / HT",
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc",
            b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc",
            b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n",
            b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n",
        ] {
            for abort in [true, false] {
                let peer = connect(&stage.peers, AT).await;
                send(&peer, text).await.unwrap();
                stage.time.sleep(SECOND).await;
                run_big(&spawner);
                if abort {
                    peer.abort();
                }
            }
        }
        stage.time.sleep(100 * SECOND).await;
        assert_eq!(faults.borrow().len(), 14);
        assert_eq!(faults.take(), vec![None; 14]);
        let peer = connect(&stage.peers, AT).await;
        send(&peer, GET).await.unwrap();
        read_until(&peer, "hello").await;
    });
}

#[test]
fn a_shutdown_lets_requests_finish_and_says_so() {
    let settings = Settings::default();
    let shutdown = settings.shutdown.clone();
    with(settings, async move |stage, _, faults| {
        let (fresh, idle, busy) = (
            connect(&stage.peers, AT).await,
            connect(&stage.peers, AT).await,
            connect(&stage.peers, AT).await,
        );
        send(&idle, GET).await.unwrap();
        read_until(&idle, "hello").await;
        send(&busy, b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        stage.time.sleep(SECOND).await;
        assert_eq!(shutdown.connections(), 3);
        let before = stage.now();
        shutdown.begin();
        assert_eq!((all(&fresh).await, all(&idle).await), (Vec::new(), Vec::new()));
        assert!(stage.now() - before < 1_000_000_000);
        let got = String::from_utf8(all(&busy).await).unwrap();
        assert!(got.contains("connection: close\r\n") && got.ends_with("at last"), "{got}");
        shutdown.finished().await;
        assert_eq!((stage.now() - before) / 1_000_000_000, 4);
        assert_eq!(faults.take(), [None, None, None]);
    });
}

#[test]
fn a_thousand_connections_are_served_at_once() {
    with(Settings::default(), async |stage, spawner, faults| {
        let done = Rc::new(RefCell::new(0));
        for _ in 0..1000 {
            let (peers, done) = (stage.peers.clone(), done.clone());
            spawner.spawn(async move {
                let peer = connect(&peers, AT).await;
                for _ in 0..5 {
                    send(&peer, GET).await.unwrap();
                    read_until(&peer, "hello").await;
                }
                *done.borrow_mut() += 1;
            });
        }
        stage.time.sleep(30 * SECOND).await;
        assert_eq!(*done.borrow(), 1000);
        assert_eq!(faults.borrow().len(), 1000);
        assert_eq!(stage.world.net.open(), 1, "but the listener all is closed");
    });
}

/// Asks over HTTP/2, by TLS.
fn h2<T: 'static>(
    settings: Settings,
    asker: impl AsyncFnOnce(Rc<Stage>, Client, Faults) -> T + 'static,
) -> T {
    let stage = Rc::new(Stage::new());
    stage.world.net.name("host.example", 0, Ok(vec!["10.0.2.15".parse().unwrap()]));
    let issuer = Issuer::new();
    let issued = issuer.issue(&["host.example"]);
    let server =
        tls::Server::with(&[issued.identity()], &["h2", "http/1.1"], &tls::Clients::Anonymous, &stage.time);
    let client =
        tls::Client::new(tls::Trust::Only(issuer.pem.into()), &["h2", "http/1.1"], &stage.time).unwrap();
    let inner = stage.clone();
    stage.run(async move |spawner| {
        let faults = begin(&inner, &spawner, settings, Some(server.unwrap()));
        let client = Client::new(inner.network(), inner.time.clone(), spawner, client);
        asker(inner, client, faults).await
    })
}

const URL: &str = "https://host.example:80";

#[test]
fn http2_answers_many_at_once_over_one_connection() {
    h2(Settings::default(), async |stage, client, faults| {
        let ask = async |path: &str, body: Body| {
            let request = Request::post(format!("{URL}{path}")).body(body).unwrap();
            let answer = client.request(request, &Options::default()).await.unwrap();
            assert_eq!(answer.version(), http::Version::HTTP_2);
            assert_eq!(answer.headers()["date"], "Thu, 01 Jan 2026 00:00:00 GMT");
            answer.into_body().whole(1 << 20).await.unwrap().bytes
        };
        assert_eq!(ask("/", Body::empty()).await, "hello");
        let text = vec![b'x'; 200_000];
        assert!(ask("/echo", Body::full(text.clone())).await == text);
        let (mut sender, upload) = Body::channel(4);
        sender.send_data("ab".into()).await.unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-end", " of it".parse().unwrap());
        sender.send_trailers(trailers).await.unwrap();
        drop(sender);
        assert_eq!(ask("/read", upload).await, "2 bytes of it");
        assert_eq!(stage.world.net.open(), 3, "a listener, and both ends of one connection");
        stage.time.sleep(100 * SECOND).await;
        assert_eq!((stage.world.net.open(), faults.take()), (1, vec![None]));
    });
}

#[test]
fn http2_and_tls_go_through_any_weather() {
    for weather in [Weather::STORMY, Weather { window: 100, short: true, ..Weather::CALM }] {
        h2(Settings::default(), async move |stage, client, _| {
            stage.world.net.set_weather(weather);
            let text = vec![b'x'; 50_000];
            let options = Options {
                timeout: 500 * SECOND,
                connect: 100 * SECOND,
                idle: 100 * SECOND,
                ..Options::default()
            };
            for _ in 0..2 {
                let body = Body::full(text.clone());
                let request = Request::post(format!("{URL}/echo")).body(body).unwrap();
                let answer = client.request(request, &options).await.unwrap();
                assert!(answer.into_body().whole(50_000).await.unwrap().bytes == text);
            }
        });
    }
}

#[test]
fn http2_has_its_limits_and_its_end() {
    let settings = Settings { fields: 20, ..Settings::default() };
    let shutdown = settings.shutdown.clone();
    h2(settings, async move |stage, client, faults| {
        let mut request = Request::get(URL).body(Body::empty()).unwrap();
        for n in 0..30 {
            request
                .headers_mut()
                .insert(http::HeaderName::try_from(format!("x-{n}")).unwrap(), "y".parse().unwrap());
        }
        let answer = client.request(request, &Options::default()).await.unwrap();
        assert_eq!(answer.status(), 431);
        let slow = Request::get(format!("{URL}/slow")).body(Body::empty()).unwrap();
        let (time, begun) = (stage.time.clone(), shutdown.clone());
        let stopping = async move {
            time.sleep(SECOND).await;
            begun.begin();
        };
        let options = Options::default();
        let asking = client.request(slow, &options);
        let (mut stopping, mut asking) = (Box::pin(stopping), Box::pin(asking));
        let answer = std::future::poll_fn(|cx| {
            if !shutdown.has_begun() {
                let _ = stopping.as_mut().poll(cx);
            }
            asking.as_mut().poll(cx)
        })
        .await
        .unwrap();
        assert_eq!(answer.into_body().whole(100).await.unwrap().bytes, "at last");
        shutdown.finished().await;
        assert_eq!(faults.take(), [None]);
    });
}

#[test]
fn http2_is_spoken_to_who_begins_with_it() {
    with(Settings::default(), async |stage, _, _| {
        let peer = connect(&stage.peers, AT).await;
        send(&peer, b"P").await.unwrap();
        stage.time.sleep(SECOND).await;
        send(&peer, b"RI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let first = some(&peer).await.unwrap();
        assert_eq!(first[3], 4, "SETTINGS: {first:?}");
    });
}

/// CVE-2023-44487: asked, and at once no longer wanted, again and again.
#[test]
fn a_flood_of_resets_ends_the_connection() {
    with(Settings::default(), async |stage, _, faults| {
        let peer = connect(&stage.peers, AT).await;
        let mut text = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        for stream in (1..4000u32).step_by(2) {
            // GET http://a/slow, by indices of HPACK and two literals.
            let mut head = vec![0x82, 0x86, 0x04, 5];
            head.extend(b"/slow");
            head.extend([0x41, 1, b'a']);
            text.extend([0, 0, head.len() as u8, 1, 5]);
            text.extend(stream.to_be_bytes());
            text.extend(&head);
            text.extend([0, 0, 4, 3, 0]);
            text.extend(stream.to_be_bytes());
            text.extend(8u32.to_be_bytes());
        }
        let _ = send(&peer, &text).await;
        let got = all(&peer).await;
        assert!(got.windows(9).any(|frame| frame[3] == 7), "GOAWAY");
        drop(peer);
        stage.time.sleep(10 * SECOND).await;
        assert_eq!(faults.borrow().len(), 1);
    });
}

/// Any bytes at all: nothing panics, all connections end, and the server goes on.
#[test]
fn no_bytes_break_it() {
    const SEEDS: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /slow HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nx: y\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x81\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x05\x01\x05\0\0\0\x01\x82\x86\x84\x41\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\x01\0\0\x04\x08\0\0\0\0\0\0\0\0\x01\0\0\x08\x06\0\0\0\0\
          \0abcdefgh",
    ];
    let stage = Rc::new(Stage::seeded(7));
    let inner = stage.clone();
    stage.run(async move |spawner| {
        let faults = begin(&inner, &spawner, Settings::default(), None);
        let random = FakeRandom::new(99);
        for _ in 0..3000 {
            let mut bytes = SEEDS[random.below(6) as usize].to_vec();
            for _ in 0..random.below(6) {
                let at = random.below(bytes.len() as u64) as usize;
                match random.below(5) {
                    0 => bytes[at] = random.next() as u8,
                    1 => bytes[at] ^= 1 << random.below(8),
                    2 => drop(bytes.drain(at..(at + 1 + random.below(9) as usize).min(bytes.len()))),
                    3 => bytes.insert(at, b"\r\n \0:\xff"[random.below(6) as usize]),
                    _ => {
                        let copy = bytes[at..].to_vec();
                        bytes.extend(copy);
                    }
                }
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            let peer = connect(&inner.peers, AT).await;
            let half = random.below(bytes.len() as u64) as usize;
            let _ = send(&peer, &bytes[..half]).await;
            if random.below(2) == 0 {
                inner.time.sleep(SECOND / 100).await;
            }
            let _ = send(&peer, &bytes[half..]).await;
            match random.below(3) {
                0 => peer.abort(),
                1 => drop(peer.shutdown(Shutdown::Write)),
                _ => {}
            }
        }
        inner.time.sleep(200 * SECOND).await;
        assert_eq!(faults.borrow().len(), 3000);
        let peer = connect(&inner.peers, AT).await;
        send(&peer, GET).await.unwrap();
        read_until(&peer, "hello").await;
    });
}

/// The other way round: a server that answers anything.
#[test]
fn no_answer_breaks_the_client() {
    const SEEDS: [&[u8]; 5] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nx: y\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: /x/../y?z#a\r\ncontent-length: 0\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9\
          \x07\0\x86\xa6\x106\x05\0\0\0",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\ncontent-length: 13\r\n\r\nx\x9c\xcbH\xcd\xc9\xc9\x07\0\x06,\x02\x15",
    ];
    let stage = Rc::new(Stage::seeded(8));
    let inner = stage.clone();
    stage.run(async move |spawner| {
        let listener = inner.listen(AT);
        let random = Arc::new(FakeRandom::new(5));
        let (dice, spawned) = (random.clone(), spawner.clone());
        spawner.spawn(async move {
            loop {
                let stream: Arc<dyn TcpStream> = accept(&listener).await;
                let dice = dice.clone();
                spawned.spawn(async move {
                    while some(&stream).await.is_ok_and(|piece| !piece.is_empty()) {
                        let mut bytes = SEEDS[dice.below(5) as usize].to_vec();
                        for _ in 0..dice.below(4) {
                            let at = dice.below(bytes.len() as u64) as usize;
                            match dice.below(3) {
                                0 => bytes[at] = dice.next() as u8,
                                1 => bytes.truncate(at.max(1)),
                                _ => bytes.insert(at, b"\r\n \0:\xff"[dice.below(6) as usize]),
                            }
                        }
                        if send(&stream, &bytes).await.is_err() || dice.below(4) == 0 {
                            return;
                        }
                    }
                });
            }
        });
        let tls = tls::Client::new(tls::Trust::Web, &[], &inner.time).unwrap();
        let client = Client::new(inner.network(), inner.time.clone(), spawner, tls);
        let options = Options { decode: true, timeout: 5 * SECOND, idle: SECOND, ..Options::default() };
        let mut good = 0;
        for _ in 0..2000 {
            let request = Request::get("http://10.0.2.15/").body(Body::empty()).unwrap();
            if let Ok(answer) = client.request(request, &options).await {
                good += usize::from(
                    answer.into_body().whole(1000).await.is_ok_and(|whole| whole.bytes == "hello"),
                );
            }
        }
        assert!((200..2000).contains(&good), "{good}");
    });
}
