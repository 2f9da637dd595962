//! `zlib`: lua-zlib's streams, by flate2 (miniz_oxide).
//!
//! `deflate([level [, windowBits]])` and `inflate([windowBits])` give a function that takes text, and for `deflate` what to
//! flush (`"none"`, `"sync"`, `"full"`, `"finish"`), and answers what came out, whether it is the end, and the bytes in and
//! out so far. `windowBits` choose the wrapping as zlib has it: 8 to 15 zlib, 24 to 31 gzip, 40 to 47 either of them
//! (`inflate` only, and its default), negative none at all. `crc32()` and `adler32()` give a sum that is called with texts.
//!
//! Promises: one call gives no more than the script may have of memory.
//!
//! Not here: dictionaries, windows smaller than 32 KiB.

use std::{cell::RefCell, rc::Rc};

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};
use mlua::{Lua, LuaString, MetaMethod, UserData, UserDataMethods, Value};

use super::raising;
use crate::world::World;

/// Output is made in steps of this many bytes.
const STEP: usize = 16 << 10;
/// No header of a gzip file is longer.
const MAX_HEADER: usize = 128 << 10;

pub(super) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    module.raw_set("_VERSION", "lua-zlib 1.3")?;
    module.raw_set("_TEST_BUFSIZ", 1024)?;
    for (name, value) in [
        ("NO_COMPRESSION", 0),
        ("BEST_SPEED", 1),
        ("BEST_COMPRESSION", 9),
        ("DEFAULT_COMPRESSION", -1),
        ("MINIMUM_WINDOWBITS", 8),
        ("MAXIMUM_WINDOWBITS", 15),
        ("DEFAULT_WINDOWBITS", 15),
    ] {
        module.raw_set(name, value)?;
    }
    // Whose behaviour this is.
    module.raw_set("version", lua.create_function(|_, ()| Ok((1, 3, 1)))?)?;
    module.raw_set("crc32", lua.create_function(|_, ()| Ok(Sum::Crc(Crc::new())))?)?;
    module.raw_set("adler32", lua.create_function(|_, ()| Ok(Sum::Adler(Adler::default())))?)?;

    let limit = world.limits.memory;
    let deflate = raising::function(lua, move |lua, (level, bits): (Option<i64>, Option<i64>)| {
        let level = match level.unwrap_or(-1) {
            -1 => Compression::default(),
            level @ 0..=9 => Compression::new(level as u32),
            other => return Err(format!("there is no compression level {other}: they are 0 to 9")),
        };
        let wrapping = Wrapping::of(bits.unwrap_or(15)).filter(|wrapping| *wrapping != Wrapping::Any);
        let wrapping = wrapping.ok_or("windowBits of deflate are 8 to 15, 24 to 31 or -8 to -15")?;
        let stream = RefCell::new(Deflate::new(level, wrapping));
        let call = move |_: &Lua, (text, flush): (Option<LuaString>, Option<LuaString>)| {
            let flush = match (&text, flush.as_ref().map(|flush| flush.to_string_lossy())) {
                (Some(_), None) => FlushCompress::None,
                (None, None) => FlushCompress::Finish,
                (_, Some(flush)) => match flush.as_str() {
                    "none" => FlushCompress::None,
                    "sync" => FlushCompress::Sync,
                    "full" => FlushCompress::Full,
                    "finish" => FlushCompress::Finish,
                    other => return Err(raising::argument(2, &format!("invalid option '{other}'"))),
                },
            };
            let text = text.as_ref().map(LuaString::as_bytes);
            let stream = &mut *stream.borrow_mut();
            let out = stream.push(text.as_deref().unwrap_or_default(), flush)?;
            Ok((Bytes(out), stream.ended, stream.taken, stream.given))
        };
        raising::plain(lua, call).map_err(|error| error.to_string())
    })?;
    module.raw_set("deflate", deflate)?;
    let inflate = raising::function(lua, move |lua, bits: Option<i64>| {
        let wrapping = Wrapping::of(bits.unwrap_or(47));
        let wrapping =
            wrapping.ok_or("windowBits of inflate are 8 to 15, 24 to 31, 40 to 47 or -8 to -15")?;
        let stream = RefCell::new(Inflate::new(wrapping));
        let call = move |_: &Lua, text: Option<LuaString>| {
            let text = text.as_ref().map(LuaString::as_bytes);
            let stream = &mut *stream.borrow_mut();
            let out = stream.push(text.as_deref().unwrap_or_default(), limit)?;
            Ok((Bytes(out), stream.ended(), stream.taken, stream.given))
        };
        raising::plain(lua, call).map_err(|error| error.to_string())
    })?;
    module.raw_set("inflate", inflate)?;
    Ok(Value::Table(module))
}

struct Bytes(Vec<u8>);

impl mlua::IntoLua for Bytes {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        lua.create_string(self.0).map(Value::String)
    }
}

