//! The runtimes: what executes guests, and which of that is in here.
//!
//! Each is a cargo feature, a module, and one seam: [`Program`] is a guest in its runtime, whichever. For what was left
//! out when this was compiled, a module of the same name in `absent/` stands in, which refuses what the other would
//! have started. So the features are looked at here and nowhere else.

use std::{collections::BTreeSet, pin::Pin};

use lunette_bundle::{Engine, Error, GuestPlan, HELP, Payload, Plan};
use lunette_hostcalls::{CodeFrame, Ending};

use crate::Refusal;

#[cfg(not(any(feature = "lua", feature = "native", feature = "wasm")))]
compile_error!("nothing is run without a runtime: choose some of the features `lua`, `native`, `wasm`");

#[cfg_attr(not(feature = "lua"), path = "absent/lua.rs")]
pub(crate) mod lua;
#[cfg_attr(not(feature = "native"), path = "absent/native.rs")]
pub(crate) mod native;
#[cfg_attr(not(feature = "wasm"), path = "absent/wasm.rs")]
pub(crate) mod wasm;

/// What executes guests. An image has all of it, or what its app needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runtime {
    /// The interpreter of modules.
    Wasm,
    Lua,
    /// What was compiled ahead of time, and with it components.
    Native,
}

impl Runtime {
    pub const ALL: [Self; 3] = [Self::Wasm, Self::Lua, Self::Native];

    /// As features, variants of the image and their notes have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Lua => "lua",
            Self::Native => "native",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.name() == name)
    }

    /// Is it in here?
    pub fn here(self) -> bool {
        match self {
            Self::Wasm => cfg!(feature = "wasm"),
            Self::Lua => cfg!(feature = "lua"),
            Self::Native => cfg!(feature = "native"),
        }
    }
}

/// What it takes to run a payload's guests as they are meant to be run.
pub fn needs(payload: &Payload<'_>, plan: &Plan) -> Result<BTreeSet<Runtime>, Error> {
    let mut needs = BTreeSet::new();
    for guest in plan.all() {
        let native = match guest.engine {
            _ if is_script(guest) => {
                needs.insert(Runtime::Lua);
                continue;
            }
            Engine::Wasmtime => true,
            _ if lunette_wasm::is_component(payload.main(guest)?) => true,
            Engine::Wasmi => false,
            Engine::Auto => {
                // Where native code does not fit, the bytecode beside it is interpreted.
                needs.insert(Runtime::Wasm);
                payload.native(guest)?.is_some()
            }
        };
        needs.insert(if native { Runtime::Native } else { Runtime::Wasm });
    }
    Ok(needs)
}

/// Is it run by Lua?
pub(crate) fn is_script(guest: &GuestPlan) -> bool {
    guest.main.ends_with(".lua")
}

/// A guest in its runtime.
pub(crate) trait Program {
    /// Runs it to its end. Having been dropped in the middle, it can be begun again.
    fn run(&mut self) -> Pin<Box<dyn Future<Output = Ending> + '_>>;

    /// Where it was when it was stopped; `None`: its own last words have told.
    fn stopped_in(&self) -> Option<&[CodeFrame]>;

    /// How to get what its backtrace lacks, if it lacks anything.
    fn note(&self, _backtrace: &[CodeFrame]) -> Option<&'static str> {
        None
    }

    /// Lets those talk to it whom its launch allows: a person at its prompt, and who brings new versions.
    fn talk(&mut self, plan: &Plan) -> Result<(), Refusal> {
        if plan.repl || plan.watch {
            return Err(Refusal(format!(
                "{} is a module: only a script can be talked to, or change while it runs{HELP}leave out --repl and --watch",
                plan.app.name
            )));
        }
        Ok(())
    }
}

/// Refuses a guest that takes a runtime which is not here. `what` it is, and what is missing: `a Lua script, and this image has no Lua`.
#[cold]
#[cfg_attr(all(feature = "wasm", feature = "lua", feature = "native"), expect(dead_code))]
pub(crate) fn lacks(guest: &GuestPlan, what: &str, runtime: Runtime) -> Refusal {
    let here: Vec<_> = Runtime::ALL.into_iter().filter(|runtime| runtime.here()).map(Runtime::name).collect();
    let here = if here.is_empty() { "nothing".to_owned() } else { here.join(" and ") };
    Refusal(format!(
        "{} is {what} (it has {here}){HELP}boot the full image, or one with `{}`: `lunette run` without --image takes one \
         that fits",
        guest.main,
        runtime.name()
    ))
}
