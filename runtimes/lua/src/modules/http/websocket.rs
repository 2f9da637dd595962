//! WebSockets (RFC 6455), by tungstenite over the connection of a request that asked for one.
//!
//! Promises: a message is whole or it is not there, and no larger than the limit; what breaks the protocol ends the socket
//! with the code that says so; sends wait while the client takes nothing; a client that answers no ping is gone.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::{Rc, Weak},
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::{
    rt::{Read, ReadBuf, Write},
    upgrade::OnUpgrade,
};
use lunette_hostcalls::Nanos;
use lunette_http::Body;
use mlua::{AnyUserData, Function, Lua, LuaString, Table, UserData, UserDataFields, UserDataMethods, Value};
use tungstenite::{
    Error, Message,
    error::CapacityError,
    handshake::derive_accept_key,
    protocol::{CloseFrame, Role, WebSocket, WebSocketConfig, frame::coding::CloseCode},
};

use super::{answer, answer::Answer, request::Request, serve::Closing, text, turn::Turn};
use crate::{
    errors::failure,
    methods::Methods as _,
    options::{Options, duration},
    world::{Resource, World},
};

/// A connection as hyper hands it over.
trait Connection: Read + Write + Unpin {}
impl<T: Read + Write + Unpin> Connection for T {}

/// The task that reads and the one that writes: each is woken for both, as either may have to do the other's work.
#[derive(Default)]
struct Both(Mutex<[Option<Waker>; 2]>);

const READER: usize = 0;
const WRITER: usize = 1;

impl Both {
    fn set(&self, which: usize, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        if !wakers[which].as_ref().is_some_and(|old| old.will_wake(waker)) {
            wakers[which] = Some(waker.clone());
        }
    }
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(|broken| broken.into_inner()));
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// The connection as tungstenite wants it: what would wait says so.
struct Pipe {
    connection: Box<dyn Connection>,
    waker: Waker,
}

fn ready<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl io::Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        let mut cx = Context::from_waker(&self.waker);
        ready(Pin::new(&mut *self.connection).poll_read(&mut cx, buf.unfilled()))?;
        Ok(buf.filled().len())
    }
}

impl io::Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(&self.waker);
        ready(Pin::new(&mut *self.connection).poll_write(&mut cx, buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(&self.waker);
        ready(Pin::new(&mut *self.connection).poll_flush(&mut cx))
    }
}

/// How a WebSocket is kept.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Bytes of a message.
    max: usize,
    ping: Option<Duration>,
}

/// One end of a WebSocket.
struct Socket {
    world: Rc<World>,
    /// `None`: it is at its end.
    inner: RefCell<Option<WebSocket<Pipe>>>,
    both: Arc<Both>,
    sending: Turn<()>,
    /// Somebody waits for a message.
    receiving: Cell<bool>,
    heard: Cell<Nanos>,
    /// Why it ended.
    told: RefCell<Option<(u16, String)>>,
    pinging: RefCell<Option<Waker>>,
}

impl Socket {
    fn new(
        world: &Rc<World>,
        connection: Box<dyn Connection>,
        ahead: Vec<u8>,
        role: Role,
        manner: Manner,
    ) -> Rc<Self> {
        let both = Arc::new(Both::default());
        let pipe = Pipe { connection, waker: both.clone().into() };
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            // Each is sent when it is written.
            .write_buffer_size(0)
            .max_message_size(Some(manner.max))
            .max_frame_size(Some(manner.max));
        let inner = WebSocket::from_partially_read(pipe, ahead, role, Some(config));
        let socket = Rc::new(Self {
            world: world.clone(),
            inner: Some(inner).into(),
            both,
            sending: Turn::new(()),
            receiving: Cell::default(),
            heard: world.time.now().into(),
            told: RefCell::default(),
            pinging: RefCell::default(),
        });
        if let Some(every) = manner.ping {
            world.spawner.spawn(ping(Rc::downgrade(&socket), world.clone(), every));
        }
        socket
    }

    /// Nothing more comes or goes.
    fn end(&self) {
        let inner = self.inner.take();
        drop(inner);
        self.both.clone().wake();
        if let Some(waker) = self.pinging.take() {
            waker.wake();
        }
    }

    fn tell(&self, code: u16, reason: &str) {
        self.told.borrow_mut().get_or_insert_with(|| (code, reason.to_owned()));
    }

