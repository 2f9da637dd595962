//! One answer to a request of HTTP/1.0: head, then a body by its length or to the connection's end. The head is read by httparse.
//!
//! Promises: head and body are measured as they come, and what is too long, cut short or no HTTP is an error in words; so is a
//! length that is told twice. Does not: follow redirects, decode contents, or read chunks, which nobody may send to such a request.

use alloc::vec::Vec;

use httparse::{EMPTY_HEADER, Header, Response, Status};

/// No head is longer.
const LONGEST_HEAD: usize = 8 << 10;
/// Nor has one more fields.
const MOST_FIELDS: usize = 48;
const TOO_LONG: &str = "the answer's head is longer than 8 KiB";

type Fault = &'static str;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Reads one.
pub(crate) struct Reader {
    /// What came; of the body alone, once the head is read.
    bytes: Vec<u8>,
    /// The status, and the body's length if that was told.
    head: Option<(u16, Option<usize>)>,
    /// How long the body may get.
    most: usize,
}

impl Reader {
    pub(crate) fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), head: None, most }
    }

    /// Takes what came; the answer once it is whole.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Fault> {
        self.bytes.extend_from_slice(bytes);
        if self.head.is_none() {
            self.head = self.head()?;
        }
        let Some((status, length)) = self.head else { return Ok(None) };
        let wanted = length.unwrap_or(self.bytes.len());
        if wanted > self.most {
            return Err("the answer is too long: there may be 64 KiB");
        }
        Ok((length.is_some() && self.bytes.len() >= wanted).then(|| self.answer(status, wanted)))
    }

    /// The connection has ended.
    pub(crate) fn end(&mut self) -> Result<Answer, Fault> {
        match self.head {
            Some((status, None)) => Ok(self.answer(status, self.bytes.len())),
            None if self.bytes.is_empty() => Err("the connection was closed without an answer"),
            _ => Err("the answer is cut short"),
        }
    }

    fn answer(&mut self, status: u16, length: usize) -> Answer {
        let mut body = core::mem::take(&mut self.bytes);
        body.truncate(length);
        Answer { status, body }
    }

    /// Reads the head, once it is there, and leaves the body.
    fn head(&mut self) -> Result<Option<(u16, Option<usize>)>, Fault> {
        let mut fields = [EMPTY_HEADER; MOST_FIELDS];
        let mut response = Response::new(&mut fields);
        let read = response.parse(&self.bytes).map_err(|_| "the answer is no HTTP")?;
        let (Status::Complete(head), Some(status)) = (read, response.code) else {
            let fits = self.bytes.len() < LONGEST_HEAD;
            return if fits { Ok(None) } else { Err(TOO_LONG) };
        };
        let mut length = None;
        for Header { name, value } in response.headers.iter() {
            if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err("the answer has a transfer coding that is not understood");
            }
            if name.eq_ignore_ascii_case("content-length") {
                let text = core::str::from_utf8(value).ok().filter(|text| !text.starts_with('+'));
                let told =
                    text.and_then(|text| text.parse().ok()).ok_or("the answer's length is no number")?;
                if length.replace(told).is_some() {
                    return Err("the answer's length is told twice");
                }
            }
        }
        if head > LONGEST_HEAD {
            return Err(TOO_LONG);
        }
        self.bytes.drain(..head);
        Ok(Some((status, length)))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    const MOST: usize = 2048;

    /// Fed whole, byte by byte, and in pieces: it is the same.
    fn read(bytes: &[u8]) -> Result<Answer, Fault> {
        let by = |size: usize| {
            let mut reader = Reader::new(MOST);
            for piece in bytes.chunks(size) {
                if let Some(answer) = reader.feed(piece)? {
                    return Ok(answer);
                }
            }
            reader.end()
        };
        let whole = by(bytes.len().max(1));
        for size in [1, 2, 7] {
            assert_eq!(by(size), whole, "in pieces of {size}");
        }
        whole
    }

    fn ok(body: &[u8]) -> Result<Answer, Fault> {
        Ok(Answer { status: 200, body: body.to_vec() })
    }

    #[test]
    fn answers_are_read_however_they_end() {
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), ok(b"hello"));
        assert_eq!(read(b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nhel\r\nlo"), ok(b"hel\r\nlo"));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), ok(b""));
        // What comes behind is nobody's.
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello"), ok(b"he"));
        assert_eq!(read(b"HTTP/1.1 404 \r\n\r\n").map(|answer| answer.status), Ok(404));
        assert_eq!(
            read(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").map(|answer| answer.status),
            Ok(204)
        );
        let full = [&b"HTTP/1.0 200 OK\r\n\r\n"[..], &[b'x'; MOST]].concat();
        assert_eq!(read(&full), ok(&[b'x'; MOST]));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(LONGEST_HEAD));
        let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MOST_FIELDS + 1));
        let more = [&b"HTTP/1.0 200 OK\r\n\r\n"[..], &[b'x'; MOST + 1]].concat();
        for (bytes, words) in [
            (&b""[..], "closed without an answer"),
            (b"HTTP/1.1 20", "is cut short"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "is no HTTP"),
            (b"\0\xff\x7f\x80", "is no HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "the answer is cut short"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2049\r\n\r\n", "too long"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "length is no number"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", "length is no number"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy", "told twice"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "coding that is not understood",
            ),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "is not understood"),
            (long.as_bytes(), "longer than 8 KiB"),
            (fields.as_bytes(), "is no HTTP"),
            (&more, "too long"),
        ] {
            let fault = read(bytes).expect_err(words);
            assert!(fault.contains(words), "{fault} for {}", String::from_utf8_lossy(bytes));
        }
    }

    /// Whatever is flipped, it ends in an answer or an error.
    #[test]
    fn damage_is_survived() {
        for good in [&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello"[..]] {
            for at in 0..good.len() {
                for bit in 0..8 {
                    let mut bytes = good.to_vec();
                    bytes[at] ^= 1 << bit;
                    let _ = read(&bytes);
                }
                let _ = read(&good[..at]);
            }
        }
    }
}
