//! Names that may be asked for: of hosts, as RFC 952 and 1123 have them, and underscores, which are in use.

use alloc::{string::String, vec::Vec};
use core::fmt;

use domain::base::Name;

use lunette_hostcalls::Errno;

/// A name in the form that a question has.
pub(super) type Wire = Name<Vec<u8>>;

/// Letters, digits, `_` and (inside) `-` in labels of 1 to 63, 253 characters at most; in lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostName(String);

impl HostName {
    /// [`Errno::Inval`]: not a name. Nor is one that ends in a number: it is an address with a mistake in it, or in a
    /// form (`127.1`) that no two programs read alike. Names in other scripts come as their `xn--` form or not at all.
    pub(super) fn parse(text: &str) -> Result<Self, Errno> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let number = |label: &str| {
            label.bytes().all(|byte| byte.is_ascii_digit())
                || label
                    .strip_prefix("0x")
                    .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        if text.len() > 253 || !text.split('.').all(label) || text.rsplit('.').next().is_some_and(number) {
            return Err(Errno::Inval);
        }
        Ok(Self(text.to_ascii_lowercase()))
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
