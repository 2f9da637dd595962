//! From what a component imports to what there is.
//!
//! Promises: an interface is linked only for a component that imports it, and of it only what it imports, for each function
//! costs instructions; every version that is compatible by semver will do (any 0.2 for a 0.2, a prerelease only for itself).
//! What there is not is named, all of it, with the nearest that there is.
//!
//! [`missing`] needs no engine: a host's tool can ask it before anything is compiled.

use std::fmt;

use wasmtime::component::{Component, InstancePre, Linker};

use crate::{Problem, State, http, p2, p3};

/// An interface, and how it is linked.
pub(crate) struct Interface {
    /// `wasi:cli/environment`.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) add: fn(&mut Linker<State>) -> wasmtime::Result<()>,
}

/// An import that there is nothing for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub import: String,
    /// The interface or package that is most like it.
    pub nearest: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let import: String =
            self.import.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        match &self.nearest {
            Some(nearest) => write!(f, "{import} (the nearest that there is: {nearest})"),
            None => f.write_str(&import),
        }
    }
}

/// All that there is.
pub(crate) fn interfaces() -> impl Iterator<Item = &'static Interface> {
    p2::INTERFACES.iter().copied().flatten().chain(p3::INTERFACES).chain(http::INTERFACES)
}

/// Which of these imports (`wasi:cli/environment@0.2.3`) there is nothing for.
pub fn missing<'a>(imports: impl IntoIterator<Item = &'a str>) -> Vec<Missing> {
    let missing = imports.into_iter().filter(|import| find(import).is_none());
    missing.map(|import| Missing { import: import.to_owned(), nearest: nearest(import) }).collect()
}

/// Links what a component imports, and nothing else.
pub(crate) fn link(component: &Component) -> Result<InstancePre<State>, Problem> {
    let engine = component.engine();
    let mut linker = Linker::new(engine);
    linker.only_imports_of(component).map_err(Problem::setup)?;
    let ty = component.component_type();
    // Two versions of one interface are one.
    let mut added: Vec<*const Interface> = Vec::new();
    let mut lacks = false;
    for (import, _) in ty.imports(engine) {
        let Some(interface) = find(import) else {
            lacks = true;
            continue;
        };
        if !added.contains(&std::ptr::from_ref(interface)) {
            added.push(interface);
            linker.instance_as(import);
            (interface.add)(&mut linker).map_err(Problem::setup)?;
        }
    }
    if lacks {
        return Err(Problem::World(missing(ty.imports(engine).map(|(import, _)| import))));
    }
    linker.instantiate_pre(component).map_err(Problem::setup)
}

pub(crate) fn find(import: &str) -> Option<&'static Interface> {
    let (name, version) = split(import)?;
    let track_wanted = track(version);
    let compatible = |there: &str| {
        there == version
            || track_wanted.is_some_and(|begin| there.starts_with(begin) && track(there) == track_wanted)
    };
    interfaces().find(|interface| interface.name == name && compatible(interface.version))
}

/// What all compatible versions begin with: `0.2`, `1`. `None`: it is compatible with nothing but itself.
///
/// Byte by byte, for it is asked a few times for each import of a program that starts.
fn track(version: &str) -> Option<&str> {
    let (mut ends, mut dots, mut digits) = ([0; 2], 0, 0);
    for (at, byte) in version.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' if digits > 0 && dots < 2 => {
                ends[dots] = at;
                (dots, digits) = (dots + 1, 0);
            }
            b'+' if dots == 2 => break,
            _ => return None,
        }
    }
    if dots < 2 || digits == 0 {
        return None;
    }
    match (version.get(..ends[0])?, version.get(..ends[1])?) {
        ("0", "0.0") => None,
        ("0", minor) => Some(minor),
        (major, _) => Some(major),
    }
}

/// `wasi:cli/environment`, `0.2.3`.
fn split(import: &str) -> Option<(&str, &str)> {
    let at = import.bytes().position(|byte| byte == b'@')?;
    Some((import.get(..at)?, import.get(at + 1..)?))
}

