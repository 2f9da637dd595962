//! The asking side: `http.request` and its shorthands, `http.proxy`.
//!
//! Promises: what fails says how: `timeout`, `tls: …`, `http: …`; an answer's body is read whole within a bound, or bit by
//! bit by whoever asked for a `stream`. A proxy passes bodies on as they come, both ways, and what is between two
//! neighbours (`Connection` and the like) stays there.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use lunette_http::{
    Body,
    client::{self, Client, Kind},
    tls, upgrade,
};
use mlua::{AnyUserData, Function, Lua, LuaString, Table, UserData, UserDataFields, UserDataMethods, Value};

use super::{
    Http,
    answer::Answer,
    files, headers,
    headers::Headers,
    incoming::{Coming, chunks},
    request,
    stream::{Outgoing, pulled},
    text, websocket,
};
use crate::{errors::failure, options::Options, world::World};

/// The clients of one script: one for each way to trust.
pub(super) struct Clients {
    world: Rc<World>,
    /// By whether they offer HTTP/2, too.
    made: RefCell<HashMap<(Whom, bool), Client>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Whom {
    Web,
    Only(Vec<u8>),
    Anybody,
}

/// How one request is made.
struct Asked {
    options: client::Options,
    whom: Whom,
    /// Bytes of an answer's body.
    max: u64,
    stream: bool,
}

/// How many kinds of clients are kept.
const MOST_CLIENTS: usize = 16;
/// How much of an answer is read when nothing is said.
const MOST: u64 = 16 << 20;

pub(super) fn open(lua: &Lua, world: &Rc<World>, http: &Table) -> mlua::Result<()> {
    let clients = Rc::new(Clients { world: world.clone(), made: RefCell::default() });
    {
        let clients = clients.clone();
        let request = lua.create_async_function(move |lua, options: Table| {
            let clients = clients.clone();
            async move { clients.request(&lua, "http.request", None, None, Some(options)).await }
        })?;
        http.raw_set("request", request)?;
    }
    for (name, call, method) in [
        ("get", "http.get", Method::GET),
        ("head", "http.head", Method::HEAD),
        ("post", "http.post", Method::POST),
        ("put", "http.put", Method::PUT),
        ("patch", "http.patch", Method::PATCH),
        ("delete", "http.delete", Method::DELETE),
    ] {
        let clients = clients.clone();
        let ask = lua.create_async_function(move |lua, (url, options): (LuaString, Option<Table>)| {
            let (clients, method) = (clients.clone(), method.clone());
            async move { clients.request(&lua, call, Some(url), Some(method), options).await }
        })?;
        http.raw_set(name, ask)?;
    }
    {
        let clients = clients.clone();
        let connect = lua.create_async_function(move |lua, (url, options): (String, Option<Table>)| {
            let clients = clients.clone();
            async move { clients.websocket(&lua, &url, options).await }
        })?;
        http.raw_set("ws_connect", connect)?;
    }
    let proxy = lua.create_function(move |lua, (url, options): (String, Option<Table>)| {
        proxy(lua, &clients, &url, options)
    })?;
    http.raw_set("proxy", proxy)
}

/// As a script is told.
fn told(error: &client::Error) -> String {
    match error.kind {
        Kind::Timeout | Kind::ConnectTimeout => "timeout".into(),
        Kind::Tls => format!("tls: {error}"),
        Kind::Request | Kind::Answer => format!("http: {error}"),
        Kind::Denied | Kind::Resolve | Kind::Connect => error.to_string(),
    }
}

impl Clients {
    fn of(&self, whom: &Whom, http2: bool) -> Result<Client, String> {
        let key = (whom.clone(), http2);
        if let Some(client) = self.made.borrow().get(&key) {
            return Ok(client.clone());
        }
        let trust = match whom {
            Whom::Web => tls::Trust::Web,
            Whom::Only(pem) => tls::Trust::Only(pem.clone()),
            Whom::Anybody => tls::Trust::Anybody,
        };
        let world = &self.world;
        let alpn: &[&str] = if http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let tls = tls::Client::new(trust, alpn, &world.time).map_err(|error| format!("tls: {error}"))?;
        let (network, spawner) = (world.ctx.network.clone(), world.background.clone());
        let client = Client::new(network, world.time.clone(), spawner, tls);
        let mut made = self.made.borrow_mut();
        if made.len() >= MOST_CLIENTS {
            made.clear();
        }
        made.insert(key, client.clone());
        Ok(client)
    }

