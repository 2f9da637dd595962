//! Where the kernel image is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::problem::Problem;

const NAME: &str = "lunette.elf";

/// `--image`, `$LUNETTE_IMAGE`, or one of the places where it is installed, relative to the folder of the
/// executable.
pub fn find(flag: Option<&Path>, executable: Option<&Path>) -> Result<PathBuf, Problem> {
    let chosen = match (flag, std::env::var_os("LUNETTE_IMAGE").filter(|path| !path.is_empty())) {
        (Some(flag), _) => Some((flag.to_owned(), "--image")),
        (None, Some(path)) => Some((path.into(), "LUNETTE_IMAGE")),
        (None, None) => None,
    };
    if let Some((path, whence)) = chosen {
        return check(&path).map(|()| path.clone()).map_err(|e| e.at(path.display()).at(whence));
    }
    let folder = executable.and_then(Path::parent).unwrap_or(Path::new("."));
    let places =
        [NAME, "../image/lunette.elf", "../share/lunette/lunette.elf"].map(|place| folder.join(place));
    match places.iter().find(|place| place.is_file()) {
        Some(place) => check(place).map(|()| place.clone()).map_err(|e| e.at(place.display())),
        None => Err(Problem::new(
            "the kernel image was not found",
            "cargo xtask image, or name it with --image or LUNETTE_IMAGE",
        )
        .at(folder.join(NAME).display())),
    }
}

/// Is it an ELF at all?
fn check(path: &Path) -> Result<(), Problem> {
    let help = "cargo xtask image";
    let read = || {
        let mut magic = [0; 4];
        std::io::Read::read_exact(&mut fs::File::open(path)?, &mut magic).map(|()| magic)
    };
    match read() {
        Ok(magic) if &magic == b"\x7fELF" => Ok(()),
        Ok(_) => Err(Problem::new("the kernel image is no ELF file", help)),
        Err(e) => Err(Problem::new(format!("the kernel image can't be read: {e}"), help)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_beside_the_executable_and_in_the_installed_places() {
        for place in ["bin/lunette.elf", "image/lunette.elf", "share/lunette/lunette.elf"] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("bin")).unwrap();
            let path = dir.path().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, b"\x7fELF....").unwrap();
            let found = find(None, Some(&dir.path().join("bin/lunette"))).unwrap();
            assert_eq!(fs::canonicalize(found).unwrap(), fs::canonicalize(path).unwrap());
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let e = find(None, Some(&dir.path().join("lunette"))).unwrap_err();
        assert!(e.what.contains("not found") && e.help.contains("cargo xtask image"));
        let path = dir.path().join("x");
        assert!(find(Some(&path), None).unwrap_err().place.starts_with("--image: "));
        fs::write(&path, "text").unwrap();
        assert!(find(Some(&path), None).unwrap_err().what.contains("no ELF"));
    }
}
