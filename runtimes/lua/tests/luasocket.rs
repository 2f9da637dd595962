//! LuaSocket: its own test programs, unmodified, and what they do not look at.

use crate::release;
use crate::world::{LIMITS, Stage, prints};
use lunette_hostcalls::{Ending, Grants};
use lunette_lua::start;

#[test]
fn the_vendored_lua_is_the_release() {
    let vendor = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vendor/luasocket");
    release::check(&vendor, "3.1.0", "", &[]);
}

/// A program of LuaSocket's.
macro_rules! program {
    ($name:literal) => {
        include_str!(concat!("../vendor/luasocket/3.1.0/test/", $name, ".lua"))
    };
}

/// Everything granted.
fn open_stage() -> Stage {
    let mut stage = Stage::new();
    stage.grants = Grants {
        listen: vec!["*".parse().unwrap(), "*/udp".parse().unwrap()],
        connect: vec!["*:*".parse().unwrap(), "*:*/udp".parse().unwrap()],
        resolve: vec!["*".parse().unwrap()],
    };
    stage
}

/// What the programs expect of a process: an end, and a standard error.
const PROCESS: &str = r#"
    os.exit = function(code) error("exit " .. tostring(code), 0) end
    io.stderr = { write = function(_, ...) print(table.concat({ ... })) end }
"#;

/// What is different in a LuaSocket that was compiled for its tests: calls also tell how long they took.
const DEBUG: &str = r#"
    local core = require "socket.core"
    core._DEBUG = true
    local connect, gettime = core.connect, core.gettime
    local function timed(method)
        return function(self, ...)
            local start = gettime()
            local a, b, c = method(self.sock, ...)
            return a, b, c, gettime() - start
        end
    end
    core.connect = function(...)
        local sock, err = connect(...)
        if not sock then return sock, err end
        return setmetatable({ sock = sock, send = timed(sock.send), receive = timed(sock.receive) }, {
            __index = function(self, name)
                return function(self, ...) return self.sock[name](self.sock, ...) end
            end,
        })
    end
"#;

#[test]
fn its_client_and_server_tests_pass_against_each_other() {
    let mut stage = open_stage();
    // The programs ask again and again until something has come.
    stage.pace = 1_000_000;
    let server = format!("{PROCESS}\n{}", program!("testsrvr"));
    let client = format!("{PROCESS}\n{DEBUG}\n{}", program!("testclnt"));
    let mut server = start("testsrvr.lua", server.as_bytes(), stage.ctx(), stage.time(), LIMITS).unwrap();
    let ran = stage.run_beside(&client, |executor| {
        executor.spawn(async move {
            server.run().await;
            None
        })
    });
    let ran = ran.unwrap();
    assert!(ran.out.contains("testing: done in "), "{}\n{}", ran.out, ran.err);
    assert!(!ran.out.contains("WARNING"), "{}", ran.out);
    assert!(!ran.out.contains("ERROR"), "{}", ran.out);
    assert_eq!(ran.ending, Ending::Exited(0), "{}", ran.err);
}

/// Runs a program of its own in a process of its own.
#[track_caller]
fn passes(program: &str, last: &str) {
    // These write files, or read those that lie beside them.
    let support = program!("testsupport");
    let process = format!("{PROCESS}\narg = {{'5061'}}\ndofile = function() load([==[{support}]==])() end");
    let ran = open_stage().run(&format!("{process}\n{program}"));
    assert_eq!(ran.ending, Ending::Exited(0), "{}\n{}", ran.out, ran.err);
    assert!(ran.out.trim_end().ends_with(last), "{}", ran.out);
}

#[test]
fn its_programs_for_one_pass() {
    passes(program!("test_bind"), "done!");
    passes(program!("test_getaddrinfo"), "done!");
    passes(program!("excepttest"), "OK");
    passes(program!("stufftest"), "ok");
    passes(program!("urltest"), "the library passed all tests");
    passes(program!("ltn12test"), "ok");
}

#[test]
fn a_refused_connection_is_found_by_select() {
    let ran = open_stage().run(&format!("{PROCESS}\n{}", program!("test_socket_error")));
    assert_eq!(ran.out, "Passed! Error is 'connection refused'.\n", "{}", ran.err);
}

#[track_caller]
fn is(text: &str, expected: &str) {
    let ran = open_stage().run(&format!("local socket, task = require 'socket', require 'task'\n{text}"));
    assert_eq!((ran.out.as_str(), ran.err.as_str()), (expected, ""));
}

