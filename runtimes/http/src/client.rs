//! The asking side.
//!
//! Promises: each phase ends in time (to connect, to shake hands, to the end of the head, between two pieces of the
//! body); all addresses of a name are tried, in order; a connection is used again only while it is clean (nobody said
//! anything on it that was not asked for), for so long, and so many are kept; what was sent is sent again only if
//! doing it twice is doing it once; a redirect to another host takes no credentials along.
//!
//! Does not: bound an answer's size ([`Incoming::whole`], or whoever reads, does), keep cookies or a cache, or go
//! through proxies.
//!
//! HTTP/2 is spoken where the server agrees to it in the handshake, so [`tls::Client`] has to offer `h2` and
//! `http/1.1`.

use std::{
    cell::RefCell,
    fmt,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE,
        HOST, LOCATION, PROXY_AUTHORIZATION, TRANSFER_ENCODING, UPGRADE,
    },
};
use hyper::client::conn::{TrySendError, http1, http2};
use lunette_hostcalls::{
    Errno, Interest, Network, TcpStream,
    task::{Spawner, Time, until},
};

pub use crate::pool::Limits;
use crate::{
    Body, Boxed, Incoming, Stream,
    body::Fault,
    exec::Exec,
    pool::{Key, Pool, Pooled},
    stream::Plain,
    tls,
    url::resolve,
};

/// How one request is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// From the first step to the last byte of the head, redirects included.
    pub timeout: Duration,
    /// How many redirects are followed; with 0 they are answers like others.
    pub redirects: usize,
    /// Of that, how long until there is a connection, TLS included.
    pub connect: Duration,
    /// Of that, how long from there to the last byte of the head; `None`: as long as there is.
    pub head: Option<Duration>,
    /// How long nothing of the answer's body may come while somebody waits for it.
    pub idle: Duration,
    /// Asks for gzip and deflate, and undoes them.
    pub decode: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            redirects: 5,
            connect: Duration::from_secs(10),
            head: None,
            idle: Duration::from_secs(30),
            decode: false,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: Kind,
    /// One line, without the kind's prefix.
    pub words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The URL or the request can't be used.
    Request,
    /// It is not granted to ask for the name, or to connect.
    Denied,
    /// The name has no address.
    Resolve,
    Connect,
    Tls,
    /// There was no connection in time.
    ConnectTimeout,
    Timeout,
    /// The connection ended, or what came is no HTTP.
    Answer,
}

impl Error {
    fn new(kind: Kind, words: impl Into<String>) -> Self {
        Self { kind, words: words.into() }
    }

    fn timeout() -> Self {
        Self::new(Kind::Timeout, "timeout")
    }

    fn connect_timeout() -> Self {
        Self::new(Kind::ConnectTimeout, "timeout")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Error {}

impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        let words = match &error {
            error if error.is_parse_too_large() => "the answer's head is too large".into(),
            error if error.is_parse() => format!("what came is no HTTP: {error}"),
            error if error.is_user() => format!("the request can't be sent: {error}"),
            _ => String::new(),
        };
        match words.is_empty() {
            true => Self::new(Kind::Answer, Fault::from(error).to_string()),
            false => Self::new(Kind::Answer, words),
        }
    }
}

/// Asks servers. Clones share their connections.
#[derive(Clone)]
pub struct Client(Rc<Shared>);

struct Shared {
    network: Network,
    time: Time,
    spawner: Spawner,
    tls: tls::Client,
    pool: Rc<RefCell<Pool>>,
}

/// Bytes of an answer's head.
const HEAD: usize = 64 * 1024;
/// Header fields of an answer.
const FIELDS: usize = 256;
/// What of an answer on HTTP/2 may be on its way, for one request and for all of a connection.
const WINDOWS: (u32, u32) = (256 << 10, 1 << 20);
/// Of a redirect's body, what is read to use its connection again.
const DRAINED: usize = 16 * 1024;

