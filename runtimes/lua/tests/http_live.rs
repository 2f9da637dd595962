//! Servers over time: limits, slow clients, WebSockets, events, and their end.

use crate::peers::{Peer, served, talked};
use crate::world::Stage;
use lunette_hostcalls::Ending;

const HELLO: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.listen = vec!["80"];
    stage
}

#[test]
fn limits_hold() {
    let script = r#"
        local http, task = require "http", require "task"
        assert(http.serve {
            limits = { body = 10, header = "1K", time = 2, cpu = 0.05 },
            handler = function(req)
                if req.path == "/slow" then task.sleep(60) end
                if req.path == "/body" then return req:body() end
                return "fine"
            end,
        }):wait()
    "#;
    let ran = talked(&stage(), script, |peer| async move {
        assert_eq!(peer.ask(HELLO).await.text(), "fine");
        let slow = peer.ask("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((slow.status, slow.header("connection")), (503, Some("close")));
        let peer = peer.again().await;
        peer.write(b"POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await;
        assert_eq!(peer.answer().await.status, 408);
        let peer = peer.again().await;
        let large = "POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n";
        assert_eq!(peer.ask(large).await.status, 413);
        let peer = peer.again().await;
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000));
        assert_eq!(peer.ask(&head).await.status, 431);
        // One byte and then nothing, and one that says nothing at all.
        let (slow, silent) = (peer.again().await, peer.again().await);
        slow.write(b"G").await;
        let late = String::from_utf8(slow.read_all().await).expect("text");
        assert!(late.starts_with("HTTP/1.1 408") || late.is_empty(), "{late}");
        assert_eq!(silent.read_all().await, b"");
    });
    assert!(ran.err.contains("limit: time"), "{}", ran.err);
    assert!(ran.err.contains("the body did not come in time"), "{}", ran.err);
}

#[test]
fn no_more_connections_than_there_may_be() {
    let script = r#"
        require("http").serve { limits = { connections = 2 }, handler = function(req) return "hi" end }
    "#;
    talked(&stage(), script, |peer| async move {
        let (second, third) = (peer.again().await, peer.again().await);
        assert_eq!(peer.ask(HELLO).await.text(), "hi");
        assert_eq!(second.ask(HELLO).await.text(), "hi");
        third.write(HELLO.as_bytes()).await;
        third.wait(1.0).await;
        assert_eq!(third.shown(), "");
        second.abort();
        // It had only to wait.
        assert_eq!(third.answer().await.text(), "hi");
    });
}

#[test]
fn what_is_wrong_with_the_options_is_said() {
    let script = r#"
        local http = require "http"
        local f = function() end
        local function try(options) print(select(2, pcall(http.serve, options))) end
        try {}
        try { handler = "x" }
        try { handler = f, port = 80 }
        try { handler = f, limits = { boddy = 1 } }
        try { handler = f, limits = { body = "1X" } }
        try { handler = f, listen = "here" }
        print(http.serve { handler = f, listen = ":81" })
        print(http.serve { handler = f, listen = ":80", tls = { cert = "/none.pem", key = "/none.pem" } })
        print(http.serve { handler = f, tls = { cert = "-----BEGIN X", key = "-----BEGIN Y" } })
    "#;
    let said = stage().run(script);
    let lines: Vec<&str> = said.out.lines().collect();
    for (i, words) in [
        "there is no handler",
        "handler can't be a string: it is a function or a router",
        "there is no option port; there are:",
        "there is no option boddy; there are:",
        "body can't be 1X",
        "\"here\" is nowhere to listen",
        "nil\tpermission denied: it may not listen on :81; help: run it with -p 81:81",
        "nil\ttls: /none.pem: no such file or directory",
        "nil\ttls: ",
    ]
    .iter()
    .enumerate()
    {
        assert!(lines.get(i).is_some_and(|line| line.contains(words)), "{words}: {}\n{}", said.out, said.err);
    }
    let none = Stage::new().run("print(require('http').serve { handler = print })");
    assert!(none.out.contains("there is nothing to listen on"), "{}", none.out);
}

