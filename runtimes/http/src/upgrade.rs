//! Connections that stop being HTTP: WebSocket and its like (RFC 9110, 7.8).

use bytes::Bytes;
use http::{Request, Response};

use crate::{Stream, body::Fault};

/// The connection of a request, once it was answered with 101; with what the client sent ahead.
pub fn of_request<B>(
    request: &mut Request<B>,
) -> impl Future<Output = Result<(Stream, Bytes), Fault>> + 'static {
    take(hyper::upgrade::on(request))
}

/// The connection of an answer that is 101; with what the server sent ahead.
pub fn of_response<B>(
    response: &mut Response<B>,
) -> impl Future<Output = Result<(Stream, Bytes), Fault>> + 'static {
    take(hyper::upgrade::on(response))
}

async fn take(pending: hyper::upgrade::OnUpgrade) -> Result<(Stream, Bytes), Fault> {
    let upgraded = pending.await?;
    let parts = upgraded.downcast::<Stream>().map_err(|_| Fault::Garbled("HTTP/2 has no upgrades".into()))?;
    Ok((parts.io, parts.read_buf))
}
