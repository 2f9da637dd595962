//! TLS in scripts: `net`'s, LuaSec's shape, and LuaSocket's HTTP over it.

use crate::world::{Ran, Stage};
use lunette_hostcalls::Grants;

/// Certificates by an issuer of their own, as globals of the script's: `ca`, `cert`, `key` (of `server.test` and
/// 127.0.0.1), `oldcert`, `oldkey` (of the same, but expired).
struct Certificates {
    ca: String,
    good: (String, String),
    expired: (String, String),
}

fn certificates() -> Certificates {
    let mut issuer = rcgen::CertificateParams::default();
    issuer.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (issuer.not_before, issuer.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2040, 1, 1));
    let issuer_key = rcgen::KeyPair::generate().unwrap();
    let ca = issuer.self_signed(&issuer_key).unwrap().pem();
    let issue = |until| {
        let names = vec!["server.test".to_owned(), "127.0.0.1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&issuer, &issuer_key);
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    Certificates { good: issue(2040), expired: issue(2025), ca }
}

fn run(text: &str) -> Ran {
    let mut stage = Stage::new();
    stage.grants = Grants {
        listen: vec!["443".parse().unwrap(), "25".parse().unwrap()],
        connect: vec!["*:*".parse().unwrap()],
        resolve: vec!["*".parse().unwrap()],
    };
    let local = vec!["127.0.0.1".parse().unwrap()];
    stage.world.net.name("server.test", 0, Ok(local.clone()));
    stage.world.net.name("other.test", 0, Ok(local));
    let Certificates { ca, good, expired } = certificates();
    let names =
        [("ca", &ca), ("cert", &good.0), ("key", &good.1), ("oldcert", &expired.0), ("oldkey", &expired.1)];
    let texts: String = names.iter().map(|(name, pem)| format!("{name} = [[\n{pem}]]\n")).collect();
    stage.run(&format!("local net, task = require 'net', require 'task'\n{texts}\n{text}"))
}

#[track_caller]
fn is(text: &str, expected: &str) {
    let ran = run(text);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), (expected, ""));
}

const SERVER: &str = "
    local l = assert(net.listen('tls', ':443', { cert = cert, key = key, alpn = { 'echo' } }))
    task.spawn(function() for c in l:conns() do task.spawn(function(c)
        for line in c:lines() do c:send(line:upper() .. '\\n') end
    end, c) end end)\n";

#[test]
fn a_dialled_connection_is_what_it_says() {
    is(
        &format!(
            "{SERVER} local c = assert(net.dial('tls', 'server.test:443', {{ ca = ca, alpn = {{ 'echo' }} }}))
             c:send('hello\\nthere\\n') print(c:receive()) print(c:dirty(), c:receive())
             print(c:info('protocol'), c:getalpn(), c:getpeername()) print(c:getpeercertificate():pem() == cert)
             local big = ('x'):rep(200000) task.spawn(function() c:send(big .. '\\n') end) print(c:receive() == big:upper())
             c:close() print(c:send('x')) l:close()"
        ),
        "HELLO\tnil\tnil\ntrue\tTHERE\tnil\tnil\nTLSv1.3\techo\t127.0.0.1\t443\tinet\ntrue\ntrue\nnil\tclosed\t0\n",
    );
}

#[test]
fn who_is_not_who_was_asked_for_is_refused_with_the_reason() {
    let ran = run(&format!(
        "{SERVER} print(net.dial('tls', 'other.test:443', {{ ca = ca }}))
         print(net.dial('tls', 'server.test:443'))
         print(net.dial('tls', 'other.test:443', {{ ca = ca, sni = 'server.test' }}) ~= nil)
         print(net.dial('tls', 'other.test:443', {{ verify = false }}) ~= nil)
         local old = assert(net.listen('tls', ':25', {{ cert = oldcert, key = oldkey }}))
         task.spawn(function() for c in old:conns() do task.spawn(function(c) print('server', c:receive()) end, c) end end)
         print(net.dial('tls', 'server.test:25', {{ ca = ca }}))
         print(net.listen('tls', ':25', {{ cert = cert, key = oldkey }}))
         print(pcall(net.listen, 'tls', ':25', {{ cert = cert }}))
         task.sleep(1) l:close() old:close()"
    ));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("nil\ttls: ") && lines[0].contains("other.test"), "{}", ran.out);
    assert!(lines[1].starts_with("nil\ttls: "), "{}", ran.out);
    assert_eq!(lines[2..4], ["true", "true"], "{}", ran.out);
    assert!(ran.out.contains("expired"), "{}", ran.out);
    assert!(ran.out.contains("false\tnet.listen: a cert needs its key"), "{}\n{}", ran.out, ran.err);
}

