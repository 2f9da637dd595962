//! How a guest that handles requests is served: the `[http]` table.

use std::time::Duration;

use toml::de::DeTable;

use crate::{Bundle, Error, keys::Walk, tar};

/// What `[http]` says; what it does not say, the server chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    pub tls: Option<Tls>,
    /// How many requests it may be at work on at once.
    pub max_requests: Option<u64>,
    /// How many requests one instance may serve, one after the other.
    pub reuse: Option<u64>,
    /// What one request may use up.
    pub limits: HttpLimits,
}

/// The server's end of TLS: files of the bundle, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate, and those that lead from it towards the root.
    pub cert: String,
    pub key: String,
}

/// `None`: no less than what the guest has in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of linear memory.
    pub memory: Option<u64>,
    pub time: Option<Duration>,
    pub fuel: Option<u64>,
}

impl Http {
    /// Reads the table `http` of a manifest (`ours`: of a launch, which may name reserved files).
    pub(crate) fn read<'d>(walk: &mut Walk<'d>, table: &DeTable<'d>, section: &str, ours: bool) -> Self {
        let mut http = Self::default();
        let Some(table) = walk.table(table, section, "http") else { return http };
        let section = format!("{section}http");
        walk.only(table, &section, &["tls", "max-requests", "reuse", "limits"]);
        let section = section + ".";
        http.max_requests = walk.count(table, &section, "max-requests");
        http.reuse = walk.count(table, &section, "reuse");
        if let Some(tls) = walk.table(table, &section, "tls") {
            let section = format!("{section}tls");
            walk.only(tls, &section, &["cert", "key"]);
            let at = table.get("tls").map_or(0, |value| value.span().start);
            let section = section + ".";
            let mut file = |key| file(walk, tls, &section, key, at, ours);
            http.tls = file("cert").zip(file("key")).map(|(cert, key)| Tls { cert, key });
        }
        if let Some(limits) = walk.table(table, &section, "limits") {
            let section = format!("{section}limits");
            walk.only(limits, &section, &["memory", "time", "fuel"]);
            let section = section + ".";
            http.limits = HttpLimits {
                memory: walk.size(limits, &section, "memory"),
                time: walk.duration(limits, &section, "time"),
                fuel: walk.count(limits, &section, "fuel"),
            };
        }
        http
    }

    /// What a run says wins.
    pub(crate) fn add(&mut self, more: &Self) {
        let Self { tls, max_requests, reuse, limits } = more;
        self.tls = tls.clone().or(self.tls.take());
        self.max_requests = max_requests.or(self.max_requests);
        self.reuse = reuse.or(self.reuse);
        self.limits.memory = limits.memory.or(self.limits.memory);
        self.limits.time = limits.time.or(self.limits.time);
        self.limits.fuel = limits.fuel.or(self.limits.fuel);
    }

    /// Refuses files that are not there.
    pub(crate) fn check(&self, bundle: Option<&Bundle<'_>>) -> Result<(), Error> {
        let files = self.tls.iter().flat_map(|tls| [("cert", &tls.cert), ("key", &tls.key)]);
        for (key, path) in files {
            if bundle.and_then(|bundle| bundle.file(path)).is_none() {
                let help =
                    format!("put the file (PEM) beside lunette.toml, or correct `{key}` in [http.tls]");
                let what = format!("the bundle has no file {path:?}, which `http.tls.{key}` names");
                return Err(Error::new(what, tar::MANIFEST, help));
            }
        }
        Ok(())
    }
}

/// A file of the bundle that has to be named, in the table at `at`.
fn file<'d>(
    walk: &mut Walk<'d>,
    table: &DeTable<'d>,
    section: &str,
    key: &str,
    at: usize,
    ours: bool,
) -> Option<String> {
    let help = "name a file of the bundle, in PEM: `tls = { cert = \"cert.pem\", key = \"key.pem\" }`";
    match walk.string(table, section, key) {
        Some((path, at)) => match tar::path_fault(&path) {
            Some(fault) => walk.complain(format!("`{section}{key}`: {path:?} {fault}"), at, help),
            None if tar::is_reserved(&path) && !ours => {
                walk.complain(format!("`{section}{key}`: {} is reserved", tar::RESERVED), at, help);
            }
            None => return Some(path),
        },
        None if table.contains_key(key) => {}
        None => walk.complain(format!("`{section}{key}` is missing"), at, help),
    }
    None
}
