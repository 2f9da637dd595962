//! From a module's imports to the functions of WASI: types, and one closure for each that is imported.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use lunette_hostcalls::{Trap, TrapKind, Wait};
use wasmi::{Caller, Error, Extern, Func, Memory, Store, ValType, errors::HostError};

use crate::{
    limits::Book,
    memory::{GuestMemory, Span},
    names::one_line,
    wasi::{Answer, Param, Signature, Stop, ValueType, Wasi},
};

/// What belongs to one guest, inside the engine's store.
pub(crate) struct State {
    pub(crate) wasi: Wasi,
    pub(crate) book: Book,
    /// The memory that pointers point into, once the module is instantiated.
    pub(crate) memory: Option<Memory>,
    /// What the call of the last [`Halt::Wait`] waits for: here, so that a long list is handed on, not copied.
    pub(crate) wait: Wait,
}

/// A call of the guest's: kept while it waits, and made again.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    args: Args,
}

/// The most parameters that a function has.
const MAX_PARAMS: usize = 9;

/// Arguments as they come: an i32 in the lower half. What is too many is 0.
type Args = [u64; MAX_PARAMS];

/// Why a host call did not return to the guest. Travels through the engine as its error.
#[derive(Debug)]
pub(crate) enum Halt {
    /// For [`State::wait`]; then this call is to be made again.
    Wait(Call),
    Exit(u32),
    Trap(Trap),
}

impl HostError for Halt {}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait(call) => write!(f, "{} waits", call.function.signature.name),
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Trap(trap) => f.write_str(&trap.message),
        }
    }
}

/// Makes a call, for the first time or again: the errno for the guest, 0 for success. A panic on the way is
/// caught: it ends this guest only.
pub(crate) fn perform(call: &Call, memory: &mut [u8], state: &mut State) -> Result<i32, Halt> {
    let Call { function, args } = call;
    match catch_unwind(AssertUnwindSafe(|| (function.call)(&mut state.wasi, memory, args))) {
        Ok(Ok(())) => Ok(0),
        Ok(Err(Stop::Errno(errno))) => Ok(errno.code().into()),
        Ok(Err(Stop::Wait(wait))) => {
            state.wait = wait;
            Err(Halt::Wait(call.clone()))
        }
        Ok(Err(Stop::Exit(code))) => Err(Halt::Exit(code)),
        Ok(Err(Stop::Trap(trap))) => Err(Halt::Trap(trap)),
        Err(panic) => {
            let words = (panic.downcast_ref::<&str>().copied())
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("without a message");
            let message =
                format!("a bug in the host: {} panicked: {}", function.signature.name, one_line(words, 200));
            Err(Halt::Trap(Trap { kind: TrapKind::HostPanic, message, backtrace: Vec::new() }))
        }
    }
}

/// The way of a call from the engine.
fn enter(mut caller: Caller<'_, State>, function: &'static Function, given: &[u64]) -> Result<i32, Error> {
    let mut call = Call { function, args: [0; MAX_PARAMS] };
    call.args[..given.len()].copy_from_slice(given);
    let result = match caller.data().memory {
        Some(memory) => {
            let (bytes, state) = memory.data_and_store_mut(&mut caller);
            perform(&call, bytes, state)
        }
        // Without a memory, no pointer is good.
        None => perform(&call, &mut [], caller.data_mut()),
    };
    result.map_err(Error::host)
}

