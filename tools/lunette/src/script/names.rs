//! What a script names: the modules that it requires, and the global names that it reads and writes.
//!
//! A walk over the words of a text that Lua's compiler has taken, with its scopes and nothing else of its meaning. What
//! is told here is said of the text: a name that is probed (`x and …`, `if x`, `type(x)`) is probed, whatever it is.

use std::collections::BTreeSet;

use super::lexer::{Kind, Token, tokens};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub requires: Vec<Require>,
    /// Of names that are not probed in this text, each once.
    pub reads: Vec<Use>,
    /// Given a value outside of all functions, or by way of `_G`.
    pub defined: BTreeSet<String>,
    /// Given a value in functions, each once.
    pub assigned: Vec<Use>,
    /// Modules that it makes itself: `package.preload[…] = …`.
    pub provided: BTreeSet<String>,
    /// It changes how modules are found.
    pub searches: bool,
    /// It changes what global names are: nothing can be said of them.
    pub dynamic: bool,
}

/// `require "name"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Require {
    pub name: String,
    pub line: usize,
    /// Is it reached whenever the text is run: in no function, in no branch, and not by `pcall`?
    pub certain: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub name: String,
    pub line: usize,
}

/// Reads a text that compiles.
pub fn read(text: &str) -> Names {
    let text = lunette_lua::without_first_line(text.as_bytes());
    let text = String::from_utf8_lossy(text);
    let mut reader = Reader { tokens: tokens(&text), ..Reader::default() };
    while reader.kind() != &Kind::End {
        reader.block();
        // Only what is no Lua can stand here.
        reader.at += 1;
    }
    let Reader { mut names, probed, .. } = reader;
    names.reads.retain(|read| !probed.contains(&read.name));
    names
}

#[derive(Default)]
struct Reader<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
    /// Names that are local here, the innermost last.
    locals: Vec<&'t str>,
    functions: usize,
    /// Branches that may not be taken.
    branches: usize,
    probed: BTreeSet<String>,
    names: Names,
}

/// An expression that could stand to the left of `=`.
#[derive(Default)]
struct Place<'t> {
    /// The global name that it begins with.
    global: Option<&'t str>,
    line: usize,
    /// What it is indexed with, one after the other; `None`: nobody knows.
    keys: Vec<Option<String>>,
}

