//! A component that answers requests.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
};
use lunette_hostcalls::{
    Ctx, Listening, Log, Nanos,
    task::{Spawner, Time},
};
use lunette_http::{Body, Incoming};
use lunette_native::Engine;
use tokio::sync::oneshot;
use wasmtime::component::Component;
use wasmtime_wasi_http::WasiBody;

use super::{
    Settings,
    answer::{self, Link, Streamed},
    instance::{Instance, Pre},
    running::{Failure, Run, Running},
};
use crate::{
    Problem,
    command::guarded,
    http::{Outgoing, Sender},
    p2::keyvalue::Store as Values,
};

pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A component that answers requests, each in an instance of its own. Clones are the same.
#[derive(Clone)]
pub struct Handler(Rc<Inner>);

pub(super) struct Inner {
    pub(super) pre: Pre,
    pub(super) engine: Engine,
    pub(super) ctx: Ctx,
    pub(super) settings: Settings,
    pub(super) outgoing: Outgoing,
    /// What instances keep for each other.
    pub(super) values: Values,
    pub(super) time: Time,
    pub(super) log: Arc<dyn Log>,
    listeners: Vec<Listening>,
    sender: Cell<Option<Sender>>,
    /// Instances that wait for a request: those that may serve again, and one that was made ahead.
    spare: RefCell<Vec<Instance>>,
    /// Is one being made ahead?
    preparing: Cell<bool>,
    at_once: Cell<usize>,
    count: Cell<u64>,
    /// Has the log been told what its backtraces lack?
    pub(super) noted: Cell<bool>,
    /// How many backtraces wait to be told.
    pub(super) traces: Cell<u32>,
    /// Who waits for the last request to end.
    idle: RefCell<Vec<Waker>>,
}

/// How old an instance that was made ahead may be when its request comes: what its start code knows of the clock is out of date
/// after that.
const FRESH: Nanos = 10_000_000_000;

/// What a connection says about each of its requests.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) tls: bool,
    pub(super) local: SocketAddr,
}

/// One of the requests that there may be at once.
pub(super) struct Place(pub(super) Rc<Inner>);

