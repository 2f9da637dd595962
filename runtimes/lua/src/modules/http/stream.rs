//! Bodies that a handler sends bit by bit.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::channel::Sender;
use lunette_http::{Body, BoxError};
use mlua::{Function, Lua, LuaString, UserData, UserDataMethods, Value};

use super::{Http, answer, headers, request::Call, turn::Turn};
use crate::{errors::failure, methods::Methods as _, tasks, world::World};

/// How many pieces may be unsent before a write waits.
const AHEAD: usize = 4;

/// The sending end of a body.
pub(super) struct Outgoing {
    /// `None`: closed, by whichever side.
    sender: Turn<Option<Sender<Bytes, BoxError>>>,
    /// To be closed by who has it now.
    closing: Cell<bool>,
    broken: Cell<bool>,
}

impl Outgoing {
    pub(super) fn new() -> (Rc<Self>, Body) {
        let (sender, body) = Body::channel(AHEAD);
        let outgoing =
            Self { sender: Turn::new(Some(sender)), closing: Cell::default(), broken: Cell::default() };
        (Rc::new(outgoing), body)
    }

    /// Waits while the other side takes nothing. `false`: it is closed.
    pub(super) async fn write(&self, data: Bytes) -> bool {
        let mut place = self.sender.take().await;
        let Some(sender) = place.as_mut().filter(|_| !self.closing.get()) else {
            *place = None;
            return false;
        };
        if data.is_empty() || sender.send_data(data).await.is_ok() {
            if self.closing.get() {
                *place = None;
            }
            return true;
        }
        self.broken.set(true);
        *place = None;
        false
    }

    pub(super) fn close(&self) {
        self.closing.set(true);
        if let Some(mut place) = self.sender.try_take() {
            *place = None;
        }
    }

    /// Breaks the connection off: who reads sees that this is not all.
    pub(super) fn abort(&self, why: &str) {
        self.closing.set(true);
        if let Some(sender) = self.sender.try_take().and_then(|mut place| place.take()) {
            sender.abort(why.to_owned().into());
        }
    }

    /// Is the other side gone? Found out without sending anything.
    pub(super) fn is_broken(&self) -> bool {
        if let Some(mut place) = self.sender.try_take()
            && let Some(sender) = &mut *place
            && sender.capacity() > 0
            && sender.try_send(Frame::data(Bytes::new())).is_err()
        {
            // There is room, and still it can't be sent.
            self.broken.set(true);
            *place = None;
        }
        self.broken.get()
    }
}

/// `stream`: what `req:respond` gives.
pub(super) struct Stream {
    outgoing: Rc<Outgoing>,
    call: Rc<Call>,
}

impl Stream {
    pub(super) fn begin(call: &Rc<Call>, status: &Value, fields: &Value) -> mlua::Result<Self> {
        let misuse = |words: String| mlua::Error::runtime(format!("req:respond: {words}"));
        if call.responded.get() {
            return Err(misuse("this request was answered already".into()));
        }
        let status = answer::status(status).map_err(misuse)?;
        let fields = headers::read(fields).map_err(misuse)?;
        let (outgoing, body) = Outgoing::new();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = answer::allowed(fields, true);
        call.respond(response);
        if call.cancelled.get() {
            // Nobody will ever take it.
            outgoing.close();
        }
        let _ = call.outgoing.set(outgoing.clone());
        Ok(Self { outgoing, call: call.clone() })
    }
}

impl UserData for Stream {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.waiting_method("write", |_, this, data: LuaString| async move {
            let data = Bytes::copy_from_slice(&data.as_bytes());
            if this.outgoing.write(data).await {
                return Ok((Value::Boolean(true), None));
            }
            if this.outgoing.broken.get() {
                this.call.cancelled.set(true);
            }
            Ok(failure("closed"))
        });
        // What was written is on its way when the connection has had its go.
        methods.waiting_method("flush", |_, this, ()| async move {
            lunette_hostcalls::task::give_way().await;
            Ok(if this.outgoing.is_broken() { failure("closed") } else { (Value::Boolean(true), None) })
        });
        methods.method("close", |_, this, ()| {
            this.outgoing.close();
            Ok(())
        });
    }
}

/// A body whose pieces a Lua function gives, until it gives `nil`.
pub(super) fn pulled(
    lua: &Lua,
    world: &Rc<World>,
    from: Function,
    failed: impl FnOnce(&mlua::Error) + 'static,
) -> mlua::Result<Body> {
    let (outgoing, body) = Outgoing::new();
    let write = {
        let outgoing = outgoing.clone();
        lua.create_async_function(move |_, piece: Value| {
            let outgoing = outgoing.clone();
            async move {
                let data = match &piece {
                    Value::String(data) => Bytes::copy_from_slice(&data.as_bytes()),
                    Value::Integer(_) | Value::Number(_) => piece.to_string()?.into(),
                    other => {
                        let got = other.type_name();
                        return Err(mlua::Error::runtime(format!("a piece of a body can't be a {got}")));
                    }
                };
                Ok(outgoing.write(data).await)
            }
        })?
    };
    let pull = Http::of(lua).pull(lua)?;
    let (world, failed) = (world.clone(), RefCell::new(Some(failed)));
    world.spawner.clone().spawn(async move {
        match tasks::call(world, pull, (write, from)).await {
            Ok(_) => outgoing.close(),
            Err(error) => {
                outgoing.abort("the script that made it failed");
                if let Some(failed) = failed.take() {
                    failed(&error);
                }
            }
        }
    });
    Ok(body)
}
