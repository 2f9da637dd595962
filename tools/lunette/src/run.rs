//! `lunette run`: from what the user named to an exit code.

use std::{
    ffi::OsString,
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Duration,
};

use lunette_bundle::{Launch, MountSpec, Payload};
use lunette_hostcalls::farewell::Farewell;

use crate::{
    app::{App, Extras, Packed},
    cache::Cache,
    cli::{AccelChoice, Run},
    exit, host,
    hypervisor::{
        Accel, Hypervisor, Machine, Vm, Wires, accel,
        qemu::Qemu,
        running::{self, Killed, Options, Outcome},
    },
    image, module,
    problem::{Problem, Voice},
};

/// What the VM has, beside the app's size, unless `-m` says otherwise.
const MEMORY: u64 = 512 << 20;
/// How much longer than its own limit a VM may take before it is killed: the kernel ends it in time.
const BACKSTOP: Duration = Duration::from_secs(5);
/// Modules smaller than this are examined each time; the verdict on larger ones is remembered.
const REMEMBER: usize = 256 * 1024;

/// Who we are, for those who must start us again.
pub struct Us {
    /// Our executable. Without it no VM is guarded (see [`running::GUARD`]).
    pub executable: Option<PathBuf>,
    pub voice: Voice,
    pub cache: Cache,
}

/// Runs it; the exit code.
pub fn run(args: &Run, us: &Us) -> Result<u8, Problem> {
    let words = args.command.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let (app, rest) =
        words.split_first().ok_or_else(|| Problem::new("there is no APP", "lunette run --help"))?;
    let extras = Extras { dirs: args.dir.clone(), ..Extras::default() };
    let packed = App::open(Path::new(app))?.pack(&extras, &us.voice).map_err(|e| named(e, app))?;
    check(&packed, &us.cache).map_err(|e| named(e, app))?;

    let mut launch = launch(args, rest, &packed);
    if args.host {
        launch.memory = args.memory;
    }
    let payload = [packed.bytes, launch.to_bytes()].concat();
    let timeout = Payload::parse(&payload)?.plan()?.app.timeout;

    let farewell = if args.host {
        host::run(payload, Vec::new())?
    } else {
        match boot(args, us, &payload, timeout)? {
            Some(farewell) => farewell,
            None => return Ok(0),
        }
    };
    tell(&farewell, args, timeout, app, &us.voice);
    Ok(exit::of(&farewell))
}

/// Boots the VM, or prints how; the kernel's farewell.
fn boot(args: &Run, us: &Us, payload: &[u8], timeout: Option<Duration>) -> Result<Option<Farewell>, Problem> {
    let voice = &us.voice;
    let qemu = Qemu::find(args.qemu.as_deref(), &us.cache)?;
    let image = image::find(args.image.as_deref(), us.executable.as_deref())?;
    let guard = us.executable.clone();
    let accel = match args.accel {
        AccelChoice::Tcg => Accel::Tcg,
        AccelChoice::Kvm => Accel::Kvm,
        AccelChoice::Auto => {
            let verdict = accel::kvm(&qemu, &image, guard.as_deref(), &us.cache);
            let word = if verdict.usable { "KVM is used" } else { "KVM is not usable, so TCG is used" };
            voice.info(&format!("{word}: {}", verdict.reason));
            verdict.accel()
        }
    };
    let machine = Machine::named(&args.machine).ok_or_else(|| {
        Problem::new(format!("there is no machine {:?}", args.machine), "lunette run --help")
    })?;
    let memory = memory(args.memory, payload.len() as u64, std::fs::metadata(&image).map_or(0, |m| m.len()))?;
    let vm = |payload| Vm {
        image: image.clone(),
        payload: Some(payload),
        words: if at_a_terminal() { vec!["lunette.tty".into()] } else { Vec::new() },
        machine,
        accel,
        memory,
    };
    voice.info(&format!(
        "{} {} ({}), {} on {}, {} MiB, image {}",
        qemu.name(),
        qemu.version,
        qemu.path.display(),
        machine.name,
        accel.name(),
        memory >> 20,
        image.display()
    ));

    if args.dry_run {
        let hash = lunette_bundle::sha256_hex(payload);
        let path = us.cache.file(&format!("payloads/{hash}"), payload).map_err(|e| {
            Problem::new(
                format!("the payload can't be stored: {e}"),
                "set XDG_CACHE_HOME to a folder of yours",
            )
        })?;
        println!("{}", qemu.command(&vm(path), Wires::Terminal).quoted());
        return Ok(None);
    }

    let file = tempfile::NamedTempFile::with_prefix("lunette-").and_then(|mut file| {
        std::io::Write::write_all(&mut file, payload)?;
        Ok(file)
    });
    let file = file.map_err(|e| {
        let help = "make room, or set TMPDIR to a folder that has some";
        Problem::new(format!("the payload can't be stored: {e}"), help).at(std::env::temp_dir().display())
    })?;
    let limit = timeout.map(|timeout| timeout.saturating_add(BACKSTOP));
    let options = Options { guard, limit, streams: true, signals: true };
    let outcome = running::run(&qemu, &vm(file.path().to_owned()), &options)?;
    judge(outcome, &qemu, voice, timeout).map(Some)
}

