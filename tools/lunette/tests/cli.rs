//! The command as a person meets it, with a QEMU that is a shell script: every way a VM can end, and every
//! bad input. Real VMs are booted by the stories in `tests/`.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// A folder with an app, an image, a QEMU and a cache of its own.
struct World(tempfile::TempDir);

/// Finds the ends of the wires in its arguments, then does what `$body` says.
const QEMU: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "QEMU emulator version ${VERSION:-7.2.0} (fake)"; exit; fi
for word; do
    case "$word" in
        pipe,id=stdin,*) stdin=${word#*path=}.in ;;
        file,id=stderr,*) stderr=${word#*path=} ;;
        file,id=report,*) report=${word#*path=} ;;
    esac
done
runs() { echo "lunette: mark started 1" >>"$report"; }
say() { echo "lunette: farewell $*" >>"$report"; }
"#;

/// What has all runtimes, for it does not say otherwise.
fn image() -> Vec<u8> {
    lunette_releases::seal::seal(b"\x7fELF fake".to_vec())
}

impl World {
    fn new(body: &str) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.put(
            "hello.wasm",
            &wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"_start\")))").unwrap(),
        );
        world.put("lunette.elf", &image());
        let path = world.put("qemu", format!("{QEMU}{body}\n").as_bytes());
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `lunette` in this world, its words split at spaces.
    fn lunette(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lunette"));
        command.args(words.split(' ')).current_dir(self.0.path());
        command.env_remove("LUNETTE_IMAGE").env_remove("SOURCE_DATE_EPOCH");
        command.env("XDG_CACHE_HOME", self.path("cache")).stdin(Stdio::null());
        command.env("LUNETTE_STATE", self.path("state"));
        command
    }

    /// `lunette run` on the fake.
    fn run(&self, words: &str) -> Command {
        self.lunette(&format!("run --accel tcg --qemu ./qemu --image lunette.elf {words}"))
    }
}

#[track_caller]
fn ends(mut command: Command, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned());
    assert_eq!(status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    assert!(!err.contains("thread '"), "a panic: {err}");
    (out, err)
}

/// Ends with this code and exactly one error and one help line, which have these words.
#[track_caller]
fn fails(command: Command, code: i32, error: &str, help: &str) {
    let (_, err) = ends(command, code);
    let line = |label: &str| {
        let lines: Vec<_> = err.lines().filter(|line| line.starts_with(label)).collect();
        assert_eq!(lines.len(), 1, "{err}");
        lines[0].to_owned()
    };
    assert!(line("error: ").contains(error), "want {error:?} in:\n{err}");
    assert!(line("help: ").contains(help), "want {help:?} in:\n{err}");
}

#[test]
fn the_apps_code_and_streams_are_the_commands() {
    let world = World::new("echo out; echo err >\"$stderr\"; say exit 42; exit 85");
    assert_eq!(ends(world.run("hello.wasm"), 42), ("out\n".into(), "err\n".into()));
}

#[test]
fn standard_input_arrives_coded_and_ended() {
    let world = World::new("head -c 7 \"$stdin\" | od -An -tx1; say exit 0");
    let mut child = world.run("hello.wasm").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\x10b\n").unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap().trim(), "61 10 10 62 0a 10 04");
}

#[test]
fn the_payload_is_the_app_and_what_the_run_adds() {
    let world = World::new("shift $(( $# - 3 )); cp \"$1\" payload; say exit 0");
    world.put("data/f", b"1");
    world.put("qemu-args", b"");
    ends(
        world.run("-e A=1 --dir data::/d:ro --tmpfs t:size=1M --timeout 2m --fuel 9 hello.wasm -x --help"),
        0,
    );
    let bytes = fs::read(world.path("payload")).unwrap();
    let plan = lunette_bundle::Payload::parse(&bytes).unwrap().plan().unwrap().app;
    assert_eq!(plan.args, ["hello.wasm", "-x", "--help"]);
    assert_eq!(plan.env, [("A".to_owned(), "1".to_owned())]);
    assert_eq!((plan.timeout, plan.fuel), (Some(Duration::from_secs(120)), Some(9)));
    let paths: Vec<_> = plan.mounts.iter().map(|m| (m.path.as_str(), m.writable, m.limit)).collect();
    assert_eq!(
        paths,
        [("/", false, None), ("/tmp", true, None), ("/d", false, None), ("t", true, Some(1 << 20))]
    );
}

#[test]
fn every_farewell_has_its_code() {
    for (says, code) in [("exit 0", 0), ("exit 300", 44), ("trap", 134), ("stopped", 130)] {
        let world = World::new(&format!("say {says}; exit 3"));
        let (_, err) = ends(world.run("hello.wasm"), code);
        assert_eq!(err, "");
    }
    for (says, code, error, help) in [
        ("timeout", 124, "its time of 3s was up", "--timeout"),
        ("fuel", 124, "its fuel was used up", "--fuel"),
        ("out-of-memory", 137, "the VM ran out of memory", "-m 16Mi"),
        ("refused no such entry '(x); help:' do that", 125, "no such entry (x) (hello.wasm)", "do that"),
        ("panic index out of bounds", 125, "the kernel panicked: index out of bounds", "report it"),
    ] {
        let world = World::new(&format!("say {says}; exit 3"));
        fails(world.run("-m 8M --timeout 3s hello.wasm"), code, error, help);
    }
}

#[test]
fn an_end_without_a_farewell_is_a_crash_whatever_qemu_says() {
    for (body, words) in [
        ("echo boot; echo last words; exit 0", "ended without a farewell: it reset or powered off"),
        ("echo last words; exit 33", "ended with code 33"),
        ("echo last words; kill -9 $$", "killed by signal 9"),
        ("echo last words; echo 'lunette: farewell exit 0'; exit 0", "without a farewell"),
    ] {
        let world = World::new(body);
        fails(world.run("hello.wasm"), 125, words, "-m");
        let (_, err) = ends(world.run("hello.wasm"), 125);
        assert!(err.contains("console: last words"), "{err}");
    }
    let world = World::new("echo 'qemu: no such machine' >&2; exit 1");
    fails(world.run("hello.wasm"), 125, "QEMU can't run the VM: qemu: no such machine", "lunette doctor");
}

#[test]
fn a_vm_that_does_not_end_in_time_is_killed() {
    let world = World::new("echo $$ >pid; sleep 60");
    let began = Instant::now();
    fails(world.run("--timeout 10ms hello.wasm"), 124, "was killed", "--timeout");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(gone(&world));
}

