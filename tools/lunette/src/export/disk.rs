//! Disks, and the files that hold them. `lunette-disk` lays out what is on one; `qemu-img` knows most formats, and the rest are
//! archives.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, GzBuilder};
use lunette_disk::{Error, Parts};
use lunette_releases::seal;
use sha2::{Digest, Sha256};

use super::{Booted, Facts, fill, targets::Format};
use crate::{problem::Problem, verbs::images};

/// The loaders beside an image, if they are both there: for BIOS and UEFI.
pub(super) fn loaders(image: &Path) -> Option<[PathBuf; 2]> {
    let both = ["lunette.bios", "lunette.efi"].map(|name| image.with_file_name(name));
    both.iter().all(|path| path.is_file()).then_some(both)
}

/// Is it there? Asked before anything is made.
pub(super) fn find_qemu_img() -> Result<(), Problem> {
    let asked = Command::new("qemu-img").arg("--version").output();
    match asked {
        Ok(answer) if answer.status.success() => Ok(()),
        Ok(answer) => Err(missing(&format!("it does not run: {}", answer.status))),
        Err(e) => Err(missing(&e.to_string())),
    }
}

#[cold]
fn missing(why: &str) -> Problem {
    Problem::new(
        format!("disks in this format are made by qemu-img, and {why}"),
        "install it: `apt-get install qemu-utils`; or export --for raw, which needs nothing",
    )
}

/// Writes the disk into the folder, in this format; `facts` get what is known then.
pub(super) fn write(
    folder: &Path,
    format: Format,
    facts: &mut Facts,
    booted: &Booted,
    size: Option<u64>,
) -> Result<(), Problem> {
    let Some([bios, uefi]) = &booted.loaders else {
        let what = "the loaders for disks, lunette.bios and lunette.efi, are not beside the image";
        return Err(Problem::new(
            what,
            "`cargo xtask image` builds them; or name another image with --image",
        ));
    };
    let read = |path: &PathBuf| {
        images::check(path)?;
        let unreadable = |e: io::Error| {
            let what = format!("the loader can't be read: {e}");
            Problem::new(what, "see that you may read it").at(path.display())
        };
        let bytes = fs::read(path).map_err(unreadable)?;
        Ok::<_, Problem>(seal::open(&bytes, path)?.to_vec())
    };
    let (bios, uefi) = (read(bios)?, read(uefi)?);
    let parts = Parts {
        kernel: &booted.kernel,
        cmdline: &facts.cmdline,
        bundle: Some(&booted.payload),
        bios: Some(&bios),
        uefi: Some(&uefi),
    };
    let create =
        |path: &Path| File::options().read(true).write(true).create_new(true).open(path).map_err(unwritten);
    if format == Format::Iso {
        if size.is_some() {
            let what = "an ISO is as large as what is on it";
            return Err(Problem::new(what, "leave --size out").at("--size"));
        }
        facts.size = lunette_disk::iso(&parts, create(&folder.join(&facts.disk))?).map_err(of_disk)?;
        return Ok(());
    }
    let least = lunette_disk::least(&parts).map_err(of_disk)?;
    // Asked for, it is taken as it is, so that what does not fit is said; else it is as small as the format lets it be.
    let size = match size {
        Some(size) if !size.is_multiple_of(format.unit()) => {
            let unit = format.unit();
            let help = format!("give it {} bytes", size.next_multiple_of(unit));
            let what = format!("a disk for this target has a multiple of {unit} bytes, and {size} is none");
            return Err(Problem::new(what, help).at("--size"));
        }
        Some(size) => size,
        None => least.next_multiple_of(format.unit()),
    };
    facts.size = size;
    let raw_path = if format == Format::Raw { folder.join(&facts.disk) } else { folder.join("disk.raw") };
    lunette_disk::raw(&parts, Some(size), create(&raw_path)?).map_err(of_disk)?;
    let disk = folder.join(&facts.disk);
    match format {
        Format::Raw | Format::Iso => return Ok(()),
        Format::Converted(name, options, _) => convert(&raw_path, &disk, name, options)?,
        Format::Azure => convert(&raw_path, &disk, "vpc", "subformat=fixed,force_size")?,
        Format::Gce => gce(&raw_path, &disk).map_err(unwritten)?,
        Format::Ova => {
            let vmdk = folder.join(&facts.vmdk);
            convert(&raw_path, &vmdk, "vmdk", "subformat=streamOptimized,adapter_type=lsilogic")?;
            facts.vmdk_size = fs::metadata(&vmdk).map_err(unwritten)?.len();
            ova(folder, &disk, facts)?;
            fs::remove_file(vmdk).map_err(unwritten)?;
        }
    }
    fs::remove_file(raw_path).map_err(unwritten)
}

