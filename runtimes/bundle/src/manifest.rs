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
//! | `app.main` | string | *required* | the module to start: a file of the bundle |
//! | `app.name` | string | `main` without folder and ending | what messages call the app |
//! | `app.version` | string | none | for people; nothing reads it |
//! | `app.args` | strings | `[]` | arguments after the program's name; those of `lunette run` replace them |
//! | `env.NAME` | string | none | environment variables; `-e` adds to them and wins |
//! | `resources.memory` | size | what the host has | cap on the guest's linear memories |
//! | `resources.timeout` | duration | none | the guest is stopped after so long |
//! | `resources.fuel` | number > 0 | none | the guest is stopped after so many units of work |
//! | `resources.table-elements` | number > 0 | 1,000,000 | cap on the elements of all its tables |
//! | `mount.path` | string | *required* | where the guest finds it; a name without `/` in front is a preopen of its own, to the letter |
//! | `mount.from` | string | none: empty | the folder of the bundle that it shows |
//! | `mount.writable` | boolean | `true` without `from`, else `false` | changes stay in RAM and end with the run |
//! | `mount.size` | size | as the host sees fit | cap on what is written to it |
//!
//! Sizes are strings such as `"64MiB"` (all units are powers of 1024) or numbers of bytes; durations are
//! strings such as `"30s"`, `"500ms"`, `"2m"`. Any other key is an error. Every guest has the bundle's
//! files at `/`, read-only, and an empty writable `/tmp`; a mount at one of these paths takes its place.
//!
//! `launch.toml` is written by the CLI and not by people. It has `args`, `memory`, `timeout`, `fuel`,
//! `[env]` and `[[mount]]`, with the same meanings.

use std::time::Duration;

use crate::{Error, keys::Walk, tar};

/// A manifest, read and checked as far as it goes without the bundle around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub name: String,
    pub version: Option<String>,
    /// A path in the bundle.
    pub main: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub memory: Option<u64>,
    pub timeout: Option<Duration>,
    pub fuel: Option<u64>,
    pub table_elements: Option<u64>,
    pub mounts: Vec<MountSpec>,
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
    /// Added to the manifest's; the same name takes its place.
    pub env: Vec<(String, String)>,
    pub memory: Option<u64>,
    pub timeout: Option<Duration>,
    pub fuel: Option<u64>,
    /// After the manifest's; the same path takes its place.
    pub mounts: Vec<MountSpec>,
}

impl Manifest {
    /// The manifest of a module that has none.
    pub fn bare(main: impl Into<String>) -> Self {
        let main = main.into();
        Self { name: stem(&main).to_owned(), main, ..Self::default() }
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
        walk.only(&table, "", &["app", "env", "resources", "mount"]);
        let mut manifest = Self::default();
        if let Some(app) = walk.table(&table, "app") {
            walk.only(app, "app", &["name", "version", "main", "args"]);
            manifest.version = walk.string(app, "app.", "version").map(|(version, _)| version);
            manifest.args = walk.strings(app, "app.", "args").unwrap_or_default();
            let help = "say which module to start: `main = \"hello.wasm\"`";
            match walk.string(app, "app.", "main") {
                Some((main, at)) => match tar::path_fault(&main) {
                    Some(fault) => walk.complain(format!("`app.main`: {main:?} {fault}"), at, help),
                    None if tar::is_reserved(&main) => {
                        walk.complain(format!("`app.main`: {} is reserved", tar::RESERVED), at, help);
                    }
                    None => manifest.main = main,
                },
                None if app.contains_key("main") => {}
                None => walk.complain("`app.main` is missing".into(), 0, help),
            }
            manifest.name = match walk.string(app, "app.", "name") {
                Some((name, at)) if name.is_empty() => {
                    walk.complain("`app.name` is empty".into(), at, "name the app, or leave the key out");
                    name
                }
                Some((name, _)) => name,
                None => stem(&manifest.main).to_owned(),
            };
        } else if !table.contains_key("app") {
            let help = "say which module to start: `[app]` and below it `main = \"hello.wasm\"`";
            walk.complain("`app.main` is missing".into(), 0, help);
        }
        manifest.env = walk.env(&table);
        if let Some(resources) = walk.table(&table, "resources") {
            walk.only(resources, "resources", &["memory", "timeout", "fuel", "table-elements"]);
            manifest.memory = walk.size(resources, "resources.", "memory");
            manifest.timeout = walk.duration(resources, "resources.", "timeout");
            manifest.fuel = walk.count(resources, "resources.", "fuel");
            manifest.table_elements = walk.count(resources, "resources.", "table-elements");
        }
        manifest.mounts = walk.mounts(&table);
        if walk.errors.is_empty() { Ok(manifest) } else { Err(walk.errors) }
    }
}

