//! The serving side of one connection.
//!
//! Promises: a head ends in time and size or is answered with why not (408, 431); a connection that is of no use ends
//! in time; nobody's slow reading is waited for for ever, nor gathered for ([`Settings::body_time`], and buffers of a
//! head's size); a request is never read in two ways (below); [`Shutdown`] lets requests finish. One task a
//! connection; HTTP/2 has one more for each request.
//!
//! Does not: bound a request's body or how long its handler takes (the handler does, by [`Incoming::whole`] and
//! whatever it waits with), nor limit how many connections there are (whoever accepts does).
//!
//! # What could be read in two ways
//!
//! Two readers of one connection, a proxy and a server, must agree on where a request ends (RFC 9112, 11.2). So a
//! request is answered with 400 and the connection closed for: two `content-length`s that differ, one that is no
//! number, `transfer-encoding` that does not end in `chunked`, or in HTTP/1.0; a field that is folded, has a space
//! before its colon, or a bare CR or NUL in it. With both `transfer-encoding` and `content-length`, the first counts,
//! the second is not shown to the handler, and the connection is closed after the answer, as RFC 9112, 6.3, has it. A
//! chunk that is not one breaks the body off ([`Fault`](crate::body::Fault)), and the connection is closed. A line that
//! ends in a bare LF is taken for a line, as RFC 9112, 2.2, allows.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::DATE};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use lunette_hostcalls::{
    Interest, Nanos, TcpStream,
    task::{Sleep, Spawner, Time, poll_until, until},
};
use tokio::io::AsyncWrite;

pub use crate::shutdown::Shutdown;
use crate::{
    Body, BoxError, Boxed, Incoming, Stream, body,
    date::date,
    exec::Exec,
    shutdown::Joined,
    watch::{Active, Watch},
};

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
    /// How long a body may stand still, theirs while somebody waits for it, ours while they do not read it.
    pub body_time: Duration,
    /// HTTP/2, where the client asks for it (ALPN, or a prior-knowledge preface).
    pub http2: bool,
    /// How many requests a connection of HTTP/2 may have at once.
    pub streams: u32,
    /// Ends the connections that are served with it.
    pub shutdown: Shutdown,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head: 32 * 1024,
            fields: 100,
            head_time: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            body_time: Duration::from_secs(30),
            http2: true,
            streams: 100,
            shutdown: Shutdown::default(),
        }
    }
}

/// hyper's least buffer.
const LEAST_BUFFER: usize = 8 * 1024;
/// What hyper takes without being told.
const USUAL_FIELDS: usize = 100;
/// What of request bodies on HTTP/2 may be on its way, for one request and for all of a connection; and how much of an
/// answer waits there to be sent.
const WINDOWS: (u32, u32) = (64 << 10, 256 << 10);
const UNSENT: usize = 32 << 10;
/// How long a connection that is to end may take to say so.
const FAREWELL: Duration = Duration::from_secs(2);
/// What is read and thrown away of a request that was answered early, so the answer is not lost by a reset.
const LINGER: usize = 256 << 10;

const TOO_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Why a connection ended, for the log. A client that closes is no fault.
#[derive(Debug)]
pub struct Fault(pub String);

/// Serves a connection to its end: each request is given to `service`, and its response sent.
pub fn serve<'a, F: Future<Output = Response<Body>> + 'static>(
    stream: Stream,
    settings: &'a Settings,
    time: &'a Time,
    spawner: &'a Spawner,
    service: impl Fn(Request<Incoming>) -> F + 'static,
) -> Boxed<'a, Result<(), Fault>> {
    with(stream, settings, time, spawner, Rc::new(move |request| Box::pin(service(request))))
}

type Service = dyn Fn(Request<Incoming>) -> Boxed<'static, Response<Body>>;

fn with<'a>(
    stream: Stream,
    settings: &'a Settings,
    time: &'a Time,
    spawner: &'a Spawner,
    service: Rc<Service>,
) -> Boxed<'a, Result<(), Fault>> {
    Box::pin(connection(stream, settings, time, spawner, service))
}

