//! Debian's packages, for what Lunette is tried with or stands beside: fetched by apt, unpacked below `target/`, never
//! installed, never shipped.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::sh::{Result, command, read};

/// What a package that stands for a version depends on, by the beginning of its name: `linux-image-amd64` names the newest
/// kernel.
pub(crate) fn dependency(of: &str, begins: &str) -> Result<String> {
    let depends = read(&mut command("apt-cache", &["depends", of]))?;
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let name = names.find(|name| name.starts_with(begins));
    Ok(name.ok_or_else(|| format!("apt knows no {of}: this needs Debian's packages"))?.to_owned())
}

/// The packages' files, in a folder of their own. `only`: of all of them those with such names; else all.
pub(crate) fn unpacked(files: &Path, packages: &[&str], only: &[&str]) -> Result<PathBuf> {
    let complete = files.join("complete");
    if complete.is_file() {
        return Ok(files.to_owned());
    }
    if files.exists() {
        fs::remove_dir_all(files)?;
    }
    fs::create_dir_all(files)?;
    println!("fetching {} from Debian", packages.join(", "));
    read(command("apt-get", &["download", "-qq"]).args(packages).current_dir(files))?;
    for entry in fs::read_dir(files)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            if only.is_empty() {
                read(command("dpkg-deb", &["-x"]).arg(&path).arg(files))?;
            } else {
                let part = "from=$1; to=$2; shift 2; \
                            dpkg-deb --fsys-tarfile \"$from\" | tar -x -C \"$to\" --wildcards \"$@\"";
                read(command("sh", &["-c", part, "sh"]).arg(&path).arg(files).args(only))?;
            }
            fs::remove_file(&path)?;
        }
    }
    fs::write(complete, "")?;
    Ok(files.to_owned())
}

/// The name of the only thing in a folder.
pub(crate) fn only_entry(dir: &Path) -> Result<String> {
    let mut entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let first = entries.next().ok_or_else(|| format!("{} is empty", dir.display()))??;
    Ok(first.file_name().to_string_lossy().into_owned())
}

/// A folder as what a kernel boots from.
pub(crate) fn initramfs(folder: &Path, busybox: &Path, file: &Path) -> Result<()> {
    let pack = "cd \"$1\" && find . | \"$2\" cpio -o -H newc > \"$3\" 2>/dev/null";
    read(command("sh", &["-c", pack, "sh"]).arg(folder).arg(busybox).arg(file)).map(drop)
}
