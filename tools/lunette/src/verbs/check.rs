//! `lunette check`: everything that would keep an app from running, at once.

use lunette_bundle::Payload;
use serde_json::json;

use crate::{
    app::{App, Extras},
    cli::Look,
    exit, module,
    problem::{Problem, printable},
    run::Us,
    verbs::inspect::{grants_json, grants_text},
};

/// 0 if it would run, 125 if not.
pub fn check(args: &Look, us: &Us) -> Result<u8, Problem> {
    let shown = args.app.display();
    let (manifest, problems) = match App::open(&args.app) {
        Ok(app) => {
            let manifest = app.manifest().ok();
            (manifest, problems(app, us).into_iter().map(|p| p.at(&shown)).collect())
        }
        Err(problem) => (None, vec![problem]),
    };
    let guests = manifest.iter().flat_map(|manifest| std::iter::once(&manifest.app).chain(&manifest.guests));
    if args.format.json() {
        let list = problems.iter().map(|p| json!({ "what": p.what, "where": p.place, "help": p.help }));
        let guests = guests.map(|guest| json!({ "name": guest.name, "network": grants_json(&guest.grants) }));
        let value = json!({
            "ok": problems.is_empty(),
            "problems": list.collect::<Vec<_>>(),
            "guests": guests.collect::<Vec<_>>(),
        });
        super::print_json(&value)?;
    } else {
        problems.iter().for_each(|problem| us.voice.error(problem));
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

fn problems(app: App, us: &Us) -> Vec<Problem> {
    if let Err(problems) = app.manifest() {
        return problems;
    }
    let packed = match app.pack(&Extras::default(), &us.voice) {
        Ok(packed) => packed,
        Err(problem) => return vec![problem],
    };
    let payload = match Payload::parse(&packed.bytes) {
        Ok(payload) => payload,
        Err(e) => return vec![e.into()],
    };
    let mut problems = Vec::new();
    let plan = payload.plan();
    // Even if the plan is no good, for a mount perhaps, the module may be looked at.
    if let lunette_bundle::Source::Bundle(bundle) = &payload.source {
        for guest in std::iter::once(&payload.manifest.app).chain(&payload.manifest.guests) {
            let problem = bundle.file(&guest.main).and_then(|main| module::check(main).err());
            problems.extend(problem.map(|e| e.at(&guest.main)));
        }
    }
    problems.extend(plan.err().map(Problem::from));
    problems
}
