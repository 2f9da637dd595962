//! Static files.
//!
//! Promises: nothing outside of the directory can be reached, whatever the path or the links in it say; a file is sent in
//! pieces, never held whole; who has it already (`If-None-Match`, `If-Modified-Since`) or wants parts of it (`Range`) gets
//! what RFC 9110 says.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use lunette_hostcalls::{Errno, FileKind, Files, Node, Stat, path::walk};
use lunette_http::Body;
use mlua::{Lua, Table};

use super::{answer, request::Call, stream::Outgoing};
use crate::{options::Options, world::World};

/// A directory whose files are sent.
pub(super) struct Dir {
    files: Arc<dyn Files>,
    root: Node,
    index: Option<String>,
    etag: bool,
    range: bool,
    gzip: bool,
    max_age: Option<Duration>,
}

impl Dir {
    /// `r:static(prefix, dir, {…})`; an error names what is wrong.
    pub(super) fn new(lua: &Lua, world: &World, path: &str, options: Option<Table>) -> mlua::Result<Self> {
        let options = Options::new(lua, "r:static", options);
        let index = match options.get::<mlua::Value>("index")? {
            None | Some(mlua::Value::Boolean(true)) => Some("index.html".to_owned()),
            Some(mlua::Value::Boolean(false)) => None,
            Some(mlua::Value::String(name)) => Some(name.to_string_lossy()),
            Some(other) => return Err(options.fault(format_args!("index can't be a {}", other.type_name()))),
        };
        let etag = options.get("etag")?.unwrap_or(true);
        let range = options.get("range")?.unwrap_or(true);
        let gzip = options.get("gzip")?.unwrap_or(true);
        let max_age = options.seconds("max_age")?;
        let found = find(world, path);
        let (files, root) =
            found.map_err(|errno| options.fault(format_args!("the directory {path}: {errno}")))?;
        if files.stat(root).map(|stat| stat.kind) != Ok(FileKind::Directory) {
            return Err(options.fault(format_args!("{path} is no directory")));
        }
        options.finish()?;
        Ok(Self { files, root, index, etag, range, gzip, max_age })
    }
}

/// By a path as scripts have it: absolute, or from `/`.
fn find(world: &World, path: &str) -> Result<(Arc<dyn Files>, Node), Errno> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let absolute = format!("/{}", path.trim_matches('/'));
    let rest_of = |name: &str| -> Option<String> {
        let base = format!("/{}", name.trim_start_matches("./").trim_matches('/'));
        let base = base.trim_end_matches(['/', '.']);
        let rest = absolute.strip_prefix(base)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_matches('/').to_owned())
    };
    let best = world.ctx.preopens.iter().filter_map(|open| Some((open, rest_of(&open.name)?)));
    let (open, rest) = best.min_by_key(|(_, rest)| rest.len()).ok_or(Errno::Noent)?;
    let rest = if rest.is_empty() { "." } else { &rest };
    Ok((open.files.clone(), walk(&*open.files, open.root, rest, true)?.existing()?))
}

