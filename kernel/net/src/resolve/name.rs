//! Names that may be asked for: of hosts, as RFC 952 and 1123 have them, and underscores, which are in use.

use alloc::{string::String, vec::Vec};
use core::fmt;

use domain::base::Name;

use lunette_hostcalls::{Errno, grants::name_fault};

/// A name in the form that a question has.
pub(super) type Wire = Name<Vec<u8>>;

/// What [`name_fault`] finds nothing wrong with; in lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostName(String);

impl HostName {
    /// [`Errno::Inval`]: not a name. Names in other scripts come as their `xn--` form or not at all.
    pub(super) fn parse(text: &str) -> Result<Self, Errno> {
        let text = text.strip_suffix('.').unwrap_or(text);
        match name_fault(text) {
            Some(_) => Err(Errno::Inval),
            None => Ok(Self(text.to_ascii_lowercase())),
        }
    }

    /// Is this name `name`, or one below it?
    pub(super) fn is_within(&self, name: &str) -> bool {
        self.0.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    pub(super) fn wire(&self) -> Result<Wire, Errno> {
        Name::from_chars(self.0.chars()).map_err(|_| Errno::Inval)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
