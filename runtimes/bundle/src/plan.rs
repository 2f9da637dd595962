//! What is to be run, and with what: the manifest and the launch made one.

use std::time::Duration;

use lunette_hostcalls::Grants;

use crate::{Bundle, Engine, Error, GuestSpec, Http, Kind, Launch, Manifest, MountSpec, Native, Routes, tar};

/// What the initrd (or `run --host`) holds: an app, and what this run adds to it.
///
/// Layout: a bundle, then its signature, if it has one, then the launch, if there is one, then nothing or zeros. Signature
/// and launch are each a tar like the bundle's with one file, `bundle.minisig` or `launch.toml`, and begin where the one
/// before ends (a multiple of 4 KiB). So the bundle is the same to the byte wherever it runs, and a signature is that of
/// the bundle alone: nobody signs the launch. A bare module (`\0asm`) in place of the bundle is run as it is; nothing can
/// follow it, so the CLI wraps modules that need a launch into a bundle.
#[derive(Clone, Debug)]
pub struct Payload<'a> {
    pub source: Source<'a>,
    pub manifest: Manifest,
    pub launch: Launch,
    /// The bundle's signature, as it came: nobody has looked at it (`lunette-signature` does).
    pub signature: Option<&'a [u8]>,
}

#[derive(Clone, Debug)]
pub enum Source<'a> {
    Bundle(Bundle<'a>),
    BareWasm(&'a [u8]),
}

/// What a bare module is called.
const BARE: &str = "app.wasm";

/// Everything that whoever starts the guests must know. Nothing in it refers to the payload's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The guest that the VM lives and ends with.
    pub app: GuestPlan,
    /// Those beside it. No two guests have the same name.
    pub guests: Vec<GuestPlan>,
    /// Which of them a request goes to that comes to the app's listener.
    pub routes: Routes,
    /// New versions of the app may come while it runs.
    pub watch: bool,
    /// A person talks to the app on standard input.
    pub repl: bool,
    /// Does this run allow bytecode to those that need it?
    allows_bytecode: bool,
}

/// One guest: what it is, and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestPlan {
    pub name: String,
    /// A file of the bundle ([`Payload::main`] has its bytes).
    pub main: String,
    pub engine: Engine,
    /// With the program's name, `main` without its folder, as the first.
    pub args: Vec<String>,
    /// Each name once.
    pub env: Vec<(String, String)>,
    /// Cap on the guest's linear memories, or on its script's state, in bytes; `None`: what the host has.
    pub memory: Option<u64>,
    pub timeout: Option<Duration>,
    pub fuel: Option<u64>,
    /// Cap on the elements of all the guest's tables.
    pub tables: u64,
    /// May its script be bytecode ([`Plan::allowed`])?
    pub bytecode: bool,
    /// The preopens in order: `/`, `/tmp`, then the manifest's and the launch's. Each path once.
    pub mounts: Vec<Mount>,
    /// What it may do with the network: the manifest's, then the launch's. Each once.
    pub grants: Grants,
    /// How it is served, if it handles requests.
    pub http: Http,
}

/// One directory that the guest is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The guest's name for it, to the letter. One without `/` in front is not visible under `/`.
    pub path: String,
    /// What it shows: `Some("")` all of the bundle but the reserved folder ([`Bundle::visible`]), another
    /// name a folder of the bundle ([`Bundle::under`]), `None` nothing: it begins empty.
    pub from: Option<String>,
    pub writable: bool,
    /// How many bytes can be written to it; `None`: the host chooses, and must choose something.
    pub limit: Option<u64>,
}

/// How many table elements a guest may have whose manifest does not say.
pub const DEFAULT_TABLE_ELEMENTS: u64 = 1_000_000;

