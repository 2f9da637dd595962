//! Preview 1 modules as native code, through the decoder that the interpreter has as well.
//!
//! Promises: what a module sees is what it sees in the interpreter, to the byte of its transcript. A host call that has to wait
//! suspends the guest, and nobody else.

use std::{fmt, mem::MaybeUninit, pin::Pin, sync::Arc};

use lunette_hostcalls::{
    CodeFrame, Ctx, Ending, Limit, Nanos, Trap, TrapKind, Wait,
    task::{self, Time, Timers},
};
use lunette_wasm::wasi::{self, Answer, Args, Function, MAX_PARAMS, Stop, Wasi};
use wasmtime::{
    Caller, Extern, ExternType, Func, FuncType, Memory, Module, Store, TypedFunc, ValRaw, ValType,
};

use crate::{
    engine::Engine,
    limits::{Book, Limits},
    meter::{Meter, Stopped},
    trap::{self, Exit, HostTrap},
};

/// What belongs to one guest, inside the engine's store.
struct State {
    wasi: Wasi,
    book: Book,
    /// The memory that pointers point into, once the module is instantiated.
    memory: Option<Memory>,
    timers: Arc<Timers>,
    deadline: Option<Nanos>,
}

/// A module that runs.
pub struct Instance {
    run: Pin<Box<dyn Future<Output = Outcome> + Send>>,
    ended: Option<Outcome>,
}

/// How it ended, and where it was: innermost function first.
type Outcome = (Ending, Vec<CodeFrame>);

/// Why a module can't be started though its code was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It imports what nobody provides: `module.name`, each.
    Imports(Vec<String>),
    /// It has no `_start` that takes and returns nothing.
    NoEntry,
    /// The engine's words.
    Setup(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imports(names) => write!(f, "it imports what there is not: {}", names.join(", ")),
            Self::NoEntry => f.write_str("it exports no `_start` that could be run"),
            Self::Setup(words) => f.write_str(words),
        }
    }
}

/// Makes a guest of a module. Nothing of it runs yet: its memory is set up when it does.
pub fn start(
    engine: &Engine,
    module: Module,
    ctx: Ctx,
    timers: Arc<Timers>,
    limits: Limits,
    meter: Meter,
) -> Result<Instance, Problem> {
    let time = Time::new(ctx.clock.clone(), timers.clone());
    let state = State {
        wasi: Wasi::new(ctx),
        book: Book::new(limits),
        memory: None,
        timers,
        deadline: meter.deadline,
    };
    let mut store = Store::new(engine.wasmtime(), state);
    store.limiter(|state| &mut state.book);
    meter.hold(&mut store, time).map_err(|error| Problem::Setup(error.to_string()))?;
    let externs = link(&mut store, &module)?;
    match module.get_export("_start") {
        Some(ExternType::Func(ty)) if ty.params().len() == 0 && ty.results().len() == 0 => {}
        _ => return Err(Problem::NoEntry),
    }
    let run = async move {
        let outcome = match go(&mut store, &module, &externs).await {
            Ok(()) => (Ending::Exited(0), Vec::new()),
            Err(error) => trap::ending(&error),
        };
        // What it held open is closed: its host may keep it for its backtrace.
        store.data_mut().wasi.close();
        outcome
    };
    Ok(Instance { run: Box::pin(run), ended: None })
}

impl Instance {
    /// Runs it until it ends. Dropped in the middle, it can be called again.
    pub async fn run(&mut self) -> Ending {
        if self.ended.is_none() {
            self.ended = Some(self.run.as_mut().await);
        }
        self.ended.as_ref().map_or(Ending::Exited(0), |(ending, _)| ending.clone())
    }

    /// Where the guest was when it trapped or was stopped, innermost function first.
    pub fn backtrace(&self) -> &[CodeFrame] {
        self.ended.as_ref().map_or(&[], |(_, frames)| frames)
    }
}

async fn go(store: &mut Store<State>, module: &Module, externs: &[Extern]) -> wasmtime::Result<()> {
    let instance = match wasmtime::Instance::new_async(&mut *store, module, externs).await {
        Ok(instance) => instance,
        Err(error) => return Err(store.data().book.explain(error)),
    };
    store.data_mut().memory = instance.get_memory(&mut *store, "memory");
    let entry: TypedFunc<(), ()> = instance.get_typed_func(&mut *store, "_start")?;
    entry.call_async(store, ()).await
}

/// Finds what each import asks for; collects all that nobody provides.
fn link(store: &mut Store<State>, module: &Module) -> Result<Vec<Extern>, Problem> {
    let (mut externs, mut bad) = (Vec::with_capacity(module.imports().len()), Vec::new());
    for import in module.imports() {
        let function = if import.module() == wasi::MODULE { Function::find(import.name()) } else { None };
        match (function, import.ty()) {
            (Some(function), ExternType::Func(ty)) if has_type(function, ty.params(), ty.results()) => {
                externs.push(host_function(store, function, ty));
            }
            _ => bad.push(format!("{}.{}", import.module(), import.name())),
        }
    }
    if bad.is_empty() { Ok(externs) } else { Err(Problem::Imports(bad)) }
}