/// What a VM's end means.
fn judge(
    outcome: Outcome,
    hypervisor: &dyn Hypervisor,
    voice: &Voice,
    timeout: Option<Duration>,
) -> Result<Farewell, Problem> {
    voice.info(&format!("the VM ran for {} ms", outcome.took.as_millis()));
    let said = outcome.complaints.lines().filter(|line| !line.trim().is_empty());
    if let Some(farewell) = outcome.farewell {
        said.for_each(|line| voice.info(&format!("{}: {line}", hypervisor.name())));
        return Ok(farewell);
    }
    match outcome.killed {
        Some(Killed::Limit) => {
            let time = timeout.unwrap_or_default();
            let what = format!("the VM overran its {time:?} by {BACKSTOP:?} and was killed");
            let help =
                "raise --timeout if it needs longer; that the kernel did not end it is a bug: report it";
            Err(Problem::new(what, help).code(exit::TIMEOUT))
        }
        Some(Killed::Asked) => Err(Problem::new("the VM was killed", "").code(exit::KILLED)),
        Some(Killed::Unheard) => Err(Problem::new("", "").code(exit::UNHEARD)),
        None => {
            let crash = outcome.crash(hypervisor);
            // What led to it; the console itself has gone to our standard output already.
            for line in said {
                eprintln!("{}: {}", hypervisor.name(), crate::problem::printable(line));
            }
            for line in outcome.tail.lines(10) {
                eprintln!("console: {line}");
            }
            Err(crash)
        }
    }
}

/// Words for the endings that the guest's own output does not explain.
fn tell(farewell: &Farewell, args: &Run, timeout: Option<Duration>, app: &str, voice: &Voice) {
    let problem = match farewell {
        Farewell::Exit(_) | Farewell::Trap | Farewell::Stopped => return,
        Farewell::Timeout => {
            let time = timeout.unwrap_or_default();
            Problem::new(
                format!("{app} was stopped: its time of {time:?} was up"),
                "give it more with --timeout",
            )
        }
        Farewell::Fuel => Problem::new(
            format!("{app} was stopped: its fuel was used up"),
            "give it more with --fuel, or with `fuel` in [resources]",
        ),
        Farewell::OutOfMemory if args.host => {
            Problem::new(format!("{app} ran out of memory"), "raise `memory` in [resources], or -m")
        }
        Farewell::OutOfMemory => {
            let help = match args.memory {
                Some(size) => format!("give it more: -m {}Mi", (size >> 20).max(4).saturating_mul(2)),
                None => "give it more: -m 1Gi".into(),
            };
            Problem::new(format!("{app}: the VM ran out of memory"), help)
        }
        Farewell::Refused(why) => named(Problem::from_line(why), app),
        Farewell::Panic(why) => {
            let help = "this is a bug in Lunette: report it with the lines above";
            Problem::new(format!("the kernel panicked: {why}"), help)
        }
    };
    voice.error(&problem);
}

