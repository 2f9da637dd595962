//! `http.router()`, static files and templates.

use crate::peers::{Answer, Peer, talked};
use crate::world::{Ran, Stage, prints};
use lunette_hostcalls::ramfs::MountId;

/// A script that makes `app`, and serves it.
#[track_caller]
fn routed<F: Future<Output = ()>>(stage: Stage, script: &str, talk: impl FnOnce(Peer) -> F) -> Ran {
    let mut stage = stage;
    stage.listen = vec!["80"];
    let script = format!(
        "local http = require('http')\nlocal app = http.router()\n{script}\nassert(http.serve{{ handler = app }}):wait()"
    );
    talked(&stage, &script, talk)
}

async fn get(peer: &Peer, target: &str, fields: &str) -> Answer {
    peer.ask(&format!("GET {target} HTTP/1.1\r\nhost: a\r\n{fields}\r\n")).await
}

async fn told(peer: &Peer, target: &str) -> (u16, String) {
    let answer = get(peer, target, "").await;
    (answer.status, answer.text())
}

#[test]
fn the_most_exact_pattern_wins_and_names_parts() {
    let script = r#"
        app:get("/", function() return "root" end)
        app:get("/users/me", function() return "me" end)
        app:get("/users/:id", function(req) return "user " .. req.params.id end)
        app:get("/users/:id/files/*path", function(req) return req.params.id .. " has " .. req.params.path end)
        app:any("/any/:what", function(req) return req.method .. " " .. req.params.what end)
        app:post("/users/:name", function(req) return "posted " .. req.params.name end)
        app:get("/odd{brace}", function() return "brace" end)
    "#;
    let ran = routed(Stage::new(), script, |peer| async move {
        for (target, text) in [
            ("/", "root"),
            ("/users/me", "me"),
            ("/users/you?x=1", "user you"),
            ("/users/a%2Fb", "user a/b"),
            ("/users/%C3%A9%2541", "user é%41"),
            ("/users/7/files/a/b%20c", "7 has a/b c"),
            ("/any/thing", "GET thing"),
            ("/odd{brace}", "brace"),
        ] {
            assert_eq!(told(&peer, target).await, (200, text.into()), "{target}");
        }
        let post = "POST /users/joe HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(peer.ask(post).await.text(), "posted joe");
        assert_eq!(told(&peer, "/none").await, (404, "Not Found\n".into()));
        assert_eq!(told(&peer, "/users/").await.0, 404);
        let delete = peer.ask("DELETE /users/me HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((delete.status, delete.header("allow")), (405, Some("GET, HEAD, POST, OPTIONS")));
        let options = peer.ask("OPTIONS /users/7/files/x HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
        let head = peer.ask("HEAD /users/me HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("2")));
    });
    assert_eq!(ran.err, "");
}

#[test]
fn what_is_used_runs_before_in_order() {
    let script = r#"
        local function mark(name)
            return function(req, next)
                req.marks = (req.marks or "") .. name
                local status, body = next(req)
                return status, (body or "") .. "|" .. name
            end
        end
        app:get("/early", function(req) return 200, req.marks end)
        app:use(mark "a")
        app:group("/g", function(g)
            g:use(mark "b")
            g:get("/one", mark "c", function(req) return 200, req.marks end)
            g:group("/h"):use(mark "d"):get("/two/:x", function(req) return 200, req.marks .. req.params.x end)
            g:get("/stop", function() return 403, "no" end, function() return 200, "never" end)
        end)
        app:missing(function(req) return 404, "lost: " .. req.path end)
    "#;
    let ran = routed(Stage::new(), script, |peer| async move {
        assert_eq!(told(&peer, "/early").await, (200, "a|a".into()));
        assert_eq!(told(&peer, "/g/one").await, (200, "abc|c|b|a".into()));
        assert_eq!(told(&peer, "/g/h/two/x").await, (200, "abdx|d|b|a".into()));
        assert_eq!(told(&peer, "/g/stop").await, (403, "no|b|a".into()));
        assert_eq!(told(&peer, "/none").await, (404, "lost: /none|a".into()));
    });
    assert_eq!(ran.err, "");
}

#[test]
fn a_pattern_that_can_not_be_is_refused_when_it_is_made() {
    let tried = |code: &str| {
        prints(&format!(
            "local r = require('http').router()\nlocal f = function() end\nprint(select(2, pcall(function() {code} end)))"
        ))
    };
    for (code, words) in [
        ("r:get('x', f)", "does not begin with a /"),
        ("r:get('/:', f)", "has a part whose name is none"),
        ("r:get('/*a/b', f)", "goes on after a *"),
        ("r:get('/:a/:a', f)", "two parts of one name"),
        ("r:get('/:a', f) r:get('/:b', f)", "one that GET has already"),
        ("r:get('/a')", "there is no handler"),
        ("r:get('/a', 'b')", "a handler can't be a string"),
        ("r:static('/', '/nowhere')", "the directory /nowhere: no such file or directory"),
        ("r:static('/', '/', { etags = true })", "there is no option etags"),
    ] {
        let said = tried(code);
        assert!(said.contains(words), "{code}: {said}");
    }
}

fn with_files() -> Stage {
    let stage = Stage::new();
    stage.file("secret.txt", "secret");
    stage.file("site/index.html", "<h1>home</h1>");
    stage.file("site/sub/index.html", "sub");
    stage.file("site/a b.txt", "0123456789");
    stage.file("site/app.js", "plain");
    stage.file("site/app.js.gz", "packed");
    for (name, target) in
        [("out.txt", "../secret.txt"), ("in.txt", "sub/../a b.txt"), ("absolute", "/secret.txt")]
    {
        let path = format!("site/{name}");
        stage.world.files.insert_symlink(MountId::ROOT, &path, target, 0).expect("a place");
    }
    stage.file("site/big.bin", &"0123456789abcdef".repeat(20_000));
    stage
}

#[test]
fn files_are_sent_whole_in_parts_or_not_at_all() {
    let script = "app:static('/s', '/site', { max_age = 60 })\napp:get('/one', function() return { file = '/site/app.js' } end)\n\
                  app:get('/none', function() return { file = '/site/none' } end)";
    let ran = routed(with_files(), script, |peer| async move {
        let file = get(&peer, "/s/a%20b.txt", "").await;
        assert_eq!((file.status, file.text()), (200, "0123456789".into()));
        assert_eq!(file.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(file.header("cache-control"), Some("public, max-age=60"));
        assert_eq!(file.header("accept-ranges"), Some("bytes"));
        let tag = file.header("etag").expect("a tag").to_owned();
        for fields in [
            format!("if-none-match: {tag}\r\n"),
            format!("if-none-match: \"x\", W/{tag}\r\n"),
            "if-none-match: *\r\n".into(),
        ] {
            let again = get(&peer, "/s/a%20b.txt", &fields).await;
            assert_eq!((again.status, again.header("etag")), (304, Some(&*tag)), "{fields}");
        }
        assert_eq!(get(&peer, "/s/a%20b.txt", "if-none-match: \"x\"\r\n").await.status, 200);
        for (range, part, which) in [
            ("bytes=0-3", "0123", "bytes 0-3/10"),
            ("bytes=4-", "456789", "bytes 4-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"),
            ("bytes=8-99", "89", "bytes 8-9/10"),
        ] {
            let answer = get(&peer, "/s/a%20b.txt", &format!("range: {range}\r\n")).await;
            assert_eq!((answer.status, answer.text()), (206, part.into()), "{range}");
            assert_eq!(answer.header("content-range"), Some(which));
        }
        let several = get(&peer, "/s/a%20b.txt", "range: bytes=0-1,-2\r\n").await;
        let kind = several.header("content-type").expect("a type").to_owned();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
        assert_eq!(several.status, 206);
        assert_eq!(
            several.text(),
            format!(
                "\r\n--{boundary}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: bytes 0-1/10\r\n\r\n01\
                 \r\n--{boundary}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: bytes 8-9/10\r\n\r\n89\
                 \r\n--{boundary}--\r\n"
            )
        );
        let beyond = get(&peer, "/s/a%20b.txt", "range: bytes=10-\r\n").await;
        assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
        for ignored in ["bytes=3-1", "lines=1-2", "bytes=a-b", "bytes=0-,0-,0-"] {
            assert_eq!(
                get(&peer, "/s/a%20b.txt", &format!("range: {ignored}\r\n")).await.status,
                200,
                "{ignored}"
            );
        }
        let stale = get(&peer, "/s/a%20b.txt", "range: bytes=0-1\r\nif-range: \"x\"\r\n").await;
        assert_eq!(stale.status, 200);
        let packed = get(&peer, "/s/app.js", "accept-encoding: br, gzip;q=0.5\r\n").await;
        assert_eq!((packed.header("content-encoding"), packed.text()), (Some("gzip"), "packed".into()));
        assert_eq!(packed.header("content-type"), Some("text/javascript; charset=utf-8"));
        let plain = get(&peer, "/s/app.js", "accept-encoding: gzip;q=0\r\n").await;
        assert_eq!((plain.header("content-encoding"), plain.text()), (None, "plain".into()));
        assert_eq!(plain.header("vary"), Some("accept-encoding"));
        let big = get(&peer, "/s/big.bin", "").await;
        assert_eq!((big.header("content-length"), big.body.len()), (Some("320000"), 320_000));
        let part = get(&peer, "/s/big.bin", "range: bytes=100000-299999\r\n").await;
        assert_eq!(part.body[..], "0123456789abcdef".repeat(20_000).as_bytes()[100_000..300_000]);
        let head = peer.ask("HEAD /s/big.bin HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("320000")));
        assert_eq!(told(&peer, "/one").await, (200, "plain".into()));
        assert_eq!(told(&peer, "/none").await.0, 500);
        assert_eq!(told(&peer, "/s/").await, (200, "<h1>home</h1>".into()));
        let sub = get(&peer, "/s/sub?x=1", "").await;
        assert_eq!((sub.status, sub.header("location")), (301, Some("/s/sub/?x=1")));
        assert_eq!(told(&peer, "/s/sub/").await, (200, "sub".into()));
    });
    assert!(ran.err.contains("/site/none: no such file or directory"), "{}", ran.err);
}

#[test]
fn nothing_outside_of_a_directory_can_be_reached() {
    let script = "app:static('/', '/site')";
    let ran = routed(with_files(), script, |peer| async move {
        for target in [
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/..%2fsecret.txt",
            "/sub/..%2f..%2fsecret.txt",
            "/%2e%2e%2f%2e%2e%2fsecret.txt",
            "//secret.txt",
            "/..\\secret.txt",
            "/a%00b",
            "/a%20b.txt/",
            "/out.txt",
            "/absolute",
            "/none",
        ] {
            let (status, text) = told(&peer, target).await;
            assert!(status == 404 && !text.contains("secret"), "{target}: {status} {text}");
        }
        assert_eq!(told(&peer, "/in.txt").await, (200, "0123456789".into()));
        let other = get(&peer, "//sub", "").await;
        assert_ne!(other.header("location"), Some("//sub/"));
    });
    assert_eq!(ran.err, "");
}

#[test]
fn templates_escape_and_their_errors_name_the_line() {
    let script = r#"
        local template = require "template"
        local render = assert(template.compile([[
<ul>
<% for i, item in ipairs(items) do -%>
  <li class="a\b"><%= item %> <%- raw %> <%= i %></li>
<% end -%>
</ul>
<% -- a comment %>done]]))
        print(render { items = { "a<b", "c&d" }, raw = "<i>" })
        print(template.compile("one\n<% if x then %>\ntwo"))
        print(template.compile("one\n<% oops\n"))
        local fails = template.compile("one\n\n<%= missing.field %>")
        print(select(2, pcall(fails, {})))
        print(require("html").escape([[<a href="x">'&]]))
    "#;
    let said = prints(script);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "<ul>",
            "  <li class=\"a\\b\">a&lt;b <i> 1</li>",
            "  <li class=\"a\\b\">c&amp;d <i> 2</li>",
            "</ul>"
        ]
    );
    assert_eq!(lines[4], "done");
    assert!(lines[5].starts_with("nil\ttemplate:3:") || lines[5].contains("'end' expected"), "{}", lines[5]);
    assert_eq!(lines[6], "nil\ttemplate:2: <% without its %>");
    assert!(lines[7].contains("template:3:"), "{}", lines[7]);
    assert!(said.contains("&lt;a href=&quot;x&quot;&gt;&#39;&amp;"), "{said}");
}
