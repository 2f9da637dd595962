//! Why something with a socket failed.

use lunette_hostcalls::Errno;

use crate::errors;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Closed,
    Timeout,
    /// More than may be read at once.
    TooLarge,
    Errno(Errno),
    /// In the words of whoever met it.
    Said(String),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::Timedout => Self::Timeout,
            Errno::Pipe | Errno::Connreset | Errno::Connaborted => Self::Closed,
            errno => Self::Errno(errno),
        }
    }
}

impl From<std::io::Error> for Fault {
    /// Of a connection with TLS: an errno from below, or the library's own words.
    fn from(error: std::io::Error) -> Self {
        if let Some(errno) = error.get_ref().and_then(|inner| inner.downcast_ref::<Errno>()) {
            return (*errno).into();
        }
        match error.kind() {
            // An end without the goodbye of TLS: somebody cut it off.
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Said(format!("tls: {error}")),
        }
    }
}

impl Fault {
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Closed => "closed".into(),
            Self::Timeout => "timeout".into(),
            Self::TooLarge => "too large".into(),
            Self::Errno(errno) => errors::words(*errno),
            Self::Said(words) => words.clone(),
        }
    }
}
