//! Native code of a guest's, if its bundle brings any that runs here: modules of preview 1, and components.
//!
//! Promises: it is loaded only if its label fits this engine and this processor. A module whose native code does not fit is interpreted, and
//! that is said; a component, which nothing can interpret, is refused with both sides named.

mod serve;

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::Poll,
};

use lunette_bundle::{self as bundle, GuestPlan, HELP, Payload, Plan};
use lunette_component::{
    Command,
    serve::{Server, answers},
};
use lunette_hostcalls::{
    CodeFrame, Ctx, Ending, Limit,
    task::{Sleep, Time},
};
use lunette_native::{Engine, Instance, Kind, Label, Limits, Meter, Mismatch, Source, Variant, trap};

use super::Program;
use crate::{Code, Made, Maker, Native, Refusal, nanos};

pub(crate) use lunette_component::serve::Handler;
pub use lunette_native::Profile;
pub(crate) use lunette_native::ticker;

/// Native code that runs here.
pub(crate) enum Loaded {
    Module(Engine, wasmtime::Module),
    Component(Engine, wasmtime::component::Component),
}

/// The native code of a guest, if it is to run as that. What can be interpreted instead is, and that is said.
pub(crate) fn load(
    maker: &Maker<'_>,
    plan: &GuestPlan,
    payload: &Payload<'static>,
    main: &[u8],
) -> Result<Option<Loaded>, Refusal> {
    let services = maker.services;
    let component = lunette_wasm::is_component(main);
    let refused = |what: &str, help: &str| Err(Refusal(format!("{}: {what}{HELP}{help}", plan.main)));
    let native = match payload.native(plan)? {
        Some(native) if component || plan.engine != bundle::Engine::Wasmi => native,
        None if component => {
            return refused(
                "it is a component, and there is no native code beside it: no component is interpreted",
                "build the bundle with `lunette build`, or let `lunette run` do it: both compile components",
            );
        }
        None if plan.engine == bundle::Engine::Wasmtime => {
            return refused(
                "wasmtime is to run it, and there is no native code beside it",
                "build the bundle with `lunette build --aot`",
            );
        }
        _ => return Ok(None),
    };
    let variant = Variant { fuel: plan.counts() };
    match fitting(&services.native, native.label, native.code, variant) {
        Ok(code) => Ok(Some(code)),
        Err(mismatch) if component || plan.engine == bundle::Engine::Wasmtime => {
            refused(&mismatch.to_string(), help(&mismatch))
        }
        Err(mismatch) => {
            services.log.warn(format_args!("{}: {mismatch}; it is interpreted", plan.main));
            Ok(None)
        }
    }
}

/// Loads the code with that label, if it fits.
fn fitting(native: &Native, label: &str, code: &'static [u8], variant: Variant) -> Result<Loaded, Mismatch> {
    let label = Label::parse(label)?;
    label.fits(variant)?;
    let engine = Engine::of(variant)?;
    let failed = |e: io::Error| Mismatch::Refused(format!("it can't be mapped: {e}"));
    let Code { path, keep } = (native.open)(code).map_err(failed)?;
    let source = Source { path, keep };
    match label.kind {
        Kind::Module => engine.module(&label, &source).map(|module| Loaded::Module(engine, module)),
        Kind::Component => {
            engine.component(&label, &source).map(|component| Loaded::Component(engine, component))
        }
    }
}

/// What to do about it.
fn help(mismatch: &Mismatch) -> &'static str {
    match mismatch {
        Mismatch::Engine { .. } | Mismatch::Label(_) | Mismatch::Refused(_) => {
            "build the bundle again with the `lunette` that belongs to this image"
        }
        Mismatch::Cpu { .. } => "build the bundle with `--cpu v1`, or give the VM a newer processor",
        Mismatch::Fuel { counts: false } => "build the bundle with `--fuel`, or run it without that limit",
        Mismatch::Fuel { counts: true } => "build the bundle without `--fuel`, or give it that limit",
    }
}