async fn connection(
    mut stream: Stream,
    settings: &Settings,
    time: &Time,
    spawner: &Spawner,
    service: Rc<Service>,
) -> Result<(), Fault> {
    let joined = settings.shutdown.join();
    let speaks_h2 = settings.http2
        && match &stream {
            Stream::Plain(plain) => {
                let first = first(&*plain.0, time, &joined);
                match time.timeout(settings.keep_alive, first).await {
                    Some(Some(is_h2)) => is_h2,
                    Some(None) | None => return Ok(()),
                }
            }
            tls => tls.agreed_on_h2(),
        };
    let watch = Watch::below(&mut stream, time);
    let (seen, clock, fields, idle) = (watch.clone(), time.clone(), settings.fields, settings.body_time);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let active = seen.request(!request.body().is_end_stream());
        let clock = clock.clone();
        let answer = (request.headers().len() <= fields)
            .then(|| service(request.map(|body| Incoming::new(body, || (clock.clone(), idle)))));
        async move {
            let mut answer = match answer {
                Some(answer) => answer.await,
                None => refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            };
            if !answer.headers().contains_key(DATE)
                && let Some(date) = date(&clock)
            {
                answer.headers_mut().insert(DATE, date);
            }
            Ok::<_, Infallible>(answer.map(|body| Answer { body, _active: active }))
        }
    });
    let mut driver =
        Driver { watch, settings, time, joined, h2: speaks_h2, timer: None, waker: None, leaving: None };
    if speaks_h2 {
        let mut connection = http2::Builder::new(Exec(spawner.clone()))
            .auto_date_header(false)
            .max_concurrent_streams(settings.streams)
            .max_header_list_size(settings.head.try_into().unwrap_or(u32::MAX))
            .max_send_buf_size(UNSENT)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .serve_connection(stream, service);
        return match driver.drive(&mut connection, |connection| connection.graceful_shutdown()).await {
            End::Ended(Err(error)) => told(&error),
            _ => Ok(()),
        };
    }
    let mut builder = http1::Builder::new();
    builder
        .auto_date_header(false)
        .max_buf_size(settings.head.max(LEAST_BUFFER))
        .max_header_size(settings.head)
        // Joined at once, a head and a small body cost less than pieces that are joined when they are written.
        .writev(false);
    if settings.fields != USUAL_FIELDS {
        builder.max_headers(settings.fields);
    }
    let mut connection = builder.serve_connection(stream, service).with_upgrades();
    let end = driver.drive(&mut connection, |connection| connection.graceful_shutdown()).await;
    let Some(parts) = connection.into_parts() else { return Ok(()) };
    let mut stream = parts.io;
    match end {
        End::Late(Late::Head) => {
            time.timeout(FAREWELL, say(&mut stream, TOO_LATE)).await;
            time.timeout(FAREWELL, linger(&mut stream)).await;
            Err(Fault("timeout in a request's head".into()))
        }
        End::Late(Late::Stalled) => {
            stream.socket().abort();
            Err(Fault("timeout: what was sent is not read".into()))
        }
        End::Late(Late::Idle) => Ok(()),
        End::Ended(result) => {
            if result.is_err()
                || stream.socket().ready(Interest::Read).bytes > 0
                || driver.watch.was_sent_a_body()
            {
                time.timeout(FAREWELL, linger(&mut stream)).await;
            }
            result.or_else(|error| told(&error))
        }
    }
}

fn refuse(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// What of hyper's errors is for the log.
fn told(error: &hyper::Error) -> Result<(), Fault> {
    let mut inner = std::error::Error::source(error);
    let mut words = error.to_string();
    while let Some(source) = inner {
        if source.downcast_ref::<io::Error>().is_some_and(|io| io.kind() != io::ErrorKind::InvalidData) {
            return Ok(());
        }
        // Of a body that was passed on.
        if source.downcast_ref::<body::Fault>() == Some(&body::Fault::Closed) {
            return Ok(());
        }
        words = format!("{words}: {source}");
        inner = source.source();
    }
    match error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        true => Ok(()),
        false => Err(Fault(words)),
    }
}

/// Does the peer begin as HTTP/2 does (RFC 9113, 3.4)? `None`: there will be nothing to serve.
async fn first(stream: &dyn TcpStream, time: &Time, joined: &Joined) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    /// From here on it is no method of HTTP/1.1's.
    const ENOUGH: usize = 3;
    let mut buf = [0; PREFACE.len()];
    loop {
        let took = poll_fn(|cx| {
            if joined.has_begun() {
                return Poll::Ready(Ok(0));
            }
            joined.register(cx.waker());
            poll_until(stream, Interest::Read, cx, || stream.peek(&mut buf))
        });
        let took = took.await.ok().filter(|took| *took > 0)?;
        if !PREFACE.starts_with(&buf[..took]) || stream.ready(Interest::Read).hangup {
            return Some(false);
        }
        if took >= ENOUGH {
            return Some(true);
        }
        // What is there is ready for ever.
        time.sleep(Duration::from_millis(10)).await;
    }
}

