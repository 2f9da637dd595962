//! `http.request`, its shorthands, and `http.proxy`: against a server of the same script.

use crate::peers::talked;
use crate::world::Stage;
use lunette_hostcalls::Ending;

/// A script that is granted a server on port 81, and asks it.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.listen = vec!["80", "81"];
    for peer in ["127.0.0.1:81", "127.0.0.1:82", "10.0.0.66:80"] {
        stage.grants.connect.push(peer.parse().expect("a peer"));
    }
    stage
}

const BEHIND: &str = r#"
    local http, task = require "http", require "task"
    local behind = http.router()
    behind:any("/echo", function(req)
        return 200, req.method .. ":" .. assert(req:body()), { ["x-got"] = req.headers["x-sent"] }
    end)
    behind:any("/show/*path", function(req)
        local names = {}
        for name, value in pairs(req.headers) do names[#names + 1] = name .. "=" .. value end
        table.sort(names)
        return req.target .. "\n" .. table.concat(names, "\n")
    end)
    behind:get("/redirect/:n", function(req)
        local n = tonumber(req.params.n)
        return 302, "", { location = n > 0 and "/redirect/" .. (n - 1) or "/echo" }
    end)
    behind:get("/slow", function() task.sleep(10) return "late" end)
    behind:get("/json", function() return { json = { a = 1 } } end)
    behind:get("/stream", function(req)
        local stream = req:respond(200, { connection = "x-hop", ["x-hop"] = "1", ["x-end"] = "2" })
        for i = 1, 3 do stream:write("piece" .. i) task.sleep(0.1) end
    end)
    behind:get("/breaks", function(req)
        local stream = req:respond(200)
        stream:write("some")
        task.sleep(0.1)
        error("in the middle")
    end)
    local server = assert(http.serve { listen = ":81", handler = behind })
    local base = "http://127.0.0.1:81"
"#;

#[track_caller]
fn asked(script: &str) -> String {
    let ran = stage().run(&format!("{BEHIND}{script}\nserver:stop(0)"));
    assert_eq!(ran.ending, Ending::Exited(0), "{}{}", ran.out, ran.err);
    ran.out
}

#[test]
fn requests_and_their_answers() {
    let said = asked(
        r#"
        local res = assert(http.get(base .. "/echo", { headers = { ["X-Sent"] = "yes" } }))
        print(res.status, res.body, res.headers["X-Got"], res.headers:all("content-type")[1])
        print(assert(http.post(base .. "/echo", { body = "text" })).body)
        local n = 0
        print(assert(http.put(base .. "/echo", { body = function() n = n + 1 return n < 4 and "p" .. n or nil end })).body)
        print(assert(http.post(base .. "/echo", { json = { 1, 2 } })).body)
        print(assert(http.request { url = base .. "/echo", method = "PATCH" }).body)
        print(assert(http.get(base .. "/json")):json().a)
        print(assert(http.get(base .. "/redirect/2")).body)
        print(assert(http.get(base .. "/redirect/2", { redirect = false })).status)
        print(http.get(base .. "/redirect/9"))
        local res = assert(http.get(base .. "/stream", { stream = true }))
        print(res.body)
        for piece in res:chunks() do print(piece) end
        local all = {}
        for piece in assert(http.get(base .. "/stream")):chunks() do all[#all + 1] = piece end
        print(table.concat(all, "|"))
        print(http.escape("a b/é?") , http.unescape("a%20b%2F%zz"))
        "#,
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "200\tGET:\tyes\ttext/plain; charset=utf-8",
            "POST:text",
            "PUT:p1p2p3",
            "POST:[1,2]",
            "PATCH:",
            "1",
            "GET:",
            "302",
            "nil\thttp: too many redirects",
            "nil",
            "piece1",
            "piece2",
            "piece3",
            "piece1piece2piece3",
            "a%20b%2F%C3%A9%3F\ta b/%zz",
        ]
    );
}

#[test]
fn what_fails_says_how() {
    let said = asked(
        r#"
        print(http.get(base .. "/slow", { timeout = 0.5 }))
        print(http.get("http://127.0.0.1:82/"))
        print(http.get("http://10.9.9.9/"))
        print(http.get("no url"))
        print(http.get("ftp://127.0.0.1/"))
        print(http.get(base .. "/stream", { max = 4 }))
        print(http.get(base .. "/breaks"))
        print(http.get("https://127.0.0.1:81/", { timeout = 2 }))
        print(select(2, pcall(http.get, base, { boddy = 1 })))
        print(select(2, pcall(http.request, {})))
        print(select(2, pcall(http.post, base, { body = {} })))
        print(select(2, pcall(http.get, base, { headers = { ["a b"] = 1 } })))
        "#,
    );
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('\t')).collect();
    for (i, words) in [
        "nil\ttimeout",
        "nil\tconnection refused",
        "nil\t",
        "nil\thttp: ",
        "nil\thttp: ",
        "nil\ttoo large",
        "nil\t",
        "nil\ttls: ",
        "http.get: there is no option boddy",
        "http.request: there is no url",
        "http.post: body can't be a table",
        "\"a b\" can't be a header's name",
    ]
    .iter()
    .enumerate()
    {
        assert!(lines.get(i).is_some_and(|line| line.contains(words)), "{i} {words}: {said}");
    }
}

