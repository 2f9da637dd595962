//! The coding of standard input on its way to the VM, and the pumps between streams.
//!
//! A console has no end of file, so `dle` coding gives it one: the byte 0x10 followed by 0x04 is the
//! end; 0x10 0x10 is one byte 0x10; 0x10 0x03 is no input but asks the guests to finish, at any time; between 0x10 0x02
//! and 0x10 0x17 is a new version of the app, and no input; everything else is itself. It goes to a virtio console, which takes 4 KiB at a
//! time where COM1 takes 16 bytes; the kernel decodes it (`lunette.stdin=virtio`).

use std::io::{self, Read, Write};

const DLE: u8 = 0x10;

/// What ends the input.
pub const END: [u8; 2] = [DLE, 0x04];

/// What asks the guests to finish: the power button of a machine that has none.
pub const FINISH: [u8; 2] = [DLE, 0x03];

/// What a pipe takes as one piece (POSIX's `PIPE_BUF` on Linux).
const ATOMIC: usize = 4096;

/// Adds `bytes` to `out`, in the coding.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len());
    for (n, part) in bytes.split(|&b| b == DLE).enumerate() {
        if n > 0 {
            out.extend([DLE, DLE]);
        }
        out.extend(part);
    }
}

/// Sends a new version of the app, in the coding: between 0x10 0x02 and 0x10 0x17, in pieces as [`pump_input`] makes
/// them.
pub fn send_version(payload: &[u8], to: &mut dyn Write) -> io::Result<()> {
    to.write_all(&[DLE, 0x02])?;
    let mut coded = Vec::new();
    for piece in payload.chunks(ATOMIC / 2) {
        coded.clear();
        encode(piece, &mut coded);
        to.write_all(&coded)?;
    }
    to.write_all(&[DLE, 0x17])?;
    to.flush()
}

/// Copies `from`, coded, until its end, and then says that it ended. An error of `to` means that the VM
/// is gone. What is written at once is a whole number of codes and goes into a pipe as one piece, so that
/// [`FINISH`] may be written by others at any time.
pub fn pump_input(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    // Each byte may become two.
    let mut buffer = [0; ATOMIC / 2];
    let mut coded = Vec::new();
    loop {
        let n = match from.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            // An input that can't be read (closed, a directory) has ended.
            Err(_) => 0,
        };
        if n == 0 {
            to.write_all(&END)?;
            return to.flush();
        }
        coded.clear();
        encode(&buffer[..n], &mut coded);
        to.write_all(&coded)?;
        to.flush()?;
    }
}

/// How a copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// Nothing more comes.
    All,
    /// Nobody listens any more.
    Broken,
}

/// Copies `from` to `to` as it comes, and hands each piece to `seen` too.
pub fn pump_output(from: &mut dyn Read, to: &mut dyn Write, mut seen: impl FnMut(&[u8])) -> Copied {
    let mut buffer = [0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Copied::All,
            Ok(n) => {
                seen(&buffer[..n]);
                if to.write_all(&buffer[..n]).and_then(|()| to.flush()).is_err() {
                    return Copied::Broken;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Copied::All,
        }
    }
}

/// The last few kilobytes that went by.
#[derive(Clone, Debug, Default)]
pub struct Tail(Vec<u8>);

impl Tail {
    const LIMIT: usize = 4096;

    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&bytes[bytes.len().saturating_sub(Self::LIMIT)..]);
        let excess = self.0.len().saturating_sub(Self::LIMIT);
        self.0.drain(..excess);
    }

    /// Up to `count` last lines, made printable.
    pub fn lines(&self, count: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(count)..]
            .iter()
            .map(|line| crate::problem::printable(line))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with it.
    fn decode(coded: &[u8]) -> (Vec<u8>, bool) {
        let (mut out, mut bytes) = (Vec::new(), coded.iter());
        while let Some(&b) = bytes.next() {
            match (b, if b == DLE { bytes.next() } else { None }) {
                (DLE, Some(&DLE)) => out.push(DLE),
                (DLE, Some(0x04)) => return (out, true),
                (DLE, other) => panic!("0x10 followed by {other:?}"),
                (b, _) => out.push(b),
            }
        }
        (out, false)
    }

    #[test]
    fn every_byte_arrives_and_then_the_end() {
        let all: Vec<u8> = (0..=255).chain([DLE, DLE, 0x04, DLE]).cycle().take(20_000).collect();
        let mut coded = Vec::new();
        pump_input(&mut &*all, &mut coded).unwrap();
        assert_eq!(decode(&coded), (all, true));
        let mut coded = Vec::new();
        pump_input(&mut io::empty(), &mut coded).unwrap();
        assert_eq!(coded, END);
    }

    #[test]
    fn a_broken_output_is_noticed() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert_eq!(pump_output(&mut &b"x"[..], &mut Closed, |_| {}), Copied::Broken);
        assert_eq!(pump_output(&mut &b"x"[..], &mut Vec::new(), |_| {}), Copied::All);
        assert!(pump_input(&mut &b"x"[..], &mut Closed).is_err());
    }

    #[test]
    fn the_tail_is_short_and_printable() {
        let mut tail = Tail::default();
        (0..10_000).for_each(|n| tail.add(format!("line {n}\n").as_bytes()));
        tail.add(b"\x1b[2J\n\n");
        assert_eq!(tail.lines(2), ["line 9999", "\\u{1b}[2J"]);
        tail.add(&[b'x'; 100_000]);
        assert_eq!(tail.lines(9)[0].len(), Tail::LIMIT);
    }
}
