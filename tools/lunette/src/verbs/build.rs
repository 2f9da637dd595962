//! `lunette build`: an app as one file.

use std::{
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use lunette_bundle::Launch;

use crate::{
    app::{App, Extras},
    cli::Build,
    native::{self, How},
    problem::Problem,
    run::{self, Us},
};

/// Writes the bundle, and prints where it is, its size and its hash.
pub fn build(args: &Build, us: &Us) -> Result<u8, Problem> {
    let app = App::open(&args.app)?;
    let name = app.manifest().map_err(|mut all| all.swap_remove(0).at(args.app.display()))?.app.name;
    let env = run::environment(&args.env);
    let extras = Extras { dirs: args.dir.clone(), keep: true, env, ..Extras::default() };
    let named = |e: Problem| run::named(e, &args.app.display().to_string());
    let packed = app.pack(&extras, &us.voice).map_err(named)?;
    let needs = packed.check().map_err(named)?;
    let how = How { aot: args.aot, cpu: args.cpu, told: true, ..How::default() };
    let launch = Launch::default();
    let packed = native::add(packed, &launch, &needs, &how, &us.cache, &us.voice).map_err(named)?;

    let output = args.output.clone().unwrap_or_else(|| default_output(&name));
    save(&output, &packed.bytes).map_err(|e| {
        Problem::new(format!("the bundle can't be written: {e}"), "name another place with -o")
            .at(output.display())
    })?;
    super::print(&format!("{}  {} bytes  sha256 {}\n", output.display(), packed.bytes.len(), packed.hash))?;
    Ok(0)
}

fn default_output(name: &str) -> PathBuf {
    let safe = name.chars().map(|c| if c == '/' || c.is_control() { '-' } else { c }).collect::<String>();
    format!("{}.lunette", safe.trim_start_matches('.')).into()
}

/// Whole or not at all.
pub(super) fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Less the umask, as for any new file.
    let mut builder = tempfile::Builder::new();
    let mut file = builder.permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}