    /// What all calls know: times, trust, bounds.
    fn asked(&self, options: &Options<'_>) -> mlua::Result<Result<Asked, String>> {
        let mut how = client::Options { decode: true, ..client::Options::default() };
        if let Some(timeout) = options.seconds("timeout")? {
            how.timeout = timeout;
            how.connect = timeout;
            how.idle = timeout;
        }
        match options.get::<Value>("redirect")? {
            None | Some(Value::Boolean(true)) => {}
            Some(Value::Boolean(false)) => how.redirects = 0,
            Some(Value::Integer(count)) if (0..=100).contains(&count) => how.redirects = count as usize,
            Some(other) => {
                let shown = other.to_string()?;
                return Err(
                    options.fault(format_args!("redirect can't be {shown}: it is how many to follow"))
                );
            }
        }
        let verify = options.get::<bool>("verify")?.unwrap_or(true);
        let whom = match options.get::<LuaString>("ca")? {
            _ if !verify => Whom::Anybody,
            None => Whom::Web,
            Some(ca) => {
                let ca = ca.as_bytes().to_vec();
                if ca.windows(10).any(|bytes| bytes == b"-----BEGIN") {
                    Whom::Only(ca)
                } else {
                    let path = String::from_utf8_lossy(&ca);
                    match files::read(&self.world, &path, 1 << 20) {
                        Ok(pem) => Whom::Only(pem),
                        Err(errno) => return Ok(Err(format!("tls: {path}: {errno}"))),
                    }
                }
            }
        };
        let max = match options.get::<Value>("max")? {
            None => MOST,
            Some(max) => text::size(&max).ok_or_else(|| {
                options.fault(format_args!("max is a number of bytes, or like \"64K\" or \"1M\""))
            })?,
        };
        let stream = options.get("stream")?.unwrap_or(false);
        Ok(Ok(Asked { options: how, whom, max, stream }))
    }

