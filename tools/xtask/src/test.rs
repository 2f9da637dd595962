//! `cargo xtask test`: everything that can be checked, on one page, with one verdict.
//!
//! Each phase prints one line and its time; its own output goes to `target/test-logs/NAME.log`, and is
//! shown only if it failed. A chore counts as one test, a test runner as what it counted. What this
//! machine lacks is skipped by name; it never counts as passed.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    thread,
    time::Instant,
};

use crate::{
    echo, foreign, guests, image, loaders, samples, setup,
    sh::{Result, cargo, command, logged, read, root, succeeds, target, which},
    xen,
};

#[derive(Clone, Copy, Default)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// What one phase came to: its numbers, and words for the line (for a failure: the reason).
struct Verdict {
    count: Count,
    words: String,
}

impl Verdict {
    fn passed(words: impl Into<String>) -> Self {
        Self { count: Count { passed: 1, ..Count::default() }, words: words.into() }
    }

    fn failed(words: impl Into<String>) -> Self {
        Self { count: Count { failed: 1, ..Count::default() }, words: words.into() }
    }

    fn skipped(words: impl Into<String>) -> Self {
        Self { count: Count { skipped: 1, ..Count::default() }, words: words.into() }
    }
}

type Phase = (&'static str, fn() -> Result<Vec<Verdict>>);

const PHASES: &[Phase] = &[
    ("setup", || setup::setup().map(|()| vec![Verdict::passed("")])),
    ("fmt", || chore("fmt", &mut cargo(&["fmt", "--all", "--check"]))),
    ("clippy", clippy),
    ("unit", unit),
    ("image", build_image),
    ("samples", build_samples),
    ("foreign", fetch_foreign),
    ("selftest", selftest),
    ("echo", echo),
    ("spec-vm", spec),
    ("xen", xen),
    ("stories", stories),
    ("doors", doors),
    ("release", release),
    ("reproduce", reproduce),
    ("fuzz", fuzz),
];

pub(crate) fn test(only: &[String]) -> Result<ExitCode> {
    if only.iter().any(|name| name == "list") {
        PHASES.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(wrong) = only.iter().find(|name| PHASES.iter().all(|(phase, _)| phase != name)) {
        return Err(format!("no phase `{wrong}`; `cargo xtask test list` names them").into());
    }
    let begun = Instant::now();
    let mut sum = Count::default();
    let mut skipped = Vec::new();
    for (name, phase) in PHASES.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|n| n == name)) {
        let started = Instant::now();
        let verdicts = phase().unwrap_or_else(|error| vec![Verdict::failed(error.to_string())]);
        let mut count = Count::default();
        let mut words = Vec::new();
        for Verdict { count: more, words: said } in verdicts {
            count.passed += more.passed;
            count.failed += more.failed;
            count.skipped += more.skipped;
            if more.passed + more.failed == 0 && more.skipped > 0 {
                skipped.push(format!("{name}: {said}"));
            } else if !said.is_empty() {
                words.push(said);
            }
        }
        sum.passed += count.passed;
        sum.failed += count.failed;
        sum.skipped += count.skipped;
        let state = match count {
            Count { failed: 1.., .. } => "FAILED",
            Count { passed: 0, skipped: 1.., .. } => "skipped",
            _ => "ok",
        };
        let Count { passed, failed, skipped } = count;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{state:<8}{name:<10}{seconds:>7.1} s   {passed} passed, {failed} failed, {skipped} skipped   {}",
            words.join("; ")
        );
    }
    for what in &skipped {
        println!("skipped: {what}");
    }
    println!("{:.0} s in all; logs are in target/test-logs", begun.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    // A run in which nothing was tested is no success.
    Ok(if sum.failed == 0 && sum.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a command that is right or wrong as a whole.
fn chore(name: &str, command: &mut Command) -> Result<Vec<Verdict>> {
    let (ok, log) = logged(command, &log_of(name))?;
    Ok(vec![if ok { Verdict::passed("") } else { failure(&log, 60) }])
}

/// Runs a command that prints cargo's or libtest's lines, and counts them.
fn runner(name: &str, command: &mut Command) -> Result<Vec<Verdict>> {
    let (ok, log) = logged(command, &log_of(name))?;
    let mut count = Count::default();
    for line in log.lines() {
        if let Some(more) = result_line(line) {
            count.passed += more.passed;
            count.failed += more.failed;
            count.skipped += more.skipped;
        }
    }
    if !ok && count.failed == 0 {
        // It did not build, or a test took the runner down with it.
        count.failed = 1;
    }
    if count.failed > 0 {
        show_failures(&log);
    }
    let mut verdicts = vec![Verdict { count: Count { skipped: 0, ..count }, words: failures(&log) }];
    // Each by its name: `test [why] name ... ignored`.
    let ignored: Vec<&str> = log
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.split_once(" ... ignored"))
        .map(|(what, _)| what.trim())
        .collect();
    verdicts.extend(ignored.iter().map(|what| Verdict::skipped(*what)));
    let unnamed = count.skipped.saturating_sub(ignored.len() as u64);
    if unnamed > 0 {
        let count = Count { skipped: unnamed, ..Count::default() };
        verdicts.push(Verdict { count, words: format!("{unnamed} more; see the log") });
    }
    Ok(verdicts)
}

/// What failed, by name: a long log's reader sees its end first.
fn failures(log: &str) -> String {
    let names = log.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    names.collect::<Vec<_>>().join(", ")
}

/// `test result: ok. 4 passed; 0 failed; 1 ignored; …`
fn result_line(line: &str) -> Option<Count> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let of = |word: &str| {
        numbers.split("; ").find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok())
    };
    Some(Count { passed: of("passed")?, failed: of("failed")?, skipped: of("ignored").unwrap_or(0) })
}