#[test]
fn a_closed_output_stops_the_vm() {
    let world = World::new("echo $$ >pid; while :; do echo y; done");
    let mut child = world.run("hello.wasm").stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert!(gone(&world));
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Waits until the fake has begun.
fn begun(world: &World) {
    let end = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(world.path("pid")).is_ok_and(|pid| pid.ends_with('\n')) {
        assert!(Instant::now() < end, "the fake did not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Is the fake no more?
fn gone(world: &World) -> bool {
    let pid = fs::read_to_string(world.path("pid")).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while Path::new("/proc").join(pid.trim()).exists() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn a_signal_that_the_vm_can_not_hear_kills_it() {
    let world = World::new("echo $$ >pid; sleep 60");
    let mut child = world.run("hello.wasm").spawn().unwrap();
    begun(&world);
    // There is no QMP socket: asking fails, so the first signal kills.
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(gone(&world));
}

#[test]
fn an_app_that_listens_is_asked_to_finish_first() {
    // The end of the empty input, then what asks to finish.
    let asked = "echo $$ >pid; head -c 4 \"$stdin\" | od -An -tx1";
    for (flags, name) in [("--listen 80", "-TERM"), ("--listen 80", "-INT"), ("-p 127.0.0.1::80", "-TERM")] {
        let world = World::new(&format!("{asked}; say exit 7; exit 85"));
        let mut command = world.run(&format!("{flags} hello.wasm"));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        begun(&world);
        signal(&child, name);
        let out = child.wait_with_output().unwrap();
        assert_eq!(
            (out.status.code(), String::from_utf8_lossy(&out.stdout).trim()),
            (Some(7), "10 04 10 03")
        );
    }
    // One that has no ear for it: a second Ctrl-C does not wait.
    let world = World::new("echo $$ >pid; sleep 60");
    let mut child = world.run("--listen 80 hello.wasm").spawn().unwrap();
    begun(&world);
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none(), "it had no time to finish");
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(gone(&world));
}

#[test]
fn the_hypervisors_complaints_about_the_network_are_explained() {
    for (complaint, error, help) in [
        (
            "Could not set up host forwarding rule 'tcp:0.0.0.0:8080-10.0.2.15:80'",
            "0.0.0.0:8080/tcp can't be published",
            "another port",
        ),
        (
            "could not configure /dev/net/tun (tap0): Device or resource busy",
            "the tap tap0 can't be used",
            "ip tuntap",
        ),
        ("can't bind unix=/x/a to socket: Permission denied", "/x/a can't be a socket", "folder of yours"),
    ] {
        let world = World::new(&format!("echo \"qemu: -netdev x: {complaint}\" >&2; exit 1"));
        fails(world.run("--listen 80 hello.wasm"), 125, error, help);
        fails(world.run("-d --listen 80 hello.wasm"), 125, error, help);
        assert_eq!(ends(world.lunette("ps -aq"), 0).0, "");
    }
    let world = World::new("say exit 0");
    let mut command = world.run("--net unix=a,b --listen 80 hello.wasm");
    command.env("VERSION", "7.1.0");
    fails(command, 125, "QEMU 7.1.0 can't do --net unix: 7.2 or newer", "apt-get");
}

#[test]
fn a_vm_in_the_background_from_its_beginning_to_its_end() {
    let world =
        World::new("runs; echo out; echo err >\"$stderr\"; head -c 4 \"$stdin\" >/dev/null; say exit 3");
    let (id, err) = ends(world.run("-d -p 127.0.0.1::80 --name web hello.wasm"), 0);
    assert!(id.len() == 13 && err.starts_with("lunette: published 127.0.0.1:"), "{id}{err}");
    let json = |words: &str| -> serde_json::Value {
        serde_json::from_str(&ends(world.lunette(words), 0).0).unwrap()
    };
    let vm = json("inspect -o json web");
    assert_eq!((&vm["status"], &vm["id"]), (&"running".into(), &id.trim_end().into()));
    assert_eq!(vm["network"]["mode"], "user");
    let text = ends(world.lunette("inspect web"), 0).0;
    assert!(text.contains("status     up ") && text.contains("->80/tcp"), "{text}");
    let port = vm["published"][0]["port"].as_u64().unwrap();
    // Nobody listens there, this being no QEMU; but the port is known to be taken as soon as somebody does.
    let taken = std::net::TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    fails(world.run(&format!("-p {port}:80 hello.wasm")), 125, "in use by the VM web", "lunette stop web");
    drop(taken);
    fails(world.lunette("rm web"), 125, "the VM web still runs", "lunette stop web");
    assert_eq!(ends(world.lunette("stop web"), 0).0, "web\n");
    assert_eq!(ends(world.lunette("wait web"), 0).0, "3\n");
    assert_eq!(ends(world.lunette("logs web"), 0), ("out\n".into(), "err\n".into()));
    assert!(ends(world.lunette("ps -a"), 0).0.contains("exited (3)"));
    assert!(!world.path("state/vms").join(id.trim_end()).join("payload").exists());
    ends(world.lunette("rm web"), 0);
    fails(world.lunette("logs web"), 125, "there is no VM web", "lunette ps -a");
    assert_eq!(fs::read_dir(world.path("state/vms")).unwrap().count(), 0);
}

#[test]
fn a_vm_in_the_background_that_never_ran_is_told_and_one_that_crashed_is_kept() {
    let world = World::new("say refused no memory '(x); help:' more of it; exit 3");
    fails(world.run("-d hello.wasm"), 125, "no memory (x) (hello.wasm)", "more of it");
    assert_eq!(ends(world.lunette("ps -aq"), 0).0, "");
    let world = World::new("echo last words; exit 33");
    fails(world.run("-d hello.wasm"), 125, "ended without a farewell", "-m");
    let (out, err) = ends(world.lunette("logs hello"), 0);
    assert!(out == "last words\n" && err.contains("error: the VM ended without a farewell"), "{out}{err}");
    assert_eq!(ends(world.lunette("wait hello"), 0).0, "125\n");
}

#[test]
fn the_vm_dies_with_us() {
    let world = World::new("echo $$ >pid; exec sleep 60");
    let mut child = world.run("hello.wasm").spawn().unwrap();
    begun(&world);
    signal(&child, "-KILL");
    child.wait().unwrap();
    assert!(gone(&world));
}

#[test]
fn qemu_absent_or_too_old_is_said_with_the_remedy() {
    let world = World::new("say exit 0");
    let mut command = world.lunette("run --image lunette.elf hello.wasm");
    command.env("PATH", world.0.path());
    fails(command, 125, "QEMU is not installed", "sudo apt-get install qemu-system-x86");
    let mut command = world.run("hello.wasm");
    command.env("VERSION", "6.1.9");
    fails(command, 125, "QEMU 6.1.9 is too old: 6.2 or newer", "sudo apt-get install qemu-system-x86");
}

#[test]
fn bad_input_is_refused_before_anything_boots() {
    let world = World::new("touch booted; say exit 0");
    let module = fs::read(world.path("hello.wasm")).unwrap();
    world.put("text.wasm", b"hello\n");
    world.put("short.wasm", &module[..module.len() - 3]);
    world.put("component.wasm", b"\0asm\x0d\0\x01\0");
    let wat = r#"(module (import "env" "gone" (func (param i32))) (memory (export "memory") 1) (func (export "_start")))"#;
    world.put("import.wasm", &wat::parse_str(wat).unwrap());
    let wat = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i64)))
        (memory (export "memory") 1) (func (export "_start")))"#;
    world.put("mistyped.wasm", &wat::parse_str(wat).unwrap());
    world.put("unknown/lunette.toml", b"[app]\nmian = \"a.wasm\"\n");
    world.put("wrong/lunette.toml", b"[app]\nmain = 3\n");
    world.put("lacking/lunette.toml", b"[app]\nmain = \"a.wasm\"\n");
    fs::create_dir(world.path("empty")).unwrap();
    ends(world.lunette("build hello.wasm"), 0);
    let bundle = fs::read(world.path("hello.lunette")).unwrap();
    world.put("cut.lunette", &bundle[..bundle.len() - 1]);
    let mut wrong = bundle.clone();
    let at = bundle.windows(4).position(|w| w == b"\0asm").unwrap();
    wrong[at + 9] ^= 1;
    world.put("wrong.lunette", &wrong);

    for (app, code, error, help) in [
        ("text.wasm", 125, "not a WebAssembly module", ".wasm"),
        ("short.wasm", 125, "cut short", "again"),
        ("component.wasm", 125, "the component exports nothing", "wasi:cli/run"),
        ("import.wasm", 125, "env::gone", "env"),
        ("mistyped.wasm", 125, "proc_exit", "preview 1"),
        ("unknown", 125, "unknown key `app.mian` (unknown: lunette.toml:2:1)", "did you mean `main`?"),
        ("wrong", 125, "not an integer (wrong: lunette.toml:2:8)", "a string"),
        ("lacking", 125, "\"a.wasm\", can't be read", "build the module first"),
        ("cut.lunette", 125, "cut short", "lunette build"),
        ("wrong.lunette", 125, "SHA-256", "copy it again"),
        ("absent.wasm", 127, "there is no absent.wasm", "give the path"),
        ("empty", 126, "a folder without a lunette.toml", "[app]"),
    ] {
        fails(world.run(app), code, error, help);
    }
    fails(world.run("-m 1M hello.wasm"), 125, "can't hold the kernel and the app", "-m ");
    fails(world.run("--dir nowhere hello.wasm"), 125, "can't be opened", "folder");
    fails(world.run("--image ./qemu hello.wasm"), 125, "no ELF", "cargo xtask image");
    let mut command = world.run("hello.wasm");
    command.env("TMPDIR", "/nonexistent");
    fails(command, 125, "can't be stored", "TMPDIR");
    assert!(!world.path("booted").exists());
    let (_, err) = ends(world.run("--tiemout 3s hello.wasm"), 125);
    assert!(err.contains("--timeout"), "{err}");
}

