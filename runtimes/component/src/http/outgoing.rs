//! Requests that instances make of others.
//!
//! An instance lives in a store, which has to be `Send`; connections live on one thread, beside their tasks. So there are
//! two halves: [`Outgoing`] goes with the instances and hands requests over, [`Sender`] is a task that makes them,
//! all instances' over the same pool of connections.
//!
//! Promises: what is not granted is `HTTP-request-denied`, with a line in the log that says what to grant; the three times of
//! a request's options are kept; an instance that gives up an answer, or ends, ends the request; redirects and encodings
//! are the instance's own business.

use std::{
    cell::{Cell, OnceCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use lunette_hostcalls::{
    Ctx, Log, Network,
    task::{Spawner, Time},
};
use lunette_http::{
    Body, Incoming,
    body::Fault,
    client::{self, Client, Kind, Options},
    tls,
};
use tokio::sync::{mpsc, oneshot};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// What becomes of a request: its answer, and how the sending of the request's body ended.
pub(super) type Answer = dyn Future<Output = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>>
    + Send;

/// The instances' half. Clones are the same.
#[derive(Clone)]
pub struct Outgoing {
    jobs: mpsc::UnboundedSender<Job>,
    /// Requests that have no answer yet.
    waiting: Arc<AtomicUsize>,
}

/// The other half.
pub struct Sender {
    jobs: mpsc::UnboundedReceiver<Job>,
    asker: Asker,
}

struct Job {
    request: Request<WasiBody>,
    options: RequestOptions,
    answer: oneshot::Sender<Result<Response<WasiBody>, Error>>,
    _waiting: Waiting,
}

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// How many requests may wait for their answers at once, of all instances that share a half.
const MOST: usize = 1024;

/// What each of the three times is when an instance does not say.
const USUAL: Duration = Duration::from_secs(600);

impl Outgoing {
    /// Both halves, for instances that have this world. Nothing is asked before the second half is run ([`Sender::run`]).
    pub fn new(ctx: &Ctx, time: Time, log: Arc<dyn Log>) -> (Self, Sender) {
        let (sender, jobs) = mpsc::unbounded_channel();
        let (guest, network) = (ctx.name.clone(), ctx.network.clone());
        let asker = Asker { guest, network, time, log, client: OnceCell::new(), told: Cell::new(false) };
        (Self { jobs: sender, waiting: Arc::default() }, Sender { jobs, asker })
    }

    /// Hands a request over. It is made whether or not the answer is waited for, until the answer is dropped.
    pub(super) fn send(&self, request: Request<WasiBody>, options: Option<RequestOptions>) -> Box<Answer> {
        let (answer, coming) = oneshot::channel();
        let before = self.waiting.fetch_add(1, Relaxed);
        let waiting = Waiting(self.waiting.clone());
        if before >= MOST {
            return Box::new(async { Err(Error::ConnectionLimitReached) });
        }
        let options = options.unwrap_or_default();
        // Should nobody run the other half, `coming` says so.
        let _ = self.jobs.send(Job { request, options, answer, _waiting: waiting });
        Box::new(async move {
            let nobody = |_| Err(Error::InternalError(Some("nobody sends requests any more".into())));
            let response = coming.await.unwrap_or_else(nobody)?;
            Ok((response, Box::new(async { Ok(()) }) as Box<dyn Future<Output = _> + Send>))
        })
    }
}

impl Sender {
    /// Makes requests until there is no [`Outgoing`] left. Each is a task of its own.
    pub async fn run(mut self, spawner: Spawner) {
        let asker = Rc::new(self.asker);
        while let Some(job) = self.jobs.recv().await {
            spawner.spawn(asker.clone().serve(job, spawner.clone()));
        }
    }
}

struct Asker {
    guest: String,
    network: Network,
    time: Time,
    log: Arc<dyn Log>,
    /// Made for the first request: most instances make none.
    client: OnceCell<Result<Client, String>>,
    /// Was it said that there is no network?
    told: Cell<bool>,
}

impl Asker {
    async fn serve(self: Rc<Self>, job: Job, spawner: Spawner) {
        let Job { request, options, mut answer, _waiting } = job;
        let mut asked = pin!(self.ask(request, options, spawner));
        let answered = poll_fn(|cx| match asked.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            // Nobody waits for it any more.
            Poll::Pending => answer.poll_closed(cx).map(|()| None),
        });
        if let Some(answered) = answered.await {
            let _ = answer.send(answered);
        }
    }

    async fn ask(
        &self,
        request: Request<WasiBody>,
        options: RequestOptions,
        spawner: Spawner,
    ) -> Result<Response<WasiBody>, Error> {
        if self.network.is_none() {
            if !self.told.replace(true) {
                self.log.warn(format_args!(
                    "{}: connect {} is not granted, nor is anything of the network; help: add it to `network.connect` \
                     in lunette.toml, or run it with --connect",
                    self.guest,
                    request.uri().authority().map_or("", |authority| authority.as_str())
                ));
            }
            return Err(Error::HttpRequestDenied);
        }
        let client = self.client.get_or_init(|| {
            let tls = tls::Client::new(tls::Trust::Web, &["h2", "http/1.1"], &self.time)
                .map_err(|error| error.to_string())?;
            Ok(Client::new(self.network.clone(), self.time.clone(), spawner, tls))
        });
        let client = client.as_ref().map_err(|words| Error::InternalError(Some(words.clone())))?;
        let connect = options.connect_timeout.unwrap_or(USUAL);
        let head = options.first_byte_timeout.unwrap_or(USUAL);
        let options = Options {
            timeout: connect.saturating_add(head),
            connect,
            head: Some(head),
            idle: options.between_bytes_timeout.unwrap_or(USUAL),
            redirects: 0,
            decode: false,
        };
        let answer = client.request(request.map(Body::of), &options).await.map_err(told)?;
        Ok(answer.map(coming))
    }
}

/// A body that comes, as instances have it.
pub(crate) fn coming(body: Incoming) -> WasiBody {
    body.map_err(|fault| match fault {
        Fault::Timeout => Error::ConnectionReadTimeout,
        Fault::Closed => Error::ConnectionTerminated,
        Fault::TooLarge => Error::HttpResponseBodySize(None),
        Fault::Garbled(_) => Error::HttpProtocolError,
    })
    .boxed_unsync()
}

/// Why there is no answer, as instances are told.
fn told(error: client::Error) -> Error {
    match error.kind {
        Kind::Denied => Error::HttpRequestDenied,
        Kind::Request => Error::HttpRequestUriInvalid,
        Kind::Resolve => Error::DnsError { rcode: Some(error.words), info_code: None },
        Kind::Connect => Error::ConnectionRefused,
        Kind::Tls => Error::TlsProtocolError,
        Kind::ConnectTimeout => Error::ConnectionTimeout,
        Kind::Timeout => Error::ConnectionReadTimeout,
        Kind::Answer if error.words == Fault::Closed.to_string() => Error::ConnectionTerminated,
        Kind::Answer => Error::HttpProtocolError,
    }
}
