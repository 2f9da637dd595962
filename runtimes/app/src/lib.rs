//! From a bundle to guests that run: what the image and `lunette run --host` do alike, so that the same bundle
//! behaves alike, to the byte of its transcript.
//!
//! [`start`] reads the payload, lays out the files, raises the network if any guest is granted some of it, makes each
//! guest's world and starts it; [`run`] steps the guests until the app ends, and tells what became of it.
//!
//! Promises: the app is the first guest, and all ends with it; another guest's end is a line in the log. What
//! one guest has no other can touch but by the network. Of several guests none starves the others. Without grants
//! nothing of the network is set up.
//!
//! Does not: wait (its caller knows how), boot, check the bundle's hash (the CLI does), or restart a guest.
#![forbid(unsafe_code)]

mod files;
mod label;
mod listen;
mod native;
mod run;
mod serve;
#[cfg(test)]
mod tests;
mod versions;

use std::{sync::Arc, time::Duration};

use lunette_bundle::{self as bundle, Bundle, Error, GuestPlan, HELP, Payload, Plan, Source};
use lunette_component::{
    Command,
    serve::{Handler, answers},
};
use lunette_hostcalls::{
    Clock, Ctx, Log, Nanos, Net, Network, Random, Stdio, Versions,
    task::{Time, Timers},
};
use lunette_native::{Meter, Variant};
use lunette_wasm::{Limits, Problem};

pub use lunette_native::{Source as Code, ticker};
pub use native::Native;
pub use run::{App, run};

use crate::{
    label::Labelled,
    listen::Ports,
    native::Loaded,
    run::{Program, Runner},
    versions::Follower,
};

/// What a host gives.
#[derive(Clone)]
pub struct Services {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub stdio: Arc<dyn Stdio>,
    pub log: Arc<dyn Log>,
    /// Raises the network, and says in one line (with its `help:`) why it could not. Asked once, and only if a guest is
    /// granted any of it.
    pub network: Arc<dyn Fn() -> Result<Arc<dyn Net>, String>>,
    /// Bytes that the guests may have in linear memory. A guest's manifest can ask for less, or for as much; those that do
    /// not ask share evenly what the others leave.
    pub memory: u64,
    /// Bytes that can be written to a mount for which nobody gave a size.
    pub mount_size: u64,
    /// How native code is run here.
    pub native: Native,
    /// Where new versions of the app come from, if its launch says that they may.
    pub versions: Option<Arc<dyn Versions>>,
}

/// Nothing was started: one line that says what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// Starts the app in `payload`, and the guests beside it: a bundle or a bare module, and what the launch adds.
pub fn start(payload: &'static [u8], services: &Services) -> Result<App, Refusal> {
    let payload = Payload::parse(payload)?;
    let plan = payload.plan()?;
    plan.allowed()?;
    let mut maker = Maker {
        bundle: match &payload.source {
            Source::Bundle(bundle) => Some(bundle),
            Source::BareWasm(_) => None,
        },
        services,
        net: raise(&plan, services)?,
        timers: Arc::default(),
        ports: Ports::default(),
        memory: share(&plan, services.memory),
        several: !plan.guests.is_empty(),
    };
    let mut guests = Vec::with_capacity(1 + plan.guests.len());
    // Those whom the app's server gives requests to, by their numbers; the app is the first.
    let mut handlers: Vec<(usize, Handler)> = Vec::new();
    for (number, guest) in plan.all().enumerate() {
        let stdio = match number {
            0 => services.stdio.clone(),
            _ => Arc::new(Labelled::new(&guest.name, services.stdio.clone())) as Arc<dyn Stdio>,
        };
        let Started { made, listens, follower } = maker.start(guest, &payload, stdio.clone())?;
        let runner = |program| Runner { guest: program, name: guest.name.clone(), stdio, listens, follower };
        let runner = match made {
            Made::Handler(handler) if number == 0 || plan.routes.lead_to(number) => {
                handlers.push((number, handler));
                None
            }
            Made::Handler(handler) => Some(runner(maker.server(guest, vec![(number, handler)], &plan)?)),
            Made::Program(_) if plan.routes.lead_to(number) => return Err(no_handler(guest)),
            Made::Program(program) => Some(runner(program)),
        };
        guests.push(runner);
    }
    if handlers.first().is_some_and(|(number, _)| *number == 0) {
        let program = maker.server(&plan.app, handlers, &plan)?;
        let (name, stdio) = (plan.app.name.clone(), services.stdio.clone());
        guests[0] = Some(Runner { guest: program, name, stdio, listens: true, follower: None });
    } else if !handlers.is_empty() {
        return Err(no_handler(&plan.app));
    }
    if let Some(app) = &mut guests[0] {
        app.talk(&plan)?;
    }
    Ok(App {
        guests,
        net: maker.net,
        clock: services.clock.clone(),
        timers: maker.timers,
        log: services.log.clone(),
    })
}

