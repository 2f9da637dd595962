//! Standard input over a console, which by itself knows no end of file.
//!
//! Two codings: [`Coding::Dle`] for a program at the other end (`tools/lunette`), and [`Coding::Terminal`]
//! for a person: echo, return is a new line, backspace takes back, Ctrl-D ends.
//!
//! A program at the other end can also ask the VM to stop, on machines that have no power button. It is heard even after
//! the end of the input, but not past input that waits for a guest to read it.

use alloc::{collections::VecDeque, vec::Vec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// 0x10 0x04 is the end, 0x10 0x10 a 0x10, 0x10 0x03 a request to stop; between 0x10 0x02 and 0x10 0x17 is a new
    /// version of the app; all else as it is.
    Dle,
    /// A line at a time, as a terminal driver does it.
    Terminal,
}

const DLE: u8 = 0x10;
const EOT: u8 = 0x04;
const ETX: u8 = 0x03;
const STX: u8 = 0x02;
const ETB: u8 = 0x17;

/// How much is kept before the line has to wait (the UART then holds back its sender).
const CAPACITY: usize = 16 * 1024;

pub struct Decoder {
    coding: Coding,
    ready: VecDeque<u8>,
    /// The line being typed (terminal only).
    line: Vec<u8>,
    escaped: bool,
    ended: bool,
    /// Requests to stop that nobody has taken.
    stops: u32,
    /// The version that comes in, and the last that came whole and nobody has taken.
    coming: Option<Vec<u8>>,
    version: Option<Vec<u8>>,
}

impl Decoder {
    pub const fn new(coding: Coding) -> Self {
        Self {
            coding,
            ready: VecDeque::new(),
            line: Vec::new(),
            escaped: false,
            ended: false,
            stops: 0,
            coming: None,
            version: None,
        }
    }

    /// Is it worth while to take more from the wire?
    pub fn has_room(&self) -> bool {
        (!self.ended || self.coding == Coding::Dle) && self.ready.len() + self.line.len() < CAPACITY
    }

    /// How often the other end asked the VM to stop, since the last call.
    pub fn take_stops(&mut self) -> u32 {
        core::mem::take(&mut self.stops)
    }

    /// The newest version of the app that came whole.
    pub fn take_version(&mut self) -> Option<Vec<u8>> {
        self.version.take()
    }

    /// Is there one?
    pub fn has_version(&self) -> bool {
        self.version.is_some()
    }

    /// A byte of the version that comes in. One that is larger than memory is nothing at all.
    fn push_version(&mut self, byte: u8) {
        if let Some(coming) = &mut self.coming {
            if coming.try_reserve(1).is_ok() {
                coming.push(byte);
            } else {
                self.coming = None;
            }
        }
    }

    /// Takes a byte from the wire and says what to echo.
    pub fn push(&mut self, byte: u8) -> Option<&'static [u8]> {
        match self.coding {
            Coding::Dle => {
                match (core::mem::take(&mut self.escaped), byte) {
                    (false, DLE) => self.escaped = true,
                    (true, EOT) => self.ended = true,
                    (true, ETX) => self.stops = self.stops.saturating_add(1),
                    (true, STX) => self.coming = Some(Vec::new()),
                    (true, ETB) => self.version = self.coming.take().or(self.version.take()),
                    (true, DLE) | (false, _) if self.coming.is_some() => self.push_version(byte),
                    // What comes after the end is nobody's.
                    _ if self.ended => {}
                    (true, DLE) | (false, _) => self.ready.push_back(byte),
                    // No such code: the other end is at fault; what it sent is kept.
                    (true, other) => self.ready.extend([DLE, other]),
                }
                None
            }
            Coding::Terminal => match byte {
                EOT if self.line.is_empty() => {
                    self.ended = true;
                    None
                }
                EOT => {
                    self.ready.extend(self.line.drain(..));
                    None
                }
                b'\r' | b'\n' => {
                    self.ready.extend(self.line.drain(..));
                    self.ready.push_back(b'\n');
                    Some(b"\n")
                }
                0x08 | 0x7f => self.line.pop().map(|_| &b"\x08 \x08"[..]),
                _ => {
                    self.line.push(byte);
                    Some(core::slice::from_ref(&BYTES[usize::from(byte)]))
                }
            },
        }
    }

    /// Nothing more can come.
    pub fn end(&mut self) {
        self.ended = true;
    }

    pub fn available(&self) -> usize {
        self.ready.len()
    }

    /// No more will come, though some may still be there.
    pub fn ended(&self) -> bool {
        self.ended
    }

    pub fn take(&mut self, buf: &mut [u8]) -> usize {
        let n = buf.len().min(self.ready.len());
        for (slot, byte) in buf.iter_mut().zip(self.ready.drain(..n)) {
            *slot = byte;
        }
        n
    }
}

