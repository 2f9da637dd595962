//! Arithmetic as text: made into trees by recursive descent, and the trees into numbers.

use std::{iter::Peekable, str::Bytes};

use crate::{Numbers, fold};

enum Tree {
    Number(i64),
    Name(u8),
    Negative(Box<Tree>),
    Two(u8, Box<Tree>, Box<Tree>),
}

pub(crate) fn run(rounds: u32) -> u64 {
    let mut numbers = Numbers::new(23);
    let mut text = String::new();
    for line in 0..200 {
        expression(&mut text, &mut numbers, 5);
        text.push(if line < 199 { '\n' } else { ' ' });
    }
    let mut sum = 0;
    for round in 0..rounds {
        for line in text.lines() {
            let mut input = line.bytes().peekable();
            let tree = read(&mut input, 0);
            sum = fold(sum, &value(&tree, i64::from(round)).to_le_bytes());
        }
    }
    sum
}

/// A text to parse.
fn expression(text: &mut String, numbers: &mut Numbers, depth: u32) {
    match numbers.below(if depth == 0 { 2 } else { 8 }) {
        0 => *text += &numbers.below(100_000).to_string(),
        1 => text.push((b'a' + numbers.below(26) as u8) as char),
        2 => {
            *text += "-(";
            expression(text, numbers, depth - 1);
            text.push(')');
        }
        3 => {
            text.push('(');
            expression(text, numbers, depth - 1);
            *text += " )";
        }
        n => {
            expression(text, numbers, depth - 1);
            *text += [" + ", " - ", "*", " / "][n as usize % 4];
            expression(text, numbers, depth - 1);
        }
    }
}

type Input<'a> = Peekable<Bytes<'a>>;

/// Operators that bind at least as strongly as `level`.
fn read(input: &mut Input, level: u8) -> Tree {
    let mut left = one(input);
    loop {
        space(input);
        let Some(&operator) = input.peek() else { return left };
        let strength = match operator {
            b'+' | b'-' => 1,
            b'*' | b'/' => 2,
            _ => return left,
        };
        if strength <= level {
            return left;
        }
        input.next();
        left = Tree::Two(operator, Box::new(left), Box::new(read(input, strength)));
    }
}

fn one(input: &mut Input) -> Tree {
    space(input);
    match input.next() {
        Some(b'(') => {
            let tree = read(input, 0);
            space(input);
            assert_eq!(input.next(), Some(b')'));
            tree
        }
        Some(b'-') => Tree::Negative(Box::new(one(input))),
        Some(name @ b'a'..=b'z') => Tree::Name(name),
        Some(digit @ b'0'..=b'9') => {
            let mut number = i64::from(digit - b'0');
            while let Some(digit) = input.next_if(u8::is_ascii_digit) {
                number = number * 10 + i64::from(digit - b'0');
            }
            Tree::Number(number)
        }
        other => panic!("{other:?} where a number was expected"),
    }
}

fn space(input: &mut Input) {
    while input.next_if_eq(&b' ').is_some() {}
}

fn value(tree: &Tree, seed: i64) -> i64 {
    match tree {
        Tree::Number(number) => *number,
        Tree::Name(name) => seed.wrapping_mul(i64::from(*name)),
        Tree::Negative(tree) => value(tree, seed).wrapping_neg(),
        Tree::Two(operator, left, right) => {
            let (left, right) = (value(left, seed), value(right, seed));
            match operator {
                b'+' => left.wrapping_add(right),
                b'-' => left.wrapping_sub(right),
                b'*' => left.wrapping_mul(right),
                _ => left.checked_div(right).unwrap_or(0),
            }
        }
    }
}
