//! LZMA, the way back (Igor Pavlov's "LZMA specification", in the LZMA SDK's `lzma-specification.txt`): a fifth smaller than
//! deflate, and a decoder that needs nothing but its probabilities, for what it writes is its dictionary.
//!
//! Raw streams with lc = 3, lp = 0, pb = 2, of known length and without an end mark. Bytes that are no such stream give
//! `None` or other bytes, and never a read or a write that is out of bounds.

const LITERAL_CONTEXT_BITS: u32 = 3;
const POSITION_MASK: usize = 3;
const STATES: usize = 12;
/// The number of bits of a probability, and how fast it moves.
const BITS: u32 = 11;
const MOVE: u32 = 5;
const HALF: u16 = 1 << (BITS - 1);
const MIN_MATCH: usize = 2;
/// From this slot on, a distance's middle bits are stored as they are.
const DIRECT_SLOTS: u32 = 14;
const ALIGN_BITS: u32 = 4;

/// What the decoder learns as it goes, anew for each stream. Sixteen kilobytes.
pub(crate) struct Model {
    is_match: [[u16; POSITION_MASK + 1]; STATES],
    is_repeated: [u16; STATES],
    is_older: [[u16; STATES]; 3],
    is_long: [[u16; POSITION_MASK + 1]; STATES],
    slots: [[u16; 64]; 4],
    distances: [u16; 115],
    align: [u16; 16],
    lengths: [Lengths; 2],
    literals: [[u16; 0x300]; 1 << LITERAL_CONTEXT_BITS],
}

#[derive(Clone, Copy)]
struct Lengths {
    choices: [u16; 2],
    short: [[[u16; 8]; POSITION_MASK + 1]; 2],
    long: [u16; 256],
}

impl Model {
    /// All zeros, so that a static one takes no room in a file.
    pub(crate) const fn new() -> Self {
        let lengths = Lengths { choices: [0; 2], short: [[[0; 8]; POSITION_MASK + 1]; 2], long: [0; 256] };
        Self {
            is_match: [[0; POSITION_MASK + 1]; STATES],
            is_repeated: [0; STATES],
            is_older: [[0; STATES]; 3],
            is_long: [[0; POSITION_MASK + 1]; STATES],
            slots: [[0; 64]; 4],
            distances: [0; 115],
            align: [0; 16],
            lengths: [lengths; 2],
            literals: [[0; 0x300]; 1 << LITERAL_CONTEXT_BITS],
        }
    }

    fn reset(&mut self) {
        let Self { is_match, is_repeated, is_older, is_long, slots, distances, align, lengths, literals } =
            self;
        for Lengths { choices, short, long } in lengths {
            for probs in [&mut choices[..], short.as_flattened_mut().as_flattened_mut(), long] {
                probs.fill(HALF);
            }
        }
        let tables = [is_match.as_flattened_mut(), is_repeated, is_older.as_flattened_mut()];
        let more = [is_long.as_flattened_mut(), slots.as_flattened_mut(), distances, align];
        tables.into_iter().chain(more).for_each(|probs| probs.fill(HALF));
        literals.as_flattened_mut().fill(HALF);
    }
}

/// Fills `out` from `stream`.
pub(crate) fn decode(model: &mut Model, stream: &[u8], out: &mut [u8]) -> Option<()> {
    model.reset();
    let mut coder = Coder::new(stream)?;
    let (mut state, mut last) = (0_usize, [0_usize; 4]);
    let mut at = 0;
    while at < out.len() {
        let position = at & POSITION_MASK;
        if coder.bit(&mut model.is_match[state][position])? == 0 {
            let before = at.checked_sub(1).map_or(0, |before| out[before]);
            let probs = &mut model.literals[usize::from(before >> (8 - LITERAL_CONTEXT_BITS))];
            let matched = if state >= 7 { Some(*out.get(at.checked_sub(last[0] + 1)?)?) } else { None };
            out[at] = coder.literal(probs, matched)?;
            at += 1;
            state = match state {
                0..4 => 0,
                4..10 => state - 3,
                _ => state - 6,
            };
            continue;
        }
        let after_literal = state < 7;
        let repeated = coder.bit(&mut model.is_repeated[state])? == 1;
        if repeated {
            // The distance of one of the last four matches, which comes to the front.
            let mut which = 0;
            if coder.bit(&mut model.is_older[0][state])? == 0 {
                if coder.bit(&mut model.is_long[state][position])? == 0 {
                    out[at] = *out.get(at.checked_sub(last[0] + 1)?)?;
                    at += 1;
                    state = if after_literal { 9 } else { 11 };
                    continue;
                }
            } else if coder.bit(&mut model.is_older[1][state])? == 0 {
                which = 1;
            } else {
                which = 2 + coder.bit(&mut model.is_older[2][state])? as usize;
            }
            last[..=which].rotate_right(1);
        }
        let length = coder.length(&mut model.lengths[usize::from(repeated)], position)?;
        if repeated {
            state = if after_literal { 8 } else { 11 };
        } else {
            last.rotate_right(1);
            last[0] = coder.distance(model, length)?;
            state = if after_literal { 7 } else { 10 };
        }
        let length = length + MIN_MATCH;
        let from = at.checked_sub(last[0].checked_add(1)?)?;
        if length > out.len() - at {
            return None;
        }
        // What is copied may be what this copy writes.
        for to in at..at + length {
            out[to] = out[from + to - at];
        }
        at += length;
    }
    Some(())
}

