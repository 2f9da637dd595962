//! What was read from a connection and not yet asked for.

#[derive(Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    first: usize,
}

impl Buffer {
    pub(crate) fn rest(&self) -> &[u8] {
        &self.data[self.first..]
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len() - self.first
    }

    /// To be filled, while it is empty.
    pub(crate) fn space(&mut self) -> &mut Vec<u8> {
        debug_assert_eq!(self.len(), 0, "what is there would be read after what comes");
        &mut self.data
    }

    /// Moves the first `n` bytes to the end of `out`. An empty buffer has no memory.
    pub(crate) fn take(&mut self, n: usize, out: &mut Vec<u8>) {
        if n == self.data.len() && out.is_empty() {
            *out = std::mem::take(&mut self.data);
            return;
        }
        out.extend_from_slice(&self.data[self.first..self.first + n]);
        self.first += n;
        if self.first == self.data.len() {
            *self = Self::default();
        }
    }

    /// Puts bytes back that were taken last.
    pub(crate) fn give_back(&mut self, bytes: &[u8]) {
        if self.first >= bytes.len() {
            self.first -= bytes.len();
        } else {
            self.data.splice(..self.first, bytes.iter().copied());
            self.first = 0;
        }
    }
}
