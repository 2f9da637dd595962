//! Which kernel image is booted, and where it is.
//!
//! Images lie in one folder: `lunette.elf` has all runtimes, `lunette-NAME.elf` is smaller and has some. What one has is in
//! its ELF note (kernel/image); one without a note has all. Where nobody names an image, the smallest is taken that has what
//! the app needs ([`Needs`]).
//!
//! Promises: an image is checked each time that it is taken, one that was pulled (`lunette image pull`) against its signed index, any
//! other against its seal; a variant of another release than ours is never taken unasked. Does not: refuse an image that lacks
//! something: it says so itself, and falls back where it can.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use lunette_app::Runtime;
use lunette_bundle::{Payload, Plan};
use object::{
    Endianness, ReadCache, ReadRef,
    elf::FileHeader64,
    read::elf::{FileHeader as _, ProgramHeader as _},
};

use crate::{native, problem::Problem, verbs::images};

/// The one that has all, by its name for `--image` and by its file's.
const FULL: &str = "full";
const FILE: &str = "lunette.elf";
/// What names of the others begin with, and all end with.
const BEGIN: &str = "lunette-";
const END: &str = ".elf";
/// Of whom the note is, and its type.
const NOTE: (&[u8], u32) = (b"Lunette", 1);

/// What an app takes.
pub type Needs = BTreeSet<Runtime>;

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub path: PathBuf,
    pub size: u64,
    pub has: BTreeSet<Runtime>,
    /// Of the release that it is from, if it says.
    pub version: Option<String>,
}

/// Where to look.
enum Place {
    File(PathBuf),
    Folder(PathBuf),
}

/// The image for an app that needs this: as `--image` or `$LUNETTE_IMAGE` say, else from where it is installed, relative to
/// the folder of the executable.
pub fn choose(flag: Option<&Path>, executable: Option<&Path>, needs: &Needs) -> Result<Image, Problem> {
    let (place, whence) = place(flag, variable(), executable)?;
    let chosen = match place {
        Place::File(path) => Image::open(&path),
        Place::Folder(folder) => {
            let (images, broken) = in_folder(&folder);
            match (smallest(&images, needs), broken) {
                (Some(image), _) => Ok(image.clone()),
                (None, Some(problem)) => Err(problem),
                (None, None) => Err(none_fits(&images, needs).at(folder.display())),
            }
        }
    };
    let checked = chosen.and_then(|image| images::check(&image.path).map(|()| image));
    checked.map_err(|problem| if whence.is_empty() { problem } else { problem.at(whence) })
}

/// All from which [`choose`] would choose, the largest first.
pub fn present(flag: Option<&Path>, executable: Option<&Path>) -> Result<Vec<Image>, Problem> {
    let (place, whence) = place(flag, variable(), executable)?;
    let found = match place {
        Place::File(path) => Image::open(&path).map(|image| vec![image]),
        Place::Folder(folder) => match in_folder(&folder) {
            (images, None) if images.is_empty() => Err(not_found(&folder)),
            (images, None) => Ok(images),
            (_, Some(problem)) => Err(problem),
        },
    };
    let all = found.and_then(|images| {
        images.iter().try_for_each(|image| images::check(&image.path))?;
        Ok(images)
    });
    all.map_err(|problem| if whence.is_empty() { problem } else { problem.at(whence) })
}

/// What it takes to run these guests. `uninterpreted`: those that get native code even if they have none yet.
pub fn needs(payload: &Payload<'_>, plan: &Plan, uninterpreted: &native::Needs) -> Result<Needs, Problem> {
    let mut needs = lunette_app::needs(payload, plan)?;
    if plan.all().any(|guest| uninterpreted.contains_key(&guest.main)) {
        needs.insert(Runtime::Native);
    }
    Ok(needs)
}

/// `wasm, lua`
pub fn words<'r>(runtimes: impl IntoIterator<Item = &'r Runtime>) -> String {
    runtimes.into_iter().map(|runtime| runtime.name()).collect::<Vec<_>>().join(", ")
}

