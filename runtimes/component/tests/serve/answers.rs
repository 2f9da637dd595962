//! A handler that behaves: whole answers, streams, trailers, echoes; where requests go, and the server's end.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use lunette_component::{
    Problem,
    serve::{Front, Handler, Routes, Server, Settings},
};
use lunette_hostcalls::{Ending, Net as _, Shutdown, fake::FakeWorld, task::Spawner};
use lunette_native::{Engine, Variant};

use crate::{
    common::Program,
    stage::{Stage, read_until, rest, send},
};

const SAMPLE: &str = "samples/http-component";
const HOSTILE: &str = "tests/guests/hostile";

#[test]
fn a_handler_answers() {
    let Some(program) = Program::cargo(SAMPLE) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, Settings::default(), async |stage, _| {
        let answer = stage.get("/hello/moon").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        // All of it was there when its head was sent, so its length is told.
        assert!(answer.contains("content-length: 13\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nHello, moon!\n"), "{answer}");
        let answer = stage.get("/nothing").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        // Two requests, one connection.
        let stream = stage.connect().await;
        for name in ["one", "two"] {
            let request = format!("GET /hello/{name} HTTP/1.1\r\nhost: a\r\n\r\n");
            send(&stream, request.as_bytes()).await;
            read_until(&stream, &format!("Hello, {name}!\n")).await;
        }
    });
    assert_eq!(stage.world.log.lines(), Vec::<String>::new());
}

