//! A handler that asks others, and answers with what came of it: for tests of a host's outgoing requests.
//!
//! | path | |
//! |---|---|
//! | `/get?to=AUTHORITY&path=&scheme=&connect=&first=&between=` | the other's answer: its status and its body, or `error CODE`; times in ms |
//! | `/post?to=AUTHORITY&path=` | the same, with the body of the request passed on as it comes |
//! | `/drop?to=AUTHORITY` | asks, and does not wait for the answer |
//! | `/both?to=AUTHORITY&n=` | asks n times at once, and says how many answered |
//! | `/says` | lines on both streams, the last of them without an end |

use wasip2::{
    exports::http::incoming_handler::Guest,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingRequest, Method, OutgoingBody,
            OutgoingRequest, OutgoingResponse, RequestOptions, ResponseOutparam, Scheme,
        },
    },
    io::streams::StreamError,
};

struct Asks;

wasip2::http::proxy::export!(Asks);

impl Guest for Asks {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let text = match path {
            "/get" => said(ask(query, None).and_then(|asked| answer(&asked))),
            "/post" => said(ask(query, Some(request)).and_then(|asked| answer(&asked))),
            "/drop" => said(ask(query, None).map(|_| "dropped".into())),
            "/both" => {
                let n = word(query, "n").parse().unwrap_or(2);
                let asked: Vec<_> = (0..n).map(|_| ask(query, None)).collect();
                let answered = asked.iter().flatten().filter(|asked| answer(asked).is_ok()).count();
                format!("{answered} of {n}")
            }
            "/says" => {
                println!("one\ntwo");
                eprintln!("but");
                eprint!("without an end");
                "said".into()
            }
            _ => "no such page".into(),
        };
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("a stream");
        for piece in text.as_bytes().chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                return;
            }
        }
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

fn word<'a>(query: &'a str, name: &str) -> &'a str {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next().unwrap_or("")
}

fn said(result: Result<String, ErrorCode>) -> String {
    result.unwrap_or_else(|code| format!("error {code:?}"))
}

fn ask(query: &str, from: Option<IncomingRequest>) -> Result<FutureIncomingResponse, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let path = word(query, "path");
    request.set_authority(Some(word(query, "to"))).expect("an authority");
    request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })).expect("a path");
    request
        .set_scheme(Some(&if word(query, "scheme") == "https" { Scheme::Https } else { Scheme::Http }))
        .expect("a scheme");
    let options = RequestOptions::new();
    let time = |name| word(query, name).parse::<u64>().ok().map(|ms| ms * 1_000_000);
    options.set_connect_timeout(time("connect")).expect("a time");
    options.set_first_byte_timeout(time("first")).expect("a time");
    options.set_between_bytes_timeout(time("between")).expect("a time");
    let Some(from) = from else { return outgoing_handler::handle(request, Some(options)) };
    request.set_method(&Method::Post).expect("a method");
    let to = request.body().expect("a body");
    let asked = outgoing_handler::handle(request, Some(options))?;
    let body = from.consume().expect("a body");
    {
        let (source, sink) = (body.stream().expect("a stream"), to.write().expect("a stream"));
        while sink.blocking_splice(&source, 64 << 10).is_ok() {}
    }
    OutgoingBody::finish(to, None)?;
    Ok(asked)
}

fn answer(asked: &FutureIncomingResponse) -> Result<String, ErrorCode> {
    asked.subscribe().block();
    let response = asked.get().expect("it is there").expect("it was not taken")?;
    let body: IncomingBody = response.consume().expect("a body");
    let stream = body.stream().expect("a stream");
    let mut text = format!("{} ", response.status());
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(piece) => text += &String::from_utf8_lossy(&piece),
            Err(StreamError::Closed) => return Ok(text),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return Err(code.unwrap_or(ErrorCode::InternalError(Some(error.to_debug_string()))));
            }
        }
    }
}