fn variable() -> Option<OsString> {
    std::env::var_os("LUNETTE_IMAGE").filter(|path| !path.is_empty())
}

/// Where to look, and who said so.
fn place(
    flag: Option<&Path>,
    variable: Option<OsString>,
    executable: Option<&Path>,
) -> Result<(Place, &'static str), Problem> {
    let of_path = |path: PathBuf| if path.is_dir() { Place::Folder(path) } else { Place::File(path) };
    let variable = variable.map(PathBuf::from);
    match (flag, variable) {
        (Some(flag), variable) => {
            let Some(name) = flag.to_str().filter(|name| is_name(name)) else {
                return Ok((of_path(flag.to_owned()), "--image"));
            };
            let folder = match variable {
                Some(path) if path.is_dir() => path,
                Some(path) => path.parent().unwrap_or(Path::new("")).to_owned(),
                None => installed(executable)?,
            };
            let file = if name == FULL { FILE.to_owned() } else { format!("{BEGIN}{name}{END}") };
            Ok((Place::File(folder.join(file)), "--image"))
        }
        (None, Some(path)) => Ok((of_path(path), "LUNETTE_IMAGE")),
        (None, None) => Ok((Place::Folder(installed(executable)?), "")),
    }
}

/// A name, and no path: `./wasm` is a file.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The folder of the images that came with us.
fn installed(executable: Option<&Path>) -> Result<PathBuf, Problem> {
    let folder = executable.and_then(Path::parent).unwrap_or(Path::new("."));
    let places = [".", "../image", "../share/lunette"].map(|place| folder.join(place));
    // Those of our release, if they were pulled.
    let found = places.into_iter().chain(images::pulled()).find(|place| !files(place).is_empty());
    found.ok_or_else(|| not_found(folder))
}

/// The images' files.
fn files(folder: &Path) -> Vec<PathBuf> {
    let is_image = |name: &str| {
        name == FILE || name.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).is_some_and(is_name)
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_image));
    named.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

/// Those in a folder that can be chosen, the largest first; and what is wrong with one that can't.
fn in_folder(folder: &Path) -> (Vec<Image>, Option<Problem>) {
    let (mut images, mut broken) = (Vec::new(), None);
    for path in files(folder) {
        match Image::open(&path) {
            Ok(image) => images.push(image),
            Err(problem) => broken = Some(problem),
        }
    }
    images.sort_by(|a, b| (b.size, &b.path).cmp(&(a.size, &a.path)));
    (images, broken)
}

/// Of those that have what is needed, and are of our release unless nothing else is there to be taken.
fn smallest<'i>(images: &'i [Image], needs: &Needs) -> Option<&'i Image> {
    let fit = |image: &&Image| image.has.is_superset(needs) && (image.is_full() || image.is_ours());
    images.iter().filter(fit).min_by_key(|image| image.size)
}

#[cold]
fn none_fits(images: &[Image], needs: &Needs) -> Problem {
    let all: Vec<_> = images.iter().map(Image::to_string).collect();
    let needs = words(needs);
    let what = match all.is_empty() {
        true => "the kernel image was not found".to_owned(),
        false => format!("no image here has what the app needs, {needs}; there is {}", all.join(", ")),
    };
    Problem::new(what, "`cargo xtask image` builds the one that has all; or name one with --image")
}

#[cold]
fn not_found(folder: &Path) -> Problem {
    let help =
        "`lunette image pull` gets it, cargo xtask image builds it; or name it with --image or LUNETTE_IMAGE";
    Problem::new("the kernel image was not found", help).at(folder.join(FILE).display())
}

