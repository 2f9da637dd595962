//! WASI 0.3.0, and so every 0.3: `wasi:cli`, `clocks`, `filesystem`, `random`, `sockets`, with streams and futures.
//!
//! Promises:
//! - **Nothing blocks the others.** What waits is a future on our own executor, and waits beside whatever else the guest has
//!   under way; what is cancelled or dropped in the middle stops there, and leaves no timer and no waker behind.
//! - **Nothing panics, and no work is by the guest's word.** Bytes of a stream go straight between the guest's memory and
//!   the service, at most 1 MiB a time (a file: 64 MiB); no buffer of a size that a guest names is made. Less than was
//!   asked for is a short read or write, as ever. Handles are counted by the engine, in its store.
//! - **What is granted is checked where it is used**, by `hostcalls`: paths by its walk, peers by its `Network`.
//! - **A stream has one outcome.** The future beside it says `ok` at its end, also when the reader leaves early, or the error
//!   that ended it.
//!
//! Where WASI is silent this does what wasmtime 48 does.
//!
//! What wasmtime 48 cannot do here:
//! - A function that is `async` in WIT has to be a future for the host too, though no file system here ever waits: each such call
//!   costs an allocation or two.
//! - A function that is not `async` in WIT and has to wait (random bytes from an unseeded generator) stops the whole instance,
//!   its other tasks too, until it returns.
//! - The future of `run_concurrent` can't watch a clock beside the guest: a deadline has to drop it as a whole ([`run`]).
//! - Threads that a task has spawned do not keep a program alive; its tasks do.
//!
//! Does not: `wasi:clocks/timezone` (unstable), `wasi:http`, Unicode names in `ip-name-lookup`; IP options are kept and told
//! again, for the network has its own.

#![expect(unreachable_pub, reason = "bindings give names of their own to the types of resources")]

mod cli;
mod clocks;
pub(crate) mod crowd;
mod filesystem;
mod random;
pub(crate) mod run;
mod sockets;
mod stream;

use lunette_hostcalls::Errno;
use wasmtime::component::{HasSelf, ResourceTableError};

use crate::{State, link::Interface};

pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/p3",
        world: "lunette:component/p3",
        imports: {
            "wasi:cli/stdin": store | trappable,
            "wasi:cli/stdout": store | trappable,
            "wasi:cli/stderr": store | trappable,
            "wasi:filesystem/types.[method]descriptor.read-via-stream": store | trappable,
            "wasi:filesystem/types.[method]descriptor.write-via-stream": store | trappable,
            "wasi:filesystem/types.[method]descriptor.append-via-stream": store | trappable,
            "wasi:filesystem/types.[method]descriptor.read-directory": store | trappable,
            "wasi:random/random": async | trappable,
            "wasi:sockets/types.[method]tcp-socket.listen": store | trappable,
            "wasi:sockets/types.[method]tcp-socket.send": store | trappable,
            "wasi:sockets/types.[method]tcp-socket.receive": store | trappable,
            default: trappable,
        },
        exports: { default: async | store },
        trappable_error_type: {
            "wasi:filesystem/types.error-code" => super::filesystem::Failure,
            "wasi:sockets/types.error-code" => super::sockets::Failure,
        },
        with: {
            "wasi:cli/terminal-input.terminal-input": crate::terminal::Terminal,
            "wasi:cli/terminal-output.terminal-output": crate::terminal::Terminal,
            "wasi:filesystem/types.descriptor": super::filesystem::Descriptor,
            "wasi:sockets/types.tcp-socket": super::sockets::tcp::TcpSocket,
            "wasi:sockets/types.udp-socket": super::sockets::udp::UdpSocket,
        },
    });
}

use bindings::wasi::{
    cli as cli_wit, clocks as clocks_wit, filesystem as files_wit, random as random_wit, sockets as net_wit,
};

macro_rules! interfaces {
    ($($name:literal => $($module:ident)::+,)*) => {
        &[$(Interface {
            name: $name,
            version: "0.3.0",
            add: |linker| $($module)::+::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        }),*]
    };
}

/// All of them, so that a component is given what it imports and nothing else.
pub(crate) const INTERFACES: &[Interface] = interfaces! {
    "wasi:cli/environment" => cli_wit::environment,
    "wasi:cli/exit" => cli_wit::exit,
    "wasi:cli/stderr" => cli_wit::stderr,
    "wasi:cli/stdin" => cli_wit::stdin,
    "wasi:cli/stdout" => cli_wit::stdout,
    "wasi:cli/terminal-input" => cli_wit::terminal_input,
    "wasi:cli/terminal-output" => cli_wit::terminal_output,
    "wasi:cli/terminal-stderr" => cli_wit::terminal_stderr,
    "wasi:cli/terminal-stdin" => cli_wit::terminal_stdin,
    "wasi:cli/terminal-stdout" => cli_wit::terminal_stdout,
    "wasi:cli/types" => cli_wit::types,
    "wasi:clocks/monotonic-clock" => clocks_wit::monotonic_clock,
    "wasi:clocks/system-clock" => clocks_wit::system_clock,
    "wasi:clocks/types" => clocks_wit::types,
    "wasi:filesystem/preopens" => files_wit::preopens,
    "wasi:filesystem/types" => files_wit::types,
    "wasi:random/insecure" => random_wit::insecure,
    "wasi:random/insecure-seed" => random_wit::insecure_seed,
    "wasi:random/random" => random_wit::random,
    "wasi:sockets/ip-name-lookup" => net_wit::ip_name_lookup,
    "wasi:sockets/types" => net_wit::types,
};

/// Why a function fails: the guest hears about it by a code of its interface, or it ends.
#[derive(Debug)]
pub enum Fault<C> {
    Told(C),
    Trap(wasmtime::Error),
}

impl<C> Fault<C> {
    fn told(self) -> wasmtime::Result<C> {
        match self {
            Self::Told(code) => Ok(code),
            Self::Trap(error) => Err(error),
        }
    }
}

impl<C: From<Errno>> From<Errno> for Fault<C> {
    fn from(errno: Errno) -> Self {
        Self::Told(errno.into())
    }
}

impl<C: From<Errno>> From<ResourceTableError> for Fault<C> {
    /// One handle too many is told; one that is not there is the guest's end.
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => Errno::Mfile.into(),
            error => Self::Trap(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
