//! Bodies: what is sent, and what comes.
//!
//! Promises: what is sent waits for whoever takes it, and what comes for whoever reads it: nothing is gathered in
//! between but what a connection's windows hold. A body that stops coming ends in time ([`Fault::Timeout`]), one that
//! is cut short says so, and [`Incoming::whole`] takes no more memory than it was allowed. Trailers go both ways.
//!
//! Does not: guess whether something is worth compressing ([`Body::gzip`] does as it is told), or bound a body that is
//! read bit by bit: whoever reads counts.

use std::{
    error::Error as _,
    fmt,
    future::poll_fn,
    io::{self, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, channel::Channel};
use lunette_hostcalls::task::{Sleep, Time};

pub use http_body_util::channel::Sender;

use crate::inflate::Inflater;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How much of a whole body is handed over at once: a connection joins it with what else it has to send.
const PIECE: usize = 16 * 1024;

/// What is sent.
pub struct Body(Kind);

enum Kind {
    Full(Bytes),
    Channel(Channel<Bytes, BoxError>),
    /// Passed on.
    Incoming(Box<Incoming>),
    Gzip(Box<Gzip>),
    /// Somebody else's.
    Other(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError>>>),
}

impl Body {
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Whole: its length is said in the head.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(bytes.into()))
    }

    /// Bit by bit: sent as the other half hands it over, which waits while `ahead` pieces are unsent. A sender that is
    /// dropped ends the body, one that aborts breaks the connection off.
    pub fn channel(ahead: usize) -> (Sender<Bytes, BoxError>, Self) {
        let (sender, channel) = Channel::new(ahead);
        (sender, Self(Kind::Channel(channel)))
    }

    /// One that its maker hands over frame by frame.
    pub fn of(body: impl http_body::Body<Data = Bytes, Error: Into<BoxError>> + 'static) -> Self {
        Self(Kind::Other(Box::pin(body.map_err(Into::into))))
    }

    /// The same, compressed as it goes: each piece can be read as soon as it comes. Whoever sends it says so
    /// (`content-encoding: gzip`), and says no length but that of [`http_body::Body::size_hint`].
    #[must_use]
    pub fn gzip(self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        if let Kind::Full(bytes) = &self.0 {
            // Into memory nothing fails.
            let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
            return Self::full(written.unwrap_or_default());
        }
        Self(Kind::Gzip(Box::new(Gzip { inner: self, encoder: Some(encoder), trailers: None })))
    }

    /// What it is, if it is whole.
    pub fn as_full(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Full(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The same again, for a request that has to be sent twice; `None`: it comes bit by bit.
    pub(crate) fn again(&self) -> Option<Self> {
        self.as_full().map(|bytes| Self::full(bytes.clone()))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        Self(Kind::Incoming(Box::new(incoming)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.split_to(bytes.len().min(PIECE)))))),
            Kind::Channel(channel) => Pin::new(channel).poll_frame(cx),
            Kind::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
            Kind::Gzip(gzip) => gzip.poll_frame(cx),
            Kind::Other(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Channel(channel) => channel.is_end_stream(),
            Kind::Incoming(incoming) => incoming.is_end_stream(),
            Kind::Gzip(gzip) => gzip.encoder.is_none() && gzip.trailers.is_none(),
            Kind::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Channel(channel) => channel.size_hint(),
            Kind::Incoming(incoming) => incoming.size_hint(),
            Kind::Gzip(_) => SizeHint::default(),
            Kind::Other(body) => body.size_hint(),
        }
    }
}

/// A body that is compressed on its way.
struct Gzip {
    inner: Body,
    /// `None`: it is at its end.
    encoder: Option<GzEncoder<Vec<u8>>>,
    trailers: Option<HeaderMap>,
}

impl Gzip {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx)).transpose()?;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    encoder.write_all(&data)?;
                    encoder.flush()?;
                    let out = std::mem::take(encoder.get_mut());
                    if !out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(out.into()))));
                    }
                }
                end => {
                    self.trailers = end.and_then(|frame| frame.err()?.into_trailers().ok());
                    let last = self.encoder.take().map(GzEncoder::finish).transpose()?.unwrap_or_default();
                    return Poll::Ready(Some(Ok(Frame::data(last.into()))));
                }
            }
        }
    }
}

/// Why a body ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing came for too long.
    Timeout,
    /// There is more of it than was allowed.
    TooLarge,
    /// The other side is gone.
    Closed,
    /// What came is no body: why.
    Garbled(String),
}

impl Fault {
    pub fn is_timeout(&self) -> bool {
        *self == Self::Timeout
    }

