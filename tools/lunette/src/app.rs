//! What the user names, made into a bundle: a `.wasm`, a `.lua`, a bundle, or a folder with a `lunette.toml`.
//!
//! Everything goes through here, whatever becomes of it, so that the same app is the same bytes in a VM,
//! on the host and in a file. Left out of a folder: `.git`, folders that say by a `CACHEDIR.TAG` that
//! they are caches (cargo's `target`), `.lunette` folders and `*.lunette` files at its top; what is
//! neither file, folder nor link. `app.main` is never left out. A script takes along what it and they require by name, from
//! its own folder.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use lunette_bundle::{Bundle, Kind, MOUNTS, Manifest, MountSpec, Payload, Source, TLS, Tls, Writer};
use lunette_native::Artifact;

use crate::{
    exit, module,
    native::{self, Needs},
    problem::{Problem, Voice},
    script,
};

/// Something that can be made into a bundle.
#[derive(Debug)]
pub enum App {
    /// A module or a component, and its file's name.
    Module(String, Vec<u8>),
    /// A script, its file's name, and the folder that it is in.
    Script(String, PathBuf, Vec<u8>),
    /// Structure and hash were verified.
    Bundle(Vec<u8>),
    Folder(PathBuf, String),
}

/// `--dir`: a folder of the host whose files the guest finds at `guest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirMount {
    pub host: PathBuf,
    pub guest: String,
    pub writable: bool,
}

/// What goes into a bundle beside the app.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    pub dirs: Vec<DirMount>,
    /// For its server: the files of a certificate and of its key, which the app does not find.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Put what is added into the manifest: for a bundle that is kept. Else it is left to the launch.
    pub keep: bool,
    pub env: Vec<(String, String)>,
}

/// A finished bundle.
#[derive(Debug)]
pub struct Packed {
    pub bytes: Vec<u8>,
    pub hash: String,
    /// What shows the `--dir`s, in their order.
    pub mounts: Vec<MountSpec>,
    /// Where the server finds its certificate.
    pub tls: Option<Tls>,
    /// The files that it was made of, and the folders that they were looked for in.
    pub sources: Vec<PathBuf>,
}