#[test]
fn a_stopped_server_finishes_what_it_began() {
    let script = r#"
        local http, task = require "http", require "task"
        local server
        server = assert(http.serve {
            handler = function(req)
                if req.path == "/stop" then server:stop(5) return "stopping" end
                task.sleep(1)
                return "finished"
            end,
        })
        print(server:addr())
        print(server:wait())
        print("over")
    "#;
    let net = stage();
    let ran = net.run_beside(script, |executor| {
        let host = net.world.net.host("10.0.0.9".parse().expect("an address"));
        let peer = Peer::connect(host, net.time());
        executor.spawn(async move {
            let peer = peer.await;
            let (idle, stopper) = (peer.again().await, peer.again().await);
            peer.write(HELLO.as_bytes()).await;
            peer.wait(0.1).await;
            assert_eq!(stopper.ask("GET /stop HTTP/1.1\r\nhost: a\r\n\r\n").await.text(), "stopping");
            assert_eq!(idle.read_all().await, b"");
            let last = peer.answer().await;
            assert_eq!((last.text(), last.header("connection")), ("finished".into(), Some("close")));
            assert!(!peer.read_some().await);
            None
        });
    });
    let ran = ran.unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!((ran.ending, &*ran.err), (Ending::Exited(0), ""));
    assert!(ran.out.ends_with(":80\t80\ntrue\nover\n"), "{}", ran.out);
}

#[test]
fn grace_has_an_end() {
    let script = r#"
        local http, task = require "http", require "task"
        local server = assert(http.serve { handler = function(req) task.sleep(1000) return "never" end })
        task.sleep(1)
        server:stop(2)
        server:wait()
        error("over")
    "#;
    let net = stage();
    let ran = net.run_beside(script, |executor| {
        let host = net.world.net.host("10.0.0.9".parse().expect("an address"));
        let peer = Peer::connect(host, net.time());
        executor.spawn(async move {
            let peer = peer.await;
            peer.write(HELLO.as_bytes()).await;
            assert_eq!(peer.read_all().await, b"");
            None
        });
    });
    assert_eq!(ran.map(|ran| ran.ending), Ok(Ending::Exited(1)));
}

#[test]
fn a_host_that_stops_ends_the_service_in_good_order() {
    let script = r#"
        assert(require("http").serve { handler = function(req) return "hi" end }):wait()
        print("drained")
    "#;
    let net = stage();
    let ran = net.run_beside(script, |executor| {
        let host = net.world.net.host("10.0.0.9".parse().expect("an address"));
        let (peer, own) = (Peer::connect(host, net.time()), net.world.net.clone());
        executor.spawn(async move {
            let peer = peer.await;
            assert_eq!(peer.ask(HELLO).await.text(), "hi");
            lunette_hostcalls::Net::close_listeners(&own);
            assert_eq!(peer.read_all().await, b"");
            None
        });
    });
    assert_eq!(ran.map(|ran| (ran.ending, ran.out)), Ok((Ending::Exited(0), "drained\n".into())));
}

#[test]
fn answers_can_be_logged() {
    let script = r#"
        local http = require "http"
        assert(http.serve {
            access_log = function(entry) print(entry.method, entry.target, entry.status, entry.seconds >= 0) end,
            handler = function(req) return 202 end,
        }):wait()
    "#;
    let ran = talked(&stage(), script, |peer| async move {
        assert_eq!(peer.ask("GET /a?b HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 202);
        peer.wait(0.1).await;
    });
    assert_eq!(ran.out, "GET\t/a?b\t202\ttrue\n");
}

#[test]
fn globals_of_a_handler_are_refused() {
    let ran = served("leaked = 1 return 'x'", |peer| async move {
        assert_eq!(peer.ask(HELLO).await.status, 500);
    });
    assert!(ran.err.contains("leaked"), "{}", ran.err);
}

#[test]
fn events_are_sent_as_they_come() {
    let script = r#"
        local http = require "http"
        local app = http.router()
        app:sse("/events", function(es, req)
            assert(es:send { event = "tick", id = 1, retry = 2.5, data = "a\nb" })
            assert(es:send("plain"))
            print(pcall(es.send, es, { event = "x\ny" }))
            print(pcall(es.send, es, { dta = "x" }))
            print(es.last_id)
        end)
        http.serve { handler = app }
    "#;
    let ran = talked(&stage(), script, |peer| async move {
        let answer = peer.ask("GET /events HTTP/1.1\r\nhost: a\r\nlast-event-id: 7\r\n\r\n").await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.text(), "event: tick\nid: 1\nretry: 2500\ndata: a\ndata: b\n\ndata: plain\n\n");
    });
    assert!(ran.out.contains("event has a line end in it"), "{}", ran.out);
    assert!(ran.out.contains("there is no dta") && ran.out.ends_with("7\n"), "{}", ran.out);
}

const ECHO: &str = r#"
    local http, task = require "http", require "task"
    local app = http.router()
    app:ws("/ws", function(ws, req)
        for message, kind in ws:messages() do
            if message == "bye" then return ws:close(4001, "as you wish") end
            if message == "fail" then error("on purpose") end
            assert(ws:send(message, kind))
        end
        print("closed", ws.code, ws.reason)
    end, { max = "1K", ping = 5 })
    local server = http.serve { handler = app }
    app:get("/stop", function() server:stop(5) return "ok" end)
    server:wait()
    task.sleep(1)
"#;

const SHAKE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client's frame, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    frame
}

