//! What `stdio.h` is to PUC: a file or standard stream with buffers in front of it.
//!
//! Promises: one read of several things takes either all of them or, when it has to wait, none; what is written goes out
//! in order, and whole lines at once; a file is written out when it is closed or dropped.

use std::sync::Arc;

use lunette_hostcalls::{Ctx, Errno, FileKind, Files, Node, Stream as Way};

use super::{native::Wait, place::Spot};

/// What a buffer has room for, as in C.
const BUFFER: usize = 4096;
/// More than this is never read ahead, nor kept for a reader of ours that is slow.
const MOST: usize = 64 << 10;
/// The longest numeral that is read (`L_MAXLENNUM`).
const NUMERAL: usize = 200;

pub(super) struct Stream {
    source: Source,
    readable: bool,
    writable: bool,
    append: bool,
    /// Where the source is: behind `input`, before `output`.
    offset: u64,
    input: Vec<u8>,
    /// How much of `input` was read.
    taken: usize,
    output: Vec<u8>,
    pub(super) buffering: Buffering,
    room: usize,
    /// How many bytes one read may give.
    most: u64,
}

enum Source {
    Node(Arc<dyn Files>, Node),
    Input,
    Output(Way),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Buffering {
    No,
    Full,
    Line,
}

/// Why a call does not go on.
pub(super) enum Stop {
    Wait(Wait),
    Error(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

/// What is to be read.
pub(super) enum Format {
    Number,
    Line { chop: bool },
    All,
    Bytes(usize),
}

#[derive(Clone, Copy)]
pub(super) enum Whence {
    Start,
    Here,
    End,
}

impl Stream {
    /// As `fopen`, with a mode that is known to be good.
    pub(super) fn open(ctx: &Ctx, path: &str, mode: &[u8], most: u64) -> Result<Self, Errno> {
        let (first, plus) = (mode[0], mode.get(1) == Some(&b'+'));
        let (readable, writable) = (first == b'r' || plus, first != b'r' || plus);
        let now = now(ctx);
        let spot = Spot::find(ctx, path, true)?;
        let node = if first == b'r' { spot.place.existing()? } else { spot.create(now)? };
        let files = spot.files;
        if writable {
            if files.stat(node)?.kind == FileKind::Directory {
                return Err(Errno::Isdir);
            }
            if !files.writable(node) {
                return Err(Errno::Rofs);
            }
            if first == b'w' {
                files.set_size(node, 0, now)?;
            }
        }
        files.retain(node);
        let mut stream = Self::new(Source::Node(files, node), readable, writable, most);
        stream.append = first == b'a';
        Ok(stream)
    }

    pub(super) fn input(most: u64) -> Self {
        Self::new(Source::Input, true, false, most)
    }

    pub(super) fn output(way: Way, most: u64) -> Self {
        let mut stream = Self::new(Source::Output(way), false, true, most);
        stream.buffering = if way == Way::Err { Buffering::No } else { Buffering::Line };
        stream
    }

    fn new(source: Source, readable: bool, writable: bool, most: u64) -> Self {
        Self {
            source,
            readable,
            writable,
            append: false,
            offset: 0,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            buffering: Buffering::Full,
            room: BUFFER,
            most,
        }
    }

    pub(super) fn is_standard(&self) -> bool {
        !matches!(self.source, Source::Node(..))
    }

    /// Is there something that should be out already?
    pub(super) fn is_behind(&self) -> bool {
        self.is_standard() && !self.output.is_empty()
    }

    /// Is so much behind that a writer should wait?
    pub(super) fn is_clogged(&self) -> bool {
        self.is_standard() && self.output.len() > MOST
    }

    pub(super) fn set_buffering(&mut self, buffering: Buffering, room: usize) {
        self.buffering = buffering;
        self.room = room.clamp(1, MOST);
    }

    /// Reads all of `formats`, or up to the first that finds nothing: that one is `None`, and the last.
    pub(super) fn read(&mut self, ctx: &Ctx, formats: &[Format]) -> Result<Vec<Option<Vec<u8>>>, Stop> {
        if !self.readable {
            return Err(Errno::Badf.into());
        }
        self.flush(ctx)?;
        self.input.drain(..self.taken);
        self.taken = 0;
        let mut reader = Reader { stream: self, ctx, at: 0 };
        let mut items = Vec::with_capacity(formats.len());
        for format in formats {
            let item = reader.item(format)?;
            let found = item.is_some();
            items.push(item);
            if !found {
                break;
            }
        }
        let at = reader.at;
        self.taken = at;
        Ok(items)
    }

    pub(super) fn write(&mut self, ctx: &Ctx, bytes: &[u8]) -> Result<(), Errno> {
        if !self.writable {
            return Err(Errno::Badf);
        }
        self.forget_input();
        if (self.output.len() + bytes.len()) as u64 > self.most {
            return Err(Errno::Again);
        }
        self.output.extend_from_slice(bytes);
        match self.buffering {
            Buffering::No => self.flush_to(ctx, self.output.len()),
            Buffering::Full if self.output.len() < self.room => Ok(()),
            Buffering::Full => self.flush_to(ctx, self.output.len()),
            // Lines go out whole; what has none goes out when it is too long.
            Buffering::Line => match bytes.iter().rposition(|&byte| byte == b'\n') {
                Some(at) => self.flush_to(ctx, self.output.len() - bytes.len() + at + 1),
                None if self.output.len() < self.room => Ok(()),
                None => self.flush_to(ctx, self.output.len()),
            },
        }
    }

    /// Hands on all that was written. A standard stream that takes no more now keeps the rest.
    pub(super) fn flush(&mut self, ctx: &Ctx) -> Result<(), Errno> {
        self.flush_to(ctx, self.output.len())
    }

    fn flush_to(&mut self, ctx: &Ctx, end: usize) -> Result<(), Errno> {
        let mut gone = 0;
        let mut result = Ok(());
        while gone < end {
            let bytes = &self.output[gone..end];
            let wrote = match &self.source {
                Source::Node(files, node) => {
                    if self.append {
                        self.offset = files.stat(*node)?.size;
                    }
                    let wrote = files.write_at(*node, self.offset, bytes, now(ctx));
                    self.offset += wrote.unwrap_or(0) as u64;
                    wrote
                }
                Source::Output(way) => ctx.stdio.write(*way, bytes),
                Source::Input => Err(Errno::Badf),
            };
            match wrote {
                Ok(0) => result = Err(Errno::Nospc),
                Ok(n) => gone += n,
                Err(Errno::Again) => break,
                Err(errno) => result = Err(errno),
            }
            if result.is_err() {
                // As C's streams: what could not be written is lost, and told once.
                gone = end;
            }
        }
        self.output.drain(..gone);
        result
    }

    pub(super) fn seek(&mut self, ctx: &Ctx, whence: Whence, by: i64) -> Result<u64, Errno> {
        let Source::Node(files, node) = &self.source else { return Err(Errno::Spipe) };
        let (files, node) = (files.clone(), *node);
        self.flush(ctx)?;
        let from = match whence {
            Whence::Start => 0,
            Whence::Here => self.offset - (self.input.len() - self.taken) as u64,
            Whence::End => files.stat(node)?.size,
        };
        let to = i64::try_from(from).ok().and_then(|from| from.checked_add(by)).ok_or(Errno::Overflow)?;
        let to = u64::try_from(to).map_err(|_| Errno::Inval)?;
        self.input.clear();
        self.taken = 0;
        self.offset = to;
        Ok(to)
    }

    /// What was read ahead is read again from where it came.
    fn forget_input(&mut self) {
        if !self.is_standard() {
            self.offset -= (self.input.len() - self.taken) as u64;
            self.input.clear();
            self.taken = 0;
        }
    }

    /// Reads at least one byte more, and about as many as are wanted. `false`: the end.
    fn fill(&mut self, ctx: &Ctx, wanted: usize) -> Result<bool, Stop> {
        let had = self.input.len();
        let more = wanted.clamp(BUFFER, MOST.max(had / 2));
        if (had + more) as u64 > self.most.saturating_add(MOST as u64) {
            return Err(Errno::Nomem.into());
        }
        self.input.resize(had + more, 0);
        let room = &mut self.input[had..];
        let got = match &self.source {
            Source::Node(files, node) => files.read_at(*node, self.offset, room),
            Source::Input => ctx.stdio.read(room),
            Source::Output(_) => Err(Errno::Badf),
        };
        self.input.truncate(had + *got.as_ref().unwrap_or(&0));
        match got {
            Ok(n) => {
                if !self.is_standard() {
                    self.offset += n as u64;
                }
                Ok(n > 0)
            }
            Err(Errno::Again) => Err(Stop::Wait(Wait::Input)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Closes it: writes out the rest. A standard stream stays open below.
    pub(super) fn close(mut self, ctx: &Ctx) -> Result<(), Errno> {
        self.flush(ctx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Source::Node(files, node) = &self.source {
            files.release(*node);
        }
    }
}

/// One read, which takes nothing from the stream until all of it was found.
struct Reader<'a> {
    stream: &'a mut Stream,
    ctx: &'a Ctx,
    at: usize,
}

impl Reader<'_> {
    fn item(&mut self, format: &Format) -> Result<Option<Vec<u8>>, Stop> {
        match *format {
            Format::Number => self.number(),
            Format::Line { chop } => self.line(chop),
            Format::All => {
                while self.more(usize::MAX)? {}
                Ok(Some(self.take(self.stream.input.len() - self.at)))
            }
            Format::Bytes(0) => Ok(self.peek()?.map(|_| Vec::new())),
            Format::Bytes(count) => {
                while self.left() < count && self.more(count - self.left())? {}
                let bytes = self.take(count.min(self.left()));
                Ok((!bytes.is_empty()).then_some(bytes))
            }
        }
    }

    fn left(&self) -> usize {
        self.stream.input.len() - self.at
    }

    fn more(&mut self, wanted: usize) -> Result<bool, Stop> {
        self.stream.fill(self.ctx, wanted)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.stream.input[self.at..self.at + count].to_vec();
        self.at += count;
        bytes
    }

    fn peek(&mut self) -> Result<Option<u8>, Stop> {
        if self.left() == 0 && !self.more(1)? {
            return Ok(None);
        }
        Ok(Some(self.stream.input[self.at]))
    }

    fn line(&mut self, chop: bool) -> Result<Option<Vec<u8>>, Stop> {
        let mut seen = 0;
        loop {
            let rest = &self.stream.input[self.at + seen..];
            if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let mut line = self.take(seen + end + 1);
                if chop {
                    line.pop();
                }
                return Ok(Some(line));
            }
            seen += rest.len();
            if !self.more(1)? {
                let line = self.take(seen);
                return Ok((!line.is_empty()).then_some(line));
            }
        }
    }

    /// `read_number`: the longest prefix that could be a numeral, if it is one.
    fn number(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        while self.peek()?.is_some_and(|byte| matches!(byte, b' ' | 9..=13)) {
            self.at += 1;
        }
        let mut text = Vec::new();
        self.one_of(&mut text, b"+-")?;
        let (mut count, mut hex) = (0, false);
        if self.one_of(&mut text, b"0")? {
            if self.one_of(&mut text, b"xX")? { hex = true } else { count = 1 }
        }
        count += self.digits(&mut text, hex)?;
        if self.one_of(&mut text, b".")? {
            count += self.digits(&mut text, hex)?;
        }
        if count > 0 && self.one_of(&mut text, if hex { b"pP" } else { b"eE" })? {
            self.one_of(&mut text, b"+-")?;
            if self.digits(&mut text, false)? == 0 {
                count = 0;
            }
        }
        Ok((count > 0 && text.len() <= NUMERAL).then_some(text))
    }

    fn one_of(&mut self, text: &mut Vec<u8>, set: &[u8]) -> Result<bool, Stop> {
        match self.peek()? {
            Some(byte) if set.contains(&byte) => Ok(self.accept(text, byte)),
            _ => Ok(false),
        }
    }

    fn digits(&mut self, text: &mut Vec<u8>, hex: bool) -> Result<usize, Stop> {
        let mut count = 0;
        while let Some(byte) = self.peek()? {
            let digit = if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
            if !digit || !self.accept(text, byte) {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// `false`: it is too long; then what is too much stays to be read, and `text` is longer than any numeral.
    fn accept(&mut self, text: &mut Vec<u8>, byte: u8) -> bool {
        let fits = text.len() < NUMERAL;
        if fits {
            self.at += 1;
        }
        if text.len() <= NUMERAL {
            text.push(byte);
        }
        fits
    }
}

/// The time that a change is made at.
pub(super) fn now(ctx: &Ctx) -> u64 {
    ctx.clock.wall().unwrap_or(0)
}
