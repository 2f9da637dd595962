//! `ssl`, in the shape of LuaSec: contexts, and connections of `socket`'s that are wrapped.
//!
//! TLS 1.2 and 1.3, whatever of `any`, `sslv23`, `tlsv1_2` and `tlsv1_3` is asked for; ciphers, curves and the like are
//! rustls' own choice, and their settings are passed over, as OpenSSL passes over options that it no longer has.
//! Stricter than LuaSec: with `verify = "peer"` the other side's name is looked at too (that of `sni`, else the one
//! that was connected to).

use std::rc::Rc;

use lunette_http::tls::{Client, Clients, Identity, Server, Trust};
use mlua::{AnyUserData, IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserData, Value};

use crate::{
    errors,
    modules::net::{
        fault::Fault,
        tcp::{Side, Tcp},
        tls_options::pem,
    },
    world::World,
};

/// What connections are wrapped with.
struct Context(Side);

impl UserData for Context {}

pub(super) fn open(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    module.raw_set("_VERSION", "1.2.0")?;
    let newcontext = lua.create_function(|lua, config: Table| match side(lua, &config)? {
        Ok(side) => Context(side).into_lua_multi(lua),
        Err(fault) => errors::failure(fault.words()).into_lua_multi(lua),
    })?;
    module.raw_set("newcontext", newcontext)?;
    module.raw_set("wrap", lua.create_function(wrap)?)?;
    Ok(Value::Table(module))
}

/// `ssl.wrap(sock, context|config)`: the socket is the new object's; `sock` has none any more.
fn wrap(lua: &Lua, (sock, with): (AnyUserData, Value)) -> mlua::Result<MultiValue> {
    let side = match with {
        Value::Table(config) => match side(lua, &config)? {
            Ok(side) => side,
            Err(fault) => return errors::failure(fault.words()).into_lua_multi(lua),
        },
        Value::UserData(context) => context.borrow::<Context>()?.0.clone(),
        other => {
            return Err(mlua::Error::runtime(format!(
                "bad argument #2 to 'wrap' (table or context expected, got {})",
                other.type_name()
            )));
        }
    };
    sock.borrow::<Tcp>()?.wrap(side).into_lua_multi(lua)
}

/// LuaSec's table of parameters.
fn side(lua: &Lua, config: &Table) -> mlua::Result<Result<Side, Fault>> {
    let said = |words: String| Ok(Err(Fault::Said(words)));
    let protocol: Option<String> = config.get("protocol")?;
    match protocol.as_deref() {
        Some("any" | "sslv23" | "tlsv1_2" | "tlsv1_3") => {}
        other => return said(format!("invalid protocol ({})", other.unwrap_or("nil"))),
    }
    let alpn: Vec<String> = match config.get::<Value>("alpn")? {
        Value::Nil => Vec::new(),
        Value::String(one) => vec![one.to_string_lossy()],
        Value::Table(list) => list.sequence_values().collect::<mlua::Result<_>>()?,
        _ => return said("invalid ALPN parameter".into()),
    };
    let verify: Vec<String> = match config.get::<Value>("verify")? {
        Value::Nil => Vec::new(),
        Value::String(one) => vec![one.to_string_lossy()],
        Value::Table(list) => list.sequence_values().collect::<mlua::Result<_>>()?,
        _ => return said("invalid verify options".into()),
    };
    let asks = |word: &str| verify.iter().any(|asked| asked == word);
    let (certificate, key): (Option<LuaString>, Option<LuaString>) =
        (config.get("certificate")?, config.get("key")?);
    let cafile: Option<LuaString> = config.get("cafile")?;
    let mode: Option<String> = config.get("mode")?;
    let alpn: Vec<&str> = alpn.iter().map(String::as_str).collect();
    let time = &World::of(lua).time;
    let made = || {
        let read = |text: &Option<LuaString>| text.as_ref().map(|text| pem(lua, text)).transpose();
        let (chain, key, ca) = (read(&certificate)?, read(&key)?, read(&cafile)?);
        let identity = match (&chain, &key) {
            (Some(chain), Some(key)) => Some(Identity { chain, key }),
            (None, None) => None,
            _ => return Err(Fault::Said("a certificate needs its key, and a key its certificate".into())),
        };
        let tls = |error: lunette_http::tls::Error| Fault::Said(format!("tls: {error}"));
        if mode.as_deref() == Some("server") {
            let identity = identity.ok_or(Fault::Said("no certificate assigned".into()))?;
            let clients = match ca.filter(|_| asks("peer")) {
                None if asks("peer") => return Err(Fault::Said("verify needs a cafile".into())),
                None => Clients::Anonymous,
                Some(ca) if asks("fail_if_no_peer_cert") => Clients::Only(ca),
                Some(ca) => Clients::OnlyOrAnonymous(ca),
            };
            return Server::with(&[identity], &alpn, &clients, time).map(Side::Server).map_err(tls);
        }
        let trust = match ca {
            _ if !asks("peer") => Trust::Anybody,
            Some(ca) => Trust::Only(ca),
            None => Trust::Web,
        };
        Client::with(&trust, &alpn, identity, time).map(Side::Client).map_err(tls)
    };
    match mode.as_deref() {
        Some("server" | "client") => Ok(made()),
        other => said(format!("invalid mode ({})", other.unwrap_or("nil"))),
    }
}
