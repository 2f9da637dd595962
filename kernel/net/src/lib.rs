//! The network: IPv4 and IPv6, TCP, UDP and what they stand on, over any device that carries frames.
//!
//! ```text
//!  hostcalls::Net ──▶ Stack ──▶ resolve ──▶ Stack
//!                       └────▶ tcp, listener, udp ──▶ hub (slots, flows, timers) ──▶ smoltcp ──▶ device
//! ```
//!
//! Promises: nothing that a peer or a guest does panics, waits, or takes more memory than [`Config::memory`]; a
//! frame is looked up, not offered to every socket; an idle stack asks for no poll; whoever waits is woken when what
//! he waits for is there, and not before.
//!
//! Does not: read a clock other than the one it is given, start a thread, wait for an interrupt (its host does, and
//! calls [`Stack::poll`]), forward packets, put fragments together, look for duplicates of its own addresses, or hide
//! them (an address of IPv6 shows the device's, RFC 4291, appendix A).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub use config::{Config, V4, V6};
pub use lane::NoDevice;
pub use smoltcp;
pub use stack::Stack;
pub use status::{Lease, Status};

mod address;
mod config;
mod demux;
mod dhcp;
mod hub;
mod lane;
mod listener;
mod memory;
mod resolve;
mod slot;
mod stack;
mod status;
mod tcp;
mod udp;
mod wakers;
