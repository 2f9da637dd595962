//! What of YAML clouds write: mappings, lists and scalars, in blocks by indentation or in flow style, which has JSON in it;
//! quotes, comments, and literal blocks (`|`).
//!
//! Promises: what is not understood (anchors, tags, folded text, keys of several lines, several documents, tabs that indent) is an error with its line,
//! never a guess; depth is limited, and time is in proportion to the text. Does not: know types. A scalar is its text.

use alloc::{format, string::String, vec::Vec};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Node {
    /// Nothing, `~` or `null`.
    #[default]
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(known, _)| known == key).map(|(_, value)| value),
            _ => None,
        }
    }

    pub(crate) fn scalar(&self) -> Option<&str> {
        match self {
            Self::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The text of one key.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.scalar()
    }

    /// The elements of a list, or the one that stands in its place; of nothing none.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::Null => &[],
            other => core::slice::from_ref(other),
        }
    }

    /// The elements of the list of one key.
    pub(crate) fn list(&self, key: &str) -> &[Self] {
        self.get(key).map_or(&[], Self::items)
    }

    pub(crate) fn is_true(&self, key: &str) -> bool {
        matches!(self.text(key), Some("true" | "True" | "TRUE" | "yes" | "on"))
    }
}

/// Nothing real is nested so deeply.
const DEEPEST: usize = 16;
/// Nor has anything so many keys, each of which is compared with all.
const MOST_KEYS: usize = 1000;

/// Reads a document. The error says what was not understood, and where.
pub(crate) fn parse(text: &str) -> Result<Node, String> {
    let mut reader = Reader { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0 };
    let node = reader.block(0, 0)?;
    match reader.line()? {
        None => Ok(node),
        Some(_) => reader.fault("what follows does not belong to anything"),
    }
}

