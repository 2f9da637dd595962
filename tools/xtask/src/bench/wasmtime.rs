//! Wasmtime's own CLI (`cargo xtask reference`): on this machine, and in a Debian guest.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::debian::{self, Debian};
use crate::{
    reference,
    sh::{Result, command, read},
};

/// What lets a component use the standard library's world as well as HTTP's.
pub(super) const SERVE: [&str; 3] = ["serve", "-S", "cli"];

const RUN: &str = "\
$B mount -t devtmpfs none /dev
$B mount -t proc none /proc
exec /bin/wasmtime serve -S cli --addr 0.0.0.0:80 /handler.wasm
";

/// The program, if somebody has built it: that takes longer than all figures together.
pub(super) fn program() -> Result<PathBuf> {
    reference::built().ok_or_else(|| "there is no Wasmtime to compare with: `cargo xtask reference`".into())
}

/// A guest that serves a component, with all of `wasmtime serve`'s defaults: the guest's own Wasmtime compiles it for the
/// processor that it finds there.
pub(super) fn guest(handler: &Path) -> Result<Debian> {
    let program = program()?;
    let libraries = libraries(&read(command("ldd", &[]).arg(&program))?);
    debian::pack("wasmtime", RUN, |system| {
        fs::copy(&program, system.join("bin/wasmtime"))?;
        fs::copy(handler, system.join("handler.wasm"))?;
        fs::create_dir_all(system.join("lib64"))?;
        for library in &libraries {
            // The loader's own place is in the program; the rest is looked for in /lib.
            let folder = if library.starts_with("/lib64") { "lib64" } else { "lib" };
            let name = library.file_name().unwrap_or_default();
            fs::copy(library, system.join(folder).join(name))
                .map_err(|e| format!("{}: {e}", library.display()))?;
        }
        Ok(())
    })
}

/// The files that a program needs, from what `ldd` says of it.
fn libraries(said: &str) -> Vec<PathBuf> {
    said.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_that_lie_somewhere() {
        let said = "\tlinux-vdso.so.1 (0x00007f)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries(said), found);
        assert!(libraries("\tstatically linked\n").is_empty());
    }
}
