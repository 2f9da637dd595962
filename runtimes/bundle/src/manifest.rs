//! `lunette.toml`: what an app is, and what it wants of the world. [`Launch`] is what one run adds.
//!
//! ```toml
//! [app]
//! main = "hello.wasm"                 # the only key that must be there
//!
//! [resources]
//! timeout = "30s"
//!
//! [[mount]]
//! path = "/data"
//! from = "data"
//! ```
//!
//! | key | type | default | meaning |
//! |---|---|---|---|
//! | `app.main` | string | *required* | what to start: a file of the bundle, a module or, with a name that ends in `.lua`, a script |
//! | `app.name` | string | `main` without folder and ending | what messages call the app |
//! | `app.version` | string | none | for people; nothing reads it |
//! | `app.engine` | string | `"auto"` | what executes WebAssembly: `"wasmi"` interprets, `"wasmtime"` runs native code, which `lunette build --aot` makes; `"auto"` is native code where there is some that fits |
//! | `app.args` | strings | `[]` | arguments after the program's name; those of `lunette run` replace them |
//! | `env.NAME` | string | none | environment variables; `-e` adds to them and wins |
//! | `resources.memory` | size | what the host has | cap on the guest's linear memories; on a script's state |
//! | `resources.timeout` | duration | none | the guest is stopped after so long |
//! | `resources.fuel` | number > 0 | none | the guest is stopped after so many units of work |
//! | `resources.table-elements` | number > 0 | 1,000,000 | cap on the elements of all its tables |
//! | `mount.path` | string | *required* | where the guest finds it; a name without `/` in front is a preopen of its own, to the letter |
//! | `mount.from` | string | none: empty | the folder of the bundle that it shows |
//! | `mount.writable` | boolean | `true` without `from`, else `false` | changes stay in RAM and end with the run |
//! | `mount.size` | size | as the host sees fit | cap on what is written to it |
//! | `network.listen` | strings | `[]` | what it may listen on: `"80"`, `"127.0.0.1:8080"`, `"53/udp"` |
//! | `network.connect` | strings | `[]` | whom it may connect to: `"db:5432"`, `"10.0.0.0/8:*"`, `"*:443"` |
//! | `network.resolve` | strings | `[]` | whose addresses it may ask for: `"*.example.org"` |
//! | `http.tls` | table | none: plain HTTP | `cert` and `key`: files of the bundle in PEM, for a guest that handles requests |
//! | `http.max-requests` | number > 0 | as the server sees fit | how many requests it may be at work on at once; beyond them the answer is 503 |
//! | `http.reuse` | number > 0 | 1 | how many requests one instance may serve; by 1 each has a fresh one, which no other has touched |
//! | `http.limits.memory`, `.time`, `.fuel` | size, duration, number > 0 | those of `resources` | what one request may use up |
//! | `route.guest` | string | *required* | who handles these requests: the name of a guest beside the app, or of the app |
//! | `route.host` | string | `"*"` | the host that is asked: a name, `"*.example.org"`, or any |
//! | `route.path` | string | `"/..."` | the path that is asked for; `"/api/..."` is `/api` and all below it |
//! | `guest.name` | string | *required* | another guest beside the app, in the same VM; no two have the same name |
//! | `guest.main` | string | *required* | its module or script: a file of the bundle |
//! | `lua.bytecode` | boolean | `false` | may the script, and what it loads, be bytecode? Lua checks none of it, so a run has to allow it, too |
//! | `guest.engine`, `guest.args`, `guest.env`, `guest.resources`, `guest.lua`, `guest.network`, `guest.http`, `guest.mount` | | | for this guest what `app.engine`, `app.args`, `env`, `resources`, `lua`, `network`, `http` and `mount` are for the app |
//!
//! Sizes are strings such as `"64MiB"` (all units are powers of 1024) or numbers of bytes; durations are
//! strings such as `"30s"`, `"500ms"`, `"2m"`. Any other key is an error. Every guest has the bundle's
//! files at `/`, read-only, and an empty writable `/tmp` of its own; a mount at one of these paths takes its place. What
//! may stand in `network` is told by [`lunette_hostcalls::grants`]; a list has at most 256 entries, and there are at most
//! 64 guests beside the app.
//!
//! Guests beside the app live as long as it does:
//!
//! ```toml
//! [[guest]]
//! name = "metrics"
//! main = "metrics.wasm"
//! [guest.network]
//! listen = ["9100"]
//! ```
//!
//! Of several that handle requests, those that a `[[route]]` leads to are served by the app's listener, each in its own world,
//! with its own grants and limits; TLS is the app's. The route that says most is taken (`Routes` has the rule), and what no
//! route fits goes to the app:
//!
//! ```toml
//! [[guest]]
//! name = "api"
//! main = "api.wasm"
//! [guest.network]
//! connect = ["db:5432"]
//!
//! [[route]]
//! path = "/api/..."
//! guest = "api"
//! ```
//!
//! `launch.toml` is written by the CLI and not by people. It has `args`, `engine`, `memory`, `timeout`, `fuel`,
//! `[env]`, `[network]`, `[http]` and `[[mount]]`, with the same meanings, for the app; `bytecode`, if this run allows it;
//! `watch`, if new versions of the app may come while it runs; `repl`, if a person talks to it on standard input. A machine's
//! user-data has `args` and `[env]` of it, and is the last word on both.

