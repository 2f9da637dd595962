//! What a runtime would say to a guest's program, asked without running it.

use lunette_bundle::{Bundle, GuestPlan, Kind, Payload, Source};
use lunette_component::interfaces::Entry;
use lunette_wasm::{Feature, Report};

use crate::{
    component::{self, World},
    native::{self, Needs},
    problem::Problem,
    script::{self, Findings},
};

/// WebAssembly, and what is in it.
pub enum Program {
    /// With what it has that only native code can do.
    Module(Box<Report>, Option<Feature>),
    Component(World),
}

impl Program {
    /// Validates all of it. One that is fine but can't be started is a program: [`Program::check`] tells.
    pub fn examine(bytes: &[u8]) -> Result<Self, Problem> {
        if component::is_component(bytes) {
            return component::examine(bytes).map(Self::Component);
        }
        match lunette_wasm::examine(bytes) {
            Ok(report) => Ok(Self::Module(Box::new(report), None)),
            Err(lunette_wasm::Problem::Unsupported { feature, .. }) if feature.native() => {
                component::validate("module", bytes)?;
                let report = lunette_wasm::describe(bytes).map_err(problem)?;
                Ok(Self::Module(Box::new(report), Some(feature)))
            }
            Err(e) => Err(problem(e)),
        }
    }

    /// Is all there that it needs, and can it be started?
    pub fn check(&self) -> Result<(), Problem> {
        match self {
            Self::Module(report, _) => report.check().map_err(problem),
            Self::Component(world) => world.check().map(drop),
        }
    }

    /// Why it is not interpreted, if it is not: `uses SIMD`.
    pub fn needs_native(&self) -> Option<String> {
        match self {
            Self::Module(_, feature) => feature.map(|feature| format!("uses {}", feature.name())),
            Self::Component(_) => Some("is a component".into()),
        }
    }
}

fn problem(p: lunette_wasm::Problem) -> Problem {
    Problem::new(p.to_string(), p.help())
}

/// Refuses a program that could not start, and says why it is not interpreted, if it is not.
pub fn check(payload: &Payload<'_>, guest: &GuestPlan) -> Result<Option<String>, Problem> {
    let mut needs = Needs::new();
    match look(payload, guest, &mut needs)?.errors.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(needs.remove(&guest.main)),
    }
}

/// All that can be said of it before it runs, and among `needs` why it is not interpreted. An error: it is not there.
pub fn look(payload: &Payload<'_>, guest: &GuestPlan, needs: &mut Needs) -> Result<Findings, Problem> {
    let bytes = payload.main(guest)?;
    if let Source::Bundle(bundle) = &payload.source
        && script::is_script(&guest.main)
    {
        let mut found = script::look(&guest.main, guest.bytecode, &|path| find(bundle, guest, path));
        found.errors.extend(native::engine_fits(guest, None).err());
        return Ok(found);
    }
    let mut found = Findings::default();
    let need = match alone(&guest.main, bytes) {
        Ok(need) => need,
        Err(problem) => {
            found.errors.push(problem);
            return Ok(found);
        }
    };
    found.errors.extend(native::engine_fits(guest, need.as_deref()).err());
    match native::verify(payload, guest) {
        Ok(None | Some(Ok(_))) => {}
        Ok(Some(Err(mismatch))) => {
            found.warnings.push(Problem::new(mismatch.to_string(), "").at(&guest.main))
        }
        Err(problem) => found.errors.push(problem),
    }
    if let Some(need) = need {
        needs.insert(guest.main.clone(), need);
    }
    Ok(found)
}

/// Refuses a program for what it is itself, whatever is around it; says why it is not interpreted, if it is not.
pub fn alone(main: &str, bytes: &[u8]) -> Result<Option<String>, Problem> {
    if script::is_script(main) || bytes.starts_with(lunette_lua::SIGNATURE) {
        return script::compiles(main, bytes).map(|()| None);
    }
    let program = Program::examine(bytes).map_err(|e| e.at(main))?;
    program.check().map_err(|e| e.at(main))?;
    Ok(program.needs_native())
}

/// Does it handle requests that come by HTTP?
pub fn handles(bytes: &[u8]) -> bool {
    component::is_component(bytes)
        && component::world(bytes).is_ok_and(|world| world.entry() == Some(Entry::Handler))
}

/// A file as the guest finds it. What lies behind a link or in a mount is taken to be there, and to say nothing.
fn find(bundle: &Bundle<'_>, guest: &GuestPlan, path: &str) -> Option<Vec<u8>> {
    let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
    let linked = |path: &str| bundle.get(path).is_some_and(|entry| matches!(entry.kind, Kind::Symlink(_)));
    let mounted = guest.mounts.iter().any(|mount| {
        let at = mount.path.trim_matches('/');
        mount.from.as_deref() != Some("")
            && mount.path.starts_with('/')
            && at != "tmp"
            && (at.is_empty() || path.strip_prefix(at).is_some_and(|rest| rest.starts_with('/')))
    });
    if mounted || folders.chain([path]).any(linked) {
        return Some(Vec::new());
    }
    bundle.file(path).map(<[u8]>::to_vec)
}
