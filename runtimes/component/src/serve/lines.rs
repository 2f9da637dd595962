//! What instances say, line by line: several speak at once, and none in the middle of another's line.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard},
    task::Waker,
};

use lunette_hostcalls::{Errno, Ready, Stdio, Stream};

/// How long a line may become before it goes out in pieces.
const LONGEST: usize = 4096;

/// One instance's standard streams: nothing comes in, and lines go out whole. What is left of one goes out when it is dropped.
pub(super) struct Lines {
    out: Arc<dyn Stdio>,
    begun: Mutex<[Vec<u8>; 2]>,
}

impl Lines {
    pub(super) fn new(out: Arc<dyn Stdio>) -> Self {
        Self { out, begun: Mutex::default() }
    }

    fn begun(&self) -> MutexGuard<'_, [Vec<u8>; 2]> {
        // Whoever panicked meanwhile left nothing half done.
        self.begun.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Ends the lines that were begun: the instance is done with a request.
    pub(super) fn end(&self) {
        let begun = mem::take(&mut *self.begun());
        for (stream, mut line) in [Stream::Out, Stream::Err].into_iter().zip(begun) {
            if line.is_empty() {
                continue;
            }
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }
            // What nobody takes now is lost: there is nobody left to wait.
            let _ = self.hand_on(stream, &mut line);
        }
    }

    /// Writes what it can of `bytes`, and leaves the rest.
    fn hand_on(&self, stream: Stream, bytes: &mut Vec<u8>) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let wrote = self.out.write(stream, bytes)?;
            bytes.drain(..wrote.min(bytes.len()));
        }
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stdio for Lines {
    fn read(&self, _: &mut [u8]) -> Result<usize, Errno> {
        Ok(0)
    }

    fn input(&self) -> Ready {
        Ready { bytes: 0, hangup: true }
    }

    fn register_input(&self, waker: &Waker) {
        waker.wake_by_ref();
    }

    fn write(&self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        let line = &mut self.begun()[match stream {
            Stream::Out => 0,
            Stream::Err => 1,
        }];
        // What was not taken the last time goes first.
        if line.last() == Some(&b'\n') || line.len() >= LONGEST {
            self.hand_on(stream, line)?;
        }
        let whole = buf.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let takes = match whole {
            0 => buf.len().min(LONGEST),
            whole => whole.min(LONGEST),
        };
        line.extend_from_slice(&buf[..takes]);
        if whole > 0 || line.len() >= LONGEST {
            match self.hand_on(stream, line) {
                Ok(()) | Err(Errno::Again) => {}
                Err(errno) => {
                    line.clear();
                    return Err(errno);
                }
            }
        }
        Ok(takes)
    }
}

#[cfg(test)]
mod tests {
    use lunette_hostcalls::fake::FakeStdio;

    use super::*;

    #[test]
    fn lines_go_out_whole() {
        let stdio = Arc::new(FakeStdio::default());
        let (one, other) = (Lines::new(stdio.clone()), Lines::new(stdio.clone()));
        assert_eq!(one.write(Stream::Out, b"a begin"), Ok(7));
        assert_eq!(other.write(Stream::Out, b"other\nand mo"), Ok(6));
        assert_eq!(one.write(Stream::Err, b"oops\n"), Ok(5));
        assert_eq!(one.write(Stream::Out, b"ning\n"), Ok(5));
        assert_eq!(other.write(Stream::Out, b"and more"), Ok(8));
        drop(other);
        assert_eq!(stdio.stdout_text(), "other\na beginning\nand more\n");
        assert_eq!(stdio.stderr(), b"oops\n");
    }

    #[test]
    fn what_is_not_taken_waits_and_is_bounded() {
        let stdio = Arc::new(FakeStdio::default());
        let lines = Lines::new(stdio.clone());
        stdio.stall_writes(2);
        assert_eq!(lines.write(Stream::Out, b"one\n"), Ok(4));
        assert_eq!(lines.write(Stream::Out, b"two\n"), Err(Errno::Again));
        assert_eq!(lines.write(Stream::Out, b"two\n"), Ok(4));
        let long = vec![b'x'; 10 * LONGEST];
        assert_eq!(lines.write(Stream::Out, &long), Ok(LONGEST));
        assert_eq!(stdio.stdout().len(), 8 + LONGEST);
        stdio.break_pipe();
        assert_eq!(lines.write(Stream::Out, b"three\n"), Err(Errno::Pipe));
    }
}