/// Makes a guest of native code.
pub(crate) fn start(maker: &Maker<'_>, plan: &GuestPlan, code: Loaded, ctx: Ctx) -> Result<Made, Refusal> {
    let services = maker.services;
    let limits = Limits { memory: maker.memory(plan), table_elements: plan.tables };
    let deadline = plan.timeout.map(|time| services.clock.monotonic().saturating_add(nanos(time)));
    let probe = services.profile.map(|profile| profile.probe(&plan.name));
    let meter = Meter { deadline, fuel: plan.fuel, probe };
    if maker.several || deadline.is_some() || probe.is_some() {
        (services.native.tick)();
    }
    let refused = |words: String| Refusal(format!("{}: {words}", plan.main));
    match code {
        Loaded::Module(engine, module) => {
            let timers = maker.timers.clone();
            let guest = lunette_native::start(&engine, module, ctx, timers, limits, meter);
            let guest = guest
                .map_err(|problem| refused(format!("{problem}{HELP}`lunette check` says more about it")))?;
            Ok(Made::Program(Box::new(guest)))
        }
        Loaded::Component(engine, component) if answers(&component) => {
            let time = Time::new(services.clock.clone(), maker.timers.clone());
            let settings = serve::settings(plan, limits.memory, probe);
            let handler = Handler::new(&engine, &component, ctx, time, services.log.clone(), settings);
            handler
                .map(Made::Handler)
                .map_err(|problem| refused(format!("{problem}{HELP}{}", problem.help())))
        }
        Loaded::Component(_, component) => {
            let (timers, log) = (maker.timers.clone(), services.log.clone());
            let guest = Command::new(&component, ctx, timers, log, limits, meter);
            let guest = guest.map_err(|problem| refused(format!("{problem}{HELP}{}", problem.help())))?;
            Ok(Made::Program(Box::new(guest)))
        }
    }
}

/// A server for the requests of these guests, each by its number; it belongs to the first.
pub(crate) fn server(
    maker: &Maker<'_>,
    plan: &GuestPlan,
    handlers: Vec<(usize, Handler)>,
    whole: &Plan,
) -> Result<Box<dyn Program>, Refusal> {
    let services = maker.services;
    // Who never gives way would keep the others from being answered.
    (services.native.tick)();
    let time = Time::new(services.clock.clone(), maker.timers.clone());
    let server = serve::server(plan, maker.bundle, handlers, &whole.routes, time.clone(), services)?;
    let end = plan.timeout.map(|limit| time.sleep(limit));
    Ok(Box::new(Serving { server, end }))
}

impl Program for Instance {
    fn run(&mut self) -> Pin<Box<dyn Future<Output = Ending> + '_>> {
        Box::pin(self.run())
    }

    fn stopped_in(&self) -> Option<&[CodeFrame]> {
        Some(self.backtrace())
    }

    fn note(&self, backtrace: &[CodeFrame]) -> Option<&'static str> {
        trap::note(backtrace)
    }
}

impl Program for Command {
    fn run(&mut self) -> Pin<Box<dyn Future<Output = Ending> + '_>> {
        Box::pin(self.run())
    }

    fn stopped_in(&self) -> Option<&[CodeFrame]> {
        Some(self.backtrace())
    }

    fn note(&self, backtrace: &[CodeFrame]) -> Option<&'static str> {
        trap::note(backtrace)
    }
}

struct Serving {
    server: Server,
    /// When its time is up, if that is limited.
    end: Option<Sleep>,
}

impl Program for Serving {
    fn run(&mut self) -> Pin<Box<dyn Future<Output = Ending> + '_>> {
        let Self { server, end } = self;
        Box::pin(async {
            let mut run = pin!(server.run());
            poll_fn(|cx| {
                let late = end.as_mut().is_some_and(|end| Pin::new(end).poll(cx).is_ready());
                if late { Poll::Ready(Ending::Stopped(Limit::Time)) } else { run.as_mut().poll(cx) }
            })
            .await
        })
    }

    /// Each request's own log lines have told.
    fn stopped_in(&self) -> Option<&[CodeFrame]> {
        None
    }
}
