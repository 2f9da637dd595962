//! `lunette inspect`: what is in an app.

use std::fmt::Write as _;

use lunette_bundle::{Bundle, GuestSpec, Http, Kind, Manifest, Payload};
use lunette_component::interfaces::{self, Entry};
use lunette_hostcalls::Grants;
use lunette_native::{Label, Mismatch};
use lunette_wasm::{Provided, Report};
use serde_json::{Value, json};

use crate::{
    app::{App, Extras, Packed},
    background::store::Store,
    cli::{Inspect, Look},
    component::{self, World},
    exit,
    image::{self, Image},
    module,
    native::{self, Needs},
    problem::{Problem, printable},
    run::Us,
    script::{self, Findings},
    verbs::ps,
};

/// Prints contents, manifest, hash and imports. A module that can't be run is still shown, with the reason.
pub fn inspect(args: &Inspect, us: &Us) -> Result<u8, Problem> {
    let thing = args.thing.to_string_lossy();
    let looks_like_a_path = thing.contains('/')
        || [".wasm", ".lua", ".lunette", ".bundle"].iter().any(|end| thing.ends_with(end));
    if !looks_like_a_path && !args.thing.exists() {
        let entry = Store::of_user()?.find(&thing).map_err(|mut problem| {
            if problem.what.starts_with("there is no VM") {
                problem.what = format!("there is no app and no VM {thing}");
                problem.code = exit::NOT_FOUND;
            }
            problem
        })?;
        if args.format.json() {
            super::print_json(&ps::whole(&entry))?;
        } else {
            super::print(&ps::text(&entry))?;
        }
        return Ok(0);
    }
    let args = Look { format: args.format, app: args.thing.clone() };
    let app = App::open(&args.app)?;
    let kind = match &app {
        App::Module(_, bytes) if component::is_component(bytes) => "component",
        App::Module(..) => "module",
        App::Script(..) => "script",
        App::Bundle(_) => "bundle",
        App::Folder(..) => "folder",
    };
    let packed = app.pack(&Extras::default(), &us.voice).map_err(|e| e.at(args.app.display()))?;
    let bundle = Bundle::parse(&packed.bytes)?;
    // Of a bundle from outside this was verified when it was opened; for all others it is cheap.
    bundle.verify_hash()?;
    let manifest =
        Manifest::parse(bundle.manifest()?).map_err(|e| Problem::from(e).at(args.app.display()))?;
    let module = program(&packed.bytes, &bundle, &manifest).map_err(|e| e.at(args.app.display()));
    let native = natives(&packed.bytes).map_err(|e| e.at(args.app.display()));
    let image = Boots::look(&packed, us);
    let native_code = native.as_deref().unwrap_or_default();
    if args.format.json() {
        let mut json = as_json(kind, &bundle, &manifest, &module, native_code);
        json["image"] = image.map_or(Value::Null, |image| image.json());
        super::print_json(&json)?;
    } else {
        let mut text = as_text(kind, &bundle, &manifest, &module, native_code);
        if let Some(image) = image {
            text += &format!("\n{}\n", image.text());
        }
        super::print(&text)?;
    }
    match module.and_then(|program| native.map(|_| program)) {
        Err(problem) => {
            us.voice.error(&problem);
            Ok(problem.code)
        }
        Ok(_) => Ok(0),
    }
}

/// What `lunette run` would boot.
struct Boots {
    needs: image::Needs,
    image: Result<Image, Problem>,
}

impl Boots {
    /// For an app that can run.
    fn look(packed: &Packed, us: &Us) -> Option<Self> {
        let payload = Payload::parse(&packed.bytes).ok()?;
        let plan = payload.plan().ok()?;
        let needs = image::needs(&payload, &plan, &packed.check().ok()?).ok()?;
        let image = image::choose(None, us.executable.as_deref(), &needs);
        Some(Self { needs, image })
    }

    fn text(&self) -> String {
        let needs = image::words(&self.needs);
        match &self.image {
            Ok(image) => format!("image: {image}, for it needs {needs}"),
            Err(problem) => format!("image: it needs one with {needs}; {problem}"),
        }
    }

    fn json(&self) -> Value {
        let needs: Vec<_> = self.needs.iter().map(|runtime| runtime.name()).collect();
        json!({ "needs": needs, "path": self.image.as_ref().ok().map(|image| &image.path) })
    }
}

