//! JSON text to Lua values, in one pass: no tree in between, and no recursion.
//!
//! One reader for two dialects ([`Rules`]): RFC 8259 to the letter, and what lua-cjson takes. Error texts are
//! lua-cjson's, for both.
//!
//! Promises: what it holds besides the values is bounded by the text's length; a depth over the limit is an error.

use mlua::{Lua, LuaString, Table, Value};

use super::stack::{self, Key, Piece, Scalar, Text};

/// How a text is read.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Arrays and objects inside of each other.
    pub(crate) max_depth: usize,
    /// lua-cjson's ways: strings are bytes, control characters in them are fine, a NUL ends the text.
    pub(crate) lax: bool,
    /// Hexadecimal, leading zeros, infinities and NaN are numbers. Only where `lax`.
    pub(crate) odd_numbers: bool,
    /// Arrays get the metatable that says so, not only empty ones.
    pub(crate) mark: Mark,
}

/// Which arrays are marked as such.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mark {
    None,
    Empty,
    All,
}

/// Why a text can't be read.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The text is wrong: why, and at which byte (from 1).
    Text(String, usize),
    /// Lua could not: no memory.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

/// Reads one value, which is all there is in `text`.
pub(crate) fn read(lua: &Lua, text: &[u8], rules: Rules) -> Result<Value, Fault> {
    if !rules.lax
        && let Err(error) = std::str::from_utf8(text)
    {
        let at = error.valid_up_to() + 1;
        return Err(Fault::Text(format!("invalid UTF-8 at character {at}"), at));
    }
    let mut reader =
        Reader { lua, text, rules, at: 0, start: 0, scratch: Vec::new(), pieces: Vec::new(), mark: None };
    reader.document()
}

/// A word of the text. Where a string is, [`Reader::string`] says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Text),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Bad(&'static str),
}

impl Token {
    fn name(self, lax: bool) -> &'static str {
        let (theirs, ours) = match self {
            Self::ObjectBegin => ("T_OBJ_BEGIN", "'{'"),
            Self::ObjectEnd => ("T_OBJ_END", "'}'"),
            Self::ArrayBegin => ("T_ARR_BEGIN", "'['"),
            Self::ArrayEnd => ("T_ARR_END", "']'"),
            Self::String(_) => ("T_STRING", "a string"),
            Self::Integer(_) | Self::Number(_) => ("T_NUMBER", "a number"),
            Self::Boolean(_) => ("T_BOOLEAN", "a boolean"),
            Self::Null => ("T_NULL", "null"),
            Self::Colon => ("T_COLON", "':'"),
            Self::Comma => ("T_COMMA", "','"),
            Self::End => ("T_END", "the end"),
            Self::Bad(why) => (why, why),
        };
        if lax { theirs } else { ours }
    }
}

/// What is being filled, and where in it the next value goes.
enum Open {
    Array(Table, i64),
    Object(Table, Text),
}

/// A value that is whole.
enum Ended {
    Scalar(Scalar),
    Table(Table),
}

/// As many values are put into their table at once.
const PIECES: usize = 128;

