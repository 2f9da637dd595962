//! From answers to bytes.

use std::{
    io::Write,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    pages::{Answer, Body},
    request::Request,
};

/// A chunk's length.
const CHUNK: usize = 16 * 1024;

/// Appends an answer to `out`. Says how much of the pattern has to follow.
pub fn write(out: &mut Vec<u8>, request: &Request, answer: &Answer, closes: bool, date: &str) -> u64 {
    let (kind, body, pattern): (_, &[u8], _) = match &answer.body {
        Body::Text(text) => ("text/plain; charset=utf-8", text.as_bytes(), 0),
        Body::Bytes(bytes) => ("application/octet-stream", bytes, 0),
        Body::Pattern(length) => ("application/octet-stream", &[], *length),
    };
    out.reserve(256 + body.len());
    let mut line = |words: &[&str]| {
        words.iter().for_each(|word| out.extend_from_slice(word.as_bytes()));
        out.extend_from_slice(b"\r\n");
    };
    let mut digits = [0; 20];
    line(&["HTTP/1.1 ", decimal(answer.status.into(), &mut digits), " ", reason(answer.status)]);
    line(&["Date: ", date]);
    line(&["Content-Type: ", kind]);
    if !answer.allow.is_empty() {
        line(&["Allow: ", answer.allow]);
    }
    if closes {
        line(&["Connection: close"]);
    } else if !request.newer {
        line(&["Connection: keep-alive"]);
    }
    // As the request came, so goes the answer.
    let chunked = request.chunked && pattern == 0;
    if chunked {
        line(&["Transfer-Encoding: chunked"]);
    } else {
        line(&["Content-Length: ", decimal(body.len() as u64 + pattern, &mut digits)]);
    }
    line(&[]);
    if request.method == "HEAD" {
        return 0;
    }
    if chunked {
        for chunk in body.chunks(CHUNK) {
            let _ = write!(out, "{:x}\r\n", chunk.len());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
    } else {
        out.extend_from_slice(body);
    }
    pattern
}

/// By hand: what formats everything is slow where an interpreter runs it.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return std::str::from_utf8(&digits[at..]).unwrap_or_default();
        }
    }
}

/// The date as HTTP wants it, made once a second.
pub struct Date {
    made: Instant,
    text: String,
}

impl Date {
    pub fn new(now: Instant) -> Self {
        Self { made: now, text: httpdate::fmt_http_date(SystemTime::now()) }
    }

    pub fn at(&mut self, now: Instant) -> &str {
        if now - self.made >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        &self.text
    }
}

pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