/// What the app is, if it is there and can run.
enum Program {
    None,
    /// With the feature that keeps it from being interpreted.
    Module(Box<Report>, Option<&'static str>),
    Component(World),
    Script(Findings),
}

/// Native code in the bundle.
struct Native {
    main: String,
    size: usize,
    label: Result<Label, Mismatch>,
}

/// All that there is; refuses what was made from something else.
fn natives(bytes: &[u8]) -> Result<Vec<Native>, Problem> {
    let payload = Payload::parse(bytes)?;
    // One whose plan is no good is told so elsewhere.
    let Ok(plan) = payload.plan() else { return Ok(Vec::new()) };
    let mut all: Vec<Native> = Vec::new();
    for guest in plan.all() {
        if all.iter().any(|native| native.main == guest.main) {
            continue;
        }
        if let (Some(native), Some(label)) = (payload.native(guest)?, native::verify(&payload, guest)?) {
            all.push(Native { main: guest.main.clone(), size: native.code.len(), label });
        }
    }
    Ok(all)
}

type Module = Result<Program, Problem>;

fn program(bytes: &[u8], bundle: &Bundle<'_>, manifest: &Manifest) -> Module {
    let main = &manifest.app.main;
    let Some(file) = bundle.file(main) else { return Ok(Program::None) };
    if script::is_script(main) {
        let payload = Payload::parse(bytes)?;
        let mut found = module::look(&payload, &payload.plan()?.app, &mut Needs::new())?;
        return if found.errors.is_empty() {
            Ok(Program::Script(found))
        } else {
            Err(found.errors.swap_remove(0))
        };
    }
    Ok(match module::Program::examine(file).map_err(|e| e.at(main))? {
        module::Program::Module(report, feature) => {
            Program::Module(report, feature.map(|feature| feature.name()))
        }
        module::Program::Component(world) => Program::Component(world),
    })
}

fn as_json(
    kind: &str,
    bundle: &Bundle<'_>,
    manifest: &Manifest,
    module: &Module,
    native: &[Native],
) -> Value {
    let entries = bundle.entries().iter().map(|entry| match entry.kind {
        Kind::File(data) => json!({ "path": entry.path, "kind": "file", "size": data.len() }),
        Kind::Directory => json!({ "path": entry.path, "kind": "directory" }),
        Kind::Symlink(target) => json!({ "path": entry.path, "kind": "symlink", "target": target }),
    });
    let mounts = manifest
        .app
        .mounts
        .iter()
        .map(|m| json!({ "path": m.path, "from": m.from, "writable": m.writable, "size": m.size }));
    let env = manifest.app.env.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    json!({
        "kind": kind,
        "size": bundle.bytes().len(),
        "sha256": bundle.hash(),
        "verified": true,
        "app": {
            "name": manifest.app.name,
            "version": manifest.version,
            "main": manifest.app.main,
            "engine": manifest.app.engine.name(),
            "args": manifest.app.args,
        },
        "env": env.collect::<serde_json::Map<_, _>>(),
        "lua": { "bytecode": manifest.app.bytecode },
        "resources": {
            "memory": manifest.app.memory,
            "timeout-ns": manifest.app.timeout.map(|t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)),
            "fuel": manifest.app.fuel,
            "table-elements": manifest.app.table_elements,
        },
        "mounts": mounts.collect::<Vec<_>>(),
        "network": grants_json(&manifest.app.grants),
        "http": http_json(&manifest.app.http),
        "routes": manifest.routes.iter().map(|route| json!({
            "host": route.host.to_string(), "path": route.path, "guest": route.guest,
        })).collect::<Vec<_>>(),
        "guests": manifest.guests.iter().map(guest_json).collect::<Vec<_>>(),
        "entries": entries.collect::<Vec<_>>(),
        "native": native.iter().map(native_json).collect::<Vec<_>>(),
        "module": match module {
            Ok(Program::Module(report, feature)) => module_json(report, *feature),
            _ => Value::Null,
        },
        "component": if let Ok(Program::Component(world)) = module { component_json(world) } else { Value::Null },
        "script": if let Ok(Program::Script(found)) = module { script_json(found) } else { Value::Null },
        "problem": module.as_ref().err().map(|p| json!({ "what": p.what, "where": p.place, "help": p.help })),
    })
}

/// What an app may do with the network.
pub fn grants_json(grants: &Grants) -> Value {
    fn texts(all: &[impl ToString]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }
    json!({
        "listen": texts(&grants.listen),
        "connect": texts(&grants.connect),
        "resolve": texts(&grants.resolve),
    })
}

fn guest_json(guest: &GuestSpec) -> Value {
    json!({
        "name": guest.name, "main": guest.main, "engine": guest.engine.name(), "args": guest.args,
        "network": grants_json(&guest.grants), "http": http_json(&guest.http),
    })
}

