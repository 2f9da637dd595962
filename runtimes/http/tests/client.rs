//! The client before servers that say what a test has them say.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use crate::stage::{AT, SECOND, Stage, accept, send, some};
use http::{Method, Request};
use lunette_hostcalls::{Errno, Grants, Interest, Network, TcpStream, task::Spawner, task::until};
use lunette_http::{
    Body,
    client::{Client, Kind, Limits, Options},
    tls,
};

/// What a server was asked: connection by connection, head by head.
type Heard = Rc<RefCell<Vec<(usize, String)>>>;

/// Answers whole requests, on whichever connection, with these in order; `!` closes the connection without an answer,
/// and `|` after an answer closes it then.
fn answers(stage: &Stage, spawner: &Spawner, at: &str, answers: &[&str]) -> Heard {
    let heard = Heard::default();
    let answers: Rc<RefCell<VecDeque<String>>> =
        Rc::new(RefCell::new(answers.iter().map(|&answer| answer.into()).collect()));
    let (listener, spawned, log) = (stage.listen(at), spawner.clone(), heard.clone());
    spawner.spawn(async move {
        for number in 0.. {
            let stream = accept(&listener).await;
            let (answers, log) = (answers.clone(), log.clone());
            spawned.spawn(async move {
                while let Some(head) = request(&stream).await {
                    log.borrow_mut().push((number, head));
                    let answer = answers.borrow_mut().pop_front().unwrap_or("!".into());
                    if answer == "!" {
                        return;
                    }
                    let text = answer.strip_suffix('|').unwrap_or(&answer);
                    if send(&stream, text.as_bytes()).await.is_err() || text != answer {
                        return;
                    }
                }
            });
        }
    });
    heard
}

/// A head, and its body if a length is said.
async fn request(stream: &Arc<dyn TcpStream>) -> Option<String> {
    let mut got = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let chunked = head.contains("transfer-encoding: chunked");
            let all = match length {
                Some(length) => body.len() >= length.parse().unwrap(),
                None => !chunked || body.ends_with("0\r\n\r\n"),
            };
            if all {
                return Some(text);
            }
        }
        let piece = some(stream).await.ok().filter(|piece| !piece.is_empty())?;
        got.extend(piece);
    }
}

fn client(stage: &Stage, spawner: &Spawner) -> Client {
    let tls = tls::Client::new(tls::Trust::Anybody, &["h2", "http/1.1"], &stage.time).unwrap();
    Client::new(stage.network(), stage.time.clone(), spawner.clone(), tls)
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::empty()).unwrap()
}

/// Status and body, or the error's words.
async fn ask(client: &Client, request: Request<Body>, options: &Options) -> Got {
    let answer =
        client.request(request, options).await.map_err(|error| format!("{:?}: {error}", error.kind))?;
    let status = answer.status().as_u16();
    let whole = answer.into_body().whole(100_000).await.map_err(|fault| format!("body: {fault}"))?;
    Ok((status, String::from_utf8_lossy(&whole.bytes).into_owned()))
}

/// A status and a body, or what failed.
type Got = Result<(u16, String), String>;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// One client, one server: what became of requests that are made one after the other.
fn exchange(
    script: &'static [&'static str],
    requests: impl AsyncFnOnce(Client) -> Vec<Got> + 'static,
) -> (Vec<Got>, Vec<(usize, String)>) {
    let stage = Rc::new(Stage::new());
    stage.world.net.name("host.example", 0, Ok(vec!["10.0.2.15".parse().unwrap()]));
    stage.world.net.name("other.example", 0, Ok(vec!["10.0.2.15".parse().unwrap()]));
    let inner = stage.clone();
    stage.run(async move |spawner| {
        let heard = answers(&inner, &spawner, AT, script);
        let got = requests(client(&inner, &spawner)).await;
        (got, heard.take())
    })
}

fn ok(text: &str) -> Got {
    Ok((200, text.into()))
}

#[test]
fn a_connection_is_used_again_once_its_answer_was_read() {
    let (got, heard) = exchange(&[OK, OK, OK], async |client| {
        let options = Options::default();
        let mut got = Vec::new();
        for _ in 0..3 {
            got.push(ask(&client, get("http://host.example/a?b#c"), &options).await);
        }
        got
    });
    assert_eq!(got, [ok("hello"), ok("hello"), ok("hello")]);
    assert!(heard.iter().all(|(connection, _)| *connection == 0));
    assert_eq!(heard[0].1, "GET /a?b HTTP/1.1\r\nhost: host.example\r\n\r\n");
}