    /// Did something come that is no body?
    pub fn is_parse(&self) -> bool {
        matches!(self, Self::Garbled(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::TooLarge => f.write_str("too large"),
            Self::Closed => f.write_str("closed"),
            Self::Garbled(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}

impl From<hyper::Error> for Fault {
    fn from(error: hyper::Error) -> Self {
        let mut inner = error.source();
        while let Some(source) = inner {
            if let Some(io) = source.downcast_ref::<io::Error>() {
                return match io.kind() {
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::Garbled(io.to_string()),
                    _ => Self::Closed,
                };
            }
            inner = source.source();
        }
        if error.is_parse() { Self::Garbled(error.to_string()) } else { Self::Closed }
    }
}

/// What comes.
pub struct Incoming {
    inner: hyper::body::Incoming,
    ended: bool,
    /// What most requests have no need of: they have no body.
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    inflater: Option<Inflater>,
    /// How long nothing may come while somebody waits for it.
    idle: Option<(Time, Duration)>,
    sleep: Option<Sleep>,
    trailers: Option<HeaderMap>,
}

/// What a whole body is.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    pub bytes: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Incoming {
    /// `idle` is asked for only if there is anything to wait for.
    pub(crate) fn new(inner: hyper::body::Incoming, idle: impl FnOnce() -> (Time, Duration)) -> Self {
        let more = (!inner.is_end_stream()).then(|| Box::new(More { idle: Some(idle()), ..More::default() }));
        Self { inner, ended: false, more }
    }

    /// Undoes a `content-encoding`; `false`: it is one that we do not know.
    pub(crate) fn decode(&mut self, encoding: &[u8]) -> bool {
        let Some(inflater) = Inflater::new(encoding) else { return false };
        self.more().inflater = Some(inflater);
        true
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn is_inflated(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.inflater.is_some())
    }

    fn inflater(&mut self) -> Option<&mut Inflater> {
        self.more.as_mut()?.inflater.as_mut()
    }

    /// From now on, how long nothing may come while somebody waits for it.
    pub fn set_idle(&mut self, time: &Time, limit: Duration) {
        let more = self.more();
        more.sleep = None;
        more.idle = Some((time.clone(), limit));
    }

    /// The next piece, never an empty one; `None` at the end. Trailers are kept for [`Incoming::trailers`].
    pub async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        poll_fn(|cx| {
            loop {
                let frame = match ready!(Pin::new(&mut *self).poll_frame(cx)) {
                    Some(Ok(frame)) => frame,
                    Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                    None => return Poll::Ready(None),
                };
                match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(frame) => self.more().trailers = frame.into_trailers().ok(),
                }
            }
        })
        .await
    }

    /// What came after it, if [`Incoming::next`] came to its end and there was something.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.more.as_mut()?.trailers.take()
    }

    /// All of it, if that is at most `limit` bytes. One that says that it is more is not read at all.
    pub async fn whole(mut self, limit: usize) -> Result<Whole, Fault> {
        if self.size_hint().lower() > limit as u64 {
            return Err(Fault::TooLarge);
        }
        let Some(first) = self.next().await.transpose()? else {
            return Ok(Whole { bytes: Bytes::new(), trailers: self.trailers() });
        };
        let mut bytes = first;
        let mut more = Vec::new();
        while let Some(piece) = self.next().await.transpose()? {
            if more.is_empty() {
                more.extend_from_slice(&bytes);
            }
            if piece.len() > limit.saturating_sub(more.len()) {
                return Err(Fault::TooLarge);
            }
            more.extend_from_slice(&piece);
        }
        if !more.is_empty() {
            bytes = more.into();
        }
        match bytes.len() > limit {
            true => Err(Fault::TooLarge),
            false => Ok(Whole { bytes, trailers: self.trailers() }),
        }
    }

    /// What comes from below, or the end of the time it has.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            if let Some(more) = &mut self.more {
                more.sleep = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Fault::from)));
        }
        let Some(More { idle: Some((time, limit)), sleep, .. }) = self.more.as_deref_mut() else {
            return Poll::Pending;
        };
        let sleep = sleep.get_or_insert_with(|| time.sleep(*limit));
        ready!(Pin::new(sleep).poll(cx));
        Poll::Ready(Some(Err(Fault::Timeout)))
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(inflater) = this.inflater() {
                match inflater.more() {
                    Ok(out) if out.is_empty() => {}
                    out => {
                        this.ended = out.is_err();
                        return Poll::Ready(Some(out.map(Frame::data)));
                    }
                }
            }
            let frame = ready!(this.poll_inner(cx));
            let Some(inflater) = this.inflater() else {
                this.ended = !matches!(frame, Some(Ok(_)));
                return Poll::Ready(frame);
            };
            match frame.transpose() {
                Err(fault) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(fault)));
                }
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => inflater.feed(data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Ok(None) => {
                    let last = inflater.end();
                    this.ended = true;
                    return Poll::Ready(match last {
                        Ok(out) if out.is_empty() => None,
                        out => Some(out.map(Frame::data)),
                    });
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (!self.is_inflated() && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_inflated() { SizeHint::default() } else { self.inner.size_hint() }
    }
}
