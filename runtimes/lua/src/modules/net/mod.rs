//! The network below HTTP: `net`, `dns`, and the socket objects that `socket` and `ssl` show as well.
//!
//! - [`tcp`] and [`udp`] are the objects; a [`descriptor`] is the open socket behind one, and says whose it is.
//! - [`wait`]: tasks wait at sockets, in turn and as long as they have patience. [`address`]: where to.
//!
//! Promises: a call that waits suspends its task and no other; one task's reads and writes stay in one piece, however many
//! tasks use the socket; a handshake is made by whoever first uses the connection, so a slow client holds up only itself;
//! what is read is bounded.

use std::{net::SocketAddr, rc::Rc};

use lunette_hostcalls::Errno;
use lunette_http::tls;
use mlua::{IntoLuaMulti, Lua, MultiValue, Table, Value};

use super::{Made, Module};
use crate::{errors, options::Options, world::World};

pub(crate) mod address;
pub(crate) mod args;
mod buffer;
pub(crate) mod descriptor;
pub(crate) mod dns;
pub(crate) mod fault;
mod sockopt;
pub(crate) mod tcp;
pub(crate) mod tls_options;
pub(crate) mod udp;
pub(crate) mod wait;

use address::Family;
use args::Args;
use descriptor::Sockets;
use fault::Fault;
use tcp::{Class, Side, Tcp};
use udp::Udp;
use wait::Patience;

pub(super) const MODULES: &[Module] = &[
    Module { name: "net", made: Made::Native(open) },
    Module { name: "dns", made: Made::Native(dns::open) },
];

/// What is dialled, and what is listened for.
#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Tcp,
    Udp,
    Tls,
}

const PROTOCOLS: &[(&str, Protocol)] =
    &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("tls", Protocol::Tls)];

fn open(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    module
        .raw_set("dial", lua.create_async_function(|lua, values| async move { dial(&lua, values).await })?)?;
    module.raw_set(
        "listen",
        lua.create_async_function(|lua, values| async move { listen(&lua, values).await })?,
    )?;
    module
        .raw_set("udp", lua.create_async_function(|lua, values| async move { udp(&lua, values).await })?)?;
    Ok(Value::Table(module))
}

fn table(args: &Args<'_>, n: usize) -> mlua::Result<Option<Table>> {
    match args.get(n) {
        None => Ok(None),
        Some(Value::Table(table)) => Ok(Some(table.clone())),
        Some(_) => Err(args.expected(n, "table")),
    }
}

fn protocol(args: &Args<'_>) -> mlua::Result<Protocol> {
    args.string(1)?;
    args.word(1, "", PROTOCOLS)
}

fn split<'a>(args: &Args<'_>, n: usize, text: &'a str) -> mlua::Result<(&'a str, u16)> {
    address::split(text).ok_or_else(|| {
        args.fault(n, format_args!("\"{text}\" is no address: write \"host:port\" or \":port\""))
    })
}

fn failed(lua: &Lua, fault: &Fault) -> mlua::Result<MultiValue> {
    errors::failure(fault.words()).into_lua_multi(lua)
}

