//! A script's text as words, for texts that Lua's own compiler has taken: so nothing here complains.

/// A word, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind<'t>,
    /// From 1.
    pub(super) line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'t> {
    /// A name or a keyword.
    Word(&'t str),
    /// What a string literal says; escapes other than those of one character are left as they are.
    Text(String),
    Number,
    Symbol(&'t str),
    End,
}

/// The longest first.
const SYMBOLS: [&str; 32] = [
    "...", "..", "::", "==", "~=", "<=", ">=", "<<", ">>", "//", "+", "-", "*", "/", "%", "^", "#", "&", "~",
    "|", "<", ">", "=", "(", ")", "{", "}", "[", "]", ";", ":", ",",
];

pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { rest: text, line: 1 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let line = lexer.line;
        let kind = lexer.word();
        let last = kind == Kind::End;
        tokens.push(Token { kind, line });
        if last {
            return tokens;
        }
    }
}

struct Lexer<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Lexer<'t> {
    /// Goes on by so many bytes, or to the character after them; what was passed.
    fn pass(&mut self, bytes: usize) -> &'t str {
        let (passed, rest) = self.rest.split_at(self.rest.ceil_char_boundary(bytes));
        self.line += passed.bytes().filter(|&byte| byte == b'\n').count();
        self.rest = rest;
        passed
    }

    fn skip_blanks(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_ascii_start().len();
            // A vertical tab is blank to Lua.
            let blank = blank.max(usize::from(self.rest.starts_with('\x0b')));
            if blank > 0 {
                self.pass(blank);
            } else if self.rest.starts_with("--") {
                self.pass(2);
                if self.long().is_none() {
                    self.pass(self.rest.find('\n').unwrap_or(self.rest.len()));
                }
            } else {
                return;
            }
        }
    }

    /// `[[…]]`, `[=[…]=]`
    fn long(&mut self) -> Option<&'t str> {
        let level = self.rest.strip_prefix('[')?.bytes().take_while(|&byte| byte == b'=').count();
        if self.rest.as_bytes().get(1 + level) != Some(&b'[') {
            return None;
        }
        let end = format!("]{}]", "=".repeat(level));
        let inside = &self.rest[level + 2..];
        let length = inside.find(&end).unwrap_or(inside.len());
        self.pass(level + 2 + length + end.len());
        let inside = &inside[..length];
        Some(inside.strip_prefix("\r\n").or(inside.strip_prefix('\n')).unwrap_or(inside))
    }

    fn word(&mut self) -> Kind<'t> {
        let Some(first) = self.rest.chars().next() else { return Kind::End };
        let length = |is: fn(char) -> bool| self.rest.find(|c| !is(c)).unwrap_or(self.rest.len());
        let second = self.rest[first.len_utf8()..].chars().next().unwrap_or(' ');
        if first.is_ascii_alphabetic() || first == '_' {
            return Kind::Word(self.pass(length(|c| c.is_ascii_alphanumeric() || c == '_')));
        }
        if first.is_ascii_digit() || first == '.' && second.is_ascii_digit() {
            self.number(first == '0' && second.eq_ignore_ascii_case(&'x'));
            return Kind::Number;
        }
        if first == '"' || first == '\'' {
            return Kind::Text(self.quoted(first));
        }
        if let Some(text) = self.long() {
            return Kind::Text(text.to_owned());
        }
        match SYMBOLS.iter().find(|symbol| self.rest.starts_with(**symbol)) {
            Some(symbol) => Kind::Symbol(self.pass(symbol.len())),
            None => Kind::Symbol(self.pass(1)),
        }
    }

    /// As Lua reads one: all that could belong to it.
    fn number(&mut self, hexadecimal: bool) {
        let exponent = if hexadecimal { b'p' } else { b'e' };
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        while let Some(&byte) = bytes.get(end) {
            let sign = matches!(byte, b'+' | b'-') && bytes[end - 1].to_ascii_lowercase() == exponent;
            if !(sign || byte.is_ascii_alphanumeric() || byte == b'.') {
                break;
            }
            end += 1;
        }
        self.pass(end);
    }

    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        self.pass(1);
        loop {
            let plain = self.rest.find(['\\', quote]).unwrap_or(self.rest.len());
            text += self.pass(plain);
            if !self.rest.starts_with('\\') {
                self.pass(self.rest.len().min(1));
                return text;
            }
            let escape = self.pass(2);
            match escape.as_bytes().get(1) {
                Some(b'n') => text.push('\n'),
                Some(b't') => text.push('\t'),
                Some(b'\\' | b'"' | b'\'') => text += &escape[1..],
                _ => text += escape,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind<'_>> {
        tokens(text).into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn words_strings_and_what_is_none_of_the_text() {
        use Kind::{End, Number, Symbol, Text, Word};
        assert_eq!(
            kinds("a=1..2 --x\n--[==[ ]] \n]==] b.c['d\\'e'] [[\nf]]"),
            [
                Word("a"),
                Symbol("="),
                Number,
                Word("b"),
                Symbol("."),
                Word("c"),
                Symbol("["),
                Text("d'e".into()),
                Symbol("]"),
                Text("f".into()),
                End,
            ]
        );
        assert_eq!(
            kinds("0x1p-3 3e+2 .5 a...b"),
            [Number, Number, Number, Word("a"), Symbol("..."), Word("b"), End]
        );
        assert_eq!(kinds("'\\é' \"a\\\nb\"")[0], Text("\\é".into()));
    }

    #[test]
    fn lines_are_counted_through_all_of_it() {
        let lines: Vec<_> = tokens("a\n\n[[\n\n]] b 'x\\\ny' c").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 5, 5, 6, 6]);
    }

    #[test]
    fn what_is_cut_short_ends_all_the_same() {
        for text in ["'", "\"a\\", "[[", "--[[", "[=", "0x", "\\", "é", "'\\"] {
            assert_eq!(tokens(text).last().map(|token| &token.kind), Some(&Kind::End), "{text}");
        }
    }
}
