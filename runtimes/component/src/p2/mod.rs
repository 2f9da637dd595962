//! WASI 0.2.12, and so every 0.2: `wasi:cli`, `clocks`, `filesystem`, `io`, `random`, `sockets`; and the drafts `wasi:config` and
//! `wasi:keyvalue`.
//!
//! Promises:
//! - **Nothing blocks the others.** What waits is an `async` function or a `pollable`, and waits on our own executor; what never waits is
//!   no future at all. A `pollable` of a time that is past gives way once, so that a guest that only asks lets the world go on.
//! - **Nothing panics, and no work is by the guest's word.** A buffer is as large as what there is to put in it, and at most
//!   [`MAX_PIECE`] (random bytes: 16 MiB); less than was asked for is a short read or write, as ever.
//! - **What is granted is checked where it is used**, by `hostcalls`: paths by its walk, peers by its `Network`.
//!
//! Where WASI is silent this does what wasmtime 48 does: what can't be done is an error code if the interface has one, else a trap.
//!
//! Does not: `wasi:clocks/timezone` (unstable), Unicode names in `ip-name-lookup`, IP options (kept, and told again: the
//! network has its own).
#![expect(unreachable_pub, reason = "bindings give names of their own to the types of resources")]

mod cli;
mod clocks;
mod config;
mod fault;
mod filesystem;
pub(crate) mod keyvalue;
mod random;
mod sockets;
mod stdio;

use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi_io::{
    bindings::wasi::io,
    streams::{StreamError, StreamResult},
};

use crate::{State, link::Interface};

pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/p2",
        world: "lunette:component/p2",
        imports: {
            "wasi:random/random.get-random-bytes": async | trappable,
            "wasi:random/random.get-random-u64": async | trappable,
            default: trappable,
        },
        trappable_error_type: {
            "wasi:filesystem/types.error-code" => super::fault::Fault,
            "wasi:keyvalue/store.error" => super::keyvalue::Fault,
            "wasi:sockets/network.error-code" => super::sockets::Fault,
        },
        with: {
            "wasi:io/poll": wasmtime_wasi_io::bindings::wasi::io::poll,
            "wasi:io/streams": wasmtime_wasi_io::bindings::wasi::io::streams,
            "wasi:io/error": wasmtime_wasi_io::bindings::wasi::io::error,
            "wasi:cli/terminal-input.terminal-input": crate::terminal::Terminal,
            "wasi:cli/terminal-output.terminal-output": crate::terminal::Terminal,
            "wasi:filesystem/types.descriptor": super::filesystem::Descriptor,
            "wasi:filesystem/types.directory-entry-stream": super::filesystem::Entries,
            "wasi:keyvalue/store.bucket": super::keyvalue::Bucket,
            "wasi:sockets/network.network": super::sockets::Network,
            "wasi:sockets/ip-name-lookup.resolve-address-stream": super::sockets::lookup::Addresses,
            "wasi:sockets/tcp.tcp-socket": super::sockets::tcp::TcpSocket,
            "wasi:sockets/udp.udp-socket": super::sockets::udp::UdpSocket,
            "wasi:sockets/udp.incoming-datagram-stream": super::sockets::udp::Incoming,
            "wasi:sockets/udp.outgoing-datagram-stream": super::sockets::udp::Outgoing,
        },
    });
}

use bindings::{
    LinkOptions,
    wasi::{
        cli as cli_wit, clocks as clocks_wit, config as config_wit, filesystem as files_wit,
        keyvalue as keyvalue_wit, random as random_wit, sockets as net_wit,
    },
};

/// The most that one call reads, or may write, in bytes.
pub(crate) const MAX_PIECE: usize = 64 << 10;

/// Interfaces of this crate's own bindings.
macro_rules! own {
    ($version:literal: $($name:literal => $($module:ident)::+,)*) => {
        [$(Interface {
            name: $name,
            version: $version,
            add: |linker| $($module)::+::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        }),*]
    };
}

/// What there is, by name: each is linked only for those that import it.
pub(crate) const INTERFACES: &[&[Interface]] = &[
    &own! { "0.2.12":
        "wasi:cli/environment" => cli_wit::environment,
        "wasi:cli/exit" => cli_wit::exit,
        "wasi:cli/stdin" => cli_wit::stdin,
        "wasi:cli/stdout" => cli_wit::stdout,
        "wasi:cli/stderr" => cli_wit::stderr,
        "wasi:cli/terminal-input" => cli_wit::terminal_input,
        "wasi:cli/terminal-output" => cli_wit::terminal_output,
        "wasi:cli/terminal-stdin" => cli_wit::terminal_stdin,
        "wasi:cli/terminal-stdout" => cli_wit::terminal_stdout,
        "wasi:cli/terminal-stderr" => cli_wit::terminal_stderr,
        "wasi:clocks/monotonic-clock" => clocks_wit::monotonic_clock,
        "wasi:clocks/wall-clock" => clocks_wit::wall_clock,
        "wasi:filesystem/types" => files_wit::types,
        "wasi:filesystem/preopens" => files_wit::preopens,
        "wasi:random/random" => random_wit::random,
        "wasi:random/insecure" => random_wit::insecure,
        "wasi:random/insecure-seed" => random_wit::insecure_seed,
        "wasi:sockets/instance-network" => net_wit::instance_network,
        "wasi:sockets/ip-name-lookup" => net_wit::ip_name_lookup,
        "wasi:sockets/tcp" => net_wit::tcp,
        "wasi:sockets/tcp-create-socket" => net_wit::tcp_create_socket,
        "wasi:sockets/udp" => net_wit::udp,
        "wasi:sockets/udp-create-socket" => net_wit::udp_create_socket,
    },
    &own! { "0.2.0-rc.1": "wasi:config/store" => config_wit::store, },
    &own! { "0.2.0-draft":
        "wasi:keyvalue/store" => keyvalue_wit::store,
        "wasi:keyvalue/atomics" => keyvalue_wit::atomics,
        "wasi:keyvalue/batch" => keyvalue_wit::batch,
    },
    &[
        Interface {
            name: "wasi:io/error",
            version: "0.2.12",
            add: |linker| io::error::add_to_linker::<_, Table>(linker, table),
        },
        Interface {
            name: "wasi:io/poll",
            version: "0.2.12",
            add: |linker| io::poll::add_to_linker::<_, Table>(linker, table),
        },
        Interface {
            name: "wasi:io/streams",
            version: "0.2.12",
            add: |linker| io::streams::add_to_linker::<_, Table>(linker, table),
        },
        Interface { name: "wasi:sockets/network", version: "0.2.12", add: add_network },
    ],
];

fn add_network(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut options = LinkOptions::default();
    options.network_error_code(true);
    net_wit::network::add_to_linker::<_, HasSelf<State>>(linker, &(&options).into(), |state| state)
}

/// `wasi:io` needs nothing of a state but its table.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

fn table(state: &mut State) -> &mut ResourceTable {
    &mut state.table
}

/// How much may be written at once: what `check-write` said last.
#[derive(Default)]
struct Permit(usize);

impl Permit {
    fn give(&mut self, bytes: usize) -> usize {
        self.0 = bytes.min(MAX_PIECE);
        self.0
    }

    /// Uses it up. A trap: more than was permitted, as the interface has it.
    fn take(&mut self, bytes: usize) -> StreamResult<()> {
        if bytes > std::mem::take(&mut self.0) {
            return Err(StreamError::trap("a write of more bytes than check-write permitted"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
