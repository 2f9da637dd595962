//! Answers, good ones and others.

use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// An answer of the length that was told, by one that flushes and finishes it a good while after its last byte was taken.
pub(crate) fn late(out: ResponseOutparam) {
    let text = b"all of it\n";
    let fields = Fields::new();
    fields.append("content-length", text.len().to_string().as_bytes()).expect("a length");
    let response = OutgoingResponse::new(fields);
    let body = response.body().expect("a body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a stream");
    stream.blocking_write_and_flush(text).expect("a client that listens");
    std::thread::sleep(std::time::Duration::from_millis(200));
    stream.blocking_flush().expect("a stream that is open after its last byte");
    drop(stream);
    OutgoingBody::finish(body, None).expect("a body that is open to its end");
    eprintln!("flushed and finished");
}

/// A whole answer, as it should be.
pub(crate) fn say(out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("a body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a stream");
    for piece in text.as_bytes().chunks(4096) {
        stream.blocking_write_and_flush(piece).expect("a client that listens");
    }
    drop(stream);
    OutgoingBody::finish(body, None).expect("an end");
}

pub(crate) fn misbehave(path: &str, out: ResponseOutparam) {
    let fields = Fields::new();
    if path == "/short" || path == "/long" {
        fields.append("content-length", b"1000").expect("a length");
    }
    let response = OutgoingResponse::new(fields);
    let body = response.body().expect("a body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a stream");
    let piece = [b'x'; 4096];
    match path {
        // A client that goes away ends it; while there is one, nothing does.
        "/forever" => while stream.blocking_write_and_flush(&piece).is_ok() {},
        "/cut" => {
            stream.blocking_write_and_flush(b"the beginning\n").expect("a client that listens");
            core::arch::wasm32::unreachable();
        }
        "/linger" => {
            stream.blocking_write_and_flush(b"all of it\n").expect("a client that listens");
            drop(stream);
            OutgoingBody::finish(body, None).expect("an end");
            crate::endless();
        }
        "/open" => stream.blocking_write_and_flush(b"the beginning\n").expect("a client that listens"),
        _ => {
            let length = if path == "/short" { 10 } else { 2000 };
            let _ = stream.blocking_write_and_flush(&piece[..length]);
            drop(stream);
            let _ = OutgoingBody::finish(body, None);
        }
    }
}
