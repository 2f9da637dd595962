//! `dns`: names to addresses.
//!
//! A and AAAA, for that is what the host's resolver gives; other records answer `nil, "not supported"`.

use std::{net::IpAddr, rc::Rc};

use lunette_hostcalls::Errno;
use mlua::{IntoLuaMulti, Lua, MultiValue, Table, Value};

use super::{address, args::Args, descriptor::Sockets, fault::Fault, wait::Patience};
use crate::{errors, options::Options, world::World};

pub(super) fn open(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let sockets = Sockets::of(lua);
    let module = lua.create_table()?;
    let resolve = lua.create_async_function(move |lua, values: MultiValue| {
        let sockets = sockets.clone();
        async move { resolve(&lua, &sockets, values).await }
    })?;
    module.raw_set("resolve", resolve)?;
    Ok(Value::Table(module))
}

async fn resolve(lua: &Lua, sockets: &Rc<Sockets>, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, "resolve", values);
    let name = args.text(1)?;
    // The kind may be left out: dns.resolve(name, {timeout = 1}).
    let (kind, table) = match args.get(2) {
        Some(Value::Table(table)) => (None, Some(table.clone())),
        _ => (args.opt_text(2)?, args.get(3).and_then(Value::as_table).cloned()),
    };
    let options = Options::new(lua, "dns.resolve", table);
    let timeout = options.seconds("timeout")?;
    options.finish()?;
    let of_kind: fn(&IpAddr) -> bool = match kind.as_deref() {
        None => |_| true,
        Some("A") => IpAddr::is_ipv4,
        Some("AAAA") => IpAddr::is_ipv6,
        Some("CNAME" | "MX" | "NS" | "PTR" | "SOA" | "SRV" | "TXT") => {
            return errors::failure("not supported").into_lua_multi(lua);
        }
        Some(kind) => {
            return Err(args.fault(2, format_args!("\"A\" or \"AAAA\" expected, got \"{kind}\"")));
        }
    };
    let patience = timeout
        .map_or(Patience::ENDLESS, |timeout| Patience::for_seconds(sockets.time(), timeout.as_secs_f64()));
    let found = address::resolve(sockets, &name, patience).await.and_then(|ips| {
        let ips: Vec<_> = ips.iter().filter(|ip| of_kind(ip)).map(IpAddr::to_string).collect();
        if ips.is_empty() { Err(Errno::Noent.into()) } else { Ok(ips) }
    });
    match found {
        Ok(ips) => lua.create_sequence_from(ips)?.into_lua_multi(lua),
        Err(Fault::Timeout) => errors::failure("timeout").into_lua_multi(lua),
        Err(fault) => errors::failure(host_words(&fault)).into_lua_multi(lua),
    }
}

/// What LuaSocket says when a host's name is not found (its `socket_hoststrerror`).
fn host_words(fault: &Fault) -> String {
    match fault {
        Fault::Errno(Errno::Noent | Errno::Inval) => "host not found".into(),
        Fault::Errno(Errno::Netdown) | Fault::Timeout => "Host name lookup failure".into(),
        Fault::Errno(Errno::Io) => "Unknown server error".into(),
        other => other.words(),
    }
}

/// `socket.dns`.
pub(crate) fn of_luasocket(lua: &Lua) -> mlua::Result<Table> {
    let sockets = Sockets::of(lua);
    let dns = lua.create_table()?;
    let set = |name: &'static str, call: Call| {
        let sockets = sockets.clone();
        let function = lua.create_async_function(move |lua, values: MultiValue| {
            let sockets = sockets.clone();
            async move {
                let args = Args::new(&lua, name, values);
                let host = args.opt_text(1)?;
                if host.is_none() && (call != Call::NameInfo || args.opt_text(2)?.is_none()) {
                    return Err(match call {
                        Call::NameInfo => mlua::Error::runtime("host and serv cannot be both nil"),
                        _ => args.expected(1, "string"),
                    });
                }
                let found = match &host {
                    Some(host) => address::resolve(&sockets, host, Patience::ENDLESS).await,
                    None => Ok(Vec::new()),
                };
                call.answer(&lua, &host.unwrap_or_default(), args.opt_text(2)?, found)
            }
        })?;
        dns.raw_set(name, function)
    };
    set("toip", Call::ToIp)?;
    set("tohostname", Call::ToHostName)?;
    set("getaddrinfo", Call::AddrInfo)?;
    set("getnameinfo", Call::NameInfo)?;
    let name = sockets.world.ctx.name.clone();
    dns.raw_set("gethostname", lua.create_function(move |_, ()| Ok(name.clone()))?)?;
    Ok(dns)
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    ToIp,
    ToHostName,
    AddrInfo,
    NameInfo,
}

impl Call {
    fn answer(
        self,
        lua: &Lua,
        host: &str,
        service: Option<String>,
        found: Result<Vec<IpAddr>, Fault>,
    ) -> mlua::Result<MultiValue> {
        match (self, found) {
            (Self::ToIp | Self::ToHostName, found) => {
                // `gethostbyname` and `gethostbyaddr` know IPv4 and nothing else.
                let found = found.map(|ips| ips.into_iter().filter(IpAddr::is_ipv4).collect::<Vec<_>>());
                let literal = host.parse::<IpAddr>().ok();
                let name = match literal {
                    // Nobody can be asked for the name of an address.
                    Some(ip) if ip.is_loopback() => "localhost".to_owned(),
                    Some(ip) if self == Self::ToIp => ip.to_string(),
                    Some(_) => return errors::failure("host not found").into_lua_multi(lua),
                    None => host.to_owned(),
                };
                match found {
                    Ok(ips) if ips.is_empty() => errors::failure("host not found").into_lua_multi(lua),
                    Ok(ips) => {
                        let resolved = lua.create_table()?;
                        resolved.raw_set("name", &*name)?;
                        resolved.raw_set("alias", lua.create_table()?)?;
                        let first = if self == Self::ToIp { ips[0].to_string() } else { name };
                        resolved
                            .raw_set("ip", lua.create_sequence_from(ips.iter().map(IpAddr::to_string))?)?;
                        (first, resolved).into_lua_multi(lua)
                    }
                    Err(fault) => errors::failure(host_words(&fault)).into_lua_multi(lua),
                }
            }
            (_, Err(fault)) => errors::failure(address::lookup_words(&fault)).into_lua_multi(lua),
            (Self::AddrInfo, Ok(ips)) => {
                let list = lua.create_table()?;
                for ip in ips {
                    let entry = lua.create_table()?;
                    entry.raw_set("family", address::Family::of(ip).name())?;
                    entry.raw_set("addr", ip.to_string())?;
                    list.raw_push(entry)?;
                }
                list.into_lua_multi(lua)
            }
            // Names of addresses can't be had, so they stand for themselves, as where there is no PTR record.
            (Self::NameInfo, Ok(ips)) => {
                let names = lua.create_sequence_from(ips.iter().map(IpAddr::to_string))?;
                (names, service).into_lua_multi(lua)
            }
        }
    }
}
