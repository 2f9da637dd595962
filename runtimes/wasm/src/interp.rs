//! Running a module in the interpreter, a slice at a time.
//!
//! Promises: a guest is held to its [`Limits`] from the first instruction on, a start function included.
//! A host call that must wait ends the slice; the next step makes the same call again, with the same
//! arguments, and goes on from there. Nothing that a guest does panics; a panic in a host call ends this
//! guest as a trap. A trap and a stop say where the guest was.
//!
//! Does not: end a slice by itself unless there is a limit on time or fuel, or it is asked for ([`Limits::slices`]).
//! Metering has a price (16 % more instructions for `fib`; see `examples/metering.rs`), so a guest without a limit runs
//! until it waits or ends.

use std::{collections::VecDeque, mem};

use lunette_hostcalls::{CodeFrame, Ctx, Ending, Guest, Limit, Nanos, Step, Trap, TrapKind, Wait};
use wasmi::{
    Error, Extern, ExternType, Func, Instance as Instantiated, Module, ResumableCall, ResumableCallHostTrap,
    ResumableCallOutOfFuel, Store, TrapCode, Val,
    errors::{ErrorKind, InstantiationError},
};

use crate::{
    calls::{self, Call, Halt, State},
    engine::engine,
    examine,
    limits::{Book, Limits},
    names::one_line,
    problem::{BadImport, Problem, Refusal},
    trap,
    wasi::{self, Function, Wasi},
};

/// How much fuel a slice gets: two to eight milliseconds of native time, some tens under emulation.
const SLICE: u64 = 5_000_000;

/// Makes a guest of a module: loads, links, sets up its memory. Nothing of it runs yet.
///
/// The bytes need not have been looked at by anybody. `ctx` is all that the guest will see of the world.
/// The time of `limits` begins now.
pub fn start(wasm: &[u8], ctx: Ctx, limits: Limits) -> Result<Instance, Refusal> {
    examine::header(wasm)?;
    let engine = engine(limits.metering());
    let module = Module::new(&engine, wasm).map_err(|error| refused(&error, wasm))?;
    // Only read where it matters: the first reading has a price.
    let deadline = limits.time.map(|time| ctx.clock.monotonic().saturating_add(time));
    let mut store = Store::new(
        &engine,
        State { wasi: Wasi::new(ctx), book: Book::new(&limits), memory: None, wait: Wait::default() },
    );
    store.limiter(|state| &mut state.book);
    let externs = link(&mut store, &module)?;
    check_entry(&module)?;
    let (instance, start) = Instantiated::new_without_start(&mut store, &module, &externs)
        .map_err(|error| not_set_up(&error, wasm, &store))?;
    store.data_mut().memory = instance.get_memory(&store, "memory");
    let entry = instance.get_func(&store, "_start");
    Ok(Instance {
        store,
        wasm: wasm.into(),
        run: Run::Next,
        left: start.into_iter().chain(entry).collect(),
        deadline,
        fuel: limits.fuel,
        metering: limits.metering(),
        backtrace: Vec::new(),
    })
}

/// A module that runs.
pub struct Instance {
    store: Store<State>,
    /// For names, should they be asked for.
    wasm: Box<[u8]>,
    run: Run,
    /// Functions still to be called: the start function, then `_start`.
    left: VecDeque<Func>,
    deadline: Option<Nanos>,
    /// What is left of the limit, without what is granted to the slice that runs.
    fuel: Option<u64>,
    metering: bool,
    backtrace: Vec<CodeFrame>,
}

/// Where the guest is between two slices.
enum Run {
    /// Between two functions.
    Next,
    /// In a host call that waits.
    Waits(ResumableCallHostTrap, Call),
    /// In a host call that waits, made by a tail call of the outermost function: its result is the end of it.
    WaitsLast(Call),
    /// Its slice is used up.
    Slice(ResumableCallOutOfFuel),
    Ended(Ending),
}