fn has_type(
    function: &Function,
    params: impl Iterator<Item = ValType>,
    mut results: impl Iterator<Item = ValType>,
) -> bool {
    let wanted = function.signature.params.iter().map(|ty| match ty {
        wasi::ValueType::I32 => 'i',
        wasi::ValueType::I64 => 'l',
    });
    let given = params.map(|ty| match ty {
        ValType::I32 => 'i',
        ValType::I64 => 'l',
        _ => '?',
    });
    let result = match function.returns() {
        true => matches!(results.next(), Some(ValType::I32)),
        false => true,
    };
    result && results.next().is_none() && wanted.eq(given)
}

/// Calls that never wait: they need no future, and so no allocation.
const AT_ONCE: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_fdstat_get",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "proc_exit",
];

/// The host function for an import of this type, which is the function's own. One closure serves all shapes: to make a type
/// of a closure's would cost thousands of instructions for each import.
#[expect(unsafe_code, reason = "a function that takes its arguments as they lie")]
fn host_function(store: &mut Store<State>, function: &'static Function, ty: FuncType) -> Extern {
    let at_once = !function.returns() || AT_ONCE.binary_search(&function.signature.name).is_ok();
    Extern::Func(match at_once {
        // SAFETY: `link` has compared `ty` with the function's signature, by which the values are read and written.
        true => unsafe {
            Func::new_unchecked(store, ty, move |mut caller: Caller<'_, State>, values| {
                let answer = ask(&mut caller, function, &taken(function, values));
                let errno = told(answer)?.map_err(|_| never_waits(function))?;
                give(function, values, errno);
                Ok(())
            })
        },
        // SAFETY: as above.
        false => unsafe {
            Func::new_unchecked_async(store, ty, move |mut caller: Caller<'_, State>, values| {
                Box::new(async move {
                    let errno = call(&mut caller, function, &taken(function, values)).await?;
                    give(function, values, errno);
                    Ok(())
                })
            })
        },
    })
}

/// The arguments, as the decoder takes them.
fn taken(function: &Function, values: &[MaybeUninit<ValRaw>]) -> Args {
    let mut args = [0; MAX_PARAMS];
    for ((arg, ty), value) in args.iter_mut().zip(function.signature.params).zip(values) {
        #[expect(unsafe_code, reason = "a value that the caller has written")]
        // SAFETY: the engine has written one for each parameter of the type, which has those of the signature.
        let value = unsafe { value.assume_init() };
        *arg = match ty {
            wasi::ValueType::I32 => value.get_u32().into(),
            wasi::ValueType::I64 => value.get_u64(),
        };
    }
    args
}

/// The result, where the caller looks for it.
fn give(function: &Function, values: &mut [MaybeUninit<ValRaw>], errno: u32) {
    if function.returns() {
        values[0].write(ValRaw::u32(errno));
    }
}

fn never_waits(function: &Function) -> wasmtime::Error {
    let message = format!("a bug in the host: {} has to wait", function.signature.name);
    HostTrap(Trap { kind: TrapKind::HostPanic, message, backtrace: Vec::new() }).into()
}

/// Makes the call until it does not have to wait any more.
async fn call(
    caller: &mut Caller<'_, State>,
    function: &'static Function,
    args: &Args,
) -> wasmtime::Result<u32> {
    loop {
        let answer = ask(caller, function, args);
        match told(answer)? {
            Ok(errno) => return Ok(errno),
            Err(wait) => until(caller.data(), wait).await?,
        }
    }
}

fn ask(caller: &mut Caller<'_, State>, function: &Function, args: &Args) -> Answer {
    match caller.data().memory {
        Some(memory) => {
            let (bytes, state) = memory.data_and_store_mut(caller);
            function.call(&mut state.wasi, bytes, args)
        }
        // Without a memory, no pointer is good.
        None => function.call(&mut caller.data_mut().wasi, &mut [], args),
    }
}

/// The errno for the guest, or what it has to wait for, or its end.
fn told(answer: Answer) -> wasmtime::Result<Result<u32, Wait>> {
    match answer {
        Ok(()) => Ok(Ok(0)),
        Err(Stop::Errno(errno)) => Ok(Ok(errno.code().into())),
        Err(Stop::Wait(wait)) => Ok(Err(wait)),
        Err(Stop::Exit(code)) => Err(Exit(code).into()),
        Err(Stop::Trap(trap)) => Err(HostTrap(trap).into()),
    }
}

/// Waits, but not past the deadline.
async fn until(state: &State, mut wait: Wait) -> wasmtime::Result<()> {
    if let Some(deadline) = state.deadline {
        wait.until = Some(wait.until.map_or(deadline, |until| until.min(deadline)));
    }
    let ctx = state.wasi.ctx();
    task::ready(&wait, &*ctx.clock, &*ctx.stdio, &state.timers).await;
    match state.deadline {
        Some(deadline) if ctx.clock.monotonic() >= deadline => Err(Stopped(Limit::Time).into()),
        _ => Ok(()),
    }
}
