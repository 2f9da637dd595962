//! Bodies: what is sent, and what comes.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{
    Either, Full,
    channel::{Channel, Sender},
};

pub use hyper::body::Incoming;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is sent.
pub struct Body(Either<Full<Bytes>, Channel<Bytes, BoxError>>);

impl Body {
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Whole: its length is said in the head.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Either::Left(Full::new(bytes.into())))
    }

    /// Bit by bit: sent as the other half hands it over, which waits while `ahead` pieces are unsent. A sender that is
    /// dropped ends the body, one that aborts breaks the connection off.
    pub fn channel(ahead: usize) -> (Sender<Bytes, BoxError>, Self) {
        let (sender, channel) = Channel::new(ahead);
        (sender, Self(Either::Right(channel)))
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
            Either::Left(full) => Pin::new(full).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Either::Right(channel) => Pin::new(channel).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Either::Left(full) => full.is_end_stream(),
            Either::Right(channel) => channel.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Either::Left(full) => full.size_hint(),
            Either::Right(channel) => channel.size_hint(),
        }
    }
}