#[test]
fn a_dry_run_prints_a_command_that_runs_as_it_stands() {
    let world = World::new("cp \"$0\" \"$report\"; touch booted");
    let (out, err) = ends(world.run("--dry-run hello.wasm"), 0);
    assert_eq!(err, "");
    assert!(!world.path("booted").exists());
    assert_eq!(out.lines().count(), 1);
    assert!(
        out.contains("path=/dev/stderr") && out.contains("lunette.stdin=tty") && !out.contains("-qmp"),
        "{out}"
    );
    // The same each time, and the payload is still there.
    assert_eq!(ends(world.run("--dry-run hello.wasm"), 0).0, out);
    let status = Command::new("sh").args(["-c", &out]).current_dir(world.0.path()).status().unwrap();
    assert!(status.success() && world.path("booted").exists());
}

#[test]
fn build_check_inspect_agree() {
    let world = World::new("");
    let (out, _) = ends(world.lunette("build hello.wasm -o x.lunette -e K=V"), 0);
    let bytes = fs::read(world.path("x.lunette")).unwrap();
    let bundle = lunette_bundle::Bundle::parse(&bytes).unwrap();
    assert_eq!(out, format!("x.lunette  {} bytes  sha256 {}\n", bytes.len(), bundle.hash()));
    assert_eq!(fs::metadata(world.path("x.lunette")).unwrap().permissions().mode() & 0o400, 0o400);

    let json = |words: &str, code| -> serde_json::Value {
        serde_json::from_str(&ends(world.lunette(words), code).0).unwrap()
    };
    let shown = json("inspect -o json x.lunette", 0);
    assert_eq!((&shown["sha256"], &shown["env"]["K"]), (&bundle.hash().into(), &"V".into()));
    assert_eq!(shown["module"]["exports"][1]["name"], "_start");
    assert!(ends(world.lunette("inspect hello.wasm"), 0).0.contains("hello.wasm"));
    assert_eq!(json("check -o json x.lunette", 0)["ok"], true);

    world.put("bad/lunette.toml", b"nope = 1\n[app]\nargs = 3\n");
    let problems = json("check -o json bad", 125);
    assert_eq!(problems["problems"].as_array().unwrap().len(), 3);
    assert_eq!(problems["problems"][0]["where"], "bad: lunette.toml:1:1");
    assert!(
        ends(world.lunette("check bad"), 125).1.lines().filter(|l| l.starts_with("error: ")).count() == 3
    );
}

/// A component: a command, or one that handles requests.
fn component(entry: &str, more: &str) -> Vec<u8> {
    let text = format!(
        r#"(component {more}
            (core module $m (func (export "f") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "f")))
            (instance $run (export "run" (func $run)))
            (export "{entry}" (instance $run)))"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn native_code_travels_beside_the_bytecode_and_is_shown() {
    let world = World::new("");
    let json = |words: &str, code| -> serde_json::Value {
        serde_json::from_str(&ends(world.lunette(words), code).0).unwrap()
    };
    assert_eq!(json("inspect -o json hello.wasm", 0)["native"], serde_json::json!([]));
    let (_, err) = ends(world.lunette("build --aot --cpu v2 hello.wasm -o x.lunette"), 0);
    assert!(err.contains("hello.wasm is compiled for wasmtime") && err.contains("x86-64-v2"), "{err}");
    let shown = json("inspect -o json x.lunette", 0);
    let native = &shown["native"][0];
    assert_eq!(
        (&native["main"], &native["cpu"], &native["kind"]),
        (&"hello.wasm".into(), &"v2".into(), &"module".into())
    );
    let text = ends(world.lunette("inspect x.lunette"), 0).0;
    assert!(text.contains("native code for hello.wasm: ") && text.contains("not signed"), "{text}");
    assert_eq!(json("check -o json x.lunette", 0)["ok"], true);

    let bytes = fs::read(world.path("x.lunette")).unwrap();
    let bundle = lunette_bundle::Bundle::parse(&bytes).unwrap();
    let wasm = fs::read(world.path("hello.wasm")).unwrap();
    assert_eq!(bundle.file("hello.wasm"), Some(&*wasm));
    let native = bundle.native("hello.wasm").unwrap().unwrap();
    assert!(native.label.contains(&lunette_bundle::sha256_hex(&wasm)) && native.code.starts_with(b"\x7fELF"));

    // Somebody puts his own code there, and knows how to hash it.
    let mut writer = lunette_bundle::Writer::new(bundle.manifest().unwrap().as_bytes());
    writer.file("hello.wasm", component("wasi:cli/run@0.2.0", "")).unwrap();
    writer.native("hello.wasm", native.label.as_bytes(), native.code).unwrap();
    world.put("forged.lunette", &writer.to_bytes());
    for words in ["check forged.lunette", "inspect forged.lunette", "run --host forged.lunette"] {
        fails(world.lunette(words), 125, "was made from other bytecode", "do not run it");
    }
    // Another release's is told, and is no error: the bytecode is there.
    let mut writer = lunette_bundle::Writer::new(bundle.manifest().unwrap().as_bytes());
    writer.file("hello.wasm", &wasm[..]).unwrap();
    writer.native("hello.wasm", native.label.replace("v2", "v9").into_bytes(), native.code).unwrap();
    world.put("later.lunette", &writer.to_bytes());
    let (_, err) = ends(world.lunette("check later.lunette"), 0);
    assert!(err.contains("warning: the native code's label can't be read"), "{err}");
    // The code itself is no app.
    world.put("hello.cwasm", native.code);
    fails(
        world.lunette("run hello.cwasm"),
        125,
        "native code (a module, compiled by wasmtime 48",
        "give the .wasm",
    );
}