struct Reader<'t> {
    text: &'t str,
    /// Always at a character's boundary.
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn fault<T>(&self, what: &str) -> Result<T, String> {
        let line = self.text.bytes().take(self.at).filter(|byte| *byte == b'\n').count() + 1;
        Err(format!("line {line}: {what}"))
    }

    fn deeper(&self, depth: usize) -> Result<usize, String> {
        if depth < DEEPEST { Ok(depth + 1) } else { self.fault("it is nested too deeply") }
    }

    /// Goes to the begin of the next line that says something; its indentation.
    fn line(&mut self) -> Result<Option<usize>, String> {
        while !self.rest().is_empty() {
            let line = self.rest().split('\n').next().unwrap_or_default();
            let content = line.trim_start_matches(' ');
            let indent = line.len() - content.len();
            if content.starts_with('\t') && !content.trim().is_empty() {
                return self.fault("a tab indents");
            }
            let content = content.trim_end();
            let marker = indent == 0 && content == "---";
            if marker
                && self.text[..self.at].lines().any(|line| !line.is_empty() && !line.starts_with(['#', '%']))
            {
                return self.fault("there is a second document");
            }
            let is_directive = indent == 0 && content.starts_with('%');
            let says_nothing = content.is_empty() || content.starts_with('#') || marker || is_directive;
            if !says_nothing {
                return Ok(Some(indent));
            }
            self.at = (self.at + line.len() + 1).min(self.text.len());
        }
        Ok(None)
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    /// Is nothing but a comment left in this line?
    fn is_end(&self) -> bool {
        let line = self.rest().split('\n').next().unwrap_or_default();
        let spaced =
            line.len() - line.trim_start().len() > 0 || self.text[..self.at].ends_with([' ', '\t', '\n']);
        let line = line.trim();
        line.is_empty() || spaced && line.starts_with('#')
    }

    /// Leaves the line, in which nothing more may be.
    fn end(&mut self) -> Result<(), String> {
        if !self.is_end() {
            return self.fault("something follows a value");
        }
        let length = self.rest().find('\n').map_or(self.rest().len(), |end| end + 1);
        self.at += length;
        Ok(())
    }

    /// What stands in the next lines, if they are indented so far.
    fn block(&mut self, least: usize, depth: usize) -> Result<Node, String> {
        match self.line()? {
            Some(indent) if indent >= least => {
                self.at += indent;
                self.node(indent, depth)
            }
            _ => Ok(Node::Null),
        }
    }

    /// What begins here, in this column.
    fn node(&mut self, column: usize, depth: usize) -> Result<Node, String> {
        let depth = self.deeper(depth)?;
        if is_item(self.rest()) {
            let mut items = Vec::new();
            loop {
                let begin = self.at;
                self.at += 1;
                self.spaces();
                items.push(if self.is_end() {
                    self.end()?;
                    self.block(column + 1, depth)?
                } else {
                    self.node(column + (self.at - begin), depth)?
                });
                if !self.next(column)? {
                    return Ok(Node::List(items));
                }
                if !is_item(self.rest()) {
                    // The key of whoever has this list.
                    self.at -= column;
                    return Ok(Node::List(items));
                }
            }
        }
        if !is_key(self.rest()) {
            let value = self.value(depth)?;
            self.end()?;
            return Ok(value);
        }
        let mut entries = Vec::new();
        loop {
            if !is_key(self.rest()) {
                return self.fault("this is no `key: value`");
            }
            let key = self.key()?;
            self.spaces();
            let value = if self.is_end() {
                self.end()?;
                match self.line()? {
                    // A list may stand as far left as its key.
                    Some(indent) if indent == column && is_item(&self.rest()[indent..]) => {
                        self.at += indent;
                        self.node(indent, depth)?
                    }
                    _ => self.block(column + 1, depth)?,
                }
            } else if self.rest().starts_with('|') {
                self.literal(column)?
            } else {
                let value = self.value(depth)?;
                self.end()?;
                value
            };
            if entries.iter().any(|(known, _)| *known == key) {
                return self.fault(&format!("the key `{}` stands twice", key.escape_debug()));
            }
            if entries.len() == MOST_KEYS {
                return self.fault("there are too many keys");
            }
            entries.push((key, value));
            if !self.next(column)? {
                return Ok(Node::Map(entries));
            }
        }
    }

    /// Goes to the next line, if it is of this column. One further right belongs to nothing.
    fn next(&mut self, column: usize) -> Result<bool, String> {
        match self.line()? {
            Some(indent) if indent == column => {
                self.at += indent;
                Ok(true)
            }
            Some(indent) if indent > column => self.fault("it is indented further than what it belongs to"),
            _ => Ok(false),
        }
    }

    fn key(&mut self) -> Result<String, String> {
        let key = match self.peek() {
            Some('"' | '\'') => self.quoted()?,
            _ => {
                let end = key_end(self.rest()).unwrap_or(0);
                let key = self.rest()[..end].trim_end();
                self.at += end;
                key.into()
            }
        };
        self.spaces();
        if self.peek() != Some(':') {
            return self.fault("a colon is missing");
        }
        self.at += 1;
        Ok(key)
    }

    /// `|`: the lines below that are indented further, without what indents them.
    fn literal(&mut self, column: usize) -> Result<Node, String> {
        self.at += self.rest().find([' ', '\n', '#']).unwrap_or(self.rest().len());
        self.end()?;
        let mut text = String::new();
        while let Some(line) = self.rest().split_inclusive('\n').next() {
            let inner = line.trim_start_matches(' ');
            if !inner.trim().is_empty() && line.len() - inner.len() <= column {
                break;
            }
            text.push_str(inner);
            self.at += line.len();
        }
        Ok(Node::Scalar(text))
    }

    /// A value within a line, or in flow style.
    fn value(&mut self, depth: usize) -> Result<Node, String> {
        match self.peek() {
            Some('[' | '{') => self.flow(depth),
            Some('"' | '\'') => self.quoted().map(Node::Scalar),
            Some('&' | '*' | '!' | '@' | '`' | '%' | '|' | '>') => {
                self.fault("anchors, tags and the like are not understood")
            }
            _ => {
                let line = self.rest().split('\n').next().unwrap_or_default();
                let end = line.find(" #").unwrap_or(line.len());
                self.at += end;
                Ok(plain(&line[..end]))
            }
        }
    }

    /// Over lines as well, and comments.
    fn blank(&mut self) {
        loop {
            self.at += self.rest().len() - self.rest().trim_start().len();
            if self.peek() != Some('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn flow(&mut self, depth: usize) -> Result<Node, String> {
        let depth = self.deeper(depth)?;
        self.blank();
        let close = match self.peek() {
            Some('[') => ']',
            Some('{') => '}',
            Some('"' | '\'') => return self.quoted().map(Node::Scalar),
            Some('&' | '*' | '!') | None => return self.fault("a value is missing, or not understood"),
            Some(_) => {
                let text = self.flow_plain();
                return Ok(plain(text));
            }
        };
        self.at += 1;
        let (mut items, mut entries) = (Vec::new(), Vec::new());
        loop {
            self.blank();
            if self.peek() == Some(close) {
                self.at += 1;
                return Ok(if close == ']' { Node::List(items) } else { Node::Map(entries) });
            }
            if close == ']' {
                items.push(self.flow(depth)?);
            } else {
                let key = match self.peek() {
                    Some('"' | '\'') => self.quoted()?,
                    _ => self.flow_plain().into(),
                };
                self.blank();
                if self.peek() != Some(':') {
                    return self.fault("a colon is missing");
                }
                self.at += 1;
                entries.push((key, self.flow(depth)?));
            }
            self.blank();
            match self.peek() {
                Some(',') => self.at += 1,
                Some(c) if c == close => {}
                _ => return self.fault(&format!("a `{close}` is missing")),
            }
        }
    }

    /// Up to what ends it in flow style.
    fn flow_plain(&mut self) -> &'t str {
        let rest = self.rest();
        let ends = |(at, c): (usize, char)| match c {
            ',' | '[' | ']' | '{' | '}' | '\n' => true,
            ':' => rest[at + 1..]
                .chars()
                .next()
                .is_none_or(|next| next.is_whitespace() || ",[]{}".contains(next)),
            '#' => rest[..at].ends_with(' '),
            _ => false,
        };
        let end = rest.char_indices().find(|found| ends(*found)).map_or(rest.len(), |(at, _)| at);
        self.at += end;
        rest[..end].trim()
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices();
        let Some((_, quote)) = chars.next() else { return Ok(text) };
        let hex = |digits: usize, chars: &mut core::str::CharIndices<'_>| {
            (0..digits).try_fold(0, |sum, _| Some(sum * 16 + chars.next()?.1.to_digit(16)?))
        };
        while let Some((at, c)) = chars.next() {
            if c == quote {
                if quote == '\'' && self.rest()[at + 1..].starts_with('\'') {
                    text.push('\'');
                    chars.next();
                    continue;
                }
                self.at += at + 1;
                return Ok(text);
            }
            if c != '\\' || quote == '\'' {
                text.push(c);
                continue;
            }
            let escaped = match chars.next().map(|(_, c)| c) {
                Some('n') => Some('\n'),
                Some('t') => Some('\t'),
                Some('r') => Some('\r'),
                Some('b') => Some('\u{8}'),
                Some('f') => Some('\u{c}'),
                Some('0') => Some('\0'),
                Some(c @ ('"' | '\\' | '/' | '\'' | ' ')) => Some(c),
                Some('x') => hex(2, &mut chars).and_then(char::from_u32),
                Some('u') => match hex(4, &mut chars) {
                    // The first half of a character beyond 16 bits, as JSON has it.
                    Some(high @ 0xd800..0xdc00) => {
                        let is_pair =
                            chars.next().map(|c| c.1) == Some('\\') && chars.next().map(|c| c.1) == Some('u');
                        let low = hex(4, &mut chars).filter(|low| is_pair && (0xdc00..0xe000).contains(low));
                        low.and_then(|low| {
                            char::from_u32(0x1_0000 + ((high - 0xd800) << 10 | (low - 0xdc00)))
                        })
                    }
                    other => other.and_then(char::from_u32),
                },
                _ => None,
            };
            match escaped {
                Some(c) => text.push(c),
                None => return self.fault("what follows a backslash is not understood"),
            }
        }
        self.fault("a quote is not closed")
    }
}

