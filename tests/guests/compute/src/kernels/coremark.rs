//! In the manner of CoreMark: a list that is searched and sorted, small integer matrices, a state machine over text,
//! and a CRC of what comes out, in turns.

use crate::Numbers;

const ITEMS: usize = 200;
const SIDE: usize = 12;

/// A list linked by indices, as an embedded program would have it.
struct List {
    value: Vec<i16>,
    next: Vec<u16>,
    head: u16,
}

const END: u16 = u16::MAX;

pub(crate) fn run(rounds: u32) -> u64 {
    let mut numbers = Numbers::new(0x3415);
    let value: Vec<i16> = (0..ITEMS).map(|_| numbers.next() as i16).collect();
    let next = (1..ITEMS as u16).chain([END]).collect();
    let mut list = List { value, next, head: 0 };
    let mut text: Vec<u8> = Vec::new();
    for word in ["5012", "-874", "+122", "35.54400", ".1234500", "-110.700", "5.500e+3", "T0.3e-1F", "1,2"]
        .iter()
        .cycle()
        .take(90)
    {
        text.extend_from_slice(word.as_bytes());
        text.push(b',');
    }
    let mut crc = 0;
    for round in 0..rounds {
        crc = crc16(crc, list.search(round as i16) as u16);
        list.sort(round % 2 == 0);
        crc = crc16(crc, list.value[usize::from(list.head)] as u16);
        crc = matrices(crc, round as i16);
        crc = states(crc, &mut text, round as usize);
    }
    u64::from(crc)
}

impl List {
    /// How far it is to the first value in this one's neighbourhood; the list is turned around on the way.
    fn search(&mut self, wanted: i16) -> usize {
        let (mut at, mut before, mut found, mut steps) = (self.head, END, 0, 0);
        while at != END {
            let following = self.next[usize::from(at)];
            self.next[usize::from(at)] = before;
            if found == 0 && (self.value[usize::from(at)] ^ wanted) & 0x7f == 0 {
                found = steps;
            }
            (before, at, steps) = (at, following, steps + 1);
        }
        self.head = before;
        found
    }

    /// The one at the cursor, which goes on to the next.
    fn take(&self, cursor: &mut u16) -> u16 {
        let next = self.next[usize::from(*cursor)];
        std::mem::replace(cursor, next)
    }

    /// Merge sort, from the bottom up, without more memory.
    fn sort(&mut self, rising: bool) {
        let mut width = 1;
        loop {
            let (mut rest, mut tail, mut merges) = (self.head, END, 0);
            self.head = END;
            while rest != END {
                merges += 1;
                let mut left = rest;
                let mut lefts = 0;
                while lefts < width && rest != END {
                    rest = self.next[usize::from(rest)];
                    lefts += 1;
                }
                let mut rights = width;
                while lefts > 0 || (rights > 0 && rest != END) {
                    let take_left = lefts > 0
                        && (rights == 0
                            || rest == END
                            || (self.value[usize::from(left)] <= self.value[usize::from(rest)]) == rising);
                    let taken = if take_left {
                        lefts -= 1;
                        self.take(&mut left)
                    } else {
                        rights -= 1;
                        self.take(&mut rest)
                    };
                    match tail {
                        END => self.head = taken,
                        tail => self.next[usize::from(tail)] = taken,
                    }
                    tail = taken;
                }
            }
            self.next[usize::from(tail)] = END;
            if merges <= 1 {
                return;
            }
            width *= 2;
        }
    }
}

fn matrices(mut crc: u16, seed: i16) -> u16 {
    let mut a = [[0i16; SIDE]; SIDE];
    let mut b = [[0i16; SIDE]; SIDE];
    for (n, (a, b)) in a.iter_mut().flatten().zip(b.iter_mut().flatten()).enumerate() {
        *a = seed.wrapping_add(n as i16);
        *b = seed.wrapping_mul(n as i16) & 0xff;
    }
    for row in &a {
        for column in 0..SIDE {
            let sum = row.iter().zip(&b).fold(0i32, |sum, (a, b)| {
                let product = i32::from(*a) * i32::from(b[column]);
                sum.wrapping_add(((product >> 2) & 0xf) * ((product >> 5) & 0x7f)).wrapping_add(product)
            });
            crc = crc16(crc, sum as u16);
        }
    }
    crc
}

/// Which kinds of numbers are in the text, and of each how many.
fn states(mut crc: u16, text: &mut [u8], seed: usize) -> u16 {
    #[derive(Clone, Copy)]
    enum State {
        Start,
        Sign,
        Int,
        Float,
        Exponent,
        Scientific,
        Invalid,
    }
    let at = seed % text.len();
    text[at] ^= 1;
    let mut counts = [0u16; 7];
    let mut state = State::Start;
    for &byte in text.iter() {
        state = match (state, byte) {
            (_, b',') => {
                counts[state as usize] += 1;
                State::Start
            }
            (State::Start, b'+' | b'-') => State::Sign,
            (State::Start | State::Sign | State::Int, b'0'..=b'9') => State::Int,
            (State::Start | State::Sign | State::Int, b'.') => State::Float,
            (State::Float, b'0'..=b'9') => State::Float,
            (State::Float, b'e' | b'E') => State::Exponent,
            (State::Exponent, b'+' | b'-' | b'0'..=b'9') | (State::Scientific, b'0'..=b'9') => {
                State::Scientific
            }
            _ => State::Invalid,
        };
    }
    text[at] ^= 1;
    for count in counts {
        crc = crc16(crc, count);
    }
    crc
}

/// CRC-16 (the polynomial 0xa001), bit by bit.
fn crc16(mut crc: u16, value: u16) -> u16 {
    for bit in 0..16 {
        let carry = (value >> bit) ^ crc;
        crc >>= 1;
        if carry & 1 == 1 {
            crc ^= 0xa001;
        }
    }
    crc
}