/// `12 passed, 0 failed`, as the self-test says it in the VM.
fn plain_line(line: &str) -> Option<Count> {
    let (passed, failed) = line.trim().split_once(" passed, ")?;
    Some(Count {
        passed: passed.parse().ok()?,
        failed: failed.strip_suffix(" failed")?.parse().ok()?,
        skipped: 0,
    })
}

fn failure(log: &str, lines: usize) -> Verdict {
    show(log, lines);
    Verdict::failed("see above")
}

/// What failed in the words of those tests, of each program that ran some; the end where no test has said anything.
fn show_failures(log: &str) {
    let mut telling = false;
    let mut told = false;
    for line in log.lines() {
        telling = (telling || line == "failures:") && !line.starts_with("test result: ");
        if telling {
            println!("    {line}");
            told = true;
        }
    }
    if !told {
        show(log, 200);
    }
}

/// The end of a log, where the reason is.
fn show(log: &str, lines: usize) {
    let all: Vec<&str> = log.lines().collect();
    for line in &all[all.len().saturating_sub(lines)..] {
        println!("    {line}");
    }
}

fn log_of(name: &str) -> PathBuf {
    target().join("test-logs").join(format!("{name}.log"))
}

fn clippy() -> Result<Vec<Verdict>> {
    let strict = ["--", "-D", "warnings"];
    // What a laptop builds, then what only the machine runs.
    let mut all = cargo(&["clippy", "--quiet", "--all-targets", "--workspace"]);
    for package in ["lunette-image", "lunette-vm-tests", "lunette-bios", "lunette-uefi"] {
        all.args(["--exclude", package]);
    }
    let mut verdicts = chore("clippy", all.args(strict))?;
    let mut machine =
        image::for_the_machine(&["clippy", "--quiet", "-p", "lunette-image", "-p", "lunette-vm-tests"])?;
    verdicts.extend(chore("clippy-image", machine.args(strict))?);
    // What stands in for what an image leaves out.
    for runtime in ["wasm", "lua"] {
        let mut part = cargo(&["clippy", "--quiet", "-p", "lunette-app", "--no-default-features"]);
        part.args(["--features", runtime]).args(strict);
        verdicts.extend(chore(&format!("clippy-{runtime}"), &mut part)?);
    }
    // The kernel must stay free of std, which only a target without one can tell.
    let mut kernel = cargo(&["clippy", "--quiet", "-p", "lunette-kernel", "--target", "x86_64-unknown-none"]);
    verdicts.extend(chore("clippy-kernel", kernel.args(strict))?);
    for (package, target) in
        [("lunette-bios", "x86_64-unknown-none"), ("lunette-uefi", "x86_64-unknown-uefi")]
    {
        let mut loader = cargo(&["clippy", "--quiet", "-p", package, "--target", target]);
        verdicts.extend(chore(&format!("clippy-{package}"), loader.args(strict))?);
    }
    Ok(verdicts)
}

/// All that needs no VM. The stories have a phase of their own.
fn unit() -> Result<Vec<Verdict>> {
    let mut tests = cargo(&["test", "--no-fail-fast", "--workspace"]);
    // The images are no programs of this machine.
    for package in ["lunette-tests", "lunette-doors", "lunette-image", "lunette-vm-tests"] {
        tests.args(["--exclude", package]);
    }
    runner("unit", &mut tests)
}