/// Sends the last there is to say.
async fn say(stream: &mut Stream, mut bytes: &[u8]) {
    poll_fn(|cx| {
        while !bytes.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, bytes)) {
                Ok(wrote) if wrote > 0 => bytes = &bytes[wrote..],
                _ => return Poll::Ready(()),
            }
        }
        Pin::new(&mut *stream).poll_flush(cx).map(drop)
    })
    .await;
}

/// Says that nothing more comes, and throws away what the peer still sends: closed with it unread, the connection would
/// be reset, and the answer lost with it.
async fn linger(stream: &mut Stream) {
    let _ = poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).await;
    let (socket, mut buf, mut left) = (stream.socket(), [0; 2048], LINGER);
    while left > 0 {
        match until(&**socket, Interest::Read, || socket.read(&mut buf)).await {
            Ok(took) if took > 0 => left = left.saturating_sub(took),
            _ => return,
        }
    }
}

/// A response's body; when it is gone, the request is done.
struct Answer {
    body: Body,
    _active: Active,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How a connection's own part came to its end.
enum End {
    Ended(hyper::Result<()>),
    Late(Late),
}

#[derive(Clone, Copy, Debug)]
enum Late {
    /// Nothing to do for too long.
    Idle,
    Head,
    /// The peer does not read.
    Stalled,
}

/// Runs a connection by the clock.
struct Driver<'a> {
    watch: Arc<Watch>,
    settings: &'a Settings,
    time: &'a Time,
    joined: Joined,
    h2: bool,
    /// Set for no later than something is due; looked at when it has come. So it is not set anew for each request.
    timer: Option<(Nanos, Sleep)>,
    /// Whom the timer and the shutdown wake.
    waker: Option<Waker>,
    /// Since when it is to end.
    leaving: Option<Nanos>,
}

impl Driver<'_> {
    async fn drive<C: Future<Output = hyper::Result<()>> + Unpin>(
        &mut self,
        connection: &mut C,
        leave: impl Fn(Pin<&mut C>),
    ) -> End {
        poll_fn(|cx| {
            let now = self.watch.begin();
            let mut poll = Pin::new(&mut *connection).poll(cx);
            if poll.is_pending() && self.leaving.is_none() && self.joined.has_begun() {
                self.leaving = Some(now);
                leave(Pin::new(&mut *connection));
                poll = Pin::new(&mut *connection).poll(cx);
            }
            self.watch.end();
            if let Poll::Ready(result) = poll {
                return Poll::Ready(End::Ended(result));
            }
            match self.due() {
                (due, Late::Idle) if due <= now && self.leaving.is_none() => {
                    self.leaving = Some(now);
                    leave(Pin::new(&mut *connection));
                    cx.waker().wake_by_ref();
                }
                (due, late) if due <= now => return Poll::Ready(End::Late(late)),
                (due, _) => self.wait(cx, now, due),
            }
            Poll::Pending
        })
        .await
    }

    /// When something is too late, and what.
    fn due(&self) -> (Nanos, Late) {
        let after = |since: Nanos, limit: Duration| {
            since.saturating_add(Nanos::try_from(limit.as_nanos()).unwrap_or(Nanos::MAX))
        };
        let settings = self.settings;
        let stalled = self.watch.stalled().map(|since| (after(since, settings.body_time), Late::Stalled));
        let free = self.watch.free().map(|free| match (self.leaving, self.watch.heard()) {
            (Some(leaving), _) => (after(leaving.max(free), FAREWELL), Late::Idle),
            (None, Some(heard)) if !self.h2 => (after(heard, settings.head_time), Late::Head),
            (None, _) => (after(free, settings.keep_alive), Late::Idle),
        });
        let first = stalled.into_iter().chain(free).min_by_key(|(due, _)| *due);
        first.unwrap_or((Nanos::MAX, Late::Idle))
    }

    fn wait(&mut self, cx: &mut Context<'_>, now: Nanos, due: Nanos) {
        let same = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !same {
            self.joined.register(cx.waker());
            self.waker = Some(cx.waker().clone());
        }
        let set = self.timer.as_ref().is_some_and(|(at, _)| *at <= due && *at > now);
        if (!same || !set) && due < Nanos::MAX {
            let mut sleep = self.time.sleep_until(due);
            if Pin::new(&mut sleep).poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.timer = Some((due, sleep));
        }
    }
}
