//! The samples that are Lua services, and what real clients make of them: in a VM and as a process of this machine.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    Stories,
    clients::{self, Http, Reply, connect},
    guests::folder,
    samples::built,
    servers::{self, free_port},
    vm::{Place, Ran, Running, vm},
};

const TWO: [Place; 2] = [Place::Microvm, Place::Host];

pub(crate) fn stories(s: &mut Stories) {
    for place in Place::ALL {
        let on = |story: &str| format!("services: {story} on {}", place.name());
        s.needs(on("a JSON API"), place.lack(), move || api(place));
    }
    for place in TWO {
        let on = |story: &str| format!("services: {story} on {}", place.name());
        let (curl, dig, openssl) = (lacks("curl"), lacks("dig"), lacks("openssl"));
        s.needs(on("a JSON API with curl"), place.lack().or(curl), move || api_by_curl(place));
        s.needs(on("a JSON API takes no nonsense"), place.lack(), move || api_refuses(place));
        s.needs(on("a chat"), place.lack(), move || chat(place));
        s.needs(on("a chat does not wait for who does not read"), place.lack(), move || chat_slow(place));
        s.needs(on("names, by the bytes of the wire"), place.lack(), move || names(place));
        s.needs(on("names with dig"), place.lack().or(dig), move || names_by_dig(place));
        s.needs(on("a proxy with TLS"), place.lack().or(openssl).or(curl), move || proxy(place));
        s.needs(on("a proxy's TLS with openssl s_client"), place.lack().or(openssl), move || s_client(place));
        s.needs(on("certificates that can't be"), place.lack().or(openssl), move || bad_certificates(place));
        s.needs(on("a WebSocket, by the bytes of the wire"), place.lack(), move || websocket(place));
        s.needs(on("crowds, and nothing is left"), place.lack(), move || crowds(place));
        s.needs(on("a handler that fails fails alone"), place.lack(), move || fails(place));
        s.needs(on("what a handler can't mean is told"), place.lack(), move || nonsense(place));
        s.needs(on("who is not who was asked for is refused by name"), place.lack(), move || {
            strangers(place)
        });
        s.needs(on("a script that asked ends when it is done"), place.lack(), move || asks(place));
        s.needs(on("a page in a browser"), place.lack().or(lacks("chromium")), move || browser(place));
    }
}

pub(crate) fn lacks(program: &'static str) -> Option<&'static str> {
    let flag = if program == "dig" {
        "-v"
    } else if program == "openssl" {
        "version"
    } else {
        "--version"
    };
    let runs = Command::new(program).arg(flag).output().is_ok_and(|output| output.status.success());
    match (runs, program) {
        (true, _) => None,
        (false, "curl") => Some("no curl"),
        (false, "dig") => Some("no dig"),
        (false, "chromium") => Some("no chromium"),
        (false, _) => Some("no openssl"),
    }
}

struct Service {
    running: Running,
    at: SocketAddr,
}

fn serve(sample: &str, port: &str, place: Place, flags: &[String]) -> Service {
    let at = free_port();
    let run = vm(built(sample).expect("built")).on(place).flags(["-p".to_owned(), format!("{at}:{port}")]);
    let running = run.flags(flags).start().until_it_prints("ready");
    Service { running, at }
}

impl Service {
    fn client(&self) -> Http {
        Http::new(self.at).unwrap_or_else(|e| panic!("connecting: {e}"))
    }

    /// Asks it to end, and waits until it has: in good order.
    fn ends(self) -> Ran {
        self.running.signal(Signal::TERM);
        self.running.wait(Duration::from_secs(20)).exits(0)
    }
}

/// What a client printed that must succeed.
fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{err}", output.status);
    output.stdout
}

pub(crate) fn text(command: &mut Command) -> String {
    // openssl shows what came as it came.
    String::from_utf8_lossy(&output(command)).into_owned()
}

pub(crate) fn curl(words: &[&str]) -> Command {
    let mut command = Command::new("curl");
    // Nothing of the user's: no ~/.curlrc, no proxy.
    command.args(["-q", "--noproxy", "*", "-sS", "--max-time", "30"]).args(words);
    command
}

