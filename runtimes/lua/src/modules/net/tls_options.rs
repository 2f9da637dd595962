//! Options of TLS: certificates, keys and whom to trust, as PEM or as the names of files that hold it.

use lunette_http::tls;
use mlua::{Function, Lua, LuaString, Table, Value};

use super::{
    fault::Fault,
    tcp::{Side, Tcp},
};
use crate::{options::Options, world::World};

/// Of a side that serves: `None` if there is no certificate among the options.
pub(crate) fn server(lua: &Lua, options: &Options<'_>) -> mlua::Result<Option<Result<tls::Server, Fault>>> {
    let (cert, key): (Option<LuaString>, Option<LuaString>) = (options.get("cert")?, options.get("key")?);
    let alpn = options.get::<Vec<String>>("alpn")?.unwrap_or_default();
    let (cert, key) = match (cert, key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => return Err(options.fault(format_args!("a cert needs its key"))),
        (None, Some(_)) => return Err(options.fault(format_args!("a key needs its cert"))),
    };
    Ok(Some(make_server(lua, &cert, &key, &alpn)))
}

pub(crate) fn make_server(
    lua: &Lua,
    cert: &LuaString,
    key: &LuaString,
    alpn: &[String],
) -> Result<tls::Server, Fault> {
    let alpn: Vec<&str> = alpn.iter().map(String::as_str).collect();
    let server = tls::Server::new(&pem(lua, cert)?, &pem(lua, key)?, &alpn, &World::of(lua).time);
    server.map_err(|error| Fault::Said(format!("tls: {error}")))
}

/// Of a side that asks.
pub(crate) fn client(lua: &Lua, options: &Options<'_>) -> mlua::Result<Result<tls::Client, Fault>> {
    let ca: Option<LuaString> = options.get("ca")?;
    let verify = options.get::<bool>("verify")?.unwrap_or(true);
    let alpn = options.get::<Vec<String>>("alpn")?.unwrap_or_default();
    Ok(make_client(lua, ca.as_ref(), verify, &alpn))
}

pub(crate) fn make_client(
    lua: &Lua,
    ca: Option<&LuaString>,
    verify: bool,
    alpn: &[String],
) -> Result<tls::Client, Fault> {
    let trust = match ca {
        _ if !verify => tls::Trust::Anybody,
        Some(ca) => tls::Trust::Only(pem(lua, ca)?),
        None => tls::Trust::Web,
    };
    let alpn: Vec<&str> = alpn.iter().map(String::as_str).collect();
    tls::Client::new(trust, &alpn, &World::of(lua).time).map_err(|error| Fault::Said(format!("tls: {error}")))
}

/// PEM, or the file of this name.
pub(crate) fn pem(lua: &Lua, text: &LuaString) -> Result<Vec<u8>, Fault> {
    let bytes = text.as_bytes();
    if bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        return Ok(bytes.to_vec());
    }
    let read = || -> mlua::Result<Result<LuaString, String>> {
        let open: Function = lua.globals().get::<Table>("io")?.get("open")?;
        let (file, why): (Value, Option<String>) = open.call((text, "rb"))?;
        let Value::UserData(file) = file else {
            return Ok(Err(why.unwrap_or_else(|| text.to_string_lossy())));
        };
        let all = mlua::ObjectLike::call_method(&file, "read", "a")?;
        mlua::ObjectLike::call_method::<()>(&file, "close", ())?;
        Ok(Ok(all))
    };
    match read() {
        Ok(Ok(text)) => Ok(text.as_bytes().to_vec()),
        Ok(Err(why)) => Err(Fault::Said(format!("tls: {why}"))),
        Err(error) => Err(Fault::Said(format!("tls: {}: {error}", text.display()))),
    }
}

/// `sock:tls(options)`: with a certificate it serves, without one it asks.
pub(crate) fn begin(lua: &Lua, sock: &Tcp, table: Option<Table>) -> mlua::Result<Result<(), Fault>> {
    let options = Options::new(lua, "sock:tls", table);
    if let Some(server) = server(lua, &options)? {
        options.finish()?;
        return Ok(server.and_then(|server| sock.begin_tls(Side::Server(server))));
    }
    let name: Option<String> = options.get("sni")?;
    let client = client(lua, &options)?;
    if let Some(name) = name {
        sock.set_host(&name);
    } else if sock.host().is_none() {
        return Err(options.fault(format_args!("sni is needed: the name that the other side must have")));
    }
    options.finish()?;
    Ok(client.and_then(|client| sock.begin_tls(Side::Client(client))))
}

/// A certificate as text.
pub(crate) fn to_pem(der: &[u8]) -> String {
    let text = base64::engine::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
