//! Servers of components before clients who send and read as they like, in the fake world.
//!
//! The handlers are programs of this repository: `samples/http-component` behaves, `tests/guests/hostile` does not, and
//! `tests/guests/asks` asks others; `tests/guests/serve3` is one of WASI 0.3.

#[path = "serve/answers.rs"]
mod answers;
mod common;
#[path = "serve/hostile.rs"]
mod hostile;
#[path = "serve/outgoing.rs"]
mod outgoing;
#[path = "serve/stage.rs"]
mod stage;
#[path = "serve/third.rs"]
mod third;
