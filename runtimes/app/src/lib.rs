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
//! Does not: wait (its caller knows how), boot, check the bundle's hash (the CLI does; its signature is checked where one is
//! demanded, [`Trust`]), or restart a guest.
#![forbid(unsafe_code)]

mod files;
mod label;
mod listen;
mod run;
mod runtime;
mod settings;
#[cfg(test)]
mod tests;
mod trust;

use std::{fs::File, io, path::PathBuf, sync::Arc, time::Duration};

use lunette_bundle::{Bundle, Error, GuestPlan, HELP, Payload, Plan, Source};
use lunette_hostcalls::{Clock, Ctx, Log, Nanos, Net, Network, Random, Stdio, Versions, task::Timers};

pub use lunette_bundle::Launch;
pub use run::{App, run};
pub use runtime::{Runtime, native::Profile, needs};
pub use settings::settings;
pub use trust::Trust;

use crate::{
    label::Labelled,
    listen::Ports,
    run::Runner,
    runtime::{
        Program, lua,
        native::{self, Handler},
        wasm,
    },
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
    /// Whose apps are run. With keys in it, nothing else is.
    pub trust: Trust,
    /// Is native code refused if nobody is trusted by name?
    pub require_signed: bool,
    /// What this machine's settings say of the app: arguments and variables, in the place of those that came with it.
    pub settings: Launch,
    /// Where new versions of the app come from, if its launch says that they may.
    pub versions: Option<Arc<dyn Versions>>,
    /// Where samples of native code go, if anybody wants to know where it spends its time.
    pub profile: Option<&'static Profile>,
}

/// How native code gets to run on this host.
#[derive(Clone)]
pub struct Native {
    /// Gives native code of the bundle's, which begins on a page's boundary, as a file.
    pub open: Arc<dyn Fn(&'static [u8]) -> io::Result<Code> + Send + Sync>,
    /// Has [`ticker`] called now and then, from now on. Asked when a guest has to be interrupted.
    pub tick: Arc<dyn Fn() + Send + Sync>,
}

/// Native code as a file that can be mapped.
pub struct Code {
    pub path: PathBuf,
    /// What makes the path good until the code is loaded, if anything has to.
    pub keep: Option<File>,
}

/// Interrupts native code that has run on through one of these: to be called now and then, from a clock's interrupt or a
/// thread.
pub fn ticker() {
    native::ticker();
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
    let mut payload = Payload::parse(payload)?;
    services.trust.check(&payload)?;
    payload.launch.amend(&services.settings);
    let plan = payload.plan()?;
    plan.allowed()?;
    if services.require_signed && !services.trust.is_limited() {
        payload.refuse_unsigned()?;
    }
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
        let (made, listens) = maker.start(guest, &payload, stdio.clone())?;
        let runner = |program| Runner { guest: program, name: guest.name.clone(), stdio, listens };
        let runner = match made {
            Made::Handler(handler) if number == 0 || plan.routes.lead_to(number) => {
                handlers.push((number, handler));
                None
            }
            Made::Handler(handler) => {
                Some(runner(native::server(&maker, guest, vec![(number, handler)], &plan)?))
            }
            Made::Program(_) if plan.routes.lead_to(number) => return Err(no_handler(guest)),
            Made::Program(program) => Some(runner(program)),
        };
        guests.push(runner);
    }
    if handlers.first().is_some_and(|(number, _)| *number == 0) {
        let program = native::server(&maker, &plan.app, handlers, &plan)?;
        let (name, stdio) = (plan.app.name.clone(), services.stdio.clone());
        guests[0] = Some(Runner { guest: program, name, stdio, listens: true });
    } else if !handlers.is_empty() {
        return Err(no_handler(&plan.app));
    }
    if let Some(app) = &mut guests[0] {
        app.guest.talk(&plan)?;
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
#[cfg_attr(not(feature = "native"), expect(dead_code, reason = "without native code there are no handlers"))]
enum Made {
    Program(Box<dyn Program>),
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
#[cfg_attr(
    not(any(feature = "native", feature = "wasm")),
    expect(dead_code, reason = "scripts give way by themselves")
)]
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
    /// Makes it; and does it listen?
    fn start(
        &mut self,
        plan: &GuestPlan,
        payload: &Payload<'static>,
        stdio: Arc<dyn Stdio>,
    ) -> Result<(Made, bool), Refusal> {
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
        let made = if runtime::is_script(plan) {
            Made::Program(lua::start(self, plan, main, ctx)?)
        } else if let Some(code) = native::load(self, plan, payload, main)? {
            native::start(self, plan, code, ctx)?
        } else {
            Made::Program(wasm::start(self, plan, main, ctx)?)
        };
        Ok((made, listens))
    }

    /// How much a guest may have: what its manifest says, as far as there is as much.
    fn memory(&self, plan: &GuestPlan) -> u64 {
        plan.memory.map_or(self.memory, |memory| memory.min(self.services.memory))
    }
}

fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}
