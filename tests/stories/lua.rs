//! Lua scripts as whoever writes them meets them: what they are given, how they end, what is refused before anything boots,
//! and code that changes while it runs.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    Stories,
    clients::{Http, connect},
    guests::folder,
    servers::free_port,
    vm::{Place, Running, lunette, vm},
};

const TWO: [Place; 2] = [Place::Microvm, Place::Host];

pub(crate) fn stories(s: &mut Stories) {
    for place in Place::ALL {
        let on = |story: &str| format!("lua: {story} on {}", place.name());
        s.needs(on("hello"), place.lack(), move || hello(place));
    }
    for place in TWO {
        let on = |story: &str| format!("lua: {story} on {}", place.name());
        s.needs(on("arguments, variables and an exit code"), place.lack(), move || world(place));
        s.needs(on("modules beside a script and in lua_modules"), place.lack(), move || modules(place));
        s.needs(on("a folder and a bundle"), place.lack(), move || bundles(place));
        s.needs(on("input, line by line"), place.lack(), move || input(place));
        s.needs(on("an error with its traceback"), place.lack(), move || error(place));
        s.needs(on("what can't run is refused before it boots"), place.lack(), move || refusals(place));
        s.needs(on("a prompt"), place.lack(), move || prompt(place));
        s.needs(on("code changes, and what listens does not"), place.lack(), move || watch(place));
        s.needs(on("what `new` makes serves, and its test passes"), place.lack(), move || serves(place));
        s.needs(on("--watch and --repl are for scripts"), place.lack(), move || not_for_modules(place));
    }
    s.tells("lua: check tells of syntax, modules and names", check);
    s.tells("lua: inspect shows what a script requires", inspect);
    s.tells("lua: a prompt without a script", || {
        let ran = lunette(["repl"]).stdin("1 + 1\nrequire 'task' ~= nil\n").run().exits(0);
        let out = String::from_utf8_lossy(&ran.stdout);
        assert!(out.contains('2') && out.contains("true"), "{ran}");
    });
    for place in [Place::Microvm, Place::Pc] {
        let name = format!("lua: a prompt at the serial console on {}", place.name());
        s.needs(name, place.lack(), move || terminal(place));
    }
    s.tells("lua: `new` makes a folder to begin with, and takes away nothing", new);
    s.boots("lua: what `new` makes runs", || {
        let at = folder("new").join("moon");
        lunette(["new", "-t", "lua"]).args([&at]).run().exits(0);
        vm(&at).args(["moon"]).run().exits(0).prints("Hello, moon!\n").stays_quiet();
        vm(at.join("test.lua")).on(Place::Host).run().exits(0).prints("ok\n");
    });
}

/// A folder with these files.
fn files(all: &[(&str, &str)]) -> PathBuf {
    let dir = folder("lua");
    all.iter().for_each(|(name, text)| put(&dir, name, text));
    dir
}

fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// A script alone.
fn script(text: &str) -> PathBuf {
    files(&[("app.lua", text)]).join("app.lua")
}

fn hello(place: Place) {
    let app = script("#!/usr/bin/env lua\nprint('Hello from ' .. _VERSION, 7 // 2, 2^53 | 0)\n");
    vm(app).on(place).run().exits(0).prints("Hello from Lua 5.4\t3\t9007199254740992\n").stays_quiet();
}

fn world(place: Place) {
    let app =
        script("print(arg[0], arg[1], #arg, ...)\nprint(os.getenv 'WHO', os.getenv 'NOBODY')\nos.exit(7)");
    let run = vm(app).on(place).flags(["-e", "WHO=moon"]).args(["a b", "-x"]);
    run.run().exits(7).prints("app.lua\ta b\t2\ta b\t-x\nmoon\tnil\n").stays_quiet();
    vm(script("os.exit(false)")).on(place).run().exits(1);
    vm(script("io.write 'no line' os.exit(true, true)")).on(place).run().exits(0).prints("no line");
}