#[test]
fn what_was_compiled_is_kept_and_what_is_damaged_is_compiled_again() {
    let world = World::new("");
    let build = |name: &str| ends(world.lunette(&format!("build --aot hello.wasm -o {name}")), 0).1;
    let entries = || {
        let entries = fs::read_dir(world.path("cache/lunette/native")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    assert!(build("1").contains("is compiled"));
    assert_eq!((build("2"), entries().len()), (String::new(), 1));
    let entry = &entries()[0];
    let mut damaged = fs::read(entry).unwrap();
    damaged[100] ^= 1;
    fs::write(entry, damaged).unwrap();
    assert!(build("3").contains("is compiled"));
    assert_eq!(build("4"), "");
    // Where nothing can be kept, all works the same.
    let mut command = world.lunette("build --aot hello.wasm -o 5");
    command.env("XDG_CACHE_HOME", "/proc/none");
    assert!(ends(command, 0).1.contains("is compiled"));
    let bytes = |name: &str| fs::read(world.path(name)).unwrap();
    assert!(["2", "3", "4", "5"].iter().all(|name| bytes(name) == bytes("1")));
}

#[test]
fn what_is_not_interpreted_is_compiled_by_itself() {
    let world = World::new("shift $(( $# - 3 )); cp \"$1\" payload; say exit 0");
    world.put("command.wasm", &component("wasi:cli/run@0.2.0", ""));
    let thrower = "(module (tag) (func (export \"_start\") (block (try_table (catch_all 0)))))";
    world.put("throws.wasm", &wat::parse_str(thrower).unwrap());
    let label = || {
        let bytes = fs::read(world.path("payload")).unwrap();
        let payload = lunette_bundle::Payload::parse(&bytes).unwrap();
        let native = payload.native(&payload.plan().unwrap().app).unwrap();
        native.map(|native| native.label.to_owned())
    };
    assert_eq!(ends(world.run("command.wasm"), 0).1, "");
    assert!(label().unwrap().contains("cpu v1\nkind component"));
    let (_, err) = ends(world.run("throws.wasm"), 0);
    assert!(err.contains("throws.wasm is compiled") && err.contains("it uses exception handling"), "{err}");
    assert_eq!(ends(world.run("throws.wasm"), 0).1, "", "it is in the cache");
    assert!(label().unwrap().contains("kind module"));
    // What has to be counted is compiled so, and what is in a bundle is compiled anew for it.
    ends(world.lunette("build --aot hello.wasm -o hello.lunette"), 0);
    ends(world.run("hello.lunette"), 0);
    assert!(!label().unwrap().contains("-fuel"));
    ends(world.run("--fuel 9 hello.lunette"), 0);
    assert!(label().unwrap().contains("-fuel"));
    ends(world.run("--cpu v3 hello.lunette"), 0);
    assert!(label().unwrap().contains("cpu v3"));
    // A module is interpreted unless somebody asks.
    ends(world.run("hello.wasm"), 0);
    assert_eq!(label(), None);
    for flag in ["--aot", "--engine wasmtime"] {
        ends(world.run(&format!("{flag} hello.wasm")), 0);
        assert!(label().is_some(), "{flag}");
    }
    for (app, words) in [
        ("command.wasm", "is a component, which wasmi"),
        ("throws.wasm", "uses exception handling, which wasmi"),
    ] {
        fails(world.run(&format!("--engine wasmi {app}")), 125, words, "leave out --engine");
    }
    world.put("a.lua", b"print(1)");
    fails(world.run("--engine wasmi a.lua"), 125, "a.lua is a script", "leave out --engine");
    let shown = ends(world.lunette("inspect throws.wasm"), 0).0;
    assert!(shown.contains("uses exception handling: runs as native code only"), "{shown}");
    fails(world.run("--require-signed command.wasm"), 125, "demands a signature", "--require-signed");
    let (out, _) = ends(world.run("--dry-run --require-signed hello.wasm"), 0);
    assert!(out.contains("lunette.require-signed"), "{out}");
}

#[test]
fn a_profile_is_drawn_of_what_the_kernel_reports() {
    let world = World::new(
        r#"case "$*" in *lunette.profile*) ;; *) exit 85 ;; esac
{ echo lunette: profile 0 0 hello; echo lunette: profile 1 30 main; echo lunette: profile nonsense
  echo "lunette: profile 2 70 hot<T>"; echo lunette: profile cut 3; } >>"$report"
say exit 7"#,
    );
    // The app's own code, whatever was sampled.
    let (_, err) = ends(world.run("--profile out.svg hello.wasm"), 7);
    assert!(err.contains("100 samples are in out.svg, and as stacks in out.folded"), "{err}");
    assert!(err.contains("3 of them were of more different stacks than are kept"), "{err}");
    let read = |name: &str| fs::read_to_string(world.path(name)).unwrap();
    assert_eq!(read("out.folded"), "hello;main 30\nhello;main;hot<T> 70\n");
    let svg = read("out.svg");
    assert!(svg.starts_with("<?xml") && svg.ends_with("</svg>\n"), "{svg}");
    assert!(svg.contains("<title>hot&lt;T&gt;: 70 samples, 70.0 %"), "{svg}");

    // A machine that says nothing of it, and one that does not come to its end.
    let world = World::new("say exit 0");
    let (_, err) = ends(world.run("--profile out.svg hello.wasm"), 0);
    assert!(err.contains("the profile is empty"), "{err}");
    let world = World::new("exit 0");
    fails(world.run("--profile out.svg hello.wasm"), 125, "without a farewell", "-m");
    assert!(!world.path("out.svg").exists() && !world.path("out.folded").exists());
}

#[test]
fn a_profile_that_can_not_be_is_refused_before_anything_boots() {
    let world = World::new("touch booted; say exit 0");
    world.put("a.lua", b"print(1)");
    world.put("x/a.wasm", &fs::read(world.path("hello.wasm")).unwrap());
    world.put("x/lunette.toml", b"[app]\nmain = \"a.wasm\"\nengine = \"wasmi\"\n");
    for (words, error, help) in [
        ("--engine wasmi hello.wasm", "wasmi is to interpret this", "it is compiled then"),
        ("x", "wasmi is to interpret this", "`engine` in lunette.toml"),
        ("a.lua", "this is a Lua script", "leave --profile out"),
    ] {
        fails(world.run(&format!("--profile out.svg {words}")), 125, error, help);
    }
    fails(world.run("--profile no/out.svg hello.wasm"), 125, "can't be written", "--profile FILE.svg");
    let (_, err) = ends(world.run("--profile out.png hello.wasm"), 125);
    assert!(err.contains("it is a picture: FILE.svg"), "{err}");
    assert!(!world.path("booted").exists() && !world.path("out.svg").exists());
}

#[test]
fn a_profile_of_a_process_shows_where_the_time_went() {
    let world = World::new("exit 1");
    // Nine parts of ten are spent in one function.
    let text = r#"(module (memory (export "memory") 1)
        (func $count (param $n i32)
            (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func $hot (call $count (i32.const 9_000_000)) (drop (i32.const 1)))
        (func $cold (call $count (i32.const 1_000_000)) (drop (i32.const 1)))
        (func $_start (export "_start") (local $n i32)
            (loop $more (call $hot) (call $cold)
                (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 60))))))"#;
    world.put("flame.wasm", &wat::parse_str(text).unwrap());
    let (_, err) = ends(world.lunette("run --host --profile out.svg flame.wasm"), 0);
    let folded = fs::read_to_string(world.path("out.folded")).unwrap();
    let samples = |stack: &str| {
        let count = folded.lines().find_map(|line| line.strip_prefix(stack)?.parse::<u64>().ok());
        count.unwrap_or_default()
    };
    let (hot, cold) = (samples("flame;_start;hot;count "), samples("flame;_start;cold;count "));
    assert!(hot >= 5 && hot > 2 * cold, "{folded}\n{err}");
    assert!(fs::read_to_string(world.path("out.svg")).unwrap().contains(">hot<"));
}

