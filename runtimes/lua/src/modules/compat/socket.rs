//! `socket.core`: what of LuaSocket is C, over the socket objects of `net`. The rest is LuaSocket's own Lua (the folder
//! `vendor/luasocket`).

use std::{rc::Rc, task::Poll, time::Duration};

use lunette_hostcalls::{Interest, task::give_way};
use mlua::{Function, IntoLuaMulti, Lua, MultiValue, ObjectLike, Table, Value};

use crate::{
    errors,
    modules::net::{
        address::Family,
        args::Args,
        descriptor::{Descriptor, Sockets, descriptor_of},
        dns,
        tcp::{Class, Tcp, seconds_now},
        udp::{DATAGRAM, Udp},
        wait::Patience,
    },
    world::World,
};

/// How many sockets `select` takes in one list. LuaSocket's is 1024, for want of room in a C structure.
const SETSIZE: usize = 16_384;

pub(super) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    let core = lua.create_table()?;
    core.raw_set("_VERSION", "LuaSocket 3.1.0")?;
    core.raw_set("_DATAGRAMSIZE", DATAGRAM)?;
    core.raw_set("_SETSIZE", SETSIZE)?;
    core.raw_set("_SOCKETINVALID", -1)?;
    core.raw_set("dns", dns::of_luasocket(lua)?)?;
    make(lua, &core)?;
    core.raw_set(
        "connect",
        lua.create_async_function(|lua, values| async move { connect(&lua, values).await })?,
    )?;
    core.raw_set(
        "select",
        lua.create_async_function(|lua, values| async move { select(&lua, values).await })?,
    )?;
    core.raw_set("skip", lua.create_function(skip)?)?;
    core.raw_set("__unload", lua.create_function(|_, ()| Ok(()))?)?;
    let now = world.clone();
    core.raw_set("gettime", lua.create_function(move |_, ()| Ok(seconds_now(&now)))?)?;
    let sleeper = world.clone();
    let sleep = lua.create_async_function(move |lua, values| {
        let world = sleeper.clone();
        async move {
            let seconds = Args::new(&lua, "sleep", values).number(1)?;
            match Duration::try_from_secs_f64(seconds.clamp(0.0, f64::from(i32::MAX))) {
                Ok(time) if !time.is_zero() => world.time.sleep(time).await,
                _ => give_way().await,
            }
            Ok(())
        }
    })?;
    core.raw_set("sleep", sleep)?;
    let (newtry, protect): (Function, Function) =
        lua.load(include_str!("socket_except.lua")).set_name("=socket.core").eval()?;
    core.raw_set("newtry", newtry)?;
    core.raw_set("protect", protect)?;
    Ok(Value::Table(core))
}

/// The functions that make objects. One of a family has a descriptor from the beginning.
fn make(lua: &Lua, core: &Table) -> mlua::Result<()> {
    for (name, family) in [("tcp", Family::Any), ("tcp4", Family::V4), ("tcp6", Family::V6)] {
        let tcp = move |lua: &Lua, _: MultiValue| Ok(Tcp::unconnected(&Sockets::of(lua), family));
        core.raw_set(name, lua.create_function(tcp)?)?;
    }
    for (name, family) in [("udp", Family::Any), ("udp4", Family::V4), ("udp6", Family::V6)] {
        let udp = move |lua: &Lua, _: MultiValue| Ok(Udp::new(&Sockets::of(lua), family));
        core.raw_set(name, lua.create_function(udp)?)?;
    }
    Ok(())
}

async fn connect(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, "connect", values);
    let (host, port) = (args.text(1)?, args.text(2)?);
    let (local, local_port) = (args.opt_text(3)?, args.opt_text(4)?);
    let families = [("unspec", Family::Any), ("inet", Family::V4), ("inet6", Family::V6)];
    let family = args.word(5, "unspec", &families)?;
    let tcp = Tcp::new(&Sockets::of(lua), Class::Client, family);
    let connected = async {
        if let Some(local) = local {
            tcp.bind(&local, local_port.as_deref().unwrap_or("0")).await?;
        }
        tcp.connect(&host, &port).await
    };
    match connected.await {
        Ok(()) => tcp.into_lua_multi(lua),
        Err(words) => {
            tcp.close();
            errors::failure(words).into_lua_multi(lua)
        }
    }
}

/// What stands behind the first `n` arguments.
fn skip(lua: &Lua, mut values: MultiValue) -> mlua::Result<MultiValue> {
    let Some(n) = values.front().cloned().and_then(|n| lua.coerce_integer(n).transpose()).transpose()? else {
        return Err(Args::new(lua, "skip", values).expected(1, "number"));
    };
    values.pop_front();
    let n = usize::try_from(n).unwrap_or(0).min(values.len());
    Ok(values.drain(n..).collect())
}