impl<'a> Payload<'a> {
    /// Reads what a host was handed. Everything is checked but the bundle's hash and the module.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.starts_with(b"\0asm") {
            let manifest = Manifest::bare(BARE);
            return Ok(Self {
                source: Source::BareWasm(bytes),
                manifest,
                launch: Launch::default(),
                signature: None,
            });
        }
        if bytes.is_empty() {
            return Err(Error::new(
                "there is no app: the payload is empty",
                "",
                "hand the VM a bundle or a .wasm as its initrd",
            ));
        }
        if bytes.get(tar::field::MAGIC) != Some(tar::MAGIC) {
            return Err(Error::new(
                "the app is neither a bundle nor a wasm module",
                "byte 0",
                "hand over a .wasm, or what `lunette build` made",
            ));
        }
        let (bundle, rest) = Bundle::parse_front(bytes)?;
        let manifest = Manifest::parse(bundle.manifest()?)?;
        let (signature, launch) = behind(rest)?;
        Ok(Self { source: Source::Bundle(bundle), manifest, launch, signature })
    }

    /// The module of one of the plan's guests.
    pub fn main(&self, guest: &GuestPlan) -> Result<&'a [u8], Error> {
        match &self.source {
            Source::BareWasm(bytes) => Ok(bytes),
            Source::Bundle(bundle) => {
                bundle.file(&guest.main).ok_or_else(|| no_main(bundle, "main", &guest.main))
            }
        }
    }

    /// The native code for one of the plan's guests, if there is some.
    pub fn native(&self, guest: &GuestPlan) -> Result<Option<Native<'a>>, Error> {
        match &self.source {
            Source::BareWasm(_) => Ok(None),
            Source::Bundle(bundle) => bundle.native(&guest.main),
        }
    }

    /// For a machine that runs no native code but of those whom it trusts, and trusts nobody: refuses a bundle that has some.
    pub fn refuse_unsigned(&self) -> Result<(), Error> {
        let Source::Bundle(bundle) = &self.source else { return Ok(()) };
        match bundle.under(tar::NATIVE).find(|(_, entry)| matches!(entry.kind, Kind::File(_))) {
            Some((path, _)) => Err(Error::new(
                format!(
                    "the bundle has native code ({path}), for which this machine demands a signature, and trusts no key"
                ),
                "lunette.require-signed",
                "name the key of its maker with --trust, build it without --aot, or start the machine without --require-signed",
            )),
            None => Ok(()),
        }
    }

    /// The manifest and the launch made one; what they name is in the bundle.
    pub fn plan(&self) -> Result<Plan, Error> {
        let bundle = match &self.source {
            Source::Bundle(bundle) => Some(bundle),
            Source::BareWasm(_) => None,
        };
        Plan::new(bundle, &self.manifest, &self.launch)
    }
}

impl Plan {
    /// Makes one of `manifest` and `launch`, for an app in `bundle` (`None`: a bare module).
    pub fn new(bundle: Option<&Bundle<'_>>, manifest: &Manifest, launch: &Launch) -> Result<Self, Error> {
        let mut app = GuestPlan::new(bundle, &manifest.app, "app.main")?;
        let guests = manifest
            .guests
            .iter()
            .map(|guest| GuestPlan::new(bundle, guest, "guest.main"))
            .collect::<Result<_, _>>()?;
        if let Some(args) = &launch.args {
            app.args.truncate(1);
            app.args.extend_from_slice(args);
        }
        for (name, value) in &launch.env {
            match app.env.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => value.clone_into(old),
                None => app.env.push((name.clone(), value.clone())),
            }
        }
        app.mount(bundle, &launch.mounts)?;
        app.memory = launch.memory.or(app.memory);
        app.timeout = launch.timeout.or(app.timeout);
        app.fuel = launch.fuel.or(app.fuel);
        add(&mut app.grants.listen, &launch.grants.listen);
        add(&mut app.grants.connect, &launch.grants.connect);
        add(&mut app.grants.resolve, &launch.grants.resolve);
        app.engine = launch.engine.unwrap_or(app.engine);
        app.http.add(&launch.http);
        let routes = Routes::new(manifest)?;
        for (n, guest) in std::iter::once(&app).chain(&guests).enumerate() {
            guest.http.check(bundle)?;
            if n > 0 && guest.http.tls.is_some() && routes.lead_to(n) {
                let what = format!("{} has `http.tls`, and is served by the app's listener", guest.name);
                let help = "put `tls` into the app's [http], or take away the [[route]]s to the guest";
                return Err(Error::new(what, tar::MANIFEST, help));
            }
        }
        Ok(Self {
            app,
            guests,
            routes,
            watch: launch.watch,
            repl: launch.repl,
            allows_bytecode: launch.bytecode,
        })
    }

    /// Refuses guests that want to run what nobody can check, unless this run allows it.
    pub fn allowed(&self) -> Result<(), Error> {
        match self.all().find(|guest| guest.bytecode) {
            Some(guest) if !self.allows_bytecode => Err(Error::new(
                format!("{} wants to run Lua bytecode, which nobody can check", guest.name),
                tar::MANIFEST,
                "allow it with --allow-bytecode if you trust its maker, or take `bytecode` out of [lua]",
            )),
            _ => Ok(()),
        }
    }

    /// All of them, the app first.
    pub fn all(&self) -> impl Iterator<Item = &GuestPlan> {
        std::iter::once(&self.app).chain(&self.guests)
    }
}

