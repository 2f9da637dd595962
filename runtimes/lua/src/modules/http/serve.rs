//! `http.serve`: a listener, its connections, and their end.
//!
//! Promises: the listener comes back by itself whatever the network says; one connection's fate is no other's; asked to
//! stop (by the script or by the host), no connection is taken any more, those that wait for a request are closed, and
//! the others may finish until the grace is over.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt::Write,
    future::poll_fn,
    net::{Ipv4Addr, SocketAddr},
    pin::{Pin, pin},
    rc::{Rc, Weak},
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use lunette_hostcalls::{Errno, Interest, Nanos, TcpListener, TcpStream, grants::Listen, task::poll_until};
use lunette_http::{Plain, Stream, server, tls};
use mlua::{AnyUserData, Function, Lua, Table, UserData, UserDataMethods, Value, WeakLua};

use super::{files, handle::Handling, log, request::Call, router, router::Router, text};
use crate::{
    errors::{failure, words},
    failures::Failure,
    methods::Methods as _,
    options::{Options, duration},
    tasks,
    world::{Stopped, World},
};

pub(super) enum Handler {
    Function(Function),
    Router(Rc<router::Root>),
}

pub(super) struct Settings {
    /// Bytes of a request's body.
    pub(super) body: u64,
    /// How long a handler may take to its answer.
    pub(super) time: Duration,
    /// How long it may run without a pause.
    pub(super) cpu: Option<Duration>,
    /// By how much the state may grow while it runs.
    pub(super) memory: Option<u64>,
    connections: usize,
    pub(super) access: Option<Access>,
    http: server::Settings,
}

/// Who is told of each answer.
pub(super) enum Access {
    Log,
    Call(Function),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Open,
    /// No connection is taken, and no request begun.
    Closing,
    /// Whatever is still there ends now.
    Over,
    /// Nothing is left.
    Ended,
}

pub(super) struct Server {
    pub(super) lua: WeakLua,
    pub(super) world: Rc<World>,
    pub(super) settings: Settings,
    pub(super) handler: Handler,
    name: String,
    at: SocketAddr,
    listener: RefCell<Option<Arc<dyn TcpListener>>>,
    tls: RefCell<Option<tls::Server>>,
    state: Cell<State>,
    connections: RefCell<BTreeMap<u64, Weak<Connection>>>,
    count: Cell<u64>,
    /// The accepting task, and whoever waits for the end.
    waiting: RefCell<Vec<Waker>>,
    /// To be told when it closes.
    sockets: RefCell<Vec<Weak<dyn Closing>>>,
}

/// What outlives its request: a WebSocket.
pub(super) trait Closing {
    fn close(&self);
}

/// One client.
pub(super) struct Connection {
    pub(super) server: Rc<Server>,
    pub(super) peer: SocketAddr,
    pub(super) tls: bool,
    waker: RefCell<Option<Waker>>,
    place: Weak<Place>,
}

/// One of the connections that there may be. Given up when it ends, whatever a script still holds of it.
pub(super) struct Place {
    server: Rc<Server>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.connections.borrow_mut().remove(&self.number);
        self.server.wake();
    }
}

impl Connection {
    /// For what goes on when the last request is answered.
    pub(super) fn place(&self) -> Option<Rc<Place>> {
        self.place.upgrade()
    }

    fn register(&self, waker: &Waker) {
        let mut place = self.waker.borrow_mut();
        if !place.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *place = Some(waker.clone());
        }
    }
}

/// How many connections there may be when nothing is said.
const CONNECTIONS: usize = 1024;
/// How long what is under way may take when a server is stopped.
const GRACE: Duration = Duration::from_secs(30);