    async fn request(
        &self,
        lua: &Lua,
        call: &'static str,
        url: Option<LuaString>,
        method: Option<Method>,
        table: Option<Table>,
    ) -> mlua::Result<(Value, Option<String>)> {
        let options = Options::new(lua, call, table);
        let url = match url {
            Some(url) => url,
            None => options.get("url")?.ok_or_else(|| options.fault(format_args!("there is no url")))?,
        };
        let method = match (method, options.get::<String>("method")?) {
            (Some(method), None) => method,
            (None, None) => Method::GET,
            (Some(_), Some(_)) => {
                return Err(options.fault(format_args!("its name says its method; http.request takes one")));
            }
            (None, Some(name)) => Method::from_bytes(name.as_bytes())
                .map_err(|_| options.fault(format_args!("method can't be {name:?}")))?,
        };
        let fields = options.get::<Value>("headers")?.unwrap_or(Value::Nil);
        let mut fields = headers::read(&fields).map_err(|words| options.fault(format_args!("{words}")))?;
        let json = options.get::<Value>("json")?;
        let body = options.get::<Value>("body")?;
        let asked = self.asked(&options)?;
        let body = match (body, json) {
            (None, None) | (Some(Value::Nil), None) => Body::empty(),
            (Some(Value::String(body)), None) => Body::full(body.as_bytes().to_vec()),
            (Some(Value::Function(pieces)), None) => pulled(lua, &self.world, pieces, |_| {})?,
            (Some(other), None) => {
                let got = other.type_name();
                return Err(
                    options.fault(format_args!("body can't be a {got}: it is a string or an iterator"))
                );
            }
            (None, Some(json)) => {
                let text = Http::of(lua).encode(lua, json);
                let text = text.map_err(|words| options.fault(format_args!("json: {words}")))?;
                let kind = HeaderValue::from_static("application/json");
                fields.entry(header::CONTENT_TYPE).or_insert(kind);
                Body::full(text.as_bytes().to_vec())
            }
            (Some(_), Some(_)) => return Err(options.fault(format_args!("it has both body and json"))),
        };
        options.finish()?;
        let asked = match asked {
            Ok(asked) => asked,
            Err(words) => return Ok(failure(words)),
        };
        let Ok(uri) = Uri::try_from(&*url.as_bytes()) else {
            return Ok(failure(format!("http: {} is no URL", url.to_string_lossy())));
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        // Those that came with a request say how that one was framed.
        headers::remove_hop_by_hop(&mut fields);
        fields.remove(header::CONTENT_LENGTH);
        *request.headers_mut() = fields;
        let answer = match self.of(&asked.whom, true) {
            Ok(client) => client.request(request, &asked.options).await.map_err(|error| told(&error)),
            Err(words) => Err(words),
        };
        let (parts, body) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(words) => return Ok(failure(words)),
        };
        let came = Rc::new(Came {
            status: parts.status,
            headers: Rc::new(parts.headers),
            coming: Coming::new(body),
            max: asked.max,
        });
        let whole = match asked.stream {
            true => None,
            false => match came.coming.whole(asked.max).await {
                Ok(body) => Some(lua.create_string(&body)?),
                Err(fault) => return Ok(failure(fault.words())),
            },
        };
        let res = lua.create_userdata(Res(came))?;
        if let Some(whole) = whole {
            res.set_user_value(whole)?;
        }
        Ok((Value::UserData(res), None))
    }
}

impl Clients {
    /// `http.ws_connect(url[, {…}])`
    async fn websocket(
        &self,
        lua: &Lua,
        url: &str,
        table: Option<Table>,
    ) -> mlua::Result<(Value, Option<String>)> {
        let options = Options::new(lua, "http.ws_connect", table);
        let fields = options.get::<Value>("headers")?.unwrap_or(Value::Nil);
        let mut fields = headers::read(&fields).map_err(|words| options.fault(format_args!("{words}")))?;
        let manner = websocket::manner(&options)?;
        let asked = self.asked(&options)?;
        options.finish()?;
        let asked = match asked {
            Ok(asked) => asked,
            Err(words) => return Ok(failure(words)),
        };
        let of_http = match url.split_once("://") {
            Some(("ws", rest)) => format!("http://{rest}"),
            Some(("wss", rest)) => format!("https://{rest}"),
            _ => {
                return Ok(failure(format!(
                    "http: {url} is no URL of a WebSocket: it is like ws://host/path"
                )));
            }
        };
        let Ok(uri) = Uri::try_from(of_http) else {
            return Ok(failure(format!("http: {url} is no URL")));
        };
        let known = match websocket::ask(&self.world, &mut fields) {
            Ok(known) => known,
            Err(words) => return Ok(failure(words)),
        };
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri;
        *request.headers_mut() = fields;
        let answer = match self.of(&asked.whom, false) {
            Ok(client) => client.request(request, &asked.options).await.map_err(|error| told(&error)),
            Err(words) => Err(words),
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(words) => return Ok(failure(words)),
        };
        let knows =
            answer.headers().get("sec-websocket-accept").is_some_and(|accept| accept == known.as_str());
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS || !knows {
            return Ok(failure(format!("http: the server has no WebSocket there: {}", answer.status())));
        }
        match upgrade::of_response(&mut answer).await {
            Ok((stream, ahead)) => {
                let ws = websocket::begin(lua, &self.world, stream, &ahead, manner)?;
                Ok((Value::UserData(ws), None))
            }
            Err(fault) => Ok(failure(fault.to_string())),
        }
    }
}

/// An answer.
struct Came {
    status: StatusCode,
    headers: Rc<HeaderMap>,
    coming: Coming,
    max: u64,
}

impl AsRef<Coming> for Came {
    fn as_ref(&self) -> &Coming {
        &self.coming
    }
}

/// `res`. Its body, once it was read, is its user value.
struct Res(Rc<Came>);

impl UserData for Res {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("status", |_, this| Ok(this.0.status.as_u16()));
        fields.add_field_method_get("headers", |_, this| Ok(Headers(this.0.headers.clone())));
        fields.add_field_function_get("body", |_, this| this.user_value::<Value>());
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_function("chunks", |lua, this: AnyUserData| {
            if let Value::String(body) = this.user_value()? {
                let mut body = Some(body);
                return lua.create_function_mut(move |_, ()| Ok(body.take()));
            }
            let came = this.borrow::<Self>()?.0.clone();
            chunks(lua, came, u64::MAX)
        });
        methods
            .add_async_function("read", |lua, this: AnyUserData| async move { body_of(&lua, &this).await });
        methods.add_async_function("json", |lua, this: AnyUserData| async move {
            match body_of(&lua, &this).await? {
                (Value::String(body), _) => Http::of(&lua).decode(&lua, body),
                (_, words) => mlua::IntoLuaMulti::into_lua_multi((Value::Nil, words), &lua),
            }
        });
    }
}

