//! One request: from its head to its answer.
//!
//! Promises: whatever a handler does or gives back, there is an answer; what went wrong is in the log with the request's
//! id and not in the answer. A handler whose client goes away is not stopped in the middle: it is told
//! (`req.ctx.cancelled`) and runs on, within the time that it has.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use lunette_hostcalls::{Nanos, task::Sleep};
use lunette_http::{Body, Incoming};

use super::{
    answer::{self, Wrong},
    files,
    request::{self, Call},
    router::{Found, Target},
    serve::{Connection, Handler},
};
use crate::{failures::Failure, tasks};

type Work = Pin<Box<dyn Future<Output = Response<Body>>>>;

/// A request that is being answered.
pub(super) struct Handling {
    call: Rc<Call>,
    /// `None`: somebody else's by now, or at its end.
    work: Option<Work>,
    /// Made when the handler first waits.
    limit: Option<Sleep>,
    /// By how much the state grew in its goes.
    grown: i64,
}

impl Handling {
    pub(super) fn new(connection: &Rc<Connection>, request: Request<Incoming>) -> Self {
        let (parts, body) = request.into_parts();
        let call = Rc::new(Call::new(parts, body, connection.clone()));
        let work = Box::pin(answer(call.clone()));
        Self { call, work: Some(work), limit: None, grown: 0 }
    }

    fn go(&mut self, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let server = self.call.connection.server.clone();
        let settings = &server.settings;
        let memory = settings.memory.and_then(|_| server.used_memory());
        let poll = work.as_mut().poll(cx);
        if let Poll::Ready(response) = poll {
            self.work = None;
            return Poll::Ready(response);
        }
        if let (Some(limit), Some(before)) = (settings.memory, memory) {
            self.grown += server.used_memory().unwrap_or(before) as i64 - before as i64;
            if self.grown > i64::try_from(limit).unwrap_or(i64::MAX) {
                return Poll::Ready(self.stopped(StatusCode::SERVICE_UNAVAILABLE, "limit: memory"));
            }
        }
        if let Some(mut response) = self.call.head.take() {
            if self.call.parts.version >= Version::HTTP_2 {
                response.headers_mut().remove(header::CONNECTION);
            }
            // The rest of it runs by itself.
            if let Some(work) = self.work.take() {
                server.world.spawner.spawn(async move { drop(work.await) });
            }
            return Poll::Ready(response);
        }
        self.call.wait_for_head(cx.waker());
        let limit = self.limit.get_or_insert_with(|| server.world.time.sleep(settings.time));
        if Pin::new(limit).poll(cx).is_ready() {
            let (status, words) = if self.call.coming.reading.get() {
                (StatusCode::REQUEST_TIMEOUT, "limit: the body did not come in time")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "limit: time")
            };
            return Poll::Ready(self.stopped(status, words));
        }
        Poll::Pending
    }

    /// Ends the handler where it is.
    #[cold]
    fn stopped(&mut self, status: StatusCode, why: &str) -> Response<Body> {
        self.call.cancelled.set(true);
        self.work = None;
        self.call.end();
        let server = &self.call.connection.server;
        server.tell(&self.call, "error", why, &[]);
        let mut response = answer::bare(status);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        finish(&self.call, response, 0)
    }
}

impl Future for Handling {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        self.go(cx)
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        self.call.cancelled.set(true);
        let call = self.call.clone();
        self.call.connection.server.world.spawner.spawn(async move {
            let server = &call.connection.server;
            let left = server.world.time.timeout(server.settings.time, work);
            if left.await.is_none() {
                call.end();
                server.tell(&call, "error", "limit: time", &[]);
            }
        });
    }
}

