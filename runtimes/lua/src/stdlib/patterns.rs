//! Lua's patterns, as `lstrlib.c` matches them, and what they can cost.
//!
//! Promises: the same matches, captures and errors; a match takes a bounded number of steps, after which it fails
//! ([`Problem::Expensive`]), as backtracking can take any power of the subject's length. [`reach`] says how long a subject
//! may be for PUC's own matcher, which counts nothing, to stay as cheap.

mod cost;

pub(super) use cost::reach;

/// `LUA_MAXCAPTURES`.
const CAPTURES: usize = 32;
/// `MAXCCALLS`: how deep a match recurses.
const DEPTH: u32 = 200;
/// What any match may take, and what it may take besides for each byte of its subject: some 50 ms.
const STEPS: u64 = 8 << 20;
const STEPS_A_BYTE: u64 = 8;
/// Between two looks whether the script may go on at all: a slow machine takes seconds for [`STEPS`].
const LOOK: u64 = 1 << 18;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// In PUC's words.
    Wrong(String),
    Expensive,
}

type Found = Result<Option<usize>, Problem>;

/// What a capture has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    Open(usize),
    Position(usize),
    Text(usize, usize),
}

/// One pattern at one subject.
pub(super) struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    anchored: bool,
    depth: u32,
    level: usize,
    captures: [Capture; CAPTURES],
    pub(super) steps: u64,
    most: u64,
    /// After so many steps it asks `over`.
    look: u64,
    over: &'a dyn Fn() -> bool,
}

impl<'a> Matcher<'a> {
    /// `over` tells that the script's time is up: the match is given up as one that takes too long.
    pub(super) fn new(
        subject: &'a [u8],
        pattern: &'a [u8],
        may_anchor: bool,
        over: &'a dyn Fn() -> bool,
    ) -> Self {
        let rest = if may_anchor { pattern.strip_prefix(b"^") } else { None };
        Self {
            subject,
            pattern: rest.unwrap_or(pattern),
            anchored: rest.is_some(),
            depth: DEPTH,
            level: 0,
            captures: [Capture::Open(0); CAPTURES],
            steps: 0,
            most: STEPS + STEPS_A_BYTE * subject.len() as u64,
            look: LOOK,
            over,
        }
    }

    pub(super) fn is_anchored(&self) -> bool {
        self.anchored
    }

    /// The first match at `from` or later that does not end at `except`: where it begins and ends.
    pub(super) fn find(
        &mut self,
        from: usize,
        except: Option<usize>,
    ) -> Result<Option<(usize, usize)>, Problem> {
        let mut at = from;
        loop {
            self.level = 0;
            self.depth = DEPTH;
            if let Some(end) = self.matches(at, 0)?.filter(|end| Some(*end) != except) {
                return Ok(Some((at, end)));
            }
            if at >= self.subject.len() || self.anchored {
                return Ok(None);
            }
            at += 1;
        }
    }

    /// How many captures the match has; a whole match counts as one if there are none.
    pub(super) fn captured(&self, whole: bool) -> usize {
        if self.level == 0 && whole { 1 } else { self.level }
    }

    pub(super) fn capture(&self, index: usize, start: usize, end: usize) -> Result<Capture, Problem> {
        if index >= self.level {
            return if index == 0 { Ok(Capture::Text(start, end)) } else { Err(bad_index(index + 1)) };
        }
        match self.captures[index] {
            Capture::Open(_) => Err(wrong("unfinished capture")),
            capture => Ok(capture),
        }
    }

    fn step(&mut self, steps: u64) -> Result<(), Problem> {
        self.steps += steps;
        if self.steps < self.look { Ok(()) } else { self.look() }
    }

    #[cold]
    fn look(&mut self) -> Result<(), Problem> {
        if self.steps > self.most || (self.over)() {
            return Err(Problem::Expensive);
        }
        self.look = (self.steps + LOOK).min(self.most + 1);
        Ok(())
    }

