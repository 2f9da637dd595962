//! `lunette image ls|pull|verify|mirror|prune`: images of releases, from a server or a folder.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use lunette_releases::{Index, Source, Store, seal};
use lunette_signature::PublicKey;
use serde_json::json;

use crate::{
    cli::{Releases, ReleasesFrom},
    problem::Problem,
    run::Us,
    verbs::{print, print_json},
};

/// What images are built for. (The kernel knows no other.)
const ARCHITECTURE: &str = "x86_64";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where releases are, if no flag says it.
const FROM: &str = "LUNETTE_RELEASES";
/// Whose signature on an index is believed unless --key says otherwise: as this variable says, or as it did when the command line
/// was built.
const KEYS: &str = "LUNETTE_RELEASE_KEYS";
const BUILT_IN: Option<&str> = option_env!("LUNETTE_RELEASE_KEYS");

impl From<lunette_releases::Error> for Problem {
    fn from(e: lunette_releases::Error) -> Self {
        Self::new(e.what, e.help).at(e.place)
    }
}

/// What was pulled: `$XDG_DATA_HOME/lunette/images`, or below `~/.local/share`.
pub fn store(keys: &[PublicKey]) -> Option<Store> {
    let dir = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let base = dir("XDG_DATA_HOME").or_else(|| Some(dir("HOME")?.join(".local/share")))?;
    let keys = if keys.is_empty() { ours() } else { keys.to_vec() };
    Some(Store::new(base.join("lunette/images"), keys, VERSION))
}

/// The releases' own keys.
pub fn ours() -> Vec<PublicKey> {
    let said = std::env::var(KEYS).ok().filter(|keys| !keys.is_empty());
    let keys = said.as_deref().or(BUILT_IN).unwrap_or_default().split_whitespace();
    keys.filter_map(|key| PublicKey::parse(key.as_bytes()).ok()).collect()
}

/// Where releases are, if anybody says it.
pub fn from() -> Option<String> {
    std::env::var(FROM).ok().filter(|from| !from.is_empty())
}

/// The folder of pulled images of our release, whether it is there or not.
pub fn pulled() -> Option<PathBuf> {
    store(&[]).map(|store| store.version(VERSION))
}

/// Checks the file of an image or of a loader, wherever it lies: one that was pulled against the signed index that it came with,
/// any other against its own seal.
pub fn check(file: &Path) -> Result<(), Problem> {
    let name = file.file_name().and_then(|name| name.to_str());
    match (store(&[]), file.parent(), name) {
        (Some(store), Some(folder), Some(name)) if folder == store.version(VERSION) => {
            store.verify(VERSION, &[name])?;
        }
        _ => seal::check(file)?,
    }
    Ok(())
}

fn needed(keys: &[PublicKey]) -> Result<Store, Problem> {
    store(keys).ok_or_else(|| {
        Problem::new("there is no place for images: neither XDG_DATA_HOME nor HOME is set", "set one of them")
    })
}

impl ReleasesFrom {
    fn open(&self) -> Result<(Source, Store), Problem> {
        let from = self.from.clone().or_else(from);
        let Some(from) = from else {
            let what = "nobody says where releases are";
            return Err(Problem::new(
                what,
                format!("name a URL or a mirror's folder with --from, or in {FROM}"),
            ));
        };
        Ok((Source::new(&from)?, needed(&self.key)?))
    }
}

pub fn releases(verb: &Releases, us: &Us) -> Result<u8, Problem> {
    let now = SystemTime::now();
    match verb {
        Releases::Ls { from, format } => {
            let store = needed(&from.key)?;
            let here = store.all()?;
            let named = from.from.is_some() || self::from().is_some();
            let index = match named {
                true => Some(
                    from.open().and_then(|(source, store)| Ok(store.index(&source, &from.stream, now)?))?,
                ),
                false => None,
            };
            if format.json() {
                let here: Vec<_> = here
                    .iter()
                    .map(|it| json!({ "version": it.version, "folder": it.folder, "size": it.size }))
                    .collect();
                print_json(&json!({ "here": here, "index": index }))?;
            } else {
                let mut text: String = here
                    .iter()
                    .map(|it| {
                        format!("here     {}  {} bytes  {}\n", it.version, it.size, it.folder.display())
                    })
                    .collect();
                text += &index.as_ref().map(listed).unwrap_or_default();
                if text.is_empty() {
                    us.voice.say("no images were pulled; --from says what there is");
                }
                print(&text)?;
            }
        }
        Releases::Pull { from, artifacts } => {
            let (source, store) = from.open()?;
            let (installed, new) = store.pull(&source, &from.stream, ARCHITECTURE, artifacts, now)?;
            let word = if new.is_empty() { "all was here".to_owned() } else { new.join(", ") };
            print(&format!("{}  {}  {word}\n", installed.folder.display(), installed.version))?;
            if installed.version != VERSION {
                us.voice.warn(&format!(
                    "this command is of version {VERSION}: it takes images of {} only with --image",
                    installed.version
                ));
            }
        }
        Releases::Verify { key, versions } => {
            let store = needed(key)?;
            let all = match versions.is_empty() {
                true => store.all()?.into_iter().map(|it| it.version).collect(),
                false => versions.clone(),
            };
            if all.is_empty() {
                return Err(Problem::new("no images were pulled", "`lunette image pull`"));
            }
            for version in all {
                let good = store.verify(&version, &[])?;
                print(&format!("{version}  good: {}\n", good.join(", ")))?;
            }
        }
        Releases::Mirror { from, folder } => {
            let (source, store) = from.open()?;
            let new = store.mirror(&source, &from.stream, folder, now)?;
            print(&format!("{}  {} new files\n", folder.display(), new.len()))?;
        }
        Releases::Prune { keep } => {
            let gone = needed(&[])?.prune(keep.as_deref().unwrap_or(VERSION))?;
            let text: String = gone.iter().map(|it| format!("{}  {} bytes\n", it.version, it.size)).collect();
            print(&text)?;
        }
    }
    Ok(0)
}

/// A line for each file.
fn listed(index: &Index) -> String {
    let mut text = String::new();
    for (architecture, all) in &index.architectures {
        for (name, artifact) in &all.artifacts {
            for file in artifact.formats.values().flat_map(|format| format.values()) {
                text += &format!(
                    "{:<8} {}  {architecture}  {name}  {}  {} bytes\n",
                    index.stream, index.version, file.location, file.size
                );
            }
        }
    }
    text
}
