//! What a handler gave back, as a response.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use lunette_http::Body;
use mlua::{Lua, MultiValue, Table, UserData, UserDataFields, Value};

use super::{Http, files, headers, headers::Headers, request::Call, stream};

/// Why it is no response.
pub(super) enum Wrong {
    /// `nil, message`: the handler's own words.
    Failure(String),
    /// Nothing that a handler can give back. Says what it was.
    Nonsense(String),
}

/// A response that something of ours made, on its way through a script's functions.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: std::cell::RefCell<Option<Body>>,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body: Some(body).into() }
    }
}

impl UserData for Answer {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("status", |_, this| Ok(this.status.as_u16()));
        fields.add_field_method_get("headers", |_, this| Ok(Headers(Rc::new(this.headers.clone()))));
    }
}

pub(super) fn status(value: &Value) -> Result<StatusCode, String> {
    let number =
        value.as_integer().or_else(|| value.as_number().filter(|n| n.fract() == 0.0).map(|n| n as i64));
    number
        .and_then(|number| u16::try_from(number).ok())
        .and_then(|number| StatusCode::from_u16(number).ok())
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or_else(|| match value {
            Value::Integer(_) | Value::Number(_) => {
                format!("{} is no status: it is a number from 200 to 599", shown(value))
            }
            other => format!("a status can't be a {}", other.type_name()),
        })
}

fn shown(value: &Value) -> String {
    value.to_string().unwrap_or_default()
}

/// Takes away the fields that say how a body is framed: the connection knows. The length of one that is `streamed` is its
/// maker's to say.
pub(super) fn allowed(mut fields: HeaderMap, streamed: bool) -> HeaderMap {
    if !fields.is_empty() {
        let close = fields.get(header::CONNECTION).is_some_and(|value| value == "close");
        if !streamed {
            fields.remove(header::CONTENT_LENGTH);
        }
        fields.remove(header::TRANSFER_ENCODING);
        fields.remove("keep-alive");
        fields.remove(header::UPGRADE);
        fields.remove(header::CONNECTION);
        if close {
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
    fields
}

/// A short answer of ours.
pub(super) fn words(status: StatusCode, words: &str) -> Response<Body> {
    text(status, Bytes::from(format!("{words}\n")))
}

/// Its usual words.
pub(super) fn bare(status: StatusCode) -> Response<Body> {
    words(status, status.canonical_reason().unwrap_or_default())
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

fn text(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

pub(super) fn convert(lua: &Lua, call: &Rc<Call>, values: MultiValue) -> Result<Response<Body>, Wrong> {
    let mut values = values.into_iter();
    match values.next() {
        Some(Value::String(body)) => Ok(text(StatusCode::OK, Bytes::copy_from_slice(&body.as_bytes()))),
        Some(code @ (Value::Integer(_) | Value::Number(_))) => {
            let status = status(&code).map_err(Wrong::Nonsense)?;
            let body = values.next().unwrap_or(Value::Nil);
            let headers = values.next().unwrap_or(Value::Nil);
            made(lua, call, status, &headers, body)
        }
        Some(Value::Table(table)) => from_table(lua, call, &table),
        Some(Value::UserData(answer)) => {
            let answer = answer.borrow::<Answer>();
            let answer = answer.map_err(|_| Wrong::Nonsense("a userdata".into()))?;
            let body = answer.body.take();
            let mut response =
                Response::new(body.ok_or_else(|| Wrong::Nonsense("an answer that was sent already".into()))?);
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers.clone();
            Ok(response)
        }
        None | Some(Value::Nil) => Err(match values.next() {
            None | Some(Value::Nil) => Wrong::Nonsense("nothing".into()),
            Some(message) => Wrong::Failure(shown(&message)),
        }),
        Some(other) => Err(Wrong::Nonsense(format!("a {}", other.type_name()))),
    }
}

fn from_table(lua: &Lua, call: &Rc<Call>, table: &Table) -> Result<Response<Body>, Wrong> {
    let nonsense = |words: String| Wrong::Nonsense(format!("a table that is no answer: {words}"));
    let raised = |error: mlua::Error| nonsense(error.to_string());
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair.map_err(raised)?;
        let name = key.to_string().map_err(raised)?;
        if !["status", "headers", "body", "json", "file"].contains(&name.as_str()) {
            return Err(nonsense(format!(
                "it has {name}, and there are: status, headers, body, json, file; to send it as JSON: json ="
            )));
        }
    }
    let get = |name: &str| table.raw_get::<Value>(name).map_err(raised);
    let code = match get("status")? {
        Value::Nil => None,
        code => Some(status(&code).map_err(&nonsense)?),
    };
    let fields = get("headers")?;
    let (body, json, file) = (get("body")?, get("json")?, get("file")?);
    match (body.is_nil(), json.is_nil(), file) {
        (true, true, Value::String(path)) => {
            let path = path.to_string_lossy();
            let mut response =
                files::send(call, &path).map_err(|errno| Wrong::Failure(format!("{path}: {errno}")))?;
            if let Some(code) = code {
                *response.status_mut() = code;
            }
            let fields = headers::read(&fields).map_err(nonsense)?;
            response.headers_mut().extend(allowed(fields, false));
            Ok(response)
        }
        (true, false, Value::Nil) => {
            let text = Http::of(lua).encode(lua, json).map_err(|words| nonsense(format!("json: {words}")))?;
            let mut response = made(lua, call, code.unwrap_or(StatusCode::OK), &fields, Value::String(text))?;
            let has = matches!(&fields, Value::Table(_) | Value::UserData(_))
                && headers::read(&fields).is_ok_and(|fields| fields.contains_key(header::CONTENT_TYPE));
            if !has {
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
            }
            Ok(response)
        }
        (_, true, Value::Nil) => made(lua, call, code.unwrap_or(StatusCode::OK), &fields, body),
        (true, true, other) => Err(nonsense(format!("file can't be a {}", other.type_name()))),
        _ => Err(nonsense("it has more than one of body, json, file".into())),
    }
}

fn made(
    lua: &Lua,
    call: &Rc<Call>,
    status: StatusCode,
    fields: &Value,
    body: Value,
) -> Result<Response<Body>, Wrong> {
    let fields = headers::read(fields).map_err(Wrong::Nonsense)?;
    let (body, streamed, typed) = match body {
        // The length of what is not sent, for who asks with HEAD.
        Value::Nil => (Body::empty(), call.parts.method == Method::HEAD, false),
        Value::String(text) => (Body::full(Bytes::copy_from_slice(&text.as_bytes())), false, true),
        number @ (Value::Integer(_) | Value::Number(_)) => (Body::full(shown(&number)), false, true),
        Value::Function(pieces) => {
            let failed = {
                let call = call.clone();
                move |error: &mlua::Error| call.connection.server.tell_failure(&call, error)
            };
            let body = stream::pulled(lua, &call.connection.server.world, pieces, failed);
            (body.map_err(|error| Wrong::Nonsense(error.to_string()))?, true, true)
        }
        other => return Err(Wrong::Nonsense(format!("a body that is a {}", other.type_name()))),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if !fields.is_empty() {
        *response.headers_mut() = allowed(fields, streamed);
    }
    if typed {
        response.headers_mut().entry(header::CONTENT_TYPE).or_insert(TEXT);
    }
    Ok(response)
}