impl App {
    /// Opens what the user named.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let shown = path.display();
        let unreadable = |e: io::Error| {
            Problem::new(format!("it can't be read: {e}"), "see that you may read it")
                .at(&shown)
                .code(exit::NOT_RUNNABLE)
        };
        let metadata = fs::metadata(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                let help =
                    "give the path of a .wasm, of a .lua, of a bundle, or of a folder with a lunette.toml";
                Problem::new(format!("there is no {shown}"), help).code(exit::NOT_FOUND)
            }
            _ => unreadable(e),
        })?;
        if metadata.is_dir() {
            return Self::open_folder(path);
        }
        let bytes = fs::read(path).map_err(unreadable)?;
        if looks_like_a_bundle(&bytes) {
            Bundle::parse(&bytes)
                .and_then(|bundle| bundle.verify_hash())
                .map_err(|e| Problem::from(e).at(&shown))?;
            return Ok(Self::Bundle(bytes));
        }
        if let Some(problem) = native::cwasm::refuse(&bytes) {
            return Err(problem.at(&shown));
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("app.wasm");
        if script::is_script(name) || bytes.starts_with(lunette_lua::SIGNATURE) {
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            return Ok(Self::Script(name.to_owned(), folder, bytes));
        }
        Ok(Self::Module(name.to_owned(), bytes))
    }

    fn open_folder(path: &Path) -> Result<Self, Problem> {
        let file = path.join(lunette_bundle::MANIFEST);
        match fs::read(&file) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Self::Folder(path.to_owned(), text)),
                Err(_) => {
                    Err(Problem::new("the manifest is not UTF-8", "save it as UTF-8").at(file.display()))
                }
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let script = ["main.lua", "init.lua", "server.lua", "app.lua"];
                let main = script.into_iter().find(|name| path.join(name).is_file());
                let help = match main {
                    Some(main) => format!(
                        "run {}, or put a lunette.toml into the folder, with `[app]` and below it `main = \"{main}\"`",
                        path.join(main).display()
                    ),
                    None => {
                        "put a lunette.toml into it, with `[app]` and below it `main = \"app.wasm\"`".into()
                    }
                };
                let what = "it is a folder without a lunette.toml";
                Err(Problem::new(what, help).at(path.display()).code(exit::NOT_RUNNABLE))
            }
            Err(e) => {
                let what = format!("the manifest can't be read: {e}");
                let problem = Problem::new(what, "see that you may read it").at(file.display());
                Err(problem.code(exit::NOT_RUNNABLE))
            }
        }
    }

    /// The manifest; for a bare module, the one that it gets.
    pub fn manifest(&self) -> Result<Manifest, Vec<Problem>> {
        let all = |errors: Vec<lunette_bundle::Error>| errors.into_iter().map(Problem::from).collect();
        match self {
            Self::Module(name, _) | Self::Script(name, ..) => Ok(Manifest::bare(name)),
            Self::Folder(_, text) => Manifest::parse_all(text).map_err(all),
            Self::Bundle(bytes) => {
                let text = Bundle::parse(bytes).and_then(|bundle| bundle.manifest().map(str::to_owned));
                Manifest::parse_all(&text.map_err(|e| vec![e.into()])?).map_err(all)
            }
        }
    }

    /// Makes the bundle, with `extras`. The same app and extras give the same bytes, wherever.
    pub fn pack(self, extras: &Extras, voice: &Voice) -> Result<Packed, Problem> {
        if let Self::Bundle(bytes) = &self
            && extras.dirs.is_empty()
            && extras.env.is_empty()
            && extras.tls.is_none()
        {
            let hash = Bundle::parse(bytes)?.hash().to_owned();
            let Self::Bundle(bytes) = self else { unreachable!("it was one a line ago") };
            return Ok(Packed { bytes, hash, mounts: Vec::new(), tls: None, sources: Vec::new() });
        }
        let mut manifest = self.manifest().map_err(|mut all| all.swap_remove(0))?;
        let taken = match &self {
            Self::Bundle(bytes) => mount_count(&Bundle::parse(bytes)?),
            _ => 0,
        };
        let mounts = extras.dirs.iter().enumerate().map(|(n, dir)| MountSpec {
            path: dir.guest.clone(),
            from: Some(format!("{MOUNTS}/{}", taken + n)),
            writable: dir.writable,
            size: None,
        });
        let mounts: Vec<_> = mounts.collect();
        let text = match &self {
            // As its author wrote it, if nothing is added.
            Self::Folder(_, text) if !extras.keep || (mounts.is_empty() && extras.env.is_empty()) => {
                text.clone()
            }
            Self::Bundle(bytes) if !extras.keep => Bundle::parse(bytes)?.manifest()?.to_owned(),
            _ => {
                if extras.keep {
                    manifest.app.mounts.extend(mounts.iter().cloned());
                    for (name, value) in &extras.env {
                        manifest.app.env.retain(|(known, _)| known != name);
                        manifest.app.env.push((name.clone(), value.clone()));
                    }
                }
                manifest.to_toml()
            }
        };
        let mut writer = Writer::new(text.into_bytes());
        writer.modified(source_date_epoch()?);
        let mut sources = Vec::new();
        match &self {
            Self::Module(name, bytes) => writer.file(name, bytes)?,
            Self::Script(name, folder, bytes) => add_script(&mut writer, name, folder, bytes, &mut sources)?,
            Self::Folder(path, _) => add_app(&mut writer, path, &manifest, voice, &mut sources)?,
            Self::Bundle(bytes) => add_bundle(&mut writer, &Bundle::parse(bytes)?)?,
        }
        for (dir, mount) in extras.dirs.iter().zip(&mounts) {
            let at = mount.from.as_deref().unwrap_or_default();
            let metadata = fs::metadata(&dir.host).map_err(|e| {
                let help = "give the path of a folder that is there";
                Problem::new(format!("the folder can't be opened: {e}"), help)
                    .at(dir.host.display())
                    .at("--dir")
            })?;
            if !metadata.is_dir() {
                let help = "give the path of a folder";
                return Err(Problem::new("this is no folder", help).at(dir.host.display()).at("--dir"));
            }
            writer.directory(at)?;
            Tree { root: &dir.host, at, top: None, voice, sources: &mut sources }
                .add(&mut writer, Path::new(""))?;
        }
        let tls = extras.tls.as_ref().map(|(cert, key)| {
            let mut add = |path: &Path, name: &str| {
                let unreadable = |e: io::Error| {
                    let help = "give the path of a file in PEM";
                    Problem::new(format!("it can't be read: {e}"), help).at(path.display()).at("--tls")
                };
                let name = format!("{TLS}/{name}.pem");
                writer.file(&name, fs::read(path).map_err(unreadable)?)?;
                Ok::<_, Problem>(name)
            };
            Ok::<_, Problem>(Tls { cert: add(cert, "cert")?, key: add(key, "key")? })
        });
        let tls = tls.transpose()?;
        let (bytes, hash) = write(&writer)?;
        Ok(Packed { bytes, hash, mounts, tls, sources })
    }
}