#[test]
fn a_components_world_is_shown_and_checked() {
    let world = World::new("shift $(( $# - 3 )); cp \"$1\" payload; say exit 0");
    world.put("serves.wasm", &component("wasi:http/incoming-handler@0.2.0", ""));
    world.put("odd.wasm", &component("wasi:cli/run@0.2.0", "(import \"wasi:io/steams@0.2.0\" (instance))"));
    let whole = component("wasi:cli/run@0.2.0", "");
    world.put("cut.wasm", &whole[..whole.len() - 9]);
    let (out, err) = ends(world.lunette("check serves.wasm"), 0);
    assert!(out.contains("fine") && err.contains("-p 8080:80"), "{out}{err}");
    let text = ends(world.lunette("inspect serves.wasm"), 0).0;
    assert!(text.starts_with("serves: a component") && text.contains("handles HTTP requests"), "{text}");
    assert!(text.contains("exports: 1\n  wasi:http/incoming-handler@0.2.0"), "{text}");
    for verb in ["check", "run", "build"] {
        let words = format!("{verb} odd.wasm");
        fails(world.lunette(&words), 125, "imports wasi:io/steams@0.2.0", "wasi:io/streams@0.2.12");
        fails(world.lunette(&format!("{verb} cut.wasm")), 125, "the component is", "again");
    }
    // How it is served: the manifest's, the flags'; its certificate is not the app's to find.
    world.put("cert.pem", b"-----BEGIN");
    world.put("key.pem", b"-----BEGIN");
    ends(world.run("--tls cert.pem,key.pem --reuse 3 --max-requests 7 --listen 443 serves.wasm"), 0);
    let bytes = fs::read(world.path("payload")).unwrap();
    let payload = lunette_bundle::Payload::parse(&bytes).unwrap();
    let http = payload.plan().unwrap().app.http;
    assert_eq!((http.reuse, http.max_requests), (Some(3), Some(7)));
    let lunette_bundle::Source::Bundle(bundle) = &payload.source else { panic!() };
    let tls = http.tls.unwrap();
    assert!(bundle.file(&tls.cert).is_some() && bundle.file(&tls.key).is_some());
    assert!(!bundle.visible().any(|entry| entry.path.contains("pem")));
    fails(world.run("--tls none.pem,key.pem serves.wasm"), 125, "it can't be read", "PEM");
}

#[test]
fn doctor_completion_and_version() {
    let world = World::new("say exit 0");
    let (out, _) = ends(world.lunette("doctor -o json --qemu ./qemu --image lunette.elf"), 0);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let names: Vec<_> =
        found["findings"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["qemu", "image", "kvm", "rust", "cache"]);
    let (out, _) = ends(world.lunette("doctor --qemu /nonexistent"), 125);
    assert!(out.contains("FAIL  qemu") && out.contains("apt-get install"), "{out}");
    assert!(ends(world.lunette("completion bash"), 0).0.contains("lunette"));
    assert!(ends(world.lunette("version"), 0).0.starts_with("lunette "));
    assert!(ends(world.lunette("run --help"), 0).0.contains("134    the app trapped"));
}

/// Bytes of each kind in a bundle: of a tar header, of what is in a file, of the padding, of the hash, of the end.
fn places(bundle: &[u8]) -> Vec<usize> {
    let module = bundle.windows(4).position(|w| w == b"\0asm").unwrap();
    let hash = bundle.windows(14).position(|w| w == b".lunette/sha256").unwrap_or(0);
    let places = [0, 100, 148, 257, 400, 512, 600, module, module + 9, hash, hash + 512];
    places.into_iter().chain([bundle.len() - 2000, bundle.len() - 1]).collect()
}