fn http_json(http: &Http) -> Value {
    let Http { tls, max_requests, reuse, limits } = http;
    json!({
        "tls": tls.as_ref().map(|tls| json!({ "cert": tls.cert, "key": tls.key })),
        "max-requests": max_requests,
        "reuse": reuse,
        "limits": {
            "memory": limits.memory,
            "time-ns": limits.time.map(|t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)),
            "fuel": limits.fuel,
        },
    })
}

fn native_json(native: &Native) -> Value {
    match &native.label {
        Ok(label) => json!({
            "main": native.main, "size": native.size, "kind": label.kind.name(), "for": label.engine_words(),
            "cpu": label.cpu.name(), "counts-fuel": label.variant.fuel, "of": label.of,
        }),
        Err(mismatch) => {
            json!({ "main": native.main, "size": native.size, "unusable": mismatch.to_string() })
        }
    }
}

fn component_json(world: &World) -> Value {
    let imports = world.imports.iter();
    json!({
        "size": world.size,
        "entry": world.entry().map(entry_words),
        "imports": imports.map(|name| json!({ "name": name, "provided": interfaces::provided(name) })).collect::<Vec<_>>(),
        "exports": world.exports,
        "modules": world.modules,
        "producers": world.producers,
    })
}

fn entry_words(entry: Entry) -> &'static str {
    match entry {
        Entry::Command => "command",
        Entry::Handler => "http-handler",
    }
}

/// The same in words, a line for each kind; none for no grants.
pub fn grants_text(grants: &Grants) -> Vec<String> {
    fn list(words: &str, all: &[impl ToString]) -> Option<String> {
        let all: Vec<_> = all.iter().map(ToString::to_string).collect();
        (!all.is_empty()).then(|| format!("{words} {}", all.join(", ")))
    }
    let lines = [
        list("may listen on", &grants.listen),
        list("may connect to", &grants.connect),
        list("may ask for the addresses of", &grants.resolve),
    ];
    lines.into_iter().flatten().collect()
}

fn script_json(found: &Findings) -> Value {
    json!({ "files": found.files, "requires-built-in": found.built_in })
}

fn module_json(report: &Report, feature: Option<&str>) -> Value {
    let imports = report.imports.iter().map(|import| {
        json!({
            "module": import.module, "name": import.name, "type": import.ty,
            "provided": import.provided == Provided::Yes,
        })
    });
    let exports = report.exports.iter().map(|export| json!({ "name": export.name, "type": export.ty }));
    let limits = |minimum: u64, maximum: Option<u64>| json!({ "minimum": minimum, "maximum": maximum });
    let sections =
        report.sections.iter().map(|s| json!({ "name": s.name, "offset": s.offset, "size": s.size }));
    json!({
        "size": report.size,
        "not-interpreted-for": feature,
        "functions": report.functions,
        "imports": imports.collect::<Vec<_>>(),
        "exports": exports.collect::<Vec<_>>(),
        "memories": report.memories.iter().map(|m| limits(m.minimum, m.maximum)).collect::<Vec<_>>(),
        "tables": report.tables.iter().map(|t| limits(t.minimum, t.maximum)).collect::<Vec<_>>(),
        "data": { "segments": report.data.segments, "bytes": report.data.bytes },
        "names": report.names,
        "debug": report.debug,
        "producers": report.producers,
        "sections": sections.collect::<Vec<_>>(),
    })
}

