//! From a bundle to a guest: what the image and `lunette run --host` do alike, so that the same bundle
//! behaves alike, to the byte of its transcript.
//!
//! [`start`] reads the payload, lays out the files, makes the guest's world and starts it; [`run`] steps it
//! until it ends, and tells what became of it. What it does not do: wait (its caller knows how), boot,
//! check the bundle's hash (the CLI does).
#![forbid(unsafe_code)]

use std::{fmt::Write, rc::Rc, sync::Arc};

use lunette_bundle::{Bundle, Entry, Error, GuestPlan, HELP, Kind, MANIFEST, Payload, Source};
use lunette_hostcalls::{
    Clock, CodeFrame, Ctx, Ending, Errno, Guest, Limit, Log, Nanos, Net, Network, Preopen, RamFs, Random,
    Stdio, Step, Stream,
    farewell::Farewell,
    ramfs::{BuildError, MountId},
    task::{self, Executor, Host, Timers},
};
use lunette_wasm::{Instance, Limits, Problem};

/// What a host gives.
#[derive(Clone)]
pub struct Services {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub stdio: Arc<dyn Stdio>,
    pub log: Arc<dyn Log>,
    /// Raises the network, and says in one line (with its `help:`) why it could not. Asked once, and only if a guest is
    /// granted any of it.
    pub network: Arc<dyn Fn() -> Result<Arc<dyn Net>, String>>,
    /// Bytes that a guest may have in linear memory if its manifest does not say. What the manifest says is
    /// cut to this.
    pub memory: u64,
    /// Bytes that can be written to a mount for which nobody gave a size.
    pub mount_size: u64,
}

/// A guest that runs, and where its last words go.
pub struct App {
    guest: Instance,
    name: String,
    clock: Arc<dyn Clock>,
    stdio: Arc<dyn Stdio>,
}

/// Nothing was started: one line that says what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// Starts the app in `payload`: a bundle or a bare module, and what the launch adds.
pub fn start(payload: &'static [u8], services: &Services) -> Result<App, Refusal> {
    let payload = Payload::parse(payload)?;
    let plan = payload.plan()?.app;
    let module = payload.main(&plan)?;
    let bundle = match &payload.source {
        Source::Bundle(bundle) => Some(bundle),
        Source::BareWasm(_) => None,
    };
    let ctx = Ctx {
        name: plan.name.clone(),
        args: plan.args.clone(),
        env: plan.env.clone(),
        clock: services.clock.clone(),
        random: services.random.clone(),
        stdio: services.stdio.clone(),
        preopens: preopens(bundle, &plan, services)?,
        network: Network::none(),
        listeners: Vec::new(),
    };
    let limits = Limits {
        memory: plan.memory.unwrap_or(services.memory).min(services.memory),
        table_elements: plan.tables,
        time: plan.timeout.map(|timeout| Nanos::try_from(timeout.as_nanos()).unwrap_or(Nanos::MAX)),
        fuel: plan.fuel,
        slices: false,
    };
    let guest = lunette_wasm::start(module, ctx, limits).map_err(|problem| {
        let help = match problem {
            // The manifest allows more than there is: only a larger VM helps.
            Problem::Memory { .. } if plan.memory.is_none_or(|memory| memory > services.memory) => {
                "give the VM more memory (-m), or link the module with a smaller initial memory or stack"
                    .into()
            }
            _ => problem.help(),
        };
        Refusal(format!("{}: {problem}{HELP}{help}", plan.main))
    })?;
    Ok(App { guest, name: plan.name, clock: services.clock.clone(), stdio: services.stdio.clone() })
}

/// The guest's directories, in one file system in memory.
fn preopens(
    bundle: Option<&Bundle<'static>>,
    plan: &GuestPlan,
    services: &Services,
) -> Result<Vec<Preopen>, Refusal> {
    let alone = alone(bundle, plan);
    let files = Arc::new(RamFs::new());
    let mut preopens = Vec::with_capacity(plan.mounts.len());
    for mount in &plan.mounts {
        let limit = mount.writable.then(|| mount.limit.unwrap_or(services.mount_size));
        let place = mount.path.starts_with('/').then(|| normal(&mount.path));
        let refused = |errno: Errno| {
            let help = "give it a path of its own, absolute and without `.` or `..`";
            Refusal(format!("the directory {:?} can't be mounted: {errno}{HELP}{help}", mount.path))
        };
        let (id, root) = files.add_mount(place.as_deref(), mount.writable, limit).map_err(refused)?;
        if let (Some(bundle), Some(from)) = (bundle, mount.from.as_deref()) {
            fill(&files, id, bundle, from).map_err(|error| {
                Refusal(format!("the bundle's {error}{HELP}make it again with `lunette build`"))
            })?;
        }
        if alone && !mount.writable {
            files.set_empty_handed(id);
        }
        preopens.push(Preopen { name: mount.path.clone(), files: files.clone(), root });
    }
    Ok(preopens)
}

