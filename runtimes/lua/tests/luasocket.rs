//! LuaSocket: its own test programs, unmodified, and what they do not look at.

mod world;

use lunette_hostcalls::{Ending, Grants};
use lunette_lua::start;
use world::{LIMITS, Stage, prints};

#[path = "../../../tests/vendored.rs"]
mod vendored;

#[test]
fn the_vendored_lua_is_the_release() {
    let vendor = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vendor/luasocket");
    vendored::check(&vendor, "3.1.0", "", &[]);
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
    io.stderr = { write = function(_, ...) print(...) end }
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
    let stage = open_stage();
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

#[track_caller]
fn passes(program: &str, last: &str) {
    let ran = open_stage().run(&format!("{PROCESS}\narg = {{'9999'}}\n{program}"));
    assert_eq!(ran.ending, Ending::Exited(0), "{}\n{}", ran.out, ran.err);
    assert!(ran.out.trim_end().ends_with(last), "{}", ran.out);
}

#[test]
fn its_programs_for_one_pass() {
    passes(program!("test_bind"), "done!");
    passes(program!("test_getaddrinfo"), "done!");
    passes(program!("excepttest"), "OK");
    passes(program!("stufftest"), "ok");
    passes(program!("urltest"), "ok");
    passes(program!("ltn12test"), "ok");
}

#[test]
fn prints_something() {
    assert_eq!(prints("print(require 'socket'._VERSION)"), "LuaSocket 3.1.0\n");
}
