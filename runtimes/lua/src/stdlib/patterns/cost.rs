//! What a pattern can cost, found without matching it.
//!
//! From its end to its beginning, each item's cost is a power of the subject's length. What makes a power is a repeated
//! item that what follows it can be tried behind, at every length, and only fails late. If no byte that repeats can begin
//! what follows (`%s*(%w+)%s*=`), all but one of the tries fail at once, and the repetition only adds.

use super::{class_end, in_class, in_set};

/// How many steps PUC's matcher may take in a call: some tenths of a millisecond.
const STEPS: u64 = 1 << 18;

type Set = [u64; 4];
const ALL: Set = [u64::MAX; 4];
const NONE: Set = [0; 4];

/// The rest of a pattern, from some item on.
struct Rest {
    /// Bytes that it does not fail at once on.
    first: Set,
    never_fails: bool,
    /// The exponents of its cost: if it fails, if it matches, and if it matches above what it then has consumed.
    fails: u32,
    matches: u32,
    wastes: u32,
    /// How many times it may be tried twice.
    doubled: u32,
}

/// How long a subject may be for one match, and for all of them. 0: no length is known to be cheap.
pub(in super::super) fn reach(pattern: &[u8]) -> (u64, u64) {
    let anchored = pattern.first() == Some(&b'^');
    let Some(rest) = rest(&pattern[usize::from(anchored)..]) else { return (0, 0) };
    let starts = u32::from(!anchored);
    let once = (rest.fails + starts).max(rest.matches);
    let all = (rest.fails + 1).max(if rest.wastes > 0 { rest.wastes + 1 } else { 1 });
    let reach = |exponent: u32| match (exponent, STEPS >> (2 * rest.doubled.min(9))) {
        (0 | 1, steps) => steps * 4,
        (2, steps) => steps.isqrt(),
        (3, steps) => (steps as f64).cbrt() as u64,
        _ => 0,
    };
    (reach(once), reach(all))
}

/// `None`: it is wrong, or beyond this reckoning.
fn rest(pattern: &[u8]) -> Option<Rest> {
    let mut rest = Rest { first: ALL, never_fails: true, fails: 0, matches: 0, wastes: 0, doubled: 0 };
    for item in items(pattern)?.iter().rev() {
        rest = before(item, rest);
    }
    Some(rest)
}

enum Item {
    Single(Set),
    Repeated(Set, u8),
    Balance(u8),
    Frontier,
    End,
}

fn before(item: &Item, rest: Rest) -> Rest {
    match item {
        Item::Single(set) => Rest { first: *set, never_fails: false, ..rest },
        Item::End => Rest { first: NONE, never_fails: false, ..rest },
        Item::Frontier => Rest { first: ALL, never_fails: false, ..rest },
        Item::Balance(open) => Rest {
            first: one(*open),
            never_fails: false,
            fails: rest.fails.max(1),
            matches: rest.matches.max(1),
            ..rest
        },
        Item::Repeated(set, suffix) => {
            let apart = rest.first.iter().zip(set).all(|(a, b)| a & b == 0);
            let first = if *suffix == b'+' { *set } else { union(&rest.first, set) };
            let never_fails = rest.never_fails && *suffix != b'+';
            if *suffix == b'?' {
                let doubled = rest.doubled + u32::from(!apart && !rest.never_fails);
                return Rest { first, never_fails, matches: rest.matches.max(rest.fails), doubled, ..rest };
            }
            if rest.never_fails {
                let matches = if *suffix == b'-' { rest.matches } else { rest.matches.max(1) };
                return Rest { first, never_fails, matches, ..rest };
            }
            if apart {
                return Rest {
                    first,
                    never_fails,
                    fails: rest.fails.max(1),
                    matches: rest.matches.max(1),
                    ..rest
                };
            }
            let fails = rest.fails + 1;
            let (matches, wastes) = (rest.matches.max(fails), rest.wastes.max(fails));
            Rest { first, never_fails, fails, matches, wastes, ..rest }
        }
    }
}

fn items(pattern: &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    let mut open = Vec::new();
    let mut captures = 0;
    let mut p = 0;
    while p < pattern.len() {
        match (pattern[p], pattern.get(p + 1)) {
            (b'(', next) => {
                captures += 1;
                if next == Some(&b')') {
                    p += 1;
                } else {
                    open.push(());
                }
                p += 1;
                continue;
            }
            (b')', _) => {
                open.pop()?;
                p += 1;
                continue;
            }
            (b'$', None) => {
                items.push(Item::End);
                p += 1;
                continue;
            }
            (b'%', Some(b'b')) => {
                items.push(Item::Balance(*pattern.get(p + 2)?));
                pattern.get(p + 3)?;
                p += 4;
                continue;
            }
            (b'%', Some(b'f')) => {
                if pattern.get(p + 2) != Some(&b'[') {
                    return None;
                }
                items.push(Item::Frontier);
                p = class_end(pattern, p + 2).ok()?;
                continue;
            }
            (b'%', Some(b'0'..=b'9')) => return None,
            _ => {}
        }
        let end = class_end(pattern, p).ok()?;
        let set = set(pattern, p, end);
        match pattern.get(end) {
            Some(suffix @ (b'*' | b'+' | b'-' | b'?')) => {
                items.push(Item::Repeated(set, *suffix));
                p = end + 1;
            }
            _ => {
                items.push(Item::Single(set));
                p = end;
            }
        }
    }
    // Long ones are rare, and deep recursion is an error that is best told by one.
    (open.is_empty() && captures <= 32 && items.len() <= 64).then_some(items)
}

fn set(pattern: &[u8], p: usize, end: usize) -> Set {
    let mut set = NONE;
    for byte in 0..=255u8 {
        let is = match pattern[p] {
            b'.' => true,
            b'%' => in_class(byte, pattern[p + 1]),
            b'[' => in_set(pattern, byte, p, end - 1),
            literal => literal == byte,
        };
        set[usize::from(byte >> 6)] |= u64::from(is) << (byte & 63);
    }
    set
}

fn one(byte: u8) -> Set {
    let mut set = NONE;
    set[usize::from(byte >> 6)] = 1 << (byte & 63);
    set
}

fn union(a: &Set, b: &Set) -> Set {
    std::array::from_fn(|index| a[index] | b[index])
}
