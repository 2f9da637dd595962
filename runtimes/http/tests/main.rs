//! The crate's tests from outside: one program, for each would link HTTP and TLS anew.

mod client;
mod cost;
mod server;
mod stage;
mod tls;
