//! Handlers that ask others: what is granted, what is in time, and what becomes of the rest.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use lunette_component::serve::{Front, Routes, Settings};
use lunette_hostcalls::{Grants, Net as _, TcpListener, task::Spawner};

use crate::{
    common::Program,
    stage::{Stage, accept, read_until, rest, send, some},
};

const ASKS: &str = "tests/guests/asks";
const PROXY: &str = "10.0.2.77:8080";

/// A run with a handler that may connect to `connect`, and whoever is asked on the other host.
#[track_caller]
fn with(
    connect: &[&str],
    client: impl AsyncFnOnce(Rc<Stage>, Spawner, Arc<dyn TcpListener>) + 'static,
) -> Option<Rc<Stage>> {
    let program = Program::cargo(ASKS)?;
    let stage = Rc::new(Stage::new());
    let grants = (!connect.is_empty()).then(|| {
        let mut grants = Grants::default();
        grants.connect.extend(connect.iter().map(|peer| peer.parse().unwrap()));
        grants
    });
    let handler = stage.handler(&program, stage.ctx(grants), Settings::default());
    let other = stage.peers.listen(PROXY.parse().unwrap(), 100).unwrap();
    stage.serve_routes(Routes::all(handler), Front::default(), async move |stage, spawner| {
        client(stage, spawner, other).await;
    });
    Some(stage)
}

#[test]
fn an_answer_of_anothers_comes_back() {
    with(&[PROXY], async |stage, spawner, other| {
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        spawner.spawn(async move {
            let stream = accept(&other).await;
            loop {
                let head = read_until(&stream, "\r\n\r\n").await;
                assert!(head.starts_with("GET /what HTTP/1.1\r\n"), "{head}");
                assert!(head.contains("host: 10.0.2.77:8080\r\n"), "{head}");
                count.set(count.get() + 1);
                send(&stream, b"HTTP/1.1 203 So\r\ncontent-length: 4\r\n\r\nthat").await;
            }
        });
        // Several requests, in instances of their own, over one connection.
        for _ in 0..3 {
            let answer = stage.get(&format!("/get?to={PROXY}&path=/what")).await;
            assert!(answer.ends_with("\r\n\r\n203 that"), "{answer}");
        }
        assert_eq!(asked.get(), 3);
    });
}

