//! The third function, in a file of its own.

use std::hint::black_box;

#[inline(never)]
pub(crate) fn third(how: &str) {
    match how {
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("a panic, as was asked for"),
        "divide" => println!("{}", divide(7, black_box(0))),
        "bounds" => println!("{}", peek(black_box(usize::MAX - 64))),
        "table" => call(black_box(0x7fff_ffff))(),
        "stack" => println!("{}", stack(1)),
        "index" => println!("{}", how.as_bytes()[black_box(100)]),
        "exit" => std::process::exit(3),
        _ => println!("nothing is wrong"),
    }
}

/// The engine's own division: Rust's would check first.
#[inline(never)]
fn divide(a: i32, b: i32) -> i32 {
    // SAFETY: unsafe as can be: a zero is to reach the instruction, which traps.
    unsafe { a.checked_div(b).unwrap_or_else(|| std::hint::unreachable_unchecked()) }
}

#[inline(never)]
fn peek(at: usize) -> u8 {
    // SAFETY: far beyond memory, where the engine has to stop it.
    unsafe { std::ptr::without_provenance::<u8>(at).read_volatile() }
}

#[inline(never)]
fn call(at: usize) -> fn() {
    // SAFETY: no such function is in the table, which the engine has to notice.
    unsafe { std::mem::transmute::<usize, fn()>(at) }
}

#[expect(unconditional_recursion, reason = "it is to run out of stack")]
#[inline(never)]
fn stack(n: u64) -> u64 {
    let mut frame = [n; 4];
    black_box(&mut frame);
    stack(frame[0] + 1) + frame[1]
}
