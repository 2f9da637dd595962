//! The primes below four million, by the sieve of Eratosthenes over bytes.

const LIMIT: usize = 4_000_000;

pub(crate) fn run(rounds: u32) -> u64 {
    let mut sum = 0u64;
    for round in 0..rounds {
        let mut composite = vec![false; LIMIT];
        let mut n = 2;
        while n * n < LIMIT {
            if !composite[n] {
                composite[n * n..].iter_mut().step_by(n).for_each(|multiple| *multiple = true);
            }
            n += 1;
        }
        let primes = (2..LIMIT).filter(|n| !composite[*n]).map(|n| n as u64);
        sum = sum.wrapping_mul(31).wrapping_add(primes.sum::<u64>() + u64::from(round));
    }
    sum
}