    fn poll_receive(&self, cx: &Context<'_>) -> Poll<Option<Message>> {
        loop {
            let mut place = self.inner.borrow_mut();
            let Some(inner) = &mut *place else { return Poll::Ready(None) };
            self.both.set(READER, cx.waker());
            let error = match inner.read() {
                Ok(message) => {
                    self.heard.set(self.world.time.now());
                    match message {
                        Message::Text(_) | Message::Binary(_) => return Poll::Ready(Some(message)),
                        Message::Close(frame) => {
                            let (code, reason) = match &frame {
                                Some(frame) => (frame.code.into(), frame.reason.as_str()),
                                // RFC 6455, 7.1.5.
                                None => (1005, ""),
                            };
                            self.tell(code, reason);
                        }
                        // Pongs are sent when something is read or written next, that is now.
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                    }
                    continue;
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => error,
            };
            let code = match &error {
                Error::Capacity(CapacityError::MessageTooLong { .. }) => Some(CloseCode::Size),
                Error::Utf8(_) => Some(CloseCode::Invalid),
                Error::Protocol(_) => Some(CloseCode::Protocol),
                _ => None,
            };
            if let Some(code) = code {
                self.tell(code.into(), &error.to_string());
                // What can be sent of it at once.
                let frame = CloseFrame { code, reason: "".into() };
                let _ = inner.close(Some(frame)).and_then(|()| inner.flush());
            } else {
                // RFC 6455, 7.1.5: it ended without a word.
                self.tell(1006, "");
            }
            drop(place);
            self.end();
            return Poll::Ready(None);
        }
    }

    async fn receive(&self) -> Option<Message> {
        self.receiving.set(true);
        let _receiving = Receiving(&self.receiving);
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Sends something; `false`: nobody hears it.
    async fn send(&self, message: Message) -> bool {
        let _turn = self.sending.take().await;
        let mut message = Some(message);
        poll_fn(|cx| {
            let mut place = self.inner.borrow_mut();
            let Some(inner) = &mut *place else { return Poll::Ready(false) };
            self.both.set(WRITER, cx.waker());
            let result = match message.take() {
                Some(message) => inner.send(message),
                None => inner.flush(),
            };
            match result {
                Ok(()) => Poll::Ready(true),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                Err(Error::WriteBufferFull(back)) => {
                    message = Some(*back);
                    Poll::Pending
                }
                Err(Error::Protocol(_)) => Poll::Ready(false),
                Err(_) => {
                    self.tell(1006, "");
                    drop(place);
                    self.end();
                    Poll::Ready(false)
                }
            }
        })
        .await
    }

    /// Says that it ends, and waits (not long) until the other side has said so too.
    async fn close(&self, code: u16, reason: &str) {
        let mut reason = reason;
        while reason.len() > 123 {
            // A control frame has no room for more.
            reason = &reason[..reason.char_indices().next_back().map_or(0, |(at, _)| at)];
        }
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.tell(code, reason);
        let both_said = async {
            if self.send(Message::Close(Some(frame))).await && !self.receiving.get() {
                while self.receive().await.is_some() {}
            }
        };
        let _ = self.world.time.timeout(CLOSING, both_said).await;
        if !self.receiving.get() {
            self.end();
        }
    }
}

/// How long the other side may take to say that it closes too.
const CLOSING: Duration = Duration::from_secs(2);

struct Receiving<'a>(&'a Cell<bool>);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Its server closes.
struct AtClose(Weak<Socket>);

impl Closing for AtClose {
    fn close(&self) {
        let Some(socket) = self.0.upgrade() else { return };
        let world = socket.world.clone();
        world.spawner.spawn(async move {
            socket.close(1001, "the server is stopping").await;
            socket.end();
        });
    }
}

/// Asks a silent client whether it lives, and ends the socket of one that says nothing.
async fn ping(socket: Weak<Socket>, world: Rc<World>, every: Duration) {
    loop {
        let mut sleep = world.time.sleep(every);
        let over = poll_fn(|cx| {
            let Some(socket) = socket.upgrade() else { return Poll::Ready(true) };
            if socket.inner.borrow().is_none() {
                return Poll::Ready(true);
            }
            socket.pinging.replace(Some(cx.waker().clone()));
            Pin::new(&mut sleep).poll(cx).map(|()| false)
        });
        if over.await {
            return;
        }
        let Some(socket) = socket.upgrade() else { return };
        let silent = u128::from(world.time.now().saturating_sub(socket.heard.get()));
        // Nothing is heard while nobody listens.
        if socket.receiving.get() && silent >= 2 * every.as_nanos() {
            socket.tell(1006, "timeout");
            return socket.end();
        }
        if silent >= every.as_nanos() / 2 && !socket.send(Message::Ping(Default::default())).await {
            return;
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(waker) = self.pinging.take() {
            waker.wake();
        }
    }
}

/// Ended with the handler, whatever the script holds of it.
struct Ended(Rc<Socket>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// `ws`
struct Ws(Rc<Socket>);

fn message(lua: &Lua, message: Option<Message>) -> mlua::Result<(Value, Option<String>)> {
    Ok(match message {
        Some(Message::Text(text)) => {
            (Value::String(lua.create_string(text.as_bytes())?), Some("text".into()))
        }
        Some(other) => (Value::String(lua.create_string(other.into_data())?), Some("binary".into())),
        None => failure("closed"),
    })
}

impl UserData for Ws {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields
            .add_field_method_get("code", |_, this| Ok(this.0.told.borrow().as_ref().map(|(code, _)| *code)));
        fields.add_field_method_get("reason", |_, this| {
            Ok(this.0.told.borrow().as_ref().map(|(_, reason)| reason.clone()))
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.waiting_method("recv", |lua, this, limit: Option<f64>| async move {
            let socket = this.0.clone();
            let got = match limit {
                None => socket.receive().await,
                Some(seconds) => {
                    let limit = duration(seconds).ok_or_else(|| {
                        mlua::Error::runtime(format!("ws:recv: {seconds} is no time in seconds"))
                    })?;
                    match socket.world.time.timeout(limit, socket.receive()).await {
                        Some(got) => got,
                        None => return Ok(failure("timeout")),
                    }
                }
            };
            message(&lua, got)
        });
        methods.method("messages", |lua, this, ()| {
            let socket = this.0.clone();
            lua.create_async_function(move |lua, ()| {
                let socket = socket.clone();
                async move { message(&lua, socket.receive().await) }
            })
        });
        methods.waiting_method("send", |_, this, (data, kind): (LuaString, Option<String>)| async move {
            let message = match kind.as_deref() {
                None | Some("text") => match std::str::from_utf8(&data.as_bytes()) {
                    Ok(text) => Message::text(text),
                    Err(_) => {
                        return Err(mlua::Error::runtime(
                            "ws:send: this is no UTF-8, and text has to be; send it as \"binary\"",
                        ));
                    }
                },
                Some("binary") => Message::binary(data.as_bytes().to_vec()),
                Some(other) => {
                    return Err(mlua::Error::runtime(format!(
                        "ws:send: {other:?} is no kind of message; there are: text, binary"
                    )));
                }
            };
            Ok(if this.0.send(message).await { (Value::Boolean(true), None) } else { failure("closed") })
        });
        methods.waiting_method("close", |_, this, (code, reason): (Option<u16>, Option<String>)| async move {
            let code = code.unwrap_or(1000);
            if !CloseCode::from(code).is_allowed() {
                return Err(mlua::Error::runtime(format!(
                    "ws:close: {code} is no code that may be sent; 1000 is the usual, 3000 to 4999 are yours"
                )));
            }
            let socket = this.0.clone();
            socket.close(code, &reason.unwrap_or_default()).await;
            Ok(true)
        });
    }
}

/// What a request has to have, and what it is answered; else why not.
fn accept(method: &Method, version: Version, fields: &HeaderMap) -> Result<HeaderValue, Box<Response<Body>>> {
    let has = |name, word: &str| {
        fields
            .get_all(name)
            .iter()
            .filter_map(|value: &HeaderValue| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    if !has(header::UPGRADE, "websocket") {
        let mut response = answer::words(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket");
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return Err(response.into());
    }
    if *method != Method::GET || version != Version::HTTP_11 || !has(header::CONNECTION, "upgrade") {
        return Err(answer::words(StatusCode::BAD_REQUEST, "this is no WebSocket handshake").into());
    }
    if fields.get("sec-websocket-version").is_none_or(|version| version != "13") {
        let mut response =
            answer::words(StatusCode::UPGRADE_REQUIRED, "the version of WebSockets here is 13");
        response.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
        return Err(response.into());
    }
    let key = fields.get("sec-websocket-key").map(|key| key.as_bytes());
    // 16 bytes in base64.
    let good = |key: &&[u8]| {
        key.len() == 24
            && key.ends_with(b"==")
            && key[..22].iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
    };
    let key = key.filter(good);
    let accept = key.and_then(|key| HeaderValue::from_str(&derive_accept_key(key)).ok());
    accept.ok_or_else(|| {
        answer::words(StatusCode::BAD_REQUEST, "this is no WebSocket handshake: its key is none").into()
    })
}

/// The handler of a route for WebSockets.
pub(super) fn handler(lua: &Lua, function: Function, options: Option<Table>) -> mlua::Result<Function> {
    let options = Options::new(lua, "r:ws", options);
    let manner = manner(&options)?;
    options.finish()?;
    lua.create_async_function(move |lua, request: AnyUserData| {
        let function = function.clone();
        async move {
            let call = request.borrow::<Request>()?.0.clone();
            let parts = &call.parts;
            let accepted = accept(&parts.method, parts.version, &parts.headers);
            let (accepted, upgrade) = match (accepted, parts.extensions.get::<OnUpgrade>().cloned()) {
                (Ok(accepted), Some(upgrade)) => (accepted, upgrade),
                (Ok(_), None) => {
                    let refused = answer::words(StatusCode::BAD_REQUEST, "this connection can't be upgraded");
                    return Ok(Some(lua.create_userdata(Answer::from(refused))?));
                }
                (Err(refused), _) => return Ok(Some(lua.create_userdata(Answer::from(*refused))?)),
            };
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let fields = response.headers_mut();
            fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            fields.insert("sec-websocket-accept", accepted);
            call.respond(response);
            let _place = call.connection.place();
            // The client is gone: nobody's fault.
            let Ok(upgraded) = upgrade.await else { return Ok(None) };
            let server = &call.connection.server;
            let socket = Socket::new(&server.world, Box::new(upgraded), Vec::new(), Role::Server, manner);
            let _ended = Ended(socket.clone());
            let at_close: Rc<dyn Closing> = Rc::new(AtClose(Rc::downgrade(&socket)));
            server.adopt(Rc::downgrade(&at_close));
            let ws = lua.create_userdata(Ws(socket.clone()))?;
            let result = function.call_async::<()>((ws, request)).await;
            match &result {
                Ok(()) => socket.close(1000, "").await,
                Err(_) => socket.close(1011, "").await,
            }
            result.map(|()| None)
        }
    })
}

/// What both ends can say.
pub(super) fn manner(options: &Options<'_>) -> mlua::Result<Manner> {
    let max = match options.get::<Value>("max")? {
        None => 64 << 10,
        Some(value) => text::size(&value)
            .and_then(|size| usize::try_from(size).ok())
            .ok_or_else(|| options.fault(format_args!("max is a number of bytes, or like \"64K\"")))?,
    };
    let ping = match options.get::<Value>("ping")? {
        Some(Value::Boolean(false)) => None,
        _ => Some(options.seconds("ping")?.unwrap_or(Duration::from_secs(30))),
    };
    Ok(Manner { max, ping: ping.filter(|ping| !ping.is_zero()) })
}

/// What is asked of a server that is to become the other end, and the key that its answer must know.
pub(super) fn ask(world: &World, fields: &mut HeaderMap) -> Result<String, String> {
    let mut nonce = [0; 16];
    if world.ctx.random.fill(&mut nonce).is_err() {
        return Err("there is no randomness yet".into());
    }
    let key = BASE64_STANDARD.encode(nonce);
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert("sec-websocket-version", HeaderValue::from_static("13"));
    fields.insert("sec-websocket-key", HeaderValue::from_str(&key).map_err(|error| error.to_string())?);
    Ok(derive_accept_key(key.as_bytes()))
}

/// The client's end, closed with its task.
pub(super) fn begin(
    lua: &Lua,
    world: &Rc<World>,
    stream: lunette_http::Stream,
    ahead: &[u8],
    manner: Manner,
) -> mlua::Result<AnyUserData> {
    let socket = Socket::new(world, Box::new(stream), ahead.to_vec(), Role::Client, manner);
    let resource: Weak<dyn Resource> = {
        let socket: Rc<dyn Resource> = socket.clone();
        Rc::downgrade(&socket)
    };
    world.adopt(resource);
    lua.create_userdata(Ws(socket))
}

impl Resource for Socket {
    fn close(&self) {
        self.end();
    }
}
