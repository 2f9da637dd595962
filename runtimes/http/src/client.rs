//! The asking side.

use std::{fmt, time::Duration};

use http::{Request, Response};
use lunette_hostcalls::{
    Network,
    task::{Spawner, Time},
};

use crate::{Body, Incoming, tls};

/// How one request is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// From the first step to the last byte of the head.
    pub timeout: Duration,
    /// How many redirects are followed; with 0 they are answers like others.
    pub redirects: usize,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: Kind,
    /// One line, without the kind's prefix.
    pub words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The URL or the request can't be used.
    Request,
    /// The name has no address, or nobody may be asked for it.
    Resolve,
    Connect,
    Tls,
    Timeout,
    /// The connection ended, or what came is no HTTP.
    Answer,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// Asks servers. Clones share their connections.
#[derive(Clone)]
pub struct Client {}

impl Client {
    pub fn new(network: Network, time: Time, spawner: Spawner, tls: tls::Client) -> Self {
        let _ = (network, time, spawner, tls);
        Self {}
    }

    /// Asks, follows redirects, and answers with a head; the body is read when the caller does.
    pub async fn request(
        &self,
        request: Request<Body>,
        options: &Options,
    ) -> Result<Response<Incoming>, Error> {
        let _ = (request, options);
        Err(Error { kind: Kind::Request, words: "there is no client yet".into() })
    }
}
