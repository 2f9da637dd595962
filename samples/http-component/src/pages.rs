//! From requests to answers.

use std::io::Write;

use wasip2::{
    clocks::monotonic_clock,
    http::types::{Fields, IncomingBody, IncomingRequest, Method, ResponseOutparam, Scheme, Trailers},
    io::streams::StreamError,
};

use crate::answer::{PIECE, Result, begin, text};

const INDEX: &str = "\
/              this page
/hello/NAME    a greeting
/echo          POST: the body comes back, and so do its trailers
/bytes/N       N bytes: 0 to 250, and again
/headers       the request as it came
/stream?n=&ms= n lines, and ms milliseconds before each
/trailers      POST: how many bytes came, and in a trailer their sum
";

pub(crate) fn serve(request: IncomingRequest, out: ResponseOutparam) -> Result {
    let target = request.path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let reads = matches!(request.method(), Method::Get | Method::Head);
    let sends = matches!(request.method(), Method::Post | Method::Put);
    match path {
        "/" if reads => text(out, 200, INDEX),
        "/echo" if sends => echo(request, out),
        "/headers" => headers(&request, out),
        "/stream" if reads => stream(query, out),
        "/trailers" if sends => trailers(request, out),
        _ if reads && let Some(name) = path.strip_prefix("/hello/") => {
            text(out, 200, &format!("Hello, {name}!\n"))
        }
        _ if reads && let Some(length) = path.strip_prefix("/bytes/") => bytes(length, out),
        "/" | "/echo" | "/stream" | "/trailers" => text(out, 405, "not with this method\n"),
        _ if path.starts_with("/hello/") || path.starts_with("/bytes/") => {
            text(out, 405, "not with this method\n")
        }
        _ => text(out, 404, "no such page\n"),
    }
}

/// What came is on its way back before all of it is there, so a body may be as long as it likes.
fn echo(request: IncomingRequest, out: ResponseOutparam) -> Result {
    let fields = request.headers();
    let kind = fields.get("content-type").pop().and_then(|value| String::from_utf8(value).ok());
    drop(fields);
    let body = request.consume().map_err(|()| "a request has one body")?;
    let from = body.stream().map_err(|()| "a body has one stream")?;
    let mut to = begin(out, 200, &[("content-type", kind.as_deref().unwrap_or("application/octet-stream"))])?;
    to.pipe(&from)?;
    drop(from);
    to.finish(trailers_of(body)?)
}

fn bytes(length: &str, out: ResponseOutparam) -> Result {
    let Ok(length) = length.parse::<u64>() else { return text(out, 400, "how many?\n") };
    let said = length.to_string();
    let mut body =
        begin(out, 200, &[("content-type", "application/octet-stream"), ("content-length", &said)])?;
    // As many whole rounds of 251 as a piece takes, so that each piece begins with 0.
    let piece: Vec<u8> = (0..251 * 64).map(|n| (n % 251) as u8).collect();
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
        body.write_all(&piece[..now])?;
        left -= now as u64;
    }
    body.finish(None)
}

fn headers(request: &IncomingRequest, out: ResponseOutparam) -> Result {
    let mut page = format!(
        "{} {} {} {}\n",
        match request.method() {
            Method::Get => "GET".into(),
            Method::Head => "HEAD".into(),
            Method::Post => "POST".into(),
            Method::Put => "PUT".into(),
            Method::Delete => "DELETE".into(),
            Method::Connect => "CONNECT".into(),
            Method::Options => "OPTIONS".into(),
            Method::Trace => "TRACE".into(),
            Method::Patch => "PATCH".into(),
            Method::Other(method) => method,
        },
        match request.scheme() {
            Some(Scheme::Http) => "http".into(),
            Some(Scheme::Https) => "https".into(),
            Some(Scheme::Other(scheme)) => scheme,
            None => "-".into(),
        },
        request.authority().as_deref().unwrap_or("-"),
        request.path_with_query().as_deref().unwrap_or("-"),
    );
    for (name, value) in request.headers().entries() {
        page += &format!("{name}: {}\n", value.escape_ascii());
    }
    text(out, 200, &page)
}

fn stream(query: &str, out: ResponseOutparam) -> Result {
    let number = |name: &str, usual: u64| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok()).unwrap_or(usual)
    };
    let (lines, pause) = (number("n", 5), number("ms", 200));
    let mut body = begin(out, 200, &[("content-type", "text/plain; charset=utf-8")])?;
    for line in 1..=lines {
        // Waiting costs nothing: others are served meanwhile.
        monotonic_clock::subscribe_duration(pause.saturating_mul(1_000_000)).block();
        writeln!(body, "line {line} of {lines}")?;
        body.flush()?;
    }
    body.finish(None)
}

fn trailers(request: IncomingRequest, out: ResponseOutparam) -> Result {
    let body = request.consume().map_err(|()| "a request has one body")?;
    let from = body.stream().map_err(|()| "a body has one stream")?;
    let (mut length, mut sum) = (0, 0);
    loop {
        match from.blocking_read(PIECE) {
            Ok(piece) => {
                length += piece.len();
                sum += piece.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string().into()),
        }
    }
    drop(from);
    let mut to = begin(out, 200, &[("content-type", "text/plain; charset=utf-8"), ("trailer", "x-sum")])?;
    writeln!(to, "{length} bytes")?;
    let trailers = Fields::new();
    trailers.append("x-sum", sum.to_string().as_bytes())?;
    to.finish(Some(trailers))
}

/// What follows a body, once all of it was read.
fn trailers_of(body: IncomingBody) -> Result<Option<Trailers>> {
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    match trailers.get() {
        Some(Ok(trailers)) => Ok(trailers?),
        // It was waited for, and nobody took it before.
        _ => Err("the end of the body was lost".into()),
    }
}