#[test]
fn a_request_comes_as_it_was_sent_and_has_a_name() {
    let Some(program) = Program::cargo(SAMPLE) else { return };
    Rc::new(Stage::new()).serve(&program, Settings::default(), async |stage, _| {
        let page = stage.get("/headers?a=b").await;
        assert!(page.contains("\r\n\r\nGET http a /headers?a=b\n"), "{page}");
        // Whoever sends none has one made; `host` and `connection` are not the handler's.
        assert!(page.contains("x-request-id: 1\n"), "{page}");
        let (_, page) = page.split_once("\r\n\r\n").unwrap();
        assert!(!page.contains("\nhost:") && !page.contains("\nconnection:"), "{page}");
        let named = |id: &str| {
            format!("GET /headers HTTP/1.1\r\nhost: a\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n")
        };
        let page = stage.ask(&named("from-the-proxy")).await;
        assert!(page.contains("x-request-id: from-the-proxy\n"), "{page}");
        let page = stage.ask(&named("no good\tname")).await;
        assert!(page.contains("x-request-id: 3\n") && !page.contains("no good"), "{page}");
        // HTTP/1.0 needs no host; what is none is refused.
        let page = stage.ask("GET /headers HTTP/1.0\r\n\r\n").await;
        assert!(page.contains("GET http 10.0.2.15:80 /headers\n"), "{page}");
        for bad in ["", "host: a b\r\n", "host: a\r\nhost: b\r\n"] {
            let answer = stage.ask(&format!("GET / HTTP/1.1\r\n{bad}connection: close\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{bad:?}: {answer}");
        }
    });
}

#[test]
fn an_answer_comes_bit_by_bit() {
    let Some(program) = Program::cargo(SAMPLE) else { return };
    Rc::new(Stage::new()).serve(&program, Settings::default(), async |stage, _| {
        let stream = stage.connect().await;
        send(&stream, b"GET /stream?n=3&ms=500 HTTP/1.0\r\nhost: a\r\n\r\n").await;
        let begun = stage.time.now();
        for line in 1..=3 {
            read_until(&stream, &format!("line {line} of 3\n")).await;
            let passed = Duration::from_nanos(stage.time.now() - begun);
            let (least, most) = (Duration::from_millis(500 * line), Duration::from_millis(500 * line + 100));
            assert!((least..most).contains(&passed), "line {line} after {passed:?}");
        }
        assert_eq!(rest(&stream).await, "");
    });
}

#[test]
fn a_body_is_open_after_the_last_byte_of_its_length() {
    let Some(program) = Program::cargo(HOSTILE) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, Settings::default(), async |stage, _| {
        let stream = stage.connect().await;
        for _ in 0..2 {
            send(&stream, b"GET /late HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let answer = read_until(&stream, "all of it\n").await;
            assert!(answer.contains("content-length: 10\r\n"), "{answer}");
        }
        // It goes on behind its answer.
        stage.time.sleep(Duration::from_secs(1)).await;
    });
    assert_eq!(stage.world.log.lines(), Vec::<String>::new());
    let said = String::from_utf8(stage.world.stdio.stderr()).unwrap();
    assert_eq!(said, "flushed and finished\n".repeat(2));
}

#[test]
fn what_is_long_is_whole() {
    let Some(program) = Program::cargo(SAMPLE) else { return };
    Rc::new(Stage::new()).serve(&program, Settings::default(), async |stage, _| {
        let answer = stage.get("/bytes/1000000").await;
        assert!(answer.contains("content-length: 1000000\r\n"), "{}", &answer[..200]);
    });
}

#[test]
fn bodies_and_trailers_go_both_ways() {
    let Some(program) = Program::cargo(SAMPLE) else { return };
    Rc::new(Stage::new()).serve(&program, Settings::default(), async |stage, _| {
        let stream = stage.connect().await;
        send(
            &stream,
            b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nte: trailers\r\n\r\n",
        )
        .await;
        // A piece is on its way back before the next is sent.
        send(&stream, b"5\r\nfirst\r\n").await;
        read_until(&stream, "first").await;
        send(&stream, b"6\r\nsecond\r\n0\r\n\r\n").await;
        read_until(&stream, "second").await;
        let answer = stage
            .ask(
                "POST /trailers HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nte: trailers\r\n\
                 connection: close, te\r\n\r\n3\r\n\x01\x02\x03\r\n0\r\n\r\n",
            )
            .await;
        assert!(answer.contains("\r\n0\r\nx-sum: 6\r\n"), "{answer}");
    });
}

#[test]
fn http2_has_many_requests_at_once() {
    let Some(program) = Program::cargo(SAMPLE) else { return };
    Rc::new(Stage::new()).serve(&program, Settings::default(), async |stage, spawner| {
        #[derive(Clone)]
        struct Exec(Spawner);
        impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Exec {
            fn execute(&self, task: F) {
                self.0.spawn(async move { drop(task.await) });
            }
        }
        let stream = lunette_http::Stream::plain(stage.connect().await);
        let made = hyper::client::conn::http2::Builder::new(Exec(spawner.clone())).handshake(stream).await;
        let (mut sender, connection) = made.unwrap();
        spawner.spawn(async move { drop(connection.await) });
        let begun = stage.time.now();
        let answers: Vec<_> = (0..10)
            .map(|_| {
                let request = Request::get("http://a/stream?n=1&ms=1000").body(Full::<Bytes>::default());
                sender.send_request(request.unwrap())
            })
            .collect();
        for answer in answers {
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "line 1 of 1\n");
        }
        let passed = Duration::from_nanos(stage.time.now() - begun);
        assert!(passed < Duration::from_millis(1500), "{passed:?}");
    });
}

#[test]
fn requests_go_where_routes_say() {
    let (Some(sample), Some(hostile)) = (Program::cargo(SAMPLE), Program::cargo(HOSTILE)) else { return };
    let stage = Rc::new(Stage::new());
    let ctx = stage.ctx(None);
    let handler = |program: &Program| stage.handler(program, ctx.clone(), Settings::default());
    // What is asked for is the host as it was sent, without its port.
    let find = |host: &str, path: &str| match (host, path) {
        ("b.example" | "[::1]", _) => 1,
        (_, "/nowhere") => 2,
        _ => 0,
    };
    let routes = Routes::new(vec![handler(&sample), handler(&hostile)], Box::new(find));
    stage.serve_routes(routes, Front::default(), async |stage, _| {
        for (host, path, wanted) in [
            ("a", "/hello/x", "Hello, x!"),
            ("a:80", "/hello/x?y", "Hello, x!"),
            ("a", "/nowhere", "404 Not Found\n"),
            ("b.example", "/ok", "ok\n"),
            ("b.example:80", "/hello/x", "no such misdeed"),
            ("[::1]:80", "/ok", "ok\n"),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            let answer = stage.ask(&request).await;
            assert!(answer.contains(wanted), "{host}{path}: {answer}");
        }
    });
}

