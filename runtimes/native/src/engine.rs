//! The engine, once for all guests, and the way of native code into it.

use std::{fs::File, io, path::PathBuf, sync::OnceLock};

use wasmtime::{Module, component::Component};

use crate::{
    artifact::{Kind, Label, Mismatch},
    config::{self, Variant},
    trap,
};

/// Native code as a file that can be mapped: what the engine loads from.
pub struct Source {
    pub path: PathBuf,
    /// What makes the path good until the code is loaded, if anything has to.
    pub keep: Option<File>,
}

/// Gives bytes of the bundle, which begin on a page's boundary, as a file.
pub type Open = dyn Fn(&'static [u8]) -> io::Result<Source> + Send + Sync;

/// An engine of one [`Variant`]. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    engine: wasmtime::Engine,
    variant: Variant,
}

/// The engines of this process, so that [`ticker`] finds them: one for each variant.
static ENGINES: [OnceLock<Engine>; 2] = [const { OnceLock::new() }; 2];

/// Counts the epoch of all engines up: to be called now and then, from a clock's interrupt or a thread. A guest is
/// interrupted when it has run on through one of these.
pub fn ticker() {
    for engine in ENGINES.iter().filter_map(OnceLock::get) {
        engine.engine.increment_epoch();
    }
}

impl Engine {
    /// The engine of that variant. The error is the engine's own: it finds the system unfit.
    pub fn of(variant: Variant) -> Result<Self, Mismatch> {
        let place = &ENGINES[usize::from(variant.fuel)];
        if let Some(engine) = place.get() {
            return Ok(engine.clone());
        }
        let engine = wasmtime::Engine::new(&config::config(variant)).map_err(refused)?;
        Ok(place.get_or_init(|| Self { engine, variant }).clone())
    }

    pub fn variant(&self) -> Variant {
        self.variant
    }

    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// Loads a module's native code.
    pub fn module(&self, label: &Label, source: &Source) -> Result<Module, Mismatch> {
        self.fits(label, Kind::Module)?;
        #[expect(unsafe_code, reason = "native code is believed")]
        // SAFETY: the bytes were made by `compile` of the release and configuration that the label names, which `fits`
        // has compared with this engine's: so what the code says of its engine itself, which takes thirty thousand instructions
        // to read, is not asked again. That they are not somebody else's can't be seen from them: whoever starts
        // a bundle answers for its maker (its signature, where one is demanded), and that is what this crate's promise says.
        // The file's pages are the bundle's, which nobody writes to while guests run.
        let module = unsafe { Module::deserialize_believed_file(&self.engine, &source.path) };
        module.map_err(refused)
    }

    /// Loads a component's native code.
    pub fn component(&self, label: &Label, source: &Source) -> Result<Component, Mismatch> {
        self.fits(label, Kind::Component)?;
        #[expect(unsafe_code, reason = "native code is believed")]
        // SAFETY: as for a module.
        let component = unsafe { Component::deserialize_believed_file(&self.engine, &source.path) };
        component.map_err(refused)
    }

    fn fits(&self, label: &Label, kind: Kind) -> Result<(), Mismatch> {
        if label.kind != kind {
            return Err(Mismatch::Label(format!(
                "it is of a {}, not of a {}",
                label.kind.name(),
                kind.name()
            )));
        }
        label.fits(self.variant)
    }
}

fn refused(error: wasmtime::Error) -> Mismatch {
    Mismatch::Refused(trap::words(&error))
}