impl Client {
    pub fn new(network: Network, time: Time, spawner: Spawner, tls: tls::Client) -> Self {
        Self::with_limits(network, time, spawner, tls, Limits::default())
    }

    /// With limits for the connections that are kept.
    pub fn with_limits(
        network: Network,
        time: Time,
        spawner: Spawner,
        tls: tls::Client,
        limits: Limits,
    ) -> Self {
        let pool = Pool::new(limits);
        Self(Rc::new(Shared { network, time, spawner, tls, pool }))
    }

    /// Asks, follows redirects, and answers with a head; the body is read when the caller does.
    pub fn request<'a>(
        &'a self,
        request: Request<Body>,
        options: &'a Options,
    ) -> Boxed<'a, Result<Response<Incoming>, Error>> {
        Box::pin(async move {
            let answer = self.0.time.timeout(options.timeout, self.0.follow(request, options)).await;
            answer.unwrap_or_else(|| Err(Error::timeout()))
        })
    }

    /// Lets go of the connections that nobody uses now.
    pub fn close_idle(&self) {
        self.0.pool.borrow_mut().clear();
    }
}

impl Shared {
    async fn follow(&self, request: Request<Body>, options: &Options) -> Result<Response<Incoming>, Error> {
        let (mut parts, mut body) = request.into_parts();
        let decode = options.decode && !parts.headers.contains_key(ACCEPT_ENCODING);
        if decode {
            parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
        }
        let mut left = options.redirects;
        loop {
            let again = body.again();
            let mut answer = self.once(parts.clone(), body, options).await?;
            let Some(location) = redirect(&answer).filter(|_| options.redirects > 0) else {
                if decode {
                    undo(&parts.method, &mut answer);
                }
                return Ok(answer);
            };
            if left == 0 {
                return Err(Error::new(Kind::Answer, "too many redirects"));
            }
            left -= 1;
            let next = resolve(&parts.uri, &location)
                .filter(|next| matches!(next.scheme_str(), Some("http" | "https")))
                .ok_or_else(|| Error::new(Kind::Answer, "redirected to what is no URL of HTTP"))?;
            body = match (answer.status(), &parts.method) {
                (StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT, _) => match again {
                    Some(body) => body,
                    // It came bit by bit, and is gone.
                    None => return Ok(answer),
                },
                (_, &Method::GET | &Method::HEAD) => again.unwrap_or_default(),
                (StatusCode::SEE_OTHER, _) | (_, &Method::POST) => {
                    parts.method = Method::GET;
                    for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
                        parts.headers.remove(name);
                    }
                    Body::empty()
                }
                _ => match again {
                    Some(body) => body,
                    None => return Ok(answer),
                },
            };
            if Key::of(&next) != Key::of(&parts.uri) {
                for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                    parts.headers.remove(name);
                }
            }
            parts.headers.remove(HOST);
            parts.uri = next;
            // Read to its end, its connection can be used again; what is too much for that ends it.
            let _ = answer.into_body().whole(DRAINED).await;
        }
    }

    /// One request, one answer: over a connection that is there, if there is one, or a new one.
    async fn once(
        &self,
        parts: http::request::Parts,
        mut body: Body,
        options: &Options,
    ) -> Result<Response<Incoming>, Error> {
        let key = key(&parts.uri)?;
        loop {
            let kept = self.pool.borrow_mut().take(&key, self.time.now());
            let Some(mut kept) = kept else { break };
            let again = body.again();
            let request = request(&parts, body, &key, &kept)?;
            let sent = self.in_time(options.head, self.send(&mut kept, request)).await;
            match sent.ok_or_else(Error::timeout)? {
                Ok(answer) => return Ok(self.done(key, kept, answer, options)),
                Err(mut error) => match (error.take_message(), again) {
                    // The server had closed it already: nothing was sent.
                    (Some(request), _) => body = request.into_body(),
                    // It closed it meanwhile: what can be done twice is.
                    (None, Some(again)) if parts.method.is_idempotent() && lost(error.error()) => {
                        body = again
                    }
                    _ => return Err(error.into_error().into()),
                },
            }
        }
        let connecting = self.connect(&key);
        let connected = self.time.timeout(options.connect, connecting).await;
        let mut made = connected.unwrap_or_else(|| Err(Error::connect_timeout()))?;
        let request = request(&parts, body, &key, &made)?;
        let sent = self.in_time(options.head, self.send(&mut made, request)).await;
        let answer = sent.ok_or_else(Error::timeout)?.map_err(TrySendError::into_error)?;
        Ok(self.done(key, made, answer, options))
    }

    async fn send(
        &self,
        connection: &mut Pooled,
        request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, TrySendError<Request<Body>>> {
        match connection {
            Pooled::One(sender, _) => sender.try_send_request(request).await,
            Pooled::Many(sender) => sender.try_send_request(request).await,
        }
    }

    async fn in_time<T>(&self, limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
        match limit {
            Some(limit) => self.time.timeout(limit, future).await,
            None => Some(future.await),
        }
    }

    /// There is a head: the connection can be had by others, once they are to have it.
    fn done(
        &self,
        key: Key,
        connection: Pooled,
        answer: Response<hyper::body::Incoming>,
        options: &Options,
    ) -> Response<Incoming> {
        let closes = answer.headers().get_all(CONNECTION).iter().any(|value| has_token(value, "close"));
        if !closes && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            Pool::put(&self.pool, key, connection, &self.time, &self.spawner);
        }
        answer.map(|body| Incoming::new(body, || (self.time.clone(), options.idle)))
    }

    async fn connect(&self, key: &Key) -> Result<Pooled, Error> {
        let addresses = self.addresses(&key.host).await?;
        let mut fault = Error::new(Kind::Resolve, "host not found");
        for address in addresses {
            match self.dial(SocketAddr::new(address, key.port)).await {
                Ok(socket) => return self.shake(socket, key).await,
                Err(errno) => fault = refused(errno, address, key.port),
            }
        }
        Err(fault)
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        if let Ok(literal) = host.parse() {
            return Ok(vec![literal]);
        }
        let words = |errno| match errno {
            Errno::Acces => format!("not granted: to ask for the name {host}"),
            Errno::Noent => "host not found".into(),
            Errno::Inval => format!("{host:?} is not a name"),
            Errno::Netdown => "there is no network, or nobody there to ask for names".into(),
            Errno::Timedout | Errno::Io => "temporary failure in name resolution".into(),
            errno => format!("can't ask for the name {host}: {errno}"),
        };
        let failed = |errno| {
            let kind = if errno == Errno::Acces { Kind::Denied } else { Kind::Resolve };
            Error::new(kind, words(errno))
        };
        let lookup = self.network.resolve(host).map_err(failed)?;
        until(&*lookup, Interest::Read, || lookup.addresses()).await.map_err(failed)
    }

    /// One address. A host that says nothing is given up for the next in good time.
    async fn dial(&self, to: SocketAddr) -> Result<Arc<dyn TcpStream>, Errno> {
        const PATIENCE: Duration = Duration::from_secs(4);
        let socket = self.network.connect(to)?;
        let made = until(&*socket, Interest::Write, || socket.connected());
        self.time.timeout(PATIENCE, made).await.unwrap_or(Err(Errno::Timedout))?;
        Ok(socket)
    }

    async fn shake(&self, socket: Arc<dyn TcpStream>, key: &Key) -> Result<Pooled, Error> {
        let plain = Plain(socket.clone());
        let stream = match key.tls {
            false => Stream::Plain(plain),
            true => {
                let shaken = self.tls.connect(plain, &key.host).await;
                shaken.map_err(|error| Error::new(Kind::Tls, error.0))?
            }
        };
        if stream.agreed_on_h2() {
            let (sender, connection) = http2::Builder::new(Exec(self.spawner.clone()))
                .initial_stream_window_size(WINDOWS.0)
                .initial_connection_window_size(WINDOWS.1)
                .max_header_list_size(HEAD as u32)
                .handshake(stream)
                .await?;
            self.spawner.spawn(async move { drop(connection.await) });
            return Ok(Pooled::Many(sender));
        }
        let (sender, connection) =
            http1::Builder::new().max_buf_size(HEAD).max_headers(FIELDS).handshake(stream).await?;
        self.spawner.spawn(async move { drop(connection.with_upgrades().await) });
        Ok(Pooled::One(sender, socket))
    }
}

