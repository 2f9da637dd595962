//! VMs in the background: started, listed, read, stopped, taken away; and whatever is killed meanwhile.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, getsid, kill_process};
use serde_json::Value;

use crate::{
    Stories,
    ends::{sleep, spin},
    guests::{folder, guest, start, wat},
    vm::{Place, Ran, Run, lunette, vm},
};

pub(crate) fn stories(s: &mut Stories) {
    for place in [Place::Microvm, Place::Pc, Place::Q35] {
        let on = |story: &str| format!("background: {story} on {}", place.name());
        s.needs(on("a hello is started, read, and its code is kept"), place.lack(), move || hello(place));
        s.needs(on("one that sleeps, and one that spins, are stopped"), place.lack(), move || stopped(place));
    }
    s.boots("background: standard output and error are kept apart, and a trap is explained", apart);
    s.boots("background: a log is followed until the VM ends", followed);
    s.boots("background: a VM that can't begin is told at once, and leaves nothing", stillborn);
    s.boots("background: a VM that is killed at once", || {
        let yard = Yard::new();
        yard.begin(sleep(), ["--name", "one"]);
        yard.say(["stop", "-t", "0", "one"]).exits(0).prints("one\n").stays_quiet();
        assert_eq!(yard.look("one")["code"], 137);
    });
    s.boots("background: what runs is not taken away, unless by force", force);
    s.boots("background: a supervisor that is killed takes its VM along, and is missed", lost);
    s.boots("background: a hypervisor that is killed is a crash, and the log is there", crashed);
    s.boots("background: one name for ten that want it", clash);
    s.boots("background: it is of no terminal, and gets no input", || {
        let yard = Yard::new();
        yard.begin(sleep(), ["--name", "one"]);
        let supervisor = pid(&yard.look("one")["supervisor"]);
        assert_eq!(getsid(Some(supervisor)).expect("a session"), supervisor);
        yard.begin(guest("cat"), ["--name", "two"]);
        yard.say(["wait", "two"]).exits(0).prints("0\n");
    });
    s.boots("background: what can't be read is named, and can be taken away", unreadable);
    s.tells("background: VMs that are not there", || {
        let yard = Yard::new();
        yard.say(["ps", "-a"]).exits(0).prints("ID   NAME   APP   STATUS   PORTS\n");
        yard.say(["ps", "-o", "json"]).exits(0).prints("[]\n");
        for verb in ["logs", "stop", "rm", "wait"] {
            yard.say([verb, "nobody"]).refuses("there is no VM nobody");
        }
        yard.say(["inspect", "nobody"]).refuses_with(127, "no app and no VM nobody");
        yard.say(["run", "-d", "--name", "a/b", "x.wasm"]).exits(125).says("a name is letters");
        yard.say(["run", "--name", "a", "x.wasm"]).exits(125).says("--detach");
        yard.say(["run", "-d", "--host", "x.wasm"]).exits(125).says("--host");
    });
    s.tells("background: a place that can't be written is named", || {
        let app = guest("cat");
        let ran = lunette(["run", "-d"]).args([app]).env("LUNETTE_STATE", "/proc/nowhere").run();
        assert!([125].contains(&ran.code()), "{ran}");
    });
}

/// A place of one's own for VMs. What is left there in the end is killed.
pub(crate) struct Yard(PathBuf);

impl Yard {
    pub(crate) fn new() -> Self {
        Self(folder("state"))
    }

    fn run<I: IntoIterator<Item: Into<OsString>>>(&self, words: I) -> Run {
        lunette(words).env("LUNETTE_STATE", &self.0)
    }

    pub(crate) fn say<I: IntoIterator<Item: Into<OsString>>>(&self, words: I) -> Ran {
        self.run(words).run()
    }

    pub(crate) fn vm(&self, app: impl AsRef<Path>) -> Run {
        vm(app).flags(["-d"]).env("LUNETTE_STATE", &self.0)
    }

    /// Starts one, and gives its identifier.
    fn begin<I: IntoIterator<Item: Into<OsString>>>(&self, app: impl AsRef<Path>, flags: I) -> String {
        identifier(self.vm(app).flags(flags).run())
    }

    /// What `inspect` knows of it.
    pub(crate) fn look(&self, name: &str) -> Value {
        let shown = self.say(["inspect", "-o", "json", name]).exits(0).stays_quiet();
        serde_json::from_slice(&shown.stdout).expect("JSON")
    }

    fn list(&self) -> Vec<Value> {
        let shown = self.say(["ps", "-a", "-o", "json"]).exits(0).stays_quiet();
        serde_json::from_slice(&shown.stdout).expect("JSON")
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        let ids = self.run(["ps", "-aq"]).run().stdout;
        for id in String::from_utf8_lossy(&ids).lines() {
            self.run(["rm", "-f", id]).run();
        }
    }
}