#[test]
fn a_client_that_says_nothing_holds_up_nobody_and_is_given_up() {
    is(
        &format!(
            "{SERVER} local silent = net.dial('tcp', '127.0.0.1:443')
             local c = assert(net.dial('tls', 'server.test:443', {{ ca = ca, timeout = 1 }})) c:send('x\\n') print(c:receive())
             silent:settimeout(60) local t = require 'socket'.gettime() print(silent:receive('*a'))
             print(require 'socket'.gettime() - t < 30) c:close() l:close()"
        ),
        "X\tnil\tnil\nnil\tclosed\t\ntrue\n",
    );
}

#[test]
fn a_connection_changes_to_tls_but_not_with_unread_bytes() {
    is(
        "local l = net.listen('tcp', ':25')
         task.spawn(function() for c in l:conns() do task.spawn(function(c)
             c:receive() c:send('ready\\n') local ok, err = c:tls { cert = cert, key = key }
             if not ok then print('server', err) return end c:send(c:receive() .. '!\\n') end, c) end end)
         local c = net.dial('tcp', 'server.test:25') c:send('starttls\\n') print(c:receive()) assert(c:tls { ca = ca })
         c:send('in secret\\n') print(c:receive())
         local d = net.dial('tcp', 'server.test:25') d:send('starttls\\nsmuggled\\n') print(d:receive())
         print((d:tls { ca = ca })) l:close()",
        "ready\tnil\tnil\nin secret!\tnil\tnil\n\
         server\ttls: there is unread data before the handshake\nready\tnil\tnil\nnil\n",
    );
}

#[test]
fn ssl_wraps_sockets_as_luasec_does() {
    is(
        "local socket, ssl = require 'socket', require 'ssl'
         local ctx = assert(ssl.newcontext { mode = 'server', protocol = 'any', certificate = cert, key = key })
         local l = assert(socket.bind('*', 443))
         task.spawn(function() for i = 1, 2 do
             local c = assert(ssl.wrap(l:accept(), ctx)) print(c:dohandshake()) print(c:getsniname()) c:send(c:receive() .. '\\n') c:close()
         end end)
         local tcp = socket.tcp() tcp:connect('127.0.0.1', 443)
         local c = assert(ssl.wrap(tcp, { mode = 'client', protocol = 'tlsv1_2', verify = 'peer', cafile = ca })) print(tcp:getfd())
         c:sni('server.test') print(c:dohandshake()) print(c:info().protocol, c:info('cipher') ~= nil)
         c:send('hi\\n') print(c:receive()) print(c:receive())
         tcp = socket.tcp() tcp:connect('127.0.0.1', 443) c = assert(ssl.wrap(tcp, { mode = 'client', protocol = 'any', verify = 'none' }))
         c:settimeout(0) print(c:dohandshake()) c:settimeout(5) print(c:dohandshake()) c:send('again\\n') print(c:receive('*a'))
         print(ssl.newcontext { mode = 'client', protocol = 'sslv3' }) print(ssl.newcontext { mode = 'server', protocol = 'any' })
         print(ssl.newcontext { mode = 'server', protocol = 'any', certificate = cert })",
        "-1\ntrue\nTLSv1.3\ttrue\ntrue\nserver.test\nhi\tnil\tnil\nnil\tclosed\t\nfalse\twantread\ntrue\ntrue\nnil\nagain\n\tnil\tnil\n\
         nil\tinvalid protocol (sslv3)\nnil\tno certificate assigned\nnil\ta certificate needs its key, and a key its certificate\n",
    );
}

#[test]
fn https_is_asked_by_luasockets_http() {
    is(
        "local https, http, ltn12 = require 'ssl.https', require 'socket.http', require 'ltn12'
         local l = assert(net.listen('tls', ':443', { cert = cert, key = key }))
         task.spawn(function() for c in l:conns() do task.spawn(function(c)
             local head = c:readuntil('\\r\\n\\r\\n') if not head then return end print(head:match('^[^\\r]+'))
             c:send('HTTP/1.1 200 OK\\r\\ncontent-length: 5\\r\\n\\r\\nhello') end, c) end end)
         local got = {} local ok, code = https.request { url = 'https://server.test/a', cafile = ca, sink = ltn12.sink.table(got) }
         print(ok, code, table.concat(got))
         got = {} print((http.request { url = 'https://server.test/b', cafile = ca, sink = ltn12.sink.table(got) })) print(table.concat(got))
         local err ok, err = https.request('https://server.test/c') print(ok, err:match('^tls: ')) l:close()",
        "GET /a HTTP/1.1\n1\t200\thello\nGET /b HTTP/1.1\n1\nhello\nnil\ttls: \n",
    );
}