/// Every byte, to lend one for an echo.
static BYTES: [u8; 256] = {
    let mut all = [0; 256];
    let mut i = 0;
    while i < 256 {
        all[i] = i as u8;
        i += 1;
    }
    all
};

#[cfg(test)]
mod tests {
    use super::*;

    fn read(decoder: &mut Decoder) -> Vec<u8> {
        let mut buf = [0; 300];
        let n = decoder.take(&mut buf);
        buf[..n].to_vec()
    }

    #[test]
    fn dle_carries_every_byte_and_an_end() {
        let mut decoder = Decoder::new(Coding::Dle);
        for byte in 0..=255 {
            if byte == DLE {
                decoder.push(DLE);
            }
            assert_eq!(decoder.push(byte), None);
        }
        assert!(!decoder.ended());
        decoder.push(DLE);
        decoder.push(EOT);
        assert!(decoder.ended());
        for byte in [b'x', DLE, ETX, DLE, DLE, DLE, b'?', DLE, ETX] {
            assert!(decoder.has_room(), "a request to stop is heard after the end");
            decoder.push(byte);
        }
        assert_eq!((decoder.take_stops(), decoder.take_stops()), (2, 0));
        assert_eq!(read(&mut decoder), (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn versions_come_beside_the_input_and_the_newest_counts() {
        let mut decoder = Decoder::new(Coding::Dle);
        let mut push = |bytes: &[u8]| {
            for byte in bytes {
                decoder.push(*byte);
            }
            decoder.take_version()
        };
        assert_eq!(push(&[b'a', DLE, EOT, DLE, STX, b'x', DLE]), None);
        assert_eq!(push(&[DLE, DLE, ETX, b'y', DLE, ETB]), Some(vec![b'x', DLE, b'y']));
        assert_eq!(push(&[DLE, STX, b'1', DLE, ETB, DLE, STX, b'2', DLE, ETB]), Some(b"2".to_vec()));
        // One that is begun again was not sent to its end.
        assert_eq!(push(&[DLE, STX, b'1', DLE, STX, b'2', DLE, ETB, DLE, ETB]), Some(b"2".to_vec()));
        assert_eq!(push(&[DLE, ETB]), None);
        assert_eq!((decoder.take_stops(), read(&mut decoder)), (1, b"a".to_vec()));
    }

    #[test]
    fn a_terminal_edits_lines() {
        let mut decoder = Decoder::new(Coding::Terminal);
        for &byte in b"ab\x7fc" {
            decoder.push(byte);
        }
        assert_eq!(decoder.available(), 0, "a line comes whole");
        assert_eq!(decoder.push(b'\r'), Some(&b"\n"[..]));
        assert_eq!(read(&mut decoder), b"ac\n");
        assert_eq!(decoder.push(0x7f), None, "nothing to take back");
        decoder.push(b'x');
        decoder.push(EOT);
        assert_eq!((read(&mut decoder), decoder.ended()), (b"x".to_vec(), false));
        decoder.push(EOT);
        assert!(decoder.ended());
    }
}