/// The network, if it is wanted.
fn raise(plan: &Plan, services: &Services) -> Result<Option<Arc<dyn Net>>, Refusal> {
    if plan.all().all(|guest| guest.grants.is_empty()) {
        return Ok(None);
    }
    (services.network)().map(Some).map_err(|why| Refusal(format!("there is no network: {why}")))
}

#[cold]
fn no_handler(guest: &GuestPlan) -> Refusal {
    let name = &guest.name;
    Refusal(format!(
        "{name} answers no requests: it is no component with wasi:http/incoming-handler, and the manifest has a [[route]] to \
         it, or by it{HELP}take the [[route]] out, or build {name} as an HTTP handler"
    ))
}

/// A guest that is made, and not yet run.
struct Started {
    made: Made,
    listens: bool,
    follower: Option<Follower>,
}

enum Made {
    Program(Program),
    /// It has to be served.
    Handler(Handler),
}

/// What a guest may have that does not say.
fn share(plan: &Plan, memory: u64) -> u64 {
    let said: u64 = plan.all().filter_map(|guest| guest.memory).fold(0, u64::saturating_add);
    let silent = plan.all().filter(|guest| guest.memory.is_none()).count() as u64;
    // The app alone has all of it.
    memory.saturating_sub(said).checked_div(silent).unwrap_or(0)
}

/// Makes one guest after the other.
struct Maker<'a> {
    bundle: Option<&'a Bundle<'static>>,
    services: &'a Services,
    net: Option<Arc<dyn Net>>,
    timers: Arc<Timers>,
    ports: Ports,
    /// What a guest has in memory that does not say.
    memory: u64,
    several: bool,
}