#[test]
fn a_connection_that_is_not_clean_is_not_used_again() {
    const SURPLUS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n";
    const CLOSES: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    const OLD: &str = "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let (got, heard) = exchange(&[SURPLUS, CLOSES, OLD, OK], async |client| {
        let mut got = Vec::new();
        for _ in 0..4 {
            got.push(ask(&client, get("http://10.0.2.15/"), &Options::default()).await);
        }
        got
    });
    assert_eq!(got, [ok("hello"), ok("hello"), ok("hello"), ok("hello")]);
    let connections: Vec<_> = heard.iter().map(|(connection, _)| *connection).collect();
    assert_eq!(connections, [0, 1, 2, 3]);
}

#[test]
fn what_a_server_closed_is_asked_again_only_if_that_is_harmless() {
    let (got, heard) = exchange(&[OK, "!", OK, "!"], async |client| {
        let options = Options::default();
        let first = ask(&client, get("http://10.0.2.15/1"), &options).await;
        let again = ask(&client, get("http://10.0.2.15/2"), &options).await;
        let post = Request::post("http://10.0.2.15/3").body(Body::full("once")).unwrap();
        vec![first, again, ask(&client, post, &options).await]
    });
    assert_eq!(got, [ok("hello"), ok("hello"), Err("Answer: closed".into())]);
    let asked: Vec<_> = heard.iter().map(|(n, head)| (*n, head.lines().next().unwrap())).collect();
    assert_eq!(
        asked,
        [(0, "GET /1 HTTP/1.1"), (0, "GET /2 HTTP/1.1"), (1, "GET /2 HTTP/1.1"), (1, "POST /3 HTTP/1.1")]
    );
}

