//! Ways to die: the kernel has words for each.

use std::hint::black_box;

/// Dies in the way named.
pub(crate) fn die(name: &str) -> ! {
    match name {
        "null" => write_to_null(),
        "overflow" => println!("{}", overflow(0)),
        "panic" => panic!("on purpose, in the kernel"),
        "abort" => std::process::abort(),
        "execute" => execute_data(),
        "memory" => hoard(),
        "triple" => triple_fault(),
        _ => println!("no such crash: {name}"),
    }
    unreachable!("it should have died");
}

#[inline(never)]
fn write_to_null() {
    // SAFETY: none: this is the fault that is asked for.
    unsafe { black_box(std::ptr::without_provenance_mut::<u8>(8)).write_volatile(1) };
}

#[inline(never)]
#[allow(unconditional_recursion, reason = "the stack is to overflow")]
fn overflow(n: u64) -> u64 {
    let room = black_box([n; 64]);
    overflow(n + 1) + room[(n % 64) as usize]
}

fn execute_data() {
    static DATA: [u8; 1] = [0xc3];
    // SAFETY: none: read-only data must not be executable.
    unsafe { std::mem::transmute::<*const u8, extern "C" fn()>(DATA.as_ptr())() };
}

fn hoard() {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1_u8; 1 << 20]));
    }
}

fn triple_fault() {
    let nothing = [0_u8; 10];
    // SAFETY: none: without a descriptor table the next fault is the processor's end.
    unsafe { std::arch::asm!("lidt [{}]", "ud2", in(reg) nothing.as_ptr()) };
}
