//! `cargo xtask image`: the image, as it boots, and its variants, which leave out what an app does not need.
//!
//! `target/image/lunette.elf` is what ships: stripped, with the kernel's symbol table inside; a variant is
//! `lunette-NAME.elf` beside it. `lunette.debug.elf` is the same before stripping, for gdb and objdump. All end with their seal
//! (`seal.rs`), without which the command line takes none.
//!
//! A variant is linked from what the others are linked from: only what the features change is compiled again.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use crate::{
    seal::seal,
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

/// An image: which runtimes are in it.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// Of the crate lunette-image.
    features: &'static str,
}

/// All; the first is the default.
pub(crate) const VARIANTS: [Variant; 4] = [
    Variant { name: "full", features: "lua,native,wasm" },
    Variant { name: "wasm", features: "wasm" },
    Variant { name: "lua", features: "lua" },
    // Its modules are interpreted where their native code does not fit.
    Variant { name: "native", features: "native,wasm" },
];
pub(crate) const FULL: &Variant = &VARIANTS[0];
pub(crate) const WASM: &Variant = &VARIANTS[1];

impl Variant {
    /// The file's name, without its ending.
    fn stem(&self) -> String {
        if self.name == FULL.name { "lunette".into() } else { format!("lunette-{}", self.name) }
    }

    /// The command that links it.
    pub(crate) fn command(&self) -> Result<std::process::Command> {
        let mut command = command("lunette-image")?;
        command.args(["--no-default-features", "--features", self.features]);
        Ok(command)
    }

    /// Puts into its place what the command has linked.
    pub(crate) fn finish(&self) -> Result<Image> {
        finish("lunette-image", &self.stem())
    }
}

/// Those that the words ask for: `--variant NAME`, or several; none for the default.
pub(crate) fn asked(words: &[String]) -> Result<Vec<&'static Variant>> {
    let mut asked = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let names = match word.strip_prefix("--variant") {
            Some("") => words.next().map(String::as_str),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        let names = names.ok_or_else(|| format!("`{word}`: it is --variant NAME ({})", names_of_all()))?;
        for name in names.split(',') {
            let found = VARIANTS.iter().find(|variant| variant.name == name);
            asked.push(found.ok_or_else(|| format!("no variant `{name}`; there are: {}", names_of_all()))?);
        }
    }
    if asked.is_empty() {
        asked.push(FULL);
    }
    // What is beside an older one goes when it is built.
    asked.sort_by_key(|variant| variant.name != FULL.name);
    Ok(asked)
}

fn names_of_all() -> String {
    VARIANTS.iter().map(|variant| variant.name).collect::<Vec<_>>().join(", ")
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

/// kernel/image/rustflags: one flag a line; and [`remapping`].
fn flags() -> Result<Vec<String>> {
    let file = root().join("kernel/image/rustflags");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut flags: Vec<_> = lines.map(str::to_owned).collect();
    flags.extend(remapping());
    Ok(flags)
}

/// Flags with which nothing of where this machine keeps its sources gets into what is built.
pub(crate) fn remapping() -> Vec<String> {
    let mut flags = vec![format!("--remap-path-prefix={}=lunette", root().display())];
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    // A folder for each registry, whose name would be in the image some thousand times. No registry: nothing to hide.
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let mut folders: Vec<_> = registries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.sort();
    flags.extend(folders.iter().map(|folder| format!("--remap-path-prefix={}=crates", folder.display())));
    flags
}

pub(crate) fn build(variant: &Variant) -> Result<Image> {
    run(&mut variant.command()?)?;
    variant.finish()
}

/// Strips what cargo built as `binary`, and puts both forms into their place as `name`.
pub(crate) fn finish(binary: &str, name: &str) -> Result<Image> {
    let built = target().join("image-build").join(TARGET).join("image").join(binary);
    let linked = fs::read(&built).map_err(|e| format!("{}: {e}", built.display()))?;
    let done = symbols::finish(&linked)?;
    let path = target().join("image").join(format!("{name}.elf"));
    put(&path.with_extension("debug.elf"), &seal(linked))?;
    let sealed = seal(done.bytes);
    if put(&path, &sealed)? && path == self::path() {
        forget_variants(&path);
    }
    Ok(Image { path, bytes: sealed.len(), symbols: done.symbols, table: done.table, cold: done.cold })
}

/// Takes away what was built beside an older image: `lunette run` would boot it instead of the new one.
fn forget_variants(full: &Path) {
    for variant in VARIANTS.iter().filter(|variant| variant.name != FULL.name) {
        for ending in ["elf", "debug.elf"] {
            // Most often there is none.
            let _ = fs::remove_file(full.with_file_name(variant.stem()).with_extension(ending));
        }
    }
}

/// Writes a file only if it would change, and never half of it: a VM may be booting from it. Did it change?
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("new");
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, path))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::asked;

    #[test]
    fn variants_are_asked_for_by_name() {
        let names = |words: &str| -> Result<Vec<_>, String> {
            let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
            let asked = asked(&words).map_err(|e| e.to_string())?;
            Ok(asked.iter().map(|variant| variant.name).collect())
        };
        assert_eq!(names(""), Ok(vec!["full"]));
        assert_eq!(names("--variant wasm --variant=lua,full"), Ok(vec!["full", "wasm", "lua"]));
        assert!(names("--variant tiny").unwrap_err().contains("full, wasm, lua, native"));
        for bad in ["--variant", "wasm", "--variants wasm"] {
            assert!(names(bad).is_err(), "{bad}");
        }
    }
}