/// Did the module come without files, and was it given no directory? Then what it looks for at `/` is not missing
/// but was never granted: so says every other host to a program without directories.
fn alone(bundle: Option<&Bundle<'_>>, plan: &GuestPlan) -> bool {
    let brought = |entry: &Entry<'_>| entry.path != plan.main && entry.path != MANIFEST;
    let files = bundle.is_some_and(|bundle| bundle.visible().any(brought));
    let given = plan.mounts.iter().any(|mount| {
        mount.from.as_deref().is_some_and(|from| !from.is_empty()) || !["/", "/tmp"].contains(&&*mount.path)
    });
    !files && !given
}

/// `/data/` and `/data` are one place.
fn normal(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

/// Puts a folder of the bundle (`""`: all that a guest may see) into a mount. File data stays in the bundle.
fn fill(files: &RamFs, mount: MountId, bundle: &Bundle<'static>, from: &str) -> Result<(), BuildError> {
    let insert = |path: &str, entry: &Entry<'static>| {
        let modified = entry.modified.saturating_mul(1_000_000_000);
        match entry.kind {
            Kind::File(data) => files.insert_file(mount, path, data, modified),
            Kind::Directory => files.insert_dir(mount, path, modified),
            Kind::Symlink(target) => files.insert_symlink(mount, path, target, modified),
        }
        .map(|_| ())
    };
    if from.is_empty() {
        bundle.visible().try_for_each(|entry| insert(entry.path, entry))
    } else {
        bundle.under(from).try_for_each(|(path, entry)| insert(path, entry))
    }
}

/// Runs the app to its end, or until `host` breaks. A trap's words, and where a guest was when it was stopped, go to its
/// standard error.
pub fn run(mut app: App, host: &mut dyn Host) -> Farewell {
    let timers = Rc::new(Timers::default());
    let (clock, stdio) = (app.clock.clone(), app.stdio.clone());
    let mut executor = Executor::new(timers.clone());
    let guest = &mut app.guest;
    executor.spawn(async {
        loop {
            match guest.step() {
                Step::Wait(wait) => task::ready(&wait, &*clock, &*stdio, &timers).await,
                Step::Ended(ending) => return ending,
            }
        }
    });
    let ending = executor.next(&*clock, host);
    drop(executor);
    let Some(ending) = ending else { return Farewell::Stopped };
    match ending {
        Ending::Exited(code) => Farewell::Exit(code),
        Ending::Trapped(trap) => {
            app.say(&format!("error: {} trapped: {}", app.name, trap.message), &trap.backtrace);
            Farewell::Trap
        }
        Ending::Stopped(limit) => {
            app.say(&format!("{} was stopped in:", app.name), app.guest.backtrace());
            match limit {
                Limit::Time => Farewell::Timeout,
                Limit::Fuel => Farewell::Fuel,
            }
        }
    }
}

impl App {
    /// Last words on standard error, with where the guest was.
    fn say(&self, what: &str, backtrace: &[CodeFrame]) {
        let mut words = format!("{what}\n");
        for (i, frame) in backtrace.iter().enumerate() {
            let _ = writeln!(words, "  {i:2}: {frame}");
        }
        let mut rest = words.as_bytes();
        while !rest.is_empty() {
            match self.stdio.write(Stream::Err, rest) {
                Ok(n) if n > 0 => rest = &rest[n..],
                // Nobody listens, or not now: the farewell still tells what became of it.
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lunette_bundle::{Launch, Manifest, MountSpec, Plan};

    use super::*;

    #[test]
    fn a_module_is_alone_until_it_is_given_a_directory() {
        let plan = |paths: &[&str]| {
            let mounts = paths.iter().map(|path| MountSpec { path: (*path).into(), ..MountSpec::default() });
            let launch = Launch { mounts: mounts.collect(), ..Launch::default() };
            Plan::new(None, &Manifest::bare("a.wasm"), &launch).unwrap().app
        };
        assert!(alone(None, &plan(&[])));
        assert!(!alone(None, &plan(&["data"])));
        assert!(!alone(None, &plan(&["/data"])));
        let mut shown = plan(&[]);
        shown.mounts[0].from = Some(".lunette/mounts/0".into());
        assert!(!alone(None, &shown), "`--dir HOST::/:ro`");
    }
}
