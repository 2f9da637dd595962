//! The serving side of one connection.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use hyper::{server::conn::http1, service::service_fn};
use lunette_hostcalls::task::{Spawner, Time};

use crate::{Body, Incoming, Stream};

/// How a server serves. Limits that are not said here are the service's.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a request's head; over it: 431.
    pub head: usize,
    /// Header fields of a request; over it: 431.
    pub fields: usize,
    /// How long a head may take from its first byte on; then: 408.
    pub head_time: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// HTTP/2, where the client asks for it (ALPN, or a prior-knowledge preface).
    pub http2: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head: 32 * 1024,
            fields: 100,
            head_time: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            http2: true,
        }
    }
}

/// Why a connection ended, for the log. A client that closes is no fault.
#[derive(Debug)]
pub struct Fault(pub String);

/// Serves a connection to its end: each request is given to `service`, and its response sent.
pub async fn serve<F: Future<Output = Response<Body>> + 'static>(
    stream: Stream,
    settings: &Settings,
    time: &Time,
    spawner: &Spawner,
    service: impl Fn(Request<Incoming>) -> F + 'static,
) -> Result<(), Fault> {
    let (_, _) = (time, spawner);
    http1::Builder::new()
        .max_buf_size(settings.head.max(8192))
        .serve_connection(
            stream,
            service_fn(move |request: Request<hyper::body::Incoming>| {
                let response = service(request.map(|body| Incoming::new(body, None)));
                async move { Ok::<_, Infallible>(response.await) }
            }),
        )
        .with_upgrades()
        .await
        .map_err(|error| Fault(error.to_string()))
}