#[cold]
fn unwritten(e: io::Error) -> Problem {
    Problem::new(format!("the disk can't be made: {e}"), "make room, or name another place with -o")
}

#[cold]
fn of_disk(e: Error) -> Problem {
    match e {
        Error::TooSmall { needed, .. } => {
            let help = format!("give it at least {needed}: --size {}Mi", needed.div_ceil(1 << 20));
            Problem::new(e.to_string(), help).at("--size")
        }
        Error::UnevenSize(_) => Problem::new(e.to_string(), "give it a whole number of MiB").at("--size"),
        Error::Io(e) => unwritten(e),
        e => Problem::new(e.to_string(), "take an image of this release, and a smaller app"),
    }
}

fn convert(from: &Path, to: &Path, format: &str, options: &str) -> Result<(), Problem> {
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", "raw", "-O", format]);
    if !options.is_empty() {
        command.args(["-o", options]);
    }
    let done = command.arg(from).arg(to).output().map_err(|e| missing(&e.to_string()))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let said = said.lines().last().unwrap_or("it says nothing").to_owned();
    Err(Problem::new(
        format!("qemu-img can't make the disk: {said}"),
        "see that there is room, and try again",
    ))
}

/// A header as the archives want it, the same every time.
fn header(name: &str, size: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

/// What Google imports: `disk.raw`, of whole GiB, in a tar.gz (their words: `--format=oldgnu`).
fn gce(raw: &Path, to: &Path) -> io::Result<()> {
    let disk = File::open(raw)?;
    let size = disk.metadata()?.len();
    // Nearly all of it is zeros, which any level packs.
    let packed = GzBuilder::new().mtime(0).write(File::create(to)?, Compression::fast());
    let mut archive = tar::Builder::new(packed);
    archive.append(&header("disk.raw", size)?, disk)?;
    archive.into_inner()?.finish()?.flush()
}

/// The OVF, the sums of it and of the disk, and the disk.
fn ova(folder: &Path, to: &Path, facts: &Facts) -> Result<(), Problem> {
    const OVF: &str = include_str!("../../targets/vmware.ovf");
    let ovf = fill(OVF, facts);
    let vmdk = folder.join(&facts.vmdk);
    let name = format!("{}.ovf", facts.name);
    let (_, sum) = hash(&vmdk)?;
    let sums = format!(
        "SHA256({name})= {}\nSHA256({})= {sum}\n",
        lunette_bundle::sha256_hex(ovf.as_bytes()),
        facts.vmdk
    );
    let write = || {
        let mut archive = tar::Builder::new(File::create(to)?);
        archive.append(&header(&name, ovf.len() as u64)?, ovf.as_bytes())?;
        archive.append(&header(&format!("{}.mf", facts.name), sums.len() as u64)?, sums.as_bytes())?;
        archive.append(&header(&facts.vmdk, facts.vmdk_size)?, File::open(&vmdk)?)?;
        archive.into_inner()?.flush()
    };
    write().map_err(unwritten)
}

/// A file's size and SHA-256, whatever its size.
pub(super) fn hash(path: &Path) -> Result<(u64, String), Problem> {
    let sum = || {
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut sum = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => sum.update(&buffer[..n]),
            }
        }
        let hex = sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((size, hex))
    };
    sum().map_err(|e: io::Error| unwritten(e).at(path.display()))
}