fn value(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body)
        .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&reply.body)))
}

/// One request with a body that is JSON.
fn ask(client: &mut Http, method: &str, path: &str, body: &str) -> Reply {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: lunette\r\nContent-Length: {length}\r\n\r\n{body}");
    client.say(head).expect("said");
    client.reply().unwrap_or_else(|e| panic!("{method} {path}: {e}"))
}

fn api(place: Place) {
    let service = serve("http-json", "80", place, &[]);
    let mut client = service.client();
    let made = ask(&mut client, "POST", "/items", r#"{"title":"look at the moon"}"#);
    assert_eq!((made.status, made.header("location")), (201, Some("/items/1")));
    assert_eq!(value(&made), json!({"id": 1, "title": "look at the moon", "done": false}));
    assert_eq!(ask(&mut client, "POST", "/items", r#"{"title":"sleep"}"#).status, 201);
    let changed = ask(&mut client, "PUT", "/items/1", r#"{"done":true}"#);
    assert_eq!((changed.status, &value(&changed)["done"]), (200, &json!(true)));
    let list = client.get("/items?done=true").expect("a list");
    assert_eq!(value(&list), json!([{"id": 1, "title": "look at the moon", "done": true}]));
    assert_eq!(value(&client.get("/items").expect("a list")).as_array().map(Vec::len), Some(2));
    assert_eq!(ask(&mut client, "DELETE", "/items/1", "").status, 204);
    assert_eq!(client.get("/items/1").expect("an answer").status, 404);
    let metrics = String::from_utf8(client.get("/metrics").expect("metrics").body).expect("text");
    assert!(metrics.contains(r#"answers{status="201"} 2"#), "{metrics}");
    drop(client);
    service.ends();
}

fn api_by_curl(place: Place) {
    let service = serve("http-json", "80", place, &[]);
    let url = |path: &str| format!("http://{}{path}", service.at);
    let made = text(curl(&["-d", r#"{"title":"look at the moon"}"#]).arg(url("/items")));
    assert_eq!(serde_json::from_str::<Value>(&made).expect("JSON")["id"], 1);
    let head = text(curl(&["-I"]).arg(url("/items/1")));
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-type: application/json"),
        "{head}"
    );
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    assert_eq!(text(curl(&status).arg(url("/nothing"))), "404");
    assert_eq!(text(curl(&status).args(["-X", "PATCH"]).arg(url("/items/1"))), "405");
    // Two of one command go over one connection.
    let two = text(curl(&["-w", "%{num_connects}", "-o", "/dev/null"]).arg(url("/items/[1-2]")));
    assert_eq!(two, "10");
    service.ends();
}

fn api_refuses(place: Place) {
    let service = serve("http-json", "80", place, &[]);
    for (body, status) in
        [("", 400), ("{", 400), ("[1", 400), ("7", 400), ("{}", 422), (r#"{"title":""}"#, 422)]
    {
        assert_eq!(ask(&mut service.client(), "POST", "/items", body).status, status, "{body}");
    }
    let long = format!(r#"{{"title":"{}"}}"#, "x".repeat(100_000));
    assert_eq!(ask(&mut service.client(), "POST", "/items", &long).status, 413);
    for head in
        ["GET / HTTP/1.1\r\nHost : x\r\n\r\n", "nonsense\r\n\r\n", "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n"]
    {
        let mut client = service.client();
        client.say(head).expect("said");
        assert_eq!(client.reply().expect("an answer").status, 400, "{head:?}");
    }
    // With two lengths it is refused, or the chunks count; what comes behind is no request in either case (RFC 9112, 6.3).
    let both = "POST /items HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n\
                0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut client = service.client();
    client.say(both).expect("said");
    assert_eq!(client.reply().expect("an answer").status, 400, "empty is no item");
    client.reply().expect_err("one answer, and the end");
    assert_eq!(service.client().get("/").expect("still there").status, 200);
    service.ends();
}

/// Somebody in the chat.
struct Talker(BufReader<TcpStream>);

impl Talker {
    fn new(at: SocketAddr, name: &str) -> Self {
        let mut talker = Self(BufReader::new(connect(at).expect("a connection")));
        let mut asked = [0; 6];
        talker.0.read_exact(&mut asked).expect("asked for a name");
        assert_eq!(&asked, b"name? ");
        talker.say(name);
        talker
    }

    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).expect("said");
    }

    fn line(&mut self) -> String {
        let mut heard = String::new();
        self.0.read_line(&mut heard).expect("a line");
        heard.trim_end().to_owned()
    }

    #[track_caller]
    fn hears(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }
}

fn chat(place: Place) {
    let service = serve("tcp-chat", "7000", place, &[]);
    let mut ann = Talker::new(service.at, "ann");
    ann.say("anybody?");
    let mut bob = Talker::new(service.at, "bob");
    ann.hears("* bob is here");
    bob.say("hello");
    ann.hears("bob: hello");
    ann.say("hello, bob");
    bob.hears("ann: hello, bob");
    let mut second = connect(service.at).expect("a connection");
    second.write_all(b"bob\n").expect("said");
    let mut words = [0; 31];
    second.read_exact(&mut words).expect("words");
    assert_eq!(String::from_utf8_lossy(&words), "name? bob is here already. name");
    drop(bob);
    ann.hears("* bob is gone");
    let ends = service.running;
    ends.signal(Signal::TERM);
    ann.hears("* this chat ends");
    ends.wait(Duration::from_secs(20)).exits(0);
}

fn chat_slow(place: Place) {
    let service = serve("tcp-chat", "7000", place, &[]);
    let deaf = Talker::new(service.at, "deaf");
    rustix::net::sockopt::set_socket_recv_buffer_size(deaf.0.get_ref(), 64 << 10).expect("a small buffer");
    let mut ann = Talker::new(service.at, "ann");
    let mut bob = Talker::new(service.at, "bob");
    ann.hears("* bob is here");
    let line = "x".repeat(8000);
    // More than its socket, its outbox and the network between hold.
    let mut sent_away = false;
    for _ in 0..1000 {
        ann.say(&line);
        let mut heard = bob.line();
        if heard == "* deaf is gone" {
            sent_away = true;
            heard = bob.line();
        }
        assert_eq!(heard, format!("ann: {line}"));
    }
    assert!(sent_away, "it holds all of that");
    drop((deaf, ann, bob));
    service.ends();
}

/// A question, and the answer's code, its counts of answers and authorities, and its bytes.
fn question(socket: &UdpSocket, at: SocketAddr, name: &str, kind: u16) -> (u8, u16, u16, Vec<u8>) {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&1_u16.to_be_bytes());
    let mut answer = vec![0; 2048];
    // Datagrams get lost; a resolver asks again.
    for _ in 0..5 {
        socket.send_to(&packet, at).expect("sent");
        if let Ok(length) = socket.recv(&mut answer) {
            answer.truncate(length);
            assert_eq!(&answer[..2], &[0x12, 0x34]);
            let count = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
            return (answer[3] & 15, count(6), count(8), answer.clone());
        }
    }
    panic!("no answer for {name}");
}

fn asker() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a limit");
    socket
}

fn names(place: Place) {
    let service = serve("udp-dns", "53/udp", place, &[]);
    let socket = asker();
    let ask = |name: &str, kind: u16| question(&socket, service.at, name, kind);
    let (code, answers, _, bytes) = ask("example.test", 1);
    assert_eq!((code, answers), (0, 1));
    assert!(bytes.ends_with(&[0, 4, 192, 0, 2, 1]), "{bytes:?}");
    assert_eq!(ask("WWW.Example.TEST", 1).1, 2, "a CNAME and its address");
    assert_eq!(ask("a.wild.example.test", 1).1, 1);
    assert_eq!(ask("mail.example.test", 28).1, 1);
    assert_eq!(
        (ask("nothing.example.test", 1).0, ask("nothing.example.test", 1).2),
        (3, 1),
        "NXDOMAIN with its SOA"
    );
    assert_eq!((ask("ns.example.test", 28).0, ask("ns.example.test", 28).1), (0, 0), "nothing of this type");
    assert_eq!(ask("example.org", 1).0, 5, "REFUSED");
    // What is no query ends nothing.
    let mut noise = clients::Noise(7);
    for length in 0..200 {
        let mut packet = vec![0; length];
        noise.fill(&mut packet);
        socket.send_to(&packet, service.at).expect("sent");
    }
    let fresh = asker();
    assert_eq!(question(&fresh, service.at, "example.test", 16).1, 1);
    // One that only has a socket for datagrams has nothing to finish.
    service.running.signal(Signal::TERM);
    service.running.wait(Duration::from_secs(20)).exits_with_one_of(&[0, 130, 143]);
}

fn names_by_dig(place: Place) {
    let service = serve("udp-dns", "53/udp", place, &[]);
    let dig = |words: &[&str]| {
        let mut command = Command::new("dig");
        command.args(["+time=3", "+tries=5", "+noedns", "-p", &service.at.port().to_string(), "@127.0.0.1"]);
        text(command.args(words))
    };
    assert_eq!(dig(&["+short", "www.example.test"]), "example.test.\n192.0.2.1\n");
    assert_eq!(dig(&["+short", "MX", "example.test"]), "10 mail.example.test.\n");
    assert_eq!(dig(&["+short", "TXT", "example.test"]), "\"v=spf1 -all\"\n");
    assert_eq!(dig(&["+short", "AAAA", "mail.example.test"]), "2001:db8::25\n");
    let missing = dig(&["nothing.example.test"]);
    assert!(missing.contains("status: NXDOMAIN") && missing.contains("flags: qr aa rd"), "{missing}");
}

/// A certificate for localhost and its key, in a folder of their own.
pub(crate) fn certificates(days: &str) -> PathBuf {
    let dir = folder("certs");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args([
        "-days",
        days,
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
    ]);
    output(openssl.arg(dir.join("key.pem")).arg("-out").arg(dir.join("cert.pem")));
    dir
}

fn mounted(certificates: &Path) -> [String; 2] {
    ["--dir".to_owned(), format!("{}::/certs:ro", certificates.display())]
}

/// The proxy in front of a server of this machine's.
fn proxied(place: Place, behind: SocketAddr, certificates: &Path) -> (Service, SocketAddr) {
    let host = if place == Place::Host { "127.0.0.1" } else { "10.0.2.2" };
    let upstream = format!("{host}:{}", behind.port());
    let plain = free_port();
    let mut flags = vec!["-p".to_owned(), format!("{plain}:80"), "--connect".into(), upstream.clone()];
    flags.extend(["-e".to_owned(), format!("UPSTREAM=http://{upstream}")]);
    flags.extend(mounted(certificates));
    (serve("https-proxy", "443", place, &flags), plain)
}

fn proxy(place: Place) {
    let behind = serve("http-json", "80", Place::Host, &[]);
    let certificates = certificates("2");
    let (service, plain) = proxied(place, behind.at, &certificates);
    let (ca, port) = (certificates.join("cert.pem"), service.at.port());
    let secure = |words: &[&str], path: &str| {
        let mut command = curl(words);
        command.arg("--cacert").arg(&ca).args(["--resolve", &format!("localhost:{port}:127.0.0.1")]);
        text(command.arg(format!("https://localhost:{port}{path}")))
    };
    let made = secure(&["-d", r#"{"title":"by way of TLS"}"#], "/items");
    assert_eq!(serde_json::from_str::<Value>(&made).expect("JSON")["title"], "by way of TLS");
    let version = ["-o", "/dev/null", "-w", "%{http_code} %{http_version}"];
    assert_eq!(secure(&[&version[..], &["--http1.1"]].concat(), "/items"), "200 1.1");
    let with_http2 = text(&mut curl(&["--version"])).contains("HTTP2");
    if with_http2 {
        assert_eq!(secure(&[&version[..], &["--http2"]].concat(), "/items"), "200 2");
    }
    let redirect = text(
        curl(&["-o", "/dev/null", "-w", "%{http_code} %{redirect_url}"]).arg(format!("http://{plain}/a?b")),
    );
    assert_eq!(redirect, "308 https://127.0.0.1/a?b");
    behind.ends();
    assert_eq!(secure(&version[..], "/items").split(' ').next(), Some("502"), "nobody is behind it");
    service.ends();
}

fn s_client(place: Place) {
    let certificates = certificates("2");
    let (service, _) = proxied(place, free_port(), &certificates);
    for (flag, says) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            flag,
            "-alpn",
            "h2,http/1.1",
            "-verify_return_error",
            "-servername",
            "localhost",
        ]);
        command.arg("-connect").arg(service.at.to_string()).arg("-CAfile").arg(certificates.join("cert.pem"));
        let said = text(command.stdin(std::process::Stdio::null()));
        assert!(said.contains(says) && said.contains("Verify return code: 0 (ok)"), "{said}");
        assert!(said.contains("ALPN protocol: h2"), "{said}");
    }
    // One that speaks no TLS is the end of nobody else.
    let mut rude = connect(service.at).expect("a connection");
    rude.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("said");
    let _ = rude.read_to_end(&mut Vec::new());
    let mut command = Command::new("openssl");
    command.args(["s_client", "-tls1_3", "-connect"]).arg(service.at.to_string());
    assert!(text(command.stdin(std::process::Stdio::null())).contains("TLSv1.3"));
    service.ends();
}

fn bad_certificates(place: Place) {
    let run = |dir: &Path| {
        let flags = ["-p".to_owned(), format!("{}:443", free_port())];
        let run = vm(built("https-proxy").expect("built")).on(place).flags(flags).flags(mounted(dir));
        run.run().exits(1)
    };
    let (mine, other) = (certificates("2"), certificates("2"));
    fs::copy(other.join("key.pem"), mine.join("key.pem")).expect("another key");
    run(&mine).says("key");
    fs::remove_file(mine.join("key.pem")).expect("no key");
    run(&mine).says("key.pem");
    fs::write(other.join("cert.pem"), "nonsense").expect("no certificate");
    run(&other).says("cert.pem");
}

/// A frame of a client's: text, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn live(at: SocketAddr) -> TcpStream {
    let mut stream = connect(at).expect("a connection");
    let head = "GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("said");
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        reply.push(byte[0]);
    }
    let reply = String::from_utf8(reply).expect("text").to_ascii_lowercase();
    assert!(reply.starts_with("http/1.1 101 "), "{reply}");
    // RFC 6455, 1.3 has this key and its answer.
    assert!(reply.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{reply}");
    stream
}

fn websocket(place: Place) {
    let service = serve("websocket-page", "80", place, &[]);
    let page = service.client().get("/").expect("a page");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let (mut one, mut two) = (live(service.at), live(service.at));
    let mut heard = [0; 7];
    one.write_all(&frame("hello")).expect("said");
    for stream in [&mut one, &mut two] {
        stream.read_exact(&mut heard).expect("a frame");
        assert_eq!(&heard, b"\x81\x05hello");
    }
    // Unmasked, a client's frame is no frame (RFC 6455, 5.1): this one is closed, the other is not.
    two.write_all(b"\x81\x01x").expect("said");
    let mut rest = Vec::new();
    let _ = two.read_to_end(&mut rest);
    assert!(rest.first().is_none_or(|first| *first == 0x88), "{rest:?}");
    one.write_all(&frame("hello")).expect("said");
    one.read_exact(&mut heard).expect("a frame");
    assert_eq!(&heard, b"\x81\x05hello");
    drop(one);
    assert_eq!(service.client().get("/").expect("still there").status, 200);
    assert_eq!(service.client().get("/../server.lua").expect("an answer").status / 100, 4);
    service.ends();
}

fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(name)
}

fn load(place: Place, flags: &[&str]) -> Service {
    let at = free_port();
    let run = vm(guest("lua-load")).on(place).flags(["-p".to_owned(), format!("{at}:80")]);
    let running = run.flags(flags.iter().copied()).descriptors(1024).start().until_it_prints(": ready\n");
    Service { running, at }
}

fn crowds(place: Place) {
    let service = load(place, &["-m", "64M"]);
    let at = service.at;
    let process = match place {
        Place::Host => service.running.pid(),
        _ => servers::child_of(service.running.pid()).expect("a VM"),
    };
    let memory = || {
        let stats = service.client().get("/stats").expect("figures").body;
        let text = String::from_utf8(stats).expect("text");
        let lua = text.lines().find_map(|line| line.strip_prefix("memory ")?.parse::<u64>().ok());
        (servers::occupied(process, (place != Place::Host).then_some(64 << 10)), lua.expect("a figure"))
    };
    let round = |requests, connections, aborted| {
        let kept = clients::load(at, 64, requests).unwrap_or_else(|e| panic!("requests: {e}"));
        let fresh = clients::fresh(at, connections).unwrap_or_else(|e| panic!("connections: {e}"));
        clients::aborted(at, aborted).unwrap_or_else(|e| panic!("aborted: {e}"));
        (kept, fresh)
    };
    let (kept, fresh) = round(4_000, 400, 200);
    let per_second = |count: f64, took: Duration| count / took.as_secs_f64();
    servers::figure(place, format_args!("{:.0} requests/s of Lua", per_second(4_000.0, kept)));
    servers::figure(place, format_args!("{:.0} connections/s of Lua", per_second(400.0, fresh)));
    let first = memory();
    round(4_000, 400, 200);
    let second = memory();
    servers::figure(
        place,
        format_args!(
            "{} KiB resident after one round, {} KiB after two; Lua's: {}, {}",
            first.0, second.0, first.1, second.1
        ),
    );
    assert!(second.0 <= first.0 + 4096, "memory grows: {} KiB, then {} KiB", first.0, second.0);
    assert!(second.1 <= first.1 + 64, "Lua's memory grows: {} KiB, then {} KiB", first.1, second.1);
    service.ends();
}

fn fails(place: Place) {
    let service = load(place, &[]);
    let mut client = service.client();
    let failed = client.get("/fails?why=a+test").expect("an answer");
    let body = String::from_utf8_lossy(&failed.body).into_owned();
    assert!(failed.status == 500 && !body.contains("on purpose") && !body.contains("main.lua"), "{body}");
    assert_eq!(service.client().get("/leaks").expect("an answer").status, 500);
    assert_eq!(service.client().get("/bytes/3").expect("an answer").body, [0, 1, 2]);
    let ran = service.ends();
    let log = String::from_utf8_lossy(&ran.stderr).into_owned();
    for words in ["on purpose: a test", "main.lua:", "stack traceback", "leaked"] {
        assert!(log.contains(words), "no {words} in {log}");
    }
}

fn nonsense(place: Place) {
    let service = load(place, &[]);
    let mut client = service.client();
    for what in ["table", "status", "function", "nothing", "true"] {
        let answer = client.get(&format!("/nonsense?what={what}")).expect("an answer");
        assert_eq!(answer.status, 500, "{what}");
    }
    assert_eq!(client.get("/bytes/1").expect("an answer").body, [0]);
    let ran = service.ends();
    let log = String::from_utf8_lossy(&ran.stderr).into_owned();
    for words in ["the handler returned a table that is no answer", "statsu", "2000", "nothing", "a boolean"]
    {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
}

const STRANGERS: &str = r#"
local http = require "http"
local plain = assert(http.serve { listen = arg[1], handler = function() return "not TLS" end })
for i, name in ipairs { "good", "expired", "other" } do
  local tls = { cert = "/certs/" .. name .. ".pem", key = "/certs/" .. name .. ".key" }
  assert(http.serve { listen = arg[i + 1], tls = tls, handler = function() return "hello" end })
end
print "ready"
plain:wait()
"#;

/// Asks each of the ports that it is given: with the issuer as its roots, and then as everybody is asked.
const VISITOR: &str = r#"
local http = require "http"
for i = 2, #arg do
  local res, err = http.get("https://" .. arg[1] .. ":" .. arg[i] .. "/", { ca = "/certs/ca.pem", timeout = 10 })
  print(res and res.status, err)
end
print(http.get("https://" .. arg[1] .. ":" .. arg[3] .. "/", { timeout = 10 }))
"#;

/// The certificates of [`STRANGERS`], by an issuer of their own.
fn issued(names: &[&str]) -> PathBuf {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
    let dir = folder("issued");
    let mut issuer = CertificateParams::default();
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer_key = KeyPair::generate().expect("a key");
    let ca = issuer.self_signed(&issuer_key).expect("an issuer").pem();
    fs::write(dir.join("ca.pem"), ca).expect("a file");
    for (file, names, until) in
        [("good", names, 2040), ("expired", names, 2021), ("other", &["elsewhere.test"][..], 2040)]
    {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&issuer, &issuer_key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate").pem();
        fs::write(dir.join(format!("{file}.pem")), certificate).expect("a file");
        fs::write(dir.join(format!("{file}.key")), key.serialize_pem()).expect("a file");
    }
    dir
}

fn strangers(place: Place) {
    // As the VM sees this machine.
    let host = if place == Place::Host { "127.0.0.1" } else { "10.0.2.2" };
    let certificates = issued(&[host]);
    let ports: Vec<String> = (0..4).map(|_| free_port().port().to_string()).collect();
    let script = |name: &str, text: &str| crate::guests::file(name, text.as_bytes());
    let mut serve = vm(script("strangers.lua", STRANGERS)).on(Place::Host).flags(mounted(&certificates));
    for port in &ports {
        serve = serve.flags(["--listen", port]);
    }
    let serving = serve.args(ports.iter().map(|port| format!(":{port}"))).start();
    let serving = serving.until_it_prints("ready\n");
    let visit = vm(script("visitor.lua", VISITOR)).on(place).flags(mounted(&certificates));
    let visit = visit.flags(["--connect".to_owned(), format!("{host}:*")]);
    let ran = visit.args([host]).args(&ports).run().exits(0).stays_quiet();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let lines: Vec<_> = said.lines().collect();
    let other = format!("nil\ttls: certificate is for elsewhere.test, not for {host}");
    assert_eq!(
        lines,
        [
            "nil\ttls: the other side does not speak TLS",
            "200\tnil",
            "nil\ttls: certificate has expired",
            &other,
            "nil\ttls: unknown issuer",
        ]
    );
    drop(serving);
}

/// What it keeps for a next request that never comes keeps nobody waiting.
fn asks(place: Place) {
    let service = serve("http-json", "80", Place::Host, &[]);
    let host = if place == Place::Host { "127.0.0.1" } else { "10.0.2.2" };
    let upstream = format!("{host}:{}", service.at.port());
    let text = format!("print(require 'http'.get('http://{upstream}/items').body)");
    let script = crate::guests::file("asks.lua", text.as_bytes());
    let run = vm(script).on(place).flags(["--connect", &upstream]);
    run.start().wait(Duration::from_secs(20)).exits(0).prints("[]\n");
    service.ends();
}

/// The page's script must have connected, spoken, and heard itself.
fn browser(place: Place) {
    let service = serve("websocket-page", "80", place, &[]);
    let mut page = String::new();
    // The page is shown as it is when a time of its own is over, which does not wait for WebSockets.
    for budget in [4_000, 16_000, 64_000] {
        let profile = folder("profile");
        let mut chromium = Command::new("chromium");
        chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]);
        chromium.args([format!("--virtual-time-budget={budget}"), "--timeout=30000".into()]);
        chromium.arg(format!("--user-data-dir={}", profile.display()));
        page = text(chromium.arg(format!("http://{}/?say=from+a+browser", service.at)));
        if page.contains("from a browser") {
            break;
        }
    }
    assert!(page.contains("from a browser") && page.contains(">connected<"), "{page}");
    service.ends();
}