/// `net.dial("tcp"|"udp"|"tls", "host:port"[, {timeout, max, sni, ca, alpn, verify}])`
async fn dial(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, "dial", values);
    let protocol = protocol(&args)?;
    let text = args.text(2)?;
    let (host, port) = split(&args, 2, &text)?;
    let host = if host.is_empty() { "localhost" } else { host };
    let options = Options::new(lua, "net.dial", table(&args, 3)?);
    let timeout = options.seconds("timeout")?;
    let sockets = Sockets::of(lua);
    let most = if protocol == Protocol::Udp { None } else { options.get("max")? };
    let client = match protocol {
        Protocol::Tls => {
            let sni: Option<String> = options.get("sni")?;
            Some((tls_options::client(lua, &options)?, sni))
        }
        _ => None,
    };
    options.finish()?;
    let patience = timeout
        .map_or(Patience::ENDLESS, |timeout| Patience::for_seconds(sockets.time(), timeout.as_secs_f64()));
    let addresses = match address::addresses(&sockets, host, port, Family::Any, patience).await {
        Ok(addresses) => addresses,
        // What is no name is not found.
        Err(Fault::Errno(Errno::Inval)) => return failed(lua, &Errno::Noent.into()),
        Err(fault) => return failed(lua, &fault),
    };
    if protocol == Protocol::Udp {
        let udp = Udp::new(&sockets, Family::Any);
        return match udp.connect_to(&addresses) {
            Ok(()) => udp.into_lua_multi(lua),
            Err(fault) => failed(lua, &fault),
        };
    }
    let sock = Tcp::new(&sockets, Class::Client, Family::Any);
    sock.set_max_read(most.unwrap_or(tcp::MAX_READ));
    sock.set_host(host);
    let dialled = async {
        // First, so that nobody is dialled for nothing.
        let client = client.map(|(client, sni)| client.map(|client| (client, sni))).transpose()?;
        sock.connect_to(&addresses, || patience).await?;
        if let Some((client, sni)) = client {
            if let Some(sni) = sni {
                sock.set_host(&sni);
            }
            sock.begin_tls(Side::Client(client))?;
            sock.handshake(patience).await?;
        }
        Ok(())
    };
    match dialled.await {
        Ok(()) => sock.into_lua_multi(lua),
        Err(fault) => {
            sock.close();
            failed(lua, &fault)
        }
    }
}

/// `net.listen("tcp"|"udp"|"tls", address[, {backlog, max, cert, key, alpn}])`
async fn listen(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, "listen", values);
    let protocol = protocol(&args)?;
    let text = args.text(2)?;
    let (host, port) = split(&args, 2, &text)?;
    let options = Options::new(lua, "net.listen", table(&args, 3)?);
    let sockets = Sockets::of(lua);
    if protocol == Protocol::Udp {
        options.finish()?;
        return bind_udp(lua, &sockets, host, port).await;
    }
    let (backlog, most) = (options.get("backlog")?, options.get("max")?);
    let server = match protocol {
        Protocol::Tls => {
            let server = tls_options::server(lua, &options)?;
            Some(server.ok_or_else(|| options.fault(format_args!("tls needs a cert and a key")))?)
        }
        _ => None,
    };
    options.finish()?;
    let server: Option<tls::Server> = match server.transpose() {
        Ok(server) => server,
        Err(fault) => return failed(lua, &fault),
    };
    let sock = Tcp::new(&sockets, Class::Server, Family::Any);
    sock.set_max_read(most.unwrap_or(tcp::MAX_READ));
    if let Some(server) = server {
        sock.set_server(server);
    }
    let addresses = match places(&sockets, host, port).await {
        Ok(addresses) => addresses,
        Err(fault) => return failed(lua, &fault),
    };
    let backlog = backlog.unwrap_or(BACKLOG);
    let mut last = Fault::Closed;
    for at in addresses {
        match sock.bind_once(at, backlog).and_then(|()| sock.listen(backlog)) {
            Ok(()) => return sock.into_lua_multi(lua),
            Err(fault) => last = fault,
        }
    }
    sock.close();
    failed(lua, &last)
}

/// How many connections wait to be accepted.
const BACKLOG: usize = 128;

/// `net.udp([address])`: without one, a port of the host's choice, to send from.
async fn udp(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, "udp", values);
    let text = args.opt_text(1)?.unwrap_or_else(|| "0.0.0.0:0".into());
    let (host, port) = split(&args, 1, &text)?;
    bind_udp(lua, &Sockets::of(lua), host, port).await
}

async fn bind_udp(lua: &Lua, sockets: &Rc<Sockets>, host: &str, port: u16) -> mlua::Result<MultiValue> {
    let addresses = match places(sockets, host, port).await {
        Ok(addresses) => addresses,
        Err(fault) => return failed(lua, &fault),
    };
    let udp = Udp::new(sockets, Family::Any);
    let mut last = Fault::Closed;
    for at in addresses {
        match udp.bind(at) {
            Ok(()) => return udp.into_lua_multi(lua),
            Err(fault) => last = fault,
        }
    }
    failed(lua, &last)
}

/// Where to listen for `host`; no host is all addresses of both families.
async fn places(sockets: &Sockets, host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    if host.is_empty() || host == "*" {
        return Ok(vec![SocketAddr::new(Family::V6.unspecified(), port)]);
    }
    address::addresses(sockets, host, port, Family::Any, Patience::ENDLESS).await
}