struct Reader<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    rules: Rules,
    at: usize,
    /// Where the last token began (or, for a bad one, went bad).
    start: usize,
    /// Strings that are not in the text as they are, one after the other.
    scratch: Vec<u8>,
    /// What goes into the innermost table that is open, and is not there yet.
    pieces: Vec<Piece>,
    mark: Option<Table>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Value, Fault> {
        let mut open: Vec<Open> = Vec::new();
        let mut token = self.token();
        loop {
            // A value begins here.
            let mut ended = match token {
                Token::String(text) => Ended::Scalar(Scalar::String(text)),
                Token::Integer(integer) => Ended::Scalar(Scalar::Integer(integer)),
                Token::Number(number) => Ended::Scalar(Scalar::Number(number)),
                Token::Boolean(boolean) => Ended::Scalar(Scalar::Boolean(boolean)),
                Token::Null => Ended::Scalar(Scalar::Null),
                Token::ObjectBegin => {
                    let table = self.descend(&open)?;
                    match self.token() {
                        Token::ObjectEnd => Ended::Table(table),
                        first => {
                            let name = self.name(first)?;
                            open.push(Open::Object(table, name));
                            token = self.token();
                            continue;
                        }
                    }
                }
                Token::ArrayBegin => {
                    let table = self.descend(&open)?;
                    if self.rules.mark == Mark::All {
                        table.set_metatable(Some(self.mark()?))?;
                    }
                    match self.token() {
                        Token::ArrayEnd => {
                            if self.rules.mark == Mark::Empty {
                                table.set_metatable(Some(self.mark()?))?;
                            }
                            Ended::Table(table)
                        }
                        first => {
                            open.push(Open::Array(table, 1));
                            token = first;
                            continue;
                        }
                    }
                }
                bad => return Err(self.fault("value", bad)),
            };
            // It ends here, and with it maybe what it is the last of.
            token = loop {
                let Some(outer) = open.last_mut() else {
                    let value = match ended {
                        Ended::Table(table) => Value::Table(table),
                        Ended::Scalar(scalar) => self.scalar(scalar)?,
                    };
                    return match self.token() {
                        Token::End => Ok(value),
                        more => Err(self.fault("the end", more)),
                    };
                };
                let (Open::Array(table, _) | Open::Object(table, _)) = &*outer;
                let key = match &*outer {
                    Open::Array(_, index) => Key::Index(*index),
                    Open::Object(_, name) => Key::Name(*name),
                };
                match (ended, key) {
                    (Ended::Scalar(value), key) => self.pieces.push(Piece { key, value }),
                    (Ended::Table(inner), Key::Index(index)) => table.raw_set(index, inner)?,
                    (Ended::Table(inner), Key::Name(name)) => table.raw_set(self.string(name)?, inner)?,
                }
                if self.pieces.len() == PIECES {
                    self.fill(table)?;
                }
                match outer {
                    Open::Array(_, index) => {
                        *index += 1;
                        match self.token() {
                            Token::Comma => break self.token(),
                            Token::ArrayEnd => {}
                            bad => return Err(self.fault("comma or array end", bad)),
                        }
                    }
                    Open::Object(_, name) => match self.token() {
                        Token::Comma => {
                            let next = self.token();
                            *name = self.name(next)?;
                            break self.token();
                        }
                        Token::ObjectEnd => {}
                        bad => return Err(self.fault("comma or object end", bad)),
                    },
                }
                let (Open::Array(table, _) | Open::Object(table, _)) = open.pop().expect("it was the last");
                self.fill(&table)?;
                ended = Ended::Table(table);
            };
        }
    }

    /// A new table inside of what is open.
    fn descend(&mut self, open: &[Open]) -> Result<Table, Fault> {
        let depth = open.len() + 1;
        if depth <= self.rules.max_depth {
            if let Some(Open::Array(table, _) | Open::Object(table, _)) = open.last() {
                self.fill(table)?;
            }
            return Ok(self.lua.create_table()?);
        }
        let words = format!("Found too many nested data structures ({depth}) at character {}", self.at);
        Err(Fault::Text(words, self.at))
    }

    fn fault(&self, expected: &str, found: Token) -> Fault {
        let at = self.start + 1;
        let found = found.name(self.rules.lax);
        Fault::Text(format!("Expected {expected} but found {found} at character {at}"), at)
    }

    /// The metatable of arrays.
    fn mark(&mut self) -> Result<Table, Fault> {
        if self.mark.is_none() {
            self.mark = Some(super::array_mark(self.lua)?);
        }
        Ok(self.mark.clone().expect("just made"))
    }

    /// A member's name, and the colon after it.
    fn name(&mut self, token: Token) -> Result<Text, Fault> {
        let Token::String(name) = token else { return Err(self.fault("object key string", token)) };
        match self.token() {
            Token::Colon => Ok(name),
            bad => Err(self.fault("colon", bad)),
        }
    }

    /// Puts what waits into its table.
    fn fill(&mut self, table: &Table) -> mlua::Result<()> {
        if !self.pieces.is_empty() {
            stack::fill(self.lua, table, &self.pieces, self.text, &self.scratch)?;
            self.pieces.clear();
        }
        Ok(())
    }

    fn scalar(&self, scalar: Scalar) -> mlua::Result<Value> {
        Ok(match scalar {
            Scalar::Null => Value::NULL,
            Scalar::Boolean(boolean) => Value::Boolean(boolean),
            Scalar::Integer(integer) => Value::Integer(integer),
            Scalar::Number(number) => Value::Number(number),
            Scalar::String(text) => Value::String(self.string(text)?),
        })
    }

    fn string(&self, text: Text) -> mlua::Result<LuaString> {
        self.lua.create_string(text.of(self.text, &self.scratch))
    }

    /// The byte there, or a NUL after the end.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn token(&mut self) -> Token {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.start = self.at;
        let rest = &self.text[self.at..];
        let (token, length) = match rest {
            [] => (Token::End, 0),
            [0, ..] if self.rules.lax => (Token::End, 0),
            [b'{', ..] => (Token::ObjectBegin, 1),
            [b'}', ..] => (Token::ObjectEnd, 1),
            [b'[', ..] => (Token::ArrayBegin, 1),
            [b']', ..] => (Token::ArrayEnd, 1),
            [b',', ..] => (Token::Comma, 1),
            [b':', ..] => (Token::Colon, 1),
            [b'"', ..] => return self.quoted(),
            [b'-' | b'0'..=b'9', ..] => self.number(rest),
            [b't', b'r', b'u', b'e', ..] => (Token::Boolean(true), 4),
            [b'f', b'a', b'l', b's', b'e', ..] => (Token::Boolean(false), 5),
            [b'n', b'u', b'l', b'l', ..] => (Token::Null, 4),
            [b'+' | b'i' | b'I' | b'n' | b'N', ..] if self.rules.odd_numbers && is_odd(rest) => {
                odd_number(rest)
            }
            _ => (Token::Bad("invalid token"), 0),
        };
        self.at += length;
        token
    }

    fn bad(&mut self, why: &'static str) -> Token {
        self.start = self.at;
        Token::Bad(why)
    }

    fn number(&self, text: &[u8]) -> (Token, usize) {
        if is_odd(text) {
            return match self.rules.odd_numbers {
                true => odd_number(text),
                false => (Token::Bad("invalid number"), 0),
            };
        }
        let (token, length) = decimal(text);
        // `1.` and `1e` are where C's numbers end early; JSON's are wrong.
        if !self.rules.lax && matches!(text.get(length), Some(b'.' | b'e' | b'E')) {
            return (Token::Bad("invalid number"), 0);
        }
        if !self.rules.lax && text[..length].ends_with(b".") {
            return (Token::Bad("invalid number"), 0);
        }
        (token, length)
    }

    /// A string: in place if it has no escapes.
    fn quoted(&mut self) -> Token {
        self.at += 1;
        let from = self.at;
        self.skip_plain();
        if self.byte(self.at) == b'"' {
            self.at += 1;
            return Token::String(Text::Plain(from, self.at - 1));
        }
        let begin = self.scratch.len();
        let mut from = from;
        loop {
            self.scratch.extend_from_slice(&self.text[from..self.at]);
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Token::String(Text::Scratch(begin, self.scratch.len()));
                }
                Some(b'\\') => {}
                None | Some(0) if self.rules.lax => return self.bad("unexpected end of string"),
                None => return self.bad("unexpected end of string"),
                Some(_) => return self.bad("control character in string"),
            }
            let escaped = match self.byte(self.at + 1) {
                byte @ (b'"' | b'\\' | b'/') => byte,
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'f' => 12,
                b'r' => b'\r',
                b'u' => {
                    let Some((character, length)) = unicode(&self.text[self.at..]) else {
                        return self.bad("invalid unicode escape code");
                    };
                    self.scratch.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += length;
                    from = self.at;
                    self.skip_plain();
                    continue;
                }
                _ => return self.bad("invalid escape code"),
            };
            self.scratch.push(escaped);
            self.at += 2;
            from = self.at;
            self.skip_plain();
        }
    }

    /// To the next byte of a string that is not just itself.
    fn skip_plain(&mut self) {
        let rest = &self.text[self.at..];
        let special = |&byte: &u8| match byte {
            b'"' | b'\\' | 0 => true,
            1..=0x1F => !self.rules.lax,
            _ => false,
        };
        self.at += rest.iter().position(special).unwrap_or(rest.len());
    }
}