/// The whole of a small file.
pub(super) fn read(world: &World, path: &str, most: u64) -> Result<Vec<u8>, Errno> {
    let (files, node) = find(world, path)?;
    let size = files.stat(node)?.size;
    if size > most {
        return Err(Errno::Fbig);
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| Errno::Fbig)?];
    let mut at = 0;
    while at < bytes.len() {
        match files.read_at(node, at as u64, &mut bytes[at..])? {
            0 => break,
            took => at += took,
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

/// `{file = path}`.
pub(super) fn send(call: &Rc<Call>, path: &str) -> Result<Response<Body>, Errno> {
    let (files, node) = find(&call.connection.server.world, path)?;
    let stat = files.stat(node)?;
    if stat.kind != FileKind::File {
        return Err(Errno::Isdir);
    }
    Ok(whole_or_parts(call, Opened::new(files, node), &stat, path, true, true))
}

/// What a request for `rest` in a directory gets.
pub(super) fn serve(call: &Rc<Call>, dir: &Dir, rest: &str) -> Response<Body> {
    match try_serve(call, dir, rest) {
        Ok(response) => response,
        // What may not be seen is not there.
        Err(
            Errno::Noent
            | Errno::Notdir
            | Errno::Perm
            | Errno::Notcapable
            | Errno::Inval
            | Errno::Nametoolong
            | Errno::Loop
            | Errno::Isdir,
        ) => answer::bare(StatusCode::NOT_FOUND),
        Err(errno) => {
            call.connection.server.tell(
                call,
                "error",
                "a file can't be read",
                &[("error", &errno.to_string())],
            );
            answer::bare(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn try_serve(call: &Rc<Call>, dir: &Dir, rest: &str) -> Result<Response<Body>, Errno> {
    let mut path = rest.trim_start_matches('/').to_owned();
    if path.split('/').any(|name| name == ".." || name.contains('\\')) {
        return Err(Errno::Noent);
    }
    let look = |path: &str| -> Result<(Node, Stat), Errno> {
        let node = walk(&*dir.files, dir.root, if path.is_empty() { "." } else { path }, true)?.existing()?;
        Ok((node, dir.files.stat(node)?))
    };
    let (mut node, mut stat) = look(&path)?;
    if stat.kind == FileKind::Directory {
        let index = dir.index.as_ref().ok_or(Errno::Isdir)?;
        let here = call.parts.uri.path();
        if !here.ends_with('/') {
            // Else what it refers to would be sought beside it. Not to `//…`, which is another server.
            look(&format!("{path}/{index}"))?;
            let query = call.parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            let to = HeaderValue::from_str(&format!("/{}/{query}", here.trim_start_matches('/')));
            let mut response = answer::bare(StatusCode::MOVED_PERMANENTLY);
            response.headers_mut().insert(header::LOCATION, to.map_err(|_| Errno::Inval)?);
            return Ok(response);
        }
        path = format!("{path}{}{index}", if path.is_empty() || path.ends_with('/') { "" } else { "/" });
        (node, stat) = look(&path)?;
    } else if path.ends_with('/') {
        return Err(Errno::Noent);
    }
    if stat.kind != FileKind::File {
        return Err(Errno::Noent);
    }
    let mut packed = None;
    let mut varies = false;
    if dir.gzip
        && let Ok((node, stat)) = look(&format!("{path}.gz"))
        && stat.kind == FileKind::File
    {
        varies = true;
        packed = takes_gzip(&call.parts.headers).then_some((node, stat));
    }
    let is_packed = packed.is_some();
    let (node, stat) = packed.unwrap_or((node, stat));
    let opened = Opened::new(dir.files.clone(), node);
    let mut response = whole_or_parts(call, opened, &stat, &path, dir.etag, dir.range);
    let fields = response.headers_mut();
    if varies {
        fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if is_packed {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Some(age) = dir.max_age
        && let Ok(value) = HeaderValue::from_str(&format!("public, max-age={}", age.as_secs()))
    {
        fields.insert(header::CACHE_CONTROL, value);
    }
    Ok(response)
}

fn takes_gzip(fields: &HeaderMap) -> bool {
    let all = fields.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut each = all.flat_map(|value| value.split(','));
    each.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|part| {
            part.strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
        });
        gzip && !refused
    })
}

/// A file that stays while it is sent, even when its name goes.
struct Opened {
    files: Arc<dyn Files>,
    node: Node,
}

impl Opened {
    fn new(files: Arc<dyn Files>, node: Node) -> Self {
        files.retain(node);
        Self { files, node }
    }

    fn read(&self, at: u64, length: usize) -> Result<Bytes, Errno> {
        let mut piece = vec![0; length];
        let mut got = 0;
        while got < length {
            match self.files.read_at(self.node, at + got as u64, &mut piece[got..])? {
                0 => return Err(Errno::Io),
                took => got += took,
            }
        }
        Ok(piece.into())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.files.release(self.node);
    }
}

/// How much of a file is read at a time.
const PIECE: usize = 64 << 10;

fn whole_or_parts(
    call: &Rc<Call>,
    file: Opened,
    stat: &Stat,
    path: &str,
    etag: bool,
    ranges: bool,
) -> Response<Body> {
    let mut fields = HeaderMap::new();
    let size = stat.size;
    let kind = HeaderValue::from_static(kind(path));
    // A file that is changed has another time: by its size and its time it is known.
    let tag = etag.then(|| format!("\"{:x}-{size:x}\"", stat.modified));
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(stat.modified / 1_000_000_000);
    let dated = (stat.modified > 0).then(|| httpdate::fmt_http_date(modified));
    let mut put = |name, text: &Option<String>| {
        if let Some(value) = text.as_ref().and_then(|text| HeaderValue::from_str(text).ok()) {
            fields.insert(name, value);
        }
    };
    put(header::ETAG, &tag);
    put(header::LAST_MODIFIED, &dated);
    if ranges {
        fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    let asked = &call.parts.headers;
    let respond = |status, fields, body| {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        response
    };
    if has_it(asked, tag.as_deref(), stat, modified) {
        return respond(StatusCode::NOT_MODIFIED, fields, Body::empty());
    }
    let get = call.parts.method == Method::GET;
    let wanted = if ranges && get && current(asked, tag.as_deref(), dated.as_deref()) {
        asked.get(header::RANGE).and_then(|range| parts(range.to_str().ok()?, size))
    } else {
        None
    };
    match wanted {
        None => {
            fields.insert(header::CONTENT_TYPE, kind);
            fields.insert(header::CONTENT_LENGTH, size.into());
            respond(
                StatusCode::OK,
                fields,
                body(call, file, vec![(Bytes::new(), 0, size)], Bytes::new(), size),
            )
        }
        Some(parts) if parts.is_empty() => {
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                fields.insert(header::CONTENT_RANGE, value);
            }
            respond(StatusCode::RANGE_NOT_SATISFIABLE, fields, Body::empty())
        }
        Some(parts) if parts.len() == 1 => {
            let (first, last) = parts[0];
            if let Ok(value) = HeaderValue::from_str(&format!("bytes {first}-{last}/{size}")) {
                fields.insert(header::CONTENT_RANGE, value);
            }
            fields.insert(header::CONTENT_TYPE, kind);
            let length = last - first + 1;
            fields.insert(header::CONTENT_LENGTH, length.into());
            let pieces = vec![(Bytes::new(), first, length)];
            respond(StatusCode::PARTIAL_CONTENT, fields, body(call, file, pieces, Bytes::new(), length))
        }
        Some(parts) => {
            let boundary = call.connection.server.new_id();
            let kind = kind.to_str().unwrap_or_default();
            let pieces: Vec<_> = parts
                .iter()
                .map(|(first, last)| {
                    let head = format!(
                        "\r\n--{boundary}\r\ncontent-type: {kind}\r\ncontent-range: bytes {first}-{last}/{size}\r\n\r\n"
                    );
                    (Bytes::from(head), *first, last - first + 1)
                })
                .collect();
            let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
            let total = pieces.iter().map(|(head, _, length)| head.len() as u64 + length).sum::<u64>()
                + end.len() as u64;
            fields.insert(header::CONTENT_LENGTH, total.into());
            if let Ok(value) = HeaderValue::from_str(&format!("multipart/byteranges; boundary={boundary}")) {
                fields.insert(header::CONTENT_TYPE, value);
            }
            respond(StatusCode::PARTIAL_CONTENT, fields, body(call, file, pieces, end, total))
        }
    }
}

/// Does the client have what it would get? (RFC 9110, 13.2.2.)
fn has_it(asked: &HeaderMap, tag: Option<&str>, stat: &Stat, modified: SystemTime) -> bool {
    if asked.contains_key(header::IF_NONE_MATCH) {
        let given = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut each = given.flat_map(|value| value.split(',')).map(str::trim);
        return each.any(|one| one == "*" || tag.is_some_and(|tag| one.trim_start_matches("W/") == tag));
    }
    let since = asked.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let since = since.and_then(|value| httpdate::parse_http_date(value).ok());
    stat.modified > 0 && since.is_some_and(|since| modified <= since)
}

/// Are parts of this file parts of what the client has? (`If-Range`)
fn current(asked: &HeaderMap, tag: Option<&str>, dated: Option<&str>) -> bool {
    let Some(given) = asked.get(header::IF_RANGE) else { return true };
    let given = given.to_str().unwrap_or_default();
    tag == Some(given) || dated == Some(given)
}

/// More parts than this are an attack.
const MOST_PARTS: usize = 16;

/// First and last bytes. `None`: no ranges that anyone could mean, to be ignored; empty: none of them is in the file.
fn parts(text: &str, size: u64) -> Option<Vec<(u64, u64)>> {
    let text = text.strip_prefix("bytes=")?;
    let mut parts = Vec::new();
    for range in text.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| -> Option<u64> {
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX))
        };
        let (first, last) = match (first, last) {
            ("", "") => return None,
            ("", suffix) => match number(suffix)? {
                0 => continue,
                suffix => (size.saturating_sub(suffix), u64::MAX),
            },
            (first, "") => (number(first)?, u64::MAX),
            (first, last) => (number(first)?, number(last)?),
        };
        if last < first {
            return None;
        }
        if first < size {
            parts.push((first, last.min(size - 1)));
        }
    }
    let sum: u64 = parts.iter().map(|(first, last)| last - first + 1).fold(0, u64::saturating_add);
    // Who asks for more than there is asks for the whole.
    (parts.len() <= MOST_PARTS && (parts.len() < 2 || sum <= size)).then_some(parts)
}

/// Parts of a file, each after some words, and last words.
fn body(call: &Rc<Call>, file: Opened, parts: Vec<(Bytes, u64, u64)>, end: Bytes, total: u64) -> Body {
    if total == 0 || call.parts.method == Method::HEAD {
        return Body::empty();
    }
    let (outgoing, body) = Outgoing::new();
    if total <= PIECE as u64 {
        let mut all = Vec::with_capacity(total as usize);
        for (head, at, length) in &parts {
            all.extend_from_slice(head);
            match file.read(*at, *length as usize) {
                Ok(piece) if parts.len() == 1 && head.is_empty() => return Body::full(piece),
                Ok(piece) => all.extend_from_slice(&piece),
                Err(_) => {
                    outgoing.abort("the file can't be read");
                    return body;
                }
            }
        }
        all.extend_from_slice(&end);
        return Body::full(all);
    }
    let call = call.clone();
    call.connection.server.world.spawner.clone().spawn(async move {
        for (head, mut at, mut left) in parts {
            if !head.is_empty() && !outgoing.write(head).await {
                return;
            }
            while left > 0 {
                let length = left.min(PIECE as u64);
                match file.read(at, length as usize) {
                    Ok(piece) => {
                        if !outgoing.write(piece).await {
                            return;
                        }
                    }
                    Err(errno) => {
                        let words = errno.to_string();
                        call.connection.server.tell(
                            &call,
                            "error",
                            "a file can't be read",
                            &[("error", &words)],
                        );
                        return outgoing.abort("the file can't be read");
                    }
                }
                (at, left) = (at + length, left - length);
            }
        }
        if outgoing.write(end).await {
            outgoing.close();
        }
    });
    body
}

/// The type that a name's end stands for.
fn kind(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    match &end[..] {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "txt" | "text" | "log" | "lua" => "text/plain; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "tar" => "application/x-tar",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => "application/octet-stream",
    }
}