/// The default image, and the smallest variant: the others are linked from the same parts, which takes minutes.
fn build_image() -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for variant in [image::FULL, image::WASM] {
        let built = chore(&format!("image-{}", variant.name), &mut variant.command()?)?;
        verdicts.extend(match built.iter().all(|verdict| verdict.count.failed == 0) {
            true => vec![Verdict::passed(variant.finish()?.to_string())],
            false => built,
        });
    }
    for mut command in loaders::commands()? {
        let package = command.get_args().nth(2).map(|name| name.to_string_lossy().into_owned());
        verdicts.extend(chore(&package.unwrap_or_default(), &mut command)?);
    }
    verdicts.extend(loaders::finish()?.map(|loader| Verdict::passed(loader.to_string())));
    Ok(verdicts)
}

/// A release of the smallest image, and what it is on a machine with QEMU alone.
fn release() -> Result<Vec<Verdict>> {
    let app = target().join("samples/hello-rust.wasm");
    for (what, there) in [
        ("QEMU", which("qemu-system-x86_64").is_some()),
        ("hello-rust", app.is_file()),
        ("git", which("git").is_some()),
    ] {
        if !there {
            return Ok(vec![Verdict::skipped(format!("no {what}"))]);
        }
    }
    let cli = match under_test()? {
        Ok(cli) => cli,
        Err(failure) => return Ok(vec![failure]),
    };
    let expected = root().join("samples/hello-rust/expected.txt");
    let words = crate::dist::try_it(&cli, &app, &expected)?;
    Ok(vec![Verdict::passed(words)])
}

/// The same release, twice, from two folders.
fn reproduce() -> Result<Vec<Verdict>> {
    if which("git").is_none() {
        return Ok(vec![Verdict::skipped("no git")]);
    }
    Ok(vec![match under_test()? {
        Ok(cli) => Verdict::passed(crate::dist::reproduce(&cli)?),
        Err(failure) => failure,
    }])
}

/// The CLI that the stories run: another one would have a compiler of its own to be built with.
fn under_test() -> Result<std::result::Result<PathBuf, Verdict>> {
    let mut build = cargo(&["build", "-p", "lunette-tests", "--bin", "lunette-under-test"]);
    let (ok, log) = logged(&mut build, &log_of("under-test"))?;
    Ok(if ok { Ok(target().join("debug/lunette-under-test")) } else { Err(failure(&log, 60)) })
}

fn build_samples() -> Result<Vec<Verdict>> {
    let built = samples::build_all()?;
    let guests = guests::build_all()?;
    Ok(built
        .into_iter()
        .chain(guests.into_iter().map(|path| (String::new(), samples::State::Built(path))))
        .map(|(name, state)| match state {
            samples::State::Built(_) => Verdict::passed(""),
            samples::State::Skipped(why) => Verdict::skipped(format!("{name}: {why}")),
        })
        .collect())
}

fn fetch_foreign() -> Result<Vec<Verdict>> {
    Ok(vec![match foreign::fetch() {
        Ok(_) => Verdict::passed(""),
        Err(error) => {
            let line = error.to_string();
            Verdict::skipped(format!(
                "the foreign programs can't be fetched: {}",
                line.lines().next_back().unwrap_or("")
            ))
        }
    }])
}

/// The images of tests/vm: checks that only a machine can make, in the machine.
fn selftest() -> Result<Vec<Verdict>> {
    if let Some(skipped) = build_vm_tests()? {
        return Ok(skipped);
    }
    let mut verdicts = Vec::new();
    for machine in ["microvm", "pc"] {
        let log = boot_test_image("selftest", machine, "256M", 120, Some(&selftest_payload()?))?;
        // Its own count, and its farewell: a crash after the count is one all the same.
        match log.lines().find_map(plain_line) {
            Some(count) if count.failed == 0 && log.contains(GOOD_END) => {
                verdicts.push(Verdict { count, words: String::new() });
            }
            Some(count) => {
                show(&log, 60);
                let count = Count { failed: count.failed.max(1), ..count };
                verdicts.push(Verdict { count, words: format!("{machine}: see above") });
            }
            None => verdicts.push(failure(&log, 60)),
        }
    }
    Ok(verdicts)
}