/// Why an address was given up.
fn refused(errno: Errno, address: IpAddr, port: u16) -> Error {
    let at = SocketAddr::new(address, port);
    let words = match errno {
        Errno::Acces => return Error::new(Kind::Denied, format!("not granted: to connect to {at}")),
        Errno::Connrefused => "connection refused".into(),
        Errno::Timedout => return Error::connect_timeout(),
        Errno::Netunreach | Errno::Hostunreach => format!("no way to {at}"),
        Errno::Netdown => "there is no network".into(),
        errno => format!("can't connect to {at}: {errno}"),
    };
    Error::new(Kind::Connect, words)
}

fn key(uri: &Uri) -> Result<Key, Error> {
    let wrong = |words: &str| Error::new(Kind::Request, words);
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => return Err(wrong(&format!("want a URL of http or https, not of {other}"))),
        None => return Err(wrong("want a URL with its scheme and host: http://host/")),
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("a URL has no place for a name and a password: want an authorization field"));
    }
    Key::of(uri).ok_or_else(|| wrong("want a URL with a host: http://host/"))
}

/// A request as its connection wants it.
fn request(
    parts: &http::request::Parts,
    body: Body,
    key: &Key,
    connection: &Pooled,
) -> Result<Request<Body>, Error> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.headers_mut() = parts.headers.clone();
    *request.extensions_mut() = parts.extensions.clone();
    match connection {
        Pooled::One(..) => {
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            // The path of `http://host?query` begins with its query.
            let uri = if path.starts_with('?') { format!("/{path}").parse() } else { path.parse() };
            *request.uri_mut() = uri.map_err(|error| Error::new(Kind::Request, format!("{error}")))?;
            if !request.headers().contains_key(HOST) {
                let host = HeaderValue::try_from(key.authority());
                let host = host.map_err(|error| Error::new(Kind::Request, format!("{error}")))?;
                request.headers_mut().insert(HOST, host);
            }
        }
        Pooled::Many(_) => {
            *request.version_mut() = Version::HTTP_2;
            *request.uri_mut() = parts.uri.clone();
            for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, HOST] {
                request.headers_mut().remove(name);
            }
        }
    }
    Ok(request)
}

/// Where an answer sends us.
fn redirect(answer: &Response<Incoming>) -> Option<String> {
    match answer.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => {}
        _ => return None,
    }
    Some(answer.headers().get(LOCATION)?.to_str().ok()?.to_owned())
}

/// Has the body come as it was before it was compressed.
fn undo(method: &Method, answer: &mut Response<Incoming>) {
    let encodings = answer.headers().get_all(CONTENT_ENCODING).iter().count();
    if encodings != 1 || *method == Method::HEAD {
        return;
    }
    let encoding = answer.headers()[CONTENT_ENCODING].as_bytes().to_vec();
    if answer.body_mut().decode(encoding.trim_ascii()) {
        forget(answer.headers_mut());
    }
}

fn forget(headers: &mut HeaderMap) {
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
}

/// Did the connection end without an answer?
fn lost(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_canceled() || error.is_closed()
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    value.to_str().is_ok_and(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case(token)))
}
