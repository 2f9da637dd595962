//! The streams of a guest beside the app: what it writes comes out on standard error, a line at a time, each with its
//! name in front. Standard input and output are the app's alone.
//!
//! Promises: lines of several guests do not mix; a last line without an end comes out too; a line is never held for
//! longer than [`LINE`] bytes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lunette_hostcalls::{Errno, Ready, Stdio, Stream};

/// Longer lines are cut.
const LINE: usize = 4096;

pub(crate) struct Labelled {
    label: String,
    stdio: std::sync::Arc<dyn Stdio>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Lines that have begun: of standard output, of standard error.
    begun: [Vec<u8>; 2],
    /// A line that is whole, and how much of it is out.
    whole: Vec<u8>,
    out: usize,
}

impl Labelled {
    pub(crate) fn new(name: &str, stdio: std::sync::Arc<dyn Stdio>) -> Self {
        Self { label: format!("{name}: "), stdio, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets the whole line out.
    fn flush(&self, state: &mut State) -> Result<(), Errno> {
        while let Some(rest @ [_, ..]) = state.whole.get(state.out..) {
            match self.stdio.write(Stream::Err, rest)? {
                0 => return Err(Errno::Again),
                n => state.out += n,
            }
        }
        state.whole.clear();
        state.out = 0;
        Ok(())
    }
}

impl State {
    /// The line that has begun is whole.
    fn end_line(&mut self, stream: Stream, label: &str) {
        let begun = &mut self.begun[stream as usize];
        self.whole.extend_from_slice(label.as_bytes());
        self.whole.append(begun);
        self.whole.push(b'\n');
    }
}

impl Stdio for Labelled {
    fn read(&self, _: &mut [u8]) -> Result<usize, Errno> {
        Ok(0)
    }

    fn input(&self) -> Ready {
        Ready { bytes: 0, hangup: true }
    }

    fn register_input(&self, waker: &core::task::Waker) {
        waker.wake_by_ref();
    }

    fn write(&self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        let state = &mut *self.state();
        self.flush(state)?;
        let mut took = 0;
        while took < buf.len() {
            let rest = &buf[took..];
            let begun = &mut state.begun[stream as usize];
            let room = &rest[..rest.len().min(LINE - begun.len())];
            match room.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    begun.extend_from_slice(&room[..end]);
                    took += end + 1;
                }
                None => {
                    begun.extend_from_slice(room);
                    took += room.len();
                    if begun.len() < LINE {
                        continue;
                    }
                }
            }
            state.end_line(stream, &self.label);
            match self.flush(state) {
                Ok(()) => {}
                // It is taken, and comes out before anything else does.
                Err(Errno::Again) => return Ok(took),
                Err(errno) => return Err(errno),
            }
        }
        Ok(took)
    }
}

impl Drop for Labelled {
    fn drop(&mut self) {
        let state = &mut *self.state();
        for stream in [Stream::Out, Stream::Err] {
            if !state.begun[stream as usize].is_empty() {
                state.end_line(stream, &self.label);
            }
        }
        // Nobody is left to be told if this fails.
        let _ = self.flush(state);
    }
}
