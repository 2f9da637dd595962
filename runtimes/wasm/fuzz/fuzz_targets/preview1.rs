//! A guest that means harm, without an engine: any calls of preview 1 with any arguments on any memory, in
//! the fake world. Every call is answered; none panics, none takes for ever.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use lunette_hostcalls::fake::FakeWorld;
use lunette_wasm::wasi::{FUNCTIONS, Stop, Wasi};

/// One page, as the smallest guest has.
const MEMORY: usize = 65536;
/// More calls find nothing that fewer did not.
const CALLS: usize = 64;

#[derive(Arbitrary, Debug)]
struct Input {
    /// At the beginning of memory: paths, iovecs and subscriptions for pointers to find.
    memory: Vec<u8>,
    stdin: Vec<u8>,
    calls: Vec<(u8, [Word; 9])>,
}

/// Most random numbers are pointers to nowhere; most of these are not.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Word {
    Small(u8),
    Pointer(u16),
    Negative(u8),
    Any(u64),
}

impl Word {
    fn value(self) -> u64 {
        match self {
            Self::Small(n) => n.into(),
            Self::Pointer(n) => u64::from(n) & !7,
            Self::Negative(n) => !u64::from(n),
            Self::Any(n) => n,
        }
    }
}

fuzz_target!(|input: Input| {
    let world = FakeWorld::with_tmp(1, Some(1 << 20));
    world.stdio.feed(&input.stdin).close();
    let mut wasi = Wasi::new(world.ctx(&["fuzz", "two"], &[("NAME", "value")]));
    let mut memory = vec![0; MEMORY];
    let len = input.memory.len().min(MEMORY);
    memory[..len].copy_from_slice(&input.memory[..len]);
    for (function, words) in input.calls.into_iter().take(CALLS) {
        let function = &FUNCTIONS[usize::from(function) % FUNCTIONS.len()];
        let arguments: Vec<u64> = words[..function.params.len()].iter().map(|word| word.value()).collect();
        // A call that waits is made again once the time has come, as an engine does.
        for _ in 0..3 {
            match wasi.call(function.name, &mut memory, &arguments).expect("a function of the list") {
                Err(Stop::Wait(wait)) => {
                    assert!(wait.stdin || wait.until.is_some(), "nothing would ever end this wait");
                    world.clock.advance(wait.until.unwrap_or(1).min(1 << 40));
                }
                // The engine would end the guest; another call finds more.
                Err(Stop::Errno(_) | Stop::Exit(_) | Stop::Trap(_)) | Ok(()) => break,
            }
        }
    }
});