fn named(problem: Problem, app: &str) -> Problem {
    if problem.place.contains(app) { problem } else { problem.at(app) }
}

fn text(word: &OsString) -> Result<String, Problem> {
    let text = word.to_str().filter(|text| !text.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| {
        Problem::new(
            format!("the argument {word:?} is not UTF-8"),
            "write it in UTF-8: guests know nothing else",
        )
    })
}

/// `-e` flags as they stand: a name without a value has ours, or is left out if there is none.
pub fn environment(flags: &[(String, Option<String>)]) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    for (name, value) in flags {
        if let Some(value) = value.clone().or_else(|| std::env::var(name).ok()) {
            env.retain(|(known, _)| known != name);
            env.push((name.clone(), value));
        }
    }
    env
}

fn launch(args: &Run, rest: &[String], packed: &Packed) -> Launch {
    let tmpfs = args.tmpfs.iter().map(|(path, size)| MountSpec {
        path: path.clone(),
        from: None,
        writable: true,
        size: *size,
    });
    Launch {
        args: (!rest.is_empty()).then(|| rest.to_vec()),
        env: environment(&args.env),
        memory: None,
        timeout: args.timeout,
        fuel: args.fuel,
        mounts: packed.mounts.iter().cloned().chain(tmpfs).collect(),
        ..Launch::default()
    }
}

/// [`Packed::check`], remembered for large modules.
fn check(packed: &Packed, cache: &Cache) -> Result<(), Problem> {
    let name = format!("checked/{}", packed.hash);
    let key = concat!("lunette ", env!("CARGO_PKG_VERSION"));
    let payload = Payload::parse(&packed.bytes)?;
    let plan = payload.plan()?;
    let mut size = 0;
    for guest in plan.all() {
        size += payload.main(guest)?.len();
    }
    let large = size >= REMEMBER;
    if large && cache.get(&name, key).is_some() {
        return Ok(());
    }
    for guest in plan.all() {
        module::check(payload.main(guest)?).map_err(|e| e.at(&guest.main))?;
    }
    if large {
        cache.put(&name, key, "");
    }
    Ok(())
}

/// The VM's memory; refuses one that can't hold the image and the app.
fn memory(wanted: Option<u64>, payload: u64, image: u64) -> Result<u64, Problem> {
    const PAGES: u64 = 1 << 20;
    let Some(wanted) = wanted else {
        return Ok(MEMORY + payload.next_multiple_of(PAGES));
    };
    // The image is loaded at 1 MiB; it and the app must fit with a little to spare.
    let least = (image + payload + (2 << 20)).next_multiple_of(PAGES);
    if wanted < least {
        let what = format!("{} KiB of memory can't hold the kernel and the app", wanted >> 10);
        return Err(Problem::new(what, format!("give it more: -m {}Mi", (least >> 20) * 2)).at("-m"));
    }
    Ok(wanted)
}

/// Does a person type the input and read the output? Then guests are told, as any program here would be.
fn at_a_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_grown_by_the_app_or_taken_as_it_is() {
        assert_eq!(memory(None, 60_000, 2 << 20).unwrap(), 513 << 20);
        assert_eq!(memory(Some(8 << 20), 60_000, 2_500_000).unwrap(), 8 << 20);
        let e = memory(Some(8 << 20), 26 << 20, 2 << 20).unwrap_err();
        assert_eq!((&*e.help, e.code), ("give it more: -m 60Mi", 125));
        assert!(memory(Some(0), 0, 0).is_err());
    }

    #[test]
    fn the_last_of_each_variable_counts() {
        let flag = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        let env = environment(&[
            flag("A", Some("1")),
            flag("B", Some("2")),
            flag("A", Some("3")),
            flag("LUNETTE_TEST_UNSET", None),
            flag("PATH", None),
        ]);
        assert_eq!(env[..2], [("B".into(), "2".into()), ("A".into(), "3".into())]);
        assert_eq!(env[2].1, std::env::var("PATH").unwrap());
        assert_eq!(env.len(), 3);
    }
}
