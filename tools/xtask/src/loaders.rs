//! The loaders for disks (kernel/loader): `target/image/lunette.bios`, a master boot record and what it loads, and
//! `target/image/lunette.efi`, each with its seal behind it. tools/disk puts them on disks, without.

use std::{fmt, fs, path::PathBuf};

use object::{
    LittleEndian as LE, elf,
    elf::FileHeader64,
    read::elf::{FileHeader as _, ProgramHeader as _},
};

use crate::{
    image,
    seal::seal,
    sh::{Result, root, run, target},
};

/// For a BIOS: freestanding, and linked to where it runs.
const BIOS: (&str, &str, &[&str]) = ("lunette-bios", "x86_64-unknown-none", &["-Crelocation-model=static"]);
/// For UEFI: a file without the time when it was linked, and without debug information, whose name would be of the folder
/// that it was built in.
const UEFI: (&str, &str, &[&str]) =
    ("lunette-uefi", "x86_64-unknown-uefi", &["-Clink-arg=/Brepro", "-Clink-arg=/DEBUG:NONE"]);

/// Where kernel/loader/bios/layout.ld has them.
const MBR_AT: u64 = 0x7c00;
const LOADER_AT: u64 = 0x8200;

pub(crate) struct Loader {
    pub(crate) path: PathBuf,
    pub(crate) bytes: usize,
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.strip_prefix(root()).unwrap_or(&self.path);
        write!(f, "{}: {} bytes", path.display(), self.bytes)
    }
}

/// The commands that build them, for who wants to log what they say.
pub(crate) fn commands() -> Result<[std::process::Command; 2]> {
    let command = |(package, triple, flags): (&str, &str, &[&str])| -> Result<_> {
        let mut command =
            crate::sh::cargo(&["build", "-p", package, "--profile", "loader", "--target", triple]);
        let mut all = image::remapping();
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        command.arg("--target-dir").arg(target().join("image-build"));
        command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", all.join("\x1f"));
        Ok(command)
    };
    Ok([command(BIOS)?, command(UEFI)?])
}

/// Puts into their place what the commands have linked.
pub(crate) fn finish() -> Result<[Loader; 2]> {
    let built = |(package, triple, _): (&str, &str, &[&str]), end: &str| -> Result<Vec<u8>> {
        let path = target().join("image-build").join(triple).join("loader").join(format!("{package}{end}"));
        fs::read(&path).map_err(|e| format!("{}: {e}", path.display()).into())
    };
    let put = |name: &str, bytes: &[u8]| -> Result<Loader> {
        let path = target().join("image").join(name);
        let sealed = seal(bytes.to_vec());
        image::put(&path, &sealed)?;
        Ok(Loader { path, bytes: sealed.len() })
    };
    Ok([put("lunette.bios", &flat(&built(BIOS, "")?)?)?, put("lunette.efi", &built(UEFI, ".efi")?)?])
}

pub(crate) fn build() -> Result<[Loader; 2]> {
    for mut command in commands()? {
        run(&mut command)?;
    }
    finish()
}

/// The master boot record, and what lies behind it in memory, of the linked file.
fn flat(linked: &[u8]) -> Result<Vec<u8>> {
    let header =
        FileHeader64::<LE>::parse(linked).map_err(|e| format!("the BIOS' loader is no ELF64: {e}"))?;
    let mut flat = vec![0; 512];
    for segment in header.program_headers(LE, linked)?.iter().filter(|h| h.p_type(LE) == elf::PT_LOAD) {
        let bytes = segment.data(LE, linked).map_err(|()| "the BIOS' loader is cut short")?;
        // A segment may hold both, and what is between.
        for (index, byte) in bytes.iter().enumerate() {
            let at = segment.p_vaddr(LE) + index as u64;
            let place = match at {
                MBR_AT..0x7e00 => (at - MBR_AT) as usize,
                LOADER_AT.. => (at - LOADER_AT) as usize + 512,
                // Headers, which nobody loads.
                _ => continue,
            };
            if flat.len() <= place {
                flat.resize(place + 1, 0);
            }
            flat[place] = *byte;
        }
    }
    if flat.get(510..512) != Some(&[0x55, 0xaa]) || flat.len() == 512 {
        return Err("the BIOS' loader has no master boot record, or nothing else".into());
    }
    flat.resize(flat.len().next_multiple_of(512), 0);
    Ok(flat)
}