/// `http.serve{…}`
pub(super) fn serve(lua: &Lua, world: &Rc<World>, table: Table) -> mlua::Result<(Value, Option<String>)> {
    let options = Options::new(lua, "http.serve", Some(table));
    let listen: Option<Value> = options.get("listen")?;
    let handler = match options.get::<Value>("handler")? {
        Some(Value::Function(function)) => Handler::Function(function),
        Some(Value::UserData(data)) if data.is::<Router>() => {
            Handler::Router(data.borrow::<Router>()?.root())
        }
        Some(other) => {
            let got = other.type_name();
            return Err(options.fault(format_args!("handler can't be a {got}: it is a function or a router")));
        }
        None => return Err(options.fault(format_args!("there is no handler"))),
    };
    let name: Option<String> = options.get("name")?;
    let http2 = options.get("h2")?.unwrap_or(true);
    let keep_alive = options.seconds("keepalive")?;
    let access = match options.get::<Value>("access_log")? {
        None | Some(Value::Boolean(false)) => None,
        Some(Value::Boolean(true)) => Some(Access::Log),
        Some(Value::Function(function)) => Some(Access::Call(function)),
        Some(other) => {
            return Err(options.fault(format_args!("access_log can't be a {}", other.type_name())));
        }
    };
    let limits = Options::new(lua, "http.serve: limits", options.get("limits")?);
    let size = |name: &'static str| -> mlua::Result<Option<u64>> {
        let Some(value) = limits.get::<Value>(name)? else { return Ok(None) };
        let size = text::size(&value).filter(|size| *size > 0);
        size.map(Some).ok_or_else(|| {
            limits.fault(format_args!(
                "{name} can't be {}: it is a number of bytes, or like \"64K\" or \"1M\"",
                value.to_string().unwrap_or_default()
            ))
        })
    };
    let (body, header, memory) = (size("body")?, size("header")?, size("mem")?);
    let (time, cpu) = (limits.seconds("time")?, limits.seconds("cpu")?);
    let connections: Option<usize> = limits.get("connections")?;
    if connections == Some(0) {
        return Err(limits.fault(format_args!("connections can't be 0")));
    }
    limits.finish()?;
    let tls = options.get::<Table>("tls")?;
    options.finish()?;

    let mut http = server::Settings { http2, ..server::Settings::default() };
    if let Some(header) = header {
        http.head = usize::try_from(header).unwrap_or(usize::MAX).clamp(1024, 16 << 20);
    }
    if let Some(keep_alive) = keep_alive {
        http.keep_alive = keep_alive;
    }
    let settings = Settings {
        body: body.unwrap_or(1 << 20),
        time: time.unwrap_or(Duration::from_secs(30)),
        cpu,
        memory,
        connections: connections.unwrap_or(CONNECTIONS),
        access,
        http,
    };
    let tls = match tls {
        None => None,
        Some(table) => match certificate(lua, world, "http.serve: tls", table, http2)? {
            Ok(tls) => Some(tls),
            Err(words) => return Ok(failure(words)),
        },
    };
    let listener = match listener(world, listen)? {
        Ok(listener) => listener,
        Err(words) => return Ok(failure(words)),
    };
    let at = listener.local();
    let server = Rc::new(Server {
        lua: lua.weak(),
        world: world.clone(),
        settings,
        handler,
        name: name.unwrap_or_else(|| at.to_string()),
        at,
        listener: Some(listener).into(),
        tls: tls.into(),
        state: Cell::new(State::Open),
        connections: RefCell::default(),
        count: Cell::default(),
        waiting: RefCell::default(),
        sockets: RefCell::default(),
    });
    world.spawner.spawn(accept(server.clone()));
    Ok((Value::UserData(lua.create_userdata(Handle(server))?), None))
}

/// The server's end of TLS: certificates with their key, each as PEM or as the path of a file.
fn certificate(
    lua: &Lua,
    world: &World,
    call: &'static str,
    table: Table,
    http2: bool,
) -> mlua::Result<Result<tls::Server, String>> {
    let options = Options::new(lua, call, Some(table));
    // The files that it is in.
    let from = RefCell::new(Vec::new());
    let part = |name: &'static str| -> mlua::Result<Result<Vec<u8>, String>> {
        let Some(text) = options.get::<mlua::LuaString>(name)? else {
            return Err(options.fault(format_args!("there is no {name}: it is PEM, or the path of a file")));
        };
        let text = text.as_bytes().to_vec();
        if text.windows(10).any(|bytes| bytes == b"-----BEGIN") {
            return Ok(Ok(text));
        }
        let path = String::from_utf8_lossy(&text);
        let read = files::read(world, &path, 1 << 20).map_err(|errno| format!("tls: {path}: {errno}"));
        from.borrow_mut().push(path.into_owned());
        Ok(read)
    };
    let (chain, key) = (part("cert")?, part("key")?);
    let from = from.take().join(", ");
    let from = if from.is_empty() { from } else { format!(" ({from})") };
    options.finish()?;
    let alpn: &[&str] = if http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
    Ok(chain.and_then(|chain| {
        let made = tls::Server::new(&chain, &key?, alpn, &world.time);
        made.map_err(|error| format!("tls: {error}{from}"))
    }))
}

