//! What a runtime would say to a guest's program, asked without running it.

use lunette_bundle::{Bundle, GuestPlan, Kind, Payload, Source};

use crate::{
    problem::Problem,
    script::{self, Findings},
};

/// Refuses a program that could not start.
pub fn check(payload: &Payload<'_>, guest: &GuestPlan) -> Result<(), Problem> {
    match look(payload, guest)?.errors.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// All that can be said of it before it runs. An error: it is not there.
pub fn look(payload: &Payload<'_>, guest: &GuestPlan) -> Result<Findings, Problem> {
    let bytes = payload.main(guest)?;
    match &payload.source {
        Source::Bundle(bundle) if script::is_script(&guest.main) => {
            Ok(script::look(&guest.main, guest.bytecode, &|path| find(bundle, guest, path)))
        }
        _ => {
            let errors = alone(&guest.main, bytes).err().into_iter().collect();
            Ok(Findings { errors, ..Findings::default() })
        }
    }
}

/// Refuses a program for what it is itself, whatever is around it.
pub fn alone(main: &str, bytes: &[u8]) -> Result<(), Problem> {
    if script::is_script(main) || bytes.starts_with(lunette_lua::SIGNATURE) {
        return script::compiles(main, bytes);
    }
    let problem = |p: lunette_wasm::Problem| Problem::new(p.to_string(), p.help()).at(main);
    lunette_wasm::examine(bytes).map_err(problem)?.check().map_err(problem)
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
