//! An HTTP handler as a component of the world `wasi:http/proxy` (WASI 0.2): the host reads requests and writes
//! answers, this is called for each of them. There is no runtime and no loop here: what waits, waits in a call.
//!
//! | module | |
//! |---|---|
//! | [`pages`] | from requests to answers: here a handler of your own begins |
//! | [`answer`] | an answer on its way: status, headers, a body piece by piece, trailers |

mod answer;
mod pages;

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Handler;

wasip2::http::proxy::export!(Handler);

impl wasip2::exports::http::incoming_handler::Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        // The answer may have begun already, and there is nobody else to tell: the host logs what is said here.
        if let Err(error) = pages::serve(request, out) {
            eprintln!("http: {error}");
        }
    }
}