impl<'t> Reader<'t> {
    fn kind(&self) -> &Kind<'t> {
        self.tokens.get(self.at).map_or(&Kind::End, |token| &token.kind)
    }

    fn ahead(&self, by: usize) -> &Kind<'t> {
        self.tokens.get(self.at + by).map_or(&Kind::End, |token| &token.kind)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |token| token.line)
    }

    /// Passes this word or symbol, if it is the next.
    fn pass(&mut self, what: &str) -> bool {
        let is = matches!(self.kind(), Kind::Word(word) | Kind::Symbol(word) if *word == what);
        self.at += usize::from(is);
        is
    }

    fn name(&mut self) -> &'t str {
        let name = if let Kind::Word(name) = self.kind() { name } else { "" };
        self.at += 1;
        name
    }

    fn block(&mut self) {
        let outer = self.locals.len();
        self.statements();
        self.locals.truncate(outer);
    }

    /// A block that may not be run.
    fn branch(&mut self) {
        self.branches += 1;
        self.block();
        self.branches -= 1;
    }

    fn statements(&mut self) {
        loop {
            let before = self.at;
            match self.kind() {
                Kind::End | Kind::Word("end" | "else" | "elseif" | "until") => return,
                Kind::Symbol("::") => self.at += 3,
                Kind::Word("break") => self.at += 1,
                Kind::Word("goto") => self.at += 2,
                Kind::Word("return") => {
                    self.at += 1;
                    if !matches!(
                        self.kind(),
                        Kind::End | Kind::Symbol(";") | Kind::Word("end" | "else" | "elseif" | "until")
                    ) {
                        self.expressions();
                    }
                }
                Kind::Word("do") => {
                    self.at += 1;
                    self.block();
                    self.pass("end");
                }
                Kind::Word("while") => {
                    self.at += 1;
                    self.condition();
                    self.pass("do");
                    self.branch();
                    self.pass("end");
                }
                Kind::Word("repeat") => {
                    self.at += 1;
                    let outer = self.locals.len();
                    self.branches += 1;
                    self.statements();
                    self.pass("until");
                    self.condition();
                    self.branches -= 1;
                    self.locals.truncate(outer);
                }
                Kind::Word("if") => self.choice(),
                Kind::Word("for") => self.loop_over(),
                Kind::Word("function") => self.function_statement(),
                Kind::Word("local") => self.local(),
                _ => self.assignment_or_call(),
            }
            self.pass(";");
            // Never to stand still, whatever this is.
            self.at = self.at.max(before + 1);
        }
    }

    fn choice(&mut self) {
        while self.pass("if") || self.pass("elseif") {
            self.condition();
            self.pass("then");
            self.branch();
        }
        if self.pass("else") {
            self.branch();
        }
        self.pass("end");
    }

    fn loop_over(&mut self) {
        self.at += 1;
        let mut names = vec![self.name()];
        while self.pass(",") {
            names.push(self.name());
        }
        if !self.pass("=") {
            self.pass("in");
        }
        self.expressions();
        self.pass("do");
        let outer = self.locals.len();
        self.locals.extend(names);
        self.branch();
        self.locals.truncate(outer);
        self.pass("end");
    }

    fn function_statement(&mut self) {
        self.at += 1;
        let mut place = self.begin();
        while matches!(self.kind(), Kind::Symbol("." | ":")) {
            let method = self.pass(":");
            self.at += usize::from(!method);
            place.keys.push(Some(self.name().to_owned()));
            if method {
                self.write(&place);
                return self.function(&["self"]);
            }
        }
        self.write(&place);
        self.function(&[]);
    }

    fn local(&mut self) {
        self.at += 1;
        if self.pass("function") {
            let name = self.name();
            self.locals.push(name);
            return self.function(&[]);
        }
        let mut names = Vec::new();
        loop {
            names.push(self.name());
            if self.pass("<") {
                self.at += 2;
            }
            if !self.pass(",") {
                break;
            }
        }
        if self.pass("=") {
            let values = self.expressions();
            // `local ngx = ngx` asks whether there is one.
            let same = names.iter().zip(values).filter(|(name, value)| value.as_ref() == Some(*name));
            self.probed.extend(same.map(|(name, _)| (*name).to_owned()));
        }
        self.names.dynamic |= names.contains(&"_ENV");
        self.locals.extend(names);
    }

    fn assignment_or_call(&mut self) {
        let mut places = vec![self.suffixed()];
        while self.pass(",") {
            places.push(self.suffixed());
        }
        if self.pass("=") {
            self.expressions();
            places.iter().for_each(|place| self.write(place));
        } else {
            places.iter().for_each(|place| self.read(place));
        }
    }

    /// Parameters, body and `end`.
    fn function(&mut self, more: &[&'t str]) {
        let outer = self.locals.len();
        self.locals.extend(more);
        self.pass("(");
        while !matches!(self.kind(), Kind::Symbol(")") | Kind::End) {
            if let Kind::Word(name) = *self.kind() {
                self.names.dynamic |= name == "_ENV";
                self.locals.push(name);
            }
            self.at += 1;
        }
        self.pass(")");
        self.functions += 1;
        self.block();
        self.functions -= 1;
        self.pass("end");
        self.locals.truncate(outer);
    }

    fn condition(&mut self) {
        if let Some(name) = self.expression() {
            self.probed.insert(name.to_owned());
        }
    }

    /// Each that is nothing but a global name.
    fn expressions(&mut self) -> Vec<Option<&'t str>> {
        let mut all = vec![self.expression()];
        while self.pass(",") {
            all.push(self.expression());
        }
        all
    }

    /// Its name, if it is nothing but a global one.
    fn expression(&mut self) -> Option<&'t str> {
        let branches = self.branches;
        let (mut bare, mut probes) = self.operand();
        let mut alone = !probes;
        loop {
            let compared =
                matches!(self.kind(), Kind::Symbol("==" | "~=")) && *self.ahead(1) == Kind::Word("nil");
            let asked = matches!(self.kind(), Kind::Word("and" | "or"));
            let operator = matches!(
                self.kind(),
                Kind::Symbol(
                    "+" | "-"
                        | "*"
                        | "/"
                        | "//"
                        | "%"
                        | "^"
                        | "#"
                        | "&"
                        | "~"
                        | "|"
                        | "<<"
                        | ">>"
                        | ".."
                        | "<"
                        | "<="
                        | ">"
                        | ">="
                        | "=="
                        | "~="
                )
            );
            probes |= compared || asked;
            if probes && let Some(name) = bare {
                self.probed.insert(name.to_owned());
            }
            if !asked && !operator {
                break;
            }
            self.at += 1;
            alone = false;
            self.branches += usize::from(asked);
            // What follows `and` and `or` may be missing as well: `table.unpack or unpack`.
            let (next, next_probes) = self.operand();
            (bare, probes) = (next, asked || next_probes);
            if probes && let Some(name) = next {
                self.probed.insert(name.to_owned());
            }
        }
        self.branches = branches;
        bare.filter(|_| alone)
    }

    /// Its name, if it is nothing but a global one; and is it asked whether there is one?
    fn operand(&mut self) -> (Option<&'t str>, bool) {
        let mut probes = false;
        while matches!(self.kind(), Kind::Word("not") | Kind::Symbol("-" | "#" | "~")) {
            probes |= *self.kind() == Kind::Word("not");
            self.at += 1;
        }
        match self.kind() {
            Kind::Number | Kind::Symbol("...") | Kind::Word("nil" | "true" | "false") | Kind::Text(_) => {
                self.at += 1;
            }
            Kind::Symbol("{") => self.table(),
            Kind::Word("function") => {
                self.at += 1;
                self.function(&[]);
            }
            _ => {
                let place = self.suffixed();
                self.read(&place);
                return (place.global.filter(|_| place.keys.is_empty()), probes);
            }
        }
        (None, probes)
    }

    fn table(&mut self) {
        self.at += 1;
        while !matches!(self.kind(), Kind::Symbol("}") | Kind::End) {
            let before = self.at;
            match (self.kind(), self.ahead(1)) {
                (Kind::Word(_), Kind::Symbol("=")) => self.at += 2,
                (Kind::Symbol("["), _) => {
                    self.at += 1;
                    self.expression();
                    self.pass("]");
                    self.pass("=");
                }
                _ => {}
            }
            self.expression();
            let _ = self.pass(",") || self.pass(";");
            self.at = self.at.max(before + 1);
        }
        self.pass("}");
    }

    /// A name that begins an expression.
    fn begin(&mut self) -> Place<'t> {
        let line = self.line();
        let name = self.name();
        let global = Some(name).filter(|name| !self.locals.contains(name));
        Place { global, line, keys: Vec::new() }
    }

    fn suffixed(&mut self) -> Place<'t> {
        let mut named = if let Kind::Word(name) = self.kind() { *name } else { "" };
        let mut place = match self.kind() {
            Kind::Word(_) => self.begin(),
            Kind::Symbol("(") => {
                self.at += 1;
                self.expression();
                self.pass(")");
                Place::default()
            }
            _ => {
                self.at += 1;
                Place::default()
            }
        };
        loop {
            match self.kind() {
                Kind::Symbol(".") => {
                    self.at += 1;
                    let key = self.name().to_owned();
                    place.keys.push(Some(key));
                }
                Kind::Symbol("[") => {
                    self.at += 1;
                    let key = match (self.kind(), self.ahead(1)) {
                        (Kind::Text(key), Kind::Symbol("]")) => Some(key.clone()),
                        _ => None,
                    };
                    self.expression();
                    self.pass("]");
                    place.keys.push(key);
                }
                Kind::Symbol(":") => {
                    self.at += 2;
                    self.read(&place);
                    self.arguments();
                    (named, place) = ("", Place::default());
                }
                Kind::Symbol("(" | "{") | Kind::Text(_) => {
                    self.read(&place);
                    if place.keys.is_empty() {
                        self.call(named);
                    }
                    let probed = self.arguments();
                    if let Some(name) = probed.filter(|_| named == "type" && place.keys.is_empty()) {
                        self.probed.insert(name.to_owned());
                    }
                    (named, place) = ("", Place::default());
                }
                _ => return place,
            }
        }
    }

    /// The name of the only argument, if that is nothing but a global name.
    fn arguments(&mut self) -> Option<&'t str> {
        match self.kind() {
            Kind::Symbol("{") => self.table(),
            Kind::Symbol("(") => {
                self.at += 1;
                let all = if *self.kind() == Kind::Symbol(")") { Vec::new() } else { self.expressions() };
                self.pass(")");
                return if let [one] = all[..] { one } else { None };
            }
            _ => self.at += 1,
        }
        None
    }

    /// What calls tell, whose arguments are next.
    fn call(&mut self, function: &str) {
        let line = self.line();
        let words = [self.kind(), self.ahead(1), self.ahead(2), self.ahead(3), self.ahead(4)];
        let require = match (function, words) {
            (
                "require",
                [Kind::Text(name), ..] | [Kind::Symbol("("), Kind::Text(name), Kind::Symbol(")"), ..],
            ) => Some((name.clone(), self.functions + self.branches == 0)),
            ("pcall", [Kind::Symbol("("), Kind::Word("require"), Kind::Symbol(","), Kind::Text(name), _]) => {
                Some((name.clone(), false))
            }
            ("rawset", [_, Kind::Word("_G" | "_ENV"), _, key, after]) => {
                match (key, after) {
                    (Kind::Text(name), Kind::Symbol(",")) => {
                        let name = name.clone();
                        self.names.defined.insert(name);
                    }
                    _ => self.names.dynamic = true,
                }
                None
            }
            ("setmetatable", [_, Kind::Word("_G" | "_ENV"), ..]) => {
                self.names.dynamic = true;
                None
            }
            _ => None,
        };
        if let Some((name, certain)) = require {
            self.names.requires.push(Require { name, line, certain });
        }
    }

    fn read(&mut self, place: &Place<'t>) {
        let Some(name) = place.global else { return };
        let key = place.keys.first().and_then(Option::as_deref);
        self.names.searches |= name == "package" && matches!(key, Some("preload" | "searchers"));
        let name = name.to_owned();
        if !self.names.reads.iter().any(|read| read.name == name) {
            self.names.reads.push(Use { name, line: place.line });
        }
    }

    fn write(&mut self, place: &Place<'t>) {
        let Some(name) = place.global else { return };
        let defined = match (name, &place.keys[..]) {
            ("_ENV", []) => return self.names.dynamic = true,
            ("_G" | "_ENV", [Some(name), ..]) => name.clone(),
            ("_G" | "_ENV", [None, ..]) => return self.names.dynamic = true,
            ("package", [Some(table), Some(module)]) if table == "preload" || table == "loaded" => {
                self.names.provided.insert(module.clone());
                return;
            }
            ("package", [_, ..]) => return self.names.searches = true,
            (name, []) if self.functions > 0 => {
                if !self.names.assigned.iter().any(|known| known.name == name) {
                    self.names.assigned.push(Use { name: name.to_owned(), line: place.line });
                }
                return;
            }
            (name, []) => name.to_owned(),
            _ => return self.read(place),
        };
        self.names.defined.insert(defined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text that must be Lua.
    fn names(text: &str) -> Names {
        assert_eq!(lunette_lua::examine(text.as_bytes()), Ok(()), "{text}");
        read(text)
    }

    fn reads(text: &str) -> Vec<String> {
        names(text).reads.into_iter().map(|read| read.name).collect()
    }

    #[test]
    fn modules_and_whether_they_are_always_asked_for() {
        let text = r#"
            local a = require "a"
            local b, c = require("b.c"), require[[c]].new { x = require 'd' }
            local ok, e = pcall(require, "e")
            if jit then require "ffi" end
            local function f() return require "g" end
            local h = a or require "h"
            require("i" .. "j"); require(k); x.require "no"; x:require "no"
            do require "l" end
            return require "m".n
        "#;
        let found = names(text).requires;
        let told = |certain: bool| {
            found.iter().filter(|r| r.certain == certain).map(|r| &*r.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((&*told(true), &*told(false)), ("a b.c c d l m", "e ffi g h"));
        assert_eq!((found[0].line, found[3].line), (2, 3));
        assert_eq!(names("local require = require\nreturn require 'x'").requires.len(), 1);
    }

    #[test]
    fn names_are_global_where_no_local_is_in_scope() {
        let text = r#"
            local a <const>, b <close> = c, nil
            function f(d, ...) return d + e, ... end
            local function g() return g, self end
            function t.u:v() return self end
            for i = 1, n do local j = i + j end
            for k, v in pairs(o) do p(k, v) end
            repeat local q = 1 until q == r
            do local s = 1 end
            ::top:: w = { x = y, [z] = 1; aa } goto top
        "#;
        assert_eq!(reads(text).join(" "), "c e self t n j pairs o p r y z aa");
        assert_eq!(names(text).defined.iter().map(|name| &**name).collect::<Vec<_>>(), ["f", "w"]);
        assert_eq!(reads("return s"), ["s"]);
    }

    #[test]
    fn a_name_that_is_asked_for_is_not_missed() {
        for text in [
            "return x and x.y",
            "local u = table.unpack or x",
            "if x then x() end",
            "if not x then return end x()",
            "while x do x() end",
            "if type(x) == 'table' then x.y() end",
            "if x == nil or 1 ~= nil then x() end",
            "local x = x",
            "return _G.x, rawget(_G, 'x'), _ENV.x",
            "return 1 and not x",
        ] {
            assert!(!reads(text).iter().any(|name| name == "x"), "{text}");
        }
        for text in [
            "return x",
            "x()",
            "x.y = 1",
            "return -x",
            "return x .. 'a' or 1 + 2",
            "return f(x)",
            "x:y()",
            "x'y'",
        ] {
            let found = reads(text).iter().any(|name| name == "x");
            assert!(found || text.contains(" or "), "{text}");
        }
    }

    #[test]
    fn what_defines_names_and_finds_modules() {
        let found = names("function f() a = 1 b = a end\n_G.c = 1 _G['d'] = 2 rawset(_G, 'e', 3)");
        assert_eq!(found.assigned.iter().map(|a| &*a.name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found.defined.iter().map(|name| &**name).collect::<Vec<_>>(), ["c", "d", "e", "f"]);
        assert!(!found.dynamic && !found.searches);
        for text in [
            "setmetatable(_G, {})",
            "_G[x] = 1",
            "rawset(_G, k, v)",
            "local _ENV = {}",
            "function f(_ENV) end",
        ] {
            assert!(names(text).dynamic, "{text}");
        }
        let found = names("package.preload['a.b'] = f package.loaded.c = 1 print(package.path)");
        assert_eq!(found.provided.iter().map(|name| &**name).collect::<Vec<_>>(), ["a.b", "c"]);
        assert!(!found.searches);
        for text in ["package.path = 'x'", "table.insert(package.searchers, f)", "local p = package.preload"]
        {
            assert!(names(text).searches, "{text}");
        }
    }

    #[test]
    fn what_is_no_lua_is_read_to_its_end() {
        for text in [
            "end end",
            ")",
            "local",
            "function",
            "for",
            "x =",
            "{",
            "a.b.",
            "if if",
            "::",
            "goto",
            "return return",
        ] {
            read(text);
        }
    }
}