#[test]
fn a_proxy_passes_on_what_is_not_between_neighbours() {
    let script = format!(
        "{BEHIND}\nassert(http.serve {{ listen = ':80', handler = http.proxy(base .. '/show', {{ timeout = 5 }}) }}):wait()"
    );
    talked(&stage(), &script, |peer| async move {
        let answer = peer
            .ask(
                "GET /a%20b?q=1 HTTP/1.1\r\nhost: front.example\r\nconnection: keep-alive, x-mine\r\nx-mine: 1\r\n\
                 te: trailers\r\nx-forwarded-for: 1.2.3.4\r\nx-kept: 2\r\n\r\n",
            )
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.text(),
            "/show/a%20b?q=1\nhost=127.0.0.1:81\nx-forwarded-for=1.2.3.4, 10.0.0.9\n\
             x-forwarded-host=front.example\nx-forwarded-proto=http\nx-kept=2"
        );
    });
    let script = format!(
        "{BEHIND}\nassert(http.serve {{ listen = ':80', handler = http.proxy(base, {{ timeout = 1 }}) }}):wait()"
    );
    let ran = talked(&stage(), &script, |peer| async move {
        let post =
            peer.ask("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nx-sent: y\r\n\r\nhello").await;
        assert_eq!((post.text(), post.header("x-got")), ("POST:hello".into(), Some("y")));
        let chunked =
            "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        assert_eq!(peer.ask(chunked).await.text(), "POST:hi");
        let stream = peer.ask("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(stream.text(), "piece1piece2piece3");
        assert_eq!(stream.header("x-end"), Some("2"));
        let redirect = peer.ask("GET /redirect/1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((redirect.status, redirect.header("location")), (302, Some("/redirect/0")));
        let head = peer.ask("HEAD /echo HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
        assert_eq!(peer.ask("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 504);
        // Broken off behind, it is broken off here.
        let peer = peer.again().await;
        peer.write(b"GET /breaks HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let all = String::from_utf8(peer.read_all().await).expect("text");
        assert!(!all.ends_with("0\r\n\r\n"), "{all}");
    });
    assert!(ran.err.contains("the server behind did not answer"), "{}", ran.err);
    let script = "local http = require 'http'\n\
                  assert(http.serve { listen = ':80', handler = http.proxy('http://127.0.0.1:82') }):wait()";
    talked(&stage(), script, |peer| async move {
        assert_eq!(peer.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 502);
    });
}

#[test]
fn a_handler_can_pass_a_request_on_itself() {
    let script = format!(
        "{BEHIND}{}",
        r#"
        assert(http.serve { listen = ":80", handler = function(req)
            local res, err = http.request {
                url = base .. req.target, method = req.method, headers = req.headers,
                body = req:chunks(), stream = true,
            }
            if not res then return 502, err end
            return { status = res.status, headers = res.headers, body = res:chunks() }
        end }):wait()
        "#
    );
    let ran = talked(&stage(), &script, |peer| async move {
        let post =
            peer.ask("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nx-sent: y\r\n\r\nhello").await;
        assert_eq!((post.text(), post.header("x-got")), ("POST:hello".into(), Some("y")));
        assert_eq!(peer.ask("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").await.text(), "piece1piece2piece3");
    });
    assert_eq!(ran.err, "");
}

/// Somebody to trust, a certificate of theirs, and its key.
fn certificate(name: &str) -> [String; 3] {
    let made = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        (params, rcgen::KeyPair::generate().expect("a key"))
    };
    let ((mut above, above_key), (params, key)) = (made(&[]), made(&[name]));
    above.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    above.distinguished_name.push(rcgen::DnType::CommonName, format!("who knows {name}"));
    let issuer = rcgen::Issuer::from_params(&above, &above_key);
    let chain = params.signed_by(&key, &issuer).expect("a certificate").pem();
    [above.self_signed(&above_key).expect("a certificate").pem(), chain, key.serialize_pem()]
}

#[test]
fn tls_serves_and_asks() {
    let stage = stage();
    let ([ca, cert, key], [other_ca, other, other_key]) =
        (certificate("127.0.0.1"), certificate("other.example"));
    stage.file("ca.pem", &ca).file("cert.pem", &cert).file("key.pem", &key);
    stage.file("other-ca.pem", &other_ca).file("other.pem", &other).file("other-key.pem", &other_key);
    let script = r#"
        local http = require "http"
        local app = http.router()
        app:get("/", function(req) return req.version .. " " .. tostring(req.tls) end)
        app:ws("/ws", function(ws) for message in ws:messages() do ws:send(message) end end)
        local server = assert(http.serve {
            listen = ":81", tls = { cert = "/cert.pem", key = "/key.pem" }, handler = app,
        })
        local url = "https://127.0.0.1:81/"
        print(assert(http.get(url, { ca = "/ca.pem" })).body)
        print(assert(http.get(url, { verify = false })).body)
        print(http.get(url))
        print(http.get(url, { ca = "/other-ca.pem" }))
        print(http.get(url, { ca = "/none.pem" }))
        local ws = assert(http.ws_connect("wss://127.0.0.1:81/ws", { ca = "/ca.pem" }))
        ws:send("secret")
        print(ws:recv())
        ws:close()
        print(server:tls { cert = "/other.pem", key = "/key.pem" })
        print(server:tls { cert = "/other.pem", key = "/other-key.pem" })
        server:stop(0)
    "#;
    let ran = stage.run(script);
    assert_eq!((ran.ending, &*ran.err), (Ending::Exited(0), ""), "{}", ran.out);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[..2], ["2 true", "2 true"]);
    assert!(lines[2].starts_with("nil\ttls: ") && lines[3].starts_with("nil\ttls: "), "{}", ran.out);
    assert_eq!(lines[4], "nil\ttls: /none.pem: no such file or directory");
    assert_eq!(lines[5], "secret\ttext");
    assert!(lines[6].starts_with("nil\ttls: "), "{}", ran.out);
    assert!(lines[7].starts_with("true"), "{}", ran.out);
}

#[test]
fn a_connection_that_is_kept_keeps_no_script_running() {
    let stage = stage();
    let before = stage.time().now();
    // The server stays, as one elsewhere would: it is the client that must let go.
    let ran = stage.run(&format!(
        r#"{BEHIND}
        print(assert(http.get(base .. "/echo")).status, assert(http.get(base .. "/echo")).status)
        require("service").stop()"#
    ));
    assert_eq!((ran.ending, &*ran.out), (Ending::Exited(0), "200\t200\n"), "{}", ran.err);
    let took = stage.time().now() - before;
    assert!(took < 1_000_000_000, "{took} ns");
}