/// All of it, read now if it was not.
async fn body_of(lua: &Lua, res: &AnyUserData) -> mlua::Result<(Value, Option<String>)> {
    if let body @ Value::String(_) = res.user_value()? {
        return Ok((body, None));
    }
    let came = res.borrow::<Res>()?.0.clone();
    match came.coming.whole(came.max).await {
        Ok(body) => {
            let body = lua.create_string(&body)?;
            res.set_user_value(&body)?;
            Ok((Value::String(body), None))
        }
        Err(fault) => Ok(failure(fault.words())),
    }
}

/// `http.proxy(url[, {…}])`: a handler that has another server answer.
fn proxy(lua: &Lua, clients: &Rc<Clients>, url: &str, table: Option<Table>) -> mlua::Result<Function> {
    let options = Options::new(lua, "http.proxy", table);
    let keep_host = options.get("keep_host")?.unwrap_or(false);
    let own = headers::read(&options.get::<Value>("headers")?.unwrap_or(Value::Nil))
        .map_err(|words| options.fault(format_args!("{words}")))?;
    let asked = clients.asked(&options)?;
    let base = url.parse::<Uri>().ok().filter(|base| {
        base.query().is_none()
            && base.authority().is_some()
            && matches!(base.scheme_str(), Some("http" | "https"))
    });
    let base = base.ok_or_else(|| {
        options.fault(format_args!("{url:?} is no URL of a server: it is like http://10.0.0.2:8080"))
    })?;
    options.finish()?;
    let asked = asked.map_err(|words| mlua::Error::runtime(format!("http.proxy: {words}")))?;
    // What comes is passed on as it is: a redirect is the client's to follow, an encoding its to undo.
    let options = client::Options { redirects: 0, decode: false, ..asked.options };
    let proxy = Rc::new(Proxy { clients: clients.clone(), base, own, keep_host, options, whom: asked.whom });
    lua.create_async_function(move |_, request: AnyUserData| {
        let proxy = proxy.clone();
        async move { Ok(Answer::from(proxy.pass(&request.borrow::<request::Request>()?.0.clone()).await)) }
    })
}