#[test]
fn errors_are_in_its_words() {
    is(
        "print(socket.connect('10.0.2.15', 1))
         print(socket.connect('nowhere.example', 80))
         print(socket.connect('10.0.2.15', 'http'))
         print(socket.dns.toip('nowhere.example'))
         local s = socket.tcp() s:settimeout(0.5) print(s:connect('10.9.9.9', 80)) s:close()
         print(s:getsockname()) print(s:getpeername())
         local l = assert(socket.bind('*', 80)) print(socket.bind('*', 80))
         print(socket.tcp4():getpeername())",
        "nil\tconnection refused\nnil\thost or service not provided, or not known\n\
         nil\tservice not supported for socket type\nnil\thost not found\nnil\ttimeout\n\
         nil\tBad file descriptor\nnil\tBad file descriptor\nnil\taddress already in use\n\
         nil\tTransport endpoint is not connected\n",
    );
}

#[test]
fn misuse_raises_its_messages() {
    is(
        "local function why(f, ...) local ok, e = pcall(f, ...) print(ok, (tostring(e):gsub('^.-:%d+: ', ''))) end
         local s = socket.tcp()
         why(s.receive, s) why(s.settimeout, s, 1, 'x') why(s.setoption, s, 'nonsense') why(s.connect, s)
         why(socket.select, 'wrong') why(s.setoption, s, 'linger', 1) why(socket.sleep)",
        "false\tcalling 'receive' on bad self (tcp{client} expected)\n\
         false\tbad argument #2 to 'settimeout' (invalid timeout mode)\n\
         false\tbad argument #1 to 'setoption' (unsupported option `nonsense')\n\
         false\tbad argument #1 to 'connect' (string expected, got no value)\n\
         false\tbad argument #1 to 'select' (table expected, got string)\n\
         false\tbad argument #2 to 'setoption' (table expected, got number)\n\
         false\tbad argument #1 to 'sleep' (number expected, got no value)\n",
    );
}

#[test]
fn objects_are_of_its_classes() {
    is(
        "local m, l = socket.tcp(), assert(socket.bind('127.0.0.1', 7)) local c = assert(socket.connect('127.0.0.1', 7))
         local u = socket.udp() print(m.class, l.class, c.class, u.class) u:setpeername('10.0.0.9', 5) print(u.class)
         print((tostring(m):gsub('0x%x+', 'P')), (tostring(l):gsub('0x%x+', 'P')), type(c))
         print(c:getpeername()) print(l:getsockname()) print(c:getfamily(), m:getfd(), c:getfd() > 2)
         print(c:gettimeout()) print(c:settimeout(2.5), c:settimeout(4, 't')) print(c:gettimeout())
         print(socket.skip(2, 1, 2, 'c'), socket._DATAGRAMSIZE, socket.BLOCKSIZE, require 'mime'._VERSION)",
        "tcp{master}\ttcp{server}\ttcp{client}\tudp{unconnected}\nudp{connected}\n\
         tcp{master}: P\ttcp{server}: P\tuserdata\n127.0.0.1\t7\tinet\n127.0.0.1\t7\tinet\ninet4\t-1\ttrue\n\
         -1.0\t-1.0\n1\t1\n2.5\t4.0\nc\t8192\t2048\tMIME 1.0.3\n",
    );
}