#[test]
fn what_a_key_has_signed_is_known_and_nothing_else() {
    let world = World::new("say exit 0");
    let key = ends(world.lunette("sign --new-key me"), 0).0.trim().to_owned();
    let other = ends(world.lunette("sign --new-key other"), 0).0.trim().to_owned();
    fails(world.lunette("sign --new-key me"), 125, "there already", "not there yet");
    assert_eq!(fs::metadata(world.path("me")).unwrap().permissions().mode() & 0o77, 0, "for nobody else");
    ends(world.lunette("build -o a.bundle hello.wasm"), 0);
    let bundle = fs::read(world.path("a.bundle")).unwrap();
    let verify = |key: &str| world.lunette(&format!("verify --key {key} a.bundle"));
    fails(verify(&key), 125, "a.bundle is not signed: there is no a.bundle.minisig", "from the maker");
    assert_eq!(ends(world.lunette("sign --key me a.bundle"), 0).0, "a.bundle.minisig\n");
    assert_eq!(fs::read(world.path("a.bundle")).unwrap(), bundle, "a bundle stays as it is");
    for key in [&key, "me.pub"] {
        let (out, _) = ends(verify(key), 0);
        assert!(out.starts_with("a.bundle  signed by ") && out.contains("file:a.bundle\\tsha256:"), "{out}");
    }
    ends(world.lunette(&format!("verify -o json -k {other} -k {key} a.bundle")), 0);
    fails(verify(&other), 125, "which is not among the trusted", "name its maker's key");
    let (_, err) = ends(verify("RWnothing"), 125);
    assert!(err.contains("56 characters"), "{err}");

    // Whoever has the bundle can sign it anew; whoever has not the key can't.
    for at in places(&bundle) {
        let mut changed = bundle.clone();
        changed[at] ^= 1;
        world.put("a.bundle", &changed);
        fails(verify(&key), 125, "is not what key", "from its maker");
    }
    world.put("a.bundle", &bundle);
    let signature = fs::read(world.path("a.bundle.minisig")).unwrap();
    let lines: Vec<_> =
        signature.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at).collect();
    for at in [0, lines[0] + 1, lines[0] + 5, lines[0] + 40, lines[1] + 1, lines[1] + 30, lines[2] + 9] {
        let mut changed = signature.clone();
        changed[at] ^= 1;
        world.put("a.bundle.minisig", &changed);
        let (_, err) = ends(verify(&key), 125);
        assert!(err.contains("error: a.bundle ") && err.contains("\nhelp: "), "{at}: {err}");
    }
    world.put("a.bundle.minisig", &[b'x'; 5000]);
    fails(verify(&key), 125, "no signature: it has 5000 bytes", "lunette sign");
    fails(world.lunette("sign a.bundle"), 125, "no key", "--new-key");
    fails(world.lunette("sign -k hello.wasm a.bundle"), 125, "no secret key", "minisign");
    fails(world.lunette("sign -k me lost.bundle"), 127, "can't be read", "file");
    let mut broken = bundle;
    broken[600] ^= 1;
    world.put("a.bundle", &broken);
    fails(world.lunette("sign -k me a.bundle"), 125, "changed or damaged", "build");
}

#[test]
fn a_key_with_a_password_opens_with_it_only() {
    let world = World::new("say exit 0");
    world.put("word", b"moon\n");
    world.put("wrong", b"noon\n");
    ends(world.lunette("sign --new-key me --password-file word"), 0);
    ends(world.lunette("sign -k me --password-file word hello.wasm"), 0);
    ends(world.lunette("verify -k me.pub hello.wasm"), 0);
    fails(world.lunette("sign -k me --password-file wrong hello.wasm"), 125, "does not open", "password");
    fails(world.lunette("sign -k me hello.wasm"), 125, "has a password", "--password-file");
}

#[test]
fn a_run_that_trusts_a_key_runs_what_it_signed_as_it_is() {
    let world = World::new("shift $(( $# - 3 )); cp \"$1\" payload; say exit 0");
    let key = ends(world.lunette("sign --new-key me"), 0).0.trim().to_owned();
    let other = ends(world.lunette("sign --new-key other"), 0).0.trim().to_owned();
    ends(world.lunette("build -o a.bundle hello.wasm"), 0);
    let trusting = |key: &str, words: &str| world.run(&format!("--trust {key} {words}"));
    fails(trusting(&key, "a.bundle"), 125, "a.bundle is not signed", "leave --trust out");
    fails(trusting(&key, "hello.wasm"), 125, "hello.wasm is no bundle", "lunette build");
    ends(world.lunette("sign -k me a.bundle"), 0);
    let (out, _) = ends(trusting(&key, "--dry-run a.bundle"), 0);
    assert!(out.contains(&format!("lunette.trust={key}")), "{out}");
    ends(trusting(&key, "a.bundle with args"), 0);
    let payload = fs::read(world.path("payload")).unwrap();
    let bundle = fs::read(world.path("a.bundle")).unwrap();
    let signature = fs::read(world.path("a.bundle.minisig")).unwrap();
    assert!(payload.starts_with(&bundle), "the bundle is the same to the byte");
    assert!(payload[bundle.len()..].starts_with(b"bundle.minisig\0"));
    assert!(payload[bundle.len() + 512..].starts_with(&signature));
    assert!(payload[bundle.len() + 4096..].starts_with(b"launch.toml\0"));
    // It travels along where nobody asks for it, too: the image may.
    ends(world.run("a.bundle"), 0);
    assert!(fs::read(world.path("payload")).unwrap()[bundle.len()..].starts_with(b"bundle.minisig\0"));
    fails(trusting(&other, "a.bundle"), 125, "which is not among the trusted", "name its maker's key");
    fs::create_dir(world.path("dir")).unwrap();
    for more in ["--dir dir", "--aot"] {
        fails(trusting(&key, &format!("{more} a.bundle")), 125, "would change a.bundle", "leave out");
        ends(world.run(&format!("{more} a.bundle")), 0);
        assert!(!fs::read(world.path("payload")).unwrap()[bundle.len()..].starts_with(b"bundle.minisig"));
    }
    // Native code that somebody signed is run where a signature is demanded.
    ends(world.lunette("build --aot -o a.bundle hello.wasm"), 0);
    fails(world.run("--require-signed a.bundle"), 125, "trusts no key", "--trust");
    ends(world.lunette("sign -k me a.bundle"), 0);
    ends(trusting(&key, "--require-signed a.bundle"), 0);
    ends(trusting(&key, "--host a.bundle"), 0);
    let mut changed = fs::read(world.path("a.bundle")).unwrap();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    world.put("a.bundle", &changed);
    fails(trusting(&key, "a.bundle"), 125, "not all zeros", "");
}

fn export(world: &World, words: &str) -> Command {
    world.lunette(&format!("image export --image lunette.elf {words}"))
}

