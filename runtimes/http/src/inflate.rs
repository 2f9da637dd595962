//! Bodies that come compressed: gzip and deflate, a window at a time.
//!
//! Promises: however little input makes however much output, at most a few windows (32 KiB) of it are made at once,
//! and only when the last was taken.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::body::Fault;

/// Takes what comes, gives what it stood for.
pub(crate) struct Inflater {
    format: Format,
    input: Bytes,
    fed: bool,
}

enum Format {
    Gzip(MultiGzDecoder<Vec<u8>>),
    /// `deflate` is zlib's format (RFC 9110, 8.4.1.2), and what some send instead: the first bytes will tell.
    Deflate,
    Zlib(ZlibDecoder<Vec<u8>>),
    Raw(DeflateDecoder<Vec<u8>>),
}

fn garbled(_: io::Error) -> Fault {
    Fault::Garbled("what came is not compressed as it says".into())
}

impl Inflater {
    /// By the name of a `content-encoding`; `None`: it is not known here.
    pub(crate) fn new(encoding: &[u8]) -> Option<Self> {
        let format = match encoding.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Format::Gzip(MultiGzDecoder::new(Vec::new())),
            b"deflate" => Format::Deflate,
            _ => return None,
        };
        Some(Self { format, input: Bytes::new(), fed: false })
    }

    /// Once [`Inflater::more`] gave nothing.
    pub(crate) fn feed(&mut self, input: Bytes) {
        if let (Format::Deflate, Some(first)) = (&self.format, input.first()) {
            self.format = match first & 0x0f {
                8 => Format::Zlib(ZlibDecoder::new(Vec::new())),
                _ => Format::Raw(DeflateDecoder::new(Vec::new())),
            };
        }
        self.fed |= !input.is_empty();
        self.input = input;
    }

    /// Some of what the input stands for; empty: it wants more.
    pub(crate) fn more(&mut self) -> Result<Bytes, Fault> {
        while !self.input.is_empty() {
            let (took, out) = match &mut self.format {
                Format::Gzip(decoder) => (decoder.write(&self.input), decoder.get_mut()),
                Format::Zlib(decoder) => (decoder.write(&self.input), decoder.get_mut()),
                Format::Raw(decoder) => (decoder.write(&self.input), decoder.get_mut()),
                Format::Deflate => return Ok(Bytes::new()),
            };
            let out = std::mem::take(out);
            match took.map_err(garbled)? {
                // What is after the end is nothing.
                0 => self.input.clear(),
                took => drop(self.input.split_to(took)),
            }
            if !out.is_empty() {
                return Ok(out.into());
            }
        }
        Ok(Bytes::new())
    }

    /// The rest, when no more input comes.
    pub(crate) fn end(&mut self) -> Result<Bytes, Fault> {
        // Of an answer without a body, nothing was compressed either.
        if !self.fed {
            return Ok(Bytes::new());
        }
        let out = match &mut self.format {
            Format::Gzip(decoder) => decoder.try_finish().map(|()| std::mem::take(decoder.get_mut())),
            Format::Zlib(decoder) => decoder.try_finish().map(|()| std::mem::take(decoder.get_mut())),
            Format::Raw(decoder) => decoder.try_finish().map(|()| std::mem::take(decoder.get_mut())),
            Format::Deflate => Ok(Vec::new()),
        };
        out.map(Bytes::from).map_err(garbled)
    }
}
