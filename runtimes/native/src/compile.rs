//! The compiler: from bytecode to an [`Artifact`]. Part of the CLI, never of the image.

use std::fmt;

use wasmtime::Engine;

use crate::{
    artifact::{Kind, Label},
    config::{self, Variant},
    cpu::Cpu,
    trap,
};

/// Native code as it goes into a bundle.
#[derive(Clone, Debug)]
pub struct Artifact {
    pub label: Label,
    /// wasmtime's ELF.
    pub code: Vec<u8>,
}

/// Why there is no native code: in the compiler's words, a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Compiles a module or a component. `of` is the SHA-256 of `wasm`, in hex. The same input gives the same bytes.
pub fn compile(wasm: &[u8], variant: Variant, cpu: Cpu, of: String) -> Result<Artifact, Failure> {
    let failed = |error: wasmtime::Error| Failure(trap::words(&error));
    let engine = compiler(variant, cpu).map_err(failed)?;
    let (kind, code) = match lunette_wasm::is_component(wasm) {
        true => (Kind::Component, engine.precompile_component(wasm)),
        false => (Kind::Module, engine.precompile_module(wasm)),
    };
    Ok(Artifact { label: Label::new(kind, variant, cpu, of), code: code.map_err(failed)? })
}

fn compiler(variant: Variant, cpu: Cpu) -> wasmtime::Result<Engine> {
    let mut config = config::config(variant);
    config.target(config::TARGET)?;
    for (flag, _) in cpu.features() {
        #[expect(unsafe_code, reason = "tells the compiler what the processor has")]
        // SAFETY: the label names the level, and nobody loads code of a level that his processor has not
        // (`Label::fits`).
        unsafe {
            config.cranelift_flag_enable(flag);
        }
    }
    Engine::new(&config)
}

#[cfg(test)]
mod tests {
    use std::hash::{Hash as _, Hasher};

    use sha2::{Digest as _, Sha256};

    use super::*;

    struct Collected(Sha256);

    impl Hasher for Collected {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            u64::from_be_bytes(self.0.clone().finalize()[..8].try_into().unwrap())
        }
    }

    /// Code is loaded without another look at what it was compiled with: the label alone tells.
    #[test]
    fn the_fingerprint_is_that_of_the_configuration() {
        let mut hash = Collected(Sha256::new());
        for fuel in [false, true] {
            for cpu in Cpu::ALL {
                compiler(Variant { fuel }, cpu).unwrap().precompile_compatibility_hash().hash(&mut hash);
            }
        }
        let hash = format!("{:016x}", hash.finish());
        let told = config::fingerprint(Variant::default());
        assert_eq!(told, hash, "`config` is another: write this hash there");
        assert_eq!(config::fingerprint(Variant { fuel: true }), hash + "-fuel");
    }
}