impl Packed {
    /// Refuses an app that could not start: a bad manifest, a missing file, a module that can't be run. Says which
    /// programs are not interpreted, and why.
    pub fn check(&self) -> Result<Needs, Problem> {
        let payload = Payload::parse(&self.bytes)?;
        let plan = payload.plan()?;
        let mut needs = Needs::new();
        for guest in plan.all() {
            if let Some(need) = module::check(&payload, guest)? {
                needs.insert(guest.main.clone(), need);
            }
        }
        Ok(needs)
    }

    /// The same bundle with this native code for its programs, and its hash.
    pub fn with_native(&self, made: &BTreeMap<&str, Artifact>) -> Result<(Vec<u8>, String), Problem> {
        let bundle = Bundle::parse(&self.bytes)?;
        let mut writer = Writer::new(bundle.manifest()?.as_bytes());
        writer.modified(bundle.entries().first().map_or(0, |first| first.modified));
        for (main, artifact) in made {
            writer.native(main, artifact.label.to_string().into_bytes(), &artifact.code[..])?;
        }
        add_bundle(&mut writer, &bundle)?;
        write(&writer)
    }
}

/// The bundle, and its hash.
fn write(writer: &Writer<'_>) -> Result<(Vec<u8>, String), Problem> {
    let mut bytes = Vec::new();
    let written = writer.write(&mut bytes);
    let written = written.map_err(|e| Problem::new(format!("no bundle: {e}"), "try again"))?;
    Ok((bytes, written.hash))
}

/// A tar's first header is that of a `lunette.toml`, or pretends to be.
fn looks_like_a_bundle(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar") && bytes.starts_with(lunette_bundle::MANIFEST.as_bytes())
}

/// The time in a bundle's entries: 1970, unless the builder says otherwise (reproducible-builds.org).
pub fn source_date_epoch() -> Result<u64, Problem> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    match std::env::var(NAME) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| {
            Problem::new(
                format!("{NAME} is {text:?}, no number of seconds"),
                format!("unset {NAME}, or correct it"),
            )
        }),
        _ => Ok(0),
    }
}

/// The first number that no mount of the bundle has.
fn mount_count(bundle: &Bundle<'_>) -> usize {
    let numbers = bundle.under(MOUNTS).filter_map(|(path, _)| path.parse::<usize>().ok());
    numbers.max().map_or(0, |n| n.saturating_add(1))
}

/// All that is in a bundle, but what is there already in its place.
fn add_bundle<'a>(writer: &mut Writer<'a>, bundle: &Bundle<'a>) -> Result<(), Problem> {
    for entry in bundle.entries().iter().skip(1) {
        match entry.kind {
            Kind::File(_) if writer.contains(entry.path) => {}
            Kind::File(data) => writer.file(entry.path, data)?,
            Kind::Directory => writer.directory(entry.path)?,
            Kind::Symlink(target) => writer.symlink(entry.path, target)?,
        }
    }
    Ok(())
}

/// A script, and what it and they require, under the names that it has beside it.
fn add_script<'a>(
    writer: &mut Writer<'a>,
    name: &str,
    folder: &Path,
    bytes: &'a [u8],
    sources: &mut Vec<PathBuf>,
) -> Result<(), Problem> {
    let find = |path: &str| {
        if path == name {
            return Some(bytes.to_vec());
        }
        let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if plain { fs::read(folder.join(path)).ok() } else { None }
    };
    writer.file(name, bytes)?;
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    sources.extend([here.to_owned(), folder.join(name)]);
    for path in script::files(name, &find).iter().skip(1) {
        let file = folder.join(path);
        let bytes = find(path).ok_or_else(|| {
            Problem::new("it can't be read any more", "see that nobody takes it away").at(file.display())
        })?;
        writer.file(path, bytes)?;
        sources.extend(file.parent().map(Path::to_owned));
        sources.push(file);
    }
    Ok(())
}