    /// The pattern's byte, or C's end of string.
    fn byte(&self, at: usize) -> u8 {
        self.pattern.get(at).copied().unwrap_or(0)
    }

    fn matches(&mut self, mut s: usize, mut p: usize) -> Found {
        if self.depth == 0 {
            return Err(wrong("pattern too complex"));
        }
        self.depth -= 1;
        let found = loop {
            self.step(1)?;
            if p >= self.pattern.len() {
                break Some(s);
            }
            match self.pattern[p] {
                b'(' if self.byte(p + 1) == b')' => break self.open(s, p + 2, Capture::Position(s))?,
                b'(' => break self.open(s, p + 1, Capture::Open(s))?,
                b')' => break self.close(s, p + 1)?,
                b'$' if p + 1 == self.pattern.len() => break (s == self.subject.len()).then_some(s),
                b'%' => match self.byte(p + 1) {
                    b'b' => match self.balance(s, p + 2)? {
                        Some(end) => {
                            (s, p) = (end, p + 4);
                            continue;
                        }
                        None => break None,
                    },
                    b'f' => {
                        p += 2;
                        if self.byte(p) != b'[' {
                            return Err(wrong("missing '[' after '%f' in pattern"));
                        }
                        let end = self.class_end(p)?;
                        let before = if s == 0 { 0 } else { self.subject[s - 1] };
                        let here = self.subject.get(s).copied().unwrap_or(0);
                        if !in_set(self.pattern, before, p, end - 1) && in_set(self.pattern, here, p, end - 1)
                        {
                            p = end;
                            continue;
                        }
                        break None;
                    }
                    digit @ b'0'..=b'9' => match self.again(s, digit)? {
                        Some(end) => {
                            (s, p) = (end, p + 2);
                            continue;
                        }
                        None => break None,
                    },
                    _ => {}
                },
                _ => {}
            }
            let end = self.class_end(p)?;
            let suffix = self.byte(end);
            if !self.single(s, p, end) {
                if matches!(suffix, b'*' | b'?' | b'-') {
                    p = end + 1;
                    continue;
                }
                break None;
            }
            match suffix {
                b'?' => match self.matches(s + 1, end + 1)? {
                    Some(found) => break Some(found),
                    None => p = end + 1,
                },
                b'+' => break self.most_of(s + 1, p, end)?,
                b'*' => break self.most_of(s, p, end)?,
                b'-' => break self.least_of(s, p, end)?,
                _ => (s, p) = (s + 1, end),
            }
        };
        self.depth += 1;
        Ok(found)
    }