const MODULES: [(&str, &str); 5] = [
    ("app.lua", "print(require('util').name, require 'a.b', require('rock').name, pcall(require, 'absent'))"),
    ("util.lua", "return { name = 'util' }"),
    ("a/b.lua", "return ..."),
    ("lua_modules/share/lua/5.4/rock/init.lua", "return { name = require 'rock.inner' }"),
    ("lua_modules/share/lua/5.4/rock/inner.lua", "return 'rock'"),
];

fn modules(place: Place) {
    let dir = files(&MODULES);
    let ran = vm(dir.join("app.lua")).on(place).run().exits(0);
    let out = String::from_utf8_lossy(&ran.stdout);
    assert!(
        out.starts_with("util\ta.b\t") && out.contains("\trock\tfalse\tmodule 'absent' not found"),
        "{ran}"
    );
}

fn bundles(place: Place) {
    let dir = files(&MODULES);
    let bundle = dir.join("x.lunette");
    let app = dir.join("app.lua");
    lunette(["build".into(), "-o".into(), bundle.clone(), app]).run().exits(0);
    let packed = vm(&bundle).on(place).run().exits(0).stdout;
    put(&dir, "lunette.toml", "[app]\nmain = \"app.lua\"\n");
    vm(&dir).on(place).run().exits(0).prints(packed);
}

fn input(place: Place) {
    let app = script("for line in io.lines() do print(#line, line) end io.stderr:write('end\\n')");
    let ran = vm(app).on(place).stdin("one\n\nthree").run().exits(0);
    ran.prints("3\tone\n0\t\n5\tthree\n").says("end");
}

fn error(place: Place) {
    let app = script("local function f(x)\n  error('bad ' .. x)\nend\nprint('before')\nf('thing')\n");
    let ran = vm(app).on(place).run().exits(1).prints("before\n");
    ran.says("app.lua:2: bad thing").says("stack traceback:").says("app.lua:5:");
}

fn refusals(place: Place) {
    let dir = files(&[
        ("syntax.lua", "print('no')\nlocal = 3\n"),
        ("inner.lua", "print('no') require 'syntax'"),
        ("missing.lua", "print('no')\nlocal m = require 'no.such'"),
        ("rock.lua", "require 'crock'"),
        ("lua_modules/lib/lua/5.4/crock.so", "\x7fELF"),
        ("compiled.lua", "\x1bLuaT"),
        ("compiled.luac", "\x1bLuaT"),
    ]);
    let run = |name: &str| vm(dir.join(name)).on(place).run();
    run("syntax.lua")
        .refuses("syntax.lua:2")
        .says("<name> expected near '='")
        .says("   2 | local = 3\n     |       ^\n");
    run("inner.lua").refuses("syntax.lua:2");
    run("missing.lua").refuses("no.such").says("missing.lua:2").says("task");
    run("rock.lua").refuses("is in C");
    run("compiled.lua").refuses("bytecode");
    run("compiled.luac").refuses("bytecode");
    vm(files(&[("main.lua", "")])).on(place).run().refuses_with(126, "main.lua");
    let wants = files(&[
        ("app.lua", "print(1)"),
        ("lunette.toml", "[app]\nmain = \"app.lua\"\n[lua]\nbytecode = true\n"),
    ]);
    vm(&wants).on(place).run().refuses("bytecode").says("--allow-bytecode");
    vm(&wants).on(place).flags(["--allow-bytecode"]).run().exits(0).prints("1\n");
}

fn prompt(place: Place) {
    let app = script("x = 20\nfunction double(n) return 2 * n end\n");
    let typed = "double(x + 1)\nfor i = 1, 2 do\nprint('line', i)\nend\nnowhere.to.go()\nx\n";
    let ran = vm(app).on(place).flags(["--repl"]).stdin(typed).run().exits(0);
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(out.contains("42") && out.contains("line\t2") && out.contains("20"), "{ran}");
    ran.says("nowhere");
}

