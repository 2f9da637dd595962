//! `http.serve`: what handlers get, what they give back, and what becomes of it.

use crate::peers::{Peer, served};

const HELLO: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn a_string_is_an_answer() {
    let talk = served("return 'hello ' .. req.path", |peer| async move {
        let answer = peer.ask("GET /w%20x?q=1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("content-length"), Some("10"));
        assert_eq!(answer.text(), "hello /w x");
        // The same connection again.
        assert_eq!(peer.ask(HELLO).await.text(), "hello /");
    });
    assert_eq!(talk.err, "");
}

#[test]
fn each_kind_of_answer() {
    let script = r#"
        local kinds = {
            ["/status"] = function() return 204 end,
            ["/both"] = function() return 201, "made" end,
            ["/three"] = function() return 201, "made", { ["X-A"] = "1", ["set-cookie"] = { "a=1", "b=2" } } end,
            ["/table"] = function() return { status = 202, headers = { ["content-type"] = "a/b" }, body = "t" } end,
            ["/number"] = function() return { body = 12 } end,
            ["/iterator"] = function()
                local n = 0
                return { body = function() n = n + 1; if n <= 3 then return n .. "," end end }
            end,
            ["/lengths"] = function() return 200, "abc", { ["content-length"] = "77", ["transfer-encoding"] = "chunked" } end,
        }
        return kinds[req.path]()
    "#;
    let talk = served(script, |peer| async move {
        let get = async |path: &str| peer.ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(get("/status").await.status, 204);
        let both = get("/both").await;
        assert_eq!((both.status, both.text()), (201, "made".into()));
        let three = get("/three").await;
        assert_eq!((three.header("x-a"), three.all("set-cookie")), (Some("1"), vec!["a=1", "b=2"]));
        let table = get("/table").await;
        assert_eq!((table.status, table.header("content-type")), (202, Some("a/b")));
        assert_eq!(get("/number").await.text(), "12");
        let iterator = get("/iterator").await;
        assert_eq!(iterator.header("transfer-encoding"), Some("chunked"));
        assert_eq!(iterator.text(), "1,2,3,");
        let lengths = get("/lengths").await;
        assert_eq!((lengths.text(), lengths.header("transfer-encoding")), ("abc".into(), None));
    });
    assert_eq!(talk.err, "");
}

#[test]
fn what_goes_wrong_is_in_the_log_and_not_in_the_answer() {
    let script = r#"
        if req.path == "/error" then error("secret thing") end
        if req.path == "/failure" then return nil, "no database" end
        if req.path == "/nothing" then return end
        if req.path == "/boolean" then return true end
        if req.path == "/odd" then return { jsno = {} } end
        if req.path == "/header" then return 200, "x", { ["a b"] = "c" } end
        if req.path == "/split" then return 200, "x", { a = "b\r\nc: d" } end
        if req.path == "/status" then return 99 end
        if req.path == "/body" then return 200, {} end
    "#;
    let talk = served(script, |peer| async move {
        for path in ["error", "failure", "nothing", "boolean", "odd", "header", "split", "status", "body"] {
            let answer = peer
                .ask(&format!("GET /{path} HTTP/1.1\r\nhost: a\r\nx-request-id: id-{path}\r\n\r\n"))
                .await;
            assert_eq!(answer.status, 500, "{path}");
            assert_eq!(answer.text(), "Internal Server Error\n");
            assert_eq!(answer.header("x-request-id"), Some(&*format!("id-{path}")));
        }
    });
    let line =
        |id: &str| talk.err.lines().find(|line| line.contains(&format!("id-{id} "))).unwrap_or_default();
    assert!(
        line("error").contains("secret thing") && line("error").contains("stack traceback"),
        "{}",
        talk.err
    );
    assert!(line("failure").contains("no database"), "{}", talk.err);
    for (path, words) in [
        ("nothing", "returned nothing"),
        ("boolean", "returned a boolean"),
        ("odd", "jsno"),
        ("header", "a header's name"),
        ("split", "value that no header can have"),
        ("status", "99 is no status"),
        ("body", "a body that is a table"),
    ] {
        assert!(line(path).contains(words), "{path}: {}", line(path));
    }
}

#[test]
fn a_request_has_its_parts() {
    let script = r#"
        local q = req.query
        assert(q == req.query)
        assert(req.method == "POST" and req.target == "/a%2Fb?x=1&y=a+b&x=%32&z", req.target)
        assert(req.path == "/a/b")
        assert(q.x[1] == "1" and q.x[2] == "2" and q.y == "a b" and q.z == "")
        assert(req.headers["X-Twice"] == "1, 2" and req.headers["x-none"] == nil)
        assert(#req.headers:all("x-twice") == 2)
        local names = {}
        for name, value in pairs(req.headers) do names[name] = value end
        assert(names["x-twice"] == "1, 2" and names.host == "a")
        assert(req:cookies().a == "1")
        assert(req:cookies()["b"] == "x y")
        assert(req.version == "1.1" and req.tls == false and req.peer:match("^10%.0%.0%.9:"))
        assert(#req.id == 16 and req.id == req.id)
        assert(req.ctx.cancelled == false and req.nothing == nil)
        req.user = "me"
        assert(req.user == "me")
        local form = assert(req:form())
        assert(form.a == "1" and form.b == "c d")
        assert(req:body() == "a=1&b=c+d")
        return "fine"
    "#;
    let talk = served(script, |peer| async move {
        let answer = peer
            .ask(
                "POST /a%2Fb?x=1&y=a+b&x=%32&z HTTP/1.1\r\nHost: a\r\nX-Twice: 1\r\nx-twice: 2\r\n\
                 cookie: a=1; b=\"x%20y\"\r\ncontent-type: application/x-www-form-urlencoded; charset=utf-8\r\n\
                 content-length: 9\r\n\r\na=1&b=c+d",
            )
            .await;
        assert_eq!(answer.text(), "fine");
    });
    assert_eq!(talk.err, "");
}

#[test]
fn bodies_come_in_pieces_and_are_bounded() {
    let script = r#"
        if req.path == "/count" then
            local n = 0
            for piece in req:chunks() do n = n + #piece end
            return tostring(n)
        elseif req.path == "/max" then
            local body, err = req:body(4)
            if not body then return nil, err end
            return body
        elseif req.path == "/mine" then
            local body, err = req:body(4)
            return 418, err
        elseif req.path == "/unread" then
            return "unread"
        end
        return req:body()
    "#;
    let talk = served(script, |peer| async move {
        let chunked = "POST /count HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                       5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        assert_eq!(peer.ask(chunked).await.text(), "11");
        let post = |path: &str, body: &str| {
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        assert_eq!(peer.ask(&post("/max", "1234")).await.text(), "1234");
        let unread = peer.ask(&post("/unread", &"x".repeat(5000))).await;
        assert_eq!(unread.text(), "unread");
        assert_eq!(peer.ask(&post("/", "after")).await.text(), "after");
        assert_eq!(peer.ask(&post("/mine", "12345")).await.status, 418);
        let peer = peer.again().await;
        assert_eq!(peer.ask(&post("/max", "12345")).await.status, 413);
        // Over the server's limit it does not even begin.
        let peer = peer.again().await;
        let large = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000\r\n\r\n";
        assert_eq!(peer.ask(large).await.status, 413);
        let peer = peer.again().await;
        let endless = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        peer.write(endless.as_bytes()).await;
        for _ in 0..40 {
            peer.write(format!("8000\r\n{}\r\n", "x".repeat(0x8000)).as_bytes()).await;
        }
        peer.write(b"0\r\n\r\n").await;
        assert_eq!(peer.answer().await.status, 413);
    });
    assert_eq!(talk.err, "");
}

#[test]
fn an_answer_can_be_a_stream() {
    let script = r#"
        local stream = req:respond(201, { ["content-type"] = "text/x" })
        for i = 1, 3 do
            assert(stream:write("piece " .. i .. ";"))
            stream:flush()
        end
        stream:close()
        assert(select(2, stream:write("no more")) == "closed")
    "#;
    let talk = served(script, |peer| async move {
        let answer = peer.ask(HELLO).await;
        assert_eq!((answer.status, answer.header("content-type")), (201, Some("text/x")));
        assert_eq!(answer.text(), "piece 1;piece 2;piece 3;");
        assert_eq!(peer.ask(HELLO).await.status, 201);
    });
    assert_eq!(talk.err, "");
}

#[test]
fn writes_wait_for_a_client_that_reads_slowly_and_tell_when_it_is_gone() {
    let script = r#"
        local stream = req:respond(200)
        local piece, n = ("x"):rep(65536), 0
        while true do
            local ok, err = stream:write(piece)
            if not ok then
                print("after", n, err, req.ctx.cancelled)
                return
            end
            n = n + 1
        end
    "#;
    let talk = served(script, |peer| async move {
        peer.write(HELLO.as_bytes()).await;
        peer.wait(1.0).await;
        peer.read_some().await;
        peer.abort();
        peer.wait(1.0).await;
    });
    let words: Vec<&str> = talk.out.split_whitespace().collect();
    let [_, n, err, cancelled] = words[..] else { panic!("{}", talk.out) };
    assert!(n.parse::<u32>().is_ok_and(|n| n < 20), "{n}");
    assert_eq!((err, cancelled), ("closed", "true"));
    assert_eq!(talk.err, "");
}

#[test]
fn a_handler_whose_client_goes_runs_to_its_end() {
    let script = r#"
        print("begun")
        local body, err = req:body()
        print(body, err, req.ctx.cancelled)
    "#;
    let talk = served(script, |peer| async move {
        peer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").await;
        peer.wait(0.1).await;
        peer.abort();
        peer.wait(0.1).await;
        // And the server goes on.
        let peer = peer.again().await;
        let answer = peer.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(answer.status, 500);
    });
    assert!(talk.out.starts_with("begun\nnil\tclosed\ttrue\nbegun\nok\tnil\tfalse\n"), "{}", talk.out);
}

#[test]
fn head_has_no_body_and_its_length() {
    let talk = served("return 'hello'", |peer| async move {
        peer.write(
            b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        )
        .await;
        let all = String::from_utf8(peer.read_all().await).unwrap();
        assert_eq!(all.matches("content-length: 5").count(), 2, "{all}");
        assert_eq!(all.matches("hello").count(), 1, "{all}");
    });
    assert_eq!(talk.err, "");
}

#[test]
fn a_thousand_connections_and_one_that_is_bad() {
    let talk = served("return 'n' .. #(req:body())", |peer| async move {
        let mut all: Vec<Peer> = Vec::new();
        for _ in 0..1000 {
            all.push(peer.again().await);
        }
        for (i, one) in all.iter().enumerate() {
            match i % 10 {
                3 => one.abort(),
                4 => one.write(b"\x00\xff nonsense\r\n\r\n").await,
                5 => one.write(b"GET / HT").await,
                _ => one.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc").await,
            }
        }
        for (i, one) in all.iter().enumerate() {
            match i % 10 {
                3 | 5 => {}
                4 => assert_eq!(one.answer().await.status, 400),
                _ => assert_eq!(one.answer().await.text(), "n3"),
            }
        }
    });
    assert_eq!(talk.err, "");
}