/// A server's.
async fn heard(peer: &Peer) -> (u8, Vec<u8>) {
    let head = peer.exactly(2).await;
    let length = match head[1] {
        126 => u16::from_be_bytes(peer.exactly(2).await.try_into().expect("two")) as usize,
        length => length as usize,
    };
    (head[0], peer.exactly(length).await)
}

async fn shaken(peer: &Peer) -> Peer {
    let peer = peer.again().await;
    assert_eq!(peer.ask(SHAKE).await.status, 101);
    peer
}

#[test]
fn websockets_echo_and_close() {
    let ran = talked(&stage(), ECHO, |peer| async move {
        let hand = peer.ask(SHAKE).await;
        assert_eq!(hand.status, 101);
        assert_eq!(hand.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        peer.write(&frame(0x81, b"hello")).await;
        assert_eq!(heard(&peer).await, (0x81, b"hello".to_vec()));
        peer.write(&frame(0x82, &[0xff; 300])).await;
        assert_eq!(heard(&peer).await, (0x82, vec![0xff; 300]));
        // In pieces, with a ping between them.
        peer.write(&frame(0x01, b"he")).await;
        peer.write(&frame(0x89, b"?")).await;
        peer.write(&frame(0x80, b"llo")).await;
        assert_eq!(heard(&peer).await, (0x8a, b"?".to_vec()));
        assert_eq!(heard(&peer).await, (0x81, b"hello".to_vec()));
        peer.write(&frame(0x88, &[0x0f, 0xa0, b'x'])).await;
        assert_eq!(heard(&peer).await.0, 0x88);
        assert!(!peer.read_some().await);
        let peer = shaken(&peer).await;
        peer.write(&frame(0x81, b"bye")).await;
        assert_eq!(heard(&peer).await, (0x88, [&[0x0f, 0xa1][..], b"as you wish"].concat()));
        peer.write(&frame(0x88, &[0x0f, 0xa1])).await;
        assert!(!peer.read_some().await);
        let peer = shaken(&peer).await;
        peer.write(&frame(0x81, b"fail")).await;
        assert_eq!(heard(&peer).await, (0x88, vec![0x03, 0xf3]));
        // It waits for our word, but not for ever.
        peer.wait(5.0).await;
    });
    assert!(ran.out.starts_with("closed\t4000\tx\n"), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("on purpose"), "{}", ran.err);
}

#[test]
fn bad_frames_end_a_websocket_with_their_code() {
    let ran = talked(&stage(), ECHO, |peer| async move {
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] &= 0x7f;
        let cases: [(Vec<u8>, u16); 7] = [
            (unmasked, 1002),
            (frame(0xc1, b"reserved bit"), 1002),
            (frame(0x83, b"reserved code"), 1002),
            (frame(0x80, b"continues nothing"), 1002),
            (frame(0x09, b"a ping in pieces"), 1002),
            (frame(0x81, &[0xff, 0xfe]), 1007),
            (frame(0x82, &[0; 1025]), 1009),
        ];
        for (bytes, code) in cases {
            let one = shaken(&peer).await;
            one.write(&bytes).await;
            let (first, said) = heard(&one).await;
            assert_eq!((first, said[..2].to_vec()), (0x88, code.to_be_bytes().to_vec()), "{bytes:x?}");
            assert!(!one.read_some().await, "{bytes:x?}");
        }
        // One that dies in the middle of a frame.
        let one = shaken(&peer).await;
        one.write(&frame(0x81, b"hello")[..4]).await;
        one.abort();
        one.wait(0.1).await;
    });
    assert_eq!(ran.out.matches("closed\t").count(), 8, "{}", ran.out);
    assert!(ran.out.ends_with("closed\t1006\t\n"), "{}", ran.out);
    assert_eq!(ran.err, "");
}