/// What is around the compressed data.
#[derive(Clone, Copy, PartialEq)]
enum Wrapping {
    None,
    Zlib,
    Gzip,
    /// Zlib or gzip: the first bytes say which.
    Any,
}

impl Wrapping {
    fn of(window_bits: i64) -> Option<Self> {
        match window_bits {
            -15..=-8 => Some(Self::None),
            8..=15 => Some(Self::Zlib),
            24..=31 => Some(Self::Gzip),
            40..=47 => Some(Self::Any),
            _ => None,
        }
    }
}

struct Deflate {
    compress: Compress,
    /// Of what went in, where gzip wants to know.
    crc: Option<Crc>,
    begun: bool,
    ended: bool,
    taken: u64,
    given: u64,
}

impl Deflate {
    fn new(level: Compression, wrapping: Wrapping) -> Self {
        Self {
            compress: Compress::new(level, wrapping == Wrapping::Zlib),
            crc: (wrapping == Wrapping::Gzip).then(Crc::new),
            begun: false,
            ended: false,
            taken: 0,
            given: 0,
        }
    }

    fn push(&mut self, mut text: &[u8], flush: FlushCompress) -> Result<Vec<u8>, String> {
        if self.ended {
            return Err("IllegalState: calling deflate function when stream was previously closed".into());
        }
        let mut out = Vec::new();
        if self.crc.is_some() && !std::mem::replace(&mut self.begun, true) {
            // No name, no time, made on no particular system.
            out.extend_from_slice(&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF]);
        }
        if let Some(crc) = &mut self.crc {
            crc.update(text);
        }
        self.taken += text.len() as u64;
        loop {
            out.reserve(STEP);
            let before = self.compress.total_in();
            let status =
                self.compress.compress_vec(text, &mut out, flush).map_err(|error| error.to_string())?;
            text = &text[(self.compress.total_in() - before) as usize..];
            let full = out.len() == out.capacity();
            match (status, flush) {
                (Status::StreamEnd, _) => self.ended = true,
                (_, FlushCompress::Finish) => continue,
                _ if full || !text.is_empty() => continue,
                _ => {}
            }
            break;
        }
        if self.ended
            && let Some(crc) = &self.crc
        {
            out.extend_from_slice(&crc.sum().to_le_bytes());
            out.extend_from_slice(&crc.amount().to_le_bytes());
        }
        self.given += out.len() as u64;
        Ok(out)
    }
}

/// Where an inflating stream is.
enum Stage {
    /// In the header: what there is of it.
    Header(Vec<u8>),
    Body,
    /// In gzip's eight last bytes.
    Trailer(Vec<u8>),
    End,
    /// It was wrong.
    Broken,
}

struct Inflate {
    wrapping: Wrapping,
    decompress: Decompress,
    stage: Stage,
    crc: Crc,
    taken: u64,
    given: u64,
}

impl Inflate {
    fn new(wrapping: Wrapping) -> Self {
        let stage = match wrapping {
            Wrapping::Gzip | Wrapping::Any => Stage::Header(Vec::new()),
            Wrapping::None | Wrapping::Zlib => Stage::Body,
        };
        let decompress = Decompress::new(wrapping == Wrapping::Zlib);
        Self { wrapping, decompress, stage, crc: Crc::new(), taken: 0, given: 0 }
    }

    fn ended(&self) -> bool {
        matches!(self.stage, Stage::End)
    }

