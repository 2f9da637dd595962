//! A reverse proxy as a component of the world `wasi:http/proxy`: each request that comes in goes out to the server
//! that `UPSTREAM` names, and its answer comes back. Bodies are streamed, both ways at once.
//!
//! | module | |
//! |---|---|
//! | [`upstream`] | which server, and the request as it gets it |
//! | [`transfer`] | bodies on their way, two at the same time in one thread |

mod transfer;
mod upstream;

use wasip2::http::{
    outgoing_handler,
    types::{
        ErrorCode, Fields, IncomingRequest, IncomingResponse, Method, OutgoingBody, OutgoingResponse,
        RequestOptions, ResponseOutparam,
    },
};

use transfer::Transfer;

const SECOND: u64 = 1_000_000_000;

struct Proxy;

wasip2::http::proxy::export!(Proxy);

impl wasip2::exports::http::incoming_handler::Guest for Proxy {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        if let Err(error) = serve(request, out) {
            eprintln!("proxy: {target}: {error}");
        }
    }
}

fn serve(request: IncomingRequest, out: ResponseOutparam) -> Result<(), String> {
    let outgoing = match upstream::request(&request) {
        Ok(outgoing) => outgoing,
        Err(error) => {
            say(out, 500, "this proxy is not set up\n")?;
            return Err(error);
        }
    };
    let mut upload = None;
    if upstream::has_body(&request) {
        let from = request.consume().map_err(|()| "a request has one body")?;
        let to = outgoing.body().map_err(|()| "a request has one body")?;
        upload = Some(Transfer::new(from, to)?);
    }

    let options = RequestOptions::new();
    // A host that can't keep these times is free to say so, and the request goes out all the same.
    let _ = options.set_connect_timeout(Some(5 * SECOND));
    let _ = options.set_first_byte_timeout(Some(30 * SECOND));
    let _ = options.set_between_bytes_timeout(Some(30 * SECOND));
    let answer = match outgoing_handler::handle(outgoing, Some(options)) {
        Ok(answer) => answer,
        Err(error) => return refuse(out, error),
    };
    let arrived = answer.subscribe();
    // The request's body goes up until an answer begins, which may be before the body's end. What goes wrong with it
    // is told by the answer, or by there being none.
    let rest = upload.and_then(|upload| upload.until(&arrived).unwrap_or(None));
    arrived.block();
    drop(arrived);
    match answer.get() {
        Some(Ok(Ok(answer))) => pass_on(answer, out, !matches!(request.method(), Method::Head), rest),
        Some(Ok(Err(error))) => refuse(out, error),
        _ => Err("the answer was lost".into()),
    }
}

/// The answer's head, and then its body, beside what of the request's body is still on its way.
fn pass_on(
    answer: IncomingResponse,
    out: ResponseOutparam,
    asked_for_body: bool,
    rest: Option<Transfer>,
) -> Result<(), String> {
    let response = OutgoingResponse::new(upstream::forwarded(&answer.headers())?);
    response.set_status_code(answer.status()).map_err(|()| "the answer's status is none")?;
    if !asked_for_body || matches!(answer.status(), 204 | 304) {
        // Its headers may tell the length of a body that does not follow.
        ResponseOutparam::set(out, Ok(response));
        return Ok(());
    }
    let from = answer.consume().map_err(|()| "an answer has one body")?;
    let to = response.body().map_err(|()| "an answer has one body")?;
    let download = Transfer::new(from, to)?;
    ResponseOutparam::set(out, Ok(response));
    match rest {
        None => download.run(),
        Some(rest) => download.run_beside(rest),
    }
}

fn refuse(out: ResponseOutparam, error: ErrorCode) -> Result<(), String> {
    let status = match error {
        ErrorCode::HttpRequestDenied => 403,
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::DnsTimeout
        | ErrorCode::HttpResponseTimeout => 504,
        _ => 502,
    };
    say(out, status, &format!("the server behind this proxy: {error}\n"))?;
    Err(error.to_string())
}

fn say(out: ResponseOutparam, status: u16, text: &str) -> Result<(), String> {
    let kind = [("content-type".to_owned(), b"text/plain; charset=utf-8".to_vec())];
    let response = OutgoingResponse::new(Fields::from_list(&kind).map_err(|error| error.to_string())?);
    response.set_status_code(status).map_err(|()| format!("{status} is no status"))?;
    let body = response.body().map_err(|()| "an answer has one body")?;
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().map_err(|()| "a body has one stream")?;
    stream.blocking_write_and_flush(text.as_bytes()).map_err(|error| error.to_string())?;
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|error| error.to_string())
}
