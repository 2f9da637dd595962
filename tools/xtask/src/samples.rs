//! `cargo xtask samples`: every sample, built as its README says, into `target/samples/`.
//!
//! A sample is a folder under samples/: scripts with a manifest, which are the app as they are, or something to compile,
//! in the language of its files. Rust with `component` in its name is built for WASI 0.2, other Rust for preview 1.
//! What a sample needs and does not find makes it skipped by name, never built halfway.

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

/// `samples/hello-rust` once more, as a component.
pub(crate) const HELLO_COMPONENT: &str = "hello-component";

/// All of them by name, in the order of their names.
pub(crate) fn build_all() -> Result<Vec<(String, State)>> {
    let samples = root().join("samples");
    let mut names: Vec<String> = fs::read_dir(&samples)
        .map_err(|e| format!("{}: {e}", samples.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| samples.join(name).join("README.md").is_file())
        .collect();
    names.push(HELLO_COMPONENT.to_owned());
    names.sort_unstable();
    fs::create_dir_all(out())?;
    names.into_iter().map(|name| build(&name).map(|state| (name, state))).collect()
}

/// Where built samples are.
pub(crate) fn out() -> PathBuf {
    target().join("samples")
}

pub(crate) fn build(name: &str) -> Result<State> {
    let source = if name == HELLO_COMPONENT { "hello-rust" } else { name };
    let dir = root().join("samples").join(source);
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
    let state = match () {
        () if dir.join("Cargo.toml").is_file() && name.contains("component") => {
            rust(&dir, source, "wasm32-wasip2", &module)?
        }
        () if dir.join("Cargo.toml").is_file() => rust(&dir, source, "wasm32-wasip1", &module)?,
        () if dir.join("package.json").is_file() => javascript(&dir, name)?,
        () if name.ends_with("-c") => c(&dir, &module)?,
        () if name.ends_with("-wat") => {
            wat(&dir.join(format!("{}.wat", name.trim_end_matches("-wat"))), &module)?
        }
        () => return Err(format!("samples/{name}: nothing in it that can be built here").into()),
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

/// `cargo build --release --target …`, with a target folder beside the workspace's.
fn rust(dir: &Path, package: &str, triple: &str, module: &Path) -> Result<State> {
    let built = cargo_build(dir, triple)?;
    // A component that exports a handler is a library, and a library's name has no hyphen.
    let library = built.join(format!("{}.wasm", package.replace('-', "_")));
    let program = built.join(format!("{package}.wasm"));
    let built = if program.is_file() { program } else { library };
    fs::copy(&built, module).map_err(|e| format!("{}: {e}", built.display()))?;
    Ok(State::Built(module.to_owned()))
}

/// npm, node and what package.json asks for, in a copy of the folder. That takes minutes, so it is done once for the same
/// files.
fn javascript(dir: &Path, name: &str) -> Result<State> {
    if which("node").is_none() || which("npm").is_none() {
        return Ok(State::Skipped("it needs node and npm".into()));
    }
    let copy = target().join("samples-build").join(name);
    let (stamp, module) = (copy.join("built.txt"), copy.join(format!("{name}.wasm")));
    let mut wanted = String::new();
    let mut files: Vec<PathBuf> = fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort_unstable();
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "js" || end == "json")) {
        wanted += &fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    if module.is_file() && fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
        return Ok(State::Built(module));
    }
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    copy_folder(dir, &copy)?;
    let npm = |args: &[&str]| read(command("npm", args).current_dir(&copy));
    if let Err(error) = npm(&["install", "--no-fund", "--no-audit", "--loglevel=error"]) {
        let error = error.to_string();
        return Ok(State::Skipped(format!(
            "npm can't install what it needs: {}",
            error.lines().next_back().unwrap_or("")
        )));
    }
    npm(&["run", "--silent", "build"])?;
    fs::write(&stamp, wanted)?;
    Ok(State::Built(module))
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
    let manifest = fs::read_to_string(dir.join("lunette.toml"))?;
    fs::copy(module, to.join(main_of(&manifest).ok_or_else(|| format!("samples/{name}: no main"))?))?;
    fs::write(to.join("lunette.toml"), manifest)?;
    if dir.join("data").is_dir() {
        copy_folder(&dir.join("data"), &to.join("data"))?;
    }
    Ok(State::Built(to))
}

/// The first `main = "…"`.
fn main_of(manifest: &str) -> Option<&str> {
    let lines = manifest.lines().filter_map(|line| line.strip_prefix("main = \""));
    lines.filter_map(|rest| rest.split('"').next()).next()
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