impl Image {
    /// Opens it, to see what it has.
    fn open(path: &Path) -> Result<Self, Problem> {
        let help = "cargo xtask image";
        let unreadable = |e: io::Error| {
            let help = match path.file_name().and_then(|name| name.to_str()?.strip_prefix(BEGIN)) {
                Some(name) => format!("cargo xtask image --variant {}", name.trim_end_matches(END)),
                None => help.to_owned(),
            };
            Problem::new(format!("the kernel image can't be read: {e}"), help).at(path.display())
        };
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        // Only its headers are read.
        let data = ReadCache::new(file);
        match (&data).read_bytes_at(0, 4) {
            Ok(b"\x7fELF") => {}
            Ok(_) => return Err(Problem::new("the kernel image is no ELF file", help).at(path.display())),
            Err(()) => return Err(unreadable(io::ErrorKind::UnexpectedEof.into())),
        }
        let (has, version) = match note(&data) {
            Some(note) => (runtimes(&note), word(&note, "version").map(str::to_owned)),
            None => (Runtime::ALL.into(), None),
        };
        Ok(Self { path: path.to_owned(), size, has, version })
    }

    fn is_full(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == FILE)
    }

    fn is_ours(&self) -> bool {
        self.version.as_deref() == Some(env!("CARGO_PKG_VERSION"))
    }
}

/// `lunette-wasm.elf (1548288 bytes: wasm)`
impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{name} ({} bytes: {})", self.size, words(&self.has))
    }
}

/// What the image's note says; `None` if it has none.
fn note<'d>(data: impl ReadRef<'d>) -> Option<String> {
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, data).ok()? {
        let Ok(Some(mut notes)) = segment.notes(endian, data) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if (note.name(), note.n_type(endian)) == NOTE {
                return Some(String::from_utf8_lossy(note.desc()).into_owned());
            }
        }
    }
    None
}

/// The value of a word in a note.
fn word<'n>(note: &'n str, name: &str) -> Option<&'n str> {
    note.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Those that we know; all, if it does not say.
fn runtimes(note: &str) -> BTreeSet<Runtime> {
    match word(note, "runtimes") {
        Some(list) => list.split(',').filter_map(Runtime::from_name).collect(),
        None => Runtime::ALL.into(),
    }
}

#[cfg(test)]
mod tests {
    use lunette_releases::seal;

    use super::*;

    const OURS: &str = concat!("version=", env!("CARGO_PKG_VERSION"));

    /// An ELF file of so many bytes at least, with another's note in front of ours.
    fn image(note: Option<&str>, size: usize) -> Vec<u8> {
        let mut notes = Vec::new();
        let mut add = |name: &[u8], kind: u32, desc: &[u8]| {
            for word in [name.len() as u32 + 1, desc.len() as u32, kind] {
                notes.extend(word.to_le_bytes());
            }
            for part in [&[name, b"\0"].concat()[..], desc] {
                notes.extend(part);
                notes.resize(notes.len().next_multiple_of(4), 0);
            }
        };
        add(b"Xen", 18, &[0; 8]);
        if let Some(note) = note {
            add(b"Lunette", 1, note.as_bytes());
        }
        let mut out = b"\x7fELF\x02\x01\x01".to_vec();
        out.resize(16, 0);
        out.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        for word in [0x10_0000u64, 64, 0] {
            out.extend(word.to_le_bytes());
        }
        out.extend([0; 4]);
        for half in [64u16, 56, 1, 0, 0, 0] {
            out.extend(half.to_le_bytes());
        }
        out.extend([4, 0, 0, 0, 4, 0, 0, 0]);
        for word in [120, 0, 0, notes.len() as u64, notes.len() as u64, 4] {
            out.extend(word.to_le_bytes());
        }
        out.extend(notes);
        out.resize((out.len() + seal::LENGTH).max(size) - seal::LENGTH, 0);
        seal::seal(out)
    }

    fn folder(images: &[(&str, Option<&str>, usize)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, runtimes, size) in images {
            let note = runtimes.map(|runtimes| format!("{OURS} runtimes={runtimes}"));
            fs::write(dir.path().join(name), image(note.as_deref(), *size)).unwrap();
        }
        dir
    }