/// The folder of an app, and its guests' modules even if they are in a cache.
fn add_app(
    writer: &mut Writer<'_>,
    path: &Path,
    manifest: &Manifest,
    voice: &Voice,
    sources: &mut Vec<PathBuf>,
) -> Result<(), Problem> {
    sources.push(path.join(lunette_bundle::MANIFEST));
    Tree { root: path, at: "", top: Some(&manifest.app.main), voice, sources }.add(writer, Path::new(""))?;
    let guests = manifest.guests.iter().map(|guest| ("guest.main", &guest.main));
    for (key, main) in std::iter::once(("app.main", &manifest.app.main)).chain(guests) {
        if !writer.contains(main) {
            let file = path.join(main);
            let bytes = fs::read(&file).map_err(|e| {
                let help = format!("build the module first, or correct `{key}`");
                Problem::new(format!("`{key}`, {main:?}, can't be read: {e}"), help).at(file.display())
            })?;
            writer.file(main, bytes)?;
            sources.push(file);
        }
    }
    Ok(())
}

/// A folder of the host on its way into a bundle.
struct Tree<'t> {
    root: &'t Path,
    /// Where in the bundle.
    at: &'t str,
    /// Is this an app's own folder, whose top has names that are not for the bundle? Its module.
    top: Option<&'t str>,
    voice: &'t Voice,
    sources: &'t mut Vec<PathBuf>,
}

impl Tree<'_> {
    fn add(&mut self, writer: &mut Writer<'_>, inner: &Path) -> Result<(), Problem> {
        let folder = self.root.join(inner);
        let failed = |e: io::Error, path: &Path| {
            Problem::new(format!("it can't be read: {e}"), "see that you may read it").at(path.display())
        };
        let entries = fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|e| failed(e, &folder))?;
        self.sources.push(folder);
        for entry in entries {
            let path = entry.path();
            let inner = inner.join(entry.file_name());
            let Some(name) = inner.to_str() else {
                let what = "the name is not UTF-8, which a bundle's names are";
                return Err(Problem::new(what, "rename it").at(path.display()));
            };
            let kind = entry.file_type().map_err(|e| failed(e, &path))?;
            if self.left_out(name, &path, kind) {
                continue;
            }
            let name = if self.at.is_empty() { name.to_owned() } else { format!("{}/{name}", self.at) };
            let added = if kind.is_dir() {
                writer.directory(&name).map(|()| self.add(writer, &inner)).map_err(Problem::from)?
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(|e| failed(e, &path))?;
                match target.to_str() {
                    Some(target) => writer.symlink(&name, target).map_err(Problem::from),
                    None => Err(Problem::new("the link's target is not UTF-8", "point it elsewhere")),
                }
            } else if kind.is_file() {
                let bytes = fs::read(&path).map_err(|e| failed(e, &path))?;
                self.sources.push(path.clone());
                writer.file(&name, bytes).map_err(Problem::from)
            } else {
                self.voice.warn(&format!("{} is left out: no file, folder or link", path.display()));
                Ok(())
            };
            added.map_err(|e| if e.place.is_empty() { e.at(path.display()) } else { e })?;
        }
        Ok(())
    }

    fn left_out(&self, name: &str, path: &Path, kind: fs::FileType) -> bool {
        let Some(main) = self.top else { return false };
        if name == main {
            return false;
        }
        match name {
            lunette_bundle::MANIFEST | ".lunette" | ".git" => true,
            _ if kind.is_file() => !name.contains('/') && name.ends_with(".lunette"),
            _ => kind.is_dir() && is_cache(path),
        }
    }
}

/// <https://bford.info/cachedir/>
fn is_cache(folder: &Path) -> bool {
    fs::read(folder.join("CACHEDIR.TAG"))
        .is_ok_and(|tag| tag.starts_with(b"Signature: 8a477f597d28d172789f06886806bc55"))
}