use std::time::Duration;

use lunette_hostcalls::Grants;

use crate::{Engine, Error, Http, Route, keys::Walk, tar};

/// A manifest, read and checked as far as it goes without the bundle around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub version: Option<String>,
    /// The guest that the VM lives and ends with.
    pub app: GuestSpec,
    /// Those beside it.
    pub guests: Vec<GuestSpec>,
    pub routes: Vec<Route>,
}

/// A program, and what it wants of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestSpec {
    pub name: String,
    /// A path in the bundle.
    pub main: String,
    pub engine: Engine,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub memory: Option<u64>,
    pub timeout: Option<Duration>,
    pub fuel: Option<u64>,
    pub table_elements: Option<u64>,
    /// Does it need Lua's bytecode?
    pub bytecode: bool,
    pub mounts: Vec<MountSpec>,
    pub grants: Grants,
    pub http: Http,
}

/// A directory that the guest is given beside `/` and `/tmp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountSpec {
    /// The guest's name for it.
    pub path: String,
    /// The folder of the bundle that it shows; without one it begins empty.
    pub from: Option<String>,
    pub writable: bool,
    /// How many bytes can be written to it.
    pub size: Option<u64>,
}

/// What one `lunette run` adds to a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Take the place of the manifest's arguments.
    pub args: Option<Vec<String>>,
    /// As with the other settings, the manifest's unless it is said.
    pub engine: Option<Engine>,
    /// Added to the manifest's; the same name takes its place.
    pub env: Vec<(String, String)>,
    pub memory: Option<u64>,
    pub timeout: Option<Duration>,
    pub fuel: Option<u64>,
    /// After the manifest's; the same path takes its place.
    pub mounts: Vec<MountSpec>,
    /// Added to the manifest's.
    pub grants: Grants,
    pub http: Http,
    /// Guests that need bytecode may have it.
    pub bytecode: bool,
    /// New versions of the app may come while it runs.
    pub watch: bool,
    /// A person talks to the app on standard input.
    pub repl: bool,
}

impl Manifest {
    /// The manifest of a module that has none.
    pub fn bare(main: impl Into<String>) -> Self {
        let main = main.into();
        let app = GuestSpec { name: stem(&main).to_owned(), main, ..GuestSpec::default() };
        Self { app, ..Self::default() }
    }

    /// Reads a manifest; the first thing wrong with it, if anything is.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::parse_all(text).map_err(|mut errors| errors.swap_remove(0))
    }

    /// Reads a manifest; everything that is wrong with it, in the order in which it was found (at least
    /// one thing).
    pub fn parse_all(text: &str) -> Result<Self, Vec<Error>> {
        let (mut walk, table) = Walk::new(tar::MANIFEST, text);
        if !walk.errors.is_empty() {
            return Err(walk.errors);
        }
        walk.only(
            &table,
            "",
            &["app", "env", "resources", "lua", "mount", "network", "http", "guest", "route"],
        );
        let mut manifest = Self::default();
        if let Some(app) = walk.table(&table, "", "app") {
            walk.only(app, "app", &["name", "version", "main", "engine", "args"]);
            manifest.version = walk.string(app, "app.", "version").map(|(version, _)| version);
            manifest.app = walk.program(app, "app.", 0);
            if !app.contains_key("name") {
                stem(&manifest.app.main).clone_into(&mut manifest.app.name);
            }
        } else if !table.contains_key("app") {
            let help = "say which module to start: `[app]` and below it `main = \"hello.wasm\"`";
            walk.complain("`app.main` is missing".into(), 0, help);
        }
        walk.world(&table, "", &mut manifest.app);
        walk.guests(&table, &mut manifest);
        walk.routes(&table, &mut manifest);
        if walk.errors.is_empty() { Ok(manifest) } else { Err(walk.errors) }
    }
}