/// `\uXXXX`, or two of them: the character, and how long that was.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let unit = |text: &[u8]| match text {
        [b'\\', b'u', digits @ ..] => {
            let digits = digits.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        }
        _ => None,
    };
    let first = unit(text)?;
    if !(0xD800..0xDC00).contains(&first) {
        // A low one alone is no character.
        return Some((char::from_u32(first)?, 6));
    }
    let second = unit(&text[6..]).filter(|second| (0xDC00..0xE000).contains(second))?;
    Some((char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))?, 12))
}

/// As JSON has them, and as C's `strtod` does where a text is none: the longest beginning that is a number.
fn decimal(text: &[u8]) -> (Token, usize) {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let whole = digits(sign);
    let mut end = sign + whole;
    let mut integral = true;
    let mut some = whole > 0;
    if text.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        some |= fraction > 0;
        if some {
            end += 1 + fraction;
            integral = false;
        }
    }
    if !some {
        return (Token::Bad("invalid number"), 0);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        let power = digits(end + 1 + sign);
        if power > 0 {
            end += 1 + sign + power;
            integral = false;
        }
    }
    let number = std::str::from_utf8(&text[..end]).expect("digits");
    // `-0` is a float: there is no such integer.
    if integral
        && number != "-0"
        && let Ok(integer) = number.parse()
    {
        return (Token::Integer(integer), end);
    }
    (number.parse().map_or(Token::Bad("invalid number"), Token::Number), end)
}

