//! Native code of a guest's, if its bundle brings any that runs here.
//!
//! Promises: it is loaded only if its label fits this engine and this processor. A module whose native code does not fit is interpreted, and
//! that is said; a component, which nothing can interpret, is refused with both sides named.

use std::{io, sync::Arc};

use lunette_native::{Engine, Kind, Label, Mismatch, Open, Source, Variant};

/// How native code gets to run on this host.
#[derive(Clone)]
pub struct Native {
    /// Gives native code of the bundle's as a file.
    pub open: Arc<Open>,
    /// Has [`lunette_native::ticker`] called now and then, from now on. Asked when a guest has to be interrupted.
    pub tick: Arc<dyn Fn() + Send + Sync>,
}

/// Native code that runs here.
pub(crate) enum Loaded {
    Module(Engine, wasmtime::Module),
    Component(Engine, wasmtime::component::Component),
}

/// Loads the code with that label.
pub(crate) fn load(
    native: &Native,
    label: &str,
    code: &'static [u8],
    variant: Variant,
) -> Result<Loaded, Mismatch> {
    let label = Label::parse(label)?;
    label.fits(variant)?;
    let engine = Engine::of(variant)?;
    let failed = |e: io::Error| Mismatch::Refused(format!("it can't be mapped: {e}"));
    let source: Source = (native.open)(code).map_err(failed)?;
    match label.kind {
        Kind::Module => engine.module(&label, &source).map(|module| Loaded::Module(engine, module)),
        Kind::Component => {
            engine.component(&label, &source).map(|component| Loaded::Component(engine, component))
        }
    }
}

/// What to do about it.
pub(crate) fn help(mismatch: &Mismatch) -> &'static str {
    match mismatch {
        Mismatch::Engine { .. } | Mismatch::Label(_) | Mismatch::Refused(_) => {
            "build the bundle again with the `lunette` that belongs to this image"
        }
        Mismatch::Cpu { .. } => "build the bundle with `--cpu v1`, or give the VM a newer processor",
        Mismatch::Fuel { counts: false } => "build the bundle with `--fuel`, or run it without that limit",
        Mismatch::Fuel { counts: true } => "build the bundle without `--fuel`, or give it that limit",
    }
}