/// The range coder.
struct Coder<'a> {
    rest: &'a [u8],
    range: u32,
    code: u32,
}

impl<'a> Coder<'a> {
    fn new(stream: &'a [u8]) -> Option<Self> {
        let ([0, code @ ..], rest) = stream.split_first_chunk::<5>()? else { return None };
        Some(Self { rest, range: u32::MAX, code: u32::from_be_bytes(*code) })
    }

    fn bit(&mut self, prob: &mut u16) -> Option<u32> {
        let bound = (self.range >> BITS) * u32::from(*prob);
        let bit = u32::from(self.code >= bound);
        if bit == 0 {
            self.range = bound;
            *prob += ((1 << BITS) - *prob) >> MOVE;
        } else {
            self.range -= bound;
            self.code -= bound;
            *prob -= *prob >> MOVE;
        }
        self.normalize()?;
        Some(bit)
    }

    fn normalize(&mut self) -> Option<()> {
        if self.range < 1 << 24 {
            let (&next, rest) = self.rest.split_first()?;
            self.rest = rest;
            self.range <<= 8;
            self.code = (self.code << 8) | u32::from(next);
        }
        Some(())
    }

    /// Bits that are as likely as not.
    fn direct(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            self.range >>= 1;
            let bit = u32::from(self.code >= self.range);
            self.code -= self.range * bit;
            value = (value << 1) | bit;
            self.normalize()?;
        }
        Some(value)
    }

    /// A number of so many bits, the highest first.
    fn tree(&mut self, probs: &mut [u16], bits: u32) -> Option<u32> {
        let mut node = 1;
        for _ in 0..bits {
            node = (node << 1) | self.bit(probs.get_mut(node as usize)?)?;
        }
        Some(node - (1 << bits))
    }

    /// A number of so many bits, the lowest first.
    fn reverse_tree(&mut self, probs: &mut [u16], bits: u32) -> Option<u32> {
        let (mut node, mut value) = (1, 0);
        for bit in 0..bits {
            let one = self.bit(probs.get_mut(node as usize)?)?;
            node = (node << 1) | one;
            value |= one << bit;
        }
        Some(value)
    }

    /// A byte, after a match told from the byte that the match would have had here.
    fn literal(&mut self, probs: &mut [u16; 0x300], matched: Option<u8>) -> Option<u8> {
        let mut node = 1;
        if let Some(matched) = matched {
            let mut matched = u32::from(matched);
            while node < 0x100 {
                let expected = (matched >> 7) & 1;
                matched <<= 1;
                let bit = self.bit(&mut probs[(((1 + expected) << 8) | node) as usize])?;
                node = (node << 1) | bit;
                if bit != expected {
                    break;
                }
            }
        }
        while node < 0x100 {
            node = (node << 1) | self.bit(&mut probs[node as usize])?;
        }
        Some(node as u8)
    }

    fn length(&mut self, lengths: &mut Lengths, position: usize) -> Option<usize> {
        let Lengths { choices: [first, second], short, long } = lengths;
        let length = if self.bit(first)? == 0 {
            self.tree(&mut short[0][position], 3)?
        } else if self.bit(second)? == 0 {
            8 + self.tree(&mut short[1][position], 3)?
        } else {
            16 + self.tree(long, 8)?
        };
        Some(length as usize)
    }

    fn distance(&mut self, model: &mut Model, length: usize) -> Option<usize> {
        let slot = self.tree(&mut model.slots[length.min(3)], 6)?;
        if slot < 4 {
            return Some(slot as usize);
        }
        let bits = (slot >> 1) - 1;
        let high = (2 | (slot & 1)) << bits;
        let low = if slot < DIRECT_SLOTS {
            self.reverse_tree(model.distances.get_mut((high - slot) as usize..)?, bits)?
        } else {
            let middle = self.direct(bits - ALIGN_BITS)? << ALIGN_BITS;
            middle | self.reverse_tree(&mut model.align, ALIGN_BITS)?
        };
        high.checked_add(low).map(|distance| distance as usize)
    }
}
