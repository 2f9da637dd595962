//! A request, as its handler has it.
//!
//! Promises: nothing of it is made into Lua values before somebody asks for it; what was made is the same when asked for
//! again, until the handler has ended. Names that it doesn't have can be set: `req.user = …` in what runs before.

use std::{
    cell::{Cell, OnceCell, RefCell},
    net::SocketAddr,
    rc::Rc,
    task::Waker,
};

use http::{HeaderMap, Response, Version, header, request::Parts};
use lunette_http::{Body, Incoming};
use mlua::{AnyUserData, Lua, MetaMethod, Table, UserData, UserDataFields, UserDataMethods, Value};

use super::{
    Http, headers,
    headers::{Fields, Headers},
    incoming::{Coming, chunks},
    serve::Connection,
    stream::{Outgoing, Stream},
    text,
};
use crate::errors::failure;
use crate::methods::Methods as _;

/// One request and what becomes of it.
pub(super) struct Call {
    pub(super) parts: Parts,
    pub(super) connection: Rc<Connection>,
    pub(super) coming: Coming,
    /// Of the route that was found.
    pub(super) params: RefCell<Vec<(String, String)>>,
    id: OnceCell<String>,
    /// Nobody waits for the answer any more.
    pub(super) cancelled: Cell<bool>,
    /// The answer that the handler gave before it ended, until it is on its way.
    pub(super) head: RefCell<Option<Response<Body>>>,
    /// Its body.
    pub(super) outgoing: OnceCell<Rc<Outgoing>>,
    pub(super) responded: Cell<bool>,
    /// Of the answer that was given so.
    pub(super) status: Cell<Option<u16>>,
    /// Who sends it.
    sender: RefCell<Option<Waker>>,
    ended: Cell<bool>,
    made: RefCell<Made>,
}

/// Lua values that were asked for. Given up when the handler ends: they may hold the request that holds them.
#[derive(Default)]
struct Made {
    query: Option<Table>,
    headers: Option<AnyUserData>,
    params: Option<Table>,
    context: Option<Table>,
    body: Option<mlua::LuaString>,
    others: Option<Table>,
}

impl Fields for Call {
    fn fields(&self) -> &HeaderMap {
        &self.parts.headers
    }
}

impl AsRef<Coming> for Call {
    fn as_ref(&self) -> &Coming {
        &self.coming
    }
}

impl Call {
    pub(super) fn new(parts: Parts, body: Incoming, connection: Rc<Connection>) -> Self {
        Self {
            parts,
            connection,
            coming: Coming::new(body),
            params: RefCell::default(),
            id: OnceCell::default(),
            cancelled: Cell::default(),
            head: RefCell::default(),
            outgoing: OnceCell::default(),
            responded: Cell::default(),
            status: Cell::default(),
            sender: RefCell::default(),
            ended: Cell::default(),
            made: RefCell::default(),
        }
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.connection.peer
    }

    /// The one that came with it, or one that is made.
    pub(super) fn id(&self) -> &str {
        self.id.get_or_init(|| {
            let came = self.parts.headers.get("x-request-id").and_then(|value| value.to_str().ok());
            let good =
                |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
            match came.filter(good) {
                Some(id) => id.to_owned(),
                None => self.connection.server.new_id(),
            }
        })
    }

    /// Answers before the handler has ended.
    pub(super) fn respond(&self, response: Response<Body>) {
        self.responded.set(true);
        self.status.set(Some(response.status().as_u16()));
        self.head.replace(Some(response));
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }

    pub(super) fn wait_for_head(&self, waker: &Waker) {
        let mut sender = self.sender.borrow_mut();
        if !sender.as_ref().is_some_and(|sender| sender.will_wake(waker)) {
            *sender = Some(waker.clone());
        }
    }

