//! Native code for the programs of an app: which of them get some, and where it comes from.
//!
//! A component gets some, and so does a module that the interpreter does not run, one for which somebody asks, and one that
//! came with some. It is taken from the bundle if it fits, else from the cache ([`store`]), else compiled from the bytecode,
//! which always stays beside it.
//!
//! Promises: native code in a bundle was made from the bytecode beside it, by what its label says ([`verify`]); the same bytecode
//! gives the same native code. Does not: check who made what is in a bundle from elsewhere: nobody can tell from the code.

mod bare;
pub mod cwasm;
mod store;

use std::{borrow::Cow, collections::BTreeMap};

use lunette_bundle::{Engine, GuestPlan, Launch, Payload, Plan, Source, sha256_hex};
use lunette_native::{Artifact, Cpu, Kind, Label, Mismatch, Variant};

use crate::{
    app::Packed,
    cache::Cache,
    component,
    problem::{Problem, Voice, printable},
    script,
};

/// The programs that the interpreter does not run, each with the reason: `uses exception handling`.
pub type Needs = BTreeMap<String, String>;

/// What somebody asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Native code for all.
    pub aot: bool,
    /// For this processor.
    pub cpu: Option<Cpu>,
    /// It runs on this machine's own processor, and nowhere else.
    pub here: bool,
    /// It is to be sampled: without debug information, which would be read for each sample.
    pub bare: bool,
    /// It is for a file, whose maker wants to know what is in it.
    pub told: bool,
}

impl How {
    fn cpu(&self) -> Cpu {
        self.cpu.unwrap_or_else(|| if self.here { Cpu::here() } else { Cpu::V1 })
    }
}

/// Puts native code beside the programs that get some, for a run with this launch.
pub fn add(
    packed: Packed,
    launch: &Launch,
    needs: &Needs,
    how: &How,
    cache: &Cache,
    voice: &Voice,
) -> Result<Packed, Problem> {
    let payload = Payload::parse(&packed.bytes)?;
    let Source::Bundle(bundle) = &payload.source else { return Ok(packed) };
    let plan = Plan::new(Some(bundle), &payload.manifest, launch)?;
    let mut made: BTreeMap<&str, Artifact> = BTreeMap::new();
    for guest in plan.all() {
        let need = needs.get(&guest.main);
        engine_fits(guest, need.map(String::as_str))?;
        if script::is_script(&guest.main) || made.contains_key(&*guest.main) || guest.engine == Engine::Wasmi
        {
            continue;
        }
        let there = payload.native(guest)?;
        if need.is_none() && !how.aot && guest.engine == Engine::Auto && there.is_none() {
            continue;
        }
        let whole = payload.main(guest)?;
        let wasm = if how.bare { bare::without_debug(whole) } else { Cow::Borrowed(whole) };
        // There is one code for all who run a program: if anybody's is to be counted, it counts.
        let fuel = plan.all().any(|other| other.main == guest.main && other.counts());
        let variant = Variant { fuel };
        if let Some(native) = there
            && wasm.len() == whole.len()
            && let Ok(label) = Label::parse(native.label)
            && fits(&label, variant, how)
        {
            continue;
        }
        let mut compiled = compile(&guest.main, &wasm, variant, how.cpu(), cache, |label, why| {
            let what = format!("{} is compiled for {}, {}", guest.main, label.engine_words(), label.cpu);
            match need.filter(|_| label.kind == Kind::Module) {
                Some(need) => voice.say(&format!("{what}: it {need}, which is not interpreted")),
                None if how.told => voice.say(&what),
                None => voice.info(&format!("{what}{why}")),
            }
        })?;
        compiled.label.of = sha256_hex(whole);
        made.insert(&guest.main, compiled);
    }
    if made.is_empty() {
        return Ok(packed);
    }
    let (bytes, hash) = packed.with_native(&made)?;
    Ok(Packed { bytes, hash, ..packed })
}

/// Is what the bundle has good for this run?
fn fits(label: &Label, variant: Variant, how: &How) -> bool {
    let for_it = how.cpu.is_none_or(|cpu| label.cpu == cpu);
    match label.fits(variant) {
        Ok(()) => for_it,
        // What processor a VM has, the VM says.
        Err(Mismatch::Cpu { .. }) => for_it && !how.here,
        Err(_) => false,
    }
}

/// Refuses an engine that does not run this program. `need`: why it can't be interpreted, if so.
pub fn engine_fits(guest: &GuestPlan, need: Option<&str>) -> Result<(), Problem> {
    match (guest.engine, need) {
        (Engine::Auto, _) => Ok(()),
        (engine, _) if script::is_script(&guest.main) => Err(Problem::new(
            format!("{} is a script, which {} does not run", guest.main, engine.name()),
            "leave out --engine, or `engine` in lunette.toml",
        )),
        (Engine::Wasmi, Some(need)) => Err(Problem::new(
            format!("{} {need}, which wasmi does not run", guest.main),
            "leave out --engine (or `engine` in lunette.toml): it is compiled then",
        )),
        _ => Ok(()),
    }
}

/// The code, from the cache or the compiler. `tell`: that it is compiled now, which takes its time.
fn compile(
    main: &str,
    wasm: &[u8],
    variant: Variant,
    cpu: Cpu,
    cache: &Cache,
    tell: impl Fn(&Label, &str),
) -> Result<Artifact, Problem> {
    let kind = if component::is_component(wasm) { Kind::Component } else { Kind::Module };
    let of = sha256_hex(wasm);
    let label = Label::new(kind, variant, cpu, of.clone());
    if let Some(code) = store::get(cache, &label) {
        return Ok(Artifact { label, code });
    }
    tell(&label, if cache.dir().is_some() { ", and kept in the cache" } else { "" });
    let artifact = lunette_native::compile(wasm, variant, cpu, of).map_err(|failure| {
        let what = format!("it can't be compiled: {}", printable(&failure.0));
        Problem::new(what, "try `wasm-tools validate` on it; if that finds nothing, report it").at(main)
    })?;
    store::put(cache, &artifact.label, &artifact.code);
    Ok(artifact)
}

/// The label of the native code for a guest, if there is some; refuses what was made from other bytecode than lies beside it.
pub fn verify(payload: &Payload<'_>, guest: &GuestPlan) -> Result<Option<Result<Label, Mismatch>>, Problem> {
    let Some(native) = payload.native(guest)? else { return Ok(None) };
    let label = match Label::parse(native.label) {
        Ok(label) => label,
        Err(mismatch) => return Ok(Some(Err(mismatch))),
    };
    let is = sha256_hex(payload.main(guest)?);
    if label.of != is {
        let (of, main) = (printable(&label.of), &guest.main);
        return Err(Problem::new(
            format!(
                "the native code for {main} was made from other bytecode: of SHA-256 {of}, and {main} has {is}"
            ),
            "do not run it: get the bundle again from its maker, or build it again with `lunette build --aot`",
        ));
    }
    Ok(Some(Ok(label)))
}