#[test]
fn a_server_that_is_stopped_finishes_what_is_under_way() {
    let Some(program) = Program::cargo(SAMPLE) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, Settings::default(), async |stage, _| {
        let (busy, idle) = (stage.connect().await, stage.connect().await);
        send(&busy, b"GET /stream?n=2&ms=1000 HTTP/1.0\r\nhost: a\r\n\r\n").await;
        read_until(&busy, "line 1 of 2\n").await;
        stage.world.net.close_listeners();
        assert_eq!(rest(&idle).await, "");
        assert!(stage.ended.borrow().is_none());
        assert!(rest(&busy).await.contains("line 2 of 2\n"));
        stage.time.sleep(Duration::from_millis(1)).await;
        assert_eq!(*stage.ended.borrow(), Some(Ending::Exited(0)));
    });
}

#[test]
fn a_server_that_is_stopped_does_not_wait_for_ever() {
    let Some(program) = Program::cargo(SAMPLE) else { return };
    let stage = Rc::new(Stage::new());
    let handler = stage.handler(&program, stage.ctx(None), Settings { time: None, ..Settings::default() });
    let front = Front { grace: Duration::from_secs(3), ..Front::default() };
    stage.serve_routes(Routes::all(handler), front, async |stage, _| {
        let busy = stage.connect().await;
        send(&busy, b"GET /stream?n=1000&ms=1000 HTTP/1.0\r\nhost: a\r\n\r\n").await;
        read_until(&busy, "line 1 of 1000\n").await;
        stage.world.net.close_listeners();
        stage.time.sleep(Duration::from_millis(3100)).await;
        assert_eq!(*stage.ended.borrow(), Some(Ending::Exited(0)));
        let _ = busy.shutdown(Shutdown::Both);
    });
}

#[test]
fn what_can_not_serve_is_told_before_anybody_asks() {
    let stage = Stage::new();
    let engine = Engine::of(Variant::default()).unwrap();
    let made = |program: &Program, settings| {
        let ctx = FakeWorld::new(1).ctx(&["app"], &[]);
        Handler::new(&engine, program.component(), ctx, stage.time.clone(), stage.log(), settings)
    };
    let none = Program::wat("(component)");
    let Err(Problem::NoEntry { wanted, .. }) = made(&none, Settings::default()) else { panic!() };
    assert!(wanted.contains("wasi:http/incoming-handler@0.2"), "{wanted}");
    let other = Program::wat(r#"(component (import "wasi:htp/types@0.2.0" (instance)))"#);
    let Err(Problem::World(missing)) = made(&other, Settings::default()) else { panic!() };
    assert!(missing[0].to_string().contains("wasi:http/types"), "{}", missing[0]);
    for settings in [
        Settings { at_once: 0, ..Settings::default() },
        Settings { reuse: 0, ..Settings::default() },
        Settings { fuel: Some(1), ..Settings::default() },
    ] {
        assert!(matches!(made(&none, settings), Err(Problem::Setup(_))), "{settings:?}");
    }
    let Some(sample) = Program::cargo(SAMPLE) else { return };
    let deaf = made(&sample, Settings::default()).ok().unwrap();
    let server = Server::new(Routes::all(deaf), stage.time.clone(), stage.log(), Front::default());
    assert!(server.err().unwrap().to_string().contains("nothing to listen on"));
}
