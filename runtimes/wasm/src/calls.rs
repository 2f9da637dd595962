//! From a module's imports to the functions of WASI: types, and one closure for each that is imported.

use std::fmt;

use lunette_hostcalls::{Trap, Wait};
use wasmi::{Caller, Error, Extern, Func, Memory, Store, ValType, errors::HostError};

use crate::{
    limits::Book,
    wasi::{Args, Function, MAX_PARAMS, Stop, ValueType, Wasi, for_preview1_shape},
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

/// Makes a call, for the first time or again: the errno for the guest, 0 for success.
pub(crate) fn perform(call: &Call, memory: &mut [u8], state: &mut State) -> Result<i32, Halt> {
    match call.function.call(&mut state.wasi, memory, &call.args) {
        Ok(()) => Ok(0),
        Err(Stop::Errno(errno)) => Ok(errno.code().into()),
        Err(Stop::Wait(wait)) => {
            state.wait = wait;
            Err(Halt::Wait(call.clone()))
        }
        Err(Stop::Exit(code)) => Err(Halt::Exit(code)),
        Err(Stop::Trap(trap)) => Err(Halt::Trap(trap)),
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
    macro_rules! wrap {
        ($result:ty, $convert:expr $(, $arg:ident: $ty:ty)*) => {
            Func::wrap(store, move |caller: Caller<'_, State> $(, $arg: $ty)*| -> Result<$result, Error> {
                enter(caller, function, &[$($arg.into()),*]).map($convert)
            })
        };
    }
    macro_rules! shape {
        ($($arg:ident: $ty:ty),*) => { wrap!(i32, |errno| errno $(, $arg: $ty)*) };
    }
    Extern::Func(match function.returns() {
        true => for_preview1_shape!(
            function.signature.params,
            shape,
            unreachable!("no closure of the shape of {}", function.signature)
        ),
        false => wrap!((), |_| (), a: u32),
    })
}

/// Is this the type that an import asks for?
pub(crate) fn has_type(function: &Function, params: &[ValType], results: &[ValType]) -> bool {
    let results_match =
        if function.returns() { matches!(results, [ValType::I32]) } else { results.is_empty() };
    let wanted = function.signature.params.iter().map(|ty| match ty {
        ValueType::I32 => ValType::I32,
        ValueType::I64 => ValType::I64,
    });
    results_match && wanted.eq(params.iter().copied())
}

/// A function's type in words, as those of [`crate::wasi::Signature`]: `(i32, i64) -> i32`.
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