/// Where to listen: one of those that listen already, or a new one.
fn listener(world: &World, at: Option<Value>) -> mlua::Result<Result<Arc<dyn TcpListener>, String>> {
    let given = &world.ctx.listeners;
    let misuse = |words: String| Err(mlua::Error::runtime(format!("http.serve: {words}")));
    let (text, at) = match at {
        None => {
            return match &given[..] {
                [one] => Ok(Ok(one.socket.clone())),
                [] => Ok(Err(
                    "there is nothing to listen on; help: say where with listen = \":80\", and run it with \
                              -p 8080:80 or have \"80\" in `network.listen`"
                        .into(),
                )),
                more => {
                    let names: Vec<_> = more.iter().map(|one| format!("\"{}\"", one.name)).collect();
                    misuse(format!("listen is missing, and there are more than one: {}", names.join(", ")))
                }
            };
        }
        Some(Value::Integer(port)) => (port.to_string(), port.to_string()),
        Some(Value::String(text)) => {
            let text = text.to_string_lossy();
            (text.clone(), text.trim_start_matches("*:").trim_start_matches(':').to_owned())
        }
        Some(other) => return misuse(format!("listen can't be a {}", other.type_name())),
    };
    // Port 0 is any that is free, which no grant has to name.
    let Some(at) = at.parse::<SocketAddr>().ok().or_else(|| Some(at.parse::<Listen>().ok()?.address()))
    else {
        return misuse(format!("{text:?} is nowhere to listen: it is like \":80\" or \"127.0.0.1:8080\""));
    };
    let same = |other: SocketAddr| {
        other.port() == at.port()
            && (other.ip() == at.ip() || other.ip().is_unspecified() && at.ip().is_unspecified())
    };
    if let Some(one) = given.iter().find(|one| same(one.socket.local())) {
        return Ok(Ok(one.socket.clone()));
    }
    let backlog = 128;
    let made = match world.ctx.network.listen(at, backlog) {
        // All addresses are those of IPv4 where there is no IPv6.
        Err(Errno::Afnosupport | Errno::Addrnotavail) if at.ip().is_unspecified() && at.is_ipv6() => {
            world.ctx.network.listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port()), backlog)
        }
        made => made,
    };
    Ok(made.map_err(|errno| match errno {
        Errno::Acces | Errno::Netdown => {
            let port = at.port();
            format!(
                "{}: it may not listen on {text}; help: run it with -p {port}:{port}, or add \"{port}\" to \
                 `network.listen` in lunette.toml",
                words(Errno::Acces)
            )
        }
        errno => words(errno),
    }))
}

impl Server {
    pub(super) fn is_closing(&self) -> bool {
        self.state.get() > State::Open
    }

    pub(super) fn used_memory(&self) -> Option<u64> {
        Some(self.lua.try_upgrade()?.used_memory() as u64)
    }