impl GuestPlan {
    /// `key` is the manifest's that names the module.
    fn new(bundle: Option<&Bundle<'_>>, spec: &GuestSpec, key: &str) -> Result<Self, Error> {
        if let Some(bundle) = bundle
            && bundle.file(&spec.main).is_none()
        {
            return Err(no_main(bundle, key, &spec.main));
        }
        let program = spec.main.rsplit_once('/').map_or(&*spec.main, |(_, file)| file);
        let mut args = Vec::with_capacity(1 + spec.args.len());
        args.push(program.to_owned());
        args.extend_from_slice(&spec.args);
        let mount = |path: &str, from: Option<&str>, writable| Mount {
            path: path.to_owned(),
            from: from.map(str::to_owned),
            writable,
            limit: None,
        };
        let mounts =
            vec![mount("/", Some("").filter(|_| bundle.is_some()), false), mount("/tmp", None, true)];
        let mut guest = Self {
            name: spec.name.clone(),
            main: spec.main.clone(),
            engine: spec.engine,
            args,
            env: spec.env.clone(),
            memory: spec.memory,
            timeout: spec.timeout,
            fuel: spec.fuel,
            tables: spec.table_elements.unwrap_or(DEFAULT_TABLE_ELEMENTS),
            bytecode: spec.bytecode,
            mounts,
            grants: spec.grants.clone(),
            http: spec.http.clone(),
        };
        guest.mount(bundle, &spec.mounts)?;
        Ok(guest)
    }

    /// Has somebody to count what it executes? Native code is made for one or the other.
    pub fn counts(&self) -> bool {
        self.fuel.is_some() || self.http.limits.fuel.is_some()
    }

    fn mount(&mut self, bundle: Option<&Bundle<'_>>, specs: &[MountSpec]) -> Result<(), Error> {
        for spec in specs {
            let new = resolve(bundle, spec)?;
            match self.mounts.iter_mut().find(|old| same_path(&old.path, &new.path)) {
                Some(old) => *old = new,
                None => self.mounts.push(new),
            }
        }
        Ok(())
    }
}

/// What is not there already.
fn add<T: Clone + PartialEq>(to: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !to.contains(one) {
            to.push(one.clone());
        }
    }
}

/// `/data` and `/data/` are one place.
fn same_path(a: &str, b: &str) -> bool {
    a == b || a.trim_end_matches('/') == b.trim_end_matches('/')
}

fn resolve(bundle: Option<&Bundle<'_>>, spec: &MountSpec) -> Result<Mount, Error> {
    if let Some(from) = &spec.from {
        let there = bundle.and_then(|bundle| bundle.get(from)).map(|entry| entry.kind);
        if there != Some(Kind::Directory) {
            let what = match there {
                Some(_) => format!("{from:?}, which {:?} is to show, is no folder", spec.path),
                None => format!("the bundle has no folder {from:?}, which {:?} is to show", spec.path),
            };
            let help = "put the folder beside lunette.toml, or correct `from` in its [[mount]]";
            return Err(Error::new(what, tar::MANIFEST, help));
        }
    }
    Ok(Mount { path: spec.path.clone(), from: spec.from.clone(), writable: spec.writable, limit: spec.size })
}

fn no_main(bundle: &Bundle<'_>, key: &str, main: &str) -> Error {
    let what = match bundle.get(main).map(|entry| entry.kind) {
        Some(Kind::Directory) => format!("{main:?}, which `{key}` names, is a folder"),
        Some(_) => format!("{main:?}, which `{key}` names, is a link"),
        None => format!("the bundle has no {main:?}, which `{key}` names"),
    };
    Error::new(what, tar::MANIFEST, format!("put the module beside lunette.toml, or correct `{key}` in it"))
}

/// Reads what follows the bundle: its signature and the launch.
fn behind(mut bytes: &[u8]) -> Result<(Option<&[u8]>, Launch), Error> {
    let wrong = |what: String| Error::new(what, "launch", "start it with `lunette run`");
    let what = "what follows the bundle is no launch and no signature";
    let damaged = |e: Error| wrong(format!("{what}: {}", e.what));
    let mut signature = None;
    // Whoever loaded the payload may have padded it: more zeros do no harm.
    while tar::first_not_zero(bytes).is_some() {
        let Some((entry, next)) = crate::read::entry(bytes, 0).map_err(damaged)? else {
            return Err(wrong(what.into()));
        };
        let Kind::File(data) = entry.kind else {
            return Err(wrong(format!("{what}: {:?} is no file", entry.path)));
        };
        let known = entry.path == tar::LAUNCH || entry.path == tar::SIGNATURE && signature.is_none();
        if !known {
            return Err(wrong(format!("{what}: it begins with {:?}", entry.path)));
        }
        let (_, rest) = crate::read::end(bytes, next).map_err(damaged)?;
        match entry.path {
            tar::SIGNATURE => (signature, bytes) = (Some(data), rest),
            _ => {
                if tar::first_not_zero(rest).is_some() {
                    return Err(wrong(format!("{} bytes follow the launch", rest.len())));
                }
                let text =
                    std::str::from_utf8(data).map_err(|_| wrong(format!("{} is not UTF-8", tar::LAUNCH)))?;
                return Ok((signature, Launch::parse(text)?));
            }
        }
    }
    Ok((signature, Launch::default()))
}