#[track_caller]
fn identifier(ran: Ran) -> String {
    let ran = ran.exits(0);
    let id = String::from_utf8_lossy(&ran.stdout).trim_end().to_owned();
    assert!(id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{ran}");
    id
}

fn pid(value: &Value) -> Pid {
    value.as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("a process")
}

fn gone(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

/// The hypervisor of a supervisor.
fn hypervisor(supervisor: Pid) -> Pid {
    let pid = supervisor.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
    let child = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
    child.and_then(Pid::from_raw).expect("a hypervisor")
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not after 20 s");
        thread::sleep(Duration::from_millis(20));
    }
}

fn hello(place: Place) {
    let yard = Yard::new();
    let id = identifier(yard.vm(guest("cat")).on(place).args(["you"]).run().stays_quiet());
    yard.say(["wait", "cat"]).exits(0).prints("0\n").stays_quiet();
    yard.say(["logs", &id[..5]]).exits(0).prints("cat.wasm\0you\0").stays_quiet();
    let exit = start("exit", r#"(func (export "_start") (call $exit (i32.const 7)))"#);
    identifier(yard.vm(exit).on(place).run());
    yard.say(["wait", "exit"]).exits(0).prints("7\n");
    let list = yard.list();
    let seen: Vec<_> =
        list.iter().map(|vm| (vm["name"].as_str(), vm["how"].as_str(), vm["code"].as_i64())).collect();
    assert_eq!(seen, [(Some("exit"), Some("exited"), Some(7)), (Some("cat"), Some("exited"), Some(0))]);
    assert_eq!(list[1]["id"], *id);
    yard.say(["ps", "-q"]).exits(0).prints("");
    yard.say(["rm", "cat", "nobody", "exit"]).exits(125).prints("cat\nexit\n").says("there is no VM nobody");
    assert!(yard.list().is_empty());
}

fn stopped(place: Place) {
    let yard = Yard::new();
    for (name, app) in [("sleep", sleep()), ("spin", spin())] {
        identifier(yard.vm(app).on(place).run());
        assert_eq!(yard.look(name)["status"], "running");
    }
    let ran = yard.say(["stop", "sleep", "spin"]).exits(0).prints("sleep\nspin\n").stays_quiet();
    assert!(ran.took < Duration::from_secs(5), "too late\n{ran}");
    for name in ["sleep", "spin"] {
        let vm = yard.look(name);
        assert_eq!((&vm["how"], &vm["code"]), (&"stopped".into(), &143.into()), "{vm:#}");
        yard.say(["stop", name]).refuses("already stopped");
    }
}

fn apart() {
    let yard = Yard::new();
    let ticker = ticker(3, 1);
    yard.begin(&ticker, ["--name", "t"]);
    yard.say(["wait", "t"]).exits(0).prints("0\n");
    let logs = yard.say(["logs", "t"]).exits(0).prints("tick 0\ntick 1\ntick 2\n");
    assert_eq!(String::from_utf8_lossy(&logs.stderr), "tock\ntock\ntock\n");
    // Two pipes bring the two streams: which of them is read first is not said.
    let tail = yard.say(["logs", "--tail", "2", "t"]).exits(0);
    let (out, err) = (String::from_utf8_lossy(&tail.stdout), String::from_utf8_lossy(&tail.stderr));
    assert!("tick 0\ntick 1\ntick 2\n".ends_with(&*out) && "tock\ntock\ntock\n".ends_with(&*err), "{tail}");
    assert_eq!(out.lines().count() + err.lines().count(), 2, "{tail}");
    let json = yard.say(["logs", "-o", "json", "t"]).exits(0).stays_quiet();
    let records = String::from_utf8_lossy(&json.stdout).into_owned();
    let mut records = records.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    assert!(records.any(|record| record["stream"] == "stdout" && record["log"] == "tick 0\n"), "{json}");
    yard.vm(guest("traps")).args(["u"]).run().exits(0);
    yard.say(["wait", "traps"]).exits(0).prints("134\n");
    yard.say(["logs", "traps"]).exits(0).prints("").says("innermost").says("unreachable");
}

fn followed() {
    let yard = Yard::new();
    yard.begin(ticker(4, 400), ["--name", "t"]);
    let ran = yard.say(["logs", "-f", "t"]).exits(0).prints("tick 0\ntick 1\ntick 2\ntick 3\n");
    assert!(ran.took > Duration::from_millis(1000), "it did not wait\n{ran}");
    assert_eq!(yard.look("t")["status"], "ended");
    yard.say(["logs", "-f", "t"]).exits(0).prints(&ran.stdout);
}

fn stillborn() {
    let yard = Yard::new();
    let greedy = wat("greedy", r#"(module (memory (export "memory") 2000) (func (export "_start")))"#);
    yard.vm(&greedy).flags(["-m", "16M"]).run().refuses("greedy.wasm");
    let qemu = folder("bad").join("qemu-system-x86_64");
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && echo QEMU emulator version 9.0.0 && exit\n\
                  echo 'qemu: no such machine' >&2\nexit 1\n";
    fs::write(&qemu, script).expect("a script");
    fs::set_permissions(&qemu, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a script");
    let flags: [OsString; 2] = ["--qemu".into(), qemu.into()];
    yard.vm(sleep()).flags(flags).run().refuses("no such machine");
    assert!(yard.list().is_empty());
}

fn force() {
    let yard = Yard::new();
    let id = yard.begin(sleep(), ["--name", "one"]);
    let supervisor = pid(&yard.look("one")["supervisor"]);
    let machine = hypervisor(supervisor);
    yard.say(["ps", "-q"]).exits(0).prints(format!("{id}\n"));
    yard.say(["rm", "one"]).refuses("still runs");
    yard.vm(sleep()).flags(["--name", "one"]).run().refuses("a VM named one already");
    yard.say(["rm", "-f", "one"]).exits(0).prints("one\n").stays_quiet();
    assert!(gone(supervisor) && gone(machine) && yard.list().is_empty());
}

fn lost() {
    let yard = Yard::new();
    yard.begin(sleep(), ["--name", "one"]);
    let supervisor = pid(&yard.look("one")["supervisor"]);
    let machine = hypervisor(supervisor);
    kill_process(supervisor, Signal::KILL).expect("a supervisor");
    until("the VM is gone", || gone(machine));
    let vm = yard.look("one");
    assert_eq!((&vm["status"], &vm["how"], &vm["code"]), (&"ended".into(), &"lost".into(), &137.into()));
    yard.say(["ps"]).exits(0).prints("ID   NAME   APP   STATUS   PORTS\n");
    yard.say(["wait", "one"]).exits(0).prints("137\n");
    yard.say(["stop", "one"]).refuses("already stopped");
    yard.say(["rm", "one"]).exits(0);
    yard.begin(sleep(), ["--name", "one"]);
}

fn crashed() {
    let yard = Yard::new();
    yard.begin(ticker(100, 100), ["--name", "t"]);
    until("it said something", || !yard.say(["logs", "t"]).stdout.is_empty());
    let machine = hypervisor(pid(&yard.look("t")["supervisor"]));
    kill_process(machine, Signal::KILL).expect("a hypervisor");
    yard.say(["wait", "t"]).exits(0).prints("125\n");
    let logs = yard.say(["logs", "t"]).exits(0).says("killed by signal 9");
    assert!(logs.stdout.starts_with(b"tick 0\n"), "{logs}");
    assert_eq!(yard.look("t")["how"], "crashed");
}

fn clash() {
    let yard = Yard::new();
    let all: Vec<_> = (0..10).map(|_| yard.vm(guest("cat")).flags(["--name", "one"]).start()).collect();
    let all: Vec<_> = all.into_iter().map(|running| running.wait(Duration::from_secs(60))).collect();
    let (good, bad): (Vec<_>, Vec<_>) = all.into_iter().partition(|ran| ran.code() == 0);
    assert_eq!(good.len(), 1);
    bad.into_iter().for_each(|ran| drop(ran.refuses("a VM named one already")));
    assert_eq!(yard.list().len(), 1);
}

fn unreadable() {
    let yard = Yard::new();
    let bad = yard.begin(guest("cat"), ["--name", "bad"]);
    yard.begin(sleep(), ["--name", "good"]);
    yard.say(["wait", "bad"]).exits(0);
    fs::write(yard.0.join("vms").join(&bad).join("state.json"), "{").expect("its state");
    let shown = yard.say(["ps", "-a"]).exits(125).says(&bad).says("help: take it away");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("good"), "{shown}");
    yard.say(["logs", &bad]).refuses("can't be read");
    yard.say(["rm", "-f", &bad]).exits(0);
    assert_eq!(yard.list().len(), 1);
}

/// Says `tick N` and `tock` so often, and sleeps between.
fn ticker(count: u32, ms: u64) -> PathBuf {
    let nanos = ms * 1_000_000;
    wat(
        "ticker",
        &format!(
            r#"(module
          (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 512) "tick 0\n") (data (i32.const 520) "tock\n")
          (data (i32.const 600) "\00\02\00\00\07\00\00\00") (data (i32.const 608) "\08\02\00\00\05\00\00\00")
          (func (export "_start") (local $left i32)
            (i32.store (i32.const 16) (i32.const 1))
            (i64.store (i32.const 24) (i64.const {nanos}))
            (local.set $left (i32.const {count}))
            (loop $again
              (drop (call $write (i32.const 1) (i32.const 600) (i32.const 1) (i32.const 64)))
              (drop (call $write (i32.const 2) (i32.const 608) (i32.const 1) (i32.const 64)))
              (i32.store8 (i32.const 517) (i32.add (i32.load8_u (i32.const 517)) (i32.const 1)))
              (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))
              (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#
        ),
    )
}
