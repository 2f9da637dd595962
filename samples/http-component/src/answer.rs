//! An answer on its way out.

use std::{
    error::Error,
    io::{self, Write},
};

use wasip2::{
    http::types::{Fields, Headers, OutgoingBody, OutgoingResponse, ResponseOutparam, Trailers},
    io::streams::{InputStream, OutputStream, StreamError},
};

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// What is moved at once, of a body that goes on as it comes.
pub(crate) const PIECE: u64 = 64 * 1024;

/// A body under way. It has to be [finished](Body::finish): one that is dropped is cut off, and the client sees that.
pub(crate) struct Body {
    // Before the body it belongs to: the host refuses to drop a parent first.
    stream: OutputStream,
    body: OutgoingBody,
}

/// Begins an answer: from here on its status and headers are the client's.
pub(crate) fn begin(out: ResponseOutparam, status: u16, headers: &[(&str, &str)]) -> Result<Body> {
    let fields: Vec<(String, Vec<u8>)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let fields: Headers = Fields::from_list(&fields)?;
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).map_err(|()| format!("{status} is no status"))?;
    let body = response.body().map_err(|()| "an answer has one body")?;
    let stream = body.write().map_err(|()| "a body has one stream")?;
    ResponseOutparam::set(out, Ok(response));
    Ok(Body { stream, body })
}

/// A whole answer of text.
pub(crate) fn text(out: ResponseOutparam, status: u16, text: &str) -> Result {
    let length = text.len().to_string();
    let headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", &length)];
    let mut body = begin(out, status, &headers)?;
    body.write_all(text.as_bytes())?;
    body.finish(None)
}

impl Body {
    /// Lets everything that comes out of `from` go into this body.
    pub(crate) fn pipe(&mut self, from: &InputStream) -> Result<u64> {
        let mut moved = 0;
        loop {
            match self.stream.blocking_splice(from, PIECE) {
                Ok(n) => moved += n,
                Err(StreamError::Closed) => return Ok(moved),
                Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string().into()),
            }
        }
    }

    /// The end, with trailers or without.
    pub(crate) fn finish(self, trailers: Option<Trailers>) -> Result {
        let Self { stream, body } = self;
        stream.blocking_flush()?;
        drop(stream);
        Ok(OutgoingBody::finish(body, trailers)?)
    }
}

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.stream, bytes)
    }

    /// Sends what was written so far, and waits until it is on its way.
    fn flush(&mut self) -> io::Result<()> {
        self.stream.blocking_flush().map_err(io::Error::other)
    }
}
