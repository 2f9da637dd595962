//! Guests that answer requests: what their manifest says, in the server's words.

use lunette_bundle::{Bundle, GuestPlan, HELP, Routes};
use lunette_component::serve::{self, Front, Handler, Server, Settings};
use lunette_hostcalls::task::Time;
use lunette_http::tls;
use lunette_native::{Limits, Probe};

use crate::{Refusal, Services};

/// What one request may have of the guest's memory where the manifest does not say: others are at work beside it.
const SHARE: u64 = 4;
/// But no less than this, as far as there is as much.
const LEAST: u64 = 16 << 20;

/// What each of a guest's requests may have.
pub(crate) fn settings(plan: &GuestPlan, memory: u64, probe: Option<Probe>) -> Settings {
    let (http, usual) = (&plan.http, Settings::default());
    let share = (memory / SHARE).max(LEAST).min(memory);
    Settings {
        at_once: http.max_requests.map_or(usual.at_once, |most| usize::try_from(most).unwrap_or(usize::MAX)),
        reuse: http.reuse.map_or(usual.reuse, |most| u32::try_from(most).unwrap_or(u32::MAX)),
        limits: Limits {
            memory: http.limits.memory.map_or(share, |limit| limit.min(memory)),
            table_elements: plan.tables,
        },
        time: http.limits.time.or(usual.time),
        fuel: http.limits.fuel.or(plan.fuel),
        probe,
    }
}

/// Serves with these guests' handlers, each with the number that a route leads to; the first is the guest of this plan.
pub(crate) fn server(
    plan: &GuestPlan,
    bundle: Option<&Bundle<'_>>,
    handlers: Vec<(usize, Handler)>,
    routes: &Routes,
    time: Time,
    services: &Services,
) -> Result<Server, Refusal> {
    let front = Front { tls: secured(plan, bundle, &time)?, ..Front::default() };
    let (numbers, mut handlers): (Vec<_>, Vec<_>) = handlers.into_iter().unzip();
    let routes = match handlers.pop() {
        Some(handler) if handlers.is_empty() => serve::Routes::all(handler),
        last => {
            handlers.extend(last);
            let routes = routes.clone();
            let find = move |host: &str, path: &str| {
                let number = routes.find(host, path);
                numbers.iter().position(|of| *of == number).unwrap_or(usize::MAX)
            };
            serve::Routes::new(handlers, Box::new(find))
        }
    };
    Server::new(routes, time, services.log.clone(), front).map_err(|problem| {
        let help = "say where: `network.listen` in lunette.toml, or -p";
        Refusal(format!("{}: {problem}{HELP}{help}", plan.name))
    })
}

/// The server's end of TLS, if it has one.
fn secured(
    plan: &GuestPlan,
    bundle: Option<&Bundle<'_>>,
    time: &Time,
) -> Result<Option<tls::Server>, Refusal> {
    let Some(files) = &plan.http.tls else { return Ok(None) };
    // The plan has seen that they are there.
    let file = |path: &str| bundle.and_then(|bundle| bundle.file(path)).unwrap_or_default();
    let server = tls::Server::new(file(&files.cert), file(&files.key), &["h2", "http/1.1"], time);
    server.map(Some).map_err(|error| {
        let help = "`cert` in [http.tls] is a chain and `key` its key, both in PEM";
        Refusal(format!(
            "{}: TLS can't be set up with {} and {}: {error}{HELP}{help}",
            plan.name, files.cert, files.key
        ))
    })
}
