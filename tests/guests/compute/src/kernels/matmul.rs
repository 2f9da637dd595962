//! Matrices of floating-point numbers, multiplied row by row.

use crate::{Numbers, fold};

const SIDE: usize = 256;

pub(crate) fn run(rounds: u32) -> u64 {
    let mut numbers = Numbers::new(11);
    let mut matrix =
        || (0..SIDE * SIDE).map(|_| numbers.below(1000) as f64 / 500.0 - 1.0).collect::<Vec<f64>>();
    let (mut a, b) = (matrix(), matrix());
    for _ in 0..rounds {
        let mut c = vec![0.0; SIDE * SIDE];
        for (a, c) in a.chunks_exact(SIDE).zip(c.chunks_exact_mut(SIDE)) {
            for (a, b) in a.iter().zip(b.chunks_exact(SIDE)) {
                for (b, c) in b.iter().zip(c.iter_mut()) {
                    *c += a * b;
                }
            }
        }
        // So that numbers stay as large as they were.
        c.iter_mut().for_each(|c| *c /= 8.0);
        a = c;
    }
    a.iter().fold(0, |sum, a| fold(sum, &a.to_bits().to_le_bytes()))
}