/// Where a request is to go, and what comes of it.
async fn answer(call: Rc<Call>) -> Response<Body> {
    let server = call.connection.server.clone();
    let begun = if server.settings.access.is_some() { server.world.time.now() } else { 0 };
    let response = match too_large(&call) {
        true => answer::bare(StatusCode::PAYLOAD_TOO_LARGE),
        false => match &server.handler {
            Handler::Function(function) => run(&call, function.clone()).await,
            Handler::Router(router) => {
                let found = router.find(&call.parts.method, call.parts.uri.path());
                match found {
                    Found::Route(Target::Lua(function), params) => {
                        call.params.replace(params);
                        run(&call, function).await
                    }
                    Found::Route(Target::Files(dir), params) => {
                        let rest = params.into_iter().last().map(|(_, rest)| rest).unwrap_or_default();
                        files::serve(&call, &dir, &rest)
                    }
                    Found::Ours(response) => response,
                }
            }
        },
    };
    call.end();
    drain(&call);
    let response = match call.responded.get() {
        // Else it is on its way, and this one is nobody's.
        true => call.head.take().unwrap_or(response),
        false => response,
    };
    finish(&call, response, begun)
}

/// Does it say so itself?
fn too_large(call: &Call) -> bool {
    let length = call.parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > call.connection.server.settings.body)
}

/// Calls a handler.
async fn run(call: &Rc<Call>, function: mlua::Function) -> Response<Body> {
    let server = &call.connection.server;
    let failed = || {
        // What it had to do was to read a body that is too large.
        if call.coming.too_large.get() {
            return answer::bare(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let mut response = answer::bare(StatusCode::INTERNAL_SERVER_ERROR);
        if let Ok(id) = HeaderValue::from_str(call.id()) {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    };
    let Some(lua) = server.lua.try_upgrade() else { return failed() };
    let result = match lua.create_userdata(request::Request(call.clone())) {
        Ok(request) => match server.settings.cpu {
            None => tasks::call(server.world.clone(), function, request).await,
            Some(cpu) => tasks::call_within(server.world.clone(), cpu, function, request).await,
        },
        Err(error) => Err(error),
    };
    match result {
        Err(error) => {
            server.tell_failure(call, &error);
            if let Some(outgoing) = call.outgoing.get() {
                outgoing.abort("the handler failed");
            }
            match Failure::of(&error).message.contains("limit: cpu") {
                true => answer::bare(StatusCode::SERVICE_UNAVAILABLE),
                false => failed(),
            }
        }
        Ok(_) if call.responded.get() => Response::new(Body::empty()),
        Ok(values) => match answer::convert(&lua, call, values) {
            Ok(response) => response,
            Err(Wrong::Failure(words)) => {
                if !call.coming.too_large.get() {
                    server.tell(call, "error", "the handler failed", &[("error", &words)]);
                }
                failed()
            }
            Err(Wrong::Nonsense(words)) => {
                let words = format!("the handler returned {words}");
                server.tell(call, "error", &words, &[]);
                failed()
            }
        },
    }
}

/// How much of a body that nobody wants is read, and for how long: a client hears an answer only when it has sent what it
/// had to send, and a connection can't be used again before.
const UNWANTED: u64 = 256 << 10;
const UNWANTED_TIME: Duration = Duration::from_secs(5);

fn drain(call: &Rc<Call>) {
    let Some(mut rest) = call.coming.rest() else { return };
    if call.parts.headers.contains_key(header::EXPECT) {
        // It waits to be told to send. It isn't.
        return;
    }
    let world = &call.connection.server.world;
    let time = world.time.clone();
    world.spawner.spawn(async move {
        let read = async {
            let mut taken = 0;
            while let Some(Ok(data)) = rest.next().await {
                taken += data.len() as u64;
                if taken > UNWANTED {
                    break;
                }
            }
        };
        time.timeout(UNWANTED_TIME, read).await;
    });
}

/// What every answer gets.
fn finish(call: &Rc<Call>, mut response: Response<Body>, begun: Nanos) -> Response<Body> {
    let server = &call.connection.server;
    if call.parts.version >= Version::HTTP_2 {
        response.headers_mut().remove(header::CONNECTION);
    }
    if server.settings.access.is_some() {
        let status = call.status.get().unwrap_or_else(|| response.status().as_u16());
        server.tell_access(call, status, server.world.time.now().saturating_sub(begun));
    }
    response
}
