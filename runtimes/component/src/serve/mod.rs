//! A server whose handlers are components: `wasi:http/incoming-handler` of WASI 0.2, `wasi:http/handler` of 0.3.
//!
//! - [`Handler`] is a component that answers requests, each in an instance of its own ([`Settings`] say what one may have).
//! - [`Routes`] says which requests go to which.
//! - [`Server`] takes connections and gives requests to handlers, until its listeners are closed.
//!
//! Promises: one request's fate is no other's: an instance that traps, runs for ever or eats memory ends alone, is answered
//! for (500, 504) or, once its answer has begun, has its connection cut, and is named in the log with its backtrace;
//! requests beyond [`Settings::at_once`] are refused at once (503), before anything of an instance is made. Nothing is linked
//! or looked up for a request, and when one has been answered, the next one's instance is made ahead. Asked to stop, no
//! connection is taken, and what is under way may finish.
//!
//! Does not: keep anything from one request to the next (unless [`Settings::reuse`] says so), queue, or restart.

mod answer;
mod connections;
mod handler;
mod instance;
mod lines;
mod route;
mod running;

use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll, time::Duration};

use lunette_hostcalls::{
    Ending, Log, Nanos, TcpListener,
    task::{Local, Time},
};
use lunette_http::{server, tls};
use lunette_native::{Limits, Meter, Probe};
use wasmtime::component::Component;

use self::connections::Connections;
pub use self::{
    handler::Handler,
    route::{Find, Routes},
};
use crate::Problem;

/// What a handler's requests may have.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many requests it may have at once.
    pub at_once: usize,
    /// How many requests an instance serves, one after the other. With 1 no request can see what another left.
    pub reuse: u32,
    /// What an instance may use up.
    pub limits: Limits,
    /// How long a request may take, to the end of its answer's last byte as the handler gives it. Waiting counts.
    pub time: Option<Duration>,
    /// How much a request may execute; only in an engine that counts.
    pub fuel: Option<u64>,
    /// Where samples of its instances' stacks go, if anybody wants them.
    pub probe: Option<Probe>,
}

impl Settings {
    /// For a request that has to be done by then.
    fn meter(&self, deadline: Option<Nanos>) -> Meter {
        Meter { deadline, fuel: self.fuel, probe: self.probe }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            at_once: 128,
            reuse: 1,
            limits: Limits::default(),
            time: Some(Duration::from_secs(30)),
            fuel: None,
            probe: None,
        }
    }
}

/// How connections are served, whatever answers.
#[derive(Clone)]
pub struct Front {
    /// How many there may be; more wait to be taken.
    pub connections: usize,
    pub http: server::Settings,
    pub tls: Option<tls::Server>,
    /// How long what is under way may take when the server is stopped.
    pub grace: Duration,
}

impl Default for Front {
    fn default() -> Self {
        Self {
            connections: 1024,
            http: server::Settings::default(),
            tls: None,
            grace: Duration::from_secs(30),
        }
    }
}

/// Is it a component that answers requests?
pub fn answers(component: &Component) -> bool {
    ["wasi:http/incoming-handler@0.2.12", "wasi:http/handler@0.3.0"]
        .into_iter()
        .any(|export| component.get_export_index(None, export).is_some())
}

/// Handlers, and the listeners whose requests they answer.
pub struct Server {
    local: Local,
    connections: Rc<Connections>,
}

impl Server {
    /// Serves the routes' handlers on all listeners that any of them was given.
    pub fn new(routes: Routes, time: Time, log: Arc<dyn Log>, front: Front) -> Result<Self, Problem> {
        if front.connections == 0 {
            return Err(Problem::Setup("a server that may have no connection".into()));
        }
        let mut listeners: Vec<Arc<dyn TcpListener>> = Vec::new();
        for listening in routes.handlers().flat_map(Handler::listeners) {
            if !listeners.iter().any(|known| Arc::ptr_eq(known, &listening.socket)) {
                listeners.push(listening.socket.clone());
            }
        }
        if listeners.is_empty() {
            return Err(Problem::Setup("there is nothing to listen on".into()));
        }
        let local = Local::default();
        let spawner = local.spawner();
        for handler in routes.handlers() {
            if let Some(sender) = handler.take_sender() {
                spawner.spawn(sender.run(spawner.clone()));
            }
        }
        let connections = Connections::new(routes, time, log, front, spawner.clone());
        for listener in listeners {
            spawner.spawn(connections.clone().accept(listener));
        }
        Ok(Self { local, connections })
    }

    /// Serves until it is asked to stop, and has.
    pub async fn run(&mut self) -> Ending {
        poll_fn(|cx| {
            let _ = self.local.poll(cx);
            match self.connections.have_ended() {
                true => Poll::Ready(()),
                false => {
                    self.connections.tell_end(cx.waker());
                    Poll::Pending
                }
            }
        })
        .await;
        // What did not finish in time ends here.
        self.local = Local::default();
        Ending::Exited(0)
    }
}
