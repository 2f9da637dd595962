//! Instances of a handler's component: made, limited, and called, for whichever WASI they were built.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, header::HOST, uri};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use lunette_hostcalls::Nanos;
use lunette_http::{Boxed, Incoming};
use tokio::sync::oneshot;
use wasmtime::{
    Store,
    component::{Accessor, Component},
};
use wasmtime_wasi_http::{
    Error, FieldMap, WasiBody, WasiHttpView as _,
    p2::bindings::{Proxy, ProxyPre, http::types::Scheme},
    p3::{
        self,
        bindings::{Service, ServicePre},
    },
};

use super::{
    handler::{Answered, Authority, Inner, Origin},
    lines::Lines,
    running::Failure,
};
use crate::{Problem, State, command, http::coming, link::link};

/// A component that is linked.
pub(super) enum Pre {
    /// `wasi:http/incoming-handler` of 0.2.
    Two(ProxyPre<State>),
    /// `wasi:http/handler` of 0.3.
    Three(ServicePre<State>),
}

impl Pre {
    pub(super) fn new(component: &Component) -> Result<Self, Problem> {
        let pre = link(component)?;
        if let Ok(two) = ProxyPre::new(pre.clone()) {
            return Ok(Self::Two(two));
        }
        ServicePre::new(pre).map(Self::Three).map_err(|_| {
            let ty = component.component_type();
            let exports = ty.exports(component.engine()).map(|(name, _)| name.to_owned()).collect();
            Problem::NoEntry { wanted: "wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3", exports }
        })
    }
}

enum Export {
    Two(Proxy),
    Three(Service),
}

/// A component that lives.
pub(super) struct Instance {
    store: Store<State>,
    export: Export,
    pub(super) lines: Arc<Lines>,
    /// When.
    pub(super) made: Nanos,
    /// Requests that it has served.
    pub(super) served: u32,
}

impl Instance {
    /// In a box, as what [`Instance::handle`] gives: a future has room for all that it ever holds, and all of it is moved when it
    /// is. Who waits for a box is small.
    pub(super) fn new(inner: &Inner, deadline: Option<Nanos>) -> Boxed<'_, Result<Self, Failure>> {
        Box::pin(async move {
            let mut ctx = inner.ctx.clone();
            let lines = Arc::new(Lines::new(ctx.stdio));
            ctx.stdio = lines.clone();
            let meter = inner.settings.meter(deadline);
            let (engine, limits) = (inner.engine.wasmtime(), inner.settings.limits);
            let mut store = command::store(engine, ctx, inner.time.clone(), limits, meter)
                .map_err(|problem| Failure::alone(wasmtime::Error::msg(problem.to_string())))?;
            let state = store.data_mut();
            state.ask_by(inner.outgoing.clone());
            state.values = inner.values.clone();
            let made = async {
                Ok(match &inner.pre {
                    Pre::Two(pre) => Export::Two(pre.instantiate_async(&mut store).await?),
                    Pre::Three(pre) => Export::Three(pre.instantiate_async(&mut store).await?),
                })
            };
            match made.await {
                Ok(export) => Ok(Self { store, export, lines, made: inner.time.now(), served: 0 }),
                Err(error) => Err(Failure::of_store(error, store)),
            }
        })
    }

    /// Holds it to the limits of its next request.
    pub(super) fn hold(&mut self, inner: &Inner, deadline: Option<Nanos>) -> wasmtime::Result<()> {
        inner.settings.meter(deadline).hold(&mut self.store, inner.time.clone())
    }

    /// What it was refused of memory.
    pub(super) fn denied(&self) -> Option<u64> {
        self.store.data().book.memory().denied
    }

    /// Gives it a request; it gives its answer to `out`, and may go on after that.
    pub(super) fn handle(
        &mut self,
        mut request: Request<Incoming>,
        authority: Authority,
        origin: Origin,
        out: oneshot::Sender<Answered>,
    ) -> wasmtime::Result<Boxed<'_, wasmtime::Result<()>>> {
        let store = &mut self.store;
        Ok(match &self.export {
            Export::Two(proxy) => {
                if request.uri().authority().is_none() && !request.headers().contains_key(HOST) {
                    request.headers_mut().insert(HOST, HeaderValue::try_from(authority.as_str())?);
                }
                let scheme = if origin.tls { Scheme::Https } else { Scheme::Http };
                let mut http = store.data_mut().http();
                let request = http.new_incoming_request(scheme, request.map(coming))?;
                let out = http.new_response_outparam_from_callback(move |answer| {
                    // Nobody waits for it any more: its time was up.
                    let _ = out.send(answer.map_err(Error::from));
                })?;
                Box::pin(proxy.wasi_http_incoming_handler().call_handle(store, request, out))
            }
            Export::Three(service) => {
                let (parts, body) = request.into_parts();
                let scheme = if origin.tls { uri::Scheme::HTTPS } else { uri::Scheme::HTTP };
                let headers = FieldMap::new_immutable(store.data_mut().http().hooks, parts.headers);
                let path = parts.uri.path_and_query().cloned();
                let (request, _) = p3::Request::new(
                    parts.method,
                    Some(scheme),
                    Some(authority),
                    path,
                    headers,
                    None,
                    coming(body),
                );
                Box::pin(async move {
                    store
                        .run_concurrent(async |accessor| serve(accessor, service, request, out).await)
                        .await?
                })
            }
        })
    }
}

/// A request's whole life in an instance of WASI 0.3. Its tasks may go on when the handler has returned, and its body is made
/// by them: all of it ends before this does.
async fn serve(
    store: &Accessor<State>,
    service: &Service,
    request: p3::Request,
    out: oneshot::Sender<Answered>,
) -> wasmtime::Result<()> {
    let mut taken = None;
    let answer = match service.handle(store, request).await? {
        Ok(response) => {
            let (told, sent) = oneshot::channel();
            let sent = async { sent.await.unwrap_or(Err(Error::ConnectionTerminated)) };
            let response = store.with(|store| response.into_http(store, sent))?;
            let (held, released) = oneshot::channel();
            taken = Some(released);
            Ok(response
                .map(|body| Taken { body, ended: false, told: Some(told), _held: held }.boxed_unsync()))
        }
        Err(code) => Err(Error::from(code)),
    };
    let _ = out.send(answer);
    if let Some(taken) = taken {
        let _ = taken.await;
    }
    poll_fn(|cx| store.poll_no_interesting_tasks(cx)).await;
    Ok(())
}

/// An answer's body that says when nobody needs it any more, and whether it was taken whole.
struct Taken {
    body: WasiBody,
    ended: bool,
    told: Option<oneshot::Sender<Result<(), Error>>>,
    _held: oneshot::Sender<()>,
}

impl http_body::Body for Taken {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            let whole = self.ended || self.body.is_end_stream();
            let _ = told.send(if whole { Ok(()) } else { Err(Error::ConnectionTerminated) });
        }
    }
}