#[test]
fn an_export_is_a_folder_with_all_that_its_target_takes() {
    let world = World::new("");
    let manifest = "[app]\nname = \"Moon App\"\nmain = \"hello.wasm\"\n[network]\nlisten = [\"80\"]\n";
    world.put("app/lunette.toml", manifest.as_bytes());
    fs::copy(world.path("hello.wasm"), world.path("app/hello.wasm")).unwrap();
    ends(world.lunette("build -o app.bundle app"), 0);
    let bundle = fs::read(world.path("app.bundle")).unwrap();
    for (target, file, words) in [
        ("qemu", "run.sh", "-append 'lunette.ip=dhcp lunette.ip6=auto'"),
        ("microvm", "run.sh", "-M microvm,acpi=off -m 516"),
        ("firecracker", "firecracker.json", "\"mem_size_mib\": 516"),
        ("cloud-hypervisor", "run.sh", "--initramfs moon-app.initrd"),
        ("xen", "xl.cfg", "ramdisk = \"moon-app.initrd\""),
    ] {
        let (out, _) = ends(export(&world, &format!("--for {target} app")), 0);
        let folder = world.path(&format!("moon-app-{target}"));
        assert!(out.starts_with(&format!("moon-app-{target}  ")), "{out}");
        let text = fs::read_to_string(folder.join(file)).unwrap();
        assert!(text.contains(words), "{target}: {text}");
        assert_eq!(fs::read(folder.join("moon-app.initrd")).unwrap(), bundle, "the same to the byte");
        assert_eq!(fs::read(folder.join("lunette.elf")).unwrap(), image());
        let check =
            Command::new("sha256sum").args(["-c", "--quiet", "SHA256SUMS"]).current_dir(&folder).status();
        assert!(check.unwrap().success());
        assert!(fs::read_to_string(folder.join("README")).unwrap().contains("Exported by Lunette"));
    }
    let run = fs::metadata(world.path("moon-app-qemu/run.sh")).unwrap();
    assert_eq!(run.permissions().mode() & 0o111, 0o111);
    fails(export(&world, "--for qemu app"), 125, "there already (moon-app-qemu)", "-o");

    // What a run adds lies behind the bundle, with its signature between.
    let key = ends(world.lunette("sign --new-key me"), 0).0.trim().to_owned();
    ends(world.lunette("sign -k me app.bundle"), 0);
    let fixed = "--for qemu --ip 10.0.0.7/24,10.0.0.1 --ip6 none --dns 10.0.0.2 --hostname moon -e A=1 -o fixed --json";
    let (out, _) = ends(export(&world, &format!("{fixed} app.bundle --flag")), 0);
    assert!(out.contains("\"target\": \"qemu\"") && out.contains("moon-app.initrd"), "{out}");
    let initrd = fs::read(world.path("fixed/moon-app.initrd")).unwrap();
    assert!(initrd.starts_with(&bundle) && initrd[bundle.len()..].starts_with(b"bundle.minisig\0"));
    let launch = String::from_utf8_lossy(&initrd[bundle.len() + 4096..]).into_owned();
    assert!(launch.contains("--flag") && launch.contains("\"A\" = \"1\""), "{launch}");
    let run = fs::read_to_string(world.path("fixed/run.sh")).unwrap();
    let words =
        "lunette.ip=10.0.0.7/24,10.0.0.1 lunette.ip6=none lunette.dns=10.0.0.2 lunette.hostname=moon'";
    assert!(run.contains(words), "{run}");

    fails(
        export(&world, "--for vmx app"),
        125,
        "no target \"vmx\" (--for)",
        "the targets are: qemu, microvm, ",
    );
    fails(export(&world, "--for qemu --ip none hello.wasm"), 125, "--ip is for nothing", "[network]");
    fails(export(&world, "--for qemu lost.wasm"), 127, "there is no lost.wasm", "give the path");
    fails(
        export(&world, &format!("--for qemu --trust {key} -o x hello.wasm")),
        125,
        "no bundle",
        "lunette sign",
    );
    let trust = format!("--for qemu --trust {key} -o x app.bundle");
    fails(export(&world, &trust), 125, "no room for keys", "cargo xtask image");
    let left: Vec<_> =
        fs::read_dir(world.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left.iter().any(|name| name == "x" || name.to_string_lossy().starts_with(".lunette")),
        "{left:?}"
    );
}

/// Loaders for disks beside the image, which boot nothing.
fn loaders(world: &World) {
    let mut bios = vec![0; 1024];
    bios[510..513].copy_from_slice(&[0x55, 0xaa, 1]);
    world.put("lunette.bios", &lunette_releases::seal::seal(bios));
    world.put("lunette.efi", &lunette_releases::seal::seal(b"MZ".repeat(300)));
}

#[test]
fn a_disk_that_can_not_be_is_refused_with_the_size_that_it_takes() {
    let world = World::new("");
    fails(export(&world, "--for raw hello.wasm"), 125, "are not beside the image", "cargo xtask image");
    loaders(&world);
    for (words, error, help) in [
        ("--for raw --size 1Mi", "a disk of 1048576 bytes is too small: its parts need", "--size 4Mi"),
        ("--for raw --size 4194305", "has a multiple of 512 bytes", "give it 4194816 bytes"),
        ("--for gce --size 5Mi", "has a multiple of 1073741824 bytes", "give it 1073741824 bytes"),
        ("--for iso --size 8Mi", "an ISO is as large as what is on it", "leave --size out"),
        ("--for qemu --size 8Mi", "gets no disk", "leave --size out"),
        ("--for floppy", "no target \"floppy\"", "proxmox, openstack, gce, ec2, azure, raw, iso, hyper-v"),
    ] {
        fails(export(&world, &format!("{words} -o out hello.wasm")), 125, error, help);
    }
    let left: Vec<_> =
        fs::read_dir(world.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "out" || name.to_string_lossy().starts_with('.')), "{left:?}");
    ends(export(&world, "--for raw --size 8Mi -o out hello.wasm"), 0);
    assert_eq!(fs::metadata(world.path("out/hello.raw")).unwrap().len(), 8 << 20);
    let no_qemu_img = |target: &str| {
        let mut command = export(&world, &format!("--for {target} -o other hello.wasm"));
        command.env("PATH", world.path("nothing"));
        command
    };
    fails(no_qemu_img("vmware"), 125, "made by qemu-img, and", "apt-get install qemu-utils");
    ends(no_qemu_img("iso"), 0);
}

/// A byte of a file, flipped; what it was is put back.
fn flipped(path: &Path, at: usize, mut then: impl FnMut()) {
    let good = fs::read(path).unwrap();
    let mut bad = good.clone();
    bad[at] ^= 1 << (at % 8);
    fs::write(path, &bad).unwrap();
    then();
    fs::write(path, &good).unwrap();
}

#[test]
fn a_flipped_byte_of_a_bundle_is_refused_by_whoever_takes_one() {
    let world = World::new("say exit 0");
    let key = ends(world.lunette("sign --new-key me"), 0).0.trim().to_owned();
    ends(world.lunette("build -o a.bundle hello.wasm"), 0);
    ends(world.lunette("sign -k me a.bundle"), 0);
    let bundle = world.path("a.bundle");
    let bytes = fs::read(&bundle).unwrap();
    let find = |what: &[u8]| bytes.windows(what.len()).rposition(|window| window == what).unwrap();
    let (module, hash) = (find(b"\0asm"), find(b".lunette/sha256\0"));
    let places = [
        // The first header: its name, its sum, what says that it is one, its padding. The manifest, and what pads it.
        0,
        150,
        257,
        508,
        515,
        1020,
        // The module's header, its first and its last bytes, and what pads it.
        module - 500,
        module,
        module + 30,
        module + 500,
        // The header of the hash, the hash, what pads it; the end.
        hash + 3,
        hash + 155,
        hash + 512,
        hash + 512 + 70,
        hash + 1024,
        bytes.len() - 1,
    ];
    for at in places {
        flipped(&bundle, at, || {
            // What does not look like a bundle any more is signed as any other file.
            let sign = (at >= 512).then_some("sign -k me a.bundle");
            let others = ["check a.bundle", "inspect a.bundle", "build --aot -o b a.bundle"];
            for words in others.into_iter().chain(sign) {
                let (_, err) = ends(world.lunette(words), 125);
                assert!(err.contains("error: ") && err.contains("help: "), "{words}, byte {at}: {err}");
            }
            for command in [
                world.run("a.bundle"),
                world.lunette("run --host a.bundle"),
                world.run(&format!("--trust {key} a.bundle")),
                world.lunette(&format!("verify --key {key} a.bundle")),
                export(&world, "--for qemu -o exported a.bundle"),
            ] {
                let (_, err) = ends(command, 125);
                assert!(err.contains("error: ") && err.contains("help: "), "byte {at}: {err}");
            }
        });
    }
    // Nothing was wrong with it but that.
    ends(world.run(&format!("--trust {key} a.bundle")), 0);
    ends(export(&world, "--for qemu -o exported a.bundle"), 0);
}

