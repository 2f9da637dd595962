//! Header fields, to Lua and from it.

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use mlua::{AnyUserData, Lua, LuaString, MetaMethod, Table, UserData, UserDataMethods, Value};

use crate::methods::Methods as _;

/// Fields that came: `headers["content-type"]` whatever its case, several of one name joined, `headers:all(name)` a list of
/// them, `pairs(headers)`.
pub(super) struct Headers(pub(super) Rc<dyn Fields>);

/// Who has the fields.
pub(super) trait Fields {
    fn fields(&self) -> &HeaderMap;
}

impl Fields for HeaderMap {
    fn fields(&self) -> &HeaderMap {
        self
    }
}

/// All values of a name, as one.
pub(super) fn joined(lua: &Lua, map: &HeaderMap, name: &str) -> mlua::Result<Option<LuaString>> {
    let mut values = map.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    let Some(second) = values.next() else { return lua.create_string(first).map(Some) };
    // RFC 9110, 5.3; cookies have a rule of their own (RFC 9113, 8.2.3).
    let between: &[u8] = if name.eq_ignore_ascii_case("cookie") { b"; " } else { b", " };
    let mut all = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        all.extend_from_slice(between);
        all.extend_from_slice(value.as_bytes());
    }
    lua.create_string(all).map(Some)
}

impl UserData for Headers {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.method("all", |lua, this, name: String| {
            let values = this.0.fields().get_all(&name).iter();
            lua.create_sequence_from(
                values.map(|value| lua.create_string(value)).collect::<mlua::Result<Vec<_>>>()?,
            )
        });
        methods.add_meta_method(MetaMethod::Index, |lua, this, name: String| {
            joined(lua, this.0.fields(), &name)
        });
        methods.add_meta_method(MetaMethod::Pairs, |lua, this, ()| {
            let next: Value = lua.globals().raw_get("next")?;
            Ok((next, table(lua, this.0.fields())?))
        });
    }
}

fn table(lua: &Lua, map: &HeaderMap) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, map.keys_len())?;
    for name in map.keys() {
        table.raw_set(name.as_str(), joined(lua, map, name.as_str())?)?;
    }
    Ok(table)
}

/// From a table of names with strings, numbers or lists of them, or from fields that came. The error says what is wrong.
pub(super) fn read(value: &Value) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    match value {
        Value::Nil => {}
        Value::UserData(fields) => return came(fields),
        Value::Table(table) => {
            for pair in table.pairs::<Value, Value>() {
                let (name, value) = pair.map_err(|error| error.to_string())?;
                let Value::String(name) = name else {
                    return Err(format!("a header's name can't be a {}", name.type_name()));
                };
                let shown = name.to_string_lossy();
                let name = HeaderName::from_bytes(&name.as_bytes())
                    .map_err(|_| format!("{shown:?} can't be a header's name"))?;
                match value {
                    Value::Table(list) => {
                        for value in list.sequence_values::<Value>() {
                            let value = value.map_err(|error| error.to_string())?;
                            map.append(&name, one(&shown, &value)?);
                        }
                    }
                    value => drop(map.append(&name, one(&shown, &value)?)),
                }
            }
        }
        other => return Err(format!("headers can't be a {}", other.type_name())),
    }
    Ok(map)
}

fn came(fields: &AnyUserData) -> Result<HeaderMap, String> {
    let fields = fields.borrow::<Headers>().map_err(|_| "headers can't be a userdata".to_owned())?;
    Ok(fields.0.fields().clone())
}

fn one(name: &str, value: &Value) -> Result<HeaderValue, String> {
    let bad = || format!("the header {name} has a value that no header can have");
    match value {
        Value::String(text) => HeaderValue::from_bytes(&text.as_bytes()).map_err(|_| bad()),
        Value::Integer(number) => Ok(HeaderValue::from(*number)),
        Value::Number(number) => HeaderValue::from_str(&number.to_string()).map_err(|_| bad()),
        other => Err(format!("the header {name} can't be a {}", other.type_name())),
    }
}

/// Takes away what is between two neighbours only (RFC 9110, 7.6.1), and what `Connection` names.
pub(super) fn remove_hop_by_hop(map: &mut HeaderMap) {
    let named: Vec<HeaderName> = map
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        map.remove(name);
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ] {
        map.remove(name);
    }
}
