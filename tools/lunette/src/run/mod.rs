//! `lunette run`: from what the user named to an exit code.

mod end;
mod launch;

use std::{
    ffi::OsString,
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use end::BACKSTOP;
pub use end::{End, Ran, of_vm};
pub use launch::environment;
use lunette_app::Profile;
use lunette_bundle::{GuestPlan, Launch, Manifest, Payload, Writer};

use crate::{
    app::{App, Extras, Packed},
    background::{start::start, store::Store},
    cache::Cache,
    cli::{AccelChoice, Cli, Run, Verb},
    host,
    hypervisor::{
        Accel, Hypervisor, Machine, Vm, Wires, accel,
        qemu::Qemu,
        running::{self, Manners, Options, PATIENCE, Streams},
    },
    image::{self, Image},
    native::{self, How, Needs as NativeNeeds},
    network::{
        self, Needs, Network,
        publish::{Published, Reserved},
    },
    problem::{Problem, Voice},
    profile::{self, Wanted},
    script, signing,
    watch::{Made, Watch},
};

/// What the VM has, beside the app's size, unless `-m` says otherwise.
const MEMORY: u64 = 512 << 20;
/// Modules smaller than this are examined each time; the verdict on larger ones is remembered.
const REMEMBER: usize = 256 * 1024;

/// Who we are, for those who must start us again.
pub struct Us {
    /// Our executable. Without it no VM is guarded (see [`running::GUARD`]).
    pub executable: Option<PathBuf>,
    pub voice: Voice,
    pub cache: Cache,
}

/// All that it takes to start a VM.
pub struct Ready {
    pub qemu: Qemu,
    pub vm: Vm,
    pub published: Vec<Published>,
    /// Until QEMU has opened its ports.
    pub reserved: Reserved,
    pub timeout: Option<Duration>,
    /// Does the app listen? Then it may finish before it is stopped.
    pub drains: bool,
    /// The app as it was named, and as it calls itself.
    pub app: String,
    pub name: String,
    /// Its memory, if somebody chose it.
    pub memory: Option<u64>,
}

/// Each connection of a guest's is a descriptor of the hypervisor's, or of ours: what the user may have, and not only
/// what most programs are content with (1,024).
fn use_all_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Runs it; the exit code.
pub fn run(args: &Run, us: &Us) -> Result<u8, Problem> {
    use_all_descriptors();
    let words = args.command.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let (app, rest) =
        words.split_first().ok_or_else(|| Problem::new("there is no APP", "lunette run --help"))?;
    let packed = pack(args, app, &us.voice)?;
    let needs = check(&packed, &us.cache).map_err(|e| named(e, app))?;
    let (payload, sources) =
        payload(args, app, rest, packed, &needs, &us.cache, &us.voice).map_err(|e| named(e, app))?;
    let parsed = Payload::parse(&payload)?;
    let plan = parsed.plan()?;
    plan.allowed().map_err(|e| named(e.into(), app))?;
    if args.require_signed && args.trust.is_empty() {
        parsed.refuse_unsigned().map_err(|e| named(e.into(), app))?;
    }
    refuse_talk(args, &plan.app)?;
    if args.profile.is_some() {
        profile::refuse(&plan.app)?;
    }
    let watch = args.watch.then(|| watch(args, &words, (payload.clone(), sources), us)).transpose()?;
    let needs = Needs::of(plan.all().map(|guest| &guest.grants));
    let timeout = plan.app.timeout;
    let runtimes = lunette_app::needs(&parsed, &plan)?;

    if args.host {
        let (published, _reserved) = network::publish::reserve(&args.network.publish, |_, _| None)?;
        let wanted = wanted(args)?;
        let samples = wanted.is_some().then(Profile::begin);
        let farewell = host::run(payload, published, watch, samples)?;
        if let (Some(wanted), Some(samples)) = (wanted, samples) {
            wanted.write(&samples.samples(), app, &us.voice)?;
        }
        let ran = Ran { app, timeout, memory: args.memory, host: true };
        return Ok(told(&end::of_farewell(&farewell, None, ran), &us.voice));
    }
    let store = if args.detach { Some(Store::of_user()?) } else { Store::of_user().ok() };
    let owner = |host, protocol| store.as_ref()?.publisher(host, protocol);
    let network = network::plan(&args.network, needs, owner)?;
    let image = image::choose(args.image.as_deref(), us.executable.as_deref(), &runtimes)?;
    us.voice.info(&format!("the app needs {}; the image is {image}", image::words(&runtimes)));
    let ready = ready(args, us, &payload, image, network, plan.app, needs)?;
    if args.dry_run {
        return dry_run(ready, us, &payload);
    }
    match store {
        Some(store) if args.detach => start(ready, &store, args.name.as_deref(), &payload, us),
        _ => foreground(ready, us, &payload, watch, wanted(args)?),
    }
}

fn pack(args: &Run, app: &str, voice: &Voice) -> Result<Packed, Problem> {
    let extras = Extras { dirs: args.dir.clone(), tls: args.http.tls.clone(), ..Extras::default() };
    App::open(Path::new(app))?.pack(&extras, voice).map_err(|e| named(e, app))
}

/// The bundle with the native code that this run gets, its signature, and what the run adds; and what it was made of. `rest`: the app's arguments.
fn payload(
    args: &Run,
    app: &str,
    rest: &[String],
    packed: Packed,
    needs: &NativeNeeds,
    cache: &Cache,
    voice: &Voice,
) -> Result<Made, Problem> {
    let launch = launch::launch(args, rest, &packed)?;
    let bare = args.profile.is_some();
    let how = How { aot: args.aot || bare, cpu: args.cpu, here: args.host, bare, told: false };
    let packed = native::add(packed, &launch, needs, &how, cache, voice)?;
    let signature = signing::of_payload(Path::new(app), &packed.bytes, &args.trust)?;
    Ok(([&packed.bytes[..], &signature, &launch.to_bytes()].concat(), packed.sources))
}

/// The files for a profile, if somebody wants one.
fn wanted(args: &Run) -> Result<Option<Wanted>, Problem> {
    args.profile.as_deref().map(Wanted::create).transpose()
}

/// Only a script can be talked to.
fn refuse_talk(args: &Run, app: &GuestPlan) -> Result<(), Problem> {
    let flag = match (args.watch, args.repl) {
        (true, _) => "--watch",
        (_, true) => "--repl",
        _ => return Ok(()),
    };
    if script::is_script(&app.main) {
        return Ok(());
    }
    Err(Problem::new(
        format!("{flag} is for Lua scripts, and {} is none", app.main),
        format!("leave {flag} out"),
    ))
}

/// `lunette repl`: a script's prompt, as a process of this machine. Without a script, one that does nothing.
pub fn repl(command: &[OsString], us: &Us) -> Result<u8, Problem> {
    if !command.is_empty() {
        let flags = ["lunette", "run", "--host", "--repl"].map(OsString::from);
        let cli = Cli::try_parse_from(flags.iter().chain(command))
            .map_err(|e| Problem::new(e.to_string(), "lunette repl --help"))?;
        return match cli.verb {
            Verb::Run(args) => run(&args, us),
            _ => unreachable!("it was told to run"),
        };
    }
    use_all_descriptors();
    let mut writer = Writer::new(Manifest::bare("repl.lua").to_toml().into_bytes());
    writer.file("repl.lua", &b""[..])?;
    // What one's own machine lets one do anyway.
    let grants = "listen = [\"*\", \"*/udp\"]\nconnect = [\"*:*\", \"*:*/udp\"]\nresolve = [\"*\"]\n";
    let launch = Launch { repl: true, ..Launch::parse(&format!("[network]\n{grants}"))? };
    let farewell = host::run([writer.to_bytes(), launch.to_bytes()].concat(), Vec::new(), None, None)?;
    let ran = Ran { app: "repl", timeout: None, memory: None, host: true };
    Ok(told(&end::of_farewell(&farewell, None, ran), &us.voice))
}

/// What becomes of the app's files when they change. `made`: what is run first.
fn watch(args: &Run, words: &[String], made: Made, us: &Us) -> Result<Watch, Problem> {
    if made.1.is_empty() {
        let help = "give the script, or the folder, that it was built from";
        return Err(Problem::new("a bundle does not change", help).at("--watch"));
    }
    let (args, words, voice, cache) = (args.clone(), words.to_vec(), us.voice, us.cache.clone());
    let make = move || {
        let (app, rest) = words.split_first().map_or(("", &[][..]), |(app, rest)| (app.as_str(), rest));
        let packed = pack(&args, app, &voice)?;
        let needs = packed.check().map_err(|e| named(e, app))?;
        payload(&args, app, rest, packed, &needs, &cache, &voice)
    };
    Ok(Watch { make: Box::new(make), made, voice })
}

/// Finds and chooses all that a VM needs.
fn ready(
    args: &Run,
    us: &Us,
    payload: &[u8],
    image: Image,
    network: Network,
    plan: GuestPlan,
    needs: Needs,
) -> Result<Ready, Problem> {
    let voice = &us.voice;
    let qemu = Qemu::find(args.qemu.as_deref(), &us.cache)?;
    let accel = match args.accel {
        AccelChoice::Tcg => Accel::Tcg,
        AccelChoice::Kvm => Accel::Kvm,
        AccelChoice::Auto => {
            let verdict = accel::kvm(&qemu, &image.path, us.executable.as_deref(), &us.cache);
            let word = if verdict.usable { "KVM is used" } else { "KVM is not usable, so TCG is used" };
            voice.info(&format!("{word}: {}", verdict.reason));
            verdict.accel()
        }
    };
    let machine = Machine::named(&args.machine).ok_or_else(|| {
        Problem::new(format!("there is no machine {:?}", args.machine), "lunette run --help")
    })?;
    let memory = memory(args.memory, payload.len() as u64, image.size)?;
    let mut words = network.words;
    words.extend(signing::words(&args.trust));
    if args.require_signed {
        words.push("lunette.require-signed".into());
    }
    if args.profile.is_some() {
        words.push(profile::WORD.into());
    }
    let vm = Vm { image: image.path, payload: None, words, machine, accel, memory, network: network.nic };
    qemu.can(&vm)?;
    voice.info(&format!(
        "{} {} ({}), {} on {}, {} MiB, image {}",
        qemu.name(),
        qemu.version,
        qemu.path.display(),
        machine.name,
        accel.name(),
        memory >> 20,
        vm.image.display()
    ));
    Ok(Ready {
        qemu,
        vm,
        published: network.published,
        reserved: network.reserved,
        timeout: plan.timeout,
        drains: needs.listens,
        app: args.command[0].to_string_lossy().into_owned(),
        name: plan.name,
        memory: args.memory,
    })
}

fn dry_run(mut ready: Ready, us: &Us, payload: &[u8]) -> Result<u8, Problem> {
    let hash = lunette_bundle::sha256_hex(payload);
    let path = us.cache.file(&format!("payloads/{hash}"), payload).map_err(|e| {
        Problem::new(format!("the payload can't be stored: {e}"), "set XDG_CACHE_HOME to a folder of yours")
    })?;
    ready.vm.payload = Some(path);
    if at_a_terminal() {
        ready.vm.words.push("lunette.tty".into());
    }
    println!("{}", ready.qemu.command(&ready.vm, Wires::Terminal).quoted());
    Ok(0)
}

fn foreground(
    mut ready: Ready,
    us: &Us,
    payload: &[u8],
    watch: Option<Watch>,
    wanted: Option<Wanted>,
) -> Result<u8, Problem> {
    let file = tempfile::NamedTempFile::with_prefix(running::prefix()).and_then(|mut file| {
        std::io::Write::write_all(&mut file, payload)?;
        Ok(file)
    });
    let file = file.map_err(|e| {
        let help = "make room, or set TMPDIR to a folder that has some";
        Problem::new(format!("the payload can't be stored: {e}"), help).at(std::env::temp_dir().display())
    })?;
    ready.vm.payload = Some(file.path().to_owned());
    if at_a_terminal() {
        ready.vm.words.push("lunette.tty".into());
    }
    ready.published.iter().for_each(|published| us.voice.say(&format!("published {published}")));
    let options = Options {
        guard: us.executable.clone(),
        limit: limit(ready.timeout),
        streams: Streams::Ours,
        manners: Some(Manners { drains: ready.drains, patience: Box::new(|| PATIENCE) }),
        started: None,
        watch,
        profile: wanted.is_some(),
    };
    let outcome = running::run(&ready.qemu, &ready.vm, options)?;
    match wanted {
        Some(wanted) if outcome.farewell.is_some() => {
            wanted.write(&outcome.profile, &ready.app, &us.voice)?;
        }
        Some(wanted) => wanted.give_up(&us.voice),
        None => {}
    }
    let ran = Ran { app: &ready.app, timeout: ready.timeout, memory: ready.memory, host: false };
    Ok(told(&of_vm(&outcome, &ready.qemu, ran, |line| us.voice.info(line)), &us.voice))
}

/// When a VM is killed that the kernel did not end in time.
pub fn limit(timeout: Option<Duration>) -> Option<Duration> {
    timeout.map(|timeout| timeout.saturating_add(BACKSTOP))
}

/// Tells the end to the person at the terminal; the exit code.
fn told(end: &End, voice: &Voice) -> u8 {
    // What led to it; the console itself has gone to our standard output already.
    end.trace.iter().for_each(|line| eprintln!("{line}"));
    if let Some(problem) = &end.problem {
        voice.error(problem);
    }
    end.code
}

/// As of this app, unless that is said already.
pub fn named(problem: Problem, app: &str) -> Problem {
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

/// [`Packed::check`], remembered for large modules.
fn check(packed: &Packed, cache: &Cache) -> Result<NativeNeeds, Problem> {
    let name = format!("checked/{}", packed.hash);
    let key = concat!("lunette ", env!("CARGO_PKG_VERSION"));
    let payload = Payload::parse(&packed.bytes)?;
    let plan = payload.plan()?;
    let mut size = 0;
    for guest in plan.all() {
        size += payload.main(guest)?.len();
    }
    let large = size >= REMEMBER;
    let known = if large { cache.get(&name, key) } else { None };
    if let Some(needs) = known.and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(needs);
    }
    let needs = packed.check()?;
    if large && let Ok(text) = serde_json::to_string(&needs) {
        cache.put(&name, key, &text);
    }
    Ok(needs)
}

/// The VM's memory; refuses one that can't hold the image and the app.
pub fn memory(wanted: Option<u64>, payload: u64, image: u64) -> Result<u64, Problem> {
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
}
