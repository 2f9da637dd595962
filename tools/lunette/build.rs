//! Lists the annotations of our Lua modules (runtimes/lua/stubs), which `lunette new` puts beside a script for editors.

use std::{env, fmt::Write, fs, io, path::Path};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes/lua/stubs");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut list = String::from("pub const STUBS: &[(&str, &str)] = &[\n");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "lua")) {
        let name = file.file_name().unwrap_or_default();
        writeln!(list, "({name:?}, include_str!({file:?})),").map_err(io::Error::other)?;
    }
    list += "];\n";
    fs::write(Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("stubs.rs"), list)
}