#[test]
fn a_connection_that_was_closed_while_nobody_looked_costs_nothing() {
    let closing = format!("{OK}|");
    let script: &'static [&'static str] = Vec::leak(vec![&*closing.leak(), OK]);
    let (got, heard) = exchange(script, async |client| {
        let options = Options::default();
        let first = ask(&client, get("http://10.0.2.15/"), &options).await;
        let post = Request::post("http://10.0.2.15/").body(Body::full("once")).unwrap();
        vec![first, ask(&client, post, &options).await]
    });
    assert_eq!(got, [ok("hello"), ok("hello")]);
    assert_eq!(heard.iter().map(|(connection, _)| *connection).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn idle_connections_are_closed_in_time_and_few_are_kept() {
    let stage = Rc::new(Stage::new());
    let inner = stage.clone();
    let open = stage.run(async move |spawner| {
        let _heard = answers(&inner, &spawner, AT, &[OK; 8]);
        let tls = tls::Client::new(tls::Trust::Web, &[], &inner.time).unwrap();
        let limits = Limits { idle: 10 * SECOND, each: 2, all: 2 };
        let client = Client::with_limits(inner.network(), inner.time.clone(), spawner.clone(), tls, limits);
        let done = Rc::new(RefCell::new(0));
        for _ in 0..5 {
            let (client, done) = (client.clone(), done.clone());
            spawner.spawn(async move {
                assert_eq!(ask(&client, get("http://10.0.2.15/"), &Options::default()).await, ok("hello"));
                *done.borrow_mut() += 1;
            });
        }
        inner.time.sleep(5 * SECOND).await;
        assert_eq!(*done.borrow(), 5);
        let some = inner.world.net.open();
        inner.time.sleep(10 * SECOND).await;
        (some, inner.world.net.open())
    });
    assert_eq!(open, (1 + 2 * 2, 1), "a listener, and both ends of each");
}

/// A guest is over when its tasks are: kept connections are none of its business then.
#[test]
fn with_the_last_client_all_ends_at_once() {
    for drops in [true, false] {
        let stage = Rc::new(Stage::new());
        let inner = stage.clone();
        stage.run(async move |outer| {
            let _heard = answers(&inner, &outer, AT, &[OK]);
            let mut local = lunette_hostcalls::task::Local::default();
            let (spawner, stage) = (local.spawner().clone(), inner.clone());
            local.spawner().spawn(async move {
                let client = client(&stage, &spawner);
                assert_eq!(ask(&client, get("http://10.0.2.15/"), &Options::default()).await, ok("hello"));
                if !drops {
                    client.close_idle();
                    // Held by somebody who does not end.
                    std::mem::forget(client);
                }
            });
            let before = inner.now();
            std::future::poll_fn(|cx| local.poll(cx)).await;
            assert!(inner.now() - before < 1_000_000_000);
        });
    }
}

#[test]
fn redirects_are_followed_as_their_status_says() {
    const SEE: &str = "HTTP/1.1 303 See Other\r\nlocation: /seen?x=1#part\r\ncontent-length: 3\r\n\r\nsee";
    const SAME: &str = "HTTP/1.1 307 Temporary Redirect\r\nlocation: seen\r\ncontent-length: 0\r\n\r\n";
    const FOUND: &str = "HTTP/1.1 302 Found\r\nlocation: //other.example/x\r\ncontent-length: 0\r\n\r\n";
    let (got, heard) = exchange(&[SEE, OK, SAME, OK, FOUND, OK], async |client| {
        let post = || {
            Request::post("http://host.example/a/b")
                .header("authorization", "secret")
                .header("cookie", "secret")
                .header("content-type", "text/plain")
                .body(Body::full("text"))
                .unwrap()
        };
        let options = Options::default();
        let mut got = Vec::new();
        for _ in 0..3 {
            got.push(ask(&client, post(), &options).await);
        }
        got
    });
    assert_eq!(got, [ok("hello"), ok("hello"), ok("hello")]);
    let second = |n: usize| heard[n].1.as_str();
    assert!(second(1).starts_with("GET /seen?x=1 HTTP/1.1\r\n") && second(1).ends_with("\r\n\r\n"));
    assert!(second(1).contains("authorization: secret") && !second(1).contains("content-type"));
    assert!(second(3).starts_with("POST /a/seen HTTP/1.1\r\n") && second(3).ends_with("text"));
    assert!(second(5).starts_with("GET /x HTTP/1.1\r\n") && second(5).contains("host: other.example"));
    assert!(!second(5).contains("secret"), "{}", second(5));
}

#[test]
fn redirects_have_an_end_and_go_to_http_only() {
    const ROUND: &str = "HTTP/1.1 301 Moved Permanently\r\nlocation: /\r\ncontent-length: 0\r\n\r\n";
    const ELSEWHERE: &str = "HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n";
    let (got, heard) = exchange(&[ROUND, ROUND, ROUND, ELSEWHERE, ROUND], async |client| {
        let two = Options { redirects: 2, ..Options::default() };
        let none = Options { redirects: 0, ..Options::default() };
        let url = "http://host.example/";
        vec![
            ask(&client, get(url), &two).await,
            ask(&client, get(url), &two).await,
            ask(&client, get(url), &none).await,
        ]
    });
    assert_eq!(
        got,
        [
            Err("Answer: too many redirects".into()),
            Err("Answer: redirected to what is no URL of HTTP".into()),
            Ok((301, String::new())),
        ]
    );
    assert_eq!(heard.len(), 5);
}

#[test]
fn bodies_go_bit_by_bit_and_come_compressed() {
    let mut gzip = Vec::new();
    let body = Rc::new(RefCell::new(Vec::new()));
    {
        use http_body::Body as _;
        let mut compressed = Body::full(vec![b'x'; 50_000]).gzip();
        let waker = std::task::Waker::noop();
        let mut cx = std::task::Context::from_waker(waker);
        while let std::task::Poll::Ready(Some(Ok(frame))) =
            std::pin::Pin::new(&mut compressed).poll_frame(&mut cx)
        {
            gzip.extend(frame.into_data().unwrap());
        }
    }
    assert!(gzip.len() < 1000);
    let stage = Rc::new(Stage::new());
    let (inner, got) = (stage.clone(), body.clone());
    stage.run(async move |spawner| {
        let listener = inner.listen(AT);
        let client = client(&inner, &spawner);
        let heard = Rc::new(RefCell::new(String::new()));
        let place = heard.clone();
        spawner.spawn(async move {
            let stream = accept(&listener).await;
            *place.borrow_mut() = request(&stream).await.unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
                gzip.len()
            );
            send(&stream, head.as_bytes()).await.unwrap();
            send(&stream, &gzip[..20]).await.unwrap();
            send(&stream, &gzip[20..]).await.unwrap();
            let _ = request(&stream).await;
            let cut = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n";
            send(&stream, cut.as_bytes()).await.unwrap();
            send(&stream, &gzip[..20]).await.unwrap();
            let _ = some(&stream).await;
        });
        let (mut sender, upload) = Body::channel(1);
        spawner.spawn(async move {
            for piece in ["one", "two"] {
                sender.send_data(piece.into()).await.unwrap();
            }
        });
        let options = Options { decode: true, ..Options::default() };
        let post = Request::post("http://10.0.2.15/").body(upload).unwrap();
        let answer = client.request(post, &options).await.unwrap();
        assert!(!answer.headers().contains_key("content-encoding"));
        *got.borrow_mut() = answer.into_body().whole(60_000).await.unwrap().bytes.to_vec();
        let heard = heard.take();
        assert!(heard.contains("accept-encoding: gzip, deflate") && heard.contains("chunked"));
        assert!(heard.ends_with("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), "{heard}");
        let answer = client.request(get("http://10.0.2.15/"), &options).await.unwrap();
        let fault = answer.into_body().whole(60_000).await.unwrap_err();
        assert_eq!(fault.to_string(), "what came is not compressed as it says");
    });
    assert_eq!(*body.borrow(), vec![b'x'; 50_000]);
}

#[test]
fn errors_say_what_failed() {
    let (got, _) = exchange(
        &[
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf|",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot hex\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n",
            "!",
        ],
        async |client| {
            let options = Options::default();
            let mut got = Vec::new();
            for url in [
                "http://10.0.2.15/",
                "http://10.0.2.15/",
                "http://10.0.2.15/",
                "http://10.0.2.15/",
                "http://10.0.2.15/",
                "http://10.0.2.15:81/",
                "http://nobody.example/",
                "ftp://host.example/",
                "/path",
                "http://me:secret@host.example/",
            ] {
                got.push(ask(&client, get(url), &options).await);
            }
            got
        },
    );
    let words: Vec<String> = got.into_iter().map(Result::unwrap_err).collect();
    assert!(words[0].starts_with("Answer: what came is no HTTP"), "{}", words[0]);
    assert!(words[2].starts_with("body: "), "{}", words[2]);
    assert_eq!(
        [&words[1..2], &words[3..]].concat(),
        [
            "body: closed",
            "body: too large",
            "Answer: closed",
            "Connect: connection refused",
            "Resolve: host not found",
            "Request: want a URL of http or https, not of ftp",
            "Request: want a URL with its scheme and host: http://host/",
            "Request: a URL has no place for a name and a password: want an authorization field",
        ]
    );
}

#[test]
fn each_phase_ends_in_time() {
    let stage = Rc::new(Stage::new());
    let silent = "10.0.2.99".parse().unwrap();
    stage.world.net.host(silent);
    stage.world.net.set_silent(silent);
    let answers = vec![silent, "10.0.2.15".parse().unwrap()];
    stage.world.net.name("two.example", 0, Ok(answers));
    stage.world.net.name("slow.example", 60_000_000_000, Err(Errno::Noent));
    let inner = stage.clone();
    stage.run(async move |spawner| {
        let listener = inner.listen(AT);
        let client = client(&inner, &spawner);
        let answered = inner.time.clone();
        spawner.spawn(async move {
            // To the first nothing, to the second half a head, to the third half a body, then all; and again nothing.
            let mut kept = Vec::new();
            let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
            for text in ["", "HTTP/1.1 200 OK\r\n", half, OK, ""] {
                let stream = accept(&listener).await;
                let _ = request(&stream).await;
                send(&stream, text.as_bytes()).await.unwrap();
                kept.push(stream);
            }
            answered.sleep(1000 * SECOND).await;
        });
        let options =
            Options { timeout: 20 * SECOND, connect: 9 * SECOND, idle: 7 * SECOND, ..Options::default() };
        for (url, words, seconds) in [
            ("http://10.0.2.15/", Err("Timeout: timeout"), 20),
            ("http://10.0.2.15/", Err("Timeout: timeout"), 20),
            ("http://10.0.2.15/", Err("body: timeout"), 7),
            ("http://slow.example/", Err("ConnectTimeout: timeout"), 9),
            ("http://10.0.2.99/", Err("ConnectTimeout: timeout"), 4),
            ("http://two.example/", Ok((200, "hello")), 4),
        ] {
            let before = inner.now();
            let got = ask(&client, get(url), &options).await;
            let words = words.map(|(status, text): (u16, &str)| (status, text.into())).map_err(String::from);
            assert_eq!((got, (inner.now() - before) / 1_000_000_000), (words, seconds), "{url}");
        }
        // The head's own time begins when there is a connection: the silent address took four seconds.
        let options = Options { head: Some(3 * SECOND), ..options };
        client.close_idle();
        let before = inner.now();
        let got = ask(&client, get("http://two.example/"), &options).await;
        assert_eq!((got, (inner.now() - before) / 1_000_000_000), (Err("Timeout: timeout".into()), 7));
    });
}

#[test]
fn what_is_not_granted_is_said() {
    let stage = Rc::new(Stage::new());
    let inner = stage.clone();
    stage.run(async move |spawner| {
        let network = Network::new(
            "test".into(),
            Arc::new(inner.peers.clone()),
            Grants::default(),
            inner.world.log.clone(),
        );
        let tls = tls::Client::new(tls::Trust::Web, &[], &inner.time).unwrap();
        let granted = Client::new(network, inner.time.clone(), spawner.clone(), tls.clone());
        let none = Client::new(Network::none(), inner.time.clone(), spawner, tls);
        for (client, url, kind, words) in [
            (&granted, "http://host.example/", Kind::Denied, "not granted: to ask for the name host.example"),
            (&granted, "http://10.0.2.15/", Kind::Denied, "not granted: to connect to 10.0.2.15:80"),
            (&none, "http://10.0.2.15/", Kind::Connect, "there is no network"),
        ] {
            let error = client.request(get(url), &Options::default()).await.err().unwrap();
            assert_eq!((error.kind, error.words.as_str()), (kind, words));
        }
    });
}

/// The server sends for ever: what nobody reads stays there.
#[test]
fn what_is_not_read_is_not_taken() {
    let stage = Rc::new(Stage::new());
    let inner = stage.clone();
    let (sent, rest) = stage.run(async move |spawner| {
        let listener = inner.listen(AT);
        let client = client(&inner, &spawner);
        let sent = Rc::new(RefCell::new(0));
        let count = sent.clone();
        spawner.spawn(async move {
            let stream = accept(&listener).await;
            let _ = request(&stream).await;
            send(&stream, b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            loop {
                let wrote = until(&*stream, Interest::Write, || stream.write(&[b'x'; 10_000])).await;
                let Ok(wrote) = wrote else { return };
                *count.borrow_mut() += wrote;
            }
        });
        let mut answer = client.request(get("http://10.0.2.15/"), &Options::default()).await.unwrap();
        inner.time.sleep(100 * SECOND).await;
        let ahead = *sent.borrow();
        let mut read = 0;
        while read < 1_000_000 {
            read += answer.body_mut().next().await.unwrap().unwrap().len();
        }
        drop(answer);
        inner.time.sleep(SECOND).await;
        let at_end = *sent.borrow();
        inner.time.sleep(100 * SECOND).await;
        (ahead, at_end == *sent.borrow())
    });
    assert!(sent < 300_000, "{sent}");
    assert!(rest, "the connection is closed");
}

#[test]
fn methods_that_have_no_body_say_no_length() {
    let (got, heard) = exchange(&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", OK], async |client| {
        let request =
            |method| Request::builder().method(method).uri("http://10.0.2.15?q").body(Body::empty()).unwrap();
        let options = Options { timeout: Duration::from_secs(5), ..Options::default() };
        vec![
            ask(&client, request(Method::HEAD), &options).await,
            ask(&client, request(Method::OPTIONS), &options).await,
        ]
    });
    assert_eq!(got, [ok(""), ok("hello")]);
    assert_eq!(heard[0].1, "HEAD /?q HTTP/1.1\r\nhost: 10.0.2.15\r\n\r\n");
    assert_eq!(heard[1].0, 0);
}
