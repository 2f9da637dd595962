//! A log of requests, searched by regular expressions.

use regex::Regex;

use crate::{Numbers, fold};

pub(crate) fn run(rounds: u32) -> u64 {
    let mut numbers = Numbers::new(31);
    let mut text = String::new();
    for _ in 0..1000 {
        let [a, b, c, d] = std::array::from_fn(|_| numbers.below(256));
        let verb = ["GET", "POST", "PUT", "DELETE"][numbers.below(4) as usize];
        let mail = if numbers.below(5) == 0 { " someone.else@mail.example.org" } else { "" };
        let (path, status, size) = (numbers.next(), 200 + numbers.below(5) * 100, numbers.below(100_000));
        text += &format!(
            "{a}.{b}.{c}.{d} - [2026-11-{:02}] \"{verb} /items/{path:x}?q=1{mail}\" {status} {size}\n",
            1 + numbers.below(30)
        );
    }
    let patterns = [
        r"\b(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\b",
        r"[\w.+-]+@[\w-]+(\.[\w-]+)+",
        r#""(GET|PUT) (/[^ ?"]*)[^"]*" (5\d\d|4\d\d) (\d+)"#,
        r"(?i-u)/ITEMS/[0-9a-f]*(dead|beef|cafe|f00)[0-9a-f]*",
    ]
    .map(|pattern| Regex::new(pattern).expect("a pattern"));
    let mut sum = 0;
    for _ in 0..rounds {
        for pattern in &patterns {
            for found in pattern.captures_iter(&text) {
                let last = found.iter().flatten().last().expect("the whole, at least");
                sum = fold(sum, last.as_str().as_bytes());
            }
        }
    }
    sum
}
