//! From bytes to requests: RFC 9112, and nothing beyond it that two readers could understand in two ways.

use crate::limits::{MAX_HEAD, MAX_HEADERS};

/// A whole request.
#[derive(Default)]
pub struct Request {
    pub method: String,
    /// Begins with `/`.
    pub path: String,
    /// What stands behind the `?`.
    pub query: String,
    pub body: Vec<u8>,
    /// Its body came in chunks.
    pub chunked: bool,
    pub keep_alive: bool,
    /// HTTP/1.1, not 1.0.
    pub newer: bool,
    expects_continue: bool,
}

/// A request that is not one: the status to answer with. Nothing after it on this connection can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u16);

/// What became of the bytes.
pub enum Parsed {
    /// There is more to come.
    Partly,
    /// The client waits for `100 Continue` before it sends the body.
    Expected,
    Whole(Request),
}

/// One connection's requests, one after the other.
#[derive(Default)]
pub struct Parser {
    stage: Stage,
    request: Request,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The rest of a head; so much of it has no end in it.
    Head(usize),
    /// So much of a body.
    Sized(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    #[default]
    Nothing,
}

impl Parser {
    /// Is a request under way?
    pub fn started(&self) -> bool {
        self.stage != Stage::Nothing
    }

    /// How much it keeps.
    pub fn held(&self) -> usize {
        self.request.body.capacity()
    }

    /// Takes from the front of `bytes`, which are all that has come and was not taken; says how much.
    pub fn take(&mut self, bytes: &[u8], max_body: usize) -> Result<(usize, Parsed), Refused> {
        let mut taken = 0;
        loop {
            let left = &bytes[taken..];
            match self.stage {
                Stage::Nothing => match left {
                    [] => return Ok((taken, Parsed::Partly)),
                    // Some clients put an empty line between requests.
                    [b'\r' | b'\n', ..] => taken += 1,
                    _ => self.stage = Stage::Head(0),
                },
                Stage::Head(searched) => {
                    // Looked through once, however it comes in; and once at the first sight of it, so that what
                    // never was HTTP is told at once.
                    let from = searched.saturating_sub(3);
                    if searched > 0 && !ends(&left[from..]) {
                        if left.len() > MAX_HEAD {
                            return Err(Refused(431));
                        }
                        self.stage = Stage::Head(left.len());
                        return Ok((taken, Parsed::Partly));
                    }
                    match self.head(left, max_body)? {
                        Some(length) => taken += length,
                        None if left.len() > MAX_HEAD => return Err(Refused(431)),
                        None => {
                            self.stage = Stage::Head(left.len());
                            return Ok((taken, Parsed::Partly));
                        }
                    }
                    if self.request.expects_continue && taken == bytes.len() && self.stage != Stage::Sized(0)
                    {
                        return Ok((taken, Parsed::Expected));
                    }
                }
                Stage::Sized(0) => {
                    self.stage = Stage::Nothing;
                    return Ok((taken, Parsed::Whole(std::mem::take(&mut self.request))));
                }
                _ if left.is_empty() => return Ok((taken, Parsed::Partly)),
                Stage::Sized(length) => {
                    let now = length.min(left.len());
                    self.request.body.extend_from_slice(&left[..now]);
                    self.stage = Stage::Sized(length - now);
                    taken += now;
                }
                Stage::ChunkSize => match httparse::parse_chunk_size(left).map_err(|_| Refused(400))? {
                    httparse::Status::Partial if left.len() > MAX_HEAD => return Err(Refused(431)),
                    httparse::Status::Partial => return Ok((taken, Parsed::Partly)),
                    httparse::Status::Complete((length, size)) => {
                        let room = (max_body - self.request.body.len()) as u64;
                        let size = if size <= room { size as usize } else { return Err(Refused(413)) };
                        self.stage = if size == 0 { Stage::Trailers } else { Stage::Chunk(size) };
                        taken += length;
                    }
                },
                Stage::Chunk(length) => {
                    let now = length.min(left.len());
                    self.request.body.extend_from_slice(&left[..now]);
                    self.stage = if now == length { Stage::ChunkEnd } else { Stage::Chunk(length - now) };
                    taken += now;
                }
                Stage::ChunkEnd => match left {
                    [b'\r', b'\n', ..] => {
                        self.stage = Stage::ChunkSize;
                        taken += 2;
                    }
                    [b'\r'] => return Ok((taken, Parsed::Partly)),
                    _ => return Err(Refused(400)),
                },
                // Nobody here reads them.
                Stage::Trailers => {
                    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
                    match httparse::parse_headers(left, &mut headers).map_err(refused)? {
                        httparse::Status::Complete((length, _)) => {
                            self.stage = Stage::Sized(0);
                            taken += length;
                        }
                        httparse::Status::Partial if left.len() > MAX_HEAD => return Err(Refused(431)),
                        httparse::Status::Partial => return Ok((taken, Parsed::Partly)),
                    }
                }
            }
        }
    }

    /// Reads a head if it is whole, and says how long it was.
    fn head(&mut self, bytes: &[u8], max_body: usize) -> Result<Option<usize>, Refused> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let length = match head.parse(bytes).map_err(refused)? {
            httparse::Status::Partial => return Ok(None),
            httparse::Status::Complete(length) if length > MAX_HEAD => return Err(Refused(431)),
            httparse::Status::Complete(length) => length,
        };
        let newer = head.version == Some(1);
        let mut request = Request {
            method: head.method.unwrap_or_default().to_owned(),
            keep_alive: newer,
            newer,
            ..Request::default()
        };
        (request.path, request.query) = target(head.path.unwrap_or_default())?;

        let (mut hosts, mut content_length) = (0, None);
        for header in head.headers.iter() {
            let value = header.value.trim_ascii();
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("host") {
                hosts += 1;
            } else if is("content-length") {
                let length = number(value).ok_or(Refused(400))?;
                // Said twice, it would be two lengths for two readers.
                if content_length.replace(length).is_some() {
                    return Err(Refused(400));
                }
            } else if is("transfer-encoding") {
                if request.chunked || !newer {
                    return Err(Refused(400));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refused(501));
                }
                request.chunked = true;
            } else if is("connection") {
                for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if word.eq_ignore_ascii_case(b"close") {
                        request.keep_alive = false;
                    } else if word.eq_ignore_ascii_case(b"keep-alive") && !newer {
                        request.keep_alive = true;
                    }
                }
            } else if is("expect") {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refused(417));
                }
                request.expects_continue = newer;
            }
        }
        if hosts > 1 || (newer && hosts == 0) || (request.chunked && content_length.is_some()) {
            return Err(Refused(400));
        }
        let content_length = content_length.unwrap_or(0);
        if content_length > max_body as u64 {
            return Err(Refused(413));
        }
        self.stage = if request.chunked { Stage::ChunkSize } else { Stage::Sized(content_length as usize) };
        self.request = request;
        Ok(Some(length))
    }
}

/// Is there an empty line, which ends a head?
fn ends(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

fn refused(error: httparse::Error) -> Refused {
    Refused(match error {
        httparse::Error::TooManyHeaders => 431,
        httparse::Error::Version => 505,
        _ => 400,
    })
}

/// `/path?query`, or with scheme and host before it, as proxies ask.
fn target(target: &str) -> Result<(String, String), Refused> {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    if !path.starts_with('/') && path != "*" {
        return Err(Refused(400));
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    Ok((path.to_owned(), query.to_owned()))
}

/// Digits and nothing else.
pub fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if is_number { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}