/// The host function for an import, made when a module asks for it.
pub(crate) fn link(store: &mut Store<State>, function: &'static Function) -> Extern {
    use ValueType::{I32, I64};
    macro_rules! wrap {
        ($result:ty, $convert:expr $(, $arg:ident: $ty:ty)*) => {
            Func::wrap(store, move |caller: Caller<'_, State> $(, $arg: $ty)*| -> Result<$result, Error> {
                enter(caller, function, &[$($arg.into()),*]).map($convert)
            })
        };
    }
    // One closure for each shape of parameters: one for all would allocate at each call.
    macro_rules! shape {
        ($($arg:ident: $ty:ty),*) => { wrap!(i32, |errno| errno $(, $arg: $ty)*) };
    }
    Extern::Func(match function.signature.params {
        [I32] if !function.returns() => wrap!((), |_| (), a: u32),
        [] => shape!(),
        [I32] => shape!(a: u32),
        [I32, I32] => shape!(a: u32, b: u32),
        [I32, I32, I32] => shape!(a: u32, b: u32, c: u32),
        [I32, I32, I32, I32] => shape!(a: u32, b: u32, c: u32, d: u32),
        [I32, I32, I32, I32, I32] => shape!(a: u32, b: u32, c: u32, d: u32, e: u32),
        [I32, I32, I32, I32, I32, I32] => shape!(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32),
        [I32, I32, I32, I32, I32, I32, I32] => shape!(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32),
        [I32, I64] => shape!(a: u32, b: u64),
        [I32, I64, I64] => shape!(a: u32, b: u64, c: u64),
        [I32, I64, I32] => shape!(a: u32, b: u64, c: u32),
        [I32, I64, I32, I32] => shape!(a: u32, b: u64, c: u32, d: u32),
        [I32, I64, I64, I32] => shape!(a: u32, b: u64, c: u64, d: u32),
        [I32, I32, I32, I64, I32] => shape!(a: u32, b: u32, c: u32, d: u64, e: u32),
        [I32, I32, I32, I32, I64, I64, I32] => shape!(a: u32, b: u32, c: u32, d: u32, e: u64, f: u64, g: u32),
        [I32, I32, I32, I32, I32, I64, I64, I32, I32] => {
            shape!(a: u32, b: u32, c: u32, d: u32, e: u32, f: u64, g: u64, h: u32, i: u32)
        }
        // A test links every function.
        _ => unreachable!("no closure of the shape of {}", function.signature),
    })
}

/// A function of preview 1 and how to call it.
pub(crate) struct Function {
    pub(crate) signature: &'static Signature,
    call: fn(&mut Wasi, &mut [u8], &Args) -> Answer,
}

macro_rules! functions {
    ($($name:ident($($param:ident: $type:ident),*);)*) => {
        /// In the order of [`crate::wasi::FUNCTIONS`]: sorted by name.
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
    let mut table =
        [const { Function { signature: &crate::wasi::FUNCTIONS[0], call: CALLS[0] } }; CALLS.len()];
    let mut n = 0;
    while n < CALLS.len() {
        table[n] = Function { signature: &crate::wasi::FUNCTIONS[n], call: CALLS[n] };
        n += 1;
    }
    table
};

/// Finds a function of [`crate::wasi::MODULE`] by its name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|function| function.signature.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
}

impl Function {
    pub(crate) fn returns(&self) -> bool {
        self.signature.result
    }

    /// Is this the type that an import asks for?
    pub(crate) fn has_type(&self, params: &[ValType], results: &[ValType]) -> bool {
        let results_match =
            if self.returns() { matches!(results, [ValType::I32]) } else { results.is_empty() };
        let wanted = self.signature.params.iter().map(|ty| match ty {
            ValueType::I32 => ValType::I32,
            ValueType::I64 => ValType::I64,
        });
        results_match && wanted.eq(params.iter().copied())
    }

    /// Its type in words.
    pub(crate) fn type_words(&self) -> String {
        self.signature.to_string().trim_start_matches(self.signature.name).to_owned()
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.signature)
    }
}

/// A function's type in words, as those of [`Signature`]: `(i32, i64) -> i32`.
pub(crate) fn type_words(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| {
        types.iter().map(|ty| format!("{ty:?}").to_lowercase()).collect::<Vec<_>>().join(", ")
    };
    match results {
        [] => format!("({})", list(params)),
        [one] => format!("({}) -> {}", list(params), list(&[*one])),
        more => format!("({}) -> ({})", list(params), list(more)),
    }
}