/// The module that a payload starts, for whoever looks at it.
pub fn main_of(bytes: &[u8]) -> Result<&[u8], Problem> {
    let payload = Payload::parse(bytes)?;
    match &payload.source {
        Source::BareWasm(bytes) => Ok(bytes),
        Source::Bundle(_) => Ok(payload.main(&payload.plan()?.app)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn voice() -> Voice {
        Voice::new(true, false)
    }

    fn put(dir: &Path, name: &str, bytes: &[u8]) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn names(packed: &Packed) -> Vec<String> {
        Bundle::parse(&packed.bytes).unwrap().entries().iter().map(|entry| entry.path.to_owned()).collect()
    }

    #[test]
    fn a_module_is_wrapped_and_named_after_its_file() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "hello.wasm", MODULE);
        let packed =
            App::open(&dir.path().join("hello.wasm")).unwrap().pack(&Extras::default(), &voice()).unwrap();
        assert_eq!(names(&packed), ["lunette.toml", "hello.wasm"]);
        let plan = Payload::parse(&packed.bytes).unwrap().plan().unwrap();
        assert_eq!((&*plan.app.name, &*plan.app.args[0]), ("hello", "hello.wasm"));
        assert_eq!(main_of(&packed.bytes).unwrap(), MODULE);
    }

    #[test]
    fn a_folder_is_packed_without_what_is_not_the_apps() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let toml = "# mine\n[app]\nmain = \"target/release/a.wasm\"\n";
        put(at, "lunette.toml", toml.as_bytes());
        put(at, "target/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n");
        put(at, "target/release/a.wasm", MODULE);
        put(at, "target/release/a.d", b"");
        put(at, ".git/HEAD", b"");
        put(at, "old.lunette", b"");
        put(at, "data/x.lunette", b"");
        put(at, "data/.git/y", b"");
        std::os::unix::fs::symlink("x.lunette", at.join("data/link")).unwrap();
        let packed = App::open(at).unwrap().pack(&Extras::default(), &voice()).unwrap();
        let want = "lunette.toml data data/.git data/.git/y data/link data/x.lunette target target/release \
                    target/release/a.wasm";
        assert_eq!(names(&packed), want.split(' ').collect::<Vec<_>>());
        assert_eq!(Bundle::parse(&packed.bytes).unwrap().manifest().unwrap(), toml);
    }

    #[test]
    fn dirs_become_numbered_mounts_and_the_bundle_stays_the_same_to_the_byte() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "a.wasm", MODULE);
        put(dir.path(), "in/f", b"1");
        let module = dir.path().join("a.wasm");
        let mount = DirMount { host: dir.path().join("in"), guest: "/in".into(), writable: false };
        let mut extras = Extras { dirs: vec![mount], ..Extras::default() };
        let packed = App::open(&module).unwrap().pack(&extras, &voice()).unwrap();
        assert_eq!(packed.mounts[0].from.as_deref(), Some(".lunette/mounts/0"));
        assert!(names(&packed).contains(&".lunette/mounts/0/f".to_owned()));
        let again = App::open(&module).unwrap().pack(&extras, &voice()).unwrap();
        assert_eq!(packed.bytes, again.bytes);

        // Kept, they are in the manifest; another one on top gets the next number.
        extras.keep = true;
        extras.env = vec![("K".into(), "V".into())];
        let kept = App::open(&module).unwrap().pack(&extras, &voice()).unwrap();
        let file = dir.path().join("a.lunette");
        fs::write(&file, &kept.bytes).unwrap();
        let app = App::open(&file).unwrap();
        let manifest = app.manifest().unwrap();
        assert_eq!((&manifest.app.mounts, &manifest.app.env), (&kept.mounts, &extras.env));
        extras.keep = false;
        extras.dirs[0].guest = "/again".into();
        let more = app.pack(&extras, &voice()).unwrap();
        assert_eq!(more.mounts[0].from.as_deref(), Some(".lunette/mounts/1"));
        let plan = Payload::parse(&more.bytes).unwrap().plan().unwrap();
        assert_eq!(plan.app.mounts.len(), 3);
    }

    #[test]
    fn what_is_not_there_or_not_an_app_has_dockers_codes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(App::open(&dir.path().join("x")).unwrap_err().code, 127);
        let e = App::open(dir.path()).unwrap_err();
        assert_eq!((e.code, &*e.what), (126, "it is a folder without a lunette.toml"));
    }

    #[test]
    fn a_damaged_bundle_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "a.wasm", MODULE);
        let mut bytes =
            App::open(&dir.path().join("a.wasm")).unwrap().pack(&Extras::default(), &voice()).unwrap().bytes;
        let file = dir.path().join("a.lunette");
        fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        let e = App::open(&file).unwrap_err();
        assert!(e.what.contains("cut short") && e.place.contains("a.lunette") && e.code == 125, "{e}");
        let at = bytes.windows(4).position(|w| w == b"\0asm").unwrap();
        bytes[at + 4] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let e = App::open(&file).unwrap_err();
        assert!(e.what.contains("SHA-256") && e.code == 125, "{e}");
    }
}
