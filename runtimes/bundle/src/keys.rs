//! Walking a TOML document key by key, so that every complaint names the key and its line and column.

use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::{Error, MountSpec, parse_duration, parse_size, tar};

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

    pub(crate) fn table<'t>(&mut self, table: &'t DeTable<'d>, key: &str) -> Option<&'t DeTable<'d>> {
        let value = table.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                self.wrong(key, &format!("a table, [{key}]"), value);
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
        let value = table.get(key)?;
        let name = format!("{section}{key}");
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong(&name, "an array of strings, [\"a\", \"b\"]", value);
            return None;
        };
        Some(array.iter().filter_map(|value| Some(self.text(&name, value)?.0)).collect())
    }

    /// The `[env]` table, in the order in which it was written.
    pub(crate) fn env(&mut self, table: &DeTable<'d>) -> Vec<(String, String)> {
        let Some(env) = self.table(table, "env") else { return Vec::new() };
        let mut found = Vec::with_capacity(env.len());
        for (key, value) in env {
            let name: &str = key.get_ref();
            let at = key.span().start;
            if name.is_empty() || name.contains(['=', '\0']) {
                self.complain(
                    format!("`env.{name}` is no name of a variable"),
                    at,
                    "use a name without '=' and NUL",
                );
            } else if let Some((text, _)) = self.text(&format!("env.{name}"), value) {
                found.push((at, name.to_owned(), text));
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(_, name, text)| (name, text)).collect()
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
    pub(crate) fn mounts(&mut self, table: &DeTable<'d>) -> Vec<MountSpec> {
        let Some(value) = table.get("mount") else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong("mount", "an array of tables, [[mount]]", value);
            return Vec::new();
        };
        array.iter().filter_map(|value| self.mount(value)).collect()
    }

    fn mount(&mut self, value: &Value<'d>) -> Option<MountSpec> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong("mount", "an array of tables, [[mount]]", value);
            return None;
        };
        self.only(table, "mount", &["path", "from", "writable", "size"]);
        let path = self.string(table, "mount.", "path");
        let from = self.string(table, "mount.", "from");
        let size = self.size(table, "mount.", "size");
        let writable = match table.get("writable").map(|value| (value, value.get_ref())) {
            None => from.is_none(),
            Some((_, DeValue::Boolean(writable))) => *writable,
            Some((value, _)) => {
                self.wrong("mount.writable", "true or false", value);
                return None;
            }
        };
        if let Some((from, at)) = &from
            && let Some(fault) = tar::path_fault(from)
        {
            let help = "name a folder of the bundle, such as \"data\"";
            self.complain(format!("`mount.from`: {from:?} {fault}"), *at, help);
        }
        if size.is_some() && !writable {
            let at = table.get("size").map_or(0, |size| size.span().start);
            let help = "leave it out, or add `writable = true`";
            self.complain(
                "`mount.size` limits what is written, and this mount is read-only".into(),
                at,
                help,
            );
        }
        match path {
            Some((path, at)) if path.is_empty() => {
                let help = "say where the guest finds it, such as \"/data\"";
                self.complain("`mount.path` is empty".into(), at, help);
                None
            }
            Some((path, _)) => Some(MountSpec { path, from: from.map(|(from, _)| from), writable, size }),
            None if table.contains_key("path") => None,
            None => {
                let help = "say where the guest finds it: `path = \"/data\"`";
                self.complain("a [[mount]] has no `path`".into(), value.span().start, help);
                None
            }
        }
    }
}

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