struct Proxy {
    clients: Rc<Clients>,
    base: Uri,
    /// Put in the place of the client's.
    own: HeaderMap,
    keep_host: bool,
    options: client::Options,
    whom: Whom,
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl Proxy {
    fn request(&self, call: &Rc<request::Call>) -> Option<Request<Body>> {
        let parts = &call.parts;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let base = &self.base;
        let uri = format!(
            "{}://{}{}{path}",
            base.scheme_str()?,
            base.authority()?,
            base.path().trim_end_matches('/')
        );
        let mut fields = parts.headers.clone();
        headers::remove_hop_by_hop(&mut fields);
        // Told the client by the server here, if by anybody.
        fields.remove(header::EXPECT);
        let before = fields.get(&FORWARDED_FOR).and_then(|value| value.to_str().ok());
        let peer = call.peer().ip().to_canonical();
        let through = before.map_or_else(|| peer.to_string(), |before| format!("{before}, {peer}"));
        fields.insert(FORWARDED_FOR, HeaderValue::from_str(&through).ok()?);
        let proto = if call.connection.tls { "https" } else { "http" };
        fields.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
        let host = fields.get(header::HOST).cloned();
        let host = host.or_else(|| HeaderValue::from_str(parts.uri.authority()?.as_str()).ok());
        if let Some(host) = host {
            fields.insert(FORWARDED_HOST, host);
        }
        if !self.keep_host {
            fields.remove(header::HOST);
        }
        fields.extend(self.own.clone());
        let body = match call.coming.rest() {
            None => Body::empty(),
            Some(mut coming) => {
                let length = fields.get(header::CONTENT_LENGTH).cloned();
                let (outgoing, body) = Outgoing::new();
                let most = call.connection.server.settings.body;
                self.clients.world.spawner.spawn(async move {
                    let mut passed = 0;
                    loop {
                        match coming.next().await {
                            None => return outgoing.close(),
                            Some(Ok(data)) => {
                                passed += data.len() as u64;
                                if passed > most {
                                    return outgoing.abort("too large");
                                }
                                if !outgoing.write(data).await {
                                    return;
                                }
                            }
                            Some(Err(fault)) => return outgoing.abort(&fault.to_string()),
                        }
                    }
                });
                // Known, it is sent so and not in chunks.
                if let Some(length) = length {
                    fields.insert(header::CONTENT_LENGTH, length);
                }
                body
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri.parse().ok()?;
        *request.headers_mut() = fields;
        Some(request)
    }

    async fn pass(&self, call: &Rc<request::Call>) -> Response<Body> {
        let bad = |status, words: &str| {
            call.connection.server.tell(
                call,
                "warn",
                "the server behind did not answer",
                &[("error", words)],
            );
            super::answer::bare(status)
        };
        let Some(request) = self.request(call) else { return super::answer::bare(StatusCode::BAD_REQUEST) };
        let client = match self.clients.of(&self.whom, true) {
            Ok(client) => client,
            Err(words) => return bad(StatusCode::BAD_GATEWAY, &words),
        };
        let answer = match client.request(request, &self.options).await {
            Ok(answer) => answer,
            Err(error) if matches!(error.kind, Kind::Timeout | Kind::ConnectTimeout) => {
                return bad(StatusCode::GATEWAY_TIMEOUT, &told(&error));
            }
            Err(error) => return bad(StatusCode::BAD_GATEWAY, &told(&error)),
        };
        let (mut parts, mut coming) = answer.into_parts();
        headers::remove_hop_by_hop(&mut parts.headers);
        let (outgoing, body) = Outgoing::new();
        let head = call.parts.method == Method::HEAD;
        let none = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = if head || none {
            Body::empty()
        } else {
            self.clients.world.spawner.spawn(async move {
                loop {
                    match coming.next().await {
                        None => return outgoing.close(),
                        Some(Ok(data)) => {
                            if !outgoing.write(data).await {
                                return;
                            }
                        }
                        Some(Err(fault)) => return outgoing.abort(&fault.to_string()),
                    }
                }
            });
            body
        };
        let mut response = Response::new(body);
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        response
    }
}