/// Each line when the one before is answered, as somebody types.
fn terminal(place: Place) {
    let app = script("x = 20\nfunction double(n) return 2 * n end\n");
    let mut terminal = vm(app).on(place).flags(["--repl"]).at_a_terminal();
    terminal.shows("> ");
    for (typed, answer) in
        [("double(x + 1)\r", "42"), ("for i = 1, 2 do\r", ">> "), ("print('no ' .. i) end\r", "no 2")]
    {
        terminal.types(typed);
        terminal.shows(answer);
        if answer != ">> " {
            terminal.shows("> ");
        }
    }
    // Ctrl-D.
    terminal.types("\x04");
    assert_eq!(terminal.ends(), 0);
}

const SERVER: &str = "
local net, task = require 'net', require 'task'
local version = require 'version'
local listener = assert(net.listen('tcp', ':80'))
print('ready')
for sock in listener:conns() do
  task.spawn(function()
    if sock:receive '*l' == 'slow' then task.sleep(2) end
    sock:send(version .. '\\n')
    sock:close()
  end)
end
";

/// A server whose files change.
struct Served {
    running: Running,
    at: std::net::SocketAddr,
    dir: PathBuf,
}

impl Served {
    fn change(&self, version: &str) {
        put(&self.dir, "version.lua", version);
    }

    fn ask(&self, word: &str) -> impl FnOnce() -> String + use<> {
        let mut stream = connect(self.at).unwrap_or_else(|e| panic!("a connection is refused: {e}"));
        writeln!(stream, "{word}").expect("asked");
        move || {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap_or_else(|e| panic!("an answer is lost: {e}"));
            answer.trim().to_owned()
        }
    }

    /// Asks until this is the answer; how long that took.
    fn until(&self, version: &str, others: &[&str]) -> Duration {
        let begun = Instant::now();
        loop {
            let answer = self.ask("now")();
            if answer == version {
                return begun.elapsed();
            }
            assert!(others.contains(&&*answer), "{answer:?}");
            assert!(begun.elapsed() < Duration::from_secs(20), "the code does not change");
        }
    }
}

fn watch(place: Place) {
    let dir = files(&[("server.lua", SERVER), ("version.lua", "return 'one'")]);
    let at = free_port();
    let run =
        vm(dir.join("server.lua")).on(place).flags(["--watch".to_owned(), "-p".into(), format!("{at}:80")]);
    let served = Served { running: run.start().until_it_prints("ready\n"), at, dir };
    served.until("one", &[]);

    let slow = served.ask("slow");
    served.change("return 'two'");
    let took = served.until("two", &["one"]);
    eprintln!("figure: {}: new code serves {} ms after it was written", place.name(), took.as_millis());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(slow(), "one", "what was under way is finished by the code that began it");

    // What is no Lua, and what fails when it is run, changes nothing.
    for bad in ["return 'three", "error 'broken'"] {
        served.change(bad);
        thread::sleep(Duration::from_millis(1000));
        assert_eq!(served.ask("now")(), "two", "{bad}");
    }
    served.change("return 'four'");
    served.until("four", &["two"]);
    served.running.signal(Signal::TERM);
    let ran = served.running.wait(Duration::from_secs(20)).exits(0);
    let ran = ran.says("lunette: reloaded in ").says("version.lua:1").says("the version before goes on");
    // What the VM says comes in pieces, and the CLI's own lines may stand between two of them.
    let own = ["error: the new code did not start", "help: its own error, on standard error, says why"];
    let own = own.into_iter().chain(["lunette: the version before goes on"]);
    let said = own.fold(String::from_utf8_lossy(&ran.stderr).into_owned(), |said, line| {
        said.replace(&format!("{line}\n"), "")
    });
    assert!(said.contains("broken"), "{ran}");
}

fn not_for_modules(place: Place) {
    let module = crate::guests::start("module", "(func (export \"_start\"))");
    for flag in ["--watch", "--repl"] {
        vm(&module).on(place).flags([flag]).run().refuses(flag);
    }
}