/// May this be a number for C that is none for JSON? (lua-cjson's `json_is_invalid_number`.)
fn is_odd(text: &[u8]) -> bool {
    if text.first() == Some(&b'+') {
        return true;
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match text {
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
        [b'i' | b'I' | b'n' | b'N', ..] => {
            let word = text.get(..3).unwrap_or_default();
            word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
        }
        _ => false,
    }
}

/// What C's `strtod` makes of it.
fn odd_number(text: &[u8]) -> (Token, usize) {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let signed = |number: f64| Token::Number(if text[0] == b'-' { -number } else { number });
    let rest = &text[sign..];
    let begins =
        |word: &str| rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()));
    if begins("infinity") {
        (signed(f64::INFINITY), sign + 8)
    } else if begins("inf") {
        (signed(f64::INFINITY), sign + 3)
    } else if begins("nan") {
        (signed(f64::NAN), sign + 3)
    } else if begins("0x")
        && let Some((number, length)) = hexadecimal(&rest[2..])
    {
        (signed(number), sign + 2 + length)
    } else {
        decimal(text)
    }
}

/// Digits after `0x`, with a point and a binary exponent.
fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let (mut mantissa, mut power, mut digits, mut at) = (0_f64, 0_i32, 0, 0);
    let mut point = false;
    while let Some(&byte) = text.get(at) {
        match char::from(byte).to_digit(16) {
            Some(digit) => {
                mantissa = mantissa * 16.0 + f64::from(digit);
                power = power.saturating_sub(if point { 4 } else { 0 });
                digits += 1;
            }
            None if byte == b'.' && !point => point = true,
            None => break,
        }
        at += 1;
    }
    if digits == 0 {
        return None;
    }
    if let [b'p' | b'P', rest @ ..] = &text[at..] {
        let sign = usize::from(matches!(rest.first(), Some(b'-' | b'+')));
        let length = rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length > 0 {
            let exponent =
                std::str::from_utf8(&rest[..sign + length]).ok()?.parse().unwrap_or(match rest[0] {
                    b'-' => -100_000,
                    _ => 100_000,
                });
            power = power.saturating_add(exponent);
            at += 1 + sign + length;
        }
    }
    // Two steps: the power alone may be out of range where the product is not.
    let half = power / 2;
    Some((mantissa * 2_f64.powi(half) * 2_f64.powi(power - half), at))
}

#[cfg(test)]
mod tests {
    use mlua::Lua;

    use super::{super::STRICT, Fault, read};

    #[test]
    fn a_text_that_makes_too_much_ends_without_memory() {
        let lua = Lua::new();
        lua.set_memory_limit(lua.used_memory() + (100 << 10)).expect("an own allocator");
        for text in
            ["[".to_owned() + &"{},".repeat(50_000) + "1]", "[".to_owned() + &"1.5,".repeat(50_000) + "1]"]
        {
            let found = read(&lua, text.as_bytes(), STRICT);
            assert!(matches!(found, Err(Fault::Lua(mlua::Error::MemoryError(_)))), "{found:?}");
        }
        assert!(read(&lua, b"[1]", STRICT).is_ok());
    }

    /// Every beginning of a text that has everything, in both dialects: an answer, never a panic.
    #[test]
    fn a_text_can_end_anywhere() {
        let lua = Lua::new();
        let text =
            br#" {"a\n\u00e9\ud83d\ude00":[-0.5e+10,0x1.8p-3,+Inf,nan,true,false,null,{"":[]}],"\\":"x"} "#;
        let lax = super::Rules { lax: true, odd_numbers: true, mark: super::Mark::All, ..STRICT };
        for end in 0..=text.len() {
            let good = read(&lua, &text[..end], lax).is_ok();
            assert_eq!(good, end + 1 >= text.len(), "{end}");
            assert!(read(&lua, &text[..end], STRICT).is_err());
        }
    }
}
