//! What components can import and what can be asked of them, by name: for whoever looks at one without running it.
//!
//! Promises: an import that [`provided`] names is linked, in every version that the rules of semver let stand for ours. Does
//! not: compare types; what an interface of another version lacks is found when a component is linked.

use crate::link;

/// A package of interfaces, and the version that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// `wasi:io`
    pub name: &'static str,
    pub version: &'static str,
    /// Those that can be imported.
    pub interfaces: &'static [&'static str],
}

/// What a component can be started as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It has a `main`.
    Command,
    /// It is asked by HTTP.
    Handler,
}

/// All that can be imported.
pub const PACKAGES: &[Package] = &[
    Package {
        name: "wasi:cli",
        version: "0.2.12",
        interfaces: &[
            "environment",
            "exit",
            "stderr",
            "stdin",
            "stdout",
            "terminal-input",
            "terminal-output",
            "terminal-stderr",
            "terminal-stdin",
            "terminal-stdout",
        ],
    },
    Package { name: "wasi:clocks", version: "0.2.12", interfaces: &["monotonic-clock", "wall-clock"] },
    Package { name: "wasi:filesystem", version: "0.2.12", interfaces: &["preopens", "types"] },
    Package { name: "wasi:http", version: "0.2.12", interfaces: &["outgoing-handler", "types"] },
    Package { name: "wasi:io", version: "0.2.12", interfaces: &["error", "poll", "streams"] },
    Package { name: "wasi:random", version: "0.2.12", interfaces: &["insecure", "insecure-seed", "random"] },
    Package {
        name: "wasi:sockets",
        version: "0.2.12",
        interfaces: &[
            "instance-network",
            "ip-name-lookup",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    },
    Package { name: "wasi:config", version: "0.2.0-rc.1", interfaces: &["store"] },
    Package { name: "wasi:keyvalue", version: "0.2.0-draft", interfaces: &["atomics", "batch", "store"] },
    Package {
        name: "wasi:cli",
        version: "0.3.0",
        interfaces: &[
            "environment",
            "exit",
            "stderr",
            "stdin",
            "stdout",
            "terminal-input",
            "terminal-output",
            "terminal-stderr",
            "terminal-stdin",
            "terminal-stdout",
            "types",
        ],
    },
    Package {
        name: "wasi:clocks",
        version: "0.3.0",
        interfaces: &["monotonic-clock", "system-clock", "types"],
    },
    Package { name: "wasi:filesystem", version: "0.3.0", interfaces: &["preopens", "types"] },
    Package { name: "wasi:http", version: "0.3.0", interfaces: &["client", "types"] },
    Package { name: "wasi:random", version: "0.3.0", interfaces: &["insecure", "insecure-seed", "random"] },
    Package { name: "wasi:sockets", version: "0.3.0", interfaces: &["ip-name-lookup", "types"] },
];

/// What a component is started by: it exports one of these.
const ENTRIES: &[(&str, &str, Entry)] = &[
    ("wasi:cli/run", "0.2.12", Entry::Command),
    ("wasi:cli/run", "0.3.0", Entry::Command),
    ("wasi:http/incoming-handler", "0.2.12", Entry::Handler),
    ("wasi:http/handler", "0.3.0", Entry::Handler),
];

/// Is there an interface for this import, `wasi:io/streams@0.2.3`?
pub fn provided(import: &str) -> bool {
    link::find(import).is_some()
}

/// What an export starts, if it starts anything.
pub fn entry(export: &str) -> Option<Entry> {
    let (name, version) = export.rsplit_once('@')?;
    let found = ENTRIES.iter().find(|(known, ours, _)| *known == name && track(ours) == track(version));
    found.map(|(.., entry)| *entry)
}

/// The part of a version that has to be equal for one to stand for the other: `0.2` of `0.2.12`, `1` of `1.4.0`, all of one
/// before its release.
fn track(version: &str) -> &str {
    if version.contains('-') {
        return version;
    }
    let parts = if version.starts_with("0.0.") { 3 } else { 1 + usize::from(version.starts_with("0.")) };
    let end = version.match_indices('.').nth(parts - 1).map_or(version.len(), |(at, _)| at);
    &version[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_stand_for_each_other_and_others_do_not() {
        for import in [
            "wasi:io/streams@0.2.0",
            "wasi:io/streams@0.2.99",
            "wasi:cli/types@0.3.0",
            "wasi:config/store@0.2.0-rc.1",
        ] {
            assert!(provided(import), "{import}");
        }
        for import in [
            "wasi:io/streams",
            "wasi:io/streams@0.1.0",
            "wasi:io/streams@0.3.0",
            "wasi:io/streams@0.2.0-rc-2023-11-10",
            "wasi:config/store@0.2.0-rc.2",
            "wasi:io/steams@0.2.0",
            "wasi:io@0.2.0",
            "io/streams@0.2.0",
            "@",
            "",
        ] {
            assert!(!provided(import), "{import}");
        }
        assert_eq!([track("1.4.0"), track("0.0.3"), track("0.2"), track("2")], ["1", "0.0.3", "0.2", "2"]);
    }

    #[test]
    fn what_is_listed_is_what_is_linked() {
        let listed = PACKAGES.iter().flat_map(|package| {
            package.interfaces.iter().map(|name| format!("{}/{name}@{}", package.name, package.version))
        });
        let mut listed: Vec<_> = listed.collect();
        let linked = link::interfaces().map(|there| format!("{}@{}", there.name, there.version));
        let mut linked: Vec<_> = linked.collect();
        listed.sort();
        linked.sort();
        assert_eq!(listed, linked);
    }

    #[test]
    fn a_command_and_a_handler_are_known_by_their_exports() {
        assert_eq!(entry("wasi:cli/run@0.2.3"), Some(Entry::Command));
        assert_eq!(entry("wasi:cli/run@0.3.0"), Some(Entry::Command));
        assert_eq!(entry("wasi:http/incoming-handler@0.2.0"), Some(Entry::Handler));
        assert_eq!(entry("wasi:http/handler@0.3.1"), Some(Entry::Handler));
        for export in ["wasi:http/incoming-handler@0.3.0", "wasi:cli/run", "run", "wasi:cli/run@0.2.0-rc"] {
            assert_eq!(entry(export), None, "{export}");
        }
    }
}