    pub(super) fn new_id(&self) -> String {
        let mut bytes = [0; 8];
        if self.world.ctx.random.fill(&mut bytes).is_err() {
            // Still of use to find its lines in the log.
            bytes = self.world.time.now().to_be_bytes();
        }
        bytes.iter().fold(String::with_capacity(16), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        })
    }

    /// A line in the log about a request.
    #[cold]
    pub(super) fn tell(&self, call: &Call, level: &str, what: &str, more: &[(&str, &str)]) {
        let Some(lua) = self.lua.try_upgrade() else { return };
        let target = call.parts.uri.to_string();
        let (peer, method) = (call.peer().to_string(), call.parts.method.as_str());
        let mut fields = vec![
            ("request", call.id()),
            ("method", method),
            ("target", &target),
            ("peer", &peer),
            ("server", &self.name),
        ];
        fields.extend_from_slice(more);
        log(&lua, level, what, &fields);
    }

    #[cold]
    pub(super) fn tell_failure(&self, call: &Call, error: &mlua::Error) {
        let failure = Failure::of(error);
        self.tell(
            call,
            "error",
            "the handler failed",
            &[("error", &failure.message), ("traceback", &failure.traceback)],
        );
    }

    pub(super) fn tell_access(&self, call: &Rc<Call>, status: u16, took: Nanos) {
        let seconds = took as f64 / 1e9;
        match &self.settings.access {
            None => {}
            Some(Access::Log) => {
                let (status, seconds) = (status.to_string(), format!("{seconds:.6}"));
                self.tell(call, "info", "request", &[("status", &status), ("seconds", &seconds)]);
            }
            Some(Access::Call(function)) => {
                let Some(lua) = self.lua.try_upgrade() else { return };
                let made = || -> mlua::Result<Table> {
                    let entry = lua.create_table()?;
                    entry.raw_set("method", call.parts.method.as_str())?;
                    entry.raw_set("target", call.parts.uri.to_string())?;
                    entry.raw_set("peer", call.peer().to_string())?;
                    entry.raw_set("id", call.id())?;
                    entry.raw_set("status", status)?;
                    entry.raw_set("seconds", seconds)?;
                    Ok(entry)
                };
                let Ok(entry) = made() else { return };
                let (call, function, world) = (call.clone(), function.clone(), self.world.clone());
                self.world.spawner.spawn(async move {
                    if let Err(error) = tasks::call(world, function, entry).await {
                        call.connection.server.tell(
                            &call,
                            "error",
                            "access_log failed",
                            &[("error", &error.to_string())],
                        );
                    }
                });
            }
        }
    }

    /// From now on nothing new.
    pub(super) fn stop(self: &Rc<Self>, grace: Duration) {
        if self.is_closing() {
            return;
        }
        self.state.set(State::Closing);
        self.settings.http.shutdown.begin();
        // One that was there before the script goes on listening, for whoever serves next.
        self.listener.take();
        self.wake_all();
        for socket in self.sockets.take().iter().filter_map(Weak::upgrade) {
            socket.close();
        }
        let (server, time) = (self.clone(), self.world.time.clone());
        self.world.spawner.spawn(async move {
            let gone = server.until(|server| server.connections.borrow().is_empty());
            if time.timeout(grace, gone).await.is_none() {
                server.state.set(State::Over);
                server.wake_all();
                // What a script still holds of a connection is nobody's concern.
            }
            server.state.set(State::Ended);
            server.wake();
        });
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    fn wake_all(&self) {
        self.wake();
        let connections: Vec<_> = self.connections.borrow().values().filter_map(Weak::upgrade).collect();
        for connection in connections {
            if let Some(waker) = connection.waker.take() {
                waker.wake();
            }
        }
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        poll_fn(|cx| {
            if done(self) {
                return Poll::Ready(());
            }
            self.register(cx.waker());
            Poll::Pending
        })
        .await;
    }

    fn register(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|old| old.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    /// Told when this server closes; at once if it does already.
    pub(super) fn adopt(&self, socket: Weak<dyn Closing>) {
        if self.is_closing() {
            if let Some(socket) = socket.upgrade() {
                socket.close();
            }
            return;
        }
        let mut sockets = self.sockets.borrow_mut();
        if sockets.len() == sockets.capacity() {
            sockets.retain(|socket| socket.strong_count() > 0);
        }
        sockets.push(socket);
    }

    /// The next connection; `None`: it is closing.
    async fn next(
        &self,
        stopped: &mut Pin<&mut Stopped>,
    ) -> Option<Result<(Arc<dyn TcpStream>, SocketAddr), Errno>> {
        poll_fn(|cx| {
            let listener = self.listener.borrow();
            let Some(listener) = &*listener else { return Poll::Ready(None) };
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            self.register(cx.waker());
            poll_until(&**listener, Interest::Read, cx, || listener.accept()).map(Some)
        })
        .await
    }
}

/// How long to wait after the listener failed.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Takes connections until the server closes.
async fn accept(server: Rc<Server>) {
    let (world, mut pause) = (server.world.clone(), PAUSE);
    let mut stopped = pin!(world.stopped());
    loop {
        let room = |server: &Server| {
            server.is_closing() || server.connections.borrow().len() < server.settings.connections
        };
        if !room(&server) {
            server.until(room).await;
        }
        match server.next(&mut stopped).await {
            None => return server.stop(GRACE),
            Some(Ok((socket, peer))) => {
                pause = PAUSE;
                let number = server.count.get();
                server.count.set(number + 1);
                let place = Rc::new(Place { server: server.clone(), number });
                let connection = Rc::new(Connection {
                    server: server.clone(),
                    peer,
                    tls: server.tls.borrow().is_some(),
                    waker: RefCell::default(),
                    place: Rc::downgrade(&place),
                });
                server.connections.borrow_mut().insert(number, Rc::downgrade(&connection));
                world.spawner.spawn(connected(connection, place, socket));
            }
            // The host is being stopped.
            Some(Err(Errno::Canceled)) => {
                world.stop();
                return server.stop(GRACE);
            }
            // The client thought better of it.
            Some(Err(Errno::Connaborted)) => {}
            Some(Err(errno)) => {
                let (words, seconds) = (errno.to_string(), pause.as_secs_f64().to_string());
                let fields =
                    [("server", server.name.as_str()), ("error", &words), ("again_in_seconds", &seconds)];
                if let Some(lua) = server.lua.try_upgrade() {
                    log(&lua, "warn", "can't accept connections", &fields);
                }
                let _ = world.time.timeout(pause, server.until(Server::is_closing)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Serves a connection to its end.
async fn connected(connection: Rc<Connection>, _place: Rc<Place>, socket: Arc<dyn TcpStream>) {
    let server = connection.server.clone();
    let world = &server.world;
    let tls = server.tls.borrow().clone();
    let stream = match tls {
        None => Stream::plain(socket),
        Some(tls) => match tls.accept(Plain(socket)).await {
            Ok(stream) => stream,
            // Whoever scans ports fills no log.
            Err(_) => return,
        },
    };
    let service = {
        let connection = connection.clone();
        move |request| Handling::new(&connection, request)
    };
    let settings = server.settings.http.clone();
    let mut serving = pin!(server::serve(stream, &settings, &world.time, &world.spawner, service));
    poll_fn(|cx| {
        if server.state.get() >= State::Over || serving.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        connection.register(cx.waker());
        Poll::Pending
    })
    .await;
}

/// `srv`
struct Handle(Rc<Server>);

impl UserData for Handle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.method("stop", |_, this, grace: Option<f64>| {
            let grace = match grace {
                None => GRACE,
                Some(seconds) => duration(seconds).ok_or_else(|| {
                    mlua::Error::runtime(format!("srv:stop: {seconds} is no time in seconds"))
                })?,
            };
            this.0.stop(grace);
            Ok(true)
        });
        methods.waiting_method("wait", |_, this, ()| async move {
            this.0.until(|server| server.state.get() == State::Ended).await;
            Ok(true)
        });
        methods.method("addr", |_, this, ()| Ok((this.0.at.to_string(), this.0.at.port())));
        methods.method("connections", |_, this, ()| Ok(this.0.connections.borrow().len()));
        methods.add_function("tls", |lua, (this, table): (AnyUserData, Table)| {
            let this = this.borrow::<Self>()?;
            let http2 = this.0.settings.http.http2;
            if this.0.tls.borrow().is_none() {
                return Err(mlua::Error::runtime("srv:tls: this server has no TLS"));
            }
            match certificate(lua, &this.0.world, "srv:tls", table, http2)? {
                Ok(tls) => {
                    this.0.tls.replace(Some(tls));
                    Ok((Value::Boolean(true), None))
                }
                Err(words) => Ok(failure(words)),
            }
        });
    }
}