/// Something that `select` was given, and the socket behind it.
type Chosen = (Value, Rc<Descriptor>);

/// `select(recvt, sendt[, timeout])`: a task waits for several sockets, and for objects that have one inside.
async fn select(lua: &Lua, values: MultiValue) -> mlua::Result<MultiValue> {
    let args = Args::new(lua, "select", values);
    let sockets = Sockets::of(lua);
    let seconds = args.opt_number(3)?.unwrap_or(-1.0);
    let readers = chosen(&sockets, &args, 1)?;
    let writers = chosen(&sockets, &args, 2)?;
    let (mut dirty, mut clean) = (Vec::new(), Vec::new());
    for (object, descriptor) in readers {
        if is_dirty(&object)? { dirty.push(object) } else { clean.push((object, descriptor)) }
    }
    // Who has something to read already only looks at the others.
    let patience = Patience::for_seconds(sockets.time(), if dirty.is_empty() { seconds } else { 0.0 });
    let found = patience.wait(sockets.time(), |cx| {
        let ready = |list: &[Chosen], interest| {
            let ready = list.iter().filter(|(_, descriptor)| descriptor.poll_ready(interest, cx));
            ready.map(|(object, _)| object.clone()).collect::<Vec<_>>()
        };
        let found = (ready(&clean, Interest::Read), ready(&writers, Interest::Write));
        if found.0.is_empty() && found.1.is_empty() { Poll::Pending } else { Poll::Ready(Ok(found)) }
    });
    let found = found.await.ok();
    let timed_out = found.is_none() && dirty.is_empty();
    let (readable, writable) = found.unwrap_or_default();
    dirty.extend(readable);
    let (readable, writable) = (both_ways(lua, dirty)?, both_ways(lua, writable)?);
    match timed_out {
        true => (readable, writable, "timeout").into_lua_multi(lua),
        false => (readable, writable).into_lua_multi(lua),
    }
}

/// Those of a list that have an open socket.
fn chosen(sockets: &Sockets, args: &Args<'_>, n: usize) -> mlua::Result<Vec<Chosen>> {
    let list = match args.get(n) {
        None => return Ok(Vec::new()),
        Some(Value::Table(list)) => list,
        Some(_) => return Err(args.expected(n, "table")),
    };
    let mut chosen = Vec::new();
    for i in 1.. {
        let object: Value = list.get(i)?;
        if object.is_nil() {
            break;
        }
        let descriptor = match is_ours(&object) {
            true => descriptor_of(&object),
            false => called(&object, "getfd")?
                .and_then(|number| number.as_i64().or(number.as_f64().map(|number| number as i64)))
                .and_then(|number| sockets.find(u32::try_from(number).ok()?)),
        };
        if let Some(descriptor) = descriptor.filter(|descriptor| descriptor.is_open()) {
            if chosen.len() == SETSIZE {
                return Err(args.fault(n, format_args!("too many sockets")));
            }
            chosen.push((object, descriptor));
        }
    }
    Ok(chosen)
}

fn is_ours(object: &Value) -> bool {
    object.as_userdata().is_some_and(|object| object.is::<Tcp>() || object.is::<Udp>())
}

fn is_dirty(object: &Value) -> mlua::Result<bool> {
    if let Some(object) = object.as_userdata().filter(|_| is_ours(object)) {
        return Ok(object.borrow::<Tcp>().is_ok_and(|tcp| tcp.dirty()));
    }
    Ok(called(object, "dirty")?.is_some_and(|is| !matches!(is, Value::Nil | Value::Boolean(false))))
}

/// What an object's method answers, if it has it.
fn called(object: &Value, method: &str) -> mlua::Result<Option<Value>> {
    let function: Value = match object {
        Value::Table(table) => table.get(method)?,
        Value::UserData(object) => object.get(method)?,
        _ => return Ok(None),
    };
    match function {
        Value::Function(function) => function.call(object).map(Some),
        _ => Ok(None),
    }
}

/// A list that also tells of each object where it is.
fn both_ways(lua: &Lua, objects: Vec<Value>) -> mlua::Result<Table> {
    let list = lua.create_table()?;
    for (i, object) in objects.into_iter().enumerate() {
        list.raw_set(i + 1, &object)?;
        list.raw_set(object, i + 1)?;
    }
    Ok(list)
}
