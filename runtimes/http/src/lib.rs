//! HTTP and TLS over host-call streams: for scripts now, for components and management later.
//!
//! - [`Stream`] is a connection as HTTP libraries want it (`AsyncRead`/`AsyncWrite`), plain or with TLS ([`tls`]).
//! - [`server::serve`] answers one connection's requests, HTTP/1.1 or 2.
//! - [`client::Client`] asks: pooled connections, redirects, timeouts.
//! - [`Body`] is what is sent, whole or bit by bit, perhaps compressed; [`Incoming`] what comes.
//! - [`upgrade`] hands over the connection of a request that becomes something else.
//!
//! Promises: no peer's bytes panic, hold up another connection, or take more memory than the limits say; time is
//! the caller's ([`lunette_hostcalls::task::Time`]), and tasks are spawned where the caller says.
//!
//! Does not: listen (whoever has the listener accepts), route, know what a script is.
#![forbid(unsafe_code)]

pub mod body;
pub mod client;
mod date;
mod exec;
mod inflate;
mod pool;
pub mod server;
mod shutdown;
mod stream;
pub mod tls;
pub mod upgrade;
mod url;
mod watch;

pub use body::{Body, BoxError, Incoming};
pub use stream::{Plain, Stream};

// What is asked for from other crates is in a box: an `async fn` is compiled where it is polled, and each of this crate's
// callers would have its own copy of HTTP.
pub use lunette_hostcalls::task::Boxed;
