//! `lunette check`: everything that would keep an app from running, at once.

use lunette_bundle::Payload;
use serde_json::json;

use crate::{
    app::{App, Extras},
    cli::Look,
    exit, module,
    problem::Problem,
    run::Us,
};

/// 0 if it would run, 125 if not.
pub fn check(args: &Look, us: &Us) -> Result<u8, Problem> {
    let shown = args.app.display();
    let problems: Vec<Problem> = match App::open(&args.app) {
        Ok(app) => problems(app, us).into_iter().map(|p| p.at(&shown)).collect(),
        Err(problem) => vec![problem],
    };
    if args.format.json() {
        let list = problems.iter().map(|p| json!({ "what": p.what, "where": p.place, "help": p.help }));
        let value = json!({ "ok": problems.is_empty(), "problems": list.collect::<Vec<_>>() });
        super::print_json(&value)?;
    } else {
        problems.iter().for_each(|problem| us.voice.error(problem));
        if problems.is_empty() && !us.voice.quiet {
            super::print(&format!("{shown}: fine\n"))?;
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
