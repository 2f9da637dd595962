//! Native code beside the bytecode that it was made from.
//!
//! Promises: code and label are both there, or neither; the code begins at a multiple of 4 KiB in the bundle, whatever its
//! size, so that it can be mapped where it lies. Does not: read the label, or look into the code (`lunette-native` does).

use crate::{Bundle, Error, tar};

/// What a compiler made of one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Native<'a> {
    /// A few lines that say what the code is for and what it was made from.
    pub label: &'a str,
    pub code: &'a [u8],
}

/// The ends of the two files' names.
const CODE: &str = ".cwasm";
const LABEL: &str = ".txt";

/// Where the code and the label for the program `main` are.
pub(crate) fn paths(main: &str) -> [String; 2] {
    [CODE, LABEL].map(|end| format!("{}/{main}{end}", tar::NATIVE))
}

/// Is this path that of native code? Its data begins on a page then.
pub(crate) fn is_code(path: &str) -> bool {
    path.strip_prefix(tar::NATIVE).is_some_and(|rest| rest.starts_with('/') && rest.ends_with(CODE))
}

impl<'a> Bundle<'a> {
    /// The native code for the program `main`, if there is some.
    pub fn native(&self, main: &str) -> Result<Option<Native<'a>>, Error> {
        let [code, label] = paths(main);
        match (self.file(&code), self.file(&label)) {
            (Some(code), Some(text)) => match std::str::from_utf8(text) {
                Ok(label) => Ok(Some(Native { label, code })),
                Err(_) => Err(self.broken(&label, "is not UTF-8")),
            },
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.broken(&code, "has no label beside it")),
            (None, Some(_)) => Err(self.broken(&label, "has no code beside it")),
        }
    }

    fn broken(&self, path: &str, why: &str) -> Error {
        let at = self.get(path).map_or(0, |entry| entry.offset);
        Error::damaged(format!("{path:?} {why}"), at)
    }
}