#[test]
fn a_body_is_passed_on_as_it_comes() {
    with(&[PROXY], async |stage, spawner, other| {
        spawner.spawn(async move {
            let stream = accept(&other).await;
            let head = read_until(&stream, "\r\n\r\n").await;
            assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
            read_until(&stream, "the first\r\n").await;
            send(&stream, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n").await;
            read_until(&stream, "the last\r\n0\r\n\r\n").await;
            send(&stream, b"all").await;
        });
        let stream = stage.connect().await;
        let head = format!(
            "POST /post?to={PROXY} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        send(&stream, head.as_bytes()).await;
        send(&stream, b"9\r\nthe first\r\n").await;
        stage.time.sleep(Duration::from_millis(50)).await;
        send(&stream, b"8\r\nthe last\r\n0\r\n\r\n").await;
        let answer = rest(&stream).await;
        assert!(answer.ends_with("200 all"), "{answer}");
    });
}

#[test]
fn what_is_not_granted_is_denied_and_logged() {
    let stage = with(&["10.0.2.77:81"], async |stage, _, _| {
        let answer = stage.get(&format!("/get?to={PROXY}")).await;
        assert!(answer.ends_with("error ErrorCode::HttpRequestDenied"), "{answer}");
        let answer = stage.get("/get?to=db.internal").await;
        assert!(answer.ends_with("error ErrorCode::HttpRequestDenied"), "{answer}");
    });
    let Some(stage) = stage else { return };
    stage.assert_logged("app: connect 10.0.2.77:8080 is not granted; help: ");
    stage.assert_logged("app: resolve db.internal is not granted; help: ");
    let stage = with(&[], async |stage, _, _| {
        for _ in 0..2 {
            let answer = stage.get(&format!("/get?to={PROXY}")).await;
            assert!(answer.ends_with("error ErrorCode::HttpRequestDenied"), "{answer}");
        }
    });
    let stage = stage.unwrap();
    stage.assert_logged("app: connect 10.0.2.77:8080 is not granted, nor is anything of the network");
    assert_eq!(stage.world.log.lines().len(), 1);
}

#[test]
fn each_time_of_a_request_is_kept() {
    with(&["10.0.2.77:*", "10.0.2.99:*"], async |stage, spawner, other| {
        spawner.spawn(async move {
            // The first never answers, the second stops in the middle.
            let silent = accept(&other).await;
            read_until(&silent, "\r\n\r\n").await;
            let halting = accept(&other).await;
            read_until(&halting, "\r\n\r\n").await;
            send(&halting, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome").await;
            while some(&halting).await.is_ok_and(|more| !more.is_empty()) {}
            drop(silent);
        });
        for (query, wanted) in [
            (format!("to={PROXY}&first=2000"), "error ErrorCode::ConnectionReadTimeout"),
            (format!("to={PROXY}&between=2000"), "error ErrorCode::ConnectionReadTimeout"),
            // Nobody is there.
            ("to=10.0.2.99:80&connect=2000".into(), "error ErrorCode::ConnectionTimeout"),
        ] {
            let begun = stage.time.now();
            let answer = stage.get(&format!("/get?{query}")).await;
            assert!(answer.ends_with(wanted), "{query}: {answer}");
            let passed = Duration::from_nanos(stage.time.now() - begun);
            assert!((1900..2200).contains(&passed.as_millis()), "{query}: {passed:?}");
        }
    });
}

#[test]
fn other_ends_are_told_apart() {
    with(&["10.0.2.77:*"], async |stage, spawner, other| {
        spawner.spawn(async move {
            drop(accept(&other).await);
            let garbled = accept(&other).await;
            read_until(&garbled, "\r\n\r\n").await;
            send(&garbled, b"what?\r\n\r\n").await;
            let short = accept(&other).await;
            read_until(&short, "\r\n\r\n").await;
            send(&short, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome").await;
        });
        for (to, wanted) in [
            ("10.0.2.77:1", "ConnectionRefused"),
            (PROXY, "ConnectionTerminated"),
            (PROXY, "HttpProtocolError"),
            (PROXY, "ConnectionTerminated"),
        ] {
            let answer = stage.get(&format!("/get?to={to}")).await;
            assert!(answer.ends_with(&format!("error ErrorCode::{wanted}")), "{to}: {answer}");
        }
    });
}

#[test]
fn an_instance_asks_many_at_once() {
    with(&[PROXY], async |stage, spawner, other| {
        spawner.spawn(async move {
            let mut streams = Vec::new();
            for _ in 0..5 {
                let stream = accept(&other).await;
                read_until(&stream, "\r\n\r\n").await;
                streams.push(stream);
            }
            // Only now: whoever asked one after the other would wait for ever.
            for stream in &streams {
                send(stream, b"HTTP/1.1 204 No\r\nconnection: close\r\n\r\n").await;
            }
        });
        let answer = stage.get(&format!("/both?to={PROXY}&n=5")).await;
        assert!(answer.ends_with("5 of 5"), "{answer}");
    });
}

#[test]
fn what_nobody_waits_for_is_given_up() {
    with(&[PROXY], async |stage, spawner, other| {
        let ended = Rc::new(Cell::new(0));
        let count = ended.clone();
        spawner.spawn(async move {
            loop {
                let stream = accept(&other).await;
                while some(&stream).await.is_ok_and(|more| !more.is_empty()) {}
                count.set(count.get() + 1);
            }
        });
        // The instance is at its end while its request has no answer yet.
        let answer = stage.get(&format!("/drop?to={PROXY}&first=600000")).await;
        assert!(answer.ends_with("dropped"), "{answer}");
        // One whose client goes away takes its request along.
        let stream = stage.connect().await;
        let request = format!("GET /get?to={PROXY} HTTP/1.1\r\nhost: a\r\n\r\n");
        send(&stream, request.as_bytes()).await;
        stage.time.sleep(Duration::from_secs(1)).await;
        let before = ended.get();
        stream.abort();
        stage.time.sleep(Duration::from_secs(1)).await;
        assert_eq!(ended.get(), before + 1);
    });
}

#[test]
fn what_instances_say_is_theirs_to_the_line() {
    let stage = with(&[], async |stage, _, _| {
        stage.get("/says").await;
    });
    let Some(stage) = stage else { return };
    assert_eq!(stage.world.stdio.stdout_text(), "one\ntwo\n");
    assert_eq!(stage.world.stdio.stderr(), b"but\nwithout an end\n");
}