#[test]
fn what_is_no_handshake_is_refused() {
    talked(&stage(), ECHO, |peer| async move {
        for (from, to, status) in [
            ("upgrade: websocket\r\n", "", 426),
            ("version: 13", "version: 8", 426),
            ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 400),
            ("keep-alive, Upgrade", "keep-alive", 400),
        ] {
            let answer = peer.again().await.ask(&SHAKE.replace(from, to)).await;
            assert_eq!(answer.status, status, "{from}");
        }
    });
}

#[test]
fn silent_websockets_end_and_live_ones_do_not() {
    let ran = talked(&stage(), ECHO, |peer| async move {
        let (silent, live) = (shaken(&peer).await, shaken(&peer).await);
        for _ in 0..6 {
            assert_eq!(heard(&live).await, (0x89, vec![]));
            live.write(&frame(0x8a, b"")).await;
        }
        live.write(&frame(0x81, b"still here")).await;
        assert_eq!(heard(&live).await, (0x81, b"still here".to_vec()));
        assert!(silent.read_all().await.starts_with(&[0x89, 0]));
        // And those that are there when the server stops are told.
        assert_eq!(peer.ask("GET /stop HTTP/1.1\r\nhost: a\r\n\r\n").await.text(), "ok");
        let (first, said) = heard(&live).await;
        assert_eq!((first, &said[..2]), (0x88, &1001u16.to_be_bytes()[..]));
    });
    assert!(ran.out.contains("closed\t1006\ttimeout\n"), "{}", ran.out);
}

#[test]
fn a_script_is_the_client_of_a_websocket() {
    let mut stage = stage();
    stage.grants.connect.push("127.0.0.1:80".parse().expect("a peer"));
    let script = ECHO.replace(
        "    server:wait()",
        r#"
        local ws = assert(http.ws_connect("ws://127.0.0.1:80/ws", { timeout = 5 }))
        assert(ws:send("hello"))
        print(ws:recv())
        assert(ws:send("\xff\0", "binary"))
        print(select(2, ws:recv(1)))
        print(ws:recv(0.5))
        print(pcall(ws.send, ws, "\xff"))
        print(pcall(ws.send, ws, "x", "odd"))
        print(pcall(ws.close, ws, 1006))
        assert(ws:send("bye"))
        print(ws:recv())
        print(ws.code, ws.reason)
        print(ws:send("more"))
        print(http.ws_connect("ws://127.0.0.1:80/stop"))
        print(http.ws_connect("http://127.0.0.1:80/ws"))
        server:stop(1)
        "#,
    );
    let ran = stage.run(&script);
    assert_eq!((ran.ending, &*ran.err), (Ending::Exited(0), ""));
    let lines: Vec<&str> = ran.out.lines().filter(|line| !line.starts_with('\t')).collect();
    for (i, words) in [
        "hello\ttext",
        "binary",
        "nil\ttimeout",
        "this is no UTF-8",
        "\"odd\" is no kind of message",
        "1006 is no code that may be sent",
        "nil\tclosed",
        "4001\tas you wish",
        "nil\tclosed",
        "nil\thttp: the server has no WebSocket there: 200",
        "is no URL of a WebSocket",
    ]
    .iter()
    .enumerate()
    {
        assert!(lines.get(i).is_some_and(|line| line.contains(words)), "{i} {words}: {}", ran.out);
    }
}
