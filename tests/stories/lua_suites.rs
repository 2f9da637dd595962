//! What others test Lua with, and scripts that ask for too much: in the machine, and as processes. The same lists are run in
//! the fake world by the tests of `runtimes/lua`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::{
    Stories,
    guests::folder,
    vm::{Place, Ran, vm},
};

#[path = "../lua_suites.rs"]
mod known;

const TWO: [Place; 2] = [Place::Microvm, Place::Host];

/// Suites that `tests/lua/fetch` fetches.
const FETCHED: [(&str, u32); 2] = [("luaunit", 206), ("penlight", 231)];

/// LuaSocket's programs that need no other: what they say at last.
const SOCKET: [(&str, &str); 6] = [
    ("test_bind", "done!"),
    ("test_getaddrinfo", "done!"),
    ("excepttest", "OK"),
    ("stufftest", "ok"),
    ("urltest", "the library passed all tests"),
    ("ltn12test", "ok"),
];

pub(crate) fn stories(s: &mut Stories) {
    let limits = list(&here("lua/limits"), "lua");
    assert!(limits.len() > 10, "{limits:?}");
    for place in TWO {
        let on = |story: &str| format!("lua suites: {story} on {}", place.name());
        for path in limits.clone() {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            s.needs(on(&format!("too much: {name}")), place.lack(), move || limit(place, &path));
        }
        for (name, count) in known::MODULES {
            s.needs(on(name), place.lack(), move || module(place, shortened(), name, count));
        }
        s.needs(on("lpeg"), place.lack(), move || module(place, shortened(), "lpeg", 1));
        for (name, count) in FETCHED {
            let lua = here("lua");
            let lack = if lua.join("fetched").join(name).is_dir() { None } else { Some("not fetched") };
            s.needs(on(name), place.lack().or(lack), move || module(place, &lua, name, count));
        }
        for (name, last) in SOCKET {
            s.needs(on(&format!("luasocket's {name}")), place.lack(), move || socket(place, name, last));
        }
        for name in known::names(&here(OFFICIAL)) {
            s.needs(on(&format!("Lua's own {name}")), place.lack(), move || official(place, &name));
        }
    }
}

const OFFICIAL: &str = "../runtimes/lua/tests/lua-suite";

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files of a folder with this ending, in order.
fn list(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    files.sort();
    files
}

/// A script that says of itself what it is given and how it ends (`tests/lua/limits/README.md`).
fn limit(place: Place, path: &Path) {
    let text = fs::read_to_string(path).expect("a script");
    let told = |key: &'static str| {
        let head = text.lines().map_while(|line| line.strip_prefix("-- "));
        head.filter_map(move |line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::to_owned)
    };
    let mut run = vm(path).on(place);
    for (key, flag) in [("memory", "-m"), ("timeout", "--timeout"), ("fuel", "--fuel")] {
        run = told(key).fold(run, |run, value| run.flags([flag.to_owned(), value]));
    }
    if place != Place::Host {
        run = told("vm").fold(run, |run, words| run.args(words.split(' ')));
    }
    let ran = run.run();
    let prints: String = told("prints").map(|line| line + "\n").collect();
    // Whoever is stopped is stopped by its runtime, which says so; the hypervisor is not.
    let ran = match told("ends").next().expect("an end").as_str() {
        "time" => ran.exits(124).says("was stopped: its time of"),
        "fuel" => ran.exits(124).says("was stopped: its fuel was used up"),
        code => ran.exits(code.parse().expect("an exit code")),
    };
    let ran = ran.prints(prints);
    let ran = told("says").fold(ran, |ran, words| ran.says(&words));
    if ran.code() == 0 {
        ran.stays_quiet();
    }
}

/// The suite of a module.
fn module(place: Place, bundle: &Path, name: &str, count: u32) {
    let ran = vm(bundle).on(place).args([name]).run().exits(0);
    has_line(&ran, &format!("{name}: {count} passed, 0 failed"));
}

fn has_line(ran: &Ran, line: &str) {
    let out = String::from_utf8_lossy(&ran.stdout);
    // What a suite prints by itself may end without a new line.
    assert!(out.lines().any(|told| told.ends_with(line)), "no {line:?}\n{ran}");
}

/// `tests/lua` with LPeg's own test, and less of what a slow machine takes minutes for: lua-cjson's program makes a million
/// characters for a test that is left out (its other half is made by Perl).
fn shortened() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let to = folder("lua-suites");
        for name in ["lunette.toml", "main.lua", "suites.lua", "system.lua", "vendor"] {
            copy(&here("lua").join(name), &to.join(name));
        }
        let cjson = to.join("vendor/cjson/tests/test.lua");
        let text = fs::read_to_string(&cjson).expect("lua-cjson's test");
        let short = text.replacen("for high = 0xD800, 0xDBFF do", "for high = 0xD800, 0xD800 do", 1);
        assert_ne!(text, short, "lua-cjson's test makes no surrogates");
        fs::write(&cjson, short).expect("room");
        fs::create_dir_all(to.join("fetched/lpeg")).expect("a folder");
        copy(&here("../runtimes/lua/vendor/lpeg/1.1.0/test.lua"), &to.join("fetched/lpeg/test.lua"));
        to
    })
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    }
}

fn socket(place: Place, name: &str, last: &str) {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let bundle = MADE.get_or_init(|| {
        let to = folder("luasocket");
        copy(&here("../runtimes/lua/vendor/luasocket/3.1.0/test"), &to);
        let main = "local name = arg[1]\narg = { '5061' }\nassert(loadfile(name .. '.lua'))()\n";
        fs::write(to.join("main.lua"), main).expect("room");
        let manifest = "[app]\nmain = \"main.lua\"\n[network]\nlisten = [\"*\", \"*/udp\"]\nconnect = [\"*:*\", \"*:*/udp\"]\n\
            resolve = [\"*\"]\n";
        fs::write(to.join("lunette.toml"), manifest).expect("room");
        to
    });
    let ran = vm(bundle).on(place).args([name]).run().exits(0);
    assert!(String::from_utf8_lossy(&ran.stdout).trim_end().ends_with(last), "no {last:?}\n{ran}");
}

/// One of the official tests.
fn official(place: Place, name: &str) {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let bundle = MADE.get_or_init(|| {
        let to = folder("official");
        for (name, text) in known::files(&here(OFFICIAL)) {
            fs::write(to.join(name), text).expect("room");
        }
        // No names of its own, and no arguments: the tests look at both.
        fs::write(to.join("app.lua"), known::main("table.remove(arg)")).expect("room");
        fs::write(to.join("lunette.toml"), "[app]\nmain = \"app.lua\"\n[lua]\nbytecode = true\n")
            .expect("room");
        to
    });
    // One of them makes bytecode, and one wants a PATH.
    let flags = ["--allow-bytecode", "-m", "512MiB", "-e", "PATH=/bin"];
    vm(bundle).on(place).flags(flags).args([name]).run().exits(0);
}