/// 64 pages and a bit that the self-test maps: each byte is that of its page's number, but that a function
/// begins page 16 which answers 42 (mov eax, 42; ret).
fn selftest_payload() -> Result<PathBuf> {
    let mut bytes: Vec<u8> = (0..64 * 4096 + 100).map(|at| (at / 4096) as u8).collect();
    bytes[16 * 4096..][..6].copy_from_slice(&[0xb8, 42, 0, 0, 0, 0xc3]);
    let path = log_of("selftest").with_extension("payload");
    std::fs::create_dir_all(path.parent().unwrap_or(std::path::Path::new(".")))?;
    std::fs::write(&path, bytes)?;
    Ok(path)
}

/// The core specification's tests, in the machine: on a laptop they are among the unit tests.
fn spec() -> Result<Vec<Verdict>> {
    if let Some(skipped) = build_vm_tests()? {
        return Ok(skipped);
    }
    let log = boot_test_image("spec-vm", "microvm", "1G", 600, None)?;
    let totals = log.lines().find(|line| line.contains(" assertions passed, "));
    Ok(vec![match totals {
        Some(totals) if log.contains(GOOD_END) => Verdict::passed(totals.trim()),
        _ => failure(&log, 60),
    }])
}

/// The server of tests/vm, with clients by the thousand.
fn echo() -> Result<Vec<Verdict>> {
    if let Some(skipped) = build_vm_tests()? {
        return Ok(skipped);
    }
    // All at once: for most of the time they wait for old connections to be over.
    let verdict = |kind: &echo::Kind| match echo::run(kind).map_err(|error| error.to_string()) {
        Ok(words) => Verdict::passed(format!("{}: {words}", kind.name)),
        Err(error) => failure(&error, 60),
    };
    Ok(thread::scope(|scope| {
        let runs: Vec<_> = echo::KINDS.iter().map(|kind| scope.spawn(move || verdict(kind))).collect();
        let ended = runs.into_iter().map(|run| run.join());
        ended.map(|run| run.unwrap_or_else(|_| Verdict::failed("a client panicked"))).collect()
    }))
}

const GOOD_END: &str = "lunette: farewell exit 0";

/// Links the test images; what to answer instead where they can't boot or were not built.
fn build_vm_tests() -> Result<Option<Vec<Verdict>>> {
    if which("qemu-system-x86_64").is_none() {
        return Ok(Some(vec![Verdict::skipped("QEMU is not installed")]));
    }
    let (ok, log) = logged(&mut image::command("lunette-vm-tests")?, &log_of("vm-tests-build"))?;
    if !ok {
        return Ok(Some(vec![failure(&log, 60)]));
    }
    image::finish("lunette-selftest", "selftest")?;
    image::finish("lunette-spec-vm", "spec-vm")?;
    image::finish("lunette-echo", "echo")?;
    Ok(None)
}

