//! `cargo xtask image`: the image, as it boots.
//!
//! `target/image/lunette.elf` is what ships: stripped, with the kernel's symbol table inside.
//! `target/image/lunette.debug.elf` is the same before stripping, for gdb and objdump.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use crate::{
    sh::{Result, cargo, root, run, target},
    symbols,
};

const TARGET: &str = "x86_64-unknown-linux-musl";

pub(crate) struct Image {
    pub(crate) path: PathBuf,
    bytes: usize,
    symbols: usize,
    table: usize,
    cold: (usize, usize),
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, bytes, symbols, table, cold: (cold, packed) } = self;
        let path = path.strip_prefix(root()).unwrap_or(path);
        write!(
            f,
            "{}: {bytes} bytes, {symbols} symbols in {table}, {cold} packed into {packed}",
            path.display()
        )
    }
}

/// Where the image is, built or not.
pub(crate) fn path() -> PathBuf {
    target().join("image/lunette.elf")
}

/// The command that links the image. Its flags are its own: those of the user's environment would end
/// up in the kernel.
pub(crate) fn command(package: &str) -> Result<std::process::Command> {
    for_the_machine(&["build", "-p", package, "--profile", "image"])
}

/// A cargo command for what only the machine runs: the image and the test images.
pub(crate) fn for_the_machine(words: &[&str]) -> Result<std::process::Command> {
    let mut command = cargo(words);
    command.args(["--target", TARGET]).arg("--target-dir").arg(target().join("image-build"));
    command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\x1f"));
    Ok(command)
}

/// kernel/image/rustflags: one flag a line. And nothing of where this machine keeps its sources gets into the image.
fn flags() -> Result<Vec<String>> {
    let file = root().join("kernel/image/rustflags");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut flags: Vec<_> = lines.map(str::to_owned).collect();
    flags.push(format!("--remap-path-prefix={}=lunette", root().display()));
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=crates", home.join("registry/src").display()));
    }
    Ok(flags)
}

pub(crate) fn build() -> Result<Image> {
    run(&mut command("lunette-image")?)?;
    finish("lunette-image", "lunette")
}

/// Strips what cargo built as `binary`, and puts both forms into their place as `name`.
pub(crate) fn finish(binary: &str, name: &str) -> Result<Image> {
    let built = target().join("image-build").join(TARGET).join("image").join(binary);
    let linked = fs::read(&built).map_err(|e| format!("{}: {e}", built.display()))?;
    let done = symbols::finish(&linked)?;
    let path = target().join("image").join(format!("{name}.elf"));
    put(&path.with_extension("debug.elf"), &linked)?;
    put(&path, &done.bytes)?;
    Ok(Image { path, bytes: done.bytes.len(), symbols: done.symbols, table: done.table, cold: done.cold })
}

/// Writes a file only if it would change, and never half of it: a VM may be booting from it.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("new");
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, path))
        .map_err(|e| format!("{}: {e}", path.display()).into())
}