impl Drop for Place {
    fn drop(&mut self) {
        let left = self.0.at_once.get() - 1;
        self.0.at_once.set(left);
        if left == 0 {
            self.0.idle.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// A request, as the log names it.
#[derive(Clone)]
pub(super) struct Call {
    id: HeaderValue,
    method: Method,
    uri: Uri,
}

impl Call {
    pub(super) fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn path(&self) -> &str {
        self.uri.path()
    }

    /// A line in the log about it.
    #[cold]
    pub(super) fn tell(&self, inner: &Inner, what: fmt::Arguments<'_>) {
        let (name, id, method, path) = (&inner.ctx.name, self.id(), self.method(), self.path());
        inner.log.warn(format_args!("{name}: request {id}: {method} {path}: {what}"));
    }
}

/// What a handler answers with.
pub(super) type Answered = Result<Response<WasiBody>, wasmtime_wasi_http::Error>;

impl Handler {
    /// Links the component, once for all requests. `ctx` is the world of its instances, but for standard input: that
    /// is at its end.
    pub fn new(
        engine: &Engine,
        component: &Component,
        ctx: Ctx,
        time: Time,
        log: Arc<dyn Log>,
        settings: Settings,
    ) -> Result<Self, Problem> {
        let wrong = |words: &str| Err(Problem::Setup(words.into()));
        if settings.at_once == 0 || settings.reuse == 0 {
            return wrong("a handler that may have no request");
        }
        if settings.fuel.is_some() != engine.variant().fuel {
            return wrong("a limit on what is executed goes with code that counts it, and only with that");
        }
        let pre = Pre::new(component)?;
        let (outgoing, sender) = Outgoing::new(&ctx, time.clone(), log.clone());
        let mut ctx = ctx;
        let listeners = std::mem::take(&mut ctx.listeners);
        Ok(Self(Rc::new(Inner {
            pre,
            engine: engine.clone(),
            ctx,
            settings,
            outgoing,
            values: Values::default(),
            time,
            log,
            listeners,
            sender: Cell::new(Some(sender)),
            spare: RefCell::default(),
            preparing: Cell::default(),
            at_once: Cell::default(),
            count: Cell::default(),
            noted: Cell::default(),
            traces: Cell::default(),
            idle: RefCell::default(),
        })))
    }

    pub(super) fn listeners(&self) -> &[Listening] {
        &self.0.listeners
    }

    /// What has to be run so that instances can ask others; once.
    pub(super) fn take_sender(&self) -> Option<Sender> {
        self.0.sender.take()
    }

    /// Returns when no request is under way.
    pub(super) async fn until_idle(&self) {
        poll_fn(|cx| {
            if self.0.at_once.get() == 0 {
                return Poll::Ready(());
            }
            self.0.idle.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Takes a request, or says why not.
    pub(super) fn begin(&self, mut request: Request<Incoming>, origin: Origin) -> Result<Begun, StatusCode> {
        let inner = &self.0;
        let place = inner.place().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let authority = authority(&request, origin).ok_or(StatusCode::BAD_REQUEST)?;
        let call = Call {
            id: inner.identify(&mut request),
            method: request.method().clone(),
            uri: request.uri().clone(),
        };
        let (sender, answer) = oneshot::channel();
        let deadline = inner.deadline();
        let run = inner.clone().run(request, authority, origin, deadline, sender);
        Ok(Begun { running: Box::new(Running::new(place, call, deadline, run)), answer })
    }
}

/// A request that was taken.
pub(super) struct Begun {
    /// In a box, for it is moved a few times.
    running: Box<Running>,
    answer: oneshot::Receiver<Answered>,
}

impl Begun {
    /// Answers it. Dropped before it does, the instance ends.
    pub(super) async fn answer(self, spawner: &Spawner) -> Response<Body> {
        let Self { mut running, mut answer } = self;
        // It sends its answer while it runs, so it has run by the time there is one.
        let (ended, answer) = poll_fn(|cx| {
            let ended = Pin::new(&mut *running).poll(cx);
            if ended.is_pending() && running.is_failing() {
                return Poll::Pending;
            }
            match (&ended, answer.try_recv()) {
                (_, Ok(answer)) => Poll::Ready((ended, Some(answer))),
                (Poll::Ready(_), Err(_)) => Poll::Ready((ended, None)),
                (Poll::Pending, Err(_)) => Poll::Pending,
            }
        })
        .await;
        running.inner().prepare(spawner);
        if let Some(trace) = running.take_trace() {
            spawner.spawn(trace.tell());
        }
        match (ended, answer) {
            (Poll::Ready(Err(status)), _) => answer::bare(status, Some(running.call().id())),
            (Poll::Ready(Ok(())), Some(Ok(response))) => {
                let (parts, body) = response.into_parts();
                match answer::ended(body) {
                    Ok(body) => Response::from_parts(parts, body),
                    Err(error) => {
                        running.tell(format_args!("the handler gave up its answer: {error}"));
                        answer::bare(StatusCode::INTERNAL_SERVER_ERROR, Some(running.call().id()))
                    }
                }
            }
            (Poll::Pending, Some(Ok(response))) => {
                let link = running.link().clone();
                spawner.spawn(on(running));
                streamed(response, link)
            }
            (ended, Some(Err(error))) => {
                running.tell(format_args!("the handler answered with an error: {error}"));
                let response = answer::bare(answer::status_of(&error), Some(running.call().id()));
                if ended.is_pending() {
                    spawner.spawn(on(running));
                }
                response
            }
            (_, None) => {
                running.tell(format_args!("the handler ended without an answer"));
                answer::bare(StatusCode::INTERNAL_SERVER_ERROR, Some(running.call().id()))
            }
        }
    }
}

/// To its end: what has to be said of that is said in the log.
async fn on(mut running: Box<Running>) {
    let _ = (&mut *running).await;
    let trace = running.take_trace();
    // Its place is another's.
    drop(running);
    if let Some(trace) = trace {
        trace.tell().await;
    }
}

fn streamed(response: Response<WasiBody>, link: Rc<Link>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let length = parts.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    Response::from_parts(parts, Body::of(Streamed::new(body, length, link)))
}

impl Inner {
    fn place(self: &Rc<Self>) -> Option<Place> {
        let at_once = self.at_once.get();
        if at_once >= self.settings.at_once {
            return None;
        }
        self.at_once.set(at_once + 1);
        Some(Place(self.clone()))
    }

    /// The request's name: what came with it, if that can be printed, or a number. The handler sees it as a field.
    fn identify(&self, request: &mut Request<Incoming>) -> HeaderValue {
        let count = self.count.get() + 1;
        self.count.set(count);
        let headers = request.headers_mut();
        if let Some(came) = headers.get(&X_REQUEST_ID) {
            let bytes = came.as_bytes();
            if (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic) {
                return came.clone();
            }
        }
        let Ok(id) = HeaderValue::try_from(format!("{count:x}")) else {
            unreachable!("hex is a field's value")
        };
        headers.insert(X_REQUEST_ID.clone(), id.clone());
        id
    }

    fn deadline(&self) -> Option<Nanos> {
        let nanos = |time: Duration| Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX);
        self.settings.time.map(|time| self.time.now().saturating_add(nanos(time)))
    }

    /// Makes an instance for the next request, when the answer to this one is on its way. If that goes wrong, so it will for
    /// the request, which is told why.
    fn prepare(self: &Rc<Self>, spawner: &Spawner) {
        if !self.spare.borrow().is_empty() || self.preparing.replace(true) {
            return;
        }
        let this = self.clone();
        spawner.spawn(async move {
            let deadline = this.deadline();
            let made = guarded(Instance::new(&this, deadline), &this.time, deadline).await;
            this.preparing.set(false);
            if let Ok(Ok(instance)) = made
                && this.spare.borrow().is_empty()
            {
                this.spare.borrow_mut().push(instance);
            }
        });
    }

    /// One that waits for a request, held to the limits of that.
    fn take_spare(&self, deadline: Option<Nanos>) -> Option<Result<Instance, Failure>> {
        let mut spare = self.spare.borrow_mut().pop()?;
        if spare.served == 0 && self.time.now().saturating_sub(spare.made) > FRESH {
            return None;
        }
        Some(match spare.hold(self, deadline) {
            Ok(()) => Ok(spare),
            Err(error) => Err(Failure::new(error, spare)),
        })
    }

    /// One request from its instance's beginning to its end.
    fn run(
        self: Rc<Self>,
        request: Request<Incoming>,
        authority: Authority,
        origin: Origin,
        deadline: Option<Nanos>,
        out: oneshot::Sender<Answered>,
    ) -> Run {
        Box::pin(async move {
            let mut instance = match self.take_spare(deadline) {
                Some(spare) => spare?,
                None => Instance::new(&self, deadline).await?,
            };
            let run = match instance.handle(request, authority, origin, out) {
                Ok(run) => run.await,
                Err(error) => Err(error),
            };
            match run {
                Ok(()) => {
                    instance.served += 1;
                    instance.lines.end();
                    if instance.served < self.settings.reuse {
                        self.spare.borrow_mut().push(instance);
                    }
                    Ok(())
                }
                Err(error) => Err(Failure::new(error, instance)),
            }
        })
    }
}

/// The host, and perhaps the port, that a request is for.
pub(super) type Authority = http::uri::Authority;

/// `None`: it is none that could be (RFC 9112, 3.2).
fn authority(request: &Request<Incoming>, origin: Origin) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    let mut fields = request.headers().get_all(HOST).iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) => Authority::try_from(field.as_bytes()).ok(),
        (None, None) if request.version() < Version::HTTP_11 => {
            Authority::try_from(origin.local.to_string()).ok()
        }
        _ => None,
    }
}
