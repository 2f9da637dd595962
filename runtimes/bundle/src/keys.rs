//! Walking a TOML document key by key, so that every complaint names the key and its line and column.

use std::{str::FromStr, time::Duration};

use lunette_hostcalls::{
    Grants,
    grants::{Fault, Listen, Name, Peer},
};
use toml::de::{DeTable, DeValue};

use crate::{Engine, Error, GuestSpec, Http, Manifest, MountSpec, Route, parse_duration, parse_size, tar};

type Value<'d> = toml::Spanned<DeValue<'d>>;

/// A document, and the complaints about it so far.
pub(crate) struct Walk<'d> {
    /// What to call the document: `lunette.toml`.
    file: &'d str,
    text: &'d str,
    pub(crate) errors: Vec<Error>,
}

impl<'d> Walk<'d> {
    /// Reads `text` as TOML; an error of syntax is the only complaint then.
    pub(crate) fn new(file: &'d str, text: &'d str) -> (Self, DeTable<'d>) {
        let mut walk = Self { file, text, errors: Vec::new() };
        match DeTable::parse(text) {
            Ok(table) => (walk, table.into_inner()),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                walk.complain(format!("not TOML: {}", error.message().replace('\n', ", ")), at, "correct it");
                (walk, DeTable::new())
            }
        }
    }

    pub(crate) fn complain(&mut self, what: String, at: usize, help: impl Into<String>) {
        let place = self.place(at);
        self.errors.push(Error::new(what, place, help));
    }

    /// `lunette.toml:3:5`
    fn place(&self, at: usize) -> String {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
        let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        format!("{}:{line}:{column}", self.file)
    }

    /// Complains about every key of `table` that is not among `known`.
    pub(crate) fn only(&mut self, table: &DeTable<'d>, section: &str, known: &[&str]) {
        for (key, _) in table {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let dot = if section.is_empty() { "" } else { "." };
            let help = match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.complain(format!("unknown key `{section}{dot}{name}`"), key.span().start, help);
        }
    }

    fn wrong(&mut self, key: &str, must: &str, value: &Value<'d>) {
        let is = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.complain(
            format!("`{key}` must be {must}, not {is}"),
            value.span().start,
            format!("write {must}"),
        );
    }

    pub(crate) fn table<'t>(
        &mut self,
        table: &'t DeTable<'d>,
        section: &str,
        key: &str,
    ) -> Option<&'t DeTable<'d>> {
        let value = table.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                self.wrong(&format!("{section}{key}"), &format!("a table, [{section}{key}]"), value);
                None
            }
        }
    }

    /// A string without NUL.
    pub(crate) fn string(
        &mut self,
        table: &DeTable<'d>,
        section: &str,
        key: &str,
    ) -> Option<(String, usize)> {
        let value = table.get(key)?;
        self.text(&format!("{section}{key}"), value)
    }

    fn text(&mut self, key: &str, value: &Value<'d>) -> Option<(String, usize)> {
        match value.get_ref() {
            DeValue::String(text) if text.contains('\0') => {
                self.complain(format!("`{key}` contains a NUL"), value.span().start, "leave it out");
                None
            }
            DeValue::String(text) => Some((text.clone().into_owned(), value.span().start)),
            _ => {
                self.wrong(key, "a string in quotes", value);
                None
            }
        }
    }

    pub(crate) fn strings(&mut self, table: &DeTable<'d>, section: &str, key: &str) -> Option<Vec<String>> {
        let found = self.placed_strings(table, section, key)?;
        Some(found.into_iter().map(|(text, _)| text).collect())
    }

    fn placed_strings(
        &mut self,
        table: &DeTable<'d>,
        section: &str,
        key: &str,
    ) -> Option<Vec<(String, usize)>> {
        let value = table.get(key)?;
        let name = format!("{section}{key}");
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong(&name, "an array of strings, [\"a\", \"b\"]", value);
            return None;
        };
        Some(array.iter().filter_map(|value| self.text(&name, value)).collect())
    }

    /// `name`, `main`, `engine` and `args`: the same keys in `[app]` and in each `[[guest]]`, whose table is `at` this byte.
    pub(crate) fn program(&mut self, table: &DeTable<'d>, section: &str, at: usize) -> GuestSpec {
        let mut guest = GuestSpec {
            engine: self.engine(table, section).unwrap_or_default(),
            args: self.strings(table, section, "args").unwrap_or_default(),
            ..GuestSpec::default()
        };
        let help = "say what to start: `main = \"hello.wasm\"`, or a .lua";
        match self.string(table, section, "main") {
            Some((main, at)) => match tar::path_fault(&main) {
                Some(fault) => self.complain(format!("`{section}main`: {main:?} {fault}"), at, help),
                None if tar::is_reserved(&main) => {
                    self.complain(format!("`{section}main`: {} is reserved", tar::RESERVED), at, help);
                }
                None => guest.main = main,
            },
            None if table.contains_key("main") => {}
            None => self.complain(format!("`{section}main` is missing"), at, help),
        }
        match self.string(table, section, "name") {
            Some((name, at)) if name.is_empty() => {
                self.complain(format!("`{section}name` is empty"), at, "write a name");
            }
            Some((name, _)) => guest.name = name,
            None => {}
        }
        guest
    }

    pub(crate) fn engine(&mut self, table: &DeTable<'d>, section: &str) -> Option<Engine> {
        let (name, at) = self.string(table, section, "engine")?;
        let engine = Engine::from_name(&name);
        if engine.is_none() {
            let what = format!("`{section}engine`: there is no engine {name:?}");
            let known = Engine::ALL.map(Engine::name);
            let help = match nearest(&name, &known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("known: {}", known.join(", ")),
            };
            self.complain(what, at, help);
        }
        engine
    }

    /// What a guest is given: `env`, `resources`, `mount`, `network` and `http`, in the document or in a `[[guest]]`.
    pub(crate) fn world(&mut self, table: &DeTable<'d>, section: &str, guest: &mut GuestSpec) {
        guest.env = self.env(table, section);
        if let Some(resources) = self.table(table, section, "resources") {
            let name = format!("{section}resources");
            self.only(resources, &name, &["memory", "timeout", "fuel", "table-elements"]);
            let name = name + ".";
            guest.memory = self.size(resources, &name, "memory");
            guest.timeout = self.duration(resources, &name, "timeout");
            guest.fuel = self.count(resources, &name, "fuel");
            guest.table_elements = self.count(resources, &name, "table-elements");
        }
        if let Some(lua) = self.table(table, section, "lua") {
            let name = format!("{section}lua");
            self.only(lua, &name, &["bytecode"]);
            guest.bytecode = self.boolean(lua, &(name + "."), "bytecode").unwrap_or(false);
        }
        guest.mounts = self.mounts(table, section);
        guest.grants = self.grants(table, section);
        guest.http = Http::read(self, table, section, false);
    }

    /// The `[[route]]` tables, once the guests are known.
    pub(crate) fn routes(&mut self, table: &DeTable<'d>, manifest: &mut Manifest) {
        let Some(value) = table.get("route") else { return };
        let DeValue::Array(array) = value.get_ref() else {
            return self.wrong("route", "an array of tables, [[route]]", value);
        };
        for value in array.iter() {
            let at = value.span().start;
            if manifest.routes.len() == MAX_ROUTES {
                let what = format!("there are more than {MAX_ROUTES} [[route]] tables");
                self.complain(what, at, "let a guest tell its requests apart itself");
                break;
            }
            let DeValue::Table(table) = value.get_ref() else {
                self.wrong("route", "an array of tables, [[route]]", value);
                continue;
            };
            if let Some(route) = self.route(table, at, manifest) {
                if manifest
                    .routes
                    .iter()
                    .any(|other| (&other.host, &other.path) == (&route.host, &route.path))
                {
                    let what = format!("there is another [[route]] for {}{}", route.host, route.path);
                    self.complain(what, at, "a request goes to one guest: keep one of them");
                }
                manifest.routes.push(route);
            }
        }
    }

    fn route(&mut self, table: &DeTable<'d>, at: usize, manifest: &Manifest) -> Option<Route> {
        self.only(table, "route", &["host", "path", "guest"]);
        let host = match self.string(table, "route.", "host") {
            Some((text, at)) => match text.parse() {
                Ok(host) => host,
                Err(Fault { .. }) => {
                    let help = "write a name, \"www.example.org\", or all below one, \"*.example.org\"";
                    self.complain(format!("`route.host`: {text:?} is no name of a host"), at, help);
                    return None;
                }
            },
            None => Name::Any,
        };
        let path = match self.string(table, "route.", "path") {
            Some((path, at)) => {
                if let Some(fault) = Route::path_fault(&path) {
                    let help = "write a path, \"/status\", or one with all below it, \"/api/...\"";
                    self.complain(format!("`route.path`: {path:?} {fault}"), at, help);
                }
                path
            }
            None => "/...".into(),
        };
        let names: Vec<_> =
            std::iter::once(&manifest.app).chain(&manifest.guests).map(|guest| guest.name.as_str()).collect();
        match self.string(table, "route.", "guest") {
            Some((guest, _)) if names.contains(&&*guest) => Some(Route { host, path, guest }),
            Some((guest, at)) => {
                let help = match nearest(&guest, &names) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("there are: {}", names.join(", ")),
                };
                self.complain(format!("`route.guest`: there is no guest {guest:?}"), at, help);
                None
            }
            None if table.contains_key("guest") => None,
            None => {
                self.complain(
                    "a [[route]] has no `guest`".into(),
                    at,
                    "say who handles it: `guest = \"api\"`",
                );
                None
            }
        }
    }

    /// The `[[guest]]` tables.
    pub(crate) fn guests(&mut self, table: &DeTable<'d>, manifest: &mut Manifest) {
        let Some(value) = table.get("guest") else { return };
        let DeValue::Array(array) = value.get_ref() else {
            return self.wrong("guest", "an array of tables, [[guest]]", value);
        };
        for value in array.iter() {
            if manifest.guests.len() == MAX_GUESTS {
                let what = format!("there are more than {MAX_GUESTS} [[guest]] tables");
                self.complain(what, value.span().start, "run some of them in a VM of their own");
                break;
            }
            let DeValue::Table(table) = value.get_ref() else {
                self.wrong("guest", "an array of tables, [[guest]]", value);
                continue;
            };
            self.only(
                table,
                "guest",
                &["name", "main", "engine", "args", "env", "resources", "lua", "mount", "network", "http"],
            );
            let mut guest = self.program(table, "guest.", value.span().start);
            let at = table.get("name").unwrap_or(value).span().start;
            if !table.contains_key("name") {
                self.complain("a [[guest]] has no `name`".into(), at, "name it: `name = \"metrics\"`");
            } else if manifest.app.name == guest.name
                || manifest.guests.iter().any(|other| other.name == guest.name)
            {
                let what = format!("`guest.name`: there is another guest {:?}", guest.name);
                self.complain(what, at, "give each a name of its own; the app has one too");
            }
            self.world(table, "guest.", &mut guest);
            manifest.guests.push(guest);
        }
    }

    /// The `[network]` table.
    pub(crate) fn grants(&mut self, table: &DeTable<'d>, section: &str) -> Grants {
        let Some(network) = self.table(table, section, "network") else { return Grants::default() };
        let section = format!("{section}network");
        self.only(network, &section, &["listen", "connect", "resolve"]);
        let section = section + ".";
        Grants {
            listen: self.grant::<Listen>(network, &section, "listen"),
            connect: self.grant::<Peer>(network, &section, "connect"),
            resolve: self.grant::<Name>(network, &section, "resolve"),
        }
    }

    /// One list of grants; what is there twice counts once.
    fn grant<T: FromStr<Err = Fault> + PartialEq>(
        &mut self,
        table: &DeTable<'d>,
        section: &str,
        key: &str,
    ) -> Vec<T> {
        let mut grants = Vec::new();
        for (text, at) in self.placed_strings(table, section, key).unwrap_or_default() {
            if grants.len() == MAX_GRANTS {
                let what = format!("`{section}{key}` has more than {MAX_GRANTS} entries");
                self.complain(what, at, "grant blocks, names below a name, or any (\"*\")");
                break;
            }
            match text.parse::<T>() {
                Ok(grant) if grants.contains(&grant) => {}
                Ok(grant) => grants.push(grant),
                Err(fault) => self.complain(format!("`{section}{key}`: {}", fault.what), at, fault.help),
            }
        }
        grants
    }

    /// The `[env]` table, in the order in which it was written.
    pub(crate) fn env(&mut self, table: &DeTable<'d>, section: &str) -> Vec<(String, String)> {
        let Some(env) = self.table(table, section, "env") else { return Vec::new() };
        let mut found = Vec::with_capacity(env.len());
        for (key, value) in env {
            let name: &str = key.get_ref();
            let at = key.span().start;
            if name.is_empty() || name.contains(['=', '\0']) {
                self.complain(
                    format!("`{section}env.{name}` is no name of a variable"),
                    at,
                    "use a name without '=' and NUL",
                );
            } else if let Some((text, _)) = self.text(&format!("{section}env.{name}"), value) {
                found.push((at, name.to_owned(), text));
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(_, name, text)| (name, text)).collect()
    }

    pub(crate) fn boolean(&mut self, table: &DeTable<'d>, section: &str, key: &str) -> Option<bool> {
        let value = table.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => {
                self.wrong(&format!("{section}{key}"), "true or false", value);
                None
            }
        }
    }

    fn natural(value: &Value<'d>) -> Option<u64> {
        match value.get_ref() {
            DeValue::Integer(n) => u64::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        }
    }

    /// A whole number above zero.
    pub(crate) fn count(&mut self, table: &DeTable<'d>, section: &str, key: &str) -> Option<u64> {
        let value = table.get(key)?;
        let name = format!("{section}{key}");
        match Self::natural(value) {
            Some(0) | None if matches!(value.get_ref(), DeValue::Integer(_)) => {
                let help = "write a number from 1 to 18446744073709551615";
                self.complain(format!("`{name}` must be a whole number above 0"), value.span().start, help);
                None
            }
            Some(n) => Some(n),
            None => {
                self.wrong(&name, "a whole number above 0", value);
                None
            }
        }
    }

    /// `"64MiB"`, or a number of bytes; above zero.
    pub(crate) fn size(&mut self, table: &DeTable<'d>, section: &str, key: &str) -> Option<u64> {
        let value = table.get(key)?;
        let name = format!("{section}{key}");
        let size = match value.get_ref() {
            DeValue::String(text) => parse_size(text),
            DeValue::Integer(n) => {
                Self::natural(value).ok_or_else(|| format!("{} is not a size", n.as_str()))
            }
            _ => {
                self.wrong(&name, "a size such as \"64MiB\"", value);
                return None;
            }
        };
        match size {
            Ok(0) => {
                let help = "write a size such as \"64MiB\", or leave the key out";
                self.complain(format!("`{name}` is 0"), value.span().start, help);
                None
            }
            Ok(size) => Some(size),
            Err(why) => {
                let help = "write a size such as \"64MiB\"";
                self.complain(format!("`{name}`: {why}"), value.span().start, help);
                None
            }
        }
    }

    /// `"30s"`; above zero.
    pub(crate) fn duration(&mut self, table: &DeTable<'d>, section: &str, key: &str) -> Option<Duration> {
        let value = table.get(key)?;
        let name = format!("{section}{key}");
        let DeValue::String(text) = value.get_ref() else {
            self.wrong(&name, "a duration such as \"30s\"", value);
            return None;
        };
        match parse_duration(text) {
            Ok(Duration::ZERO) => {
                let help = "write a duration such as \"30s\", or leave the key out";
                self.complain(format!("`{name}` is 0"), value.span().start, help);
                None
            }
            Ok(duration) => Some(duration),
            Err(why) => {
                let help = "write a duration such as \"30s\"";
                self.complain(format!("`{name}`: {why}"), value.span().start, help);
                None
            }
        }
    }

    /// The `[[mount]]` tables.
    pub(crate) fn mounts(&mut self, table: &DeTable<'d>, section: &str) -> Vec<MountSpec> {
        let Some(value) = table.get("mount") else { return Vec::new() };
        let name = format!("{section}mount");
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong(&name, &format!("an array of tables, [[{name}]]"), value);
            return Vec::new();
        };
        array.iter().filter_map(|value| self.mount(&name, value)).collect()
    }

    fn mount(&mut self, name: &str, value: &Value<'d>) -> Option<MountSpec> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong(name, &format!("an array of tables, [[{name}]]"), value);
            return None;
        };
        self.only(table, name, &["path", "from", "writable", "size"]);
        let section = &*format!("{name}.");
        let path = self.string(table, section, "path");
        let from = self.string(table, section, "from");
        let size = self.size(table, section, "size");
        let writable = match self.boolean(table, section, "writable") {
            Some(writable) => writable,
            None if table.contains_key("writable") => return None,
            None => from.is_none(),
        };
        if let Some((from, at)) = &from
            && let Some(fault) = tar::path_fault(from)
        {
            let help = "name a folder of the bundle, such as \"data\"";
            self.complain(format!("`{name}.from`: {from:?} {fault}"), *at, help);
        }
        if size.is_some() && !writable {
            let at = table.get("size").map_or(0, |size| size.span().start);
            let help = "leave it out, or add `writable = true`";
            self.complain(
                format!("`{name}.size` limits what is written, and this mount is read-only"),
                at,
                help,
            );
        }
        match path {
            Some((path, at)) if path.is_empty() => {
                let help = "say where the guest finds it, such as \"/data\"";
                self.complain(format!("`{name}.path` is empty"), at, help);
                None
            }
            Some((path, _)) => Some(MountSpec { path, from: from.map(|(from, _)| from), writable, size }),
            None if table.contains_key("path") => None,
            None => {
                let help = "say where the guest finds it: `path = \"/data\"`";
                self.complain(format!("a [[{name}]] has no `path`"), value.span().start, help);
                None
            }
        }
    }
}

/// How many guests there can be beside the app: no two may have the same name, and each is compared with each.
const MAX_GUESTS: usize = 64;
/// How many routes there can be: each request is compared with each, and each route with each.
const MAX_ROUTES: usize = 256;
/// How many grants a list can have: each is compared with each, and all with whatever a guest asks for.
const MAX_GRANTS: usize = 256;

/// The known key that a misspelt one most looks like, if it looks like any.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    known
        .iter()
        .map(|key| (distance(&name, key), *key))
        .min()
        .filter(|&(distance, key)| distance <= key.len().div_ceil(3))
        .map(|(_, key)| key)
}

/// How many letters must be put in, left out or changed to make `b` of `a`. Long names are not compared.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 32 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let best = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_key_or_none() {
        assert_eq!(nearest("memmory", &["memory", "timeout"]), Some("memory"));
        assert_eq!(nearest("table_elements", &["memory", "table-elements"]), Some("table-elements"));
        assert_eq!(nearest("Main", &["name", "main"]), Some("main"));
        assert_eq!(nearest("cpu", &["memory", "timeout", "fuel"]), None);
        assert_eq!(nearest(&"x".repeat(9000), &["memory"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
