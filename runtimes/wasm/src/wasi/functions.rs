//! The functions as values: for an engine that links what a module imports, by name.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use lunette_hostcalls::{Trap, TrapKind};

use super::{Answer, Param, Signature, Stop, Wasi};
use crate::{
    memory::{GuestMemory, Span},
    names::one_line,
};

/// The most parameters that a function has.
pub const MAX_PARAMS: usize = 9;

/// Arguments as they come: an i32 in the lower half. What is too many is 0.
pub type Args = [u64; MAX_PARAMS];

/// A function of preview 1 and how to call it.
pub struct Function {
    pub signature: &'static Signature,
    call: fn(&mut Wasi, &mut [u8], &Args) -> Answer,
}

macro_rules! functions {
    ($($name:ident($($param:ident: $type:ident),*);)*) => {
        /// In the order of [`super::FUNCTIONS`]: sorted by name.
        const CALLS: &[fn(&mut Wasi, &mut [u8], &Args) -> Answer] = &[$(
            |wasi, memory, args| {
                let _values = &mut args.iter();
                let memory = &mut GuestMemory::new(stringify!($name), memory);
                wasi.$name(memory $(, <$type>::take(_values))*)
            },
        )*];
    };
}

crate::for_each_preview1!(functions);

static FUNCTIONS: [Function; CALLS.len()] = {
    let mut table = [const { Function { signature: &super::FUNCTIONS[0], call: CALLS[0] } }; CALLS.len()];
    let mut n = 0;
    while n < CALLS.len() {
        table[n] = Function { signature: &super::FUNCTIONS[n], call: CALLS[n] };
        n += 1;
    }
    table
};

impl Function {
    /// Finds a function of [`super::MODULE`] by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|function| function.signature.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
    }

    pub fn returns(&self) -> bool {
        self.signature.result
    }

    /// Its type in words.
    pub fn type_words(&self) -> String {
        self.signature.to_string().trim_start_matches(self.signature.name).to_owned()
    }

    /// Makes the call, for the first time or again. A panic on the way is caught: it ends this guest only.
    pub fn call(&self, wasi: &mut Wasi, memory: &mut [u8], args: &Args) -> Answer {
        catch_unwind(AssertUnwindSafe(|| (self.call)(wasi, memory, args))).unwrap_or_else(|panic| {
            let words = Trap::panic_words(&*panic).unwrap_or("without a message");
            let message =
                format!("a bug in the host: {} panicked: {}", self.signature.name, one_line(words, 200));
            Err(Stop::Trap(Trap { kind: TrapKind::HostPanic, message, backtrace: Vec::new() }))
        })
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.signature)
    }
}

/// The list of what parameters functions have: one closure for each shape, for one for all would allocate at each call. Hands the
/// parameters of `$params` to the macro named; `$none` is for a shape that is not here (a test links every function).
macro_rules! for_preview1_shape {
    ($params:expr, $shape:ident, $none:expr) => {{
        use $crate::wasi::ValueType::{I32, I64};
        match $params {
            [] => $shape!(),
            [I32] => $shape!(a: u32),
            [I32, I32] => $shape!(a: u32, b: u32),
            [I32, I32, I32] => $shape!(a: u32, b: u32, c: u32),
            [I32, I32, I32, I32] => $shape!(a: u32, b: u32, c: u32, d: u32),
            [I32, I32, I32, I32, I32] => $shape!(a: u32, b: u32, c: u32, d: u32, e: u32),
            [I32, I32, I32, I32, I32, I32] => $shape!(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32),
            [I32, I32, I32, I32, I32, I32, I32] => {
                $shape!(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32)
            }
            [I32, I64] => $shape!(a: u32, b: u64),
            [I32, I64, I64] => $shape!(a: u32, b: u64, c: u64),
            [I32, I64, I32] => $shape!(a: u32, b: u64, c: u32),
            [I32, I64, I32, I32] => $shape!(a: u32, b: u64, c: u32, d: u32),
            [I32, I64, I64, I32] => $shape!(a: u32, b: u64, c: u64, d: u32),
            [I32, I32, I32, I64, I32] => $shape!(a: u32, b: u32, c: u32, d: u64, e: u32),
            [I32, I32, I32, I32, I64, I64, I32] => {
                $shape!(a: u32, b: u32, c: u32, d: u32, e: u64, f: u64, g: u32)
            }
            [I32, I32, I32, I32, I32, I64, I64, I32, I32] => {
                $shape!(a: u32, b: u32, c: u32, d: u32, e: u32, f: u64, g: u64, h: u32, i: u32)
            }
            _ => $none,
        }
    }};
}
pub(crate) use for_preview1_shape;
