//! Which handler a request goes to.
//!
//! Does not: know what a route looks like; whoever has the manifest does.

use http::Request;

use super::Handler;

/// Handlers, and which of them a request is for.
pub struct Routes {
    handlers: Vec<Handler>,
    find: Option<Box<Find>>,
}

/// From a request's host (without its port; empty if it has none) and path to a handler's number. One that there is not: 404.
pub type Find = dyn Fn(&str, &str) -> usize;

impl Routes {
    pub fn new(handlers: Vec<Handler>, find: Box<Find>) -> Self {
        Self { handlers, find: Some(find) }
    }

    /// All requests go to one.
    pub fn all(handler: Handler) -> Self {
        Self { handlers: vec![handler], find: None }
    }

    pub(super) fn find<B>(&self, request: &Request<B>) -> Option<&Handler> {
        let number = match &self.find {
            Some(find) => find(host(request).unwrap_or_default(), request.uri().path()),
            None => 0,
        };
        self.handlers.get(number)
    }

    pub(super) fn handlers(&self) -> impl Iterator<Item = &Handler> {
        self.handlers.iter()
    }
}

/// The host of the request's URL, without its port.
fn host<B>(request: &Request<B>) -> Option<&str> {
    if let Some(host) = request.uri().host() {
        return Some(host);
    }
    let field = request.headers().get(http::header::HOST)?.to_str().ok()?;
    // An address of IPv6 is in brackets.
    match field.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(host),
        _ => Some(field),
    }
}