    /// The name of the file that is chosen, by the flag or for these needs.
    fn chosen(dir: &Path, flag: Option<&str>, needs: &str) -> Result<String, Problem> {
        let flag = flag.map(PathBuf::from);
        let image = choose(flag.as_deref(), Some(&dir.join("lunette")), &runtimes(needs))?;
        Ok(image.path.file_name().unwrap().to_str().unwrap().to_owned())
    }

    #[test]
    fn it_is_found_beside_the_executable_and_in_the_installed_places() {
        for place in ["bin/lunette.elf", "image/lunette.elf", "share/lunette/lunette.elf"] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("bin")).unwrap();
            let path = dir.path().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, seal::seal(b"\x7fELF....".to_vec())).unwrap();
            let found = choose(None, Some(&dir.path().join("bin/lunette")), &Runtime::ALL.into()).unwrap();
            assert_eq!(fs::canonicalize(found.path).unwrap(), fs::canonicalize(path).unwrap());
            assert_eq!(found.has, Runtime::ALL.into(), "without a note it has all");
        }
    }

    #[test]
    fn the_smallest_is_taken_that_has_what_is_needed() {
        let dir = folder(&[
            ("lunette.elf", Some("wasm,lua,native"), 9000),
            ("lunette-wasm.elf", Some("wasm"), 1000),
            ("lunette-native.elf", Some("wasm,native"), 7000),
            ("lunette-wasm.debug.elf", Some("wasm,lua,native"), 500),
            ("other.elf", Some("wasm,lua,native"), 500),
        ]);
        for (needs, name) in [
            ("runtimes=wasm", "lunette-wasm.elf"),
            ("runtimes=", "lunette-wasm.elf"),
            ("runtimes=native", "lunette-native.elf"),
            ("runtimes=native,wasm", "lunette-native.elf"),
            ("runtimes=lua", "lunette.elf"),
            ("runtimes=lua,native", "lunette.elf"),
        ] {
            assert_eq!(chosen(dir.path(), None, needs).unwrap(), name, "{needs}");
        }
        let all = present(None, Some(&dir.path().join("lunette"))).unwrap();
        let names: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "lunette.elf (9000 bytes: wasm, lua, native)",
                "lunette-native.elf (7000 bytes: wasm, native)",
                "lunette-wasm.elf (1000 bytes: wasm)"
            ]
        );
    }

    #[test]
    fn what_is_named_is_taken_as_it_is() {
        let dir =
            folder(&[("lunette.elf", Some("wasm,lua,native"), 9000), ("lunette-wasm.elf", Some("wasm"), 0)]);
        let lua = "runtimes=lua";
        assert_eq!(chosen(dir.path(), Some("wasm"), lua).unwrap(), "lunette-wasm.elf");
        assert_eq!(chosen(dir.path(), Some("full"), "runtimes=wasm").unwrap(), "lunette.elf");
        let path = dir.path().join("lunette-wasm.elf");
        assert_eq!(chosen(dir.path(), path.to_str(), lua).unwrap(), "lunette-wasm.elf");
        assert_eq!(chosen(Path::new("/nowhere"), dir.path().to_str(), lua).unwrap(), "lunette.elf");

        // The variable: a file as it is, a folder to choose from; names are looked for there.
        let file = |flag: Option<&str>, variable: &Path| match place(
            flag.map(Path::new),
            Some(variable.into()),
            None,
        ) {
            Ok((Place::File(path), _)) => path,
            Ok((Place::Folder(path), _)) => path.join("*"),
            Err(problem) => panic!("{problem}"),
        };
        assert_eq!(file(None, &path), path);
        assert_eq!(file(None, dir.path()), dir.path().join("*"));
        for variable in [&path, dir.path()] {
            assert_eq!(file(Some("lua"), variable), dir.path().join("lunette-lua.elf"));
        }
        assert_eq!(file(Some("./lua"), &path), Path::new("./lua"));
    }

    #[test]
    fn what_is_of_another_release_is_passed_over() {
        let dir = folder(&[("lunette.elf", Some("wasm,lua,native"), 9000)]);
        let other = dir.path().join("lunette-wasm.elf");
        for note in ["version=0.0.1 runtimes=wasm", "runtimes=wasm", "runtimes=", "", "=,=", "\u{fffd}"] {
            fs::write(&other, image(Some(note), 0)).unwrap();
            assert_eq!(chosen(dir.path(), None, "runtimes=wasm").unwrap(), "lunette.elf", "{note}");
        }
        fs::write(&other, image(None, 0)).unwrap();
        assert_eq!(chosen(dir.path(), None, "runtimes=wasm").unwrap(), "lunette.elf");
        fs::write(&other, "no ELF").unwrap();
        assert_eq!(chosen(dir.path(), None, "runtimes=wasm").unwrap(), "lunette.elf");
    }

    #[test]
    fn what_is_wrong_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let all = Runtime::ALL.into();
        let e = choose(None, Some(&dir.path().join("lunette")), &all).unwrap_err();
        assert!(e.what.contains("not found") && e.help.contains("cargo xtask image"));
        let path = dir.path().join("x");
        assert!(choose(Some(&path), None, &all).unwrap_err().place.starts_with("--image: "));
        fs::write(&path, "text").unwrap();
        assert!(choose(Some(&path), None, &all).unwrap_err().what.contains("no ELF"));
        assert!(choose(Some(dir.path()), None, &all).unwrap_err().what.contains("not found"));

        let dir = folder(&[("lunette-wasm.elf", Some("wasm"), 2000)]);
        let e = chosen(dir.path(), None, "runtimes=lua").unwrap_err();
        assert_eq!(
            e.what,
            "no image here has what the app needs, lua; there is lunette-wasm.elf (2000 bytes: wasm)"
        );
        let e = chosen(dir.path(), Some("native"), "runtimes=lua").unwrap_err();
        assert!(e.what.contains("can't be read") && e.help == "cargo xtask image --variant native", "{e:?}");
    }

    #[test]
    fn one_with_a_flipped_bit_is_never_taken() {
        let dir = folder(&[("lunette.elf", Some("wasm"), 600)]);
        let path = dir.path().join("lunette.elf");
        let executable = dir.path().join("lunette");
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, bad).unwrap();
            for flag in [None, Some(&*path), Some(dir.path()), Some(Path::new("full"))] {
                let e = choose(flag, Some(&executable), &runtimes("runtimes=wasm")).unwrap_err();
                assert!(!e.place.is_empty() && !e.help.is_empty(), "byte {at}: {e:?}");
            }
            assert!(present(None, Some(&executable)).is_err());
        }
        // One that was linked, and not finished; and one that stops somewhere.
        for bytes in [&good[..good.len() - seal::LENGTH], &good[..good.len() - 1]] {
            fs::write(&path, bytes).unwrap();
            let e = choose(Some(&path), None, &Needs::new()).unwrap_err();
            assert!(
                e.what.contains("does not end with its seal") && e.help.contains("cargo xtask image"),
                "{e:?}"
            );
            assert!(e.place.starts_with("--image: "), "{e:?}");
        }
    }

    #[test]
    fn a_hostile_file_is_no_reason_to_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lunette.elf");
        let good = image(Some("version=9 runtimes=lua"), 0);
        let good = &good[..good.len() - seal::LENGTH];
        for cut in [4, 20, 64, 80, 119, 130, good.len() - 1] {
            fs::write(&path, &good[..cut]).unwrap();
            assert_eq!(Image::open(&path).unwrap().has, Runtime::ALL.into(), "{cut}");
        }
        for at in 4..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 0xff;
            fs::write(&path, bad).unwrap();
            let _ = Image::open(&path);
        }
    }
}