/// The same interface in another version; else a package of that name; else a name that is almost the same.
fn nearest(import: &str) -> Option<String> {
    let (name, version) = split(import).unwrap_or((import, ""));
    let package = name.split('/').next().unwrap_or_default();
    let of_package = |interface: &&Interface| interface.name.split('/').next() == Some(package);
    // Of several versions that which begins alike, else the newest, which comes last.
    let likest = |of: &dyn Fn(&&Interface) -> bool| {
        let alike = |there: &str| there.bytes().zip(version.bytes()).take_while(|(a, b)| a == b).count();
        interfaces().filter(of).max_by_key(|interface| alike(interface.version))
    };
    if let Some(interface) = likest(&|interface| interface.name == name) {
        return Some(format!("{}@{}", interface.name, interface.version));
    }
    if let Some(interface) = likest(&of_package) {
        return Some(format!("{package}@{}", interface.version));
    }
    let (distance, interface) = interfaces()
        .map(|interface| (distance(interface.name, name), interface))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= name.len() / 4).then(|| format!("{}@{}", interface.name, interface.version))
}

/// How many letters have to be added, removed or replaced to make `a` of `b`. Long names are as far as can be.
fn distance(a: &str, b: &str) -> usize {
    if b.len() > 128 {
        return usize::MAX;
    }
    strsim::levenshtein(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest_to(import: &str) -> Option<String> {
        let [missing] = missing([import]).try_into().expect(import);
        missing.nearest
    }

    #[test]
    fn every_patch_of_a_version_is_there() {
        for version in ["0.2.0", "0.2.3", "0.2.12", "0.2.99", "0.2.3+build"] {
            assert_eq!(missing([format!("wasi:cli/environment@{version}").as_str()]), [], "{version}");
        }
        for version in ["0.1.0", "0.4.0", "1.2.0", "0.2", "0.2.0-rc-2023-11-10", "0.2.x", ""] {
            assert_eq!(missing([format!("wasi:cli/environment@{version}").as_str()]).len(), 1, "{version}");
        }
        assert_eq!(missing(["wasi:cli/environment"]).len(), 1);
    }

    #[test]
    fn what_is_missing_is_named_with_the_nearest() {
        assert_eq!(nearest_to("wasi:io/poll@0.1.0").as_deref(), Some("wasi:io/poll@0.2.12"));
        assert_eq!(nearest_to("wasi:io/pole@0.2.0").as_deref(), Some("wasi:io@0.2.12"));
        assert_eq!(
            nearest_to("wasi:clock/wall-clock@0.2.0").as_deref(),
            Some("wasi:clocks/wall-clock@0.2.12")
        );
        assert_eq!(nearest_to("acme:rocket/launch@1.0.0"), None);
        assert_eq!(nearest_to("launch"), None);
        assert_eq!(nearest_to(&"x".repeat(100_000)), None);
        let words = missing(["acme:rocket/launch@1.0.0", "wasi:random/random@0.2.1", "wasi:io/poll@2.0.0"]);
        let words: Vec<_> = words.iter().map(Missing::to_string).collect();
        assert_eq!(
            words,
            [
                "acme:rocket/launch@1.0.0",
                "wasi:io/poll@2.0.0 (the nearest that there is: wasi:io/poll@0.2.12)"
            ]
        );
    }

    #[test]
    fn every_interface_is_found_by_its_name() {
        let engine = lunette_native::Engine::of(Default::default()).unwrap();
        let imports = interfaces()
            .map(|interface| format!("(import \"{}@{}\" (instance))", interface.name, interface.version));
        let wat = format!("(component {})", imports.collect::<String>());
        let component = Component::new(engine.wasmtime(), wat::parse_str(wat).unwrap()).unwrap();
        assert!(link(&component).is_ok());
    }

    #[test]
    fn letters_apart() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