/// Boots an image that needs no app; gives back its console. `seconds` is the longest that it may take.
fn boot_test_image(
    image: &str,
    machine: &str,
    memory: &str,
    seconds: u32,
    payload: Option<&std::path::Path>,
) -> Result<String> {
    // `timeout`, for an image that hangs must not hang this.
    let mut qemu =
        command("timeout", &[&seconds.to_string(), "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"]);
    qemu.args([
        "-smp",
        "1",
        "-m",
        memory,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]);
    qemu.args(["-M", machine, "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
    for device in ["virtio-rng", "virtio-net"] {
        let bus = if machine == "microvm" { "device" } else { "pci" };
        let netdev = if device == "virtio-net" { ",netdev=n" } else { "" };
        qemu.args(["-device", &format!("{device}-{bus}{netdev}")]);
    }
    qemu.args([
        "-netdev",
        "user,id=n,restrict=on",
        "-append",
        "lunette.avx lunette.ip=10.0.2.15/24,10.0.2.2",
    ]);
    qemu.arg("-kernel").arg(image::path().with_file_name(format!("{image}.elf")));
    if let Some(payload) = payload {
        qemu.arg("-initrd").arg(payload);
    }
    Ok(logged(&mut qemu, &log_of(&format!("{image}-{machine}")))?.1)
}

/// A guest of Xen, in an emulated host.
fn xen() -> Result<Vec<Verdict>> {
    if which("qemu-system-x86_64").is_none() {
        return Ok(vec![Verdict::skipped("QEMU is not installed")]);
    }
    let (ok, log) = logged(&mut image::WASM.command()?, &log_of("xen-image"))?;
    if !ok {
        return Ok(vec![failure(&log, 60)]);
    }
    let image = image::WASM.finish()?;
    let app = match samples::build("http-rust")? {
        samples::State::Built(app) => app,
        samples::State::Skipped(why) => return Ok(vec![Verdict::skipped(format!("http-rust: {why}"))]),
    };
    let cli = match under_test()? {
        Ok(cli) => cli,
        Err(failure) => return Ok(vec![failure]),
    };
    let exported = target().join("test-logs/xen-export");
    if exported.exists() {
        std::fs::remove_dir_all(&exported)?;
    }
    std::fs::create_dir_all(log_of("").parent().unwrap_or(&exported))?;
    let address = format!("{},{}", xen::GUEST, xen::HERE);
    let mut export = command(cli, &["image", "export", "--for", "xen", "-m", "64Mi", "--ip", &address]);
    read(export.arg("--image").arg(&image.path).arg("-o").arg(&exported).arg(app))?;
    let host = match xen::host(&exported) {
        Ok(host) => host,
        Err(error) => {
            let error = error.to_string();
            let why = error.lines().next().unwrap_or_default();
            return Ok(vec![Verdict::skipped(format!("Debian's Xen can't be had: {why}"))]);
        }
    };
    Ok(vec![match xen::run(&host, &log_of("xen")) {
        Ok(words) => Verdict::passed(words),
        Err(error) => failure(&error.to_string(), 80),
    }])
}

/// The stories of tests/: real images, booted through the CLI. Two at a time, for a VM takes a core.
fn stories() -> Result<Vec<Verdict>> {
    let mut stories = cargo(&["test", "-p", "lunette-tests", "--no-fail-fast"]);
    stories.args(["--", "--test-threads", "2"]);
    if let Some(folder) = image::path().parent().filter(|_| image::path().is_file()) {
        // Each takes the smallest that fits.
        stories.env("LUNETTE_IMAGE", folder);
    }
    stories.env("LUNETTE_SAMPLES", samples::out());
    stories.env("LUNETTE_GUESTS", guests::out());
    let foreign = target().join("foreign");
    if foreign.join("installed.txt").is_file() {
        stories.env("LUNETTE_FOREIGN", foreign);
    }
    runner("stories", &mut stories)
}

/// Every way into the kernel that can be tried here (tests/doors). Two at a time.
fn doors() -> Result<Vec<Verdict>> {
    let mut doors = cargo(&["test", "-p", "lunette-doors", "--no-fail-fast"]);
    // One VM at a time: beside others, a boot from an IDE disk by SeaBIOS stalls now and then, here and there.
    doors.args(["--", "--test-threads", "1"]);
    if let Some(folder) = image::path().parent().filter(|folder| folder.is_dir()) {
        doors.env("LUNETTE_IMAGE", folder);
    }
    runner("doors", &mut doors)
}

/// Where, which, and what it needs to be told: steps mean something only if there are many.
const FUZZ: [(&str, &str, &[&str]); 3] = [
    ("kernel/net", "frames", &["-len_control=0"]),
    ("runtimes/bundle", "parse", &[]),
    ("runtimes/wasm", "preview1", &[]),
];

/// Half a minute each: enough to notice that a decoder was broken, not to prove that it is whole.
fn fuzz() -> Result<Vec<Verdict>> {
    let nightly = |args: &[&str]| {
        let mut command = command("rustup", &["run", "nightly", "cargo"]);
        command.args(args).env_remove("RUSTUP_TOOLCHAIN");
        command
    };
    let tool = succeeds(&mut nightly(&["fuzz", "--version"]));
    FUZZ.iter()
        .map(|(dir, name, more)| {
            if !tool {
                return Ok(Verdict::skipped(format!(
                    "{dir} {name}: needs a nightly toolchain and cargo-fuzz"
                )));
            }
            let mut run = nightly(&["fuzz", "run", name, "--", "-max_total_time=30", "-rss_limit_mb=2048"]);
            run.args(*more).current_dir(root().join(dir));
            let (ok, log) = logged(&mut run, &log_of(&format!("fuzz-{name}")))?;
            Ok(if ok { Verdict::passed("") } else { failure(&log, 40) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{plain_line, result_line};

    #[test]
    fn result_lines_are_read() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 4 ignored; 0 measured; 0 filtered out; finished in 1s";
        let count = result_line(line).unwrap();
        assert_eq!((count.passed, count.failed, count.skipped), (12, 3, 4));
        assert!(result_line("running 3 tests").is_none());
        let count = plain_line("7 passed, 2 failed\r").unwrap();
        assert_eq!((count.passed, count.failed), (7, 2));
        assert!(plain_line("7 passed").is_none());
    }
}
