//! Which handler a request goes to.
//!
//! Promises: a route that names the request's host comes before those that name none, and of several the one with the longest
//! path; a path is the beginning of another only at a `/`.

use http::Request;

use super::Handler;

/// Requests, and who answers them.
pub struct Route {
    /// As in the request's URL, without the port; `None`: any.
    pub host: Option<String>,
    /// What the path begins with: `/`, `/api`.
    pub path: String,
    pub handler: Handler,
}

/// In the order in which they are tried.
pub(super) struct Routes(Vec<Route>);

impl Routes {
    pub(super) fn new(mut routes: Vec<Route>) -> Self {
        for route in &mut routes {
            while route.path.ends_with('/') {
                route.path.pop();
            }
        }
        routes.sort_by_key(|route| (route.host.is_none(), std::cmp::Reverse(route.path.len())));
        Self(routes)
    }

    pub(super) fn find<B>(&self, request: &Request<B>) -> Option<&Handler> {
        if let [Route { host: None, path, handler }] = &self.0[..]
            && path.is_empty()
        {
            return Some(handler);
        }
        let (host, path) = (host(request), request.uri().path());
        let route = self.0.iter().find(|route| {
            let named = route.host.as_ref().is_none_or(|name| {
                host.is_some_and(|host| host.trim_end_matches('.').eq_ignore_ascii_case(name))
            });
            named
                && path
                    .strip_prefix(&route.path[..])
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })?;
        Some(&route.handler)
    }

    pub(super) fn handlers(&self) -> impl Iterator<Item = &Handler> {
        self.0.iter().map(|route| &route.handler)
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