#[test]
fn a_flipped_byte_of_an_image_or_a_loader_is_refused_wherever_it_lies() {
    let world = World::new("say exit 0");
    loaders(&world);
    let installed = |words: &str| {
        let mut command = world.lunette(words);
        command.env("LUNETTE_IMAGE", world.0.path());
        command
    };
    let commands = || {
        [
            world.run("hello.wasm"),
            installed("run --accel tcg --qemu ./qemu hello.wasm"),
            export(&world, "--for microvm -o exported hello.wasm"),
            export(&world, "--for raw -o exported hello.wasm"),
        ]
    };
    let length = image().len();
    for at in [0, 3, 5, length - 41, length - 40, length - 32, length - 1] {
        flipped(&world.path("lunette.elf"), at, || {
            for command in commands() {
                fails(command, 125, "lunette.elf", "");
            }
            assert!(ends(installed("inspect hello.wasm"), 0).0.contains("image: it needs one with wasm; "));
            for words in ["doctor --qemu ./qemu", "self"] {
                let told = installed(words).output().unwrap();
                let told = String::from_utf8_lossy(&told.stdout).into_owned();
                assert!(told.contains("it was changed") || told.contains("no ELF"), "{told}");
            }
        });
    }
    for (name, places) in
        [("lunette.bios", [0, 510, 1000, 1024, 1063]), ("lunette.efi", [0, 1, 599, 600, 639])]
    {
        for at in places {
            flipped(&world.path(name), at, || {
                fails(export(&world, "--for raw -o exported hello.wasm"), 125, name, "cargo xtask image");
            });
        }
    }
    // What is wrong is told, and nothing is left; now nothing is wrong.
    assert!(!world.path("exported").exists());
    ends(export(&world, "--for raw -o exported hello.wasm"), 0);
    ends(installed("run --accel tcg --qemu ./qemu hello.wasm"), 0);
}

/// A release in a folder: an image of this version, signed by `me`.
fn release(world: &World, serial: u64) {
    let version = env!("CARGO_PKG_VERSION");
    let image = fs::read(world.path("lunette.elf")).unwrap();
    let name = format!("lunette-{version}-x86_64-full.elf");
    world.put(&format!("release/{name}"), &image);
    let sum = Command::new("sha256sum").arg(world.path("lunette.elf")).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap()[..64].to_owned();
    let index = serde_json::json!({
        "schema": 1, "stream": "stable", "version": version, "serial": serial, "min-cli": version,
        "expires": "2999-01-01T00:00:00Z",
        "architectures": { "x86_64": { "artifacts": { "full": { "release": version, "formats": { "elf": { "kernel": {
            "location": name, "size": image.len(), "sha256": sum, "install": "lunette.elf"
        } } } } } } }
    });
    world.put("release/stream-stable.json", index.to_string().as_bytes());
    ends(world.lunette("sign -k me release/stream-stable.json"), 0);
}

#[test]
fn images_of_a_release_are_pulled_checked_and_used() {
    let world = World::new("say exit 0");
    let key = ends(world.lunette("sign --new-key me"), 0).0.trim().to_owned();
    release(&world, 7);
    let lunette = |words: &str| {
        let mut command = world.lunette(words);
        command.env("XDG_DATA_HOME", world.path("data")).env("LUNETTE_RELEASE_KEYS", &key);
        command
    };
    fails(lunette("image pull"), 125, "nobody says where", "--from");
    let mut stranger = lunette("image pull --from release");
    stranger.env_remove("LUNETTE_RELEASE_KEYS");
    fails(stranger, 125, "nobody is trusted", "--key");
    let (out, _) = ends(lunette("image ls --from release"), 0);
    assert!(out.contains("stable") && out.contains("-full.elf"), "{out}");
    let (out, _) = ends(lunette("image pull --from release full"), 0);
    assert!(out.contains("lunette.elf"), "{out}");
    assert!(ends(lunette("image pull --from release"), 0).0.contains("all was here"));
    assert!(ends(lunette("image verify"), 0).0.contains("good: lunette.elf"));
    assert!(ends(lunette("image ls"), 0).0.starts_with("here "));

    // Where nothing is installed, what was pulled is booted; what was changed since is not.
    let alone = world.path("bin/lunette");
    fs::create_dir(world.path("bin")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_lunette"), &alone).unwrap();
    let run = |words: &str| {
        let mut command = Command::new(&alone);
        command.args(words.split(' ')).current_dir(world.0.path()).env_remove("LUNETTE_IMAGE");
        command.env("XDG_DATA_HOME", world.path("data")).env("LUNETTE_RELEASE_KEYS", &key);
        command.env("XDG_CACHE_HOME", world.path("cache")).stdin(Stdio::null());
        command
    };
    ends(run("run --accel tcg --qemu ./qemu hello.wasm"), 0);
    assert!(ends(run("self"), 0).0.contains("data/lunette/images/versions"));
    let image =
        world.path(&format!("data/lunette/images/versions/{}/lunette.elf", env!("CARGO_PKG_VERSION")));
    let mut bytes = fs::read(&image).unwrap();
    bytes[6] ^= 1;
    fs::write(&image, &bytes).unwrap();
    fails(run("run --accel tcg --qemu ./qemu hello.wasm"), 125, "it was changed", "lunette image pull");
    fails(lunette("image verify"), 125, "it was changed", "lunette image pull");
    ends(lunette("image pull --from release"), 0);
    ends(run("run --accel tcg --qemu ./qemu hello.wasm"), 0);

    ends(lunette("image mirror --from release mirror"), 0);
    release(&world, 8);
    ends(lunette("image pull --from release"), 0);
    fails(lunette("image pull --from mirror"), 125, "its serial is 7, and 8 was seen", "newer");
    assert_eq!(ends(lunette("image prune"), 0).0, "", "nothing of another version");
    let (out, _) = ends(lunette("image prune --keep 9.9.9"), 0);
    assert!(out.starts_with(env!("CARGO_PKG_VERSION")), "{out}");
    fails(run("run --accel tcg --qemu ./qemu hello.wasm"), 125, "image was not found", "lunette image pull");
}
