//! Bodies on their way. Several move at the same time, in one thread: each waits for what the others wait for as well.

use wasip2::{
    http::types::{IncomingBody, OutgoingBody},
    io::{
        poll::{self, Pollable},
        streams::{InputStream, OutputStream, StreamError},
    },
};

/// One body that comes in and goes out again.
pub(crate) struct Transfer {
    // The streams go before the bodies that they are of: the host refuses to drop a parent first.
    input: InputStream,
    output: OutputStream,
    from: IncomingBody,
    to: OutgoingBody,
    moved: bool,
}

impl Transfer {
    pub(crate) fn new(from: IncomingBody, to: OutgoingBody) -> Result<Self, String> {
        let streams = from.stream().and_then(|input| Ok((input, to.write()?)));
        let (input, output) = streams.map_err(|()| "a body has one stream")?;
        Ok(Self { input, output, from, to, moved: false })
    }

    /// All of it, to the end.
    pub(crate) fn run(mut self) -> Result<(), String> {
        while let Some(waits) = self.turn()? {
            waits.block();
        }
        self.finish()
    }

    /// As much of it as there is until `event` has come. Nothing is left if that was all.
    pub(crate) fn until(mut self, event: &Pollable) -> Result<Option<Self>, String> {
        while !event.ready() {
            match self.turn()? {
                Some(waits) => drop(poll::poll(&[event, &waits])),
                None => return self.finish().map(|()| None),
            }
        }
        Ok(Some(self))
    }

    /// All of it, and as much of another as goes meanwhile. The other may fail: its receiver may have heard enough.
    pub(crate) fn run_beside(mut self, other: Self) -> Result<(), String> {
        let mut other = Some(other);
        while let Some(waits) = self.turn()? {
            let also = match other.as_mut().map(Self::turn) {
                Some(Ok(Some(also))) => also,
                ended => {
                    if let (Some(Ok(_)), Some(other)) = (ended, other.take()) {
                        // Whoever answers before the end of a request may be gone by then.
                        let _ = other.finish();
                    }
                    waits.block();
                    continue;
                }
            };
            poll::poll(&[&waits, &also]);
        }
        self.finish()
    }

    /// Moves what can be moved without waiting. What it waits for then, or nothing at the end.
    fn turn(&mut self) -> Result<Option<Pollable>, String> {
        while !self.moved {
            let room = self.output.check_write().map_err(|error| error.to_string())?;
            if room == 0 {
                return Ok(Some(self.output.subscribe()));
            }
            match self.output.splice(&self.input, room) {
                // What went before must not lie about until there is more.
                Ok(0) => {
                    self.output.flush().map_err(|error| error.to_string())?;
                    return Ok(Some(self.input.subscribe()));
                }
                Ok(_) => {}
                Err(StreamError::Closed) => self.moved = true,
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(None)
    }

    /// The end, and the trailers if there are any.
    fn finish(self) -> Result<(), String> {
        let Self { input, output, from, to, .. } = self;
        output.blocking_flush().map_err(|error| error.to_string())?;
        drop((input, output));
        let trailers = IncomingBody::finish(from);
        trailers.subscribe().block();
        let trailers = match trailers.get() {
            Some(Ok(trailers)) => trailers.map_err(|error| error.to_string())?,
            // It was waited for, and nobody took it before.
            _ => return Err("the end of the body was lost".into()),
        };
        OutgoingBody::finish(to, trailers).map_err(|error| error.to_string())
    }
}
