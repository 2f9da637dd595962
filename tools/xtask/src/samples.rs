//! `cargo xtask samples`: every sample, built as its README says, into `target/samples/`.
//!
//! A sample is a folder under samples/: scripts with a manifest, which are the app as they are, or something to compile,
//! whose name ends in its language. What a sample needs and does not find makes it skipped by name, never built halfway.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::sh::{Result, cargo, command, read, root, target, which};

pub(crate) enum State {
    /// The module or, for a sample with a manifest, the folder that makes its bundle.
    Built(PathBuf),
    Skipped(String),
}

/// All of them by name, in the order of their names.
pub(crate) fn build_all() -> Result<Vec<(String, State)>> {
    let samples = root().join("samples");
    let mut names: Vec<String> = fs::read_dir(&samples)
        .map_err(|e| format!("{}: {e}", samples.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| samples.join(name).join("README.md").is_file())
        .collect();
    names.sort_unstable();
    fs::create_dir_all(out())?;
    names.into_iter().map(|name| build(&name).map(|state| (name, state))).collect()
}

/// Where built samples are.
pub(crate) fn out() -> PathBuf {
    target().join("samples")
}

pub(crate) fn build(name: &str) -> Result<State> {
    let dir = root().join("samples").join(name);
    fs::create_dir_all(out())?;
    if is_script(&dir)? {
        let to = out().join(name);
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        copy_folder(&dir, &to)?;
        return Ok(State::Built(to));
    }
    let module = out().join(format!("{name}.wasm"));
    let state = match name.rsplit_once('-').map(|(_, language)| language) {
        Some("rust") => rust(&dir, &module)?,
        Some("c") => c(&dir, &module)?,
        Some("wat") => wat(&dir.join(format!("{}.wat", name.trim_end_matches("-wat"))), &module)?,
        _ => {
            return Err(
                format!("samples/{name}: the name does not end in a language that is known here").into()
            );
        }
    };
    match state {
        State::Built(module) if dir.join("lunette.toml").is_file() => bundle(name, &dir, &module),
        state => Ok(state),
    }
}

/// Is it Lua, so that there is nothing to build?
fn is_script(dir: &Path) -> Result<bool> {
    for entry in fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        if entry?.path().extension().is_some_and(|end| end == "lua") {
            return Ok(dir.join("lunette.toml").is_file());
        }
    }
    Ok(false)
}

/// `cargo build --release --target wasm32-wasip1`, with a target folder beside the workspace's.
fn rust(dir: &Path, module: &Path) -> Result<State> {
    let built = cargo_build(dir, "wasm32-wasip1")?.join(module.file_name().unwrap_or_default());
    fs::copy(&built, module).map_err(|e| format!("{}: {e}", built.display()))?;
    Ok(State::Built(module.to_owned()))
}

/// Builds a package that is of no workspace; where its programs are.
pub(crate) fn cargo_build(dir: &Path, triple: &str) -> Result<PathBuf> {
    let builds = target().join("samples-build");
    let mut build = cargo(&["build", "--quiet", "--release", "--locked", "--target", triple]);
    build.current_dir(dir).arg("--target-dir").arg(&builds);
    // Flags for the machine that runs this are none for another.
    build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    read(&mut build)?;
    Ok(builds.join(triple).join("release"))
}

/// clang, wasm-ld and wasi-libc, as apt brings them.
fn c(dir: &Path, module: &Path) -> Result<State> {
    let libc = Path::new("/usr/lib/wasm32-wasi/libc.a");
    if which("clang").is_none() || which("wasm-ld").is_none() || !libc.is_file() {
        return Ok(State::Skipped("it needs clang, lld and wasi-libc (`cargo xtask setup`)".into()));
    }
    let mut clang =
        command("clang", &["--target=wasm32-wasi", "-O2", "-s", "-Wall", "-Wextra", "-Werror", "-o"]);
    let sources = fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path()));
    clang.arg(module).args(sources.filter(|path| path.extension().is_some_and(|end| end == "c")));
    match read(&mut clang) {
        Ok(_) => Ok(State::Built(module.to_owned())),
        // Debian and Ubuntu package the run-time library apart, and some versions of it not at all.
        Err(error) if error.to_string().contains("libclang_rt.builtins-wasm32.a") => Ok(State::Skipped(
            "it needs clang's run-time library for wasm32 (libclang-rt-*-dev-wasm32)".into(),
        )),
        Err(error) => Err(error),
    }
}

fn wat(source: &Path, module: &Path) -> Result<State> {
    let bytes = wat::parse_file(source)?;
    fs::write(module, bytes)?;
    Ok(State::Built(module.to_owned()))
}

/// A folder for `lunette build`: the module and everything else beside the manifest but the source.
fn bundle(name: &str, dir: &Path, module: &Path) -> Result<State> {
    let to = out().join(name);
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    fs::create_dir_all(&to)?;
    fs::copy(module, to.join(module.file_name().unwrap_or_default()))?;
    fs::copy(dir.join("lunette.toml"), to.join("lunette.toml"))?;
    if dir.join("data").is_dir() {
        copy_folder(&dir.join("data"), &to.join("data"))?;
    }
    Ok(State::Built(to))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).map_err(|e| format!("{}: {e}", from.display()))? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?
        } else {
            fs::copy(entry.path(), to).map(drop)?
        }
    }
    Ok(())
}