impl Launch {
    /// Reads a `launch.toml`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (mut walk, table) = Walk::new(tar::LAUNCH, text);
        if walk.errors.is_empty() {
            walk.only(&table, "", &["args", "env", "memory", "timeout", "fuel", "mount"]);
            let launch = Self {
                args: walk.strings(&table, "", "args"),
                env: walk.env(&table),
                memory: walk.size(&table, "", "memory"),
                timeout: walk.duration(&table, "", "timeout"),
                fuel: walk.count(&table, "", "fuel"),
                mounts: walk.mounts(&table),
            };
            if walk.errors.is_empty() {
                return Ok(launch);
            }
        }
        Err(walk.errors.swap_remove(0))
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
    use std::fmt::Write as _;

    use super::{Launch, Manifest, MountSpec};

    impl Manifest {
        /// As the text of a `lunette.toml`. [`Manifest::parse`] reads it back.
        pub fn to_toml(&self) -> String {
            let mut out = format!("[app]\nname = {}\n", quote(&self.name));
            if let Some(version) = &self.version {
                line(&mut out, "version", &quote(version));
            }
            line(&mut out, "main", &quote(&self.main));
            if !self.args.is_empty() {
                line(&mut out, "args", &array(&self.args));
            }
            env(&mut out, &self.env);
            let mut resources = String::new();
            if let Some(memory) = self.memory {
                line(&mut resources, "memory", &memory.to_string());
            }
            if let Some(timeout) = self.timeout {
                line(&mut resources, "timeout", &quote(&format!("{}ns", timeout.as_nanos())));
            }
            if let Some(fuel) = self.fuel {
                line(&mut resources, "fuel", &fuel.to_string());
            }
            if let Some(elements) = self.table_elements {
                line(&mut resources, "table-elements", &elements.to_string());
            }
            if !resources.is_empty() {
                out += "\n[resources]\n";
                out += &resources;
            }
            mounts(&mut out, &self.mounts);
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
            if let Some(memory) = self.memory {
                line(&mut out, "memory", &memory.to_string());
            }
            if let Some(timeout) = self.timeout {
                line(&mut out, "timeout", &quote(&format!("{}ns", timeout.as_nanos())));
            }
            if let Some(fuel) = self.fuel {
                line(&mut out, "fuel", &fuel.to_string());
            }
            env(&mut out, &self.env);
            mounts(&mut out, &self.mounts);
            out
        }
    }

    fn line(out: &mut String, key: &str, value: &str) {
        *out += key;
        *out += " = ";
        *out += value;
        out.push('\n');
    }

    fn array(items: &[String]) -> String {
        format!("[{}]", items.iter().map(|item| quote(item)).collect::<Vec<_>>().join(", "))
    }

    fn env(out: &mut String, env: &[(String, String)]) {
        if !env.is_empty() {
            *out += "\n[env]\n";
        }
        for (name, value) in env {
            line(out, &quote(name), &quote(value));
        }
    }

    fn mounts(out: &mut String, mounts: &[MountSpec]) {
        for mount in mounts {
            *out += "\n[[mount]]\n";
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
