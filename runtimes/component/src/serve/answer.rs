//! Answers: those that a handler gives, as connections want them, and those that are given in its place.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body::{Body as _, Frame, SizeHint};
use lunette_http::{Body, BoxError};
use wasmtime_wasi_http::{Error, WasiBody};

use super::handler::X_REQUEST_ID;

/// An answer without a handler's words; with the number that the log has of it.
#[cold]
pub(super) fn bare(status: StatusCode, request: Option<&str>) -> Response<Body> {
    let reason = status.canonical_reason().unwrap_or_default();
    let text = match request {
        Some(id) => format!("{} {reason}: request {id}\n", status.as_u16()),
        None => format!("{} {reason}\n", status.as_u16()),
    };
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(id) = request.and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert(X_REQUEST_ID.clone(), id);
    }
    response
}

/// What a client is told when a handler gives an error for an answer.
pub(super) fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::DnsTimeout
        | Error::ConnectionTimeout
        | Error::ConnectionReadTimeout
        | Error::ConnectionWriteTimeout
        | Error::HttpResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        Error::DnsError { .. }
        | Error::DestinationNotFound
        | Error::DestinationUnavailable
        | Error::DestinationIpProhibited
        | Error::DestinationIpUnroutable
        | Error::ConnectionRefused
        | Error::ConnectionTerminated
        | Error::TlsProtocolError
        | Error::TlsCertificateError
        | Error::TlsAlertReceived { .. }
        | Error::HttpRequestDenied
        | Error::HttpResponseIncomplete
        | Error::HttpProtocolError => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// How much of a body is taken at once, so that its length can be said.
const WHOLE: usize = 64 << 10;

/// The body of an answer whose handler has ended: what there is of it, if that is all, needs no frames. The error is of one
/// that the handler gave up, or that is not as long as was said.
pub(super) fn ended(mut body: WasiBody) -> Result<Body, Error> {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    let next = loop {
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(None) => {
                return Ok(Body::full(if more.is_empty() { first } else { more.freeze() }));
            }
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if first.is_empty() => first = data,
                Ok(data) => {
                    if more.is_empty() {
                        more.extend_from_slice(&first);
                    }
                    more.extend_from_slice(&data);
                    if more.len() > WHOLE {
                        break None;
                    }
                }
                Err(trailers) => break Some(trailers),
            },
            Poll::Ready(Some(Err(error))) => return Err(error),
            Poll::Pending => break None,
        }
    };
    let ahead = if more.is_empty() { first } else { more.freeze() };
    Ok(Body::of(Begun { ahead: Some(ahead).filter(|ahead| !ahead.is_empty()), next, rest: body }))
}

/// A body of which some was taken.
struct Begun {
    ahead: Option<Bytes>,
    next: Option<Frame<Bytes>>,
    rest: WasiBody,
}

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Some(Ok(Frame::data(ahead))));
        }
        match self.next.take() {
            Some(next) => Poll::Ready(Some(Ok(next))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }
}

/// What a handler that goes on and the body of its answer know of each other.
#[derive(Default)]
pub(super) struct Link {
    /// The handler ended by its own fault: what there is of the body is not all of it.
    failed: Cell<bool>,
    /// Nobody takes the body any more.
    gone: Cell<bool>,
    handler: RefCell<Option<Waker>>,
    /// The body, once as much of it was taken as was said: a handler that still flushes or finishes it is not to find it
    /// closed, as it would if the client had gone.
    taken: RefCell<Option<WasiBody>>,
}

impl Link {
    pub(super) fn fail(&self) {
        self.failed.set(true);
    }

    /// Has the client gone before the end? If not, `waker` is woken when it does.
    pub(super) fn is_gone(&self, waker: &Waker) -> bool {
        if !self.gone.get() {
            let mut place = self.handler.borrow_mut();
            if !place.as_ref().is_some_and(|old| old.will_wake(waker)) {
                *place = Some(waker.clone());
            }
        }
        self.gone.get()
    }
}

/// The body of an answer whose handler goes on.
pub(super) struct Streamed {
    /// There until this is dropped.
    body: Option<WasiBody>,
    link: Rc<Link>,
    /// What is to come yet, if that was said.
    left: Option<u64>,
    ended: bool,
}

/// Why an answer is cut off.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the handler ended before its answer did")
    }
}

impl std::error::Error for Cut {}

impl Streamed {
    /// `length` is what the head says.
    pub(super) fn new(body: WasiBody, length: Option<u64>, link: Rc<Link>) -> Self {
        Self { body: Some(body), link, left: length, ended: false }
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
                self.ended |= frame.is_trailers() || self.left == Some(0);
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.ended = true;
                Some(Err(error.into()))
            }
            None => {
                self.ended = true;
                // The end of a store looks like the end of a body.
                self.link.failed.get().then(|| Err(Cut.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(WasiBody::is_end_stream) && !self.link.failed.get()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, WasiBody::size_hint)
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let body = self.body.take();
        if self.ended || body.as_ref().is_some_and(WasiBody::is_end_stream) {
            *self.link.taken.borrow_mut() = body;
        } else {
            self.link.gone.set(true);
        }
        let waker = self.link.handler.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