    fn open(&mut self, s: usize, p: usize, capture: Capture) -> Found {
        if self.level >= CAPTURES {
            return Err(wrong("too many captures"));
        }
        self.captures[self.level] = capture;
        self.level += 1;
        let found = self.matches(s, p)?;
        if found.is_none() {
            self.level -= 1;
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> Found {
        let open = (0..self.level).rev().find_map(|index| match self.captures[index] {
            Capture::Open(start) => Some((index, start)),
            _ => None,
        });
        let (index, start) = open.ok_or_else(|| wrong("invalid pattern capture"))?;
        self.captures[index] = Capture::Text(start, s);
        let found = self.matches(s, p)?;
        if found.is_none() {
            self.captures[index] = Capture::Open(start);
        }
        Ok(found)
    }

    fn balance(&mut self, s: usize, p: usize) -> Found {
        if p + 1 >= self.pattern.len() {
            return Err(wrong("malformed pattern (missing arguments to '%b')"));
        }
        let (open, close) = (self.pattern[p], self.pattern[p + 1]);
        if self.subject.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut deep = 1;
        for (index, &byte) in self.subject[s + 1..].iter().enumerate() {
            if byte == close {
                deep -= 1;
                if deep == 0 {
                    self.step(index as u64)?;
                    return Ok(Some(s + index + 2));
                }
            } else if byte == open {
                deep += 1;
            }
        }
        self.step((self.subject.len() - s) as u64)?;
        Ok(None)
    }

    fn again(&mut self, s: usize, digit: u8) -> Found {
        let index = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let captured = if index < self.level { Some(self.captures[index]) } else { None };
        match captured {
            Some(Capture::Text(start, end)) => {
                let text = &self.subject[start..end];
                let found = self.subject[s..].starts_with(text).then_some(s + text.len());
                self.step(text.len() as u64)?;
                Ok(found)
            }
            // PUC compares a position's length, which is none that fits.
            Some(Capture::Position(_)) => Ok(None),
            _ => Err(bad_index(index.wrapping_add(1))),
        }
    }

    fn most_of(&mut self, s: usize, p: usize, end: usize) -> Found {
        let mut count = 0;
        while self.single(s + count, p, end) {
            count += 1;
        }
        self.step(count as u64)?;
        loop {
            if let Some(found) = self.matches(s + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    fn least_of(&mut self, mut s: usize, p: usize, end: usize) -> Found {
        loop {
            if let Some(found) = self.matches(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.single(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn class_end(&self, p: usize) -> Result<usize, Problem> {
        class_end(self.pattern, p)
    }

    #[inline]
    fn single(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.subject.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            b'%' => in_class(byte, self.pattern[p + 1]),
            b'[' => in_set(self.pattern, byte, p, end - 1),
            literal => literal == byte,
        }
    }
}

fn class_end(pattern: &[u8], mut p: usize) -> Result<usize, Problem> {
    let byte = |at: usize| pattern.get(at).copied().unwrap_or(0);
    let first = byte(p);
    p += 1;
    match first {
        b'%' if p >= pattern.len() => Err(wrong("malformed pattern (ends with '%')")),
        b'%' => Ok(p + 1),
        b'[' => {
            if byte(p) == b'^' {
                p += 1;
            }
            loop {
                if p >= pattern.len() {
                    return Err(wrong("malformed pattern (missing ']')"));
                }
                let escaped = pattern[p] == b'%';
                p += 1;
                if escaped && p < pattern.len() {
                    p += 1;
                }
                if byte(p) == b']' && p < pattern.len() {
                    return Ok(p + 1);
                }
            }
        }
        _ => Ok(p),
    }
}

fn in_class(byte: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | 9..=13),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is == class.is_ascii_lowercase()
}

/// Is it in the set from `[` at `p` to `]` at `end`?
fn in_set(pattern: &[u8], byte: u8, mut p: usize, end: usize) -> bool {
    let mut inside = true;
    if pattern[p + 1] == b'^' {
        inside = false;
        p += 1;
    }
    loop {
        p += 1;
        if p >= end {
            return !inside;
        }
        let found = if pattern[p] == b'%' {
            p += 1;
            in_class(byte, pattern[p])
        } else if pattern[p + 1] == b'-' && p + 2 < end {
            p += 2;
            (pattern[p - 2]..=pattern[p]).contains(&byte)
        } else {
            pattern[p] == byte
        };
        if found {
            return inside;
        }
    }
}

fn wrong(words: &str) -> Problem {
    Problem::Wrong(words.to_owned())
}

fn bad_index(index: usize) -> Problem {
    Problem::Wrong(format!("invalid capture index %{index}"))
}

/// Has it none of what patterns are made of?
pub(super) fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::{LOOK, Matcher, Problem};

    #[test]
    fn a_match_is_given_up_soon_when_the_time_is_up() {
        let subject = vec![b'a'; 100_000];
        let find = |over: &dyn Fn() -> bool| {
            let mut matcher = Matcher::new(&subject, b".-.-.-.-b$", true, over);
            (matcher.find(0, None), matcher.steps)
        };
        let (found, all) = find(&|| false);
        assert_eq!(found, Err(Problem::Expensive));
        assert_eq!(all, super::STEPS + super::STEPS_A_BYTE * subject.len() as u64 + 1);
        let (found, few) = find(&|| true);
        assert_eq!(found, Err(Problem::Expensive));
        assert_eq!(few, LOOK);
    }
}