fn as_text(
    kind: &str,
    bundle: &Bundle<'_>,
    manifest: &Manifest,
    module: &Module,
    native: &[Native],
) -> String {
    let mut out = String::new();
    let version = manifest.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    // Writing to a string does not fail.
    let _ = writeln!(out, "{}{version}: a {kind}", printable(&manifest.app.name));
    let what = if kind == "bundle" { "bundle" } else { "as a bundle" };
    let _ = writeln!(out, "{what}: {} bytes, sha256 {} (verified)", bundle.bytes().len(), bundle.hash());
    let _ = writeln!(out, "\nmanifest:");
    for line in bundle.manifest().unwrap_or_default().lines() {
        let _ = writeln!(out, "  {}", printable(line));
    }
    let guests = std::iter::once(&manifest.app).chain(&manifest.guests);
    for (n, guest) in guests.enumerate() {
        let grants = grants_text(&guest.grants);
        if n > 0 {
            let _ = writeln!(out, "\nbeside it, {}: {}", printable(&guest.name), printable(&guest.main));
        } else if !grants.is_empty() {
            let _ = writeln!(out, "\nnetwork:");
        }
        for line in grants {
            let _ = writeln!(out, "  {}", printable(&line));
        }
    }
    let _ = writeln!(out, "\ncontents:");
    for entry in bundle.entries() {
        let path = printable(entry.path);
        let _ = match entry.kind {
            Kind::File(data) => writeln!(out, "{:>12}  {path}", data.len()),
            Kind::Directory => writeln!(out, "{:>12}  {path}/", ""),
            Kind::Symlink(target) => writeln!(out, "{:>12}  {path} -> {}", "", printable(target)),
        };
    }
    if !manifest.routes.is_empty() {
        let _ = writeln!(out, "\nroutes:");
        for route in &manifest.routes {
            let (host, path, guest) =
                (route.host.to_string(), printable(&route.path), printable(&route.guest));
            let _ = writeln!(out, "  {}{path} goes to {guest}", printable(&host));
        }
    }
    for native in native {
        let _ = writeln!(out, "\nnative code for {}: {} bytes", printable(&native.main), native.size);
        let _ = match &native.label {
            Ok(label) => {
                let counts = if label.variant.fuel { ", counting what it executes" } else { "" };
                writeln!(out, "  for {}, {}{counts}", printable(&label.engine_words()), label.cpu)
            }
            Err(mismatch) => writeln!(out, "  of no use here: {}", printable(&mismatch.to_string())),
        };
        let _ = writeln!(out, "  not signed: nobody can check native code, so its maker has to be trusted");
    }
    let report = match module {
        Ok(Program::Module(report, feature)) => {
            let _ = writeln!(out, "\nmodule {}: {} bytes", printable(&manifest.app.main), report.size);
            if let Some(feature) = feature {
                let _ = writeln!(out, "  uses {feature}: runs as native code only");
            }
            report
        }
        Ok(Program::Component(world)) => {
            component_text(&mut out, &manifest.app.main, world);
            return out;
        }
        Ok(Program::Script(found)) => {
            let list =
                |all: Vec<&str>| if all.is_empty() { "nothing".into() } else { printable(&all.join(", ")) };
            let main = printable(&manifest.app.main);
            let _ = writeln!(out, "\nscript {main}: Lua 5.4");
            let required = found.files.iter().skip(1).map(String::as_str);
            let _ = writeln!(out, "  requires of the bundle: {}", list(required.collect()));
            let built_in = found.built_in.iter().map(String::as_str);
            let _ = writeln!(out, "  requires of what is built in: {}", list(built_in.collect()));
            return out;
        }
        _ => return out,
    };
    let _ = writeln!(out, "  {} functions of its own, {} bytes of data", report.functions, report.data.bytes);
    for memory in &report.memories {
        let most = memory.maximum.map(|most| format!(", at most {most}")).unwrap_or_default();
        let _ = writeln!(out, "  memory: {} bytes to start{most}", memory.minimum);
    }
    let names =
        if report.names { "has names for backtraces" } else { "has no names: backtraces show numbers" };
    let _ = writeln!(out, "  {names}{}", if report.debug { "; has debug information" } else { "" });
    for (field, value) in &report.producers {
        let _ = writeln!(out, "  {field}: {value}");
    }
    let _ = writeln!(out, "\nimports: {}", report.imports.len());
    for import in &report.imports {
        let note = match &import.provided {
            Provided::Yes => String::new(),
            Provided::WithAnotherType(ty) => format!("  NOT PROVIDED: there is one of type {ty}"),
            Provided::No | Provided::UnknownModule => "  NOT PROVIDED".into(),
        };
        let _ = writeln!(out, "  {}::{} {}{note}", import.module, import.name, import.ty);
    }
    out
}

fn component_text(out: &mut String, main: &str, world: &World) {
    let _ = writeln!(out, "\ncomponent {}: {} bytes", printable(main), world.size);
    let what = match world.entry() {
        Some(Entry::Command) => "a command",
        Some(Entry::Handler) => "handles HTTP requests",
        None => "NOTHING TO START: it exports neither a command nor a handler of HTTP requests",
    };
    let _ = writeln!(out, "  {what}; {} core modules", world.modules);
    for (field, value) in &world.producers {
        let _ = writeln!(out, "  {field}: {value}");
    }
    let _ = writeln!(out, "\nimports: {}", world.imports.len());
    for name in &world.imports {
        let note = if interfaces::provided(name) { "" } else { "  NOT PROVIDED" };
        let _ = writeln!(out, "  {}{note}", printable(name));
    }
    let _ = writeln!(out, "\nexports: {}", world.exports.len());
    for name in &world.exports {
        let _ = writeln!(out, "  {}", printable(name));
    }
}