fn plain(text: &str) -> Node {
    match text.trim() {
        "" | "~" | "null" => Node::Null,
        text => Node::Scalar(text.into()),
    }
}

/// `- …`
fn is_item(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))
}

/// Does a `key:` begin here?
fn is_key(text: &str) -> bool {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let mut reader = Reader { text, at: 0 };
            let line = text.split('\n').next().unwrap_or_default();
            line[1..].contains(quote)
                && reader.quoted().is_ok()
                && reader.rest().trim_start_matches(' ').starts_with(':')
        }
        Some('[' | '{' | '&' | '*' | '!' | '?' | '|' | '>' | '%' | '@' | '`') | None => false,
        Some(_) => key_end(text).is_some(),
    }
}

/// Where a plain key's colon is, in its line.
fn key_end(text: &str) -> Option<usize> {
    let line = text.split('\n').next().unwrap_or_default();
    let line = &line[..line.find(" #").unwrap_or(line.len())];
    line.match_indices(':').map(|(at, _)| at).find(|at| {
        let next = line[at + 1..].chars().next();
        next.is_none_or(|next| next.is_whitespace())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As JSON, in which every scalar is a string.
    fn json(node: &Node) -> String {
        match node {
            Node::Null => "null".into(),
            Node::Scalar(text) => format!("{text:?}"),
            Node::List(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
            Node::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{key:?}:{}", json(value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
        }
    }

    fn read(text: &str) -> String {
        json(&parse(text).unwrap_or_else(|fault| panic!("{fault} in:\n{text}")))
    }

    #[test]
    fn what_clouds_write_is_read() {
        for (text, expected) in [
            ("", "null"),
            ("# nothing\n---\n", "null"),
            (
                "a: 1\nb: 'it''s' # c\nc: \"x # y\\n\"\r\nd:\ne: ~\n",
                r#"{"a":"1","b":"it's","c":"x # y\n","d":null,"e":null}"#,
            ),
            ("a:\n  b:\n    c: d\n  e: f\ng: h", r#"{"a":{"b":{"c":"d"},"e":"f"},"g":"h"}"#),
            (
                "a:\n- 1\n- fe80::1\nb:\n  - x: 1\n    y: 2\n  -\n    x: 3\n  - - p\n    - q\n",
                r#"{"a":["1","fe80::1"],"b":[{"x":"1","y":"2"},{"x":"3"},["p","q"]]}"#,
            ),
            (
                "mac: 52:54:00:12:34:56\nurl: http://x/#y",
                r#"{"mac":"52:54:00:12:34:56","url":"http://x/#y"}"#,
            ),
            (
                "a: [1, '2', {b: c, d: fe80::1}, ]\nb: {}\n",
                r#"{"a":["1","2",{"b":"c","d":"fe80::1"}],"b":{}}"#,
            ),
            ("a: [1,\n  2] # x\nb: 3", r#"{"a":["1","2"],"b":"3"}"#),
            (
                "{\"a\": [1, true, null, \"\\u00e9\\ud83d\\ude00\\/\"],\n \"b\":{\"c\":-1.5e3}}",
                "{\"a\":[\"1\",\"true\",null,\"é😀/\"],\"b\":{\"c\":\"-1.5e3\"}}",
            ),
            ("k: |\n  line 1\n\n  line 2\nl: 1", r#"{"k":"line 1\n\nline 2\n","l":"1"}"#),
            ("\"a b\": 1\n'c': 2", r#"{"a b":"1","c":"2"}"#),
            ("- a\n- b: c", r#"["a",{"b":"c"}]"#),
            ("a: b\n\u{20}\u{20}\n# c\n  # d\ne: f", r#"{"a":"b","e":"f"}"#),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        for (text, expected) in [
            ("a: 1\nb: &x 2", "line 2: anchors"),
            ("a: *x", "line 1: anchors"),
            ("a: >\n  b", "line 1: anchors"),
            ("a: !!int 3", "line 1: anchors"),
            ("a: 1\n  b: 2", "line 2: it is indented further"),
            ("a: 1\nb", "line 2: this is no `key: value`"),
            ("a: 1\na: 2", "the key `a` stands twice"),
            ("a:\n\tb: 1", "line 2: a tab"),
            ("a: \"x", "a quote is not closed"),
            ("a: \"\\q\"", "a backslash"),
            ("a: \"\\ud800x\"", "a backslash"),
            ("a: [1, 2", "a `]` is missing"),
            ("a: {b}", "a colon is missing"),
            ("a: [1] x", "something follows"),
            ("a: 1\n---\nb: 2", "line 2: there is a second document"),
            ("? a\n: b", "line"),
        ] {
            let fault = parse(text).err().unwrap_or_else(|| panic!("it was read:\n{text}"));
            assert!(fault.contains(expected), "{fault} for:\n{text}");
        }
        assert!(parse(&"[".repeat(100_000)).unwrap_err().contains("too deeply"));
        assert!(parse(&"- ".repeat(100_000)).unwrap_err().contains("too deeply"));
        assert!(parse(&"a: {".repeat(100_000)).is_err());
    }

    /// Every text ends, in an answer or an error.
    #[test]
    fn rubbish_is_survived() {
        let good = "network:\n  version: 2\n  ethernets:\n    eth0: {dhcp4: true, addresses: [10.0.0.1/24, \"fe80::1/64\"]}\n    \
                    'e1':\n      - |\n        é\n      - \"\\u00e9\"\n# end\n";
        let mut seed = 1_u32;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        let pieces = [
            "\n", " ", "  ", ":", ": ", "- ", "[", "]", "{", "}", "\"", "'", "#", " #", "|", "\\", "\\u",
            ",", "é", "\t", "---\n", "a",
        ];
        for _ in 0..30_000 {
            let mut text: Vec<char> = good.chars().collect();
            for _ in 0..=random(4) {
                let at = random(text.len());
                if random(2) == 0 {
                    text.remove(at);
                } else {
                    text.splice(at..at, pieces[random(pieces.len())].chars());
                }
            }
            let _ = parse(&text.iter().collect::<String>());
        }
        for _ in 0..30_000 {
            let text: String = (0..random(24)).map(|_| pieces[random(pieces.len())]).collect();
            let _ = parse(&text);
        }
    }
}
