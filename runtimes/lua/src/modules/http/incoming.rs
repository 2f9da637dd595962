//! Bodies that come: of requests and of answers to ours.

use std::{cell::Cell, rc::Rc};

use bytes::Bytes;
use http_body::Body as _;
use lunette_http::{Incoming, body};
use mlua::{Function, Lua, Value};

use super::turn::Turn;
use crate::errors::failure;

/// A body that is read when somebody wants it, within bounds.
pub(super) struct Coming {
    /// `None`: it is at its end.
    body: Turn<Option<Incoming>>,
    /// How much was handed out.
    taken: Cell<u64>,
    /// More came than was wanted.
    pub(super) too_large: Cell<bool>,
    /// It ended before its end.
    pub(super) broken: Cell<bool>,
    /// Somebody waits for it now.
    pub(super) reading: Cell<bool>,
}

/// Why there is no more of it.
pub(super) enum Fault {
    TooLarge,
    /// The other side is gone, or what it sends is no body.
    Broken(String),
}

impl Fault {
    pub(super) fn words(self) -> String {
        match self {
            Self::TooLarge => "too large".into(),
            Self::Broken(words) => words,
        }
    }
}

impl Coming {
    pub(super) fn new(body: Incoming) -> Self {
        let body = (!body.is_end_stream()).then_some(body);
        Self {
            body: Turn::new(body),
            taken: Cell::default(),
            too_large: Cell::default(),
            broken: Cell::default(),
            reading: Cell::default(),
        }
    }

    /// The next piece; `None` at the end. More than `max` bytes in all are too large.
    pub(super) async fn chunk(&self, max: u64) -> Result<Option<Bytes>, Fault> {
        let mut place = self.body.take().await;
        let Some(body) = &mut *place else { return Ok(None) };
        self.reading.set(true);
        let _reading = Reading(&self.reading);
        match body.next().await {
            None => {
                *place = None;
                Ok(None)
            }
            Some(Err(fault)) => {
                *place = None;
                self.broken.set(fault == body::Fault::Closed);
                Err(Fault::Broken(match fault {
                    body::Fault::Garbled(why) => format!("http: {why}"),
                    other => other.to_string(),
                }))
            }
            Some(Ok(data)) => {
                let taken = self.taken.get() + data.len() as u64;
                self.taken.set(taken);
                if taken > max {
                    self.too_large.set(true);
                    return Err(Fault::TooLarge);
                }
                Ok(Some(data))
            }
        }
    }

    /// All that is still to come.
    pub(super) async fn whole(&self, max: u64) -> Result<Bytes, Fault> {
        let Some(first) = self.chunk(max).await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk(max).await? else { return Ok(first) };
        let mut all = [&first[..], &second[..]].concat();
        while let Some(more) = self.chunk(max).await? {
            all.extend_from_slice(&more);
        }
        Ok(all.into())
    }

    /// What nobody has read yet.
    pub(super) fn rest(&self) -> Option<Incoming> {
        self.body.try_take()?.take()
    }
}

struct Reading<'a>(&'a Cell<bool>);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// An iterator of the pieces: `for piece in …`. When it ends early it says why: `nil, message`.
pub(super) fn chunks<T: AsRef<Coming> + 'static>(
    lua: &Lua,
    owner: Rc<T>,
    max: u64,
) -> mlua::Result<Function> {
    lua.create_async_function(move |lua, ()| {
        let owner = owner.clone();
        async move {
            match (*owner).as_ref().chunk(max).await {
                Ok(Some(data)) => Ok((Value::String(lua.create_string(&data)?), None)),
                Ok(None) => Ok((Value::Nil, None)),
                Err(fault) => Ok(failure(fault.words())),
            }
        }
    })
}