impl Guest for Instance {
    fn step(&mut self) -> Step {
        match mem::replace(&mut self.run, Run::Next) {
            Run::Ended(ending) => self.end(ending),
            run if self.late() => {
                self.backtrace = match &run {
                    Run::Waits(call, _) => trap::backtrace(&call.wasm_backtrace(), &self.wasm),
                    Run::Slice(call) => trap::backtrace(&call.wasm_backtrace(), &self.wasm),
                    _ => Vec::new(),
                };
                self.end(Ending::Stopped(Limit::Time))
            }
            Run::Next => self.next(),
            Run::Waits(paused, call) => match self.perform(&call) {
                Ok(errno) => {
                    let result = [Val::I32(errno)];
                    let results = if call.function.returns() { &result[..] } else { &[] };
                    let outcome = paused.resume(&mut self.store, results, &mut []);
                    self.after(outcome)
                }
                Err(Halt::Wait(call)) => self.waits(Run::Waits(paused, call)),
                Err(halt) => {
                    let frames = trap::backtrace(&paused.wasm_backtrace(), &self.wasm);
                    self.halt(halt, frames)
                }
            },
            Run::WaitsLast(call) => match self.perform(&call) {
                Ok(_) => self.next(),
                Err(Halt::Wait(call)) => self.waits(Run::WaitsLast(call)),
                Err(halt) => self.halt(halt, Vec::new()),
            },
            Run::Slice(paused) => match self.refuel(paused.required_fuel()) {
                true => {
                    let outcome = paused.resume(&mut self.store, &mut []);
                    self.after(outcome)
                }
                false => {
                    self.backtrace = trap::backtrace(&paused.wasm_backtrace(), &self.wasm);
                    self.end(Ending::Stopped(Limit::Fuel))
                }
            },
        }
    }
}

impl Instance {
    /// Where the guest was when it trapped or was stopped, innermost function first.
    pub fn backtrace(&self) -> &[CodeFrame] {
        &self.backtrace
    }

    /// How many bytes its memories take.
    pub fn memory_used(&self) -> u64 {
        self.store.data().book.memory().used
    }

    /// Calls what is to be called next.
    fn next(&mut self) -> Step {
        let Some(function) = self.left.pop_front() else { return self.end(Ending::Exited(0)) };
        if self.metering && !self.refuel(1) {
            return self.end(Ending::Stopped(Limit::Fuel));
        }
        let outcome = function.call_resumable(&mut self.store, &[], &mut []);
        self.after(outcome)
    }

    /// The engine has given control back.
    fn after(&mut self, outcome: Result<ResumableCall, Error>) -> Step {
        match outcome {
            Ok(ResumableCall::Finished) if self.left.is_empty() => self.end(Ending::Exited(0)),
            // A start function has ended. What is next is called in the next step.
            Ok(ResumableCall::Finished) => self.wait(GIVE_WAY),
            Ok(ResumableCall::OutOfFuel(paused)) => {
                self.run = Run::Slice(paused);
                self.wait(GIVE_WAY)
            }
            Ok(ResumableCall::HostTrap(paused)) => match paused.host_error().downcast_ref::<Halt>() {
                Some(Halt::Wait(call)) => {
                    let call = call.clone();
                    self.waits(Run::Waits(paused, call))
                }
                _ => {
                    let frames = trap::backtrace(&paused.wasm_backtrace(), &self.wasm);
                    let error = paused.into_host_error();
                    self.host_error(error, frames)
                }
            },
            // A host call that was a tail call of the outermost function: there is nothing to go back to.
            Err(error) if error.downcast_ref::<Halt>().is_some() => self.host_error(error, Vec::new()),
            Err(error) => {
                let trap = trap::of_error(&error, &self.wasm);
                self.trap(trap)
            }
        }
    }

    fn host_error(&mut self, error: Error, frames: Vec<CodeFrame>) -> Step {
        let words = one_line(&error.to_string(), 200);
        match error.downcast::<Halt>() {
            Some(halt) => self.halt(halt, frames),
            None => self.trap(Trap { kind: TrapKind::Other, message: words, backtrace: frames }),
        }
    }

    fn halt(&mut self, halt: Halt, frames: Vec<CodeFrame>) -> Step {
        match halt {
            Halt::Exit(code) => self.end(Ending::Exited(code)),
            Halt::Trap(trap) => self.trap(Trap { backtrace: frames, ..trap }),
            Halt::Wait(call) => self.waits(Run::WaitsLast(call)),
        }
    }

    fn trap(&mut self, trap: Trap) -> Step {
        self.backtrace.clone_from(&trap.backtrace);
        self.end(Ending::Trapped(trap))
    }

    /// What it held open is closed: its host may keep it for its backtrace.
    fn end(&mut self, ending: Ending) -> Step {
        self.run = Run::Ended(ending.clone());
        let state = self.store.data_mut();
        state.wait = Wait::default();
        state.wasi.close();
        Step::Ended(ending)
    }

    /// In a host call that waits for what it left in the state.
    fn waits(&mut self, run: Run) -> Step {
        self.run = run;
        let wait = mem::take(&mut self.store.data_mut().wait);
        self.wait(wait)
    }

