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
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks, WasiHttpView,
    p2::bindings::{self as two, LinkOptions},
    p3::bindings as three,
};

pub(crate) use self::outgoing::coming;
pub use self::outgoing::{Outgoing, Sender};
use crate::{State, link::Interface};

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
    /// Has its requests to others go out there. Without it they are denied.
    pub(crate) fn ask_by(&mut self, outgoing: Outgoing) {
        self.http.hooks = Hooks(Some(outgoing));
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http.hooks, table: &mut self.table, ctx: &mut self.http.ctx }
    }
}

/// What there is of wasi:http, by name.
pub(crate) const INTERFACES: &[Interface] = &[
    Interface {
        name: "wasi:http/types",
        version: "0.2.12",
        add: |linker| {
            let options = LinkOptions::default();
            two::http::types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), State::http)
        },
    },
    Interface {
        name: "wasi:http/outgoing-handler",
        version: "0.2.12",
        add: |linker| two::http::outgoing_handler::add_to_linker::<_, WasiHttp>(linker, State::http),
    },
    Interface {
        name: "wasi:http/types",
        version: "0.3.0",
        add: |linker| three::http::types::add_to_linker::<_, WasiHttp>(linker, State::http),
    },
    Interface {
        name: "wasi:http/client",
        version: "0.3.0",
        add: |linker| three::http::client::add_to_linker::<_, WasiHttp>(linker, State::http),
    },
];