impl Launch {
    /// Reads a `launch.toml`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (mut walk, table) = Walk::new(tar::LAUNCH, text);
        if walk.errors.is_empty() {
            let known = [
                "args", "engine", "env", "memory", "timeout", "fuel", "mount", "network", "http", "bytecode",
                "watch", "repl",
            ];
            walk.only(&table, "", &known);
            let launch = Self {
                args: walk.strings(&table, "", "args"),
                engine: walk.engine(&table, ""),
                env: walk.env(&table, ""),
                memory: walk.size(&table, "", "memory"),
                timeout: walk.duration(&table, "", "timeout"),
                fuel: walk.count(&table, "", "fuel"),
                mounts: walk.mounts(&table, ""),
                grants: walk.grants(&table, ""),
                http: Http::read(&mut walk, &table, "", true),
                bytecode: walk.boolean(&table, "", "bytecode").unwrap_or(false),
                watch: walk.boolean(&table, "", "watch").unwrap_or(false),
                repl: walk.boolean(&table, "", "repl").unwrap_or(false),
            };
            if walk.errors.is_empty() {
                return Ok(launch);
            }
        }
        Err(walk.errors.swap_remove(0))
    }

    /// Reads what a platform was given for the machine (its user-data), which is no file of the app's maker or starter: it can
    /// set arguments and variables, and nothing that the app may do.
    pub fn from_user_data(text: &str) -> Result<Self, Error> {
        let (mut walk, table) = Walk::new("user-data", text);
        if walk.errors.is_empty() {
            walk.only(&table, "", &["args", "env"]);
            let (args, env) = (walk.strings(&table, "", "args"), walk.env(&table, ""));
            if walk.errors.is_empty() {
                return Ok(Self { args, env, ..Self::default() });
            }
        }
        Err(walk.errors.swap_remove(0))
    }

    /// What `other` says besides, and in the place of what is said here: arguments and variables.
    pub fn amend(&mut self, other: &Self) {
        self.args = other.args.clone().or(self.args.take());
        for (name, value) in &other.env {
            self.set(name, value);
        }
    }

    /// One variable, in the place of one with that name.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.env.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Does it add nothing?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `bin/hello.wasm` → `hello`
fn stem(main: &str) -> &str {
    let file = main.rsplit_once('/').map_or(main, |(_, file)| file);
    match file.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => file,
    }
}

#[cfg(feature = "write")]
mod write {
    use std::{
        fmt::{Display, Write as _},
        time::Duration,
    };

    use lunette_hostcalls::Grants;

    use super::{Engine, GuestSpec, Http, Launch, Manifest, MountSpec};

    impl Manifest {
        /// As the text of a `lunette.toml`. [`Manifest::parse`] reads it back.
        pub fn to_toml(&self) -> String {
            let mut out = String::from("[app]\n");
            if let Some(version) = &self.version {
                line(&mut out, "version", &quote(version));
            }
            guest(&mut out, "", &self.app);
            for spec in &self.guests {
                out += "\n[[guest]]\n";
                guest(&mut out, "guest.", spec);
            }
            for route in &self.routes {
                out += "\n[[route]]\n";
                line(&mut out, "host", &quote(&route.host.to_string()));
                line(&mut out, "path", &quote(&route.path));
                line(&mut out, "guest", &quote(&route.guest));
            }
            out
        }
    }

    impl Launch {
        /// As the text of a `launch.toml`. [`Launch::parse`] reads it back.
        pub fn to_toml(&self) -> String {
            let mut out = String::new();
            if let Some(args) = &self.args {
                line(&mut out, "args", &array(args));
            }
            if let Some(engine) = self.engine {
                line(&mut out, "engine", &quote(engine.name()));
            }
            number(&mut out, "memory", self.memory);
            duration(&mut out, "timeout", self.timeout);
            number(&mut out, "fuel", self.fuel);
            for (key, set) in [("bytecode", self.bytecode), ("watch", self.watch), ("repl", self.repl)] {
                if set {
                    line(&mut out, key, "true");
                }
            }
            env(&mut out, "", &self.env);
            grants(&mut out, "", &self.grants);
            http(&mut out, "", &self.http);
            mounts(&mut out, "", &self.mounts);
            out
        }
    }

