//! The kernel command line: `lunette.KEY` or `lunette.KEY=VALUE`, separated by spaces. What is not ours is
//! left to others without a word: hypervisors append their own.

/// A borrowed command line, read where it is needed.
#[derive(Clone, Copy, Default)]
pub struct Cmdline<'a>(&'a [u8]);

impl<'a> Cmdline<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The value of `lunette.KEY=VALUE`; the last one counts. `Some("")` for a bare `lunette.KEY`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.0.split(u8::is_ascii_whitespace).rev().find_map(|word| {
            let rest = word.strip_prefix(b"lunette.")?.strip_prefix(key.as_bytes())?;
            match rest.split_first() {
                None => Some(""),
                Some((b'=', value)) => core::str::from_utf8(value).ok(),
                Some(_) => None,
            }
        })
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A number, decimal or with `0x`.
    pub fn number(&self, key: &str) -> Option<u64> {
        let value = self.get(key)?;
        match value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => value.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cmdline;

    #[test]
    fn finds_what_is_ours_and_only_that() {
        let line = Cmdline::new(
            b"console=ttyS0 lunette.log=info  lunette.probe lunette.report=0xe8 lunette.log=debug",
        );
        assert_eq!(line.get("log"), Some("debug"), "the last one counts");
        assert_eq!(line.get("probe"), Some(""));
        assert_eq!(line.number("report"), Some(0xe8));
        assert_eq!(line.get("lo"), None, "a key is a whole word");
        assert_eq!(line.get("console"), None);
        assert_eq!(line.number("log"), None);
        assert!(!Cmdline::new(b"\xff\xfe lunette.x=\xff").has("x"), "not text, so not there");
    }
}
