//! wasi:http for one instance: what it asks of others, and what it is asked.
//!
//! Fields, bodies, requests and answers are wasmtime's own (`vendor/`), for WASI 0.2 and for 0.3. What is here joins them to
//! `lunette-http`: requests of the instance's go out by [`Outgoing`]; those that come are [`crate::serve`]'s.
//!
//! Promises: a field that belongs to a connection, not to a message (`connection`, `host`, `transfer-encoding` and their
//! like), is neither shown to the instance nor taken from it.
//!
//! Does not: informational answers (`send-informational` traps), CONNECT, or upgrades.

mod outgoing;

use http::{HeaderName, Request};
use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

pub(crate) use self::outgoing::coming;
pub use self::outgoing::{Outgoing, Sender};
use crate::State;

/// HTTP's part of a [`State`].
#[derive(Default)]
pub(crate) struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

#[derive(Default)]
struct Hooks(Option<Outgoing>);

/// As its release has them, but made once.
static FORBIDDEN: [HeaderName; 9] = DEFAULT_FORBIDDEN_HEADERS;

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        FORBIDDEN.contains(name)
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<outgoing::Answer> {
        match &self.0 {
            Some(outgoing) => outgoing.send(request, options),
            None => Box::new(async { Err(Error::HttpRequestDenied) }),
        }
    }
}

impl State {
    /// The same, whose requests to others go out there. Without it they are denied.
    #[must_use]
    pub fn asking(mut self, outgoing: Outgoing) -> Self {
        self.http.hooks = Hooks(Some(outgoing));
        self
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http.hooks, table: &mut self.table, ctx: &mut self.http.ctx }
    }
}

/// Provides `wasi:http/types` and `outgoing-handler` of 0.2, and `types` and `client` of 0.3.
pub fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)
}