    /// Takes text and gives what it holds. What comes after the end is not taken.
    fn push(&mut self, text: &[u8], limit: u64) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let result = self.step(text, &mut out, limit);
        self.given += out.len() as u64;
        if result.is_err() {
            self.stage = Stage::Broken;
        }
        result.map(|()| out)
    }

    fn step(&mut self, text: &[u8], out: &mut Vec<u8>, limit: u64) -> Result<(), String> {
        let invalid =
            || "InvalidInput: input string does not conform to zlib format or checksum failed".to_owned();
        let mut held;
        let mut text = text;
        loop {
            match &mut self.stage {
                Stage::Header(header) => {
                    let before = header.len();
                    header.extend_from_slice(text);
                    let other = header.iter().zip([0x1F, 0x8B]).any(|(byte, magic)| *byte != magic);
                    if self.wrapping == Wrapping::Any && other {
                        held = std::mem::take(header);
                        text = &held;
                        self.taken -= before as u64;
                        self.wrapping = Wrapping::Zlib;
                        self.decompress = Decompress::new(true);
                        self.stage = Stage::Body;
                        continue;
                    }
                    match gzip_header(header).map_err(|()| invalid())? {
                        Some(length) => {
                            // All but what came with this call is taken already.
                            let used = length.saturating_sub(before);
                            self.taken += used as u64;
                            text = &text[used..];
                            self.wrapping = Wrapping::Gzip;
                            self.stage = Stage::Body;
                        }
                        None if header.len() > MAX_HEADER => return Err(invalid()),
                        None => {
                            self.taken += text.len() as u64;
                            return Ok(());
                        }
                    }
                }
                Stage::Body => {
                    if out.len() as u64 > limit {
                        return Err("OutOfMemory: not enough memory".into());
                    }
                    out.reserve(STEP);
                    let (from, before) = (out.len(), self.decompress.total_in());
                    let status = self.decompress.decompress_vec(text, out, FlushDecompress::None);
                    let status = status.map_err(|_| invalid())?;
                    let used = (self.decompress.total_in() - before) as usize;
                    self.taken += used as u64;
                    text = &text[used..];
                    if self.wrapping == Wrapping::Gzip {
                        self.crc.update(&out[from..]);
                    }
                    match status {
                        Status::StreamEnd if self.wrapping == Wrapping::Gzip => {
                            self.stage = Stage::Trailer(Vec::new());
                        }
                        Status::StreamEnd => self.stage = Stage::End,
                        // Nothing more to take, and nothing that waits for room.
                        _ if text.is_empty() && out.len() < out.capacity() => return Ok(()),
                        _ if used == 0 && out.len() == from => return Ok(()),
                        _ => {}
                    }
                }
                Stage::Trailer(trailer) => {
                    let used = text.len().min(8 - trailer.len());
                    trailer.extend_from_slice(&text[..used]);
                    self.taken += used as u64;
                    if trailer.len() < 8 {
                        return Ok(());
                    }
                    let expected = [self.crc.sum().to_le_bytes(), self.crc.amount().to_le_bytes()].concat();
                    if *trailer != expected {
                        return Err(invalid());
                    }
                    self.stage = Stage::End;
                }
                Stage::End => return Ok(()),
                Stage::Broken => {
                    return Err(
                        "IllegalState: calling inflate function when stream was previously closed".into()
                    );
                }
            }
        }
    }
}

/// How long the header at the beginning is; `None`: longer than what there is.
fn gzip_header(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let Some((fixed, _)) = bytes.split_at_checked(10) else {
        let begins = [0x1F, 0x8B, 8].iter().zip(bytes).all(|(expected, byte)| expected == byte);
        return if begins { Ok(None) } else { Err(()) };
    };
    let flags = fixed[3];
    if fixed[..3] != [0x1F, 0x8B, 8] || flags & 0xE0 != 0 {
        return Err(());
    }
    let mut at = 10;
    if flags & 4 != 0 {
        let Some(length) = bytes.get(at..at + 2) else { return Ok(None) };
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    // The name and the comment, each with a NUL after it.
    for flag in [8, 16] {
        if flags & flag != 0 {
            let Some(end) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0)) else {
                return Ok(None);
            };
            at += end + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// A sum over texts: called with a text, or with another sum to go on after, it answers the sum so far.
enum Sum {
    Crc(Crc),
    Adler(Adler),
}

impl UserData for Sum {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method_mut(MetaMethod::Call, |_, sum, more: Value| {
            match (&mut *sum, &more) {
                (_, Value::Nil) => {}
                (Self::Crc(crc), Value::String(text)) => crc.update(&text.as_bytes()),
                (Self::Adler(adler), Value::String(text)) => adler.update(&text.as_bytes()),
                (sum, Value::UserData(other)) => match (sum, &*other.borrow::<Self>()?) {
                    (Self::Crc(crc), Self::Crc(other)) => crc.combine(other),
                    (Self::Adler(adler), Self::Adler(other)) => adler.combine(other),
                    _ => return Err(mlua::Error::runtime("only sums of one kind can be joined")),
                },
                (_, other) => {
                    let words = format!("expected string or checksum, got {}", other.type_name());
                    return Err(mlua::Error::runtime(words));
                }
            }
            Ok(match sum {
                Self::Crc(crc) => crc.sum(),
                Self::Adler(adler) => adler.b << 16 | adler.a,
            })
        });
    }
}

/// RFC 1950's sum.
struct Adler {
    a: u32,
    b: u32,
    length: u64,
}

impl Default for Adler {
    fn default() -> Self {
        Self { a: 1, b: 0, length: 0 }
    }
}

impl Adler {
    const MODULUS: u32 = 65521;

    fn update(&mut self, text: &[u8]) {
        self.length += text.len() as u64;
        // As many as can't overflow.
        for chunk in text.chunks(5552) {
            for byte in chunk {
                self.a += u32::from(*byte);
                self.b += self.a;
            }
            self.a %= Self::MODULUS;
            self.b %= Self::MODULUS;
        }
    }

    /// As if `other`'s texts came after these.
    fn combine(&mut self, other: &Self) {
        let modulus = u64::from(Self::MODULUS);
        let length = other.length % modulus;
        let (a, b) = (u64::from(self.a), u64::from(self.b));
        self.b = ((b + length * (a + modulus - 1) + u64::from(other.b)) % modulus) as u32;
        self.a = ((a + u64::from(other.a) + modulus - 1) % modulus) as u32;
        self.length += other.length;
    }
}