    /// The handler has ended.
    pub(super) fn end(&self) {
        self.ended.set(true);
        let made = self.made.take();
        drop(made);
        if let Some(outgoing) = self.outgoing.get() {
            outgoing.close();
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
            || self.coming.broken.get()
            || self.outgoing.get().is_some_and(|outgoing| outgoing.is_broken())
    }

    /// Makes a value once.
    fn once<T: Clone>(
        &self,
        place: impl Fn(&mut Made) -> &mut Option<T>,
        make: impl FnOnce() -> mlua::Result<T>,
    ) -> mlua::Result<T> {
        if let Some(value) = place(&mut self.made.borrow_mut()) {
            return Ok(value.clone());
        }
        let value = make()?;
        if !self.ended.get() {
            *place(&mut self.made.borrow_mut()) = Some(value.clone());
        }
        Ok(value)
    }

    /// How much of a body there may be: what the caller says, within what the server says.
    fn most(&self, max: Option<Value>) -> mlua::Result<u64> {
        let limit = self.connection.server.settings.body;
        let Some(max) = max.filter(|max| !max.is_nil()) else { return Ok(limit) };
        match text::size(&max) {
            Some(max) => Ok(max.min(limit)),
            None => Err(mlua::Error::runtime("max is a number of bytes, or like \"64K\" or \"1M\"")),
        }
    }

    async fn body(&self, lua: &Lua, max: u64) -> Result<mlua::Result<mlua::LuaString>, String> {
        if let Some(body) = &self.made.borrow().body {
            return Ok(Ok(body.clone()));
        }
        let bytes = self.coming.whole(max).await.map_err(|fault| fault.words())?;
        Ok(self.once(|made| &mut made.body, || lua.create_string(&bytes)))
    }
}

/// `req`.
pub(super) struct Request(pub(super) Rc<Call>);

impl UserData for Request {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("method", |lua, this| lua.create_string(this.0.parts.method.as_str()));
        fields.add_field_method_get("path", |lua, this| {
            lua.create_string(text::unescape(this.0.parts.uri.path().as_bytes()))
        });
        fields.add_field_method_get("target", |lua, this| {
            let target = this.0.parts.uri.path_and_query();
            lua.create_string(target.map_or("*", |target| target.as_str()))
        });
        fields.add_field_method_get("query", |lua, this| {
            let query = this.0.parts.uri.query().unwrap_or_default();
            this.0.once(|made| &mut made.query, || text::form(lua, query.as_bytes()))
        });
        fields.add_field_method_get("headers", |lua, this| {
            let call = this.0.clone();
            this.0.once(|made| &mut made.headers, || lua.create_userdata(Headers(call)))
        });
        fields.add_field_method_get("params", |lua, this| {
            this.0.once(
                |made| &mut made.params,
                || {
                    let table = lua.create_table()?;
                    for (name, value) in &*this.0.params.borrow() {
                        table.raw_set(name.as_str(), value.as_str())?;
                    }
                    Ok(table)
                },
            )
        });
        fields.add_field_method_get("peer", |_, this| Ok(this.0.peer().to_string()));
        fields.add_field_method_get("tls", |_, this| Ok(this.0.connection.tls));
        fields.add_field_method_get("version", |_, this| {
            Ok(match this.0.parts.version {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            })
        });
        fields.add_field_method_get("id", |lua, this| lua.create_string(this.0.id()));
        fields.add_field_method_get("ctx", |lua, this| {
            let call = Rc::downgrade(&this.0);
            this.0.once(
                |made| &mut made.context,
                || {
                    let meta = lua.create_table()?;
                    let look = lua.create_function(move |_, (_, name): (Value, Value)| {
                        let asked = |what| name.as_string().is_some_and(|name| name == what);
                        let call = call.upgrade();
                        Ok(if asked("cancelled") {
                            Some(call.is_none_or(|call| call.is_cancelled()))
                        } else if asked("stopping") {
                            Some(call.is_none_or(|call| call.connection.server.is_closing()))
                        } else {
                            None
                        })
                    })?;
                    meta.raw_set("__index", look)?;
                    let context = lua.create_table()?;
                    context.set_metatable(Some(meta))?;
                    Ok(context)
                },
            )
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.waiting_method("body", |lua, this, max: Option<Value>| async move {
            match this.0.body(&lua, this.0.most(max)?).await {
                Ok(body) => Ok((Value::String(body?), None)),
                Err(words) => Ok(failure(words)),
            }
        });
        methods.waiting_method("json", |lua, this, max: Option<Value>| async move {
            match this.0.body(&lua, this.0.most(max)?).await {
                Ok(body) => Http::of(&lua).decode(&lua, body?),
                Err(words) => {
                    Ok(mlua::MultiValue::from_vec(vec![Value::Nil, Value::String(lua.create_string(words)?)]))
                }
            }
        });
        methods.waiting_method("form", |lua, this, max: Option<Value>| async move {
            let kind = this.0.parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
            if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
                return Ok(failure(format!("http: the body is no form: its content-type is {kind:?}")));
            }
            match this.0.body(&lua, this.0.most(max)?).await {
                Ok(body) => Ok((Value::Table(text::form(&lua, &body?.as_bytes())?), None)),
                Err(words) => Ok(failure(words)),
            }
        });
        methods
            .method("chunks", |lua, this, max: Option<Value>| chunks(lua, this.0.clone(), this.0.most(max)?));
        methods.method("cookies", |lua, this, ()| {
            let all = headers::joined(lua, &this.0.parts.headers, "cookie")?;
            text::cookies(lua, &all.map(|all| all.as_bytes().to_vec()).unwrap_or_default())
        });
        methods.method("respond", |_, this, (status, headers): (Value, Option<Value>)| {
            Stream::begin(&this.0, &status, &headers.unwrap_or(Value::Nil))
        });
        methods.add_meta_method(MetaMethod::Index, |_, this, name: Value| {
            match &this.0.made.borrow().others {
                Some(others) => others.raw_get(name),
                None => Ok(Value::Nil),
            }
        });
        methods.add_meta_method(MetaMethod::NewIndex, |lua, this, (name, value): (Value, Value)| {
            let others = this.0.once(|made| &mut made.others, || lua.create_table())?;
            others.raw_set(name, value)
        });
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| {
            Ok(format!("request: {} {}", this.0.parts.method, this.0.parts.uri))
        });
    }
}
