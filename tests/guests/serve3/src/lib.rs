//! A service of wasi:http 0.3: answers are streams that go on after the handler has returned.
//!
//! | path | |
//! |---|---|
//! | `/ok` | `ok` |
//! | `/echo` | the body comes back as it comes, and so do its trailers |
//! | `/stream?n=&ms=` | lines, with a pause before each |
//! | `/many?n=` | as many waits of 50 ms at once, in one request |
//! | `/headers` | the request as it came |
//! | `/proxy?to=AUTHORITY` | what `http://AUTHORITY/ok` says |
//! | `/error` `/trap` `/late` | an error code; a trap; a body that traps after the head |

use wasip3::{
    clocks::monotonic_clock::wait_for,
    http::{
        client,
        types::{ErrorCode, Fields, Method, Request, Response, Scheme, Trailers},
    },
    wit_bindgen::{StreamReader, spawn_local as spawn},
    wit_future, wit_stream,
};

wasip3::http::service::export!(Service);

struct Service;

const MS: u64 = 1_000_000;

impl wasip3::exports::http::handler::Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/ok" => Ok(text(200, "ok\n".into())),
            "/echo" => echo(request),
            "/stream" => Ok(stream(number(query, "n", 3), number(query, "ms", 100))),
            "/many" => {
                let waits: Vec<_> = (0..number(query, "n", 100)).map(|_| spawn_wait()).collect();
                let mut done = 0;
                for wait in waits {
                    done += u32::from(wait.await);
                }
                Ok(text(200, format!("{done}\n")))
            }
            "/headers" => Ok(text(200, headers(&request))),
            "/proxy" => proxy(word(query, "to")).await,
            "/error" => Err(ErrorCode::InternalError(Some("as was asked for".into()))),
            "/trap" => core::arch::wasm32::unreachable(),
            "/late" => {
                let (mut writer, reader) = wit_stream::new();
                spawn(async move {
                    writer.write_all(b"the beginning\n".to_vec()).await;
                    core::arch::wasm32::unreachable();
                });
                Ok(respond(200, Some(reader)))
            }
            _ => Ok(text(404, "no such page\n".into())),
        }
    }
}

fn word<'a>(query: &'a str, name: &str) -> &'a str {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next().unwrap_or("")
}

fn number(query: &str, name: &str, usual: u64) -> u64 {
    word(query, name).parse().unwrap_or(usual)
}

/// An answer with a body, and without trailers.
fn respond(status: u16, body: Option<StreamReader<u8>>) -> Response {
    let (_, trailers) = wit_future::new(|| Ok(None));
    // Whether it arrives is nobody's concern here.
    let (response, _sent) = Response::new(Fields::new(), body, trailers);
    response.set_status_code(status).expect("a status");
    response
}

fn text(status: u16, text: String) -> Response {
    let (mut writer, reader) = wit_stream::new();
    spawn(async move { drop(writer.write_all(text.into_bytes()).await) });
    respond(status, Some(reader))
}

fn echo(request: Request) -> Result<Response, ErrorCode> {
    let (done, result) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, result);
    drop(done);
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    Ok(response)
}

fn stream(lines: u64, pause: u64) -> Response {
    let (mut writer, reader) = wit_stream::new();
    let (sum, trailers) = wit_future::new(|| Ok(None));
    spawn(async move {
        for line in 1..=lines {
            wait_for(pause * MS).await;
            let line = format!("line {line} of {lines}\n").into_bytes();
            if !writer.write_all(line).await.is_empty() {
                // Nobody listens any more.
                return;
            }
        }
        drop(writer);
        let fields: Trailers = Fields::new();
        fields.append("x-lines", lines.to_string().as_bytes()).expect("a trailer");
        let _ = sum.write(Ok(Some(fields))).await;
    });
    let fields = Fields::new();
    fields.append("trailer", b"x-lines").expect("a header");
    let (response, _sent) = Response::new(fields, Some(reader), trailers);
    response
}

/// A wait that goes on by itself.
fn spawn_wait() -> impl Future<Output = bool> {
    let (writer, reader) = wit_stream::new::<u8>();
    spawn(async move {
        wait_for(50 * MS).await;
        drop(writer);
    });
    async move { reader.collect().await.is_empty() }
}

fn headers(request: &Request) -> String {
    let method = match request.get_method() {
        Method::Get => "GET".into(),
        Method::Post => "POST".into(),
        other => format!("{other:?}"),
    };
    let scheme = match request.get_scheme() {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
        _ => "-",
    };
    let authority = request.get_authority().unwrap_or_else(|| "-".into());
    let target = request.get_path_with_query().unwrap_or_else(|| "-".into());
    let mut page = format!("{method} {scheme} {authority} {target}\n");
    for (name, value) in request.get_headers().copy_all() {
        page += &format!("{name}: {}\n", value.escape_ascii());
    }
    page
}

async fn proxy(to: &str) -> Result<Response, ErrorCode> {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    request.set_scheme(Some(&Scheme::Http)).expect("http");
    request.set_authority(Some(to)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_path_with_query(Some("/ok")).expect("a path");
    let answer = client::send(request).await?;
    let status = answer.get_status_code();
    let (done, result) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(answer, result);
    drop(done);
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    response.set_status_code(status).expect("a status");
    Ok(response)
}
