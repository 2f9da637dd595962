//! A handler for measuring what is around it: it does next to nothing.
//!
//! | path | |
//! |---|---|
//! | `/entry` | what the monotonic clock said when the handler was entered |
//! | any other | `Hello, world!` |

use wasip2::{
    clocks::monotonic_clock,
    http::types::{Fields, Headers, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam},
};

struct Handler;

wasip2::http::proxy::export!(Handler);

impl wasip2::exports::http::incoming_handler::Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        // Before all else. Hello pays for it too, wherever it is served.
        let entered = monotonic_clock::now();
        match request.path_with_query().as_deref() {
            Some("/entry") => answer(out, &format!("{entered}\n")),
            _ => answer(out, "Hello, world!\n"),
        }
    }
}

/// A body that can't be sent is one that nobody waits for any more.
fn answer(out: ResponseOutparam, text: &str) {
    let fields = [("content-type", "text/plain"), ("content-length", &text.len().to_string())]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let fields: Headers = Fields::from_list(&fields).expect("fields that may be sent");
    let response = OutgoingResponse::new(fields);
    let body = response.body().expect("an answer has one body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a body has one stream");
    let _ = stream.blocking_write_and_flush(text.as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
