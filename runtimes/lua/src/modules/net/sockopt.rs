//! Options of sockets, by LuaSocket's names. Those that mean something here are done (`keepalive`, `tcp-nodelay`); those
//! that would only change how a host does its work (buffer sizes, `reuseaddr`, …) are taken and given back; the others
//! (multicast) fail as `setsockopt` does.

use std::time::Duration;

use mlua::{IntoLuaMulti, Lua, MultiValue, Value};

use super::{
    args::Args,
    descriptor::{Descriptor, Kind},
    fault::Fault,
};
use crate::errors;

#[derive(Clone, Copy, PartialEq)]
enum Of {
    Boolean,
    Integer,
    Linger,
    /// Why a connection could not be made: can only be asked.
    Error,
    /// Can't be had here.
    Nothing,
}

const TCP: &[(&str, Of)] = &[
    ("keepalive", Of::Boolean),
    ("reuseaddr", Of::Boolean),
    ("reuseport", Of::Boolean),
    ("tcp-nodelay", Of::Boolean),
    ("tcp-keepidle", Of::Integer),
    ("tcp-keepcnt", Of::Integer),
    ("tcp-keepintvl", Of::Integer),
    ("ipv6-v6only", Of::Boolean),
    ("linger", Of::Linger),
    ("error", Of::Error),
    ("recv-buffer-size", Of::Integer),
    ("send-buffer-size", Of::Integer),
    ("tcp-defer-accept", Of::Boolean),
    ("tcp-fastopen", Of::Integer),
    ("tcp-fastopen-connect", Of::Integer),
];

const UDP: &[(&str, Of)] = &[
    ("dontroute", Of::Boolean),
    ("broadcast", Of::Boolean),
    ("reuseaddr", Of::Boolean),
    ("reuseport", Of::Boolean),
    ("ip-multicast-if", Of::Nothing),
    ("ip-multicast-ttl", Of::Nothing),
    ("ip-multicast-loop", Of::Nothing),
    ("ip-add-membership", Of::Nothing),
    ("ip-drop-membership", Of::Nothing),
    ("ipv6-unicast-hops", Of::Nothing),
    ("ipv6-multicast-hops", Of::Nothing),
    ("ipv6-multicast-loop", Of::Nothing),
    ("ipv6-add-membership", Of::Nothing),
    ("ipv6-drop-membership", Of::Nothing),
    ("ipv6-v6only", Of::Boolean),
    ("error", Of::Error),
    ("recv-buffer-size", Of::Integer),
    ("send-buffer-size", Of::Integer),
];

/// When a silent peer is asked whether it lives: Linux' own time.
const KEEP_ALIVE: Duration = Duration::from_secs(7200);

fn find(args: &Args<'_>, tcp: bool, get: bool) -> mlua::Result<(&'static str, Of)> {
    let name = args.text(1)?;
    let known = if tcp { TCP } else { UDP };
    let found = known.iter().find(|(known, of)| *known == name && (get || *of != Of::Error));
    found.copied().ok_or_else(|| {
        let name: String = name.chars().take(35).collect();
        args.fault(1, format_args!("unsupported option `{name}'"))
    })
}

pub(crate) fn set(
    lua: &Lua,
    tcp: bool,
    descriptor: Option<&Descriptor>,
    values: MultiValue,
) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, "setoption", values);
    let (name, of) = find(&args, tcp, false)?;
    let value = match of {
        Of::Boolean => Value::Boolean(args.boolean(2)?),
        Of::Integer => Value::Integer(args.as_number(2)?.unwrap_or_default() as i64),
        Of::Linger => linger(lua, &args)?,
        Of::Error | Of::Nothing => Value::Nil,
    };
    let Some(descriptor) = descriptor.filter(|_| of != Of::Nothing) else {
        return errors::failure("setsockopt failed").into_lua_multi(lua);
    };
    descriptor.options.borrow_mut().insert(name, value);
    apply(descriptor);
    1.into_lua_multi(lua)
}

fn linger(lua: &Lua, args: &Args<'_>) -> mlua::Result<Value> {
    let Some(Value::Table(table)) = args.get(2) else { return Err(args.expected(2, "table")) };
    let Value::Boolean(on) = table.get("on")? else {
        return Err(args.fault(2, format_args!("boolean 'on' field expected")));
    };
    let Some(timeout) = lua.coerce_integer(table.get("timeout")?)? else {
        return Err(args.fault(2, format_args!("number 'timeout' field expected")));
    };
    let copy = lua.create_table()?;
    copy.raw_set("on", on)?;
    copy.raw_set("timeout", timeout)?;
    Ok(Value::Table(copy))
}

/// Tells a connection what was asked of it, also before it was one.
pub(crate) fn apply(descriptor: &Descriptor) {
    let options = descriptor.options.borrow();
    descriptor.with(|kind| {
        let stream = match kind {
            Kind::Stream(stream) => stream.clone(),
            Kind::Tls(stream) => stream.borrow().socket().clone(),
            _ => return,
        };
        if let Some(Value::Boolean(on)) = options.get("tcp-nodelay") {
            stream.set_nodelay(*on);
        }
        if let Some(Value::Boolean(on)) = options.get("keepalive") {
            let after = match options.get("tcp-keepidle") {
                Some(Value::Integer(seconds)) if *seconds > 0 => Duration::from_secs(*seconds as u64),
                _ => KEEP_ALIVE,
            };
            stream.set_keep_alive(on.then(|| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)));
        }
    });
}

pub(crate) fn get(
    lua: &Lua,
    tcp: bool,
    descriptor: Option<&Descriptor>,
    values: MultiValue,
) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, "getoption", values);
    let (name, of) = find(&args, tcp, true)?;
    let Some(descriptor) = descriptor.filter(|_| of != Of::Nothing) else {
        return errors::failure("getsockopt failed").into_lua_multi(lua);
    };
    if of == Of::Error {
        let error = descriptor.with(|kind| match kind {
            Kind::Stream(stream) => stream.connected().err(),
            _ => None,
        });
        let error = error.filter(|errno| *errno != lunette_hostcalls::Errno::Again);
        return error.map(|errno| Fault::from(errno).words()).into_lua_multi(lua);
    }
    let set = descriptor.options.borrow().get(name).cloned();
    match (set, of) {
        (Some(value), _) => value.into_lua_multi(lua),
        // Small pieces are sent at once, unless it is said otherwise.
        (None, Of::Boolean) => (name == "tcp-nodelay").into_lua_multi(lua),
        (None, Of::Linger) => {
            let off = lua.create_table()?;
            off.raw_set("on", false)?;
            off.raw_set("timeout", 0)?;
            off.into_lua_multi(lua)
        }
        (None, _) => 0.into_lua_multi(lua),
    }
}