fn check() {
    let dir = files(&[
        ("good.lua", "local function f(x) return x end\nprint(f(1), undefined and 1)"),
        ("names.lua", "prnt('x')\nfunction f()\n  count = 1\nend"),
        ("lazy.lua", "if os.getenv 'X' then require 'nowhere' end"),
        ("bad.lua", "x = = 1"),
        ("missing.lua", "require 'nowhere'"),
    ]);
    let check = |name: &str| lunette(["check".into(), dir.join(name)]).run();
    check("good.lua").exits(0).stays_quiet();
    check("names.lua").exits(0).says("`prnt` (").says("names.lua:1").says("`count`").says("names.lua:3");
    check("lazy.lua").exits(0).says("warning: there is no module \"nowhere\"");
    check("bad.lua").refuses("bad.lua:1");
    check("missing.lua").refuses("nowhere");
    let ran = lunette(["check".into(), "-o".into(), "json".into(), dir.join("names.lua")]).run().exits(0);
    let told: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!(told["ok"], true);
    assert_eq!(told["warnings"].as_array().map(Vec::len), Some(2), "{told}");
}

fn inspect() {
    let dir = files(&MODULES);
    let ran = lunette(["inspect".into(), "-o".into(), "json".into(), dir.join("app.lua")]).run().exits(0);
    let told: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!(told["kind"], "script");
    let files = told["script"]["files"].as_array().expect("a list");
    assert_eq!((files.len(), &files[0]), (5, &Value::from("app.lua")), "{told}");
}

/// The template of a service, as its README has it used.
fn serves(place: Place) {
    let dir = folder("new").join("moon");
    lunette(["new", "--template", "lua-http"]).args([&dir]).run().exits(0);
    let check = lunette(["check"]).args([&dir]).run().exits(0);
    assert!(!String::from_utf8_lossy(&check.stderr).contains("warning"), "{check}");
    let at = free_port();
    let running = vm(&dir).on(place).flags(["-p".to_owned(), format!("{at}:80")]).start();
    let running = running.until_it_prints("moon: ready\n");
    let mut client = Http::new(at).expect("a connection");
    assert_eq!(client.get("/").expect("an answer").body, b"Hello from moon!\n");
    let hello = client.get("/hello/moon").expect("an answer");
    assert_eq!(hello.header("content-type"), Some("application/json"));
    assert_eq!(serde_json::from_slice::<Value>(&hello.body).expect("JSON")["hello"], "moon");
    assert_eq!(client.get("/nowhere").expect("an answer").status, 404);
    running.signal(Signal::TERM);
    running.wait(Duration::from_secs(20)).exits(0);
    if place == Place::Host {
        // Its own port may be somebody else's here.
        let port = free_port().port().to_string();
        let test = fs::read_to_string(dir.join("test.lua")).expect("a test");
        assert!(test.contains("8099"));
        put(&dir, "test.lua", &test.replace("8099", &port));
        let flags = ["--listen".to_owned(), port.clone(), "--connect".into(), format!("127.0.0.1:{port}")];
        vm(dir.join("test.lua")).on(place).flags(flags).run().exits(0).prints("ok\n");
    }
}

fn new() {
    let at = folder("new").join("moon");
    let ran = lunette(["new"]).run().exits(0);
    let list = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(list.contains("lua ") && list.contains("lua-http "), "{list}");
    lunette(["new".into(), "--template".into(), "lua-http".into(), at.clone()]).run().exits(0);
    for name in
        ["lunette.toml", "server.lua", "app.lua", "test.lua", "README.md", ".luarc.json", ".lunette/stubs"]
    {
        assert!(at.join(name).exists(), "{name}");
    }
    put(&at, "server.lua", "mine");
    lunette(["new".into(), at.clone()]).run().refuses("moon").says("nothing was changed");
    assert_eq!(fs::read_to_string(at.join("server.lua")).expect("a file"), "mine");
    lunette(["new", "-t", "cobol", "x"]).run().refuses("cobol").says("lua-http");
    lunette(["new", "a b"]).run().refuses("a b");
}
