//! Handlers of WASI 0.3: their answers are streams that go on after they have returned.

use std::{rc::Rc, time::Duration};

use lunette_component::serve::{Front, Routes, Settings};
use lunette_hostcalls::{Grants, Net as _};

use crate::{
    common::Program,
    stage::{Stage, accept, read_until, rest, send},
};

const SERVE3: &str = "tests/guests/serve3";

#[test]
fn a_handler_of_the_third_answers() {
    let Some(program) = Program::cargo(SERVE3) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, Settings::default(), async |stage, _| {
        for _ in 0..2 {
            let answer = stage.ask("GET /ok HTTP/1.0\r\nhost: a\r\n\r\n").await;
            assert!(
                answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"),
                "{answer}"
            );
        }
        let page = stage.ask("GET /headers?a=b HTTP/1.0\r\nhost: a\r\n\r\n").await;
        assert!(page.contains("\r\n\r\nGET http a /headers?a=b\n"), "{page}");
        assert!(page.contains("\nx-request-id: 3\n") && !page.contains("\nhost: "), "{page}");
    });
    assert_eq!(stage.world.log.lines(), Vec::<String>::new());
}

#[test]
fn streams_of_the_third_come_bit_by_bit() {
    let Some(program) = Program::cargo(SERVE3) else { return };
    Rc::new(Stage::new()).serve(&program, Settings::default(), async |stage, _| {
        let stream = stage.connect().await;
        send(
            &stream,
            b"GET /stream?n=3&ms=500 HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close, te\r\n\r\n",
        )
        .await;
        let begun = stage.time.now();
        for line in 1..=3 {
            read_until(&stream, &format!("line {line} of 3\n")).await;
            let passed = Duration::from_nanos(stage.time.now() - begun);
            let (least, most) = (Duration::from_millis(500 * line), Duration::from_millis(500 * line + 100));
            assert!((least..most).contains(&passed), "line {line} after {passed:?}");
        }
        assert_eq!(rest(&stream).await, "\r\n0\r\nx-lines: 3\r\n\r\n");
        let stream = stage.connect().await;
        send(&stream, b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        send(&stream, b"5\r\nfirst\r\n").await;
        read_until(&stream, "first").await;
        send(&stream, b"6\r\nsecond\r\n0\r\n\r\n").await;
        read_until(&stream, "second").await;
    });
}

#[test]
fn one_of_the_third_that_fails_is_named_or_cut() {
    let Some(program) = Program::cargo(SERVE3) else { return };
    let stage = Rc::new(Stage::new());
    stage.serve(&program, Settings::default(), async |stage, _| {
        assert!(stage.get("/trap").await.starts_with("HTTP/1.1 500 "));
        assert!(stage.get("/error").await.starts_with("HTTP/1.1 500 "));
        // It failed before its answer was on its way, or after that: nobody takes it for whole.
        let late = stage.get("/late").await;
        assert!(late.starts_with("HTTP/1.1 500 ") || !late.ends_with("0\r\n\r\n"), "{late}");
        assert!(stage.get("/ok").await.contains("ok\n"));
    });
    stage.assert_logged("request 1: GET /trap: unreachable");
    stage.assert_logged("request 2: GET /error: the handler answered with an error: ");
    stage.assert_logged("request 3: GET /late: unreachable");
}

#[test]
fn one_of_the_third_asks_others() {
    let Some(program) = Program::cargo(SERVE3) else { return };
    let stage = Rc::new(Stage::new());
    let mut grants = Grants::default();
    grants.connect.push("10.0.2.77:8080".parse().unwrap());
    let handler = stage.handler(&program, stage.ctx(Some(grants)), Settings::default());
    let other = stage.peers.listen("10.0.2.77:8080".parse().unwrap(), 100).unwrap();
    stage.serve_routes(Routes::all(handler), Front::default(), async move |stage, spawner| {
        spawner.spawn(async move {
            let stream = accept(&other).await;
            let head = read_until(&stream, "\r\n\r\n").await;
            assert!(head.starts_with("GET /ok HTTP/1.1\r\n"), "{head}");
            send(&stream, b"HTTP/1.1 203 So\r\ncontent-length: 4\r\n\r\nthat").await;
        });
        let answer = stage.ask("GET /proxy?to=10.0.2.77:8080 HTTP/1.0\r\nhost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.0 203 ") && answer.ends_with("that"), "{answer}");
        let answer = stage.get("/proxy?to=10.0.2.77:81").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    });
    stage.assert_logged("app: connect 10.0.2.77:81 is not granted");
}