#[test]
fn select_waits_for_several_and_for_objects_with_a_socket_inside() {
    is(
        "local l = assert(socket.bind('127.0.0.1', 7))
         task.spawn(function() task.sleep(1) local c = assert(socket.connect('127.0.0.1', 7)) c:send('ab') task.sleep(9) end)
         local t = socket.gettime() local r, w, e = socket.select({ l }, nil, 5)
         print(r[1] == l, r[l], #w, e, socket.gettime() - t < 1.1)
         local c = l:accept() local wrapped = { getfd = function() return c:getfd() end, dirty = function() return c:dirty() end }
         r, w, e = socket.select({ l, wrapped }, { c }, 5) print(#r, r[wrapped] or 'no', w[c], e)
         print(c:receive(1), c:dirty()) r = socket.select({ wrapped }, nil, 5) print(r[1] == wrapped)
         print(c:receive(1)) t = socket.gettime() r, w, e = socket.select({ c }, nil, 0.25)
         print(#r, #w, e, socket.gettime() - t)
         print(select('#', socket.select({ c }, { c }, 0)))",
        "true\t1\t0\tnil\ttrue\n0\tno\t1\tnil\na\ttrue\ntrue\nb\tnil\tnil\n0\t0\ttimeout\t0.25\n2\n",
    );
}

#[test]
fn a_line_has_no_carriage_returns_but_those_that_it_was_begun_with() {
    is(
        "local l = assert(socket.bind('127.0.0.1', 7)) local c = assert(socket.connect('127.0.0.1', 7)) local s = l:accept()
         c:send('\\ra\\r') task.sleep(1) c:settimeout(0) s:settimeout(1) local _, why, part = s:receive('*l', 'p\\r')
         c:send('\\rb\\r\\n\\nc') print(why, ('%q %q %q'):format(part, (s:receive('*l', part)), (s:receive())), (s:receive(1)))",
        "timeout\t\"p\\13a\" \"p\\13ab\" \"\"\tc\n",
    );
}

#[test]
fn protected_code_can_wait() {
    is(
        "local f = socket.protect(function() local try = socket.newtry(function() print('finally') end)
             socket.sleep(1) try(nil, 'gone') end)
         print(f()) print(pcall(socket.protect(function() error({}) end)) == false)",
        "finally\nnil\tgone\ntrue\n",
    );
}

#[test]
fn its_http_asks_a_server() {
    is(
        "local http, ltn12 = require 'socket.http', require 'ltn12'
         local l = assert(socket.bind('127.0.0.1', 80))
         task.spawn(function() for c in l:conns() do
             local head = c:readuntil('\\r\\n\\r\\n') print(head:match('^[^\\r]+'))
             c:send('HTTP/1.1 200 OK\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n5\\r\\nhello\\r\\n0\\r\\n\\r\\n') c:close()
         end end)
         local body, code = http.request('http://localhost/there?x=1') print(body, code)
         l:close()",
        "GET /there?x=1 HTTP/1.1\nhello\t200\n",
    );
}

#[test]
fn mime_filters_are_its_own() {
    assert_eq!(
        prints(
            "local mime, ltn12 = require 'mime', require 'ltn12'
             print((mime.b64('diego:password'))) print(mime.unb64('ZGllZ286cGFzc3dvcmQ=')) print(mime.b64('ab', 'c'))
             print((mime.qp('ma\\xe7\\xe3 = \\r\\n'))) print((mime.unqp('ma=3D=\\r\\n x'))) print((mime.eol(0, 'a\\nb\\r\\nc\\r', '|')))
             print((mime.wrp(4, 'abcdefgh', 4))) print((mime.dot(2, '.a\\r\\n.b')))"
        ),
        "ZGllZ286cGFzc3dvcmQ=\ndiego:password\tnil\nYWJj\t\nma=E7=E3 =3D=20\r\n\nma= x\na|b|c|\nabcd\r\nefgh\n..a\r\n..b\n",
    );
}

/// Thousands of inputs, and a sum of all the answers.
const FILTERS: &str = r##"
local mime = require "mime.core"
local seed, sum = 1, 5381
local function random(n) seed = (seed * 1103515245 + 12345) % 2147483648 return (seed >> 16) % n end
local alphabet = "aZ0=+/ \t\r\n.\0\200EdD9-\r\n= \n"
local function text()
    local t = {}
    for i = 1, random(12) do local at = random(#alphabet) + 1 t[i] = alphabet:sub(at, at) end
    return table.concat(t)
end
local function add(...)
    for i = 1, select("#", ...) do
        local s = select(i, ...)
        s = type(s) == "number" and ("%d"):format(s) or tostring(s)
        for j = 1, #s do sum = (sum * 33 + s:byte(j)) % 4294967296 end
        sum = (sum * 33 + 7) % 4294967296
    end
end
for _ = 1, 5000 do
    local a, b = text(), random(3) > 0 and text() or nil
    for _, name in ipairs { "b64", "unb64", "unqp" } do add(name, mime[name](a, b)) end
    add(mime.qp(a, b)) add(mime.qp(a, b, "=0D=0A"))
    add(mime.wrp(random(6), a, 5)) add(mime.wrp(random(6), nil, 5)) add(mime.qpwrp(random(6), a, 5)) add(mime.qpwrp(random(6), nil, 5))
    add(mime.eol(({ 0, 10, 13 })[random(3) + 1], a, "|")) add(mime.dot(random(3), a))
end
print(sum)
"##;

#[test]
fn mime_filters_answer_as_its_own_do() {
    // As LuaSocket 3.1.0 itself summed them up.
    assert_eq!(prints(FILTERS), "807754023\n");
}