    /// Waiting counts: nobody waits past the deadline.
    fn wait(&self, mut wait: Wait) -> Step {
        if let Some(deadline) = self.deadline {
            wait.until = Some(wait.until.map_or(deadline, |until| until.min(deadline)));
        }
        Step::Wait(wait)
    }

    fn late(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.store.data().wasi.ctx().clock.monotonic() >= deadline)
    }

    fn perform(&mut self, call: &Call) -> Result<i32, Halt> {
        match self.store.data().memory {
            Some(memory) => {
                let (bytes, state) = memory.data_and_store_mut(&mut self.store);
                calls::perform(call, bytes, state)
            }
            None => calls::perform(call, &mut [], self.store.data_mut()),
        }
    }

    /// Gives the engine fuel for a slice, and at least `required`. False if there is not so much left.
    fn refuel(&mut self, required: u64) -> bool {
        let rest = self.store.get_fuel().unwrap_or(0);
        let wanted = SLICE.max(required);
        let grant = match &mut self.fuel {
            None => wanted,
            Some(left) => {
                // What the last slice did not use comes back first.
                *left = left.saturating_add(rest);
                if *left < required {
                    return false;
                }
                let grant = wanted.min(*left);
                *left -= grant;
                grant
            }
        };
        // It fails only if metering is off.
        self.store.set_fuel(grant).is_ok()
    }
}

/// Nothing to wait for: let others have a go.
const GIVE_WAY: Wait = Wait::GIVE_WAY;

/// Finds what each import asks for; collects all that nobody provides.
fn link(store: &mut Store<State>, module: &Module) -> Result<Vec<Extern>, Refusal> {
    let (mut externs, mut bad) = (Vec::new(), Vec::new());
    for import in module.imports() {
        let function = if import.module() == wasi::MODULE { Function::find(import.name()) } else { None };
        match (function, import.ty()) {
            (Some(function), ExternType::Func(ty))
                if calls::has_type(function, ty.params(), ty.results()) =>
            {
                // Not needed any more once one import is bad.
                if bad.is_empty() {
                    externs.push(calls::link(store, function));
                }
            }
            (function, ty) => bad.push(BadImport {
                module: one_line(import.module(), 100),
                name: one_line(import.name(), 100),
                wanted: describe(ty),
                provided: function.map(Function::type_words),
            }),
        }
    }
    if bad.is_empty() { Ok(externs) } else { Err(Problem::Imports(bad)) }
}

fn describe(ty: &ExternType) -> String {
    match ty {
        ExternType::Func(ty) => calls::type_words(ty.params(), ty.results()),
        ExternType::Global(_) => "a global".into(),
        ExternType::Table(_) => "a table".into(),
        ExternType::Memory(_) => "a memory".into(),
    }
}

/// Is there something to run?
fn check_entry(module: &Module) -> Result<(), Refusal> {
    match module.get_export("_start") {
        Some(ExternType::Func(ty)) if ty.params().is_empty() && ty.results().is_empty() => Ok(()),
        _ => {
            let exports: Vec<_> =
                module.exports().map(|export| (export.name(), describe(export.ty()))).collect();
            examine::entry(exports.iter().map(|(name, ty)| (*name, ty.as_str())))
        }
    }
}

/// Why the engine did not take the module.
fn refused(error: &Error, wasm: &[u8]) -> Refusal {
    match error.kind() {
        ErrorKind::Wasm(error) => Problem::from_parser(error, wasm),
        _ => Problem::Setup(one_line(&error.to_string(), 200)),
    }
}

/// Why the engine did not instantiate it.
fn not_set_up(error: &Error, wasm: &[u8], store: &Store<State>) -> Refusal {
    let book = &store.data().book;
    match error.kind() {
        ErrorKind::Instantiation(InstantiationError::FailedToInstantiateMemory(_)) => {
            match book.memory().denied {
                Some(needs) => Problem::Memory { needs, allowed: book.memory().allowed },
                None => Problem::Setup("the host has no memory left for the module's own".into()),
            }
        }
        ErrorKind::Instantiation(InstantiationError::FailedToInstantiateTable(_)) => {
            match book.table().denied {
                Some(needs) => Problem::Table { needs, allowed: book.table().allowed },
                None => Problem::Setup("the host has no memory left for the module's tables".into()),
            }
        }
        ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) => {
            Problem::Setup("an element segment does not fit into its table".into())
        }
        _ if error.as_trap_code() == Some(TrapCode::MemoryOutOfBounds) => {
            Problem::Setup("a data segment does not fit into its memory".into())
        }
        _ => refused(error, wasm),
    }
}
