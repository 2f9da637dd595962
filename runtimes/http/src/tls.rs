//! TLS: certificates, trust, handshakes.

use std::fmt;

use crate::{Stream, stream::Plain};

/// What went wrong, in one line: which certificate, which name, what to do.
#[derive(Clone, Debug)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The serving side: certificates with their keys. Clones share them.
#[derive(Clone)]
pub struct Server {}

impl Server {
    /// From a chain and its key in PEM; `alpn` in order of preference.
    pub fn new(chain: &[u8], key: &[u8], alpn: &[&str]) -> Result<Self, Error> {
        let _ = (chain, key, alpn);
        Err(Error("there is no TLS yet".into()))
    }

    pub async fn accept(&self, plain: Plain) -> Result<Stream, Error> {
        let _ = plain;
        Err(Error("there is no TLS yet".into()))
    }
}

/// Whom a client trusts.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The roots of the web, as data in the image.
    #[default]
    Web,
    /// These certificates (PEM) and no others.
    Only(Vec<u8>),
    /// Whoever answers: for tests.
    Anybody,
}

/// The asking side. Clones share their settings and sessions.
#[derive(Clone)]
pub struct Client {}

impl Client {
    pub fn new(trust: Trust, alpn: &[&str]) -> Result<Self, Error> {
        let _ = (trust, alpn);
        Ok(Self {})
    }

    /// Shakes hands with `name`, as which the other side must be known.
    pub async fn connect(&self, plain: Plain, name: &str) -> Result<Stream, Error> {
        let _ = (plain, name);
        Err(Error("there is no TLS yet".into()))
    }
}
