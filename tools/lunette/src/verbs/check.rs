//! `lunette check`: everything that would keep an app from running, at once; and what else is wrong with a script.

use lunette_bundle::Payload;
use serde_json::json;

use crate::{
    app::{App, Extras},
    cli::Look,
    exit, module,
    native::Needs,
    problem::{Problem, printable},
    run::{self, Us},
    script::Findings,
    verbs::inspect::{grants_json, grants_text},
};

/// 0 if it would run, 125 if not.
pub fn check(args: &Look, us: &Us) -> Result<u8, Problem> {
    let shown = args.app.display();
    let (manifest, problems, warnings) = match App::open(&args.app) {
        Ok(app) => {
            let manifest = app.manifest().ok();
            let found = look(app, us);
            let named = |p: Problem| run::named(p, &shown.to_string());
            let placed = |all: Vec<Problem>| all.into_iter().map(named).collect::<Vec<_>>();
            (manifest, placed(found.errors), placed(found.warnings))
        }
        Err(problem) => (None, vec![problem], Vec::new()),
    };
    let guests = manifest.iter().flat_map(|manifest| std::iter::once(&manifest.app).chain(&manifest.guests));
    if args.format.json() {
        let list = |all: &[Problem]| {
            let each = all.iter().map(|p| json!({ "what": p.what, "where": p.place, "help": p.help }));
            each.collect::<Vec<_>>()
        };
        let guests = guests.map(|guest| json!({ "name": guest.name, "network": grants_json(&guest.grants) }));
        let value = json!({
            "ok": problems.is_empty(),
            "problems": list(&problems),
            "warnings": list(&warnings),
            "guests": guests.collect::<Vec<_>>(),
        });
        super::print_json(&value)?;
    } else {
        problems.iter().for_each(|problem| us.voice.error(problem));
        warnings.iter().for_each(|warning| us.voice.warn(&warning.to_string()));
        if problems.is_empty() && !us.voice.quiet {
            let mut out = format!("{shown}: fine\n");
            // What it would be let do, which is more than nothing only if somebody says so.
            for guest in guests {
                for line in grants_text(&guest.grants) {
                    out += &format!("  {} {}\n", printable(&guest.name), printable(&line));
                }
            }
            super::print(&out)?;
        }
    }
    Ok(problems.first().map_or(0, |first| if problems.len() == 1 { first.code } else { exit::FAILURE }))
}

fn look(app: App, us: &Us) -> Findings {
    let errors = |errors| Findings { errors, ..Findings::default() };
    if let Err(problems) = app.manifest() {
        return errors(problems);
    }
    let packed = match app.pack(&Extras::default(), &us.voice) {
        Ok(packed) => packed,
        Err(problem) => return errors(vec![problem]),
    };
    let payload = match Payload::parse(&packed.bytes) {
        Ok(payload) => payload,
        Err(e) => return errors(vec![e.into()]),
    };
    let mut found = Findings::default();
    match (payload.plan(), &payload.source) {
        (Ok(plan), _) => {
            let mut needs = Needs::new();
            for (n, guest) in plan.all().enumerate() {
                match module::look(&payload, guest, &mut needs) {
                    Ok(more) => {
                        found.errors.extend(more.errors);
                        found.warnings.extend(more.warnings);
                    }
                    Err(problem) => found.errors.push(problem),
                }
                let served = !guest.grants.listen.is_empty() || (n > 0 && plan.routes.lead_to(n));
                if !served && payload.main(guest).is_ok_and(module::handles) {
                    let what = format!(
                        "{} handles HTTP requests, and may listen nowhere: give it a port with `lunette run -p 8080:80`, \
                         or with `listen = [\"80\"]` in [network]",
                        guest.name
                    );
                    found.warnings.push(Problem::new(what, "").at(&guest.main));
                }
            }
        }
        // Even if the plan is no good, for a mount perhaps, the programs may be looked at.
        (Err(e), lunette_bundle::Source::Bundle(bundle)) => {
            for guest in std::iter::once(&payload.manifest.app).chain(&payload.manifest.guests) {
                let problem =
                    bundle.file(&guest.main).and_then(|main| module::alone(&guest.main, main).err());
                found.errors.extend(problem);
            }
            found.errors.push(e.into());
        }
        (Err(e), _) => found.errors.push(e.into()),
    }
    found
}