    /// The keys of the table that was begun, and the tables below `section`.
    fn guest(out: &mut String, section: &str, spec: &GuestSpec) {
        line(out, "name", &quote(&spec.name));
        line(out, "main", &quote(&spec.main));
        if spec.engine != Engine::Auto {
            line(out, "engine", &quote(spec.engine.name()));
        }
        if !spec.args.is_empty() {
            line(out, "args", &array(&spec.args));
        }
        env(out, section, &spec.env);
        let mut resources = String::new();
        number(&mut resources, "memory", spec.memory);
        duration(&mut resources, "timeout", spec.timeout);
        number(&mut resources, "fuel", spec.fuel);
        number(&mut resources, "table-elements", spec.table_elements);
        if !resources.is_empty() {
            let _ = write!(out, "\n[{section}resources]\n{resources}");
        }
        if spec.bytecode {
            let _ = write!(out, "\n[{section}lua]\n");
            line(out, "bytecode", "true");
        }
        grants(out, section, &spec.grants);
        http(out, section, &spec.http);
        mounts(out, section, &spec.mounts);
    }

    fn line(out: &mut String, key: &str, value: &str) {
        *out += key;
        *out += " = ";
        *out += value;
        out.push('\n');
    }

    fn number(out: &mut String, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            line(out, key, &value.to_string());
        }
    }

    fn duration(out: &mut String, key: &str, value: Option<Duration>) {
        if let Some(value) = value {
            line(out, key, &quote(&format!("{}ns", value.as_nanos())));
        }
    }

    fn array(items: &[impl Display]) -> String {
        format!("[{}]", items.iter().map(|item| quote(&item.to_string())).collect::<Vec<_>>().join(", "))
    }

    fn env(out: &mut String, section: &str, env: &[(String, String)]) {
        if !env.is_empty() {
            let _ = write!(out, "\n[{section}env]\n");
        }
        for (name, value) in env {
            line(out, &quote(name), &quote(value));
        }
    }

    fn grants(out: &mut String, section: &str, grants: &Grants) {
        if grants.is_empty() {
            return;
        }
        let _ = write!(out, "\n[{section}network]\n");
        if !grants.listen.is_empty() {
            line(out, "listen", &array(&grants.listen));
        }
        if !grants.connect.is_empty() {
            line(out, "connect", &array(&grants.connect));
        }
        if !grants.resolve.is_empty() {
            line(out, "resolve", &array(&grants.resolve));
        }
    }

    fn http(out: &mut String, section: &str, http: &Http) {
        let Http { tls, max_requests, reuse, limits } = http;
        let mut table = |name: &str, lines: String| {
            if !lines.is_empty() {
                let _ = write!(out, "\n[{section}http{name}]\n{lines}");
            }
        };
        let mut lines = String::new();
        number(&mut lines, "max-requests", *max_requests);
        number(&mut lines, "reuse", *reuse);
        table("", lines);
        if let Some(tls) = tls {
            table(".tls", format!("cert = {}\nkey = {}\n", quote(&tls.cert), quote(&tls.key)));
        }
        let mut lines = String::new();
        number(&mut lines, "memory", limits.memory);
        duration(&mut lines, "time", limits.time);
        number(&mut lines, "fuel", limits.fuel);
        table(".limits", lines);
    }

    fn mounts(out: &mut String, section: &str, mounts: &[MountSpec]) {
        for mount in mounts {
            let _ = write!(out, "\n[[{section}mount]]\n");
            line(out, "path", &quote(&mount.path));
            if let Some(from) = &mount.from {
                line(out, "from", &quote(from));
            }
            line(out, "writable", if mount.writable { "true" } else { "false" });
            if let Some(size) = mount.size {
                line(out, "size", &size.to_string());
            }
        }
    }

    /// A TOML basic string.
    fn quote(text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 2);
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out += "\\\"",
                '\\' => out += "\\\\",
                c if c.is_control() => {
                    let _ = write!(out, "\\u{:04X}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        out.push('"');
        out
    }
}