impl Maker<'_> {
    fn start(
        &mut self,
        plan: &GuestPlan,
        payload: &Payload<'static>,
        stdio: Arc<dyn Stdio>,
    ) -> Result<Started, Refusal> {
        let services = self.services;
        let main = payload.main(plan)?;
        let mut env = plan.env.clone();
        let (mut network, mut listeners) = (Network::none(), Vec::new());
        if let Some(net) = self.net.as_ref().filter(|_| !plan.grants.is_empty()) {
            listeners = self.ports.listen(plan, &**net)?;
            listen::tell(&mut env, &listeners);
            network = Network::new(plan.name.clone(), net.clone(), plan.grants.clone(), services.log.clone());
        }
        let listens = !listeners.is_empty();
        let ctx = Ctx {
            name: plan.name.clone(),
            args: plan.args.clone(),
            env,
            clock: services.clock.clone(),
            random: services.random.clone(),
            stdio: stdio.clone(),
            preopens: files::preopens(self.bundle, plan, services)?,
            network,
            listeners,
        };
        let (made, follower) = match plan.main.ends_with(".lua") {
            true => {
                let follower = Follower::new(services, &plan.main, &ctx);
                (Made::Program(Program::Lua(self.script(plan, main, ctx)?)), follower)
            }
            false => match self.native_code(plan, payload, main)? {
                Some(code) => (self.native(plan, code, ctx)?, None),
                None => (Made::Program(Program::Wasm(Box::new(self.module(plan, main, ctx)?))), None),
            },
        };
        Ok(Started { made, listens, follower })
    }

    /// A server for the requests of these guests, each by its number; it belongs to the first.
    fn server(
        &self,
        plan: &GuestPlan,
        handlers: Vec<(usize, Handler)>,
        whole: &Plan,
    ) -> Result<Program, Refusal> {
        // Who never gives way would keep the others from being answered.
        (self.services.native.tick)();
        let time = Time::new(self.services.clock.clone(), self.timers.clone());
        let server = serve::server(plan, self.bundle, handlers, &whole.routes, time.clone(), self.services)?;
        let end = plan.timeout.map(|limit| time.sleep(limit));
        Ok(Program::Server(Box::new(server), end))
    }

    /// A script never has more than two thirds of what there is: what its state counts is what it asked for, and a block of
    /// the kernel's heap takes up to half as much again. A state that is refused memory has an error that the script can
    /// catch; one that finds the heap empty takes the machine with it.
    fn script(&self, plan: &GuestPlan, text: &[u8], ctx: Ctx) -> Result<lunette_lua::Instance, Refusal> {
        let limits = lunette_lua::Limits {
            memory: self.memory(plan).min(self.services.memory / 3 * 2),
            time: plan.timeout.map(nanos),
            fuel: plan.fuel,
            bytecode: plan.bytecode,
        };
        let time = Time::new(self.services.clock.clone(), self.timers.clone());
        let text = lunette_lua::without_first_line(text);
        lunette_lua::start(&plan.main, text, ctx, time, limits)
            .map_err(|problem| Refusal(format!("{problem}{HELP}{}", problem.help())))
    }

    /// The native code of a guest, if it is to run as that. What can be interpreted instead is, and that is said.
    fn native_code(
        &self,
        plan: &GuestPlan,
        payload: &Payload<'static>,
        main: &[u8],
    ) -> Result<Option<Loaded>, Refusal> {
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
        let variant = Variant { fuel: plan.fuel.or(plan.http.limits.fuel).is_some() };
        match native::load(&self.services.native, native.label, native.code, variant) {
            Ok(code) => Ok(Some(code)),
            Err(mismatch) if component || plan.engine == bundle::Engine::Wasmtime => {
                refused(&mismatch.to_string(), native::help(&mismatch))
            }
            Err(mismatch) => {
                self.services.log.warn(format_args!("{}: {mismatch}; it is interpreted", plan.main));
                Ok(None)
            }
        }
    }

    /// Makes a guest of native code.
    fn native(&self, plan: &GuestPlan, code: Loaded, ctx: Ctx) -> Result<Made, Refusal> {
        let services = self.services;
        let limits = lunette_native::Limits { memory: self.memory(plan), table_elements: plan.tables };
        let deadline = plan.timeout.map(|time| services.clock.monotonic().saturating_add(nanos(time)));
        let meter = Meter { deadline, fuel: plan.fuel };
        if self.several || deadline.is_some() {
            (services.native.tick)();
        }
        let refused = |words: String| Refusal(format!("{}: {words}", plan.main));
        match code {
            Loaded::Module(engine, module) => {
                let timers = self.timers.clone();
                let guest = lunette_native::start(&engine, module, ctx, timers, limits, meter);
                let guest = guest.map_err(|problem| {
                    refused(format!("{problem}{HELP}`lunette check` says more about it"))
                })?;
                Ok(Made::Program(Program::Native(Box::new(guest))))
            }
            Loaded::Component(engine, component) if answers(&component) => {
                let time = Time::new(services.clock.clone(), self.timers.clone());
                let settings = serve::settings(plan, limits.memory);
                let handler = Handler::new(&engine, &component, ctx, time, services.log.clone(), settings);
                handler
                    .map(Made::Handler)
                    .map_err(|problem| refused(format!("{problem}{HELP}{}", problem.help())))
            }
            Loaded::Component(_, component) => {
                let (timers, log) = (self.timers.clone(), services.log.clone());
                let guest = Command::new(&component, ctx, timers, log, limits, meter);
                let guest = guest.map_err(|problem| refused(format!("{problem}{HELP}{}", problem.help())))?;
                Ok(Made::Program(Program::Command(Box::new(guest))))
            }
        }
    }

    fn module(&self, plan: &GuestPlan, module: &[u8], ctx: Ctx) -> Result<lunette_wasm::Instance, Refusal> {
        let services = self.services;
        let limits = Limits {
            memory: self.memory(plan),
            table_elements: plan.tables,
            time: plan.timeout.map(nanos),
            fuel: plan.fuel,
            slices: self.several,
        };
        lunette_wasm::start(module, ctx, limits).map_err(|problem| {
            let more = plan.memory.is_none_or(|memory| memory > services.memory);
            let help = match problem {
                Problem::Memory { needs, .. } if more && needs <= services.memory => {
                    "give the VM more memory (-m), or say how much each guest may have: `memory` in its [resources]"
                        .into()
                }
                // The manifest allows more than there is: only a larger VM helps.
                Problem::Memory { .. } if more => {
                    "give the VM more memory (-m), or link the module with a smaller initial memory or stack"
                        .into()
                }
                _ => problem.help(),
            };
            Refusal(format!("{}: {problem}{HELP}{help}", plan.main))
        })
    }

    /// How much a guest may have: what its manifest says, as far as there is as much.
    fn memory(&self, plan: &GuestPlan) -> u64 {
        plan.memory.map_or(self.memory, |memory| memory.min(self.services.memory))
    }
}

fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}
